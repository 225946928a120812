"""Kendra's schedules in both shapes, against an oracle that tries every minute."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._overview import assess, condition_for
from airflow_provider_kendra._schedule import DAYS, next_run, previous_run, translate
from airflow_provider_kendra._validation import MeasuredBy
from airflow_provider_kendra._waiting.conditions import Fresh, read
from airflow_provider_kendra._waiting.history import History, Page
from airflow_provider_kendra._waiting.states import Limits, State, crossings
from airflow_provider_kendra.outcomes import Satisfied
from airflow_provider_kendra.sync_job import Acceptance, SyncJob
from tests.conftest import examples


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("cron(0 18 ? * MON-FRI *)", "2026-01-30T18:00", "2026-02-02T18:00"),
        ("0 0 18 ? * TUE,MON *", "2026-01-27T18:00", "2026-02-02T18:00"),
        ("cron(0 18 ? * 2 *)", "2026-01-25T18:00", "2026-01-26T18:00"),
        ("cron(0 18 ? * 2#1 *)", "2026-02-01T18:00", "2026-02-02T18:00"),
        ("cron(0 18 ? * 6L *)", "2026-01-20T12:00", "2026-01-30T18:00"),
        ("cron(0 18 ? * L *)", "2026-01-30T18:00", "2026-01-31T18:00"),
        ("cron(0 18 L * ? *)", "2026-01-20T12:00", "2026-01-31T18:00"),
        ("cron(0 18 ? * 2-2 *)", "2026-01-27T12:00", "2026-02-02T18:00"),
        ("cron(0 18 ? * MON-2 *)", "2026-01-27T12:00", "2026-02-02T18:00"),
        ("cron(0 05-5 * * ? *)", "2026-01-27T12:00", "2026-01-28T05:00"),
        ("cron(0 18 1 JAN-1 ? *)", "2026-01-27T12:00", "2027-01-01T18:00"),
        ("cron(0 5-5/2 * * ? *)", "2026-01-27T12:00", "2026-01-28T05:00"),
        ("cron(0 0 29 2 ? *)", "2026-02-05T12:00", "2028-02-29T00:00"),
        ("cron(0 0 1 1 ? 2020-2024,2030)", "2026-02-05T12:00", "2030-01-01T00:00"),
        ("cron(0/15 * * * ? *)", "2026-02-05T12:14", "2026-02-05T12:15"),
        # Days that not every month has.
        ("cron(0 18 1,30 * ? *)", "2026-02-01T18:00", "2026-03-01T18:00"),
        ("cron(0 18 1-31/5 * ? *)", "2026-02-26T18:00", "2026-03-01T18:00"),
        ("cron(0 18 29-31 * ? *)", "2028-02-28T18:00", "2028-02-29T18:00"),
        ("cron(0 18 29-31,L * ? *)", "2026-02-27T18:00", "2026-02-28T18:00"),
        # Steps from the last value of a field.
        ("cron(59/5 18 * * ? *)", "2026-02-05T18:59", "2026-02-06T18:59"),
        ("cron(0 23/2 * * ? *)", "2026-02-05T23:00", "2026-02-06T23:00"),
        ("cron(0 18 31/1 * ? *)", "2026-01-31T18:00", "2026-03-31T18:00"),
        ("cron(0 18 1,31/2 * ? *)", "2026-02-01T18:00", "2026-03-01T18:00"),
        ("cron(0 18 1 12/3 ? *)", "2026-12-01T18:00", "2027-12-01T18:00"),
        ("cron(0 18 1 DEC/3 ? *)", "2026-12-01T18:00", "2027-12-01T18:00"),
        ("cron(0 18 ? * 7/1 *)", "2026-01-31T18:00", "2026-02-07T18:00"),
        ("cron(0 18 ? * SAT/2 *)", "2026-01-31T18:00", "2026-02-07T18:00"),
        ("cron(0 18 * * ? *)", "2026-02-05T18:00", "2026-02-06T18:00"),
        ("cron(0 18 * * ? *)", "2026-02-05T17:59", "2026-02-05T18:00"),
    ],
)
def test_the_next_run_is_the_first_one_after_a_moment(schedule: str, after: str, expected: str):
    assert next_run(schedule, at(after)) == at(expected)
    assert previous_run(schedule, at(expected)) == at(expected)
    before = previous_run(schedule, at(expected) - timedelta(minutes=1))
    assert before is None or before <= at(after)


@pytest.mark.parametrize(
    ("days", "parts"),
    [
        ("*", ["*"]),
        ("5", ["5"]),
        ("1,28,29,30,31", ["1,28", "29", "30", "31"]),
        ("30,L", ["L", "30"]),
        ("L,1", ["L", "1"]),
        ("*/10", ["1,11,21", "31"]),
        ("20/5", ["20,25", "30"]),
        ("26-29", ["26,27,28", "29"]),
        ("5-20/5", ["5,10,15,20"]),
        ("10-5", ["10-5"]),
    ],
)
def test_days_that_not_every_month_has_are_parts_of_their_own(days: str, parts: list[str]):
    assert translate(f"cron(0 18 {days} * ? *)").parts == tuple(f"0 18 {part} * *" for part in parts)


@pytest.mark.parametrize(
    ("field", "years"),
    [
        ("*", None),
        ("?", None),
        ("2030", {2030}),
        ("1970,2199", {1970, 2199}),
        ("2030-2033", {2030, 2031, 2032, 2033}),
        ("2030-2035/2", {2030, 2032, 2034}),
        ("2150/20", {2150, 2170, 2190}),
        ("*/100", {1970, 2070, 2170}),
        ("2020,*", set(range(1970, 2200))),
        ("1960-1971", {1970, 1971}),
    ],
)
def test_the_years_of_a_schedule_are_those_from_1970_to_2199(field: str, years: set[int] | None):
    assert translate(f"cron(7 18 * * ? {field})").years == years


@pytest.mark.parametrize("schedule", ["cron(0 0 1 1 ? 2020)", "cron(0 0 31 2 ? *)"])
def test_a_schedule_of_past_years_or_impossible_days_has_no_next_run(schedule: str):
    assert next_run(schedule, at("2026-01-01T00:00")) is None


@pytest.mark.parametrize("schedule", ["cron(0 0 1 1 ? 2027)", "cron(0 0 31 2 ? *)"])
def test_a_schedule_of_future_years_or_impossible_days_has_had_no_run(schedule: str):
    assert previous_run(schedule, at("2026-12-31T23:59")) is None


def test_the_last_run_can_be_years_ago_and_seconds_do_not_count():
    assert previous_run("cron(0 0 29 2 ? *)", at("2027-05-01T00:00")) == at("2024-02-29T00:00")
    assert previous_run("cron(0 0 1 1 ? 2020-2024)", at("2027-05-01T00:00")) == at("2024-01-01T00:00")
    assert previous_run("cron(0 18 * * ? *)", at("2026-01-31T18:00:00.5")) == at("2026-01-31T18:00")
    assert previous_run("cron(0 18 * * ? *)", at("2026-01-31T17:59:59.9")) == at("2026-01-30T18:00")


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ("", "it has no schedule in Kendra"),
        ("cron()", "it has no schedule in Kendra"),
        ("rate(1 day)", "it has 2 fields"),
        ("daily", "it has 1 field"),
        ("cron(R R * * ? *)", "it names a time at random"),
        ("cron(0 R(1-9) * * ? *)", "it names a time at random"),
        ("cron(0 18 1 1 ? 1969)", "its year '1969' is not a year from 1970 to 2199"),
        ("cron(0 18 1 1 ? 2200)", "its year '2200' is not a year from 1970 to 2199"),
        ("0 0 18 ? * MON 2030-2029", "its year '2030-2029' is not a year from 1970 to 2199"),
        ("0 18 * * *", "it has 5 fields"),
        ("30 0 18 ? * * *", "its seconds are not 0"),
        ("cron(0 18 1 * MON *)", "it names both days of the month and weekdays"),
        ("cron(0 18 ? * 8 *)", "its weekday '8' is not one of 1 to 7"),
        ("cron(61 18 ? * * *)", "can't be read"),
        ("cron(0 22-3/3 * * ? *)", "the range 22-3/3 has a step, but begins after its end"),
        ("cron(0 18 ? * * 26)", "its year '26' is not a year"),
        ("cron(0 18 ? FOO * *)", "can't be read"),
        ("cron(0 18 L-3 * ? *)", "can't be read"),
    ],
)
def test_what_cannot_be_translated_is_refused_with_the_reason(schedule: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        translate(schedule)


class Field:
    """A field of a schedule: its text, and the values that it means."""

    def __init__(self, text: str, values: set[int]) -> None:
        self.text, self.values = text, values

    def __repr__(self) -> str:
        return self.text


def fields(low: int, high: int) -> st.SearchStrategy[Field]:
    number = st.integers(low, high)
    every = st.just(Field("*", set(range(low, high + 1))))
    single = st.lists(number, min_size=1, max_size=3).map(lambda each: Field(",".join(map(str, each)), set(each)))
    spans = st.tuples(number, number).map(sorted).map(lambda e: Field(f"{e[0]}-{e[1]}", set(range(e[0], e[1] + 1))))
    steps = st.tuples(number, st.integers(1, high)).map(
        lambda each: Field(f"{each[0]}/{each[1]}", set(range(each[0], high + 1, each[1])))
    )
    return every | single | spans | steps


weekdays = fields(1, 7) | st.lists(st.integers(1, 7), min_size=1, max_size=3).map(
    lambda each: Field(",".join(DAYS[number - 1] for number in each), set(each))
)


def oracle(minute: Field, hour: Field, day: Field | None, month: Field, weekday: Field | None, run: datetime) -> bool:
    return (
        run.minute in minute.values
        and run.hour in hour.values
        and run.month in month.values
        and (day is None or run.day in day.values)
        and (weekday is None or run.isoweekday() % 7 + 1 in weekday.values)
    )


class Oracle:
    """A schedule whose runs are found by trying every minute; days without any are skipped."""

    def __init__(self, minute: Field, hour: Field, month: Field, days: tuple[Field | None, Field | None]) -> None:
        self._time, self._date = (minute, hour), (days[0], month, days[1])
        self.text = " ".join(map(str, (minute, hour, days[0] or "?", month, days[1] or "?", "*")))

    def shape(self, is_bare: bool) -> str:
        return f"0 {self.text}" if is_bare else f"cron({self.text})"

    def first_after(self, moment: datetime, latest: datetime) -> datetime | None:
        run = moment + timedelta(minutes=1)
        while run < latest:
            if oracle(*self._time, *self._date, run):
                return run
            is_on_day = oracle(*_ANY_TIME, *self._date, run)
            run = run + timedelta(minutes=1) if is_on_day else run.replace(hour=0, minute=0) + timedelta(days=1)
        return None

    def last_until(self, moment: datetime, earliest: datetime) -> datetime | None:
        run = moment
        while run > earliest:
            if oracle(*self._time, *self._date, run):
                return run
            is_on_day = oracle(*_ANY_TIME, *self._date, run)
            run = (run if is_on_day else run.replace(hour=0, minute=0)) - timedelta(minutes=1)
        return None


_ANY_TIME = Field("", set(range(60))), Field("", set(range(24)))
YEAR = timedelta(days=366)
oracles = st.builds(
    Oracle,
    minute=fields(0, 59),
    hour=fields(0, 23),
    month=fields(1, 12),
    days=st.tuples(fields(1, 31), st.none()) | st.tuples(st.none(), weekdays),
)
# Over a year, with the ends of months and the leap day more often than other times.
edges = st.sampled_from([datetime(2028, 2, 29), *(datetime(2028, month, 1) for month in range(1, 13))])
moments = st.one_of(
    st.datetimes(datetime(2027, 6, 1), datetime(2028, 12, 31)),
    st.builds(lambda edge, minutes: edge + timedelta(minutes=minutes), edges, st.integers(-120, 1560)),
).map(lambda moment: moment.replace(second=0, microsecond=0, tzinfo=UTC))


@settings(deadline=None, max_examples=examples(60))
@given(schedule=oracles, is_bare=st.booleans(), moment=moments)
def test_the_runs_are_those_that_an_oracle_finds_minute_by_minute(
    schedule: Oracle, is_bare: bool, moment: datetime
) -> None:
    text = schedule.shape(is_bare)
    coming, run = next_run(text, moment), schedule.first_after(moment, moment + YEAR)
    assert coming == run if run else coming is None or coming >= moment + YEAR
    last, run = previous_run(text, moment), schedule.last_until(moment, moment - YEAR)
    assert last == run if run else last is None or last <= moment - YEAR


def _job(started: datetime, took: int, status: str) -> SyncJob:
    return SyncJob(
        index_id="index", data_source_id="source", execution_id=started.isoformat(), status=status,
        start_time=started, end_time=started + timedelta(minutes=took),
    )  # fmt: skip


@settings(deadline=None, max_examples=examples(60))
@given(
    schedule=oracles,
    is_bare=st.booleans(),
    now=moments,
    grace=st.integers(0, 3000),
    # Minutes from the cutoff, so that the interesting side is often hit; or any time in the year before.
    starts=st.lists(
        st.tuples(st.integers(-3, 3) | st.integers(-200_000, 3_000), st.integers(0, 90), st.booleans()), max_size=4
    ),
    measured_by=st.sampled_from(["start_time", "end_time"]),
)
def test_sensor_watcher_and_commands_judge_by_a_schedule_as_an_oracle_does(
    schedule: Oracle,
    is_bare: bool,
    now: datetime,
    grace: int,
    starts: list[tuple[int, int, bool]],
    measured_by: MeasuredBy,
) -> None:
    length, text = timedelta(minutes=grace), schedule.shape(is_bare)
    cutoff = schedule.last_until(now - length, now - length - YEAR)
    near = cutoff or now
    made = [_job(near + timedelta(minutes=m), took, "SUCCEEDED" if good else "FAILED") for m, took, good in starts]
    jobs = sorted((job for job in made if job.end_time and job.end_time <= now), key=lambda job: job.start_time or now)
    good = [getattr(job, measured_by) for job in jobs if job.status == "SUCCEEDED"]
    if cutoff is None and good and min(good) < now - length - YEAR + timedelta(days=1):
        return  # the oracle has not searched that far back
    is_fresh = bool(good) and (cutoff is None or max(good) >= cutoff)

    pages = [Page(jobs[::-1], is_last=True)]
    sensor = Fresh(Acceptance(), measured_by=measured_by, grace=length).with_schedule(text)
    assert isinstance(read(sensor, pages, now), Satisfied) == is_fresh
    limits = Limits(Acceptance(), measured_by=measured_by, grace=length).with_schedule(text)
    found = crossings([job for job in jobs if job.status == "SUCCEEDED"], limits, now)
    assert (bool(found) and found[-1].state is State.FRESH) == is_fresh
    command = condition_for(max_age=None, measured_by=measured_by, schedule_grace=length).with_schedule(text)
    history = History()
    history.add_page(pages[0])
    assessed = assess(history, command, now)
    assert assessed.is_fresh == is_fresh
    assert (assessed.reason is None) == is_fresh


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("nth", range(1, 6))
def test_the_nth_weekday_of_a_month_is_that_of_the_calendar(number: int, nth: int):
    schedule = f"cron(0 12 ? * {number}#{nth} *)"
    for month in range(1, 13):
        days = [
            day
            for week in calendar.Calendar(calendar.SUNDAY).monthdatescalendar(2028, month)
            for day in week
            if day.month == month and day.isoweekday() % 7 + 1 == number
        ]
        first = datetime(2028, month, 1, tzinfo=UTC) - timedelta(minutes=1)
        found = next_run(schedule, first)
        assert found is not None
        if len(days) >= nth:
            assert found.date() == days[nth - 1]
        else:
            assert found.month != month


def test_a_year_far_away_is_reached_without_trying_each_run_before_it():
    with patch.object(croniter, "get_next", autospec=True, side_effect=croniter.get_next) as tried:
        found = next_run("cron(* * * * ? 1970,2190)", at("2080-01-01T00:00"))
    assert found == at("2190-01-01T00:00")
    assert tried.call_count <= 5
