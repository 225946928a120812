"""What arrives in a task or watcher from elsewhere is checked: events, memory, cursors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._starting import Starter, check_memory, is_outdated
from airflow_provider_kendra._waiting.cursor import check_cursor
from airflow_provider_kendra._waiting.watcher import FinishedSince
from airflow_provider_kendra.exceptions import KendraStateError
from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator, KendraStopSyncJobOperator
from airflow_provider_kendra.outcomes import Failed, Failure, Satisfied
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor
from airflow_provider_kendra.sync_job import SyncJob
from airflow_provider_kendra.triggers._event_stream import EventProducer
from airflow_provider_kendra.triggers.kendra import KendraSyncJobEventTrigger
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_3_PLUS
from tests.conftest import DataSource, examples
from tests.task_runs import BEGIN, TaskRun
from tests.virtual_time import async_log

INDEX_ID = "i" * 36
IDS = {"index_id": INDEX_ID, "data_source_id": "source"}

TASKS: dict[str, Callable[..., Any]] = {
    "start": lambda **more: KendraStartSyncJobOperator(task_id="t", **IDS, **more),
    "stop": lambda **more: KendraStopSyncJobOperator(task_id="t", execution_id="job", **IDS, **more),
    "sensor": lambda **more: KendraSyncJobSensor(task_id="t", execution_id="job", **IDS, **more),
    "freshness": lambda **more: KendraDataFreshnessSensor(
        task_id="t", index_id=INDEX_ID, data_source_ids="source", max_age=60, **more
    ),
}

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(list(Failure)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def record(execution_id: str = "job", **changed: Any) -> dict[str, Any]:
    job = SyncJob(**IDS, execution_id=execution_id, status="SUCCEEDED", start_time=BEGIN, end_time=BEGIN)
    return {**job.to_dict(), **changed}


def succeeded(**changed: Any) -> dict[str, Any]:
    job = record(**changed)
    return {"failure": None, "message": None, "job": job, "jobs": {"source": job}}


def resume(task: str, event: Any, **more: Any) -> Any:
    run = TaskRun(lambda: TASKS[task](deferrable=True, aws_conn_id=None, region_name="us-east-1", **more))
    with run.clock.in_place():
        return run.operator.execute_complete(run.context, event)


EVENTS = {
    "None": None,
    "a list": [],
    "a text": "succeeded",
    "empty": {},
    "no job": {"failure": None},
    "an unknown failure": {"failure": "bored", "message": "m", "job": None},
    "a failure that is a list": {"failure": [], "message": "m", "job": None},
    "no message": {"failure": "timed_out"},
    "a job that is a list": {"failure": None, "job": [1], "jobs": [1]},
    "an empty job": {"failure": None, "job": {}, "jobs": {"source": {}}},
    "no jobs": {"failure": None, "job": {}, "jobs": {}},
    "another index": succeeded(index_id="j" * 36),
    "another data source": succeeded(data_source_id="other"),
    "a time that is a number": succeeded(start_time=3),
    "a time without a zone": succeeded(end_time="2026-01-31T06:00:00"),
    "a status that is a list": succeeded(status=[]),
    "no status": succeeded(status=None),
    "a count that is text": succeeded(documents_failed="3"),
    "a count of absurd size": succeeded(documents_failed=10**400),
    "an error that is a mapping": succeeded(error_message={}),
    "a job that runs": succeeded(status="SYNCING"),
    "a failure about another data source": {"failure": "timed_out", "message": "m", "job": record(index_id="j" * 36)},
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("task", TASKS)
def test_an_event_that_cannot_be_used_ends_in_one_named_error(task: str, event: str) -> None:
    with pytest.raises(KendraStateError, match="event that resumed this task can't be used"):
        resume(task, EVENTS[event])


@pytest.mark.parametrize("task", ["stop", "sensor"])
def test_an_event_about_another_sync_than_the_one_waited_for_is_refused(task: str) -> None:
    with pytest.raises(KendraStateError, match="a sync that this task did not wait for"):
        resume(task, succeeded(execution_id="other"))


def test_an_event_without_one_of_the_data_sources_is_refused() -> None:
    sensor = KendraDataFreshnessSensor(task_id="t", index_id=INDEX_ID, data_source_ids=["source", "more"], max_age=60)
    with pytest.raises(KendraStateError, match="each of the data sources"):
        sensor.execute_complete({}, succeeded())


@pytest.mark.parametrize("state", [[], 3, {"stoppable": 3}, {"waited_out_until": "soon"}, {"source_type": []}])
def test_a_state_that_no_operator_gave_is_refused(state: Any) -> None:
    with pytest.raises(KendraStateError):
        resume("start", {**succeeded(), "state": state})


@pytest.mark.parametrize("parameter", ["soft_fail", "never_fail"])
@pytest.mark.parametrize("task", ["sensor", "freshness"])
def test_a_sensor_that_is_to_skip_skips_on_an_event_too(task: str, parameter: str) -> None:
    with pytest.raises(AirflowSkipException):
        resume(task, None, **{parameter: True})


def _members(event: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The event with some of its members, or those of its record, replaced by whatever."""
    job = st.fixed_dictionaries({}, optional={key: st.just(value) | ANYTHING for key, value in record().items()})
    members = {key: st.just(value) | ANYTHING for key, value in event.items()} | {"state": ANYTHING}
    members["job"], members["jobs"] = job | ANYTHING, st.fixed_dictionaries({"source": job}) | ANYTHING
    return st.fixed_dictionaries({}, optional=members) | ANYTHING


@pytest.mark.parametrize("task", TASKS)
@given(event=_members({"failure": None, "message": None}))
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
def test_whatever_an_event_is_the_task_ends_with_a_result_or_a_named_error(task: str, event: Any) -> None:
    with suppress(AirflowException):
        resume(task, event)


MEMORIES = {
    "a list": [1],
    "a text": "job",
    "empty": {},
    "no deadline": {"execution_id": "job", "is_ours": True},
    "a deadline that is no time": {"deadline": "soon"},
    "a deadline without a zone": {"deadline": "2026-01-31T06:00:00"},
    "an execution id that is a number": {"deadline": BEGIN.isoformat(), "execution_id": 3},
    "a baseline that is a list": {"deadline": BEGIN.isoformat(), "baseline": []},
    "since that is a number": {"deadline": BEGIN.isoformat(), "since": 3},
    "an owner that is text": {"deadline": BEGIN.isoformat(), "is_ours": "yes"},
}


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow keeps state for tasks from 3.3 on")
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("is_deferrable", [False, True])
def test_a_start_whose_memory_cannot_be_read_starts_nothing(
    data_source: DataSource, monkeypatch: pytest.MonkeyPatch, memory: str, is_deferrable: bool
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", data_source.kendra.connection_json)
    run = TaskRun(lambda: KendraStartSyncJobOperator(task_id="t", deferrable=is_deferrable, **data_source.as_kwargs))
    run.store.set("kendra_sync_job", MEMORIES[memory])
    with pytest.raises(KendraStateError, match=r"can't be read: .*Nothing was started.*durable=False"):
        run.execute()
    assert data_source.kendra.call_count("StartDataSourceSyncJob") == 0


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow keeps state for tasks from 3.3 on")
@pytest.mark.parametrize("memory", [[1], "job", {"execution_id": 3}, {"execution_id": "a\nb"}, {}])
def test_a_stop_whose_memory_cannot_be_read_stops_nothing(
    data_source: DataSource, monkeypatch: pytest.MonkeyPatch, memory: Any
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", data_source.kendra.connection_json)
    data_source.start()
    run = TaskRun(lambda: KendraStopSyncJobOperator(task_id="t", **data_source.as_kwargs))
    scope = {**data_source.as_kwargs, "max_tries": None}
    run.store.set("kendra_stop", {**scope, **memory} if isinstance(memory, dict) else memory)
    with pytest.raises(KendraStateError, match=r"Nothing was stopped.*execution_id"):
        run.execute()
    assert data_source.kendra.call_count("StopDataSourceSyncJob") == 0


@given(memory=st.dictionaries(st.sampled_from(["deadline", "since", "execution_id", "baseline", "is_ours"]), ANYTHING))
def test_a_memory_that_passes_the_check_can_be_used(memory: Any) -> None:
    try:
        checked = check_memory(memory)
    except ValueError:
        return
    is_outdated(checked, BEGIN, BEGIN - BEGIN)
    Starter(memory=checked).next_step([], 0)


@given(cursor=st.fixed_dictionaries({}, optional=dict.fromkeys(("execution_id", "start_time", "recent"), ANYTHING)))
def test_a_cursor_that_passes_the_check_can_be_used(cursor: Any) -> None:
    try:
        checked = check_cursor(cursor)
    except ValueError:
        return
    FinishedSince(checked)


@pytest.mark.parametrize(
    "stored", [[], "job\n", 3, {"execution_id": 3}, {"execution_id": "e", "start_time": "\x1b" * 9}]
)
def test_a_watcher_whose_cursor_cannot_be_read_says_so_in_one_line_and_begins_from_now(
    stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = KendraSyncJobEventTrigger(**IDS)
    lines: list[str] = []

    class Store:
        def get(self, key: str) -> Any:
            return json.loads(json.dumps(stored))

    monkeypatch.setattr(trigger, "asset_state_store", Store(), raising=False)
    monkeypatch.setattr(trigger, "write_log", async_log(lambda line: lines.append(line)))
    assert asyncio.run(EventProducer(trigger)._load()) is None
    (line,) = lines
    assert line.startswith("Cannot read the watcher's stored cursor")
    assert line.isprintable()


def test_outcomes_have_messages_that_are_harmless_in_events() -> None:
    failed = Failed(Failure.TIMED_OUT, "late\n[2026] INFO - Marking task as SUCCESS" + "x" * 1_000_000)
    assert str(failed.to_event()["message"]).isprintable()
    assert len(json.dumps(failed.to_event())) < 5_000
    assert isinstance(Satisfied(SyncJob.from_dict(record())), Satisfied)
