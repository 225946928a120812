"""Waits that outlast a single decision: several data sources that must be fresh at once, and watchers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_kendra import polling
from airflow_provider_kendra.conditions import (
    PROGRESS_INTERVAL,
    AllFresh,
    Failed,
    Failure,
    Fresh,
    HeldUp,
    History,
    NeedsOlder,
    Outcome,
    Satisfied,
    Waiting,
    all_fresh,
)
from airflow_provider_kendra.finished import Cursor, Finished, FinishedSince
from airflow_provider_kendra.polling import (
    MIN_INTERVAL,
    OVERRUN,
    Catalogue,
    DataSource,
    Poll,
    Poller,
    after_error,
    look,
)
from airflow_provider_kendra.sync_job import TERMINAL_STATUSES
from airflow_provider_kendra.validation import check_identifier, check_identifiers

if TYPE_CHECKING:
    from airflow_provider_kendra.aws import AwsParameters
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook


@dataclass(frozen=True, slots=True)
class Index:
    """
    Data sources of one index.

    :param aws: Where the calls go.
    :param index_id: The index.
    :param data_source_ids: Which data sources; None for all that are ACTIVE, listed anew at each look.
    """

    aws: AwsParameters
    index_id: str
    data_source_ids: tuple[str, ...] | None

    def data_source(self, data_source_id: str) -> DataSource:
        """One of them."""
        return DataSource(self.aws, self.index_id, data_source_id)

    @property
    def catalogue(self) -> Catalogue:
        """All of them, to be listed."""
        return Catalogue(self.aws, self.index_id)

    def none_found(self) -> Failed:
        """Say that there is nothing that could be fresh."""
        return Failed(
            Failure.REFUSED, f"Index {self.index_id} has no ACTIVE data source, so that nothing in it can be fresh."
        )


def freshness_index(aws: AwsParameters, index_id: str, data_source_ids: str | Sequence[str] | None) -> Index:
    """
    Build it from a DAG author's parameters.

    :param aws: Where the calls go.
    :param index_id: The index.
    :param data_source_ids: One data source, several, or None for all.
    :raises ValueError: for what cannot be an identifier, and for an empty list.
    """
    check_identifier("index_id", index_id)
    if data_source_ids is None:
        return Index(aws, index_id, None)
    return Index(aws, index_id, check_identifiers("data_source_ids", data_source_ids))


class FreshnessLog:
    """Says in a task's log which data sources hold a wait up: at each change, and now and then."""

    def __init__(self, condition: Fresh, now: datetime) -> None:
        self._condition = condition
        self._since = self._told_at = now
        self._told: object = None

    def line(self, seen: HeldUp, now: datetime) -> str | None:
        """
        Give the line to log, or None if there is nothing new.

        :param seen: What the last looks came to.
        :param now: The time that it is about.
        """
        news = {key: _visible(decision) for key, decision in seen.data_sources.items()}
        is_progress = (now - self._told_at).total_seconds() >= PROGRESS_INTERVAL
        if not is_progress and (news == self._told or None in news.values()):
            return None
        self._told, self._told_at = news, now
        elapsed = int((now - self._since).total_seconds())
        return (
            f"Waiting for {self._condition.subject} ({elapsed} s so far), held up by "
            f"{seen.describe(self._condition, now)}."
        )


def _visible(decision: Outcome | Waiting | None) -> object:
    if isinstance(decision, Waiting):
        return decision.job and (decision.job.execution_id, decision.job.status), decision.trouble is not None
    return decision.job.execution_id if isinstance(decision, Satisfied) else decision


def look_at_all(
    hook: KendraSyncJobsHook, index: Index, condition: Fresh, seen: dict[str, Outcome | Waiting | None]
) -> AllFresh | Failed | HeldUp:
    """
    Look once at each data source, from a worker.

    :param hook: What to look with.
    :param index: The data sources.
    :param condition: What each must fulfil.
    :param seen: What the looks before this one decided; is brought up to date.
    """
    ids: Iterable[str] = index.data_source_ids or ()
    if index.data_source_ids is None:
        try:
            ids = next(index.catalogue.pages(hook)).data_source_ids
        except Exception as error:
            trouble = after_error(error, index.catalogue.contents, None, hook.discard_clients)
            return trouble if isinstance(trouble, Failed) else HeldUp({"all": trouble})
        if not ids:
            return index.none_found()
    before = dict(seen)
    seen.clear()
    for data_source_id in ids:
        last = before.get(data_source_id) or Waiting()
        seen[data_source_id] = look(hook, index.data_source(data_source_id), condition, last)
    return all_fresh(seen, condition, polling.utcnow())


async def wait_until_fresh(
    index: Index,
    condition: Fresh,
    *,
    interval: float,
    deadline: datetime | None,
    log: Callable[[str], object],
    is_connection_known: bool = False,
) -> AllFresh | Failed:
    """
    Wait until all data sources are fresh at once, sharing looks with all other waits of this event loop.

    :param index: The data sources.
    :param condition: What each must fulfil.
    :param interval: Seconds between looks; of all waits on a data source the shortest one rules.
    :param deadline: When to give up; None for never.
    :param log: Takes the lines of this wait's log.
    :param is_connection_known: As for :func:`airflow_provider_kendra.polling.wait_for`.
    """
    group = _Group(index, condition, max(interval, MIN_INTERVAL), deadline)
    freshness_log = FreshnessLog(condition, polling.utcnow())
    held_up = HeldUp({})
    now = asyncio.get_running_loop().time
    give_up = None if deadline is None else now() + (deadline - polling.utcnow()).total_seconds() + OVERRUN
    try:
        group.join(is_connection_known=is_connection_known)
        while True:
            try:
                async with asyncio.timeout_at(give_up):
                    outcome = await group.outcome()
            except TimeoutError:
                if not group.is_owed_a_look:
                    break
                give_up = now() + OVERRUN
                continue
            if not isinstance(outcome, HeldUp):
                return outcome
            held_up = outcome
            if group.is_over:
                break
            if line := freshness_log.line(outcome, polling.utcnow()):
                log(line)
    finally:
        group.leave()
    return timed_out(held_up, condition)


def timed_out(held_up: HeldUp, condition: Fresh) -> Failed:
    """
    Say that the time of a wait for freshness is over.

    :param held_up: What the last looks came to.
    :param condition: What each data source was to fulfil.
    """
    return Failed(
        Failure.TIMED_OUT,
        f"Timed out waiting for {condition.subject}, held up by {held_up.describe(condition, polling.utcnow())}. Raise "
        "timeout if syncs take this long.",
    )


class _Member:
    """What one data source, or the list of them, brings to a wait for all."""

    __slots__ = ("condition", "deadline", "decision", "group", "interval", "is_over", "is_told", "look")

    def __init__(self, group: _Group, condition: Any) -> None:
        self.group = group
        self.condition = condition
        self.interval = group.interval
        self.deadline = group.deadline
        self.look = 0
        self.decision: Any = Waiting()
        self.is_told = False
        self.is_over = False

    def tell(self, decision: Any, now: datetime) -> bool:
        """Take a decision. Only a failure or the deadline ends the membership: what is fresh can become stale."""
        is_news = not self.is_told or _visible(decision) != _visible(self.decision)
        self.decision, self.is_told = decision, True
        self.is_over = isinstance(decision, Failed) or (self.deadline is not None and now >= self.deadline)
        if is_news or self.is_over or self.group.doubted_at is not None:
            self.group.woken.set()
        return self.is_over


class _Listed:
    """The condition of who only wants to know which data sources there are."""

    subject = "the data sources"

    def decide(self, history: History, now: datetime) -> Any:
        return tuple(history.data_source_ids) if history.is_complete else NeedsOlder()


class _Group:
    """The members of one wait for several data sources."""

    def __init__(self, index: Index, condition: Fresh, interval: float, deadline: datetime | None) -> None:
        self.interval = interval
        self.deadline = deadline
        self._index = index
        self._condition = condition
        self._poller = Poller.of_running_loop()
        self._members: dict[str, tuple[Poll, _Member]] = {}
        self._decisions: dict[str, Outcome | Waiting | None] = {}
        self._lister: tuple[Poll, _Member] | None = None
        self.doubted_at: int | None = None  # the lister's look when a data source was refused
        self.woken = asyncio.Event()

    def join(self, *, is_connection_known: bool) -> None:
        if self._index.data_source_ids is not None:
            self._set_members(self._index.data_source_ids, is_connection_known=is_connection_known)
        else:
            lister = _Member(self, _Listed())
            poll = self._poller.join(self._index.catalogue, lister, is_connection_known=is_connection_known)
            self._lister = poll, lister

    def leave(self) -> None:
        self._set_members(())
        if self._lister is not None:
            self._poller.leave(*self._lister)

    def _set_members(self, ids: Sequence[str], *, is_connection_known: bool = False) -> None:
        for gone in self._members.keys() - set(ids):
            self._poller.leave(*self._members.pop(gone))
            del self._decisions[gone]
        for data_source_id in ids:
            if data_source_id not in self._members:
                self._decisions[data_source_id] = None
                member = _Member(self, self._condition)
                source = self._index.data_source(data_source_id)
                poll = self._poller.join(source, member, is_connection_known=is_connection_known)
                self._members[data_source_id] = poll, member

    @property
    def _all(self) -> list[tuple[Poll, _Member]]:
        return [*self._members.values(), *([self._lister] if self._lister else ())]

    @property
    def is_over(self) -> bool:
        """Whether every member has had its last look."""
        return all(member.is_over for _, member in self._all)

    @property
    def is_owed_a_look(self) -> bool:
        """Whether a member has had no look of its own yet."""
        return any(poll.owes_a_look_to(member) for poll, member in self._all)

    async def outcome(self) -> AllFresh | Failed | HeldUp:
        """Wait for news, and say what all the last looks come to."""
        try:
            async with asyncio.timeout(PROGRESS_INTERVAL):
                await self.woken.wait()
        except TimeoutError:
            pass  # time to say that the wait goes on
        self.woken.clear()
        if self._lister is not None:
            listed = self._lister[1].decision
            if isinstance(listed, Failed):
                return listed
            if isinstance(listed, tuple):
                if not listed:
                    return self._index.none_found()
                self._set_members(listed)
            if not self._members:
                return HeldUp({"all": listed if isinstance(listed, Waiting) else None})
        for data_source_id, (_, member) in self._members.items():
            if member.is_told:
                self._decisions[data_source_id] = member.decision
        return self._listed_anew(all_fresh(self._decisions, self._condition, polling.utcnow()))

    def _listed_anew(self, outcome: AllFresh | Failed | HeldUp) -> AllFresh | Failed | HeldUp:
        """Doubt a refusal until the data sources have been listed again: this one may have been deleted."""
        is_refused = isinstance(outcome, Failed) and outcome.failure is Failure.REFUSED
        if self._lister is None or not is_refused:
            self.doubted_at = None
            return outcome
        poll, lister = self._lister
        if self.doubted_at is None:
            self.doubted_at = lister.look
            poll.hurry()
        if lister.is_over or (lister.look > self.doubted_at and isinstance(lister.decision, tuple)):
            return outcome
        refused = {key: each for key, each in self._decisions.items() if isinstance(each, Failed)}
        return HeldUp({key: Waiting(trouble=each.message) for key, each in refused.items()})


class _Watcher:
    """A watcher's subscription to the poll of its data source."""

    def __init__(self, cursor: Cursor | None, statuses: Collection[str], interval: float) -> None:
        self.condition: Any = FinishedSince(cursor, statuses)
        self.interval = interval
        self.deadline: datetime | None = None
        self.look = 0
        self.decision: Any = Waiting()
        self.trouble: str | None = None
        self.woken = asyncio.Event()
        self._finished: Finished | None = None

    def tell(self, decision: Any, now: datetime) -> bool:
        if isinstance(decision, Finished):
            trouble = None
            if decision.cursor != self.condition.cursor:
                # It replaces one that was not taken, since both were decided from the same cursor.
                self._finished = decision
                self.woken.set()
        else:
            # A watcher has no task to fail: it goes on, at the pace of the poll's back-off, and says so.
            trouble = decision.message if isinstance(decision, Failed) else decision.trouble
        if (trouble is None) != (self.trouble is None):
            self.woken.set()
        self.trouble = trouble
        self.decision = Waiting(trouble=trouble)
        return False

    def take(self) -> Finished | None:
        """Take what has been found, and go on behind it."""
        finished, self._finished = self._finished, None
        if finished is not None:
            self.condition = FinishedSince(finished.cursor, self.condition.statuses)
        return finished


async def watch(
    source: DataSource,
    cursor: Cursor | None,
    *,
    statuses: Collection[str] = TERMINAL_STATUSES,
    interval: float,
    log: Callable[[str], object],
) -> AsyncIterator[Finished]:
    """
    Yield the jobs that finish, at most 100 at once; what is left comes with the next polls.

    The first result without a cursor has no jobs, only the cursor. Jobs that do not count move the cursor too.

    :param source: The data source.
    :param cursor: Where to read from; None to begin with the jobs that finish from now on.
    :param statuses: The final statuses that count.
    :param interval: Seconds between polls; of all waits on a data source the shortest one rules.
    :param log: Takes a line when polls begin to fail, and when they succeed again.
    """
    poller = Poller.of_running_loop()
    watcher = _Watcher(cursor, statuses, max(interval, MIN_INTERVAL))
    poll = poller.join(source, watcher)
    trouble: str | None = None
    try:
        while True:
            await watcher.woken.wait()
            watcher.woken.clear()
            if (trouble is None) != (watcher.trouble is None):
                log(f"Watching {source.contents}: {watcher.trouble or 'looks succeed again'}")
            trouble = watcher.trouble
            if (finished := watcher.take()) is not None:
                yield finished
    finally:
        poller.leave(poll, watcher)
