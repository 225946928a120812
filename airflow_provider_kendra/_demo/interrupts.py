"""Handles Ctrl-C and similar signals: the first one shuts the demo down, later ones are ignored."""

from __future__ import annotations

import signal
import threading
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_interrupted = threading.Event()


def catch() -> None:
    """Let the first signal raise KeyboardInterrupt in the main thread."""
    _interrupted.clear()
    for each in _SIGNALS:
        signal.signal(each, _interrupt)


def check() -> None:
    """
    Raise KeyboardInterrupt if a signal came.

    Call this before the main thread begins to wait: Python drops what is raised while it destroys a file object or a
    response, so the first KeyboardInterrupt can get lost.
    """
    if _interrupted.is_set():
        raise KeyboardInterrupt


def _interrupt(*_: Any) -> None:
    """Begin to clean up, and let no second signal interrupt that."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    _interrupted.set()
    raise KeyboardInterrupt
