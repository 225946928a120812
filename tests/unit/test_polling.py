"""Waits share polls: over HTTP against the local Kendra, in virtual time."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from asgiref.sync import async_to_sync
from botocore.client import BaseClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_kendra import _clock
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._decisions import Waiting, timed_out
from airflow_provider_kendra._waiting import client as poll_client
from airflow_provider_kendra._waiting import poller, sources, threads
from airflow_provider_kendra._waiting import wait as waits
from airflow_provider_kendra._waiting.client import MakeHook
from airflow_provider_kendra._waiting.conditions import Condition, Decision, ExecutionFinished, SyncedSince
from airflow_provider_kendra._waiting.history import History
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.outcomes import Failed, Failure, Outcome, Satisfied, outcome_from_event
from airflow_provider_kendra.sync_job import Acceptance
from airflow_provider_kendra.triggers.kendra import KendraSyncJobTrigger, connect
from tests.conftest import NEWEST_START, DataSource, examples, listed
from tests.task_runs import Clock
from tests.virtual_time import VirtualTimeLoop, async_log, run_in_virtual_time

LIST = "ListDataSourceSyncJobs"

# botocore's own retries would sleep.
AWS = AwsParameters(botocore_config='{"retries": {"total_max_attempts": 1}}')

RUNNING = [listed("job", "SYNCING")]
SUCCEEDED = [listed("job", "SUCCEEDED")]
FAILED = [listed("job", "FAILED")]


def now() -> float:
    """The time of the loop; a run begins at 0."""
    return asyncio.get_running_loop().time()


async def until(time: float) -> None:
    await asyncio.sleep(time - now())


async def happens(condition: Callable[[], object]) -> None:
    """Let the loop turn, at the same time, until something is so."""
    while not condition():
        await asyncio.sleep(0)


def finished(execution_id: str = "job", *, not_found_after: float = 120) -> ExecutionFinished:
    return ExecutionFinished(execution_id, Acceptance(), not_found_after, _clock.utcnow())


def wait(
    source: DataSource,
    condition: Condition | None = None,
    *,
    interval: float = 60,
    timeout: float | None = None,
    aws: AwsParameters = AWS,
    log: Callable[[str], object] = lambda line: None,
) -> asyncio.Task[Outcome]:
    """Begin to wait."""
    return asyncio.create_task(
        waits.wait_for(
            sources.DataSource(aws, *source.ids),
            condition or finished(),
            interval=interval,
            deadline=None if timeout is None else _clock.utcnow() + timedelta(seconds=timeout),
            log=async_log(log),
            connect=connect,
        )
    )


async def cancel(*waits: asyncio.Task[Outcome]) -> None:
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


def another(source: DataSource) -> DataSource:
    """One more data source in the same index."""
    return replace(source, data_source_id=source.kendra.create_s3_data_source(source.index_id, "documents"))


def pages(jobs: int) -> list[dict[str, Any]]:
    """A history so long that its oldest job is on the last of its pages of ten."""
    return [listed(f"job-{number}", StartTime=NEWEST_START - timedelta(hours=number)) for number in range(1, jobs + 1)]


class Polls:
    """Records the polls of this process; a closed gate blocks them in their threads."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)  # by data source
        self.in_flight = self.most_in_flight = 0
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()

    def spy(self, hook: KendraSyncJobsHook, index_id: str, data_source_id: str, **filters: Any) -> Iterator[Any]:
        if not filters:  # else the poll goes on behind what it knows
            self.times[data_source_id].append(now())
        return self._pages(_iter_pages(hook, index_id, data_source_id, **filters))

    def _pages(self, pages: Iterator[Any]) -> Iterator[Any]:
        while True:
            with self._lock:
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                self.gate.wait()
                page = next(pages, None)
            finally:
                with self._lock:
                    self.in_flight -= 1
            if page is None:
                return
            yield page

    def pauses(self, source: DataSource) -> list[float]:
        times = self.times[source.data_source_id]
        return [round(later - earlier, 6) for earlier, later in itertools.pairwise(times)]


_iter_pages = KendraSyncJobsHook._iter_pages


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Polls]:
    polls = Polls()
    monkeypatch.setattr(KendraSyncJobsHook, "_iter_pages", lambda hook, *ids, **more: polls.spy(hook, *ids, **more))
    yield polls
    polls.gate.set()


class Clients:
    """The boto3 clients that were made for polls, and which of them were closed."""

    def __init__(self) -> None:
        self.made: list[BaseClient] = []
        self.closed: list[BaseClient] = []

    def close(self, client: BaseClient) -> None:
        self.closed.append(client)
        _close(client)

    def make_hook(self, make: MakeHook, aws: AwsParameters) -> KendraSyncJobsHook:
        hook = _make_hook(make, aws)
        self.made.append(hook.conn)
        return hook


_close = BaseClient.close
_make_hook = poll_client._make_polling_hook


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Clients:
    clients = Clients()
    monkeypatch.setattr(BaseClient, "close", lambda client: clients.close(client))
    monkeypatch.setattr(poll_client, "_make_polling_hook", clients.make_hook)
    return clients


@pytest.fixture
def even(monkeypatch: pytest.MonkeyPatch) -> None:
    """No jitter: a pause is as long as it says."""
    monkeypatch.setattr(poller, "random", SimpleNamespace(uniform=lambda low, high: high))


async def assert_nothing_is_left(clients: Clients) -> None:
    await asyncio.sleep(60)  # a client that is still being made is closed when it is done
    assert not poller.Poller._of_loop
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert Counter(map(id, clients.closed)) == Counter(map(id, clients.made))
    for thread in threading.enumerate():
        if thread.name.startswith("kendra-poll"):
            thread.join(30)
            assert not thread.is_alive()


# Sharing


def test_a_thousand_waits_on_one_data_source_share_one_call_per_interval(data_source, even):
    data_source.show(RUNNING)

    async def main() -> None:
        waits = [wait(data_source) for _ in range(1000)]
        await until(330)
        assert data_source.kendra.call_count(LIST) == 6
        data_source.show(SUCCEEDED)
        outcomes = await asyncio.gather(*waits)
        assert {outcome.job.execution_id for outcome in outcomes} == {"job"}
        assert data_source.kendra.call_count(LIST) == 7

    run_in_virtual_time(main())


def test_however_short_an_interval_is_polls_are_a_tenth_of_a_second_apart(data_source, polls):
    data_source.show(RUNNING)

    async def main() -> None:
        waiting = wait(data_source, interval=0)
        await until(5)
        await cancel(waiting)

    run_in_virtual_time(main())
    assert len(polls.pauses(data_source)) > 30
    assert min(polls.pauses(data_source)) >= 0.09  # 0.1 s, less a jitter of a tenth


def test_waits_with_different_conditions_share_the_pages_of_a_poll(data_source, even):
    data_source.show([*RUNNING, *pages(30)])

    async def main() -> None:
        newest = wait(data_source)
        older = [wait(data_source, finished(f"job-{number}")) for number in (3, 15, 25)]
        assert [outcome.job.execution_id for outcome in await asyncio.gather(*older)] == ["job-3", "job-15", "job-25"]
        assert data_source.kendra.call_count(LIST) == 3
        await until(70)
        assert data_source.kendra.call_count(LIST) == 4
        await cancel(newest)

    run_in_virtual_time(main())


def test_the_shortest_interval_applies_while_its_wait_is_subscribed(data_source, even, polls):
    data_source.show(RUNNING)

    async def main() -> None:
        patient = [wait(data_source, interval=300), wait(data_source, interval=100)]
        await until(250)
        hasty = wait(data_source, interval=10)
        await until(275)
        await cancel(hasty)
        await until(600)
        await cancel(*patient)
        assert polls.times[data_source.data_source_id] == [0, 100, 200, 250, 260, 270, 280, 380, 480, 580]

    run_in_virtual_time(main())


def test_the_interval_of_a_finished_wait_no_longer_applies(data_source, even, polls):
    data_source.show([*SUCCEEDED, listed("other", "SYNCING")])

    async def main() -> None:
        other = wait(data_source, finished("other"), interval=60)
        assert isinstance(await wait(data_source, interval=10), Satisfied)
        await until(130)
        await cancel(other)

    run_in_virtual_time(main())
    assert polls.pauses(data_source) == [60, 60]


def test_a_shorter_interval_does_not_cause_a_poll_right_after_another(data_source, even, polls):
    data_source.show(RUNNING)

    async def main() -> None:
        patient = wait(data_source, interval=300)
        await until(1)
        hasty = wait(data_source, interval=10)
        await until(25)
        await cancel(patient, hasty)
        assert polls.times[data_source.data_source_id] == [0, 10, 20]

    run_in_virtual_time(main())


def test_data_sources_polled_from_the_same_moment_drift_apart(data_source, polls):
    sources = [data_source, *(another(data_source) for _ in range(4))]
    for source in sources:
        source.show(RUNNING)

    async def main() -> None:
        waits = [wait(source) for source in sources]
        await until(600)
        await cancel(*waits)

    run_in_virtual_time(main())
    assert len({polls.times[source.data_source_id][-1] for source in sources}) == len(sources)
    for source in sources:
        assert all(54 <= pause <= 60 for pause in polls.pauses(source))


def test_calls_in_flight_are_bounded_however_many_data_sources_are_polled(data_source, polls):
    sources = [data_source, *(another(data_source) for _ in range(4 * threads.MAX_CALLS))]
    for source in sources:
        source.show(SUCCEEDED)
    data_source.kendra.inject(LIST, delay=0.02)

    async def main() -> None:
        await asyncio.gather(*(wait(source) for source in sources))

    run_in_virtual_time(main())
    assert 1 < polls.most_in_flight <= threads.MAX_CALLS


def test_two_event_loops_share_nothing(data_source, even, clients):
    data_source.show(RUNNING, SUCCEEDED)

    async def main() -> None:
        here = wait(data_source)
        await until(1)
        # Its own look; the one of this loop has seen the job running.
        there = asyncio.get_running_loop().run_in_executor(None, asyncio.run, elsewhere())
        assert isinstance(await there, Satisfied)
        assert len(clients.made) == 2
        await here

    async def elsewhere() -> Outcome:
        return await wait(data_source)

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("one", "other", "made"),
    [
        pytest.param({}, {}, 1, id="equal"),
        pytest.param({}, {"region_name": "eu-west-1"}, 2, id="region"),
        pytest.param({}, {"verify": False}, 2, id="verify"),
        pytest.param({}, {"aws_conn_id": "other"}, 2, id="connection"),
        pytest.param({}, {"botocore_config": '{"read_timeout": 7}'}, 2, id="botocore config"),
    ],
)
def test_only_equal_aws_parameters_share_a_client(data_source, clients, monkeypatch, one, other, made):
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", data_source.kendra.connection_json)
    data_source.show(SUCCEEDED)

    async def main() -> None:
        sources = (data_source, another(data_source))
        await asyncio.gather(
            *(wait(each, aws=replace(AWS, **aws)) for each, aws in zip(sources, (one, other), strict=True))
        )

    run_in_virtual_time(main())
    assert len(clients.made) == made


# Newcomers


def test_a_wait_that_joins_uses_the_last_reading_without_a_call(data_source, even):
    data_source.show([*RUNNING, listed("earlier")])

    async def main() -> None:
        first = wait(data_source)
        await until(30)
        lines: list[str] = []
        second = wait(data_source, log=lines.append)
        third = wait(data_source, finished("earlier"))
        assert isinstance(await third, Satisfied)
        assert lines == ["SYNCING after 0 s: no documents yet (sync job job)"]
        assert data_source.kendra.call_count(LIST) == 1
        await cancel(first, second)

    run_in_virtual_time(main())


def test_a_reading_from_before_a_wait_does_not_say_in_its_log_that_there_is_no_job(data_source, even):
    data_source.show([listed("other", "SYNCING")])

    async def main() -> None:
        first = wait(data_source, finished("other"))
        await until(37)
        lines: list[str] = []
        newcomer = wait(data_source, log=lines.append)
        await until(59)
        assert lines == []
        data_source.show(RUNNING)
        await until(61)
        assert lines == ["SYNCING after 23 s: no documents yet (sync job job)"]
        await cancel(first, newcomer)

    run_in_virtual_time(main())


def test_a_reading_older_than_a_waits_interval_is_not_reused(data_source, even, polls):
    data_source.show(RUNNING)

    async def main() -> None:
        patient = wait(data_source, finished("other", not_found_after=1e9), interval=3600)
        await until(100)
        data_source.show(SUCCEEDED)
        await until(161)
        assert isinstance(await wait(data_source, interval=60), Satisfied)
        assert now() == 161
        await cancel(patient)

    run_in_virtual_time(main())
    assert polls.times[data_source.data_source_id] == [0, 161]


def test_a_reading_as_old_as_a_waits_interval_is_reused(data_source, even, polls):
    data_source.show(SUCCEEDED)

    async def main() -> None:
        patient = wait(data_source, finished("other", not_found_after=1e9), interval=3600)
        await until(60)
        data_source.show(FAILED)
        assert isinstance(await wait(data_source, interval=60), Satisfied)
        await cancel(patient)

    run_in_virtual_time(main())


def test_a_wait_does_not_pass_with_a_reading_older_than_its_interval(data_source, even, polls):
    data_source.show(SUCCEEDED)

    async def main() -> None:
        patient = wait(data_source, finished("other", not_found_after=1e9), interval=3600)
        await until(100)
        data_source.show(FAILED)
        assert isinstance(await wait(data_source, interval=60), Failed)
        await cancel(patient)

    run_in_virtual_time(main())


@pytest.mark.parametrize("timeout", [0, -10, -3600])
def test_a_wait_that_joins_after_its_deadline_is_not_timed_out_on_the_reading_of_others(data_source, even, timeout):
    data_source.show(RUNNING)

    async def main() -> None:
        first = wait(data_source, finished("other", not_found_after=1e9))
        await until(30)
        data_source.show(SUCCEEDED)
        assert isinstance(await wait(data_source, timeout=timeout), Satisfied)
        await cancel(first)

    run_in_virtual_time(main())


def test_a_wait_whose_deadline_comes_just_after_the_reading_of_others_has_a_poll_of_its_own(data_source, even):
    data_source.show(RUNNING)

    async def main() -> None:
        first = wait(data_source, finished("other", not_found_after=1e9))
        await until(1)
        hasty = wait(data_source, timeout=2)
        await until(2)
        data_source.show(SUCCEEDED)
        assert isinstance(await hasty, Satisfied)
        assert now() == 3
        await cancel(first)

    run_in_virtual_time(main())


def test_a_reading_from_before_a_wait_does_not_fail_it_as_not_found(data_source, even):
    data_source.show([listed("other", "SYNCING")])

    async def main() -> None:
        first = wait(data_source, finished("other"))
        await until(50)
        data_source.show([*SUCCEEDED, listed("other", "SYNCING")])  # listed since the last look
        newcomer = wait(data_source, finished("job", not_found_after=0))
        assert isinstance(await newcomer, Satisfied)
        await cancel(first)

    run_in_virtual_time(main())


def test_a_job_counts_as_not_found_only_once_its_grace_is_over(data_source, even):
    data_source.show(RUNNING)

    async def main() -> None:
        outcome = await wait(data_source, finished("nowhere", not_found_after=100))
        assert isinstance(outcome, Failed)
        assert outcome.failure is Failure.NOT_FOUND
        assert now() == 120

    run_in_virtual_time(main())


def test_a_reading_from_before_a_wait_does_not_fail_it(data_source, even):
    """The sync may have been started again since."""
    failed = listed("failed", "FAILED")
    again = listed("again", "SYNCING", StartTime=NEWEST_START + timedelta(hours=1))
    data_source.show([failed])

    async def main() -> None:
        first = wait(data_source, SyncedSince(NEWEST_START + timedelta(days=1), Acceptance()))
        await until(30)
        data_source.show([again, failed])
        newcomer = wait(data_source, SyncedSince(NEWEST_START, Acceptance()))
        await until(90)
        data_source.show([again | {"Status": "SUCCEEDED"}, failed])
        outcome = await newcomer
        assert isinstance(outcome, Satisfied)
        assert outcome.job.execution_id == "again"
        await cancel(first)

    run_in_virtual_time(main())


def test_waits_that_need_an_older_page_share_one_poll(data_source, even, polls):
    data_source.show([*RUNNING, *pages(25)])

    async def main() -> None:
        first = wait(data_source)
        await until(10)
        newcomers = [wait(data_source, finished("job-15")) for _ in range(10)]
        await asyncio.gather(*newcomers)
        assert now() == 10
        await until(60)
        assert polls.times[data_source.data_source_id] == [0, 10]
        assert data_source.kendra.call_count(LIST) == 3
        await cancel(first)

    run_in_virtual_time(main())


def test_a_wait_that_needs_an_older_page_is_served_by_the_current_poll(data_source, even, polls):
    data_source.show([*RUNNING, *pages(25)])

    async def main() -> None:
        first = wait(data_source)
        await until(59)
        polls.gate.clear()
        await until(60)
        await happens(lambda: polls.in_flight)
        newcomer = wait(data_source, finished("job-15"))
        await asyncio.sleep(0)
        polls.gate.set()
        await newcomer
        await until(110)
        assert polls.times[data_source.data_source_id] == [0, 60]
        await cancel(first)

    run_in_virtual_time(main())


def test_waits_that_join_during_a_poll_are_served_by_it(data_source, even, polls):
    data_source.show(SUCCEEDED)
    polls.gate.clear()

    async def main() -> None:
        first = wait(data_source)
        await happens(lambda: polls.in_flight)
        others = [wait(data_source) for _ in range(250)]
        await asyncio.sleep(0)
        polls.gate.set()
        outcomes = await asyncio.gather(first, *others)
        assert all(isinstance(outcome, Satisfied) for outcome in outcomes)
        assert data_source.kendra.call_count(LIST) == 1

    run_in_virtual_time(main())


# Errors


def throttle(source: DataSource, times: int | None = None) -> None:
    source.kendra.inject(LIST, error="ThrottlingException", status=400, times=times)


def test_transient_errors_back_off_exponentially_up_to_a_cap(data_source, even, polls):
    throttle(data_source)

    async def main() -> None:
        waiting = wait(data_source)
        await until(1500)
        assert polls.pauses(data_source) == [60, 120, 240, 300, 300, 300]
        await cancel(waiting)

    run_in_virtual_time(main())


def test_an_interval_above_the_cap_is_kept_while_polls_fail(data_source, even, polls):
    throttle(data_source)

    async def main() -> None:
        waiting = wait(data_source, interval=1000)
        await until(3500)
        assert polls.pauses(data_source) == [1000, 1000, 1000]
        await cancel(waiting)

    run_in_virtual_time(main())


def test_a_successful_poll_ends_the_back_off(data_source, even, polls):
    data_source.show(RUNNING)
    throttle(data_source, times=3)

    async def main() -> None:
        waiting = wait(data_source)
        await until(450)
        throttle(data_source, times=2)
        await until(720)
        await cancel(waiting)
        assert polls.times[data_source.data_source_id] == [0, 60, 180, 420, 480, 540, 660, 720]

    run_in_virtual_time(main())


def test_waits_that_join_do_not_shorten_the_back_off(data_source, even, polls):
    data_source.show([*RUNNING, *pages(25)])

    async def main() -> None:
        first = wait(data_source)
        await until(30)
        throttle(data_source)
        newcomers = []
        for time in range(30, 480, 10):
            await until(time)
            newcomers.append(wait(data_source, finished("job-15")))
        await cancel(first, *newcomers)
        # The first newcomer may cause a look; from then on they wait with the others.
        assert len(polls.times[data_source.data_source_id]) <= 6

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"error": "InternalServerException", "status": 500}, id="5xx"),
        pytest.param({"error": "ThrottlingException", "status": 400}, id="throttled"),
        pytest.param({"reset": "before"}, id="connection reset"),
        pytest.param({"body": "truncated"}, id="truncated answer"),
        pytest.param({"error": "ExpiredTokenException", "status": 400}, id="expired credentials"),
    ],
)
def test_a_transient_error_fails_no_wait(data_source, even, fault):
    data_source.show(SUCCEEDED)
    data_source.kendra.inject(LIST, times=3, **fault)

    async def main() -> None:
        outcomes = await asyncio.gather(*(wait(data_source) for _ in range(3)))
        assert all(isinstance(outcome, Satisfied) for outcome in outcomes)

    run_in_virtual_time(main())


def test_credential_errors_lead_to_one_fresh_client_for_all(data_source, even, clients):
    sources = [data_source, another(data_source), another(data_source)]
    for source in sources:
        source.show(RUNNING)

    async def main() -> None:
        waits = [wait(source) for source in sources for _ in range(200)]
        await until(30)
        data_source.kendra.inject(LIST, error="ExpiredTokenException", status=400, times=3)
        await until(70)
        assert len(clients.made) == 1
        await until(130)
        assert len(clients.made) == 2
        assert clients.closed == clients.made[:1]
        await cancel(*waits)
        await assert_nothing_is_left(clients)

    run_in_virtual_time(main())


def test_a_late_credential_error_of_the_old_client_does_not_cost_the_new_one(data_source, even, clients, polls):
    other = another(data_source)
    for source in (data_source, other):
        source.show(RUNNING)
    data_source.kendra.inject(LIST, error="ExpiredTokenException", status=400, times=1)

    async def main() -> None:
        hasty = wait(data_source, interval=10)
        await until(5)
        late = wait(other)
        await until(65)
        await cancel(hasty, late)
        assert len(clients.made) == 2

    run_in_virtual_time(main())


def test_permanent_errors_end_all_waits_of_their_data_source_and_no_other(data_source, even):
    gone = another(data_source)
    for source in (data_source, gone):
        source.show(RUNNING)

    async def main() -> None:
        doomed = [wait(gone) for _ in range(250)]
        others = [wait(data_source) for _ in range(250)]
        await until(30)
        data_source.kendra.client().delete_data_source(IndexId=gone.index_id, Id=gone.data_source_id)
        outcomes = await asyncio.gather(*doomed)
        assert {outcome.failure for outcome in outcomes} == {Failure.REFUSED}
        assert all(f"the sync jobs of data source {gone.data_source_id}" in outcome.message for outcome in outcomes)
        assert not any(task.done() for task in others)
        data_source.show(SUCCEEDED)
        assert all(isinstance(outcome, Satisfied) for outcome in await asyncio.gather(*others))

    run_in_virtual_time(main())


def test_clients_are_rebuilt_after_a_while_so_that_an_edited_connection_is_noticed(
    data_source, even, clients, monkeypatch
):
    data_source.show(RUNNING)

    async def main() -> None:
        waiting = wait(data_source)
        await until(60)
        edited = data_source.kendra.connection_json.replace("us-east-1", "us-west-2")
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", edited)
        await until(poll_client.CLIENT_LIFETIME - 1)
        assert [client.meta.region_name for client in clients.made] == ["us-east-1"]
        assert isinstance(await waiting, Failed)  # there is no such data source in the other region
        assert [client.meta.region_name for client in clients.made] == ["us-east-1", "us-west-2"]
        await assert_nothing_is_left(clients)

    run_in_virtual_time(main())


# Deadlines


def test_a_wait_polls_at_its_deadline_before_it_times_out(data_source, even, polls):
    data_source.show(RUNNING)

    async def main() -> None:
        outcome = await wait(data_source, timeout=90)
        assert isinstance(outcome, Failed)
        assert outcome.failure is Failure.TIMED_OUT
        assert polls.times[data_source.data_source_id] == [0, 60, 90]

    run_in_virtual_time(main())


def test_what_is_true_at_the_deadline_counts_before_the_time_out(data_source, even):
    data_source.show(RUNNING)

    async def main() -> None:
        waiting = wait(data_source, timeout=90)
        await until(80)
        data_source.show(SUCCEEDED)
        assert isinstance(await waiting, Satisfied)
        assert now() == 90

    run_in_virtual_time(main())


def test_a_time_out_says_in_which_state_the_job_was(data_source, even):
    data_source.show(RUNNING)

    async def main() -> None:
        outcome = await wait(data_source, timeout=90)
        assert isinstance(outcome, Failed)
        assert outcome.job is not None
        assert outcome.message == (
            "Timed out: the sync is SYNCING (no documents yet). Raise timeout if syncs take this long "
            f"{outcome.job.ids}."
        )

    run_in_virtual_time(main())


def test_a_time_out_without_a_job_says_what_was_waited_for(data_source, even):
    data_source.show([])

    async def main() -> None:
        outcome = await wait(data_source, finished("nowhere", not_found_after=1e9), timeout=90)
        assert isinstance(outcome, Failed)
        assert outcome.message == (
            "Timed out: no such sync job was listed. Raise timeout if syncs take this long (waited for sync job "
            f"nowhere on data source {data_source.data_source_id})."
        )

    run_in_virtual_time(main())


def test_close_deadlines_do_not_cause_a_call_each(data_source, even, polls):
    data_source.show(RUNNING)

    async def main() -> None:
        outcomes = await asyncio.gather(*(wait(data_source, timeout=90 + number / 100) for number in range(1000)))
        assert {outcome.failure for outcome in outcomes} == {Failure.TIMED_OUT}
        assert len(polls.times[data_source.data_source_id]) <= 5
        assert now() <= 100

    run_in_virtual_time(main())


def test_close_deadlines_do_not_affect_a_wait_without_one(data_source, even):
    data_source.show(RUNNING)

    async def main() -> None:
        patient = wait(data_source)
        await asyncio.gather(*(wait(data_source, timeout=90 + number) for number in range(3)))
        assert now() == 92
        data_source.show(SUCCEEDED)
        assert isinstance(await patient, Satisfied)

    run_in_virtual_time(main())


def test_close_deadlines_do_not_cause_a_call_each_while_polls_fail(data_source, even, polls):
    throttle(data_source)

    async def main() -> None:
        outcomes = await asyncio.gather(*(wait(data_source, timeout=90 + number / 10) for number in range(100)))
        assert {outcome.failure for outcome in outcomes} == {Failure.TIMED_OUT}
        assert len(polls.times[data_source.data_source_id]) <= 5

    run_in_virtual_time(main())


def test_a_wait_that_begins_long_after_its_deadline_still_polls_once(data_source, even):
    """The triggerer was down meanwhile, and the job has finished."""
    data_source.show(SUCCEEDED)

    async def main() -> None:
        assert isinstance(await wait(data_source, timeout=-3600), Satisfied)

    run_in_virtual_time(main())


def test_a_wait_times_out_even_if_its_last_poll_hangs(data_source, even, polls):
    data_source.show(RUNNING)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        waiting = wait(data_source, timeout=600)
        await until(30)
        polls.gate.clear()
        loop.hold_no_more()
        outcome = await waiting
        polls.gate.set()
        assert isinstance(outcome, Failed)
        assert outcome.failure is Failure.TIMED_OUT
        assert "(sync job job, data source " in outcome.message
        assert "(no documents yet); the last poll failed: no response before the time-out." in outcome.message
        assert now() == 600 + _clock.OVERRUN

    run_in_virtual_time(main())


def test_a_wait_that_begins_after_its_deadline_times_out_even_if_its_poll_hangs(data_source, even, polls):
    data_source.show(RUNNING)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        polls.gate.clear()
        waiting = wait(data_source, timeout=-3600)
        await happens(lambda: polls.in_flight)
        loop.hold_no_more()
        outcome = await waiting
        polls.gate.set()
        assert isinstance(outcome, Failed)
        assert outcome.failure is Failure.TIMED_OUT
        assert now() == _clock.OVERRUN

    run_in_virtual_time(main())


def test_a_wait_that_begins_after_its_deadline_outlasts_a_queue_of_polls_that_hang(data_source, even, polls):
    data_source.show(SUCCEEDED)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        polls.gate.clear()
        others = [wait(another(data_source)) for _ in range(threads.MAX_CALLS)]
        await happens(lambda: polls.in_flight == threads.MAX_CALLS)
        waiting = wait(data_source, timeout=-3600)
        loop.hold_no_more()
        await until(2.5 * _clock.OVERRUN)
        assert not waiting.done(), "its first poll has not begun"
        loop.hold_again()
        polls.gate.set()
        assert isinstance(await waiting, Satisfied)
        await cancel(*others)

    run_in_virtual_time(main())


def test_a_wait_that_begins_after_its_deadline_counts_the_time_of_its_poll_from_the_start_of_the_poll(
    data_source, even, monkeypatch
):
    data_source.show(SUCCEEDED)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)

        def slow_pages(hook: KendraSyncJobsHook, index_id: str, data_source_id: str, **filters: Any) -> Iterator[Any]:
            loop.hang(20 if data_source_id == data_source.data_source_id else _clock.OVERRUN - 10)
            yield from _iter_pages(hook, index_id, data_source_id, **filters)

        monkeypatch.setattr(KendraSyncJobsHook, "_iter_pages", slow_pages)
        # They poll only once: a call that still hangs at the end would be made during another test.
        others = [wait(another(data_source), interval=3600) for _ in range(threads.MAX_CALLS)]
        await asyncio.sleep(1)
        assert isinstance(await wait(data_source, timeout=-3600), Satisfied)
        assert now() == _clock.OVERRUN - 10 + 20
        await cancel(*others)

    run_in_virtual_time(main())


def test_the_clock_of_waits_has_a_time_zone():
    assert _clock.utcnow().utcoffset() == timedelta(0)


# In a worker


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with clock.in_place():
        yield clock


def wait_in_worker(
    source: DataSource,
    *,
    hook: KendraSyncJobsHook | None = None,
    interval: float = 60,
    timeout: float = 600,
    log: Callable[[str], object] = lambda line: None,
    watch: Callable[[Waiting], object] | None = None,
) -> Outcome:
    return waits.wait_in_worker(
        hook or KendraSyncJobsHook._of(AWS),
        sources.DataSource(AWS, *source.ids),
        finished(),
        interval=interval,
        deadline=_clock.utcnow() + timedelta(seconds=timeout),
        log=log,
        watch=watch,
    )


def test_a_wait_in_the_triggerer_logs_what_it_waits_for(data_source):
    data_source.show([])
    lines: list[str] = []

    async def main() -> None:
        waiting = wait(data_source, log=lines.append)
        await asyncio.sleep(1)
        await cancel(waiting)

    run_in_virtual_time(main())
    subject = f"sync job job on data source {data_source.data_source_id}"
    assert lines == [f"No sync job listed after 0 s (waiting for {subject})"]


def test_a_worker_passes_on_what_each_poll_has_found(data_source, clock):
    data_source.show([], RUNNING, SUCCEEDED)
    seen: list[Waiting] = []
    wait_in_worker(data_source, watch=seen.append)
    assert [each.job and each.job.status for each in seen] == [None, "SYNCING"]


def test_a_worker_polls_at_each_interval_and_logs_changes(data_source, clock):
    data_source.show(RUNNING, RUNNING, [listed("job", "SYNCING_INDEXING")], SUCCEEDED)
    lines: list[str] = []
    assert isinstance(wait_in_worker(data_source, log=lines.append), Satisfied)
    assert clock.sleeps == [60, 60, 60]
    assert lines == [
        "SYNCING after 0 s: no documents yet (sync job job)",
        "SYNCING_INDEXING after 2 min: no documents yet (sync job job)",
    ]


def test_a_worker_polls_at_its_deadline_and_reports_the_last_state(data_source, clock):
    data_source.show(RUNNING)
    outcome = wait_in_worker(data_source, timeout=90)
    assert clock.sleeps == [60, 30]
    assert data_source.kendra.call_count(LIST) == 3
    assert isinstance(outcome, Failed)
    assert outcome.failure is Failure.TIMED_OUT
    assert outcome.message == (
        f"Timed out: the sync is SYNCING (no documents yet). Raise timeout if syncs take this long {outcome.job.ids}."
    )


def test_a_worker_that_finds_no_job_names_what_it_waits_for(data_source, clock):
    data_source.show([])
    lines: list[str] = []
    outcome = wait_in_worker(data_source, timeout=90, log=lines.append)
    subject = f"sync job job on data source {data_source.data_source_id}"
    assert lines == [f"No sync job listed after 0 s (waiting for {subject})"]
    assert isinstance(outcome, Failed)
    assert outcome.message.endswith(f"Raise timeout if syncs take this long (waited for {subject}).")


def test_a_worker_always_pauses_between_polls(data_source, clock):
    data_source.show(RUNNING, SUCCEEDED)
    wait_in_worker(data_source, interval=0)
    assert clock.sleeps == [poller.MIN_INTERVAL]


def test_a_worker_whose_polls_fail_still_names_the_job_and_the_error(data_source, clock):
    data_source.show(RUNNING)
    clock.at(30, lambda: throttle(data_source))
    lines: list[str] = []
    outcome = wait_in_worker(data_source, timeout=150, log=lines.append)
    assert lines[1] == "The last poll failed (ThrottlingException); retrying. SYNCING after 1 min (sync job job)"
    assert isinstance(outcome, Failed)
    assert outcome.job is not None
    assert "is SYNCING (no documents yet); the last poll failed: ThrottlingException: " in outcome.message


def test_a_worker_fails_once_a_job_has_been_missing_for_not_found_timeout(data_source, clock):
    data_source.show([])
    outcome = wait_in_worker(data_source)
    assert isinstance(outcome, Failed)
    assert outcome.failure is Failure.NOT_FOUND
    assert clock.elapsed == 120


@pytest.mark.parametrize(("error", "is_renewed"), [("ExpiredTokenException", True), ("ThrottlingException", False)])
def test_a_worker_takes_a_new_client_when_its_credentials_have_expired_and_only_then(
    data_source, clock, error, is_renewed
):
    data_source.show(SUCCEEDED)
    data_source.kendra.inject(LIST, error=error, status=400, times=1)
    hook = KendraSyncJobsHook._of(AWS)
    before = hook.conn
    assert isinstance(wait_in_worker(data_source, hook=hook), Satisfied)
    assert (hook.conn is not before) is is_renewed


def test_a_worker_stops_at_an_error_that_stays_and_says_what_was_refused(data_source, clock):
    data_source.client.delete_data_source(IndexId=data_source.index_id, Id=data_source.data_source_id)
    outcome = wait_in_worker(data_source)
    assert isinstance(outcome, Failed)
    assert outcome.failure is Failure.REFUSED
    assert f"the sync jobs of data source {data_source.data_source_id}" in outcome.message
    assert clock.sleeps == []


# In a worker, poll by poll


class Sensor:
    """The polls of a sensor that began to wait so many seconds ago, with its log."""

    def __init__(
        self,
        source: DataSource,
        condition: Condition | None = None,
        *,
        waited: float = 0,
        timeout: float = 3600,
        interval: float = 60,
        is_rescheduled: bool = True,
    ) -> None:
        since = _clock.utcnow() - timedelta(seconds=waited)
        self.lines: list[str] = []
        self.hook = KendraSyncJobsHook._of(AWS)
        self.pokes = waits.SyncJobPokes(
            sources.DataSource(AWS, *source.ids),
            condition or finished(),
            since=since,
            deadline=since + timedelta(seconds=timeout),
            interval=interval,
            is_rescheduled=is_rescheduled,
            log=self.lines.append,
        )

    def poll(self) -> Outcome | None:
        return self.pokes.poll(self.hook)


def test_a_sensor_in_a_new_process_confirms_by_itself_that_a_job_is_missing(data_source, clock):
    data_source.show([])
    outcome = Sensor(data_source, waited=120).poll()
    assert isinstance(outcome, Failed)
    assert outcome.failure is Failure.NOT_FOUND
    assert clock.sleeps == [10] * 12
    assert data_source.kendra.call_count(LIST) == 13


@pytest.mark.parametrize(
    ("interval", "not_found_after", "pause"), [(60, 60, 5), (5, 60, 5), (3, 60, 3), (0, 1, poller.MIN_INTERVAL)]
)
def test_a_sensor_confirms_at_its_own_interval_if_that_is_short(data_source, clock, interval, not_found_after, pause):
    data_source.show([])
    Sensor(data_source, finished(not_found_after=not_found_after), waited=120, interval=interval).poll()
    assert set(clock.sleeps) == {pause}


def test_a_sensor_confirms_no_longer_than_to_its_deadline(data_source, clock):
    data_source.show([])
    sensor = Sensor(data_source, waited=120, timeout=135)
    assert sensor.poll() is None
    assert clock.sleeps == [10, 5]
    assert sensor.pokes.timed_out().failure is Failure.TIMED_OUT


def test_a_sensor_confirms_only_until_the_job_is_listed(data_source, clock):
    data_source.show([], [], RUNNING)
    sensor = Sensor(data_source, waited=120)
    assert sensor.poll() is None
    assert clock.sleeps == [10, 10]
    assert sensor.pokes.execution_id == "job"


def test_a_wait_goes_on_after_kendra_has_refused_the_token_of_a_page(data_source, clock):
    data_source.show_long_history(35)
    data_source.kendra.inject("ListDataSourceSyncJobs", times=1, next_token="invalid")
    sensor = Sensor(data_source, finished("job-30"))
    assert sensor.poll() is None
    assert isinstance(sensor.poll(), Satisfied)


def test_a_sensor_goes_on_to_confirm_when_a_poll_fails(data_source, clock):
    data_source.show([])
    clock.at(15, lambda: throttle(data_source, times=1))
    outcome = Sensor(data_source, waited=120).poll()
    assert isinstance(outcome, Failed)
    assert outcome.failure is Failure.NOT_FOUND


def test_a_sensor_does_not_confirm_for_days_while_kendra_cannot_be_reached(data_source, clock):
    data_source.show([])
    clock.at(15, lambda: throttle(data_source))
    sensor = Sensor(data_source, waited=120, timeout=7 * 86_400)
    assert sensor.poll() is None
    assert sum(clock.sleeps) == 2 * 120
    assert "Throttling" in sensor.pokes.timed_out().message


def test_a_sensor_that_confirms_still_knows_its_job_when_a_poll_fails(data_source, clock):
    newer = listed("newer", StartTime=NEWEST_START + timedelta(hours=1))
    data_source.show([newer, *RUNNING])
    clock.at(5, lambda: throttle(data_source))
    sensor = Sensor(data_source, waited=120, timeout=135)
    assert sensor.poll() is None
    assert clock.sleeps == [10, 5]
    assert sensor.pokes.execution_id == "job"


@pytest.mark.parametrize(
    "parameters",
    [
        {"waited": 119.9},
        {"waited": 120, "is_rescheduled": False},
        {"waited": 120, "condition": SyncedSince(NEWEST_START, Acceptance())},
    ],
    ids=["that has not waited for long", "that keeps its process", "for any job since a time"],
)
def test_a_sensor_leaves_what_is_missing_to_its_next_poll(data_source, clock, parameters):
    data_source.show([])
    assert Sensor(data_source, **parameters).poll() is None
    assert clock.sleeps == []
    assert data_source.kendra.call_count(LIST) == 1


def test_a_sensor_that_keeps_its_process_finds_a_job_missing_over_several_polls(data_source, clock):
    data_source.show([])
    sensor = Sensor(data_source, is_rescheduled=False)
    assert sensor.poll() is None
    clock.sleep(60)
    assert sensor.poll() is None
    clock.sleep(60)
    outcome = sensor.poll()
    assert isinstance(outcome, Failed)
    assert outcome.failure is Failure.NOT_FOUND


def test_a_sensor_logs_changes_and_the_time_since_it_began(data_source, clock):
    data_source.show(RUNNING, RUNNING, [listed("job", "SYNCING_INDEXING")])
    sensor = Sensor(data_source, waited=30)
    for _ in range(3):
        assert sensor.poll() is None
        clock.sleep(60)
    assert sensor.lines == [
        "SYNCING after 30 s: no documents yet (sync job job)",
        "SYNCING_INDEXING after 2 min 30 s: no documents yet (sync job job)",
    ]


def test_a_sensor_whose_polls_fail_still_knows_its_job_and_the_error(data_source, clock):
    data_source.show(RUNNING)
    sensor = Sensor(data_source)
    assert sensor.pokes.execution_id is None
    sensor.poll()
    throttle(data_source)
    assert sensor.poll() is None
    assert sensor.pokes.execution_id == "job"
    assert "is SYNCING (no documents yet); the last poll failed: Throttling" in sensor.pokes.timed_out().message


def test_a_sensor_that_times_out_without_a_job_says_what_it_waited_for(data_source, clock):
    data_source.show([])
    sensor = Sensor(data_source)
    sensor.poll()
    subject = f"sync job job on data source {data_source.data_source_id}"
    assert sensor.lines == [f"No sync job listed after 0 s (waiting for {subject})"]
    assert sensor.pokes.timed_out().message == (
        f"Timed out: no such sync job was listed. Raise timeout if syncs take this long (waited for {subject})."
    )


def test_a_sensor_that_times_out_without_a_response_does_not_say_what_is_listed(data_source, clock):
    throttle(data_source)
    sensor = Sensor(data_source)
    sensor.poll()
    message = sensor.pokes.timed_out().message
    assert message.startswith("Timed out: the last poll failed: Throttling")
    assert "listed" not in message


def test_the_message_of_a_time_out_ends_its_sentence_once():
    message = timed_out("a sync", "the last poll failed: It broke.").message
    assert message == (
        "Timed out: the last poll failed: It broke. Raise timeout if syncs take this long (waited for a sync)."
    )


def test_a_sensor_ends_with_the_outcome_of_a_poll(data_source, clock):
    data_source.show(SUCCEEDED)
    assert isinstance(Sensor(data_source).poll(), Satisfied)


# What is left behind


def test_nothing_is_left_when_all_waits_have_ended(data_source, clients):
    sources = [data_source, another(data_source)]
    for source in sources:
        source.show(RUNNING, SUCCEEDED)

    async def main() -> None:
        await asyncio.gather(*(wait(source) for source in sources for _ in range(3)))
        await assert_nothing_is_left(clients)

    run_in_virtual_time(main())
    assert len(clients.made) == 1


def test_the_last_wait_of_a_client_closes_it_while_others_go_on_with_theirs(data_source, clients):
    data_source.show(RUNNING)

    async def main() -> None:
        one, other = wait(data_source), wait(data_source, aws=replace(AWS, region_name="us-east-1"))
        await until(1)
        await cancel(one)
        await until(2)
        assert len(clients.closed) == 1  # which of the two was made first is chance
        assert not other.done()
        await cancel(other)
        await assert_nothing_is_left(clients)

    run_in_virtual_time(main())


@pytest.mark.parametrize("turns", range(12))
def test_nothing_is_left_when_the_only_wait_is_cancelled_at_any_turn_of_its_start(data_source, clients, turns):
    data_source.show(RUNNING)

    async def main() -> None:
        waiting = wait(data_source)
        for _ in range(turns):
            await asyncio.sleep(0)
        await cancel(waiting)
        await assert_nothing_is_left(clients)

    run_in_virtual_time(main())


def test_cancelling_a_wait_during_a_poll_does_not_cancel_it_for_other_waits(data_source, clients, polls):
    data_source.show(SUCCEEDED)
    polls.gate.clear()

    async def main() -> None:
        first, second = wait(data_source), wait(data_source)
        await happens(lambda: polls.in_flight)
        await cancel(first)
        polls.gate.set()
        assert isinstance(await second, Satisfied)
        assert data_source.kendra.call_count(LIST) == 1
        await assert_nothing_is_left(clients)

    run_in_virtual_time(main())


def test_a_new_wait_begins_anew_after_the_last_one_has_gone(data_source, clients):
    data_source.show(RUNNING, SUCCEEDED)

    async def main() -> None:
        first = wait(data_source)
        await until(1)
        await cancel(first)
        assert isinstance(await wait(data_source), Satisfied)
        assert now() == 1
        await assert_nothing_is_left(clients)

    run_in_virtual_time(main())


@dataclass(frozen=True)
class Plan:
    """What one wait does: it joins, and is cancelled or times out unless it ends before."""

    source: int
    joins: int
    interval: int
    cancelled_after: int | None
    timeout: int | None


plans = st.builds(
    Plan,
    source=st.integers(0, 1),
    joins=st.integers(0, 400),
    interval=st.integers(10, 100),
    cancelled_after=st.none() | st.integers(0, 300),
    timeout=st.none() | st.integers(0, 500),
)
faults = st.sampled_from(["ThrottlingException", "InternalServerException", "ExpiredTokenException", "reset"])


@pytest.mark.slow
@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plans=st.lists(plans, min_size=1, max_size=8),
    ends=st.tuples(st.integers(0, 500), st.integers(0, 500)),
    statuses=st.tuples(*[st.sampled_from(["SUCCEEDED", "FAILED", "deleted"])] * 2),
    troubles=st.lists(st.tuples(st.integers(0, 500), faults, st.integers(1, 4)), max_size=3),
)
def test_every_wait_gets_its_outcome_whatever_happens_to_others(
    data_source, clients, monkeypatch, plans, ends, statuses, troubles
):
    kendra = data_source.kendra
    kendra.clear_faults()
    clients.made.clear()
    clients.closed.clear()
    sources = [another(data_source), another(data_source)]
    for source in sources:
        source.show(RUNNING)

    async def carry_out(plan: Plan) -> Outcome | None:
        await until(plan.joins)
        waiting = wait(sources[plan.source], interval=plan.interval, timeout=plan.timeout)
        done, _ = await asyncio.wait([waiting], timeout=plan.cancelled_after)
        if done:
            return waiting.result()
        await cancel(waiting)
        return None

    async def end(source: DataSource, time: float, status: str) -> None:
        await until(time)
        if status == "deleted":
            kendra.client().delete_data_source(IndexId=source.index_id, Id=source.data_source_id)
        else:
            source.show([listed("job", status)])

    async def trouble(time: float, fault: str, times: int) -> None:
        await until(time)
        if fault == "reset":
            kendra.inject(LIST, times=times, reset="before")
        else:
            kendra.inject(LIST, times=times, error=fault, status=400 if fault != "InternalServerException" else 500)

    async def main() -> None:
        background = [asyncio.create_task(end(*each)) for each in zip(sources, ends, statuses, strict=True)]
        background += [asyncio.create_task(trouble(*each)) for each in troubles]
        outcomes = await asyncio.gather(*map(carry_out, plans))
        await asyncio.gather(*background)
        for plan, outcome in zip(plans, outcomes, strict=True):
            if outcome is None:
                assert plan.cancelled_after is not None
            else:
                assert kind(outcome) in possible(plan)
        await assert_nothing_is_left(clients)

    def possible(plan: Plan) -> set[str]:
        ended, status = ends[plan.source], statuses[plan.source]
        if plan.timeout is None:
            return {status}
        deadline = plan.joins + plan.timeout
        if deadline < ended:
            return {"timed out"}
        # The last look may be a little older than the deadline, or may have failed.
        is_sure = deadline >= ended + poller._RECENT and not troubles
        return {status} if is_sure else {status, "timed out"}

    run_in_virtual_time(main())


def kind(outcome: Outcome) -> str:
    if isinstance(outcome, Satisfied):
        return "SUCCEEDED"
    return {Failure.NOT_ACCEPTABLE: "FAILED", Failure.REFUSED: "deleted", Failure.TIMED_OUT: "timed out"}[
        outcome.failure
    ]


# Logs

task_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("task_id", default=None)


@dataclass(frozen=True)
class Overheard:
    """A condition that notes in which context it is decided."""

    contexts: list[str | None]
    subject: str = "nothing"

    def decide(self, history: History, now: datetime) -> Decision:
        self.contexts.append(task_id.get())
        return Waiting(history.jobs[0])


def test_each_wait_logs_in_its_own_context_and_the_poll_in_none(data_source, even):
    data_source.show(RUNNING, [listed("job", "SYNCING_INDEXING")], SUCCEEDED)
    lines: list[tuple[str, str | None]] = []
    contexts: list[str | None] = []

    def begin(name: str) -> asyncio.Task[Outcome]:
        def go() -> asyncio.Task[Outcome]:
            task_id.set(name)
            return wait(data_source, log=lambda line: lines.append((name, task_id.get())))

        return contextvars.copy_context().run(go)

    async def main() -> None:
        waits = [begin(f"task-{number}") for number in range(5)]
        overhearing = wait(data_source, Overheard(contexts))
        await asyncio.gather(*waits)
        await cancel(overhearing)

    run_in_virtual_time(main())
    assert Counter(lines) == {(f"task-{number}", f"task-{number}"): 2 for number in range(5)}
    assert set(contexts) == {None}


def test_a_client_is_created_outside_the_context_of_any_wait(data_source, monkeypatch):
    data_source.show(SUCCEEDED)
    contexts: list[str | None] = []

    def make_hook(make: MakeHook, aws: AwsParameters) -> KendraSyncJobsHook:
        contexts.append(task_id.get())
        return _make_hook(make, aws)

    monkeypatch.setattr(poll_client, "_make_polling_hook", make_hook)

    async def main() -> None:
        token = task_id.set("task")
        await wait(data_source)
        task_id.reset(token)

    run_in_virtual_time(main())
    assert contexts == [None]


def test_a_thousand_waits_do_not_flood_the_log(data_source, even):
    data_source.show(RUNNING)
    lines: Counter[int] = Counter()

    def counting(number: int) -> Callable[[str], object]:
        return lambda line: lines.update([number])

    async def main() -> None:
        waits = [wait(data_source, log=counting(number)) for number in range(1000)]
        await until(30)
        assert lines.total() == 1000
        data_source.show([listed("job", "SYNCING_INDEXING")])
        await until(3600)
        # A line for each of the two statuses, and one every five minutes.
        assert set(lines.values()) == {2 + 11}
        await cancel(*waits)

    run_in_virtual_time(main())


def test_a_thousand_waits_learn_of_a_failed_poll_without_blocking_the_event_loop(data_source, even):
    throttle(data_source)
    times: list[float] = []
    turns: list[int] = []

    async def main() -> None:
        turn = 0

        def heard(line: str) -> None:
            times.append(now())
            turns.append(turn)

        waits = [wait(data_source, log=heard) for _ in range(1000)]
        while len(times) < len(waits):
            await asyncio.sleep(0)
            turn += 1
        await cancel(*waits)

    run_in_virtual_time(main())
    assert len(set(times)) == 1
    batches = 1000 / poller._BATCH
    assert batches <= len(set(turns)) <= batches + 2, "it is after each batch that the event loop has its turn"


def test_a_time_out_while_polls_fail_reports_the_last_known_state(data_source, even):
    data_source.show(RUNNING)

    async def main() -> None:
        waiting = wait(data_source, timeout=150)
        await until(30)
        throttle(data_source)
        outcome = await waiting
        assert isinstance(outcome, Failed)
        assert outcome.job is not None
        assert "is SYNCING (no documents yet); the last poll failed: ThrottlingException: " in outcome.message

    run_in_virtual_time(main())


def test_errors_are_logged_at_once_and_their_end_with_the_progress(data_source, even):
    data_source.show(RUNNING)
    lines: list[str] = []

    async def main() -> None:
        waiting = wait(data_source, log=lines.append, interval=10)
        await until(15)
        throttle(data_source, times=3)
        await until(650)
        await cancel(waiting)

    run_in_virtual_time(main())
    begin, summary, end = lines[1:]
    assert begin.startswith("The last poll failed (ThrottlingException); retrying. SYNCING after ")
    assert summary.startswith("2 of the last ")
    assert end.startswith("Polls succeed again. SYNCING after ")


def test_before_its_first_poll_a_wait_does_not_say_that_no_job_is_listed(data_source, even, polls):
    data_source.show(RUNNING)
    lines: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        polls.gate.clear()
        waiting = wait(data_source, log=lines.append)
        await until(0)
        loop.hold_no_more()
        await until(700)
        assert lines == []
        polls.gate.set()
        await cancel(waiting)

    run_in_virtual_time(main())


def test_a_poll_that_fails_at_its_first_page_does_not_make_the_next_one_read_all_anew(data_source, even):
    data_source.show(pages(120))

    async def main() -> None:
        waiting = wait(data_source, finished("nowhere", not_found_after=1e9))
        await until(30)
        assert data_source.kendra.call_count(LIST) == 12
        throttle(data_source, times=1)
        await until(130)
        assert data_source.kendra.call_count(LIST) == 12 + 1 + 1
        await cancel(waiting)

    run_in_virtual_time(main())


def test_the_whole_history_is_read_again_once_a_day(data_source, even):
    data_source.show(pages(120))
    calls: list[int] = []

    async def main() -> None:
        waiting = wait(data_source, finished("nowhere", not_found_after=1e9), interval=20_000)
        for number in range(8):
            await until(20_000 * number + 1)
            calls.append(data_source.kendra.call_count(LIST) - sum(calls))
        await cancel(waiting)

    run_in_virtual_time(main())
    assert calls == [12, 1, 1, 1, 1, 12, 1, 1]


def test_polls_that_get_further_each_time_do_not_back_off(data_source, even, monkeypatch):
    data_source.show(pages(120))
    times: list[float] = []

    def fail_after_three(hook: KendraSyncJobsHook, *ids: str, **filters: Any) -> Iterator[Any]:
        if not filters:
            times.append(now())
        return three_pages(_iter_pages(hook, *ids, **filters))

    def three_pages(pages: Iterator[Any]) -> Iterator[Any]:
        yield from itertools.islice(pages, 3)
        raise ConnectionResetError

    monkeypatch.setattr(KendraSyncJobsHook, "_iter_pages", fail_after_three)

    async def main() -> None:
        outcome = await wait(data_source, finished("job-120"))
        assert isinstance(outcome, Satisfied)
        assert times == [60 * number for number in range(len(times))]

    run_in_virtual_time(main())


# The connection


def look_up_with(monkeypatch: pytest.MonkeyPatch, look_up: Callable[[Callable[[], Any]], Any]) -> None:
    """Let every look-up of a connection go through this, which gets the true one."""
    true = KendraSyncJobsHook.__mro__[1].get_connection.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        KendraSyncJobsHook.__mro__[1],
        "get_connection",
        classmethod(lambda cls, conn_id: look_up(lambda: true(cls, conn_id))),
        raising=False,
    )


def test_a_connection_look_up_can_reach_the_event_loop_from_its_thread(data_source, monkeypatch):
    """Which is how Airflow's triggerer answers it, and what asgiref's sync_to_async makes possible."""
    data_source.show(SUCCEEDED)
    reached: list[asyncio.AbstractEventLoop] = []

    async def ask() -> None:
        reached.append(asyncio.get_running_loop())

    def look_up(true: Callable[[], Any]) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        async_to_sync(ask)()
        return true()

    look_up_with(monkeypatch, look_up)

    async def main() -> None:
        await wait(data_source)
        assert set(reached) == {asyncio.get_running_loop()}

    run_in_virtual_time(main())


def test_a_connection_look_up_is_not_cancelled_with_its_wait(data_source, clients, monkeypatch):
    data_source.show(RUNNING)
    begun, gate = threading.Event(), threading.Event()
    ended: list[str] = []

    async def ask() -> None:
        await asyncio.sleep(0)
        ended.append("asked")

    def look_up(true: Callable[[], Any]) -> Any:
        begun.set()
        gate.wait()
        async_to_sync(ask)()
        return true()

    look_up_with(monkeypatch, look_up)

    async def main() -> None:
        waiting = wait(data_source)
        await happens(begun.is_set)
        await cancel(waiting)
        gate.set()
        await happens(lambda: ended)
        await assert_nothing_is_left(clients)
        assert len(clients.made) == 1

    run_in_virtual_time(main())


def not_defined_times(times: float) -> tuple[Callable[[Callable[[], Any]], Any], list[float]]:
    look_ups: list[float] = []

    def look_up(true: Callable[[], Any]) -> Any:
        look_ups.append(0)
        if len(look_ups) <= times:
            raise AirflowNotFoundException("The conn_id `aws_default` isn't defined")
        return true()

    return look_up, look_ups


def test_a_connection_reported_as_not_defined_is_looked_up_again(data_source, monkeypatch):
    data_source.show(SUCCEEDED)
    look_up, _ = not_defined_times(2)
    look_up_with(monkeypatch, look_up)

    async def main() -> None:
        assert isinstance(await wait(data_source), Satisfied)

    run_in_virtual_time(main())


def test_a_connection_that_stays_not_defined_fails_the_waits_and_says_so(data_source, monkeypatch, clients):
    look_up, look_ups = not_defined_times(float("inf"))
    look_up_with(monkeypatch, look_up)

    async def main() -> None:
        outcomes = await asyncio.gather(*(wait(data_source) for _ in range(3)))
        assert {outcome.failure for outcome in outcomes} == {Failure.REFUSED}
        assert "'aws_default' is not defined" in outcomes[0].message
        assert len(look_ups) == 5
        assert now() == 60
        await assert_nothing_is_left(clients)

    run_in_virtual_time(main())


@pytest.mark.parametrize("arguments", [{"is_connection_known": True}, {"waiting_since": "an hour ago"}], ids=str)
def test_a_wait_that_has_used_its_connection_before_outlasts_any_number_of_failed_look_ups(
    data_source, even, monkeypatch, arguments
):
    data_source.show(SUCCEEDED)
    look_up, look_ups = not_defined_times(17)
    look_up_with(monkeypatch, look_up)

    async def main() -> None:
        if "waiting_since" in arguments:
            arguments["waiting_since"] = (_clock.utcnow() - timedelta(hours=1)).isoformat()
        trigger = KendraSyncJobTrigger(**data_source.as_kwargs, execution_id="job", **arguments)
        events = [event.payload async for event in trigger.run()]
        assert outcome_from_event(events[0]).job.execution_id == "job"
        assert len(look_ups) == 18

    run_in_virtual_time(main())


def test_a_connection_look_up_that_fails_otherwise_is_repeated_by_the_next_poll(data_source, even, monkeypatch):
    data_source.show(SUCCEEDED)
    failures = iter([ConnectionError("the api-server is away"), TimeoutError()])

    def look_up(true: Callable[[], Any]) -> Any:
        for failure in failures:
            raise failure
        return true()

    look_up_with(monkeypatch, look_up)

    async def main() -> None:
        assert isinstance(await wait(data_source), Satisfied)
        assert now() == 60 + 60 * 2

    run_in_virtual_time(main())
