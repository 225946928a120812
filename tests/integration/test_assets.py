"""In real Airflow: events of assets reach a task that reads them, and the links reach whoever asks the API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS

if TYPE_CHECKING:
    from airflow_provider_kendra.testing import LocalKendra

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture
def source(local_kendra: LocalKendra) -> dict[str, str]:
    """A data source whose syncs take a moment."""
    local_kendra.client("s3").create_bucket(Bucket="documents")
    local_kendra.client("s3").put_object(Bucket="documents", Key="one.txt", Body=b"one")
    local_kendra.set_sync_duration(0.5)
    index_id = local_kendra.create_index()
    return {"index_id": index_id, "data_source_id": local_kendra.create_s3_data_source(index_id, "documents")}


def run_and_show(kendra: LocalKendra, tmp_path: Path, **env: str) -> dict[str, Any]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW"))}
    environment = {
        **inherited,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "tests" / "integration" / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_AWS_DEFAULT": kendra.connection_json,
        "PYTHONPATH": str(ROOT),
        **env,
    }
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "tests.integration.run_and_show", "assets", str(report)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-10_000:]
    shown: dict[str, Any] = json.loads(report.read_text())
    return shown


@pytest.mark.skipif(
    AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_PLUS, reason="dag.test() of Airflow 3.0 takes no asset for an active one"
)
def test_records_reach_a_task_that_reads_the_asset_and_links_the_api(
    local_kendra: LocalKendra, source: dict[str, str], tmp_path: Path
) -> None:
    index_id, data_source_id = source["index_id"], source["data_source_id"]
    events_file = tmp_path / "events.json"

    tasks = run_and_show(
        local_kendra,
        tmp_path,
        KENDRA_INDEX_ID=index_id,
        KENDRA_DATA_SOURCE_ID=data_source_id,
        KENDRA_EVENTS=str(events_file),
    )

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
