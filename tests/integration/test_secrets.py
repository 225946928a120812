"""A secret that is planted in the connection comes out nowhere: whatever way a wait ends, and whatever is printed."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from typing import Any

import pytest

from airflow_provider_kendra import cli
from airflow_provider_kendra.operators.kendra import (
    KendraListSyncJobsOperator,
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor
from airflow_provider_kendra.triggers.kendra import KendraSyncJobEventTrigger
from tests.conftest import DataSource, listed
from tests.task_runs import TaskRun
from tests.virtual_time import VirtualTimeLoop

SECRETS = ("planted-secret-key", "planted-session-token")

FAULTS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "access denied": {"error": "AccessDeniedException"},
    "expired": {"error": "ExpiredTokenException"},
    "throttled": {"error": "ThrottlingException"},
    "broken": {"status": 500},
    "reset": {"reset": "after"},
    "unreadable": {"body": "not-json"},
}


@pytest.fixture
def source(data_source: DataSource, monkeypatch: pytest.MonkeyPatch) -> DataSource:
    """A data source that is reached with a connection in which secrets are planted."""
    connection = json.loads(data_source.kendra.connection_json)
    connection |= {"login": "AKIAPLANTED", "password": SECRETS[0]}
    connection["extra"] |= {"aws_session_token": SECRETS[1], "config_kwargs": {"retries": {"total_max_attempts": 1}}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    data_source.show([listed("job")])
    return data_source


@pytest.fixture(autouse=True)
def _no_masking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's masking in logs is a second net; what holds here holds without it."""
    for masker in {getattr(module, "SecretsMasker", None) for module in list(sys.modules.values())} - {None}:
        monkeypatch.setattr(masker, "add_mask", lambda *args, **kwargs: None)


def assert_none_in(*seen: object) -> None:
    text = "\n".join(each if isinstance(each, str) else repr(each) for each in seen)
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "make",
    [
        lambda ids: KendraStartSyncJobOperator(task_id="task", deferrable=False, timeout=300, **ids),
        lambda ids: KendraStartSyncJobOperator(task_id="task", deferrable=True, timeout=300, **ids),
        lambda ids: KendraStopSyncJobOperator(task_id="task", deferrable=True, timeout=300, **ids),
        lambda ids: KendraSyncJobMetricsOperator(task_id="task", **ids),
        lambda ids: KendraListSyncJobsOperator(task_id="task", **ids),
        lambda ids: KendraSyncJobSensor(task_id="task", execution_id="job", deferrable=True, timeout=300, **ids),
        lambda ids: KendraDataFreshnessSensor(
            task_id="task",
            index_id=ids["index_id"],
            data_source_ids=ids["data_source_id"],
            fresh_since="2026-01-01T00:00:00+00:00",
            deferrable=True,
            timeout=300,
        ),
    ],
    ids=["start", "start deferred", "stop", "metrics", "list", "sensor", "freshness"],
)
def test_no_task_tells_a_secret(
    source: DataSource, capfd: pytest.CaptureFixture[str], make: Callable[[dict[str, str]], Any], fault: str
) -> None:
    run = TaskRun(lambda: make(source.as_kwargs))
    if (what := FAULTS[fault]) is not None:
        source.kendra.inject("*", **what)
    said: list[str] = []
    try:
        said.append(repr(run.run()))
    except Exception as error:
        said.append("".join(traceback.format_exception(error)))
    deferrals = [(each.trigger.serialize(), repr(each.trigger), each.kwargs) for each in run.deferrals]
    assert_none_in(
        *capfd.readouterr(), *said, run.xcoms.pushed, run.store.kept, deferrals, repr(run.operator), vars(run.operator)
    )


@pytest.mark.parametrize("fault", ["none", "access denied"])
def test_no_watcher_tells_a_secret(source: DataSource, capfd: pytest.CaptureFixture[str], fault: str) -> None:
    trigger = KendraSyncJobEventTrigger(**source.as_kwargs)
    if (what := FAULTS[fault]) is not None:
        source.kendra.inject("*", **what)

    async def watch() -> list[Any]:
        with suppress(TimeoutError):
            async with asyncio.timeout(200):
                return [event.payload async for event in trigger.run()]
        return []

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        try:
            said: object = runner.run(watch())
        except Exception as error:
            said = "".join(traceback.format_exception(error))
    assert_none_in(*capfd.readouterr(), said, trigger.serialize(), repr(trigger))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "arguments", [["jobs", "documents"], ["freshness"], ["stop", "documents"], ["report", "--output", "page.html"]]
)
def test_no_command_tells_a_secret(
    source: DataSource,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    fault: str,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if (what := FAULTS[fault]) is not None:
        source.kendra.inject("*", **what)
    command, *more = arguments
    ids = [source.data_source_id if each == "documents" else each for each in more]
    with (
        redirect_stdout(io.StringIO()) as output,
        redirect_stderr(io.StringIO()) as errors,
        suppress(SystemExit),
    ):
        args = cli.make_parser("kendra").parse_args([command, source.index_id, *ids])
        args.func(args)
    written = [path.read_text() for path in tmp_path.iterdir()]
    assert output.getvalue() + errors.getvalue() + "".join(written)
    assert_none_in(*capfd.readouterr(), output.getvalue(), errors.getvalue(), *written)
