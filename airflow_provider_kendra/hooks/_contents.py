"""Keeps the contents of requests, such as documents, out of errors."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from botocore import exceptions as aws
from botocore.validate import ParamValidator

from airflow_provider_kendra._redaction import without_values
from airflow_provider_kendra.exceptions import KendraError

R = TypeVar("R")

_MOST_FAULTS = 5


@contextmanager
def contents_hidden(shape: Any, request: Mapping[str, Any], first: int) -> Iterator[None]:
    """
    Replace errors about a request that can't be sent, since botocore quotes each value that it rejects.

    :param shape: The request's shape in the API's model, without maps, whose keys would be shown.
    :param request: The parameters of the request.
    :param first: The position of its first document in what the caller passed, for the names of documents.
    :raises ValueError: naming the parameters and what they must be, without any value.
    """
    try:
        yield
    except (KendraError, RuntimeError, aws.ParamValidationError) as error:
        cause = error.__cause__ or error
        if not was_raised_in(cause, "botocore.validate", "botocore.serialize"):
            raise
        faults = _faults_of(shape, request, first) or [f"a value can't be read ({type(cause).__name__})"]
        more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise ValueError(f"The request can't be sent: {'; '.join(faults[:_MOST_FAULTS])}{more}.") from None


def was_raised_in(error: BaseException, *modules: str) -> bool:
    """
    Whether a function of one of these modules was running when an error was raised.

    :param error: The error.
    :param modules: Names of modules.
    """
    return any(frame.f_globals.get("__name__") in modules for frame, _ in traceback.walk_tb(error.__traceback__))


def _faults_of(shape: Any, request: Mapping[str, Any], first: int) -> list[str]:
    """List what botocore rejects in the documents of a request, by document."""
    faults = []
    for position, document in enumerate(request["Documents"], first):
        try:
            found = ParamValidator().validate({**request, "Documents": [document]}, shape)
        except Exception as error:  # as for a time that can't be read
            faults.append(f"documents[{position}] has a value that can't be read ({type(error).__name__})")
        else:
            faults += [
                _describe(reason, path.removeprefix(".").replace("Documents[0]", f"documents[{position}]", 1), details)
                for reason, path, details in getattr(found, "_errors", ())
            ]
    return faults


def _describe(reason: str, path: str, details: Mapping[str, Any]) -> str:
    name = path or "it"
    match reason:
        case "missing required field":
            return f"{name} has no {details['required_name']}"
        case "unknown field":
            return f"{name} has an unknown member, known are: {', '.join(details['valid_names'])}"
        case "invalid type":
            types = " or ".join(re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", each) for each in details["valid_types"])
            return f"{name} is of type {type(details['param']).__name__}, but must be {types}"
        case "invalid length":
            return f"{name} is shorter than {details['min_allowed']}"
        case "invalid range":
            return f"{name} is less than {details['min_allowed']}"
    return f"{name} is not valid"


def values_hidden(call: Callable[..., R]) -> Callable[..., R]:
    """
    Wrap a call so that its errors do not quote the request's values; AWS quotes those it rejects.

    :param call: The call.
    """

    def call_without_values(**request: Any) -> R:
        try:
            return call(**request)
        except aws.ClientError as error:
            error.args = tuple(map(without_values, error.args))
            error.response["Error"] = {
                name: without_values(value) for name, value in error.response.get("Error", {}).items()
            }
            for name in error.response.keys() & {"message", "Message"}:
                error.response[name] = without_values(error.response[name])
            raise

    return call_without_values
