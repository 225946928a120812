"""One Airflow for all tests of a module, and a data source for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.testing.local import Call
from tests.conftest import DataSource
from tests.system.deployment import DAGS, Deployment


@pytest.fixture(scope="module")
def _kendra() -> Iterator[LocalKendra]:
    with LocalKendra() as kendra:
        kendra.client("s3").create_bucket(Bucket="documents")
        kendra.set_sync_duration(None)
        yield kendra


@pytest.fixture(scope="module")
def _deployment(_kendra: LocalKendra, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("airflow"), _kendra, dags=DAGS / "survival", dag_count=6) as deployment:
        yield deployment


@pytest.fixture
def airflow(_deployment: Deployment) -> Iterator[Deployment]:
    """An Airflow whose components all run; they do again afterwards."""
    yield _deployment
    _deployment.kendra.clear_faults()
    _deployment.restore()


class SyncedSource(DataSource):
    """A data source, and what the service was asked to do with it."""

    def calls(self, operation: str) -> list[Call]:
        """The calls of this operation that it took."""
        return [call for call in self.kendra.calls(operation) if call.parameters["Id"] == self.data_source_id]

    @property
    def starts(self) -> list[Call]:
        return self.calls("StartDataSourceSyncJob")

    @property
    def stops(self) -> list[Call]:
        return self.calls("StopDataSourceSyncJob")

    @property
    def looks(self) -> int:
        return len(self.calls("ListDataSourceSyncJobs"))


@pytest.fixture
def source(_kendra: LocalKendra) -> SyncedSource:
    """An S3 data source that has never been synced; a sync of it ends when told to."""
    index_id = _kendra.create_index()
    return SyncedSource(_kendra, index_id, _kendra.create_s3_data_source(index_id, "documents"))


@pytest.fixture
def custom_source(_kendra: LocalKendra) -> SyncedSource:
    """A CUSTOM data source that has never been synced."""
    index_id = _kendra.create_index()
    return SyncedSource(_kendra, index_id, _kendra.create_custom_data_source(index_id))
