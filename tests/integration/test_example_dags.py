"""Every example DAG runs to its end, in a real Airflow on the local Kendra."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from airflow_provider_kendra._demo.kendra import example_environment, kendra_schedule, sync_once
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS, AIRFLOW_V_3_3_PLUS
from tests.conftest import DataSource
from tests.integration.conftest import MakeHome, RunDag
from tests.integration.processes import ROOT
from tests.integration.test_triggerer import Airflow
from tests.xcom_table import XCOM

EXAMPLES = ROOT / "example_dags"
ASSET_SCHEDULE = "example_kendra_asset_schedule"
ALERT = "example_kendra_freshness_alert"
SHARED_ASSET = "example_kendra_shared_asset"
SEVERAL = "example_kendra_several_data_sources"
FAILURE_ALERT = "example_kendra_failure_alert"
APPROVAL = "example_kendra_approval"
RETRY_POLICY = "example_kendra_retry_policy"
CAN_ASK = AIRFLOW_V_3_1_PLUS and Version(version("apache-airflow-providers-standard")) >= Version("1.12.2")
SHARED_MODULES = ("kendra_alerts", "kendra_assets")
RUN_AS_IT_IS = (
    "example_kendra_sync",
    "example_kendra_wait_for_scheduled_sync",
    "example_kendra_custom_data_source",
    "example_kendra_freshness_gate",
)

pytestmark = pytest.mark.slow


class Example:
    """The local Kendra as the example DAGs find it in the UI of the demo."""

    def __init__(self, kendra: LocalKendra, run_dag: RunDag) -> None:
        self.kendra = kendra
        self._run_dag = run_dag
        self.environment = example_environment(kendra)
        self.index_id = self.environment["KENDRA_INDEX_ID"]
        self.s3 = self.environment["KENDRA_DATA_SOURCE_ID"]
        self.custom = self.environment["AIRFLOW_VAR_KENDRA_CUSTOM_DATA_SOURCE_ID"]
        (self.wiki,) = json.loads(self.environment["KENDRA_DATA_SOURCES"]).values()

    def run(self, dag_id: str, *options: str, **settings: str) -> dict[str, str]:
        """Run the DAG; returns the states of its tasks."""
        env = {**self.environment, "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES), **settings}
        tasks = self._run_dag(self.kendra, dag_id, *options, env=env)
        return {task_id: task["state"] for task_id, task in tasks.items()}

    def history(self, data_source_id: str) -> list[dict[str, Any]]:
        listed = self.kendra.client().list_data_source_sync_jobs(IndexId=self.index_id, Id=data_source_id)
        return list(listed["History"])

    def sync(self, data_source_id: str, status: str = "SUCCEEDED", **told: Any) -> None:
        """A sync as Kendra's own schedule starts it, which has ended by now."""
        self.kendra.set_sync_duration(None)
        self.kendra.start_scheduled_sync(self.index_id, data_source_id)
        self.kendra.finish_sync_job(self.index_id, data_source_id, status, **told)


@pytest.fixture
def example(local_kendra: LocalKendra, run_dag: RunDag) -> Example:
    return Example(local_kendra, run_dag)


def test_every_example_is_run_here() -> None:
    run_here = (ASSET_SCHEDULE, ALERT, SHARED_ASSET, SEVERAL, FAILURE_ALERT, APPROVAL, RETRY_POLICY)
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted((*RUN_AS_IT_IS, *run_here, *SHARED_MODULES))


def test_example_kendra_sync(example: Example) -> None:
    example.kendra.set_sync_duration(0.1)
    states = example.run("example_kendra_sync")
    assert states == dict.fromkeys(["put_documents", "sync", "check", "publish", "ask"], "success")
    (job,) = example.history(example.s3)
    assert (job["Status"], job["Metrics"]["DocumentsAdded"]) == ("SUCCEEDED", "3")
    (question,) = example.kendra.calls("Query")
    (answer,) = example.kendra.client().query(**question.parameters)["ResultItems"]
    assert answer["DocumentId"].endswith("handbook/holidays.txt")


def test_example_kendra_wait_for_scheduled_sync(example: Example) -> None:
    example.sync(example.s3)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    states = example.run("example_kendra_wait_for_scheduled_sync", f"--logical-date={yesterday.isoformat()}")
    assert states == dict.fromkeys(["wait", "check", "publish"], "success")
    assert example.kendra.call_count("StartDataSourceSyncJob") == 0


def test_example_kendra_custom_data_source(example: Example) -> None:
    example.kendra.set_sync_duration(0.1)
    hook, ids = KendraSyncJobsHook(), (example.index_id, example.custom)
    hook.put_documents(*ids, hook.start_sync_job(*ids), [{"Id": "parking", "Blob": b"Behind the house."}])
    hook.stop_sync_job(*ids)
    example.kendra.advance_clock(1)
    states = example.run("example_kendra_custom_data_source")
    put = ["put_documents[holidays, expenses]", "put_documents[travel]"]
    tasks = ["start", "find_documents", "delete_documents", *put, "stop", "check", "publish"]
    assert states == dict.fromkeys(tasks, "success")
    job = example.history(example.custom)[0]
    assert job["Status"] == "SUCCEEDED"
    assert (job["Metrics"]["DocumentsAdded"], job["Metrics"]["DocumentsDeleted"]) == ("3", "1")


def test_example_kendra_freshness_gate(example: Example) -> None:
    example.sync(example.s3, "INCOMPLETE", metrics={"DocumentsFailed": 13})
    for data_source_id in (example.wiki, example.custom):
        example.sync(data_source_id)
    assert example.run("example_kendra_freshness_gate") == dict.fromkeys(["fresh", "answer"], "success")
    looked_at = {call.parameters["Id"] for call in example.kendra.calls("ListDataSourceSyncJobs")}
    assert looked_at == {example.s3, example.wiki, example.custom}


@pytest.mark.skipif(
    AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_PLUS, reason="dag.test() of Airflow 3.0 takes no asset for an active one"
)
def test_example_kendra_several_data_sources_publishes_those_that_went_well(example: Example) -> None:
    example.kendra.set_sync_duration(0.1)
    example.kendra.set_next_outcome(example.index_id, example.wiki, "FAILED")
    states = example.run(SEVERAL, KENDRA_DATA_SOURCES=json.dumps({"handbook": example.s3, "wiki": example.wiki}))
    assert (states["refresh.sync[handbook]"], states["refresh.check[handbook]"]) == ("success", "success")
    assert states["refresh.sync[wiki]"] == "failed"
    assert [job["Status"] for job in (*example.history(example.s3), *example.history(example.wiki))] == [
        "SUCCEEDED",
        "FAILED",
    ]
    assert states["summary"] == "success"


def test_example_kendra_failure_alert_says_why_the_sync_failed(
    example: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    example.kendra.set_sync_duration(0.1)
    why = "The role may not read the bucket"
    example.kendra.set_next_outcome(example.index_id, example.s3, "FAILED", error_message=why)
    assert example.run(FAILURE_ALERT) == {"sync": "failed"}
    (alert,) = (line for line in capsys.readouterr().out.splitlines() if "ALERT: " in line)
    assert f"ALERT: {FAILURE_ALERT}: " in alert
    has_exception = AIRFLOW_V_3_3_PLUS or not AIRFLOW_V_3_0_PLUS  # else only a worker's callbacks have it
    assert (why if has_exception else "the sync failed") in alert


@pytest.mark.skipif(not CAN_ASK, reason="its standard provider asks nobody, or without a time limit")
@pytest.mark.parametrize(
    ("status", "answer", "approve", "publish"),
    [
        ("SUCCEEDED", "", "skipped", "success"),
        ("INCOMPLETE", "Approve", "success", "success"),
        ("INCOMPLETE", "Reject", "success", "skipped"),
    ],
)
def test_example_kendra_approval_publishes_an_incomplete_sync_only_if_somebody_approves(
    example: Example, status: str, answer: str, approve: str, publish: str
) -> None:
    if answer and not AIRFLOW_V_3_3_PLUS:
        pytest.skip("dag.test() does not tell the trigger what was answered before Airflow 3.3")
    example.kendra.set_sync_duration(0.1)
    failed = {"metrics": {"DocumentsFailed": 13}} if status == "INCOMPLETE" else {}
    example.kendra.set_next_outcome(example.index_id, example.s3, status, **failed)
    states = example.run(APPROVAL, *([f"--answer={answer}"] if answer else []))
    assert states == {"sync": "success", "is_complete": "success", "approve": approve, "publish": publish}


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="no retry policies before Airflow 3.3")
def test_example_kendra_retry_policy_does_not_repeat_a_sync_that_takes_too_long(example: Example) -> None:
    example.kendra.set_sync_duration(3600)
    assert example.run(RETRY_POLICY, KENDRA_TIMEOUT="10") == {"sync": "failed"}
    assert [job["Status"] for job in example.history(example.s3)] == ["STOPPING"]


@pytest.mark.parametrize("dag_id", ["example_kendra_freshness_gate", *([ASSET_SCHEDULE] if AIRFLOW_V_3_0_PLUS else [])])
def test_an_example_works_in_the_demo_though_no_other_has_run_there_yet(example: Example, dag_id: str) -> None:
    example.kendra.set_sync_duration(3600)  # sync_once ends its syncs itself
    sync_once(example.kendra, example.environment)
    assert set(example.run(dag_id).values()) == {"success"}


def test_the_demo_has_a_data_source_to_watch(example: Example) -> None:
    source = {"IndexId": example.index_id, "Id": example.s3}
    assert example.kendra.client().describe_data_source(**source)["Type"] == "S3"
    extra = json.loads(example.environment["AIRFLOW_CONN_AWS_DEFAULT"])["extra"]
    assert example.environment["KENDRA_REGION"] == extra["region_name"]
    assert set(example_variables()) <= set(example.environment)


def example_variables() -> set[str]:
    """What the example DAGs read: Airflow Variables in templates, and the environment."""
    code = "".join(path.read_text() for path in EXAMPLES.glob("*.py"))
    variables = {f"AIRFLOW_VAR_{name.upper()}" for name in re.findall(r"var\.value\.(\w+)", code)}
    return variables | set(re.findall(r"environ\.get\(\"(\w+)\"", code))


def test_the_demo_syncs_as_kendras_own_schedule_does(example: Example) -> None:
    example.kendra.set_sync_duration(0.1)
    with kendra_schedule(example.kendra, example.environment, every=0.01):
        while len(example.history(example.s3)) < 3:
            time.sleep(0.05)  # leaves the CPU to the schedule
    assert example.kendra.call_count("StartDataSourceSyncJob") == 0


class Watching:
    """An Airflow with a DAG that is scheduled on an asset, which a watcher updates."""

    def __init__(self, home: Path, source: DataSource, dag_id: str, *others: str, **settings: str) -> None:
        environment = {
            "KENDRA_REGION": "us-east-1",
            "KENDRA_INDEX_ID": source.index_id,
            "KENDRA_DATA_SOURCE_ID": source.data_source_id,
            **settings,
        }
        self.home = home
        (home / "dags").mkdir()
        for name in (dag_id, *SHARED_MODULES, *others):
            shutil.copy(EXAMPLES / f"{name}.py", home / "dags")
        self.airflow = Airflow(home, environment)
        self.source = source

    def start(self) -> None:
        self.airflow.add_connection(self.source.kendra)
        self.airflow.start()

    def sync(self) -> str:
        """A sync that Kendra's own schedule starts, and that has ended by now."""
        execution_id = self.source.kendra.start_scheduled_sync(*self.source.ids)
        self.source.finish()
        return execution_id

    def kept_place(self) -> str | None:
        """The execution id of the newest sync job that is known to have reached the DAG."""
        rows = self.airflow.query("SELECT value FROM asset_state_store")
        return json.loads(rows[0][0])["execution_id"] if rows else None

    def reported(self, task_id: str = "report") -> list[Any]:
        """What each run of the DAG was told of, in order."""
        rows = self.airflow.query(
            f"SELECT value FROM {XCOM} JOIN dag_run USING (dag_id, run_id) "
            f"WHERE key = 'return_value' AND task_id = '{task_id}' ORDER BY dag_run.id"
        )
        values = [json.loads(value) for (value,) in rows]
        return [json.loads(value) if isinstance(value, str) else value for value in values]


@pytest.fixture
def watching(tmp_path: Path, make_home: MakeHome, data_source: DataSource) -> Iterator[Watching]:
    more = (SHARED_ASSET, FAILURE_ALERT) if AIRFLOW_V_3_3_PLUS else ()
    variables = {"AIRFLOW_VAR_KENDRA_INDEX_ID": data_source.index_id, "KENDRA_DEADLINE": "0.1"}
    variables["AIRFLOW_VAR_KENDRA_DATA_SOURCE_ID"] = data_source.data_source_id
    watching = Watching(make_home(tmp_path), data_source, ASSET_SCHEDULE, *more, **variables)
    yield watching
    watching.airflow.stop()


@pytest.fixture
def alerting(tmp_path: Path, make_home: MakeHome, data_source: DataSource) -> Iterator[Watching]:
    alerting = Watching(make_home(tmp_path), data_source, ALERT, KENDRA_MAX_AGE="8", KENDRA_POLL_INTERVAL="5")
    yield alerting
    alerting.airflow.stop()


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="no watchers in Airflow 2")
def test_example_kendra_freshness_alert_notifies_when_an_index_is_stale_and_when_it_has_recovered(
    alerting: Watching,
) -> None:
    source = alerting.source.data_source_id

    def told() -> list[str]:
        lines = [line for lines in alerting.reported("describe") for line in lines]
        return [re.sub(" since [^ ]+", "", line) for line in lines]

    alerting.start()
    alerting.airflow.wait_until("the first alert", lambda: told() == [f"{source} is stale (was None)"])
    alerting.sync()
    recovered = [f"{source} is stale (was None)", f"{source} is fresh (was stale)"]
    alerting.airflow.wait_until("the recovery", lambda: told()[:2] == recovered)
    alerting.airflow.wait_until("the second alert", lambda: f"{source} is stale (was aging)" in told())
    logs = (alerting.home / "logs").rglob("*.log")
    assert any("ALERT: " in log.read_text() for log in logs)


@pytest.mark.skipif(
    not AIRFLOW_V_3_0_PLUS or AIRFLOW_V_3_3_PLUS,
    reason="no watchers in Airflow 2; Airflow 3.3 is tested for more below",
)
def test_example_kendra_asset_schedule_runs_when_a_sync_has_ended(watching: Watching) -> None:
    watching.start()
    kendra = watching.source.kendra
    watching.airflow.wait_until("the watcher's beginning", lambda: kendra.call_count("ListDataSourceSyncJobs") > 1)
    first = watching.sync()
    watching.airflow.wait_until("the run", lambda: watching.reported() == [[first]])


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="a watcher's place is kept from Airflow 3.3 on")
def test_example_kendra_asset_schedule_misses_no_sync_while_the_triggerer_is_down(watching: Watching) -> None:
    before = watching.sync()
    watching.start()
    airflow = watching.airflow
    airflow.wait_until("the watcher's beginning", lambda: watching.kept_place() == before)

    first = watching.sync()
    airflow.wait_until("the first run", lambda: watching.reported() == [[first]])
    airflow.wait_until("the place behind it", lambda: watching.kept_place() == first)

    airflow.kill_triggerer()
    missed = [watching.sync() for _ in range(3)]
    assert watching.reported() == [[first]]
    airflow.start_triggerer()
    airflow.wait_until("the second run", lambda: len(watching.reported()) > 1)
    assert watching.reported() == [[first], missed]
    airflow.wait_until("the place behind it", lambda: watching.kept_place() == missed[-1])

    # The asset is in a second DAG file, as an outlet. So this sync is in two events, of one run or of two.
    airflow.trigger(SHARED_ASSET)
    airflow.wait_until("the sync", lambda: watching.source.kendra.call_count("StartDataSourceSyncJob"))
    # Airflow fails a task that is resumed before the scheduler has heard that its first process is over.
    deferred = re.compile(rf"Received executor event with state success for .*TaskInstanceKey\(dag_id='{SHARED_ASSET}'")
    scheduler_log = watching.home / "scheduler.log"
    airflow.wait_until("the end of its process", lambda: deferred.search(scheduler_log.read_text()))
    watching.source.finish()
    airflow.wait_until("both events", lambda: airflow.query("SELECT COUNT(*) FROM asset_event")[0][0] > 3)
    newest = watching.source.execution_ids()[0]
    airflow.wait_until("the run", lambda: [newest] in watching.reported()[2:])
    airflow.wait_until("the place behind it", lambda: watching.kept_place() == newest)

    # A run that is late.
    airflow.trigger(FAILURE_ALERT)
    logs = watching.home / "logs" / "executor_callbacks"
    airflow.wait_until(
        "the alert", lambda: any("is late" in log.read_text() for log in logs.rglob("*") if log.is_file())
    )
