"""The states of data sources by their freshness, and when they change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_kendra._clock import CLOCK_DIFFERENCE, later
from airflow_provider_kendra._decisions import NeedsOlder
from airflow_provider_kendra._schedule import previous_run, stale_at, translate
from airflow_provider_kendra._validation import check_time
from airflow_provider_kendra._waiting.history import age
from airflow_provider_kendra.sync_job import Acceptance, SyncJob

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow_provider_kendra._validation import MeasuredBy
    from airflow_provider_kendra._waiting.history import History


class State(StrEnum):
    """How fresh a data source is."""

    FRESH = "fresh"
    AGING = "aging"
    STALE = "stale"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How long the newest acceptable job keeps a data source fresh; exactly one of ``max_age`` and ``grace`` is given.

    :param acceptance: How a job must have ended.
    :param measured_by: Which of its times counts.
    :param max_age: Older than this, it is stale.
    :param warn_age: Older than this, it is aging; None for never.
    :param grace: A data source is stale this long after the first scheduled run that follows the job.
    :param schedule: The data source's own schedule; "" for none.
    """

    acceptance: Acceptance
    measured_by: MeasuredBy = "start_time"
    max_age: timedelta | None = None
    warn_age: timedelta | None = None
    grace: timedelta | None = None
    schedule: str = ""

    def with_schedule(self, schedule: str) -> Limits:
        """
        Return these limits for a data source with a schedule.

        :raises ValueError: if there is none or it can't be translated.
        """
        translate(schedule)
        return replace(self, schedule=schedule)

    def stale_at(self, job: SyncJob) -> datetime:
        """When a job no longer keeps its data source fresh."""
        measured = _measured(job, self.measured_by)
        return stale_at(measured, max_age=self.max_age, grace=self.grace, schedule=self.schedule)

    def cutoff(self, now: datetime) -> datetime:
        """Return a time before which any job would be stale."""
        run = None if self.grace is None else previous_run(self.schedule, now - self.grace)
        return run or now - (self.max_age or timedelta(days=366))

    def crossings(self, job: SyncJob) -> list[tuple[datetime, State]]:
        """Return the state changes that a job causes, with their times and in order, if no other job follows."""
        stale_at = self.stale_at(job)
        found = [(_ended(job), State.FRESH)]
        if (
            self.warn_age is not None
            and (aging_at := later(_measured(job, self.measured_by), self.warn_age)) < stale_at
        ):
            found.append((aging_at, State.AGING))
        found.append((stale_at, State.STALE))
        begins = found[0][0]
        # A job can have been too old already when it ended.
        passed = [state for at, state in found if self._has_begun(at, state, begins)]
        return [(begins, passed[-1]), *((at, state) for at, state in found if not self._has_begun(at, state, begins))]

    def begun(self, job: SyncJob, now: datetime) -> list[tuple[datetime, State]]:
        """Return those of the job's state changes that have happened by now."""
        first, *others = self.crossings(job)
        # The first state change of a job is at its end, whichever the state is.
        return [first] * (first[0] <= now) + [each for each in others if self._has_begun(*each, now)]

    def _has_begun(self, at: datetime, state: State, now: datetime) -> bool:
        """Whether a state that begins at ``at`` has begun by ``now``."""
        # A job exactly ``max_age`` old still counts; with ``grace``, a job stops counting once a run is overdue.
        is_by_age = state is State.AGING or (state is State.STALE and self.grace is None)
        return at < now if is_by_age else at <= now


def _measured(job: SyncJob, measured_by: MeasuredBy) -> datetime:
    moment: datetime = getattr(job, measured_by)  # never None: see Ended
    return moment


def _ended(job: SyncJob) -> datetime:
    return job.end_time or job.start_time or datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A change of state at its time, and the newest acceptable job then."""

    at: datetime
    state: State
    job: SyncJob | None


def crossings(jobs: Sequence[SyncJob], limits: Limits, now: datetime, known: Known | None = None) -> list[Crossing]:
    """
    Return each change of state until now.

    :param jobs: Acceptable jobs, in any order.
    :param limits: What keeps a data source fresh.
    :param now: The time.
    :param known: If given, the first job that is newer than what is known is included even if it changes nothing.
    """
    found: list[Crossing] = []
    counting = list(_counting(jobs, limits))
    for number, job in enumerate(counting):
        if number + 1 == len(counting):
            changes = limits.begun(job, now)
        else:
            changes = limits.begun(job, min(now, _ended(counting[number + 1]) - timedelta.resolution))
        for at, state in changes:
            is_first_new = known is not None and known.is_newer(job) and not (found and known.is_newer(found[-1].job))
            if not found or found[-1].state != state or is_first_new:
                found.append(Crossing(at, state, job))
    return found


def _counting(jobs: Sequence[SyncJob], limits: Limits) -> Iterator[SyncJob]:
    """Yield each job that became the newest acceptable one when it ended, oldest first."""
    newest: datetime | None = None
    for job in sorted(jobs, key=_ended):
        measured = _measured(job, limits.measured_by)
        if newest is None or measured > newest:
            newest = measured
            yield job


@dataclass(frozen=True, slots=True)
class Known:
    """
    The last state that was reported of a data source.

    :param state: The state.
    :param until: Crossings until this time have been reported.
    :param schedule: The schedule by which the data source was judged; "" for none.
    :param newest: The end of the newest acceptable job so far; None if there was none.
    """

    state: State
    until: datetime
    schedule: str = ""
    newest: datetime | None = None

    def to_json(self) -> dict[str, str]:
        """Return it in JSON types."""
        schedule = {"schedule": self.schedule} if self.schedule else {}
        newest = {"newest": self.newest.isoformat()} if self.newest else {}
        return {"state": str(self.state), "until": self.until.isoformat(), **schedule, **newest}

    def is_newer(self, job: SyncJob | None) -> bool:
        """Whether a job has ended after all acceptable ones so far, of which there was one at least."""
        return job is not None and self.newest is not None and _ended(job) > self.newest

    @classmethod
    def from_json(cls, value: object) -> Known:
        """Read what :meth:`to_json` has returned; raise ValueError for anything else."""
        match value:
            case {"state": str(state), "until": str(until), **others}:
                newest = None if "newest" not in others else check_time("newest", str(others["newest"]))
                return cls(State(state), check_time("until", until), str(others.get("schedule", "")), newest)
        raise ValueError("a state is not a mapping with state and until")


@dataclass(frozen=True, slots=True)
class Change:
    """A change of state to report; ``previous`` is None at the first report."""

    data_source_id: str
    state: State
    previous: State | None
    at: datetime
    job: SyncJob | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON types."""
        return {
            "data_source_id": self.data_source_id,
            "state": str(self.state),
            "previous": None if self.previous is None else str(self.previous),
            "at": self.at.isoformat(),
            "record": None if self.job is None else self.job.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Ended:
    """
    What a poll has found: the decision of :class:`AcceptableSince`.

    :param jobs: The acceptable jobs, newest first, back to the one that counted at the last report. Jobs without the
        time that counts are left out.
    :param newest: The newest job that has ended, acceptable or not.
    :param limits: What keeps the data source fresh.
    """

    jobs: tuple[SyncJob, ...]
    newest: SyncJob | None
    limits: Limits

    def lacks_newest_of(self, known: Known) -> bool:
        """Whether the newest acceptable job so far is missing, and there is no newer one."""
        return known.newest is not None and all(_ended(job) < known.newest for job in self.jobs)


@dataclass(frozen=True, slots=True)
class AcceptableSince:
    """
    The condition of a watcher of states.

    :param limits: What keeps a data source fresh.
    :param since: The last crossing that was reported; None if there was none.
    """

    limits: Limits
    since: datetime | None

    def age(self, history: History, now: datetime) -> timedelta | None:
        """The age of the data source, for metrics."""
        return age(history, self.limits.acceptance, self.limits.measured_by, now)

    def decide(self, history: History, now: datetime) -> Ended | NeedsOlder:
        """Collect the acceptable jobs."""
        acceptance, measured_by = self.limits.acceptance, self.limits.measured_by
        since = now if self.since is None else self.since
        cutoff = self.limits.cutoff(min(since, now))
        jobs, newest = [], None
        for job in history.jobs:
            moment = getattr(job, measured_by)
            if not job.is_finished or moment is None:
                continue
            newest = newest or job
            if moment < cutoff:  # at most the newest acceptable one of these counts
                break
            if acceptance.accepts(job):
                jobs.append(job)
                if _ended(job) <= since:
                    return Ended(tuple(jobs), newest, self.limits)
        if not history.reaches(cutoff, measured_by):
            return NeedsOlder()
        if not jobs and (older := history.latest(acceptance, measured_by)) is not None:
            jobs.append(older)
        return Ended(tuple(jobs), newest, self.limits)


def changes_of(data_source_id: str, ended: Ended, known: Known | None, now: datetime) -> tuple[list[Change], Known]:
    """
    Return the changes of a data source since the last report, in order, and what is known now.

    The first report says only what is not fresh. Changes that happened while no watcher ran are reported with the time
    at which they happened. If nothing but the schedule has changed, or the newest job is no longer listed, the new
    state begins ``now``: the time that follows from the jobs can be in a period that was already reported. If no
    acceptable job was read, the data source is reported as stale from the time of the report, because it is not known
    when it became stale.

    :param data_source_id: The data source.
    :param ended: What was found.
    :param known: The last report; None for the first one.
    :param now: The time.
    """
    limits = ended.limits
    if known is not None:  # a clock that was set back changes no state
        now = max(now, later(known.until, timedelta.resolution))
    # A listed job has ended, even if this clock is behind that of AWS.
    now = max((now, *(end for job in ended.jobs if (end := _ended(job)) <= later(now, CLOCK_DIFFERENCE))))
    found = crossings(ended.jobs, limits, now, known)
    last = found[-1] if found else Crossing(now, State.STALE, None)
    until = _reported_until(found, ended, known, now)
    newest = max(_counting([job for job in ended.jobs if _ended(job) <= now], limits), key=_ended, default=None)
    newest_end = max(filter(None, (known.newest if known else None, _ended(newest) if newest else None)), default=None)
    if known is None:
        is_fresh = last.state is State.FRESH
        changes = [] if is_fresh else [Change(data_source_id, last.state, None, last.at, newest)]
    elif known.state is State.UNKNOWN:
        at = last.at if last.at > known.until else now
        changes = [Change(data_source_id, last.state, State.UNKNOWN, at, newest)]
    else:
        changes = list(_changes_since(known, found, last, limits, now, data_source_id, newest))
    if known is not None:
        until = max(known.until, until, *(change.at for change in changes))
    return changes, Known(last.state, until, limits.schedule, newest_end)


def _changes_since(
    known: Known,
    found: Sequence[Crossing],
    last: Crossing,
    limits: Limits,
    now: datetime,
    data_source_id: str,
    newest: SyncJob | None,
) -> Iterator[Change]:
    """Yield what has changed since the last report."""
    previous, old = known.state, _stale_all_along(found, known)
    reported = [each for each in found if each.at <= known.until]
    # Of the changes before the last report, only the last one can be reported, if a newly listed job caused it.
    for each in (*reported[-1:], *found[len(reported) :]):
        is_news = known.is_newer(each.job) or (each.at > known.until and each.job not in old)
        if is_news and each.state != previous:
            yield Change(data_source_id, each.state, previous, each.at, each.job)
            previous = each.state
    if previous != last.state:
        # The schedule has changed, the newest job is no longer listed, or the first acceptable one was listed late.
        is_listed_late = known.newest is None and known.schedule in ("", limits.schedule)
        yield Change(data_source_id, last.state, previous, last.at if is_listed_late else now, newest)


def _stale_all_along(found: Sequence[Crossing], known: Known) -> list[SyncJob | None]:
    """Return the jobs that were read only after the data source had been reported as stale, and that are too old."""
    if known.state is not State.STALE:
        return []
    return [each.job for each in found if each.state is State.STALE and each.job and _ended(each.job) <= known.until]


def _reported_until(found: Sequence[Crossing], ended: Ended, known: Known | None, now: datetime) -> datetime:
    """
    Return the time of the last crossing, or the end of the newest job if that is later.

    The next poll need not read the jobs before, however long the state lasts. Without a finished job the time stays the
    same, because each new value is written to Airflow's database.
    """
    if found:
        begins = found[-1].at
    elif ended.newest is not None:
        begins = _ended(ended.newest)
    else:
        begins = known.until if known else now
    return max((begins, *(ended_at for job in ended.jobs if (ended_at := _ended(job)) <= now)))


def next_crossing(ended: Ended, now: datetime) -> datetime | None:
    """Return when the state changes next if no further job ends; None for never."""
    counting = list(_counting(ended.jobs, ended.limits))
    if not counting:
        return None
    coming = ended.limits.crossings(counting[-1])[len(ended.limits.begun(counting[-1], now)) :]
    return coming[0][0] if coming else None


def check_states(value: object) -> dict[str, Known]:
    """
    Read the stored states of data sources.

    :param value: The stored value.
    :raises ValueError: if it is invalid, with the reason.
    """
    if not isinstance(value, dict) or not isinstance(value.get("states"), dict):
        raise ValueError("it is not a mapping with states")
    return {str(key): Known.from_json(each) for key, each in value["states"].items()}


def store_states(known: Mapping[str, Known]) -> dict[str, Any]:
    """
    Return the states of data sources in JSON types, for :func:`check_states`.

    :param known: By data source.
    """
    return {"states": {key: each.to_json() for key, each in known.items()}}


def oldest_states(cursors: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """
    Combine stored states of several watchers, so that no change is missed; None if there are none.

    :param cursors: What :func:`store_states` has returned.
    """
    known: dict[str, Known] = {}
    found = False
    for cursor in cursors:
        found = True
        for key, each in check_states(cursor).items():
            known[key] = min(known.get(key, each), each, key=lambda one: one.until)
    return store_states(known) if found else None
