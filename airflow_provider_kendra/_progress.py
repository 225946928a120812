"""The progress of a wait: one line on a terminal, which is redrawn each second."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Self, TextIO

from rich.cells import cell_len
from rich.text import Text

from airflow_provider_kendra import _clock, _streams
from airflow_provider_kendra._text import LONGEST_MESSAGE, plain

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_kendra._decisions import Waiting

_TICK = 1.0  # seconds
_MARGIN = 3  # columns, for the ^C that a terminal shows


class Progress:
    """
    Shows the progress of a wait while it is entered; shows nothing if the stream is not a terminal, or a dumb one.

    :param stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_shown = stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
        self._since = _clock.utcnow()
        self._state: Waiting | None = None
        self._drawn = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        # A thread, since a poll that hangs must not stop the clock.
        self._thread = threading.Thread(target=self._tick, name="kendra-progress", daemon=True)

    def __enter__(self) -> Self:
        if self._is_shown:
            self._draw()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._is_shown:
            self._thread.join()
            self._write("")

    def update(self, state: Waiting) -> None:
        """
        Show the state after a poll.

        :param state: The decision to keep waiting.
        """
        self._state = state
        if self._is_shown:
            self._draw()

    def _tick(self) -> None:
        while not self._ended.wait(_TICK):
            self._draw()

    def _draw(self) -> None:
        elapsed = max(int((_clock.utcnow() - self._since).total_seconds()), 0)
        self._write(plain(f"{timedelta(seconds=elapsed)} {describe(self._state)}", LONGEST_MESSAGE))

    def _write(self, line: str) -> None:
        with self._lock:
            columns = _streams.columns(self._stream)
            # A terminal that has become narrower shows the last line on several rows.
            rows = max(cell_len(self._drawn) - 1, 0) // columns
            up = f"\x1b[{rows}A" if rows else ""
            self._drawn = _fit(line, columns - _MARGIN)
            with suppress(OSError, ValueError):  # the terminal is gone: the wait goes on
                self._stream.write(f"{up}\r\x1b[J{self._drawn}")
                self._stream.flush()


def _fit(line: str, width: int) -> str:
    text = Text(line)
    text.truncate(max(width, 1), overflow="ellipsis")
    return text.plain


def describe(state: Waiting | None) -> str:
    """
    Describe the state of a wait in a few words, the most important first: a narrow terminal cuts the rest.

    :param state: The state after the last poll; None before the first.
    """
    if state is None:
        return "Waiting for Kendra's response"
    error = f"the last poll failed: {state.error}" if state.error else ""
    if state.job is None:
        return f"No sync job listed yet{error and f', and {error}'}"
    return f"{state.job.status}: {error or state.job.counts} (sync job {state.job.execution_id})"
