"""Whatever process is lost, a task starts one sync job, and stops it only when someone wants that."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.system.conftest import SyncedSource
from tests.system.deployment import Deployment, Run, wait_until

pytestmark = pytest.mark.system

START = "StartDataSourceSyncJob"


def assert_succeeded_with_newest_sync(run: Run, source: SyncedSource) -> None:
    run.wait_for("success", "failed")
    assert run.state == "success", run.logs()
    result = run.result()
    assert result["execution_id"] == source.execution_ids()[0]
    assert (result["index_id"], result["data_source_id"]) == source.ids
    assert result["status"] == "SUCCEEDED"
    assert result["start_time"] is not None
    assert result["end_time"] is not None
    assert result["documents_scanned"] == 0


def assert_one_sync_that_nobody_stopped(run: Run, source: SyncedSource) -> None:
    """The task has succeeded with the only sync that there ever was."""
    assert_succeeded_with_newest_sync(run, source)
    assert len(source.execution_ids()) == 1, run.logs()
    assert source.stops == []


class TestOfTheTask:
    """A retry takes up what the process that was killed has started."""

    def test_before_the_service_acts_on_the_start_leads_to_one_sync(
        self, airflow: Deployment, source: SyncedSource
    ) -> None:
        # The request is held, and refused when it is too late to matter.
        airflow.kendra.inject(START, times=1, error="ThrottlingException", delay=20)
        run = airflow.trigger("poke", **source.as_kwargs)
        wait_until("the start", lambda: source.starts)
        run.kill_process()
        wait_until("a start by the second try", source.execution_ids)
        run.wait_for_waiting()
        source.finish()
        assert_one_sync_that_nobody_stopped(run, source)

    @pytest.mark.system_quick
    def test_before_the_start_is_answered_leads_to_one_sync(self, airflow: Deployment, source: SyncedSource) -> None:
        airflow.kendra.inject(START, times=1, delay=20)
        run = airflow.trigger("poke", **source.as_kwargs)
        wait_until("the start", source.execution_ids)
        run.kill_process()
        run.wait_for_log("Resumed a sync")
        source.finish()
        assert_one_sync_that_nobody_stopped(run, source)

    def test_before_the_start_is_answered_leads_to_one_sync_of_a_deferrable_task(
        self, airflow: Deployment, source: SyncedSource
    ) -> None:
        airflow.kendra.inject(START, times=1, delay=20)
        run = airflow.trigger("deferred", **source.as_kwargs)
        wait_until("the start", source.execution_ids)
        run.kill_process()
        run.wait_for("deferred")
        source.finish()
        assert_one_sync_that_nobody_stopped(run, source)

    def test_while_it_waits_leads_to_one_sync(self, airflow: Deployment, source: SyncedSource) -> None:
        run = airflow.trigger("poke", **source.as_kwargs)
        run.wait_for_waiting()
        run.kill_process()
        run.wait_for_log("Resumed a sync")
        source.finish()
        assert_one_sync_that_nobody_stopped(run, source)

    def test_whose_sync_ends_before_the_retry_returns_that_sync(
        self, airflow: Deployment, source: SyncedSource
    ) -> None:
        run = airflow.trigger("poke", **source.as_kwargs)
        run.wait_for_waiting()
        run.kill_process()
        source.finish()
        assert_one_sync_that_nobody_stopped(run, source)

    def test_and_its_supervisor_leads_to_one_sync(self, airflow: Deployment, source: SyncedSource) -> None:
        run = airflow.trigger("poke", **source.as_kwargs)
        run.wait_for_waiting()
        process = run.process()
        run.kill_supervisor()
        os.kill(process, signal.SIGKILL)
        run.wait_for_log("Resumed a sync")
        source.finish()
        assert_one_sync_that_nobody_stopped(run, source)

    def test_supervisor_alone_leads_to_one_sync(self, airflow: Deployment, source: SyncedSource) -> None:
        run = airflow.trigger("poke", **source.as_kwargs)
        run.wait_for_waiting()
        run.kill_supervisor()
        run.wait_for_log("Resumed a sync")
        source.finish()
        assert_one_sync_that_nobody_stopped(run, source)

    def test_that_is_not_durable_lets_its_own_sync_end_and_starts_another(
        self, airflow: Deployment, source: SyncedSource
    ) -> None:
        run = airflow.trigger("poke_not_durable", **source.as_kwargs)
        run.wait_for_waiting()
        run.kill_process()
        run.wait_for_log("Another sync is running")
        source.finish()
        wait_until("a second sync", lambda: len(source.execution_ids()) == 2)
        source.finish()
        assert_succeeded_with_newest_sync(run, source)
        assert len(source.execution_ids()) == 2
        assert source.stops == []

    def test_by_sigterm_stops_the_sync_and_the_retry_starts_another(
        self, airflow: Deployment, source: SyncedSource
    ) -> None:
        run = airflow.trigger("poke", **source.as_kwargs)
        run.wait_for_waiting()
        run.terminate_worker()
        wait_until("the stop", lambda: source.stops)
        source.finish("ABORTED")
        wait_until("a second sync", lambda: len(source.execution_ids()) == 2)
        source.finish()
        assert_succeeded_with_newest_sync(run, source)
        assert len(source.execution_ids()) == 2
        assert len(source.stops) == 1


class TestOfTheTriggerer:
    """The wait goes on in whichever triggerer there is."""

    def test_which_starts_again_lets_the_task_succeed(self, airflow: Deployment, source: SyncedSource) -> None:
        run = airflow.trigger("deferred", **source.as_kwargs)
        run.wait_for_waiting()
        airflow.triggerer.kill()
        source.finish()
        airflow.restart()
        assert_one_sync_that_nobody_stopped(run, source)

    def test_that_was_only_frozen_until_another_took_over_stops_nothing(
        self, airflow: Deployment, source: SyncedSource
    ) -> None:
        run = airflow.trigger("deferred", **source.as_kwargs)
        run.wait_for_waiting()
        first = run.triggerer_job()
        airflow.triggerer.freeze_all()
        airflow.other_triggerer.start()
        wait_until("the other triggerer to take over", lambda: run.triggerer_job() not in (None, first))
        airflow.triggerer.thaw()
        run.wait_for_log("Not stopping the sync")
        assert run.state == "deferred"
        source.finish()
        assert_one_sync_that_nobody_stopped(run, source)


class TestOfTheScheduler:
    """A new scheduler makes a new try of tasks that the lost one had started."""

    def test_during_the_wait_of_a_deferred_task_leads_to_one_sync(
        self, airflow: Deployment, source: SyncedSource
    ) -> None:
        run = airflow.trigger("deferred", **source.as_kwargs)
        run.wait_for_waiting()
        airflow.scheduler.kill()
        source.finish()
        airflow.restart()
        assert_one_sync_that_nobody_stopped(run, source)

    @pytest.mark.system_quick
    def test_during_the_wait_of_a_running_task_leads_to_one_sync(
        self, airflow: Deployment, source: SyncedSource
    ) -> None:
        run = airflow.trigger("poke", **source.as_kwargs)
        run.wait_for_waiting()
        process = run.process()
        airflow.scheduler.kill()
        airflow.restart()
        run.wait_for_log("Resumed a sync")
        # The first try runs on until its supervisor hears that it was replaced. If both end at the same moment,
        # Airflow can refuse the second one's XComs, which would make for a third try.
        wait_until("the first try's process to be ended", lambda: not Path(f"/proc/{process}").exists())
        source.finish()
        assert_one_sync_that_nobody_stopped(run, source)


class TestOfTheApiServer:
    """Without it a supervisor ends its task after some failed heartbeats, which is nobody's wish."""

    def test_until_the_task_was_ended_for_it_leads_to_one_sync(self, airflow: Deployment, source: SyncedSource) -> None:
        run = airflow.trigger("poke", **source.as_kwargs)
        run.wait_for_waiting()
        process = run.process()
        airflow.scheduler.freeze()  # without an api-server it would use all retries up
        airflow.api_server.kill_all()
        wait_until("the task's process to be ended", lambda: not Path(f"/proc/{process}").exists())
        airflow.restart()
        run.wait_for_log("Resumed a sync")
        source.finish()
        assert_one_sync_that_nobody_stopped(run, source)


class TestOfAll:
    """As when the machine is lost, with everything but the database."""

    @pytest.mark.parametrize("way", ["poke", "deferred"])
    def test_components_leads_to_one_sync(self, airflow: Deployment, source: SyncedSource, way: str) -> None:
        run = airflow.trigger(way, **source.as_kwargs)
        run.wait_for_waiting()
        for component in airflow.components:
            component.kill_all()
        airflow.restart()
        source.finish()
        assert_one_sync_that_nobody_stopped(run, source)
