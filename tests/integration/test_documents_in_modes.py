"""Documents that failed are named in the same way in every mode, and read on the worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from botocore.client import BaseClient

from airflow_provider_kendra.exceptions import KendraSyncJobFailedError, KendraSyncJobRejectedError
from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator
from tests.conftest import DataSource
from tests.integration.modes import NOW, Ending, Wait
from tests.integration.test_modes import MODES
from tests.task_runs import BEGIN, TaskRun

NAMES = ["a.pdf", "b.pdf", "c.pdf"]
TEXT = "Failed: a.pdf (crawl: Access Denied); b.pdf (crawl: Access Denied). By reason: 2 × Access Denied (crawl)"


class Calls:
    """The AWS calls on workers and in the triggerer."""

    def __init__(self) -> None:
        self.on_workers: list[str] = []
        self.in_triggerer: list[str] = []
        self._current = self.on_workers

    @contextmanager
    def recorded(self, owner: Any, run_trigger: str) -> Iterator[None]:
        """Record the calls; this method of the owner stands for the triggerer."""
        call, trigger = BaseClient._make_api_call, getattr(owner, run_trigger)

        def record(client: BaseClient, operation: str, parameters: Any) -> Any:
            self._current.append(operation)
            return call(client, operation, parameters)

        def in_triggerer(*args: Any) -> Any:
            self._current = self.in_triggerer
            try:
                return trigger(*args)
            finally:
                self._current = self.on_workers

        with patch.object(BaseClient, "_make_api_call", record), patch.object(owner, run_trigger, in_triggerer):
            yield

    def check(self, *, is_deferred: bool) -> None:
        assert self.on_workers.count("FilterLogEvents") == 1
        assert "FilterLogEvents" not in self.in_triggerer
        assert ("ListDataSourceSyncJobs" in self.in_triggerer) is is_deferred


@pytest.fixture
def failing(data_source: DataSource) -> DataSource:
    """A data source of whose documents two fail in the next sync."""
    kendra = data_source.kendra
    kendra.set_documents(*data_source.ids, [{"id": name, "text": name} for name in NAMES])
    kendra.fail_documents(*data_source.ids, NAMES[:2], reason="Access Denied")
    kendra.set_sync_duration(60, 30)
    return data_source


def waited(source: DataSource, mode: str, **arguments: Any) -> tuple[Ending, dict[str, Any]]:
    """Wait in this mode for a sync that ends meanwhile; return how it ended, and its XComs."""
    source.kendra.set_clock(NOW - timedelta(seconds=30))
    execution_id = source.start()
    wait = Wait({**source.as_kwargs, "execution_id": execution_id, "timeout": 3600, **arguments})
    wait.meanwhile = lambda: source.kendra.advance_clock(120)
    calls = Calls()
    with calls.recorded(wait, "_run"):
        ending = wait.run(mode)
    calls.check(is_deferred=mode in ("defer", "start_from_trigger"))
    return ending, wait.pushed


@pytest.mark.parametrize("mode", MODES)
def test_a_rejected_sync_names_them(failing: DataSource, mode: str) -> None:
    ending, pushed = waited(failing, mode)
    assert ending.error is KendraSyncJobRejectedError
    start = "Sync INCOMPLETE: 2 of 3 documents failed; max_documents_failed=2 or more would have accepted it."
    assert ending.message.startswith(f"{start} {TEXT} (sync job ")
    found = json.loads(json.dumps(pushed))["failed_documents"]
    assert (found["found"], found["is_complete"]) == (2, True)
    assert [each["document_id"] for each in found["documents"]] == NAMES[:2]


@pytest.mark.parametrize("mode", MODES)
def test_an_accepted_sync_pushes_them(failing: DataSource, mode: str) -> None:
    ending, pushed = waited(failing, mode, max_documents_failed=2)
    assert (ending.error, ending.result["status"]) == (None, "INCOMPLETE")
    assert (pushed["failed_documents"]["found"], pushed["documents_failed"]) == (2, 2)


@pytest.mark.parametrize("is_deferred", [False, True], ids=["worker", "deferred"])
@pytest.mark.parametrize("accepted", [None, 2], ids=["rejected", "accepted"])
def test_a_start_names_and_pushes_them(failing: DataSource, is_deferred: bool, accepted: int | None) -> None:
    arguments: dict[str, Any] = {"max_documents_failed": accepted, "deferrable": is_deferred, "durable": False}
    run = TaskRun(lambda: KendraStartSyncJobOperator(task_id="start", **failing.as_kwargs, **arguments))
    failing.kendra.set_clock(BEGIN)
    run.clock.at(10, lambda: failing.kendra.advance_clock(120))
    calls = Calls()
    with calls.recorded(run, "_first_event"):
        check: Callable[[], None] = _is_accepted if accepted else _is_rejected
        check(run)
    calls.check(is_deferred=is_deferred)
    assert bool(run.deferrals) is is_deferred
    assert [each["document_id"] for each in run.xcoms.pushed["failed_documents"]["documents"]] == NAMES[:2]


def _is_accepted(run: TaskRun) -> None:
    assert run.run()["status"] == "INCOMPLETE"


def _is_rejected(run: TaskRun) -> None:
    with pytest.raises(KendraSyncJobFailedError) as caught:
        run.run()
    assert f" {TEXT} (sync job " in str(caught.value)
