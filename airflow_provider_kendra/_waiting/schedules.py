"""The schedules of data sources, for waits and watchers that judge freshness by them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_provider_kendra._decisions import Failed, Failure, NeedsOlder
from airflow_provider_kendra._schedule import translate

if TYPE_CHECKING:
    from airflow_provider_kendra._waiting.conditions import Condition
    from airflow_provider_kendra._waiting.history import History, Page
    from airflow_provider_kendra._waiting.index import Index
    from airflow_provider_kendra._waiting.poller import Subscriber, Subscription
    from airflow_provider_kendra._waiting.sources import Schedule

D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The schedule of a data source, as a decision, and its name; "" for none."""

    schedule: str
    name: str = ""


class ReadsSchedule:
    """Collects the schedule of a data source, for a watcher."""

    def decide(self, history: History, now: datetime) -> Scheduled | NeedsOlder:
        if not history.is_complete:
            return NeedsOlder()
        return Scheduled(history.schedule, next(iter(history.names.values()), ""))


@dataclass(frozen=True, slots=True)
class NeedsSchedule:
    """Collects the schedule of a data source, for a wait, which fails if there is none to judge by."""

    source: Schedule

    def decide(self, history: History, now: datetime) -> Scheduled | Failed | NeedsOlder:
        return usable_schedule(self.source, history) if history.is_complete else NeedsOlder()


def usable_schedule(source: Schedule, found: History | Page) -> Scheduled | Failed:
    """Return the schedule that was found, or why a wait can't use it."""
    try:
        translate(found.schedule)
    except ValueError as error:
        refused = Failed(
            Failure.REFUSED,
            f"No usable schedule: {error}. schedule_grace needs one: give the data source a schedule in Kendra, name "
            f"only the others in data_source_ids, or use max_age (data source {source.data_source_id}, index "
            f"{source.index_id}).",
        )
        return refused.with_names(found.names)
    return Scheduled(found.schedule, found.names.get(source.data_source_id, ""))


class Schedules(Generic[D]):
    """
    The subscriptions of a wait or watcher to schedules, which are read again after 15 minutes.

    :param subscriber: The wait or watcher.
    :param index: The data sources.
    :param condition: Returns the condition for a schedule.
    :param ends_with: As for :meth:`Subscriber.subscribe`.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        index: Index,
        condition: Callable[[Schedule], Condition[D]],
        ends_with: tuple[type, ...] = (Failed,),
    ) -> None:
        self._subscriber = subscriber
        self._index = index
        self._condition = condition
        self._ends_with = ends_with
        self.subscriptions: dict[str, Subscription[D]] = {}

    def of(self, data_source_id: str) -> Subscription[D]:
        """Return the subscription to the schedule of a data source."""
        if data_source_id not in self.subscriptions:
            source = self._index.schedule(data_source_id)
            self.subscriptions[data_source_id] = self._subscriber.subscribe(
                source, self._condition(source), self._ends_with
            )
        return self.subscriptions[data_source_id]

    @property
    def names(self) -> dict[str, str]:
        """The names of the data sources whose schedules have been read, by id."""
        decisions = ((key, each.decision) for key, each in self.subscriptions.items())
        return {key: found.name for key, found in decisions if isinstance(found, Scheduled) and found.name}

    def keep(self, ids: Collection[str]) -> None:
        """End the subscriptions to the schedules of all other data sources."""
        if gone := [self.subscriptions.pop(key) for key in self.subscriptions.keys() - set(ids)]:
            self._subscriber.unsubscribe(*gone)
