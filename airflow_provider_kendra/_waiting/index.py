"""The data sources of an index that a wait or a watcher is about, and its subscriptions to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from airflow_provider_kendra._decisions import Blocked, Failed, Failure, NeedsOlder, Waiting
from airflow_provider_kendra._validation import check_identifier, check_identifiers
from airflow_provider_kendra._waiting.sources import Catalogue, DataSource, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from airflow_provider_kendra._connection import AwsParameters
    from airflow_provider_kendra._waiting.conditions import Condition
    from airflow_provider_kendra._waiting.history import History
    from airflow_provider_kendra._waiting.poller import Subscriber, Subscription

D = TypeVar("D")


class Listing(NamedTuple):
    """
    The ids of an index's data sources, and names by id.

    :param usable: Those judged for freshness.
    :param creating: Those still being created.
    :param names: The names, by id.
    :param inactive: All that are not judged.
    """

    usable: tuple[str, ...]
    creating: tuple[str, ...]
    names: Mapping[str, str] = MappingProxyType({})
    inactive: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """
    Data sources of one index.

    :param aws: The AWS parameters.
    :param index_id: The index.
    :param data_source_ids: The data sources; None for all that are ACTIVE or UPDATING, listed again at each poll.
    """

    aws: AwsParameters
    index_id: str
    data_source_ids: tuple[str, ...] | None

    def data_source(self, data_source_id: str) -> DataSource:
        return DataSource(self.aws, self.index_id, data_source_id)

    def schedule(self, data_source_id: str) -> Schedule:
        return Schedule(self.aws, self.index_id, data_source_id)

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.aws, self.index_id)

    def without_data_sources(self, listing: Listing) -> Failed | Blocked:
        """Wait if data sources are being created; otherwise fail."""
        if listing.creating:
            return Blocked(dict.fromkeys(listing.creating, "still being created"), listing.names)
        return Failed(
            Failure.REFUSED,
            "The index has no ACTIVE, UPDATING or CREATING data source, so nothing in it can be fresh (index "
            f"{self.index_id}).",
        )


def freshness_index(aws: AwsParameters, index_id: str, data_source_ids: str | Sequence[str] | None) -> Index:
    """
    Build the index from a DAG author's parameters.

    :param aws: The AWS parameters.
    :param index_id: The index.
    :param data_source_ids: One data source, several, or None for all.
    :raises ValueError: for an invalid identifier or an empty list.
    """
    check_identifier("index_id", index_id)
    if data_source_ids is None:
        return Index(aws, index_id, None)
    return Index(aws, index_id, check_identifiers("data_source_ids", data_source_ids))


class Members(Generic[D]):
    """
    One subscription for each data source of an index, and one to list them if none are named.

    :param subscriber: The wait or watcher.
    :param index: The data sources.
    :param condition: Returns the condition for a data source; None while it is not known yet.
    :param ends_with: As for :meth:`Subscriber.subscribe`.
    :param known: The data sources to follow until the index has been listed, if the first attempts to list it fail.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        index: Index,
        condition: Callable[[str], Condition[D] | None],
        ends_with: tuple[type, ...] = (Failed,),
        known: Iterable[str] = (),
    ) -> None:
        self._subscriber = subscriber
        self._ends_with = ends_with
        self._index = index
        self._condition = condition
        self._known = tuple(known)
        self.ids: tuple[str, ...] = ()
        self.names: Mapping[str, str] = {}  # of the data sources that were last listed
        self.subscriptions: dict[str, Subscription[D]] = {}
        self.lister: Subscription[Listing] | None = None
        if index.data_source_ids is not None:
            self._set(index.data_source_ids)
        else:
            self.list_again()

    def list_again(self) -> None:
        """List the data sources at once, and then at each interval."""
        before = self.lister
        self.lister = self._subscriber.subscribe(self._index.catalogue, _Listed(), self._ends_with)
        if before is not None:
            self._subscriber.unsubscribe(before)

    def apply_listing(self) -> Listing | Failed | Waiting | None:
        """Subscribe to the listed data sources, and return the list or why there is none; None if ids are named."""
        listed = self.lister.state if self.lister is not None else None
        if isinstance(listed, Listing):
            self.names, self.ids, self._known = listed.names, listed.usable, ()
        elif listed is not None:
            self.ids = self.ids or self._known
        self._set(self.ids)
        return listed

    def _set(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        if gone := [self.subscriptions.pop(key) for key in self.subscriptions.keys() - set(ids)]:
            self._subscriber.unsubscribe(*gone)
        for key in ids:
            if key not in self.subscriptions and (condition := self._condition(key)) is not None:
                source = self._index.data_source(key)
                self.subscriptions[key] = self._subscriber.subscribe(source, condition, self._ends_with)


class _Listed:
    """Collects which data sources exist."""

    def decide(self, history: History, now: datetime) -> Listing | NeedsOlder:
        if not history.is_complete:
            return NeedsOlder()
        ids = history.data_source_ids, history.creating_ids, history.inactive_ids
        usable, creating, inactive = map(tuple, ids)
        return Listing(usable, creating, history.names, inactive)
