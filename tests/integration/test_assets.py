"""In real Airflow: a task can read asset events, and the API returns the links."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_kendra.testing import LocalKendra
    from tests.integration.conftest import RunModule

pytestmark = pytest.mark.slow


@pytest.fixture
def source(local_kendra: LocalKendra) -> dict[str, str]:
    """A data source whose syncs take a moment."""
    local_kendra.client("s3").create_bucket(Bucket="documents")
    local_kendra.client("s3").put_object(Bucket="documents", Key="one.txt", Body=b"one")
    local_kendra.set_sync_duration(0.5)
    index_id = local_kendra.create_index()
    return {"index_id": index_id, "data_source_id": local_kendra.create_s3_data_source(index_id, "documents")}


@pytest.mark.skipif(
    AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_PLUS, reason="dag.test() of Airflow 3.0 takes no asset for an active one"
)
def test_records_reach_a_task_that_reads_the_asset_and_links_the_api(
    local_kendra: LocalKendra, source: dict[str, str], run_module: RunModule, tmp_path: Path
) -> None:
    index_id, data_source_id = source["index_id"], source["data_source_id"]
    events_file = tmp_path / "events.json"

    env = {
        "KENDRA_INDEX_ID": index_id,
        "KENDRA_DATA_SOURCE_ID": data_source_id,
        "KENDRA_EVENTS": str(events_file),
    }
    tasks = run_module(tmp_path, "run_and_show", "assets", kendra=local_kendra, env=env)

    assert {task["state"] for task in tasks.values()} == {"success"}
    events = json.loads(events_file.read_text())
    jobs = local_kendra.client().list_data_source_sync_jobs(IndexId=index_id, Id=data_source_id)["History"]
    _, second, first = (job["ExecutionId"] for job in jobs)
    given = {
        task_id: [job["execution_id"] for job in extra["payload"]["sync_jobs"]]
        for task_id, extra in events[f"kendra://us-east-1/{index_id}/{data_source_id}"].items()
        if extra
    }
    of_first = {task_id: [first] for task_id in ("wait", "wait_deferred", "stop", "metrics")}
    of_second = {task_id: [second] for task_id in ("start_deferred", "fresh", "fresh_deferred")}
    assert given == of_first | of_second
    assert events[f"kendra://eu-west-1/{index_id}/{data_source_id}"] == {}

    links = {task_id: {name for name, url in task["links"].items() if url} for task_id, task in tasks.items()}
    for_index, for_job = {"Kendra index"}, {"Kendra index", "Sync job logs"}
    assert links.pop("read") == set()
    assert links.pop("wait_without_xcom") == set()
    assert {task_id for task_id, shown in links.items() if shown == for_index} == {"list", "fresh", "fresh_deferred"}
    assert all(shown in (for_index, for_job) for shown in links.values())
    assert tasks["wait_deferred"]["links"]["Kendra index"].endswith(f"region=us-east-1#indexes/{index_id}")
