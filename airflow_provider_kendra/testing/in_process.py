"""Logs calls and applies faults under `mock_kendra`, in front of moto's handler of requests."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ConnectionClosedError
from moto.core.config import passthrough_service, passthrough_url

TARGET_PREFIX = "AWSKendraFrontendService."

Response = tuple[int, Any, Any]
Process = Callable[[Any], Response | None]


def intercept(process_request: Process) -> Process:
    """Wrap moto's `process_request`, which is called while a mock is active only."""

    def process(request: Any) -> Response | None:
        target = _text(request.headers.get("X-Amz-Target", ""))
        is_real = passthrough_service("kendra") or passthrough_url(request.url)
        if not target.startswith(TARGET_PREFIX) or is_real:
            return process_request(request)
        return _exchange(target, request, process_request)

    return process


def _exchange(target: str, request: Any, process_request: Process) -> Response:
    # Not at the top: both import moto.kendra, which exists only once the registry has been loaded.
    from airflow_provider_kendra.testing import faults, traffic

    def serve() -> faults.Answer:
        response = process_request(request)
        assert response is not None
        status, headers, body = response
        return faults.Answer(int(status), dict(headers), body.encode() if isinstance(body, str) else body)

    def reset() -> ConnectionClosedError:
        return ConnectionClosedError(endpoint_url=request.url)

    region = traffic.region_of(_text(request.headers.get("Authorization", "")))
    answer = traffic.current().exchange(target, region, _body(request.body), serve, reset)
    return answer.status, answer.headers, answer.body


def _body(body: Any) -> bytes:
    if hasattr(body, "read"):
        content: bytes = body.read()
        body.seek(0)
        return content
    return body.encode() if isinstance(body, str) else body or b""


def _text(header: str | bytes) -> str:
    return header.decode() if isinstance(header, bytes) else header
