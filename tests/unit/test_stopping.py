"""
A task stops at most one sync, whatever happens: under random interleavings, and decision by decision.

The real operator and the real hook drive the decisions, on a fake clock. Kendra is a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import patch

import boto3
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from botocore.exceptions import ClientError, ConnectionClosedError
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._calls import LISTING_GRACE
from airflow_provider_kendra._clock import CLOCK_DIFFERENCE
from airflow_provider_kendra._stopping import (
    STOP_GRACE,
    Stopped,
    Stopper,
    StopState,
    advance_stop,
    may_follow_a_stopped_job,
    stop_whichever_runs,
)
from airflow_provider_kendra.exceptions import KendraError
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import KendraStopSyncJobOperator
from airflow_provider_kendra.sync_job import TERMINAL_STATUSES, SyncJob
from tests.conftest import examples
from tests.task_runs import BEGIN, Clock, Store
from tests.unit.sync_job_calls import ANSWER_LOST, DENIED, EXPIRED_CREDENTIALS, NO_EFFECT, CallError, Calls

INDEX_ID = "12345678-1234-1234-1234-123456789012"
DATA_SOURCE_ID = "source"

# --- The decisions, one at a time ---------------------------------------------------------------------------------


def jobs(*listed: str) -> list[SyncJob]:
    """A history, newest first: ``jobs("new SYNCING", "old FAILED")``."""
    return [job(*each.split()) for each in listed]


def job(execution_id: str, status: str, **members: Any) -> SyncJob:
    return SyncJob(
        index_id=INDEX_ID, data_source_id=DATA_SOURCE_ID, execution_id=execution_id, status=status, **members
    )


@pytest.mark.parametrize(
    ("history", "execution_id", "is_custom", "state", "of"),
    [
        (["a SYNCING"], None, None, StopState.SENT, "a"),
        (["a SYNCING"], "a", None, StopState.SENT, "a"),
        (["a NEW_STATUS"], None, None, StopState.SENT, "a"),
        (["a STOPPING"], None, None, StopState.STOPPING, "a"),
        (["a SYNCING_INDEXING"], None, False, StopState.SENT, "a"),
        (["a SYNCING_INDEXING"], None, True, StopState.STOPPING, "a"),
        (["a SYNCING_INDEXING"], "a", None, StopState.STOPPING, "a"),
        (["a SYNCING"], None, True, StopState.SENT, "a"),
        (["a FAILED"], "a", None, StopState.OVER, "a"),
        (["b SYNCING", "a SUCCEEDED"], "a", None, StopState.OVER, "a"),
        (["b SYNCING", "a SYNCING"], "a", None, StopState.OVER, "a"),
        (["b SUCCEEDED", "a STOPPING"], "a", None, StopState.OVER, "a"),
        (["b SUCCEEDED", "a SYNCING"], None, None, StopState.NOT_LISTED, None),
        (["b SYNCING"], "a", None, StopState.NOT_LISTED, None),
        ([], None, None, StopState.NOT_LISTED, None),
    ],
)
def test_the_history_decides_what_a_stop_does(history, execution_id, is_custom, state, of):
    stopper = Stopper(execution_id, is_custom=is_custom)
    step = stopper.next_step(jobs(*history), 0)
    if state is StopState.NOT_LISTED:
        assert step is None
        assert stopper.next_step(jobs(*history), LISTING_GRACE - 1) is None
        assert stopper.next_step(jobs(*history), LISTING_GRACE) == Stopped(state)
    elif state is StopState.SENT:
        assert step == jobs(*history)[0]
    else:
        assert isinstance(step, Stopped)
        assert (step.state, step.job and step.job.execution_id) == (state, of)


def test_once_a_sync_has_been_decided_on_no_other_one_is_stopped():
    stopper = Stopper()
    assert stopper.next_step(jobs("a SYNCING"), 0) == jobs("a SYNCING")[0]
    assert stopper.next_step(jobs("b SYNCING", "a ABORTED"), 2) == Stopped(StopState.OVER, jobs("a ABORTED")[0])


def test_a_job_that_is_missing_from_one_read_is_searched_for_again():
    stopper = Stopper("a")
    assert stopper.next_step([], 0) is None
    assert stopper.next_step(jobs("a SYNCING"), LISTING_GRACE - 1) == jobs("a SYNCING")[0]
    assert stopper.next_step([], LISTING_GRACE) is None


def test_a_refusal_counts_only_while_the_sync_runs():
    refusal = ValueError("refused")
    over, running = Stopper("a"), Stopper("a")
    over.refused(refusal)
    assert over.next_step(jobs("a SUCCEEDED"), 0) == Stopped(StopState.OVER, jobs("a SUCCEEDED")[0])
    running.refused(refusal)
    with pytest.raises(ValueError, match="refused"):
        running.next_step(jobs("a SYNCING"), 0)


@pytest.mark.parametrize(
    ("history", "execution_id", "is_custom", "depends"),
    [
        (["a SYNCING_INDEXING"], None, None, True),
        (["a SYNCING_INDEXING"], "a", None, True),
        (["a SYNCING_INDEXING"], "b", None, False),
        (["a SYNCING_INDEXING"], None, True, False),
        (["a SYNCING_INDEXING"], None, False, False),
        (["a SYNCING"], None, None, False),
        ([], None, None, False),
    ],
)
def test_the_type_matters_only_while_that_sync_is_indexing(history, execution_id, is_custom, depends):
    assert Stopper(execution_id, is_custom=is_custom).depends_on_type(jobs(*history)) is depends


def test_transient_errors_are_tolerated_for_a_while():
    stopper = Stopper()
    assert not stopper.failed(100)
    assert not stopper.failed(100 + STOP_GRACE - 1)
    assert stopper.failed(100 + STOP_GRACE)


LONG_BEFORE = BEGIN - timedelta(hours=1)
JUST_BEFORE = BEGIN - CLOCK_DIFFERENCE
AFTER = BEGIN + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("started", "previous_ended", "may"),
    [
        (AFTER, LONG_BEFORE, False),
        (AFTER, JUST_BEFORE, True),
        (AFTER, AFTER, True),
        (AFTER, None, True),
        (LONG_BEFORE, None, False),
        (LONG_BEFORE, LONG_BEFORE, False),
        (None, None, True),
        (None, LONG_BEFORE, False),
    ],
)
def test_a_retry_without_memory_stops_only_a_sync_that_an_earlier_try_can_have_met(started, previous_ended, may):
    running, previous = job("b", "SYNCING", start_time=started), job("a", "ABORTED", end_time=previous_ended)
    assert may_follow_a_stopped_job(running, previous, BEGIN) is may
    assert may_follow_a_stopped_job(running, previous, None) is True
    assert may_follow_a_stopped_job(running, None, None) is False


@pytest.mark.parametrize(
    ("stopped", "message"),
    [
        (Stopped(StopState.NOT_LISTED), "Nothing to stop: no sync is running."),
        (
            Stopped(StopState.OVER, job("a", "ABORTED")),
            "Nothing to stop. Sync ABORTED: no documents reported (sync job a,",
        ),
        (Stopped(StopState.OVER, job("a", "SYNCING")), "Nothing to stop: a newer sync has started, so this"),
        (Stopped(StopState.STOPPING, job("a", "STOPPING")), "No stop was sent: the sync is already STOPPING"),
        (Stopped(StopState.SENT, job("a", "SYNCING")), "Stop sent: the sync was SYNCING (no documents yet) ("),
    ],
)
def test_the_message_of_a_stop_begins_with_the_result_and_ends_with_the_sync(stopped: Stopped, message: str):
    assert stopped.message.startswith(message)
    assert stopped.job is None or stopped.message.endswith(f"{stopped.job.ids}.")


# --- The loop, over scripted calls --------------------------------------------------------------------------------


RUNNING = jobs("b SYNCING", "a SUCCEEDED")
INDEXING = jobs("b SYNCING_INDEXING", "a SUCCEEDED")


def test_a_stop_is_confirmed_and_then_sent():
    calls, confirmed = Calls([RUNNING]), []
    stopped = advance_stop(calls, Stopper(), lambda *chosen: confirmed.append((*chosen, list(calls.done))))
    assert stopped == Stopped(StopState.SENT, RUNNING[0])
    assert confirmed == [(*RUNNING, ["read"])]
    assert calls.done == ["read", "stop"]


def test_a_job_that_was_given_needs_no_confirmation():
    calls, confirmed = Calls([RUNNING]), []
    advance_stop(calls, Stopper("b"), lambda *chosen: confirmed.append(chosen))
    assert (confirmed, calls.done) == ([], ["read", "stop"])


def test_an_error_raised_by_confirm_prevents_the_stop():
    calls = Calls([RUNNING])
    with pytest.raises(ZeroDivisionError):
        advance_stop(calls, Stopper(), lambda *_: 1 / 0)
    assert calls.done == ["read"]


@pytest.mark.parametrize(("execution_id", "read"), [(None, 2), ("d", 1), ("b", 3), ("z", 4)])
def test_the_history_is_read_no_further_than_the_decision_takes(execution_id: str | None, read: int):
    calls = Calls([jobs("d STOPPING", "c SUCCEEDED", "b SUCCEEDED", "a SUCCEEDED"), ()])
    advance_stop(calls, Stopper(execution_id))
    assert calls.jobs_read == read


@pytest.mark.parametrize("error", [NO_EFFECT, ANSWER_LOST, EXPIRED_CREDENTIALS])
def test_a_stop_that_met_a_transient_error_is_sent_again_after_another_reading(error: Exception):
    calls, confirmed = Calls([RUNNING], [error, "stopped"]), []
    stopped = advance_stop(calls, Stopper(), lambda *chosen: confirmed.append(chosen))
    assert stopped.state is StopState.SENT
    assert [each for each in calls.done if each != "discard clients"] == ["read", "stop", "sleep 2", "read", "stop"]
    assert len(confirmed) == 1
    assert calls.done.count("discard clients") == (error is EXPIRED_CREDENTIALS)


def test_a_stop_that_was_refused_since_the_job_had_ended_is_no_error():
    calls = Calls([RUNNING, jobs("b SUCCEEDED")], [DENIED])
    assert advance_stop(calls, Stopper()) == Stopped(StopState.OVER, jobs("b SUCCEEDED")[0])


def test_a_stop_that_was_refused_while_the_job_runs_on_raises_the_refusal():
    calls = Calls([RUNNING], [DENIED])
    with pytest.raises(CallError) as caught:
        advance_stop(calls, Stopper())
    assert caught.value is DENIED
    assert calls.done == ["read", "stop", "sleep 2", "read"]


@pytest.mark.parametrize(
    ("histories", "answers"), [([NO_EFFECT], ["stopped"]), ([RUNNING], [NO_EFFECT])], ids=["readings", "stops"]
)
def test_a_transient_error_that_does_not_pass_is_raised_after_a_minute(histories: Any, answers: Any):
    calls = Calls(histories, answers)
    with pytest.raises(CallError) as caught:
        advance_stop(calls, Stopper())
    assert caught.value is NO_EFFECT
    assert calls.elapsed - 1000 == STOP_GRACE


def test_a_reading_that_is_denied_is_an_error_at_once():
    calls = Calls([DENIED])
    with pytest.raises(CallError):
        advance_stop(calls, Stopper())
    assert calls.done == ["read"]


def test_a_task_that_is_being_killed_does_not_renew_credentials():
    calls = Calls([EXPIRED_CREDENTIALS], has_short_timeouts=True)
    with pytest.raises(CallError):
        advance_stop(calls, Stopper())
    assert calls.done == ["read"]


@pytest.mark.parametrize(
    ("types", "state"),
    [
        (["S3"], StopState.SENT),
        (["CUSTOM"], StopState.STOPPING),
        ([None], StopState.STOPPING),
        ([DENIED], StopState.STOPPING),
        ([KendraError("unreadable")], StopState.STOPPING),
        ([NO_EFFECT, "S3"], StopState.SENT),
    ],
    ids=["S3", "CUSTOM", "not given", "denied", "unreadable", "throttled once"],
)
def test_a_job_that_is_indexing_is_stopped_only_if_its_source_is_known_not_to_be_custom(types: Any, state: StopState):
    calls = Calls([INDEXING], types=types)
    assert advance_stop(calls, Stopper()) == Stopped(state, INDEXING[0])


def test_a_type_that_cannot_be_read_is_logged_with_what_to_allow():
    calls = Calls([INDEXING], types=[KendraError("no access.")])
    advance_stop(calls, Stopper())
    assert calls.lines == [
        "The type of the data source can't be read: no access. No stop is sent while documents are being indexed, "
        "since a CUSTOM data source must not be stopped twice. Allow kendra:DescribeDataSource (data source source)."
    ]


def test_a_transient_error_of_a_stop_is_logged():
    calls = Calls([RUNNING], [NO_EFFECT, "stopped"])
    advance_stop(calls, Stopper())
    assert calls.lines == ["Could not stop the sync yet: it is transient; trying again."]


class TestStopWhicheverRuns:
    def test_a_history_that_cannot_be_read_prevents_no_stop(self):
        calls = Calls([KendraError("no access.")])
        stop_whichever_runs(calls)
        assert calls.done == ["read", "stop"]
        assert calls.lines == ["Could not read which sync is running: no access; sending the stop nevertheless."]

    @pytest.mark.parametrize("listed", [[], ["a SUCCEEDED"]])
    def test_where_none_runs_the_request_is_sent_once(self, listed):
        calls = Calls([jobs(*listed)], [NO_EFFECT])
        with pytest.raises(CallError):
            stop_whichever_runs(calls)
        assert calls.done == ["read", "stop"]
        assert calls.lines == []

    def test_a_stop_that_may_have_been_lost_is_sent_again_for_the_same_sync(self):
        calls = Calls([RUNNING], [NO_EFFECT, "stopped"])
        stop_whichever_runs(calls)
        assert calls.done == ["read", "stop", "read", "stop"]
        assert calls.lines == ["The stop request may have had no effect: it is transient; reading the history."]


# --- Random interleavings -----------------------------------------------------------------------------------------


@dataclass(eq=False)
class Job:
    """A sync job as the model knows it."""

    number: int
    started: float
    listed_from: float
    status: str = "SYNCING"
    ended: float | None = None
    ends: float | None = None

    @property
    def execution_id(self) -> str:
        return f"job-{self.number}"

    @property
    def is_running(self) -> bool:
        return self.status not in TERMINAL_STATUSES


@dataclass(frozen=True)
class Plan:
    """What a task is given, and what happens meanwhile. Moments are counted: each call or pause is one."""

    is_custom: bool = False
    has_store: bool = True
    is_given_id: bool = False
    waits: bool = True
    old_jobs: int = 1
    old_shows_running: bool = False
    shows_end_times: bool = True
    is_busy: bool = True
    lag: float = 0.0
    clock_difference: float = 0.0
    others: tuple[tuple[int, str], ...] = ()
    stop_faults: tuple[str | None, ...] = ()
    kills: tuple[int, ...] = ()
    runs: int = 1


plans = st.builds(
    Plan,
    is_custom=st.booleans(),
    has_store=st.booleans(),
    is_given_id=st.booleans(),
    waits=st.booleans(),
    old_jobs=st.sampled_from([0, 1, 12]),
    old_shows_running=st.booleans(),
    shows_end_times=st.sampled_from([True, True, False]),
    is_busy=st.sampled_from([True, True, True, False]),
    lag=st.sampled_from([0.0, 5.0, 15.0]),
    clock_difference=st.sampled_from([0.0, -240.0, 240.0]),
    others=st.lists(
        st.tuples(st.integers(0, 25), st.sampled_from(["start", "end", "end and start", "stop"])), max_size=5
    ).map(tuple),
    stop_faults=st.lists(
        st.sampled_from([None, "throttled", "lost before", "lost after", "broken after"]), max_size=4
    ).map(tuple),
    kills=st.lists(st.integers(0, 20), max_size=4).map(tuple),
    runs=st.sampled_from([1, 1, 2]),
)


class Killed(BaseException):
    """The process is gone."""


class World:
    """A data source of Kendra, what others do to it, and what Airflow keeps for the task; the hook's client."""

    meta: ClassVar[Any] = boto3.client("kendra", region_name="us-east-1").meta

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clock = Clock()
        self.store = Store()
        self.jobs: list[Job] = []
        self.moments = 0
        self.requests = 0
        self.shown: list[Job] = []
        self.stopped_by_task: list[Job] = []
        self.wrongs: list[str] = []
        self.events: list[str] = []
        for _ in range(plan.old_jobs):
            self.start()
            self.end()
        self.clock.move_to(100 * CLOCK_DIFFERENCE.total_seconds())
        if plan.is_busy:
            self.start()

    @property
    def running(self) -> Job | None:
        return next((each for each in self.jobs if each.is_running), None)

    def start(self) -> None:
        if self.running is None:
            now = self.clock.elapsed
            self.jobs.append(Job(len(self.jobs), now, now + self.plan.lag))

    def end(self) -> None:
        if (running := self.running) is not None:
            running.status, running.ended = "ABORTED" if running.ends else "SUCCEEDED", self.clock.elapsed

    def stop(self) -> Job | None:
        running = self.running
        if running is not None and running.ends is None:
            running.status = "SYNCING_INDEXING" if self.plan.is_custom else "STOPPING"
            running.ends = self.clock.elapsed + 45
        return running

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and others act."""
        self.clock.elapsed += seconds
        if (running := self.running) is not None and running.ends is not None and running.ends <= self.clock.elapsed:
            self.end()
        self.moments += 1
        assert self.moments < 2_000, "it goes on and on"
        for moment, what in self.plan.others:
            if moment == self.moments:
                for each in what.split(" and "):
                    {"start": self.start, "end": self.end, "stop": self.stop}[each]()
        self.may_be_killed()

    def may_be_killed(self) -> None:
        if self.moments in self.kills:
            self.kills.discard(self.moments)
            raise Killed

    # What the task meets.

    def sleep(self, seconds: float) -> None:
        self.pass_time(seconds)

    def monotonic(self) -> float:
        return self.clock.elapsed

    def item(self, each: Job, is_newest: bool) -> dict[str, Any]:
        def at(seconds: float) -> datetime:
            return BEGIN + timedelta(seconds=seconds + self.plan.clock_difference)

        item = {"ExecutionId": each.execution_id, "Status": each.status, "StartTime": at(each.started)}
        if each.ended is not None and self.plan.shows_end_times:
            item["EndTime"] = at(each.ended)
        if each.number == 0 and not is_newest and self.plan.old_shows_running:
            item["Status"] = "SYNCING"
        return item

    def list_data_source_sync_jobs(self, **request: Any) -> dict[str, Any]:
        self.pass_time(0.1)
        self.shown = [each for each in reversed(self.jobs) if each.listed_from <= self.clock.elapsed]
        return {"History": [self.item(each, number == 0) for number, each in enumerate(self.shown)]}

    def describe_data_source(self, **request: Any) -> dict[str, Any]:
        return {"Type": "CUSTOM" if self.plan.is_custom else "S3"}

    def stop_data_source_sync_job(self, **request: Any) -> dict[str, Any]:
        faults = self.plan.stop_faults
        fault = faults[self.requests] if self.requests < len(faults) else None
        self.requests += 1
        self.check(self.shown[0])
        if fault in (None, "lost after", "broken after") and (stopped := self.stop()) is not None:
            self.stopped_by_task.append(stopped)
        self.pass_time(0.1)
        if fault in ("throttled", "broken after"):
            code, status = ("ThrottlingException", 400) if fault == "throttled" else ("InternalServerException", 500)
            error = {"Error": {"Code": code, "Message": "said"}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise ClientError(error, "StopDataSourceSyncJob")  # type: ignore[arg-type]
        if fault is not None:
            raise ConnectionClosedError(endpoint_url="https://kendra")
        return {}

    def check(self, newest: Job) -> None:
        """Note what must never happen; raised, it would be taken for an error of the outside."""
        if not newest.is_running:
            self.wrongs.append("a stop was requested though the reading before it showed nothing running")
        if newest.status == "STOPPING" or (self.plan.is_custom and newest.status == "SYNCING_INDEXING"):
            self.wrongs.append("a stop was requested twice")

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
            patch("airflow_provider_kendra.operators._memory.AIRFLOW_V_3_3_PLUS", self.plan.has_store),
        ):
            yield

    def live(self) -> None:
        """Run the task to its end, with retries; clear it and run it again."""
        self.kills = set(self.plan.kills)
        began = BEGIN + timedelta(seconds=self.clock.elapsed)
        given = self.jobs[-1].execution_id if self.plan.is_given_id and self.jobs else None
        try_number = 0
        for _ in range(self.plan.runs):
            ti = SimpleNamespace(try_number=try_number, max_tries=try_number + 4, xcom_push=lambda **_: None)
            self.stopped_by_task.clear()
            for _ in range(5):
                ti.try_number = try_number = try_number + 1
                context = {"ti": ti, "dag_run": SimpleNamespace(start_date=began), "task_state_store": self.store}
                if self.try_once(context, given):
                    break
                self.pass_time_between_tries()
            self.judge(given)

    def pass_time_between_tries(self) -> None:
        with suppress(Killed):
            self.pass_time(30)

    def try_once(self, context: Any, given: str | None) -> bool:
        """Return whether Airflow is done with the task."""
        operator = QuietOperator(
            task_id="stop", index_id=INDEX_ID, data_source_id=DATA_SOURCE_ID, execution_id=given,
            wait_for_completion=self.plan.waits, poll_interval=30, timeout=200, retries=4,
        )  # fmt: skip
        try:
            operator.execute(context)
        except Killed:
            return False
        except AirflowFailException:
            self.events.append("refused to stop")
            return True
        except KendraError:
            return False
        return True

    def judge(self, given: str | None) -> None:
        assert not self.wrongs
        stopped = {each.execution_id for each in self.stopped_by_task}
        self.events.append(f"{len(stopped)} syncs stopped")
        assert len(stopped) <= 1, "a task stopped more than one sync"
        assert given is None or stopped <= {given}, "another sync was stopped than the given one"


class QuietOperator(KendraStopSyncJobOperator):
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


@pytest.mark.slow
@settings(max_examples=examples(1_000), suppress_health_check=list(HealthCheck))
@given(plans)
def test_whatever_happens_a_task_stops_at_most_one_sync(plan: Plan):
    world = World(plan)
    with world.in_place():
        world.live()
    for what in world.events:
        event(what)


@pytest.mark.parametrize("has_store", [True, False])
@pytest.mark.parametrize("fault", [None, "throttled", "lost before", "lost after", "broken after"])
def test_a_sync_that_runs_on_is_stopped_whatever_becomes_of_the_first_request(has_store, fault):
    world = World(Plan(has_store=has_store, stop_faults=(fault, fault), waits=False))
    with world.in_place():
        world.live()
    assert [each.execution_id for each in world.stopped_by_task] == ["job-1"] * len(world.stopped_by_task)
    assert world.jobs[-1].status == "STOPPING"
