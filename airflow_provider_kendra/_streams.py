"""Handles a standard output or error that is closed, broken, full, or cannot encode a character."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

BROKEN_PIPE = 128 + signal.SIGPIPE
"""The exit status after a broken pipe: what a shell reports for a program killed by SIGPIPE."""

FAILED = 2


def prepare() -> None:
    """Redirect closed streams to the null device, and replace characters that cannot be encoded."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the parent process
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for good
        elif getattr(stream, "errors", None) in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def finish(status: int, message: str = "") -> int:
    """
    Write the buffered output, then the message, and return the exit status.

    :param status: The status if everything can be written.
    :param message: For standard error. Default: none.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if message and stream is sys.stderr:
                stream.write(f"{message}\n")
            stream.flush()
        except BrokenPipeError:
            status, message = BROKEN_PIPE, ""
            _discard(stream)
        except OSError as error:
            status, message = FAILED, unwritable(error)
            _discard(stream)
    return status


def unwritable(error: OSError) -> str:
    """
    Say why the output could not be written.

    :param error: The error of the write.
    """
    return f"The output could not be written: {error.strerror}."


def _discard(stream: TextIO) -> None:
    """Drop the buffered output, which the interpreter would fail to write at exit."""
    with suppress(OSError, ValueError), Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
