"""Numbers about the syncs of a data source, for the report: pure functions over a reading."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, chain, groupby, pairwise
from math import inf
from statistics import median
from typing import TYPE_CHECKING

from airflow_provider_kendra._clock import LATEST, later

if TYPE_CHECKING:
    from airflow_provider_kendra._overview import Reading
    from airflow_provider_kendra._waiting.conditions import Fresh
    from airflow_provider_kendra.sync_job import SyncJob

_WORST_FIRST = ("stale", "unknown", "aging", "fresh", "inactive")


@dataclass(frozen=True, slots=True)
class Summary:
    """
    The syncs that the page shows of one data source, in numbers.

    :param last: The newest finished sync.
    :param accepted: How many of the finished syncs are acceptable.
    :param finished: How many syncs have finished.
    :param median_seconds: The median duration of the finished syncs.
    """

    last: SyncJob | None
    accepted: int
    finished: int
    median_seconds: float | None


@dataclass(frozen=True, slots=True)
class Span:
    """When a data source was ``fresh``, ``aging`` or ``stale``; ``unread`` where that depends on older syncs."""

    state: str
    start: datetime
    end: datetime


def worst_first(readings: Sequence[Reading]) -> list[Reading]:
    """Sort by state, the worst first; within a state by age, the oldest first."""

    def badness(reading: Reading) -> tuple[int, float, str, str]:
        state = reading.state if reading.state in _WORST_FIRST else "unknown"
        age = reading.freshness.age if reading.freshness else None
        oldest = inf if age is None else age.total_seconds()
        return _WORST_FIRST.index(state), -oldest, reading.name.casefold(), reading.data_source_id

    return sorted(readings, key=badness)


def summarise(jobs: Sequence[SyncJob], condition: Fresh) -> Summary:
    """
    Count the syncs of a data source.

    :param jobs: Newest first.
    :param condition: What makes a sync acceptable.
    """
    finished = [job for job in jobs if job.is_finished]
    seconds = [job.duration_seconds for job in finished if job.duration_seconds is not None]
    return Summary(
        last=finished[0] if finished else None,
        accepted=sum(condition.acceptance.accepts(job) for job in finished),
        finished=len(finished),
        median_seconds=median(seconds) if seconds else None,
    )


def expires_at(condition: Fresh, measured_at: datetime, max_age: timedelta | None = None) -> datetime | None:
    """
    Return when a sync becomes too old; None if never.

    :param condition: What makes a data source fresh.
    :param measured_at: The start or end time of the sync, whichever counts.
    :param max_age: An age to use in place of that of the condition.
    """
    if max_age is not None:
        return later(measured_at, max_age)
    if condition.grace is not None and not condition.schedule:  # it has none to judge by
        return None
    end = condition.stale_at(measured_at)
    return None if end == LATEST else end


def limit_of(reading: Reading, condition: Fresh) -> timedelta | None:
    """Return at which age the newest acceptable sync of a data source becomes too old; None if never."""
    measured_at = reading.freshness.measured_at if reading.freshness else None
    condition = reading.condition or condition
    end = expires_at(condition, measured_at) if measured_at else None
    return end - measured_at if end and measured_at else None


def longest_gap(jobs: Sequence[SyncJob], now: datetime) -> timedelta:
    """Return the longest time between the starts of two syncs, or between the last one and now."""
    starts = sorted([*(job.start_time for job in jobs if job.start_time), now])
    return max((later - earlier for earlier, later in pairwise(starts)), default=timedelta())


def spans(reading: Reading, condition: Fresh, now: datetime, warn_age: timedelta | None = None) -> list[Span]:
    """
    Return when a data source was fresh and when stale, oldest first, from the oldest sync that was read until now.

    A sync counts from its end, when it is known to be acceptable, until its start (or end) is too long ago.

    :param reading: What was read about it.
    :param condition: What makes it fresh.
    :param now: The time of the report.
    :param warn_age: Older than this, it is aging.
    """
    starts = [job.start_time for job in reading.jobs if job.start_time and job.start_time < now]
    if not starts or reading.freshness is None or reading.freshness.is_fresh is None:
        return []
    condition = reading.condition or condition
    oldest = min(starts)
    known_at, measured_at = _accepted(reading.jobs, condition)
    ends = {
        each: [expires_at(condition, each, warn_age), expires_at(condition, each)] for each in {oldest, *measured_at}
    }
    is_complete = reading.freshness.searched_all

    def state_at(moment: datetime) -> str:
        counted = bisect_right(known_at, moment)
        aging, stale = ends[measured_at[counted - 1] if counted else oldest]
        if stale and moment >= stale:
            return "stale"
        if not counted:  # an older sync that was not read may count
            return "stale" if is_complete else "unread"
        return "aging" if warn_age is not None and aging and moment >= aging else "fresh"

    changes = {oldest, *known_at, *filter(None, chain.from_iterable(ends.values()))}
    moments = sorted(each for each in changes if oldest <= each < now)
    return _merged([(state_at(each), each) for each in moments], now)


def _accepted(jobs: Sequence[SyncJob], condition: Fresh) -> tuple[list[datetime], list[datetime]]:
    """Return when each acceptable sync became known, oldest first, and the time of the newest one until then."""
    pairs = []
    for job in jobs:
        known_at, measured_at = job.end_time or job.start_time, getattr(job, condition.measured_by)
        if known_at and measured_at and condition.acceptance.accepts(job):
            pairs.append((known_at, measured_at))
    pairs.sort()
    return [known_at for known_at, _ in pairs], list(accumulate((measured_at for _, measured_at in pairs), max))


def _merged(states: Sequence[tuple[str, datetime]], end: datetime) -> list[Span]:
    """Join the moments of equal states to spans; the last one ends at ``end``."""
    firsts = [next(group) for _, group in groupby(states, key=lambda each: each[0])]
    untils = [*(start for _, start in firsts[1:]), end]
    return [Span(state, start, until) for (state, start), until in zip(firsts, untils, strict=True)]
