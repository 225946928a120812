"""When schedules start syncs, against an oracle that tries every minute."""

import re
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._schedule import previous_run
from airflow_provider_kendra.testing.registry import require_own
from tests.conftest import examples
from tests.unit.test_schedule import YEAR, moments, oracles

NEW_YEAR = datetime(2028, 1, 1, tzinfo=UTC)
DAY = 24 * 3600


@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        ("cron(0 12 31 * ? *)", "01-31 03-31 05-31"),
        ("cron(0 12 29 * ? *)", "01-29 02-29 03-29 04-29 05-29"),
        ("cron(0 12 29-31 FEB ? *)", "02-29"),
        ("cron(0 12 L * ? *)", "01-31 02-29 03-31 04-30 05-31"),
        ("0 0 12 1,L 2-3 ? 2028", "02-01 02-29 03-01 03-31"),
        ("cron(0 12 31W * ? *)", "01-31 02-29 03-31 04-28 05-31"),
        ("cron(0 12 1W * ? *)", "01-03 02-01 03-01 04-03 05-01"),
        ("cron(0 12 ? * 6L *)", "01-28 02-25 03-31 04-28 05-26"),
        ("cron(0 12 ? 1 L *)", "01-01 01-08 01-15 01-22 01-29"),
        ("cron(0 12 ? * MON#5 *)", "01-31 05-29"),
        ("cron(0 12 ? 1 FRI-SUN/2 *)", "01-02 01-07 01-09 01-14 01-16 01-21 01-23 01-28 01-30"),
        ("cron(0 12 30 2 ? *)", ""),
        ("cron(0 12 1 * ? 2027,2029)", ""),
    ],
)
def test_a_schedule_starts_syncs_on_the_days_that_it_means(anywhere, s3_source, schedule, days):
    anywhere.set_clock(NEW_YEAR)
    anywhere.set_sync_duration(0)
    source = s3_source(anywhere, Schedule=schedule)
    anywhere.run_schedules()
    anywhere.advance_clock(152 * DAY)  # until the first of June
    assert [f"{job['StartTime'].astimezone(UTC):%m-%d %H:%M}" for job in source.jobs()[::-1]] == [
        f"{day} 12:00" for day in days.split()
    ]


@settings(deadline=None, max_examples=examples(60))
@given(schedule=oracles, is_bare=st.booleans(), moment=moments)
def test_the_last_run_is_the_one_that_an_oracle_and_the_package_find(schedule, is_bare, moment):
    require_own()
    from moto.kendra.schedules import due_times

    text, year_ago = schedule.shape(is_bare), moment - YEAR
    found = due_times(text, year_ago.timestamp(), moment.timestamp(), 1)
    run = schedule.last_until(moment, year_ago)
    assert found == ([run.timestamp()] if run else [])
    if run:
        assert previous_run(text, moment) == run


@pytest.mark.parametrize(
    "schedule",
    [
        "cron(0 12 * * ? 2030-2020)", "cron(0 12 * * ? 1800)", "cron(R 12 * * ? *)", "cron(0 12 ? * 0 *)",
        "cron(0 12 32 * ? *)", "cron(0 12 0W * ? *)", "cron(0 12 ? * 2#6 *)", "cron(0/0 12 * * ? *)",
        "cron(*-5 12 * * ? *)",
    ],
)  # fmt: skip
def test_a_schedule_with_a_value_that_no_field_has_is_refused(in_process, schedule):
    index_id = in_process.create_index()
    with pytest.raises(ClientError, match=f"Schedule '{re.escape(schedule)}' is invalid"):
        in_process.create_s3_data_source(index_id, "documents", Schedule=schedule)
