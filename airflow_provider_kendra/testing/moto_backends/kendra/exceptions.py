"""Kendra's errors, named as in its service model."""

from moto.core.exceptions import JsonRESTError


class KendraError(JsonRESTError):
    """Base class; the class name is the error code."""

    code = 400

    def __init__(self, message: str) -> None:
        super().__init__(type(self).__name__, message)


class ValidationException(KendraError):
    """The request does not fit the service model."""


class ResourceNotFoundException(KendraError):
    """No such index or data source."""


class ResourceInUseException(KendraError):
    """The data source already runs a sync job."""


class SerializationException(KendraError):
    """The request is not JSON, or a member has the wrong JSON type."""


class UnknownOperationException(KendraError):
    """The local Kendra does not support the operation."""
