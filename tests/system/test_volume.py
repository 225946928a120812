"""How many XComs a task of each class and mode writes, and how often it calls the api-server."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_kendra.testing import LocalKendra
from tests.conftest import DataSource
from tests.system.deployment import DAGS, NOBODY_IS_LOST, Deployment, wait_until
from tests.xcom_table import XCOM

pytestmark = pytest.mark.system

MAX_ROWS, MAX_CALLS = 6, 15
# Each process of a task costs Airflow's own three calls, and this one has three processes.
# A deferred start has two, and its memory to write, to amend and to delete.
MORE_CALLS = {"start_after_another": 5, "start_deferred": 1}
ENDED_BEFORE = ("metrics", "list")
STOPS = ("stop", "stop_deferred")
RUNNING_BEFORE = (
    *("start_after_another", *STOPS, "sensor", "sensor_deferred", "sensor_from_trigger"),
    *("freshness", "freshness_deferred"),
)
NAMES = ("start", "start_deferred", "start_no_wait", *ENDED_BEFORE, *RUNNING_BEFORE)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with LocalKendra() as kendra:
        kendra.client("s3").create_bucket(Bucket="documents")
        home = tmp_path_factory.mktemp("airflow")
        settings = {**NOBODY_IS_LOST, "AIRFLOW__LOGGING__JSON_LOGS": "True"}
        with Deployment(home, kendra, dags=DAGS / "volume", dag_count=len(NAMES), settings=settings) as airflow:
            yield airflow


class Calls:
    """The calls of tasks that an api-server has logged since this was made, but for heartbeats, which time brings."""

    def __init__(self, log: Path) -> None:
        self._log, self._offset = log, log.stat().st_size

    def counted(self) -> Counter[str]:
        lines = self._log.read_bytes()[self._offset :].decode().splitlines()
        accesses = [json.loads(line) for line in lines if line.startswith("{") and '"/execution/' in line]
        calls = (f"{access['method']} {access['path'].removeprefix('/execution')}" for access in accesses)
        return Counter(_generic(call) for call in calls if not call.endswith("/heartbeat"))

    def until_the_end(self) -> Counter[str]:
        """Count when the last call is in the log, which it is a little later than its effect can be seen."""

        def ended() -> Counter[str] | None:
            counted = self.counted()
            processes = counted["PATCH /task-instances/ID/run"]
            return counted if 0 < processes == counted["PATCH /task-instances/ID/state"] else None

        return wait_until("the task's last call in the log", ended)


def _generic(call: str) -> str:
    """Leave out of a call which task it is about."""
    return re.sub(r"/xcoms/.*/", "/xcoms/", re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", call))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_writes_few_xcoms_and_calls_seldom(
    deployment: Deployment, name: str, record_property: Callable[[str, object], None]
) -> None:
    kendra = deployment.kendra
    index_id = kendra.create_index()
    source = DataSource(kendra, index_id, kendra.create_s3_data_source(index_id, "documents"))
    conf = source.as_kwargs
    if name in RUNNING_BEFORE:
        kendra.set_sync_duration(600)
        conf["execution_id"] = source.start()
    kendra.set_sync_duration(1, 1)
    if name in ENDED_BEFORE:
        source.start()
        source.finish()

    calls = Calls(deployment.api_server.log)
    run = deployment.trigger(name, **conf)
    if name in RUNNING_BEFORE and name not in STOPS:
        before = kendra.call_count("ListDataSourceSyncJobs")
        wait_until("polls", lambda: kendra.call_count("ListDataSourceSyncJobs") > before + 1)
        source.finish()
    run.wait_for("success", "failed")

    found = deployment.query(f"SELECT key FROM {XCOM} WHERE run_id = %s AND dag_id = %s", run.run_id, name)
    rows, counted = sorted(key for (key,) in found), calls.until_the_end()
    record_property("rows", rows)
    record_property("calls", dict(counted))
    print(name, len(rows), counted.total(), json.dumps(counted))
    assert run.state == "success", run.logs()
    assert len(rows) == len(set(rows)) <= MAX_ROWS
    assert 0 < counted.total() <= MAX_CALLS + MORE_CALLS.get(name, 0)
    assert max(count for call, count in counted.items() if "/xcoms/" in call) == 1, "each XCom is written once"
