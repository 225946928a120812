"""A watcher's cursor: every job that finishes is reported, and a restart repeats next to nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._decisions import NeedsOlder
from airflow_provider_kendra._waiting import watcher
from airflow_provider_kendra._waiting.cursor import check_cursor
from airflow_provider_kendra._waiting.history import History, Page
from airflow_provider_kendra._waiting.watcher import Finished, FinishedSince
from airflow_provider_kendra.sync_job import SyncJob
from tests.conftest import examples

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def job(execution_id: str, hour: float | None = 0, status: str = "SUCCEEDED") -> SyncJob:
    """A job that started so many hours after noon; None: the service does not say when."""
    start_time = None if hour is None else NOON + timedelta(hours=hour)
    return SyncJob(
        index_id="index", data_source_id="source", execution_id=execution_id, status=status, start_time=start_time
    )


def old_cursor(execution_id: str, hour: float | None = 0) -> dict[str, Any]:
    """A cursor as 1.0.0 stored it."""
    start_time = job(execution_id, hour).start_time
    return {"execution_id": execution_id, "start_time": start_time.isoformat() if start_time else None}


def poll(cursor: Any, jobs: list[SyncJob], *, page_size: int = 10, **parameters: Any) -> Finished:
    """Decide as a poll does: page by page, until that is enough."""
    condition, history = FinishedSince(cursor, **parameters), History()
    for start in range(0, max(len(jobs), 1), page_size):
        history.add_page(Page(jobs[start : start + page_size], is_last=start + page_size >= len(jobs)))
        decision = condition.decide(history, NOON)
        if not isinstance(decision, NeedsOlder):
            assert check_cursor(json.loads(json.dumps(decision.cursor))) == decision.cursor
            return decision
    raise AssertionError("It asks for a page after the last one.")


def ids(decision: Finished) -> list[str]:
    return [job.execution_id for job in decision.jobs]


def test_it_begins_with_the_jobs_that_finish_after_the_first_poll() -> None:
    first = poll(None, [job("running", 2, "SYNCING"), job("before", 1), job("long-before", 0)])
    assert first.jobs == ()
    assert ids(poll(first.cursor, [job("running", 2), job("before", 1), job("long-before", 0)])) == ["running"]


@pytest.mark.parametrize("hour", [0, None], ids=["with a start time", "without one"])
def test_a_start_time_that_comes_or_goes_sends_nothing_again(hour: float | None) -> None:
    before = poll({}, [job("c", hour), job("b", -1), job("a", -2)])
    other = None if hour is not None else 0.0
    assert ids(poll(before.cursor, [job("c", other), job("b", -1), job("a", -2)])) == []
    assert ids(poll(old_cursor("c", hour), [job("c", other), job("b", -1), job("a", -2)])) == []


def test_a_job_without_a_start_time_sends_nothing_again_when_it_is_gone() -> None:
    before = poll({}, [job("c", None), job("b", None), job("a", -2)])
    assert ids(poll(before.cursor, [job("d", None), job("b", None), job("a", -2)])) == ["d"]


def test_an_old_cursor_without_a_start_time_reports_only_the_newest_job_if_its_own_is_gone() -> None:
    first = poll(old_cursor("gone", None), [job("c", 3, "SYNCING"), job("b", 2), job("a", 1)])
    assert ids(first) == ["b"]
    assert ids(poll(first.cursor, [job("c", 3), job("b", 2), job("a", 1)])) == ["c"]


def test_an_old_cursor_whose_job_is_gone_reports_jobs_that_started_later() -> None:
    assert ids(poll(old_cursor("gone", 0), [job("c", 2), job("b", 1), job("a", -1)])) == ["b", "c"]


def test_an_old_cursor_has_handled_the_jobs_below_its_own_that_started_at_the_same_moment() -> None:
    first = poll(old_cursor("b", 0), [job("d", 1), job("c", 0), job("b", 0), job("a", 0)])
    assert ids(first) == ["c", "d"]
    assert ids(poll(first.cursor, [job("d", 1), job("c", 0), job("b", 0), job("a", 0)])) == []


def test_of_jobs_that_started_at_the_same_moment_none_is_lost_in_whatever_order_they_are_listed() -> None:
    first = poll({}, [job("a", 0), job("b", 0, "SYNCING")])
    second = poll(first.cursor, [job("a", 0), job("b", 0), job("c", 0)])
    assert (ids(first), ids(second)) == (["a"], ["c", "b"])
    assert ids(poll(second.cursor, [job("c", 0), job("a", 0), job("b", 0)])) == []


def test_jobs_that_had_finished_at_the_same_moment_before_the_first_poll_are_not_new() -> None:
    jobs = [job("c", 0), job("b", 0), job("a", 0)]
    assert ids(poll(poll(None, jobs, page_size=1).cursor, jobs)) == []


def test_an_unfinished_older_job_blocks_nothing_and_is_reported_if_it_finishes() -> None:
    first = poll({}, [job("c", 2), job("b", 1, "SYNCING"), job("a", 0)])
    second = poll(first.cursor, [job("c", 2), job("b", 1, "SYNCING"), job("a", 0)])
    third = poll(first.cursor, [job("d", 3), job("c", 2), job("b", 1), job("a", 0)])
    assert (ids(first), ids(second), ids(third)) == (["a", "c"], [], ["b", "d"])
    assert ids(poll(third.cursor, [job("d", 3), job("c", 2), job("b", 1), job("a", 0)])) == []


def test_every_job_of_a_recreated_data_source_is_new() -> None:
    for hour in (0, None):
        before = poll({}, [job("b", hour), job("a", hour)])
        assert ids(poll(before.cursor, [job("d", 2), job("c", None)])) == ["c", "d"]


def test_a_job_that_pages_repeat_is_reported_once() -> None:
    assert ids(poll({}, [job("b", 1), job("a", 0), job("a", 0)])) == ["a", "b"]


def test_a_job_that_cannot_be_recognised_again_is_left_out_and_hides_no_other() -> None:
    jobs = [job("", None), job("b", 1), job("", 0.5), job("a", 0)]
    first = poll({}, jobs)
    assert ids(first) == ["a", "", "b"]
    assert ids(poll(first.cursor, [job("c", 2), *jobs])) == ["c"]


def test_jobs_that_do_not_count_move_the_cursor_too() -> None:
    first = poll({}, [job("b", 1, "FAILED"), job("a", 0)], statuses=("SUCCEEDED",))
    assert (ids(first), first.cursor["execution_id"]) == (["a"], "b")


@pytest.mark.parametrize("hour", [1.0, 0.0, None], ids=["apart", "at the same moment", "without start times"])
def test_a_backlog_is_reported_a_hundred_jobs_at_a_time_oldest_first(hour: float | None) -> None:
    jobs = [job(f"job-{n}", None if hour is None else n * hour) for n in range(250, -1, -1)]
    cursor, found = poll(None, jobs[-1:]).cursor, []
    while True:
        decision = poll(cursor, jobs)
        if not decision.jobs:
            break
        cursor = decision.cursor
        found.append(ids(decision))
    assert found == [[f"job-{n}" for n in numbers] for numbers in (range(1, 101), range(101, 201), range(201, 251))]


def test_only_jobs_that_count_are_counted_for_the_limit() -> None:
    jobs = [job(f"job-{n}", n, "FAILED" if n % 2 else "SUCCEEDED") for n in range(200, 0, -1)]
    assert len(poll({}, jobs, statuses=("FAILED",)).jobs) == 100


def test_a_cursor_stays_small() -> None:
    cursor: Any = {}
    jobs: list[SyncJob] = []
    for number in range(300):
        jobs.insert(0, job(f"job-{number}", None if number % 2 else number))
        cursor = poll(cursor, jobs).cursor
    assert len(cursor["recent"]) <= 20


def test_a_poll_reads_one_page_once_the_watcher_is_up_to_date() -> None:
    for hour in (1.0, None):
        jobs = [job(f"job-{n}", None if hour is None else n) for n in range(50, 0, -1)]
        condition, history = FinishedSince(poll({}, jobs).cursor), History()
        history.add_page(Page(jobs[:10], is_last=False))
        assert isinstance(condition.decide(history, NOON), Finished)


@pytest.mark.parametrize(
    "value",
    [
        "b",
        ["b"],
        7,
        {"start_time": None},
        {"execution_id": 7, "start_time": None},
        {"execution_id": "b", "start_time": "yesterday"},
        {"execution_id": "b", "start_time": "2026-01-31T12:00:00"},
        {"execution_id": "b", "start_time": 7},
        {"execution_id": "b", "start_time": None, "recent": "b"},
        {"execution_id": "b", "start_time": None, "open": [7]},
    ],
)
def test_an_invalid_cursor_is_rejected(value: object) -> None:
    with pytest.raises(ValueError, match="it"):
        check_cursor(value)


def test_cursors_of_older_versions_are_read() -> None:
    for cursor in ({}, old_cursor("b"), old_cursor("b", None)):
        assert check_cursor(cursor) == cursor


class World:
    """
    A data source and a watcher of it, with an oracle beside.

    A start time is shown always, never, or at some polls only.
    """

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self.jobs: list[dict[str, Any]] = []  # newest first
        self.clock = 0
        self.number = 0
        self.cursor: Any = None
        self.kept: Any = None  # the cursor that a restart finds
        self.before: set[str] = set()  # what had finished before the first poll
        self.reported: list[str] = []
        self.unkept: set[str] = set()
        self.has_begun = False

    def start(self, shows: str, same_moment: bool, below: bool) -> None:
        below = below and same_moment and shows == "always" and bool(self.jobs)
        same_moment = same_moment and bool(self.jobs)
        self.clock += not same_moment
        self.number += 1
        new = {"id": f"job-{self.number}", "start": self.clock, "shows": shows, "status": "SYNCING"}
        if below and self.jobs[0]["start"] == self.clock and self.jobs[0]["shows"] == "always":
            self.jobs.insert(1, new)
        else:
            self.jobs.insert(0, new)

    def finish(self, which: int, status: str) -> None:
        running = [each for each in self.jobs if each["status"] == "SYNCING"]
        if running:
            running[which % len(running)]["status"] = status

    def prune(self, count: int) -> None:
        del self.jobs[max(len(self.jobs) - count, 0) :]

    def recreate(self) -> None:
        self.jobs.clear()

    def listed(self, shown: int) -> list[SyncJob]:
        listed = []
        for number, each in enumerate(self.jobs):
            is_shown = each["shows"] == "always" or (each["shows"] == "sometimes" and shown >> (number % 8) & 1)
            listed.append(job(each["id"], each["start"] if is_shown else None, each["status"]))
        return listed

    def poll(self, shown: int) -> None:
        decision = poll(self.cursor, self.listed(shown), page_size=self.page_size)
        finished_ids = {each["id"] for each in self.jobs if each["status"] != "SYNCING"}
        if not self.has_begun:
            self.has_begun, self.before = True, finished_ids
            self.kept = decision.cursor
        self.cursor = decision.cursor
        found = ids(decision)
        assert not self.before & set(found)
        assert len(found) == len(set(found))
        repeated = (set(found) & set(self.reported)) - self.unkept
        assert not repeated
        self.reported += found
        self.unkept = self.unkept - set(found) | set(found)
        # What is not due any more, since it was gone before a poll, is in nobody's list.
        missing = finished_ids - self.before - set(self.reported)
        assert not missing or len(found) == watcher.MAX_JOBS

    def keep(self) -> None:
        """What was reported is persisted, and the cursor behind it kept."""
        if self.has_begun:
            self.kept = json.loads(json.dumps(self.cursor))
            self.unkept.clear()

    def restart(self) -> None:
        self.cursor = self.kept
        self.reported = [each for each in self.reported if each not in self.unkept]


SHOWS = st.sampled_from(["always", "always", "never", "sometimes"])
STATUS = st.sampled_from(["SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED"])
STEPS = st.one_of(
    st.tuples(st.just("start"), SHOWS, st.booleans(), st.booleans()),
    st.tuples(st.just("finish"), st.integers(0, 3), STATUS),
    st.tuples(st.just("poll"), st.integers(0, 255)),
    st.tuples(st.just("poll"), st.integers(0, 255)),
    st.tuples(st.just("prune"), st.integers(1, 4)),
    st.tuples(st.just("keep")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("recreate")),
)


@settings(max_examples=examples(300))
@given(
    before=st.lists(st.tuples(SHOWS, st.booleans(), STATUS), max_size=6),
    steps=st.lists(STEPS, max_size=40),
    page_size=st.integers(1, 5),
    limit=st.sampled_from([1, 2, 100]),
)
def test_every_job_that_finishes_is_reported_and_no_restart_repeats_what_was_kept(
    before: list[Any], steps: list[Any], page_size: int, limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watcher, "MAX_JOBS", limit)
        world = World(page_size)
        for shows, same_moment, status in before:
            world.start(shows, same_moment, below=False)
            world.finish(0, status)
        world.poll(255)
        for name, *arguments in steps:
            getattr(world, name)(*arguments)
        for _ in range(len(world.jobs) + 1):
            world.poll(255)
        visible = {each["id"] for each in world.jobs if each["status"] != "SYNCING"}
        assert visible - world.before <= set(world.reported)
