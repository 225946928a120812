"""In real Airflow: documents fail, are hidden by a green sync, and are resolved; mapped tasks name their own."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_kendra.testing import LocalKendra
from tests.integration.conftest import RunDag

pytestmark = pytest.mark.slow

NAMES = ["handbook.pdf", "holidays.html", "travel.docx", "expenses.txt"]


def read_unwrapped(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was printed as one line without colours, since Airflow 3.0 wraps and colours tracebacks."""
    return " ".join(re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).split())


class Nights:
    """A data source whose documents are synced by the DAG ``documents``, once a night."""

    def __init__(self, kendra: LocalKendra, run_dag: RunDag, capsys: pytest.CaptureFixture[str]) -> None:
        self.kendra, self._run_dag, self._capsys = kendra, run_dag, capsys
        kendra.client("s3").create_bucket(Bucket="documents")
        kendra.set_sync_duration(0)
        index_id = kendra.create_index()
        self.ids = index_id, kendra.create_s3_data_source(index_id, "documents")
        self.night = 0

    def write(self, version: str, *names: str) -> None:
        for name in names:
            self.kendra.client("s3").put_object(Bucket="documents", Key=name, Body=f"{name}, {version}".encode())

    def run(self) -> tuple[dict[str, str], str]:
        """Run the DAG; return the states of its tasks, and their logs."""
        self.night += 1
        self.kendra.set_clock(datetime.now(UTC) - timedelta(days=4 - self.night))
        env = {"KENDRA_INDEX_ID": self.ids[0], "KENDRA_DATA_SOURCE_ID": self.ids[1]}
        tasks = self._run_dag(self.kendra, "documents", env=env)
        return {task_id: task["state"] for task_id, task in tasks.items()}, read_unwrapped(self._capsys)


def test_the_gate_fails_on_what_a_green_sync_hides_and_passes_once_it_is_resolved(
    local_kendra: LocalKendra, run_dag: RunDag, capsys: pytest.CaptureFixture[str]
) -> None:
    nights = Nights(local_kendra, run_dag, capsys)
    failing = [f"s3://documents/{name}" for name in NAMES[:3]]
    nights.write("first", *NAMES)
    local_kendra.fail_documents(*nights.ids, failing, times=1, reason="Access Denied")

    states, logs = nights.run()
    assert states == {"sync": "success", "gate": "failed", "show": "success"}
    assert "3 documents failed: s3://documents/handbook.pdf" in logs
    assert f"LATER: {sorted(failing)}" in logs

    states, logs = nights.run()
    assert states == {"sync": "success", "gate": "failed", "show": "success"}
    assert "Sync SUCCEEDED: 4 scanned (sync job" in logs
    reason = "Thresholds not met: 3 documents are missing after failing in an earlier sync (max_missing_documents=0)"
    assert f"{reason}. Missing: s3:" in logs
    for document in failing:
        assert f"{document} (crawl: Access Denied)" in logs
    assert "LATER: None" in logs

    nights.write("second", *NAMES[:3])
    states, logs = nights.run()
    assert states == dict.fromkeys(["sync", "gate", "show"], "success")
    assert "3 added" in logs


def test_mapped_tasks_name_and_push_those_of_their_own_data_source(
    local_kendra: LocalKendra, run_dag: RunDag, capsys: pytest.CaptureFixture[str]
) -> None:
    index_id = local_kendra.create_index()
    local_kendra.client("s3").create_bucket(Bucket="documents")
    sources = [local_kendra.create_s3_data_source(index_id, "documents", name=name) for name in ("a", "b", "c")]
    local_kendra.set_sync_duration(0)
    for number, source in enumerate(sources):
        names = [f"{number}-{name}" for name in "abc"]
        local_kendra.set_documents(index_id, source, [{"id": name, "text": name} for name in names])
        local_kendra.fail_documents(index_id, source, names[:number], reason="Access Denied")
    env = {"KENDRA_INDEX_ID": index_id, "KENDRA_DATA_SOURCE_IDS": json.dumps(sources)}
    run_dag(local_kendra, "documents_of_each", env=env)
    logs = read_unwrapped(capsys)
    for task_id in ("start", "wait", "reschedule", "reject"):
        assert f"OF EACH: {task_id} [['1-a'], ['2-a', '2-b']]" in logs
    assert ". Failed: 1-a (crawl: Access Denied)" in logs
    assert ". Failed: 2-a (crawl: Access Denied); 2-b (crawl: Access Denied)" in logs
