"""Watchers: report the sync jobs that finish after a cursor, and never end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from airflow_provider_kendra._decisions import NeedsOlder
from airflow_provider_kendra._text import plain
from airflow_provider_kendra._waiting.cursor import Cursor, start_time_of
from airflow_provider_kendra._waiting.history import History
from airflow_provider_kendra._waiting.log import PROGRESS_INTERVAL
from airflow_provider_kendra._waiting.poller import FOREVER, Connect, Log, Subscriber
from airflow_provider_kendra._waiting.sources import DataSource
from airflow_provider_kendra.sync_job import TERMINAL_STATUSES, SyncJob


async def watch(
    source: DataSource,
    cursor: Cursor | None,
    *,
    statuses: Collection[str] = TERMINAL_STATUSES,
    interval: float,
    log: Log,
    connect: Connect,
) -> AsyncIterator[Finished]:
    """
    Yield jobs as they finish, at most 100 at once; the rest follows with the next polls.

    Without a cursor, the first result has no jobs, only a cursor. Jobs with other statuses move the cursor too. A
    watcher has no task to fail: it logs any error and keeps polling, with back-off.

    :param source: The data source.
    :param cursor: Where to resume; None to report only jobs that finish from now on.
    :param statuses: The final statuses to report.
    :param interval: Seconds between polls; the shortest interval of all waits on a data source applies.
    :param log: Writes a line when polls begin to fail and when they succeed again; at most one in five minutes.
    :param connect: As for :class:`Subscriber`.
    """
    watcher = Subscriber(interval, connect)
    subscription = watcher.subscribe(source, FinishedSince(cursor, statuses), ends_with=())
    time = asyncio.get_running_loop().time
    logged, quiet_until = None, time()
    try:
        while True:
            is_to_log = (logged is None) != (subscription.problem is None)
            await watcher.wait_for_change(quiet_until if is_to_log else FOREVER)
            error = subscription.problem
            if (logged is None) != (error is None) and time() >= quiet_until:
                text = "Polls succeed again" if error is None else f"Poll failed, retrying: {error}"
                await log(f"{plain(text)} (data source {source.data_source_id})")
                logged, quiet_until = error, time() + PROGRESS_INTERVAL
            finished = subscription.decision
            if isinstance(finished, Finished) and finished.cursor != cursor:
                cursor = finished.cursor
                subscription.condition = FinishedSince(cursor, statuses)
                yield finished
    finally:
        watcher.unsubscribe()


MAX_JOBS = 100
"""The maximum number of jobs in one event."""


_RECENT = 20  # ids that a cursor keeps, to find its place when jobs are gone or start times change


@dataclass(frozen=True, slots=True)
class Finished:
    """The jobs that have finished since the cursor, oldest first, and the next cursor."""

    jobs: tuple[SyncJob, ...]
    cursor: Cursor


@dataclass(slots=True)
class FinishedSince:
    """
    The condition of a watcher.

    Kendra runs one sync job of a data source at a time and lists the newest first, so jobs finish in the order they
    start in. The exceptions are jobs with equal start times, which can be listed in any order, and jobs that are listed
    as unfinished below a finished one.

    :param cursor: Where to resume; None to report only jobs that finish from now on.
    :param statuses: The final statuses to report.
    """

    cursor: Cursor | None
    statuses: Collection[str] = TERMINAL_STATUSES
    _start_time: datetime | None = field(init=False)
    _handled: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        cursor = self.cursor or {}
        self._start_time = start_time_of(cursor)
        self._handled = frozenset((*cursor.get("recent", ()), cursor.get("execution_id") or "")) - {""}

    def decide(self, history: History, now: datetime) -> Finished | NeedsOlder:
        """Find the finished jobs that the cursor has not handled."""
        if self.cursor is None:
            return self._begin(history)
        found: dict[int, SyncJob] = {}  # by position; the lowest is the newest
        reached: int | None = None
        for position, job in enumerate(history.jobs):
            if reached is not None and not self._can_be_unordered(job):
                break
            if self._is_handled(job):
                reached = position if reached is None else reached
            elif _is_result(job, history):
                found[position] = job
        else:
            if not history.is_complete:
                return NeedsOlder()
        if reached is None and self._is_lost:
            found = dict(list(found.items())[:1])
        return self._take(history, found | self._overtaken(history), reached)

    def _begin(self, history: History) -> Finished | NeedsOlder:
        """Build the first cursor: every job that has finished already counts as handled."""
        newest = next((job for job in history.jobs if _is_result(job, history)), None)
        last = _last_start_time(history)
        if not history.is_complete and (newest is None or (last is not None and newest.start_time == last)):
            return NeedsOlder()
        if newest is None:
            return Finished((), {})
        return Finished((), self._cursor(history, history.jobs[history.jobs.index(newest) :]))

    def _is_handled(self, job: SyncJob) -> bool:
        if job.execution_id in self._handled:
            return True
        if job.start_time is None or self._start_time is None:
            return False
        # Without an execution id, only the start time distinguishes jobs.
        return job.start_time < self._start_time or (job.start_time == self._start_time and not job.execution_id)

    @property
    def _is_old(self) -> bool:
        """Whether the cursor is from 1.0.0, which handled jobs with equal start times in list order."""
        return bool(self.cursor) and "recent" not in (self.cursor or {})

    @property
    def _is_lost(self) -> bool:
        """Whether new jobs cannot be identified without the cursor's job; then only the newest one is reported."""
        return self._is_old and self._start_time is None

    def _can_be_unordered(self, job: SyncJob) -> bool:
        return job.start_time is not None and job.start_time == self._start_time and not self._is_old

    def _overtaken(self, history: History) -> dict[int, SyncJob]:
        """Find the jobs that have finished after a newer one, by position."""
        listed = (history.get(execution_id) for execution_id in (self.cursor or {}).get("open", ()))
        return {history.jobs.index(job): job for job in listed if job is not None and job.is_finished}

    def _take(self, history: History, found: dict[int, SyncJob], reached: int | None) -> Finished:
        """Take the oldest jobs up to the limit, and move the cursor past them."""
        taken: dict[int, SyncJob] = {}
        jobs: list[SyncJob] = []
        for position in sorted(found, reverse=True):
            if len(jobs) == MAX_JOBS:
                break
            taken[position] = found[position]
            if found[position].status in self.statuses:
                jobs.append(found[position])
        if not taken:
            return Finished((), self.cursor or {})
        first = min(taken) if reached is None else min(*taken, reached)
        left = found.keys() - taken.keys()
        handled = [job for position, job in enumerate(history.jobs) if position >= first and position not in left]
        return Finished(tuple(jobs), self._cursor(history, handled))

    def _cursor(self, history: History, handled: Sequence[SyncJob]) -> Cursor:
        """Build the cursor after the handled jobs, which come newest first."""
        before = self.cursor or {}
        finished = [job for job in handled if job.is_finished]
        # More jobs with the last start time may be listed on the next page, which was not read.
        unsure = None if history.is_complete else _last_start_time(history)
        starts = {job.start_time for job in finished} - {None, unsure} | {self._start_time}
        start_time = max((each for each in starts if each is not None), default=None)

        def is_at_same_moment(execution_id: str) -> bool:
            job = history.get(execution_id)
            return job is not None and job.start_time is not None and job.start_time == start_time

        recent = _ids([*(job.execution_id for job in finished), *before.get("recent", ())])
        unfinished = _ids([*(job.execution_id for job in handled if not job.is_finished), *before.get("open", ())])
        return {
            "execution_id": finished[0].execution_id,
            "start_time": start_time.isoformat() if start_time else None,
            "recent": [*recent[:_RECENT], *filter(is_at_same_moment, recent[_RECENT:])],
            "open": [each for each in unfinished if each not in recent][:_RECENT],
        }


def _last_start_time(history: History) -> datetime | None:
    return history.jobs[-1].start_time if history.jobs else None


def _is_result(job: SyncJob, history: History) -> bool:
    """
    Whether a job has finished, can be recognised later, and is not a repetition.

    Pages overlap when a sync starts while they are read. A job with neither an execution id nor a start time would be
    reported at every poll.
    """
    if not job.execution_id:
        return job.is_finished and job.start_time is not None
    return job.is_finished and history.get(job.execution_id) is job


def _ids(ids: Iterable[str]) -> list[str]:
    """Remove empty ids and duplicates, keeping the order."""
    return [each for each in dict.fromkeys(ids) if each]
