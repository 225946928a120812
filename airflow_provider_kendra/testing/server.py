"""moto's server with Kendra: logs Kendra's calls and injects faults.

Controls are `POST /kendra-local/<name>` with the arguments as a JSON object (`args` for positional ones); the
response is `{"result": …}`, or status 400 and `{"error": …}`.
"""

import gc
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
from io import BufferedReader, BytesIO
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.moto_server import werkzeug_app
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from airflow_provider_kendra.testing import controls, guard

CONTROL_PATH = "/kendra-local/"
TARGET_PREFIX = "AWSKendraFrontendService."
LOGGED_CALLS = 100_000
LOGGED_BYTES = 100_000_000  # of all calls
LOGGED_BODY = 1_000_000  # bytes of one call; longer ones are shortened
LOGGED_TEXT = 1_000
SERVER_FAULTS = {"InternalServerException": 500, "InternalFailure": 500, "ServiceUnavailable": 503}
JSON_HEADERS = {"Content-Type": "application/x-amz-json-1.1"}

Environ = dict[str, Any]


@dataclass
class Call:
    """One request to Kendra; `status` is None while it is served, and if it got no response."""

    operation: str
    parameters: Any
    region: str
    time: float
    status: int | None = None
    error: str | None = None


@dataclass
class Answer:
    """A response that a fault can still change."""

    status: int
    headers: dict[str, str]
    body: bytes


class Fault:
    """A fault, and how often it applies."""

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
                raise ValueError(f"{value!r} is not one of {known}")
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

    def applies_to(self, operation: str) -> bool:
        if self.operation not in ("*", operation) or self.times_left == 0:
            return False
        if self.rate is not None and self.random.random() >= self.rate:
            return False
        if self.times_left is not None:
            self.times_left -= 1
        return True

    def refusal(self) -> Answer | None:
        """The response that replaces Kendra's, if any."""
        if self.error is None and self.status is None:
            return None
        message = self.message or "Injected by the local Kendra"
        content = {"message": message} | ({"__type": self.error} if self.error else {})
        status = self.status or SERVER_FAULTS.get(self.error or "", 400)
        return Answer(status, dict(JSON_HEADERS), json.dumps(content).encode())

    def corrupt(self, answer: Answer, parameters: Any) -> Answer:
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
    """Caches the result of moto's dispatcher, which reads its package directory at every request."""

    def __init__(self, create_app: Callable[..., Any]):
        super().__init__(create_app)
        self._backends: dict[str | None, Any] = {}

    def get_backend_for_host(self, host: str | None) -> Any:
        if host not in self._backends:
            self._backends[host] = super().get_backend_for_host(host)
        return self._backends[host]


class Application:
    """The WSGI application: controls, then faults, then moto. The handler runs the guard first."""

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
        self.calls: deque[tuple[Call, int]] = deque()
        self.logged_bytes = 0
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
            return [asdict(call) for call, _ in self.calls if operation in (None, call.operation)]

    def call_count(self, operation: str | None = None) -> int:
        with self.lock:
            return self.counts.total() if operation is None else self.counts[operation]

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        target: str = environ.get("HTTP_X_AMZ_TARGET", "")
        if path.startswith(CONTROL_PATH):
            answer = self._control(path.removeprefix(CONTROL_PATH), environ)
        elif target.startswith(TARGET_PREFIX):
            answer = self._kendra(target.removeprefix(TARGET_PREFIX), environ)
        else:
            response: Iterable[bytes] = self.moto(environ, start_response)
            return response
        start_response(f"{answer.status} {reasons.get(answer.status, '')}", list(answer.headers.items()))
        return [answer.body]

    def _control(self, name: str, environ: Environ) -> Answer:
        status, content = 200, {}
        try:
            if refusal := guard.control_refusal(environ):
                return _control_answer(403, {"error": refusal})
            if name not in self.controls:
                raise ValueError(f"There is no control {name!r}")
            parameters = json.loads(_take_body(environ) or b"{}")
            content["result"] = self.controls[name](*parameters.pop("args", ()), **parameters)
        except (TypeError, ValueError, LookupError, JsonRESTError) as error:
            status, content["error"] = 400, getattr(error, "message", None) or str(error)
        return _control_answer(status, content)

    def _kendra(self, operation: str, environ: Environ) -> Answer:
        body = _take_body(environ)
        environ["wsgi.input"] = BytesIO(body)
        call = Call(operation, _shortened(body), _region(environ), time.time())
        with self.lock:
            self._log(call, min(len(body), LOGGED_BODY))
            fault = next((fault for fault in self.faults if fault.applies_to(operation)), None)
        answer = self._answer(environ, call, fault)
        call.status = answer.status
        if answer.status >= 400:
            call.error = _error_code(answer)
        return answer

    def _log(self, call: Call, size: int) -> None:
        self.counts[call.operation] += 1
        self.calls.append((call, size))
        self.logged_bytes += size
        while len(self.calls) > LOGGED_CALLS or self.logged_bytes > LOGGED_BYTES:
            self.logged_bytes -= self.calls.popleft()[1]

    def _answer(self, environ: Environ, call: Call, fault: Fault | None) -> Answer:
        if fault is None:
            return self._serve(environ)
        answer = fault.refusal()
        if answer is None and fault.reset != "before":
            answer = self._serve(environ)
        # Kendra has acted by now: a client that times out misses the response, but the call has had its effect.
        time.sleep(fault.delay)
        if fault.reset or answer is None:
            call.error = "ConnectionReset"
            raise _reset(environ)
        return fault.corrupt(answer, call.parameters)

    def _serve(self, environ: Environ) -> Answer:
        started: list[Any] = []
        chunks = self.moto(environ, lambda status, headers, exc_info=None: started.extend((status, headers)))
        body = b"".join(chunks)
        return Answer(int(started[0].split()[0]), dict(started[1]), body)


def _control_answer(status: int, content: dict[str, Any]) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(content).encode())


def _take_body(environ: Environ) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return body


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except ValueError:
        return body.decode(errors="replace")


def _shortened(body: bytes) -> Any:
    """The logged parameters of a call, shortened if it carries large documents."""
    if len(body) <= LOGGED_BODY:
        return _parsed(body)
    parameters = _cut(_parsed(body))
    if len(json.dumps(parameters)) > LOGGED_BODY:
        return _cut(body.decode(errors="replace"))
    return parameters


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _cut(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_cut(each) for each in value]
    if isinstance(value, str) and len(value) > LOGGED_TEXT:
        return f"{value[:LOGGED_TEXT]}… ({LOGGED_TEXT} of {len(value)} characters)"
    return value


def _region(environ: Environ) -> str:
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
    return scope[2] if len(scope) > 2 else ""


def _error_code(answer: Answer) -> str | None:
    content = _parsed(answer.body)
    return content.get("__type") if isinstance(content, dict) else None


def _reset(environ: Environ) -> ConnectionResetError:
    """Make the close that follows a TCP reset instead of an orderly one."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return ConnectionResetError()


class _Handler(getattr(werkzeug_app, "MotoRequestHandler", WSGIRequestHandler)):  # type: ignore[misc]
    """moto's handler, if it has one, with the guard in front and without request logging."""

    def setup(self) -> None:
        self.timeout = guard.REQUEST_SECONDS
        super().setup()
        self.rfile.close()
        self.rfile: BufferedReader[guard.RequestReader] = BufferedReader(guard.RequestReader(self.connection))

    def handle_expect_100(self) -> bool:
        """Leave `100 Continue` to `run_wsgi`, which also sends it, but after the guard."""
        return True

    def run_wsgi(self) -> None:
        try:
            guard.check(self.headers)
            super().run_wsgi()
            self._free_body()
        except guard.Refusal as refusal:
            self._refuse(refusal)

    def make_environ(self) -> Environ:
        environ: Environ = super().make_environ()
        body = guard.read_body(self.rfile, self.headers)
        for name in ("HTTP_TRANSFER_ENCODING", "wsgi.input_terminated"):
            environ.pop(name, None)
        return environ | {"CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body)}

    def _free_body(self) -> None:
        """Free a large body now: flask's request is in a reference cycle, and keeps it until some later collection."""
        size = int(self.environ["CONTENT_LENGTH"])
        self.environ.clear()
        if size > LOGGED_BODY:
            gc.collect()

    def _refuse(self, refusal: guard.Refusal) -> None:
        in_json = "X-Amz-Target" in self.headers or self.path.startswith(CONTROL_PATH)
        body = refusal.in_json() if in_json else refusal.in_xml()
        self.close_connection = True
        self.send_response(refusal.status)
        self.send_header("Content-Type", JSON_HEADERS["Content-Type"] if in_json else "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)
        guard.discard(self.connection)

    def log_request(self, *args: Any) -> None:
        pass

    def log_error(self, *args: Any) -> None:
        """Ignore malformed and interrupted requests."""

    def connection_dropped(self, error: BaseException, environ: Environ | None = None) -> None:
        self.close_connection = True


class Server(ThreadedWSGIServer):
    """One thread per request, and a backlog for a thousand simultaneous pollers."""

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
