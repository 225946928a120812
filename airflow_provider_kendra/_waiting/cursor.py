"""A watcher's position in the history, which Airflow stores between events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_kendra._validation import check_time

if TYPE_CHECKING:
    from collections.abc import Iterable

Cursor = dict[str, Any]
"""
A watcher's position in the history, in JSON types. Empty if no job had finished yet, otherwise:

- ``execution_id``: the newest finished job that was handled.
- ``start_time``: the latest start time of the handled jobs, ISO 8601; None if none of them had one.
- ``recent``: execution ids of handled jobs, newest first. Cursors of 1.0.0 have no ``recent`` and no ``open``.
- ``open``: execution ids of unfinished jobs that are older than a finished one.
"""


def check_cursor(value: object) -> Cursor:
    """
    Validate a stored cursor and return it.

    :param value: The stored value.
    :raises ValueError: if it is invalid, with the reason.
    """
    if not isinstance(value, dict):
        raise ValueError(f"it is {type(value).__name__}, not a mapping")
    if not value:
        return value
    execution_id, start_time = value.get("execution_id"), value.get("start_time")
    if not isinstance(execution_id, str):
        raise ValueError("its execution_id is not text")
    if start_time is not None:
        check_time("its start_time", start_time)
    for name in ("recent", "open"):
        ids = value.get(name, [])
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise ValueError(f"its {name} is not a list of execution ids")
    return value


def start_time_of(cursor: Cursor) -> datetime | None:
    """Return the latest start time among the handled jobs."""
    start_time = cursor.get("start_time")
    return check_time("start_time", start_time) if start_time is not None else None


def oldest(cursors: Iterable[Cursor]) -> Cursor | None:
    """Return the cursor that is furthest behind, by start time; None if there is none."""
    return min(cursors, key=lambda cursor: start_time_of(cursor) or _EARLIEST, default=None)


_EARLIEST = datetime.min.replace(tzinfo=UTC)
