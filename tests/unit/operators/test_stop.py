"""Stopping the sync that runs, on a worker and deferred."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_kendra.exceptions import KendraSyncJobNotFoundError, KendraSyncJobTimeoutError
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import KendraStopSyncJobOperator
from airflow_provider_kendra.starting import LISTING_GRACE, PAUSE
from tests.conftest import DataSource
from tests.task_runs import TaskRun

STOP = "StopDataSourceSyncJob"

POLL_INTERVAL = 30.0

UNKNOWN = "12345678-1234-1234-1234-123456789012"


@pytest.fixture(params=["on a worker", "deferred"])
def is_deferrable(request: pytest.FixtureRequest) -> bool:
    return request.param == "deferred"


def stop_on(source: DataSource, **arguments: Any) -> TaskRun:
    told = {**source.as_kwargs, "poll_interval": POLL_INTERVAL, **arguments}
    return TaskRun(lambda: KendraStopSyncJobOperator(task_id="stop", **told))


def stops(source: DataSource) -> int:
    return source.kendra.call_count(STOP)


def status_of(source: DataSource) -> str:
    job = KendraSyncJobsHook().get_latest_sync_job(*source.ids)
    assert job is not None
    return str(job.status)


@pytest.mark.parametrize("status", ["ABORTED", "SUCCEEDED", "FAILED", "INCOMPLETE"])
def test_the_running_sync_is_stopped_and_its_record_returned_whatever_its_end(data_source, status, is_deferrable):
    execution_id = data_source.start()
    task = stop_on(data_source, deferrable=is_deferrable)
    task.clock.at(100, lambda: data_source.finish(status))
    result = task.run()
    assert (result["execution_id"], result["status"]) == (execution_id, status)
    assert stops(data_source) == 1
    assert 100 <= task.clock.elapsed <= 100 + POLL_INTERVAL
    assert len(task.deferrals) == is_deferrable


def test_without_waiting_the_record_as_it_was_is_the_result(data_source, is_deferrable):
    data_source.start()
    task = stop_on(data_source, wait_for_completion=False, deferrable=is_deferrable)
    assert task.run()["status"] == "SYNCING"
    assert status_of(data_source) == "STOPPING"
    assert not task.deferrals


def test_nothing_running_is_a_success(data_source, is_deferrable):
    assert stop_on(data_source, deferrable=is_deferrable).run() is None
    assert stops(data_source) == 0


def test_a_sync_that_has_ended_does_not_count_as_running(data_source):
    data_source.start()
    data_source.finish()
    assert stop_on(data_source).run() is None
    assert stops(data_source) == 0


def test_a_sync_that_is_being_stopped_is_only_waited_for(data_source, is_deferrable):
    data_source.start()
    KendraSyncJobsHook().stop_sync_job(*data_source.ids)
    task = stop_on(data_source, deferrable=is_deferrable)
    task.clock.at(50, lambda: data_source.finish("ABORTED"))
    assert task.run()["status"] == "ABORTED"
    assert stops(data_source) == 1


class TestOnlyThatOne:
    def test_is_stopped_if_it_runs(self, data_source, is_deferrable):
        execution_id = data_source.start()
        task = stop_on(data_source, execution_id=execution_id, deferrable=is_deferrable)
        task.clock.at(50, lambda: data_source.finish("ABORTED"))
        assert task.run()["execution_id"] == execution_id
        assert stops(data_source) == 1

    def test_is_returned_as_it_ended_while_another_goes_on(self, data_source):
        execution_id = data_source.start()
        data_source.finish("FAILED")
        data_source.start()
        result = stop_on(data_source, execution_id=execution_id).run()
        assert (result["execution_id"], result["status"]) == (execution_id, "FAILED")
        assert stops(data_source) == 0
        assert status_of(data_source) == "SYNCING"

    def test_is_looked_for_a_little_longer_since_it_may_not_be_listed_yet(self, data_source):
        data_source.kendra.set_listing_delay(4)
        execution_id = data_source.start()
        task = stop_on(data_source, execution_id=execution_id, wait_for_completion=False)
        assert task.run()["execution_id"] == execution_id
        assert stops(data_source) == 1

    def test_is_an_error_if_there_is_no_such_sync(self, data_source):
        data_source.start()
        task = stop_on(data_source, execution_id=UNKNOWN)
        with pytest.raises(KendraSyncJobNotFoundError, match=UNKNOWN):
            task.run()
        assert LISTING_GRACE <= task.clock.elapsed <= LISTING_GRACE + PAUSE
        assert stops(data_source) == 0

    def test_is_found_deep_in_the_history(self, data_source):
        data_source.show_long_history(25)
        assert stop_on(data_source, execution_id="job-25").run()["execution_id"] == "job-25"


def test_stopping_ends_the_batch_of_a_custom_data_source_and_waits_until_it_is_indexed(
    custom_data_source, is_deferrable
):
    custom_data_source.kendra.set_sync_duration(None)
    execution_id = custom_data_source.start()
    KendraSyncJobsHook().put_documents(*custom_data_source.ids, execution_id, [{"Id": "a", "Blob": b"text"}])
    task = stop_on(custom_data_source, deferrable=is_deferrable)
    task.clock.at(40, custom_data_source.finish)
    result = task.run()
    assert (result["status"], result["documents_added"]) == ("SUCCEEDED", 1)


def test_the_time_out_ends_the_wait(data_source, is_deferrable):
    execution_id = data_source.start()
    task = stop_on(data_source, timeout=100, deferrable=is_deferrable)
    with pytest.raises(KendraSyncJobTimeoutError) as raised:
        task.run()
    assert raised.value.job.execution_id == execution_id
    assert 100 <= task.clock.elapsed < 100 + POLL_INTERVAL


def test_a_stop_that_aws_denies_is_an_error(data_source):
    data_source.start()
    data_source.kendra.inject(STOP, error="AccessDeniedException")
    with pytest.raises(Exception, match="AccessDenied"):
        stop_on(data_source).run()
