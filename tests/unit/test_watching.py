"""Waits for freshness and watchers share polls: over HTTP against the local Kendra, in virtual time."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_kendra import _clock
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._decisions import Blocked, Waiting
from airflow_provider_kendra._waiting import freshness as freshness_waits
from airflow_provider_kendra._waiting import poller, sources, threads
from airflow_provider_kendra._waiting import wait as waits
from airflow_provider_kendra._waiting.conditions import ExecutionFinished, Fresh
from airflow_provider_kendra._waiting.cursor import Cursor
from airflow_provider_kendra._waiting.freshness import wait_until_fresh
from airflow_provider_kendra._waiting.index import Index
from airflow_provider_kendra._waiting.log import PROGRESS_INTERVAL, PollErrors, freshness_log
from airflow_provider_kendra._waiting.watcher import Finished, watch
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.outcomes import AllFresh, Failed, Failure
from airflow_provider_kendra.sync_job import Acceptance, SyncJob, SyncJobStatus
from airflow_provider_kendra.triggers.kendra import connect
from tests.conftest import NEWEST_START, DataSource, listed
from tests.virtual_time import async_log, run_in_virtual_time

LIST = "ListDataSourceSyncJobs"
LIST_SOURCES = "ListDataSources"

# botocore's own retries would sleep.
AWS = AwsParameters(botocore_config='{"retries": {"total_max_attempts": 1}}')


@pytest.fixture(autouse=True)
def _even(monkeypatch: pytest.MonkeyPatch) -> None:
    """No jitter: a pause is as long as it says."""
    monkeypatch.setattr(poller, "random", SimpleNamespace(uniform=lambda low, high: high))


def at(seconds: float) -> datetime:
    return datetime(2026, 1, 31, tzinfo=UTC) + timedelta(seconds=seconds)


async def until(time: float) -> None:
    await asyncio.sleep(time - asyncio.get_running_loop().time())


def another(source: DataSource, name: str = "another") -> DataSource:
    """One more data source in the same index."""
    return replace(source, data_source_id=source.kendra.create_custom_data_source(source.index_id, name))


def begins(minutes: float, execution_id: str, status: str = "SUCCEEDED") -> dict[str, Any]:
    """An item of a history: a job that begins so many minutes after the run of a test."""
    return listed(execution_id, status, StartTime=_clock.utcnow() + timedelta(minutes=minutes))


def fresh(max_age: float = 3600, **parameters: Any) -> Fresh:
    return Fresh(Acceptance(), max_age=timedelta(seconds=max_age), **parameters)


@dataclass
class Wait:
    """A wait for freshness, with its log."""

    task: asyncio.Task[AllFresh | Failed]
    lines: list[str]

    async def cancel(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def wait(
    index_id: str,
    ids: tuple[str, ...] | None,
    condition: Fresh | None = None,
    *,
    timeout: float | None = None,
    interval: float = 60,
) -> Wait:
    """Begin to wait."""
    lines: list[str] = []
    waiting = wait_until_fresh(
        Index(AWS, index_id, ids),
        condition or fresh(),
        interval=interval,
        deadline=None if timeout is None else _clock.utcnow() + timedelta(seconds=timeout),
        log=async_log(lines.append),
        connect=connect,
    )
    return Wait(asyncio.create_task(waiting), lines)


@dataclass
class Watched:
    """A watcher, with all that it has told of."""

    source: DataSource
    cursor: Cursor | None
    told: list[Finished] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        stream = watch(
            sources.DataSource(AWS, *self.source.ids),
            self.cursor,
            interval=60,
            log=async_log(self.lines.append),
            connect=connect,
        )
        assert isinstance(stream, AsyncIterator)
        async for finished in stream:
            self.told.append(finished)

    @property
    def batches(self) -> list[list[str]]:
        return [[job.execution_id for job in finished.jobs] for finished in self.told]

    async def cancel(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def assert_nothing_is_left() -> None:
    await asyncio.sleep(60)  # a client that is still being made is closed when it is done
    assert not poller.Poller._of_loop
    assert asyncio.all_tasks() == {asyncio.current_task()}


def run(main: Callable[[], Any]) -> Any:
    """Run it in virtual time; nothing may be left behind."""

    async def run() -> None:
        await main()
        await assert_nothing_is_left()

    return run_in_virtual_time(run())


# Sharing


def test_200_watchers_and_1000_waits_on_50_data_sources_make_50_calls_per_interval(custom_data_source):
    kendra, index_id = custom_data_source.kendra, custom_data_source.index_id
    sources = [custom_data_source, *(another(custom_data_source) for _ in range(49))]
    ids = tuple(source.data_source_id for source in sources)

    async def main():
        watchers = [Watched(sources[number % 50], {}) for number in range(200)]
        waits = [wait(index_id, (ids[number % 50],)) for number in range(950)]
        waits += [wait(index_id, ids) for _ in range(49)] + [wait(index_id, None)]
        for polls in (1, 2, 3):
            await until(polls * 60 - 30)
            calls = Counter(call.parameters["Id"] for call in kendra.calls(LIST))
            assert calls == dict.fromkeys(ids, polls)
        for source in sources:
            source.show([begins(0, "new")])
        outcomes = await asyncio.gather(*(each.task for each in waits))
        assert {type(outcome) for outcome in outcomes} == {AllFresh}
        assert kendra.call_count(LIST) == 4 * 50
        await until(200)
        assert [watcher.batches for watcher in watchers] == [[["new"]]] * 200
        for watcher in watchers:
            await watcher.cancel()

    run(main)


# Waits for freshness


def test_all_data_sources_must_be_fresh_at_once(custom_data_source):
    first, second = custom_data_source, another(custom_data_source)

    async def main():
        first.show([begins(0, "soon-too-old")])
        second.show([])
        ids = (first.data_source_id, second.data_source_id)
        waiting = wait(first.index_id, ids, fresh(max_age=600))
        await until(900)
        assert not waiting.task.done()
        second.show([begins(0, "second")])
        await until(990)
        assert not waiting.task.done()
        first.show([begins(0, "first"), begins(-15, "soon-too-old")])
        outcome = await waiting.task
        assert {key: job.execution_id for key, job in outcome.jobs.items()} == dict(
            zip(ids, ("first", "second"), strict=True)
        )

    run(main)


def test_a_cutoff_as_an_age_moves_with_the_clock(custom_data_source):
    async def main():
        custom_data_source.show([begins(-9, "nine-minutes-old", "SYNCING")])
        waiting = wait(*_one(custom_data_source), fresh(max_age=600))
        await until(90)
        custom_data_source.show([begins(-10.5, "nine-minutes-old")])  # it is 12 by now
        await until(300)
        assert not waiting.task.done()
        custom_data_source.show([begins(-9, "not-older-than-ten")])
        assert (await waiting.task).jobs[custom_data_source.data_source_id].execution_id == "not-older-than-ten"

    run(main)


def _one(source: DataSource) -> tuple[str, tuple[str, ...]]:
    return source.index_id, (source.data_source_id,)


def test_the_data_sources_of_an_index_are_listed_again_at_each_poll(custom_data_source):
    kendra = custom_data_source.kendra

    async def main():
        custom_data_source.show([begins(0, "failed", "FAILED")])
        waiting = wait(custom_data_source.index_id, None)
        await until(90)
        added = another(custom_data_source)
        await until(150)
        custom_data_source.show([begins(0, "good")])
        await until(270)
        assert not waiting.task.done()
        assert waiting.lines[-1].endswith(": another (no acceptable sync)")
        assert kendra.call_count(LIST_SOURCES) == 5
        added.show([begins(0, "good-too")])
        outcome = await waiting.task
        assert set(outcome.jobs) == {custom_data_source.data_source_id, added.data_source_id}

    run(main)


def test_a_deleted_data_source_neither_blocks_nor_fails_a_wait(custom_data_source):
    kendra, deleted = custom_data_source.kendra, another(custom_data_source)

    async def main():
        custom_data_source.show([begins(0, "good")])
        waiting = wait(custom_data_source.index_id, None)
        await until(90)
        # The look at it comes before the next list.
        kendra.inject(LIST_SOURCES, error="ThrottlingException", times=2)
        custom_data_source.client.delete_data_source(IndexId=deleted.index_id, Id=deleted.data_source_id)
        outcome = await waiting.task
        assert isinstance(outcome, AllFresh), outcome
        assert set(outcome.jobs) == {custom_data_source.data_source_id}

    run(main)


def test_when_a_data_source_is_refused_the_others_are_listed_at_once_and_not_at_the_next_interval(custom_data_source):
    deleted = another(custom_data_source)

    async def main():
        custom_data_source.show([begins(0, "good")])
        waiting = wait(custom_data_source.index_id, None)
        await until(1)
        # Another wait lets the poll of this one data source look at other times: the second time at 46.
        condition = ExecutionFinished("never", Acceptance(), 120, _clock.utcnow())
        other = waits.wait_for(
            sources.DataSource(AWS, *deleted.ids),
            condition,
            interval=46,
            deadline=None,
            log=async_log(lambda line: None),
            connect=connect,
        )
        refused = asyncio.create_task(other)
        custom_data_source.client.delete_data_source(IndexId=deleted.index_id, Id=deleted.data_source_id)
        assert set((await waiting.task).jobs) == {custom_data_source.data_source_id}
        assert asyncio.get_running_loop().time() == 46
        assert (await refused).failure is Failure.REFUSED

    run(main)


def test_a_data_source_that_is_listed_but_cannot_be_read_fails_the_wait(custom_data_source):
    async def main():
        custom_data_source.kendra.inject(LIST, error="AccessDeniedException")
        outcome = await wait(custom_data_source.index_id, None).task
        assert outcome.failure is Failure.REFUSED
        assert "AccessDenied" in outcome.message

    run(main)


@pytest.mark.parametrize("interval", [10, 60, 3600])
def test_a_wait_never_takes_the_list_of_data_sources_that_another_wait_has_read(custom_data_source, interval):
    async def main():
        custom_data_source.show([begins(-120, "old")])
        first = wait(custom_data_source.index_id, None, fresh(max_age=60), interval=interval)
        await until(3)
        another(custom_data_source)
        custom_data_source.show([begins(0, "good")])
        await until(4)
        second = wait(custom_data_source.index_id, None, interval=interval)
        await until(4 + interval)
        assert not second.task.done()
        assert second.lines[-1].endswith(": another (no acceptable sync)")
        await first.cancel()
        await second.cancel()

    run(main)


def test_a_list_that_was_being_read_when_a_wait_began_is_not_taken_either(custom_data_source, monkeypatch):
    listing = threading.Event()
    go_on = threading.Event()
    list_data_sources = KendraSyncJobsHook.list_data_sources

    def slow(hook, index_id):
        found = list(list_data_sources(hook, index_id))
        listing.set()
        go_on.wait(30)
        return iter(found)

    monkeypatch.setattr(KendraSyncJobsHook, "list_data_sources", slow)

    async def main():
        custom_data_source.show([begins(0, "good")])
        first = wait(custom_data_source.index_id, None)
        while not listing.is_set():
            await asyncio.sleep(0)
        added = another(custom_data_source)
        second = wait(custom_data_source.index_id, None)
        await asyncio.sleep(0)
        go_on.set()
        await until(30)
        assert not second.task.done()
        await first.cancel()
        added.show([begins(0, "good-too")])
        assert set((await second.task).jobs) == {custom_data_source.data_source_id, added.data_source_id}

    run(main)


def test_while_the_data_sources_cannot_be_listed_the_wait_does_not_pass_on_an_old_list(custom_data_source):
    kendra = custom_data_source.kendra

    async def main():
        custom_data_source.show([begins(-120, "old")])
        waiting = wait(custom_data_source.index_id, None)
        await until(30)
        kendra.inject(LIST_SOURCES, error="ThrottlingException")
        added = another(custom_data_source)
        await until(90)
        custom_data_source.show([begins(0, "good")])
        await until(600)
        assert not waiting.task.done()
        kendra.clear_faults()
        added.show([begins(0, "good-too")])
        assert set((await waiting.task).jobs) == {custom_data_source.data_source_id, added.data_source_id}

    run(main)


@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize("late", [0, 119, 121, 86_400])
def test_a_wait_that_begins_long_after_its_deadline_has_one_poll_of_each_data_source(
    custom_data_source, is_listed, late
):
    second = another(custom_data_source)

    async def main():
        custom_data_source.show([begins(0, "good")])
        second.show([begins(0, "good-too")])
        ids = (custom_data_source.data_source_id, second.data_source_id)
        outcome = await wait(custom_data_source.index_id, None if is_listed else ids, timeout=-late).task
        assert isinstance(outcome, AllFresh), outcome
        second.show([begins(-120, "old")])
        outcome = await wait(custom_data_source.index_id, None if is_listed else ids, timeout=-late).task
        assert outcome.failure is Failure.TIMED_OUT
        called = "another" if is_listed else second.data_source_id
        assert f"not fresh: {called} (last acceptable sync 2:0" in outcome.message

    run(main)


def test_a_wait_that_begins_after_its_deadline_also_confirms_a_refusal(custom_data_source):
    kendra, refused = custom_data_source.kendra, another(custom_data_source)

    async def main():
        custom_data_source.show([begins(0, "good")])
        kendra.set_data_source_status(*refused.ids, "ACTIVE")
        kendra.inject(LIST, error="AccessDeniedException")
        outcome = await wait(custom_data_source.index_id, None, timeout=-600).task
        assert outcome.failure is Failure.REFUSED
        assert kendra.call_count(LIST_SOURCES) == 2

    run(main)


# Statuses of data sources


@pytest.mark.parametrize("status", ["UPDATING", "REPLICATING"])
def test_a_data_source_that_is_not_idle_is_judged_like_an_active_one(custom_data_source, status):
    updating = another(custom_data_source)

    async def main():
        updating.kendra.set_data_source_status(*updating.ids, status)
        custom_data_source.show([begins(0, "good")])
        updating.show([begins(-120, "old")])
        waiting = wait(custom_data_source.index_id, None)
        await until(90)
        assert not waiting.task.done()
        updating.show([begins(0, "good-too")])
        assert set((await waiting.task).jobs) == {custom_data_source.data_source_id, updating.data_source_id}

    run(main)


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "FAILED"])
def test_a_data_source_that_cannot_be_synced_is_not_judged_beside_one_that_can(custom_data_source, status):
    other = another(custom_data_source)

    async def main():
        other.kendra.set_data_source_status(*other.ids, status)
        custom_data_source.show([begins(0, "good")])
        assert set((await wait(custom_data_source.index_id, None).task).jobs) == {custom_data_source.data_source_id}

    run(main)


def test_while_the_only_data_sources_are_being_created_the_wait_goes_on_and_says_so(custom_data_source):
    kendra, failed = custom_data_source.kendra, another(custom_data_source)

    async def main():
        kendra.set_data_source_status(*custom_data_source.ids, "CREATING")
        kendra.set_data_source_status(*failed.ids, "FAILED")
        waiting = wait(custom_data_source.index_id, None)
        await until(90)
        assert not waiting.task.done()
        assert waiting.lines[0] == "1 data source not fresh after 0 s: documents (still being created)"
        kendra.set_data_source_status(*custom_data_source.ids, "ACTIVE")
        custom_data_source.show([begins(0, "good")])
        assert set((await waiting.task).jobs) == {custom_data_source.data_source_id}

    run(main)


@pytest.mark.parametrize("status", ["DELETING", "FAILED"])
def test_an_index_whose_data_sources_can_never_be_synced_fails_the_wait(custom_data_source, status):
    async def main():
        custom_data_source.kendra.set_data_source_status(*custom_data_source.ids, status)
        outcome = await wait(custom_data_source.index_id, None).task
        assert outcome.failure is Failure.REFUSED
        assert "has no ACTIVE, UPDATING or CREATING data source" in outcome.message

    run(main)


def test_an_index_without_data_sources_fails_the_wait(local_kendra):
    index_id = local_kendra.create_index()

    async def main():
        outcome = await wait(index_id, None).task
        assert (outcome.failure, index_id in outcome.message) == (Failure.REFUSED, True)

    run(main)


@pytest.mark.parametrize("operation", [LIST, LIST_SOURCES])
def test_transient_errors_end_no_wait(custom_data_source, operation):
    async def main():
        custom_data_source.kendra.inject(operation, error="ThrottlingException", times=5)
        custom_data_source.show([begins(0, "good")])
        assert isinstance(await wait(custom_data_source.index_id, None).task, AllFresh)

    run(main)


def test_a_list_of_data_sources_that_cannot_be_read_is_asked_for_less_and_less_often(custom_data_source):
    async def main():
        custom_data_source.kendra.inject(LIST_SOURCES, error="ThrottlingException")
        waiting = wait(custom_data_source.index_id, None)
        await until(421)
        assert custom_data_source.kendra.call_count(LIST_SOURCES) == 4, "after 60, 120 and 240 seconds"
        await waiting.cancel()

    run(main)


def test_a_time_out_names_the_data_sources_that_are_not_fresh_and_ends_with_their_ids(custom_data_source):
    stale = another(custom_data_source)

    async def main():
        custom_data_source.show([begins(0, "good")])
        stale.show([begins(-120, "old")])
        outcome = await wait(custom_data_source.index_id, None, timeout=600).task
        assert asyncio.get_running_loop().time() == 600
        assert outcome.failure is Failure.TIMED_OUT
        assert outcome.message == (
            "Timed out: not fresh: another (last acceptable sync 2:10:00 ago; no sync is running). Raise timeout if "
            "syncs take this long (waited for a sync job that started at most 1 h ago, data source "
            f"{stale.data_source_id})."
        )

    run(main)


THROTTLED = Waiting(error="ThrottlingException: slow down (ListDataSourceSyncJobs)")


class TestFreshnessLog:
    def lines(self, *polls: Blocked, every: float = 60) -> list[str]:
        log = freshness_log("start_time", at(0))
        lines = (log.line(seen, at(every * n)) for n, seen in enumerate(polls))
        return [line for line in lines if line]

    def test_polls_that_fail_alternately_for_two_hours_are_summed_up(self) -> None:
        polls = [Blocked({"one": THROTTLED if n % 2 else Waiting(), "two": Waiting()}) for n in range(121)]
        lines = self.lines(*polls)
        assert lines[:3] == [
            "2 data sources not fresh after 0 s: one (no acceptable sync), two (no acceptable sync)",
            "Polls failed (ThrottlingException); retrying. 2 data sources not fresh after 1 min: "
            "one (poll failed), two (no acceptable sync)",
            "Polls failed (ThrottlingException); retrying. 2 data sources not fresh after 6 min: "
            "one (no acceptable sync), two (no acceptable sync)",
        ]
        assert len(lines) == 25

    def test_the_first_line_without_errors_says_so(self) -> None:
        lines = self.lines(Blocked({"one": THROTTLED}), *[Blocked({"one": Waiting()})] * 2, every=300)
        assert lines[1:] == [
            "Polls succeed again. 1 data source not fresh after 5 min: one (no acceptable sync)",
            "1 data source not fresh after 10 min: one (no acceptable sync)",
        ]

    def test_errors_that_the_poller_counts_are_summed_up_too(self) -> None:
        errors = PollErrors()
        log = freshness_log("start_time", at(0), errors)
        blocked = Blocked({"one": Waiting()})
        log.report(blocked, at(0))
        errors.count(THROTTLED.error)
        line = log.report(blocked, at(60))
        assert line is not None
        assert line.startswith("Polls failed (ThrottlingException); retrying. 1 data source not fresh after 1 min: ")

    @pytest.mark.parametrize("trouble", [None, THROTTLED.error, "x" * 500])
    @pytest.mark.parametrize("sources", [1, 2, 3, 50])
    def test_a_line_takes_less_than_200_bytes_and_counts_what_it_does_not_name(
        self, sources: int, trouble: str | None
    ) -> None:
        ids = [f"1cbcfa0b-63ba-4e9a-8d44-{number:012}" for number in range(sources)]
        job = SyncJob(
            index_id="i",
            data_source_id=ids[0],
            execution_id="e",
            status=SyncJobStatus.SYNCING_INDEXING,
            start_time=at(-9_000_000),
        )
        decisions = {each: Waiting(job, None if each == ids[0] else trouble, stale=job) for each in ids}
        seen = Blocked(decisions)
        for line in self.lines(*[seen] * 1500):
            assert len(line.encode()) < 200, line
            named = sum(each in line for each in ids)
            assert named >= 1
            assert (f" and {sources - named} more" in line) is (named < sources)


@pytest.mark.parametrize("is_in_worker", [True, False])
def test_an_error_names_the_data_source_where_the_data_sources_were_listed(custom_data_source, is_in_worker):
    refused = another(custom_data_source)
    condition = {"fail_fast": True}

    async def main():
        custom_data_source.show([begins(0, "good")])
        refused.show([begins(0, "bad", "FAILED")])
        for ids, called in ((None, f"another {refused.data_source_id}"), (refused.ids[1:], refused.data_source_id)):
            if is_in_worker:
                outcome = poll_all(custom_data_source, *(ids or ()), **condition)
            else:
                outcome = await wait(custom_data_source.index_id, ids, fresh(**condition)).task
            assert isinstance(outcome, Failed)
            assert outcome.message.endswith(f"(sync job bad, data source {called}, index {refused.index_id}).")

    run(main)


def test_data_sources_with_the_same_name_are_told_apart_by_their_ids(custom_data_source):
    first, second = another(custom_data_source), another(custom_data_source)
    custom_data_source.show([begins(0, "good")])
    outcome = poll_all(custom_data_source)
    for each in (first, second):
        assert f"another {each.data_source_id} (no acceptable sync" in outcome.describe("start_time", _clock.utcnow())


def test_the_log_names_stale_data_sources_at_each_change_without_flooding(custom_data_source):
    stale = another(custom_data_source)

    async def main():
        custom_data_source.show([begins(0, "good")])
        stale.show([begins(-120, "old")])
        waiting = wait(custom_data_source.index_id, (custom_data_source.data_source_id, stale.data_source_id))
        await until(30)
        assert len(waiting.lines) == 1
        assert waiting.lines[0] == (
            f"1 data source not fresh after 0 s: {stale.data_source_id} (last acceptable sync 2:00:00 ago)"
        )
        assert custom_data_source.data_source_id not in waiting.lines[0]
        stale.show([begins(0, "now", "SYNCING"), begins(-120, "old")])
        await until(150)
        assert len(waiting.lines) == 2
        assert waiting.lines[1].endswith(" ago, SYNCING)")
        await until(150 + 10 * PROGRESS_INTERVAL)
        assert 10 <= len(waiting.lines) <= 13
        await waiting.cancel()

    run(main)


# In a worker


def test_a_wait_that_joins_others_names_stale_data_sources_at_once(custom_data_source):
    custom_data_source.show([])

    async def main() -> None:
        ids = custom_data_source.index_id, (custom_data_source.data_source_id,)
        first = wait(*ids, fresh(1), interval=300)
        await until(5)
        joining = wait(*ids, fresh(1), interval=300)
        await until(10)
        assert len(joining.lines) == 1
        await first.cancel()
        await joining.cancel()

    run(main)


class Gate:
    """Readings of some data sources that hang until the end of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *hanging: str) -> None:
        self.hanging = set(hanging)
        self.open = threading.Event()
        self.in_flight = self.most_in_flight = 0
        self._lock = threading.Lock()
        iter_pages, list_data_sources = KendraSyncJobsHook._iter_pages, KendraSyncJobsHook.list_data_sources

        def pages(hook, index_id, data_source_id, **filters):
            with self._lock:
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
            if data_source_id in self.hanging:
                self.open.wait(60)
                raise ConnectionResetError  # no call of a thread that is left may come in the next test
            try:
                yield from iter_pages(hook, index_id, data_source_id, **filters)
            finally:
                with self._lock:
                    self.in_flight -= 1

        def sources(hook, index_id):
            if index_id in self.hanging:
                self.open.wait(60)
                raise ConnectionResetError
            return list_data_sources(hook, index_id)

        monkeypatch.setattr(KendraSyncJobsHook, "_iter_pages", pages)
        monkeypatch.setattr(KendraSyncJobsHook, "list_data_sources", sources)


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Gate]]:
    gates: list[Gate] = []

    def hang(*ids: str) -> Gate:
        gates.append(Gate(monkeypatch, *ids))
        return gates[-1]

    yield hang
    for gate in gates:
        gate.open.set()


def poll_all(source: DataSource, *ids: str, seconds: float = 3600, **parameters: Any) -> AllFresh | Failed | Blocked:
    """Read these data sources, or all of the index, once, at most until so many seconds from now."""
    hook = KendraSyncJobsHook._of(AWS)
    _ = hook.conn  # made before the time begins to run
    deadline = _clock.utcnow() + timedelta(seconds=seconds)
    index = Index(AWS, source.index_id, ids or None)
    return freshness_waits.poll_all(hook, index, fresh(**parameters), {}, deadline)


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_worker_stops_reading_at_its_deadline_and_names_data_sources_without_a_response(
    custom_data_source, hang, is_listed
):
    hanging = another(custom_data_source)
    custom_data_source.show([begins(0, "good")])
    hang(hanging.data_source_id)
    ids = () if is_listed else (hanging.data_source_id, custom_data_source.data_source_id)
    outcome = poll_all(custom_data_source, *ids, seconds=2)
    assert outcome.failure is Failure.TIMED_OUT
    called = "another" if is_listed else hanging.data_source_id
    assert f"not fresh: {called} (the last poll failed: no response before the time-out)" in outcome.message
    assert outcome.message.count(hanging.data_source_id) == 1
    assert custom_data_source.data_source_id not in outcome.message


def test_a_worker_stops_listing_at_its_deadline(custom_data_source, hang):
    hang(custom_data_source.index_id)
    outcome = poll_all(custom_data_source, seconds=0.2)
    assert outcome.failure is Failure.TIMED_OUT
    assert "no response before the time-out" in outcome.message


def test_a_data_source_that_hangs_does_not_delay_the_failure_of_another(custom_data_source, hang):
    hanging = another(custom_data_source)
    custom_data_source.show([begins(0, "bad", "FAILED")])
    hang(hanging.data_source_id)
    ids = (hanging.data_source_id, custom_data_source.data_source_id)
    outcome = poll_all(custom_data_source, *ids, fail_fast=True)
    assert (outcome.failure, outcome.job.execution_id) == (Failure.NOT_ACCEPTABLE, "bad")


def test_data_sources_that_hang_do_not_delay_the_failure_of_another_beyond_the_deadline(custom_data_source, hang):
    hanging = [another(custom_data_source) for _ in range(2)]
    custom_data_source.show([begins(0, "bad", "FAILED")])
    hang(*(source.data_source_id for source in hanging))
    outcome = poll_all(custom_data_source, seconds=5, fail_fast=True)
    assert (outcome.failure, outcome.job.execution_id) == (Failure.NOT_ACCEPTABLE, "bad")


def test_a_worker_reads_several_data_sources_at_once_and_no_more_than_a_client_has_connections(
    custom_data_source, hang
):
    sources = [custom_data_source, *(another(custom_data_source) for _ in range(29))]
    for source in sources:
        source.show([begins(0, "good")])
    custom_data_source.kendra.inject(LIST, delay=0.02)
    gate = hang()
    assert len(poll_all(custom_data_source).jobs) == 30
    assert 1 < gate.most_in_flight <= threads.MAX_CALLS


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_worker_whose_time_is_over_still_reads_each_data_source_once(custom_data_source, is_listed):
    custom_data_source.show([begins(0, "good")])
    ids = () if is_listed else (custom_data_source.data_source_id,)
    assert isinstance(poll_all(custom_data_source, *ids, seconds=-3600), AllFresh)


def test_a_worker_lists_again_before_it_fails_on_a_refused_data_source(custom_data_source, monkeypatch):
    deleted = another(custom_data_source)
    custom_data_source.show([begins(0, "good")])
    list_data_sources = KendraSyncJobsHook.list_data_sources

    def delete_once_listed(hook, index_id):
        found = list(list_data_sources(hook, index_id))
        if len(found) == 2:
            deleted.client.delete_data_source(IndexId=deleted.index_id, Id=deleted.data_source_id)
        return iter(found)

    monkeypatch.setattr(KendraSyncJobsHook, "list_data_sources", delete_once_listed)
    assert set(poll_all(custom_data_source).jobs) == {custom_data_source.data_source_id}
    assert custom_data_source.kendra.call_count(LIST_SOURCES) == 2


def test_a_worker_fails_if_the_refused_data_source_is_still_listed(custom_data_source):
    custom_data_source.kendra.inject(LIST, error="AccessDeniedException")
    outcome = poll_all(custom_data_source)
    assert outcome.failure is Failure.REFUSED
    assert "AccessDenied" in outcome.message
    assert custom_data_source.kendra.call_count(LIST_SOURCES) == 2


def test_a_worker_does_not_fail_on_a_refusal_while_listing_fails(custom_data_source, monkeypatch):
    list_data_sources, calls = KendraSyncJobsHook.list_data_sources, []

    def fail_the_second_time(hook, index_id):
        calls.append(index_id)
        if len(calls) == 2:
            raise ConnectionResetError
        return list_data_sources(hook, index_id)

    monkeypatch.setattr(KendraSyncJobsHook, "list_data_sources", fail_the_second_time)
    custom_data_source.kendra.inject(LIST, error="AccessDeniedException")
    assert isinstance(poll_all(custom_data_source), Blocked)


# Watchers


def test_a_watcher_reports_each_finished_job_once_and_those_of_a_poll_together_oldest_first(custom_data_source):
    def job(number: int, status: str = "SUCCEEDED") -> dict[str, Any]:
        return listed(f"job-{number}", status, StartTime=NEWEST_START + timedelta(hours=number))

    async def main():
        custom_data_source.show([job(1)])
        watcher = Watched(custom_data_source, {})
        histories = [
            [job(2, "SYNCING"), job(1)],
            [job(2, "SYNCING_INDEXING"), job(1)],
            [job(4, "SYNCING"), job(3, "FAILED"), job(2), job(1)],
            [job(number) for number in range(27, 0, -1)],  # three pages
        ]
        for look, history in enumerate(histories, start=1):
            await until(look * 60 - 30)
            custom_data_source.show(history)
        await until(600)
        later = [f"job-{number}" for number in range(4, 28)]
        assert watcher.batches == [["job-1"], ["job-2", "job-3"], later]
        assert watcher.told[-1].cursor["execution_id"] == "job-27"
        await watcher.cancel()

    run(main)


def test_without_a_cursor_only_what_finishes_from_now_on_counts(custom_data_source):
    async def main():
        custom_data_source.show([begins(-10, "running", "SYNCING"), begins(-60, "before")])
        watcher = Watched(custom_data_source, None)
        await until(90)
        assert watcher.batches == [[]]
        custom_data_source.show([begins(-11.5, "running"), begins(-61.5, "before")])
        await until(150)
        assert watcher.batches == [[], ["running"]]
        await watcher.cancel()

    run(main)


def test_without_a_cursor_an_empty_history_is_a_beginning_too(custom_data_source):
    async def main():
        custom_data_source.show([])
        watcher = Watched(custom_data_source, None)
        await until(30)
        assert watcher.told == [Finished((), {})]
        custom_data_source.show([begins(0, "first")])
        await until(90)
        assert watcher.batches == [[], ["first"]]
        await watcher.cancel()

    run(main)


def test_a_cursor_still_identifies_newer_jobs_when_its_own_job_is_gone(custom_data_source):
    cursor = {"execution_id": "gone", "start_time": NEWEST_START.isoformat()}

    async def main():
        custom_data_source.show(
            [
                listed("newer", StartTime=NEWEST_START + timedelta(hours=1)),
                listed("older", StartTime=NEWEST_START - timedelta(hours=1)),
            ]
        )
        watcher = Watched(custom_data_source, cursor)
        await until(30)
        assert watcher.batches == [["newer"]]
        await watcher.cancel()

    run(main)


def test_jobs_with_equal_start_times_are_all_reported(custom_data_source):
    async def main():
        custom_data_source.show([listed("first")])
        watcher = Watched(custom_data_source, {})
        await until(30)
        custom_data_source.show([listed("second"), listed("first")])
        await until(150)
        assert watcher.batches == [["first"], ["second"]]
        await watcher.cancel()

    run(main)


@pytest.mark.parametrize("error", ["ThrottlingException", "AccessDeniedException", "ResourceNotFoundException"])
def test_a_watcher_continues_after_errors_and_logs_them_once(custom_data_source, error):
    async def main():
        custom_data_source.kendra.inject(LIST, error=error, times=4)
        custom_data_source.show([begins(0, "job")])
        watcher = Watched(custom_data_source, {})
        await until(1800)
        assert watcher.batches == [["job"]]
        failing, again = watcher.lines
        assert error in failing
        assert again.startswith("Polls succeed again (data source ")
        await watcher.cancel()

    run(main)


def test_a_watcher_whose_polls_fail_alternately_for_two_hours_logs_little(custom_data_source):
    async def main():
        watcher = Watched(custom_data_source, {})
        for minute in range(0, 120, 2):
            custom_data_source.kendra.inject(LIST, error="ThrottlingException", times=1)
            await until(60.0 * (minute + 2))
        assert 2 <= len(watcher.lines) <= 25
        await watcher.cancel()

    run(main)


def test_a_slow_reader_gets_the_jobs_of_several_polls_at_once(custom_data_source):
    def job(number: int) -> dict[str, Any]:
        return listed(f"job-{number}", StartTime=NEWEST_START + timedelta(hours=number))

    async def main():
        custom_data_source.show([job(1)])
        stream = watch(
            sources.DataSource(AWS, *custom_data_source.ids), {}, interval=60, log=async_log(print), connect=connect
        )
        assert [each.execution_id for each in (await anext(stream)).jobs] == ["job-1"]
        await until(30)
        custom_data_source.show([job(2), job(1)])
        await until(90)
        custom_data_source.show([job(3), job(2), job(1)])
        await until(150)
        assert [each.execution_id for each in (await anext(stream)).jobs] == ["job-2", "job-3"]
        await stream.aclose()

    run(main)
