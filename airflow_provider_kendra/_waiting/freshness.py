"""Waits until one or more data sources are fresh."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed, wait
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_kendra import _clock, _metrics
from airflow_provider_kendra._clock import OVERRUN
from airflow_provider_kendra._decisions import (
    NO_RESPONSE,
    AllFresh,
    Blocked,
    Failed,
    Failure,
    Outcome,
    Waiting,
    timed_out,
)
from airflow_provider_kendra._waiting.conditions import Condition, Fresh, all_fresh, read
from airflow_provider_kendra._waiting.history import History, Page
from airflow_provider_kendra._waiting.index import Index, Listing, Members
from airflow_provider_kendra._waiting.log import WaitLog, freshness_log
from airflow_provider_kendra._waiting.poller import Connect, Log, Wait
from airflow_provider_kendra._waiting.schedules import NeedsSchedule, Scheduled, Schedules, usable_schedule
from airflow_provider_kendra._waiting.sources import DataSource, Schedule
from airflow_provider_kendra._waiting.threads import MAX_CALLS, DaemonThreads

if TYPE_CHECKING:
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook

R = TypeVar("R")
S = TypeVar("S", DataSource, Schedule)


class KeptSchedules:
    """The condition of each data source with its schedule, kept for 15 minutes, and its name; for waits in a worker."""

    def __init__(self) -> None:
        self.conditions: dict[str, Fresh] = {}
        self.names: dict[str, str] = {}  # of data sources that were listed or described, by id
        self._read_at: dict[str, datetime] = {}

    def is_due(self, data_source_id: str, now: datetime) -> bool:
        """Whether a schedule must be read, for the first time or again."""
        read_at = self._read_at.get(data_source_id)
        return read_at is None or (now - read_at).total_seconds() >= Schedule.min_interval

    def keep(self, data_source_id: str, condition: Fresh, now: datetime) -> None:
        self.conditions[data_source_id] = condition
        self._read_at[data_source_id] = now


def poll_all(
    hook: KendraSyncJobsHook,
    index: Index,
    condition: Fresh,
    known: dict[str, Outcome | Waiting | None],
    deadline: datetime,
    schedules: KeptSchedules | None = None,
) -> AllFresh | Failed | Blocked:
    """
    Read each data source once, several at a time, from a worker; use their names where responses include them.

    :param hook: Makes the calls.
    :param index: The data sources.
    :param condition: The condition that each must meet.
    :param known: The previous decisions; updated in place.
    :param deadline: When to stop. If data sources are still unread, the wait times out. A wait that starts after its
        deadline still reads each data source once.
    :param schedules: The schedules that earlier polls have read; updated in place.
    """
    schedules = KeptSchedules() if schedules is None else schedules
    outcome = _poll_all(hook, index, condition, known, deadline, schedules)
    if isinstance(outcome, Failed):
        return outcome if outcome.failure is Failure.TIMED_OUT else outcome.with_names(schedules.names)
    return replace(outcome, names=schedules.names) if isinstance(outcome, Blocked) else outcome


def _poll_all(
    hook: KendraSyncJobsHook,
    index: Index,
    condition: Fresh,
    known: dict[str, Outcome | Waiting | None],
    deadline: datetime,
    schedules: KeptSchedules,
) -> AllFresh | Failed | Blocked:
    remaining = (deadline - _clock.utcnow()).total_seconds()
    give_up = time.monotonic() + (remaining if remaining > 0 else OVERRUN)
    if index.data_source_ids is not None:
        return _read_each(hook, index, condition, index.data_source_ids, known, schedules, give_up)
    listing = _read_listing(hook, index, condition, give_up, schedules.names)
    if not isinstance(listing, Listing):
        return listing
    if not listing.usable:
        return index.without_data_sources(listing)
    outcome = _read_each(hook, index, condition, listing.usable, known, schedules, give_up)
    if not isinstance(outcome, Failed) or outcome.failure is not Failure.REFUSED:
        return outcome
    # The refused data source may have been deleted since it was listed.
    listing = _read_listing(hook, index, condition, give_up, schedules.names)
    if not isinstance(listing, Listing):
        return listing
    decisions = {data_source_id: known.get(data_source_id) for data_source_id in listing.usable}
    known.clear()
    known.update(decisions)
    if not known:
        return index.without_data_sources(listing)
    return all_fresh(known, condition, _clock.utcnow(), schedules.conditions)


def _read_listing(
    hook: KendraSyncJobsHook, index: Index, condition: Fresh, give_up: float, names: dict[str, str]
) -> Listing | Failed | Blocked:
    catalogue = index.catalogue
    threads = DaemonThreads(1, "kendra-freshness")
    try:
        _ = hook.conn  # created here: a connection must not be looked up in another thread
        future = threads.submit(lambda: next(catalogue.pages(hook)))
        if not wait([future], max(give_up - time.monotonic(), 0)).done:
            return _timed_out(Blocked({"all": Waiting(error=NO_RESPONSE)}), condition)
        page = future.result()
    except Exception as error:
        decision = Waiting.after_error(hook._judge_poll_error(error, catalogue.contents), None)
        return decision if isinstance(decision, Failed) else Blocked({"all": decision})
    finally:
        threads.shutdown(cancel_futures=True)
    names.clear()  # the name of a deleted data source must not make the name of another ambiguous
    names.update(page.names)
    return Listing(tuple(page.data_source_ids), tuple(page.creating_ids), names)


def _read_each(
    hook: KendraSyncJobsHook,
    index: Index,
    condition: Fresh,
    ids: Sequence[str],
    known: dict[str, Outcome | Waiting | None],
    schedules: KeptSchedules,
    give_up: float,
) -> AllFresh | Failed | Blocked:
    before = dict(known)
    decisions: dict[str, Outcome | Waiting | None] = {}
    conditions = dict.fromkeys(ids, condition)
    if condition.grace is not None:
        decisions = _read_schedules(hook, index, condition, ids, before, schedules, give_up)
        conditions = {key: schedules.conditions[key] for key in ids if key not in decisions}

    def read_source(source: DataSource) -> Outcome | Waiting:
        judge: Condition[Outcome | Waiting] = conditions[source.data_source_id]
        history, now = History(), _clock.utcnow()
        decision = read(judge, source.pages(hook), now, history)
        _metrics.report_age(source, condition.age(history, now))
        return decision

    sources = {each: index.data_source(each) for each in conditions}
    decisions |= _poll_each(hook, sources, read_source, before, give_up)
    known.clear()
    known.update((key, decisions[key]) for key in ids)
    outcome = all_fresh(known, condition, _clock.utcnow(), conditions)
    is_out_of_time = Waiting(error=NO_RESPONSE) in known.values()
    if is_out_of_time and isinstance(outcome, Blocked):
        return _timed_out(replace(outcome, names=schedules.names), condition)
    return outcome


def _read_schedules(
    hook: KendraSyncJobsHook,
    index: Index,
    condition: Fresh,
    ids: Sequence[str],
    before: Mapping[str, Outcome | Waiting | None],
    schedules: KeptSchedules,
    give_up: float,
) -> dict[str, Outcome | Waiting | None]:
    """Read the schedules that are not kept; return the decisions on those without a usable schedule."""
    now = _clock.utcnow()
    due = {key: index.schedule(key) for key in ids if schedules.is_due(key, now)}
    found = _poll_each(hook, due, lambda source: next(source.pages(hook)), before, give_up)
    undecided: dict[str, Outcome | Waiting | None] = {}
    for key, result in found.items():
        if isinstance(result, Page):
            schedules.names.update(result.names)
            usable = usable_schedule(due[key], result)
            if isinstance(usable, Failed):
                undecided[key] = usable
            else:
                schedules.keep(key, condition.with_schedule(usable.schedule), now)
        elif isinstance(result, Failed) or key not in schedules.conditions:
            undecided[key] = result
    return undecided


def _poll_each(
    hook: KendraSyncJobsHook,
    sources: Mapping[str, S],
    poll: Callable[[S], R],
    before: Mapping[str, Outcome | Waiting | None],
    give_up: float,
) -> dict[str, R | Failed | Waiting | None]:
    """Poll several sources at a time; errors and missing responses become decisions."""
    results = _results(hook, sources, poll, give_up)
    is_out_of_time = len(results) < len(sources) and time.monotonic() >= give_up
    decisions: dict[str, R | Failed | Waiting | None] = {}
    for key, source in sources.items():
        result = results.get(key)
        if isinstance(result, Exception):
            decisions[key] = Waiting.after_error(hook._judge_poll_error(result, source.contents), before.get(key))
        elif result is None and is_out_of_time:
            decisions[key] = Waiting(error=NO_RESPONSE)
        else:
            decisions[key] = result
    return decisions


def _results(
    hook: KendraSyncJobsHook, sources: Mapping[str, S], poll: Callable[[S], R], give_up: float
) -> dict[str, R | Exception]:
    """Poll in several threads until a job fails the wait or time runs out; return errors as results."""
    results: dict[str, R | Exception] = {}
    try:
        _ = hook.conn  # created here: a connection must not be looked up in another thread
    except Exception as error:
        return dict.fromkeys(sources, error)
    threads = DaemonThreads(MAX_CALLS, "kendra-freshness")
    try:
        futures = {threads.submit(poll, source): key for key, source in sources.items()}
        for future in as_completed(futures, max(give_up - time.monotonic(), 0)):
            raised = future.exception()
            results[futures[future]] = raised if isinstance(raised, Exception) else future.result()
            if isinstance(results[futures[future]], Failed):
                break
    except TimeoutError:  # of as_completed
        pass
    finally:
        threads.shutdown(cancel_futures=True)
    return results


async def wait_until_fresh(
    index: Index,
    condition: Fresh,
    *,
    interval: float,
    deadline: datetime | None,
    log: Log,
    connect: Connect,
    is_connection_known: bool = False,
) -> AllFresh | Failed:
    """
    Wait until all data sources are fresh at once, sharing polls with all other waits of this event loop.

    :param index: The data sources.
    :param condition: The condition that each must meet.
    :param interval: As for :class:`airflow_provider_kendra._waiting.poller.Subscriber`.
    :param deadline: When to give up; None for never.
    :param log: Writes a line to the task's log.
    :param connect: As for :class:`airflow_provider_kendra._waiting.poller.Subscriber`.
    :param is_connection_known: As for :class:`airflow_provider_kendra._waiting.poller.Subscriber`.
    """
    wait = _FreshnessWait(
        index,
        condition,
        interval=interval,
        deadline=deadline,
        connect=connect,
        is_connection_known=is_connection_known,
    )
    return await wait.outcome(freshness_log(condition.measured_by, _clock.utcnow()), log)


def _timed_out(blocked: Blocked, condition: Fresh) -> Failed:
    subject = f"{condition.subject}{blocked.ids}"
    return timed_out(subject, f"not fresh: {blocked.describe(condition.measured_by, _clock.utcnow())}")


class _FreshnessWait(Wait[AllFresh, Blocked]):
    """A wait for several data sources."""

    def __init__(self, index: Index, condition: Fresh, **options: Any) -> None:
        super().__init__(**options)
        self._index = index
        self._condition = condition
        self._conditions: dict[str, Fresh] = {}
        self._schedules: Schedules[Scheduled | Failed] = Schedules(self, index, NeedsSchedule)
        self._members: Members[Outcome | Waiting] = Members(self, index, self._condition_of)
        self._is_confirming_refusal = False  # the data sources are listed again after one was refused
        self._blocked = Blocked({})

    def decide(self) -> AllFresh | Failed | None:
        verdict: AllFresh | Failed | Blocked | None = self._apply_listing()
        if verdict is None:
            decisions = {key: self._state_of(key) for key in self._members.ids}
            verdict = self._check_listing(all_fresh(decisions, self._condition, _clock.utcnow(), self._conditions))
        if isinstance(verdict, Blocked):
            self._blocked = replace(verdict, names=self._names)
            return None
        return verdict.with_names(self._names) if isinstance(verdict, Failed) else verdict

    @property
    def _names(self) -> dict[str, str]:
        """The names of data sources that were listed or described for this wait, by id."""
        return {**self._schedules.names, **self._members.names}

    def _condition_of(self, data_source_id: str) -> Fresh | None:
        """Return the condition for a data source; None until its schedule is known, if it is judged by schedule."""
        if self._condition.grace is None:
            return self._condition
        found = self._schedules.of(data_source_id).decision
        if not isinstance(found, Scheduled):
            return None
        known = self._conditions.get(data_source_id)
        if known is None or known.schedule != found.schedule:
            self._conditions[data_source_id] = self._condition.with_schedule(found.schedule)
        return self._conditions[data_source_id]

    def _follow_schedules(self) -> None:
        """Judge by the schedules as they were last read."""
        self._schedules.keep(self._members.ids)
        for key in self._schedules.subscriptions:
            if (member := self._members.subscriptions.get(key)) and (condition := self._condition_of(key)):
                member.condition = condition

    def _state_of(self, data_source_id: str) -> Outcome | Waiting | None:
        """Return the last decision on a data source, or why there is none yet."""
        schedule = self._schedules.subscriptions.get(data_source_id)
        member = self._members.subscriptions.get(data_source_id)
        if schedule is not None and (member is None or isinstance(schedule.decision, Failed)):
            state = schedule.state
            return None if isinstance(state, Scheduled) else state
        return None if member is None else member.state

    @property
    def state(self) -> Blocked:
        return self._blocked

    def line(self, wait_log: WaitLog[Blocked], now: datetime) -> str | None:
        # Counts the last decisions on all data sources as one poll, since some are polled more often than others.
        return wait_log.line(self._blocked, now)

    def timed_out(self) -> Failed:
        return _timed_out(self._blocked, self._condition)

    def _apply_listing(self) -> Failed | Blocked | None:
        """Subscribe to the listed data sources; return a decision if there are none."""
        listed = self._members.apply_listing()
        self._follow_schedules()
        if self._members.lister is None:
            return None
        if isinstance(listed, Failed):
            return listed
        if isinstance(listed, Listing):
            return None if listed.usable else self._index.without_data_sources(listed)
        return None if self._members.ids else Blocked({"all": listed})

    def _check_listing(self, outcome: AllFresh | Failed | Blocked) -> AllFresh | Failed | Blocked:
        """
        Withhold a decision that an outdated list of data sources may have caused.

        A refused data source may have been deleted, so list again before failing. While listing fails, a new data
        source could be stale, so do not pass.
        """
        if self._members.lister is None:
            return outcome
        listed = self._members.lister.state
        if isinstance(outcome, AllFresh) and not isinstance(listed, Listing):
            return Blocked({"all": None if isinstance(listed, Failed) else listed})
        if not isinstance(outcome, Failed) or outcome.failure is not Failure.REFUSED:
            self._is_confirming_refusal = False
            return outcome
        if not self._is_confirming_refusal:
            self._is_confirming_refusal = True
            self._members.list_again()
        elif isinstance(listed, Listing):
            return outcome
        refused = {key: self._state_of(key) for key in self._members.ids}
        return Blocked({key: Waiting(error=each.message) for key, each in refused.items() if isinstance(each, Failed)})


class FreshnessPokes:
    """
    Polls until data sources are fresh; ``since``, ``deadline`` and ``log`` are as for :class:`SyncJobPokes`.

    :param index: The data sources.
    :param condition: The condition that each must meet.
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
        self._schedules = KeptSchedules()
        self._blocked = Blocked({})
        self._freshness_log = freshness_log(condition.measured_by, since)

    def poll(self, hook: KendraSyncJobsHook) -> AllFresh | Failed | None:
        """Poll each data source once and log changes; return None to keep waiting."""
        now = _clock.utcnow()
        outcome = poll_all(hook, self._index, self._condition, self._decisions, self._deadline, self._schedules)
        if not isinstance(outcome, Blocked):
            return outcome
        self._blocked = outcome
        if line := self._freshness_log.line(outcome, now):
            self._log(line)
        return None

    def timed_out(self) -> Failed:
        return _timed_out(self._blocked, self._condition)
