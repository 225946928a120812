"""moto's server with Kendra: logs Kendra's calls and injects faults.

Controls are `POST /kendra-local/<name>` with the arguments as a JSON object (`args` for positional ones); the
response is `{"result": …}`, or status 400 and `{"error": …}`.
"""

import gc
import json
import logging
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from http.client import responses as reasons
from importlib.metadata import metadata
from io import BufferedReader, BytesIO
from typing import Any
from xml.sax.saxutils import escape

import flask
from moto.moto_server import werkzeug_app
from moto.utilities.aws_headers import gen_amzn_requestid_long
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from airflow_provider_kendra.testing import controls, guard, in_process, traffic
from airflow_provider_kendra.testing.calls import LOGGED_BODY, Call
from airflow_provider_kendra.testing.faults import Answer, refuse

CONTROL_PATH = "/kendra-local/"
MOTO_RESET_PATH = "/moto-api/reset"
JSON_TYPE = "application/x-amz-json-1.1"

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

log = logging.getLogger(__name__)


class _Dispatcher(werkzeug_app.DomainDispatcherApplication):
    """Caches the result of moto's dispatcher, which reads its package directory at every request."""

    def __init__(self) -> None:
        super().__init__(_Service)  # type: ignore[arg-type]
        self._backends: dict[str | None, Any] = {}
        self._kendra: Any = None

    def get_backend_for_host(self, host: str | None) -> Any:
        if host not in self._backends:
            self._backends[host] = super().get_backend_for_host(host)
        return self._backends[host]

    def kendra(self) -> Any:
        """Return the application for Kendra, to which moto would lead only signed requests."""
        with self.lock:
            if self._kendra is None:
                self._kendra = werkzeug_app.create_backend_app("kendra")  # type: ignore[arg-type]
            return self._kendra


class _Service:
    """A service of moto, or the reason why moto can't serve it here."""

    def __init__(self, name: Any):
        self.name = name
        self._app: Any = None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            if self.name is None:
                return _respond(_unavailable(environ, "moto does not have this service."), start_response)
            if self._app is None:
                self._app = werkzeug_app.create_backend_app(self.name)
                self._app.register_error_handler(NotImplementedError, self._refuse)
            response: Iterable[bytes] = self._app(environ, start_response)
        except ImportError as error:
            extra = self.name if self.name in (metadata("moto").get_all("Provides-Extra") or ()) else "all"
            sentence = f"moto's {self.name} needs the package {error.name}, which is missing: "
            answer = _unavailable(environ, f"{sentence}pip install 'moto[{extra}]'")
            return _respond(answer, start_response)
        return response

    def _refuse(self, error: NotImplementedError) -> tuple[bytes, int, dict[str, str]]:
        """Answer an operation that moto's backend of this service lacks, for which flask would send a page."""
        answer = _unavailable(flask.request.environ, f"moto's {self.name} does not support this request: {error}")
        return answer.body, answer.status, answer.headers


def _unavailable(environ: Environ, sentence: str) -> Answer:
    """Return an error that clients do not retry, in the protocol of the request."""
    code = "NotImplemented"
    if "HTTP_X_AMZ_TARGET" in environ or "json" in environ.get("CONTENT_TYPE", ""):
        return refuse(501, f"{code}Exception", sentence)
    xml = f"<Error><Code>{code}</Code><Message>{escape(sentence)}</Message></Error>"
    if b"Action=" in environ.get("wsgi.input", BytesIO()).getvalue():  # the query protocol
        xml = f"<ErrorResponse>{xml}</ErrorResponse>"
    return Answer(501, {"Content-Type": "application/xml"}, xml.encode())


def _respond(answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{answer.status} {reasons.get(answer.status, '')}", list(answer.headers.items()))
    return [answer.body]


class Application:
    """The WSGI application: controls, then faults, then moto. The handler runs the guard first."""

    def __init__(self) -> None:
        self.moto = _Dispatcher()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        target: str = environ.get("HTTP_X_AMZ_TARGET", "")
        if path.startswith(CONTROL_PATH):
            return _respond(self._control(path.removeprefix(CONTROL_PATH), environ), start_response)
        if target.startswith(in_process.TARGET_PREFIX):
            return _respond(self._kendra(target, environ), start_response)
        if path.startswith(MOTO_RESET_PATH):
            with controls.lock:
                return list(self.moto(environ, start_response))
        controls.settle()  # the request may read Kendra's logs or change documents
        response: Iterable[bytes] = self.moto(environ, start_response)
        return response

    def _control(self, name: str, environ: Environ) -> Answer:
        if refusal := guard.control_refusal(environ):
            return _control_answer(403, {"error": refusal})
        try:
            arguments = json.loads(_body(environ) or b"{}")
            if not isinstance(arguments, dict):
                raise ValueError("The arguments of a control are a JSON object")
            result = controls.call(name, arguments)
            return _control_answer(200, {"result": result})
        except RecursionError:
            return _control_answer(400, {"error": "The arguments are nested too deeply"})
        except ValueError as error:
            return _control_answer(400, {"error": str(error)})

    def _kendra(self, target: str, environ: Environ) -> Answer:
        if environ["REQUEST_METHOD"] != "POST" or environ["PATH_INFO"] != "/":
            return refuse(404, "UnknownOperationException", "Kendra answers POST requests with the path / only")
        # Whatever the content type is, moto must not read the body as a form.
        environ["CONTENT_TYPE"] = JSON_TYPE
        body = _body(environ)
        if environ.get("HTTP_CONTENT_ENCODING") == "gzip":
            try:
                body = guard.unzip(body)
            except guard.Refusal as refusal:
                return refuse(refusal.status, f"{refusal.code}Exception", str(refusal))
            environ.pop("HTTP_CONTENT_ENCODING")
            environ |= {"wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return traffic.current().exchange(
            target, traffic.region_of(environ.get("HTTP_AUTHORIZATION", "")), body,
            lambda: self._serve(environ), lambda: _reset(environ),
        )  # fmt: skip

    def _serve(self, environ: Environ) -> Answer:
        started: list[Any] = []
        try:
            chunks = self.moto.kendra()(environ, lambda status, headers, exc=None: started.extend((status, headers)))
            body = b"".join(chunks)
        except Exception as error:
            log.exception("A request to the local Kendra failed")
            return refuse(500, "InternalServerException", f"The local Kendra failed: {type(error).__name__}: {error}")
        return Answer(int(started[0].split()[0]), dict(started[1]), body)


def _control_answer(status: int, content: dict[str, Any]) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(content, default=_plain).encode())


def _plain(value: Any) -> Any:
    if isinstance(value, Call):
        return vars(value)
    raise TypeError(f"{value!r} cannot be sent as JSON")


def _body(environ: Environ) -> bytes:
    body: BytesIO = environ["wsgi.input"]
    return body.getvalue()


def _reset(environ: Environ) -> ConnectionResetError:
    """Make the next close send a TCP reset instead of closing the connection cleanly."""
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
            guard.check(self.headers, self.server.allowed_hosts)
            super().run_wsgi()
            self._free_body()
        except guard.Refusal as refusal:
            self._refuse(refusal)

    def make_environ(self) -> Environ:
        environ: Environ = super().make_environ()
        environ["HTTP_HOST"] = guard.as_loopback(environ["HTTP_HOST"], self.server.allowed_hosts)
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
        self.send_header("Content-Type", JSON_TYPE if in_json else "application/xml")
        self.send_header("X-Amzn-ErrorType", f"{refusal.code}Exception" if in_json else refusal.code)
        self.send_header("x-amzn-RequestId", gen_amzn_requestid_long())
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

    def __init__(self, host: str = "127.0.0.1", port: int = 0, allowed_hosts: Sequence[str] = ()):
        self.allowed_hosts = guard.allowed_hosts(host, allowed_hosts)
        super().__init__(host, port, Application(), _Handler)

    @property
    def url(self) -> str:
        """The URL for this machine."""
        host = guard.WILDCARDS.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def shutdown_request(self, request: Any) -> None:
        linger: bytes = request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        if struct.unpack("ii", linger)[0]:
            self.close_request(request)
        else:
            super().shutdown_request(request)
