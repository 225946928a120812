"""The states of data sources: each change is reported once, in order, at its time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._clock import CLOCK_DIFFERENCE
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._decisions import NeedsOlder
from airflow_provider_kendra._waiting import poller, state_watcher
from airflow_provider_kendra._waiting.conditions import Fresh
from airflow_provider_kendra._waiting.history import History, Page
from airflow_provider_kendra._waiting.index import Index
from airflow_provider_kendra._waiting.state_watcher import Changed, watch_states
from airflow_provider_kendra._waiting.states import (
    AcceptableSince,
    Change,
    Ended,
    Known,
    Limits,
    State,
    changes_of,
    check_states,
    crossings,
    next_crossing,
    oldest_states,
    store_states,
)
from airflow_provider_kendra.sync_job import Acceptance, SyncJob
from airflow_provider_kendra.triggers.kendra import KendraDataFreshnessEventTrigger, connect
from tests.conftest import DataSource, examples, listed
from tests.unit.triggers.test_event_trigger import LONGEST_KEY
from tests.virtual_time import async_log, run_in_virtual_time

BEGIN = datetime(2026, 1, 31, tzinfo=UTC)
LIST = "ListDataSourceSyncJobs"
AWS = AwsParameters(botocore_config='{"retries": {"total_max_attempts": 1}}')


def at(hours: float) -> datetime:
    return BEGIN + timedelta(hours=hours)


def limits(max_age: float | None = 6, warn_age: float | None = 4, **changed: Any) -> Limits:
    return Limits(
        Acceptance(),
        max_age=None if max_age is None else timedelta(hours=max_age),
        warn_age=None if warn_age is None else timedelta(hours=warn_age),
        **changed,
    )


def job(started: float, took: float = 0.5, status: str = "SUCCEEDED") -> SyncJob:
    return SyncJob(
        index_id="index", data_source_id="source", execution_id=f"job-{started:g}", status=status,
        start_time=at(started), end_time=at(started + took),
    )  # fmt: skip


def ended(*jobs: SyncJob) -> Ended:
    """All jobs that there are."""
    return Ended(jobs, jobs[0] if jobs else None, limits())


def shown(found: Any) -> list[tuple[str, float]]:
    pairs = [each if isinstance(each, tuple) else (each.at, each.state) for each in found]
    return [(str(state), (moment - BEGIN) / timedelta(hours=1)) for moment, state in pairs]


class TestCrossings:
    def test_a_source_is_fresh_when_its_sync_ends_then_aging_then_stale(self):
        assert shown(crossings([job(0)], limits(), at(24))) == [("fresh", 0.5), ("aging", 4), ("stale", 6)]

    def test_a_new_sync_makes_it_fresh_again(self):
        found = crossings([job(0), job(5, 2)], limits(), at(24))
        assert shown(found) == [("fresh", 0.5), ("aging", 4), ("stale", 6), ("fresh", 7), ("aging", 9), ("stale", 11)]

    def test_a_new_sync_that_ends_in_time_keeps_it_from_becoming_stale(self):
        assert shown(crossings([job(0), job(5, 0.5)], limits(), at(6))) == [
            ("fresh", 0.5),
            ("aging", 4),
            ("fresh", 5.5),
        ]

    def test_a_sync_that_took_longer_than_the_age_is_stale_when_it_ends(self):
        assert shown(crossings([job(0, 7)], limits(), at(24))) == [("stale", 7)]

    @pytest.mark.parametrize(("took", "state"), [(4, "fresh"), (4.1, "aging"), (6, "aging"), (7, "stale")])
    def test_at_the_moment_when_a_sync_ends_its_state_is_known(self, took, state):
        assert shown(crossings([job(0, took)], limits(), at(took))) == [(state, took)]
        [_, *coming] = limits().crossings(job(0, took))
        assert next_crossing(ended(job(0, took)), at(took)) == (coming[0][0] if coming else None)

    @pytest.mark.parametrize(("age", "states"), [(4, ["fresh"]), (6, ["fresh", "aging"])])
    def test_a_sync_that_ends_at_the_first_moment_of_a_state_prevents_it(self, age, states):
        next_job = replace(job(age - 1), end_time=at(age) + timedelta.resolution)
        found = crossings([job(0), next_job], limits(), at(age + 1))
        assert [each.state for each in found if each.job == job(0)] == states

    def test_a_sync_that_ends_while_it_is_fresh_changes_nothing(self):
        assert shown(crossings([job(0), job(1)], limits(), at(3))) == [("fresh", 0.5)]

    def test_without_a_warning_age_it_never_ages(self):
        assert shown(crossings([job(0)], limits(warn_age=None), at(24))) == [("fresh", 0.5), ("stale", 6)]

    def test_it_can_be_measured_by_the_end_of_a_sync(self):
        found = crossings([job(0)], limits(measured_by="end_time"), at(24))
        assert shown(found) == [("fresh", 0.5), ("aging", 4.5), ("stale", 6.5)]

    def test_with_a_schedule_it_is_stale_after_the_first_run_that_was_missed(self):
        scheduled = limits(None, None, grace=timedelta(hours=1)).with_schedule("cron(0 18 * * ? *)")
        assert shown(crossings([job(18.2)], scheduled, at(72))) == [("fresh", 18.7), ("stale", 43)]
        assert shown(crossings([job(18.2), job(42.1)], scheduled, at(60))) == [("fresh", 18.7)]

    def test_a_schedule_that_has_no_further_run_keeps_it_fresh(self):
        scheduled = limits(None, None, grace=timedelta(hours=1)).with_schedule("cron(0 18 * * ? 2026)")
        last = SyncJob(
            index_id="index", data_source_id="source", execution_id="last", status="SUCCEEDED",
            start_time=datetime(2026, 12, 31, 18, tzinfo=UTC), end_time=datetime(2026, 12, 31, 19, tzinfo=UTC),
        )  # fmt: skip
        found = crossings([last], scheduled, datetime(2030, 1, 1, tzinfo=UTC))
        assert [each.state for each in found] == [State.FRESH]

    def test_at_the_very_end_of_its_age_it_is_as_fresh_as_for_a_gate(self):
        gate = Fresh(Acceptance(), max_age=timedelta(hours=6))
        for now, state in ((at(6), State.AGING), (at(6) + timedelta.resolution, State.STALE)):
            assert crossings([job(0)], limits(), now)[-1].state is state
            assert gate.is_fresh(job(0), now) == (state is State.AGING)
        assert crossings([job(0)], limits(), at(4))[-1].state is State.FRESH
        assert shown(crossings([job(0, 6)], limits(), at(24))) == [("aging", 6), ("stale", 6)]

    def test_when_its_run_becomes_overdue_it_is_as_stale_as_for_a_gate(self):
        grace = timedelta(hours=1)
        gate = Fresh(Acceptance(), grace=grace).with_schedule("cron(0 18 * * ? *)")
        scheduled = limits(None, None, grace=grace).with_schedule("cron(0 18 * * ? *)")
        assert crossings([job(1)], scheduled, at(19))[-1].state is State.STALE
        assert not gate.is_fresh(job(1), at(19))

    def test_a_warning_age_as_long_as_the_age_is_none(self):
        assert shown(limits(6, 6).crossings(job(0))) == [("fresh", 0.5), ("stale", 6)]

    def test_a_sync_without_an_end_counts_from_its_start(self):
        assert shown(crossings([replace(job(0), end_time=None)], limits(), at(5))) == [("fresh", 0), ("aging", 4)]

    def test_a_sync_that_started_before_another_one_and_ended_after_it_does_not_count(self):
        assert shown(crossings([job(0, 10), job(5, 1)], limits(), at(24))) == [
            ("fresh", 6),
            ("aging", 9),
            ("stale", 11),
        ]

    def test_only_the_first_new_sync_is_included_if_it_changes_nothing(self):
        known = Known(State.FRESH, at(0.5), newest=at(0.5))
        found = crossings([job(2), job(1), job(0)], limits(), at(3), known)
        assert [(each.state, each.job) for each in found] == [(State.FRESH, job(0)), (State.FRESH, job(1))]

    def test_by_a_schedule_the_cutoff_is_the_newest_run_that_can_be_overdue(self):
        scheduled = limits(None, None, grace=timedelta(hours=1)).with_schedule("cron(0 18 * * ? *)")
        assert (scheduled.cutoff(at(18.5)), scheduled.cutoff(at(19))) == (at(-6), at(18))

    def test_an_age_beyond_all_times_never_comes(self):
        found = crossings([job(0)], limits(max_age=24 * 365 * 9000, warn_age=None), at(24))
        assert shown(found) == [("fresh", 0.5)]


def changes(jobs: list[SyncJob], known: Known | None, now: float) -> tuple[list[Any], Known]:
    found, after = changes_of("source", ended(*jobs), known, at(now))
    assert {each.data_source_id for each in found} <= {"source"}
    return found, after


class TestChanges:
    @pytest.mark.parametrize(("now", "state", "since"), [(4.5, "aging", 4), (9, "stale", 6)])
    def test_the_first_report_says_what_is_not_fresh(self, now, state, since):
        found, known = changes([job(0)], None, now)
        assert shown(found) == [(state, since)]
        assert found[0].previous is None
        assert (known.state, known.until) == (state, at(since))

    def test_the_first_report_is_silent_about_what_is_fresh(self):
        assert changes([job(0)], None, 1) == ([], Known(State.FRESH, at(0.5), newest=at(0.5)))

    def test_without_an_acceptable_sync_it_is_stale_from_the_report_not_from_a_failure(self):
        failed = Ended((), job(2, status="FAILED"), limits())
        [change], known = changes_of("source", failed, None, at(3))
        assert (change.state, change.at, change.job) == (State.STALE, at(3), None)
        assert known == Known(State.STALE, at(2.5))
        [change], _ = changes_of("source", failed, Known(State.UNKNOWN, at(1)), at(3))
        assert (change.state, change.at) == (State.STALE, at(3))

    def test_without_any_finished_sync_nothing_new_is_to_be_stored(self):
        _, known = changes([], None, 3)
        assert changes([], known, 4) == ([], known)

    def test_without_any_acceptable_sync_it_is_stale(self):
        found, _ = changes([], None, 3)
        assert shown(found) == [("stale", 3)]
        assert found[0].job is None

    def test_what_changed_while_nobody_watched_is_reported_in_order(self):
        found, known = changes([job(7), job(0)], Known(State.FRESH, at(0.5)), 12)
        assert [(str(each.previous), *pair) for each, pair in zip(found, shown(found), strict=True)] == [
            ("fresh", "aging", 4), ("aging", "stale", 6), ("stale", "fresh", 7.5), ("fresh", "aging", 11),
        ]  # fmt: skip
        assert known == Known(State.AGING, at(11), newest=at(7.5))

    @pytest.mark.parametrize("end", [9.4, 9.5 + 1 / 3600e6, 9.6])
    def test_a_sync_that_ended_around_the_limit_of_the_last_one_is_reported_with_its_own_end(self, end):
        by_age = limits(9.5, None)
        _, known = changes_of("source", Ended((job(0),), job(0), by_age), Known(State.FRESH, at(0.5)), at(9.55))
        second = replace(job(9), end_time=at(end))
        found, _ = changes_of("source", Ended((second, job(0)), second, by_age), known, at(10))
        assert [(each.state, each.at, each.job) for each in found] == [(State.FRESH, second.end_time, second)]

    def test_a_recovery_that_is_over_by_the_next_poll_is_reported_too(self):
        by_end = limits(measured_by="end_time", warn_age=None)
        known = Known(State.STALE, at(6.5), newest=at(0.5))
        found, _ = changes_of("source", Ended((job(6, 0.4), job(0)), None, by_end), known, at(20))
        assert shown(found) == [("fresh", 6.4), ("stale", 12.4)]

    def test_a_recovery_that_was_over_at_the_last_report_is_not_reported(self):
        by_age = limits(warn_age=None)
        known = Known(State.STALE, at(6), newest=at(0.5))
        found, _ = changes_of("source", Ended((job(0.1, 5.85), job(0)), None, by_age), known, at(6.05))
        assert shown(found) == [("fresh", 5.95)]
        known = Known(State.STALE, at(6.1), newest=at(0.5))
        assert changes_of("source", Ended((job(0.1, 5.85), job(0)), None, by_age), known, at(6.2))[0] == []

    def test_what_follows_from_a_sync_that_is_no_longer_listed_is_dated_by_the_report(self):
        fresh = Known(State.FRESH, at(20.5), newest=at(20.5))
        found, known = changes([job(0)], fresh, 21)
        assert shown(found) == [("stale", 21)]
        assert found[0].job == job(0)
        found, _ = changes([job(20), job(0)], known, 22)
        assert shown(found) == [("fresh", 22)]

    def test_what_should_have_been_reported_by_the_last_report_is_dated_by_the_next(self):
        assert shown(changes([job(0)], Known(State.FRESH, at(6), newest=at(0.5)), 8)[0]) == [("stale", 8)]

    def test_a_sync_that_ends_at_this_very_moment_has_ended(self):
        [change], known = changes([job(0, 7)], None, 7)
        assert (change.state, change.at, change.job) == (State.STALE, at(7), job(0, 7))
        assert known == Known(State.STALE, at(7), newest=at(7))
        _, known = changes([job(1), job(0)], None, 1.5)
        assert known == Known(State.FRESH, at(1.5), newest=at(1.5))

    def test_a_sync_has_ended_if_its_end_is_ahead_of_this_clock_by_no_more_than_clocks_may_differ(self):
        ahead = replace(job(0), end_time=at(1) + CLOCK_DIFFERENCE)
        _, known = changes([ahead], None, 1)
        assert known.newest == ahead.end_time
        [change], known = changes([replace(ahead, end_time=ahead.end_time + timedelta.resolution)], None, 1)
        assert (change.state, known.newest) == (State.STALE, None)

    def test_the_first_acceptable_sync_is_reported_with_its_end_though_it_was_listed_late(self):
        found, _ = changes([job(0)], Known(State.STALE, at(2)), 3)
        assert shown(found) == [("fresh", 0.5)]
        assert found[0].job == job(0)

    @pytest.mark.parametrize(
        ("judged_by", "at_hour"), [("", 0.5), ("cron(0 6 * * ? *)", 0.5), ("cron(0 7 * * ? *)", 3)]
    )
    def test_a_sync_that_was_listed_late_is_dated_by_the_report_if_the_schedule_has_changed(self, judged_by, at_hour):
        scheduled = limits(None, None, grace=timedelta(hours=1)).with_schedule("cron(0 6 * * ? *)")
        found, _ = changes_of(
            "source", Ended((job(0),), job(0), scheduled), Known(State.STALE, at(2), judged_by), at(3)
        )
        assert shown(found) == [("fresh", at_hour)]

    def test_after_it_was_stale_a_sync_that_ended_since_is_reported_with_all_that_followed(self):
        found, _ = changes([job(2)], Known(State.STALE, at(1)), 12)
        assert shown(found) == [("fresh", 2.5), ("aging", 6), ("stale", 8)]

    @pytest.mark.parametrize("reported", [2.5, 3])
    def test_a_sync_that_is_too_old_and_was_read_only_after_the_source_was_reported_as_stale_is_no_news(self, reported):
        assert changes([job(2)], Known(State.STALE, at(reported)), 9)[0] == []

    def test_a_sync_that_is_not_too_old_is_reported_though_it_was_read_late(self):
        found, _ = changes([job(2)], Known(State.STALE, at(5), newest=at(3)), 7)
        assert shown(found) == [("aging", 6)]

    def test_no_crossing_is_reported_before_it_happens(self):
        found, _ = changes([job(1, 9), job(0)], Known(State.FRESH, at(0.5)), 2)
        assert found == []

    def test_changes_stay_in_order_when_the_schedule_changes_twice(self):
        known, jobs = Known(State.STALE, at(7), "cron(0 6 * * ? *)", newest=at(0.5)), (job(0),)
        times = []
        for now, schedule in ((16, "cron(0 0 1 * ? *)"), (17, "cron(0 10 * * ? *)")):
            scheduled = limits(None, None, grace=timedelta(hours=1)).with_schedule(schedule)
            found, known = changes_of("source", Ended(jobs, jobs[0], scheduled), known, at(now))
            times += shown(found)
        assert times == [("fresh", 16), ("stale", 17)]

    def test_nothing_is_reported_twice(self):
        _, known = changes([job(0)], Known(State.FRESH, at(0.5)), 7)
        assert changes([job(0)], known, 8) == ([], known)

    def test_a_sync_that_was_listed_late_is_reported_with_its_time(self):
        _, known = changes([job(0)], Known(State.AGING, at(4)), 6.05)
        found, after = changes([job(5), job(0)], known, 6.1)
        assert shown(found) == [("fresh", 5.5)]
        assert after == Known(State.FRESH, at(6), newest=at(5.5))

    def test_what_can_be_read_again_is_reported_whatever_it_was(self):
        found, known = changes([job(0)], Known(State.UNKNOWN, at(0.5)), 2)
        assert shown(found) == [("fresh", 2)]
        assert found[0].previous is State.UNKNOWN
        assert known == Known(State.FRESH, at(2), newest=at(0.5))

    def test_what_can_be_read_again_is_dated_by_a_sync_that_ended_meanwhile(self):
        found, _ = changes([job(2)], Known(State.UNKNOWN, at(1)), 3)
        assert shown(found) == [("fresh", 2.5)]

    @pytest.mark.parametrize("now", [2.2, 9])
    def test_what_can_be_read_again_is_reported_with_the_newest_sync_that_has_ended(self, now):
        jobs = [each for each in (job(8), job(7), job(1), job(0)) if each.end_time <= at(now)]
        [change], _ = changes(jobs, Known(State.UNKNOWN, at(0.5)), now)
        assert (change.state, change.job) == (State.FRESH, jobs[0])

    def test_a_clock_that_is_set_back_changes_no_state(self):
        _, known = changes([job(0)], Known(State.AGING, at(4)), 6.05)
        assert known.state is State.STALE
        assert changes([job(0)], known, 5.99) == ([], known)

    def test_of_a_data_source_that_stays_fresh_no_more_than_the_newest_syncs_are_read(self):
        known, jobs = None, []
        for hour in range(100):
            jobs = [job(hour), *jobs]
            history = History()
            history.add_page(Page(jobs[:10], is_last=hour < 10))
            listed = AcceptableSince(limits(), known and known.until).decide(history, at(hour + 0.6))
            assert isinstance(listed, Ended), hour
            found, known = changes_of("source", listed, known, at(hour + 0.6))
            assert (found, len(listed.jobs) <= 2) == ([], True)

    @pytest.mark.parametrize(("schedule", "pages"), [("cron(0 * * * ? *)", 1), ("cron(0 12 * * ? *)", 2)])
    def test_no_more_syncs_are_read_than_can_count_by_the_schedule(self, schedule, pages):
        scheduled = limits(None, None, grace=timedelta(hours=1)).with_schedule(schedule)
        history = History()
        for page in range(pages):
            assert isinstance(AcceptableSince(scheduled, None).decide(history, at(30.5)), NeedsOlder)
            jobs = [job(30 - page * 10 - number, status="FAILED") for number in range(10)]
            history.add_page(Page(jobs, is_last=False))
        assert AcceptableSince(scheduled, None).decide(history, at(30.5)) == Ended(
            (), job(30, status="FAILED"), scheduled
        )

    def test_of_many_syncs_before_the_cutoff_only_the_newest_acceptable_one_is_returned_and_none_is_judged_again(
        self, monkeypatch
    ):
        history = History()
        old = [job(-number, status="FAILED") for number in range(8, 1000)]
        history.add_page(Page([job(-1, status="FAILED"), *old, job(-1000), job(-1001)], is_last=True))
        condition = AcceptableSince(limits(), None)
        expected = Ended((job(-1000),), job(-1, status="FAILED"), limits())
        assert condition.decide(history, at(0)) == expected
        judged = []
        accepts = Acceptance.accepts
        monkeypatch.setattr(Acceptance, "accepts", lambda self, job: judged.append(job) or accepts(self, job))
        assert condition.decide(history, at(0)) == expected
        assert judged == [job(-1, status="FAILED")]

    def test_before_the_first_run_of_a_schedule_syncs_of_a_year_are_read(self):
        scheduled = limits(None, None, grace=timedelta(hours=1)).with_schedule("cron(0 0 1 1 ? 2030)")
        assert scheduled.cutoff(at(0)) == BEGIN - timedelta(days=366)

    def test_a_sync_that_was_exactly_at_the_limit_at_the_last_report_is_read(self):
        history = History()
        history.add_page(Page([job(7), job(0)], is_last=True))
        found = AcceptableSince(limits(), at(6)).decide(history, at(8))
        assert found == Ended((job(7), job(0)), job(7), limits())

    @pytest.mark.parametrize("measured_by", ["start_time", "end_time"])
    def test_a_sync_without_the_time_that_counts_is_left_out(self, measured_by):
        timeless = replace(job(1), **{measured_by: None})
        history = History()
        history.add_page(Page([timeless, job(0)], is_last=True))
        found = AcceptableSince(limits(measured_by=measured_by), None).decide(history, at(2))
        assert (found.jobs, found.newest) == ((job(0),), job(0))

    @pytest.mark.parametrize("condition", [AcceptableSince(limits(), None), Fresh(Acceptance(), max_age=timedelta(1))])
    def test_if_no_acceptable_sync_was_read_the_oldest_one_read_tells_the_age(self, condition):
        history = History()
        history.add_page(Page([job(2, status="FAILED"), job(1, status="FAILED")], is_last=False))
        assert condition.age(history, at(9)) == timedelta(hours=8)
        history.add_page(Page([], is_last=True))
        assert condition.age(history, at(9)) is None

    def test_a_change_is_in_json_types(self):
        [change], _ = changes([job(0)], None, 9)
        assert json.loads(json.dumps(change.to_dict())) == {
            "data_source_id": "source",
            "state": "stale",
            "previous": None,
            "at": "2026-01-31T06:00:00+00:00",
            "record": job(0).to_dict(),
        }

    def test_a_change_without_a_sync_is_in_json_types(self):
        change = Change("source", State.STALE, State.UNKNOWN, at(1))
        assert json.loads(json.dumps(change.to_dict())) == {
            "data_source_id": "source",
            "state": "stale",
            "previous": "unknown",
            "at": "2026-01-31T01:00:00+00:00",
            "record": None,
        }

    @settings(deadline=None, max_examples=examples(200))
    @given(
        starts=st.lists(st.integers(0, 400), max_size=8, unique=True),
        took=st.integers(1, 60),
        looks=st.lists(st.integers(0, 600), min_size=1, max_size=30),
    )
    def test_whenever_one_looks_the_same_changes_are_reported_once_and_in_order(self, starts, took, looks):
        every = [job(start / 10, took / 10) for start in sorted(starts)]
        jobs = [each for number, each in enumerate(every) if each.end_time <= _start_of(every, number + 1)]
        known, reported = None, []
        for look in sorted(looks):
            ended = [each for each in jobs if each.end_time <= at(look / 10)]
            found, known = changes(ended[::-1], known, look / 10)
            reported += found
        first = sorted(looks)[0] / 10
        end = max(looks) / 10
        ended = [each for each in jobs if each.end_time <= at(end)]
        later = [each for each in shown(crossings(ended, limits(), at(end))) if each[1] > first]
        if any(each.end_time <= at(first) for each in jobs):
            assert [each for each in shown(reported) if each[1] > first] == later
        assert all(before.state == after.previous for before, after in pairwise(reported))

    @settings(deadline=None, max_examples=examples(200))
    @example(starts=[0, 50], took=9, warn_age=None, polls=[(55, True), (61, False), (62, True)])
    @given(
        starts=st.lists(st.integers(0, 400), max_size=8, unique=True),
        took=st.integers(1, 60),
        warn_age=st.sampled_from([4, None]),
        polls=st.lists(
            st.tuples(st.integers(0, 600), st.booleans()), min_size=1, max_size=30, unique_by=lambda each: each[0]
        ),
    )
    def test_while_polls_fail_no_change_is_reported_twice_and_each_recovery_has_the_end_of_its_sync(
        self, starts, took, polls, warn_age
    ):
        by_age = limits(warn_age=warn_age)
        every = [job(start / 10, took / 10) for start in sorted(starts)]
        jobs = [each for number, each in enumerate(every) if each.end_time <= _start_of(every, number + 1)][::-1]
        last, known, since, reported = None, None, None, []
        for moment, succeeds in sorted(polls):
            now = at(moment / 10)
            if succeeds:
                history = History()
                history.add_page(Page([each for each in jobs if each.end_time <= now], is_last=True))
                last = AcceptableSince(by_age, since).decide(history, now)
            if last is not None:
                found, known = changes_of("source", last, known, now)
                reported += found
                since = known.until if succeeds else since
        assert len({(each.state, each.at) for each in reported}) == len(reported)
        ends = {each.at: each.job.end_time for each in reported if each.state is State.FRESH}
        assert all(moment == end for moment, end in ends.items())


def _start_of(jobs: list[SyncJob], number: int) -> datetime:
    """A data source runs one sync at a time."""
    return jobs[number].start_time or BEGIN if number < len(jobs) else at(9999)


def test_the_next_change_is_when_the_newest_job_ages():
    assert next_crossing(ended(job(1), job(0)), at(2)) == at(5)
    assert next_crossing(ended(job(1)), at(5.1)) == at(7)
    assert next_crossing(ended(job(1)), at(7)) == at(7)
    assert next_crossing(ended(job(1)), at(9)) is None
    assert next_crossing(ended(), at(9)) is None


class TestStored:
    def test_states_survive_json(self):
        known = {
            "a": Known(State.FRESH, at(1), "cron(0 18 * * ? *)", at(0.5)),
            "b": Known(State.UNKNOWN, at(2)),
        }
        assert check_states(json.loads(json.dumps(store_states(known)))) == known

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (None, "it is not a mapping with states"),
            ([], "it is not a mapping with states"),
            ({}, "it is not a mapping with states"),
            ({"states": []}, "it is not a mapping with states"),
            ({"states": {"a": {}}}, "a state is not a mapping with state and until"),
            ({"states": {"a": None}}, "a state is not a mapping with state and until"),
            ({"states": {"a": {"state": "x", "until": "y"}}}, "'x' is not a valid State"),
            ({"states": {"a": {"state": "fresh", "until": "2026-01-31"}}}, "until is '2026-01-31T00:00:00', which"),
            (
                {"states": {"a": {"state": "fresh", "until": "2026-01-31T00:00:00Z", "newest": "y"}}},
                "newest is 'y', but must be a datetime",
            ),
        ],
    )
    def test_anything_else_is_refused_with_the_reason(self, value, reason):
        with pytest.raises(ValueError, match="^" + reason):
            check_states(value)

    def test_what_there_is_none_of_is_not_stored(self):
        assert Known(State.FRESH, at(1)).to_json() == {"state": "fresh", "until": "2026-01-31T01:00:00+00:00"}

    def test_of_several_the_oldest_of_each_data_source_counts(self):
        one = store_states({"a": Known(State.FRESH, at(1)), "b": Known(State.STALE, at(9))})
        other = store_states({"a": Known(State.AGING, at(5))})
        assert oldest_states([other, one]) == oldest_states([one, other]) == one
        assert oldest_states([]) is None


@pytest.fixture(autouse=True)
def _even(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "random", SimpleNamespace(uniform=lambda low, high: high))


@dataclass
class Watched:
    """A watcher of states, with all that it has reported."""

    source: DataSource
    limits: Limits
    ids: tuple[str, ...] | None
    stored: dict[str, Any] = field(default_factory=dict)
    interval: float = 60
    found: list[Changed] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def start(self) -> Watched:
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        stream = watch_states(
            Index(AWS, self.source.index_id, self.ids), self.limits, check_states(self.stored) if self.stored else {},
            interval=self.interval, log=async_log(self.lines.append), connect=connect,
        )  # fmt: skip
        assert isinstance(stream, AsyncIterator)
        async for changed in stream:
            self.found.append(changed)
            self.stored = changed.cursor

    @property
    def changes(self) -> list[tuple[str, str | None, float]]:
        """State, previous state, and minutes since the beginning, of each change."""
        return [
            (str(each.state), each.previous and str(each.previous), (each.at - BEGIN) / timedelta(minutes=1))
            for changed in self.found
            for each in changed.changes
        ]

    async def cancel(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def item(minutes: float, status: str = "SUCCEEDED", took: float = 1) -> dict[str, Any]:
    start = BEGIN + timedelta(minutes=minutes)
    end = {} if status == "SYNCING" else {"EndTime": start + timedelta(minutes=took)}
    return listed(f"job-{minutes:g}", status, StartTime=start, **end)


def run(main: Callable[[], Any]) -> None:
    async def whole() -> None:
        await main()
        await asyncio.sleep(60)
        assert not poller.Poller._of_loop

    run_in_virtual_time(whole(), BEGIN)


SHORT = Limits(Acceptance(), max_age=timedelta(minutes=10), warn_age=timedelta(minutes=5))


def watched(source: DataSource, limits: Limits = SHORT, **changed: Any) -> Watched:
    return Watched(source, limits, **{"ids": (source.data_source_id,), **changed}).start()


class TestWatcher:
    def test_each_crossing_is_one_event_at_its_time_and_not_at_the_next_poll(self, custom_data_source):
        async def main() -> None:
            loop = asyncio.get_running_loop()
            custom_data_source.show([item(-0.5, took=0.25)])
            watching = watched(custom_data_source)
            seen: dict[str, float] = {}
            for _ in range(1200):
                await asyncio.sleep(0.5)
                for state, _, _ in watching.changes:
                    seen.setdefault(state, loop.time())
            assert watching.changes == [("aging", "fresh", 4.5), ("stale", "aging", 9.5)]
            assert (seen["aging"], seen["stale"]) == (pytest.approx(270, abs=1), pytest.approx(570, abs=1))
            await watching.cancel()

        run(main)

    def test_an_old_sync_that_is_read_later_does_not_repeat_that_a_source_is_stale(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-210 - 60 * n, "FAILED") for n in range(10)] + [item(-810)])
            day = Limits(Acceptance(), max_age=timedelta(hours=12), warn_age=timedelta(hours=11))
            watching = watched(custom_data_source, day)
            await asyncio.sleep(600)
            assert watching.changes == [("stale", None, 0)]
            await watching.cancel()

        run(main)

    def test_a_list_that_lacks_the_newest_sync_for_a_while_changes_nothing(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-4), item(-20)])
            watching = watched(custom_data_source)
            await asyncio.sleep(30)
            custom_data_source.show([item(-20)])
            await asyncio.sleep(150)
            assert watching.changes == [("aging", "fresh", 1)]
            custom_data_source.show([item(-4), item(-20)])
            await asyncio.sleep(300)
            assert watching.changes == [("aging", "fresh", 1), ("stale", "aging", 6)]
            await watching.cancel()

        run(main)

    def test_a_list_that_lacks_the_newest_sync_again_is_given_three_intervals_again(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-2), item(-20)])
            watching = watched(custom_data_source, replace(SHORT, max_age=timedelta(hours=1), warn_age=None))
            await asyncio.sleep(30)
            for _ in range(2):
                custom_data_source.show([])
                await asyncio.sleep(150)
                custom_data_source.show([item(-2), item(-20)])
                await asyncio.sleep(90)
            assert watching.changes == []
            await watching.cancel()

        run(main)

    def test_the_newest_sync_that_has_not_been_listed_for_three_intervals_is_believed_to_be_gone(
        self, custom_data_source
    ):
        async def main() -> None:
            custom_data_source.show([item(-2), item(-20)])
            watching = watched(custom_data_source, replace(SHORT, warn_age=None))
            await asyncio.sleep(30)
            custom_data_source.show([item(-20)])
            await asyncio.sleep(210)
            assert watching.changes == []
            await asyncio.sleep(60)
            assert [each[:2] for each in watching.changes] == [("stale", "fresh")]
            assert watching.changes[0][2] > 3, (
                "the time before that, when it was stale too, looks like a repeated event"
            )
            custom_data_source.show([item(4), item(-20)])
            await asyncio.sleep(120)
            assert watching.changes[1:] == [("fresh", "stale", 5)]
            await watching.cancel()

        run(main)

    def test_a_list_that_lacks_the_newest_sync_after_polls_have_failed_changes_nothing(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-2), item(-20)])
            watching = watched(custom_data_source, replace(SHORT, max_age=timedelta(hours=1), warn_age=None))
            await asyncio.sleep(30)
            custom_data_source.kendra.inject(LIST, error="ThrottlingException")
            await asyncio.sleep(400)
            custom_data_source.kendra.clear_faults()
            custom_data_source.show([])
            await asyncio.sleep(150)
            custom_data_source.show([item(-2), item(-20)])
            await asyncio.sleep(300)
            assert [each[:2] for each in watching.changes] == [("unknown", "fresh"), ("fresh", "unknown")]
            await watching.cancel()

        run(main)

    def test_a_list_that_lacks_the_newest_sync_for_good_does_not_wake_the_watcher_again_and_again(
        self, custom_data_source, monkeypatch
    ):
        updates = []
        update = state_watcher._StateWatcher.update
        monkeypatch.setattr(
            state_watcher._StateWatcher, "update", lambda self, now: updates.append(now) or update(self, now)
        )

        async def main() -> None:
            custom_data_source.show([item(-2), item(-20)])
            watching = watched(custom_data_source)
            await asyncio.sleep(30)
            custom_data_source.show([item(-20)])
            await asyncio.sleep(1200)
            assert len(updates) < 20
            await watching.cancel()

        run(main)

    def test_a_list_that_lacks_the_newest_sync_after_a_restart_changes_nothing(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-2), item(-20)])
            first = watched(custom_data_source)
            await asyncio.sleep(30)
            await first.cancel()
            custom_data_source.show([item(-20)])
            second = watched(custom_data_source, stored=first.stored)
            await asyncio.sleep(100)
            assert second.changes == []
            custom_data_source.show([item(-2), item(-20)])
            await asyncio.sleep(180)
            assert second.changes == [("aging", "fresh", 3)]
            await second.cancel()

        run(main)

    @pytest.mark.parametrize("error", ["ThrottlingException", "AccessDeniedException"])
    def test_a_crossing_while_polls_fail_is_reported_at_its_time(self, custom_data_source, error):
        async def main() -> None:
            custom_data_source.show([item(-7.5)])
            watching = watched(custom_data_source)
            await asyncio.sleep(90)
            custom_data_source.kendra.inject(LIST, error=error)
            await asyncio.sleep(62)
            assert watching.changes == [("aging", None, -2.5), ("stale", "aging", 2.5)]
            await asyncio.sleep(300)
            custom_data_source.kendra.clear_faults()
            await asyncio.sleep(120)
            assert [(state, was) for state, was, _ in watching.changes[2:]] == [
                ("unknown", "stale"),
                ("stale", "unknown"),
            ]
            times = [at for *_, at in watching.changes]
            assert times == sorted(times)
            await watching.cancel()

        run(main)

    def test_a_sync_whose_end_is_ahead_of_this_clock_has_ended(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-1, took=1.1)])
            watching = watched(custom_data_source)
            await asyncio.sleep(200)
            assert watching.changes == []
            await watching.cancel()

        run(main)

    def test_a_recovery_is_reported_with_the_end_of_its_sync(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-20)])
            watching = watched(custom_data_source)
            await asyncio.sleep(90)
            custom_data_source.show([item(1), item(-20)])
            await asyncio.sleep(120)
            assert watching.changes == [("stale", None, -10), ("fresh", "stale", 2)]
            await watching.cancel()

        run(main)

    def test_a_sync_without_a_start_time_can_be_measured_by_its_end(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([listed("job", StartTime=None, EndTime=BEGIN - timedelta(minutes=7))])
            watching = watched(custom_data_source, replace(SHORT, measured_by="end_time"))
            await asyncio.sleep(30)
            assert watching.changes == [("aging", None, -2)]
            assert "Z: the last acceptable sync ended 2026-01-30 23:53:00Z (data source" in watching.lines[0]
            await watching.cancel()

        run(main)

    def test_a_data_source_without_syncs_is_reported_and_stored_once(self, custom_data_source):
        async def main() -> None:
            watching = watched(custom_data_source)
            await asyncio.sleep(30)
            other = watched(custom_data_source, interval=5)
            custom_data_source.kendra.inject(LIST, error="ThrottlingException", times=1)
            await asyncio.sleep(300)
            assert [(len(each.found), each.changes[0][0]) for each in (watching, other)] == [(1, "stale")] * 2
            for each in (watching, other):
                await each.cancel()

        run(main)

    def test_over_a_restart_no_change_is_lost(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-1)])
            first = watched(custom_data_source)
            await asyncio.sleep(60)
            await first.cancel()
            assert first.changes == []
            await asyncio.sleep(1200)
            second = watched(custom_data_source, stored=first.stored)
            await asyncio.sleep(30)
            assert second.changes == [("aging", "fresh", 4), ("stale", "aging", 9)]
            await second.cancel()

        run(main)

    def test_of_many_syncs_over_a_restart_no_change_is_lost(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-1)])
            first = watched(custom_data_source)
            await asyncio.sleep(60)
            await first.cancel()
            await asyncio.sleep(1200)
            custom_data_source.show([item(19), item(-1)])
            second = watched(custom_data_source, stored=first.stored)
            await asyncio.sleep(30)
            assert second.changes == [("aging", "fresh", 4), ("stale", "aging", 9), ("fresh", "stale", 20)]
            await second.cancel()

        run(main)

    def test_of_many_syncs_between_two_polls_no_change_is_lost(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-1)])
            watching = watched(custom_data_source, replace(SHORT, warn_age=None), interval=600)
            await asyncio.sleep(570)
            custom_data_source.show([item(9.3, took=0.5), item(9.1, took=0.1), item(-1)])
            await asyncio.sleep(60)
            assert watching.changes == [("stale", "fresh", 9), ("fresh", "stale", 9.2)]
            await watching.cancel()

        run(main)

    def test_a_source_that_can_be_read_meanwhile_is_given_three_intervals_again(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-1)])
            watching = watched(custom_data_source, replace(SHORT, max_age=timedelta(hours=1), warn_age=None))
            for _ in range(2):
                await asyncio.sleep(90)
                custom_data_source.kendra.inject(LIST, error="AccessDeniedException")
                await asyncio.sleep(150)
                custom_data_source.kendra.clear_faults()
            assert watching.changes == []
            await watching.cancel()

        run(main)

    def test_a_source_that_cannot_be_read_for_three_intervals_is_unknown_until_it_can(self, custom_data_source):
        kendra = custom_data_source.kendra

        async def main() -> None:
            custom_data_source.show([item(-1)])
            watching = watched(custom_data_source)
            await asyncio.sleep(30)
            kendra.inject(LIST, error="AccessDeniedException")
            await asyncio.sleep(150)
            assert watching.changes == []
            await asyncio.sleep(100)
            assert [each[:2] for each in watching.changes] == [("unknown", "fresh")]
            assert "AccessDenied" in watching.lines[-1]
            kendra.clear_faults()
            custom_data_source.show([item(3), item(-1)])
            await asyncio.sleep(1200)
            assert [each[1] for each in watching.changes[1:2]] == ["unknown"]
            await watching.cancel()

        run(main)

    def test_a_recovery_is_not_dated_before_the_source_became_unknown(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-1)])
            watching = watched(custom_data_source, replace(SHORT, warn_age=None))
            await asyncio.sleep(30)
            custom_data_source.kendra.inject(LIST, error="AccessDeniedException")
            await asyncio.sleep(300)
            custom_data_source.kendra.clear_faults()
            custom_data_source.show([item(1), item(-1)])
            await asyncio.sleep(300)
            unknown, recovery = watching.changes
            assert (unknown[:2], recovery[:2]) == (("unknown", "fresh"), ("fresh", "unknown"))
            assert recovery[2] > unknown[2]
            await watching.cancel()

        run(main)

    def test_all_data_sources_of_an_index_are_watched_and_reported_together(self, custom_data_source):
        kendra = custom_data_source.kendra
        other = kendra.create_custom_data_source(custom_data_source.index_id)

        async def main() -> None:
            for each in (custom_data_source.data_source_id, other):
                kendra.set_history(custom_data_source.index_id, each, [item(-20)])
            watching = watched(custom_data_source, ids=None)
            await asyncio.sleep(30)
            [first] = watching.found
            assert {each.data_source_id for each in first.changes} == {custom_data_source.data_source_id, other}
            places = [line.rpartition("(data source ")[2] for line in watching.lines]
            named = (f"documents {custom_data_source.data_source_id}", f"custom {other}")
            assert sorted(places) == sorted(f"{each}, index {custom_data_source.index_id})" for each in named)
            await watching.cancel()

        run(main)

    def test_a_data_source_that_is_inactive_for_a_while_is_not_forgotten(self, custom_data_source):
        kendra, ids = custom_data_source.kendra, custom_data_source.ids

        async def main() -> None:
            custom_data_source.show([item(-20)])
            watching = watched(custom_data_source, ids=None)
            await asyncio.sleep(90)
            kendra.set_data_source_status(*ids, "FAILED")
            await asyncio.sleep(600)
            custom_data_source.show([item(11), item(-20)])
            kendra.set_data_source_status(*ids, "ACTIVE")
            await asyncio.sleep(180)
            assert watching.changes == [("stale", None, -10), ("fresh", "stale", 12)]
            await watching.cancel()

        run(main)

    def test_a_data_source_that_was_deleted_is_forgotten_after_three_intervals(self, custom_data_source):
        kendra, index_id = custom_data_source.kendra, custom_data_source.index_id
        deleted = kendra.create_custom_data_source(index_id)

        async def main() -> None:
            watching = watched(custom_data_source, ids=None)
            await asyncio.sleep(30)
            custom_data_source.client.delete_data_source(IndexId=index_id, Id=deleted)
            await asyncio.sleep(150)
            assert watching.stored["states"].keys() == {custom_data_source.data_source_id, deleted}
            await asyncio.sleep(150)
            assert watching.stored["states"].keys() == {custom_data_source.data_source_id}
            assert [each[:2] for each in watching.changes] == [("stale", None)] * 2
            await watching.cancel()

        run(main)

    def test_the_only_data_source_is_forgotten_once_it_was_deleted(self, custom_data_source):
        index_id, data_source_id = custom_data_source.ids

        async def main() -> None:
            watching = watched(custom_data_source, ids=None)
            await asyncio.sleep(30)
            custom_data_source.client.delete_data_source(IndexId=index_id, Id=data_source_id)
            await asyncio.sleep(300)
            assert watching.stored == {"states": {}}
            await watching.cancel()

        run(main)

    def test_a_data_source_that_was_deleted_while_no_triggerer_ran_is_forgotten(self, custom_data_source):
        async def main() -> None:
            stored = store_states({"deleted": Known(State.FRESH, at(-1))})
            watching = watched(custom_data_source, ids=None, stored=stored)
            await asyncio.sleep(300)
            assert watching.stored["states"].keys() == {custom_data_source.data_source_id}
            assert {each.data_source_id for each in watching.found[0].changes} == {custom_data_source.data_source_id}
            await watching.cancel()

        run(main)

    @pytest.mark.parametrize(("is_readable", "states"), [(False, ["unknown"]), (True, ["aging", "stale"])])
    def test_after_a_restart_data_sources_that_cannot_be_listed_are_watched_as_before(
        self, custom_data_source, is_readable, states
    ):
        kendra = custom_data_source.kendra

        async def main() -> None:
            custom_data_source.show([item(-1)])
            first = watched(custom_data_source, ids=None)
            await asyncio.sleep(30)
            await first.cancel()
            kendra.inject("ListDataSources", error="AccessDeniedException")
            if not is_readable:
                kendra.inject(LIST, error="AccessDeniedException")
            calls = kendra.call_count(LIST)
            second = watched(custom_data_source, ids=None, stored=first.stored)
            await asyncio.sleep(150)
            assert second.changes == []
            await asyncio.sleep(1050)
            assert [each[0] for each in second.changes] == states
            assert kendra.call_count(LIST) - calls <= 21
            await second.cancel()

        run(main)

    def test_data_sources_that_cannot_be_listed_are_logged_once(self, custom_data_source):
        kendra = custom_data_source.kendra

        async def main() -> None:
            custom_data_source.show([item(-20)])
            kendra.inject("ListDataSources", error="AccessDeniedException")
            watching = watched(custom_data_source, ids=None)
            await asyncio.sleep(600)
            assert watching.changes == []
            [line] = watching.lines
            assert line.startswith("Poll failed, retrying: ")
            assert "AccessDenied" in line
            kendra.clear_faults()
            await asyncio.sleep(900)
            assert watching.lines[1].startswith("Polls succeed again")
            assert [each[:2] for each in watching.changes] == [("stale", None)]
            await watching.cancel()

        run(main)

    def test_a_watcher_shares_the_polls_of_waits_and_other_watchers(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-1)])
            watchers = [watched(custom_data_source) for _ in range(20)]
            await asyncio.sleep(600)
            assert custom_data_source.kendra.call_count(LIST) <= 11
            for each in watchers:
                await each.cancel()

        run(main)

    def test_the_schedule_of_a_data_source_is_read_every_15_minutes(self, data_source):
        kendra = data_source.kendra
        data_source.set_schedule("cron(0 2 * * ? *)")

        async def main() -> None:
            data_source.show([item(-60 * 5)])  # 19 h the day before
            watching = watched(data_source, Limits(Acceptance(), grace=timedelta(minutes=30)))
            await asyncio.sleep(3600)
            assert watching.changes == []
            assert kendra.call_count("DescribeDataSource") <= 5
            await asyncio.sleep(2 * 3600)
            assert watching.changes == [("stale", "fresh", 2.5 * 60)]
            await watching.cancel()

        run(main)

    def test_a_data_source_is_read_once_its_schedule_is_known(self, data_source):
        kendra = data_source.kendra
        data_source.set_schedule("cron(0 * * * ? *)")

        async def main() -> None:
            data_source.show([item(-60 * number, "FAILED") for number in range(1, 200)])
            kendra.inject("DescribeDataSource", error="ThrottlingException", times=1)
            watching = watched(data_source, Limits(Acceptance(), grace=timedelta(minutes=30)))
            await asyncio.sleep(30)
            assert kendra.call_count(LIST) == 0
            await asyncio.sleep(60)
            assert [each[:2] for each in watching.changes] == [("stale", None)]
            assert kendra.call_count(LIST) == 1
            await watching.cancel()

        run(main)

    def test_a_schedule_that_cannot_be_read_makes_a_data_source_unknown_with_the_reason(self, data_source):
        async def main() -> None:
            data_source.kendra.inject("DescribeDataSource", error="AccessDeniedException")
            watching = watched(data_source, Limits(Acceptance(), grace=timedelta(minutes=30)))
            await asyncio.sleep(1000)
            assert [each[:2] for each in watching.changes] == [("unknown", None)]
            assert "kendra:DescribeDataSource" in watching.lines[0]
            await watching.cancel()

        run(main)

    def test_a_data_source_whose_schedule_was_removed_is_unknown_once(self, data_source):
        data_source.set_schedule("cron(0 18 * * ? *)")

        async def main() -> None:
            data_source.show([item(-60)])
            watching = watched(data_source, Limits(Acceptance(), grace=timedelta(minutes=30)))
            await asyncio.sleep(60)
            data_source.set_schedule("")
            await asyncio.sleep(3600)
            assert [each[:2] for each in watching.changes] == [("unknown", "fresh")]
            assert watching.stored["states"][data_source.data_source_id]["state"] == "unknown"
            await watching.cancel()
            again = watched(data_source, Limits(Acceptance(), grace=timedelta(minutes=30)), stored=watching.stored)
            await asyncio.sleep(600)
            assert again.changes == []
            await again.cancel()

        run(main)

    def test_a_data_source_is_judged_by_no_old_schedule_once_it_may_not_be_described(self, data_source):
        data_source.set_schedule("cron(0 18 * * ? *)")

        async def main() -> None:
            data_source.show([item(-60)])
            watching = watched(data_source, Limits(Acceptance(), grace=timedelta(minutes=30)))
            await asyncio.sleep(60)
            data_source.kendra.inject("DescribeDataSource", error="AccessDeniedException")
            await asyncio.sleep(1800)
            assert [each[:2] for each in watching.changes] == [("unknown", "fresh")]
            data_source.kendra.clear_faults()
            data_source.set_schedule("cron(0/5 * * * ? *)")
            await asyncio.sleep(1800)
            assert [each[:2] for each in watching.changes[1:]] == [("stale", "unknown")]
            await watching.cancel()

        run(main)

    def test_what_a_new_schedule_changes_is_reported_with_the_time_at_which_it_counts(self, data_source):
        data_source.set_schedule("cron(0/5 * * * ? *)")

        async def main() -> None:
            data_source.show([item(0.1)])
            watching = watched(data_source, Limits(Acceptance(), grace=timedelta(minutes=2)))
            await asyncio.sleep(9 * 60)
            data_source.set_schedule("cron(0 18 * * ? *)")
            await asyncio.sleep(10 * 60)
            stale, again = watching.changes
            assert (stale, again[:2]) == (("stale", "fresh", 7), ("fresh", "stale"))
            assert again[2] > stale[2], "a time before that would look like a repeated event"
            await watching.cancel()

        run(main)

    def test_a_schedule_that_changed_while_polls_failed_makes_nothing_stale(self, data_source):
        data_source.set_schedule("cron(0/20 * * * ? *)")

        async def main() -> None:
            data_source.show([item(0.1)])
            watching = watched(data_source, Limits(Acceptance(), grace=timedelta(minutes=2)))
            await asyncio.sleep(180)
            data_source.kendra.inject(LIST, error="ThrottlingException")
            data_source.set_schedule("cron(0 18 * * ? *)")
            await asyncio.sleep(40 * 60)
            data_source.kendra.clear_faults()
            await asyncio.sleep(1200)
            assert [each[:2] for each in watching.changes[-1:]] == [("fresh", "unknown")]
            await watching.cancel()

        run(main)

    def test_the_same_holds_if_a_new_schedule_needs_jobs_that_were_not_read_before(self, data_source):
        data_source.set_schedule("cron(0/5 * * * ? *)")

        async def main() -> None:
            data_source.show([*(item(-5 * number, "FAILED") for number in range(1, 30)), item(-200)])
            watching = watched(data_source, Limits(Acceptance(), grace=timedelta(minutes=2)))
            await asyncio.sleep(120)
            data_source.set_schedule("cron(0 18 * * ? *)")
            await asyncio.sleep(20 * 60)
            stale, again = watching.changes
            assert (stale[:2], again[:2]) == (("stale", None), ("fresh", "stale"))
            assert again[2] > 2, "when the schedule has changed"
            await watching.cancel()

        run(main)

    def test_the_same_holds_if_the_schedule_changes_while_no_triggerer_runs(self, data_source):
        data_source.set_schedule("cron(0/5 * * * ? *)")
        every_5_minutes = Limits(Acceptance(), grace=timedelta(minutes=2))

        async def main() -> None:
            data_source.show([item(-20)])
            first = watched(data_source, every_5_minutes)
            await asyncio.sleep(30)
            data_source.show([item(0.1), item(-20)])
            await asyncio.sleep(570)
            assert first.changes[-2:] == [("fresh", "stale", 1.1), ("stale", "fresh", 7)]
            await first.cancel()
            data_source.set_schedule("cron(0 18 * * ? *)")
            await asyncio.sleep(10)
            second = watched(data_source, every_5_minutes, stored=first.stored)
            await asyncio.sleep(300)
            [(state, was, when)] = second.changes
            assert (state, was) == ("fresh", "stale")
            assert when > 7
            await second.cancel()

        run(main)

    @pytest.mark.parametrize("kind", ["data_source", "custom_data_source"])
    def test_without_a_schedule_a_data_source_is_unknown_with_the_reason(self, kind, request):
        source = request.getfixturevalue(kind)

        async def main() -> None:
            source.show([item(-1)])
            watching = watched(source, Limits(Acceptance(), grace=timedelta(minutes=30)))
            await asyncio.sleep(600)
            assert [each[:2] for each in watching.changes] == [("unknown", None)]
            assert "it has no schedule in Kendra" in watching.lines[0]
            await watching.cancel()

        run(main)


class TestDescribe:
    @pytest.mark.parametrize(
        ("state", "previous", "measured_by", "newest", "line"),
        [
            (
                "aging", "fresh", "start_time", job(0),
                "Aging since 2026-01-31 04:00:00Z, was fresh: the last acceptable sync started 2026-01-31 00:00:00Z",
            ),
            (
                "stale", None, "end_time", job(0),
                "Stale since 2026-01-31 04:00:00Z: the last acceptable sync ended 2026-01-31 00:30:00Z",
            ),
            ("stale", None, "start_time", None, "Stale since 2026-01-31 04:00:00Z"),
            (
                "unknown", "fresh", "start_time", job(0),
                "Unknown since 2026-01-31 04:00:00Z, was fresh: it could not be read",
            ),
        ],
    )  # fmt: skip
    def test_a_change_is_logged_as_a_sentence(self, state, previous, measured_by, newest, line):
        async def main() -> None:
            watcher = state_watcher._StateWatcher(
                Index(AWS, INDEX, ("source",)), limits(measured_by=measured_by), {}, interval=60, connect=connect
            )
            change = Change("source", State(state), previous and State(previous), at(4), newest)
            assert watcher.describe(change) == f"{line} (data source source, index {INDEX})"
            watcher.unsubscribe()

        asyncio.run(main())


INDEX = "i" * 36
UUIDS = [str(UUID(int=number)) for number in range(50)]


def key_of(**arguments: Any) -> str:
    return KendraDataFreshnessEventTrigger(**{"index_id": INDEX, "max_age": 3600, **arguments}).stream_key


class TestTrigger:
    @pytest.mark.parametrize(
        ("parameters", "reason"),
        [
            ({}, "max_age and schedule_grace"),
            ({"max_age": 60, "schedule_grace": 60}, "max_age and schedule_grace"),
            ({"max_age": 0}, "max_age"),
            ({"max_age": 60, "warn_age": -1}, "warn_age"),
            ({"max_age": 60, "warn_age": 60}, "warn_age is 1 min, but must be less than max_age, which is 1 min"),
            ({"max_age": 7200, "warn_age": 7230}, "warn_age is 7230 s, but must be less than max_age, which is 7200 s"),
            ({"max_age": 60, "measured_by": "middle"}, "measured_by"),
            ({"max_age": 60, "accepted_statuses": ["DONE"]}, "DONE"),
            ({"max_age": 60, "data_source_ids": []}, "data_source_ids"),
            ({"max_age": 60, "poll_interval": 0}, "poll_interval"),
        ],
    )
    def test_invalid_parameters_are_refused_when_it_is_made(self, parameters, reason):
        with pytest.raises(ValueError, match=reason):
            KendraDataFreshnessEventTrigger(index_id=INDEX, **parameters)

    def test_durations_can_be_timedeltas_and_are_stored_as_seconds(self):
        trigger = KendraDataFreshnessEventTrigger(
            index_id=INDEX, max_age=timedelta(hours=6), warn_age=timedelta(hours=4), data_source_ids="source"
        )
        _, arguments = trigger.serialize()
        assert (arguments["max_age"], arguments["warn_age"], arguments["data_source_ids"]) == (21600, 14400, ["source"])
        assert KendraDataFreshnessEventTrigger(**arguments).serialize() == trigger.serialize()

    def test_the_key_of_the_stored_states_fits_however_many_data_sources_are_watched(self):
        assert len(key_of(data_source_ids=UUIDS)) <= LONGEST_KEY

    def test_the_stored_states_of_50_data_sources_are_no_larger_than_airflow_recommends(self):
        ids = [f"{number:03}{'s' * 97}" for number in range(50)]
        stored = store_states({key: Known(State.UNKNOWN, at(0.123456)) for key in ids})
        assert len(json.dumps(stored)) < 65_535  # [state_store] max_value_storage_bytes; MySQL's column has 16 MB

    @pytest.mark.parametrize(
        "changed",
        [{"data_source_ids": UUIDS[::-1]}, {"data_source_ids": UUIDS * 2}, {"max_age": timedelta(hours=1)},
         {"accepted_statuses": ["SUCCEEDED", "INCOMPLETE"]}, {"poll_interval": 5}],
        ids=["other order", "twice", "timedelta", "other order of statuses", "other interval"],
    )  # fmt: skip
    def test_the_stored_states_are_found_again_however_the_same_is_written(self, changed):
        given = {"data_source_ids": UUIDS, "accepted_statuses": ["INCOMPLETE", "SUCCEEDED"]}
        assert key_of(**given | changed) == key_of(**given)

    def test_whatever_is_watched_differently_has_stored_states_of_its_own(self):
        differences = (
            {}, {"index_id": "j" * 36}, {"data_source_ids": UUIDS}, {"data_source_ids": UUIDS[1:]}, {"max_age": 3601},
            {"max_age": None, "schedule_grace": 3600}, {"warn_age": 60}, {"measured_by": "end_time"},
            {"accepted_statuses": ["FAILED"]}, {"max_documents_failed": 1},
        )  # fmt: skip
        assert len({key_of(**each) for each in differences}) == len(differences)

    def test_it_fires_the_changes(self, custom_data_source):
        async def main() -> None:
            custom_data_source.show([item(-20)])
            trigger = KendraDataFreshnessEventTrigger(
                index_id=custom_data_source.index_id, data_source_ids=[custom_data_source.data_source_id], max_age=600
            )
            async for event in trigger.run():
                [change] = event.payload["changes"]
                assert (change["state"], change["previous"]) == ("stale", None)
                assert change["record"]["execution_id"] == "job--20"
                return

        run_in_virtual_time(main(), BEGIN)
