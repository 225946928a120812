"""Handles a standard output or error that is closed, broken, full, or cannot encode a character."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import textwrap
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
    :param message: For standard error, as for :func:`fit`. Default: none.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if message and stream is sys.stderr:
                stream.write(f"{fit(message, stream)}\n")
            stream.flush()
        except BrokenPipeError:
            status, message = BROKEN_PIPE, ""
            _discard(stream)
        except OSError as error:
            status, message = FAILED, unwritable(error)
            _discard(stream)
    return status


def columns(stream: TextIO) -> int:
    """
    Return the width of a terminal as it is now.

    :param stream: The stream to it; another one may be a pipe.
    """
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        width = shutil.get_terminal_size().columns
    return width or 80


def fit(message: str, stream: TextIO) -> str:
    """
    Wrap a message between words if it is for a terminal; ids and URLs are not broken.

    :param message: The message, in one line.
    :param stream: Where it will be written.
    """
    if not stream.isatty():
        return message
    return textwrap.fill(message, columns(stream), break_long_words=False, break_on_hyphens=False)


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
