"""
One poll for each data source, shared by every wait in the process.

A wait subscribes to its data source. The poll reads the history, evaluates the condition of each subscription, and
wakes the waits whose decision has changed. Polls run in an empty context and log nothing: Airflow routes a log line by
the context that it is written in, so each wait writes its own lines.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from airflow_provider_kendra import _clock, _metrics
from airflow_provider_kendra._clock import OVERRUN
from airflow_provider_kendra._decisions import Failed, NeedsOlder, Waiting, log_key_of
from airflow_provider_kendra._waiting.history import History, Kept
from airflow_provider_kendra._waiting.log import PollErrors, S, WaitLog
from airflow_provider_kendra._waiting.threads import in_empty_context

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from airflow_provider_kendra._connection import AwsParameters
    from airflow_provider_kendra._waiting.conditions import Condition
    from airflow_provider_kendra._waiting.sources import Source
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook

D = TypeVar("D")
T = TypeVar("T")
Result = TypeVar("Result")


Log = Callable[[str], Awaitable[object]]
"""Writes a line to a task's log without blocking the event loop."""


FOREVER = float("inf")


MAX_BACKOFF = 300.0
"""The longest pause between failing polls, in seconds, unless the interval is longer."""


KEPT_LIFETIME = 86_400.0
"""Seconds until a poll reads the whole history again, to drop jobs that are no longer listed and to bound memory."""

NEVER = datetime.max.replace(tzinfo=UTC)


MIN_INTERVAL = 0.1  # seconds; without a pause between polls a wait would flood the service


_RECENT = 5.0  # seconds; after a poll this recent, a wait times out without another one


_BATCH = 100  # waits decided before yielding to the event loop


class PollClient(Protocol):
    """The client of all polls with the same AWS parameters, and its threads."""

    is_connection_known: bool

    @property
    def threads(self) -> Executor: ...
    def turn(self, *, is_failing: bool) -> AbstractAsyncContextManager[None]:
        """Limit concurrent calls."""

    async def hook(self) -> KendraSyncJobsHook:
        """Return the hook to poll with, created in a thread if needed."""

    def judge(self, error: Exception, contents: str, hook: KendraSyncJobsHook | None) -> Failed | str:
        """Return a failure for a permanent error, and a description of any other."""

    def discard(self) -> None:
        """Close the client after its last poll."""


Connect = Callable[["AwsParameters"], PollClient]
"""Creates the client for polls. The caller passes it in, since only the hook's module may call AWS."""


class Subscription(Generic[D]):
    """
    A wait's subscription to the polls of one source, with the last decision of its condition.

    :param wait: The wait.
    :param condition: Decides at each poll.
    :param ends_with: Decisions of these types end the subscription; so does the deadline.
    """

    __slots__ = ("_ends_with", "_has_own_decision", "_wait", "condition", "decision", "error", "is_over", "last_poll")

    def __init__(self, wait: Subscriber, condition: Condition[D], ends_with: tuple[type, ...]) -> None:
        self._wait = wait
        self._ends_with = ends_with
        self.condition = condition
        self.decision: D | Failed | None = None
        self.error: str | None = None
        self.last_poll = 0
        self.is_over = False
        self._has_own_decision = False

    @property
    def interval(self) -> float:
        """Seconds between polls."""
        return self._wait.interval

    @property
    def deadline(self) -> datetime | None:
        """When the subscription ends; None for never."""
        return self._wait.deadline

    @property
    def state(self) -> D | Failed | Waiting | None:
        """The last decision, or a ``Waiting`` with the error if the last poll failed; None before the first poll."""
        if self.error is None or isinstance(self.decision, Failed):
            return self.decision
        return Waiting.after_error(self.error, self.decision)

    @property
    def problem(self) -> str | None:
        """Why the last poll failed; None if it did not."""
        return self.decision.message if isinstance(self.decision, Failed) else self.error

    def deliver(self, decision: D | Failed, now: datetime) -> bool:
        """Record a decision; return whether it ends the subscription."""
        log_key = log_key_of(decision)
        is_from_before = self._wait.ignores_absence_before and now < self._wait.since and log_key is None
        is_change = not self._has_own_decision or self.error is not None or log_key != log_key_of(self.decision)
        self.decision, self.error = decision, None
        self._has_own_decision = self._has_own_decision or not is_from_before
        self._wait.errors.count(None)
        return self._end_or_wake(
            now, is_change=is_change and not is_from_before, is_final=isinstance(decision, self._ends_with)
        )

    def fail(self, error: str, now: datetime) -> bool:
        """Record a failed poll; return whether the deadline ends the subscription."""
        is_first = self.error is None
        self.error = error
        self._wait.errors.count(error)
        return self._end_or_wake(now, is_change=is_first)

    def expire(self) -> None:
        """End the subscription, whose deadline has passed."""
        self.is_over = True
        self._wait.wake()

    def _end_or_wake(self, now: datetime, *, is_change: bool, is_final: bool = False) -> bool:
        self.is_over = is_final or (self.deadline is not None and now >= self.deadline)
        if is_change or self.is_over:
            self._wait.wake()
        return self.is_over


class Subscriber:
    """
    The subscriptions of one wait, or of one watcher.

    :param interval: Seconds between polls; the shortest interval of all subscriptions to a source applies.
    :param connect: Creates the client, unless the event loop has one for the same AWS parameters.
    :param deadline: When the wait gives up; None for never.
    :param is_connection_known: The connection has been found before, so "not defined" is treated as a failed look-up.
    """

    # There can be thousands of waits, each with one of these.
    __slots__ = (
        "_connect",
        "_is_connection_known",
        "_is_woken",
        "_poller",
        "_subscriptions",
        "_waiter",
        "deadline",
        "errors",
        "interval",
        "since",
    )

    ignores_absence_before = False  # whether to ignore a missing job in a response from before the wait

    def __init__(
        self,
        interval: float,
        connect: Connect,
        deadline: datetime | None = None,
        *,
        is_connection_known: bool = False,
    ) -> None:
        self.interval = max(interval, MIN_INTERVAL)
        self.deadline = deadline
        self.since = _clock.utcnow()
        self.errors = PollErrors()
        # Not an asyncio.Event, which takes 0.7 kB a wait.
        self._is_woken = False
        self._waiter: asyncio.Future[None] | None = None
        self._connect = connect
        self._is_connection_known = is_connection_known
        self._poller = Poller.of_running_loop()
        self._subscriptions: list[tuple[Poll, Subscription[Any]]] = []

    def subscribe(
        self, source: Source, condition: Condition[D], ends_with: tuple[type, ...] = (Failed,)
    ) -> Subscription[D]:
        """
        Join the poll of a source.

        :param source: The source.
        :param condition: Decides at each poll.
        :param ends_with: Decisions of these types end the subscription.
        """
        subscription = Subscription(self, condition, ends_with)
        poll = self._poller.join(source, subscription, self._connect, is_connection_known=self._is_connection_known)
        self._subscriptions.append((poll, subscription))
        return subscription

    def unsubscribe(self, *gone: Subscription[Any]) -> None:
        """Leave the polls of these subscriptions; by default of all."""
        leaving = [each for each in self._subscriptions if not gone or each[1] in gone]
        self._subscriptions = [each for each in self._subscriptions if each not in leaving]
        for poll, subscription in leaving:
            self._poller.leave(poll, subscription)

    @property
    def is_over(self) -> bool:
        """Whether every subscription has had its last poll."""
        return all(subscription.is_over for _, subscription in self._subscriptions)

    @property
    def awaits_first_poll(self) -> bool:
        """Whether a subscription still waits for its first poll."""
        return any(poll.is_first_poll_pending(subscription) for poll, subscription in self._subscriptions)

    async def wait_for_change(self, until: float) -> None:
        """
        Wait until woken by a poll, or for a time.

        :param until: The event loop's time at which to stop.
        """
        loop = asyncio.get_running_loop()
        if not self._is_woken:
            self._waiter = loop.create_future()
            timer = None if until == FOREVER else loop.call_at(until, self.wake)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        self._is_woken = False

    def wake(self) -> None:
        """Let :meth:`wait_for_change` return, now or when it is next called."""
        self._is_woken = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Wait(Subscriber, ABC, Generic[Result, S]):
    """The wait of one task in the event loop, which ends with an outcome."""

    __slots__ = ()

    @abstractmethod
    def decide(self) -> Result | Failed | None:
        """Return the outcome that follows from the last polls; None to keep waiting."""

    @property
    @abstractmethod
    def state(self) -> S:
        """The state of a wait that continues."""

    @abstractmethod
    def timed_out(self) -> Failed:
        """Return the failure of a wait whose time has run out."""

    @abstractmethod
    def line(self, wait_log: WaitLog[S], now: datetime) -> str | None:
        """Return the line to log, or None if nothing changed."""

    async def outcome(self, wait_log: WaitLog[S], log: Log) -> Result | Failed:
        """
        Wait for the outcome.

        :param wait_log: Formats the lines of this wait's log.
        :param log: Writes them.
        """
        time = asyncio.get_running_loop().time
        give_up = FOREVER
        if self.deadline is not None:
            give_up = time() + max((self.deadline - _clock.utcnow()).total_seconds(), 0.0) + OVERRUN
        try:
            while True:
                progress = time() + max(wait_log.due_in(_clock.utcnow()), 1.0)
                await self.wait_for_change(min(give_up, progress))
                if (outcome := self.decide()) is not None:
                    return outcome
                if self.is_over or (time() >= give_up and not self.awaits_first_poll):
                    return self.timed_out()
                if time() >= give_up:
                    give_up = time() + OVERRUN
                    continue
                now = _clock.utcnow()
                is_last_poll_due = self.deadline is not None and now >= self.deadline
                if not is_last_poll_due and (line := self.line(wait_log, now)):
                    await log(line)
        finally:
            self.unsubscribe()


class Poller:
    """All polls and clients of one event loop; removed with its last wait."""

    _of_loop: ClassVar[dict[asyncio.AbstractEventLoop, Poller]] = {}

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._polls: dict[Source, Poll] = {}
        self._clients: dict[AwsParameters, PollClient] = {}

    @classmethod
    def of_running_loop(cls) -> Poller:
        """Return the poller of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in cls._of_loop:
            cls._of_loop[loop] = cls(loop)
        return cls._of_loop[loop]

    def join(self, source: Source, wait: Subscription[Any], connect: Connect, *, is_connection_known: bool) -> Poll:
        """Add a subscription to the poll of its source."""
        poll = self._polls.get(source)
        if poll is None:
            client = self._clients.get(source.aws)
            if client is None:
                client = self._clients[source.aws] = connect(source.aws)
            poll = self._polls[source] = Poll(source, client)
        if is_connection_known:
            self._clients[source.aws].is_connection_known = True
        poll.join(wait)
        return poll

    def leave(self, poll: Poll, wait: Subscription[Any]) -> None:
        """Remove a subscription; the last one also ends its poll and client."""
        poll.waits.discard(wait)
        if poll.waits or self._polls.get(poll.source) is not poll:
            return
        del self._polls[poll.source]
        poll.task.cancel()
        if not any(source.aws == poll.source.aws for source in self._polls):
            self._clients.pop(poll.source.aws).discard()
        if not self._polls:
            del self._of_loop[self._loop]


class Poll:
    """The polls of one source for all its subscriptions."""

    def __init__(self, source: Source, client: PollClient) -> None:
        self.source = source
        self.waits: set[Subscription[Any]] = set()
        self._client = client
        self._began_at: float | None = None  # start of the current call; None while it waits for a thread
        self._due_at: float | None = None  # when the current poll was due; None after its first call
        self._number = 0
        self._failures = 0
        self._last_reading: tuple[History, datetime] | None = None
        self._kept: Kept | None = None
        self._kept_since = asyncio.get_running_loop().time()
        self._is_reading = False
        self._newcomers: set[Subscription[Any]] = set()  # joined while the current poll reads
        self._latecomers: set[Subscription[Any]] = set()  # those of them that it does not serve
        # The next poll is due after the interval, or at a deadline that comes first.
        self._needs_poll_now = False
        self._polled_at = -FOREVER  # which makes the first one due
        self._interval = FOREVER
        self._deadline = NEVER
        self._replan = asyncio.Event()
        self.task = in_empty_context(self._run())

    def join(self, wait: Subscription[Any]) -> None:
        if self._is_reading:
            self._newcomers.add(wait)
            if not self.source.is_reusable:
                self._latecomers.add(wait)  # the current reading may be older than this wait
        decision, read_at = self._decide_by_last_reading(wait)
        self.waits.add(wait)
        if read_at is not None:
            if decision is None or isinstance(decision, NeedsOlder | Failed):
                # The last reading is too old, does not reach back far enough, or would fail the wait: poll again.
                self._needs_poll_now = True
                self._replan.set()
            elif wait.deliver(decision, read_at):
                self.waits.discard(wait)
                return
        deadline = wait.deadline or NEVER
        if wait.interval < self._interval or deadline < self._deadline:
            self._interval = min(wait.interval, self._interval)
            self._deadline = min(deadline, self._deadline)
            self._replan.set()

    def _decide_by_last_reading(self, wait: Subscription[D]) -> tuple[D | NeedsOlder | None, datetime | None]:
        """Return the decision on the last reading, None if it cannot be reused, and the time of that reading."""
        if self._last_reading is None:
            return None, None
        history, read_at = self._last_reading
        return (wait.condition.decide(history, read_at) if self._is_reusable_for(wait, read_at) else None), read_at

    def _is_reusable_for(self, wait: Subscription[Any], read_at: datetime) -> bool:
        """Whether the last reading is within the interval of a new wait, which would not have polled since."""
        now = _clock.utcnow()
        is_in_time = now < (wait.deadline or NEVER)
        interval = max(wait.interval, self.source.min_interval)
        return self.source.is_reusable and is_in_time and (now - read_at).total_seconds() <= interval

    async def _run(self) -> None:
        while True:
            await self._until_due()
            if self._is_last_poll_recent():
                self._time_out_waits()
            else:
                await self._poll()
            self._interval = min((wait.interval for wait in self.waits), default=FOREVER)
            self._deadline = min((wait.deadline or NEVER for wait in self.waits), default=NEVER)

    def is_first_poll_pending(self, wait: Subscription[Any]) -> bool:
        """Whether a subscription's first poll is still to come, and does not hang."""
        if wait.last_poll:
            return False
        return self._began_at is None or asyncio.get_running_loop().time() - self._began_at < OVERRUN

    def _next_poll(self) -> float:
        pause = self._interval if self._failures else max(self._interval, self.source.min_interval)
        if self._needs_poll_now and not self._failures:
            return -FOREVER
        if self._failures:
            pause = min(pause * 2.0 ** min(self._failures - 1, 16), max(pause, MAX_BACKOFF))
        return self._polled_at + pause * self._jitter

    def _is_poll_due(self) -> bool:
        return asyncio.get_running_loop().time() >= self._next_poll()

    async def _until_due(self) -> None:
        self._jitter = random.uniform(0.9, 1.0)  # spreads data sources that were first polled together
        while not self._is_poll_due() and (remaining := (self._deadline - _clock.utcnow()).total_seconds()) > 0:
            self._replan.clear()
            delay = min(self._next_poll() - asyncio.get_running_loop().time(), remaining)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._replan.wait()

    async def _poll(self) -> None:
        """Read as much of the history as the subscriptions need, and deliver a decision to each."""
        self._number += 1
        now, due = asyncio.get_running_loop().time(), self._next_poll()
        self._due_at = due if -FOREVER < due < now else now
        self._polled_at = self._began_at = now
        if self._polled_at - self._kept_since > KEPT_LIFETIME:
            self._kept, self._kept_since = None, self._polled_at
        history, read_at = History(self._kept), _clock.utcnow()
        kept = 0 if self._kept is None else len(self._kept.jobs.all)
        hook = None
        self._newcomers.clear()
        self._latecomers.clear()
        try:
            hook = await self._client.hook()
            self._is_reading = True
            await self._read(history, hook, read_at)
        except Exception as error:
            self._failures = 1 if self._keep_pages_read(history) > kept else self._failures + 1
            _metrics.count_poll_error(self.source)
            await self._deliver_error(error, hook)
        else:
            self._failures = 0
            # This poll has served every wait except the latecomers.
            self._needs_poll_now = not self._latecomers.isdisjoint(self.waits)
            self._kept = history.keep() if self.source.is_reusable else None
            self._last_reading = (history, read_at)
        finally:
            self._is_reading = False

    async def _read(self, history: History, hook: KendraSyncJobsHook, read_at: datetime) -> None:
        pages = self.source.pages(hook)
        needs_page, is_resumed = True, False
        ages: list[timedelta | None] = []
        while undecided := self._undecided():
            if needs_page:
                history.add_page(await self._call(partial(next, pages)))
            if not is_resumed and (before := history.resumes_before) is not None:
                pages, is_resumed = self.source.pages(hook, before), True
            needs_page = False
            for number, wait in enumerate(undecided, start=1):
                decision = wait.condition.decide(history, read_at)
                if isinstance(decision, NeedsOlder):
                    needs_page = True
                elif isinstance(decision, Failed) and wait in self._newcomers:
                    self._latecomers.add(wait)  # a page may be older than the wait: poll again before it fails
                else:
                    ages.append(_age_of(wait.condition, history, read_at))
                    self._deliver(wait, decision)
                if number % _BATCH == 0:
                    await asyncio.sleep(0)
        _metrics.report_age(self.source, *ages)

    def _keep_pages_read(self, history: History) -> int:
        """After an error, keep the jobs read so far for the next poll; return their number."""
        if not self.source.is_reusable or not history.can_be_kept:
            return 0
        self._kept, self._last_reading = history.keep(), None
        return 0 if self._kept is None else len(self._kept.jobs.all)

    async def _deliver_error(self, error: Exception, hook: KendraSyncJobsHook | None) -> None:
        judged = self._client.judge(error, self.source.contents, hook)
        for number, wait in enumerate(self._undecided(), start=1):
            self._deliver(wait, judged)
            if number % _BATCH == 0:
                await asyncio.sleep(0)

    def _undecided(self) -> list[Subscription[Any]]:
        return [wait for wait in self.waits - self._latecomers if wait.last_poll < self._number]

    def _deliver(self, wait: Subscription[Any], decision: object) -> None:
        """Deliver a decision, or the description of a poll's error."""
        wait.last_poll = self._number
        now = _clock.utcnow()
        if wait.fail(decision, now) if isinstance(decision, str) else wait.deliver(decision, now):
            self.waits.discard(wait)

    def _overdue(self) -> list[Subscription[Any]]:
        now = _clock.utcnow()
        return [wait for wait in self.waits if wait.deadline and wait.deadline <= now]

    def _is_last_poll_recent(self) -> bool:
        """Whether every overdue subscription was polled just now, which makes another call unnecessary."""
        is_recent = asyncio.get_running_loop().time() - self._polled_at < _RECENT
        return is_recent and not self._is_poll_due() and all(wait.last_poll for wait in self._overdue())

    def _time_out_waits(self) -> None:
        for wait in self._overdue():
            wait.expire()
            self.waits.discard(wait)

    async def _call(self, call: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        self._began_at = None
        async with self._client.turn(is_failing=self._failures > 0):
            self._began_at = loop.time()
            if self._due_at is not None:
                _metrics.report_poll_delay(self.source, self._began_at - self._due_at)
                self._due_at = None
            return await loop.run_in_executor(self._client.threads, call)


def _age_of(condition: object, history: History, now: datetime) -> timedelta | None:
    """The age of a data source by a condition that judges freshness, for metrics."""
    measure: Callable[[History, datetime], timedelta | None] | None = getattr(condition, "age", None)
    return None if measure is None else measure(history, now)
