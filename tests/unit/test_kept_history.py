"""What a poll keeps of the history for the next ones: whoever reads on from there decides as if all were read anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._decisions import NeedsOlder, Waiting
from airflow_provider_kendra._waiting.conditions import ExecutionFinished, Fresh, SyncedSince
from airflow_provider_kendra._waiting.history import History, Jobs, Kept, Page
from airflow_provider_kendra._waiting.watcher import Finished, FinishedSince
from airflow_provider_kendra.outcomes import Satisfied
from airflow_provider_kendra.sync_job import Acceptance, SyncJob
from tests.conftest import examples

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
FINISHED = ("SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED")


def job(number: int, status: str = "SUCCEEDED") -> SyncJob:
    """The job that started in that minute after midnight."""
    started = NOW.replace(hour=0) + timedelta(minutes=number)
    ended = started + timedelta(seconds=30) if status in FINISHED else None
    return SyncJob(
        index_id="index",
        data_source_id="source",
        execution_id=f"job-{number}",
        status=status,
        start_time=started,
        end_time=ended,
    )


class Service:
    """A data source's history as the service lists it, and the pages that were read of it."""

    def __init__(self, jobs: Sequence[SyncJob] = (), size: int = 3) -> None:
        self.jobs = list(jobs)
        self.size = size
        self.pages_read = 0

    def pages(self, before: datetime | None = None) -> Iterator[Page]:
        listed = [each for each in self.jobs if before is None or (each.start_time and each.start_time <= before)]
        starts = range(0, max(len(listed), 1), self.size)
        for start in starts:
            self.pages_read += 1
            yield Page(listed[start : start + self.size], is_last=start == starts[-1])


def poll(service: Service, kept: Kept | None, *conditions, fails_after: int | None = None):
    """Read as a poll does; give the decisions, and what the next poll gets."""
    history, pages, is_resumed = History(kept), service.pages(), False
    decisions = [NeedsOlder()] * len(conditions)
    pages_read = 0
    while any(isinstance(each, NeedsOlder) for each in decisions):
        if pages_read == fails_after:
            return None, history.keep() if history.can_be_kept else kept
        history.add_page(next(pages))
        pages_read += 1
        if not is_resumed and history.resumes_before is not None:
            pages, is_resumed = service.pages(history.resumes_before), True
        decisions = [
            each.decide(history, NOW) if isinstance(decision, NeedsOlder) else decision
            for each, decision in zip(conditions, decisions, strict=True)
        ]
    return decisions, history.keep()


def since(minute: int) -> SyncedSince:
    return SyncedSince(job(minute).start_time, Acceptance())


def missing() -> ExecutionFinished:
    return ExecutionFinished("missing", Acceptance(), 120, NOW)


def failed(*numbers: int) -> list[SyncJob]:
    """Newest first."""
    return [job(number, "FAILED") for number in sorted(numbers, reverse=True)]


def test_a_poll_reads_no_further_than_to_what_was_read_before():
    service = Service(failed(*range(30)))
    _, kept = poll(service, None, missing())
    assert service.pages_read == 10
    service.jobs = [job(30, "SYNCING"), *service.jobs]
    poll(service, kept, missing(), since(2))
    assert service.pages_read == 11


def test_a_poll_that_needs_older_jobs_reads_on_where_the_others_stopped():
    service = Service(failed(*range(30)))
    _, kept = poll(service, None, since(20))
    before = service.pages_read
    _, kept = poll(service, kept, missing())
    # The first page, then from the oldest known job to the end; that one is listed again.
    assert service.pages_read - before == 1 + 7
    assert [each.execution_id for each in kept.jobs.all] == [each.execution_id for each in service.jobs]
    assert kept.is_complete


def test_a_poll_after_one_that_failed_goes_on_behind_the_pages_that_were_read():
    service = Service(failed(*range(30)))
    _, kept = poll(service, None, missing(), fails_after=8)
    assert len(kept.jobs.all) == 24
    before = service.pages_read
    decisions, _ = poll(service, kept, missing())
    assert service.pages_read - before <= 4
    assert decisions is not None


def test_a_poll_that_fails_before_it_meets_what_was_kept_loses_none_of_it():
    service = Service(failed(*range(30)))
    _, kept = poll(service, None, missing())
    service.jobs = failed(*range(40))
    _, after = poll(service, kept, missing(), fails_after=2)
    assert after is kept


@pytest.mark.parametrize("change", ["status", "gone", "pruned", "inserted"])
def test_what_no_longer_fits_the_list_is_read_anew(change):
    service = Service(failed(*range(0, 30, 2)))
    _, kept = poll(service, None, missing())
    newest = service.jobs[0]
    service.jobs = {
        "status": [replace(newest, status="SUCCEEDED"), *service.jobs[1:]],
        "gone": service.jobs[1:],
        "pruned": service.jobs[:3],
        "inserted": [newest, job(27), *service.jobs[1:]],
    }[change]
    decisions, kept = poll(service, kept, since(0), missing())
    anew, _ = poll(service, None, since(0), missing())
    assert decisions == anew
    assert kept.jobs.all == service.jobs


def test_jobs_that_have_not_finished_are_always_read():
    service = Service([job(9, "SYNCING"), job(8), job(7, "STOPPING"), *failed(*range(7))])
    _, kept = poll(service, None, missing())
    assert [each.execution_id for each in kept.jobs.all] == [f"job-{number}" for number in reversed(range(7))]


def test_a_job_that_has_not_finished_is_read_again_also_behind_what_was_kept():
    service = Service([*failed(*range(10, 30)), job(9, "SYNCING"), *failed(*range(9))])
    waits_for_it = ExecutionFinished("job-9", Acceptance(), 120, NOW)
    _, kept = poll(service, None, since(25))
    decisions, kept = poll(service, kept, waits_for_it)
    assert decisions == [Waiting(service.jobs[20])]
    service.jobs[20] = job(9)
    decisions, _ = poll(service, kept, waits_for_it)
    assert decisions == [Satisfied(job(9))]


def test_polls_that_fail_get_further_also_after_the_list_has_changed():
    service = Service(failed(*range(30)))
    _, kept = poll(service, None, missing(), fails_after=8)
    service.jobs[0] = replace(service.jobs[0], documents_failed=7)
    _, kept = poll(service, kept, missing(), fails_after=4)
    assert len(kept.jobs.all) == 12
    _, kept = poll(service, kept, missing(), fails_after=4)
    assert len(kept.jobs.all) > 12


def test_a_poll_changes_nothing_of_the_last_reading():
    service = Service(failed(*range(30)))
    history = History()
    history.add_page(next(service.pages()))
    kept = history.keep()
    before = list(history.jobs)
    longer, pages = History(kept), service.pages()
    longer.add_page(next(pages))
    for page in service.pages(longer.resumes_before):
        longer.add_page(page)
    assert len(longer.jobs) == 30
    assert history.jobs == before
    assert [job for job in before if history.get(job.execution_id) is None] == []
    assert history.get("job-3") is None


def test_a_poll_resumes_at_a_whole_second_which_every_botocore_can_send():
    started = [NOW + timedelta(seconds=number, milliseconds=700) for number in reversed(range(9))]
    service = Service([replace(job(number, "FAILED"), start_time=each) for number, each in enumerate(started)])
    _, kept = poll(service, None, SyncedSince(started[2], Acceptance()))
    history = History(kept)
    history.add_page(next(service.pages()))
    assert history.resumes_before == kept.jobs.all[-1].start_time + timedelta(milliseconds=300)


def test_jobs_without_an_execution_id_are_neither_lost_nor_repeated_when_a_poll_resumes():
    without = [replace(each, execution_id="") for each in failed(*range(6))]
    service = Service([*failed(*range(6, 12)), *without])
    _, kept = poll(service, None, since(7))
    history, pages = History(kept), service.pages()
    history.add_page(next(pages))
    for page in service.pages(history.resumes_before):
        history.add_page(page)
    assert history.jobs == service.jobs


def test_one_job_at_the_end_of_a_page_is_not_enough_to_read_no_further():
    same = job(5).start_time
    three, four, five = (replace(job(number, "FAILED"), start_time=same) for number in (3, 4, 5))
    service = Service([five, four, three, *failed(0, 1, 2)])
    _, kept = poll(service, None, missing())
    newer = [replace(job(number, "FAILED"), start_time=same) for number in (6, 7)]
    service.jobs = [*failed(8, 9), five, *newer, four, three, *failed(0, 1, 2)]
    history, pages = History(kept), service.pages()
    while not history.is_complete:
        history.add_page(next(pages))
    assert history.jobs == service.jobs


def test_the_jobs_read_so_far_include_those_of_the_last_page():
    history = History()
    history.add_page(Page(failed(5, 4), is_last=False))
    assert history.jobs == failed(5, 4)
    history.add_page(Page(failed(3), is_last=True))
    assert history.jobs == failed(5, 4, 3)


@pytest.mark.parametrize("missing_field", [{"execution_id": ""}, {"start_time": None}], ids=str)
def test_nothing_is_kept_of_a_history_with_a_job_that_could_not_be_found_again(missing_field):
    history = History()
    history.add_page(Page([*failed(5), replace(job(4), **missing_field), *failed(3)], is_last=True))
    assert history.keep() is None


def test_a_job_that_was_listed_on_two_pages_is_kept_once():
    history = History()
    history.add_page(Page(failed(5, 4), is_last=False))
    history.add_page(Page(failed(4, 3), is_last=True))
    assert history.jobs == [*failed(5, 4), *failed(4, 3)]
    assert history.keep().jobs.all == history.jobs == failed(5, 4, 3)


def at_noon(*numbers: int) -> list[SyncJob]:
    """Finished jobs that all started at the same time."""
    return [replace(job(number, "FAILED"), start_time=NOW) for number in numbers]


def read_on(kept: Kept, *pages: list[SyncJob]) -> History:
    """A poll that has read all these pages."""
    history = History(kept)
    for number, jobs in enumerate(pages, start=1):
        history.add_page(Page(jobs, is_last=number == len(pages)))
    return history


def test_a_known_job_does_not_end_the_reading_if_a_new_job_started_at_the_same_time():
    kept = Kept(Jobs([*at_noon(5), *failed(3, 2)]), is_complete=True)
    pages = [[*failed(800), *at_noon(5)], [*at_noon(6), *failed(3, 2)]]
    assert read_on(kept, *pages).jobs == [each for page in pages for each in page]


def test_jobs_of_the_same_time_on_two_pages_are_recognised_by_the_second():
    five, four, three = at_noon(5, 4, 3)
    history = History(Kept(Jobs([five, four, three]), is_complete=False))
    history.add_page(Page([*failed(900, 800), five], is_last=False))
    assert history.resumes_before is None
    history.add_page(Page([four, three, *failed(2)], is_last=False))
    assert history.resumes_before == NOW
    assert history.jobs == [*failed(900, 800), five, four, three, *failed(2)]


def test_new_jobs_of_the_same_time_do_not_make_a_poll_read_all_anew():
    history = History(Kept(Jobs([*at_noon(5), *failed(3, 2)]), is_complete=False))
    history.add_page(Page(at_noon(8, 7), is_last=False))
    history.add_page(Page([*at_noon(5), *failed(3)], is_last=False))
    assert history.resumes_before == job(2).start_time


def test_an_empty_page_does_not_make_a_poll_read_all_anew():
    history = History(Kept(Jobs(failed(5, 3, 2)), is_complete=False))
    history.add_page(Page([], is_last=False))
    history.add_page(Page(failed(5, 3), is_last=False))
    assert history.resumes_before == job(2).start_time


def test_a_poll_that_fails_keeps_what_it_has_read_if_all_that_was_kept_is_gone():
    service = Service(failed(*range(30)))
    _, kept = poll(service, None, since(25))
    service.jobs = service.jobs[len(kept.jobs.all) :]
    _, after = poll(service, kept, missing(), fails_after=2)
    assert after.jobs.all == service.jobs[:6]


@pytest.mark.parametrize("execution_id", ["again", ""])
def test_a_job_that_is_listed_on_two_older_pages_is_read_once(execution_id):
    again = replace(job(1, "FAILED"), execution_id=execution_id)
    history = read_on(Kept(Jobs(failed(5, 4)), is_complete=False), failed(5, 4), [*failed(3), again], [again, job(0)])
    assert history.jobs == [*failed(5, 4, 3), again, job(0)]


def test_a_job_that_changes_while_older_pages_are_read_is_read_once():
    before, after = job(1, "STOPPING"), job(1, "ABORTED")
    history = read_on(Kept(Jobs(failed(5, 4)), is_complete=False), failed(5, 4), [*failed(3), before], [after, job(0)])
    assert history.jobs == [*failed(5, 4, 3), before, job(0)]


def test_a_history_adds_up_what_its_pages_list_and_has_the_schedule_of_the_last():
    history = History()
    assert (history.schedule, history.is_complete) == ("", False)
    history.add_page(Page([], is_last=False, data_source_ids=["a"], creating_ids=["c"], schedule="rate(1 hour)"))
    history.add_page(Page([], is_last=True, data_source_ids=["b"], creating_ids=["d"], schedule="rate(1 day)"))
    assert (history.data_source_ids, history.creating_ids) == (["a", "b"], ["c", "d"])
    assert (history.schedule, history.is_complete) == ("rate(1 day)", True)


def test_only_a_newest_job_that_has_not_finished_is_not_kept():
    history = History()
    history.add_page(Page([job(9, "SYNCING"), *failed(8, 7)], is_last=True))
    assert history.keep().jobs.all == failed(8, 7)


def test_what_is_kept_is_dropped_if_the_list_is_past_it_even_if_it_is_one_job():
    history = History(Kept(Jobs(failed(5)), is_complete=False))
    history.add_page(Page(failed(6), is_last=False))
    assert not history.can_be_kept
    history.add_page(Page(failed(4), is_last=False))
    assert history.can_be_kept
    assert history.keep().jobs.all == failed(6, 4)


def test_the_earliest_time_and_how_far_a_history_reaches_count_all_that_was_read_or_kept():
    history = read_on(Kept(Jobs(failed(5, 4)), is_complete=False), [*failed(6, 5, 4)], failed(3, 2))
    assert history.earliest("start_time") == job(2).start_time
    assert history.earliest("end_time") == job(2, "FAILED").end_time
    assert History().earliest("start_time") is None
    part = History()
    part.add_page(Page([job(9, "SYNCING"), *failed(8)], is_last=False))
    assert part.earliest("end_time") == job(8).end_time
    between = job(8).start_time + timedelta(seconds=15)  # job 8 began before it, and ended after it
    assert (part.reaches(between, "start_time"), part.reaches(between, "end_time")) == (True, False)
    assert not part.reaches(job(8).start_time, "start_time")
    assert history.reaches(job(0).start_time, "start_time")


few_jobs = st.lists(
    st.builds(
        lambda minute, status, execution_id: replace(job(minute, status), execution_id=execution_id),
        st.integers(0, 2),
        st.sampled_from(("SUCCEEDED", "FAILED", "SYNCING")),
        st.sampled_from(("a", "b", "c")),
    ),
    max_size=3,
)


@given(few_jobs, st.lists(st.tuples(st.booleans(), few_jobs), max_size=3))
def test_look_ups_that_are_updated_as_jobs_are_added_agree_with_new_ones(jobs, additions):
    updated, expected = Jobs(jobs), list(jobs)
    for is_newer, more in [(False, []), *additions]:
        if is_newer:
            updated.add_newer(more)
            expected = [*more, *expected]
        else:
            updated.add_older(more)
            expected = [*expected, *more]
        assert updated.all == expected
        new = Jobs(expected)
        assert [updated.get(each) for each in "abc"] == [new.get(each) for each in "abc"]
        for measured_by in ("start_time", "end_time"):
            for acceptance in (None, Acceptance()):
                assert updated.latest(acceptance, measured_by) is new.latest(acceptance, measured_by)
            for minute in range(4):
                moment = getattr(job(minute), measured_by)
                is_any = any(time and time < moment for time in (getattr(each, measured_by) for each in expected))
                assert updated.is_any_before(moment, measured_by) is is_any


def test_of_several_jobs_with_one_execution_id_the_newest_is_found():
    newest, middle, oldest = (replace(job(number), execution_id="same") for number in (3, 2, 1))
    assert Jobs([newest, middle, oldest]).get("same") is newest
    jobs = Jobs([middle])
    jobs.add_older([oldest])
    assert jobs.get("same") is middle
    jobs.add_newer([newest, middle])
    assert jobs.get("same") is newest


def test_of_several_jobs_with_the_latest_time_the_first_is_found():
    first, second, third = at_noon(7, 8, 9)
    jobs = Jobs([second])
    assert jobs.latest(None, "start_time") is second
    jobs.add_older([third])
    assert jobs.latest(None, "start_time") is second
    jobs.add_newer([first])
    assert jobs.latest(None, "start_time") is first


@st.composite
def nights(draw):
    """How a history grows from poll to poll: jobs that start and end, and what a poll is asked for."""
    return draw(
        st.lists(
            st.tuples(
                st.integers(0, 4),  # how many more jobs have started
                st.sampled_from([*FINISHED, "SYNCING"]),  # how the newest stands
                st.lists(st.integers(0, 60), max_size=3),  # since when syncs are waited for
                st.booleans(),  # whether a job is waited for that is not there
                st.none() | st.integers(0, 3),  # after how many pages the poll fails
            ),
            min_size=2,
            max_size=8,
        )
    )


@settings(max_examples=examples(300))
@given(nights(), st.lists(st.sampled_from(FINISHED), min_size=60, max_size=60), st.integers(1, 5))
def test_every_condition_decides_as_if_the_whole_history_were_read_anew(nights, ends, size):
    service, kept, started, cursor = Service(size=size), None, 0, None
    for more, newest, minutes, is_one_missing, fails_after in nights:
        started += more
        service.jobs = [job(number, ends[number]) for number in reversed(range(started))]
        if service.jobs:
            service.jobs[0] = job(started - 1, newest)
        conditions = [since(minute) for minute in minutes]
        conditions += [Fresh(Acceptance(), max_age=timedelta(hours=12), measured_by="end_time", fail_fast=True)]
        conditions += [missing()] if is_one_missing else []
        watched = [FinishedSince(cursor)]
        decisions, kept = poll(service, kept, *watched, *conditions, fails_after=fails_after)
        anew, _ = poll(service, None, *watched, *conditions)
        if decisions is None:
            continue
        assert decisions[1:] == anew[1:]
        finished, expected = decisions[0], anew[0]
        assert isinstance(finished, Finished)
        assert isinstance(expected, Finished)
        assert finished.jobs == expected.jobs
        cursor = finished.cursor
