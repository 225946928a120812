"""Ends process sessions when its standard input closes, which it does however whoever started it has ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

PATIENCE = 10.0


def session_members(sessions: Collection[int]) -> list[int]:
    """The living processes of these sessions: a component, and what it has forked."""
    members = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, session, *_ = _status(path)
            if state != "Z" and int(session) in sessions:
                members.append(int(path.name))
    return members


def parent_of(pid: int) -> int:
    return int(_status(Path(f"/proc/{pid}"))[1])


def session_of(pid: int) -> int:
    return int(_status(Path(f"/proc/{pid}"))[3])


def _status(process: Path) -> list[str]:
    """State, parent, process group, session …: they come after the name, which can hold anything."""
    return (process / "stat").read_text().rpartition(")")[2].split()


def send(sessions: Collection[int], number: int) -> None:
    for pid in session_members(sessions):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def main() -> None:
    # Lines are "SESSION SIGNAL": the signal that is tried first.
    orders = [(int(session), int(number)) for session, number in map(str.split, sys.stdin)]
    for session, number in orders:
        send({session}, number)
    sessions = {session for session, _ in orders}
    give_up = time.monotonic() + PATIENCE
    while session_members(sessions) and time.monotonic() < give_up:
        time.sleep(0.1)
    send(sessions, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
