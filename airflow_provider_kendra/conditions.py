"""What "done" means for a wait: pure decisions over the history of a data source, newest job first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from airflow_provider_kendra.sync_job import Acceptance, SyncJob
from airflow_provider_kendra.validation import check_identifier, check_time


class History:
    """The part of a data source's history that one look has read so far, newest job first."""

    def __init__(self) -> None:
        self.jobs: list[SyncJob] = []
        self.is_complete = False
        self._by_execution_id: dict[str, SyncJob] = {}

    def add_page(self, page: Page) -> None:
        """Add the next older page."""
        self.jobs += page.jobs
        self.is_complete = page.is_last
        for job in page.jobs:
            self._by_execution_id.setdefault(job.execution_id, job)

    def get(self, execution_id: str) -> SyncJob | None:
        """Find a job among those read so far."""
        return self._by_execution_id.get(execution_id)

    def reaches(self, moment: datetime) -> bool:
        """Whether every job that started at or after this moment has been read."""
        return self.is_complete or any(job.start_time and job.start_time < moment for job in self.jobs)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of ListDataSourceSyncJobs."""

    jobs: list[SyncJob]
    is_last: bool


@dataclass(frozen=True, slots=True)
class Satisfied:
    """The wait is over, and well."""

    job: SyncJob

    def to_event(self) -> dict[str, Any]:
        """Give it in JSON types, for a trigger event."""
        return {"failure": None, "message": None, "job": self.job.to_dict()}


class Failure(StrEnum):
    """Why a wait ended badly."""

    NOT_ACCEPTABLE = "not_acceptable"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class Failed:
    """The wait is over, and not well."""

    failure: Failure
    message: str
    job: SyncJob | None = None

    def to_event(self) -> dict[str, Any]:
        """Give it in JSON types, for a trigger event."""
        return {
            "failure": self.failure.value,
            "message": self.message,
            "job": self.job and self.job.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Waiting:
    """Keep waiting: for this job, if one is known; with this trouble, if the last look met one."""

    job: SyncJob | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class NeedsOlder:
    """What was read is not enough: read the next older page."""


Outcome = Satisfied | Failed
Decision = Outcome | Waiting | NeedsOlder


def outcome_from_event(event: dict[str, Any]) -> Outcome:
    """Rebuild from a trigger event what :meth:`Satisfied.to_event` or :meth:`Failed.to_event` gave."""
    job = event["job"] and SyncJob.from_dict(event["job"])
    if event["failure"] is None:
        return Satisfied(job)
    return Failed(Failure(event["failure"]), event["message"], job)


class Condition(Protocol):
    """What a wait waits for."""

    @property
    def subject(self) -> str:
        """What is waited for, in words."""

    def decide(self, history: History, now: datetime) -> Decision:
        """
        Decide on what has been read; never asks for an older page of a complete history.

        :param history: The history as read so far.
        :param now: When it was read.
        """


@dataclass(frozen=True, slots=True)
class ExecutionFinished:
    """
    One sync job has finished.

    :param execution_id: Which.
    :param acceptance: How it must have ended.
    :param missing_from: A job that is not in the history is waited for until then: a new job may not be
        listed at once.
    """

    execution_id: str
    acceptance: Acceptance
    missing_from: datetime

    @property
    def subject(self) -> str:
        """What is waited for, in words."""
        return f"sync job {self.execution_id}"

    def decide(self, history: History, now: datetime) -> Decision:
        """Decide by the status of the job."""
        job = history.get(self.execution_id)
        if job is not None:
            return _judge(job, self.acceptance) if job.is_finished else Waiting(job)
        if not history.is_complete:
            return NeedsOlder()
        if now < self.missing_from:
            return Waiting()
        return Failed(
            Failure.NOT_FOUND,
            f"Sync job {self.execution_id} is not in the history of its data source ({len(history.jobs)} jobs). "
            "Check execution_id, data_source_id and index_id, and that connection and region are those it was "
            "started with; raise not_found_timeout if it was started just now.",
        )


@dataclass(frozen=True, slots=True)
class SyncedSince:
    """
    A sync job that started at or after a moment has ended acceptably.

    :param started_after: The moment, inclusive.
    :param acceptance: How the job must have ended.
    """

    started_after: datetime
    acceptance: Acceptance

    @property
    def subject(self) -> str:
        """What is waited for, in words."""
        return f"a sync job that started at or after {self.started_after.isoformat()}"

    def decide(self, history: History, now: datetime) -> Decision:
        """Pass on the newest acceptable job; fail when the newest was not and nothing runs."""
        since = sorted(
            (job for job in history.jobs if job.start_time and job.start_time >= self.started_after),
            key=lambda job: job.start_time or self.started_after,
            reverse=True,
        )
        for job in since:
            if job.is_finished and self.acceptance.objection(job) is None:
                return Satisfied(job)
        if not history.reaches(self.started_after):
            return NeedsOlder()
        running = next((job for job in history.jobs if not job.is_finished), None)
        if running is not None or not since:
            return Waiting(running)
        return _judge(since[0], self.acceptance)


def sync_job_condition(
    *,
    execution_id: str | None,
    started_after: datetime | str | None,
    target_statuses: Collection[str],
    max_documents_failed: int | None,
    missing_from: datetime,
) -> Condition:
    """
    Build the condition for a sync job from a DAG author's parameters.

    :param execution_id: The job, or None.
    :param started_after: The moment that any job must have started at or after, or None.
    :param target_statuses: Statuses that are accepted.
    :param max_documents_failed: Failed documents that are tolerated.
    :param missing_from: As in :class:`ExecutionFinished`.
    :raises ValueError: unless exactly one of the first two is given and every value can be one.
    """
    acceptance = Acceptance.of(target_statuses, max_documents_failed)
    if (execution_id is None) == (started_after is None):
        raise ValueError(
            f"Exactly one of execution_id and started_after must be given, got execution_id={execution_id!r} and "
            f"started_after={started_after!r}. With neither, last week's success would pass for today's."
        )
    if started_after is not None:
        return SyncedSince(check_time("started_after", started_after), acceptance)
    return ExecutionFinished(check_identifier("execution_id", execution_id), acceptance, missing_from)


def _judge(job: SyncJob, acceptance: Acceptance) -> Outcome:
    objection = acceptance.objection(job)
    if objection is None:
        return Satisfied(job)
    return Failed(Failure.NOT_ACCEPTABLE, f"{job.title} {objection}.{job.error}", job)


def read(condition: Condition, pages: Iterable[Page], now: datetime) -> Outcome | Waiting:
    """
    Decide on a history, reading no further than the condition needs.

    :param condition: What is waited for.
    :param pages: The pages of the history, fetched as they are consumed.
    :param now: The time of this look.
    """
    history = History()
    unread: Iterator[Page] = iter(pages)
    while True:
        history.add_page(next(unread))
        decision = condition.decide(history, now)
        if not isinstance(decision, NeedsOlder):
            return decision


# How often a wait says that it still waits, in seconds.
PROGRESS_INTERVAL = 300.0


class WaitLog:
    """Says in a task's log what a wait sees: each change, and now and then that it still waits."""

    def __init__(self, subject: str, now: datetime) -> None:
        self.subject = subject
        self._since = self._told_at = now
        self._told: object = None

    def line(self, seen: Waiting, now: datetime) -> str | None:
        """
        Give the line to log, or None if there is nothing new.

        :param seen: What the last look decided.
        :param now: The time of that look.
        """
        news = (seen.job and (seen.job.execution_id, seen.job.status), seen.trouble is not None)
        is_progress = (now - self._told_at).total_seconds() >= PROGRESS_INTERVAL
        if news == self._told and not is_progress:
            return None
        self._told, self._told_at = news, now
        elapsed = int((now - self._since).total_seconds())
        state = f"{seen.job.execution_id} is {seen.job.progress}" if seen.job else "no such job is listed yet"
        trouble = f"; the last look failed and will be repeated: {seen.trouble}" if seen.trouble else ""
        return f"Waiting for {self.subject} ({elapsed} s so far): {state}{trouble}."
