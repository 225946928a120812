"""The gate on freshness ends in the same way in every mode, whatever happens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor
from tests.integration.modes import NOW, TASK_ID, Ending, Wait
from tests.integration.scenarios import LIST, Look, Raises, job, metrics, refuses, rejects, skips, times_out

# The clean environment, and the models read once.
from tests.integration.test_modes import Stage, _botocore_reads_its_models_once, stage  # noqa: F401

MODES = ("poke", "reschedule", "defer")
LIST_SOURCES = "ListDataSources"


class FreshnessWait(Wait):
    def make_sensor(self, **arguments: Any) -> Any:
        with DAG("dag", schedule=None, start_date=NOW):
            return KendraDataFreshnessSensor(task_id=TASK_ID, **self.arguments, **arguments)


@dataclass(frozen=True)
class Scenario:
    """
    A row: what each look at the data sources shows, how the service misbehaves, what comes of it.

    Expected of a wait that passes are the execution ids, in the order of the data sources.
    """

    name: str
    expected: Sequence[str] | Raises
    looks: Sequence[Sequence[Look]]
    faults: Sequence[tuple[str, Mapping[str, Any]]] = ()
    statuses: Sequence[str] = ()
    has_empty_first_page: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    calls: int | None = None


def one(
    name: str, expected: Sequence[str] | Raises, *looks: Look, calls: int | None = None, **arguments: Any
) -> Scenario:
    """A wait on one data source."""
    return Scenario(name, expected, [looks], arguments=arguments, calls=calls)


def several(name: str, expected: Sequence[str] | Raises, *looks: Sequence[Look], **arguments: Any) -> Scenario:
    """A wait on data sources of which each one's looks are given."""
    return Scenario(name, expected, looks, arguments=arguments)


def troubled(name: str, expected: Sequence[str] | Raises, operation: str, **fault: Any) -> Scenario:
    """A wait for the one data source of an index, which is fresh, while the service misbehaves."""
    looks = [[[job("good", "SUCCEEDED")]]]
    return Scenario(name, expected, looks, [(operation, fault)], {"data_source_ids": None})


GOOD = job("good", "SUCCEEDED")
OLD = job("old", "SUCCEEDED", started=90)
FAILED = job("bad", "FAILED")
RUNNING = job("now", "SYNCING", started=1)

SCENARIOS = [
    one("is fresh already", ["good"], [GOOD], calls=1),
    one("becomes fresh", ["good"], [OLD], [job("good", "SYNCING"), OLD], [GOOD, OLD], calls=3),
    one("started exactly at the cutoff", ["edge"], [job("edge", "SUCCEEDED", started=60)], calls=1),
    one("is too old for ever", times_out("; no sync runs)"), [OLD], timeout=120),
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
    one("skips at its time-out", skips("Timed out waiting for"), [OLD], timeout=120, soft_fail=True),
    several("two are fresh", ["good", "two"], [[GOOD]], [[job("two", "SUCCEEDED")]]),
    several("the second becomes fresh later", ["good", "two"], [[GOOD]], [[], [job("two", "SUCCEEDED")]]),
    several("one of two fails", rejects("bad", "FAILED"), [[GOOD]], [[FAILED]], fail_fast=True),
    several("all of an index", ["good", "two"], [[GOOD]], [[job("two", "SUCCEEDED")]], data_source_ids=None),
    several("no data source in the index", refuses("has no ACTIVE data source"), data_source_ids=None),
    one("an older job seems to run, and it is to fail fast", rejects("bad", "FAILED"),
        [job("bad", "FAILED", started=1), job("odd", "SYNCING", started=9)], fail_fast=True, calls=1),
    Scenario("the first page is empty", ["good"], [[[OLD], [GOOD, OLD]]], has_empty_first_page=True, calls=4),
    Scenario("one of an index is UPDATING", ["good", "two"], [[[GOOD]], [[], [job("two", "SUCCEEDED")]]],
        arguments={"data_source_ids": None}, statuses=["ACTIVE", "UPDATING"]),
    Scenario("the only one of an index is UPDATING", ["good"], [[[GOOD]]],
        arguments={"data_source_ids": None}, statuses=["UPDATING"]),
    Scenario("the only one of an index is CREATING", times_out("it is still being created"), [[[GOOD]]],
        arguments={"data_source_ids": None, "timeout": 120}, statuses=["CREATING"]),
    Scenario("the only one of an index is DELETING", refuses("has no ACTIVE data source"), [[[GOOD]]],
        arguments={"data_source_ids": None}, statuses=["DELETING"]),
    several("an empty list", refuses("data_source_ids is []"), data_source_ids=[]),
    troubled("is throttled", ["good"], LIST, error="ThrottlingException", times=3),
    troubled("is throttled at the list of data sources", ["good"], LIST_SOURCES, error="ThrottlingException", times=3),
    troubled("may not be read", refuses("AccessDenied"), LIST, error="AccessDeniedException"),
    troubled("may not be listed", refuses("AccessDenied"), LIST_SOURCES, error="AccessDeniedException"),
]  # fmt: skip


def play(stage: Stage, scenario: Scenario, mode: str) -> tuple[Ending, list[str], int]:  # noqa: F811
    """Let it happen in an index of its own; returns how it ended, on which data sources, and after how many calls."""
    kendra = stage.kendra
    kendra.clear_faults()
    index_id = kendra.create_index()
    ids = [kendra.create_custom_data_source(index_id) for _ in scenario.looks]
    for data_source_id, looks in zip(ids, scenario.looks, strict=True):
        kendra.set_history(index_id, data_source_id, *looks)
    for data_source_id, status in zip(ids, scenario.statuses, strict=False):
        kendra.set_data_source_status(index_id, data_source_id, status)
    kendra.set_empty_first_page(scenario.has_empty_first_page)
    for operation, fault in scenario.faults:
        kendra.inject(operation, **fault)
    before = kendra.call_count(LIST)
    arguments = {
        "index_id": index_id, "data_source_ids": ids, "max_age": timedelta(hours=1), "timeout": 3600,
        **scenario.arguments,
    }  # fmt: skip
    ending = FreshnessWait(arguments).run(mode)
    return ending, ids, kendra.call_count(LIST) - before


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
            assert found == dict(zip(ids, expected, strict=True)), mode
        assert scenario.calls in (None, calls), mode
        endings[mode] = replace(ending, result=None, job=None, message=_comparable(ending.message))
    assert endings == dict.fromkeys(MODES, endings["poke"])


def _comparable(message: str) -> str:
    """Each mode has an index of its own, and on a worker the last look is one interval later."""
    return re.sub(r"\d+:\d\d:\d\d ago", "some time ago", re.sub(r"[0-9a-f-]{36}", "an id", message))
