"""In real Airflow: what tasks push, and that links go past an XCom backend, each once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_kendra._xcoms import DEFAULT_KEYS
from airflow_provider_kendra.sync_job import RECORD_KEYS
from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_3_PLUS
from tests.integration import processes
from tests.integration.conftest import MakeHome
from tests.integration.scenarios import job

LINKS = {"_link_KendraIndexLink", "_link_KendraSyncJobLogsLink"}
BACKENDS = {
    "none": {},
    # Every value becomes an object in storage; the database has its path.
    "objects": {
        "AIRFLOW__CORE__XCOM_BACKEND": "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "0",
    },
}

pytestmark = pytest.mark.slow


class Recorded:
    """What a run left behind."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.tasks = {(task_id, index): (state, tries) for task_id, index, state, tries in report["tasks"]}
        self.writes = [tuple(write) for write in report["writes"]]

    def of(self, task_id: str, map_index: int = -1) -> list[tuple[str, Any]]:
        return [(key, value) for task, index, key, value in self.writes if (task, index) == (task_id, map_index)]

    def keys(self, task_id: str, map_index: int = -1) -> Counter[str]:
        """How often each key was written, but for links and the documents that failed."""
        others = {*LINKS, "failed_documents"}
        return Counter(key for key, _ in self.of(task_id, map_index) if key not in others)


def run(make_home: MakeHome, home: Path, dag_id: str, backend: str = "none") -> Recorded:
    with LocalKendra() as kendra:
        index_id = kendra.create_index()
        data_source_id = kendra.create_custom_data_source(index_id)
        running = job("mine", "SYNCING", started=15)
        ended = job("mine", "SUCCEEDED", started=15) | {"Metrics": {"DocumentsFailed": "2", "DocumentsScanned": "7"}}
        kendra.set_history(index_id, data_source_id, [running], [running], [ended])
        more = {
            **BACKENDS[backend],
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": (home / "objects").as_uri(),
            "AIRFLOW__CORE__DAGS_FOLDER": str(processes.ROOT / "tests" / "integration" / "dags"),
            "AIRFLOW_CONN_AWS_DEFAULT": kendra.connection_json,
            "KENDRA_INDEX_ID": index_id,
            "KENDRA_DATA_SOURCE_ID": data_source_id,
        }
        environment = processes.environment(make_home(home), **more)
        command = ("tests.integration.run_and_record", dag_id, str(home / "report.json"))
        if BACKENDS[backend] and not AIRFLOW_V_3_3_PLUS:  # it reads which one when it is imported
            done = processes.run_unforked(*command, env=environment)
        else:
            done = processes.run(*command, env=environment, output=home / "output")
    print(done.output[-20_000:])
    assert done.returncode == 0, f"run_and_record ended with {done.returncode}; its output is above"
    assert (home / "objects").exists() == bool(BACKENDS[backend])
    return Recorded(json.loads((home / "report.json").read_text()))


@pytest.fixture(scope="module", params=BACKENDS)
def recorded(request: pytest.FixtureRequest, make_home: MakeHome, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return run(make_home, tmp_path_factory.mktemp("xcoms"), "xcoms", request.param)


def test_the_tasks_end_as_they_should(recorded: Recorded) -> None:
    failed = [task_id for (task_id, _), (state, _) in recorded.tasks.items() if state != "success"]
    assert failed == ["gate"]


def test_each_link_is_written_once_by_each_process_and_is_one(recorded: Recorded) -> None:
    ends = {("mapped", 0), ("mapped", 1), *((name, -1) for name in ("poke", "deferred", "default", "none", "gate"))}
    for task_id, map_index in sorted(ends):
        links = [(key, value) for key, value in recorded.of(task_id, map_index) if key in LINKS]
        assert Counter(key for key, _ in links) == dict.fromkeys(LINKS, 1), (task_id, links)
        assert all(value.startswith("https://us-east-1.console.aws.amazon.com/") for _, value in links)


def test_the_links_are_there_while_a_task_still_polls(recorded: Recorded) -> None:
    keys = [key for key, _ in recorded.of("poke")]
    assert set(keys[:2]) == LINKS


def test_a_task_that_pushes_no_xcoms_writes_none(recorded: Recorded) -> None:
    assert recorded.of("silent") == []


@pytest.mark.parametrize(
    ("task_id", "map_index"), [("default", -1), ("poke", -1), ("deferred", -1), ("gate", -1), ("mapped", 1)]
)
def test_three_keys_are_written_besides_the_record(recorded: Recorded, task_id: str, map_index: int) -> None:
    assert recorded.keys(task_id, map_index) == dict.fromkeys([*DEFAULT_KEYS, "return_value"], 1)


@pytest.mark.parametrize("task_id", ["default", "poke", "deferred", "gate", "none"])
def test_documents_that_failed_are_written_once(recorded: Recorded, task_id: str) -> None:
    [failures] = [value for key, value in recorded.of(task_id) if key == "failed_documents"]
    assert failures


def test_multiple_outputs_selects_the_keys_that_are_written(recorded: Recorded) -> None:
    assert recorded.keys("none") == {"return_value": 1}
    # Airflow 3.0 takes no XCom that is None.
    assert recorded.keys("all").keys() <= {*RECORD_KEYS, "return_value"}
    assert recorded.keys("all").keys() >= {*DEFAULT_KEYS, "documents_scanned", "return_value"}


def test_a_later_task_takes_the_keys_from_the_output(recorded: Recorded) -> None:
    [(key, _)] = recorded.of("take")
    assert key == "return_value"
    assert recorded.tasks["take", -1][0] == "success"


def test_mapped_tasks_that_turn_out_to_start_from_the_trigger_fail_without_retries(
    make_home: MakeHome, tmp_path: Path
) -> None:
    recorded = run(make_home, tmp_path, "mapped_at_run_time")

    assert recorded.tasks["expand_kwargs", 0] == ("failed", 1)
    assert recorded.tasks["expand", 0] == ("failed", 1)
