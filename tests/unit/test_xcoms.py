"""Which keys of its record a task pushes, and what a DAG can take from its output."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_kendra.operators.kendra import (
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.outcomes import Satisfied
from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor
from airflow_provider_kendra.sync_job import RECORD_KEYS, SyncJob
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS
from tests.conftest import counts, listed

if TYPE_CHECKING:
    from tests.conftest import DataSource

IS_NONE_REFUSED = AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_PLUS
DEFAULT_KEYS = {"execution_id", "status", "documents_failed"}
IDS = {"index_id": "i" * 36, "data_source_id": "source"}
ARGUMENTS: dict[type[BaseOperator], dict[str, Any]] = {
    KendraStartSyncJobOperator: {},
    KendraStopSyncJobOperator: {"execution_id": "mine"},
    KendraSyncJobMetricsOperator: {},
    KendraSyncJobSensor: {"execution_id": "mine"},
}

every_class = pytest.mark.parametrize("cls", ARGUMENTS)


class TaskInstance:
    """Takes XComs."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def make(cls: type[BaseOperator], **arguments: Any) -> Any:
    return cls(**{"task_id": "task", "region_name": "us-east-1", **IDS, **ARGUMENTS[cls], **arguments})


def run(cls: type[BaseOperator], data_source: DataSource, **arguments: Any) -> tuple[dict[str, Any], set[str]]:
    """Run a task to its success; give its record, and the keys that Airflow then has besides it."""
    data_source.kendra.set_sync_duration(0)
    if cls is not KendraStartSyncJobOperator:
        data_source.show([listed("mine", Metrics=counts(failed=2, scanned=7))])
    ti, task = TaskInstance(), make(cls, **data_source.as_kwargs, **arguments)
    record = task.execute({"ti": ti})
    if task.multiple_outputs and task.do_xcom_push:  # Airflow pushes every key of what is returned
        ti.pushed |= record
    ti.pushed.pop("failed_documents", None)  # test_failed_documents
    assert ti.pushed.items() <= record.items()
    return record, set(ti.pushed)


@pytest.fixture(autouse=True)
def _whoever_calls_execute_is_the_task_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{BaseOperator.__module__}.ExecutorSafeguard.test_mode", True)


@every_class
class TestPushed:
    def test_three_keys_are_pushed_by_default(self, cls: type[BaseOperator], data_source: DataSource) -> None:
        for default in ({}, {"multiple_outputs": None}):
            record, keys = run(cls, data_source, **default)
            pushable = {key for key in DEFAULT_KEYS if record[key] is not None or not IS_NONE_REFUSED}
            assert keys == pushable

    def test_all_keys_are_pushed_with_multiple_outputs(self, cls: type[BaseOperator], data_source: DataSource) -> None:
        record, keys = run(cls, data_source, multiple_outputs=True)
        assert keys == {key for key, value in record.items() if value is not None or not IS_NONE_REFUSED}

    @pytest.mark.parametrize(
        "arguments",
        [{"multiple_outputs": False}, {"do_xcom_push": False}, {"do_xcom_push": False, "multiple_outputs": True}],
    )
    def test_no_key_is_pushed_when_none_is_wanted(
        self, cls: type[BaseOperator], data_source: DataSource, arguments: dict[str, Any]
    ) -> None:
        assert run(cls, data_source, **arguments)[1] == set()

    def test_a_task_that_was_deferred_pushes_the_same(self, cls: type[BaseOperator]) -> None:
        if cls is KendraSyncJobMetricsOperator:
            return  # it never waits
        job = SyncJob(**IDS, execution_id="mine", status="SUCCEEDED", documents_failed=0)
        ti, task = TaskInstance(), make(cls)
        task.execute_complete({"ti": ti}, event=Satisfied(job).to_event())
        assert not task.multiple_outputs, "Airflow would push the other keys"
        assert ti.pushed == {"execution_id": "mine", "status": "SUCCEEDED", "documents_failed": 0}


def test_the_keys_of_the_record_are_all_known() -> None:
    assert set(RECORD_KEYS) == SyncJob(**IDS, execution_id="e", status="SYNCING").to_dict().keys()


@every_class
class TestOutput:
    @pytest.fixture(autouse=True)
    def _in_a_dag(self) -> Any:
        with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            yield

    @pytest.mark.parametrize("key", sorted(DEFAULT_KEYS))
    def test_a_pushed_key_can_be_taken(self, cls: type[BaseOperator], key: str) -> None:
        output = make(cls).output
        assert (output[key].operator.task_id, output[key].key) == ("task", key)
        assert (output.key, output["failed_documents"].key) == ("return_value", "failed_documents")

    def test_a_key_that_is_never_pushed_is_refused_when_the_dag_is_parsed(self, cls: type[BaseOperator]) -> None:
        output = make(cls).output
        for key in set(RECORD_KEYS) - DEFAULT_KEYS:
            with pytest.raises(
                ValueError, match=rf"^task: output\['{key}'\] would always be None.*multiple_outputs=True"
            ):
                output[key]

    def test_all_keys_can_be_taken_with_multiple_outputs(self, cls: type[BaseOperator]) -> None:
        output = make(cls, multiple_outputs=True).output
        assert [output[key].key for key in RECORD_KEYS] == list(RECORD_KEYS)


def test_the_output_can_be_mapped_over_in_a_dag_that_is_stored() -> None:
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        keys = make(KendraStartSyncJobOperator).output.map(lambda key: key)
        KendraSyncJobSensor.partial(task_id="each", **IDS).expand(execution_id=keys)
    try:
        from airflow.serialization.serialized_objects import DagSerialization
    except ImportError:
        from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert stored.get_task("each").upstream_task_ids == {"task"}
