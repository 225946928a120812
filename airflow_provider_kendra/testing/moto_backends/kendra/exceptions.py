"""The errors Kendra answers with, under the names of its service model."""

from moto.core.exceptions import JsonRESTError


class KendraError(JsonRESTError):
    """Named after its class, as each error of the service model is."""

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
    """An operation this Kendra does not offer."""
