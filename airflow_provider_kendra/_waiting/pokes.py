"""The polls of one wait in a worker, one for each poke of a sensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from airflow_provider_kendra import _clock
from airflow_provider_kendra._waiting.conditions import ExecutionFinished, Fresh, HeldUp, SyncJobCondition, Waiting
from airflow_provider_kendra._waiting.freshness import Index, freshness_timed_out, poll_all
from airflow_provider_kendra._waiting.log import freshness_log, sync_job_log
from airflow_provider_kendra._waiting.poller import DataSource
from airflow_provider_kendra._waiting.wait import confirm, poll_once, timed_out

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
    from airflow_provider_kendra.outcomes import AllFresh, Failed, Outcome


class Pokes(Protocol):
    """What a sensor asks in poke and reschedule mode."""

    @property
    def execution_id(self) -> str | None:
        """The sync job that is waited for, as far as the last poll knows."""

    def poll(self, hook: KendraSyncJobsHook) -> Outcome | AllFresh | None:
        """Poll once and log what is new; None to keep waiting."""

    def timed_out(self) -> Failed:
        """Say what was waited for, and how it stood."""


class SyncJobPokes:
    """
    Polls for a sync job. The condition is kept from poke to poke, since it knows since when the job has been missing.

    :param since: When the wait began.
    :param deadline: When it times out.
    :param interval: Seconds between pokes.
    :param is_rescheduled: Whether each poke is a process of its own, which knows nothing of those before.
    :param log: Takes the lines of the task's log.
    """

    def __init__(
        self,
        source: DataSource,
        condition: SyncJobCondition,
        *,
        since: datetime,
        deadline: datetime,
        interval: float,
        is_rescheduled: bool,
        log: Callable[[str], object],
    ) -> None:
        self._source = source
        self._condition = condition
        self._since = since
        self._deadline = deadline
        self._interval = interval
        self._is_rescheduled = is_rescheduled
        self._log = log
        self._last = Waiting()
        self._wait_log = sync_job_log(source.subject(condition), since)

    @property
    def execution_id(self) -> str | None:
        """The sync job that is waited for, as far as the last poll knows."""
        return self._last.job.execution_id if self._last.job else None

    def poll(self, hook: KendraSyncJobsHook) -> Outcome | None:
        """Poll once and log what is new; None to keep waiting."""
        condition, now = self._condition, _clock.utcnow()
        decision = poll_once(hook, self._source, condition, self._last)
        if isinstance(condition, ExecutionFinished) and self._must_conclude(condition, now):
            decision = confirm(
                hook, self._source, condition, decision, interval=self._interval, deadline=self._deadline
            )
        if not isinstance(decision, Waiting):
            return decision
        self._last = decision
        if line := self._wait_log.line(decision, now):
            self._log(line)
        return None

    def _must_conclude(self, condition: ExecutionFinished, now: datetime) -> bool:
        """Whether this poke has to find out by itself for how long a job has been missing."""
        return self._is_rescheduled and (now - self._since).total_seconds() >= condition.not_found_timeout

    def timed_out(self) -> Failed:
        """Say what was waited for, and how it stood."""
        return timed_out(self._source.subject(self._condition), self._last)


class FreshnessPokes:
    """
    Polls until data sources are fresh; ``since``, ``deadline`` and ``log`` are those of :class:`SyncJobPokes`.

    :param index: The data sources.
    :param condition: What each must fulfil.
    """

    execution_id = None

    def __init__(
        self, index: Index, condition: Fresh, *, since: datetime, deadline: datetime, log: Callable[[str], object]
    ) -> None:
        self._index = index
        self._condition = condition
        self._deadline = deadline
        self._log = log
        self._decisions: dict[str, Outcome | Waiting | None] = {}
        self._held_up = HeldUp({})
        self._freshness_log = freshness_log(condition, since)

    def poll(self, hook: KendraSyncJobsHook) -> AllFresh | Failed | None:
        """Poll each data source once and log what is new; None to keep waiting."""
        now = _clock.utcnow()
        outcome = poll_all(hook, self._index, self._condition, self._decisions, self._deadline)
        if not isinstance(outcome, HeldUp):
            return outcome
        self._held_up = outcome
        if line := self._freshness_log.line(outcome, now):
            self._log(line)
        return None

    def timed_out(self) -> Failed:
        """Say what was waited for, and how it stood."""
        return freshness_timed_out(self._held_up, self._condition)
