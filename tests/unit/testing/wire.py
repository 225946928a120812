"""Kendra's wire protocol without boto3's client: signed requests, and the service model's shapes.

Independent of the local Kendra's own validator, which it checks.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator
from functools import cache
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.model import ServiceModel
from moto.core.utils import camelcase_to_underscores

CONTENT_TYPE = "application/x-amz-json-1.1"
JSON_TYPES = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "blob": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}


@cache
def model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("kendra")


def supported_operations() -> list[str]:
    """The operations that the local Kendra answers."""
    from airflow_provider_kendra.testing.registry import register

    register()
    from moto.kendra.responses import KendraResponse

    return [name for name in model().operation_names if hasattr(KendraResponse, camelcase_to_underscores(name))]


class Response(NamedTuple):
    """A response as it was sent."""

    operation: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        assert self.headers["content-type"] == CONTENT_TYPE, self
        return json.loads(self.body) if self.body else {}

    @property
    def error(self) -> str:
        return str(self.content["__type"]) if self.status >= 400 else ""


class Wire:
    """Sends JSON over HTTP and returns what came back, unparsed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.responses: list[Response] = []

    def send(self, operation: str, body: bytes) -> Response:
        headers = {"X-Amz-Target": f"AWSKendraFrontendService.{operation}", "Content-Type": CONTENT_TYPE}
        request = AWSRequest("POST", self._url + "/", headers, body)
        SigV4Auth(Credentials("testing", "testing"), "kendra", "us-east-1").add_auth(request)
        self.responses.append(self._exchange(operation, request))
        return self.responses[-1]

    def call(self, operation: str, **request: Any) -> Any:
        """Send a request, and return the content of the response, whether it is an error or not."""
        return self.send(operation, json.dumps(request).encode()).content

    def _exchange(self, operation: str, request: AWSRequest) -> Response:
        connection = HTTPConnection(urlsplit(self._url).netloc, timeout=30)
        try:
            connection.request("POST", "/", request.data, dict(request.headers.items()))
            got = connection.getresponse()
            return Response(operation, got.status, _lower(got.getheaders()), got.read())
        finally:
            connection.close()


class InProcessWire(Wire):
    """The same through a client whose requests are mocked, where a client would send and has not parsed yet."""

    def __init__(self, client: Any) -> None:
        super().__init__("https://kendra.us-east-1.amazonaws.com")
        self._events = client.meta.events

    def _exchange(self, operation: str, request: AWSRequest) -> Response:
        _, got = self._events.emit_until_response(f"before-send.kendra.{operation}", request=request.prepare())
        return Response(operation, got.status_code, _lower(got.headers.items()), got.content)


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in headers}


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of the model. One is between slashes; `\\P{C}`, no control characters, is not known to Python."""
    pattern = pattern.removeprefix("/").removesuffix("/")
    return re.compile(pattern.replace(r"\P{C}", "[^\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\ud800-\udfff\ue000-\uf8ff]"))


def complaints(shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """Everything in which a value differs from its shape."""
    if shape.metadata.get("document"):
        return
    if not isinstance(value, JSON_TYPES[shape.type_name]) or isinstance(value, bool) != (shape.type_name == "boolean"):
        yield f"{path}: {value!r} is not a {shape.type_name}"
        return
    yield from _broken_limits(shape, value, path)
    if shape.type_name == "structure":
        yield from (f"{path}.{name} is not in the model" for name in value.keys() - shape.members.keys())
        yield from (f"{path}.{name} is required" for name in set(shape.required_members) - value.keys())
        for name in value.keys() & shape.members.keys():
            yield from complaints(shape.members[name], value[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for item in value:
            yield from complaints(shape.member, item, f"{path}[]")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from complaints(shape.key, key, f"{path}{{key}}")
            yield from complaints(shape.value, item, f"{path}{{}}")


def _broken_limits(shape: Any, value: Any, path: str) -> Iterator[str]:
    limits = shape.metadata
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path}: {value!r} is not JSON"
    size = len(value) if isinstance(value, str | list | dict) else value
    if not limits.get("min", size) <= size <= limits.get("max", size):
        yield f"{path}: {size} is not within {limits.get('min')} and {limits.get('max')}"
    if "enum" in limits and value not in limits["enum"]:
        yield f"{path}: {value!r} is not among {limits['enum']}"
    if "pattern" in limits and not compiled(limits["pattern"]).fullmatch(value):
        yield f"{path}: {value!r} does not match {limits['pattern']}"
    if shape.type_name == "blob":
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            yield f"{path} is not base64"


def members(shape: Any, path: str = "", above: tuple[str, ...] = ()) -> Iterator[str]:
    """The path of every member of a shape; a shape inside itself is not entered again."""
    if shape is None or shape.name in above:
        return
    above = (*above, shape.name)
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            inner = f"{path}.{name}" if path else name
            yield inner
            yield from members(member, inner, above)
    elif shape.type_name == "list":
        yield from members(shape.member, f"{path}[]", above)


def members_sent(shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """The path of every member that a value has, as `members` gives it."""
    if shape.type_name == "structure" and not shape.metadata.get("document"):
        for name in value.keys() & shape.members.keys():
            inner = f"{path}.{name}" if path else name
            yield inner
            yield from members_sent(shape.members[name], value[name], inner)
    elif shape.type_name == "list":
        for item in value:
            yield from members_sent(shape.member, item, f"{path}[]")
