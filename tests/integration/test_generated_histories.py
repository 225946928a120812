"""Whatever Kendra lists from poll to poll, a sensor ends in the same way in every mode."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import patch

import boto3
from airflow.providers.common.compat.sdk import DAG
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._waiting.conditions import ExecutionFinished, read
from airflow_provider_kendra._waiting.history import Page
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.outcomes import Failed
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor
from airflow_provider_kendra.sync_job import Acceptance, SyncJob
from tests.conftest import examples
from tests.integration.modes import NOW, TASK_ID, Clock, Ending, Wait
from tests.integration.scenarios import job

Job = dict[str, Any]
Answer = Sequence[Sequence[Job]]
"""What one reading of a history gives, page by page."""

INTERVAL = 60
NOT_FOUND_TIMEOUT = 120
IDS = {"index_id": "i" * 36, "data_source_id": "source"}

STATUSES = ("SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED", "SYNCING", "SYNCING_INDEXING", "STOPPING", "PAUSED", None)
STARTED = (1, 5, 30, 59, 60, 61, 90, None)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Answer, ...]:
    """
    What up to five polls show of up to five sync jobs.

    Entries can be missing, older ones can seem to run, several can start at the same time, pages can be empty or out of
    order.
    """
    starts = draw(st.lists(st.sampled_from(STARTED), min_size=1, max_size=5))
    started = sorted(starts, key=lambda each: 0 if each is None else each)
    shown = []
    for _ in range(draw(st.integers(1, 5))):
        jobs = [
            job(name, draw(st.sampled_from(STATUSES)), started=each)
            for name, each in zip("abcde", started, strict=False)
        ]
        listed = [each for each in jobs if draw(st.sampled_from([True, True, True, False]))]
        if draw(st.booleans()):
            listed = draw(st.permutations(listed))
        size = draw(st.integers(1, 5))
        pages = [listed[first : first + size] for first in range(0, len(listed), size)]
        for _ in range(draw(st.integers(0, 2))):
            pages.insert(draw(st.integers(0, len(pages))), [])
        shown.append(pages or [[]])
    return tuple(shown)


class Kendra:
    """A client that lists the answer of the minute."""

    # The hook asks its client what an answer may look like.
    meta: ClassVar[Any] = boto3.client("kendra", region_name="us-east-1").meta

    def __init__(self, answers: Sequence[Answer], clock: Clock) -> None:
        self._answers = answers
        self._clock = clock
        self.calls = 0

    def list_data_source_sync_jobs(self, NextToken: str | None = None, **request: Any) -> dict[str, Any]:
        self.calls += 1
        if NextToken is None:
            minute = int((self._clock.elapsed + 0.001) // INTERVAL)
            answer, page = min(minute, len(self._answers) - 1), 0
        else:
            answer, page = map(int, NextToken.split("-"))
        pages = self._answers[answer]
        more = {"NextToken": f"{answer}-{page + 1}"} if page + 1 < len(pages) else {}
        return {"History": pages[page], **more}

    def close(self) -> None:
        """Nothing is open."""


class Hook(KendraSyncJobsHook):
    """The hook with this client."""

    def __init__(self, client: Kendra) -> None:
        super().__init__(aws_conn_id=None)
        self._fake = client

    @property
    def conn(self) -> Any:
        return self._fake


def _quiet(sensor: type) -> type:
    return type(sensor.__name__, (sensor,), {"log": SimpleNamespace(info=lambda *_: None, warning=lambda *_: None)})


JOB_SENSOR, FRESHNESS_SENSOR = _quiet(KendraSyncJobSensor), _quiet(KendraDataFreshnessSensor)


@dataclass(frozen=True)
class Task:
    """A sensor and what it waits for."""

    sensor: type
    arguments: dict[str, Any]


class GeneratedWait(Wait):
    def __init__(self, task: Task) -> None:
        super().__init__({"poke_interval": INTERVAL, "timeout": 420, **task.arguments})
        self._task = task

    def make_sensor(self, **arguments: Any) -> Any:
        with DAG("dag", schedule=None, start_date=NOW):
            return self._task.sensor(task_id=TASK_ID, **self.arguments, **arguments)


def sync_job(**arguments: Any) -> Task:
    return Task(JOB_SENSOR, {**IDS, **arguments})


def freshness(data_sources: int = 1, **arguments: Any) -> Task:
    # Several data sources show the same; which of several failures comes first is a matter of chance.
    ids = [f"source-{number}" for number in range(data_sources)]
    return Task(FRESHNESS_SENSOR, {"index_id": IDS["index_id"], "data_source_ids": ids, **arguments})


TOLERANCES = st.sampled_from([{}, {}, {"max_documents_failed": 3}])
TASKS = st.one_of(
    st.builds(lambda more: sync_job(started_after=NOW - timedelta(hours=1), **more), TOLERANCES),
    st.builds(
        lambda more, patience: sync_job(execution_id="b", not_found_timeout=patience, **more),
        TOLERANCES,
        st.sampled_from([0, NOT_FOUND_TIMEOUT]),
    ),
    st.builds(
        freshness,
        st.sampled_from([1, 1, 3]),
        max_age=st.just(timedelta(hours=1)),
        fail_fast=st.booleans(),
        measured_by=st.sampled_from(["start_time", "end_time"]),
    ),
)


def _doubt(answer: Answer) -> str | None:
    """Why a wait for job "b" would fail if it believed one answer, though it may be out of date."""
    pages = [
        Page(
            [SyncJob.from_response(item, **IDS) for item in page],
            is_last=number == len(answer),
        )
        for number, page in enumerate(answer, start=1)
    ]
    decision = read(ExecutionFinished("b", Acceptance(), 0, NOW), pages, NOW)
    if not isinstance(decision, Failed) or (decision.job and decision.job.is_finished):
        return None
    return decision.failure


def without_passing_doubts(answers: Sequence[Answer]) -> list[Answer]:
    """
    Leave out the second of two answers in a row that are in doubt for the same reason, unless all from there on are.

    How long a doubt has lasted is measured in reschedule mode from a later poll on: no process remembers those before.
    So a doubt that passes just before ``not_found_timeout`` may fail the wait in the other modes.
    """
    kept: list[Answer] = []
    for number, answer in enumerate(answers):
        doubt = _doubt(answer)
        is_final = all(_doubt(each) == doubt for each in answers[number:])
        if doubt is None or not kept or _doubt(kept[-1]) != doubt or is_final:
            kept.append(answer)
    return kept


def end(task: Task, answers: Sequence[Answer], mode: str) -> tuple[Ending, int]:
    """Let the task wait in this mode; returns how it ended, and after how many calls."""
    wait = GeneratedWait(task)
    client = Kendra(answers, wait.clock)
    with _hook(client):
        ending = wait.run(mode)
    return ending, client.calls


@contextmanager
def _hook(client: Kendra) -> Iterator[None]:
    with patch("airflow_provider_kendra.hooks.kendra.KendraSyncJobsHook._of", lambda parameters: Hook(client)):
        yield


def comparable(ending: Ending) -> tuple[Any, ...]:
    """Which data source failed first, how old a job is by now, and among how many one was not found may differ."""
    message = re.sub(r"\d+:\d\d:\d\d ago|source-\d|\(\d+ jobs?\)", "…", ending.message)
    job = ending.job and (ending.job.execution_id, ending.job.status)
    return ending.error, message, job, ending.result


@settings(max_examples=examples(60))
@given(TASKS, answers())
@example(sync_job(execution_id="b"), ([[job("b", "SYNCING")]], [[]], [[job("b", "SUCCEEDED")]]))
@example(sync_job(execution_id="b"), ([[job("a", "FAILED", started=1)]],) * 3 + ([[]],))
@example(sync_job(execution_id="b"), ([[job("a", "SYNCING", started=1), job("b", "SYNCING")]],))
@example(freshness(3, max_age=3600, fail_fast=True), ([[], [job("a", "FAILED")]],))
def test_every_mode_ends_in_the_same_way_whatever_is_listed(task: Task, answers: Sequence[Answer]) -> None:
    if "execution_id" in task.arguments:
        answers = without_passing_doubts(answers)
    poke, calls = end(task, answers, "poke")
    event(f"{task.sensor.__name__}: {poke.error.__name__ if poke.error else 'passes'}")
    for mode in ("reschedule", "defer"):
        ending, calls_in_mode = end(task, answers, mode)
        assert comparable(ending) == comparable(poke), mode
        # In reschedule mode a job in doubt is asked for more often; a failure ends the reading of other data sources.
        if "execution_id" not in task.arguments and poke.error is None:
            assert calls_in_mode == calls, mode
