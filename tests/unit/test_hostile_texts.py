"""Whatever text the service sends, it acts nowhere: no forged log lines, no terminal escapes, no endless messages."""

from __future__ import annotations

import io
import json
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook
from airflow.triggers.base import BaseTrigger
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_kendra import cli
from airflow_provider_kendra._text import make_plain
from airflow_provider_kendra.hooks._aws_errors import hide_secrets, secrets_of
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import (
    KendraListSyncJobsOperator,
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor
from airflow_provider_kendra.sync_job import SyncJob
from tests.conftest import DataSource, listed
from tests.task_runs import BEGIN, Clock, TaskRun

FORGED = "[2026-01-31T06:00:00.000+0000] {taskinstance.py:341} INFO - Marking task as SUCCESS."
ACTIVE = f"\r\n{FORGED}\x1b[2J\x9b1m\x85\u2028\u2029\u202e\u2066\u200b\x00"
HOSTILE = f"no access{ACTIVE}{'x' * 10_000}"


class Log:
    """Takes the lines of every logger of Airflow's classes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _take(self, message: object, *values: object, **more: object) -> None:
        self.lines.append(str(message) % values if values else str(message))

    debug = info = warning = error = exception = _take


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    for owner in (KendraSyncJobSensor, KendraStartSyncJobOperator, BaseHook, BaseTrigger):
        holder = next(each for each in owner.__mro__ if "log" in vars(each))
        monkeypatch.setattr(holder, "log", property(lambda self: log))
    return log


@pytest.fixture(autouse=True)
def _connection(data_source: DataSource, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(data_source.kendra.connection_json)
    connection["extra"] |= {"config_kwargs": {"retries": {"total_max_attempts": 1}}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))


def assert_harmless(text: str, longest: int = 5_000) -> None:
    assert text.isprintable(), ascii(text[:300])
    assert len(text) <= longest


def assert_harmless_traceback(error: BaseException) -> None:
    """A traceback has lines of its own; none of them is a text of the service."""
    printed = "".join(traceback.format_exception(error))
    assert not [line for line in printed.splitlines() if line.startswith(FORGED[:10])]
    assert all(line.isprintable() for line in printed.split("\n"))
    assert len(printed) < 40_000


def hostile(status: str = "FAILED", execution_id: str = "job", **members: Any) -> dict[str, Any]:
    return listed(
        execution_id,
        status,
        StartTime=BEGIN,
        EndTime=BEGIN,
        ErrorCode=HOSTILE,
        ErrorMessage=HOSTILE,
        DataSourceErrorCode=HOSTILE,
        Metrics={"DocumentsFailed": "9" * 401, "DocumentsScanned": "9" * 5_000, "DocumentsAdded": "3"},
        **members,
    )


FAULTS: dict[str, Callable[[DataSource], object]] = {
    "failed": lambda source: source.show([hostile()]),
    "unknown status": lambda source: source.show([hostile(f"NEW{ACTIVE}{'x' * 9_000}")]),
    "execution id": lambda source: source.show([hostile(execution_id=f"job{ACTIVE}{'x' * 9_000}")]),
    "running": lambda source: source.show([hostile("SYNCING", execution_id=f"job{ACTIVE}")]),
    "denied": lambda source: source.kendra.inject("*", error="AccessDeniedException", message=HOSTILE),
    "throttled": lambda source: source.kendra.inject("*", error="ThrottlingException", message=HOSTILE),
    "code": lambda source: source.kendra.inject("*", error="x" * 9_000, message=HOSTILE),
    "broken": lambda source: source.kendra.inject("*", error="InternalServerException", status=500, message=HOSTILE),
}

TASKS: dict[str, Callable[[dict[str, str]], Any]] = {
    "start": lambda ids: KendraStartSyncJobOperator(task_id="t", deferrable=False, timeout=300, **ids),
    "start deferred": lambda ids: KendraStartSyncJobOperator(
        task_id="t", deferrable=True, timeout=300, if_running="attach", **ids
    ),
    "stop": lambda ids: KendraStopSyncJobOperator(task_id="t", deferrable=False, timeout=300, **ids),
    "metrics": lambda ids: KendraSyncJobMetricsOperator(task_id="t", max_documents_failed=0, **ids),
    "list": lambda ids: KendraListSyncJobsOperator(task_id="t", **ids),
    "sensor": lambda ids: KendraSyncJobSensor(task_id="t", execution_id="job", timeout=300, **ids),
    "sensor deferred": lambda ids: KendraSyncJobSensor(
        task_id="t", started_after="2026-01-01T00:00:00+00:00", deferrable=True, timeout=300, **ids
    ),
    "freshness": lambda ids: KendraDataFreshnessSensor(
        task_id="t",
        index_id=ids["index_id"],
        data_source_ids=ids["data_source_id"],
        fresh_since="2026-01-01T00:00:00+00:00",
        fail_fast=True,
        timeout=300,
        deferrable=True,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("task", TASKS)
def test_no_text_of_the_service_acts_in_a_task(data_source: DataSource, log: Log, task: str, fault: str) -> None:
    run = TaskRun(lambda: TASKS[task](data_source.as_kwargs))
    FAULTS[fault](data_source)
    result = None
    try:
        if "deferred" in task or task in ("list", "metrics", "freshness", "stop", "start"):
            result = run.run()
        else:
            with run.clock.in_place():
                result = run.operator.poke(run.context)
    except Exception as error:
        for each in (error, error.__cause__):
            if each is not None:
                assert_harmless(str(each))
        assert_harmless_traceback(error)
    for line in log.lines:
        assert_harmless(line)
    assert len(json.dumps([run.xcoms.pushed, result if task != "sensor" else None, run.store.kept])) < 150_000


@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_of_the_hook_has_a_traceback_with_lines_of_the_service(
    data_source: DataSource, log: Log, fault: str
) -> None:
    FAULTS[fault](data_source)
    hook = KendraSyncJobsHook()
    for call in (hook.get_sync_job, hook.put_documents):
        more: Any = ("job",) if call == hook.get_sync_job else ("job", [{"Id": "a\n", "Blob": b"x"}])
        try:
            call(*data_source.ids, *more)
        except Exception as error:
            assert_harmless_traceback(error)
    assert all(line.isprintable() for line in log.lines)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "arguments",
    [["jobs", "-v"], ["freshness", "-v"], ["stop", "-v"], ["start", "-v"], ["jobs", "-o", "json"], ["wait", "job"]],
    ids=" ".join,
)
def test_no_text_of_the_service_acts_on_a_terminal(data_source: DataSource, arguments: list[str], fault: str) -> None:
    FAULTS[fault](data_source)
    command, *more = arguments
    ids = data_source.ids[: 1 if command == "freshness" else 2]
    args = cli.make_parser("kendra").parse_args([command, *ids, *more])
    with Clock().in_place(), redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            if command == "wait":
                args.timeout *= 0
            args.func(args)
        except SystemExit:
            pass
    for text in (out.getvalue(), err.getvalue()):
        assert all(line.isprintable() for line in text.split("\n"))
        assert not [line for line in text.splitlines() if line.startswith(FORGED[:10])]
        assert len(text) < 40_000


def test_a_traceback_on_the_terminal_shows_what_was_raised_in_one_line(
    data_source: DataSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(HOSTILE) from OSError(HOSTILE)

    monkeypatch.setattr(KendraSyncJobsHook, "list_sync_jobs", fail)
    args = cli.make_parser("kendra").parse_args(["jobs", *data_source.ids, "-v"])
    with redirect_stderr(io.StringIO()) as err, pytest.raises(SystemExit):
        args.func(args)
    assert "Traceback" in err.getvalue()
    assert all(line.isprintable() for line in err.getvalue().split("\n"))
    assert not [line for line in err.getvalue().split("\n") if line.startswith(FORGED[:10])]


def test_a_record_keeps_the_text_as_data_of_bounded_size() -> None:
    item = {"ExecutionId": "e\n" * 9_000, "Status": "S" * 9_000, "ErrorMessage": "a\nb\ud800\0" + "x" * 5_000_000}
    item |= {"ErrorCode": "c" * 9_000, "DataSourceErrorCode": "d" * 9_000}
    job = SyncJob.from_response(item, index_id="i", data_source_id="d")
    assert job.error_message is not None
    assert job.error_message.startswith("a\nb?\0x")
    assert len(json.dumps(job.to_dict())) < 8_000
    assert SyncJob.from_dict(json.loads(json.dumps(job.to_dict()))) == job


@pytest.mark.parametrize(
    ("sent", "count"), [("9" * 18, int("9" * 18)), ("9" * 19, None), ("9" * 401, None), ("9" * 5_000, None)]
)
def test_a_count_of_absurd_size_is_no_count(sent: str, count: int | None) -> None:
    job = SyncJob.from_response({"Metrics": {"DocumentsFailed": sent}}, index_id="i", data_source_id="d")
    assert job.documents_failed == count


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=2)
    ),
    st.sampled_from(["assume_role_kwargs", "service_config", "external_id", "endpoint_url"]),
)
def test_secrets_are_hidden_whatever_the_extra_of_a_connection_is(value: Any, name: str) -> None:
    connection: Any = SimpleNamespace(
        extra_config={name: value, "external_id": "planted-id"},
        password="planted-password",
        aws_secret_access_key=None,
        aws_session_token=None,
        endpoint_url=None,
        botocore_config=SimpleNamespace(proxies=value),
    )
    error = OSError(5, "planted-password\nforged")
    hide_secrets(error, secrets_of(connection, None))
    make_plain(error)
    assert str(error) == "[Errno 5] ***\\nforged"
