"""What "done" means does not depend on how the history is paged, and no more of it is read than that takes."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._decisions import NeedsOlder, Waiting
from airflow_provider_kendra._parameters import WHY_ONE_IS_REQUIRED
from airflow_provider_kendra._text import LONGEST_MESSAGE
from airflow_provider_kendra._waiting.conditions import ExecutionFinished, SyncedSince, read, sync_job_condition
from airflow_provider_kendra._waiting.history import History, Page
from airflow_provider_kendra._waiting.log import PROGRESS_INTERVAL, PollErrors, WaitLog, sync_job_log
from airflow_provider_kendra.outcomes import Failed, Failure, Satisfied, at_any_end, outcome_from_event
from airflow_provider_kendra.sync_job import DOCUMENT_COUNTS, Acceptance, SyncJob
from tests.conftest import examples

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
INDEX_ID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
FINISHED = ("SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED")
STATUSES = (*FINISHED, "SYNCING", "SYNCING_INDEXING", "STOPPING", "ERROR", "")
MANY = settings(max_examples=examples(500))


def job(execution_id, status="SUCCEEDED", started=0, **fields):
    """A job that started so many hours before now; None: it does not say when."""
    start_time = None if started is None else NOW - timedelta(hours=started)
    return SyncJob(
        index_id=INDEX_ID,
        data_source_id="documents",
        execution_id=execution_id,
        status=status,
        start_time=start_time,
        **fields,
    )


def hours_ago(hours):
    return NOW - timedelta(hours=hours)


def newest_of(jobs):
    """The only one that can be running: by start time, unless the first of the list says none."""
    if jobs[0].start_time is None:
        return jobs[0]
    return max(jobs, key=lambda each: each.start_time or hours_ago(100))


class Pages:
    """The pages of a history, with a count of those that were read."""

    def __init__(self, *pages):
        self.pages = pages
        self.read = 0

    def __iter__(self):
        for number, jobs in enumerate(self.pages, start=1):
            self.read = number
            yield Page(list(jobs), is_last=number == len(self.pages))
        raise AssertionError("read on behind the last page")


@st.composite
def histories(draw, is_sorted=True):
    """Any history: jobs of any status, newest first, some of which do not say when they started."""
    hours = draw(st.lists(st.integers(0, 9), max_size=6))
    jobs = [
        job(
            f"job-{number}",
            draw(st.sampled_from(("FAILED", "FAILED", *STATUSES))),
            draw(st.sampled_from([started, started, started, started, None])),
            documents_failed=draw(st.none() | st.integers(0, 3)),
        )
        for number, started in enumerate(sorted(hours) if is_sorted else hours)
    ]
    return jobs


@st.composite
def pagings(draw, jobs):
    """Any way to give these jobs in pages, empty ones among them."""
    borders = sorted(draw(st.lists(st.integers(0, len(jobs)), min_size=1, max_size=6)))
    return Pages(*(jobs[start:end] for start, end in pairwise([0, *borders, len(jobs)])))


acceptances = st.just(Acceptance()) | st.builds(
    Acceptance.of, st.sets(st.sampled_from(FINISHED), min_size=1), st.none() | st.integers(0, 3)
)
executions = st.builds(
    ExecutionFinished,
    st.integers(0, 9).map("job-{}".format),
    acceptances,
    st.sampled_from([0, 60]),
    since=st.sampled_from([hours_ago(1), NOW, hours_ago(-1)]),
)
moments = st.builds(SyncedSince, st.integers(0, 10).map(hours_ago), acceptances)
conditions = executions | moments


class TestPaging:
    @given(st.data(), executions, histories())
    def test_the_decision_on_an_execution_does_not_depend_on_where_the_page_borders_are(self, data, condition, jobs):
        assert read(condition, data.draw(pagings(jobs)), NOW) == read(condition, Pages(jobs), NOW)

    @MANY
    @given(st.data(), moments, histories())
    def test_the_decision_on_a_moment_does_not_depend_on_where_the_page_borders_are(self, data, condition, jobs):
        assert read(condition, data.draw(pagings(jobs)), NOW) == read(condition, Pages(jobs), NOW)

    @given(st.data(), executions.filter(lambda each: each.not_found_timeout), histories(is_sorted=False))
    def test_one_execution_is_found_in_whatever_order_the_pages_come(self, data, condition, jobs):
        assert read(condition, data.draw(pagings(jobs)), NOW) == read(condition, Pages(jobs), NOW)

    @given(st.data(), executions, histories())
    def test_reading_ends_with_the_page_that_holds_the_execution(self, data, condition, jobs):
        pages = data.draw(pagings(jobs))
        read(condition, pages, NOW)
        holds_it = [any(each.execution_id == condition.execution_id for each in page) for page in pages.pages]
        assert pages.read == (holds_it.index(True) + 1 if True in holds_it else len(pages.pages))

    @given(st.data(), moments, histories())
    def test_reading_ends_with_the_page_that_holds_an_acceptable_job_or_one_from_before_the_moment(
        self, data, condition, jobs
    ):
        def is_enough(each):
            if each.start_time is None:
                return False
            is_acceptable = each.is_finished and condition.acceptance.objection(each) is None
            return is_acceptable or each.start_time < condition.started_after

        pages = data.draw(pagings(jobs))
        read(condition, pages, NOW)
        decides = [any(map(is_enough, page)) for page in pages.pages]
        assert pages.read == (decides.index(True) + 1 if True in decides else len(pages.pages))

    @given(conditions, histories(is_sorted=False))
    def test_no_condition_asks_for_more_of_a_complete_history(self, condition, jobs):
        history = History()
        history.add_page(Page(jobs, is_last=True))
        assert not isinstance(condition.decide(history, NOW), NeedsOlder)

    @given(st.data(), conditions, histories(is_sorted=False))
    def test_pages_that_are_not_sorted_do_no_harm(self, data, condition, jobs):
        decision = read(condition, data.draw(pagings(jobs)), NOW)
        if isinstance(decision, Satisfied):
            assert decision.job.is_finished
            assert condition.acceptance.objection(decision.job) is None
        elif isinstance(decision, Failed) and decision.job and decision.job.is_finished:
            assert condition.acceptance.objection(decision.job) is not None
        elif isinstance(decision, Failed) and decision.job:
            assert isinstance(condition, ExecutionFinished)
            assert decision.job != newest_of(jobs)

    def test_a_running_execution_costs_one_page(self):
        pages = Pages([job("running", "SYNCING")], [job("older", started=1)])
        read(finished("running"), pages, NOW)
        assert pages.read == 1


def finished(execution_id="mine", *, not_found_timeout=120, since=NOW, origin=None):
    return ExecutionFinished(execution_id, Acceptance(), not_found_timeout, since, origin)


class TestExecutionFinished:
    @given(executions, histories())
    def test_it_decides_as_the_contract_says(self, condition, jobs):
        decision = read(condition, Pages(jobs), NOW)
        listed = [each for each in jobs if each.execution_id == condition.execution_id]
        is_newest = bool(listed) and listed[0] == newest_of(jobs)
        if not listed:
            is_patient = condition.not_found_timeout > 0 or condition.since > NOW
            assert decision == Waiting() if is_patient else decision.failure is Failure.NOT_FOUND
        elif listed[0].status not in FINISHED:
            is_given_up = not is_newest and condition.not_found_timeout == 0 and condition.since <= NOW
            assert decision.failure is Failure.NOT_ACCEPTABLE if is_given_up else decision == Waiting(listed[0])
        elif condition.acceptance.objection(listed[0]) is None:
            assert decision == Satisfied(listed[0])
        else:
            assert (decision.failure, decision.job) == (Failure.NOT_ACCEPTABLE, listed[0])

    def test_a_newer_job_does_not_pass_for_the_one_that_is_waited_for(self):
        pages = Pages([job("newer"), job("mine", "SYNCING", started=1)])
        assert read(finished(), pages, NOW) == Waiting(pages.pages[0][1])

    def test_a_failure_names_the_job_its_status_what_the_service_said_and_what_would_have_accepted_it(self):
        failed = job("mine", "INCOMPLETE", error_code="InternalError", error_message="It broke.", documents_failed=2)
        decision = read(finished(), Pages([failed]), NOW)
        for part in (
            "mine",
            "documents",
            INDEX_ID,
            "INCOMPLETE",
            "InternalError",
            "It broke",
            "max_documents_failed=2",
        ):
            assert part in decision.message

    def test_a_job_that_was_never_listed_is_not_found_after_the_timeout(self):
        condition = finished()
        assert read(condition, Pages([job("other")]), NOW) == Waiting()
        assert read(condition, Pages([job("other")]), at(119.999)) == Waiting()
        decision = read(condition, Pages([job("other")]), at(120))
        assert decision.failure is Failure.NOT_FOUND
        assert decision.message == (
            "The sync job is not in the history of its data source (1 job). "
            "Check execution_id, data_source_id, index_id, connection and region. If it was started just now, raise "
            "not_found_timeout (sync job mine)."
        )

    def test_a_single_answer_without_the_job_fails_nothing_however_late_it_comes(self):
        condition = finished()
        running = job("mine", "SYNCING")
        assert read(condition, Pages([running]), at(0)) == Waiting(running)
        assert read(condition, Pages([]), at(3600)) == Waiting()
        assert read(condition, Pages([running]), at(3660)) == Waiting(running)

    def test_a_job_that_was_listed_is_not_found_once_it_has_been_missing_for_the_timeout(self):
        condition = finished()
        read(condition, Pages([job("mine", "SYNCING")]), at(3600))
        assert read(condition, Pages([]), at(3660)) == Waiting()
        assert read(condition, Pages([]), at(3720)) == Waiting()
        assert read(condition, Pages([]), at(3780)).failure is Failure.NOT_FOUND

    def test_the_first_answer_of_a_process_does_not_count_for_the_time_before_it(self):
        condition = finished(since=hours_ago(3))
        assert read(condition, Pages([]), NOW) == Waiting()
        assert read(condition, Pages([]), at(120)).failure is Failure.NOT_FOUND

    def test_an_answer_from_before_the_wait_says_nothing_about_a_missing_job(self):
        condition = finished(not_found_timeout=60)
        assert read(condition, Pages([]), at(-59)) == Waiting()
        assert read(condition, Pages([]), at(1)) == Waiting()
        assert read(condition, Pages([]), at(60)) == Waiting()
        assert read(condition, Pages([]), at(61)).failure is Failure.NOT_FOUND

    def test_a_job_that_has_been_missing_in_another_process_is_not_found_once_a_second_answer_confirms_it(self):
        condition = finished(origin=hours_ago(1))
        assert read(condition, Pages([]), NOW) == Waiting()
        assert read(condition, Pages([]), at(19.9)) == Waiting()
        assert read(condition, Pages([]), at(20)).failure is Failure.NOT_FOUND

    def test_the_wait_in_another_process_counts_for_the_timeout(self):
        condition = finished(origin=at(-10))
        assert read(condition, Pages([]), NOW) == Waiting()
        assert read(condition, Pages([]), at(109)) == Waiting()
        assert read(condition, Pages([]), at(110)).failure is Failure.NOT_FOUND

    def test_a_job_that_this_process_has_found_is_not_found_only_after_the_timeout(self):
        condition = finished(origin=hours_ago(1))
        read(condition, Pages([job("mine", "SYNCING")]), NOW)
        assert read(condition, Pages([]), at(60)) == Waiting()
        assert read(condition, Pages([]), at(179)) == Waiting()
        assert read(condition, Pages([]), at(180)).failure is Failure.NOT_FOUND

    def test_a_not_found_timeout_below_the_time_of_a_confirmation_applies_to_that_too(self):
        condition = finished(origin=hours_ago(1), not_found_timeout=5)
        assert read(condition, Pages([]), NOW) == Waiting()
        assert read(condition, Pages([]), at(5)).failure is Failure.NOT_FOUND

    @MANY
    @given(
        st.lists(st.tuples(st.integers(1, 200), st.sampled_from([None, "SYNCING", "HIBERNATING"])), max_size=30),
        st.sampled_from([1, 60, 120, 300]),
    )
    def test_a_job_is_not_found_only_if_every_answer_for_the_timeout_was_without_it(self, answers, timeout):
        condition, seconds, missing_since = finished(not_found_timeout=timeout), 0, None
        for pause, status in answers:
            seconds += pause
            missing_since = None if status else seconds if missing_since is None else missing_since
            is_missing = missing_since is not None and seconds - missing_since >= timeout
            jobs = [job("mine", status)] if status else [job("other")]
            decision = read(condition, Pages(jobs), at(seconds))
            assert isinstance(decision, Failed) == is_missing
            if is_missing:
                return

    def test_a_job_that_is_listed_on_two_pages_is_judged_by_the_first(self):
        history = History()
        history.add_page(Page([job("mine")], is_last=False))
        history.add_page(Page([job("mine", "SYNCING")], is_last=True))
        assert finished().decide(history, NOW) == Satisfied(job("mine"))

    def test_its_subject_names_the_execution(self):
        assert finished().subject == "sync job mine"


class TestOlderEntriesThatSeemToRun:
    """Only the newest job can be running; lists can lag behind, so an older one is waited for a little longer."""

    NEWER = job("newer", "SUCCEEDED", started=1)

    @pytest.mark.parametrize("status", ["SYNCING", "SYNCING_INDEXING", "STOPPING", "HIBERNATING", ""])
    def test_the_wait_for_one_fails_after_the_grace_and_says_why(self, status):
        condition, mine = finished(), job("mine", status, started=2)
        assert read(condition, Pages([self.NEWER, mine]), NOW) == Waiting(mine)
        assert read(condition, Pages([self.NEWER, mine]), at(119)) == Waiting(mine)
        decision = read(condition, Pages([self.NEWER, mine]), at(120))
        assert (decision.failure, decision.job) == (Failure.NOT_ACCEPTABLE, mine)
        assert "The sync will not finish: a newer sync has started, so this one is not running" in decision.message
        assert f"its status is still {status or 'not reported'}" in decision.message

    def test_the_grace_begins_with_the_first_answer_that_lists_a_newer_job(self):
        condition, mine = finished(), job("mine", "SYNCING", started=2)
        assert read(condition, Pages([mine]), NOW) == Waiting(mine)
        assert read(condition, Pages([self.NEWER, mine]), at(3600)) == Waiting(mine)
        assert read(condition, Pages([mine]), at(3660)) == Waiting(mine)
        assert read(condition, Pages([self.NEWER, mine]), at(3720)) == Waiting(mine)
        assert isinstance(read(condition, Pages([self.NEWER, mine]), at(3840)), Failed)

    def test_one_that_ends_within_the_grace_is_judged_by_its_end(self):
        condition, mine = finished(), job("mine", "SYNCING", started=2)
        read(condition, Pages([self.NEWER, mine]), NOW)
        assert read(condition, Pages([self.NEWER, job("mine", started=2)]), at(600)) == Satisfied(
            job("mine", started=2)
        )

    def test_the_newest_by_its_time_is_waited_for_on_a_page_that_is_not_sorted(self):
        condition, mine = finished(), job("mine", "SYNCING", started=1)
        for seconds in (0, 120, 86_400):
            assert read(condition, Pages([job("older", started=2), mine]), at(seconds)) == Waiting(mine)

    def test_the_first_of_the_list_is_the_newest_if_it_does_not_say_when_it_started(self):
        condition, mine = finished(), job("mine", "SYNCING", started=None)
        for seconds in (0, 120, 86_400):
            assert read(condition, Pages([mine, job("older", started=2)]), at(seconds)) == Waiting(mine)

    def test_one_hides_no_failure(self):
        jobs = [job("failed", "FAILED", 1), job("odd", "SYNCING", 2)]
        decision = read(SyncedSince(hours_ago(5), Acceptance()), Pages(jobs), NOW)
        assert (decision.failure, decision.job) == (Failure.NOT_ACCEPTABLE, jobs[0])

    def test_one_is_not_judged_though_the_newest_job_does_not_say_when_it_started(self):
        jobs = [job("failed", "FAILED", started=None), job("odd", "SYNCING", 2)]
        assert read(SyncedSince(hours_ago(5), Acceptance()), Pages(jobs), NOW) == Waiting()
        ended = job("ended", "ABORTED", 3)
        decision = read(SyncedSince(hours_ago(5), Acceptance()), Pages([*jobs, ended]), NOW)
        assert (decision.failure, decision.job) == (Failure.NOT_ACCEPTABLE, ended)

    def test_a_wait_does_not_name_one_as_the_running_job(self):
        jobs = [job("old", "SUCCEEDED", 6), job("odd", "SYNCING", 7)]
        assert read(SyncedSince(hours_ago(5), Acceptance()), Pages(jobs), NOW) == Waiting()


class TestSyncedSince:
    @MANY
    @given(moments, histories())
    def test_it_decides_as_the_contract_says(self, condition, jobs):
        decision = read(condition, Pages(jobs), NOW)
        since = [each for each in jobs if each.start_time and each.start_time >= condition.started_after]
        ended = [each for each in since if each.status in FINISHED]
        acceptable = [each for each in ended if condition.acceptance.objection(each) is None]
        is_running = bool(jobs) and newest_of(jobs).status not in FINISHED
        if acceptable:
            assert decision == Satisfied(acceptable[0])
        elif ended and not is_running:
            assert (decision.failure, decision.job) == (Failure.NOT_ACCEPTABLE, ended[0])
        else:
            assert isinstance(decision, Waiting)
            assert decision.job is None or decision.job.status not in FINISHED

    @pytest.mark.parametrize(
        ("started", "expected"),
        [(3, Waiting()), (2, Satisfied(job("a", started=2))), (1, Satisfied(job("a", started=1)))],
    )
    def test_the_moment_itself_is_included(self, started, expected):
        condition = SyncedSince(hours_ago(2), Acceptance())
        assert read(condition, Pages([job("a", started=started)]), NOW) == expected

    def test_an_acceptable_job_passes_though_newer_ones_failed_or_run(self):
        jobs = [
            job("running", "SYNCING", 1),
            job("failed", "FAILED", 2),
            job("good", started=3),
            job("older", started=4),
        ]
        assert read(SyncedSince(hours_ago(5), Acceptance()), Pages(jobs), NOW) == Satisfied(jobs[2])

    def test_the_newest_acceptable_job_passes_also_on_a_page_that_is_not_sorted(self):
        jobs = [job("older", started=4), job("newest", started=1), job("newer", started=2)]
        assert read(SyncedSince(hours_ago(5), Acceptance()), Pages(jobs), NOW) == Satisfied(jobs[1])

    def test_it_waits_for_a_running_job_though_the_last_failed(self):
        jobs = [job("running", "SYNCING_INDEXING", 1), job("failed", "FAILED", 2)]
        assert read(SyncedSince(hours_ago(5), Acceptance()), Pages(jobs), NOW) == Waiting(jobs[0])

    def test_it_fails_with_the_newest_when_all_since_then_failed(self):
        jobs = [job("newest", "ABORTED", 1), job("older", "FAILED", 2), job("good", started=6)]
        decision = read(SyncedSince(hours_ago(5), Acceptance()), Pages(jobs), NOW)
        assert (decision.failure, decision.job) == (Failure.NOT_ACCEPTABLE, jobs[0])

    def test_a_job_from_before_the_moment_with_a_status_nobody_knows_does_not_hide_a_failure(self):
        jobs = [job("failed", "FAILED", 1), job("good", started=6), job("odd", "ERROR", 7)]
        assert isinstance(read(SyncedSince(hours_ago(5), Acceptance()), Pages(jobs), NOW), Failed)

    @pytest.mark.parametrize(
        "jobs",
        [[], [job("before", started=6)], [job("before", "FAILED", started=6)], [job("running", "SYNCING", started=6)]],
    )
    def test_it_waits_while_no_job_has_started_since(self, jobs):
        assert read(SyncedSince(hours_ago(5), Acceptance()), Pages(jobs), NOW) == Waiting()

    def test_its_subject_names_the_moment(self):
        subject = SyncedSince(NOW, Acceptance()).subject
        assert subject == "a sync job that started at or after 2026-01-31T12:00:00+00:00"


class TestFromParameters:
    PARAMETERS = {  # noqa: RUF012
        "execution_id": None,
        "started_after": None,
        "target_statuses": ["SUCCEEDED"],
        "max_documents_failed": None,
        "not_found_timeout": 120,
        "since": NOW,
    }

    def test_an_execution_id_gives_the_wait_for_that_job(self):
        parameters = self.PARAMETERS | {"execution_id": "mine", "max_documents_failed": 3}
        expected = ExecutionFinished("mine", Acceptance.of(["SUCCEEDED"], 3), 120, NOW)
        assert sync_job_condition(**parameters) == expected

    @pytest.mark.parametrize("started_after", [hours_ago(2), "2026-01-31T10:00:00+00:00", "2026-01-31T11:00:00+01:00"])
    def test_a_moment_gives_the_wait_for_any_job_since(self, started_after):
        parameters = self.PARAMETERS | {"started_after": started_after, "target_statuses": ("ABORTED",)}
        assert sync_job_condition(**parameters) == SyncedSince(hours_ago(2), Acceptance.of(["ABORTED"]))

    @pytest.mark.parametrize("both", [{}, {"execution_id": "mine", "started_after": NOW}])
    def test_neither_or_both_are_refused(self, both):
        with pytest.raises(ValueError, match="Exactly one of execution_id and started_after must be given"):
            sync_job_condition(**self.PARAMETERS | both)

    def test_the_error_for_neither_says_why_one_is_required(self):
        with pytest.raises(ValueError, match=WHY_ONE_IS_REQUIRED):
            sync_job_condition(**self.PARAMETERS)

    def test_a_wait_that_another_process_began_is_known_to_the_condition(self):
        parameters = self.PARAMETERS | {"execution_id": "mine", "origin": hours_ago(1)}
        assert sync_job_condition(**parameters) == finished(origin=hours_ago(1))

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"execution_id": ""}, "execution_id is ''"),
            ({"execution_id": "None"}, "the template found no value"),
            ({"started_after": ""}, "started_after is ''"),
            ({"started_after": datetime(2026, 1, 31)}, "has no time zone"),
            ({"execution_id": "mine", "target_statuses": ["SYNCING"]}, "The accepted statuses must be"),
            ({"execution_id": "mine", "max_documents_failed": -1}, "max_documents_failed must be"),
        ],
    )
    def test_a_value_that_cannot_be_one_is_refused(self, wrong, message):
        with pytest.raises(ValueError, match=message):
            sync_job_condition(**self.PARAMETERS | wrong)


class TestAnyEnd:
    BAD = job("mine", "FAILED")

    def test_a_job_that_did_not_end_well_has_ended(self):
        assert at_any_end(Failed(Failure.NOT_ACCEPTABLE, "It ended badly.", self.BAD)) == Satisfied(self.BAD)

    @pytest.mark.parametrize(
        "outcome",
        [
            Satisfied(job("mine")),
            Failed(Failure.TIMED_OUT, "It took too long.", job("mine", "SYNCING")),
            Failed(Failure.NOT_FOUND, "It is not listed."),
            Failed(Failure.NOT_ACCEPTABLE, "It is not known which."),
        ],
        ids=str,
    )
    def test_nothing_else_counts_as_the_end_of_a_job(self, outcome):
        assert at_any_end(outcome) is outcome


class TestEvents:
    def test_a_message_has_at_most_4000_characters(self):
        assert len(Failed(Failure.REFUSED, "x" * 5000).message) == 4000

    @given(st.data(), conditions, histories())
    def test_an_outcome_is_the_same_after_its_way_through_an_event(self, data, condition, jobs):
        outcome = read(condition, Pages(jobs), NOW)
        if not isinstance(outcome, Waiting):
            assert outcome_from_event(json.loads(json.dumps(outcome.to_event()))) == outcome

    def test_an_event_has_no_message_where_nothing_failed(self):
        event = Satisfied(job("mine")).to_event()
        assert (event["failure"], event["message"]) == (None, None)

    @pytest.mark.parametrize("failure", Failure)
    def test_a_failure_without_a_job_is_too(self, failure):
        outcome = Failed(failure, "It failed.")
        assert outcome_from_event(json.loads(json.dumps(outcome.to_event()))) == outcome


def at(seconds):
    return NOW + timedelta(seconds=seconds)


SYNCING = Waiting(job("mine", "SYNCING", documents_scanned=7))
INDEXING = Waiting(job("mine", "SYNCING_INDEXING"))
NEXT_JOB = Waiting(job("next", "SYNCING"))
THROTTLING = "ThrottlingException: An error occurred (ThrottlingException) when calling: slow down"
THROTTLED = Waiting(job("mine", "SYNCING"), error=THROTTLING)


class TestWaitLog:
    def lines(self, *looks):
        log = sync_job_log("sync job mine", NOW)
        return [log.line(seen, at(seconds)) for seconds, seen in looks]

    def test_the_first_line_says_status_time_and_documents(self):
        assert self.lines((12.9, SYNCING)) == ["SYNCING after 12 s: 7 scanned (sync job mine)"]

    def test_counts_of_zero_are_left_out(self):
        seen = Waiting(job("mine", "SYNCING_INDEXING", documents_scanned=3, documents_added=3, documents_failed=0))
        assert self.lines((19, seen)) == ["SYNCING_INDEXING after 19 s: 3 scanned, 3 added (sync job mine)"]

    def test_that_no_document_is_reported_yet_is_said(self):
        assert self.lines((0, INDEXING)) == ["SYNCING_INDEXING after 0 s: no documents yet (sync job mine)"]

    def test_a_job_of_an_answer_from_before_the_wait_has_no_negative_time(self):
        assert self.lines((-37, SYNCING)) == ["SYNCING after 0 s: 7 scanned (sync job mine)"]

    def test_an_answer_from_before_the_wait_does_not_say_that_there_is_no_job(self):
        before, first = self.lines((-37, Waiting()), (23, Waiting()))
        assert before is None
        assert first == "No sync job listed after 23 s (waiting for sync job mine)"

    @pytest.mark.parametrize(("before", "after"), [(SYNCING, INDEXING), (SYNCING, NEXT_JOB), (Waiting(), SYNCING)])
    def test_a_change_of_status_is_logged_at_once(self, before, after):
        first, second = self.lines((0, before), (1, after))
        assert first
        assert second

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (SYNCING, SYNCING),
            (Waiting(), Waiting()),
            (SYNCING, Waiting(job("mine", "SYNCING", documents_scanned=8))),
            (THROTTLED, Waiting(job("mine", "SYNCING"), error="Slow down, please.")),
            (THROTTLED, SYNCING),
        ],
    )
    def test_what_is_no_change_waits_for_the_next_line(self, before, after):
        assert self.lines((0, before), (299.9, after))[1] is None

    def test_a_wait_without_changes_is_logged_every_five_minutes_with_the_documents_so_far(self):
        polls = [(seconds, Waiting(job("mine", "SYNCING", documents_scanned=seconds))) for seconds in range(0, 901, 60)]
        assert [line for line in self.lines(*polls) if line] == [
            "SYNCING after 0 s: no documents yet (sync job mine)",
            *(f"SYNCING after {n} min: {n * 60} scanned (sync job mine)" for n in (5, 10, 15)),
        ]

    def test_five_minutes_are_counted_from_the_last_line(self):
        lines = self.lines((0, SYNCING), (200, INDEXING), (300, INDEXING), (499, INDEXING), (500, INDEXING))
        assert [line is not None for line in lines] == [True, True, False, False, True]

    def test_the_first_error_is_logged_at_once_with_its_cause_first(self):
        assert self.lines((0, SYNCING), (60, THROTTLED))[1] == (
            "The last poll failed (ThrottlingException); retrying. SYNCING after 1 min (sync job mine)"
        )

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            ("AWS rejected the request: AccessDenied: no: never", "AccessDenied"),
            ("EndpointConnectionError: Could not connect: https://kendra", "EndpointConnectionError"),
            ("no colon", "no colon"),
        ],
    )
    def test_an_error_is_named_by_its_aws_code_or_else_by_its_type(self, error, kind):
        assert self.lines((0, Waiting(error=error))) == [
            f"The last poll failed ({kind}); retrying. No sync job listed after 0 s"
        ]

    def test_the_name_of_an_error_is_cut_after_24_characters(self):
        assert f"({'x' * 24})" in self.lines((0, Waiting(error="x" * 29)))[0]

    def test_errors_that_come_and_go_are_summed_up_until_there_are_none(self):
        polls = [(60 * n, THROTTLED if n % 2 else SYNCING) for n in range(11)]
        polls += [(60 * n, SYNCING) for n in range(11, 25)]
        times_and_lines = zip((seconds for seconds, _ in polls), self.lines(*polls), strict=True)
        assert [(seconds, line) for seconds, line in times_and_lines if line] == [
            (0, "SYNCING after 0 s: 7 scanned (sync job mine)"),
            (60, "The last poll failed (ThrottlingException); retrying. SYNCING after 1 min (sync job mine)"),
            (360, "2 of the last 5 polls failed (ThrottlingException); retrying. SYNCING after 6 min (sync job mine)"),
            (660, "2 of the last 5 polls failed (ThrottlingException); retrying. SYNCING after 11 min (sync job mine)"),
            (960, "Polls succeed again. SYNCING after 16 min (sync job mine)"),
            (1260, "SYNCING after 21 min: 7 scanned (sync job mine)"),
        ]

    def test_polls_that_fail_alternately_for_two_hours_add_one_line_to_those_of_a_quiet_wait(self):
        quiet = [line for line in self.lines(*((60 * n, SYNCING) for n in range(121))) if line]
        polls = ((60 * n, THROTTLED if n % 2 else SYNCING) for n in range(121))
        failing = [line for line in self.lines(*polls) if line]
        assert (len(quiet), len(failing)) == (25, 25)
        assert sum(map(len, quiet)) < 25 * 100

    @given(
        st.lists(
            st.tuples(
                st.integers(0, 400), st.sampled_from([Waiting(), Waiting(error="E: e"), SYNCING, INDEXING, THROTTLED])
            )
        )
    )
    def test_a_line_is_a_change_the_begin_of_errors_or_five_minutes_after_the_last_one(self, polls):
        seconds, logged_at, logged, are_errors_known = 0, None, None, False
        log, failed = sync_job_log("sync job mine", NOW), False
        for pause, seen in polls:
            seconds += pause
            failed = failed or seen.error is not None
            status = seen.job and seen.job.status
            is_due = logged_at is None or logged != status or seconds - logged_at >= PROGRESS_INTERVAL
            is_due = is_due or (failed and not are_errors_known)
            assert (log.line(seen, at(seconds)) is not None) is is_due
            if is_due:
                logged_at, logged, are_errors_known, failed = seconds, status, failed, False

    @pytest.mark.parametrize("trouble", [None, f"ConnectTimeoutError: Connect timeout on {'x' * 500}", "x" * 500])
    @pytest.mark.parametrize("subject", ["sync job", "a sync job that started at or after"])
    def test_a_line_takes_less_than_200_bytes(self, trouble, subject):
        key = "1cbcfa0b-63ba-4e9a-8d44-0b1a7c3f9e21"
        what = key if subject == "sync job" else "2026-11-25T00:00:00+00:00"
        counts = dict.fromkeys((f"documents_{name}" for name in DOCUMENT_COUNTS), 1_234_567)
        for seen in (Waiting(job(key, "SYNCING_INDEXING", **counts), trouble), Waiting(error=trouble)):
            log = sync_job_log(f"{subject} {what} on data source {key}", NOW)
            for line in (log.line(seen, at(0)), *(log.line(seen, at(86_000 + n)) for n in range(400))):
                assert len((line or "").encode()) < 200, line

    def test_a_line_is_cut_at_the_length_of_a_message(self):
        log = WaitLog(lambda *state: "x" * (LONGEST_MESSAGE + 1), NOW)
        assert len(log.line(SYNCING, NOW)) == LONGEST_MESSAGE

    def test_errors_that_the_poller_counts_are_logged_too(self):
        errors = PollErrors()
        log = sync_job_log("sync job mine", NOW, errors)
        log.report(SYNCING, NOW)
        errors.count(THROTTLING)
        assert log.report(SYNCING, at(60)).startswith("The last poll failed (ThrottlingException); retrying. SYNCING")

    def test_a_poll_that_fails_is_news_until_a_summary_has_said_so(self):
        errors = PollErrors()
        for error, is_new in ((None, False), (THROTTLING, True), (None, True)):
            errors.count(error)
            assert errors.is_new is is_new
        assert errors.summary()
        errors.count(THROTTLING)
        assert not errors.is_new

    def test_the_interval_is_five_minutes(self):
        assert PROGRESS_INTERVAL == 300
