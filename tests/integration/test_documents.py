"""In real Airflow: three nights in which documents fail, are hidden by a green sync, and are mended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_kendra.testing import LocalKendra
from tests.integration.conftest import RunDag

pytestmark = pytest.mark.slow

NAMES = ["handbook.pdf", "holidays.html", "travel.docx", "expenses.txt"]


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
        return {task_id: task["state"] for task_id, task in tasks.items()}, self._capsys.readouterr().out


def test_the_gate_fails_on_what_a_green_sync_hides_and_passes_once_it_is_mended(
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
    assert "Thresholds not met: 3 documents are missing since an earlier sync (max_missing_documents=0)" in logs
    for document in failing:
        assert f"{document} (crawl: Access Denied)" in logs
    assert "LATER: None" in logs

    nights.write("second", *NAMES[:3])
    states, logs = nights.run()
    assert states == dict.fromkeys(["sync", "gate", "show"], "success")
    assert "3 added" in logs
