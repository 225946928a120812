"""Paging holds for any history, any page size and any filter."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import examples

STATUSES = ("SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED", "SYNCING", "ODD")
moments = st.integers(1_700_000_000, 1_700_000_030)
items = st.fixed_dictionaries(
    {}, optional={"ExecutionId": st.uuids().map(str), "Status": st.sampled_from(STATUSES), "StartTime": moments}
)
# One backend serves all the examples, each in a data source of its own.
shared = settings(deadline=None, max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture])


def epoch(job):
    return job | ({"StartTime": int(job["StartTime"].timestamp())} if "StartTime" in job else {})


@shared
@given(
    history=st.lists(items, max_size=35),
    size=st.none() | st.integers(1, 10),
    status=st.none() | st.sampled_from(STATUSES[:5]),
    start=st.none() | moments,
    end=st.none() | moments,
)
def test_the_pages_together_are_the_filtered_history(in_process, custom_source, history, size, status, start, end):
    source = custom_source(in_process)
    in_process.set_history(*source.ids, history)
    period = {name: moment for name, moment in (("StartTime", start), ("EndTime", end)) if moment is not None}
    asked = {"MaxResults": size, "StatusFilter": status, "StartTimeFilter": period or None}
    found = source.jobs(**{name: value for name, value in asked.items() if value is not None})
    assert [epoch(job) for job in found] == [
        job
        for job in history
        if (status is None or job.get("Status") == status)
        and (start is None or start <= job.get("StartTime", 0))
        and (end is None or job.get("StartTime", end + 1) <= end)
    ]


@shared
@given(size=st.integers(1, 10), arrivals=st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_jobs_that_start_between_pages_neither_repeat_nor_hide_one(in_process, s3_source, size, arrivals):
    in_process.set_sync_duration(0)
    source = s3_source(in_process)
    known = [source.start() for _ in range(12)]
    page = source.page(MaxResults=size)
    found = page["History"]
    for count in [*arrivals, *([0] * 12)]:
        for _ in range(count):
            source.start()
        if "NextToken" not in page:
            break
        page = source.page(MaxResults=size, NextToken=page["NextToken"])
        found += page["History"]
    assert [job["ExecutionId"] for job in found] == known[::-1]


@pytest.mark.parametrize("count", [10, 11])
def test_a_page_holds_ten_unless_fewer_are_asked_for(anywhere, custom_source, count):
    source = custom_source(anywhere)
    anywhere.set_history(*source.ids, [{}] * count)
    page = source.page()
    assert len(page["History"]) == 10
    assert ("NextToken" in page) == (count > 10)


def test_pages_stay_within_the_history_that_the_look_showed(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_history(*source.ids, *([{"ExecutionId": name}] * 3 for name in "ab"))
    first, second = source.jobs(MaxResults=1), source.jobs(MaxResults=1)
    assert [job["ExecutionId"] for job in first + second] == ["a"] * 3 + ["b"] * 3


def test_pages_follow_each_other_on_a_clock_of_whole_seconds(anywhere, custom_source):
    anywhere.set_clock(1_700_000_000)
    anywhere.set_sync_duration(0)
    source = custom_source(anywhere)
    started = []
    for _ in range(2):
        started.append(source.start())
        source.stop()
        anywhere.advance_clock(1)
    assert [job["ExecutionId"] for job in source.jobs(MaxResults=1)] == started[::-1]
