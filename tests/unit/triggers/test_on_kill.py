"""A user's action on a deferred task stops its sync; nothing else that ends a trigger does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from airflow_provider_kendra.exceptions import KendraError
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator
from airflow_provider_kendra.triggers.kendra import KendraSyncJobTrigger
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from tests.conftest import DataSource

STOP = "StopDataSourceSyncJob"


@contextmanager
def airflow_says(answer: Callable[..., Any]) -> Iterator[None]:
    """Let this answer the question for the states of tasks, as Airflow 3 has it."""
    if not AIRFLOW_V_3_0_PLUS:
        yield
        return
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    with patch.object(RuntimeTaskInstance, "get_task_states", staticmethod(answer)):
        yield


def states(state: str | None, key: str = "start") -> Callable[..., Any]:
    return lambda **asked: {"run": {key: state}}


def kill(trigger: KendraSyncJobTrigger, answer: Callable[..., Any], map_index: int = -1) -> None:
    """Do what a triggerer does when a trigger was cancelled."""
    trigger.task_instance = SimpleNamespace(dag_id="dag", task_id="start", run_id="run", map_index=map_index)
    with airflow_says(answer):
        asyncio.run(trigger.on_kill())


def trigger_on(source: DataSource, execution_id: str, **arguments: Any) -> KendraSyncJobTrigger:
    return KendraSyncJobTrigger(**source.as_kwargs, execution_id=execution_id, **{"stop_on_kill": True, **arguments})


def stops(source: DataSource) -> int:
    return source.kendra.call_count(STOP)


needs_task_states = pytest.mark.skipif(
    not AIRFLOW_V_3_0_PLUS, reason="the state of a task cannot be asked for in Airflow 2, so that nothing is stopped"
)


@needs_task_states
@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed", None])
def test_a_task_that_a_user_ended_or_cleared_stops_its_sync(data_source, state):
    kill(trigger_on(data_source, data_source.start()), states(state))
    assert stops(data_source) == 1


@pytest.mark.parametrize("state", ["deferred", "scheduled", "queued", "running", "up_for_retry", "restarting", "new!"])
def test_a_task_that_goes_on_keeps_its_sync(data_source, state):
    kill(trigger_on(data_source, data_source.start()), states(state))
    assert stops(data_source) == 0


@needs_task_states
def test_a_cleared_task_that_resumes_while_the_connection_is_looked_up_keeps_its_sync(data_source):
    state: list[str | None] = [None]
    make = KendraSyncJobsHook._of

    def resume_meanwhile(*arguments: Any) -> KendraSyncJobsHook:
        state[0] = "running"
        return make(*arguments)

    with patch.object(KendraSyncJobsHook, "_of", resume_meanwhile):
        kill(trigger_on(data_source, data_source.start()), lambda **asked: {"run": {"start": state[0]}})
    assert stops(data_source) == 0


@needs_task_states
@pytest.mark.parametrize(
    ("state", "line"),
    [
        ("running", "Not stopping the sync: the task is running"),
        ("failed", "Could not stop the sync: KendraError: The look-up failed."),
    ],
)
def test_a_failed_look_up_is_reported_only_if_the_sync_was_to_be_stopped(data_source, state, line):
    trigger = trigger_on(data_source, data_source.start())
    lines: list[str] = []

    async def write(line: str, level: str = "info") -> None:
        lines.append(line)

    trigger.write_log = write
    with patch.object(KendraSyncJobsHook, "_of", side_effect=KendraError("The look-up failed.")):
        kill(trigger, states(state))
    assert [each.partition(" (")[0] for each in lines] == [line]
    assert stops(data_source) == 0


def raises(**asked: Any) -> Any:
    raise RuntimeError("Response read out of order")


@pytest.mark.parametrize(
    "answer",
    [raises, lambda **asked: {}, lambda **asked: {"run": {}}, lambda **asked: None],
    ids=["raises", "no run", "no task", "nothing"],
)
def test_a_task_whose_state_cannot_be_found_out_keeps_its_sync(data_source, answer):
    kill(trigger_on(data_source, data_source.start()), answer)
    assert stops(data_source) == 0


def test_without_a_way_to_ask_for_the_state_the_sync_goes_on(data_source):
    trigger = trigger_on(data_source, data_source.start())
    asyncio.run(trigger.on_kill())
    assert stops(data_source) == 0


@needs_task_states
def test_it_asks_for_the_state_of_its_own_task_instance(data_source):
    asked: dict[str, Any] = {}

    def answer(**question: Any) -> Any:
        asked.update(question)
        return {"run": {"start_2": "failed", "start": "deferred", "start_1": "deferred"}}

    kill(trigger_on(data_source, data_source.start()), answer, map_index=2)
    assert asked == {"dag_id": "dag", "task_ids": ["start"], "run_ids": ["run"], "map_index": 2}
    assert stops(data_source) == 1


def test_a_trigger_that_may_not_stop_the_sync_does_not_even_ask(data_source):
    kill(trigger_on(data_source, data_source.start(), stop_on_kill=False), states("failed"))
    assert stops(data_source) == 0


def test_a_trigger_that_waits_for_any_sync_stops_none(data_source):
    data_source.start()
    trigger = KendraSyncJobTrigger(
        **data_source.as_kwargs, started_after="2026-01-31T06:00:00+00:00", stop_on_kill=True
    )
    kill(trigger, states("failed"))
    assert stops(data_source) == 0


def test_the_sync_of_somebody_else_goes_on(data_source):
    ended = data_source.start()
    data_source.finish()
    data_source.start()
    kill(trigger_on(data_source, ended), states("failed"))
    assert stops(data_source) == 0


@needs_task_states
def test_a_sync_that_is_being_stopped_is_not_stopped_again(data_source):
    trigger = trigger_on(data_source, data_source.start())
    kill(trigger, states("failed"))
    kill(trigger, states("failed"))
    assert stops(data_source) == 1


def test_a_custom_data_source_never_gets_a_trigger_that_may_stop_its_sync(custom_data_source):
    operator = KendraStartSyncJobOperator(
        task_id="start", **custom_data_source.as_kwargs, wait_for_completion=False, deferrable=True
    )
    assert operator.execute({})["execution_id"] == custom_data_source.execution_ids()[0]


@needs_task_states
def test_a_cancelled_stop_goes_on_to_its_end(data_source):
    """Airflow cancels a trigger again and again until it has ended."""
    trigger = trigger_on(data_source, data_source.start())
    trigger_is_asked = asyncio.Event()

    async def cancel_meanwhile() -> None:
        killing = asyncio.create_task(trigger.on_kill())
        await trigger_is_asked.wait()
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others)

    def answer(**asked: Any) -> Any:
        loop.call_soon_threadsafe(trigger_is_asked.set)
        return {"run": {"start": "failed"}}

    with asyncio.Runner() as runner, airflow_says(answer):
        loop = runner.get_loop()
        trigger.task_instance = SimpleNamespace(dag_id="dag", task_id="start", run_id="run", map_index=-1)
        runner.run(cancel_meanwhile())
    assert stops(data_source) == 1


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="triggers have no on_kill before Airflow 3.3")
def test_it_is_airflows_own_hook_for_a_users_action():
    from airflow.triggers.base import BaseTrigger

    assert KendraSyncJobTrigger.on_kill is not BaseTrigger.on_kill
    assert asyncio.iscoroutinefunction(BaseTrigger.on_kill)


@needs_task_states
def test_the_client_that_stops_does_not_take_long(data_source):
    hurried: list[KendraSyncJobsHook] = []
    use_short_timeouts = KendraSyncJobsHook._use_short_timeouts

    def note(hook: KendraSyncJobsHook) -> None:
        hurried.append(hook)
        use_short_timeouts(hook)

    with patch.object(KendraSyncJobsHook, "_use_short_timeouts", note):
        kill(trigger_on(data_source, data_source.start()), states("failed"))
    [hook] = hurried
    assert hook.conn.meta.config.read_timeout <= 5
