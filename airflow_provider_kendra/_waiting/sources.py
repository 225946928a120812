"""What polls read: a data source's history or schedule, or the list of an index's data sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_kendra._waiting.history import Page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from airflow_provider_kendra._connection import AwsParameters
    from airflow_provider_kendra._waiting.conditions import SyncJobCondition
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook

INACTIVE_STATUSES = frozenset({"CREATING", "DELETING", "FAILED"})
"""Statuses of data sources that cannot be synced; freshness ignores them."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """The data source that a poll reads; waits on equal ones share a poll."""

    aws: AwsParameters
    index_id: str
    data_source_id: str
    is_reusable: ClassVar[bool] = True
    min_interval: ClassVar[float] = 0.0

    def subject(self, condition: SyncJobCondition) -> str:
        """Describe a wait on this data source."""
        return f"{condition.subject} on data source {self.data_source_id}"

    @property
    def contents(self) -> str:
        """What a poll reads, in words."""
        return f"the sync jobs of data source {self.data_source_id}"

    def pages(self, hook: KendraSyncJobsHook, before: datetime | None = None) -> Iterator[Page]:
        """Read the history page by page, newest job first; with ``before``, only jobs that started by then."""
        filters = {} if before is None else {"started_before": before}
        return hook._iter_pages(self.index_id, self.data_source_id, **filters)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The list of an index's data sources, polled like a history."""

    aws: AwsParameters
    index_id: str
    is_reusable: ClassVar[bool] = False  # a data source added since must not be missed
    min_interval: ClassVar[float] = 0.0

    @property
    def contents(self) -> str:
        """What a poll reads, in words."""
        return f"the data sources of index {self.index_id}"

    def pages(self, hook: KendraSyncJobsHook, before: datetime | None = None) -> Iterator[Page]:
        """List the data sources as one page, with the ids of the active, CREATING and inactive ones."""
        listed = list(hook.list_data_sources(self.index_id))
        found = [(each["Id"], each.get("Status")) for each in listed]
        yield Page(
            [],
            is_last=True,
            data_source_ids=[key for key, status in found if status not in INACTIVE_STATUSES],
            creating_ids=[key for key, status in found if status == "CREATING"],
            inactive_ids=[key for key, status in found if status in INACTIVE_STATUSES],
            names={each["Id"]: name for each in listed if (name := each.get("Name"))},
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """The schedule of a data source, polled like a history, but seldom."""

    aws: AwsParameters
    index_id: str
    data_source_id: str
    is_reusable: ClassVar[bool] = True
    min_interval: ClassVar[float] = 900.0

    @property
    def contents(self) -> str:
        """What a poll reads, in words."""
        return f"the schedule of data source {self.data_source_id}"

    def pages(self, hook: KendraSyncJobsHook, before: datetime | None = None) -> Iterator[Page]:
        """Describe the data source, as one page."""
        described = hook.describe_data_source(self.index_id, self.data_source_id)
        names = {self.data_source_id: name} if (name := described.get("Name")) else {}
        yield Page([], is_last=True, schedule=str(described.get("Schedule") or ""), names=names)


Source = DataSource | Catalogue | Schedule
