"""moto's server with Kendra in it: it keeps a log of Kendra's calls, and misbehaves when told to.

Controls are `POST /kendra-local/<name>` with the arguments as a JSON object (`args` for positional ones); the
answer is `{"result": …}`, or status 400 and `{"error": …}`.
"""

import json
import random
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from http.client import responses as reasons
from io import BytesIO
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.moto_server import werkzeug_app
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from airflow_provider_kendra.testing import controls

CONTROL_PATH = "/kendra-local/"
TARGET_PREFIX = "AWSKendraFrontendService."
LOGGED_CALLS = 100_000
SERVER_FAULTS = {"InternalServerException": 500, "InternalFailure": 500, "ServiceUnavailable": 503}
JSON_HEADERS = {"Content-Type": "application/x-amz-json-1.1"}

Environ = dict[str, Any]


@dataclass
class Call:
    """One request to Kendra; `status` is absent while it is served and when it got no answer."""

    operation: str
    parameters: Any
    region: str
    time: float
    status: int | None = None
    error: str | None = None


@dataclass
class Answer:
    """A response that can still be spoilt."""

    status: int
    headers: dict[str, str]
    body: bytes


class Fault:
    """One way to misbehave, and how often."""

    RESETS = (None, "before", "after")
    BODIES = (None, "truncated", "not-json", "empty")
    NEXT_TOKENS = (None, "repeated", "invalid")

    def __init__(
        self,
        operation: str,
        times: int | None = None,
        rate: float | None = None,
        seed: int = 0,
        error: str | None = None,
        status: int | None = None,
        message: str | None = None,
        delay: float | None = None,
        reset: str | None = None,
        body: str | None = None,
        next_token: str | None = None,
    ):
        if not any((error, status, delay, reset, body, next_token)):
            raise ValueError("A fault needs one of error, status, delay, reset, body, next_token")
        for value, known in ((reset, self.RESETS), (body, self.BODIES), (next_token, self.NEXT_TOKENS)):
            if value not in known:
                raise ValueError(f"{value!r} is none of {known}")
        if operation != "*" and not controls.is_operation(operation):
            raise ValueError(f"Kendra has no operation {operation!r}")
        self.operation = operation
        self.times_left = times
        self.rate = rate
        self.random = random.Random(seed)
        self.error = error
        self.status = status
        self.message = message
        self.delay = delay or 0.0
        self.reset = reset
        self.body = body
        self.next_token = next_token

    def strikes(self, operation: str) -> bool:
        if self.operation not in ("*", operation) or self.times_left == 0:
            return False
        if self.rate is not None and self.random.random() >= self.rate:
            return False
        if self.times_left is not None:
            self.times_left -= 1
        return True

    def refusal(self) -> Answer | None:
        """The answer given in the place of Kendra's, which then never hears of the request."""
        if self.error is None and self.status is None:
            return None
        message = self.message or "Injected by the local Kendra"
        content = {"message": message} | ({"__type": self.error} if self.error else {})
        status = self.status or SERVER_FAULTS.get(self.error or "", 400)
        return Answer(status, dict(JSON_HEADERS), json.dumps(content).encode())

    def spoil(self, answer: Answer, parameters: Any) -> Answer:
        if self.next_token and answer.status == 200:
            content = json.loads(answer.body or b"{}")
            repeated = parameters.get("NextToken") or content.get("NextToken", "")
            content["NextToken"] = repeated if self.next_token == "repeated" else "bm90IGEgdG9rZW4="
            answer.body = json.dumps({name: value for name, value in content.items() if value}).encode()
        if self.body == "not-json":
            answer.body = b"<html><body>It works!</body></html>"
        elif self.body == "empty":
            answer.body = b""
        answer.headers["Content-Length"] = str(len(answer.body))
        if self.body == "truncated":
            answer.headers["Content-Length"] = str(len(answer.body) + 1)
            answer.body = answer.body[: len(answer.body) // 2]
        return answer


class _Dispatcher(werkzeug_app.DomainDispatcherApplication):
    """moto's dispatcher reads its package directory at every request; the answer never changes."""

    def __init__(self, create_app: Callable[..., Any]):
        super().__init__(create_app)
        self._backends: dict[str | None, Any] = {}

    def get_backend_for_host(self, host: str | None) -> Any:
        if host not in self._backends:
            self._backends[host] = super().get_backend_for_host(host)
        return self._backends[host]


class Application:
    """The WSGI application: controls, then faults, then moto."""

    def __init__(self) -> None:
        self.moto = _Dispatcher(werkzeug_app.create_backend_app)
        self.lock = threading.Lock()
        self.controls = controls.CONTROLS | {
            "reset": self.reset,
            "inject": self.inject,
            "clear_faults": self.clear_faults,
            "calls": self.logged_calls,
            "call_count": self.call_count,
        }
        self._forget()

    def _forget(self) -> None:
        self.faults: list[Fault] = []
        self.calls: deque[Call] = deque(maxlen=LOGGED_CALLS)
        self.counts: Counter[str] = Counter()

    def reset(self) -> None:
        with self.lock:
            controls.reset()
            self._forget()

    def inject(self, operation: str, **fault: Any) -> None:
        with self.lock:
            self.faults.append(Fault(operation, **fault))

    def clear_faults(self) -> None:
        with self.lock:
            self.faults.clear()

    def logged_calls(self, operation: str | None = None) -> list[dict[str, Any]]:
        with self.lock:
            return [asdict(call) for call in self.calls if operation in (None, call.operation)]

    def call_count(self, operation: str | None = None) -> int:
        with self.lock:
            return self.counts.total() if operation is None else self.counts[operation]

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        target: str = environ.get("HTTP_X_AMZ_TARGET", "")
        if path.startswith(CONTROL_PATH):
            answer = self._control(path.removeprefix(CONTROL_PATH), _take_body(environ))
        elif target.startswith(TARGET_PREFIX):
            answer = self._kendra(target.removeprefix(TARGET_PREFIX), environ)
        else:
            response: Iterable[bytes] = self.moto(environ, start_response)
            return response
        start_response(f"{answer.status} {reasons.get(answer.status, '')}", list(answer.headers.items()))
        return [answer.body]

    def _control(self, name: str, body: bytes) -> Answer:
        status, content = 200, {}
        try:
            if name not in self.controls:
                raise ValueError(f"There is no control {name!r}")
            parameters = json.loads(body or b"{}")
            content["result"] = self.controls[name](*parameters.pop("args", ()), **parameters)
        except (TypeError, ValueError, LookupError, JsonRESTError) as error:
            status, content["error"] = 400, getattr(error, "message", None) or str(error)
        return Answer(status, {"Content-Type": "application/json"}, json.dumps(content).encode())

    def _kendra(self, operation: str, environ: Environ) -> Answer:
        body = _take_body(environ)
        environ["wsgi.input"] = BytesIO(body)
        call = Call(operation, _parsed(body), _region(environ), time.time())
        with self.lock:
            self.calls.append(call)
            self.counts[operation] += 1
            fault = next((fault for fault in self.faults if fault.strikes(operation)), None)
        answer = self._answer(environ, call, fault)
        call.status = answer.status
        if answer.status >= 400:
            call.error = _error_code(answer)
        return answer

    def _answer(self, environ: Environ, call: Call, fault: Fault | None) -> Answer:
        if fault is None:
            return self._serve(environ)
        answer = fault.refusal()
        if answer is None and fault.reset != "before":
            answer = self._serve(environ)
        # Kendra has acted by now: a client that gives up waiting has missed an answer, not prevented a call.
        time.sleep(fault.delay)
        if fault.reset or answer is None:
            call.error = "ConnectionReset"
            raise _reset(environ)
        return fault.spoil(answer, call.parameters)

    def _serve(self, environ: Environ) -> Answer:
        started: list[Any] = []
        chunks = self.moto(environ, lambda status, headers, exc_info=None: started.extend((status, headers)))
        body = b"".join(chunks)
        return Answer(int(started[0].split()[0]), dict(started[1]), body)


def _take_body(environ: Environ) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return body


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except ValueError:
        return body.decode(errors="replace")


def _region(environ: Environ) -> str:
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
    return scope[2] if len(scope) > 2 else ""


def _error_code(answer: Answer) -> str | None:
    content = _parsed(answer.body)
    return content.get("__type") if isinstance(content, dict) else None


def _reset(environ: Environ) -> ConnectionResetError:
    """Let the close that follows be a TCP reset, not an orderly end."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return ConnectionResetError()


class _Handler(getattr(werkzeug_app, "MotoRequestHandler", WSGIRequestHandler)):  # type: ignore[misc]
    """moto's handler where it has one, without its log line for each request."""

    def log_request(self, *args: Any) -> None:
        pass

    def connection_dropped(self, error: BaseException, environ: Environ | None = None) -> None:
        self.close_connection = True


class Server(ThreadedWSGIServer):
    """A thread for each request, and room for a thousand pollers that all come at once."""

    request_queue_size = 1024

    def __init__(self, host: str = "127.0.0.1", port: int = 0):
        super().__init__(host, port, Application(), _Handler)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def shutdown_request(self, request: Any) -> None:
        linger: bytes = request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        if struct.unpack("ii", linger)[0]:
            self.close_request(request)
        else:
            super().shutdown_request(request)
