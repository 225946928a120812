"""The clock that all waits go by, and the one thing that tests replace to let hours pass."""

from __future__ import annotations

from datetime import UTC, datetime

OVERRUN = 120.0
"""
How long, in seconds, a wait may outlast its deadline when the poll that is to decide it hangs.

Airflow's own time-out of a deferral leaves room for this.
"""


def utcnow() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)
