"""A connection that is not what its author means never becomes a call with the credentials of the machine."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock
from urllib.parse import quote

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_kendra import cli
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra.exceptions import KendraRequestError
from airflow_provider_kendra.hooks._aws_errors import without_secrets
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import (
    KendraListSyncJobsOperator,
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor
from airflow_provider_kendra.triggers.kendra import (
    KendraDataFreshnessTrigger,
    KendraSyncJobEventTrigger,
    KendraSyncJobTrigger,
)
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS
from tests.conftest import DataSource, listed
from tests.task_runs import TaskRun
from tests.virtual_time import run_in_virtual_time

SECRET = "planted0secret"
PAIR = {"login": "AKIAPLANTED", "password": SECRET}
KEYS = {"aws_access_key_id": "AKIAPLANTED", "aws_secret_access_key": SECRET}
ROLE = "arn:aws:iam::123456789012:role/kendra"


def encoded(**members: Any) -> str:
    return json.dumps({"conn_type": "aws", **members})


REFUSED = {
    "of another service": (encoded(**PAIR, conn_type="postgres"), "'postgres'"),
    "of another service of AWS": (encoded(conn_type="emr"), "'emr'"),
    "another service's URI": (f"http://me:{SECRET}@example.com", "'http'"),
    "extra that is no JSON": (encoded(**PAIR, extra=f"{{'role_arn': '{SECRET}'}}"), "not a valid JSON object"),
    "extra that is a list": (encoded(extra='["role_arn"]'), "not a valid JSON object"),
    "extra encoded twice": (encoded(extra=json.dumps(json.dumps({"role_arn": ROLE}))), "not a valid JSON object"),
    "extra of a URI that is no JSON": (f"aws://?__extra__={quote('{role_arn')}", "not a valid JSON object"),
    "broken JSON": (encoded(**PAIR)[:-1], "AIRFLOW_CONN_OTHER"),
    "JSON encoded twice": (json.dumps(encoded(**PAIR)), "AIRFLOW_CONN_OTHER"),
    "a list": (f"[{encoded(**PAIR)}]", "AIRFLOW_CONN_OTHER"),
    "text that is no URI": ("eu-west-1", "AIRFLOW_CONN_OTHER"),
    "a URI that Python rejects": (f"aws://AKIAPLANTED:{SECRET} \u2100@/?__extra__=x", "AIRFLOW_CONN_OTHER"),
    "a URI with half an IPv6 address": (f"aws://AKIAPLANTED:{SECRET}@[bad/", "AIRFLOW_CONN_OTHER"),
    "a URI without its scheme": (f"AKIAPLANTED:{SECRET}@/?region_name=us-east-1", "AIRFLOW_CONN_OTHER"),
    "a URI whose password has a slash": (f"aws://AKIAPLANTED:123/{SECRET}@/?region_name=us-east-1", "percent-encoded"),
    **{
        f"a URI whose password begins with {start!r} before an unencoded character": (
            f"aws://AKIAPLANTED:{start}{SECRET}@/?region_name=us-east-1",
            "percent-encoded: / in a password is %2F, # is %23, ? is %3F.",
        )
        for start in (f"{SECRET}/", f"{SECRET}#", f"{SECRET}?", "123#", "123?", "123456/", "/", "#", "?", "a:b/")
    },
    "a URI whose password has two slashes": (f"aws://AKIAPLANTED:{SECRET}/a/b@/?region_name=us-east-1", "%2F"),
    "a URI whose password is not followed by @": (f"aws://AKIAPLANTED:{SECRET}", "the @ after the password is missing"),
    "a host and a port that may be a login and the start of a password": (
        encoded(host="AKIAPLANTED", port=123),
        "leave host, port and schema out",
    ),
    **{
        f"{name} in the {place} that is {value!r}": (
            encoded(extra={**KEYS, name: value} if place == "its extra" else {"session_kwargs": {**KEYS, name: value}}),
            f"has {name} in {place} of type {type(value).__name__}, but it must be text",
        )
        for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        for place in ("its extra", "session_kwargs of its extra")
        for value in (90125, [SECRET], True)
    },
    **{
        f"{name} that is {value!r}": (
            encoded(**{**PAIR, name: value}),
            f"has {name} of type {type(value).__name__}, but it must be text. Put it in double quotes.",
        )
        for name in PAIR
        for value in (90125, [SECRET])
    },
    "login without password": (encoded(login="AKIAPLANTED"), "login without a password"),
    "password without login": (encoded(password=SECRET), "password without a login"),
    "half a pair in the extra": (
        encoded(extra={"aws_secret_access_key": SECRET}),
        "aws_secret_access_key without aws_access_key_id",
    ),
    "half a pair in session_kwargs": (
        encoded(extra={"session_kwargs": {"aws_access_key_id": "AKIAPLANTED"}}),
        "aws_access_key_id without aws_secret_access_key",
    ),
    **{
        f"{name} with {odd!r} at its {end}": (
            encoded(**{**PAIR, name: odd + PAIR[name] if end == "start" else PAIR[name] + odd}),
            f"another character that credentials do not have, in its {name}",
        )
        for name in PAIR
        for odd in ("\n", " ", "\0", "\u200b", "€")
        for end in ("start", "end")
    },
    **{
        f"{name} with a line break": (
            encoded(**PAIR, extra={name: f"{SECRET}\n"}),
            f"another character that credentials do not have, in its {name}",
        )
        for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    },
    "a session token with a line break in session_kwargs": (
        encoded(**PAIR, extra={"session_kwargs": {"aws_session_token": f"{SECRET}\n"}}),
        "another character that credentials do not have, in its aws_session_token",
    ),
    "a session token in a URI whose + is not percent-encoded": (
        f"aws://AKIAPLANTED:{SECRET}@/?aws_session_token={SECRET}+x",
        "another character that credentials do not have, in its aws_session_token",
    ),
    "a session token alone": (encoded(extra={"aws_session_token": SECRET}), "aws_session_token without"),
    **{
        f"{name} that is {value!r}": (encoded(**PAIR, extra={name: value}), name)
        for name in ("role_arn", "profile_name")
        for value in ("", " ", 5, False, [ROLE], {})
    },
    "role_arn that a template left as None": (encoded(extra={"role_arn": "None"}), "role_arn"),
    "role_arn that is no ARN": (encoded(extra={"role_arn": "kendra"}), "role_arn"),
    "a host without a type": (encoded(conn_type="", host="eu-west-1"), "URI without aws://"),
    **{
        f"{name} without role_arn": (encoded(**PAIR, extra={name: {"RoleArn": ROLE}}), f"{name} without role_arn")
        for name in ("assume_role_kwargs", "assume_role_with_saml", "assume_role_method")
    },
    **{
        f"{name}, which is not read": (encoded(extra={name: SECRET}), f"{name} in its extra")
        for name in ("profile", "s3_config_file", "aws_account_id", "aws_iam_role", "extra", "extra__aws__role_arn")
    },
    **{
        f"{name} in session_kwargs": (encoded(extra={"session_kwargs": {name: SECRET}}), f"{name} in its extra")
        for name in ("profile_name", "role_arn")
    },
    "proxies that are no mapping": (encoded(**PAIR, extra={"config_kwargs": {"proxies": SECRET}}), "proxies"),
    "a quote in the password of an endpoint": (
        encoded(**PAIR, extra={"endpoint_url": f"http://me:a'{SECRET}@localhost"}),
        "endpoint_url",
    ),
    "a # in the password of a service's endpoint": (
        encoded(**PAIR, extra={"service_config": {"kendra": {"endpoint_url": f"http://me:a#{SECRET}@localhost"}}}),
        "endpoint_url",
    ),
}
"""By case, the text of a connection's environment variable, and what the error says."""

NO_CONNECTIONS: dict[str, Any] = {"no text": "", "blank": "  ", "the text None": "None", "a number": 5, "false": False}


@pytest.fixture
def source(data_source: DataSource, monkeypatch: pytest.MonkeyPatch) -> DataSource:
    """A data source that the machine's own identity would reach."""
    data_source.show([listed("job")])
    for name, value in {
        "AWS_ACCESS_KEY_ID": "of-the-machine",
        "AWS_SECRET_ACCESS_KEY": "of-the-machine",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_KENDRA": data_source.kendra.url,
    }.items():
        monkeypatch.setenv(name, value)
    return data_source


def refusal_of(source: DataSource, act: Callable[[], Any]) -> str:
    """The error that an act ends with before any call, with its traceback."""
    before = source.kendra.call_count()
    with pytest.raises((KendraRequestError, ValueError)) as refused:
        act()
    assert source.kendra.call_count() == before
    shown = "".join(traceback.format_exception(refused.value))
    assert SECRET not in shown
    return str(refused.value)


def fresh(source: DataSource) -> dict[str, Any]:
    return {"index_id": source.index_id, "data_source_ids": source.data_source_id, "max_age": 60}


TASKS: dict[str, Callable[..., Any]] = {
    "start": lambda source, **more: KendraStartSyncJobOperator(task_id="t", **source.as_kwargs, **more),
    "start, deferred": lambda source, **more: KendraStartSyncJobOperator(
        task_id="t", **source.as_kwargs, deferrable=True, **more
    ),
    "stop": lambda source, **more: KendraStopSyncJobOperator(task_id="t", **source.as_kwargs, **more),
    "metrics": lambda source, **more: KendraSyncJobMetricsOperator(task_id="t", **source.as_kwargs, **more),
    "list": lambda source, **more: KendraListSyncJobsOperator(task_id="t", **source.as_kwargs, **more),
    "poke": lambda source, **more: KendraSyncJobSensor(
        task_id="t", **source.as_kwargs, execution_id="job", timeout=300, **more
    ),
    "reschedule": lambda source, **more: KendraSyncJobSensor(
        task_id="t", **source.as_kwargs, execution_id="job", timeout=300, mode="reschedule", **more
    ),
    "deferred": lambda source, **more: KendraSyncJobSensor(
        task_id="t", **source.as_kwargs, execution_id="job", timeout=300, deferrable=True, **more
    ),
    "freshness": lambda source, **more: KendraDataFreshnessSensor(task_id="t", **fresh(source), timeout=300, **more),
    "freshness, deferred": lambda source, **more: KendraDataFreshnessSensor(
        task_id="t", **fresh(source), timeout=300, deferrable=True, **more
    ),
}

# A task that starts from its trigger has no worker before it.
TRIGGERS: dict[str, Callable[..., Any]] = {
    "sync job": lambda source, **more: KendraSyncJobTrigger(
        **source.as_kwargs, execution_id="job", timeout=300, **more
    ),
    "freshness": lambda source, **more: KendraDataFreshnessTrigger(**fresh(source), timeout=300, **more),
}


def event_of(trigger: Any) -> Any:
    async def first() -> Any:
        async for event in trigger.run():
            return event.payload

    return run_in_virtual_time(first())


@pytest.mark.parametrize("case", REFUSED)
def test_a_hook_refuses_a_connection_that_loses_its_identity(
    source: DataSource, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    value, said = REFUSED[case]
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", value)
    message = refusal_of(source, lambda: KendraSyncJobsHook("other").list_sync_jobs(*source.ids))
    assert "'other'" in message
    assert said in message


@pytest.mark.parametrize("value", NO_CONNECTIONS.values(), ids=NO_CONNECTIONS)
def test_a_hook_takes_only_none_for_the_credentials_of_the_machine(source: DataSource, value: Any) -> None:
    for act in (
        lambda hook: hook.list_sync_jobs(*source.ids),
        lambda hook: hook.start_sync_job(*source.ids),
        lambda hook: hook.get_session(),
    ):
        hook = KendraSyncJobsHook(aws_conn_id=value)
        message = refusal_of(source, lambda act=act, hook=hook: act(hook))
        assert "aws_conn_id" in message
        assert repr(value) in message


BAD = {
    **{f"aws_conn_id {case}": ({"aws_conn_id": value}, "") for case, value in NO_CONNECTIONS.items()},
    "of another service": ({"aws_conn_id": "other"}, encoded(conn_type="postgres")),
    "extra that is no JSON": ({"aws_conn_id": "other"}, encoded(extra="{")),
    "half a pair": ({"aws_conn_id": "other"}, encoded(login="AKIAPLANTED")),
    "no role": ({"aws_conn_id": "other"}, encoded(extra={"role_arn": ""})),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("task", TASKS)
def test_a_task_refuses_it_before_any_call(
    source: DataSource, monkeypatch: pytest.MonkeyPatch, case: str, task: str
) -> None:
    arguments, value = BAD[case]
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", value or "aws://")
    run = TaskRun(lambda: TASKS[task](source, **arguments))
    if task == "reschedule" and not AIRFLOW_V_3_0_PLUS:
        pytest.skip("Airflow 2 keeps reschedules in its database: test_modes compares this mode there")
    # What a sensor in reschedule mode asks its task instance for.
    monkeypatch.setattr(run.xcoms, "get_first_reschedule_date", lambda context: None, raising=False)
    monkeypatch.setattr(run.xcoms, "start_date", None, raising=False)
    message = refusal_of(source, run.run)
    assert repr(arguments["aws_conn_id"]) in message


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_refuses_it_before_any_call(
    source: DataSource, monkeypatch: pytest.MonkeyPatch, case: str, trigger: str
) -> None:
    arguments, value = BAD[case]
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", value or "aws://")
    before = source.kendra.call_count()
    event = event_of(TRIGGERS[trigger](source, **arguments))
    assert event["failure"] == "refused", event
    assert repr(arguments["aws_conn_id"]) in event["message"]
    assert source.kendra.call_count() == before


@pytest.mark.parametrize("case", BAD)
def test_a_watcher_refuses_it_before_any_call(source: DataSource, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """It has no task to fail, so it goes on trying where the connection may be corrected."""
    arguments, value = BAD[case]
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", value or "aws://")
    before = source.kendra.call_count()

    async def watch() -> list[Any]:
        async with asyncio.timeout(200):
            return [event async for event in KendraSyncJobEventTrigger(**source.as_kwargs, **arguments).run()]

    with pytest.raises((TimeoutError, ValueError)):
        run_in_virtual_time(watch())
    assert source.kendra.call_count() == before


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('to "http://me:pa#ss@host/x"', 'to "http://***@host/x"'),
        ("proxy me:word@host:3128.", "proxy ***@host:3128."),
        ("arn:aws:sts::1:assumed-role/kendra/me@example.com", "arn:aws:sts::1:assumed-role/kendra/me@example.com"),
        ("X-Amz-Security-Token:abc\nhost", "X-Amz-Security-Token:***\nhost"),
        ("a" * 2_000_000, "a" * 2_000_000),
        ("/" * 2_000_000, "/" * 2_000_000),
    ],
    ids=["URL", "no scheme", "ARN", "session token", "long", "long with slashes"],
)
def test_user_information_and_session_tokens_are_replaced_in_linear_time(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def run_command(*arguments: str) -> int:
    args = cli.make_parser("kendra").parse_args(arguments)
    try:
        args.func(args)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(
    ("typed", "value"),
    [("None", ""), ("  ", ""), *(("other", value) for value, _ in REFUSED.values())],
    ids=["the text None", "blank", *REFUSED],
)
def test_a_command_refuses_it_before_any_call(
    source: DataSource, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, value: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", value or "aws://")
    before = source.kendra.call_count()
    assert run_command("jobs", *source.ids, "--aws-conn-id", typed) == 2
    assert source.kendra.call_count() == before
    written = "".join(capsys.readouterr())
    assert f"'{typed}'" in written
    assert SECRET not in written


def test_a_command_asks_for_the_credentials_of_the_machine_with_an_empty_name(source: DataSource) -> None:
    assert run_command("jobs", *source.ids, "--aws-conn-id", "") == 0


ACCEPTED = {
    "type in capitals": encoded(**PAIR, conn_type="AWS"),
    "no type": json.dumps(PAIR),
    "an empty type": encoded(**PAIR, conn_type=""),
    "no credentials": encoded(),
    "a URI without anything": "aws://",
    "credentials in the extra": encoded(extra={"aws_access_key_id": "AKIAPLANTED", "aws_secret_access_key": SECRET}),
    "a login that is a note, credentials in the extra": encoded(
        login="a note", extra={"aws_access_key_id": "AKIAPLANTED", "aws_secret_access_key": SECRET}
    ),
    "a port without a host": encoded(port=443),
    "the port of a server, without a login": encoded(host="kendra.us-east-1.amazonaws.com", port=443),
    "a local port, without a login": "aws://localhost:5005/?region_name=us-east-1",
    "a host whose name begins like a key": encoded(host="asia-proxy.example.com"),
    "a port beside credentials in the extra": encoded(port=443, extra=KEYS),
    "members that are null": encoded(**PAIR, extra={"role_arn": None, "profile_name": None}),
    "an extra that is blank": encoded(**PAIR, extra=" "),
    "a URI with a percent-encoded password": f"aws://AKIAPLANTED:12%2F{SECRET}@/?region_name=us-east-1",
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_connection_that_says_what_it_means_is_used(
    source: DataSource, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", ACCEPTED[case])
    try:
        AwsBaseHook.get_connection("other")
    except AirflowNotFoundException:
        pytest.skip("this Airflow rejects the connection itself")
    assert KendraSyncJobsHook._of(AwsParameters("other")).list_sync_jobs(*source.ids)


def test_a_connection_in_the_environment_that_airflow_calls_undefined_is_called_unreadable(
    source: DataSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow 3.1 says "not defined" of one whose extra it cannot parse."""
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", encoded(**PAIR, extra="{"))
    monkeypatch.setattr(BaseHook, "get_connection", MagicMock(side_effect=AirflowNotFoundException("no such")))
    hook = KendraSyncJobsHook._of(AwsParameters("other"))
    assert "not a valid JSON object" in refusal_of(source, lambda: hook.list_sync_jobs(*source.ids))
