"""Kendra's errors, named as in its service model."""

from moto.core.exceptions import ServiceException


class ValidationException(ServiceException):
    """The request does not fit the service model, or its values contradict each other."""

    code = "ValidationException"


class ResourceNotFoundException(ServiceException):
    """No such index or data source."""

    code = "ResourceNotFoundException"


class ResourceUnavailableException(ServiceException):
    """No resource has such an ARN; the operations on tags have no ResourceNotFoundException."""

    code = "ResourceUnavailableException"


class ResourceInUseException(ServiceException):
    """The data source already runs a sync job."""

    code = "ResourceInUseException"


class ConflictException(ServiceException):
    """The resource is still being created or updated."""

    code = "ConflictException"


class ServiceQuotaExceededException(ServiceException):
    """A quota of the account, or the capacity of an index."""

    code = "ServiceQuotaExceededException"


class SerializationException(ServiceException):
    """The request is not JSON, or a member has the wrong JSON type."""

    code = "SerializationException"


class UnknownOperationException(ServiceException):
    """Kendra has no such operation, or this backend does not support it."""

    code = "UnknownOperationException"


class MissingAuthenticationTokenException(ServiceException):
    """The request is not signed."""

    code = "MissingAuthenticationTokenException"
    message = "The request must be signed with Signature Version 4"


class IncompleteSignatureException(ServiceException):
    """The request has an Authorization header without a credential scope."""

    code = "IncompleteSignatureException"


class InvalidSignatureException(ServiceException):
    """The request is signed for another service, or for a region that Kendra is not in."""

    code = "InvalidSignatureException"


class InternalServerException(ServiceException):
    """An error of this backend."""

    code = "InternalServerException"
