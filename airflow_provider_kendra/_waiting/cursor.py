"""How far a watcher has come: what Airflow stores between its events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_provider_kendra._validation import check_time

Cursor = dict[str, Any]
"""
How far a watcher has come, in JSON types. Empty if no job had finished yet; else:

- ``execution_id``: the newest finished job that was handled.
- ``start_time``: the latest start time of the handled jobs, ISO 8601; None if none of them had one.
- ``recent``: execution ids of handled jobs, newest first. Cursors of 1.0.0 have no ``recent`` and no ``open``.
- ``open``: execution ids of jobs that a newer finished job has overtaken, though they were not finished themselves.
"""


def check_cursor(value: object) -> Cursor:
    """
    Return a stored cursor if it is one.

    :param value: What the store gave.
    :raises ValueError: saying what is wrong with it.
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
    """Read the latest start time that a cursor has handled."""
    start_time = cursor.get("start_time")
    return check_time("start_time", start_time) if start_time is not None else None
