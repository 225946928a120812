"""What many tests share: a data source on the local Kendra, whose fixture `local_kendra` the package's plugin gives."""

from __future__ import annotations

import gc
import inspect
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from weakref import WeakSet

import hypothesis
import pytest
from botocore.client import BaseClient

from airflow_provider_kendra._waiting.threads import DaemonThreads
from airflow_provider_kendra.testing import LocalKendra
from tests.quick_clients import clients_are_made_quickly, templates_are_compiled_once

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has its own Airflow home, which Airflow reads when it is imported.
    home = os.environ.get("AIRFLOW_HOME", os.path.abspath(os.path.join(".airflow", "test")))
    os.environ["AIRFLOW_HOME"] = os.path.join(home, os.environ["PYTEST_XDIST_WORKER"])
    # Only the worker itself is measured: what it starts, such as all of Airflow, would become much slower.
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)

# With CI=true the examples are many, and the same each time, so that a change is judged by what it changes. Elsewhere
# they are few, since the tests are run all day. A slow machine is no failure.
_IS_CI = "CI" in os.environ


def examples(in_ci: int) -> int:
    """How many examples a property test tries that tries so many in CI."""
    return in_ci if _IS_CI else max(10, in_ci // 20)


hypothesis.settings.register_profile("kendra", deadline=None, derandomize=_IS_CI, max_examples=examples(100))
# For make mutation: that a test fails is all that matters, not by which smallest example.
hypothesis.settings.register_profile(
    "mutation",
    deadline=None,
    derandomize=True,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("kendra")

ROLE_ARN = "arn:aws:iam::123456789012:role/kendra"
NEWEST_START = datetime(2026, 1, 31, 6, tzinfo=UTC)


def listed(execution_id: str, status: str | None = "SUCCEEDED", **members: Any) -> dict[str, Any]:
    """One item of ListDataSourceSyncJobs; give more members under the API's names, those that are None are left out."""
    item = {"ExecutionId": execution_id, "Status": status, "StartTime": NEWEST_START, **members}
    return {name: value for name, value in item.items() if value is not None}


def counts(**documents: int) -> dict[str, str]:
    """Metrics as the API sends them: `counts(failed=3)`."""
    return {f"Documents{name.capitalize()}": str(count) for name, count in documents.items()}


_SERVERS = {"_local_kendra_server", "server"}
_LONGEST = {"test_triggerer.py", "test_example_dags.py"}


def _has_integration(config: pytest.Config) -> bool:
    return any("integration" in argument for argument in config.args)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    if _has_integration(config):
        from tests.integration import processes

        processes.share_forkserver()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """More processes than there are cores where tests wait: for the local Kendra, and longer for a real Airflow."""
    has_integration = _has_integration(config)
    has_http = "not http" not in config.option.markexpr
    return min((os.cpu_count() or 1) + (2 if has_integration else 1 if has_http else 0), 8)


class _OrderOfTests:
    """The order in which tests run, found last: after pytest-random-order has shuffled the files."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """
        Begin with the longest files, to end sooner.

        For make mutation begin with the quick tests: most mutants fail one of them, and the others need not run.
        """
        items.sort(key=lambda item: item.path.name not in _LONGEST)
        if config.getoption("hypothesis_profile", None) == "mutation":
            items.sort(key=lambda item: item.get_closest_marker("http") is not None)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_OrderOfTests())


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that speak to a local Kendra over HTTP."""
    for item in items:
        if not _SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.http)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """
    Collect garbage less often.

    Imports and collected tests make a million objects that are never garbage. The garbage collector would traverse them
    again and again, for a fifth of the time that collection takes.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _clients_and_templates_are_made_quickly() -> Iterator[None]:
    """Making them takes a third of the unit tests' CPU otherwise."""
    # The Amazon provider names its caller in the user agent, for which it reads the source of the whole call stack.
    without_stack = SimpleNamespace(isclass=inspect.isclass, stack=lambda: [])
    with (
        clients_are_made_quickly(),
        templates_are_compiled_once(),
        patch("airflow.providers.amazon.aws.hooks.base_aws.inspect", without_stack),
    ):
        yield


@pytest.fixture(autouse=True)
def _pauses_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two attempts neither the hook nor botocore sleeps: the hook's clock jumps."""
    jumped = 0.0

    def sleep(seconds: float) -> None:
        nonlocal jumped
        jumped += seconds

    clock = SimpleNamespace(sleep=sleep, monotonic=lambda: time.monotonic() + jumped)
    monkeypatch.setattr("airflow_provider_kendra.hooks.kendra.time", clock)
    monkeypatch.setattr("botocore.endpoint.time", clock)


@pytest.fixture(autouse=True)
def _no_call_outlasts_its_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A call in a thread of polls that ended later would count as one of the next test's."""
    calls: WeakSet[Future[Any]] = WeakSet()
    submit = DaemonThreads.submit

    def submit_and_record(threads: DaemonThreads, *args: Any, **kwargs: Any) -> Future[Any]:
        calls.add(call := submit(threads, *args, **kwargs))
        return call

    monkeypatch.setattr(DaemonThreads, "submit", submit_and_record)
    yield
    assert not wait(list(calls), timeout=60).not_done


@pytest.fixture(scope="session")
def _local_kendra_server() -> Iterator[LocalKendra]:
    """The server of the package's plugin, or the running one whose URL is given."""
    url = os.environ.get("KENDRA_TEST_SERVER")
    with nullcontext(LocalKendra.attach(url)) if url else LocalKendra() as kendra:
        yield kendra


@cache
def client(url: str, service: str = "kendra") -> Any:
    """A client of the local Kendra, made once: that takes longer than most tests."""
    return LocalKendra.attach(url).client(service)


@contextmanager
def pages_without_jobs_first(pages: int = 2) -> Iterator[None]:
    """Let each history begin with pages that have a token but no jobs, as the service may send them."""
    call_api = BaseClient._make_api_call

    def call(client: Any, operation: str, request: dict[str, Any]) -> Any:
        token = request.get("NextToken", "page-0")
        if operation != "ListDataSourceSyncJobs" or not token.startswith("page-"):
            return call_api(client, operation, request)
        number = int(token.removeprefix("page-"))
        if number < pages:
            return {"History": [], "NextToken": f"page-{number + 1}", "ResponseMetadata": {}}
        return call_api(client, operation, {name: value for name, value in request.items() if name != "NextToken"})

    with patch.object(BaseClient, "_make_api_call", call):
        yield


@dataclass(frozen=True)
class DataSource:
    """A data source on the local Kendra; a sync of it ends when told to."""

    kendra: LocalKendra
    index_id: str
    data_source_id: str

    @property
    def client(self) -> Any:
        """What somebody else speaks to Kendra with."""
        return client(self.kendra.url)

    @property
    def ids(self) -> tuple[str, str]:
        return self.index_id, self.data_source_id

    @property
    def as_kwargs(self) -> dict[str, str]:
        return {"index_id": self.index_id, "data_source_id": self.data_source_id}

    def show(self, *histories: list[dict[str, Any]]) -> None:
        """Show these histories, the next one at each look; the last one stays."""
        self.kendra.set_history(*self.ids, *histories)

    def show_long_history(self, jobs: int, **changed: Mapping[str, Any]) -> None:
        """Show jobs named job-1 (the newest) and so on, an hour apart; other members for some: `job_3={…}`."""
        self.show(
            [
                listed(f"job-{number}", StartTime=NEWEST_START - timedelta(hours=number - 1))
                | dict(changed.get(f"job_{number}", {}))
                for number in range(1, jobs + 1)
            ]
        )

    def set_schedule(self, schedule: str) -> None:
        """Give it a schedule in Kendra; "" for none."""
        self.client.update_data_source(IndexId=self.index_id, Id=self.data_source_id, Schedule=schedule)

    def start(self) -> str:
        """Start a sync as somebody else would."""
        started = self.client.start_data_source_sync_job(IndexId=self.index_id, Id=self.data_source_id)
        return str(started["ExecutionId"])

    def finish(self, status: str = "SUCCEEDED", **told: Any) -> None:
        """End the running sync."""
        self.kendra.finish_sync_job(*self.ids, status, **told)

    def execution_ids(self) -> list[str]:
        """Of all syncs there ever were, newest first."""
        listed = self.client.list_data_source_sync_jobs(IndexId=self.index_id, Id=self.data_source_id)
        return [job["ExecutionId"] for job in listed["History"]]


def _make(kendra: LocalKendra, bucket: str | None = None, **request: Any) -> DataSource:
    ids = kendra._control("make_data_source", bucket=bucket, Name="documents", **request)
    return DataSource(kendra, *ids)


@pytest.fixture
def data_source(local_kendra: LocalKendra) -> DataSource:
    """An S3 data source that has never been synced."""
    local_kendra.set_sync_duration(None)
    configuration = {"S3Configuration": {"BucketName": "documents"}}
    return _make(local_kendra, "documents", Type="S3", RoleArn=ROLE_ARN, Configuration=configuration)


@pytest.fixture
def custom_data_source(local_kendra: LocalKendra) -> DataSource:
    """A CUSTOM data source that has never been synced."""
    return _make(local_kendra, Type="CUSTOM")
