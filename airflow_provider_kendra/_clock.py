"""The clock of all waits, which tests replace; and durations in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

OVERRUN = 120.0
"""
Seconds for which a wait may outlast its deadline if its last poll hangs.

Airflow's own time-out of a deferral leaves room for this.
"""

CLOCK_DIFFERENCE = timedelta(minutes=5)
"""The largest difference between Airflow's clock and Kendra's; AWS rejects requests signed with a larger one."""


def utcnow() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


LATEST = datetime.max.replace(tzinfo=UTC)


def later(moment: datetime, by: timedelta) -> datetime:
    """
    Add a duration to a time; return ``LATEST`` if the result is out of range.

    :param moment: The time.
    :param by: The duration.
    """
    try:
        return moment + by
    except OverflowError:
        return LATEST


def in_words(duration: timedelta | float | None) -> str:
    """
    Format a duration in its two largest units; a negative one, from clock skew, as 0 s.

    :param duration: A ``timedelta`` or seconds; None gives an empty text.
    """
    if duration is None:
        return ""
    seconds = max(int(duration.total_seconds() if isinstance(duration, timedelta) else duration), 0)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (smaller, smaller_size) in pairwise(units):
        if seconds >= size:
            rest = seconds % size // smaller_size
            return f"{seconds // size} {name} {rest} {smaller}" if rest else f"{seconds // size} {name}"
    return f"{seconds} s"
