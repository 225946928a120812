"""A watcher of the freshness of data sources: reports each change of state at its time, and never ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_kendra import _clock
from airflow_provider_kendra._text import plain, with_names
from airflow_provider_kendra._waiting.index import Index, Listing, Members
from airflow_provider_kendra._waiting.poller import FOREVER, Connect, Log, Subscriber, Subscription
from airflow_provider_kendra._waiting.schedules import ReadsSchedule, Scheduled, Schedules
from airflow_provider_kendra._waiting.states import (
    AcceptableSince,
    Change,
    Ended,
    Known,
    Limits,
    State,
    changes_of,
    next_crossing,
    store_states,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_kendra._waiting.cursor import Cursor

UNKNOWN_AFTER = 3
"""After how many intervals of failed reads a data source is reported as unknown."""

_AFTER = 0.001  # seconds; a job exactly ``max_age`` old still counts


@dataclass(frozen=True, slots=True)
class Changed:
    """The changes to report, in order, and the states to store once they have been reported."""

    changes: tuple[Change, ...]
    known: dict[str, Known]

    @property
    def cursor(self) -> Cursor:
        """The states in JSON types."""
        return store_states(self.known)


async def watch_states(
    index: Index, limits: Limits, known: Mapping[str, Known], *, interval: float, log: Log, connect: Connect
) -> AsyncIterator[Changed]:
    """
    Yield changes of state when they are detected; those of several data sources at once come as one item.

    :param index: The data sources.
    :param limits: What keeps each of them fresh.
    :param known: The states that were last reported; empty at the first start.
    :param interval: As for :class:`Subscriber`.
    :param log: Writes a line for each change, and when the data sources can't be listed.
    :param connect: As for :class:`Subscriber`.
    """
    watcher = _StateWatcher(index, limits, known, interval=interval, connect=connect)
    logged: str | None = None
    try:
        while True:
            if (logged is None) != (watcher.listing_error is None):
                logged = watcher.listing_error
                text = "Polls succeed again" if logged is None else f"Poll failed, retrying: {logged}"
                await log(f"{plain(text)} (index {index.index_id})")
            changed = watcher.update(_clock.utcnow())
            if changed is not None:
                for change in changed.changes:
                    await log(watcher.describe(change))
                yield changed
            due = watcher.due_in(_clock.utcnow())
            await watcher.wait_for_change(FOREVER if due is None else asyncio.get_running_loop().time() + due)
    finally:
        watcher.unsubscribe()


class _StateWatcher(Subscriber):
    """The subscriptions of a watcher, and what it has reported."""

    __slots__ = (
        "_absent_since",
        "_failing_since",
        "_index",
        "_is_first",
        "_known",
        "_last",
        "_limits",
        "_members",
        "_next",
        "_outdated_since",
        "_schedules",
    )

    def __init__(self, index: Index, limits: Limits, known: Mapping[str, Known], **options: Any) -> None:
        super().__init__(**options)
        self._index = index
        self._limits = limits
        self._known = dict(known)
        self._failing_since: dict[str, datetime] = {}
        self._outdated_since: dict[str, datetime] = {}  # since when lists have lacked the newest acceptable job
        self._absent_since: dict[str, datetime] = {}  # from the list of the index's data sources
        self._last: dict[str, Ended] = {}  # what the last successful polls have found
        self._next: datetime | None = None
        self._is_first = True
        self._schedules = Schedules(self, index, lambda _: ReadsSchedule(), ends_with=())
        self._members = Members(self, index, self._condition, ends_with=(), known=self._known)

    def _condition(self, data_source_id: str) -> AcceptableSince | None:
        """Return the condition for a data source; None while its schedule is not known, if it is judged by schedule."""
        known, limits = self._known.get(data_source_id), self._limits_of(data_source_id)
        return AcceptableSince(limits, known.until if known else None) if isinstance(limits, Limits) else None

    def update(self, now: datetime) -> Changed | None:
        """Return what has changed; None if nothing has, or if the first polls are still under way."""
        self._members.apply_listing()
        members, ids = self._members.subscriptions, self._members.ids
        self._schedules.keep(ids)
        subscriptions: list[Subscription[Any]] = [*members.values(), *self._schedules.subscriptions.values()]
        if self._is_first and (not ids or not all(map(_is_polled, subscriptions))):
            return None
        before, self._is_first, self._next = dict(self._known), False, None
        changes = [change for key in ids for change in self._changes(key, members.get(key), now)]
        self._forget_deleted(now)
        for since in (self._failing_since, self._outdated_since):
            for key in since.keys() - set(ids):
                del since[key]
        for key in self._last.keys() - self._known.keys():
            del self._last[key]
        if not changes and self._known == before:
            return None
        changes.sort(key=lambda change: change.at)
        return Changed(tuple(changes), dict(self._known))

    def _forget_deleted(self, now: datetime) -> None:
        """Forget data sources that have not been listed for three intervals; inactive ones count as listed."""
        listed = None if self._members.lister is None else self._members.lister.state
        if not isinstance(listed, Listing):
            return
        absent = self._known.keys() - {*listed.usable, *listed.inactive}
        self._absent_since = {key: self._absent_since.get(key, now) for key in absent}
        for key, since in self._absent_since.items():
            deleted_at = self._three_intervals_after(since)
            if now < deleted_at:
                self._wake_at(deleted_at)
            else:
                del self._known[key]

    def _changes(self, key: str, member: Subscription[Ended] | None, now: datetime) -> Iterable[Change]:
        known, limits = self._known.get(key), self._limits_of(key)
        if isinstance(limits, str):  # no schedule
            is_news = known is None or known.state is not State.UNKNOWN
            if is_news:
                self._set_unknown(key, now)
            return (Change(key, State.UNKNOWN, known.state if known else None, now),) if is_news else ()
        if limits is None or member is None or member.problem:
            changes = self._fail(key, now)
        elif isinstance(ended := member.decision, Ended):
            changes = self._read(key, ended, limits, now)
        else:
            return ()
        if limits and member and key in self._known:
            member.condition = AcceptableSince(limits, self._known[key].until)
        return changes

    def _read(self, key: str, ended: Ended, limits: Limits, now: datetime) -> Iterable[Change]:
        """Return what follows from a successful poll."""
        self._failing_since.pop(key, None)
        known = self._known.get(key)
        if known and known.state is State.UNKNOWN and ended.limits != limits:
            return ()  # judged by a schedule that no longer applies
        if known and self._is_outdated(key, ended, known, now):
            return self._judge(key, now) if key in self._last else ()
        self._last[key] = ended
        return self._judge(key, now)

    def _is_outdated(self, key: str, ended: Ended, known: Known, now: datetime) -> bool:
        """Whether a list is treated as outdated: it lacks the newest known job, for less than three intervals."""
        if not ended.lacks_newest_of(known):
            self._outdated_since.pop(key, None)
            return False
        believed_at = self._three_intervals_after(self._outdated_since.setdefault(key, now))
        is_outdated = now < believed_at
        self._wake_at(believed_at if is_outdated else None)
        return is_outdated

    def _judge(self, key: str, now: datetime) -> list[Change]:
        """Return the changes until now that follow from the last successful poll."""
        ended = self._last[key]
        changes, self._known[key] = changes_of(key, ended, self._known.get(key), now)
        self._wake_at(next_crossing(ended, now))
        return changes

    def _set_unknown(self, key: str, since: datetime) -> None:
        known = self._known.get(key) or Known(State.UNKNOWN, since)
        self._known[key] = replace(known, state=State.UNKNOWN, until=max(known.until, since))

    def _limits_of(self, key: str) -> Limits | str | None:
        """Return the limits of a data source; why it has none; or None while its schedule could not be read."""
        if self._limits.grace is None:
            return self._limits
        found = self._schedules.of(key).decision
        if not isinstance(found, Scheduled):
            return None  # none was read yet, or AWS denies it now; after transient errors the last one stays in use
        try:
            return self._limits.with_schedule(found.schedule)
        except ValueError as error:
            return str(error)

    def _fail(self, key: str, now: datetime) -> Iterable[Change]:
        """Report a data source as unknown after three intervals in which it could not be read."""
        unknown_at = self._three_intervals_after(self._failing_since.setdefault(key, now))
        known = self._known.get(key)
        if known is not None and known.state is State.UNKNOWN:
            return ()
        changes = self._judge(key, min(now, unknown_at)) if key in self._last else []
        if now < unknown_at:
            self._wake_at(unknown_at)
            return changes
        known = self._known.get(key)
        self._set_unknown(key, unknown_at)
        return (*changes, Change(key, State.UNKNOWN, known.state if known else None, unknown_at))

    def _three_intervals_after(self, since: datetime) -> datetime:
        """Return the end of three intervals."""
        return since + timedelta(seconds=UNKNOWN_AFTER * self.interval)

    def _wake_at(self, moment: datetime | None) -> None:
        if moment is not None:
            self._next = moment if self._next is None else min(self._next, moment)

    @property
    def listing_error(self) -> str | None:
        """Why the data sources of the index can't be listed; None if they can, or are named."""
        return None if self._members.lister is None else self._members.lister.problem

    def due_in(self, now: datetime) -> float | None:
        """Seconds until a state changes without a poll; None for never."""
        return None if self._next is None else max((self._next - now).total_seconds(), 0.0) + _AFTER

    def describe(self, change: Change) -> str:
        """Return the line to log about a change."""
        was = f", was {change.previous}" if change.previous else ""
        measured_by = self._limits.measured_by
        verb = "started" if measured_by == "start_time" else "ended"
        moment = getattr(change.job, measured_by, None)
        job = f": the last acceptable sync {verb} {moment:%Y-%m-%d %H:%M:%S}Z" if moment else ""
        member = self._members.subscriptions.get(change.data_source_id)
        if change.state is State.UNKNOWN:
            limits = self._limits_of(change.data_source_id)
            schedule = self._schedules.subscriptions.get(change.data_source_id)
            errors = (each and each.problem for each in (member, schedule))
            reasons = (limits if isinstance(limits, str) else None, *errors)
            job = f": {plain(next(filter(None, reasons), 'it could not be read'))}"
        place = f"(data source {change.data_source_id}, index {self._index.index_id})"
        line = f"{change.state.capitalize()} since {change.at:%Y-%m-%d %H:%M:%S}Z{was}{job} {place}"
        return with_names(line, {**self._schedules.names, **self._members.names})


def _is_polled(member: Subscription[Any]) -> bool:
    return member.decision is not None or member.error is not None
