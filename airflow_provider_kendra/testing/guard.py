"""Keeps web pages, and requests without end, away from the local Kendra.

A page in the developer's browser can send requests to loopback: with forms, images and scripts, or under a domain
whose address it changes to 127.0.0.1. Its browser then names the page in `Origin`, `Sec-Fetch-Site` or `Host`.
"""

import json
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from io import BufferedReader, RawIOBase
from typing import Any
from xml.sax.saxutils import escape

from werkzeug.serving import DechunkedInput

MAX_BODY = 80 * 1024**2
"""Bytes. Kendra's largest document, 50 MB, is 67 MB in base64."""

MAX_OVERHEAD = 10 * 1024**2
"""Bytes for headers, and for what frames the chunks of a body."""

REQUEST_SECONDS = 30.0
"""How long a request may take to arrive; also how long a client may take to receive a part of the answer."""

DISCARD_SECONDS = 5.0
"""How long the rest of a refused request is read."""

#: Each name below localhost is loopback (RFC 6761): S3 clients put the bucket there.
LOOPBACK = re.compile(r"(([a-z0-9_-]+\.)*localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)

#: Not application/x-www-form-urlencoded: curl and urllib say so of any POST unless told otherwise.
PAGE_TYPES = ("text/plain", "multipart/form-data")


class Refusal(Exception):
    """A request that is answered without being served."""

    def __init__(self, status: int, code: str, sentence: str):
        super().__init__(sentence)
        self.status = status
        self.code = code

    def in_json(self) -> bytes:
        """As Kendra and the controls answer errors."""
        return json.dumps({"__type": f"{self.code}Exception", "message": str(self), "error": str(self)}).encode()

    def in_xml(self) -> bytes:
        """As S3 answers errors."""
        return f"<Error><Code>{self.code}</Code><Message>{escape(str(self))}</Message></Error>".encode()


def check(headers: Message) -> None:
    """Refuse the request of a page, and a body that cannot be read, before any of it is read."""
    hosts = headers.get_all("Host", [])
    if len(hosts) != 1 or not LOOPBACK.fullmatch(hosts[0].strip()):
        raise Refusal(403, "AccessDenied", "The local Kendra answers only under the names of loopback.")
    own_origin = f"http://{hosts[0].strip()}".lower()
    is_foreign = any(origin.lower() != own_origin for origin in headers.get_all("Origin", []))
    is_cross_site = any(site not in ("none", "same-origin") for site in headers.get_all("Sec-Fetch-Site", []))
    if is_foreign or is_cross_site:
        raise Refusal(403, "AccessDenied", "The local Kendra answers no requests of web pages.")
    if not _is_chunked(headers):
        _content_length(headers)


def control_refusal(environ: dict[str, Any]) -> str | None:
    """Why this request moves no lever: a page can send it without asking the browser first."""
    if environ["REQUEST_METHOD"] != "POST":
        return "The local Kendra takes levers by POST only."
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type in PAGE_TYPES:
        return "The local Kendra takes the arguments of a lever as application/json."
    return None


def read_body(stream: "BufferedReader[RequestReader]", headers: Message) -> bytes:
    """Read the whole body of a request that `check` has passed."""
    try:
        if _is_chunked(headers):
            return _read_chunks(stream)
        length = _content_length(headers)
        body = stream.read(length)
    except TimeoutError:
        raise Refusal(408, "RequestTimeout", "The body did not arrive in time.") from None
    if len(body) < length:
        raise Refusal(400, "IncompleteBody", "The body ended before its Content-Length.")
    return body


def _is_chunked(headers: Message) -> bool:
    encodings = headers.get_all("Transfer-Encoding", [])
    if encodings and [each.strip().lower() for each in encodings] != ["chunked"]:
        raise Refusal(400, "NotImplemented", "The only Transfer-Encoding of a body is chunked.")
    return bool(encodings)


def _content_length(headers: Message) -> int:
    lengths = set(headers.get_all("Content-Length", ["0"]))
    length = lengths.pop().strip()
    if lengths or not re.fullmatch("[0-9]+", length):
        raise Refusal(400, "InvalidRequest", "The Content-Length is not a number of bytes.")
    if len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY:
        raise _too_large()
    return int(length)


def _read_chunks(stream: "BufferedReader[RequestReader]") -> bytes:
    body = bytearray()
    chunks = DechunkedInput(stream)
    try:
        while part := chunks.read(65536):
            body += part
            if len(body) > MAX_BODY:
                raise _too_large()
    except (TimeoutError, ConnectionError):
        raise
    except (OSError, ValueError):
        if stream.raw.bytes_left <= 0:
            raise _too_large() from None
        raise Refusal(400, "InvalidRequest", "The chunks of the body are malformed.") from None
    return bytes(body)


def _too_large() -> Refusal:
    return Refusal(413, "EntityTooLarge", f"The body is larger than {MAX_BODY} bytes, the most that is taken.")


class RequestReader(RawIOBase):
    """What a client sends, until the request's time or size is used up."""

    def __init__(self, connection: socket.socket, clock: Callable[[], float] = time.monotonic):
        self.connection = connection
        self.clock = clock
        self.deadline = clock() + REQUEST_SECONDS
        self.bytes_left = MAX_BODY + MAX_OVERHEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        seconds_left = self.deadline - self.clock()
        if seconds_left <= 0:
            raise TimeoutError("The request did not arrive in time")
        if self.bytes_left <= 0:
            return 0
        self.connection.settimeout(seconds_left)
        try:
            received = self.connection.recv_into(buffer)
        finally:
            self.connection.settimeout(REQUEST_SECONDS)
        self.bytes_left -= received
        return received


def discard(connection: socket.socket) -> None:
    """Read what a refused client still sends: to close now would reset the connection before it has the answer."""
    deadline = time.monotonic() + DISCARD_SECONDS
    buffer = bytearray(65536)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while (seconds_left := deadline - time.monotonic()) > 0:
            connection.settimeout(seconds_left)
            if not connection.recv_into(buffer):
                return
