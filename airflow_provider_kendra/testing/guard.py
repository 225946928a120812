"""Protects the local Kendra from web pages and endless requests.

A page in the developer's browser can send requests to loopback: with forms, images and scripts, or under a domain that
it rebinds to 127.0.0.1. The browser then identifies the page in `Origin`, `Sec-Fetch-Site` or `Host`.
"""

import json
import re
import socket
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from email.message import Message
from io import BufferedReader, RawIOBase
from typing import Any
from xml.sax.saxutils import escape

from werkzeug.serving import DechunkedInput

MAX_BODY = 80 * 1024**2
"""Bytes. Kendra's largest document, 50 MB, is 67 MB in base64."""

MAX_OVERHEAD = 10 * 1024**2
"""Bytes for headers and for the framing of chunks."""

REQUEST_SECONDS = 30.0
"""How long a request may take to arrive, and a client to receive a part of the response."""

DISCARD_SECONDS = 5.0
"""How long to read the rest of a rejected request."""

#: Each name below localhost is loopback (RFC 6761): S3 clients put the bucket there.
LOOPBACK = re.compile(r"(([a-z0-9_-]+\.)*localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)

#: The addresses of all interfaces, and those under which this machine reaches them.
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}

#: Types that web pages can send without a preflight, except x-www-form-urlencoded, which curl and urllib default to.
PAGE_TYPES = ("text/plain", "multipart/form-data")


class Refusal(Exception):
    """A request that is rejected before moto handles it."""

    def __init__(self, status: int, code: str, sentence: str):
        super().__init__(sentence)
        self.status = status
        self.code = code

    def in_json(self) -> bytes:
        """Return the error as Kendra and the controls do."""
        return json.dumps({"__type": f"{self.code}Exception", "Message": str(self), "error": str(self)}).encode()

    def in_xml(self) -> bytes:
        """Return the error as S3 does."""
        return f"<Error><Code>{self.code}</Code><Message>{escape(str(self))}</Message></Error>".encode()


def allowed_hosts(bound: str, named: Sequence[str]) -> re.Pattern[str] | None:
    """Return what matches the `Host` of other machines' requests; None if there are none."""
    names = {*named, bound} - {*WILDCARDS, "127.0.0.1", "::1", "localhost"}
    if not names:
        return None
    spelt = (re.escape(f"[{name}]" if ":" in name else name) for name in sorted(names))
    return re.compile(rf"(?P<below>([a-z0-9_-]+\.)*)({'|'.join(spelt)})(?P<port>:[0-9]{{1,5}})?", re.IGNORECASE)


def as_loopback(host: str, allowed: re.Pattern[str] | None) -> str:
    """Return the `Host` that moto understands: S3 takes the first part of any other name for a bucket."""
    match = allowed and not LOOPBACK.fullmatch(host) and allowed.fullmatch(host)
    return f"{match['below']}localhost{match['port'] or ''}" if match else host


def check(headers: Message, allowed: re.Pattern[str] | None = None) -> None:
    """Reject requests of web pages, and unreadable bodies before reading them."""
    hosts = [host.strip() for host in headers.get_all("Host", [])]
    if len(hosts) != 1 or not (LOOPBACK.fullmatch(hosts[0]) or (allowed and allowed.fullmatch(hosts[0]))):
        raise Refusal(
            403,
            "AccessDenied",
            "The local Kendra accepts only loopback names, the names of --host and --allow-host, and their subdomains.",
        )
    own_origin = f"http://{hosts[0]}".lower()
    is_foreign = any(origin.lower() != own_origin for origin in headers.get_all("Origin", []))
    is_cross_site = any(site not in ("none", "same-origin") for site in headers.get_all("Sec-Fetch-Site", []))
    if is_foreign or is_cross_site:
        raise Refusal(403, "AccessDenied", "The local Kendra does not serve web pages.")
    if not _is_chunked(headers):
        _content_length(headers)


def control_refusal(environ: dict[str, Any]) -> str | None:
    """Return why a control rejects a request that a web page can send without a CORS preflight; None if allowed."""
    if environ["REQUEST_METHOD"] != "POST":
        return "The local Kendra accepts controls by POST only."
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type in PAGE_TYPES:
        return f"The local Kendra accepts no controls as {media_type}: send them as application/json."
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
        raise Refusal(400, "NotImplemented", "The only supported Transfer-Encoding is chunked.")
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


def unzip(body: bytes) -> bytes:
    """Decompress a body in gzip, up to the limit of size."""
    decompressor = zlib.decompressobj(wbits=31)
    try:
        content = decompressor.decompress(body, MAX_BODY + 1)
    except zlib.error:
        raise Refusal(400, "Serialization", "The request body is not valid gzip") from None
    if len(content) > MAX_BODY:
        raise _too_large()
    if not decompressor.eof:
        raise Refusal(400, "Serialization", "The request body is not valid gzip")
    return content


def _too_large() -> Refusal:
    return Refusal(413, "EntityTooLarge", f"The body is larger than the limit of {MAX_BODY} bytes.")


class RequestReader(RawIOBase):
    """Reads a request up to its limits of time and size."""

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
    """Read the rest of a rejected request: closing now would reset the connection before the response arrives."""
    deadline = time.monotonic() + DISCARD_SECONDS
    buffer = bytearray(65536)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while (seconds_left := deadline - time.monotonic()) > 0:
            connection.settimeout(seconds_left)
            if not connection.recv_into(buffer):
                return
