"""A user acts on a deferred task: its own sync job is stopped, anybody else's is not."""

from __future__ import annotations

import pytest

from tests.system.conftest import SyncedSource
from tests.system.deployment import Deployment, wait_until

pytestmark = pytest.mark.system


@pytest.mark.system_quick
def test_marked_failed_the_task_stops_its_sync(airflow: Deployment, source: SyncedSource) -> None:
    run = airflow.trigger("deferred", **source.as_kwargs)
    run.wait_for_waiting()
    run.mark("failed")
    wait_until("the stop", lambda: source.stops)
    run.wait_for_log("trigger completed")
    assert run.state == "failed"
    assert len(source.stops) == len(source.execution_ids()) == 1


def test_marked_succeeded_the_task_stops_its_sync(airflow: Deployment, source: SyncedSource) -> None:
    run = airflow.trigger("deferred", **source.as_kwargs)
    run.wait_for_waiting()
    run.mark("success")
    wait_until("the stop", lambda: source.stops)
    run.wait_for_log("trigger completed")
    assert run.state == "success"
    assert len(source.stops) == len(source.execution_ids()) == 1


def test_marked_failed_while_running_the_task_stops_its_sync(airflow: Deployment, source: SyncedSource) -> None:
    run = airflow.trigger("poke", **source.as_kwargs)
    run.wait_for_waiting()
    run.mark("failed")
    wait_until("the stop", lambda: source.stops)
    run.wait_for_log("Task killed!")
    assert run.state == "failed"
    assert len(source.stops) == len(source.execution_ids()) == 1


def test_marked_failed_the_task_leaves_a_sync_that_it_has_attached_to(
    airflow: Deployment, source: SyncedSource
) -> None:
    source.start()
    run = airflow.trigger("deferred_attach", **source.as_kwargs)
    run.wait_for_waiting()
    run.mark("failed")
    run.wait_for_log("trigger completed")
    assert source.stops == []


def test_marked_failed_the_task_leaves_a_sync_that_was_in_its_way(airflow: Deployment, source: SyncedSource) -> None:
    source.start()
    run = airflow.trigger("deferred", **source.as_kwargs)
    run.wait_for_waiting()
    run.mark("failed")
    run.wait_for_log("trigger completed")
    assert source.stops == []


def test_marked_failed_the_task_leaves_the_batch_of_a_custom_data_source(
    airflow: Deployment, custom_source: SyncedSource
) -> None:
    custom_source.start()
    run = airflow.trigger("deferred_no_wait", **custom_source.as_kwargs)
    run.wait_for_waiting()
    run.mark("failed")
    run.wait_for_log("trigger completed")
    assert custom_source.stops == []


def test_marked_failed_a_sensor_leaves_the_sync(airflow: Deployment, source: SyncedSource) -> None:
    run = airflow.trigger("sensor", **source.as_kwargs, execution_id=source.start())
    run.wait_for_waiting()
    run.mark("failed")
    run.wait_for_log("trigger completed")
    assert source.stops == []


def test_cleared_the_task_goes_on_with_a_sync_of_its_own(airflow: Deployment, source: SyncedSource) -> None:
    run = airflow.trigger("deferred", **source.as_kwargs)
    run.wait_for_waiting()
    run.clear()
    run.wait_for_log("trigger completed")
    # The new try takes the sync on, unless the trigger has seen the clear before the new try began.
    if source.stops:
        source.finish("ABORTED")
        wait_until("a second sync", lambda: len(source.execution_ids()) == 2)
    run.wait_for("deferred")
    source.finish()
    run.wait_for("success", "failed")
    assert run.state == "success", run.logs()
    assert run.result()["execution_id"] == source.execution_ids()[0]
    assert len(source.execution_ids()) == 1 + len(source.stops)
