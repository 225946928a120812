"""The log of the calls that the local Kendra has received."""

import json
import re
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

LOGGED_CALLS = 100_000
LOGGED_BYTES = 100_000_000  # of all calls
LOGGED_BODY = 1_000_000  # bytes of one call; longer ones are shortened
LOGGED_TEXT = 1_000  # characters
LOGGED_LEVELS = 50  # of lists and objects

#: A long base64 text in quotes. It has no punctuation, so the first quote can't be the end of another text.
BLOB = re.compile(rb'"([A-Za-z0-9+/]{%d})([A-Za-z0-9+/]+={0,2})"' % LOGGED_TEXT)


@dataclass
class Call:
    """
    A request that the local Kendra has received.

    :param operation: The operation of the API, such as ``ListDataSourceSyncJobs``.
    :param parameters: Its parameters, parsed from JSON. In requests over 1 MB, texts are cut to 1,000 characters.
    :param region: The AWS region of the client.
    :param time: When it arrived, in seconds since the epoch.
    :param status: The HTTP status of the response; None if there is none (yet).
    :param error: The error code, ``ConnectionReset`` for a reset; None if it succeeded.
    """

    operation: str
    parameters: Any
    region: str
    time: float
    status: int | None = None
    error: str | None = None


class CallLog:
    """The newest calls, and how many there were."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Call, int]] = deque()
        self._bytes = 0
        self._counts: Counter[str] = Counter()

    def add(self, call: Call, size: int) -> None:
        self._counts[call.operation] += 1
        size = min(size, LOGGED_BODY)
        self._calls.append((call, size))
        self._bytes += size
        while len(self._calls) > LOGGED_CALLS or self._bytes > LOGGED_BYTES:
            self._bytes -= self._calls.popleft()[1]

    def calls(self, operation: str | None = None) -> list[Call]:
        return [call for call, _ in self._calls if operation in (None, call.operation)]

    def count(self, operation: str | None = None) -> int:
        return self._counts.total() if operation is None else self._counts[operation]


def parameters_of(body: bytes) -> Any:
    """Return the parameters of a request as they are logged; the body itself if it is not JSON."""
    if len(body) <= LOGGED_BODY:
        return _cut(_parsed(body), None)
    # Cut before they are parsed: a request can hold 80 MB of documents, and each parse copies them twice.
    body = BLOB.sub(_shortened, body)
    parameters = _cut(_parsed(body), LOGGED_TEXT)
    if len(json.dumps(parameters)) > LOGGED_BODY:
        return _cut(body.decode(errors="replace"), LOGGED_TEXT)
    return parameters


def _shortened(blob: re.Match[bytes]) -> bytes:
    # Escaped, as it is put into JSON.
    return b'"%b\\u2026 (%d of %d characters)"' % (blob[1], LOGGED_TEXT, blob.end() - blob.start() - 2)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def _cut(value: Any, longest: int | None, levels: int = LOGGED_LEVELS) -> Any:
    """Return JSON without long texts and deep levels."""
    if isinstance(value, dict | list) and not levels:
        return "…"
    if isinstance(value, dict):
        return {name: _cut(each, longest, levels - 1) for name, each in value.items()}
    if isinstance(value, list):
        return [_cut(each, longest, levels - 1) for each in value]
    if isinstance(value, str) and longest and len(value) > longest + 100:  # a blob that is cut has a note of its own
        return f"{value[:longest]}… ({longest} of {len(value)} characters)"
    return value
