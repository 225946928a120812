"""Freshness as a pure function: it holds exactly when its definition does, and reads no page older than needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._clock import LATEST
from airflow_provider_kendra._decisions import Blocked, Waiting
from airflow_provider_kendra._validation import MeasuredBy
from airflow_provider_kendra._waiting.conditions import Fresh, all_fresh, freshness_condition, read
from airflow_provider_kendra._waiting.history import History, Page
from airflow_provider_kendra.outcomes import AllFresh, Failed, Failure, Outcome, Satisfied, freshness_from_event
from airflow_provider_kendra.sync_job import Acceptance, SyncJob
from tests.conftest import examples

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
FINISHED = ("SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED")
RUNNING = ("SYNCING", "SYNCING_INDEXING", "STOPPING", "HIBERNATING")
MANY = settings(max_examples=examples(200))


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def job(execution_id: str, status: str = "SUCCEEDED", *, started: float, ended: float | None = None) -> SyncJob:
    """A job with its times in minutes before now."""
    return SyncJob(
        index_id="index",
        data_source_id="source",
        execution_id=execution_id,
        status=status,
        start_time=ago(started),
        end_time=None if ended is None else ago(ended),
    )


class Pages:
    """A history, newest job first, in pages, with a count of those that were read."""

    def __init__(self, jobs: Sequence[SyncJob], size: int = 10) -> None:
        self.pages = [list(jobs[start : start + size]) for start in range(0, len(jobs), size)] or [[]]
        self.read = 0

    def __iter__(self) -> Iterator[Page]:
        for number, jobs in enumerate(self.pages, start=1):
            self.read = number
            yield Page(jobs, is_last=number == len(self.pages))


@st.composite
def histories(draw: st.DrawFn) -> list[SyncJob]:
    """
    A history as Kendra makes it: one job runs at a time, and only the newest can be running.

    Times are whole minutes, so that cutoffs often fall upon them.
    """
    jobs: list[SyncJob] = []
    minute = 0
    for number in range(draw(st.integers(0, 25))):
        status = draw(st.sampled_from(FINISHED if jobs else (*FINISHED, *RUNNING)))
        ended = minute + draw(st.integers(0, 3))
        started = ended + draw(st.integers(1, 4))
        made = job(f"job-{number}", status, started=started, ended=ended if status in FINISHED else None)
        jobs.append(replace(made, documents_failed=draw(st.none() | st.integers(0, 3))))
        minute = started + draw(st.integers(0, 1))
    return jobs


CUTOFFS = st.integers(0, 120)
MEASURES = st.sampled_from(["start_time", "end_time"])
ACCEPTANCES = st.builds(
    Acceptance, st.frozensets(st.sampled_from(FINISHED), min_size=1), st.none() | st.integers(0, 3)
)  # fmt: skip


class Definition:
    """What freshness is, in the words of its documentation."""

    def __init__(self, acceptance: Acceptance, cutoff: datetime, measured_by: MeasuredBy) -> None:
        self._acceptance = acceptance
        self._cutoff = cutoff
        self._measured_by = measured_by

    def is_acceptable(self, job: SyncJob) -> bool:
        limit = self._acceptance.max_documents_failed
        if job.status not in FINISHED:
            return False
        if limit is None:
            return job.status in self._acceptance.statuses
        if job.status not in {*self._acceptance.statuses, "INCOMPLETE"}:
            return False
        known = job.documents_failed
        return job.status == "SUCCEEDED" if known is None else known <= limit

    def is_since(self, job: SyncJob) -> bool:
        time = job.start_time if self._measured_by == "start_time" else job.end_time
        return time is not None and time >= self._cutoff

    def is_before(self, job: SyncJob) -> bool:
        time = job.start_time if self._measured_by == "start_time" else job.end_time
        return time is not None and time < self._cutoff

    def passing(self, jobs: Sequence[SyncJob]) -> SyncJob | None:
        return next((job for job in jobs if self.is_acceptable(job) and self.is_since(job)), None)

    def pages_needed(self, pages: Sequence[Sequence[SyncJob]]) -> int:
        for number, jobs in enumerate(pages, start=1):
            if self.passing(jobs) or any(map(self.is_before, jobs)):
                return number
        return len(pages)


@MANY
@given(histories(), ACCEPTANCES, CUTOFFS, MEASURES, st.booleans(), st.integers(1, 10))
def test_it_holds_exactly_when_an_acceptable_job_is_new_enough(
    jobs: list[SyncJob], acceptance: Acceptance, cutoff: int, measured_by: MeasuredBy, fail_fast: bool, size: int
) -> None:
    definition = Definition(acceptance, ago(cutoff), measured_by)
    condition = Fresh(acceptance, fresh_since=ago(cutoff), measured_by=measured_by, fail_fast=fail_fast)
    decision = read(condition, Pages(jobs, size), NOW)
    passing = definition.passing(jobs)
    assert isinstance(decision, Satisfied) == (passing is not None)
    if isinstance(decision, Satisfied):
        assert decision.job == passing


@MANY
@given(histories(), ACCEPTANCES, CUTOFFS, MEASURES, st.booleans(), st.integers(1, 10))
def test_it_reads_no_page_older_than_needed(
    jobs: list[SyncJob], acceptance: Acceptance, cutoff: int, measured_by: MeasuredBy, fail_fast: bool, size: int
) -> None:
    condition = Fresh(acceptance, fresh_since=ago(cutoff), measured_by=measured_by, fail_fast=fail_fast)
    pages = Pages(jobs, size)
    read(condition, pages, NOW)
    assert pages.read == Definition(acceptance, ago(cutoff), measured_by).pages_needed(pages.pages)


@MANY
@given(histories(), ACCEPTANCES, CUTOFFS, MEASURES, st.integers(1, 10))
def test_fail_fast_fails_exactly_when_the_newest_job_since_the_cutoff_ended_badly_and_none_is_running(
    jobs: list[SyncJob], acceptance: Acceptance, cutoff: int, measured_by: MeasuredBy, size: int
) -> None:
    definition = Definition(acceptance, ago(cutoff), measured_by)
    decision = read(Fresh(acceptance, ago(cutoff), None, measured_by, fail_fast=True), Pages(jobs, size), NOW)
    is_running = any(job.status in RUNNING for job in jobs)
    since = [job for job in jobs if definition.is_since(job)]
    is_bad = not is_running and bool(since) and definition.passing(jobs) is None
    assert isinstance(decision, Failed) == is_bad
    if isinstance(decision, Failed):
        assert (decision.failure, decision.job) == (Failure.NOT_ACCEPTABLE, since[0])


@given(histories(), ACCEPTANCES, CUTOFFS, MEASURES)
def test_without_fail_fast_it_never_fails(
    jobs: list[SyncJob], acceptance: Acceptance, cutoff: int, measured_by: MeasuredBy
) -> None:
    decision = read(Fresh(acceptance, ago(cutoff), None, measured_by), Pages(jobs), NOW)
    assert not isinstance(decision, Failed)


@given(histories(), ACCEPTANCES, CUTOFFS, MEASURES, st.booleans())
def test_a_cutoff_as_an_age_is_that_time_before_now(
    jobs: list[SyncJob], acceptance: Acceptance, cutoff: int, measured_by: MeasuredBy, fail_fast: bool
) -> None:
    aged = Fresh(acceptance, None, timedelta(minutes=cutoff), measured_by, fail_fast)
    fixed = Fresh(acceptance, ago(cutoff), None, measured_by, fail_fast)
    assert read(aged, Pages(jobs), NOW) == read(fixed, Pages(jobs), NOW)


@given(st.lists(st.sampled_from([*FINISHED, *RUNNING]), max_size=12), st.randoms(), CUTOFFS, MEASURES, st.booleans())
def test_unexpected_orders_and_times_neither_crash_it_nor_pass_a_stale_job(
    statuses: list[str], random: Any, cutoff: int, measured_by: MeasuredBy, fail_fast: bool
) -> None:
    def time() -> datetime | None:
        return random.choice([None, ago(random.randint(0, 120))])

    jobs = [
        replace(job(f"job-{number}", status, started=0), start_time=time(), end_time=time())
        for number, status in enumerate(statuses)
    ]
    decision = read(Fresh(Acceptance(), ago(cutoff), None, measured_by, fail_fast), Pages(jobs, 3), NOW)
    if isinstance(decision, Satisfied):
        assert Definition(Acceptance(), ago(cutoff), measured_by).passing([decision.job]) == decision.job


class TestWaiting:
    CONDITION = Fresh(Acceptance(), fresh_since=ago(60), fail_fast=True)

    def test_it_names_the_running_job_also_where_that_began_before_the_cutoff(self) -> None:
        running = job("running", "SYNCING", started=90)
        assert read(self.CONDITION, Pages([running]), NOW) == Waiting(running)

    def test_a_failure_before_the_cutoff_fails_nothing(self) -> None:
        assert read(self.CONDITION, Pages([job("old", "FAILED", started=61, ended=59)]), NOW) == Waiting()

    def test_it_reports_the_newest_acceptable_job_if_that_is_too_old(self) -> None:
        old = job("old", started=90, ended=80)
        decision = read(self.CONDITION, Pages([old, job("older", started=190, ended=180)]), NOW)
        assert isinstance(decision, Waiting)
        assert decision.stale == old


class TestAll:
    CONDITION = Fresh(Acceptance(), max_age=timedelta(minutes=60))
    FRESH = Satisfied(job("fresh", started=30, ended=20))
    TOO_OLD_BY_NOW = Satisfied(job("too-old", started=61, ended=20))
    FAILED = Failed(Failure.REFUSED, "It may not be read.")

    DECISIONS = st.sampled_from([FRESH, TOO_OLD_BY_NOW, FAILED, Waiting(), None])

    @given(st.dictionaries(st.text(min_size=1), DECISIONS, min_size=1, max_size=8))
    def test_several_data_sources_are_all_fresh_or_one_fails_or_some_block(
        self, decisions: dict[str, Outcome | Waiting | None]
    ) -> None:
        outcome = all_fresh(decisions, self.CONDITION, NOW)
        if self.FAILED in decisions.values():
            assert outcome == self.FAILED
        elif set(map(id, decisions.values())) == {id(self.FRESH)}:
            assert outcome == AllFresh(dict.fromkeys(decisions, self.FRESH.job))
        else:
            assert outcome == Blocked({key: each for key, each in decisions.items() if each is not self.FRESH})

    def test_it_comes_through_a_trigger_event_unchanged(self) -> None:
        too_bad = Failed(Failure.NOT_ACCEPTABLE, "It ended badly.", job("bad", "FAILED", started=30, ended=20))
        for outcome in (AllFresh({self.FRESH.job.data_source_id: self.FRESH.job}), self.FAILED, too_bad):
            assert freshness_from_event(outcome.to_event()) == outcome

    def test_an_event_has_no_message_where_nothing_failed(self) -> None:
        assert AllFresh({}).to_event() == {"failure": None, "message": None, "jobs": {}}


class TestBlocked:
    CONDITION = Fresh(Acceptance(), max_age=timedelta(minutes=60))

    def described(self, decision: Outcome | Waiting | None) -> str:
        return Blocked({"documents": decision}).describe(self.CONDITION.measured_by, NOW)

    @pytest.mark.parametrize(
        ("decision", "words"),
        [
            (None, "documents (not polled yet)"),
            (Waiting(), "documents (no acceptable sync among those read; no sync is running)"),
            (
                Waiting(stale=job("old", started=90, ended=80)),
                "documents (last acceptable sync 1:30:00 ago; no sync is running)",
            ),
            (
                Waiting(job("now", "SYNCING", started=5), stale=job("old", started=90, ended=80)),
                "documents (last acceptable sync 1:30:00 ago; now is SYNCING (no documents yet))",
            ),
            (
                Waiting(error="ThrottlingException: slow down"),
                "documents (the last poll failed: ThrottlingException: slow down)",
            ),
            (Satisfied(job("old", started=61, ended=20)), "documents (last acceptable sync 1:01:00 ago)"),
        ],
    )
    def test_it_says_how_stale_each_data_source_is_and_whether_a_sync_runs_there(
        self, decision: Outcome | Waiting | None, words: str
    ) -> None:
        assert self.described(decision) == words

    def test_it_names_each_data_source(self) -> None:
        words = Blocked({"a": None, "b": Waiting()}).describe(self.CONDITION.measured_by, NOW)
        assert words == "a (not polled yet), b (no acceptable sync among those read; no sync is running)"

    def test_it_counts_the_data_sources_that_it_does_not_name(self) -> None:
        words = Blocked({f"source-{number}": None for number in range(50)}).describe(self.CONDITION.measured_by, NOW)
        assert words.endswith("source-9 (not polled yet) and 40 more")

    @pytest.mark.parametrize(
        ("room", "words"),
        [
            (58, "a (not polled yet), b (not polled yet), c (not polled yet)"),
            (57, "a (not polled yet), b (not polled yet) and 1 more"),
            (49, "a (not polled yet), b (not polled yet) and 1 more"),
            (48, "a (not polled yet) and 2 more"),
            (0, "a (not polled yet) and 2 more"),
        ],
    )
    def test_its_summary_names_as_many_data_sources_as_there_is_room_for_and_counts_the_others(
        self, room: int, words: str
    ) -> None:
        blocked = Blocked(dict.fromkeys("abc"))
        assert blocked.summary(self.CONDITION.measured_by, NOW, room) == words

    def test_its_summary_fills_the_room_also_where_the_number_of_the_others_has_fewer_digits(self) -> None:
        words = "a (not polled yet), b (not polled yet) and 7 more"
        assert Blocked(dict.fromkeys("abcdefghi")).summary(self.CONDITION.measured_by, NOW, len(words)) == words

    @pytest.mark.parametrize(
        ("decision", "words"),
        [
            ("still being created", "still being created"),
            (Waiting(), "no acceptable sync"),
            (Waiting(job("now", "SYNCING", started=5)), "no acceptable sync, SYNCING"),
            (Waiting(job("now", "SYNCING", started=5), error="ThrottlingException: slow down"), "poll failed"),
            (Satisfied(job("old", started=61, ended=20)), "last acceptable sync 1:01:00 ago"),
            (Waiting(stale=job("old", started=90.025)), "last acceptable sync 1:30:01 ago"),
            (Waiting(stale=job("old", started=29 * 60)), "last acceptable sync 1 day, 5:00:00 ago"),
            (Waiting(stale=job("old", started=49 * 60)), "last acceptable sync 2 days ago"),
        ],
    )
    def test_its_summary_says_in_a_few_words_why_a_data_source_is_not_fresh(
        self, decision: Outcome | Waiting | str, words: str
    ) -> None:
        assert Blocked({"a": decision}).summary(self.CONDITION.measured_by, NOW, 190) == f"a ({words})"


def test_with_a_fixed_moment_a_sync_never_becomes_too_old() -> None:
    assert Fresh(Acceptance(), fresh_since=NOW).stale_at(NOW) == LATEST


class TestBySchedule:
    """The last run that is overdue was at 9:00, three hours ago."""

    DAILY = Fresh(Acceptance(), grace=timedelta(hours=1)).with_schedule("cron(0 9 * * ? *)")
    HOURLY = Fresh(Acceptance(), grace=timedelta(hours=2)).with_schedule("0 0 * * * ? *")
    YESTERDAY = job("yesterday", started=27 * 60, ended=26 * 60)

    @staticmethod
    def waiting(condition: Fresh, *jobs: SyncJob) -> Waiting:
        decision = read(condition, Pages(jobs), NOW)
        assert isinstance(decision, Waiting)
        return decision

    @pytest.mark.parametrize(
        ("jobs", "words"),
        [
            ([], "the scheduled sync of 2026-01-31 09:00 UTC did not start"),
            ([YESTERDAY], "the scheduled sync of 2026-01-31 09:00 UTC did not start"),
            (
                [replace(job("timeless", "SYNCING", started=1), start_time=None), YESTERDAY],
                "the scheduled sync of 2026-01-31 09:00 UTC did not start",
            ),
            (
                [job("long", "SYNCING_INDEXING", started=181), YESTERDAY],
                "the scheduled sync of 2026-01-31 09:00 UTC did not start; the one of 2026-01-31 08:59 UTC is still "
                "SYNCING_INDEXING",
            ),
            (
                [job("bad", "FAILED", started=179.9, ended=170), YESTERDAY],
                "the scheduled sync of 2026-01-31 09:00 UTC started and FAILED (Kendra gave no reason)",
            ),
            (
                [replace(job("bad", "FAILED", started=179, ended=170), error_code="InternalError", error_message="No")],
                "the scheduled sync of 2026-01-31 09:00 UTC started and FAILED: InternalError: No",
            ),
            (
                [job("part", "INCOMPLETE", started=180, ended=170)],
                "the scheduled sync of 2026-01-31 09:00 UTC started and ended INCOMPLETE: no documents reported. "
                "Only SUCCEEDED is accepted",
            ),
            (
                [job("now", "SYNCING", started=165), YESTERDAY],
                "the scheduled sync of 2026-01-31 09:00 UTC is running: SYNCING (no documents yet)",
            ),
            (
                [job("by hand", "ABORTED", started=164, ended=160), YESTERDAY],
                "the sync of 2026-01-31 09:16 UTC, after the scheduled one of 2026-01-31 09:00 UTC, started and "
                "ABORTED (Kendra gave no reason)",
            ),
        ],
    )
    def test_what_became_of_the_scheduled_sync_is_the_reason(self, jobs: list[SyncJob], words: str) -> None:
        assert self.waiting(self.DAILY, *jobs).reason == words

    def test_a_run_that_is_not_overdue_yet_is_named_once_its_sync_has_started(self) -> None:
        failed = job("bad", "FAILED", started=59, ended=50)
        assert self.waiting(self.HOURLY, failed).reason == (
            "the scheduled sync of 2026-01-31 11:00 UTC started and FAILED (Kendra gave no reason)"
        )

    def test_before_the_first_run_of_a_schedule_any_acceptable_sync_is_fresh_and_none_is_not(self) -> None:
        future = Fresh(Acceptance(), grace=timedelta(hours=1)).with_schedule("cron(0 9 * * ? 2030)")
        assert isinstance(read(future, Pages([self.YESTERDAY]), NOW), Satisfied)
        assert self.waiting(future).reason == "no scheduled sync was due yet"

    def test_a_run_is_overdue_exactly_when_the_grace_is_over(self) -> None:
        late = Fresh(Acceptance(), grace=timedelta(hours=3)).with_schedule("cron(0 9 * * ? *)")
        assert isinstance(read(late, Pages([self.YESTERDAY]), NOW - timedelta(microseconds=1)), Satisfied)
        assert isinstance(read(late, Pages([self.YESTERDAY]), NOW), Waiting)
        assert isinstance(read(late, Pages([job("in time", started=180, ended=0)]), NOW), Satisfied)

    def test_a_sync_that_starts_in_the_future_by_this_clock_is_fresh(self) -> None:
        assert isinstance(read(self.DAILY, Pages([job("ahead", started=-5, ended=-1)]), NOW), Satisfied)

    def test_messages_and_log_lines_begin_with_the_reason(self) -> None:
        blocked = Blocked({"a": self.waiting(self.DAILY, self.YESTERDAY)})
        reason = "the scheduled sync of 2026-01-31 09:00 UTC did not start"
        assert blocked.describe("start_time", NOW) == f"a ({reason}; last acceptable sync 1 day, 3:00:00 ago)"
        assert blocked.summary("start_time", NOW, 190) == f"a ({reason})"

    def test_a_log_line_has_no_more_than_150_characters_of_a_reason(self) -> None:
        blocked = Blocked({"a": Waiting(reason="x" * 200)})
        assert blocked.summary("start_time", NOW, 190) == f"a ({'x' * 149}…)"

    def test_a_change_of_the_reason_is_a_change_to_log(self) -> None:
        waiting = [self.waiting(self.DAILY, *jobs) for jobs in ([], [job("bad", "FAILED", started=179, ended=170)])]
        assert waiting[0].log_key != waiting[1].log_key

    def test_no_time_is_negative(self) -> None:
        ahead = Waiting(stale=job("ahead", started=-5))
        assert Blocked({"a": ahead}).summary("start_time", NOW, 190) == "a (last acceptable sync 0:00:00 ago)"
        assert "ago; no" in Blocked({"a": ahead}).describe("start_time", NOW)
        assert "-" not in Blocked({"a": ahead}).describe("start_time", NOW)

    def test_its_subject_says_how_long_ago_the_run_was_due(self) -> None:
        assert self.DAILY.subject == (
            "a sync job that started at or after the newest scheduled run that is at least 1 h old"
        )

    @given(histories(), st.integers(0, 90), MEASURES, st.booleans(), st.integers(1, 10))
    def test_it_decides_and_reads_like_a_fixed_cutoff_at_that_run(
        self, jobs: list[SyncJob], grace: int, measured_by: MeasuredBy, fail_fast: bool, size: int
    ) -> None:
        cutoff = ago(grace - grace % -30)  # runs are every half an hour
        fixed, pages = Fresh(Acceptance(), cutoff, None, measured_by, fail_fast), Pages(jobs, size)
        by_schedule = replace(
            Fresh(Acceptance(), None, None, measured_by, fail_fast, timedelta(minutes=grace)),
            schedule="cron(0/30 * * * ? *)",
        )
        expected = read(fixed, pages, NOW)
        needed = pages.read
        assert read(by_schedule, pages, NOW) == expected
        assert pages.read == needed


class TestParameters:
    @staticmethod
    def build(**parameters: Any) -> Fresh:
        given = {
            "max_age": None, "fresh_since": None, "measured_by": "start_time", "accepted_statuses": ["SUCCEEDED"],
            "max_documents_failed": None, "fail_fast": False, **parameters,
        }  # fmt: skip
        return freshness_condition(**given)

    @pytest.mark.parametrize(
        ("parameters", "reason"),
        [
            ({}, "Exactly one of max_age, fresh_since and schedule_grace"),
            ({"max_age": 60, "fresh_since": NOW}, "Exactly one of max_age, fresh_since and schedule_grace"),
            ({"max_age": 60, "schedule_grace": 0}, "Exactly one of .* got max_age and schedule_grace"),
            ({"schedule_grace": -1}, "schedule_grace is -1, but must be"),
            ({"schedule_grace": "30m"}, "schedule_grace is '30m', but must be"),
            ({"max_age": 0}, "max_age is .*, but must be"),
            ({"max_age": timedelta(minutes=-1)}, "max_age is .*, but must be"),
            ({"max_age": "6h"}, "max_age is .*, but must be"),
            ({"max_age": float("nan")}, "max_age is .*, but must be"),
            ({"max_age": float("inf")}, "max_age is .*, but must be"),
            ({"fresh_since": "yesterday"}, "^fresh_since is 'yesterday'"),
            ({"fresh_since": "2026-01-31T06:00:00"}, "has no time zone"),
            ({"max_age": 60, "measured_by": "time"}, "measured_by must be start_time or end_time"),
            ({"max_age": 60, "accepted_statuses": ["SYNCING"]}, "accepted statuses must be some of"),
        ],
    )
    def test_what_cannot_be_right_is_refused_with_the_reason(self, parameters: dict[str, Any], reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            self.build(**parameters)

    @pytest.mark.parametrize("measured_by", ["start_time", "end_time"])
    @pytest.mark.parametrize("fail_fast", [True, False])
    def test_they_become_the_condition(self, measured_by: MeasuredBy, fail_fast: bool) -> None:
        condition = self.build(max_age=60, measured_by=measured_by, max_documents_failed=3, fail_fast=fail_fast)
        acceptance = Acceptance(max_documents_failed=3)
        assert condition == Fresh(acceptance, None, timedelta(minutes=1), measured_by, fail_fast)
        assert condition.fail_fast is fail_fast

    def test_a_fixed_moment_becomes_the_cutoff(self) -> None:
        assert self.build(fresh_since=NOW.isoformat()) == Fresh(Acceptance(), NOW)

    def test_an_age_beyond_the_earliest_datetime_accepts_any_job(self) -> None:
        condition = self.build(max_age=timedelta.max)
        assert isinstance(read(condition, Pages([job("old", started=1e6, ended=1e6)]), NOW), Satisfied)
        assert isinstance(read(condition, Pages([]), NOW), Waiting)


class TestAge:
    """For metrics."""

    JOBS = (
        job("failed", "FAILED", started=2, ended=1),
        job("good", started=5, ended=3),
        job("older", started=9, ended=8),
    )

    def age(self, jobs: Sequence[SyncJob], *, measured_by: MeasuredBy = "start_time", is_last: bool = True) -> Any:
        history = History()
        history.add_page(Page(list(jobs), is_last=is_last))
        return Fresh(Acceptance(), max_age=timedelta(minutes=1), measured_by=measured_by).age(history, NOW)

    @pytest.mark.parametrize("is_last", [True, False])
    def test_it_is_that_of_the_newest_acceptable_job(self, is_last: bool) -> None:
        assert self.age(self.JOBS, is_last=is_last) == timedelta(minutes=5)
        assert self.age(self.JOBS, measured_by="end_time", is_last=is_last) == timedelta(minutes=3)

    def test_it_is_at_least_that_of_the_oldest_job_while_older_ones_have_not_been_read(self) -> None:
        failed = [replace(each, status="FAILED") for each in self.JOBS]
        assert self.age(failed, is_last=False) == timedelta(minutes=9)
        assert self.age(failed, measured_by="end_time", is_last=False) == timedelta(minutes=8)

    def test_it_is_unknown_if_no_job_of_the_whole_history_is_acceptable(self) -> None:
        assert self.age(self.JOBS[:1]) is None
        assert self.age([], is_last=False) is None


def test_a_job_is_recent_to_the_very_end_of_its_age() -> None:
    condition = Fresh(Acceptance(), max_age=timedelta(minutes=5))
    assert [condition.is_recent(ago(minutes), NOW) for minutes in (4.9, 5, 5.1)] == [True, True, False]


def test_each_data_source_is_judged_by_the_condition_of_its_own_schedule() -> None:
    found = Satisfied(job("good", started=5, ended=3))
    hour, minute = (Fresh(Acceptance(), max_age=timedelta(minutes=minutes)) for minutes in (60, 1))
    assert all_fresh({"a": found}, minute, NOW, {"a": hour}) == AllFresh({"a": found.job})
    assert all_fresh({"a": found}, hour, NOW, {"a": minute, "b": hour}) == Blocked({"a": found})
