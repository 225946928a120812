"""A later try resumes the sync of a lost one, and only a kill or time-out of the task that owns a sync stops it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import certifi
import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred
from botocore.exceptions import ConnectionClosedError

from airflow_provider_kendra._stopping import Stopped, StopState
from airflow_provider_kendra._waiting.history import Page
from airflow_provider_kendra.exceptions import (
    KendraError,
    KendraRequestError,
    KendraSyncJobAlreadyRunningError,
    KendraSyncJobFailedError,
    KendraSyncJobNotFoundError,
    KendraSyncJobTimeoutError,
)
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from tests.conftest import DataSource, listed
from tests.task_runs import BEGIN, Store, TaskRun, XComs

START, STOP, LIST = "StartDataSourceSyncJob", "StopDataSourceSyncJob", "ListDataSourceSyncJobs"

POLL_INTERVAL = 30.0

IS_RESUMED = AIRFLOW_V_3_3_PLUS
needs_store = pytest.mark.skipif(not IS_RESUMED, reason="there is no task state store before Airflow 3.3")
"""Whether a lost try is resumed; before Airflow 3.3 the next one meets its sync as it meets anybody's."""


class Lost(BaseException):
    """The process is gone."""


class LossyStore(Store):
    """A store around whose exchanges something else happens: ``"before set 2"`` and the like."""

    def __init__(self) -> None:
        super().__init__()
        self.happenings: dict[str, Callable[[], object]] = {}
        self._exchanges: dict[str, int] = {}

    def set(self, key: str, value: Any) -> None:
        self._around("set", lambda: super(LossyStore, self).set(key, value))

    def delete(self, key: str) -> None:
        self._around("delete", lambda: super(LossyStore, self).delete(key))

    def _around(self, what: str, exchange: Callable[[], object]) -> None:
        self._exchanges[what] = number = self._exchanges.get(what, 0) + 1
        self.happenings.pop(f"before {what} {number}", lambda: None)()
        exchange()
        self.happenings.pop(f"after {what} {number}", lambda: None)()


class LossyXComs(XComs):
    """A task instance, of which a push can fail once."""

    happening: Callable[[], object] | None = None

    def xcom_push(self, key: str, value: Any) -> None:
        happening, self.happening = self.happening, None
        if happening is not None:
            happening()
        super().xcom_push(key, value)


class Task(TaskRun):
    """A start on a data source; things can happen around its request."""

    store: LossyStore
    xcoms: LossyXComs
    operator_class: type[KendraStartSyncJobOperator] = KendraStartSyncJobOperator

    def __init__(self, source: DataSource, **arguments: Any) -> None:
        self.before_request: Callable[[], object] | None = None
        self.after_request: Callable[[], object] | None = None
        self.source = source
        self._arguments = {"poll_interval": POLL_INTERVAL, **source.as_kwargs, **arguments}
        super().__init__(self._make)
        self.store = LossyStore()
        self.xcoms = LossyXComs()

    def _make(self) -> KendraStartSyncJobOperator:
        operator = self.operator_class(task_id="start", **self._arguments)
        client = operator.hook._single_attempt_client

        def request(**parameters: Any) -> Any:
            self._happen("before_request")
            answer = client.start_data_source_sync_job(**parameters)
            self._happen("after_request")
            return answer

        operator.hook.__dict__["_single_attempt_client"] = SimpleNamespace(
            start_data_source_sync_job=request, stop_data_source_sync_job=client.stop_data_source_sync_job
        )
        return operator

    def _happen(self, name: str) -> None:
        happening, _ = getattr(self, name), setattr(self, name, None)
        if happening is not None:
            happening()

    def lose(self, *_: object) -> None:
        raise Lost

    def fail(self, *_: object) -> None:
        raise RuntimeError("Airflow does not respond")

    def kill(self) -> None:
        """What a SIGTERM does: it interrupts, and goes back to what it interrupted."""
        self.operator.on_kill()

    def end_running(self, status: str = "SUCCEEDED") -> None:
        with suppress(ValueError):  # nothing runs
            self.source.finish(status)

    def end_each(self, every: float = 100) -> None:
        """Let syncs end now and then."""
        for number in range(1, 20):
            self.clock.at(number * every, self.end_running)

    @property
    def syncs(self) -> int:
        return len(self.source.execution_ids())

    @property
    def stops(self) -> int:
        return self.source.kendra.call_count(STOP)


def loses_before_the_baseline_is_kept(task: Task) -> None:
    task.store.happenings["before set 1"] = task.lose


def loses_after_the_baseline_is_kept(task: Task) -> None:
    task.store.happenings["after set 1"] = task.lose


def loses_before_the_request(task: Task) -> None:
    task.before_request = task.lose


def loses_with_the_answer(task: Task) -> None:
    task.after_request = task.lose


def loses_before_the_job_is_kept(task: Task) -> None:
    task.store.happenings["before set 2"] = task.lose


def loses_after_the_job_is_kept(task: Task) -> None:
    task.store.happenings["after set 2"] = task.lose


def loses_when_the_job_has_ended(task: Task) -> None:
    task.store.happenings["before delete 1"] = task.lose


def loses_during_the_wait(task: Task) -> None:
    task.clock.at(70, task.lose)


def loses_while_xcoms_are_pushed(task: Task) -> None:
    task.xcoms.happening = task.lose


def fails_to_push_xcoms(task: Task) -> None:
    task.xcoms.happening = task.fail


LOSSES_AFTER_THE_END = [loses_while_xcoms_are_pushed, fails_to_push_xcoms]
LOSSES_ANYWHERE = [loses_before_the_request, loses_with_the_answer]
LOSSES_AROUND_THE_STORE = [
    loses_before_the_baseline_is_kept,
    loses_after_the_baseline_is_kept,
    loses_before_the_job_is_kept,
    loses_after_the_job_is_kept,
    loses_when_the_job_has_ended,
]


@pytest.fixture(params=["on a worker", "deferred"])
def is_deferrable(request: pytest.FixtureRequest) -> bool:
    return request.param == "deferred"


def record_of(source: DataSource, execution_id: str) -> dict[str, Any]:
    return KendraSyncJobsHook().get_sync_job(*source.ids, execution_id).to_dict()


class TestLostTries:
    @needs_store
    @pytest.mark.parametrize("loses", [*LOSSES_ANYWHERE, *LOSSES_AROUND_THE_STORE])
    def test_a_try_lost_anywhere_is_resumed(self, data_source, loses, is_deferrable):
        task = Task(data_source, deferrable=is_deferrable)
        task.end_each()
        loses(task)
        with pytest.raises(Lost):
            task.run()
        result = task.run()
        assert data_source.execution_ids() == [result["execution_id"]]
        assert result == record_of(data_source, result["execution_id"])

    @needs_store
    @pytest.mark.parametrize("loses", LOSSES_AFTER_THE_END)
    def test_a_sync_whose_record_was_not_published_is_returned_by_the_next_try(self, data_source, loses, is_deferrable):
        task = Task(data_source, deferrable=is_deferrable)
        task.end_each()
        loses(task)
        with pytest.raises((Lost, RuntimeError)):
            task.run()
        assert [task.run()["execution_id"]] == data_source.execution_ids()
        assert not task.store.kept

    @needs_store
    @pytest.mark.parametrize("loses", LOSSES_AFTER_THE_END)
    def test_without_waiting_a_sync_whose_record_was_not_published_is_returned_by_the_next_try(
        self, data_source, loses
    ):
        task = Task(data_source, wait_for_completion=False)
        loses(task)
        with pytest.raises((Lost, RuntimeError)):
            task.run()
        assert [task.run()["execution_id"]] == data_source.execution_ids()
        assert not task.store.kept

    @pytest.mark.parametrize(("status", "syncs"), [("INCOMPLETE", 1 if IS_RESUMED else 2), ("FAILED", 2)])
    def test_a_try_lost_while_it_reads_failed_documents_starts_anew_only_if_the_sync_failed(
        self, data_source, status, syncs, is_deferrable
    ):
        task = Task(data_source, deferrable=is_deferrable, max_documents_failed=5)
        task.clock.at(50, lambda: data_source.finish(status, metrics={"DocumentsFailed": 1}))
        with patch.object(KendraSyncJobsHook, "_describe_failed_documents", side_effect=Lost), pytest.raises(Lost):
            task.run()
        task.end_each(200)
        assert task.run()["status"] == ("INCOMPLETE" if syncs == 1 else "SUCCEEDED")
        assert task.syncs == syncs

    @pytest.mark.parametrize("loses", [loses_with_the_answer, loses_during_the_wait])
    def test_before_airflow_3_3_the_sync_of_a_lost_try_is_waited_out(self, data_source, loses):
        task = Task(data_source)
        task.end_each()
        loses(task)
        with pytest.raises(Lost):
            task.run()
        result = task.run()
        assert task.syncs == (1 if IS_RESUMED else 2)
        assert data_source.execution_ids()[0] == result["execution_id"]

    @pytest.mark.parametrize("policy", ["skip", "fail"])
    def test_before_airflow_3_3_the_sync_of_a_lost_try_is_treated_like_any_other(self, data_source, policy):
        task = Task(data_source, if_running=policy)
        loses_during_the_wait(task)
        with pytest.raises(Lost):
            task.run()
        task.end_each()
        if IS_RESUMED:
            assert data_source.execution_ids() == [task.run()["execution_id"]]
        else:
            with pytest.raises({"skip": AirflowSkipException, "fail": KendraSyncJobAlreadyRunningError}[policy]):
                task.run()

    def test_a_try_that_is_not_durable_is_not_resumed(self, data_source):
        task = Task(data_source, durable=False)
        task.end_each()
        loses_during_the_wait(task)
        with pytest.raises(Lost):
            task.run()
        task.run()
        assert task.syncs == 2
        assert not task.store.kept

    def test_a_resumed_try_pushes_the_same_xcoms(self, data_source):
        undisturbed, resumed = Task(data_source), Task(data_source)
        undisturbed.end_each()
        undisturbed.run()
        resumed.end_each()
        loses_with_the_answer(resumed)
        with pytest.raises(Lost):
            resumed.run()
        resumed.xcoms.pushed.clear()
        resumed.run()
        assert resumed.xcoms.pushed.keys() == undisturbed.xcoms.pushed.keys()

    def test_a_sync_that_succeeded_between_tries_is_the_result(self, data_source):
        task = Task(data_source)
        loses_during_the_wait(task)
        with pytest.raises(Lost):
            task.run()
        data_source.finish()
        task.end_each(10_000)
        result = task.run()
        assert result["status"] == "SUCCEEDED"
        assert task.syncs == (1 if IS_RESUMED else 2)

    def test_a_sync_that_failed_between_tries_is_started_anew(self, data_source):
        task = Task(data_source)
        loses_during_the_wait(task)
        with pytest.raises(Lost):
            task.run()
        data_source.finish("FAILED")
        task.end_each()
        task.run()
        assert task.syncs == 2

    def test_without_waiting_a_sync_that_failed_between_tries_is_not_started_again(self, data_source):
        task = Task(data_source, wait_for_completion=False)
        loses_with_the_answer(task)
        with pytest.raises(Lost):
            task.run()
        data_source.finish("FAILED")
        result = task.run()
        assert task.syncs == (1 if IS_RESUMED else 2)
        assert result["execution_id"] == data_source.execution_ids()[0]

    def test_a_sync_of_a_custom_data_source_is_found_again(self, custom_data_source):
        task = Task(custom_data_source, wait_for_completion=False, if_running="fail")
        loses_with_the_answer(task)
        with pytest.raises(Lost):
            task.run()
        if IS_RESUMED:
            assert custom_data_source.execution_ids() == [task.run()["execution_id"]]
        else:
            with pytest.raises(KendraSyncJobAlreadyRunningError):
                task.run()

    def test_a_task_that_is_cleared_after_success_starts_anew(self, data_source, is_deferrable):
        task = Task(data_source, deferrable=is_deferrable)
        task.end_each()
        first = task.run()["execution_id"]
        assert task.run()["execution_id"] != first

    def test_a_retry_after_a_failed_sync_starts_anew(self, data_source, is_deferrable):
        task = Task(data_source, deferrable=is_deferrable)
        task.clock.at(50, lambda: data_source.finish("FAILED"))
        with pytest.raises(KendraSyncJobFailedError):
            task.run()
        task.end_each()
        task.run()
        assert task.syncs == 2

    def test_a_resumed_try_keeps_the_deadline_of_the_lost_one(self, data_source, is_deferrable):
        task = Task(data_source, timeout=300)
        loses_during_the_wait(task)
        with pytest.raises(Lost):
            task.run()
        lost_at = task.clock.elapsed
        task._arguments["deferrable"] = is_deferrable
        with pytest.raises(KendraSyncJobTimeoutError):
            task.run()
        deadline = 300 if IS_RESUMED else lost_at + 300
        assert deadline <= task.clock.elapsed < deadline + POLL_INTERVAL

    def test_a_sync_started_anew_has_the_full_timeout_of_its_own_try(self, data_source):
        task = Task(data_source, timeout=300)
        loses_before_the_request(task)
        with pytest.raises(Lost):
            task.run()
        task.clock.move_to(1_000)
        task.clock.at(1_200, data_source.finish)
        assert task.run()["status"] == "SUCCEEDED"

    def test_a_sync_of_ours_that_is_being_stopped_is_waited_out(self, data_source, is_deferrable):
        task = Task(data_source)
        loses_during_the_wait(task)
        with pytest.raises(Lost):
            task.run()
        KendraSyncJobsHook().stop_sync_job(*data_source.ids)
        task._arguments["deferrable"] = is_deferrable
        task.clock.at(150, lambda: data_source.finish("ABORTED"))
        task.clock.at(300, data_source.finish)
        result = task.run()
        assert result["execution_id"] == data_source.execution_ids()[0]
        assert task.syncs == 2

    @pytest.mark.parametrize("policy", ["skip", "fail"])
    def test_a_retry_after_a_time_out_waits_for_the_sync_that_it_stopped(self, data_source, policy):
        task = Task(data_source, timeout=60, if_running=policy)
        with pytest.raises(KendraSyncJobTimeoutError):
            task.run()
        task.clock.at(90, lambda: data_source.finish("ABORTED"))
        task.clock.at(110, task.end_running)
        if IS_RESUMED:
            assert task.run()["status"] == "SUCCEEDED"
            assert task.syncs == 2
        else:
            with pytest.raises({"skip": AirflowSkipException, "fail": KendraSyncJobAlreadyRunningError}[policy]):
                task.run()

    def test_after_a_refused_start_a_retry_treats_no_sync_as_ours(self, data_source):
        task = Task(data_source, if_running="fail")
        others = []
        task.before_request = lambda: others.append(data_source.start())
        with pytest.raises(KendraSyncJobAlreadyRunningError):
            task.run()
        data_source.finish()
        task.end_each()
        assert task.run()["execution_id"] not in others

    def test_after_a_denied_start_a_retry_treats_no_sync_as_ours(self, data_source):
        task = Task(data_source)
        data_source.kendra.inject(START, times=1, error="AccessDeniedException")
        with pytest.raises(Exception, match="AccessDenied"):
            task.run()
        others = data_source.start()
        data_source.finish()
        task.end_each()
        assert task.run()["execution_id"] != others

    def test_a_wait_that_aws_denied_is_resumed_by_a_retry(self, data_source):
        task = Task(data_source)
        task.clock.at(70, lambda: data_source.kendra.inject(LIST, times=1, error="AccessDeniedException"))
        with pytest.raises(KendraRequestError):
            task.run()
        task.end_each()
        task.run()
        assert task.syncs == (1 if IS_RESUMED else 2)


MINUTES, DAYS = 60, 24 * 60 * 60


def is_lost_in_the_request(task: Task) -> None:
    """It is in doubt whether the sync was started."""
    loses_with_the_answer(task)
    with pytest.raises(Lost):
        task.run()


def is_lost_in_the_wait(task: Task) -> None:
    loses_during_the_wait(task)
    with pytest.raises(Lost):
        task.run()


@needs_store
class TestOldMemory:
    def test_names_its_data_source_and_its_time(self, data_source):
        task = Task(data_source, timeout=1000)
        is_lost_in_the_request(task)
        known = task.store.get("kendra_sync_job")
        assert {key: known[key] for key in ("index_id", "data_source_id")} == data_source.as_kwargs
        assert known["since"] == BEGIN.isoformat()
        assert known["deadline"] == (BEGIN + timedelta(seconds=1000)).isoformat()

    @pytest.mark.parametrize("lost", [is_lost_in_the_request, is_lost_in_the_wait])
    @pytest.mark.parametrize("is_of_1_0_0", [False, True])
    def test_a_sync_that_has_ended_is_not_returned_days_later(self, data_source, lost, is_of_1_0_0, is_deferrable):
        task = Task(data_source, deferrable=is_deferrable and lost is is_lost_in_the_request)
        lost(task)
        if is_of_1_0_0:
            forget_what_1_0_0_did_not_keep(task)
        data_source.finish()
        task.clock.move_to(3 * DAYS)
        task.clock.at(3 * DAYS + 100, data_source.finish)
        assert task.run()["execution_id"] == data_source.execution_ids()[0]
        assert task.syncs == 2

    @pytest.mark.parametrize(("max_tries", "syncs"), [(0, 1), (1, 2)], ids=["a retry", "a cleared task"])
    def test_a_sync_that_ended_since_is_the_result_of_a_retry_but_not_of_a_cleared_task(
        self, data_source, max_tries, syncs
    ):
        task = Task(data_source, deferrable=True)
        task.xcoms.max_tries = 0  # type: ignore[attr-defined]
        with pytest.raises(TaskDeferred):
            task.execute()  # and a user marks the task as successful
        data_source.finish()
        task.clock.move_to(6 * 3600)
        task.clock.at(6 * 3600 + 100, task.end_running)
        task.xcoms.max_tries = max_tries  # type: ignore[attr-defined]
        task.run()
        assert task.syncs == syncs

    def test_a_first_try_asks_airflow_for_no_memory(self, data_source):
        task = Task(data_source, deferrable=True)
        task.xcoms.try_number = 1  # type: ignore[attr-defined]
        with patch.object(Store, "get", side_effect=AssertionError), pytest.raises(TaskDeferred):
            task.execute()

    def test_a_start_that_gave_up_does_not_return_a_sync_of_others_days_later(self, data_source):
        task = Task(data_source)
        data_source.kendra.inject(START, error="InternalServerException")
        with pytest.raises(KendraError, match="could be started within 60 s"):
            task.run()
        data_source.kendra.clear_faults()
        others = data_source.start()
        data_source.finish()
        task.clock.move_to(3 * DAYS)
        task.clock.at(3 * DAYS + 100, data_source.finish)
        assert task.run()["execution_id"] != others

    @pytest.mark.parametrize("is_of_1_0_0", [False, True])
    @pytest.mark.parametrize(("minutes", "syncs"), [(14, 1), (16, 2)])
    def test_a_sync_in_doubt_that_ended_is_a_result_for_15_minutes(self, data_source, minutes, syncs, is_of_1_0_0):
        task = Task(data_source)
        is_lost_in_the_request(task)
        if is_of_1_0_0:
            forget_what_1_0_0_did_not_keep(task)
        data_source.finish()
        task.clock.move_to(minutes * MINUTES)
        task.clock.at(minutes * MINUTES + 100, task.end_running)
        task.run()
        assert task.syncs == syncs

    @pytest.mark.parametrize("lost", [is_lost_in_the_request, is_lost_in_the_wait])
    def test_a_sync_that_still_runs_is_resumed_days_later_with_the_time_of_this_try(
        self, data_source, lost, is_deferrable
    ):
        task = Task(data_source, timeout=1000)
        lost(task)
        task._arguments["deferrable"] = is_deferrable
        task.clock.move_to(3 * DAYS)
        task.clock.at(3 * DAYS + 900, data_source.finish)
        assert [task.run()["execution_id"]] == data_source.execution_ids()

    def test_a_sync_in_doubt_that_still_runs_is_resumed_until_the_deadline_of_the_try_that_was_lost(self, data_source):
        task = Task(data_source, timeout=3000)
        is_lost_in_the_request(task)
        task.clock.move_to(2000)
        with pytest.raises(KendraSyncJobTimeoutError):
            task.run()
        assert task.syncs == 1
        assert 3000 <= task.clock.elapsed < 3000 + POLL_INTERVAL

    @pytest.mark.parametrize("lost", [is_lost_in_the_request, is_lost_in_the_wait])
    @pytest.mark.parametrize("ends", ["before", "after"])
    def test_memory_about_another_data_source_is_ignored(self, data_source, lost, ends):
        """A Variable, or what the task is mapped over, has changed between two tries."""
        other = replace(data_source, data_source_id=data_source.kendra.create_s3_data_source(
            data_source.index_id, "documents", name="other"
        ))  # fmt: skip
        task = Task(data_source)
        lost(task)
        if ends == "before":
            data_source.finish()
        other.start()
        other.finish()
        task.source = other
        task._arguments |= other.as_kwargs
        task.end_each()
        assert task.run()["execution_id"] == other.execution_ids()[0]
        assert len(other.execution_ids()) == 2

    def test_a_wait_that_failed_as_not_found_is_resumed_by_a_retry(self, data_source):
        task = Task(data_source)
        with (
            patch.object(KendraSyncJobsHook, "_iter_pages", lambda *_, **__: iter([Page([], is_last=True)])),
            pytest.raises(KendraSyncJobNotFoundError),
        ):
            task.run()
        task.end_each()
        assert [task.run()["execution_id"]] == data_source.execution_ids()

    @pytest.mark.parametrize("retries", [1, 2])
    @pytest.mark.parametrize("policy", ["wait", "fail"])
    def test_a_retry_after_a_time_out_waits_for_a_stop_that_takes_a_while(
        self, data_source, is_deferrable, retries, policy
    ):
        """The sync is listed as running for a while after it was told to stop."""
        task = Task(data_source, timeout=300, deferrable=is_deferrable, if_running=policy)
        with patch.object(KendraSyncJobsHook, "stop_sync_job", lambda *_: None):
            for number in range(1, retries + 1):
                with pytest.raises(KendraSyncJobTimeoutError):
                    task.run()
                assert 300 * number <= task.clock.elapsed < (300 + POLL_INTERVAL) * number
        ends = task.clock.elapsed + 150
        task.clock.at(ends, lambda: data_source.finish("ABORTED"))
        task.clock.at(ends + 100, task.end_running)
        assert task.run()["execution_id"] == data_source.execution_ids()[0]
        assert task.syncs == 2


def forget_what_1_0_0_did_not_keep(task: Task) -> None:
    known = task.store.get("kendra_sync_job")
    task.store.set("kendra_sync_job", {key: known[key] for key in ("baseline", "execution_id", "is_ours", "deadline")})


class TestBatches:
    """Of a CUSTOM data source: open until someone stops it."""

    @pytest.fixture
    def source(self, custom_data_source: DataSource) -> DataSource:
        custom_data_source.kendra.set_sync_duration(None)
        return custom_data_source

    @staticmethod
    def stop(source: DataSource) -> None:
        source.client.stop_data_source_sync_job(IndexId=source.index_id, Id=source.data_source_id)

    @needs_store
    @pytest.mark.parametrize("policy", ["wait", "attach", "skip", "fail"])
    def test_a_retry_returns_its_own_open_batch(self, source, policy, is_deferrable):
        task = Task(source, wait_for_completion=False, if_running=policy, deferrable=is_deferrable)
        first = task.run()  # and the worker is lost before Airflow hears of it
        again = task.run()
        assert again["execution_id"] == first["execution_id"]
        assert (task.syncs, task.clock.elapsed) == (1, 0)
        assert not task.deferrals

    @needs_store
    def test_an_own_batch_that_is_still_open_is_returned_days_later(self, source):
        task = Task(source, wait_for_completion=False)
        first = task.run()
        task.clock.move_to(3 * DAYS)
        assert task.run()["execution_id"] == first["execution_id"]

    @pytest.mark.parametrize("loses", [None, loses_with_the_answer])
    @pytest.mark.parametrize("status", ["SUCCEEDED", "INCOMPLETE", "ABORTED", "FAILED"])
    def test_a_batch_that_has_ended_is_not_returned(self, source, loses, status):
        task = Task(source, wait_for_completion=False, if_running="fail")
        if loses is None:
            task.run()
        else:
            is_lost_in_the_request(task)
        source.finish(status)
        again = task.run()
        assert [again["execution_id"], again["status"]] == [source.execution_ids()[0], "SYNCING"]
        assert task.syncs == 2

    @pytest.mark.parametrize("loses", [None, loses_with_the_answer])
    @pytest.mark.parametrize("policy", ["wait", "attach"])
    def test_a_batch_that_is_being_indexed_is_waited_out(self, source, loses, policy, is_deferrable):
        task = Task(source, wait_for_completion=False, if_running=policy, deferrable=is_deferrable)
        if loses is None:
            task.run()
        else:
            is_lost_in_the_request(task)
        self.stop(source)
        assert KendraSyncJobsHook().get_latest_sync_job(*source.ids).status == "SYNCING_INDEXING"
        task.clock.at(100, source.finish)
        again = task.run()
        assert [again["execution_id"], again["status"]] == [source.execution_ids()[0], "SYNCING"]
        assert task.syncs == 2
        assert 100 <= task.clock.elapsed < 100 + POLL_INTERVAL

    def test_a_batch_of_others_is_waited_out_and_the_log_says_what_ends_it(self, source, is_deferrable):
        source.start()
        task = Task(source, wait_for_completion=False, timeout=100, deferrable=is_deferrable)
        said = listen(task)
        with pytest.raises(KendraSyncJobTimeoutError, match="CUSTOM: its sync ends only when someone stops it"):
            task.run()
        assert any("CUSTOM: its sync ends only when someone stops it" in line for line in said)
        assert task.syncs == 1

    def test_a_batch_of_others_that_is_being_indexed_ends_by_itself(self, source, is_deferrable):
        source.start()
        source.show([listed("theirs", "SYNCING_INDEXING")])
        task = Task(source, wait_for_completion=False, timeout=100, deferrable=is_deferrable)
        said = listen(task)
        with pytest.raises(KendraSyncJobTimeoutError) as raised:
            task.run()
        assert "someone stops" not in " ".join([*said, str(raised.value)])

    def test_a_sync_that_is_no_batch_is_started_anew_after_it_was_returned(self, data_source):
        task = Task(data_source, wait_for_completion=False)
        first = task.run()
        data_source.finish()
        assert task.run()["execution_id"] != first["execution_id"]


class TestStartWithoutWaitingOfAnUnknownType:
    @pytest.fixture
    def source(self, data_source):
        data_source.kendra.inject("DescribeDataSource", error="AccessDeniedException")
        return data_source

    def change_to(self, source: DataSource, status: str) -> None:
        source.show([listed(source.execution_ids()[0], status)])

    @pytest.mark.parametrize("status", ["SYNCING_INDEXING", "STOPPING", "SUCCEEDED", "FAILED"])
    @pytest.mark.parametrize("policy", ["wait", "attach", "skip", "fail"])
    def test_a_start_whose_response_is_lost_starts_no_second_sync(self, source, policy, status):
        task = Task(source, wait_for_completion=False, if_running=policy)

        def lose_response() -> None:
            self.change_to(source, status)
            raise ConnectionClosedError(endpoint_url="https://kendra")

        task.after_request = lose_response
        started = task.run()
        assert (started["execution_id"], started["status"]) == (source.execution_ids()[0], status)
        assert (task.syncs, source.kendra.call_count(START)) == (1, 1)

    @needs_store
    @pytest.mark.parametrize("status", ["SYNCING", "SYNCING_INDEXING", "STOPPING", "SUCCEEDED", "FAILED"])
    @pytest.mark.parametrize("policy", ["wait", "fail"])
    def test_a_retry_after_an_xcom_that_was_not_pushed_starts_no_second_sync(self, source, policy, status):
        task = Task(source, wait_for_completion=False, if_running=policy)
        first = task.run()  # and Airflow could not push its result
        self.change_to(source, status)
        assert task.run()["execution_id"] == first["execution_id"]
        assert task.syncs == 1

    @needs_store
    def test_the_log_says_whether_a_sync_was_started_resumed_or_adopted(self, source):
        task = Task(source, wait_for_completion=False)
        lines = listen(task)
        task.run()  # and Airflow could not push its result
        task.run()
        adopting = Task(source, wait_for_completion=False, if_running="attach")
        lines_of_other = listen(adopting)
        adopting.run()
        how = [line.partition(" (")[0] for line in (*lines, *lines_of_other) if "a sync" in line]
        assert how == [
            "Started a sync",
            "Resumed a sync that an earlier try started or adopted",
            "Adopted a sync that was running",
        ]

    def test_the_log_says_that_a_sync_is_that_of_a_lost_response(self, source):
        task = Task(source, wait_for_completion=False)
        lines = listen(task)

        def lose_response() -> None:
            raise ConnectionClosedError(endpoint_url="https://kendra")

        task.after_request = lose_response
        task.run()
        assert any(line.startswith("Found the sync of the start request whose response was lost (") for line in lines)

    def test_a_running_sync_of_others_is_adopted_while_it_is_being_indexed(self, source):
        source.start()
        self.change_to(source, "SYNCING_INDEXING")
        task = Task(source, wait_for_completion=False, if_running="attach")
        assert task.run()["status"] == "SYNCING_INDEXING"
        assert task.syncs == 1


def listen(task: Task) -> list[str]:
    """What the operators of this task log."""
    said: list[str] = []

    def say(text: str, *values: object) -> None:
        said.append(text % values if values else text)

    class Operator(KendraStartSyncJobOperator):
        log: Any = SimpleNamespace(info=say, warning=say)

    task.operator_class = Operator
    return said


class TestDeferralIsPossible:
    @pytest.mark.parametrize(
        "config",
        [{"retries": {"max_attempts": lambda: 1}}, {"read_timeout": timedelta(seconds=5)}, {"tags": {1, 2}},
         {"read_timeout": float("nan")}, {("a", "b"): 1}],
        ids=["a function", "a timedelta", "a set", "no number", "a key that is no text"],
    )  # fmt: skip
    @pytest.mark.parametrize("waits", [True, False])
    def test_arguments_that_cannot_be_serialized_are_rejected_before_the_start(self, data_source, config, waits):
        calls = data_source.kendra.call_count()
        operator = KendraStartSyncJobOperator(
            task_id="start", botocore_config=config, deferrable=True, wait_for_completion=waits, **data_source.as_kwargs
        )
        task = TaskRun(lambda: operator)
        with pytest.raises(
            KendraRequestError,
            match=r"botocore_config (holds|can't be passed)",
        ):
            task.run()
        assert data_source.kendra.call_count() == calls

    def test_a_ca_bundle_may_be_a_path(self, data_source, tmp_path, is_deferrable):
        bundle = tmp_path / "ca.pem"
        bundle.write_text(Path(certifi.where()).read_text())
        task = Task(data_source, verify=bundle, deferrable=is_deferrable)
        task.end_each()
        assert [task.run()["execution_id"]] == data_source.execution_ids()
        for deferred in task.deferrals:
            assert deferred.trigger.serialize()[1]["verify"] == str(bundle)

    def test_all_state_is_stored_in_the_trigger(self, data_source):
        data_source.start()
        task = Task(data_source, deferrable=True)
        task.end_each()
        task.run()
        assert [deferred.kwargs or {} for deferred in task.deferrals] == [{}, {}]


@needs_store
class TestStoreFailures:
    @staticmethod
    def fail() -> None:
        raise RuntimeError("the store does not answer")

    def test_a_start_that_cannot_be_stored_is_not_sent(self, data_source):
        task = Task(data_source)
        task.store.happenings["before set 1"] = self.fail
        with pytest.raises(RuntimeError, match="does not answer"):
            task.run()
        assert task.syncs == 0

    def test_a_store_failure_after_the_start_does_not_fail_the_task(self, data_source):
        task = Task(data_source)
        task.end_each()
        task.store.happenings["before set 2"] = self.fail
        assert [task.run()["execution_id"]] == data_source.execution_ids()

    def test_a_store_failure_at_the_end_does_not_lose_the_result(self, data_source):
        task = Task(data_source)
        task.end_each()
        task.store.happenings["before delete 1"] = self.fail
        assert task.run()["status"] == "SUCCEEDED"

    def test_the_task_works_without_a_store(self, data_source):
        task = Task(data_source)
        task.end_each()
        with task.clock.in_place():
            result = task.operator.execute({"ti": task.xcoms})
        assert result["status"] == "SUCCEEDED"


class TestKillOnAWorker:
    def test_the_client_for_the_stop_needs_no_connection_look_up(self, data_source, monkeypatch):
        look_ups = []
        look_up = KendraSyncJobsHook._look_up_connection

        def counted(hook):
            look_ups.append(hook)
            return look_up(hook)

        monkeypatch.setattr(KendraSyncJobsHook, "_look_up_connection", counted)
        task = Task(data_source)
        task.clock.at(70, task.kill)
        task.clock.at(80, lambda: data_source.finish("ABORTED"))
        with pytest.raises(KendraSyncJobFailedError, match="ABORTED"):
            task.run()
        assert (task.stops, len(look_ups)) == (1, 2)  # the task is made twice

    def test_stops_our_sync(self, data_source):
        task = Task(data_source)
        task.clock.at(70, task.kill)
        task.clock.at(80, lambda: data_source.finish("ABORTED"))
        with pytest.raises(KendraSyncJobFailedError, match="ABORTED"):
            task.run()
        assert task.stops == 1

    def test_twice_stops_it_once(self, data_source):
        task = Task(data_source)
        task.clock.at(70, task.kill)
        task.clock.at(71, task.kill)
        task.clock.at(72, task.lose)
        with pytest.raises(Lost):
            task.run()
        assert task.stops == 1

    def kill_in_the_wait(self, task: Task) -> None:
        task.clock.at(70, task.kill)
        task.clock.at(71, task.lose)
        with pytest.raises(Lost):
            task.run()

    def test_stops_a_sync_that_was_resumed(self, data_source):
        task = Task(data_source)
        loses_after_the_job_is_kept(task)
        if not IS_RESUMED:
            pytest.skip("nothing is resumed before Airflow 3.3")
        with pytest.raises(Lost):
            task.run()
        self.kill_in_the_wait(task)
        assert task.stops == 1

    def test_does_not_stop_an_adopted_sync(self, data_source):
        data_source.start()
        task = Task(data_source, if_running="attach")
        self.kill_in_the_wait(task)
        assert task.stops == 0

    def test_does_not_stop_a_sync_that_may_not_be_ours(self, data_source):
        data_source.kendra.inject(START, times=1, reset="after")
        task = Task(data_source)
        self.kill_in_the_wait(task)
        assert (task.syncs, task.stops) == (1, 0)

    def test_does_not_stop_a_sync_that_is_waited_out(self, data_source):
        data_source.start()
        task = Task(data_source)
        self.kill_in_the_wait(task)
        assert task.stops == 0

    def test_does_not_stop_if_the_type_of_the_data_source_is_unknown(self, data_source):
        data_source.kendra.inject("DescribeDataSource", error="AccessDeniedException")
        task = Task(data_source)
        self.kill_in_the_wait(task)
        assert task.stops == 0

    @pytest.mark.parametrize("fault", [{"body": "not-json"}, {"body": "truncated"}, {"body": "empty"}], ids=str)
    def test_does_not_stop_if_the_type_of_the_data_source_could_not_be_read(self, data_source, fault):
        data_source.kendra.inject("DescribeDataSource", **fault)
        task = Task(data_source, botocore_config={"retries": {"total_max_attempts": 1}})  # whose pauses take real time
        self.kill_in_the_wait(task)
        assert (task.syncs, task.stops) == (1, 0)

    def test_stops_our_sync_though_the_reading_of_the_type_was_throttled_at_first(self, data_source):
        data_source.kendra.inject("DescribeDataSource", error="ThrottlingException", times=3)
        task = Task(data_source, botocore_config={"retries": {"total_max_attempts": 1}})
        self.kill_in_the_wait(task)
        assert task.stops == 1

    def test_does_not_stop_without_stop_on_kill(self, data_source):
        task = Task(data_source, stop_on_kill=False)
        self.kill_in_the_wait(task)
        assert task.stops == 0

    def test_does_not_stop_a_sync_that_others_started_after_ours(self, data_source):
        task = Task(data_source)
        task.clock.at(65, data_source.finish)
        task.clock.at(66, data_source.start)
        self.kill_in_the_wait(task)
        assert task.stops == 0

    @needs_store
    @pytest.mark.parametrize("kept", [None, {"execution_id": "another"}], ids=["nothing", "another sync"])
    def test_does_not_stop_a_sync_that_another_try_has_adopted(self, data_source, kept):
        """Airflow keeps what a task knows by the id of its latest try, so that this one finds it no more."""
        task = Task(data_source)
        task.clock.at(70, lambda: setattr(task.store, "get", lambda *_: kept))
        task.clock.at(71, task.kill)
        task.clock.at(80, task.lose)
        with pytest.raises(Lost):
            task.run()
        assert (task.syncs, task.stops) == (1, 0)

    @needs_store
    def test_does_not_stop_if_the_store_cannot_be_read(self, data_source):
        task = Task(data_source)

        def fail(*_: object) -> None:
            raise ConnectionError("no answer")

        task.clock.at(70, lambda: setattr(task.store, "get", fail))
        task.clock.at(71, task.kill)
        task.clock.at(80, task.lose)
        with pytest.raises(Lost):
            task.run()
        assert task.stops == 0

    def test_does_not_stop_the_sync_of_a_custom_data_source(self, custom_data_source):
        task = Task(custom_data_source, wait_for_completion=False)
        task.after_request = task.kill
        task.run()
        task.kill()
        assert (task.syncs, task.stops) == (1, 0)

    def test_before_there_is_a_sync_does_nothing(self, data_source):
        task = Task(data_source)
        task.kill()
        assert task.stops == 0

    def test_during_the_request_stops_what_it_started(self, data_source, is_deferrable):
        task = Task(data_source, deferrable=is_deferrable)
        task.after_request = task.kill
        task.clock.at(10, task.lose)
        with pytest.raises((Lost, TaskDeferred)):
            task.execute()
        assert (task.syncs, task.stops) == (1, 1)

    @pytest.mark.parametrize("when", ["before set 2", "after set 2"])
    @needs_store
    def test_while_the_sync_is_stored_stops_it(self, data_source, is_deferrable, when):
        """The interrupted code holds the lock of Airflow's messages: nothing is asked."""
        task = Task(data_source, deferrable=is_deferrable)

        def kill() -> None:
            with patch.object(task.store, "get", side_effect=AssertionError("Airflow was asked")):
                task.kill()
            task.lose()

        task.store.happenings[when] = kill
        with pytest.raises(Lost):
            task.execute()
        assert (task.syncs, task.stops) == (1, 1)

    def test_while_the_links_are_stored_stops_the_sync(self, data_source, is_deferrable):
        task = Task(data_source, deferrable=is_deferrable)
        kills = iter([task.kill])
        task.clock.at(10, task.lose)
        shows = patch.object(KendraStartSyncJobOperator, "_show_links", lambda *_, **__: next(kills, lambda: None)())
        with shows, pytest.raises((Lost, TaskDeferred)):
            task.execute()
        assert (task.syncs, task.stops) == (1, 1)

    def test_while_its_client_is_made_prevents_the_start(self, data_source, is_deferrable):
        task = Task(data_source, deferrable=is_deferrable)
        use_short_timeouts = KendraSyncJobsHook._use_short_timeouts

        def interrupted(hook: KendraSyncJobsHook) -> None:
            task.kill()
            use_short_timeouts(hook)

        with (
            patch.object(KendraSyncJobsHook, "_use_short_timeouts", interrupted),
            pytest.raises(KendraError, match="killed before it started"),
        ):
            task.execute()
        assert (task.syncs, task.stops) == (0, 0)
        task.end_each()
        task.run()
        assert task.syncs == 1

    @needs_store
    def test_while_its_client_is_made_stops_a_sync_that_was_resumed(self, data_source, is_deferrable):
        task = Task(data_source)
        is_lost_in_the_wait(task)
        task._arguments["deferrable"] = is_deferrable
        use_short_timeouts = KendraSyncJobsHook._use_short_timeouts

        def interrupted(hook: KendraSyncJobsHook) -> None:
            task.kill()
            use_short_timeouts(hook)

        task.clock.at(task.clock.elapsed + 10, task.lose)
        with patch.object(KendraSyncJobsHook, "_use_short_timeouts", interrupted), pytest.raises((Lost, TaskDeferred)):
            task.execute()
        assert (task.syncs, task.stops) == (1, 1)

    @needs_store
    def test_while_the_start_is_stored_prevents_it_and_leaves_nothing_in_doubt(self, data_source):
        task = Task(data_source)
        task.store.happenings["after set 1"] = task.kill
        with pytest.raises(KendraError, match="killed before it started"):
            task.run()
        assert task.syncs == 0
        assert not task.store.kept

    @needs_store
    def test_is_stored_for_the_retry_which_waits_for_the_end_of_the_sync(self, data_source):
        """The sync is listed as running for a while after it was told to stop."""
        task = Task(data_source)
        with patch.object(KendraSyncJobsHook, "stop_sync_job", lambda *_: None):
            self.kill_in_the_wait(task)
        task.clock.at(150, lambda: data_source.finish("ABORTED"))
        task.clock.at(250, task.end_running)
        assert task.run()["execution_id"] == data_source.execution_ids()[0]
        assert task.syncs == 2

    def test_while_another_sync_is_waited_out_prevents_the_start(self, data_source):
        data_source.start()
        task = Task(data_source)
        task.clock.at(70, task.kill)
        task.clock.at(80, data_source.finish)
        with pytest.raises(KendraError, match="killed before it started"):
            task.run()
        assert task.syncs == 1

    def test_looks_up_no_connection(self, data_source):
        task = Task(data_source)

        def kill_without_connections() -> None:
            with patch.object(KendraSyncJobsHook, "get_connection", side_effect=AssertionError("in a signal handler")):
                task.kill()

        task.clock.at(70, kill_without_connections)
        task.clock.at(71, task.lose)
        with pytest.raises(Lost):
            task.run()
        assert task.stops == 1

    def test_ends_in_time_though_aws_does_not_respond(self, data_source):
        task = Task(data_source)
        answers = threading.Event()

        def stop_late(*_: Any, **__: Any) -> Stopped:
            answers.wait()
            return Stopped(StopState.SENT)

        with (
            patch("airflow_provider_kendra.operators.kendra._KILL_TIMEOUT", 0.01),
            patch.object(KendraSyncJobsHook, "_stop_sync_job_if_running", stop_late),
        ):
            self.kill_in_the_wait(task)
            answers.set()

    def test_a_failed_stop_does_not_hide_the_kill(self, data_source):
        data_source.kendra.inject(STOP, error="AccessDeniedException")
        task = Task(data_source)
        task.clock.at(70, task.kill)
        task.clock.at(80, data_source.finish)
        assert task.run()["status"] == "SUCCEEDED"

    def test_sends_the_stop_before_airflow_sends_sigkill(self, data_source):
        """5 seconds after a SIGTERM on Airflow 3, 60 on Airflow 2: to connect, read the history, and send the stop."""
        hook = KendraSyncJobsHook()
        hook._use_short_timeouts()
        for client in (hook.conn, hook._single_attempt_client):
            config = client.meta.config
            assert config.retries["total_max_attempts"] == 1
            seconds_until_sent = 2 * config.connect_timeout + config.read_timeout
            assert seconds_until_sent < (5 if AIRFLOW_V_3_0_PLUS else 60)


class TestKillWhileDeferred:
    @pytest.mark.parametrize(
        ("arguments", "may_stop"),
        [({}, True), ({"stop_on_kill": False}, False), ({"if_running": "attach"}, False)],
        ids=["our sync", "told not to", "attached"],
    )
    def test_the_trigger_may_stop_only_what_is_ours(self, data_source, arguments, may_stop):
        if "if_running" in arguments:
            data_source.start()
        with pytest.raises(TaskDeferred) as deferred:
            Task(data_source, deferrable=True, **arguments).execute()
        assert deferred.value.trigger.stop_on_kill is may_stop

    def test_the_trigger_may_not_stop_a_sync_that_is_waited_out(self, data_source):
        data_source.start()
        with pytest.raises(TaskDeferred) as deferred:
            Task(data_source, deferrable=True).execute()
        assert deferred.value.trigger.stop_on_kill is False

    def test_the_trigger_may_not_stop_a_sync_of_an_unknown_type(self, data_source):
        data_source.kendra.inject("DescribeDataSource", error="AccessDeniedException")
        with pytest.raises(TaskDeferred) as deferred:
            Task(data_source, deferrable=True).execute()
        assert deferred.value.trigger.stop_on_kill is False


class TestTimeOut:
    @pytest.mark.parametrize(("arguments", "stops"), [({}, 1), ({"stop_on_kill": False}, 0)], ids=["stop", "leave"])
    def test_stops_our_sync_as_a_kill_would(self, data_source, is_deferrable, arguments, stops):
        task = Task(data_source, timeout=100, deferrable=is_deferrable, **arguments)
        with pytest.raises(KendraSyncJobTimeoutError) as raised:
            task.run()
        assert raised.value.job.execution_id == data_source.execution_ids()[0]
        assert task.stops == stops
        assert 100 <= task.clock.elapsed < 100 + POLL_INTERVAL

    def test_does_not_stop_if_the_type_of_the_data_source_is_unknown(self, data_source, is_deferrable):
        data_source.kendra.inject("DescribeDataSource", error="AccessDeniedException")
        task = Task(data_source, timeout=100, deferrable=is_deferrable)
        with pytest.raises(KendraSyncJobTimeoutError):
            task.run()
        assert task.stops == 0

    def test_is_raised_even_if_the_sync_could_not_be_stopped(self, data_source, is_deferrable):
        data_source.kendra.inject(STOP, error="AccessDeniedException")
        task = Task(data_source, timeout=100, deferrable=is_deferrable)
        with pytest.raises(KendraSyncJobTimeoutError):
            task.run()

    @needs_store
    @pytest.mark.parametrize("if_running", ["wait", "skip", "fail"])
    def test_after_a_failed_stop_lets_a_retry_adopt_the_sync(self, data_source, is_deferrable, if_running):
        data_source.kendra.inject(STOP, error="AccessDeniedException")
        task = Task(data_source, timeout=100, deferrable=is_deferrable, if_running=if_running)
        with pytest.raises(KendraSyncJobTimeoutError):
            task.run()
        task.clock.at(task.clock.elapsed + 50, data_source.finish)
        assert [task.run()["execution_id"]] == data_source.execution_ids()

    def test_counts_from_the_first_try_to_the_end_of_all_waiting(self, data_source, is_deferrable):
        data_source.start()
        task = Task(data_source, timeout=100, deferrable=is_deferrable)
        task.clock.at(50, data_source.finish)
        with pytest.raises(KendraSyncJobTimeoutError):
            task.run()
        assert 100 <= task.clock.elapsed < 100 + 2 * POLL_INTERVAL


class TestExecutionTimeoutWhileDeferred:
    """Airflow 2 ends a deferred task at its execution_timeout, without asking the task."""

    @staticmethod
    def task(source: DataSource, execution_timeout: timedelta, **arguments: Any) -> Task:
        task = Task(source, execution_timeout=execution_timeout, **{"deferrable": True, **arguments})
        task.xcoms.start_date = BEGIN  # type: ignore[attr-defined]
        return task

    @pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="Airflow 3 does not enforce it while a task is deferred")
    @pytest.mark.parametrize(("minutes", "left"), [(60, 60), (5, 30)])
    def test_on_airflow_2_the_sync_is_stopped_a_little_before(self, data_source, minutes, left):
        task = self.task(data_source, timedelta(minutes=minutes), timeout=2 * minutes * 60)
        with pytest.raises(
            KendraSyncJobTimeoutError, match=f"execution_timeout .0:{minutes % 60:02}|execution_timeout .1:00"
        ):
            task.run()
        assert task.stops == 1
        assert minutes * 60 - left <= task.clock.elapsed < minutes * 60 - left + POLL_INTERVAL

    @pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="Airflow 3 does not enforce it while a task is deferred")
    def test_on_airflow_2_it_is_not_named_if_timeout_comes_first(self, data_source):
        task = self.task(data_source, timedelta(hours=1), timeout=100)
        with pytest.raises(KendraSyncJobTimeoutError) as raised:
            task.run()
        assert "execution_timeout" not in str(raised.value)
        assert 100 <= task.clock.elapsed < 100 + POLL_INTERVAL

    @pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="Airflow 3 does not enforce it while a task is deferred")
    def test_on_airflow_2_it_also_ends_the_wait_for_another_sync(self, data_source):
        data_source.start()
        task = self.task(data_source, timedelta(minutes=5), timeout=600)
        with pytest.raises(KendraSyncJobTimeoutError, match="execution_timeout"):
            task.run()
        assert task.stops == 0

    @pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 enforces it")
    def test_on_airflow_3_it_does_not_end_the_wait(self, data_source):
        task = self.task(data_source, timedelta(minutes=5))
        task.clock.at(1_000, data_source.finish)
        assert task.run()["status"] == "SUCCEEDED"
