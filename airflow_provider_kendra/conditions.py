"""What "done" means for a wait: pure decisions over the history of a data source, newest job first."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import ClassVar, Generic, Protocol, TypeVar, get_args

from airflow_provider_kendra._text import LONGEST_MESSAGE, plain
from airflow_provider_kendra.outcomes import AllFresh, Failed, Failure, Outcome, Satisfied
from airflow_provider_kendra.sync_job import TERMINAL_STATUSES, Acceptance, SyncJob
from airflow_provider_kendra.validation import MeasuredBy, check_identifier, check_max_age, check_time

NOT_JUDGED = frozenset({"CREATING", "DELETING", "FAILED"})
"""Statuses of data sources that cannot be synced, and so are not asked to be fresh."""

D_co = TypeVar("D_co", covariant=True)

ANY_END = Acceptance(TERMINAL_STATUSES)


class Jobs:
    """Sync jobs, newest first, with answers about them that all conditions share and that grow with the jobs."""

    def __init__(self, jobs: Iterable[SyncJob] = ()) -> None:
        self.all: list[SyncJob] = []
        self._by_execution_id: dict[str, SyncJob] = {}
        self._latest: dict[tuple[Acceptance | None, MeasuredBy], SyncJob | None] = {}
        self._earliest: dict[MeasuredBy, datetime] = {}
        self.add_older(jobs)

    def add_older(self, jobs: Iterable[SyncJob]) -> None:
        """Add jobs that are older than all others."""
        added = list(jobs)
        self.all += added
        self._take(added, is_newer=False)

    def add_newer(self, jobs: Iterable[SyncJob]) -> None:
        """Add jobs that are newer than all others."""
        added = list(jobs)
        self.all[:0] = added
        self._take(added, is_newer=True)

    def get(self, execution_id: str) -> SyncJob | None:
        """Find a job; of several with this id the newest."""
        return self._by_execution_id.get(execution_id)

    def latest(self, acceptance: Acceptance | None, measured_by: MeasuredBy) -> SyncJob | None:
        """
        Find the job with the latest time.

        :param acceptance: Only among finished jobs that are acceptable; None: among all.
        :param measured_by: Which of the job's times counts.
        """
        key = acceptance, measured_by
        if key not in self._latest:
            self._latest[key] = _latest(self.all, *key)
        return self._latest[key]

    def is_any_before(self, moment: datetime, measured_by: MeasuredBy) -> bool:
        """Whether a job started (or ended) before a moment."""
        earliest = self._earliest.get(measured_by)
        return earliest is not None and earliest < moment

    def _take(self, added: list[SyncJob], *, is_newer: bool) -> None:
        for job in reversed(added) if is_newer else added:
            if is_newer:
                self._by_execution_id[job.execution_id] = job
            else:
                self._by_execution_id.setdefault(job.execution_id, job)
        for measured_by in _MEASURES:
            times = [time for job in added if (time := getattr(job, measured_by)) is not None]
            if times:
                self._earliest[measured_by] = min(*times, self._earliest.get(measured_by, times[0]))
        for key, before in self._latest.items():
            both = [_latest(added, *key), before]
            self._latest[key] = _latest(filter(None, both if is_newer else reversed(both)), None, key[1])


_MEASURES: tuple[MeasuredBy, ...] = get_args(MeasuredBy)


def _latest(jobs: Iterable[SyncJob], acceptance: Acceptance | None, measured_by: MeasuredBy) -> SyncJob | None:
    """Of several with the same time, the first."""
    judged = (
        job
        for job in jobs
        if getattr(job, measured_by) is not None
        and (acceptance is None or (job.is_finished and acceptance.objection(job) is None))
    )
    return max(judged, key=lambda job: getattr(job, measured_by), default=None)


class History:
    """
    The part of a data source's history that one poll has read so far, newest job first.

    Finished jobs do not change, so a poll reads only until it meets those that polls before it have read.

    :param kept: What polls before this one have read: the end of the history of one of them.
    """

    def __init__(self, kept: Kept | None = None) -> None:
        self.data_source_ids: list[str] = []
        self.creating_ids: list[str] = []
        self.is_complete = False
        self._read = Jobs()
        self._kept = kept
        self._tail: Jobs | None = None  # that of what was kept, once the pages have met it

    def add_page(self, page: Page) -> None:
        """Add the next older page."""
        self.data_source_ids += page.data_source_ids
        self.creating_ids += page.creating_ids
        self.is_complete = page.is_last
        self.__dict__.pop("jobs", None)
        if self._tail is not None:
            self._tail.add_older(job for job in page.jobs if self._tail.get(job.execution_id) is None)
            return
        newer = None if self._kept is None else self._kept.newer(page)
        if newer is None or self._kept is None:
            self._read.add_older(page.jobs)
            return
        self._read.add_older(page.jobs[:newer])
        self._tail = self._kept.jobs
        self._tail.add_older(page.jobs[newer + len(self._tail.all) :])
        self.is_complete = page.is_last or self._kept.is_complete

    @cached_property
    def jobs(self) -> list[SyncJob]:
        """The jobs."""
        return [*self._read.all, *(self._tail.all if self._tail else ())]

    @property
    def resumes_before(self) -> datetime | None:
        """When the last job started that is known, if the history goes on behind what was kept."""
        return self._tail.all[-1].start_time if self._tail is not None and not self.is_complete else None

    @property
    def has_met_kept(self) -> bool:
        """Whether the pages have reached what was kept."""
        return self._tail is not None

    def keep(self) -> Kept | None:
        """Give what the next poll need not read: the finished jobs at the end. Call it once all has been read."""
        read = self._read.all
        running = next((number for number in range(len(read), 0, -1) if not read[number - 1].is_finished), 0)
        # Pages overlap when a sync starts while they are read.
        ended = [job for job in read[running:] if self._read.get(job.execution_id) is job]
        oldest = (ended if self._tail is None else self._tail.all)[-1:]
        if not all(job.execution_id for job in ended) or not oldest or oldest[0].start_time is None:
            return None
        tail = Jobs() if self._tail is None else self._tail
        tail.add_newer(job for job in ended if tail.get(job.execution_id) is None)
        self._read, self._tail = Jobs(read[:running]), tail
        self.__dict__.pop("jobs", None)
        return Kept(tail, self.is_complete)

    def get(self, execution_id: str) -> SyncJob | None:
        """Find a job among those read so far."""
        return self._read.get(execution_id) or (self._tail.get(execution_id) if self._tail else None)

    def latest(self, acceptance: Acceptance | None, measured_by: MeasuredBy) -> SyncJob | None:
        """
        Find the job with the latest time.

        :param acceptance: Only among finished jobs that are acceptable; None: among all.
        :param measured_by: Which of the job's times counts.
        """
        found = [part.latest(acceptance, measured_by) for part in (self._read, self._tail) if part is not None]
        return _latest(filter(None, found), None, measured_by)

    @property
    def newest(self) -> SyncJob | None:
        """The newest job, the only one that can be running, whatever the status of others says."""
        first = next(iter(self._read.all or (self._tail.all if self._tail else ())), None)
        if first is None or first.start_time is None:
            return first
        return self.latest(None, "start_time")  # a page may come unsorted

    @property
    def running(self) -> SyncJob | None:
        """The newest job, if it has not finished."""
        newest = self.newest
        return None if newest is None or newest.is_finished else newest

    def reaches(self, moment: datetime, measured_by: MeasuredBy) -> bool:
        """Whether every job that started (or ended) at or after this moment has been read."""
        parts = (self._read, self._tail)
        return self.is_complete or any(part.is_any_before(moment, measured_by) for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Kept:
    """Finished jobs that polls have read, and whether the history ends with them."""

    jobs: Jobs
    is_complete: bool

    def newer(self, page: Page) -> int | None:
        """
        Say how many jobs of a page are newer than those kept, if the page meets them and lists them unchanged.

        :param page: The page.
        """
        kept, listed = self.jobs.all, page.jobs
        known = (number for number, job in enumerate(listed) if self.jobs.get(job.execution_id) is not None)
        newer = next(known, None)
        if newer is None:
            return None
        met = listed[newer:]
        is_cut = page.is_last and len(met) < len(kept)  # the service lists older jobs no more
        return None if is_cut or met[: len(kept)] != kept[: len(met)] else newer


@dataclass(frozen=True, slots=True)
class Page:
    """One response of ListDataSourceSyncJobs, or what a poll of an index read."""

    jobs: list[SyncJob]
    is_last: bool
    data_source_ids: list[str] = field(default_factory=list)
    creating_ids: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    Keep waiting.

    :param job: The job that is waited for, if one is known.
    :param error: Why the last poll failed, if it did.
    :param stale: The newest acceptable job among those read, if it is too old; for the log.
    """

    job: SyncJob | None = None
    error: str | None = None
    stale: SyncJob | None = field(default=None, compare=False)

    is_known: ClassVar[bool] = True

    @property
    def news(self) -> tuple[str, str] | None:
        """What of it is worth a line in the log when it changes."""
        return (self.job.execution_id, self.job.status) if self.job is not None else None


@dataclass(frozen=True, slots=True)
class NeedsOlder:
    """What was read is not enough: read the next older page."""


Decision = Outcome | Waiting | NeedsOlder


class Condition(Protocol[D_co]):
    """What the history of a data source is asked for, at each poll."""

    def decide(self, history: History, now: datetime) -> D_co | NeedsOlder:
        """
        Decide on what has been read; never asks for an older page of a complete history.

        :param history: The history as read so far.
        :param now: When it was read.
        """


class SyncJobCondition(Condition[Outcome | Waiting], Protocol):
    """What a wait for a sync job waits for."""

    @property
    def subject(self) -> str:
        """What is waited for, in words."""


_CONFIRMATION = 20.0  # seconds for which answers must agree where the wait itself is older than not_found_timeout


@dataclass(slots=True)
class ExecutionFinished:
    """
    One sync job has finished. Each wait needs one of its own, which it keeps from poll to poll.

    :param execution_id: Which job.
    :param acceptance: How it must have ended.
    :param not_found_timeout: Seconds. A single answer can be out of date; a job counts as not found, or as no longer
        running though its status says so, once every answer for this long has said the same.
    :param since: When this process began to wait; earlier answers are no evidence against the job.
    :param origin: When the wait began, if that was in another process. A job that this process has never found in the
        history is then missing since, but a second response has to confirm it.
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
        """Decide by the status of the job."""
        job = history.get(self.execution_id)
        if job is None:
            if not history.is_complete:
                return NeedsOlder()
            return self._not_found(history) if self._is_lasting(Failure.NOT_FOUND, now) else Waiting()
        self._is_known = True
        if job.is_finished or job is history.newest:
            self._doubt = None
            return _judge(job, self.acceptance) if job.is_finished else Waiting(job)
        return _superseded(job) if self._is_lasting(Failure.NOT_ACCEPTABLE, now) else Waiting(job)

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last answer gave a reason to fail that has not lasted long enough yet."""
        return self._doubt is not None

    def _is_lasting(self, doubt: Failure, now: datetime) -> bool:
        """Whether all answers for long enough have given the same reason to fail."""
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
            f"Sync job {self.execution_id} is not in the history of its data source ({len(history.jobs)} jobs). "
            "Check execution_id, data_source_id and index_id, and that connection and region are those it was "
            "started with; raise not_found_timeout if it was started just now.",
        )


def _superseded(job: SyncJob) -> Failed:
    return Failed(
        Failure.NOT_ACCEPTABLE,
        f"The sync will not finish: its status is still {job.status or 'not reported'} though a newer sync job has "
        f"started, so it is not running. {job.title}.",
        job,
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
        return Fresh(self.acceptance, fresh_since=self.started_after, fail_fast=True).decide(history, now)


@dataclass(frozen=True, slots=True)
class Fresh:
    """
    A data source has an acceptable job that is new enough.

    :param acceptance: How the job must have ended.
    :param fresh_since: The cutoff, inclusive; exclusive with ``max_age``.
    :param max_age: The cutoff as an age; it moves with the clock.
    :param measured_by: Which of the job's times counts.
    :param fail_fast: Fail when the newest job since the cutoff ended unacceptably and none is running.
    """

    acceptance: Acceptance
    fresh_since: datetime | None = None
    max_age: timedelta | None = None
    measured_by: MeasuredBy = "start_time"
    fail_fast: bool = False

    @property
    def subject(self) -> str:
        """What is waited for, in words."""
        verb = "started" if self.measured_by == "start_time" else "ended"
        if self.fresh_since is not None:
            return f"a sync job that {verb} at or after {self.fresh_since.isoformat()}"
        return f"a sync job that {verb} at most {self.max_age} ago"

    def cutoff(self, now: datetime) -> datetime:
        """Since when a job is new enough."""
        if self.fresh_since is not None:
            return self.fresh_since
        try:
            return now - (self.max_age or timedelta())
        except OverflowError:  # so long ago that any job is new enough
            return datetime.min.replace(tzinfo=UTC)

    def is_fresh(self, job: SyncJob, now: datetime) -> bool:
        """Whether an acceptable job is new enough at a time."""
        time = getattr(job, self.measured_by)
        return time is not None and bool(time >= self.cutoff(now))

    def decide(self, history: History, now: datetime) -> Decision:
        """Decide by the newest acceptable job."""
        good = history.latest(self.acceptance, self.measured_by)
        if good is not None and self.is_fresh(good, now):
            return Satisfied(good)
        if not history.reaches(self.cutoff(now), self.measured_by):
            return NeedsOlder()
        running = history.running
        ended = history.latest(ANY_END, self.measured_by) if self.fail_fast and running is None else None
        if ended is None or not self.is_fresh(ended, now):
            return Waiting(running, stale=good)
        return _judge(ended, self.acceptance)


@dataclass(frozen=True, slots=True)
class HeldUp:
    """
    Keep waiting: these data sources hold it up.

    :param data_sources: What the last poll of each decided, None before the first, or why there is none, in words.
    """

    data_sources: Mapping[str, Satisfied | Waiting | str | None]

    @property
    def is_known(self) -> bool:
        """Whether each of them has been polled."""
        return None not in self.data_sources.values()

    @property
    def news(self) -> Mapping[str, object]:
        """What of it is worth a line in the log when it changes."""
        return {key: news_of(decision) for key, decision in self.data_sources.items()}

    @property
    def error(self) -> str | None:
        """Why the last poll of one of them failed, if any did."""
        decisions = self.data_sources.values()
        return next((each.error for each in decisions if isinstance(each, Waiting) and each.error), None)

    def describe(self, condition: Fresh, now: datetime) -> str:
        """Say which data sources are stale, how stale, and whether a sync runs there."""
        named = [
            f"{data_source_id} ({_staleness(decision, condition, now)})"
            for data_source_id, decision in itertools.islice(self.data_sources.items(), _NAMED)
        ]
        more = len(self.data_sources) - len(named)
        return ", ".join(named) + (f" and {more} more" if more else "")

    def summary(self, condition: Fresh, now: datetime, room: int) -> str:
        """
        Name data sources that are not fresh, at least one and as many as there is room for.

        :param condition: What each must fulfil.
        :param now: The time that it is about.
        :param room: How many characters there are.
        """
        named = ""
        for count, (data_source_id, decision) in enumerate(self.data_sources.items(), 1):
            more = f" and {len(self.data_sources) - count} more" if count < len(self.data_sources) else ""
            next_one = f"{', ' if named else ''}{data_source_id} ({_standing(decision, condition, now)})"
            if named and len(named + next_one + more) > room:
                return f"{named} and {len(self.data_sources) - count + 1} more"
            named += next_one
        return named


def all_fresh(
    decisions: Mapping[str, Outcome | Waiting | None], condition: Fresh, now: datetime
) -> AllFresh | Failed | HeldUp:
    """
    Decide for several data sources at once.

    :param decisions: The last decision on each; None where there was none yet.
    :param condition: What each must fulfil.
    :param now: The time that it is about.
    """
    jobs: dict[str, SyncJob] = {}
    held_up: dict[str, Satisfied | Waiting | None] = {}
    for data_source_id, decision in decisions.items():
        if isinstance(decision, Failed):
            return decision
        # A job that was new enough when it was read can be too old by now.
        if isinstance(decision, Satisfied) and condition.is_fresh(decision.job, now):
            jobs[data_source_id] = decision.job
        else:
            held_up[data_source_id] = decision
    return HeldUp(held_up) if held_up else AllFresh(jobs)


_NAMED = 10  # data sources that a log line names


def _staleness(decision: Satisfied | Waiting | str | None, condition: Fresh, now: datetime) -> str:
    if isinstance(decision, str):
        return decision
    if decision is None:
        return "not polled yet"
    stale = decision.job if isinstance(decision, Satisfied) else decision.stale
    parts = ["no acceptable sync among those read"]
    if stale is not None:
        time: datetime = getattr(stale, condition.measured_by)
        parts = [f"last acceptable sync {timedelta(seconds=int((now - time).total_seconds()))} ago"]
    if isinstance(decision, Waiting):
        parts.append(f"{decision.job.execution_id} is {decision.job.progress}" if decision.job else "no sync runs")
        if decision.error:
            parts.append(f"the last poll failed: {decision.error}")
    return "; ".join(parts)


def _standing(decision: Satisfied | Waiting | str | None, condition: Fresh, now: datetime) -> str:
    """Say in a few words how a data source stands that is not fresh."""
    if isinstance(decision, str):
        return decision
    if decision is None:
        return "not polled yet"
    if isinstance(decision, Waiting) and decision.error:
        return "poll failed"
    stale = decision.job if isinstance(decision, Satisfied) else decision.stale
    running = decision.job if isinstance(decision, Waiting) else None
    words = "no acceptable sync"
    if stale is not None:
        age = now - getattr(stale, condition.measured_by)
        words = f"last acceptable sync {f'{age.days} days' if age.days > 1 else timedelta(seconds=age // _SECOND)} ago"
    return f"{words}, {running.status}" if running else words


_SECOND = timedelta(seconds=1)


def freshness_condition(
    *,
    max_age: timedelta | float | None,
    fresh_since: datetime | str | None,
    measured_by: str,
    accepted_statuses: Collection[str],
    max_documents_failed: int | None,
    fail_fast: bool,
) -> Fresh:
    """
    Build the condition for freshness from a DAG author's parameters.

    :param max_age: Age, as a ``timedelta`` or in seconds, or None.
    :param fresh_since: Moment, or None.
    :param measured_by: ``"start_time"`` or ``"end_time"``.
    :param accepted_statuses: Statuses that are accepted.
    :param max_documents_failed: Failed documents that are tolerated.
    :param fail_fast: As in :class:`Fresh`.
    :raises ValueError: unless exactly one of the first two is given and every value can be one.
    """
    if (max_age is None) == (fresh_since is None):
        raise ValueError(
            f"Exactly one of max_age and fresh_since must be given, got max_age={max_age!r} and "
            f"fresh_since={fresh_since!r}."
        )
    if measured_by not in get_args(MeasuredBy):
        raise ValueError(f"measured_by must be start_time or end_time, got {measured_by!r}.")
    return Fresh(
        Acceptance.of(accepted_statuses, max_documents_failed),
        fresh_since=None if fresh_since is None else check_time("fresh_since", fresh_since),
        max_age=None if max_age is None else check_max_age(max_age),
        measured_by="start_time" if measured_by == "start_time" else "end_time",
        fail_fast=fail_fast,
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
    :param started_after: The moment that any job must have started at or after, or None.
    :param target_statuses: Statuses that are accepted.
    :param max_documents_failed: Failed documents that are tolerated.
    :param not_found_timeout: As in :class:`ExecutionFinished`.
    :param since: As in :class:`ExecutionFinished`.
    :param origin: As in :class:`ExecutionFinished`.
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
    return ExecutionFinished(
        check_identifier("execution_id", execution_id), acceptance, not_found_timeout, since, origin
    )


def _judge(job: SyncJob, acceptance: Acceptance) -> Outcome:
    objection = acceptance.objection(job)
    if objection is None:
        return Satisfied(job)
    return Failed(Failure.NOT_ACCEPTABLE, f"{job.title} {objection}.{job.error}", job)


def read(condition: Condition[D_co], pages: Iterable[Page], now: datetime) -> D_co:
    """
    Decide on a history, reading no further than the condition needs.

    :param condition: What is waited for.
    :param pages: The pages of the history, fetched as they are consumed.
    :param now: The time of this poll.
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


def news_of(decision: object) -> object:
    """What of a decision, or of whatever stands for one, is worth a line in the log when it changes."""
    return getattr(decision, "news", decision)


class PollErrors:
    """Sums up the polls that fail, for a log that says so when errors begin and then at its progress interval."""

    __slots__ = ("_failed", "_is_reported", "_kind", "_polls")

    def __init__(self) -> None:
        self._polls = self._failed = 0
        self._kind = ""
        self._is_reported = False

    def count(self, error: str | None) -> bool:
        """
        Count a poll, and say whether errors begin with it.

        :param error: Why it failed, None if it did not.
        """
        self._polls += 1
        if error is not None:
            self._failed += 1
            self._kind = _kind_of_error(error)
        return error is not None and self.is_new

    @property
    def is_new(self) -> bool:
        """Whether polls have failed since the last summary, which said nothing of it."""
        return self._failed > 0 and not self._is_reported

    def summary(self, which: str | None = None) -> str:
        """
        Sum up the polls since the last summary, as the first sentence of a line; empty if there is nothing to say.

        :param which: How to call those that failed. Default: by their number.
        """
        polls, failed, was_reported = self._polls, self._failed, self._is_reported
        self._polls, self._failed, self._is_reported = 0, 0, failed > 0
        if not failed:
            return "Polls succeed again. " if was_reported else ""
        if which is not None:
            words = f"{which} failed"
        else:
            words = f"{failed} of the last {polls} polls failed" if was_reported else "The last poll failed"
        return f"{words} ({self._kind}); retrying. "


_AWS_CODE = re.compile(r"An error occurred \(([^)]+)\)")
_LONGEST_KIND = 28


def _kind_of_error(error: str) -> str:
    """Cut the description of an error to its AWS error code, or to the exception's name."""
    code = _AWS_CODE.search(error)
    return (code[1] if code else error.partition(":")[0])[:_LONGEST_KIND]


class Standing(Protocol):
    """How a wait stands."""

    @property
    def is_known(self) -> bool:
        """Whether all that it is about has been polled."""

    @property
    def news(self) -> object:
        """What of it is worth a line in the log when it changes."""

    @property
    def error(self) -> str | None:
        """Why the last poll failed, if it did."""


S = TypeVar("S", bound=Standing)


class WaitLog(Generic[S]):
    """
    Says in a task's log how a wait stands: at each change, when errors begin, and every five minutes.

    :param text: Gives the line for what the last poll came to, the seconds that the wait has taken, the time, and the
        errors since the last line.
    :param now: When the wait begins.
    :param errors: Counts the polls that fail, where the poller does so; default None: :meth:`line` counts.
    """

    __slots__ = ("_errors", "_logged", "_logged_at", "_since", "_text")

    def __init__(
        self, text: Callable[[S, int, datetime, PollErrors], str], now: datetime, errors: PollErrors | None = None
    ) -> None:
        self._text = text
        self._errors = PollErrors() if errors is None else errors
        self._since = self._logged_at = now
        self._logged: object = self  # no news yet

    def due_in(self, now: datetime) -> float:
        """
        Give the seconds until a line is due that says that the wait goes on.

        :param now: The time.
        """
        return PROGRESS_INTERVAL - (now - self._logged_at).total_seconds()

    def line(self, standing: S, now: datetime) -> str | None:
        """
        Count a poll and give the line to log, or None if there is nothing new.

        :param standing: What the poll came to.
        :param now: The time of that poll.
        """
        self._errors.count(standing.error)
        return self.report(standing, now)

    def report(self, standing: S, now: datetime) -> str | None:
        """
        Give the line to log, or None if there is nothing new.

        :param standing: What the last poll came to.
        :param now: The time of that poll.
        """
        if now < self._since and standing.news is None:
            return None  # an answer from before the wait
        is_progress = self.due_in(now) <= 0
        is_news = standing.is_known and standing.news != self._logged
        if not is_news and not is_progress and not self._errors.is_new:
            return None
        self._logged, self._logged_at = standing.news, max(now, self._since)
        elapsed = max(int((now - self._since).total_seconds()), 0)
        return plain(self._text(standing, elapsed, now, self._errors), LONGEST_MESSAGE)


def sync_job_log(subject: str, now: datetime, errors: PollErrors | None = None) -> WaitLog[Waiting]:
    """
    Make the log of a wait for a sync job.

    :param subject: What is waited for, in words.
    :param now: When the wait begins.
    :param errors: As for :class:`WaitLog`.
    """

    def text(standing: Waiting, elapsed: int, now: datetime, errors: PollErrors) -> str:
        failed = errors.summary()
        if standing.job is None:
            return f"{failed}No sync job listed after {elapsed} s{'' if failed else f' (waiting for {subject})'}"
        counts = "" if failed else f": {standing.job.counts}"
        return f"{failed}{standing.job.status} after {elapsed} s{counts} (sync job {standing.job.execution_id})"

    return WaitLog(text, now, errors)


def freshness_log(condition: Fresh, now: datetime, errors: PollErrors | None = None) -> WaitLog[HeldUp]:
    """
    Make the log of a wait for freshness, which names the data sources that are waited for.

    :param condition: What each must fulfil.
    :param now: When the wait begins.
    :param errors: As for :class:`WaitLog`.
    """

    def text(standing: HeldUp, elapsed: int, now: datetime, errors: PollErrors) -> str:
        sources = f"{len(standing.data_sources)} data source{'' if len(standing.data_sources) == 1 else 's'}"
        begin = f"{errors.summary('Polls')}{sources} not fresh after {elapsed} s: "
        return begin + standing.summary(condition, now, _LONGEST_LINE - len(begin))

    return WaitLog(text, now, errors)


_LONGEST_LINE = 190  # characters of a progress line, unless the first name alone takes more
