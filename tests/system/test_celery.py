"""The example DAGs on CeleryExecutor, with two workers and two triggerers, as in a deployment on several machines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from airflow_provider_kendra.testing import LocalKendra
from tests.system.conftest import SyncedSource
from tests.system.deployment import NOBODY_IS_LOST, ROOT, Deployment, wait_until
from tests.xcom_table import XCOM

pytestmark = pytest.mark.system

EXAMPLES = ROOT / "example_dags"
SYNC, CUSTOM, FRESHNESS, SCHEDULED, ASSET = (
    f"example_kendra_{name}"
    for name in ("sync", "custom_data_source", "freshness_gate", "wait_for_scheduled_sync", "asset_schedule")
)


@pytest.fixture(scope="module")
def sources() -> Iterator[tuple[SyncedSource, SyncedSource]]:
    """What the example DAGs need: an S3 and a CUSTOM data source of one index."""
    with LocalKendra() as kendra:
        kendra.client("s3").create_bucket(Bucket="documents")
        kendra.set_sync_duration(2)
        index_id = kendra.create_index()
        s3 = SyncedSource(kendra, index_id, kendra.create_s3_data_source(index_id, "documents"))
        yield s3, SyncedSource(kendra, index_id, kendra.create_custom_data_source(index_id))


@pytest.fixture(scope="module")
def celery(
    sources: tuple[SyncedSource, SyncedSource], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    s3, custom = sources
    variables = {
        "index_id": s3.index_id,
        "data_source_id": s3.data_source_id,
        "custom_data_source_id": custom.data_source_id,
        "bucket": "documents",
    }
    # All in the environment: one of the DAGs has a schedule, and runs as soon as it is known.
    settings = {
        **NOBODY_IS_LOST,
        "KENDRA_INDEX_ID": s3.index_id,
        "KENDRA_DATA_SOURCE_ID": s3.data_source_id,
        **{f"AIRFLOW_VAR_KENDRA_{name.upper()}": value for name, value in variables.items()},
    }
    dag_count = len(list(EXAMPLES.glob("example_*.py")))
    with Deployment(
        tmp_path_factory.mktemp("airflow"),
        s3.kendra,
        dags=EXAMPLES,
        dag_count=dag_count,
        settings=settings,
        triggerers=2,
        workers=2,
    ) as deployment:
        yield deployment


def wait_for_end(celery: Deployment, dag_id: str) -> None:
    """Wait until a run of the DAG has ended, and take it that all its tasks have succeeded."""

    def ended() -> str | None:
        sql = "SELECT state FROM dag_run WHERE dag_id = %s AND state IN ('success', 'failed') LIMIT 1"
        rows = celery.query(sql, dag_id)
        return rows[0][0] if rows else None

    wait_until(f"a run of {dag_id}", ended, patience=300)
    tasks = celery.query("SELECT task_id, state, try_number FROM task_instance WHERE dag_id = %s", dag_id)
    assert {state for _, state, _ in tasks} == {"success"}, tasks


def test_every_example_dag_succeeds(celery: Deployment, sources: tuple[SyncedSource, SyncedSource]) -> None:
    s3, custom = sources
    wait_until("the watcher", lambda: celery.query("SELECT 1 FROM asset_state_store"))
    celery.trigger(SYNC)
    celery.trigger(CUSTOM)
    wait_for_end(celery, SYNC)
    wait_for_end(celery, CUSTOM)
    celery.trigger(FRESHNESS)
    wait_for_end(celery, FRESHNESS)
    wait_for_end(celery, SCHEDULED)  # Airflow has started it: it was due this morning, and that sync was after that
    wait_for_end(celery, ASSET)
    assert len(s3.execution_ids()) == len(custom.execution_ids()) == 1
    rows = celery.query(f"SELECT value FROM {XCOM} WHERE dag_id = %s AND task_id = 'report'", ASSET)
    assert [json.loads(value) if isinstance(value, str) else value for (value,) in rows] == [s3.execution_ids()]


def test_both_workers_ran_tasks(celery: Deployment) -> None:
    ran = Counter(
        worker.name for worker in celery.workers for line in worker.log.read_text().splitlines() if "received" in line
    )
    assert set(ran) == {worker.name for worker in celery.workers}
