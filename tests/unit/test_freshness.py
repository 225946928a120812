"""How fresh a data source is, for people, agrees with what the waits decide, and costs no page too many."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_kendra._clock import in_words
from airflow_provider_kendra._overview import MAX_PAGES, assess, condition_for, read_back
from airflow_provider_kendra._waiting.conditions import read
from airflow_provider_kendra._waiting.history import Page
from airflow_provider_kendra.outcomes import Satisfied
from airflow_provider_kendra.sync_job import SyncJob, SyncJobStatus

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def job(hours: int, status: str = "SUCCEEDED", **more: object) -> SyncJob:
    started = NOW - timedelta(hours=hours)
    ended = started + timedelta(minutes=30) if status in ("SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED") else None
    fields = {"start_time": started, "end_time": ended, "execution_id": f"job-{hours}", **more}
    return SyncJob(index_id="index", data_source_id="source", status=SyncJobStatus(status), **fields)  # type: ignore[arg-type]


def pages(jobs: list[SyncJob], fetched: list[int] | None = None, size: int = 10) -> Iterator[Page]:
    for start in range(0, max(len(jobs), 1), size):
        if fetched is not None:
            fetched.append(start)
        yield Page(jobs[start : start + size], is_last=start + size >= len(jobs))


histories = st.lists(
    st.tuples(st.sampled_from(["SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED"]), st.none() | st.integers(0, 3)),
    max_size=30,
).map(lambda jobs: [job(hours, status, documents_failed=failed) for hours, (status, failed) in enumerate(jobs)])


@given(histories, st.integers(1, 40), st.sampled_from(["start_time", "end_time"]), st.none() | st.integers(0, 3))
def test_a_data_source_is_fresh_exactly_when_a_wait_for_its_freshness_would_pass(
    jobs: list[SyncJob], hours: int, measured_by: str, max_documents_failed: int | None
):
    condition = condition_for(
        max_age=timedelta(hours=hours), measured_by=measured_by, max_documents_failed=max_documents_failed
    )

    freshness = assess(read_back(pages(jobs), condition, NOW), condition, NOW)

    decision = read(condition, pages(jobs), NOW)
    assert freshness.is_fresh == isinstance(decision, Satisfied)
    assert not isinstance(decision, Satisfied) or freshness.newest == decision.job


def test_the_history_is_read_back_to_the_newest_acceptable_job_and_no_further():
    fetched: list[int] = []
    jobs = [job(hours, "SUCCEEDED" if hours == 13 else "FAILED") for hours in range(100)]

    freshness = assess(
        read_back(pages(jobs, fetched), condition_for(max_age=None), NOW), condition_for(max_age=None), NOW
    )

    assert fetched == [0, 10]
    assert freshness.newest == jobs[13]
    assert freshness.age == timedelta(hours=13)


def test_a_search_in_vain_ends_after_a_number_of_pages_and_says_so():
    fetched: list[int] = []
    jobs = [job(hours, "FAILED") for hours in range(500)]
    condition = condition_for(max_age=None)

    freshness = assess(read_back(pages(jobs, fetched), condition, NOW), condition, NOW)

    assert len(fetched) == MAX_PAGES
    assert (freshness.newest, freshness.searched, freshness.searched_all) == (None, 10 * MAX_PAGES, False)
    assert not freshness.is_fresh


def test_a_data_source_is_not_stale_if_an_acceptable_sync_can_be_older_than_what_was_searched():
    jobs = [*(job(0, "FAILED", execution_id=f"failed-{number}") for number in range(10 * MAX_PAGES)), job(1)]
    condition = condition_for(max_age=timedelta(days=7))

    freshness = assess(read_back(pages(jobs), condition, NOW), condition, NOW)

    assert freshness.is_fresh is None
    assert freshness.reason == "none of its newest 200 syncs is acceptable, and older ones were not read"


def test_more_jobs_are_read_where_more_are_to_be_shown():
    condition = condition_for(max_age=None)

    history = read_back(pages([job(hours) for hours in range(100)]), condition, NOW, at_least=25)

    assert len(history.jobs) == 30


def test_without_an_age_any_acceptable_job_makes_a_data_source_fresh():
    condition = condition_for(max_age=None)

    assert assess(read_back(pages([job(24 * 365)]), condition, NOW), condition, NOW).is_fresh
    assert not assess(read_back(pages([]), condition, NOW), condition, NOW).is_fresh


def test_the_job_that_runs_and_the_last_error_are_those_since_the_newest_acceptable_job():
    since = [job(0, "SYNCING"), job(1, "FAILED", error_code="InternalError", error_message="No bucket")]
    before = [job(3, "SYNCING"), job(4, "FAILED", error_message="long ago")]
    condition = condition_for(max_age=None)

    freshness = assess(read_back(pages([*since, job(2), *before]), condition, NOW), condition, NOW)

    assert freshness.running == since[0]
    assert freshness.rejected == since[1]
    assert freshness.last_error == "Sync FAILED: InternalError: No bucket (sync job job-1)"


def test_a_good_sync_leaves_no_last_error():
    condition = condition_for(max_age=None)

    freshness = assess(read_back(pages([job(1), job(2, "FAILED")]), condition, NOW), condition, NOW)

    assert (freshness.rejected, freshness.last_error, freshness.running) == (None, None, None)


def test_a_job_with_too_many_failed_documents_says_what_would_have_accepted_it():
    condition = condition_for(max_age=None, max_documents_failed=2)

    freshness = assess(read_back(pages([job(1, "INCOMPLETE", documents_failed=3)]), condition, NOW), condition, NOW)

    assert freshness.last_error == (
        "Sync INCOMPLETE: 3 documents failed, more than max_documents_failed=2 (sync job job-1)"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0, "0 s"),
        (-5, "0 s"),
        (timedelta(days=-1), "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (90_061, "1 d 1 h"),
        (timedelta(days=2), "2 d"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds: float | timedelta | None, words: str):
    assert in_words(seconds) == words
