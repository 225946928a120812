"""The possible results of a poll: the wait succeeded, failed, or continues. Values without I/O."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_kendra._text import LONGEST_MESSAGE, label, plain, with_names

if TYPE_CHECKING:
    from airflow_provider_kendra._validation import MeasuredBy
    from airflow_provider_kendra.sync_job import SyncJob


@dataclass(frozen=True, slots=True)
class Satisfied:
    """The wait succeeded."""

    job: SyncJob

    @property
    def log_key(self) -> str:
        """The part whose changes are logged."""
        return self.job.execution_id

    def to_event(self) -> dict[str, Any]:
        """Convert to JSON types, for a trigger event."""
        return {"failure": None, "message": None, "job": self.job.to_dict()}


class Failure(StrEnum):
    """Why a wait failed."""

    NOT_ACCEPTABLE = "not_acceptable"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class Failed:
    """The wait failed."""

    failure: Failure
    message: str
    job: SyncJob | None = None

    def __post_init__(self) -> None:
        # The message goes into events, errors and logs.
        object.__setattr__(self, "message", plain(self.message, LONGEST_MESSAGE))

    def with_names(self, names: Mapping[str, str]) -> Failed:
        """Put the names of data sources, where they are known, before their ids."""
        return replace(self, message=with_names(self.message, names))

    def to_event(self) -> dict[str, Any]:
        """Convert to JSON types, for a trigger event."""
        return {
            "failure": self.failure.value,
            "message": self.message,
            "job": self.job and self.job.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class AllFresh:
    """The wait for several data sources succeeded."""

    jobs: Mapping[str, SyncJob]

    def to_event(self) -> dict[str, Any]:
        """Convert to JSON types, for a trigger event."""
        jobs = {data_source_id: job.to_dict() for data_source_id, job in self.jobs.items()}
        return {"failure": None, "message": None, "jobs": jobs}


Outcome = Satisfied | Failed


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    Keep waiting.

    :param job: The job that is waited for, if one is known.
    :param error: Why the last poll failed, if it did.
    :param stale: The newest acceptable job among those read, if it is too old; for the log.
    :param reason: If the data source is judged by its schedule: what became of the scheduled sync, in words.
    """

    job: SyncJob | None = None
    error: str | None = None
    stale: SyncJob | None = field(default=None, compare=False)
    reason: str | None = field(default=None, compare=False)

    is_known: ClassVar[bool] = True

    @property
    def log_key(self) -> tuple[str, str] | str | None:
        """The part whose changes are logged."""
        return (self.job.execution_id, self.job.status) if self.job is not None else self.reason

    @classmethod
    def after_error(cls, judged: Failed | str, before: object) -> Failed | Waiting:
        """
        Fail for a permanent error; keep waiting after any other.

        :param judged: The failure, or the description of a transient error.
        :param before: The previous decision.
        """
        if isinstance(judged, Failed):
            return judged
        return cls(before.job if isinstance(before, Waiting) else None, error=judged)


@dataclass(frozen=True, slots=True)
class NeedsOlder:
    """The pages read so far are not enough: read the next older one."""


def at_any_end(outcome: Outcome) -> Outcome:
    """
    Treat any end of a sync job as a success, including that of a superseded job.

    :param outcome: The outcome of a wait that accepts every final status.
    """
    if isinstance(outcome, Failed) and outcome.failure is Failure.NOT_ACCEPTABLE and outcome.job is not None:
        return Satisfied(outcome.job)
    return outcome


NO_RESPONSE = "no response before the time-out"
"""The error of a poll that still hangs when the wait times out."""


def timed_out(subject: str, state: str, job: SyncJob | None = None) -> Failed:
    """
    Return the failure of a wait whose time has run out.

    :param subject: What was waited for, in words; shown if no job is known.
    :param state: The state at the last poll, in words.
    :param job: The sync job as last read, if the wait was for one.
    """
    what = job.ids if job else f"(waited for {subject})"
    message = f"Timed out: {state.removesuffix('.')}. Raise timeout if syncs take this long {what}."
    return Failed(Failure.TIMED_OUT, message, job)


def log_key_of(decision: object) -> object:
    """Return the part of a decision whose changes are logged."""
    return getattr(decision, "log_key", decision)


@dataclass(frozen=True, slots=True)
class Blocked:
    """
    Keep waiting: these data sources are not fresh.

    :param data_sources: The last decision on each; None before its first poll, or text that says why there is none.
    :param names: The names of data sources, where they are known, by id.
    """

    data_sources: Mapping[str, Satisfied | Waiting | str | None]
    names: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def is_known(self) -> bool:
        """Whether every data source has been polled."""
        return None not in self.data_sources.values()

    @property
    def log_key(self) -> Mapping[str, object]:
        """The part whose changes are logged."""
        return {key: log_key_of(decision) for key, decision in self.data_sources.items()}

    @property
    def error(self) -> str | None:
        """Why the last poll of a data source failed, if any did."""
        decisions = self.data_sources.values()
        return next((each.error for each in decisions if isinstance(each, Waiting) and each.error), None)

    @property
    def ids(self) -> str:
        """The ids of those that :meth:`describe` lists by name, as the end of a sentence; empty if there are none."""
        ids = [key for key in itertools.islice(self.data_sources, _NAMED) if key in self.names]
        return f", data source{'' if len(ids) == 1 else 's'} {', '.join(ids)}" if ids else ""

    def _label(self, data_source_id: str) -> str:
        name = self.names.get(data_source_id, "")
        return label(name, data_source_id, is_unique=list(self.names.values()).count(name) == 1)

    def describe(self, measured_by: MeasuredBy, now: datetime) -> str:
        """List the stale data sources, their age, and whether a sync is running."""
        named = [
            f"{self._label(data_source_id)} ({_staleness(decision, measured_by, now)})"
            for data_source_id, decision in itertools.islice(self.data_sources.items(), _NAMED)
        ]
        more = len(self.data_sources) - len(named)
        return ", ".join(named) + (f" and {more} more" if more else "")

    def summary(self, measured_by: MeasuredBy, now: datetime, room: int) -> str:
        """
        Name the data sources that are not fresh: at least one, and as many as fit.

        :param measured_by: Which of a job's times counts.
        :param now: The current time.
        :param room: The maximum number of characters to use.
        """
        named = ""
        for count, (data_source_id, decision) in enumerate(self.data_sources.items(), 1):
            more = f" and {len(self.data_sources) - count} more" if count < len(self.data_sources) else ""
            state = _short_state(decision, measured_by, now)
            next_one = f"{', ' if named else ''}{self._label(data_source_id)} ({state})"
            if named and len(named + next_one + more) > room:
                return f"{named} and {len(self.data_sources) - count + 1} more"
            named += next_one
        return named


_NAMED = 10  # data sources that a log line names


def _staleness(decision: Satisfied | Waiting | str | None, measured_by: MeasuredBy, now: datetime) -> str:
    if isinstance(decision, str):
        return decision
    if decision is None:
        return "not polled yet"
    stale = decision.job if isinstance(decision, Satisfied) else decision.stale
    error = decision.error if isinstance(decision, Waiting) else None
    reason = decision.reason if isinstance(decision, Waiting) else None
    parts = [reason] if reason is not None else []
    if stale is not None:
        parts.append(f"last acceptable sync {_age(stale, measured_by, now)} ago")
    elif error is None:  # else it is not known
        parts.append("no acceptable sync among those read")
    if reason is not None:
        pass  # it says whether a sync is running
    elif isinstance(decision, Waiting) and decision.job is not None:
        parts.append(f"{decision.job.execution_id} is {decision.job.progress}")
    elif isinstance(decision, Waiting) and error is None:
        parts.append("no sync is running")
    if error is not None:
        parts.append(f"the last poll failed: {error}")
    return "; ".join(parts)


def _short_state(decision: Satisfied | Waiting | str | None, measured_by: MeasuredBy, now: datetime) -> str:
    """Say in a few words why a data source is not fresh."""
    if isinstance(decision, str):
        return decision
    if decision is None:
        return "not polled yet"
    if isinstance(decision, Waiting) and decision.error:
        return "poll failed"
    if isinstance(decision, Waiting) and decision.reason:
        return plain(decision.reason, _LONGEST_REASON)
    stale = decision.job if isinstance(decision, Satisfied) else decision.stale
    running = decision.job if isinstance(decision, Waiting) else None
    words = "no acceptable sync"
    if stale is not None:
        age = _age(stale, measured_by, now)
        words = f"last acceptable sync {f'{age.days} days' if age.days > 1 else age} ago"
    return f"{words}, {running.status}" if running else words


_LONGEST_REASON = 150  # characters of a line in the log


def _age(job: SyncJob, measured_by: MeasuredBy, now: datetime) -> timedelta:
    """How long ago a job started or ended, in whole seconds; 0 if that is in the future by this clock."""
    return timedelta(seconds=max(int((now - getattr(job, measured_by)).total_seconds()), 0))
