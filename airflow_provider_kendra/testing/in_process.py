"""Logs calls of Kendra and applies faults under `mock_kendra`, in front of moto's handler of requests."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ConnectionClosedError
from moto.core.config import passthrough_service, passthrough_url
from moto.core.utils import get_equivalent_url_in_aws_domain

TARGET_PREFIX = "AWSKendraFrontendService."

Response = tuple[int, Any, Any]
Process = Callable[[Any], Response | None]


def intercept(process_request: Process, patterns: Sequence[re.Pattern[str]]) -> Process:
    """
    Wrap moto's `process_request`, which is called only while a mock is active.

    :param patterns: The URLs of Kendra. moto leaves others, such as that of a `LocalKendra`, to the network.
    """

    def process(request: Any) -> Response | None:
        target = _text(request.headers.get("X-Amz-Target", ""))
        parsed, _ = get_equivalent_url_in_aws_domain(request.url)
        url = f"{parsed.scheme}://{parsed.netloc}{parsed.path}"
        is_mocked = any(pattern.match(url) for pattern in patterns)
        is_real = passthrough_service("kendra") or passthrough_url(url)
        if not target.startswith(TARGET_PREFIX) or not is_mocked or is_real:
            _settle()
            return process_request(request)
        return _exchange(target, request, process_request)

    return process


def _settle() -> None:
    """Let Kendra do what is due before a request of another service, which may read its logs or change documents."""
    from airflow_provider_kendra.testing import controls

    controls.settle()


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
