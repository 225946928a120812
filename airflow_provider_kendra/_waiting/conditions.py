"""What "done" means for a wait: pure decisions over the history of a data source, newest job first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from airflow_provider_kendra._clock import in_words
from airflow_provider_kendra._decisions import (
    AllFresh,
    Blocked,
    Failed,
    Failure,
    NeedsOlder,
    Outcome,
    Satisfied,
    Waiting,
)
from airflow_provider_kendra._parameters import WHY_ONE_IS_REQUIRED
from airflow_provider_kendra._schedule import previous_run, stale_at, translate
from airflow_provider_kendra._text import counted
from airflow_provider_kendra._validation import (
    MeasuredBy,
    check_exactly_one,
    check_identifier,
    check_max_age,
    check_measured_by,
    check_seconds,
    check_time,
)
from airflow_provider_kendra._waiting.history import History, Page, age
from airflow_provider_kendra.sync_job import ANY_END, Acceptance, SyncJob, SyncJobStatus

D_co = TypeVar("D_co", covariant=True)


Decision = Outcome | Waiting | NeedsOlder


class Condition(Protocol[D_co]):
    """Decides on the history of a data source at each poll."""

    def decide(self, history: History, now: datetime) -> D_co | NeedsOlder:
        """
        Decide on the history read so far; never asks for an older page of a complete history.

        :param history: The history read so far.
        :param now: The time of the poll.
        """


class SyncJobCondition(Condition[Outcome | Waiting], Protocol):
    """The condition of a wait for a sync job."""

    @property
    def subject(self) -> str:
        """What is waited for, in words."""


_CONFIRMATION = 20.0  # seconds for which responses must agree if the wait is older than not_found_timeout


@dataclass(slots=True)
class ExecutionFinished:
    """
    One sync job has finished. Stateful: each wait keeps its own instance from poll to poll.

    :param execution_id: The job.
    :param acceptance: How it must have ended.
    :param not_found_timeout: Seconds for which every response must agree before the job counts as not found or,
        whatever its status says, as no longer running: a single response can be stale.
    :param since: When this process began to wait; earlier responses do not count against the job.
    :param origin: When the wait began, if that was in another process. A job that this process has never found counts
        as missing since then, but later responses must confirm it for up to 20 seconds.
    """

    execution_id: str
    acceptance: Acceptance
    not_found_timeout: float
    since: datetime
    origin: datetime | None = None
    _is_known: bool = field(default=False, init=False, repr=False, compare=False)
    _doubt: tuple[Failure, datetime] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def subject(self) -> str:
        """What is waited for, in words."""
        return f"sync job {self.execution_id}"

    def decide(self, history: History, now: datetime) -> Decision:
        """Decide from the status of the job."""
        job = history.get(self.execution_id)
        if job is None:
            if not history.is_complete:
                return NeedsOlder()
            return self._not_found(history) if self._is_confirmed(Failure.NOT_FOUND, now) else Waiting()
        self._is_known = True
        if job.is_finished or job is history.newest:
            self._doubt = None
            return _judge(job, self.acceptance) if job.is_finished else Waiting(job)
        return _superseded(job) if self._is_confirmed(Failure.NOT_ACCEPTABLE, now) else Waiting(job)

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last response gave a reason to fail that is not confirmed yet."""
        return self._doubt is not None

    def _is_confirmed(self, doubt: Failure, now: datetime) -> bool:
        """Whether every response for long enough has given the same reason to fail."""
        if now < self.since:
            return False
        if self._doubt is None or self._doubt[0] is not doubt:
            self._doubt = doubt, now
        lasted = (now - self._doubt[1]).total_seconds()
        if self.origin is None or self._is_known or (now - self.origin).total_seconds() < self.not_found_timeout:
            return lasted >= self.not_found_timeout
        return lasted >= min(self.not_found_timeout, _CONFIRMATION)

    def _not_found(self, history: History) -> Failed:
        return Failed(
            Failure.NOT_FOUND,
            f"The sync job is not in the history of its data source ({counted(len(history.jobs), 'job')}). Check "
            "execution_id, data_source_id, index_id, connection and region. If it was started just now, raise "
            f"not_found_timeout (sync job {self.execution_id}).",
        )


def _superseded(job: SyncJob) -> Failed:
    return Failed(
        Failure.NOT_ACCEPTABLE,
        f"The sync will not finish: {job.superseded} {job.ids}.",
        job,
    )


@dataclass(frozen=True, slots=True)
class SyncedSince:
    """
    A sync job that started at or after a given time has ended acceptably.

    :param started_after: That time, inclusive.
    :param acceptance: How the job must have ended.
    """

    started_after: datetime
    acceptance: Acceptance

    @property
    def subject(self) -> str:
        """What is waited for, in words."""
        return f"a sync job that started at or after {self.started_after.isoformat()}"

    def decide(self, history: History, now: datetime) -> Decision:
        """Pass with the newest acceptable job; fail if the newest job was not acceptable and none is running."""
        fresh = Fresh(self.acceptance, fresh_since=self.started_after, fail_fast=True)
        decision = fresh.decide(history, now)
        if isinstance(decision, Waiting) and decision.job is not None and not fresh.is_fresh(decision.job, now):
            return replace(decision, job=None)  # the end of a sync that started before that time does not matter
        return decision


@dataclass(frozen=True, slots=True)
class Fresh:
    """
    A data source has an acceptable job that is recent enough.

    :param acceptance: How the job must have ended.
    :param fresh_since: The cutoff, inclusive. Mutually exclusive with ``max_age`` and ``grace``.
    :param max_age: The cutoff as an age; it moves with the clock.
    :param measured_by: Which of the job's times counts.
    :param fail_fast: Fail when the newest job since the cutoff ended unacceptably and none is running.
    :param grace: The cutoff is the newest run of the schedule that is at least this old.
    :param schedule: The data source's own schedule; "" until it is known.
    """

    acceptance: Acceptance
    fresh_since: datetime | None = None
    max_age: timedelta | None = None
    measured_by: MeasuredBy = "start_time"
    fail_fast: bool = False
    grace: timedelta | None = None
    schedule: str = ""

    @property
    def subject(self) -> str:
        """What is waited for, in words."""
        verb = "started" if self.measured_by == "start_time" else "ended"
        if self.fresh_since is not None:
            return f"a sync job that {verb} at or after {self.fresh_since.isoformat()}"
        if self.grace is not None:
            return (
                f"a sync job that {verb} at or after the newest scheduled run that is at least "
                f"{in_words(self.grace)} old"
            )
        return f"a sync job that {verb} at most {in_words(self.max_age)} ago"

    def with_schedule(self, schedule: str) -> Fresh:
        """
        Return this condition for a data source with a schedule.

        :raises ValueError: if there is none or it can't be translated.
        """
        translate(schedule)
        return replace(self, schedule=schedule)

    def stale_at(self, measured: datetime) -> datetime:
        """When a job that started (or ended) at ``measured`` becomes too old."""
        return stale_at(measured, max_age=self.max_age, grace=self.grace, schedule=self.schedule)

    def is_recent(self, time: datetime, now: datetime) -> bool:
        """Whether a job that started (or ended) at ``time`` is recent enough."""
        if self.fresh_since is not None:
            return time >= self.fresh_since
        # A job exactly ``max_age`` old still counts; with ``grace``, a job stops counting once a run is overdue.
        return self.stale_at(time) > now if self.grace is not None else self.stale_at(time) >= now

    def is_fresh(self, job: SyncJob, now: datetime) -> bool:
        """Whether an acceptable job is recent enough."""
        time = getattr(job, self.measured_by)
        return time is not None and self.is_recent(time, now)

    def age(self, history: History, now: datetime) -> timedelta | None:
        """The age of the data source, for metrics."""
        return age(history, self.acceptance, self.measured_by, now)

    def decide(self, history: History, now: datetime) -> Decision:
        """Decide from the newest acceptable job."""
        good = history.latest(self.acceptance, self.measured_by)
        if good is not None and self.is_fresh(good, now):
            return Satisfied(good)
        if not self._is_read_to_the_cutoff(history, now):
            return NeedsOlder()
        running = history.running
        ended = history.latest(ANY_END, self.measured_by) if self.fail_fast and running is None else None
        if ended is None or not self.is_fresh(ended, now):
            return Waiting(running, stale=good, reason=self.missed_sync(history, now))
        return _judge(ended, self.acceptance)

    def _is_read_to_the_cutoff(self, history: History, now: datetime) -> bool:
        """Whether every job that is recent enough has been read."""
        earliest = history.earliest(self.measured_by)
        return history.is_complete or (earliest is not None and not self.is_recent(earliest, now))

    def missed_sync(self, history: History, now: datetime) -> str | None:
        """
        Describe what happened to the scheduled sync; None without ``grace``.

        :param history: Of a data source that is not fresh.
        :param now: The time.
        """
        if self.grace is None:
            return None
        due = previous_run(self.schedule, _minute(now - self.grace))
        if due is None:
            return "no scheduled sync was due yet"
        newest = history.newest
        started = newest.start_time if newest else None
        if newest is None or started is None or started < due:
            running = history.running
            other = f"; the one of {_utc(started)} is still {running.status}" if running and started else ""
            return f"the scheduled sync of {_utc(due)} did not start{other}"
        # The newest job can belong to a later run that is not overdue yet.
        run = previous_run(self.schedule, _minute(started)) or due
        sync = f"the scheduled sync of {_utc(run)}"
        if started - run > _PUNCTUAL:
            sync = f"the sync of {_utc(started)}, after the scheduled one of {_utc(run)},"
        return f"{sync} {_state_of(newest, self.acceptance)}"


def all_fresh(
    decisions: Mapping[str, Outcome | Waiting | None],
    condition: Fresh,
    now: datetime,
    conditions: Mapping[str, Fresh] | None = None,
) -> AllFresh | Failed | Blocked:
    """
    Combine the decisions on several data sources.

    :param decisions: The last decision on each; None before the first.
    :param condition: The condition that each must meet.
    :param now: The time at which they must be fresh.
    :param conditions: The condition with the schedule of each, if it is judged by schedule.
    """
    conditions = conditions or {}
    jobs: dict[str, SyncJob] = {}
    blocked: dict[str, Satisfied | Waiting | None] = {}
    for data_source_id, decision in decisions.items():
        if isinstance(decision, Failed):
            return decision
        # A job that was recent enough when it was read can be too old by now.
        judge = conditions.get(data_source_id, condition)
        if isinstance(decision, Satisfied) and judge.is_fresh(decision.job, now):
            jobs[data_source_id] = decision.job
        else:
            blocked[data_source_id] = decision
    return Blocked(blocked) if blocked else AllFresh(jobs)


def freshness_condition(
    *,
    max_age: timedelta | float | None,
    fresh_since: datetime | str | None,
    schedule_grace: timedelta | float | None = None,
    measured_by: str,
    accepted_statuses: Collection[str],
    max_documents_failed: int | None,
    fail_fast: bool,
) -> Fresh:
    """
    Build the condition for freshness from a DAG author's parameters.

    :param max_age: Age, as a ``timedelta`` or in seconds, or None.
    :param fresh_since: Moment, or None.
    :param schedule_grace: How long after its scheduled time a run counts as overdue, or None.
    :param measured_by: ``"start_time"`` or ``"end_time"``.
    :param accepted_statuses: Statuses that are accepted.
    :param max_documents_failed: Failed documents that are tolerated.
    :param fail_fast: As in :class:`Fresh`.
    :raises ValueError: unless exactly one of max_age, fresh_since and schedule_grace is given and every value is valid.
    """
    check_exactly_one({"max_age": max_age, "fresh_since": fresh_since, "schedule_grace": schedule_grace})
    return Fresh(
        Acceptance.of(accepted_statuses, max_documents_failed),
        fresh_since=None if fresh_since is None else check_time("fresh_since", fresh_since),
        max_age=None if max_age is None else check_max_age(max_age),
        measured_by=check_measured_by(measured_by),
        fail_fast=fail_fast,
        grace=None if schedule_grace is None else timedelta(seconds=check_seconds("schedule_grace", schedule_grace)),
    )


def sync_job_condition(
    *,
    execution_id: str | None,
    started_after: datetime | str | None,
    target_statuses: Collection[str],
    max_documents_failed: int | None,
    not_found_timeout: float,
    since: datetime,
    origin: datetime | None = None,
) -> SyncJobCondition:
    """
    Build the condition for a sync job from a DAG author's parameters.

    :param execution_id: The job, or None.
    :param started_after: Accept any job that started at or after this time, or None.
    :param target_statuses: Statuses that are accepted.
    :param max_documents_failed: Failed documents that are tolerated.
    :param not_found_timeout: As in :class:`ExecutionFinished`.
    :param since: As in :class:`ExecutionFinished`.
    :param origin: As in :class:`ExecutionFinished`.
    :raises ValueError: unless exactly one of execution_id and started_after is given and every value is valid.
    """
    acceptance = Acceptance.of(target_statuses, max_documents_failed)
    check_exactly_one({"execution_id": execution_id, "started_after": started_after}, WHY_ONE_IS_REQUIRED)
    if started_after is not None:
        return SyncedSince(check_time("started_after", started_after), acceptance)
    return ExecutionFinished(
        check_identifier("execution_id", execution_id), acceptance, not_found_timeout, since, origin
    )


_PUNCTUAL = timedelta(minutes=15)
"""How long after its time a scheduled sync may start. One that starts later was started by someone else."""


def _minute(moment: datetime) -> datetime:
    """Truncate to the minute: schedules have no seconds, and repeated calls within a minute hit the cache."""
    return moment.replace(second=0, microsecond=0)


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _state_of(job: SyncJob, acceptance: Acceptance) -> str:
    """What a sync that is not acceptable is doing, or how it ended, and why."""
    if not job.is_finished:
        return f"is running: {job.progress}"
    if job.status in (SyncJobStatus.FAILED, SyncJobStatus.ABORTED):
        return f"started and {job.status}{f': {job.reason}' if job.reason else ' (Kendra gave no reason)'}"
    objection = acceptance.objection(job) or f"{job.status}"
    return f"started and ended {objection.removeprefix('Sync ')}"


def _judge(job: SyncJob, acceptance: Acceptance) -> Outcome:
    objection = acceptance.objection(job)
    if objection is None:
        return Satisfied(job)
    return Failed(Failure.NOT_ACCEPTABLE, f"{objection}{job.reason_suffix} {job.ids}.", job)


def read(condition: Condition[D_co], pages: Iterable[Page], now: datetime, history: History | None = None) -> D_co:
    """
    Decide on a history, reading no further than the condition needs.

    :param condition: What is waited for.
    :param pages: The pages of the history, fetched as they are consumed.
    :param now: The time of this poll.
    :param history: Takes the pages, for a caller that needs them too.
    """
    history = History() if history is None else history
    unread: Iterator[Page] = iter(pages)
    while True:
        history.add_page(next(unread))
        decision = condition.decide(history, now)
        if not isinstance(decision, NeedsOlder):
            return decision
