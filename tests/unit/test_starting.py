"""
A task starts exactly one sync, whatever happens: under random interleavings, and decision by decision.

The real operator and the real hook drive the state machine, on a fake clock. Kendra is a model, of which the client
shows what the API would; in a sample of the cases the local Kendra answers over HTTP, in step with the model.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import patch

import boto3
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError
from hypothesis import HealthCheck, Phase, event, example, given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._calls import LISTING_GRACE, PAUSE
from airflow_provider_kendra._parameters import IfRunning
from airflow_provider_kendra._starting import (
    START_GRACE,
    Follow,
    GiveUp,
    Refuse,
    Reread,
    Return,
    Send,
    Skip,
    Starter,
    Step,
    WaitOut,
    advance_start,
    already_running,
    check_memory,
    find_out_type,
    is_outdated,
    read_started_job,
)
from airflow_provider_kendra._waiting import sources
from airflow_provider_kendra._waiting import wait as waits
from airflow_provider_kendra._waiting.conditions import sync_job_condition
from airflow_provider_kendra.exceptions import (
    KendraError,
    KendraRequestError,
    KendraSyncJobAlreadyRunningError,
    KendraSyncJobFailedError,
    KendraSyncJobTimeoutError,
)
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator
from airflow_provider_kendra.sync_job import TERMINAL_STATUSES, Acceptance, SyncJob
from airflow_provider_kendra.testing import LocalKendra
from tests.conftest import examples
from tests.task_runs import BEGIN, Clock, Store
from tests.unit.sync_job_calls import ANSWER_LOST, DENIED, EXPIRED_CREDENTIALS, IN_USE, NO_EFFECT, CallError, Calls

INDEX_ID = "12345678-1234-1234-1234-123456789012"
DATA_SOURCE_ID = "source"

POLL_INTERVAL = 30.0
TIMEOUT = 600.0
LATENCY = 0.05
"""Seconds that each exchange with the outside takes."""
STOPPING = 20.0
"""Seconds that a job takes to stop."""
NEVER = 1e9


# --- The decisions, one at a time ---------------------------------------------------------------------------------


def jobs(*listed: str) -> list[SyncJob]:
    """A history, newest first: ``jobs("new SYNCING", "old FAILED")``."""
    return [_job(*each.split()) for each in listed]


def _job(execution_id: str, status: str) -> SyncJob:
    return SyncJob(index_id=INDEX_ID, data_source_id=DATA_SOURCE_ID, execution_id=execution_id, status=status)


IN_DOUBT = {"baseline": "old", "execution_id": None, "is_ours": False}
STARTED = {"baseline": "old", "execution_id": "ours", "is_ours": True}
BUSY = jobs("theirs SYNCING", "old SUCCEEDED")
SOME_TIME = 1000.0


def test_of_several_jobs_after_the_baseline_the_first_is_treated_as_the_one_in_doubt():
    step = Starter(memory=IN_DOUBT).next_step(jobs("third SYNCING", "second SUCCEEDED", "old SUCCEEDED"), 0)
    assert step.job.execution_id == "second"


def test_a_job_found_in_doubt_is_not_certainly_ours():
    starter = Starter(memory=IN_DOUBT)
    step = starter.next_step(jobs("second SYNCING", "old SUCCEEDED"), 0)
    assert step == Follow("second", is_ours=False)
    assert starter.memory["execution_id"] == "second"


def test_a_request_is_only_repeated_once_it_would_have_been_listed():
    starter = Starter(memory=IN_DOUBT)
    assert starter.next_step(jobs("old SUCCEEDED"), SOME_TIME) == Reread()
    assert starter.next_step(jobs("old SUCCEEDED"), SOME_TIME + LISTING_GRACE - 1) == Reread()
    assert starter.next_step(jobs("old SUCCEEDED"), SOME_TIME + LISTING_GRACE) == Send()


def test_a_request_that_is_repeated_in_doubt_keeps_its_baseline():
    starter = Starter(memory=IN_DOUBT)
    starter.next_step(jobs("old SUCCEEDED"), 0)
    assert starter.next_step(jobs("old SUCCEEDED"), LISTING_GRACE) == Send()
    assert starter.memory["baseline"] == "old"
    starter.refused(LISTING_GRACE)
    step = starter.next_step(jobs("late SYNCING", "old SUCCEEDED"), LISTING_GRACE + 1)
    assert step == Follow("late", is_ours=False)


def test_a_failed_job_of_others_does_not_hide_ours():
    starter = Starter(memory=IN_DOUBT)
    assert starter.next_step(jobs("quick FAILED", "old SUCCEEDED"), 0) == Reread()
    step = starter.next_step(jobs("late SYNCING", "quick FAILED", "old SUCCEEDED"), 1)
    assert step == Follow("late", is_ours=False)


def test_when_all_jobs_in_doubt_failed_ours_is_started_anew():
    starter = Starter(memory=IN_DOUBT)
    starter.next_step(jobs("ours FAILED", "old SUCCEEDED"), 0)
    assert starter.next_step(jobs("ours FAILED", "old SUCCEEDED"), LISTING_GRACE) == Send()
    assert starter.memory["baseline"] == "ours"


def test_a_start_that_meets_only_errors_is_given_up():
    starter = Starter()
    starter.failed(SOME_TIME)
    assert starter.next_step(jobs(), SOME_TIME + START_GRACE - 1) == Send()
    starter.failed(SOME_TIME + START_GRACE - 1)
    assert starter.next_step(jobs(), SOME_TIME + START_GRACE) == GiveUp()


def test_a_start_whose_response_is_lost_again_and_again_is_given_up():
    starter = Starter()
    starter.response_lost(SOME_TIME)
    assert starter.next_step(jobs(), SOME_TIME + START_GRACE - 1) == Send()
    assert starter.next_step(jobs(), SOME_TIME + START_GRACE) == GiveUp()


def test_a_start_that_is_refused_for_too_long_without_a_listed_job_fails():
    starter = Starter("wait")
    starter.refused(SOME_TIME)
    assert starter.next_step(jobs("old SUCCEEDED"), SOME_TIME + START_GRACE - 1) == Send()
    starter.refused(SOME_TIME + START_GRACE - 1)
    assert starter.next_step(jobs("old SUCCEEDED"), SOME_TIME + START_GRACE) == Refuse(None)


def test_waiting_out_a_job_restarts_the_grace_of_refused_starts():
    starter = Starter("wait")
    starter.refused(0)
    starter.failed(0)
    assert isinstance(starter.next_step(BUSY, 1), WaitOut)
    assert starter.next_step(jobs("theirs SUCCEEDED", "old SUCCEEDED"), START_GRACE * 10) == Send()


@pytest.mark.parametrize("policy", ["wait", "attach", "skip", "fail"])
@pytest.mark.parametrize("status", ["SYNCING", "STOPPING", "PAUSED"])
def test_an_older_job_blocks_no_start_whatever_its_status_says(policy: IfRunning, status: str):
    assert Starter(policy).next_step(jobs("old SUCCEEDED", f"older {status}"), 0) == Send()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, Refuse(BUSY[0])),
        ({"if_running": "fail"}, Refuse(BUSY[0])),
        ({"if_running": "skip"}, Skip(BUSY[0])),
        ({"if_running": "wait"}, WaitOut(BUSY[0])),
        ({"if_running": "attach"}, Follow("theirs", is_ours=False)),
    ],
)
def test_the_policy_decides_about_a_sync_that_is_already_running(policy: dict[str, Any], expected: Step):
    assert Starter(**policy).next_step(BUSY, 0) == expected


def test_an_adopted_sync_is_stored_as_not_ours():
    starter = Starter("attach")
    starter.next_step(BUSY, 0)
    assert (starter.memory["execution_id"], starter.memory["is_ours"]) == ("theirs", False)


def test_a_sync_that_is_being_stopped_is_not_adopted_but_waited_out():
    stopping = jobs("theirs STOPPING", "old SUCCEEDED")
    assert Starter("attach").next_step(stopping, 0) == WaitOut(stopping[0])


def test_an_accepted_start_makes_the_job_ours():
    starter = Starter()
    starter.next_step(jobs("old SUCCEEDED"), 0)
    assert starter.accepted("new") == Follow("new", is_ours=True)
    assert starter.memory == {"baseline": "old", "execution_id": "new", "is_ours": True}


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_later_try_knows_whether_the_job_is_ours(is_ours: bool):
    starter = Starter(memory=STARTED | {"is_ours": is_ours})
    assert starter.next_step(jobs("ours SYNCING", "old SUCCEEDED"), 0) == Follow("ours", is_ours)


def test_without_memory_no_job_is_ours():
    assert Starter().memory == {"baseline": None, "execution_id": None, "is_ours": False}


def test_no_job_is_treated_as_ours_when_the_baseline_is_gone_from_the_history():
    starter = Starter(memory=IN_DOUBT)
    starter.next_step(jobs("other SUCCEEDED", "older SUCCEEDED"), 0)
    assert starter.next_step(jobs("other SUCCEEDED", "older SUCCEEDED"), LISTING_GRACE) == Send()
    assert starter.memory["baseline"] == "other"


def test_a_job_that_is_gone_from_the_history_is_not_stored_for_later_tries():
    starter = Starter(memory=STARTED)
    starter.next_step(jobs("other SUCCEEDED"), 0)
    assert starter.next_step(jobs("other SUCCEEDED"), LISTING_GRACE) == Send()
    assert starter.memory == {"baseline": "other", "execution_id": None, "is_ours": False}


def test_a_job_found_in_doubt_is_not_ours_because_one_before_it_was():
    starter = Starter(memory=STARTED)
    starter.next_step(jobs("other SUCCEEDED"), 0)
    starter.next_step(jobs("other SUCCEEDED"), LISTING_GRACE)
    starter.response_lost(LISTING_GRACE)
    step = starter.next_step(jobs("newest SYNCING", "other SUCCEEDED"), LISTING_GRACE + 1)
    assert step == Follow("newest", is_ours=False)


def test_waiting_out_a_stopping_job_restarts_the_grace_after_errors():
    starter = Starter(memory=STARTED)
    starter.failed(0)
    stopping = jobs("ours STOPPING", "old SUCCEEDED")
    assert starter.next_step(stopping, 2) == WaitOut(stopping[0])
    assert starter.next_step(jobs("ours ABORTED", "old SUCCEEDED"), START_GRACE * 10) == Send()


ANY_END = Acceptance(TERMINAL_STATUSES)


@pytest.mark.parametrize("memory", [IN_DOUBT, STARTED])
def test_a_job_that_has_ended_is_no_result_of_an_outdated_memory(memory: dict[str, Any]):
    starter = Starter(memory=memory, is_outdated=True)
    history = jobs("ours SUCCEEDED", "old SUCCEEDED")
    assert starter.next_step(history, 0) in (Reread(), Send())
    assert starter.next_step(history, LISTING_GRACE) == Send()
    assert starter.memory == {"baseline": "ours", "execution_id": None, "is_ours": False}


@pytest.mark.parametrize("memory", [IN_DOUBT, STARTED])
def test_a_job_that_runs_is_resumed_from_an_outdated_memory(memory: dict[str, Any]):
    starter = Starter(memory=memory, is_outdated=True)
    assert starter.next_step(jobs("ours SYNCING", "old SUCCEEDED"), 0) == Follow("ours", memory["is_ours"])
    assert starter.is_resumed


def test_what_a_try_starts_itself_is_not_outdated():
    starter = Starter(memory=IN_DOUBT, is_outdated=True)
    starter.next_step(jobs("old SUCCEEDED"), 0)
    assert starter.next_step(jobs("old SUCCEEDED"), LISTING_GRACE) == Send()
    assert starter.is_resumed is False
    starter.response_lost(LISTING_GRACE)
    history = jobs("ours SUCCEEDED", "old SUCCEEDED")
    assert starter.next_step(history, LISTING_GRACE + 1) == Return(history[0])
    assert starter.is_resumed is False


def test_a_job_of_ours_that_failed_is_started_anew_at_once():
    starter = Starter(memory=STARTED)
    assert starter.next_step(jobs("ours FAILED", "old SUCCEEDED"), 0) == Send()


@pytest.mark.parametrize("status", ["SYNCING", "SYNCING_INDEXING", "STOPPING"])
def test_a_job_that_was_stopped_is_waited_out_whatever_its_listed_status(status: str):
    history = jobs(f"ours {status}", "old SUCCEEDED")
    starter = Starter("fail", memory=STARTED | {"is_stopped": True})
    assert starter.next_step(history, 0) == WaitOut(history[0])
    assert starter.next_step(jobs("ours ABORTED", "old SUCCEEDED"), 100) == Send()


@pytest.mark.parametrize("status", ["SYNCING", "PAUSED"])
def test_a_job_of_ours_that_is_not_the_newest_does_not_run(status: str):
    starter = Starter("attach", memory=STARTED)
    history = jobs("theirs SUCCEEDED", f"ours {status}", "old SUCCEEDED")
    assert starter.next_step(history, 0) == Reread(), "it may be listed with an older status for a while"
    assert starter.next_step(history, LISTING_GRACE) == Send()


def test_an_older_job_in_doubt_that_is_listed_as_running_does_not_hide_one_that_is_of_use():
    starter = Starter(memory=IN_DOUBT)
    step = starter.next_step(jobs("second SYNCING", "first STOPPING", "old SUCCEEDED"), 0)
    assert step == Follow("second", is_ours=False)


@pytest.mark.parametrize("memory", [IN_DOUBT, STARTED])
@pytest.mark.parametrize("status", ["SYNCING_INDEXING", "STOPPING", "SUCCEEDED", "ABORTED"])
def test_a_batch_that_takes_no_more_documents_is_no_result(memory: dict[str, Any], status: str):
    starter = Starter("wait", ANY_END, memory, needs_open_batch=True)
    history = jobs(f"ours {status}", "old SUCCEEDED")
    assert isinstance(starter.next_step(history, 0), Reread | Send | WaitOut)
    expected = WaitOut(history[0]) if status in ("SYNCING_INDEXING", "STOPPING") else Send()
    assert starter.next_step(history, LISTING_GRACE) == expected


@pytest.mark.parametrize("memory", [IN_DOUBT, STARTED])
def test_a_batch_of_ours_that_is_open_is_the_result(memory: dict[str, Any]):
    starter = Starter("fail", ANY_END, memory, needs_open_batch=True)
    assert starter.next_step(jobs("ours SYNCING", "old SUCCEEDED"), 0) == Follow("ours", memory["is_ours"])


@pytest.mark.parametrize("status", ["SYNCING_INDEXING", "STOPPING"])
def test_a_batch_that_takes_no_more_documents_is_not_adopted_but_waited_out(status: str):
    history = jobs(f"theirs {status}", "old SUCCEEDED")
    assert Starter("attach", ANY_END, needs_open_batch=True).next_step(history, 0) == WaitOut(history[0])


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("is_of_1_0_0", [False, True])
@pytest.mark.parametrize(
    ("execution_id", "minutes", "expected"),
    [(None, 15, False), (None, 15.1, True), ("ours", 15.1, False), ("ours", 59.9, False), ("ours", 60, True)],
)
def test_memory_is_outdated_past_its_deadline_or_in_doubt_for_more_than_15_minutes(
    execution_id: str | None, minutes: float, expected: bool, is_of_1_0_0: bool
):
    hour = timedelta(hours=1)
    memory = {"execution_id": execution_id, "deadline": (NOON + hour).isoformat(), "since": NOON.isoformat()}
    if is_of_1_0_0:
        del memory["since"]
    assert is_outdated(memory, NOON + timedelta(minutes=minutes), hour) is expected


@pytest.mark.parametrize("timeout", [timedelta(minutes=1), timedelta(days=1)])
def test_a_timeout_that_has_changed_since_does_not_make_a_memory_older_or_newer(timeout: timedelta):
    memory = {"execution_id": None, "deadline": (NOON + timedelta(hours=1)).isoformat(), "since": NOON.isoformat()}
    assert not is_outdated(memory, NOON + timedelta(minutes=14), timeout)
    assert is_outdated(memory, NOON + timedelta(minutes=16), timeout)


MEMORY = {"baseline": "old", "execution_id": None, "is_ours": False, "deadline": NOON.isoformat()}


@pytest.mark.parametrize(
    "more",
    [{}, {"since": NOON.isoformat()}, {"since": None}, {"is_stopped": True}, {"execution_id": "e", "baseline": None}],
)
def test_a_memory_that_this_or_an_earlier_version_stored_is_returned_unchanged(more: dict[str, Any]):
    assert check_memory(MEMORY | more) == MEMORY | more


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        (["old"], "it is of type list"),
        (MEMORY | {"baseline": 1}, "its baseline is 1"),
        (MEMORY | {"execution_id": ["e"]}, "its execution_id is ['e']"),
        (MEMORY | {"is_ours": "yes"}, "its is_ours is 'yes'"),
        (MEMORY | {"is_stopped": 0}, "its is_stopped is 0"),
        (MEMORY | {"since": 3}, "its since is 3"),
        ({"execution_id": "e"}, "its deadline is None"),
        (MEMORY | {"deadline": "noon"}, "its deadline is 'noon'"),
        (MEMORY | {"since": "noon"}, "its since is 'noon'"),
    ],
)
def test_a_memory_that_nothing_has_stored_like_this_is_rejected_with_the_reason(memory: object, reason: str):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the whole text is compared
        check_memory(memory)
    assert str(refusal.value).startswith(reason)


def test_an_empty_history_before_a_doubtful_request_makes_its_oldest_job_ours():
    memory = {"baseline": None, "execution_id": None, "is_ours": False}
    starter = Starter(memory=memory)
    assert starter.needs_whole_history
    history = jobs("second SYNCING", "first SUCCEEDED")
    assert starter.next_step(history, 0) == Return(history[1])


def test_a_refusal_names_the_sync_that_runs_and_what_to_do():
    error = already_running(INDEX_ID, DATA_SOURCE_ID, BUSY[0])
    assert error.job == BUSY[0]
    assert str(error) == (
        "A sync is already running: SYNCING (no documents yet). Kendra runs one sync of a data source at a time: wait "
        f"for it to end, or stop it {BUSY[0].ids}."
    )


def test_a_refusal_by_a_sync_that_is_not_listed_says_so():
    error = already_running(INDEX_ID, DATA_SOURCE_ID, None)
    assert error.job is None
    assert str(error) == (
        "The data source is in use, but no running sync was listed for 60 s. Kendra runs one sync of a data source at "
        f"a time: wait for it to end, or stop it (data source {DATA_SOURCE_ID}, index {INDEX_ID})."
    )


# --- The loop, over scripted calls --------------------------------------------------------------------------------


OLD = jobs("old SUCCEEDED")


class Memory:
    """What a start has had remembered, in order."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any] | None] = []

    def __call__(self, memory: dict[str, Any] | None) -> None:
        self.kept.append(memory)


def test_a_start_is_stored_before_it_is_sent_and_sent_at_once():
    calls, kept = Calls([OLD]), []
    step = advance_start(calls, Starter(), remember=lambda memory: kept.append((memory, list(calls.done))))
    assert step == Follow("new", is_ours=True)
    assert kept == [({"baseline": "old", "execution_id": None, "is_ours": False}, ["read"])]
    assert calls.done == ["read", "start"]


def test_only_the_newest_job_is_read_before_a_start():
    calls = Calls([jobs("newest SUCCEEDED", "old SUCCEEDED")])
    advance_start(calls, Starter())
    assert calls.jobs_read == 1


def test_after_a_lost_response_the_history_is_read_back_to_the_baseline():
    calls = Calls([OLD, jobs("new SYNCING", "old SUCCEEDED", "older SUCCEEDED")], [ANSWER_LOST])
    assert advance_start(calls, Starter()) == Follow("new", is_ours=False)
    assert calls.jobs_read == 1 + 2
    assert calls.done == ["read", "start", "read"]


def test_after_a_lost_response_without_a_baseline_the_whole_history_is_read():
    calls = Calls([(), jobs("second SYNCING", "first SUCCEEDED")], [ANSWER_LOST])
    assert advance_start(calls, Starter(acceptance=Acceptance(TERMINAL_STATUSES))) == Return(jobs("first SUCCEEDED")[0])
    assert calls.jobs_read == 2


@pytest.mark.parametrize("error", [NO_EFFECT, EXPIRED_CREDENTIALS, IN_USE])
def test_a_start_that_certainly_had_no_effect_is_deleted_and_retried_after_a_pause(error: Exception):
    calls, memory = Calls([OLD], [error, "new"]), Memory()
    assert advance_start(calls, Starter(), remember=memory) == Follow("new", is_ours=True)
    assert [kept and kept["baseline"] for kept in memory.kept] == ["old", None, "old"]
    assert [each for each in calls.done if each != "discard clients"] == ["read", "start", "read", "sleep 2", "start"]


def test_a_start_whose_response_is_lost_stays_stored_whatever_happens_to_the_next_one():
    calls, memory = Calls([OLD], [ANSWER_LOST, NO_EFFECT, "new"]), Memory()
    assert advance_start(calls, Starter(), remember=memory) == Follow("new", is_ours=True)
    assert None not in memory.kept
    assert calls.elapsed >= 1000 + LISTING_GRACE


@pytest.mark.parametrize(
    ("histories", "answers"), [([DENIED], ["new"]), ([OLD], [DENIED])], ids=["of a reading", "of a start"]
)
def test_a_permanent_error_is_raised_as_it_is(histories: Any, answers: Any):
    calls, memory = Calls(histories, answers), Memory()
    with pytest.raises(CallError) as caught:
        advance_start(calls, Starter(), remember=memory)
    assert caught.value is DENIED
    assert memory.kept in ([], [{"baseline": "old", "execution_id": None, "is_ours": False}, None])
    assert "sleep 2" not in calls.done


@pytest.mark.parametrize(
    ("histories", "answers"),
    [([EXPIRED_CREDENTIALS, OLD], ["new"]), ([OLD], [EXPIRED_CREDENTIALS, "new"])],
    ids=["in a reading", "in a start"],
)
def test_expired_credentials_are_renewed(histories: Any, answers: Any):
    calls = Calls(histories, answers)
    assert advance_start(calls, Starter()) == Follow("new", is_ours=True)
    assert calls.done.count("discard clients") == 1
    assert calls.lines == ["Could not start a sync yet: it is credentials; trying again."]


def test_only_expired_credentials_cost_a_new_client():
    calls = Calls([NO_EFFECT, OLD], [NO_EFFECT, IN_USE, "new"])
    advance_start(calls, Starter())
    assert "discard clients" not in calls.done
    assert calls.lines == [
        "Could not start a sync yet: it is transient; trying again.",
        "Could not start a sync yet: it is transient; trying again.",
        "The start was refused: it is already_running",
    ]


@pytest.mark.parametrize(
    ("histories", "answers"),
    [([NO_EFFECT], ["new"]), ([OLD], [NO_EFFECT]), ([OLD], [ANSWER_LOST])],
    ids=["readings", "starts", "answers"],
)
def test_after_a_minute_of_errors_the_last_one_is_named(histories: Any, answers: Any):
    calls = Calls(histories, answers)
    with pytest.raises(KendraError, match=r"within 60 s: it is transient") as caught:
        advance_start(calls, Starter())
    assert caught.value.__cause__ in (NO_EFFECT, ANSWER_LOST)
    assert str(caught.value).startswith("No sync could be started")
    assert "data source source, index index" in str(caught.value)
    assert START_GRACE <= calls.elapsed - 1000 <= START_GRACE + 2 * PAUSE


def test_the_error_that_is_named_after_a_minute_is_part_of_a_sentence():
    with pytest.raises(KendraError) as caught:
        advance_start(Calls([RuntimeError("It broke.")]), Starter())
    assert str(caught.value) == ("No sync could be started within 60 s: It broke (data source source, index index).")


def test_the_error_that_is_named_after_a_minute_can_be_a_refusal():
    calls = Calls([OLD], [NO_EFFECT, IN_USE])
    with pytest.raises(KendraError, match="within 60 s: it is already_running") as caught:
        advance_start(calls, Starter())
    assert caught.value.__cause__ is IN_USE


def test_a_start_that_is_refused_for_a_minute_though_nothing_runs_is_left_to_the_caller():
    calls = Calls([OLD], [IN_USE])
    assert advance_start(calls, Starter()) == Refuse(None)
    assert START_GRACE <= calls.elapsed - 1000 <= START_GRACE + PAUSE


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("wait", WaitOut), ("attach", Follow), ("skip", Skip), ("fail", Refuse)],
)
def test_what_is_running_is_left_to_the_caller(policy: IfRunning, expected: type[Step]):
    calls = Calls([BUSY])
    assert isinstance(advance_start(calls, Starter(policy)), expected)
    assert calls.done == ["read"]


@pytest.mark.parametrize("source_type", ["S3", None])
def test_a_data_source_that_is_not_known_to_be_custom_may_be_waited_for(source_type: str | None):
    warnings: list[str] = []
    found = find_out_type(Calls(types=[source_type]), instead_of_waiting="Stop it.", warn=warnings.append)
    assert (found, warnings) == (source_type, [])


def test_waiting_for_a_custom_data_source_is_refused_with_what_to_do_instead():
    with pytest.raises(KendraRequestError, match=r"^The data source is CUSTOM: .* never end\. Stop it \(data source"):
        find_out_type(Calls(types=["CUSTOM"]), instead_of_waiting="Stop it.", warn=[].append)


def test_a_custom_data_source_that_is_not_waited_for_is_no_error():
    assert find_out_type(Calls(types=["CUSTOM"]), instead_of_waiting=None, warn=[].append) == "CUSTOM"


@pytest.mark.parametrize(("advice", "is_risk_named"), [("Stop it.", True), (None, False)])
def test_a_type_that_cannot_be_read_is_only_a_warning(advice: str | None, is_risk_named: bool):
    warnings: list[str] = []
    assert find_out_type(Calls(types=[DENIED]), instead_of_waiting=advice, warn=warnings.append) is None
    risk = " If it is CUSTOM, its sync ends only when someone stops it." if is_risk_named else ""
    assert warnings == [f"Could not find out the type of the data source: it is permanent.{risk}"]


def test_an_error_that_ends_with_a_full_stop_is_quoted_with_only_one():
    warnings: list[str] = []
    find_out_type(Calls(types=[RuntimeError("It broke.")]), instead_of_waiting=None, warn=warnings.append)
    assert warnings == ["Could not find out the type of the data source: It broke."]


@pytest.mark.parametrize("error", [NO_EFFECT, ANSWER_LOST, EXPIRED_CREDENTIALS])
def test_a_custom_data_source_is_recognised_although_its_type_cannot_be_read_at_first(error: Exception):
    calls = Calls(types=[error, error, "CUSTOM"])
    with pytest.raises(KendraRequestError, match=r"^The data source is CUSTOM: "):
        find_out_type(calls, instead_of_waiting="Stop it.", warn=pytest.fail)
    renewed = ["discard clients"] if error is EXPIRED_CREDENTIALS else []
    assert calls.done == [*("describe", *renewed, "sleep 2") * 2, "describe"]
    assert calls.lines == [f"Could not read the type of the data source yet: {error}; trying again."] * 2


def test_a_type_that_cannot_be_read_for_a_minute_is_only_a_warning():
    calls, warnings = Calls(types=[NO_EFFECT]), list[str]()
    assert find_out_type(calls, instead_of_waiting=None, warn=warnings.append) is None
    assert warnings == ["Could not find out the type of the data source: it is transient."]
    assert calls.elapsed - 1000 == START_GRACE


@pytest.mark.parametrize(("patience", "took"), [(10, 10), (0, 0), (-5, 0)])
def test_the_type_is_read_no_longer_than_the_caller_has_time(patience: float, took: float):
    calls = Calls(types=[NO_EFFECT])
    assert find_out_type(calls, instead_of_waiting=None, warn=[].append, patience=patience) is None
    assert calls.elapsed - 1000 == took


def test_a_type_whose_read_is_denied_is_not_read_again():
    calls = Calls(types=[DENIED])
    find_out_type(calls, instead_of_waiting=None, warn=[].append)
    assert calls.done == ["describe"]


@pytest.mark.parametrize("error", [ValueError("no id"), KendraRequestError("no connection")])
def test_reading_the_type_with_invalid_parameters_is_an_error(error: Exception):
    with pytest.raises(type(error), match="no "):
        find_out_type(Calls(types=[error]), instead_of_waiting=None, warn=[].append)


@pytest.mark.parametrize(
    ("history", "status"),
    [(jobs("newer SYNCING", "mine STOPPING"), "STOPPING"), (jobs("old FAILED"), "SYNCING"), (DENIED, "SYNCING")],
    ids=["listed", "not listed", "not readable"],
)
def test_a_started_job_is_returned_whether_it_is_listed_or_not(history: Any, status: str):
    calls = Calls([history])
    job = read_started_job(calls, "mine")
    assert (job.execution_id, job.status) == ("mine", status)
    said = "Could not read the sync job that was started: it is permanent (mine)"
    assert calls.lines == ([said] if history is DENIED else [])


def test_a_started_job_that_is_not_listed_is_one_of_its_data_source():
    job = read_started_job(Calls([()]), "mine")
    assert (job.index_id, job.data_source_id) == ("index", "source")


def test_a_started_job_is_looked_for_on_one_page_only():
    calls = Calls([jobs(*(f"old-{number} SUCCEEDED" for number in range(30)))])
    read_started_job(calls, "mine")
    assert calls.jobs_read == 10


# --- A model of the service ---------------------------------------------------------------------------------------


@dataclass(eq=False)
class Job:
    """A sync job as the model knows it: also who started it, and when it ends and how."""

    number: int
    by_us: bool
    run: int
    started: float
    listed_from: float
    unlisted_looks: int
    ends: float
    outcome: str
    status: str = "SYNCING"
    ended: float | None = None
    stops: float | None = None
    """When a stop that was sent takes effect; until then nothing is seen of it."""
    source: str = DATA_SOURCE_ID

    @property
    def execution_id(self) -> str:
        return f"{self.source}-{self.number}"

    @property
    def is_running(self) -> bool:
        return self.status not in TERMINAL_STATUSES

    def to_item(self) -> dict[str, Any]:
        return {
            "ExecutionId": self.execution_id,
            "Status": self.status,
            "StartTime": BEGIN + timedelta(seconds=self.started),
        }


def client_error(code: str, operation: str) -> ClientError:
    status = 500 if code.startswith("Internal") else 400
    error = {"Error": {"Code": code, "Message": "said"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(error, operation)


@dataclass(frozen=True)
class Fault:
    """How a call goes wrong: in the terms of the local Kendra, and whether the service acts nevertheless."""

    how: tuple[tuple[str, str], ...]
    acts: bool = False

    def to_error(self, operation: str) -> Exception:
        how = dict(self.how)
        if "error" in how:
            return client_error(how["error"], operation)
        error = EndpointConnectionError if "unreachable" in how else ConnectionClosedError
        return error(endpoint_url="https://kendra")


THROTTLED = Fault((("error", "ThrottlingException"),))
BROKEN = Fault((("error", "InternalServerException"),))
BROKEN_AFTER = Fault(BROKEN.how, acts=True)
EXPIRED = Fault((("error", "ExpiredTokenException"),))
UNREACHABLE = Fault((("unreachable", "yes"),))
LOST_BEFORE = Fault((("reset", "before"),))
LOST_AFTER = Fault((("reset", "after"),), acts=True)
TRUNCATED = Fault((("body", "truncated"),), acts=True)

LOOK_FAULTS = (THROTTLED, BROKEN, LOST_BEFORE, EXPIRED)
START_FAULTS = (*LOOK_FAULTS, LOST_AFTER, TRUNCATED)
START_FAULTS_OF_MODEL = (*START_FAULTS, UNREACHABLE, BROKEN_AFTER)


@dataclass(frozen=True)
class Kill:
    """The end of a process: without notice, or with so many exchanges more after a SIGTERM."""

    moment: int
    notice: int | None


@dataclass(frozen=True)
class Plan:
    """What a task is told, and what happens to it. Moments are counted: each exchange with the outside is one."""

    if_running: str = "wait"
    deferrable: bool = False
    waits: bool = True
    durable: bool = True
    stop_on_kill: bool = True
    old_jobs: int = 1
    is_busy: bool = False
    lag: float = 0.0
    unlisted_looks: int = 0
    endings: tuple[tuple[float, str], ...] = ()
    start_faults: tuple[Fault | None, ...] = ()
    look_faults: tuple[tuple[int, Fault], ...] = ()
    others: tuple[tuple[int, str], ...] = ()
    kills: tuple[Kill, ...] = ()
    retry_delay: float = 0.0
    runs: int = 1
    is_custom: bool = False
    missing_looks: tuple[int, ...] = ()
    """Looks that the newest job is missing from."""
    older_status: str | None = None
    """What the list says of a job that is not the newest, though it has ended."""
    empty_pages: int = 0
    """Pages without jobs that each history begins with."""
    switches: tuple[int, ...] = ()
    """Tries, counted over all runs, before which the data source changes."""
    stop_delay: float = 0.0
    stopping: float = STOPPING

    @property
    def is_batch(self) -> bool:
        return self.is_custom and not self.waits

    @property
    def has_third_parties(self) -> bool:
        return self.is_busy or any(what == "start" for _, what in self.others)


HOURS, DAYS = 3600.0, 24 * 3600.0
SLOW_STOP = {"stop_delay": st.sampled_from([0.0, 0.0, 50.0]), "stopping": st.sampled_from([STOPPING, 200.0, 700.0])}
HISTORIES = {
    "missing_looks": st.lists(st.integers(1, 12), max_size=2).map(tuple),
    "older_status": st.sampled_from([None, None, "SYNCING", "STOPPING", "PAUSED"]),
    "empty_pages": st.sampled_from([0, 0, 2]),
}
CLEARS = {
    "retry_delay": st.sampled_from([0.0, 120.0, 20 * 60.0, 3 * DAYS]),
    "runs": st.sampled_from([1, 2, 3]),
    "switches": st.sampled_from([(), (), (), (2,), (1, 3), (2, 4)]),
    "is_custom": st.sampled_from([False, False, True]),
}
"""What the model can do, and the local Kendra in step with it can't."""

ENDING_STATUSES = ("SUCCEEDED", "SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED")


def plans(
    lags: st.SearchStrategy[float], start_faults: tuple[Fault, ...], **more: st.SearchStrategy[Any]
) -> st.SearchStrategy[Plan]:
    moments = st.integers(0, 40)
    return st.builds(
        Plan,
        if_running=st.sampled_from(["wait", "wait", "attach", "skip", "fail"]),
        deferrable=st.booleans(),
        waits=st.sampled_from([True, True, True, False]),
        durable=st.sampled_from([True, True, True, False]),
        stop_on_kill=st.sampled_from([True, True, False]),
        old_jobs=st.sampled_from([0, 1, 12]),
        is_busy=st.sampled_from([False, False, True]),
        lag=lags,
        unlisted_looks=st.sampled_from([0, 0, 1]),
        endings=st.lists(
            st.tuples(st.sampled_from([15.0, 0.01, 100.0, NEVER]), st.sampled_from(ENDING_STATUSES)), max_size=4
        ).map(tuple),
        start_faults=st.lists(st.sampled_from([None, *start_faults]), max_size=3).map(tuple),
        look_faults=st.lists(
            st.tuples(st.integers(0, 15), st.sampled_from(LOOK_FAULTS)), max_size=2, unique_by=lambda each: each[0]
        ).map(tuple),
        others=st.lists(st.tuples(moments, st.sampled_from(["start", "start", "stop", "end"])), max_size=4).map(tuple),
        kills=st.lists(st.builds(Kill, moments, st.sampled_from([None, None, 0, 3, 12])), max_size=3).map(tuple),
        **{"retry_delay": st.sampled_from([0.0, 120.0]), "runs": st.sampled_from([1, 2]), **more},
    )


class Model:
    """One data source of Kendra: one sync at a time, listed a little late."""

    def __init__(self, plan: Plan, clock: Clock, data_source_id: str = DATA_SOURCE_ID) -> None:
        self.plan = plan
        self.clock = clock
        self.data_source_id = data_source_id
        self.jobs: list[Job] = []
        self.run = 0
        self.is_lagging = False

    def start(self, *, by_us: bool) -> Job | None:
        """Start a job; None if one runs."""
        if self.running is not None:
            return None
        lasts, outcome = (15.0, "SUCCEEDED")
        if len(self.jobs) < len(self.plan.endings):
            lasts, outcome = self.plan.endings[len(self.jobs)]
        now = self.clock.elapsed
        job = Job(
            number=len(self.jobs),
            by_us=by_us,
            run=self.run,
            started=now,
            listed_from=now + self.plan.lag * self.is_lagging,
            unlisted_looks=self.plan.unlisted_looks * self.is_lagging,
            ends=NEVER if self.plan.is_batch else now + lasts,
            outcome=outcome,
            source=self.data_source_id,
        )
        self.jobs.append(job)
        return job

    def stop(self) -> None:
        job = self.running
        if job is not None and job.stops is None:
            job.stops = self.clock.elapsed + self.plan.stop_delay
            self.settle()

    def end(self) -> None:
        """End the running job now, in its way."""
        if (job := self.running) is not None:
            job.ends = min(job.ends, self.clock.elapsed)
            self.settle()

    @property
    def running(self) -> Job | None:
        return next((job for job in self.jobs if job.is_running), None)

    def settle(self) -> None:
        """Let what is due end."""
        job = self.running
        if job is None:
            return
        if job.stops is not None and job.status == "SYNCING" and job.stops <= min(job.ends, self.clock.elapsed):
            job.ends = job.stops + self.plan.stopping
            if self.plan.is_batch:
                job.status = "SYNCING_INDEXING"
            else:
                job.status, job.outcome = "STOPPING", "ABORTED"
        if self.clock.elapsed >= job.ends:
            job.status, job.ended = job.outcome, job.ends

    def unseen(self) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs if job.unlisted_looks or job.listed_from > self.clock.elapsed)

    def listed(self) -> list[Job]:
        """What a look shows, newest first; it counts as a look."""
        shown = []
        for job in reversed(self.jobs):
            if not job.unlisted_looks and self.clock.elapsed >= job.listed_from:
                shown.append(job)
            job.unlisted_looks -= bool(job.unlisted_looks)
        return shown


class Killed(BaseException):
    """The process is gone."""


class World:
    """A task among third parties: what happens when, and what must never happen."""

    ids: dict[str, str] = {"index_id": INDEX_ID, "data_source_id": DATA_SOURCE_ID}  # noqa: RUF012 - never changed
    # The hook asks its client what an answer may look like.
    meta: ClassVar[Any] = boto3.client("kendra", region_name="us-east-1").meta

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clock = Clock()
        self.models = [Model(plan, self.clock), Model(plan, self.clock, "other-source")]
        self.model = self.models[0]
        self.store = Store()
        self.operator: KendraStartSyncJobOperator | None = None
        self.moments = 0
        self.looks = 0
        self.starts = 0
        self.last_look: list[Job] = []
        self.is_deferred = False
        self.told_to_end_at: int | None = None
        self.killed_at: int | None = None
        self.tries = 0
        self.closed_before: set[Job] = set()
        self.is_newest_missing = False
        self.unseen_before: set[Job] = set()
        """What some look did not show: it can't be told from what came after."""
        self.wrongs: list[str] = []
        self._notices = {kill.moment: kill.notice for kill in plan.kills}
        for _ in range(plan.old_jobs):
            self.others_start()
            self.end_running()
        for model in self.models:
            model.is_lagging = True
        if plan.is_busy:
            self.others_start()

    def others_start(self) -> None:
        self.model.start(by_us=False)

    def others_stop(self) -> None:
        self.model.stop()

    def end_running(self) -> None:
        self.model.end()

    def moment(self) -> None:
        """Something passes between the task and the outside: so anything may have happened."""
        self.moments += 1
        assert self.moments < 3_000, "it goes on and on"
        self.pass_time(LATENCY)
        for moment, what in self.plan.others:
            if moment == self.moments:
                {"start": self.others_start, "stop": self.others_stop, "end": self.end_running}[what]()
        if self.is_deferred or threading.current_thread() is not threading.main_thread():
            return
        if self.moments in self._notices:
            notice = self._notices.pop(self.moments)
            self.killed_at = self.moments + (notice or 0)
            if notice is not None and self.operator is not None:
                self.operator.on_kill()
                self.told_to_end_at = self.moments
        if self.killed_at is not None and self.moments >= self.killed_at:
            raise Killed

    def pass_time(self, seconds: float) -> None:
        self.clock.move_to(self.clock.elapsed + seconds)
        for model in self.models:
            model.settle()

    # What the task meets: the store, the clock, Kendra.

    def get(self, key: str, default: Any = None) -> Any:
        self.moment()
        return self.store.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.moment()
        self.check_claim(value)
        self.store.set(key, value)
        self.moment()

    def delete(self, key: str) -> None:
        self.moment()
        # Lost after this, a try that has ended has ended: Airflow hears of it next.
        self.store.delete(key)

    def sleep(self, seconds: float) -> None:
        self.moment()
        self.pass_time(seconds)

    def monotonic(self) -> float:
        return self.clock.elapsed

    def describe_data_source(self, **request: Any) -> dict[str, Any]:
        self.moment()
        return {"Type": "CUSTOM" if self.is_batch else "S3"}

    @property
    def is_batch(self) -> bool:
        return self.plan.is_batch

    def list_data_source_sync_jobs(self, **request: Any) -> dict[str, Any]:
        self.moment()
        if "NextToken" not in request:
            self.looks += 1
            fault = dict(self.plan.look_faults).get(self.looks)
            if fault is not None:
                raise self.fail("ListDataSourceSyncJobs", fault, request)
            self.last_look = [replace(job) for job in self.model.listed()]
            self.is_newest_missing = self.looks in self.plan.missing_looks and bool(self.last_look)
            if self.is_newest_missing:
                self.unseen_before.add(self.model.jobs[self.last_look.pop(0).number])
        return self.show(request)

    def show(self, request: dict[str, Any]) -> dict[str, Any]:
        offset = int(request.get("NextToken", -10 * self.plan.empty_pages))
        if offset < 0:
            return {"History": [], "NextToken": str(offset + 10)}
        more = {"NextToken": str(offset + 10)} if offset + 10 < len(self.last_look) else {}
        items = [job.to_item() for job in self.last_look[offset : offset + 10]]
        older = {"Status": self.plan.older_status} if self.plan.older_status else {}
        return {
            "History": [{**item, **(older if offset or number else {})} for number, item in enumerate(items)],
            **more,
        }

    def start_data_source_sync_job(self, **request: Any) -> dict[str, Any]:
        self.moment()
        self.check_start()
        self.starts += 1
        faults = self.plan.start_faults
        fault = faults[self.starts - 1] if self.starts <= len(faults) else None
        job = self.model.start(by_us=True) if fault is None or fault.acts else None
        if fault is not None:
            answer: Any = self.fail("StartDataSourceSyncJob", fault, request)
        else:
            answer = self.answer_start(job, request)
        self.moment()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer_start(self, job: Job | None, request: dict[str, Any]) -> Any:
        if job is None:
            return client_error("ResourceInUseException", "StartDataSourceSyncJob")
        return {"ExecutionId": job.execution_id}

    def fail(self, operation: str, fault: Fault, request: dict[str, Any]) -> Exception:
        return fault.to_error(operation)

    def stop_data_source_sync_job(self, **request: Any) -> dict[str, Any]:
        self.moment()
        self.check_stop()
        self.model.stop()
        return {}

    # What must never happen; noted, since the task takes errors of the outside for what may pass.

    def forbid(self, is_wrong: bool, what: str) -> None:
        if is_wrong:
            self.wrongs.append(what)

    def check_start(self) -> None:
        is_seen = any(job.is_running for job in self.last_look[:1])
        self.forbid(is_seen, "a start was requested though the look before it showed a running job")
        running = self.model.running
        is_own = self.plan.durable and running is not None and running.by_us and running.run == self.run
        self.forbid(
            is_own and not self.is_newest_missing and not self.plan.switches,
            "a start was requested while a sync of this task was running",
        )
        # Three exchanges are too late to be noticed: two with the store, and the request itself.
        is_ending = self.told_to_end_at is not None and self.moments - self.told_to_end_at >= 3
        self.forbid(is_ending, "a start was requested by a task that was killed")

    def check_stop(self) -> None:
        seen = next((job for job in self.last_look[:1] if job.is_running), None)
        self.forbid(seen is None or not seen.by_us, "somebody else's sync was stopped")
        self.forbid(not self.plan.stop_on_kill, "a sync was stopped that was to go on")

    def check_claim(self, value: dict[str, Any]) -> None:
        is_claimed = value["is_ours"] and not self.job(value["execution_id"]).by_us
        self.forbid(is_claimed, "somebody else's sync was claimed")
        about = (value["index_id"], value["data_source_id"])
        self.forbid(about != tuple(self.ids.values()), "what is remembered is about another data source")

    def job(self, execution_id: str) -> Job:
        return next(job for job in self.model.jobs if job.execution_id == execution_id)

    def is_listed_as_running(self, job: Job) -> bool:
        """Whether the list never says that this job has ended."""
        return self.plan.older_status is not None and any(job in model.jobs[:-1] for model in self.models)

    def unseen(self) -> tuple[Job, ...]:
        return tuple(job for model in self.models for job in model.unseen())

    @property
    def run(self) -> int:
        return self.model.run

    def begin_run(self, number: int) -> None:
        for model in self.models:
            model.run = number

    def begin_try(self) -> None:
        """A Variable, or what the task is mapped over, may have changed."""
        self.tries += 1
        self.closed_before = {job for model in self.models for job in model.jobs if job.status != "SYNCING"}
        self.unseen_before |= {*self.unseen()}
        self.killed_at = self.told_to_end_at = None
        if self.tries in self.plan.switches:
            self.models.reverse()
            self.model = self.models[0]
            self.ids = {**self.ids, "data_source_id": self.model.data_source_id}
            self.last_look = []

    def is_result_remembered(self, memory: dict[str, Any] | None) -> bool:
        """Whether a job that ended before this try may be its result."""
        if memory is None or memory["data_source_id"] != self.model.data_source_id:
            return False
        now = self.clock.utcnow()
        doubt = now - datetime.fromisoformat(memory["since"])
        is_certain = memory["execution_id"] is not None or doubt <= timedelta(minutes=15)
        return is_certain and now < datetime.fromisoformat(memory["deadline"])

    # The task.

    @contextmanager
    def in_place(self) -> Iterator[None]:
        hook = FakeHook(self)
        with (
            self.clock.in_place(),
            patch("airflow_provider_kendra.hooks.kendra.time", self),
            patch("airflow_provider_kendra._waiting.wait.time", self),
            patch("airflow_provider_kendra.hooks.kendra.KendraSyncJobsHook._of", lambda parameters: hook),
            # What is tried here on every Airflow is the decision, not what carries it.
            patch("airflow_provider_kendra.operators._memory.AIRFLOW_V_3_3_PLUS", self.plan.durable),
        ):
            yield

    def make_operator(self) -> KendraStartSyncJobOperator:
        self.operator = QuietOperator(
            task_id="start",
            **self.ids,
            if_running=self.plan.if_running,
            deferrable=self.plan.deferrable,
            wait_for_completion=self.plan.waits,
            stop_on_kill=self.plan.stop_on_kill,
            durable=self.plan.durable,
            poll_interval=POLL_INTERVAL,
            timeout=TIMEOUT,
        )
        return self.operator

    def try_once(self) -> Any:
        context = {"task_state_store": self}
        try:
            return self.make_operator().execute(context)
        except TaskDeferred as deferred:
            resumed: TaskDeferred | None = deferred
        while resumed is not None:
            self.operator, self.killed_at, self.told_to_end_at = None, None, None  # that process has ended
            assert not resumed.kwargs, "dag.test() would drop it"
            arguments = json.loads(json.dumps({"event": self.await_event(resumed.trigger)}))
            try:
                return self.make_operator().resume_execution(resumed.method_name, arguments, context)
            except TaskDeferred as deferred:
                resumed = deferred

    def await_event(self, trigger: Any) -> dict[str, Any]:
        """What the trigger comes to: it waits for the same condition."""
        _, told = trigger.serialize()
        since = datetime.fromisoformat(told["waiting_since"])
        condition = sync_job_condition(
            execution_id=told["execution_id"],
            started_after=None,
            target_statuses=told["target_statuses"],
            max_documents_failed=told["max_documents_failed"],
            not_found_timeout=told["not_found_timeout"],
            since=since,
        )
        self.is_deferred = True
        try:
            outcome = waits.wait_in_worker(
                FakeHook(self),
                sources.DataSource(trigger.aws_parameters, *self.ids.values()),
                condition,
                interval=told["poll_interval"],
                deadline=since + timedelta(seconds=told["timeout"]),
                log=lambda line: None,
            )
        finally:
            self.is_deferred = False
        return {**outcome.to_event(), "state": told["state"]}


class QuietOperator(KendraStartSyncJobOperator):
    """The operator without its log, which in thousands of cases takes most of the time."""

    log: Any = SimpleNamespace(info=lambda *_: None, warning=lambda *_: None)


class FakeHook(KendraSyncJobsHook):
    """The hook with the world for a client."""

    log: Any = QuietOperator.log

    def __init__(self, world: World) -> None:
        super().__init__(aws_conn_id=None)
        self.world = world

    @property
    def conn(self) -> Any:
        return self.world

    @property
    def _single_attempt_client(self) -> Any:
        return self.world

    def _use_short_timeouts(self) -> None:
        pass


@dataclass
class Lived:
    """What became of one run of the task, lost tries included."""

    begin: float
    unseen: tuple[Job, ...]
    """What was not listed yet when the task began: it cannot be told from what came after."""
    result: dict[str, Any] | None = None
    error: BaseException | None = None
    tries: int = 0
    kills: int = 0
    time_outs: int = 0
    outdated: int = 0
    """Tries that what was remembered was too old for, or about another data source."""


def live(world: World) -> None:
    """Run the task to its end, clear it, run it again; nothing that must not happen does."""
    lived = None
    with world.in_place():
        for number in range(world.plan.runs):
            world.begin_run(number + 1)
            if lived is None or not world.store.kept:  # else this run may go on with what the one before began
                lived = Lived(world.clock.elapsed, world.unseen())
            else:
                lived = Lived(lived.begin, lived.unseen)
            check_run(world, live_through_run(world, lived))
            world.pass_time(world.plan.retry_delay)


def live_through_run(world: World, lived: Lived) -> Lived:
    while lived.tries < 7:
        lived.tries += 1
        lived.error = None
        world.begin_try()
        began = world.clock.elapsed
        memory = world.store.get("kendra_sync_job")
        may_be_over = world.is_result_remembered(memory)
        lived.outdated += memory is not None and not may_be_over
        try:
            lived.result = world.try_once()
            check_result(world, lived.result, began, may_be_over)
        except Killed:
            lived.kills += 1
            lived.error = KendraError("killed")
        except AirflowSkipException as skip:
            lived.error = skip
        except KendraError as error:
            if isinstance(error, AirflowFailException):
                raise  # none of these can happen here, and Airflow would not retry
            lived.error = error
            lived.time_outs += isinstance(error, KendraSyncJobTimeoutError)
            if world.plan.durable and not (lived.time_outs or lived.outdated):  # a sync that timed out may go on
                check_failed_try(world, error)
        longest = TIMEOUT + START_GRACE + 2 * LISTING_GRACE + 30
        assert world.clock.elapsed - began <= longest, "a try took longer than it may"
        assert not world.wrongs
        if lived.error is None or isinstance(lived.error, AirflowSkipException):
            return lived
        world.pass_time(world.plan.retry_delay)
    return lived


def check_result(world: World, result: dict[str, Any], began: float, may_be_over: bool) -> None:
    assert result["data_source_id"] == world.model.data_source_id, "another data source's sync was returned"
    job = world.job(result["execution_id"])
    if world.is_batch:
        assert job not in world.closed_before, "a batch was handed on that takes no more documents"
    elif job.ended is not None and job.ended < began and job not in world.unseen_before:
        assert may_be_over, "a sync was returned that had ended too long ago"


def check_failed_try(world: World, error: KendraError) -> None:
    running = world.model.running
    ours_runs = running is not None and running.by_us and running.run == world.run
    if world.is_batch and running is not None and running.status != "SYNCING":
        return  # a batch that takes no more documents is met as anybody's
    if isinstance(error, KendraSyncJobAlreadyRunningError):
        assert not ours_runs, "our own sync was taken for somebody else's"
    elif not isinstance(error, KendraSyncJobTimeoutError | KendraSyncJobFailedError):
        assert not ours_runs or world.store.kept, "a sync that was started was said not to be"


def check_run(world: World, lived: Lived) -> None:
    ours = [job for model in world.models for job in model.jobs if job.by_us and job.run == world.run]
    is_bad = {*TERMINAL_STATUSES, "STOPPING"} - {"SUCCEEDED"} if world.plan.waits else set()
    if world.is_batch:
        is_bad = {*TERMINAL_STATUSES, "SYNCING_INDEXING"}
    bad = [job for job in ours if job.status in is_bad]
    # Told to stop, but ended before that took effect, or listed as running for ever since it was not the newest any
    # more: it may be the result, or have been given up.
    stopped = [
        job
        for job in ours
        if (job.stops is not None or world.is_listed_as_running(job)) and job not in bad and world.plan.waits
    ]
    may_repeat = len(bad) + len(stopped) + lived.time_outs + lived.outdated + (0 if world.plan.durable else lived.kills)
    assert len(ours) <= 1 + may_repeat, "more syncs were started than the task has use for"
    event(f"{lived.tries} tries, {len(ours)} syncs: {type(lived.error).__name__ if lived.error else 'success'}")
    if lived.result is None:
        return
    result = world.job(lived.result["execution_id"])
    unseen = {*lived.unseen, *world.unseen_before}
    if world.plan.waits:
        assert lived.result["status"] == result.status == "SUCCEEDED"
    if world.plan.if_running == "attach":
        had_ended = result.ended is not None and result.ended < lived.begin
        assert not had_ended or result in unseen, "a sync was attached to that had ended"
    else:
        assert result.started >= lived.begin or result in unseen, "the result is older than the task"
    if not world.plan.has_third_parties and len(ours) + lived.time_outs > 0:
        assert result.by_us or result in world.unseen_before
    is_alone = not world.plan.has_third_parties and not lived.unseen and world.plan.if_running != "attach"
    is_settled = not lived.time_outs and not lived.outdated and (world.plan.durable or not lived.kills)
    if is_alone and is_settled and result.run == world.run and result.by_us:
        good = [job for job in ours if job is result or job not in bad]  # a batch may have been stopped meanwhile
        assert 1 <= len(good) <= 1 + len(stopped), "not exactly one sync was started"
    assert world.is_batch or not world.store.kept, "a task that is cleared after success would find its old sync"


COMMON = settings(suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate, Phase.shrink))


@pytest.mark.slow
@settings(COMMON, max_examples=examples(1_000))
@example(Plan(old_jobs=0, endings=((0.01, "SUCCEEDED"),), others=((7, "start"),), older_status="SYNCING"))
@example(Plan(old_jobs=0, is_custom=True, waits=False, others=((7, "stop"),)))
@given(
    plans(
        lags=st.sampled_from([0.0, 5.0, 15.0]), start_faults=START_FAULTS_OF_MODEL, **HISTORIES, **CLEARS, **SLOW_STOP
    )
)
def test_whatever_happens_a_task_has_exactly_one_sync(plan: Plan):
    live(World(plan))


class HttpWorld(World):
    """The local Kendra in step with the model: the task meets it over HTTP, and both must show the same."""

    def __init__(self, plan: Plan, kendra: LocalKendra) -> None:
        self.kendra = kendra
        kendra.reset()
        kendra.client("s3").create_bucket(Bucket="documents")
        kendra.set_sync_duration(None)
        index_id = kendra.create_index()
        self.ids = {"index_id": index_id, "data_source_id": kendra.create_s3_data_source(index_id, "documents")}
        self.key = {"IndexId": index_id, "Id": self.ids["data_source_id"]}
        self.client = kendra.client(config=Config(retries={"total_max_attempts": 1}))
        self.real: dict[str, Job] = {}
        self.ended = 0
        self.unanswered = 0
        super().__init__(plan)
        for model in self.models:
            model.data_source_id = self.ids["data_source_id"]

    def begin_start(self) -> None:
        self.kendra.set_listing_delay(self.plan.unlisted_looks * self.model.is_lagging)

    def others_start(self) -> None:
        known = len(self.model.jobs)
        super().others_start()
        if len(self.model.jobs) > known:
            self.begin_start()
            answer = self.client.start_data_source_sync_job(**self.key)
            self.real[answer["ExecutionId"]] = self.model.jobs[-1]

    def others_stop(self) -> None:
        super().others_stop()
        self.client.stop_data_source_sync_job(**self.key)

    def end_running(self) -> None:
        super().end_running()
        self.follow()

    def pass_time(self, seconds: float) -> None:
        super().pass_time(seconds)
        self.follow()

    def follow(self) -> None:
        """End what the model says has ended."""
        for job in self.model.jobs[self.ended :]:
            if not job.is_running:
                self.kendra.finish_sync_job(*self.ids.values(), job.status)
                self.ended += 1

    def show(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.list_data_source_sync_jobs(**request)
        if "NextToken" not in request:
            self.unread = list(self.last_look)
        for item in answer["History"]:
            job = self.unread.pop(0)
            assert item["Status"] == job.status, "the local Kendra is not in step with the model"
            self.real[item["ExecutionId"]] = self.model.jobs[job.number]
        assert bool(self.unread) == ("NextToken" in answer)
        return answer

    def answer_start(self, job: Job | None, request: dict[str, Any]) -> Any:
        self.begin_start()
        try:
            answer = self.client.start_data_source_sync_job(**request)
        except ClientError as error:
            assert job is None
            return error
        assert job is not None
        self.real[answer["ExecutionId"]] = job
        return answer

    def fail(self, operation: str, fault: Fault, request: dict[str, Any]) -> Exception:
        self.begin_start()
        self.kendra.inject(operation, times=1, **dict(fault.how))
        is_list = operation == "ListDataSourceSyncJobs"
        call = self.client.list_data_source_sync_jobs if is_list else self.client.start_data_source_sync_job
        try:
            call(**request)
        except Exception as error:
            return error
        raise AssertionError("the call should have failed")

    def stop_data_source_sync_job(self, **request: Any) -> dict[str, Any]:
        super().stop_data_source_sync_job(**request)
        return self.client.stop_data_source_sync_job(**request)

    def job(self, execution_id: str) -> Job:
        return self.real[execution_id]


@pytest.mark.slow
@settings(COMMON, max_examples=examples(25))
@given(plan=plans(lags=st.just(0.0), start_faults=START_FAULTS))
def test_the_same_holds_against_the_local_kendra_over_http(local_kendra: LocalKendra, plan: Plan):
    world = HttpWorld(plan, local_kendra)
    live(world)
    calls = local_kendra.calls("StartDataSourceSyncJob")
    answered = [call for call in calls if call.status == 200]
    lost = [call for call in calls if call.error == "ConnectionReset"]
    assert len(answered) <= len(world.model.jobs) <= len(answered) + len(lost)
