"""Stopping the running sync, on a worker and deferred."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from botocore.client import BaseClient

from airflow_provider_kendra._calls import LISTING_GRACE, PAUSE
from airflow_provider_kendra._starting import START_GRACE
from airflow_provider_kendra.exceptions import (
    KendraError,
    KendraRequestError,
    KendraSyncJobNotFoundError,
    KendraSyncJobTimeoutError,
)
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import KendraStopSyncJobOperator
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_3_PLUS
from tests.conftest import DataSource, listed
from tests.task_runs import Store, TaskRun

LIST, STOP = "ListDataSourceSyncJobs", "StopDataSourceSyncJob"

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


@contextmanager
def before_calls_of(operation: str, happening: Callable[[], Any]) -> Iterator[None]:
    """Let something happen in front of each call of an operation; what it returns, if anything, is the answer."""
    call = BaseClient._make_api_call

    def make_api_call(client: BaseClient, name: str, request: dict[str, Any]) -> Any:
        answer = happening() if name == operation else None
        return call(client, name, request) if answer is None else answer

    with patch.object(BaseClient, "_make_api_call", make_api_call):
        yield


@contextmanager
def pages_of(*pages: tuple[Sequence[dict[str, Any]], str | None]) -> Iterator[None]:
    """Let the history come in these pages: jobs and token; again and again."""
    unread: list[Any] = []

    def next_page() -> dict[str, Any]:
        unread.extend(pages if not unread else ())
        jobs, token = unread.pop(0)
        return {"History": list(jobs), **({"NextToken": token} if token else {})}

    with before_calls_of(LIST, next_page):
        yield


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

    def test_is_searched_for_a_while_since_it_may_not_be_listed_yet(self, data_source):
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


# --- Which sync, exactly ------------------------------------------------------------------------------------------


class TestOnlyTheNewestRuns:
    def test_an_older_entry_that_still_shows_a_running_status_stops_no_other_sync(self, data_source, is_deferrable):
        data_source.show([listed("new", "SYNCING"), listed("old", "SYNCING")])
        result = stop_on(data_source, execution_id="old", deferrable=is_deferrable).run()
        assert (result["execution_id"], result["status"]) == ("old", "SYNCING")
        assert stops(data_source) == 0

    def test_the_log_says_why_a_stopped_sync_that_is_still_listed_as_running_has_ended(
        self, data_source, is_deferrable
    ):
        said: list[str] = []
        log = SimpleNamespace(info=lambda text, *values: said.append(text % values))
        data_source.show([listed("ours", "STOPPING")])
        task = stop_on(data_source, execution_id="ours", deferrable=is_deferrable)
        task.clock.at(10, lambda: data_source.show([listed("new", "SYNCING"), listed("ours", "STOPPING")]))
        with patch.object(KendraStopSyncJobOperator, "log", log):
            assert task.run()["execution_id"] == "ours"
        why = "The sync will not finish: a newer sync has started, so this one is not running"
        assert said[-1].startswith(why)
        assert not [line for line in said if line.startswith("Sync STOPPING")]

    def test_an_older_entry_that_still_shows_a_running_status_is_not_running(self, data_source):
        data_source.show([listed("new", "SUCCEEDED"), listed("old", "STRANGE")])
        assert stop_on(data_source).run() is None
        assert stops(data_source) == 0

    @pytest.mark.parametrize("execution_id", [None, "running"])
    def test_pages_without_jobs_are_read_past(self, data_source, execution_id):
        """Kendra may send an empty page that has a token for the next one."""
        with pages_of(([], "a"), ([], "b"), ([listed("running", "SYNCING")], None)):
            task = stop_on(data_source, execution_id=execution_id, wait_for_completion=False)
            assert task.run()["execution_id"] == "running"
        assert stops(data_source) == 1

    def test_another_sync_that_starts_before_the_stop_is_sent_goes_on(self, data_source):
        """The status that made the operator stop is old by the time an error has been waited out."""
        ours = data_source.start()
        data_source.kendra.inject(STOP, times=1, error="ThrottlingException")
        task = stop_on(data_source, execution_id=ours)
        task.clock.at(1, lambda: (data_source.finish(), data_source.start()))
        assert task.run()["status"] == "SUCCEEDED"
        assert status_of(data_source) == "SYNCING"


class TestASyncThatIsNotListedYet:
    def test_is_stopped_without_its_id(self, data_source, is_deferrable):
        data_source.kendra.set_listing_delay(4)
        execution_id = data_source.start()
        task = stop_on(data_source, deferrable=is_deferrable)
        task.clock.at(90, lambda: data_source.finish("ABORTED"))
        assert task.run()["execution_id"] == execution_id
        assert stops(data_source) == 1

    def test_is_waited_for_no_longer_than_a_start_takes_to_be_listed(self, data_source):
        task = stop_on(data_source)
        assert task.run() is None
        assert LISTING_GRACE <= task.clock.elapsed <= LISTING_GRACE + PAUSE

    def test_is_stopped_by_a_kill_that_comes_right_after_the_start(self, data_source):
        data_source.kendra.set_listing_delay(2)
        execution_id = data_source.start()
        task = stop_on(data_source)  # for its clock
        with task.clock.in_place():
            assert KendraSyncJobsHook()._stop_sync_job_if_running(*data_source.ids, execution_id).is_ending
        assert stops(data_source) == 1

    def test_is_not_said_to_have_ended_when_it_is_listed_too_late_to_be_stopped(self, data_source):
        data_source.kendra.set_listing_delay(14)
        execution_id = data_source.start()
        task = stop_on(data_source)  # for its clock
        with task.clock.in_place():
            stopped = KendraSyncJobsHook()._stop_sync_job_if_running(*data_source.ids, execution_id)
        assert stops(data_source) == 0
        assert stopped.effect == "The sync is not listed, so no stop was sent; it may still be running"


# --- Errors of the stop request -----------------------------------------------------------------------------------


class TestTheRequest:
    @pytest.mark.parametrize(
        "fault",
        [
            {"error": "ThrottlingException"},
            {"error": "InternalServerException"},
            {"status": 503, "error": "ServiceUnavailable"},
            {"reset": "before"},
            {"reset": "after"},
            {"error": "ConflictException"},
            {"error": "ExpiredTokenException"},
        ],
        ids=lambda fault: "-".join(map(str, fault.values())),
    )
    def test_is_repeated_after_an_error_that_passes(self, data_source, fault, is_deferrable):
        execution_id = data_source.start()
        data_source.kendra.inject(STOP, times=1, **fault)
        task = stop_on(data_source, deferrable=is_deferrable)
        task.clock.at(60, lambda: data_source.finish("ABORTED"))
        assert task.run()["execution_id"] == execution_id
        assert stops(data_source) == (1 if fault.get("reset") == "after" else 2)

    def test_is_given_up_after_a_while_and_retried_by_airflow(self, data_source):
        data_source.start()
        data_source.kendra.inject(STOP, error="ThrottlingException")
        task = stop_on(data_source)
        with pytest.raises(KendraError, match="ThrottlingException") as raised:
            task.run()
        assert not isinstance(raised.value, AirflowFailException)
        assert START_GRACE <= task.clock.elapsed <= START_GRACE + 2 * PAUSE

    def test_that_is_invalid_since_the_sync_has_just_ended_is_no_error(self, data_source):
        execution_id = data_source.start()
        data_source.kendra.inject(STOP, times=1, error="ValidationException")
        with before_calls_of(STOP, data_source.finish):
            assert stop_on(data_source, execution_id=execution_id).run()["status"] == "SUCCEEDED"

    def test_that_is_invalid_while_the_sync_goes_on_fails_without_retries(self, data_source):
        data_source.start()
        data_source.kendra.inject(STOP, error="ValidationException", message="scheduled")
        with pytest.raises(KendraRequestError, match="scheduled"):
            stop_on(data_source).run()

    def test_is_sent_once_for_each_read_of_the_history(self, data_source):
        """botocore would repeat it unseen, and stop what has begun meanwhile."""
        data_source.start()
        data_source.kendra.inject(STOP, times=1, error="InternalServerException")
        task = stop_on(data_source, wait_for_completion=False)
        task.run()
        calls = [call.operation for call in data_source.kendra.calls() if call.operation in (STOP, LIST)]
        assert calls[-4:] == [LIST, STOP, LIST, STOP]


# --- Retries ------------------------------------------------------------------------------------------------------


class Lost(BaseException):
    """The process is gone."""


def lose() -> None:
    raise Lost


class StopRun(TaskRun):
    """A stop whose task instance says which try it is, and when the DAG run began."""

    def __init__(self, source: DataSource, *, has_store: bool = True, **arguments: Any) -> None:
        super().__init__(stop_on(source, **arguments)._make_operator)
        self.has_store = has_store
        self.try_number, self.max_tries = 1, 0
        self.dag_run_began = datetime.now(UTC)

    @property
    def context(self) -> Any:
        ti = self.xcoms
        ti.try_number, ti.max_tries = self.try_number, self.max_tries  # type: ignore[attr-defined]
        store = {"task_state_store": self.store} if self.has_store else {}
        return {"ti": ti, "dag_run": SimpleNamespace(start_date=self.dag_run_began), **store}

    def retry(self) -> None:
        self.try_number += 1

    def clear(self) -> None:
        """What a user does: Airflow lets the next try count as a first one."""
        self.max_tries = self.try_number
        self.try_number += 1

    def lose_while_waiting(self) -> None:
        self.clock.at(70, lose)
        with pytest.raises(Lost):
            self.run()


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="there is no task state store before Airflow 3.3")
class TestRetryWithMemory:
    def test_waits_for_the_sync_that_the_lost_try_stopped(self, data_source, is_deferrable):
        execution_id = data_source.start()
        task = StopRun(data_source, deferrable=False)
        task.lose_while_waiting()
        task.retry()
        task.clock.at(200, lambda: data_source.finish("ABORTED"))
        assert task.run()["execution_id"] == execution_id
        assert stops(data_source) == 1

    def test_leaves_the_next_sync_alone(self, data_source):
        execution_id = data_source.start()
        task = StopRun(data_source)
        task.lose_while_waiting()
        data_source.finish("ABORTED")
        data_source.start()
        task.retry()
        assert task.run()["execution_id"] == execution_id
        assert stops(data_source) == 1
        assert status_of(data_source) == "SYNCING"

    def test_sends_a_stop_that_the_lost_try_only_decided_on(self, data_source):
        execution_id = data_source.start()
        task = StopRun(data_source, wait_for_completion=False)
        with before_calls_of(STOP, lose), pytest.raises(Lost):
            task.run()
        task.retry()
        assert task.run()["execution_id"] == execution_id
        assert stops(data_source) == 1

    def test_of_a_task_that_was_cleared_stops_what_runs_now(self, data_source):
        data_source.start()
        task = StopRun(data_source, wait_for_completion=False)
        task.run()
        data_source.finish("ABORTED")
        second = data_source.start()
        task.clear()
        assert task.run()["execution_id"] == second
        assert stops(data_source) == 2

    def test_of_a_task_that_had_failed_for_good_and_was_cleared_stops_what_runs_now(self, data_source):
        data_source.start()
        task = StopRun(data_source)
        task.lose_while_waiting()
        data_source.finish("ABORTED")
        second = data_source.start()
        task.clear()
        task.clock.at(400, lambda: data_source.finish("ABORTED"))
        assert task.run()["execution_id"] == second

    def test_of_a_task_that_is_about_another_data_source_now_stops_what_runs_there(
        self, data_source, custom_data_source
    ):
        data_source.start()
        task = StopRun(data_source)
        task.lose_while_waiting()
        second = custom_data_source.start()
        task._make_operator = stop_on(custom_data_source, wait_for_completion=False)._make_operator
        task.retry()
        assert task.run()["execution_id"] == second

    def test_a_stop_that_cannot_be_stored_is_not_sent(self, data_source):
        data_source.start()
        task = StopRun(data_source)
        failing = patch.object(Store, "set", side_effect=RuntimeError("the store does not answer"))
        with failing, pytest.raises(RuntimeError, match="does not answer"):
            task.run()
        assert stops(data_source) == 0

    def test_a_store_failure_at_the_end_does_not_lose_the_result(self, data_source):
        data_source.start()
        task = StopRun(data_source, wait_for_completion=False)
        with patch.object(Store, "delete", side_effect=RuntimeError("the store does not answer")):
            assert task.run()["status"] == "SYNCING"

    def test_after_a_time_out_waits_for_the_same_sync(self, data_source, is_deferrable):
        execution_id = data_source.start()
        task = StopRun(data_source, timeout=100, deferrable=is_deferrable)
        with pytest.raises(KendraSyncJobTimeoutError):
            task.run()
        data_source.finish("ABORTED")
        data_source.start()
        task.retry()
        assert task.run()["execution_id"] == execution_id
        assert stops(data_source) == 1

    def test_leaves_the_next_sync_alone_if_the_lost_try_found_its_sync_being_stopped(self, data_source):
        execution_id = data_source.start()
        data_source.client.stop_data_source_sync_job(IndexId=data_source.index_id, Id=data_source.data_source_id)
        task = StopRun(data_source)
        task.lose_while_waiting()
        data_source.finish("ABORTED")
        data_source.start()
        task.retry()
        assert task.run()["execution_id"] == execution_id
        assert stops(data_source) == 1

    @pytest.mark.parametrize("waits", [True, False])
    def test_leaves_the_next_sync_alone_if_a_try_was_lost_while_it_published_its_record(self, data_source, waits):
        execution_id = data_source.start()
        task = StopRun(data_source, wait_for_completion=waits)
        task.clock.at(50, lambda: data_source.finish("ABORTED"))
        with patch.object(KendraStopSyncJobOperator, "_publish_jobs", side_effect=Lost), pytest.raises(Lost):
            task.run()
        task.clock.move_to(60)
        data_source.start()
        task.retry()
        assert task.run()["execution_id"] == execution_id
        assert (stops(data_source), status_of(data_source)) == (1, "SYNCING")

    def test_a_task_that_is_cleared_after_its_success_stops_what_runs_then(self, data_source, is_deferrable):
        data_source.start()
        task = StopRun(data_source, deferrable=is_deferrable)
        task.clock.at(50, lambda: data_source.finish("ABORTED"))
        task.run()
        next_one = data_source.start()
        task.clock.at(150, lambda: data_source.finish("ABORTED"))
        task.clear()
        assert task.run()["execution_id"] == next_one


class TestRetryWithoutMemory:
    """Below Airflow 3.3 nothing can be kept between tries."""

    def test_leaves_the_next_sync_alone_and_says_what_to_do(self, data_source):
        data_source.start()
        task = StopRun(data_source, has_store=False)
        task.lose_while_waiting()
        data_source.finish("ABORTED")
        data_source.start()
        task.retry()
        with pytest.raises(KendraRequestError, match="execution_id"):
            task.run()
        assert stops(data_source) == 1
        assert status_of(data_source) == "SYNCING"

    def test_waits_for_a_sync_that_is_being_stopped(self, data_source):
        execution_id = data_source.start()
        task = StopRun(data_source, has_store=False)
        task.lose_while_waiting()
        task.retry()
        task.clock.at(200, lambda: data_source.finish("ABORTED"))
        assert task.run()["execution_id"] == execution_id
        assert stops(data_source) == 1

    def test_stops_the_only_sync_that_an_earlier_try_can_have_stopped(self, data_source):
        execution_id = data_source.start()
        task = StopRun(data_source, has_store=False, wait_for_completion=False)
        task.retry()
        assert task.run()["execution_id"] == execution_id
        assert stops(data_source) == 1

    def test_with_execution_id_stops_that_sync_in_any_try(self, data_source):
        data_source.start()
        data_source.finish()
        execution_id = data_source.start()
        task = StopRun(data_source, has_store=False, execution_id=execution_id, wait_for_completion=False)
        task.retry()
        assert task.run()["execution_id"] == execution_id
        assert stops(data_source) == 1

    def test_of_a_task_that_was_cleared_stops_what_runs_now(self, data_source):
        data_source.start()
        data_source.finish()
        task = StopRun(data_source, has_store=False, wait_for_completion=False)
        second = data_source.start()
        task.clear()
        assert task.run()["execution_id"] == second

    def test_stops_nothing_if_the_start_of_the_dag_run_is_unknown(self, data_source):
        data_source.start()
        data_source.finish()
        data_source.start()
        task = StopRun(data_source, has_store=False)
        task.dag_run_began = None  # type: ignore[assignment]
        task.retry()
        with pytest.raises(KendraRequestError):
            task.run()
        assert stops(data_source) == 0


# --- CUSTOM data sources ------------------------------------------------------------------------------------------


class TestABatchThatIsBeingIndexed:
    def test_is_not_stopped_again(self, custom_data_source, is_deferrable):
        custom_data_source.kendra.set_sync_duration(None)
        execution_id = custom_data_source.start()
        KendraSyncJobsHook().stop_sync_job(*custom_data_source.ids)
        task = stop_on(custom_data_source, deferrable=is_deferrable)
        task.clock.at(40, custom_data_source.finish)
        assert task.run()["execution_id"] == execution_id
        assert stops(custom_data_source) == 1

    @pytest.mark.parametrize("execution_id", [None, "running"])
    def test_of_another_type_is_stopped(self, data_source, execution_id):
        data_source.show([listed("running", "SYNCING_INDEXING")])
        stop_on(data_source, execution_id=execution_id, wait_for_completion=False).run()
        assert stops(data_source) == 1

    @pytest.mark.parametrize("fault", [{"error": "AccessDeniedException"}, {"body": "not-json"}], ids=str)
    def test_of_an_unknown_type_is_only_waited_for(self, data_source, fault):
        data_source.show([listed("running", "SYNCING_INDEXING")])
        data_source.kendra.inject("DescribeDataSource", **fault)
        stop_on(data_source, wait_for_completion=False).run()
        assert stops(data_source) == 0

    def test_is_not_stopped_again_by_the_hook_either(self, custom_data_source):
        custom_data_source.kendra.set_sync_duration(None)
        execution_id = custom_data_source.start()
        hook = KendraSyncJobsHook()
        hook.stop_sync_job(*custom_data_source.ids)
        assert hook._stop_sync_job_if_running(*custom_data_source.ids, execution_id).is_ending
        assert stops(custom_data_source) == 1

    def test_the_type_is_not_read_while_a_sync_is_crawling(self, data_source):
        data_source.start()
        stop_on(data_source, wait_for_completion=False).run()
        assert data_source.kendra.call_count("DescribeDataSource") == 0
