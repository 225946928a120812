"""The gate on freshness ends in the same way in every mode, whatever happens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowSensorTimeout

from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor
from airflow_provider_kendra.testing import LocalKendra
from tests.conftest import ROLE_ARN, client
from tests.integration.modes import NOW, TASK_ID, Ending, Wait
from tests.integration.scenarios import LIST, JobList, Raises, job, metrics, refuses, rejects, skips, times_out

# The clean environment, and the models read once.
from tests.integration.test_modes import Stage, stage  # noqa: F401

MODES = ("poke", "reschedule", "defer")
LIST_SOURCES = "ListDataSources"


class FreshnessWait(Wait):
    def make_sensor(self, **arguments: Any) -> Any:
        with DAG("dag", schedule=None, start_date=NOW):
            return KendraDataFreshnessSensor(task_id=TASK_ID, **self.arguments, **arguments)


class Index:
    """An index whose data sources a scenario is about, in the order of its rows."""

    def __init__(self, kendra: LocalKendra, data_sources: int, schedules: Sequence[str] = ()) -> None:
        self.kendra = kendra
        self.index_id = kendra.create_index()
        self.ids = [self._create(schedule) for schedule in schedules]
        self.ids += [kendra.create_custom_data_source(self.index_id) for _ in range(data_sources - len(schedules))]

    def _create(self, schedule: str) -> str:
        created = client(self.kendra.url).create_data_source(
            IndexId=self.index_id, Name="documents", Type="S3", RoleArn=ROLE_ARN, Schedule=schedule,
            Configuration={"S3Configuration": {"BucketName": "documents"}},
        )  # fmt: skip
        return str(created["Id"])

    def show(self, number: int, *histories: JobList) -> None:
        self.kendra.set_history(self.index_id, self.ids[number], *histories)

    def set_status(self, number: int, status: str) -> None:
        self.kendra.set_data_source_status(self.index_id, self.ids[number], status)

    def delete(self, number: int) -> None:
        client(self.kendra.url).delete_data_source(IndexId=self.index_id, Id=self.ids.pop(number))

    def add(self) -> None:
        self.kendra.create_custom_data_source(self.index_id)


Change = Callable[[Index], None]


@dataclass(frozen=True)
class Scenario:
    """
    A row: what each look at the data sources shows, how the service misbehaves, what comes of it.

    Expected of a wait that passes are the execution ids, in the order of the data sources.
    """

    name: str
    expected: Sequence[str] | Raises
    histories: Sequence[Sequence[JobList]]
    faults: Sequence[tuple[str, Mapping[str, Any]]] = ()
    statuses: Sequence[str] = ()
    has_empty_first_page: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    calls: int | None = None
    once_listed: Change | None = None
    """What changes when the data sources have been listed for the first time, before any is read."""
    meanwhile: Change | None = None
    """What changes after the first poke; before the first poll of a trigger, but after that of its neighbour."""
    delay: float = 0
    """Seconds by which Airflow goes on too late after that."""
    has_neighbour: bool = False
    schedules: Sequence[str] = ()
    """Those of the data sources that are not CUSTOM, which come first."""


def one(
    name: str, expected: Sequence[str] | Raises, *histories: JobList, calls: int | None = None, **arguments: Any
) -> Scenario:
    """A wait on one data source."""
    return Scenario(name, expected, [histories], arguments=arguments, calls=calls)


def several(name: str, expected: Sequence[str] | Raises, *histories: Sequence[JobList], **arguments: Any) -> Scenario:
    """A wait on data sources of which each one's histories are given."""
    return Scenario(name, expected, histories, arguments=arguments)


def faulty(name: str, expected: Sequence[str] | Raises, operation: str, **fault: Any) -> Scenario:
    """A wait for the one data source of an index, which is fresh, while the service misbehaves."""
    histories = [[[job("good", "SUCCEEDED")]]]
    return Scenario(name, expected, histories, [(operation, fault)], arguments={"data_source_ids": None})


GOOD = job("good", "SUCCEEDED")
OLD = job("old", "SUCCEEDED", started=90)
FAILED = job("bad", "FAILED")
RUNNING = job("now", "SYNCING", started=1)

ALL: dict[str, Any] = {"data_source_ids": None}


def of_index(name: str, expected: Sequence[str] | Raises, *histories: Sequence[JobList], **members: Any) -> Scenario:
    """A wait for all data sources of an index."""
    arguments = {**ALL, **members.pop("arguments", {})}
    return Scenario(name, expected, histories, arguments=arguments, **members)


def delete_the_last(index: Index) -> None:
    index.delete(-1)


def delete_the_last_and_throttle(index: Index) -> None:
    index.delete(-1)
    index.kendra.inject(LIST_SOURCES, error="ThrottlingException", times=2)


def delete_one_and_refuse_the_other(index: Index) -> None:
    index.delete(-1)
    index.kendra.inject(LIST, error="AccessDeniedException")


DELETED = [
    of_index("one is deleted when it has been listed", ["good"], [[GOOD]], [[OLD]], once_listed=delete_the_last),
    of_index("one is deleted when it has been listed, and the other is stale", times_out("last acceptable sync"),
        [[OLD]], [[GOOD]], once_listed=delete_the_last, arguments={"timeout": 120}),
    of_index("one is deleted when it has been listed, and the other becomes fresh", ["good"], [[OLD], [OLD], [GOOD]],
        [[GOOD]], once_listed=delete_the_last),
    of_index("one is deleted when it has been listed, and the other failed", rejects("bad", "FAILED"), [[FAILED]],
        [[GOOD]], once_listed=delete_the_last, arguments={"fail_fast": True}),
    of_index("one is deleted, and then listing is throttled", ["good"], [[GOOD]], [[OLD]],
        once_listed=delete_the_last_and_throttle),
    of_index("one is deleted, and the other may not be read", refuses("AccessDenied"), [[GOOD]], [[GOOD]],
        once_listed=delete_one_and_refuse_the_other),
    of_index("the only one is deleted when it has been listed", refuses("has no ACTIVE, UPDATING"), [[GOOD]],
        once_listed=delete_the_last),
    of_index("one is deleted while the wait lasts", ["good"], [[OLD], [OLD], [GOOD]], [[OLD]],
        meanwhile=delete_the_last),
    Scenario("one that was asked for is deleted", refuses("ResourceNotFound"), [[[OLD]], [[OLD]]],
        meanwhile=delete_the_last),
]  # fmt: skip


def become_fresh(index: Index) -> None:
    for number, _ in enumerate(index.ids):
        index.show(number, [GOOD])


def fail(index: Index) -> None:
    index.show(0, [FAILED])


HOURS_LATE: dict[str, Any] = {"delay": 4 * 3600.0}
SINCE: dict[str, Any] = {"max_age": None, "fresh_since": NOW - timedelta(hours=1)}

LATE = [
    Scenario("is fresh by the first poll after the time-out", ["good"], [[[OLD]]], arguments=SINCE,
        meanwhile=become_fresh, **HOURS_LATE),
    Scenario("is stale still at the first poll after the time-out", times_out("last acceptable sync"), [[[OLD]]],
        arguments=SINCE, meanwhile=lambda index: None, **HOURS_LATE),
    Scenario("has failed by the first poll after the time-out", rejects("bad", "FAILED"), [[[OLD]]],
        arguments={**SINCE, "fail_fast": True}, meanwhile=fail, **HOURS_LATE),
    Scenario("skips when it is stale still after the time-out", skips("Timed out: not fresh"), [[[OLD]]],
        arguments={**SINCE, "soft_fail": True}, meanwhile=lambda index: None, **HOURS_LATE),
    Scenario("has grown too old by the first poll after the time-out", times_out("last acceptable sync"), [[[OLD]]],
        meanwhile=become_fresh, **HOURS_LATE),
    Scenario("two are fresh by the first poll after the time-out", ["good", "good"], [[[OLD]], [[OLD]]],
        arguments=SINCE, meanwhile=become_fresh, **HOURS_LATE),
    of_index("all are fresh by the first poll after the time-out", ["good", "good"], [[OLD]], [[OLD]],
        arguments=SINCE, meanwhile=become_fresh, **HOURS_LATE),
    of_index("one is deleted, and the time-out passes before the next poll", ["good"], [[GOOD]], [[OLD]],
        arguments=SINCE, meanwhile=delete_the_last, **HOURS_LATE),
]  # fmt: skip


def add_one(index: Index) -> None:
    become_fresh(index)
    index.add()


def delete_one(index: Index) -> None:
    index.delete(-1)
    become_fresh(index)


NEVER_SYNCED = "no acceptable sync among those read"

LISTED_ANEW = [
    of_index("one is added while the wait lasts", times_out(NEVER_SYNCED), [[OLD]], meanwhile=add_one,
        arguments={"timeout": 120}),
    *[
        of_index(f"one is added after a neighbour listed them, {interval} s ago at most", times_out(NEVER_SYNCED),
            [[OLD]], meanwhile=add_one, has_neighbour=True, arguments={"poke_interval": interval, "timeout": 120})
        for interval in (40, 3600)
    ],
    of_index("one is deleted after a neighbour listed them", ["good"], [[OLD]], [[OLD]], meanwhile=delete_one,
        has_neighbour=True),
    of_index("becomes fresh after a neighbour read it", ["good"], [[OLD]], meanwhile=become_fresh, has_neighbour=True),
    of_index("one is CREATING when they are listed first, and then ACTIVE", ["good"], [[GOOD]], statuses=["CREATING"],
        once_listed=lambda index: index.set_status(0, "ACTIVE")),
    of_index("one is CREATING when they are listed first, and then FAILED", refuses("has no ACTIVE, UPDATING"),
        [[GOOD]], statuses=["CREATING"], once_listed=lambda index: index.set_status(0, "FAILED")),
    of_index("one is UPDATING when they are listed first, and then ACTIVE", ["good"], [[OLD], [GOOD]],
        statuses=["UPDATING"], once_listed=lambda index: index.set_status(0, "ACTIVE")),
    of_index("one is ACTIVE, and another CREATING", ["good"], [[GOOD]], [], statuses=["ACTIVE", "CREATING"]),
    of_index("one is stale and UPDATING", times_out("last acceptable sync"), [[GOOD]], [[OLD]],
        statuses=["ACTIVE", "UPDATING"], arguments={"timeout": 120}),
]  # fmt: skip

DESCRIBE = "DescribeDataSource"
DAILY = "cron(0 5 * * ? *)"
"""An hour before each wait, so that the run is overdue with half an hour of grace."""
RUN = "the scheduled sync of 2026-01-31 05:00 UTC"
BY_SCHEDULE: dict[str, Any] = {"max_age": None, "schedule_grace": timedelta(minutes=30), "timeout": 300}


def scheduled(
    name: str, expected: Sequence[str] | Raises, *histories: JobList, schedule: str = DAILY, **arguments: Any
) -> Scenario:
    """A wait by the schedule of one data source."""
    return Scenario(name, expected, [histories], schedules=[schedule], arguments={**BY_SCHEDULE, **arguments})


def mixed(name: str, expected: Sequence[str] | Raises, **arguments: Any) -> Scenario:
    """A wait by schedule, where one data source is CUSTOM, which can't have one."""
    return Scenario(
        name, expected, [[[GOOD]], [[GOOD]]], schedules=["0 0 5 * * ? *"], arguments={**BY_SCHEDULE, **arguments}
    )


ON_SCHEDULE = [
    scheduled("has a sync since its run", ["good"], [GOOD]),
    scheduled("has a sync that began at its run", ["edge"], [job("edge", "SUCCEEDED", started=60)]),
    scheduled("has a sync before its run", times_out(f"{RUN} did not start; last acceptable sync"), [OLD]),
    scheduled("has never been synced by its schedule", times_out(f"{RUN} did not start; no acceptable sync"), []),
    scheduled("has a sync that failed at its run", times_out(f"{RUN} started and FAILED: InternalError: No role; last"),
        [job("bad", "FAILED", started=59, ErrorCode="InternalError", ErrorMessage="No role"), OLD]),
    scheduled("has a sync that runs since its run", times_out(f"{RUN} is running: SYNCING"),
        [job("now", "SYNCING", started=59), OLD]),
    scheduled("becomes fresh by its schedule", ["now"], [OLD], [RUNNING, OLD], [job("now", "SUCCEEDED", started=1)]),
    scheduled("has failed at its run, and is to fail fast", rejects("bad", "FAILED"), [FAILED, OLD], fail_fast=True),
    scheduled("has a run in years to come, and a sync", ["old"], [OLD], schedule="cron(0 5 * * ? 2099)"),
    scheduled("has a run in years to come, and no sync", times_out("no scheduled sync was due yet"), [],
        schedule="cron(0 5 * * ? 2099)"),
    scheduled("has no schedule", refuses("No usable schedule: it has no schedule in Kendra. "), [GOOD], schedule=""),
    scheduled("has no schedule, and is to skip", skips("No usable schedule"), [GOOD], schedule="",
        soft_fail=True),
    mixed("one of two has no schedule", refuses("No usable schedule")),
    mixed("one of an index has no schedule", refuses("No usable schedule"), data_source_ids=None),
    replace(scheduled("its schedule is throttled", ["good"], [GOOD]),
        faults=[(DESCRIBE, {"error": "ThrottlingException", "times": 3})]),
    replace(scheduled("its schedule may not be read", refuses("AccessDenied", "kendra:DescribeDataSource"), [GOOD]),
        faults=[(DESCRIBE, {"error": "AccessDeniedException"})]),
    Scenario("one with a schedule is deleted when it has been listed", ["good"], [[[GOOD]], [[OLD]]],
        schedules=[DAILY, DAILY], arguments={**BY_SCHEDULE, **ALL}, once_listed=delete_the_last),
    Scenario("two are fresh by schedule after the time-out", ["good", "good"], [[[OLD]], [[OLD]]],
        schedules=[DAILY, DAILY], arguments=BY_SCHEDULE, meanwhile=become_fresh, **HOURS_LATE),
]  # fmt: skip

SCENARIOS = [
    *ON_SCHEDULE,
    one("is fresh already", ["good"], [GOOD], calls=1),
    one("becomes fresh", ["good"], [OLD], [job("good", "SYNCING"), OLD], [GOOD, OLD], calls=3),
    one("started exactly at the cutoff", ["edge"], [job("edge", "SUCCEEDED", started=60)], calls=1),
    one("is too old for ever", times_out("; no sync is running)"), [OLD], timeout=120),
    one("grows too old while it runs", times_out(), [job("late", "SYNCING", started=59)],
        [job("late", "SUCCEEDED", started=59)], poke_interval=120, timeout=240),
    one("has never been synced", times_out("no acceptable sync among those read"), [], timeout=120),
    one("has failed, then succeeds", ["good"], [FAILED], [GOOD, FAILED], calls=2),
    one("has failed, and is to fail fast", rejects("bad", "FAILED"), [FAILED], fail_fast=True, calls=1),
    one("has failed while the next one runs, and is to fail fast", ["now"], [RUNNING, FAILED],
        [job("now", "SUCCEEDED", started=1), FAILED], fail_fast=True, calls=2),
    one("began before the cutoff, and ended after it", times_out(), [OLD], timeout=120),
    one("began before the cutoff, and the end counts", ["old"], [OLD], measured_by="end_time", calls=1),
    one("tolerates failed documents", ["most"], [job("most", "INCOMPLETE", **metrics(failed=13))],
        max_documents_failed=13, calls=1),
    one("is asked since a fixed time", ["good"], [GOOD], max_age=None, calls=1,
        fresh_since="{{ data_interval_end }}"),
    one("skips at its time-out", skips("Timed out: not fresh"), [OLD], timeout=120, soft_fail=True),
    several("two are fresh", ["good", "two"], [[GOOD]], [[job("two", "SUCCEEDED")]]),
    several("the second becomes fresh later", ["good", "two"], [[GOOD]], [[], [job("two", "SUCCEEDED")]]),
    several("one of two fails", rejects("bad", "FAILED"), [[GOOD]], [[FAILED]], fail_fast=True),
    several("all of an index", ["good", "two"], [[GOOD]], [[job("two", "SUCCEEDED")]], data_source_ids=None),
    several("no data source in the index", refuses("has no ACTIVE, UPDATING"), data_source_ids=None),
    one("an older job seems to run, and it is to fail fast", rejects("bad", "FAILED"),
        [job("bad", "FAILED", started=1), job("odd", "SYNCING", started=9)], fail_fast=True, calls=1),
    Scenario("the first page is empty, and it is to fail fast", rejects("bad", "FAILED"), [[[FAILED]]],
        has_empty_first_page=True, arguments={"fail_fast": True}, calls=2),
    Scenario("the first page is empty, and a sync runs", ["now"], [[[RUNNING, FAILED], [job("now", "SUCCEEDED")]]],
        has_empty_first_page=True, arguments={"fail_fast": True}, calls=4),
    Scenario("the first page is empty, and it stays stale", times_out("last acceptable sync"), [[[OLD]]],
        has_empty_first_page=True, arguments={"timeout": 120}, calls=6),
    of_index("the first page of each of an index is empty", ["good", "two"], [[OLD], [GOOD]],
        [[], [job("two", "SUCCEEDED")]], has_empty_first_page=True),
    Scenario("the first page is empty", ["good"], [[[OLD], [GOOD, OLD]]], has_empty_first_page=True, calls=4),
    Scenario("one of an index is UPDATING", ["good", "two"], [[[GOOD]], [[], [job("two", "SUCCEEDED")]]],
        arguments={"data_source_ids": None}, statuses=["ACTIVE", "UPDATING"]),
    Scenario("the only one of an index is UPDATING", ["good"], [[[GOOD]]],
        arguments={"data_source_ids": None}, statuses=["UPDATING"]),
    Scenario("the only one of an index is CREATING", times_out("still being created"), [[[GOOD]]],
        arguments={"data_source_ids": None, "timeout": 120}, statuses=["CREATING"]),
    Scenario("the only one of an index is DELETING", refuses("has no ACTIVE, UPDATING"), [[[GOOD]]],
        arguments={"data_source_ids": None}, statuses=["DELETING"]),
    *DELETED,
    *LATE,
    *LISTED_ANEW,
    several("an empty list", refuses("data_source_ids is []"), data_source_ids=[]),
    faulty("is throttled", ["good"], LIST, error="ThrottlingException", times=3),
    faulty("is throttled at the list of data sources", ["good"], LIST_SOURCES, error="ThrottlingException", times=3),
    faulty("may not be read", refuses("AccessDenied"), LIST, error="AccessDeniedException"),
    faulty("may not be listed", refuses("AccessDenied"), LIST_SOURCES, error="AccessDeniedException"),
]  # fmt: skip


@contextmanager
def _change_once_listed(index: Index, change: Change | None) -> Iterator[None]:
    list_data_sources = KendraSyncJobsHook.list_data_sources
    changes = [] if change is None else [change]

    def list_and_change(hook: KendraSyncJobsHook, index_id: str) -> Iterator[dict[str, Any]]:
        found = list(list_data_sources(hook, index_id))
        while changes:
            changes.pop()(index)
        return iter(found)

    with patch.object(KendraSyncJobsHook, "list_data_sources", list_and_change):
        yield


def play(stage: Stage, scenario: Scenario, mode: str) -> tuple[Ending, list[str], int]:  # noqa: F811
    """Let it happen in an index of its own; returns how it ended, on which data sources, and after how many calls."""
    kendra = stage.kendra
    kendra.clear_faults()
    index = Index(kendra, len(scenario.histories), scenario.schedules)
    for number, histories in enumerate(scenario.histories):
        index.show(number, *histories)
    for number, status in enumerate(scenario.statuses):
        index.set_status(number, status)
    kendra.set_empty_first_page(scenario.has_empty_first_page)
    for operation, fault in scenario.faults:
        kendra.inject(operation, **fault)
    before = kendra.call_count(LIST)
    arguments = {
        "index_id": index.index_id, "data_source_ids": [*index.ids], "max_age": timedelta(hours=1), "timeout": 3600,
        **scenario.arguments,
    }  # fmt: skip
    wait = FreshnessWait(arguments)
    wait.delay = scenario.delay
    wait.neighbour = {"max_age": 1, "fresh_since": None, "poll_interval": 3600} if scenario.has_neighbour else None
    if (change := scenario.meanwhile) is not None:
        wait.meanwhile = lambda: change(index)
    with _change_once_listed(index, scenario.once_listed):
        ending = wait.run(mode)
    return ending, index.ids, kendra.call_count(LIST) - before


@pytest.mark.parametrize("scenario", [pytest.param(each, id=each.name) for each in SCENARIOS])
def test_every_mode_ends_in_the_same_way(stage: Stage, scenario: Scenario) -> None:  # noqa: F811
    endings = {}
    for mode in MODES:
        ending, ids, calls = play(stage, scenario, mode)
        expected = scenario.expected
        if isinstance(expected, Raises):
            assert ending.error is expected.error, (mode, ending)
            assert not [name for name in expected.named if name not in ending.message], (mode, ending.message)
            assert (ending.job and ending.job.execution_id) == expected.execution_id
        else:
            assert ending.error is None, (mode, ending.message)
            found = {key: record["execution_id"] for key, record in ending.result.items()}
            assert found == dict(zip(ids, expected, strict=False)), mode
        assert scenario.calls in (None, calls), mode
        endings[mode] = replace(ending, result=None, job=None, message=_comparable(ending.message))
    assert endings == dict.fromkeys(MODES, endings["poke"])


def _comparable(message: str) -> str:
    """Each mode has an index of its own, and on a worker the last look is one interval later."""
    return re.sub(r"\d+:\d\d:\d\d ago", "some time ago", re.sub(r"[0-9a-f-]{36}", "an id", message))


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_worker_that_times_out_names_data_sources_without_a_response(stage: Stage, mode: str) -> None:  # noqa: F811
    stage.kendra.clear_faults()
    index = Index(stage.kendra, 1)
    stage.kendra.inject(LIST, delay=1)
    ending = FreshnessWait(
        {"index_id": index.index_id, "data_source_ids": index.ids, "max_age": 3600, "timeout": 0.2}
    ).run(mode)
    assert ending.error is AirflowSensorTimeout
    assert f"{index.ids[0]} (" in ending.message
    assert "no response before the time-out" in ending.message
