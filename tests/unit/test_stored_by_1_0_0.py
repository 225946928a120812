"""What version 1.0.0 left in Airflow's database is taken up by this version: an upgrade interrupts no task."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.models.trigger import Trigger
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, TaskDeferred

from airflow_provider_kendra.exceptions import (
    KendraRequestError,
    KendraSyncJobFailedError,
    KendraSyncJobNotFoundError,
    KendraSyncJobRejectedError,
    KendraSyncJobTimeoutError,
)
from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator, KendraStopSyncJobOperator
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_3_PLUS
from tests.conftest import DataSource, listed
from tests.task_runs import BEGIN, TaskRun
from tests.unit.triggers.test_event_trigger import INTERVAL, Triggerer
from tests.unit.triggers.test_event_trigger import Store as WatcherStore
from tests.virtual_time import run_in_virtual_time

STORED = {file.stem: json.loads(file.read_text()) for file in Path(__file__).with_name("stored_by_1_0_0").iterdir()}

needs_store = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow keeps state for tasks from 3.3 on")


def of(source: DataSource, stored: Any) -> Any:
    """What was stored, with the ids of this data source instead of the recorded ones."""
    if isinstance(stored, dict):
        return {of(source, key): of(source, value) for key, value in stored.items()}
    if isinstance(stored, list):
        return [of(source, value) for value in stored]
    if isinstance(stored, str):
        stored = stored.replace("i" * 36, source.index_id).replace('"source"', f'"{source.data_source_id}"')
        return source.data_source_id if stored == "source" else stored
    return stored


def job(number: int, status: str = "SUCCEEDED") -> dict[str, Any]:
    start = BEGIN + timedelta(minutes=number)
    return listed(f"job-{number}", status, StartTime=start, EndTime=None if status == "SYNCING" else start)


def task(source: DataSource, name: str) -> TaskRun:
    """The task whose deferral has this name."""
    makers: dict[str, Any] = {
        "start": lambda: KendraStartSyncJobOperator(task_id="task", deferrable=True, **source.as_kwargs),
        "stop": lambda: KendraStopSyncJobOperator(task_id="task", deferrable=True, **source.as_kwargs),
        "sensor": lambda: KendraSyncJobSensor(
            task_id="task", execution_id="job-1", deferrable=True, **source.as_kwargs
        ),
        "freshness": lambda: KendraDataFreshnessSensor(
            task_id="task", index_id=source.index_id, max_age=3600, deferrable=True
        ),
    }
    return TaskRun(makers[name.split()[0]])


def resume(source: DataSource, name: str, **changed: Any) -> Any:
    """Run the stored trigger to its event, and the task with it and the stored ``next_kwargs`` to its end."""
    stored = of(source, STORED["deferrals"][name])
    path, kwargs = stored["trigger"]
    module, _, trigger = path.rpartition(".")
    return task(source, name).resume(
        TaskDeferred(
            trigger=getattr(import_module(module), trigger)(**_through_the_database({**kwargs, **changed})),
            method_name=stored["method_name"],
            kwargs=stored["kwargs"],
            timeout=timedelta(seconds=stored["timeout"]),
        )
    )


def _through_the_database(kwargs: dict[str, Any]) -> dict[str, Any]:
    encrypt = getattr(Trigger, "encrypt_kwargs", None) or Trigger._encrypt_kwargs
    decrypted: dict[str, Any] = Trigger._decrypt_kwargs(encrypt(kwargs))
    return decrypted


@pytest.fixture(autouse=True)
def _other_connection(data_source: DataSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", data_source.kendra.connection_json)


class TestDeferredTasks:
    @pytest.mark.parametrize("name", [name for name in STORED["deferrals"] if "waits out" not in name])
    def test_a_deferred_task_ends_with_the_record_of_its_job(self, data_source: DataSource, name: str) -> None:
        data_source.show([job(1)])
        result = resume(data_source, name)
        record = result[data_source.data_source_id] if name.startswith("freshness") else result
        assert (record["execution_id"], record["status"]) == ("job-1", "SUCCEEDED")

    def test_a_start_that_waited_another_sync_out_starts_its_own(self, data_source: DataSource) -> None:
        other = data_source.start()
        data_source.finish()
        with pytest.raises(TaskDeferred) as deferred:
            resume(data_source, "start waits out another sync", execution_id=other)
        (own, _) = data_source.execution_ids()
        assert deferred.value.trigger.serialize()[1]["execution_id"] == own

    def test_a_start_that_times_out_stops_its_own_sync(self, data_source: DataSource) -> None:
        own = data_source.start()
        run = task(data_source, "start")
        event = {**of(data_source, STORED["events"]["timed out"])}
        with run.clock.in_place(), pytest.raises(KendraSyncJobTimeoutError):
            run.operator.execute_complete(run.context, event, stoppable=own)
        assert data_source.kendra.call_count("StopDataSourceSyncJob") == 1

    @pytest.mark.parametrize(
        ("event", "of_start", "of_sensor"),
        [
            ("not acceptable", KendraSyncJobFailedError, KendraSyncJobRejectedError),
            ("not found", KendraSyncJobNotFoundError, KendraSyncJobNotFoundError),
            ("refused", KendraRequestError, KendraRequestError),
            ("timed out", KendraSyncJobTimeoutError, AirflowSensorTimeout),
        ],
    )
    def test_an_event_of_failure_fails_the_task_as_it_would_have_then(
        self, data_source: DataSource, event: str, of_start: type[Exception], of_sensor: type[Exception]
    ) -> None:
        payload = of(data_source, STORED["events"][event])
        for name, error, kwargs in (("start", of_start, {"stoppable": None}), ("sensor", of_sensor, {})):
            run = task(data_source, name)
            with run.clock.in_place(), pytest.raises(error):
                run.operator.execute_complete(run.context, payload, **kwargs)

    @pytest.mark.parametrize(
        ("event", "name"), [("succeeded", "start"), ("succeeded", "sensor"), ("fresh", "freshness")]
    )
    def test_an_event_of_success_ends_the_task_with_the_record(
        self, data_source: DataSource, event: str, name: str
    ) -> None:
        payload = of(data_source, STORED["events"][event])
        run = task(data_source, name)
        with run.clock.in_place():
            result = run.operator.execute_complete(run.context, payload)
        assert result == (payload["jobs"] if name == "freshness" else payload["job"])


@needs_store
class TestMemoryOfAStart:
    """It does not say which data source it is about."""

    @staticmethod
    def run(source: DataSource, memory: str, *histories: list[dict[str, Any]]) -> Any:
        run = task(source, "start")
        run.store.set("kendra_sync_job", STORED["memory"][memory])
        source.show(*histories)
        return run.run()

    @pytest.mark.parametrize(
        ("memory", "older"),
        [
            ("a sync was started", []),
            ("another sync was attached to", []),
            ("a start is in doubt", [job(1)]),
            ("a first start is in doubt", []),
        ],
    )
    def test_the_remembered_sync_is_resumed(
        self, data_source: DataSource, memory: str, older: list[dict[str, Any]]
    ) -> None:
        number = len(older) + 1
        running, ended = [job(number, "SYNCING"), *older], [job(number), *older]
        assert self.run(data_source, memory, running, running, ended)["execution_id"] == f"job-{number}"
        assert data_source.kendra.call_count("StartDataSourceSyncJob") == 0

    def test_a_sync_that_this_data_source_does_not_have_is_not_taken_for_its_own(self, data_source: DataSource) -> None:
        run = task(data_source, "start")
        run.store.set("kendra_sync_job", STORED["memory"]["a sync was started"])
        run.clock.at(300, data_source.finish)
        assert [run.run()["execution_id"]] == data_source.execution_ids()


@needs_store
class TestWatchers:
    @pytest.mark.parametrize("name", [name for name in STORED["watchers"] if name.startswith("trigger")])
    def test_a_stored_trigger_is_rebuilt_to_the_same(self, name: str) -> None:
        path, kwargs = STORED["watchers"][name]
        module, _, trigger = path.rpartition(".")
        rebuilt = getattr(import_module(module), trigger)(**_through_the_database(kwargs)).serialize()
        assert rebuilt[0] == path
        assert rebuilt[1].items() >= kwargs.items()

    @pytest.mark.parametrize(
        ("place", "expected"),
        [
            ("state store: nothing has finished yet", {"job-1", "job-2"}),
            ("state store: a job has finished", {"job-2"}),
            ("state store: a job without a start time", {"job-2"}),
        ],
    )
    def test_a_watcher_goes_on_from_its_place(self, data_source: DataSource, place: str, expected: set[str]) -> None:
        first = {**job(1), "StartTime": BEGIN}
        if "without" in place:
            del first["StartTime"]
        store = WatcherStore()
        store.kept = {key: json.dumps(value) for key, value in of(data_source, STORED["watchers"][place]).items()}
        data_source.show([job(2), first])

        async def main() -> list[list[str]]:
            _, kwargs = of(data_source, STORED["watchers"]["trigger"])
            from airflow_provider_kendra.triggers.kendra import KendraSyncJobEventTrigger

            watcher = Triggerer(KendraSyncJobEventTrigger(**kwargs), store)
            await asyncio.sleep(2 * INTERVAL)
            await watcher.kill()
            return watcher.fired

        fired = run_in_virtual_time(main())
        assert {execution_id for event in fired for execution_id in event} == expected


@needs_store
def test_a_stored_dag_is_read() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    dag = DagSerialization.from_dict(STORED["dag"])
    assert {task.task_type for task in dag.task_dict.values()} == {
        "KendraStartSyncJobOperator",
        "KendraStopSyncJobOperator",
        "KendraSyncJobMetricsOperator",
        "KendraListSyncJobsOperator",
        "KendraSyncJobSensor",
        "KendraDataFreshnessSensor",
    }


@needs_store
def test_a_trigger_that_the_scheduler_starts_from_a_stored_dag_takes_its_arguments() -> None:
    from airflow.serialization.decoders import smart_decode_trigger_kwargs
    from airflow.serialization.serialized_objects import DagSerialization

    from airflow_provider_kendra.triggers.kendra import KendraSyncJobTrigger

    start = DagSerialization.from_dict(STORED["dag"]).get_task("wait_from_trigger").start_trigger_args
    kwargs = {
        name: smart_decode_trigger_kwargs(value) for name, value in _through_the_database(start.trigger_kwargs).items()
    }
    assert KendraSyncJobTrigger(**kwargs).serialize()[1].items() >= kwargs.items()
