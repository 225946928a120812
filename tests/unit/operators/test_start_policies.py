"""What a start does if a sync is already running: every policy, in both modes, in every situation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_kendra._calls import PAUSE
from airflow_provider_kendra._starting import START_GRACE
from airflow_provider_kendra.exceptions import (
    KendraSyncJobAlreadyRunningError,
    KendraSyncJobFailedError,
    KendraSyncJobTimeoutError,
)
from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator
from airflow_provider_kendra.sync_job import SyncJob
from airflow_provider_kendra.testing import LocalKendra
from tests.conftest import DataSource, listed
from tests.task_runs import Clock, TaskRun

START, LIST = "StartDataSourceSyncJob", "ListDataSourceSyncJobs"

POLL_INTERVAL = 30.0
TIMEOUT = 1_000.0
OTHERS_END = 150.0
"""When a sync of somebody else ends."""
OURS_TAKES = 100.0
"""Seconds that a sync of our own takes."""


class Scene:
    """A data source on the local Kendra: what others do there, and how our own sync goes."""

    def __init__(self, source: DataSource, clock: Clock) -> None:
        self.source = source
        self.clock = clock
        self.others: list[str] = []
        self.in_the_way: str | None = None

    def others_start(self) -> None:
        """Start a sync as a schedule does: the calls of clients are all ours."""
        self.others.append(self.source.kendra.start_scheduled_sync(*self.source.ids))

    def others_end(self, status: str = "SUCCEEDED") -> None:
        self.source.finish(status)

    @property
    def ours(self) -> int:
        """How many syncs we have started."""
        return sum(call.status == 200 for call in self.source.kendra.calls(START))

    def end_ours(self) -> None:
        """Let our own sync take its time, once it is there."""
        if not self.ours:
            self.clock.at(self.clock.elapsed + 10, self.end_ours)
        else:
            self.clock.at(self.clock.elapsed + OURS_TAKES, self.source.finish)


def free(scene: Scene) -> None:
    pass


def running(scene: Scene) -> None:
    scene.others_start()
    scene.clock.at(OTHERS_END, scene.others_end)


def running_that_fails(scene: Scene) -> None:
    scene.others_start()
    scene.clock.at(OTHERS_END, lambda: scene.others_end("FAILED"))


def running_that_never_ends(scene: Scene) -> None:
    scene.others_start()


def in_use_but_not_listed(scene: Scene) -> None:
    scene.others_start()
    scene.source.show([])


def another_in_the_gap(scene: Scene) -> None:
    def one_after_the_other() -> None:
        scene.others_end()
        scene.others_start()

    scene.others_start()
    scene.clock.at(OTHERS_END, one_after_the_other)
    scene.clock.at(2 * OTHERS_END, scene.others_end)


@dataclass(frozen=True)
class Expected:
    """How the task ends: with whose sync, or with which error about it."""

    whose: str | None
    error: type[Exception] | None = None

    @property
    def starts(self) -> int:
        return self.whose == "ours"


OURS = Expected("ours")
THEIRS = Expected("theirs")
SKIPPED = Expected(None, AirflowSkipException)
REFUSED = Expected("theirs", KendraSyncJobAlreadyRunningError)
REFUSED_BY_NOBODY_KNOWN = Expected(None, KendraSyncJobAlreadyRunningError)
TIMED_OUT = Expected("theirs", KendraSyncJobTimeoutError)
FAILED = Expected("theirs", KendraSyncJobFailedError)

Situation = Callable[[Scene], None]

EXPECTED: dict[Situation, dict[str, Expected]] = {
    free: {"wait": OURS, "attach": OURS, "skip": OURS, "fail": OURS},
    running: {"wait": OURS, "attach": THEIRS, "skip": SKIPPED, "fail": REFUSED},
    running_that_fails: {"wait": OURS, "attach": FAILED, "skip": SKIPPED, "fail": REFUSED},
    running_that_never_ends: {"wait": TIMED_OUT, "attach": TIMED_OUT, "skip": SKIPPED, "fail": REFUSED},
    in_use_but_not_listed: dict.fromkeys(("wait", "attach", "skip", "fail"), REFUSED_BY_NOBODY_KNOWN),
    another_in_the_gap: {"wait": OURS, "attach": THEIRS, "skip": SKIPPED, "fail": REFUSED},
}


def expected_of_custom(policy: str, expected: Expected) -> Expected:
    """A CUSTOM data source is not waited for, so that what the sync taken on comes to is not seen."""
    return THEIRS if policy == "attach" and expected in (FAILED, TIMED_OUT) else expected


ROWS = [
    pytest.param(kind, situation, policy, outcome, id=f"{kind}-{situation.__name__}-{policy}")
    for situation, row in EXPECTED.items()
    for policy, expected in row.items()
    for kind, outcome in (("S3", expected), ("CUSTOM", expected_of_custom(policy, expected)))
]


@pytest.fixture(params=["on a worker", "deferred"])
def is_deferrable(request: pytest.FixtureRequest) -> bool:
    return request.param == "deferred"


@pytest.fixture
def sources(data_source: DataSource, custom_data_source: DataSource) -> dict[str, DataSource]:
    return {"S3": data_source, "CUSTOM": custom_data_source}


@pytest.mark.parametrize(("data_source_type", "situation", "policy", "expected"), ROWS)
def test_the_policy_decides_what_a_start_does_about_a_running_sync(
    data_source_type: str,
    situation: Situation,
    policy: str,
    expected: Expected,
    is_deferrable: bool,
    sources: dict[str, DataSource],
):
    source = sources[data_source_type]
    task = task_on(source, if_running=policy, deferrable=is_deferrable, waits=data_source_type == "S3")
    scene = Scene(source, task.clock)
    situation(scene)
    scene.end_ours()

    result: dict[str, Any] | None = None
    error: Exception | None = None
    try:
        result = task.run()
    except Exception as raised:
        error = raised

    assert type(error) is (expected.error or type(None)), error
    job = SyncJob.from_dict(result) if result else getattr(error, "job", None)
    assert whose(job, scene) == expected.whose
    assert scene.ours == expected.starts
    if is_deferrable:
        assert max(task.clock.sleeps, default=0) <= PAUSE, "a worker was held"


def whose(job: SyncJob | None, scene: Scene) -> str | None:
    if job is None:
        return None
    return "theirs" if job.execution_id in scene.others else "ours"


def task_on(source: DataSource, *, waits: bool = True, **arguments: Any) -> TaskRun:
    return TaskRun(
        lambda: KendraStartSyncJobOperator(
            task_id="start",
            **source.as_kwargs,
            wait_for_completion=waits,
            poll_interval=POLL_INTERVAL,
            **{"timeout": TIMEOUT, **arguments},
        )
    )


def test_a_start_refused_without_a_listed_sync_is_retried_for_a_minute(data_source: DataSource):
    task = task_on(data_source, if_running="wait")
    in_use_but_not_listed(Scene(data_source, task.clock))
    with pytest.raises(KendraSyncJobAlreadyRunningError, match="no running sync was listed for 60 s"):
        task.run()
    assert START_GRACE <= task.clock.elapsed <= START_GRACE + 2 * PAUSE
    assert data_source.kendra.call_count(START) == START_GRACE / PAUSE + 1


def test_a_running_sync_that_is_listed_late_is_waited_out(data_source: DataSource):
    task = task_on(data_source, if_running="wait")
    scene = Scene(data_source, task.clock)
    data_source.kendra.set_listing_delay(3)
    running(scene)
    scene.end_ours()
    assert task.run()["execution_id"] not in scene.others
    assert scene.ours == 1


def test_after_a_malformed_refusal_the_history_decides(data_source: DataSource, is_deferrable: bool):
    task = task_on(data_source, if_running="attach", deferrable=is_deferrable)
    scene = Scene(data_source, task.clock)
    data_source.kendra.set_listing_delay(1)
    data_source.kendra.inject(START, times=1, body="not-json")
    running(scene)
    assert task.run()["execution_id"] == scene.others[0]
    assert scene.ours == 0


def test_waiting_for_others_ends_with_the_time_out_without_a_start(data_source: DataSource, is_deferrable: bool):
    task = task_on(data_source, if_running="wait", deferrable=is_deferrable)
    scene = Scene(data_source, task.clock)
    scene.others_start()
    task.clock.at(TIMEOUT, scene.others_end)
    with pytest.raises(KendraSyncJobTimeoutError):
        task.run()
    assert scene.ours == 0


def test_a_sync_of_others_that_outlasts_the_time_out_is_told_from_one_that_the_task_started(
    data_source: DataSource, is_deferrable: bool
):
    task = task_on(data_source, if_running="wait", deferrable=is_deferrable)
    scene = Scene(data_source, task.clock)
    scene.others_start()
    message = "Timed out before a sync could be started, since another one was running. Last known state: .*SYNCING"
    with pytest.raises(KendraSyncJobTimeoutError, match=message) as raised:
        task.run()
    assert whose(raised.value.job, scene) == "theirs"
    assert scene.ours == 0


def test_the_time_spent_waiting_for_others_counts(data_source: DataSource, is_deferrable: bool):
    task = task_on(data_source, if_running="wait", deferrable=is_deferrable)
    scene = Scene(data_source, task.clock)
    scene.others_start()
    task.clock.at(TIMEOUT - 200, scene.others_end)
    with pytest.raises(KendraSyncJobTimeoutError) as raised:
        task.run()
    assert whose(raised.value.job, scene) == "ours"
    assert TIMEOUT <= task.clock.elapsed < TIMEOUT + 2 * POLL_INTERVAL


ONE_ATTEMPT = {"retries": {"total_max_attempts": 1}}
"""For botocore, whose own pauses would take real time."""


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("faulty", ["DescribeDataSource", LIST, START])
def test_no_start_is_sent_after_the_time_out(data_source: DataSource, faulty: str, waits: bool, is_deferrable: bool):
    task = task_on(
        data_source, waits=waits, if_running="wait", timeout=10, deferrable=is_deferrable, botocore_config=ONE_ATTEMPT
    )
    data_source.kendra.inject(faulty, error="ThrottlingException")
    task.clock.at(10 + PAUSE, data_source.kendra.clear_faults)
    with pytest.raises(KendraSyncJobTimeoutError, match="Timed out before a sync could be started"):
        task.run()
    assert data_source.execution_ids() == []
    assert task.clock.elapsed <= 10 + 2 * PAUSE


def test_a_start_after_other_syncs_is_not_sent_after_the_time_out(data_source: DataSource, is_deferrable: bool):
    task = task_on(data_source, if_running="wait", deferrable=is_deferrable, botocore_config=ONE_ATTEMPT)
    scene = Scene(data_source, task.clock)
    scene.others_start()

    def end_while_throttled() -> None:
        scene.others_end()
        data_source.kendra.inject("DescribeDataSource", error="ThrottlingException")
        data_source.kendra.inject(START, error="ThrottlingException")

    task.clock.at(TIMEOUT - POLL_INTERVAL - 10, end_while_throttled)
    with pytest.raises(KendraSyncJobTimeoutError, match="Timed out before a sync could be started"):
        task.run()
    assert scene.ours == 0
    assert task.clock.elapsed <= TIMEOUT + 2 * PAUSE


def test_a_start_without_a_wait_needs_no_time(data_source: DataSource):
    task = task_on(data_source, waits=False, if_running="wait", timeout=0)
    assert [task.run()["execution_id"]] == data_source.execution_ids()


@pytest.mark.parametrize("policy", ["wait", "attach"])
def test_a_sync_that_is_being_stopped_is_waited_out(data_source: DataSource, policy: str, is_deferrable: bool):
    others = data_source.start()
    data_source.client.stop_data_source_sync_job(IndexId=data_source.index_id, Id=data_source.data_source_id)
    task = task_on(data_source, if_running=policy, deferrable=is_deferrable)
    task.clock.at(OTHERS_END, lambda: data_source.finish("ABORTED"))
    task.clock.at(2 * OTHERS_END, data_source.finish)
    assert task.run()["execution_id"] != others
    assert len(data_source.execution_ids()) == 2


def test_a_time_out_never_stops_the_sync_of_others(data_source: DataSource, is_deferrable: bool):
    task = task_on(data_source, if_running="attach", deferrable=is_deferrable)
    data_source.start()
    with pytest.raises(KendraSyncJobTimeoutError):
        task.run()
    assert data_source.kendra.call_count("StopDataSourceSyncJob") == 0


def test_the_log_says_why_another_sync_that_is_still_listed_as_running_is_over(data_source: DataSource):
    said: list[str] = []
    log = SimpleNamespace(info=lambda text, *values: said.append(text % values))
    theirs = listed("theirs", "SYNCING")
    data_source.show([theirs])
    task = TaskRun(lambda: KendraStartSyncJobOperator(task_id="start", timeout=300, **data_source.as_kwargs))
    task.clock.at(10, lambda: data_source.show([listed("new", "SYNCING"), theirs]))
    with patch.object(KendraStartSyncJobOperator, "log", log), pytest.raises(KendraSyncJobTimeoutError):
        task.run()
    [line] = [line for line in said if line.startswith("The other sync is over. ")]
    assert "a newer sync has started, so this one is not running" in line
    assert "Sync SYNCING" not in line


def test_the_log_names_the_other_sync_its_start_and_its_progress(local_kendra: LocalKendra, data_source: DataSource):
    said: list[str] = []

    class Operator(KendraStartSyncJobOperator):
        log: Any = type(
            "Log", (), {"info": lambda self, text, *values: said.append(text % values if values else text)}
        )()

    task = TaskRun(lambda: Operator(task_id="start", **data_source.as_kwargs))
    scene = Scene(data_source, task.clock)
    running(scene)
    scene.end_ours()
    task.run()
    [line] = [line for line in said if "Another sync is running" in line]
    client = data_source.client
    history = client.list_data_source_sync_jobs(IndexId=data_source.index_id, Id=data_source.data_source_id)["History"]
    assert scene.others[0] in line
    assert f"SYNCING since {history[-1]['StartTime'].astimezone(UTC):%Y-%m-%d %H:%M:%S}Z (no documents yet)" in line
