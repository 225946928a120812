"""Waits that outlast a single decision: several data sources that must be fresh at once, and watchers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import as_completed, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_kendra import _clock
from airflow_provider_kendra._clock import OVERRUN
from airflow_provider_kendra._text import LONGEST_MESSAGE, plain
from airflow_provider_kendra.conditions import (
    PROGRESS_INTERVAL,
    Fresh,
    HeldUp,
    History,
    NeedsOlder,
    PollErrors,
    Waiting,
    all_fresh,
    read,
)
from airflow_provider_kendra.finished import Cursor, Finished, FinishedSince
from airflow_provider_kendra.outcomes import AllFresh, Failed, Failure, Outcome, Satisfied
from airflow_provider_kendra.polling import (
    MAX_CALLS,
    MIN_INTERVAL,
    Catalogue,
    DataSource,
    Poll,
    Poller,
    after_error,
)
from airflow_provider_kendra.sync_job import TERMINAL_STATUSES
from airflow_provider_kendra.threads import DaemonThreads
from airflow_provider_kendra.validation import check_identifier, check_identifiers

if TYPE_CHECKING:
    from airflow_provider_kendra.aws import AwsParameters
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook


class Listing(NamedTuple):
    """The ids of the data sources of an index, as far as they matter for its freshness."""

    usable: tuple[str, ...]
    creating: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """
    Data sources of one index.

    :param aws: Where the calls go.
    :param index_id: The index.
    :param data_source_ids: Which data sources; None for all that are ACTIVE or UPDATING, listed anew at each poll.
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

    def without_data_sources(self, listing: Listing) -> Failed | HeldUp:
        """Decide where no data source can be judged: wait for those that are being created, if there are any."""
        if listing.creating:
            return HeldUp(dict.fromkeys(listing.creating, "it is still being created"))
        return Failed(
            Failure.REFUSED,
            f"Index {self.index_id} has no ACTIVE data source, nor one that is UPDATING or CREATING, so nothing in it "
            "can be fresh.",
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
    """Says in a task's log which data sources a wait waits for: at each change, when errors begin, and now and then."""

    def __init__(self, condition: Fresh, now: datetime) -> None:
        self._condition = condition
        self._since = self._logged_at = now
        self._logged: object = None
        self._errors = PollErrors()

    def line(self, seen: HeldUp, now: datetime) -> str | None:
        """
        Give the line to log, or None if there is nothing new.

        :param seen: What the last polls came to.
        :param now: The time that it is about.
        """
        decisions = seen.data_sources
        news = {key: _state(decision) for key, decision in decisions.items()}
        troubles = (decision.trouble for decision in decisions.values() if isinstance(decision, Waiting))
        do_errors_begin = self._errors.count(next(filter(None, troubles), None))
        is_progress = (now - self._logged_at).total_seconds() >= PROGRESS_INTERVAL
        is_news = news != self._logged and None not in decisions.values()
        if not is_progress and not is_news and not do_errors_begin:
            return None
        self._logged, self._logged_at = news, now
        sources = f"{len(news)} data source{'' if len(news) == 1 else 's'}"
        begin = (
            f"{self._errors.summary('Polls')}{sources} not fresh after {int((now - self._since).total_seconds())} s: "
        )
        return plain(begin + seen.summary(self._condition, now, _LONGEST_LINE - len(begin)), LONGEST_MESSAGE)


_LONGEST_LINE = 190  # characters of a progress line, unless the first name alone takes more


def _state(decision: Outcome | Waiting | str | None) -> object:
    """What of a decision is worth a line of its own, errors apart."""
    if isinstance(decision, Waiting):
        return decision.job and (decision.job.execution_id, decision.job.status)
    return decision.job.execution_id if isinstance(decision, Satisfied) else decision


def _visible(decision: Outcome | Waiting | str | None) -> object:
    if isinstance(decision, Waiting):
        return decision.job and (decision.job.execution_id, decision.job.status), decision.trouble is not None
    return decision.job.execution_id if isinstance(decision, Satisfied) else decision


def look_at_all(
    hook: KendraSyncJobsHook,
    index: Index,
    condition: Fresh,
    seen: dict[str, Outcome | Waiting | None],
    deadline: datetime,
) -> AllFresh | Failed | HeldUp:
    """
    Read each data source once, several at a time, from a worker.

    :param hook: What to read with.
    :param index: The data sources.
    :param condition: What each must fulfil.
    :param seen: What the readings before this one decided; is brought up to date.
    :param deadline: When to stop: what has not been read by then holds the wait up, which has timed out. A wait whose
        time was over before still reads each once.
    """
    remaining = (deadline - _clock.utcnow()).total_seconds()
    give_up = time.monotonic() + (remaining if remaining > 0 else OVERRUN)
    if index.data_source_ids is not None:
        return _read_each(hook, index, condition, index.data_source_ids, seen, give_up)
    listing = _read_listing(hook, index, condition, give_up)
    if not isinstance(listing, Listing):
        return listing
    if not listing.usable:
        return index.without_data_sources(listing)
    outcome = _read_each(hook, index, condition, listing.usable, seen, give_up)
    if not isinstance(outcome, Failed) or outcome.failure is not Failure.REFUSED:
        return outcome
    # The data source that is refused may have been deleted since it was listed.
    listing = _read_listing(hook, index, condition, give_up)
    if not isinstance(listing, Listing):
        return listing
    decisions = {data_source_id: seen.get(data_source_id) for data_source_id in listing.usable}
    seen.clear()
    seen.update(decisions)
    return all_fresh(seen, condition, _clock.utcnow()) if seen else index.without_data_sources(listing)


def _read_listing(
    hook: KendraSyncJobsHook, index: Index, condition: Fresh, give_up: float
) -> Listing | Failed | HeldUp:
    catalogue = index.catalogue
    threads = DaemonThreads(1, "kendra-freshness")
    try:
        _ = hook.conn  # made here, since a connection must not be looked up in another thread
        future = threads.submit(lambda: next(catalogue.pages(hook)))
        if not wait([future], max(give_up - time.monotonic(), 0)).done:
            return timed_out(HeldUp({"all": Waiting(trouble=_NO_ANSWER)}), condition)
        page = future.result()
    except Exception as error:
        decision = after_error(error, catalogue.contents, None, hook._discard_clients)
        return decision if isinstance(decision, Failed) else HeldUp({"all": decision})
    finally:
        threads.shutdown(cancel_futures=True)
    return Listing(tuple(page.data_source_ids), tuple(page.creating_ids))


def _read_each(
    hook: KendraSyncJobsHook,
    index: Index,
    condition: Fresh,
    ids: Iterable[str],
    seen: dict[str, Outcome | Waiting | None],
    give_up: float,
) -> AllFresh | Failed | HeldUp:
    sources = {each: index.data_source(each) for each in ids}
    results = _results(hook, condition, sources, give_up)
    is_out_of_time = len(results) < len(sources) and time.monotonic() >= give_up
    before = dict(seen)
    seen.clear()
    for key, source in sources.items():
        result = results.get(key)
        if isinstance(result, Exception):
            seen[key] = after_error(result, source.contents, before.get(key), hook._discard_clients)
        elif result is None and is_out_of_time:
            seen[key] = Waiting(trouble=_NO_ANSWER)
        else:
            seen[key] = result
    outcome = all_fresh(seen, condition, _clock.utcnow())
    return timed_out(outcome, condition) if is_out_of_time and isinstance(outcome, HeldUp) else outcome


_NO_ANSWER = "no answer came before the time-out"


def _results(
    hook: KendraSyncJobsHook, condition: Fresh, sources: Mapping[str, DataSource], give_up: float
) -> dict[str, Outcome | Waiting | Exception]:
    """Read in several threads, until a job fails the wait or the time is over; errors are results too."""

    def read_source(source: DataSource) -> Outcome | Waiting:
        return read(condition, source.pages(hook), _clock.utcnow())

    results: dict[str, Outcome | Waiting | Exception] = {}
    try:
        _ = hook.conn  # made here: several threads would make several, and must not look the connection up
    except Exception as error:
        return dict.fromkeys(sources, error)
    threads = DaemonThreads(MAX_CALLS, "kendra-freshness")
    try:
        futures = {threads.submit(read_source, source): key for key, source in sources.items()}
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
    log: Callable[[str], Awaitable[object]],
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
    freshness_log = FreshnessLog(condition, _clock.utcnow())
    held_up = HeldUp({})
    now = asyncio.get_running_loop().time
    give_up = None if deadline is None else now() + (deadline - _clock.utcnow()).total_seconds() + OVERRUN
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
            if line := freshness_log.line(outcome, _clock.utcnow()):
                await log(line)
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
        f"Timed out waiting for {condition.subject}, held up by {held_up.describe(condition, _clock.utcnow())}. Raise "
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
        if is_news or self.is_over:
            self.group.woken.set()
        return self.is_over


class _Listed:
    """The condition of who only wants to know which data sources there are."""

    subject = "the data sources"

    def decide(self, history: History, now: datetime) -> Any:
        if not history.is_complete:
            return NeedsOlder()
        return Listing(tuple(history.data_source_ids), tuple(history.creating_ids))


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
        self._is_doubting = False  # whether the data sources are listed again since one was refused
        self.woken = asyncio.Event()

    def join(self, *, is_connection_known: bool) -> None:
        if self._index.data_source_ids is not None:
            self._set_members(self._index.data_source_ids, is_connection_known=is_connection_known)
        else:
            self._list(is_connection_known=is_connection_known)

    def _list(self, *, is_connection_known: bool = False) -> None:
        """List the data sources at once, and then at each interval."""
        before, lister = self._lister, _Member(self, _Listed())
        poll = self._poller.join(self._index.catalogue, lister, is_connection_known=is_connection_known)
        self._lister = poll, lister
        if before is not None:
            self._poller.leave(*before)

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
        if (verdict := self._take_listing()) is not None:
            return verdict
        for data_source_id, (_, member) in self._members.items():
            if member.is_told:
                self._decisions[data_source_id] = member.decision
        return self._check_listing(all_fresh(self._decisions, self._condition, _clock.utcnow()))

    def _take_listing(self) -> Failed | HeldUp | None:
        """Wait for the data sources that are listed now; decide where there is none."""
        if self._lister is None:
            return None
        listed = self._lister[1].decision
        if isinstance(listed, Failed):
            return listed
        if isinstance(listed, Listing):
            self._set_members(listed.usable)
            return None if listed.usable else self._index.without_data_sources(listed)
        return None if self._members else HeldUp({"all": listed if listed.trouble else None})

    def _check_listing(self, outcome: AllFresh | Failed | HeldUp) -> AllFresh | Failed | HeldUp:
        """
        Doubt what an outdated list of the data sources leads to.

        A data source that is refused may have been deleted, so they are listed again first. While listing fails, one
        that was added since could be stale.
        """
        if self._lister is None:
            return outcome
        listed = self._lister[1].decision
        if isinstance(outcome, AllFresh) and not isinstance(listed, Listing):
            return HeldUp({"all": listed if listed.trouble else None})
        if not isinstance(outcome, Failed) or outcome.failure is not Failure.REFUSED:
            self._is_doubting = False
            return outcome
        if not self._is_doubting:
            self._is_doubting = True
            self._list()
        elif isinstance(listed, Listing):
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
    log: Callable[[str], Awaitable[object]],
) -> AsyncIterator[Finished]:
    """
    Yield the jobs that finish, at most 100 at once; what is left comes with the next polls.

    The first result without a cursor has no jobs, only the cursor. Jobs that do not count move the cursor too.

    :param source: The data source.
    :param cursor: Where to read from; None to begin with the jobs that finish from now on.
    :param statuses: The final statuses that count.
    :param interval: Seconds between polls; of all waits on a data source the shortest one rules.
    :param log: Takes a line when polls begin to fail, and when they succeed again; at most one in five minutes.
    """
    poller = Poller.of_running_loop()
    watcher = _Watcher(cursor, statuses, max(interval, MIN_INTERVAL))
    poll = poller.join(source, watcher)
    told: str | None = None
    quiet_until = _clock.utcnow()
    try:
        while True:
            has_news = (told is None) != (watcher.trouble is None)
            with suppress(TimeoutError):
                async with asyncio.timeout((quiet_until - _clock.utcnow()).total_seconds() if has_news else None):
                    await watcher.woken.wait()
            watcher.woken.clear()
            if (told is None) != (watcher.trouble is None) and _clock.utcnow() >= quiet_until:
                await log(plain(f"Watching {source.contents}: {(told := watcher.trouble) or 'polls succeed again'}"))
                quiet_until = _clock.utcnow() + timedelta(seconds=PROGRESS_INTERVAL)
            if (finished := watcher.take()) is not None:
                yield finished
    finally:
        poller.leave(poll, watcher)
