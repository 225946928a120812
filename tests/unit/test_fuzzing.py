"""Whatever comes from outside, it ends in a result or in an error with a name."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, TaskDeferred
from botocore.awsrequest import AWSResponse
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_kendra import cli
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._decisions import Waiting
from airflow_provider_kendra._waiting.conditions import sync_job_condition
from airflow_provider_kendra._waiting.sources import DataSource
from airflow_provider_kendra._waiting.wait import poll_once
from airflow_provider_kendra.exceptions import KendraError
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import (
    KendraListSyncJobsOperator,
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.outcomes import Failed, Satisfied, freshness_from_event, outcome_from_event
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor
from airflow_provider_kendra.sync_job import SyncJob
from airflow_provider_kendra.triggers.kendra import KendraDataFreshnessTrigger, KendraSyncJobTrigger
from tests.conftest import examples
from tests.task_runs import Clock, TaskRun
from tests.virtual_time import VirtualTimeLoop

INDEX_ID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
IDS = (INDEX_ID, "documents")
SOURCE = DataSource(AwsParameters(), *IDS)
CONDITION = sync_job_condition(
    execution_id="job",
    started_after=None,
    target_statuses=("SUCCEEDED",),
    max_documents_failed=None,
    not_found_timeout=1e9,
    since=datetime(2026, 1, 1, tzinfo=UTC),
)

# One function serves all examples of a test: what it holds of the example before is no concern here.
settings.register_profile("fuzzing", settings.get_profile("kendra"), suppress_health_check=list(HealthCheck))
fuzzed = settings(settings.get_profile("fuzzing"), max_examples=examples(50))

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["SUCCEEDED", "FAILED", "12", "1e9", 1.7e9, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=6,
)


def record(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Something that has these members, or only some, or is no such thing."""
    return st.fixed_dictionaries({}, optional={name: value | ANYTHING for name, value in members.items()}) | ANYTHING


STATUS = st.sampled_from(["SUCCEEDED", "SYNCING", "INCOMPLETE"])
JOB = record(
    ExecutionId=st.just("job"),
    Status=STATUS,
    StartTime=st.floats(0, 2e9),
    EndTime=st.floats(0, 2e9),
    ErrorCode=st.text(),
    Metrics=record(DocumentsAdded=st.just("3"), DocumentsFailed=st.just("0")),
)
ANSWER = record(
    History=st.lists(JOB, max_size=3),
    SummaryItems=st.lists(record(Id=st.just("documents"), Status=st.just("ACTIVE")), max_size=3),
    FailedDocuments=st.lists(record(Id=st.just("document"), ErrorCode=st.just("InternalError")), max_size=3),
    NextToken=st.text(),
    ExecutionId=st.text(),
    Type=st.text(),
    __type=st.just("ValidationException"),
    message=st.text(),
)


class Wire:
    """Stands between botocore and the network: each request gets this answer."""

    body = b"{}"
    status = 200

    def __call__(self, request: Any, **kwargs: Any) -> AWSResponse:
        headers = {"content-type": "application/x-amz-json-1.1", "content-length": str(len(self.body))}
        return AWSResponse(request.url, self.status, headers, self)

    def stream(self, **kwargs: Any) -> Iterator[bytes]:
        yield self.body


@pytest.fixture(scope="module")
def wire() -> Wire:
    return Wire()


@pytest.fixture(scope="module")
def hook(wire: Wire) -> Iterator[KendraSyncJobsHook]:
    connection = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": {"region_name": "us-east-1"}}
    with pytest.MonkeyPatch.context() as patch, Clock().in_place():
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        hook = KendraSyncJobsHook(config={"retries": {"total_max_attempts": 1}})
        for client in (hook.conn, hook._single_attempt_client):
            client.meta.events.register("before-send", wire)
        yield hook


def read_jobs(hook: KendraSyncJobsHook) -> None:
    for job in hook.list_sync_jobs(*IDS, limit=20):
        assert SyncJob.from_dict(json.loads(json.dumps(job.to_dict()))) == job


@pytest.mark.parametrize(
    "call",
    [
        read_jobs,
        lambda hook: [each["Id"] for each in hook.list_data_sources(INDEX_ID)],
        lambda hook: hook.describe_data_source(*IDS),
        lambda hook: hook.start_sync_job(*IDS),
        lambda hook: hook.stop_sync_job(*IDS),
        lambda hook: hook.put_documents(*IDS, "job", [{"Id": "document", "Blob": b"text"}]),
    ],
    ids=["list", "list data sources", "describe", "start", "stop", "put"],
)
@given(answer=ANSWER, status=st.sampled_from([200, 200, 200, 400, 500]))
@fuzzed
def test_an_answer_is_read_or_refused_with_a_named_error(
    hook: KendraSyncJobsHook, wire: Wire, call: Callable[[KendraSyncJobsHook], object], answer: Any, status: int
) -> None:
    wire.body, wire.status = json.dumps(answer).encode(), status
    with contextlib.suppress(KendraError, ClientError, BotoCoreError):
        call(hook)


@given(body=st.binary(max_size=200) | ANSWER.map(lambda answer: json.dumps(answer).encode()[:-3]))
@fuzzed
def test_a_response_that_is_not_json_never_ends_a_wait(hook: KendraSyncJobsHook, wire: Wire, body: bytes) -> None:
    wire.body, wire.status = b"{" + body, 200
    assert isinstance(poll_once(hook, SOURCE, CONDITION, Waiting()), Waiting)


@given(answers=st.lists(ANSWER, min_size=1, max_size=5))
@fuzzed
def test_any_history_leads_to_a_decision(hook: KendraSyncJobsHook, wire: Wire, answers: list[Any]) -> None:
    seen: Any = Waiting()
    for answer in answers:
        wire.body, wire.status = json.dumps(answer).encode(), 200
        seen = poll_once(hook, SOURCE, CONDITION, seen)
        assert isinstance(seen, Waiting | Satisfied | Failed)


def first_event(trigger: Any) -> Any:
    """What the trigger fires, or None if it still waits after two minutes."""

    async def run() -> Any:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(130):
                async for event in trigger.run():
                    return json.loads(json.dumps(event.payload))
        return None

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner, Clock().following(runner.get_loop()):
        return runner.run(run())


@pytest.mark.parametrize(
    ("trigger", "arguments", "read"),
    [
        (
            KendraSyncJobTrigger,
            {
                "data_source_id": "documents",
                "execution_id": "job",
                "started_after": None,
                "target_statuses": ["SUCCEEDED"],
                "not_found_timeout": 120.0,
            },
            outcome_from_event,
        ),
        (
            KendraDataFreshnessTrigger,
            {
                "data_source_ids": ["documents"],
                "max_age": None,
                "fresh_since": "2026-01-01T00:00:00+00:00",
                "measured_by": "start_time",
                "accepted_statuses": ["SUCCEEDED"],
            },
            freshness_from_event,
        ),
    ],
    ids=["sync job", "freshness"],
)
@given(data=st.data())
@fuzzed
def test_a_trigger_fires_an_outcome_whatever_its_arguments_are(
    hook: KendraSyncJobsHook,
    wire: Wire,
    trigger: Callable[..., Any],
    arguments: dict[str, Any],
    read: Callable[[Any], object],
    data: st.DataObject,
) -> None:
    wire.body = json.dumps({"History": [{"ExecutionId": "job", "Status": "SUCCEEDED", "StartTime": 1.8e9}]}).encode()
    wire.status = 200
    common = {
        "index_id": INDEX_ID,
        "max_documents_failed": None,
        "poll_interval": 60.0,
        "timeout": 600.0,
        "waiting_since": None,
    }
    wrong = data.draw(st.dictionaries(st.sampled_from([*arguments, *common]), ANYTHING, min_size=1, max_size=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_kendra.hooks.kendra.KendraSyncJobsHook._of", lambda _: hook)
        if (event := first_event(trigger(**common | arguments | wrong))) is not None:
            read(event)


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (KendraStartSyncJobOperator, {"data_source_id": "documents", "deferrable": True}),
        (KendraStopSyncJobOperator, {"data_source_id": "documents", "deferrable": True}),
        (KendraSyncJobMetricsOperator, {"data_source_id": "documents"}),
        (KendraListSyncJobsOperator, {"data_source_id": "documents"}),
        (KendraSyncJobSensor, {"data_source_id": "documents", "execution_id": "job", "timeout": 0}),
        (KendraDataFreshnessSensor, {"data_source_ids": ["documents"], "max_age": 3600, "timeout": 0}),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
@given(data=st.data())
@fuzzed
def test_a_template_that_renders_to_whatever_ends_in_a_named_error(
    hook: KendraSyncJobsHook, wire: Wire, operator: Callable[..., Any], arguments: dict[str, Any], data: st.DataObject
) -> None:
    wire.body = json.dumps({"History": [{"ExecutionId": "job", "Status": "SUCCEEDED", "StartTime": 1.8e9}]}).encode()
    wire.status = 200
    task = operator(task_id="task", index_id=INDEX_ID, **arguments)
    fields = [name for name in task.template_fields if name not in task.aws_template_fields]
    for name, value in data.draw(st.dictionaries(st.sampled_from(fields), ANYTHING, min_size=1, max_size=2)).items():
        setattr(task, name, value)
    run = TaskRun(lambda: task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_kendra.hooks.kendra.KendraSyncJobsHook._of", lambda _: hook)
        with contextlib.suppress(AirflowException, ValueError, TaskDeferred, ClientError, BotoCoreError):
            run.execute()


FLAGS = {flag for command in cli.COMMANDS for arg in command.args for flag in arg.flags if flag.startswith("-")}
OPTIONS = sorted(FLAGS - {"--verbose", "-v"})  # with it there is a traceback
WORDS = st.text(max_size=6) | st.sampled_from(["documents", "job", "6h", "3", "json", "2026-01-31T06:00:00Z"])


@given(
    command=st.sampled_from(["jobs", "freshness", "start", "stop", "wait"]),
    arguments=st.lists(
        WORDS | st.sampled_from([each for each in OPTIONS if each not in ("--file", "--verbose", "-v")])
    ),
)
@fuzzed
def test_a_command_ends_with_a_status_whatever_it_is_given(
    hook: KendraSyncJobsHook, wire: Wire, command: str, arguments: list[str]
) -> None:
    wire.body = json.dumps({"History": [{"ExecutionId": "job", "Status": "SUCCEEDED", "StartTime": 1.8e9}]}).encode()
    wire.status = 200
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as said,
        contextlib.suppress(SystemExit),
    ):
        patch.setattr("airflow_provider_kendra.hooks.kendra.KendraSyncJobsHook._of", lambda _: hook)
        args = cli.make_parser("kendra").parse_args([command, *([INDEX_ID, "documents"][: len(arguments)]), *arguments])
        args.func(args)
    assert "Traceback" not in said.getvalue()
