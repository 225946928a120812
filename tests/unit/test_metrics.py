"""Metrics: what is sent to Airflow's Stats, when and how often, and that a receiver that fails changes nothing."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, Context

from airflow_provider_kendra import _clock, _metrics
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._waiting import freshness, poller, sources
from airflow_provider_kendra._waiting import wait as waits
from airflow_provider_kendra._waiting.conditions import ExecutionFinished, Fresh, read
from airflow_provider_kendra._waiting.history import History, Page
from airflow_provider_kendra.exceptions import KendraSyncJobFailedError, KendraSyncJobTimeoutError
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import KendraStopSyncJobOperator, KendraSyncJobMetricsOperator
from airflow_provider_kendra.outcomes import AllFresh
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor
from airflow_provider_kendra.sync_job import Acceptance, SyncJob, SyncJobStatus
from airflow_provider_kendra.triggers.kendra import connect
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_3_PLUS
from tests.conftest import DataSource, counts, listed
from tests.task_runs import TaskRun
from tests.unit.operators.test_durable_and_kill import Lost, Task
from tests.virtual_time import async_log, run_in_virtual_time

STATS = "airflow.providers.common.compat.sdk.Stats"
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
# botocore's own retries would sleep.
AWS = AwsParameters(botocore_config='{"retries": {"total_max_attempts": 1}}')

Sent = tuple[str, float, dict[str, str]]


class Recorder:
    """Stands for Airflow's Stats and records what it is given."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def take(self, name: str, value: float, *, tags: dict[str, str]) -> None:
        self.sent.append((name, value, tags))

    incr = gauge = timing = take

    def of(self, name: str) -> list[Sent]:
        return [each for each in self.sent if each[0].startswith(f"kendra.{name}")]

    @property
    def statuses(self) -> list[str]:
        return [tags["status"] for _, _, tags in self.of("sync_job.finished")]

    def values(self, name: str) -> list[float]:
        return [value for _, value, _ in self.of(name)]


class Raising:
    """A receiver that is broken in a way that Airflow does not handle."""

    def fail(self, *args: Any, **kwargs: Any) -> None:
        raise OSError("the receiver is down")

    incr = gauge = timing = fail


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(STATS, recorder, raising=False)
    return recorder


@pytest.fixture(params=["on a worker", "deferred"])
def is_deferrable(request: pytest.FixtureRequest) -> bool:
    return request.param == "deferred"


def job(**members: Any) -> SyncJob:
    ids = {"index_id": "index", "data_source_id": "source", "execution_id": "job"}
    return SyncJob(**{**ids, "status": SyncJobStatus.SUCCEEDED, "start_time": NOW - timedelta(hours=1), **members})


def stop_on(source: DataSource, **arguments: Any) -> TaskRun:
    return TaskRun(lambda: KendraStopSyncJobOperator(task_id="stop", poll_interval=30, **source.as_kwargs, **arguments))


# What a finished job sends


def test_a_job_sends_its_status_duration_and_documents_with_the_ids_as_tags(stats):
    _metrics.count_sync_job(
        job(
            end_time=NOW - timedelta(minutes=58.5),
            documents_added=1,
            documents_modified=2,
            documents_deleted=3,
            documents_failed=0,
            documents_scanned=10,
        )
    )
    tags = {"index_id": "index", "data_source_id": "source"}
    assert sorted(stats.sent) == [
        ("kendra.sync_job.documents_added", 1, tags),
        ("kendra.sync_job.documents_deleted", 3, tags),
        ("kendra.sync_job.documents_failed", 0, tags),
        ("kendra.sync_job.documents_modified", 2, tags),
        ("kendra.sync_job.documents_scanned", 10, tags),
        ("kendra.sync_job.duration", 90_000.0, tags),
        ("kendra.sync_job.finished", 1, {**tags, "status": "SUCCEEDED"}),
    ]


def test_what_kendra_does_not_report_is_not_sent(stats):
    _metrics.count_sync_job(job(status=SyncJobStatus.FAILED))
    assert [name for name, _, _ in stats.sent] == ["kendra.sync_job.finished"]


def test_no_time_is_negative(stats):
    _metrics.count_sync_job(job(end_time=NOW - timedelta(hours=2)))
    _metrics.report_age(sources.DataSource(AWS, "index", "source"), timedelta(seconds=-5))
    assert stats.values("sync_job.duration") == stats.values("data_source.age") == [0.0]


# Once for each task that ends with a job


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED"])
def test_a_start_counts_the_job_that_it_ends_with_once_whatever_its_end(data_source, stats, is_deferrable, status):
    task = Task(data_source, deferrable=is_deferrable)
    task.clock.at(100, lambda: data_source.finish(status))
    with suppress(KendraSyncJobFailedError):
        task.run()
    assert stats.statuses == [status]
    assert len(stats.values("sync_job.duration")) == 1
    assert all(tags.items() >= data_source.as_kwargs.items() for _, _, tags in stats.sent)


@pytest.mark.parametrize("status", ["SUCCEEDED", "ABORTED"])
def test_a_stop_counts_the_job_that_it_ends_with_once(data_source, stats, is_deferrable, status):
    data_source.start()
    task = stop_on(data_source, deferrable=is_deferrable)
    task.clock.at(100, lambda: data_source.finish(status))
    task.run()
    assert stats.statuses == [status]


def test_a_start_that_waits_for_another_job_first_counts_only_its_own(data_source, stats, is_deferrable):
    data_source.start()
    task = Task(data_source, deferrable=is_deferrable)
    task.clock.at(50, lambda: data_source.finish("FAILED"))
    task.clock.at(200, data_source.finish)
    task.run()
    assert stats.statuses == ["SUCCEEDED"]


def test_a_start_that_adopts_a_running_job_counts_it(data_source, stats, is_deferrable):
    data_source.start()
    task = Task(data_source, if_running="attach", deferrable=is_deferrable)
    task.end_each()
    task.run()
    assert stats.statuses == ["SUCCEEDED"]


def test_a_task_that_does_not_end_with_a_job_counts_none(data_source, stats, is_deferrable):
    with pytest.raises(KendraSyncJobTimeoutError):
        Task(data_source, timeout=60, deferrable=is_deferrable).run()
    with pytest.raises(AirflowSkipException):
        Task(data_source, if_running="skip", deferrable=is_deferrable).run()
    assert stats.of("sync_job") == []


def test_a_task_that_does_not_wait_counts_no_job(data_source, stats):
    Task(data_source, wait_for_completion=False).run()
    stop_on(data_source, wait_for_completion=False).run()
    assert stats.of("sync_job") == []


def test_a_stop_that_finds_its_job_ended_does_not_count_it_again(data_source, stats):
    data_source.start()
    task = stop_on(data_source)
    task.clock.at(100, lambda: data_source.finish("ABORTED"))
    execution_id = task.run()["execution_id"]
    assert stop_on(data_source, execution_id=execution_id).run()["status"] == "ABORTED"
    assert stats.statuses == ["ABORTED"]


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="there is no task state store before Airflow 3.3")
@pytest.mark.parametrize("moment", ["after set 2", "before delete 1"], ids=["before the end", "after the end"])
def test_a_job_whose_first_try_was_lost_before_it_could_count_is_counted_by_the_next(
    data_source, stats, is_deferrable, moment
):
    task = Task(data_source, deferrable=is_deferrable)
    task.end_each()
    task.store.happenings[moment] = task.lose
    with pytest.raises(Lost):
        task.run()
    assert stats.statuses == []
    task.clock.move_to(1_000)
    task.run()
    assert task.syncs == 1
    assert stats.statuses == ["SUCCEEDED"]


@pytest.mark.parametrize("make", [Task, stop_on], ids=["start", "stop"])
def test_a_job_whose_record_could_not_be_published_is_counted_once(data_source, stats, is_deferrable, make):
    task = make(data_source, deferrable=is_deferrable)
    if make is stop_on:
        data_source.start()
    task.clock.at(100, data_source.finish)
    with patch.object(task.xcoms, "xcom_push", side_effect=RuntimeError), pytest.raises(RuntimeError):
        task.run()
    if make is Task and not AIRFLOW_V_3_3_PLUS:
        task.clock.at(300, data_source.finish)  # the retry starts another
    task.run()
    assert stats.statuses == ["SUCCEEDED"]


def test_a_start_forgets_its_job_before_it_counts_it_so_that_no_try_counts_it_again(data_source, stats, is_deferrable):
    task = Task(data_source, deferrable=is_deferrable)
    task.end_each()
    stats.incr = lambda *args, **more: task.lose()  # type: ignore[method-assign]
    with pytest.raises(Lost):
        task.run()
    stats.incr = stats.take  # type: ignore[method-assign]
    result = task.run()
    assert not task.store.kept
    assert (task.syncs, result["execution_id"]) == (2, data_source.execution_ids()[0])
    assert stats.statuses == ["SUCCEEDED"]


def test_sensors_and_the_metrics_operator_count_no_job(data_source, stats, monkeypatch):
    monkeypatch.setattr("airflow_provider_kendra._lineage.store_link", lambda ti, key, url: None)
    data_source.show([listed("mine", Metrics=counts(failed=0, scanned=7))])
    arguments = {"task_id": "task", "execution_id": "mine", **data_source.as_kwargs}
    assert KendraSyncJobSensor(**arguments).poke(Context())
    assert KendraSyncJobMetricsOperator(**arguments, do_xcom_push=False)._find_job()
    assert stats.sent == []


# Age


def fresh(**arguments: Any) -> Fresh:
    return Fresh(Acceptance(), **{"max_age": timedelta(hours=6), **arguments})


def age(condition: Fresh, *pages: list[SyncJob]) -> float | None:
    history = History()
    read(condition, [Page(jobs, is_last=jobs is pages[-1]) for jobs in pages], NOW, history)
    found = condition.age(history, NOW)
    return None if found is None else found.total_seconds() / 3600


def ended(hours: float, status: str = "SUCCEEDED") -> SyncJob:
    start = NOW - timedelta(hours=hours)
    return job(
        execution_id=f"job-{hours}",
        status=SyncJobStatus(status),
        start_time=start,
        end_time=start + timedelta(minutes=30),
    )


def test_the_age_is_that_of_the_newest_acceptable_job():
    jobs = [ended(1, "FAILED"), ended(5), ended(7)]
    assert age(fresh(), jobs) == 5
    assert age(fresh(measured_by="end_time"), jobs) == 4.5
    assert age(fresh(max_age=timedelta(hours=2)), jobs) == 5


def test_a_data_source_without_an_acceptable_job_has_no_age():
    assert age(fresh(), []) is None
    assert age(fresh(), [ended(1, "FAILED")]) is None


def test_an_acceptable_job_on_a_page_not_read_gives_at_least_the_age_of_the_oldest_job_read():
    assert age(fresh(), [ended(5, "FAILED"), ended(7, "FAILED")], [ended(9)]) == 7


def test_a_gate_on_a_worker_reports_the_age_of_each_data_source_at_each_poll(data_source, stats, monkeypatch):
    monkeypatch.setattr("airflow_provider_kendra._lineage.store_link", lambda ti, key, url: None)
    monkeypatch.setattr(_clock, "utcnow", lambda: NOW)
    data_source.show([listed("mine", StartTime=NOW - timedelta(hours=9))])
    sensor = KendraDataFreshnessSensor(
        task_id="gate", index_id=data_source.index_id, data_source_ids=data_source.data_source_id, max_age=6 * 3600
    )
    for _ in range(2):
        assert not sensor.poke(Context())
    assert stats.sent == [("kendra.data_source.age", 9 * 3600.0, data_source.as_kwargs)] * 2


def gate(source: DataSource, condition: Fresh, *, is_named: bool = True) -> asyncio.Task[Any]:
    return asyncio.create_task(
        freshness.wait_until_fresh(
            freshness.Index(AWS, source.index_id, (source.data_source_id,) if is_named else None),
            condition,
            interval=60,
            deadline=None,
            log=async_log(lambda line: None),
            connect=connect,
        )
    )


def until_finished(source: DataSource, interval: float = 60) -> asyncio.Task[Any]:
    return asyncio.create_task(
        waits.wait_for(
            sources.DataSource(AWS, *source.ids),
            ExecutionFinished("job", Acceptance(), 120, _clock.utcnow()),
            interval=interval,
            deadline=None,
            log=async_log(lambda line: None),
            connect=connect,
        )
    )


async def run_for(seconds: float, *tasks: asyncio.Task[Any]) -> None:
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def even(monkeypatch: pytest.MonkeyPatch) -> None:
    """No jitter: a pause is as long as it says."""
    monkeypatch.setattr(poller.random, "uniform", lambda low, high: high)


def test_waits_that_share_polls_report_one_age_per_poll_the_highest_among_them(data_source, stats, even):
    async def main() -> None:
        hours = {"INCOMPLETE": 2, "SUCCEEDED": 8}
        data_source.show(
            [listed(name, name, StartTime=_clock.utcnow() - timedelta(hours=ago)) for name, ago in hours.items()]
        )
        lenient = replace(fresh(max_age=timedelta(hours=1)), acceptance=Acceptance(frozenset({"INCOMPLETE"})))
        await run_for(130, *(gate(data_source, each) for each in [fresh()] * 5 + [lenient] * 5))

    run_in_virtual_time(main())
    assert [round(seconds / 60) for seconds in stats.values("data_source.age")] == [480, 481, 482]


def test_a_wait_for_a_sync_job_reports_no_age(data_source, stats, even):
    data_source.show([listed("job", "SYNCING")])

    async def main() -> None:
        await run_for(130, until_finished(data_source))

    run_in_virtual_time(main())
    assert stats.of("data_source") == []


# Polls


def test_each_poll_reports_how_late_it_began_however_many_waits_share_it(data_source, stats, even):
    data_source.show([listed("job", "SYNCING")])

    async def main() -> None:
        await run_for(130, *(until_finished(data_source) for _ in range(20)))

    run_in_virtual_time(main())
    assert stats.of("poll") == [("kendra.poll.delay", 0.0, data_source.as_kwargs)] * 3


def test_a_poll_that_waits_for_a_thread_began_late_by_as_much(data_source, stats, even):
    data_source.show([listed("job", "SYNCING")])

    async def main() -> None:
        waiting = until_finished(data_source)
        await asyncio.sleep(1)
        client = next(iter(poller.Poller.of_running_loop()._clients.values()))
        async with asyncio.TaskGroup() as turns:
            for _ in range(8):
                turns.create_task(hold(client.turn(is_failing=False), 70))
        await run_for(60, waiting)

    async def hold(turn: Any, seconds: float) -> None:
        async with turn:
            await asyncio.sleep(seconds)

    run_in_virtual_time(main())
    assert [round(value) for value in stats.values("poll.delay")] == [0, 11_000, 0]


def test_each_failed_poll_is_counted_once_however_many_waits_share_it(data_source, stats, even):
    data_source.kendra.inject("ListDataSourceSyncJobs", error="ThrottlingException", times=2)
    data_source.show([listed("job", "SYNCING")])

    async def main() -> None:
        await run_for(300, *(until_finished(data_source) for _ in range(20)))

    run_in_virtual_time(main())
    assert stats.of("poll.errors") == [("kendra.poll.errors", 1, data_source.as_kwargs)] * 2


def test_the_polls_that_list_data_sources_have_only_the_index_as_a_tag(data_source, stats, even):
    data_source.show([])

    async def main() -> None:
        await run_for(30, gate(data_source, fresh(), is_named=False))

    run_in_virtual_time(main())
    assert [tags for _, _, tags in stats.of("poll.delay")] == [
        {"index_id": data_source.index_id},
        data_source.as_kwargs,
    ]


# Receivers


def airflows_logger(module: str, name: str, *arguments: Any) -> Any:
    """What Airflow itself sends metrics with; None if this Airflow has none of the kind."""
    for package in ("airflow.sdk._shared.observability.metrics", "airflow.metrics"):
        with suppress(ImportError):
            return getattr(importlib.import_module(f"{package}.{module}"), name)(*arguments)
    return None


def statsd_that_is_down() -> Any:
    """Airflow's own logger of metrics for StatsD, whose server does not listen."""
    statsd = pytest.importorskip("statsd")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    return airflows_logger("statsd_logger", "SafeStatsdLogger", statsd.StatsClient("127.0.0.1", port))


@pytest.fixture(params=[Raising, statsd_that_is_down])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = request.param()
    assert receiver is not None
    monkeypatch.setattr(STATS, receiver, raising=False)


def test_a_receiver_that_raises_or_is_down_changes_nothing(data_source, broken, is_deferrable):
    task = Task(data_source, deferrable=is_deferrable)
    task.end_each()
    assert task.run()["status"] == "SUCCEEDED"
    assert KendraSyncJobsHook().get_sync_job(*data_source.ids, task.xcoms.pushed["execution_id"])

    async def main() -> None:
        assert isinstance(await gate(data_source, fresh(max_age=timedelta(days=36_500))), AllFresh)

    run_in_virtual_time(main())


def test_without_stats_in_airflow_nothing_is_sent(monkeypatch):
    monkeypatch.setitem(sys.modules, "airflow.providers.common.compat.sdk", None)
    _metrics.count_sync_job(job())


def otel_logger(reader: Any) -> Any:
    """Airflow's own logger of metrics for OpenTelemetry."""
    from opentelemetry.sdk.metrics import MeterProvider

    return airflows_logger("otel_logger", "SafeOtelLogger", MeterProvider(metric_readers=[reader]))


def points_of(reader: Any) -> dict[tuple[str, str], float]:
    """The values by metric and status, as a collector gets them."""
    [resource] = reader.get_metrics_data().resource_metrics
    return {
        (metric.name, str(point.attributes.get("status", ""))): getattr(point, "sum", None) or point.value
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if point.attributes["index_id"] == "index"
    }


def test_opentelemetry_gets_every_metric_with_its_attributes(monkeypatch):
    export = pytest.importorskip("opentelemetry.sdk.metrics.export")
    reader = export.InMemoryMetricReader()
    logger = otel_logger(reader)
    if logger is None:
        pytest.skip("this Airflow has no logger for OpenTelemetry")
    monkeypatch.setattr(STATS, logger, raising=False)
    source = sources.DataSource(AWS, "index", "source")
    for status in ("SUCCEEDED", "SUCCEEDED", "FAILED"):
        _metrics.count_sync_job(job(status=SyncJobStatus(status), documents_failed=2))
    _metrics.count_sync_job(job(end_time=NOW))
    _metrics.report_age(source, timedelta(hours=1))
    _metrics.count_poll_error(source)
    _metrics.report_poll_delay(source, 1.5)
    assert points_of(reader) == {
        ("airflow.kendra.sync_job.finished", "SUCCEEDED"): 3,
        ("airflow.kendra.sync_job.finished", "FAILED"): 1,
        ("airflow.kendra.sync_job.documents_failed", ""): 6,
        ("airflow.kendra.sync_job.duration", ""): 3_600_000,
        ("airflow.kendra.data_source.age", ""): 3600,
        ("airflow.kendra.poll.errors", ""): 1,
        ("airflow.kendra.poll.delay", ""): 1500,
    }
