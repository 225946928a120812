"""The wait of one task: in the event loop, where it shares polls, and in a worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_kendra import _clock
from airflow_provider_kendra._decisions import NO_RESPONSE, AllFresh, Failed, Outcome, Satisfied, Waiting, timed_out
from airflow_provider_kendra._waiting.conditions import ExecutionFinished, SyncJobCondition, read
from airflow_provider_kendra._waiting.log import WaitLog, sync_job_log
from airflow_provider_kendra._waiting.poller import MIN_INTERVAL, Connect, Log, Wait

if TYPE_CHECKING:
    from airflow_provider_kendra._waiting.sources import DataSource
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook


class _SyncJobWait(Wait[Satisfied, Waiting]):
    __slots__ = ("_subject", "_subscription")

    ignores_absence_before = True

    def __init__(self, source: DataSource, condition: SyncJobCondition, **options: Any) -> None:
        super().__init__(**options)
        self._subject = source.subject(condition)
        self._subscription = self.subscribe(source, condition, (Satisfied, Failed))

    def decide(self) -> Outcome | None:
        decision = self._subscription.decision
        return decision if isinstance(decision, Satisfied | Failed) else None

    @property
    def state(self) -> Waiting:
        state = self._subscription.state
        return state if isinstance(state, Waiting) else Waiting()

    def line(self, wait_log: WaitLog[Waiting], now: datetime) -> str | None:
        return wait_log.report(self.state, now) if self._subscription.state is not None else None

    def timed_out(self) -> Failed:
        state = self.state
        if not self._subscription.is_over:  # the last poll hangs
            state = Waiting(state.job, error=NO_RESPONSE)
        return _timed_out(self._subject, state)


async def wait_for(
    source: DataSource,
    condition: SyncJobCondition,
    *,
    interval: float,
    deadline: datetime | None,
    log: Log,
    connect: Connect,
    is_connection_known: bool = False,
) -> Outcome:
    """
    Wait until a condition is decided, sharing polls with all other waits of this event loop.

    :param source: The data source.
    :param condition: What is waited for.
    :param interval: As for :class:`Subscriber`.
    :param deadline: When to give up; None for never.
    :param log: Writes a line to the task's log.
    :param connect: As for :class:`Subscriber`.
    :param is_connection_known: As for :class:`Subscriber`.
    """
    wait = _SyncJobWait(
        source,
        condition,
        interval=interval,
        deadline=deadline,
        connect=connect,
        is_connection_known=is_connection_known,
    )
    return await wait.outcome(sync_job_log(source.subject(condition), _clock.utcnow(), wait.errors), log)


def poll_once(
    hook: KendraSyncJobsHook, source: DataSource, condition: SyncJobCondition, previous: Outcome | Waiting
) -> Outcome | Waiting:
    """
    Poll once, from a worker.

    :param hook: Makes the calls.
    :param source: The data source.
    :param condition: What is waited for.
    :param previous: The previous decision.
    """
    try:
        return read(condition, source.pages(hook), _clock.utcnow())
    except Exception as error:
        return Waiting.after_error(hook._judge_poll_error(error, source.contents), previous)


def confirm(
    hook: KendraSyncJobsHook,
    source: DataSource,
    condition: ExecutionFinished,
    decision: Outcome | Waiting,
    *,
    interval: float,
    deadline: datetime,
) -> Outcome | Waiting:
    """
    Keep polling while the job is in doubt, for a caller that keeps no state between polls.

    If polls fail, the doubt remains; the caller's next poll goes on.

    :param hook: Makes the calls.
    :param source: The data source.
    :param condition: What is waited for.
    :param decision: The decision of the caller's poll.
    :param interval: Seconds between the caller's polls, the longest pause here.
    :param deadline: When to give up.
    """
    pause = max(min(interval, condition.not_found_timeout / 12), MIN_INTERVAL)
    patience = _clock.utcnow() + timedelta(seconds=2 * condition.not_found_timeout)
    while isinstance(decision, Waiting) and condition.is_in_doubt and (now := _clock.utcnow()) < deadline:
        if decision.error is not None and now >= patience:
            break
        time.sleep(min(pause, (deadline - now).total_seconds()))
        decision = poll_once(hook, source, condition, decision)
    return decision


def wait_in_worker(
    hook: KendraSyncJobsHook,
    source: DataSource,
    condition: SyncJobCondition,
    *,
    interval: float,
    deadline: datetime,
    log: Callable[[str], object] | None = None,
    watch: Callable[[Waiting], object] | None = None,
) -> Outcome:
    """
    Wait until a condition is decided, occupying the worker; the parameters are those of :func:`wait_for`.

    :param hook: Makes the calls.
    :param watch: Takes the decision of each poll that does not end the wait.
    """
    subject = source.subject(condition)
    wait_log = sync_job_log(subject, _clock.utcnow())
    decision: Outcome | Waiting = Waiting()
    while isinstance(decision := poll_once(hook, source, condition, decision), Waiting):
        now = _clock.utcnow()
        if now >= deadline:
            return _timed_out(subject, decision)
        if watch is not None:
            watch(decision)
        if log is not None and (line := wait_log.line(decision, now)):
            log(line)
        time.sleep(min(max(interval, MIN_INTERVAL), (deadline - now).total_seconds()))
    return decision


def _timed_out(subject: str, last: Waiting) -> Failed:
    parts = [f"the sync is {last.job.progress}"] if last.job else []
    if last.error:
        parts.append(f"the last poll failed: {last.error}")
    return timed_out(subject, "; ".join(parts) or "no such sync job was listed", last.job)


class Pokes(Protocol):
    """The polls of a sensor in poke or reschedule mode."""

    @property
    def execution_id(self) -> str | None:
        """The execution id of the sync job, if the last poll found one."""

    def poll(self, hook: KendraSyncJobsHook) -> Outcome | AllFresh | None:
        """Poll once and log changes; return None to keep waiting."""

    def timed_out(self) -> Failed:
        """Return the failure of a wait whose time has run out."""


class SyncJobPokes:
    """
    Polls for a sync job. The condition is kept between pokes: it records since when the job has been missing.

    :param since: When the wait began.
    :param deadline: When it times out.
    :param interval: Seconds between pokes.
    :param is_rescheduled: Whether each poke is a separate process without the state of earlier ones.
    :param log: Writes a line to the task's log.
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
        """The execution id of the sync job, if the last poll found one."""
        return self._last.job.execution_id if self._last.job else None

    def poll(self, hook: KendraSyncJobsHook) -> Outcome | None:
        """Poll once and log changes; return None to keep waiting."""
        condition, now = self._condition, _clock.utcnow()
        decision = poll_once(hook, self._source, condition, self._last)
        if isinstance(condition, ExecutionFinished) and self._must_confirm(condition, now):
            decision = confirm(
                hook, self._source, condition, decision, interval=self._interval, deadline=self._deadline
            )
        if not isinstance(decision, Waiting):
            return decision
        self._last = decision
        if line := self._wait_log.line(decision, now):
            self._log(line)
        return None

    def _must_confirm(self, condition: ExecutionFinished, now: datetime) -> bool:
        """Whether this poke must confirm by itself that a job is missing."""
        return self._is_rescheduled and (now - self._since).total_seconds() >= condition.not_found_timeout

    def timed_out(self) -> Failed:
        return _timed_out(self._source.subject(self._condition), self._last)
