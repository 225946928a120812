"""A secret in the connection is revealed nowhere, however a wait ends and whatever is printed."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from airflow_provider_kendra import cli
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._waiting import sources
from airflow_provider_kendra._waiting.index import freshness_index
from airflow_provider_kendra.assets.kendra import create_asset
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
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_3_PLUS
from tests.conftest import DataSource, listed
from tests.task_runs import TaskRun
from tests.virtual_time import VirtualTimeLoop

SECRETS = (
    "planted-secret-key",
    "planted-session-token",
    "planted-external-id",
    "planted-endpoint",
    "planted-proxy",
    "planted-fragment",
)

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
    connection["extra"] |= {"external_id": SECRETS[2]}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    data_source.show([listed("job")])
    return data_source


@pytest.fixture(autouse=True)
def _no_masking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's masking in logs is a second net; what holds here holds without it."""
    for masker in {
        vars(module).get("SecretsMasker") for module in list(sys.modules.values()) if hasattr(module, "__dict__")
    } - {None}:
        monkeypatch.setattr(masker, "add_mask", lambda *args, **kwargs: None)


def assert_none_in(*seen: object) -> None:
    text = "\n".join(each if isinstance(each, str) else repr(each) for each in seen)
    assert [secret for secret in SECRETS if secret in text] == []


TASKS: list[Callable[..., Any]] = [
    lambda ids: KendraStartSyncJobOperator(task_id="task", deferrable=False, timeout=300, **ids),
    lambda ids: KendraStartSyncJobOperator(task_id="task", deferrable=True, timeout=300, **ids),
    lambda ids: KendraStopSyncJobOperator(task_id="task", deferrable=True, timeout=300, **ids),
    lambda ids: KendraSyncJobMetricsOperator(task_id="task", **ids),
    lambda ids: KendraListSyncJobsOperator(task_id="task", **ids),
    lambda ids: KendraSyncJobSensor(task_id="task", execution_id="job", deferrable=True, timeout=300, **ids),
    lambda ids: KendraDataFreshnessSensor(
        task_id="task",
        data_source_ids=ids["data_source_id"],
        **{name: value for name, value in ids.items() if name != "data_source_id"},
        fresh_since="2026-01-01T00:00:00+00:00",
        deferrable=True,
        timeout=300,
    ),
]
NAMES = ["start", "start deferred", "stop", "metrics", "list", "sensor", "freshness"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("make", TASKS, ids=NAMES)
def test_no_task_reveals_a_secret(
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


def proxy(url: str) -> dict[str, Any]:
    return {"proxies": {"http": url}, "retries": {"total_max_attempts": 1}}


NOWHERE = "127.0.0.1:9"
URLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "endpoint": ({"endpoint_url": f"http://me:planted-endpoint@{NOWHERE}"}, {}),
    "endpoint with #": ({"endpoint_url": f"http://me:planted-endpoint#planted-fragment@{NOWHERE}"}, {}),
    "proxy": ({}, proxy(f"http://me:planted-proxy@{NOWHERE}")),
    "proxy with #": ({}, proxy(f"http://me:planted-proxy#planted-fragment@{NOWHERE}")),
    "proxy with # behind a number": ({}, proxy(f"http://me:12#planted-fragment@{NOWHERE}")),
    "proxy without scheme": ({}, proxy(f"me:planted-proxy#planted-fragment@{NOWHERE}")),
    "proxy of the connection": ({"config_kwargs": proxy(f"http://me:planted-proxy@{NOWHERE}")}, {}),
    "proxy of the connection with #": ({"config_kwargs": proxy(f"http://me:planted-proxy#b@{NOWHERE}")}, {}),
}
"""By case, the connection's extra and the botocore_config that hold secrets in a URL where nobody answers."""


def change_extra(monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_AWS_DEFAULT"])
    connection["extra"] |= extra
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("make", TASKS, ids=NAMES)
def test_no_task_reveals_the_user_information_of_a_url(
    source: DataSource,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[dict[str, Any]], Any],
    url: str,
) -> None:
    extra, config = URLS[url]
    change_extra(monkeypatch, extra)
    run = TaskRun(lambda: make({**source.as_kwargs, "botocore_config": config}))
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whichever: it is what it shows that counts
        run.run()
    shown = [*traceback.format_exception(raised.value), repr(pickle.dumps(raised.value.args))]
    # The arguments of a trigger are stored as the author wrote them.
    assert_none_in(*capfd.readouterr(), *shown, run.xcoms.pushed, run.store.kept, repr(run.operator))
    assert_none_in(*(repr(each.trigger) for each in run.deferrals), *(repr(each.kwargs) for each in run.deferrals))


@pytest.mark.parametrize("url", ["http://me:planted-proxy@127.0.0.1:9", "http://me:planted-proxy#b@127.0.0.1:9"])
def test_no_error_reveals_the_proxy_of_the_environment(
    source: DataSource, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", url)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        KendraSyncJobsHook().list_sync_jobs(*source.ids)
    assert_none_in(*traceback.format_exception(raised.value))


def test_an_aws_error_that_quotes_the_request_does_not_reveal_the_session_token(source: DataSource) -> None:
    quoted = "The Canonical String should have been 'POST\n/\nx-amz-security-token:planted-session-token\n\nhost'"
    source.kendra.inject("*", error="SignatureDoesNotMatch", message=quoted)
    with pytest.raises(Exception, match="Canonical") as raised:
        KendraSyncJobsHook().list_sync_jobs(*source.ids)
    assert_none_in(*traceback.format_exception(raised.value), repr(getattr(raised.value, "response", "")))


class RoleRefused(BaseHTTPRequestHandler):
    """An STS that refuses the role, and whose answer quotes what it was sent and forges a line."""

    said = f"no role for {SECRETS[2]} and {SECRETS[0]}&#10;forged"

    def do_POST(self) -> None:
        body = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{self.said}</Message></Error></ErrorResponse>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        pass


def test_an_sts_error_neither_reveals_a_secret_nor_forges_a_line(
    source: DataSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), RoleRefused) as sts:
        threading.Thread(target=sts.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{sts.server_port}")
        role = {"role_arn": "arn:aws:iam::123456789012:role/kendra", "endpoint_url": None}
        change_extra(monkeypatch, role)
        with pytest.raises(Exception, match="no role for") as raised:
            KendraSyncJobsHook().list_sync_jobs(*source.ids)
        sts.shutdown()
    shown = traceback.format_exception(raised.value)
    assert_none_in(*shown, repr(raised.value))
    assert "forged" in "".join(shown)
    assert not [line for line in "".join(shown).splitlines() if line.startswith("forged")]


def test_a_secret_with_characters_that_are_escaped_is_hidden_too(
    source: DataSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error is searched for secrets before it is made plain, which would change them."""
    change_extra(monkeypatch, {"external_id": "planted\u202eexternal\u200bid"})

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no client with planted\u202eexternal\u200bid")

    monkeypatch.setattr("boto3.session.Session.client", fail)
    with pytest.raises(Exception, match="no client with") as raised:
        KendraSyncJobsHook().list_sync_jobs(*source.ids)
    assert "external" not in "".join(str(each) for each in (raised.value, raised.value.__cause__))


def test_asset_events_and_lineage_reveal_no_secret(source: DataSource) -> None:
    event = SimpleNamespace(extra={})
    outlet = create_asset(region="us-east-1", **source.as_kwargs)
    sensor = KendraSyncJobSensor(task_id="task", execution_id="job", outlets=[outlet], **source.as_kwargs)
    run = TaskRun(lambda: sensor)
    outlet_events = MagicMock()
    outlet_events.__getitem__.return_value = event
    sensor.execute({**run.context, "outlet_events": outlet_events})
    assert event.extra["payload"]["sync_jobs"]
    lineage = sensor.get_openlineage_facets_on_complete(None)
    assert_none_in(repr(event), repr(lineage), repr(run.xcoms.pushed))


def test_no_repr_shows_a_configuration(source: DataSource) -> None:
    config = proxy("http://me:planted-proxy@proxy:3128")
    aws = AwsParameters(botocore_config=json.dumps(config))
    index = freshness_index(aws, source.index_id, None)
    own = {"index_id": source.index_id, "botocore_config": config}
    triggers: list[Any] = [
        KendraSyncJobTrigger(data_source_id=source.data_source_id, execution_id="job", **own),
        KendraDataFreshnessTrigger(max_age=60, **own),
        KendraSyncJobEventTrigger(data_source_id=source.data_source_id, **own),
    ]
    watcher = triggers[-1]
    stream = [watcher.shared_stream_key(), watcher.serialize()] if AIRFLOW_V_3_3_PLUS else []  # before, none are logged
    assert_none_in(
        repr(aws), repr(sources.DataSource(aws, *source.ids)), repr(index), repr(index.catalogue),
        *map(repr, triggers), *map(str, triggers), *map(repr, stream),
    )  # fmt: skip
    assert "botocore_config=***" in repr(watcher)


@pytest.mark.parametrize("fault", ["none", "access denied"])
def test_no_watcher_reveals_a_secret(source: DataSource, capfd: pytest.CaptureFixture[str], fault: str) -> None:
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
def test_no_command_reveals_a_secret(
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
