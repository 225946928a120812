"""In real Airflow: what a StatsD server gets."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_3_PLUS
from tests.integration import processes
from tests.integration.conftest import MakeHome

pytestmark = pytest.mark.slow

pytest.importorskip("statsd")  # Airflow's extra of the same name

SOURCES = ("WORKER", "DEFERRED", "CUSTOM")


class Metric(NamedTuple):
    """A datagram of StatsD, with tags as InfluxDB writes them."""

    name: str
    tags: dict[str, str]
    value: float
    kind: str

    @classmethod
    def parse(cls, datagram: str) -> Metric:
        name, value, kind = re.fullmatch(r"(.+):([^:|]+)\|(\w+)", datagram).groups()  # type: ignore[union-attr]
        name, *tags = name.split(",")
        return cls(name, dict(tag.split("=") for tag in tags), float(value), kind)


class Run(NamedTuple):
    """What became of the tasks, and what the server got."""

    sources: dict[str, str]
    states: dict[str, str]
    metrics: list[Metric]

    def of(self, name: str) -> list[Metric]:
        return [metric for metric in self.metrics if metric.name == f"airflow.kendra.{name}"]


def received(server: socket.socket) -> list[str]:
    datagrams = []
    while True:
        try:
            datagrams += server.recv(65_536).decode().splitlines()
        except BlockingIOError:
            return datagrams


def run(make_home: MakeHome, home: Path, port: int) -> tuple[dict[str, str], dict[str, Any]]:
    with LocalKendra() as kendra:
        kendra.set_sync_duration(0.5)
        kendra.client("s3").create_bucket(Bucket="documents")
        kendra.client("s3").put_object(Bucket="documents", Key="a.txt", Body=b"A")
        index_id = kendra.create_index()
        sources = {name: kendra.create_s3_data_source(index_id, "documents", name=name) for name in SOURCES[:2]}
        sources["CUSTOM"] = kendra.create_custom_data_source(index_id)
        environment = processes.environment(
            make_home(home),
            AIRFLOW__CORE__DAGS_FOLDER=str(processes.ROOT / "tests" / "integration" / "dags"),
            AIRFLOW_CONN_AWS_DEFAULT=kendra.connection_json,
            AIRFLOW__METRICS__STATSD_ON="True",
            AIRFLOW__METRICS__STATSD_HOST="127.0.0.1",
            AIRFLOW__METRICS__STATSD_PORT=str(port),
            AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED="True",
            AIRFLOW__METRICS__METRICS_ALLOW_LIST="kendra",
            KENDRA_INDEX_ID=index_id,
            **{f"KENDRA_{name}": source for name, source in sources.items()},
        )
        report = home / "report.json"
        # Triggers run in a triggerer of its own where the test's runner can have one.
        options = ["--triggerer"] if AIRFLOW_V_3_3_PLUS else []
        command = ("tests.integration.run_dag", "metrics", str(report), *options)
        if AIRFLOW_V_3_3_PLUS:
            done = processes.run(*command, env=environment, output=home / "output")
        else:  # it reads the settings of metrics when it is imported
            done = processes.run_unforked(*command, env=environment)
    print(done.output[-20_000:])
    assert done.returncode == 0, f"run_dag ended with {done.returncode}; its output is above"
    return {"index_id": index_id, **sources}, json.loads(report.read_text())


@pytest.fixture(scope="module")
def sent(make_home: MakeHome, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        sources, tasks = run(make_home, tmp_path_factory.mktemp("metrics"), server.getsockname()[1])
        metrics = [Metric.parse(datagram) for datagram in received(server)]
    return Run(sources, {task_id: task["state"] for task_id, task in tasks.items()}, metrics)


def test_every_task_succeeds(sent: Run) -> None:
    assert set(sent.states.values()) == {"success"}


def test_each_sync_is_counted_once_by_the_start_or_stop_that_ends_with_it(sent: Run) -> None:
    counted = sent.of("sync_job.finished")
    finished = [(metric.tags["data_source_id"], metric.tags["status"], metric.value) for metric in counted]
    assert sorted(finished) == sorted((sent.sources[name], "SUCCEEDED", 1) for name in SOURCES)
    assert {metric.kind for metric in counted} == {"c"}


def test_each_sync_reports_its_duration_in_milliseconds_and_its_documents(sent: Run) -> None:
    durations = sent.of("sync_job.duration")
    assert Counter(metric.tags["data_source_id"] for metric in durations) == {sent.sources[name]: 1 for name in SOURCES}
    assert all(metric.kind == "ms" and 100 < metric.value < 600_000 for metric in durations)
    scanned = {metric.tags["data_source_id"]: metric.value for metric in sent.of("sync_job.documents_scanned")}
    assert scanned == {sent.sources["WORKER"]: 1, sent.sources["DEFERRED"]: 1}  # Kendra reports none for CUSTOM


def test_the_gate_reports_an_age_and_the_polls_their_delay(sent: Run) -> None:
    ages = sent.of("data_source.age")
    assert {(metric.tags["data_source_id"], metric.kind) for metric in ages} == {(sent.sources["WORKER"], "g")}
    assert all(0 <= metric.value < 3600 for metric in ages)
    polled = {metric.tags["data_source_id"] for metric in sent.of("poll.delay")}
    assert polled == {sent.sources[name] for name in SOURCES}
    assert sent.of("poll.errors") == []


def test_every_metric_has_the_index_as_a_tag(sent: Run) -> None:
    ours = [metric for metric in sent.metrics if metric.name.startswith("airflow.kendra.")]
    assert {metric.tags["index_id"] for metric in ours} == {sent.sources["index_id"]}
