"""What hangs or fails on one connection delays nobody else: over HTTP and in virtual time."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from airflow_provider_kendra import _clock
from airflow_provider_kendra._waiting import client as poll_client
from airflow_provider_kendra._waiting import poller
from airflow_provider_kendra._waiting.conditions import freshness_condition
from airflow_provider_kendra._waiting.freshness import wait_until_fresh
from airflow_provider_kendra._waiting.index import freshness_index
from airflow_provider_kendra._waiting.threads import MAX_CALLS
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.outcomes import Failed, Failure, Satisfied
from airflow_provider_kendra.triggers.kendra import connect
from tests.conftest import DataSource, listed
from tests.unit.test_polling import AWS, RUNNING, SUCCEEDED, cancel, look_up_with, until, wait
from tests.virtual_time import VirtualTimeLoop, async_log, run_in_virtual_time

HUNG = replace(AWS, aws_conn_id="hung")

HANGS = 10.0
"""How long, in seconds, a call hangs before it is given up."""


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("kendra-poll")]


class Calls:
    """When the calls for each data source began, and how many threads there were."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self.most_threads = 0

    def pages(self, hook: KendraSyncJobsHook, *ids: str, **filters: Any) -> Iterator[Any]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        return self._pages(loop, hook, *ids, **filters)

    def _pages(self, loop: VirtualTimeLoop, hook: KendraSyncJobsHook, *ids: str, **filters: Any) -> Iterator[Any]:
        self.times[ids[1]].append(loop.time())
        self.most_threads = max(self.most_threads, len(threads()))
        if ids[1].startswith("hung"):
            loop.hang(HANGS)
            raise ReadTimeoutError(endpoint_url="https://kendra", error="It never answered.")
        yield from _iter_pages(hook, *ids, **filters)


_iter_pages = KendraSyncJobsHook._iter_pages


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, data_source: DataSource) -> Calls:
    calls = Calls()
    monkeypatch.setattr(KendraSyncJobsHook, "_iter_pages", lambda hook, *ids, **more: calls.pages(hook, *ids, **more))
    monkeypatch.setattr(poller, "random", SimpleNamespace(uniform=lambda low, high: high))
    monkeypatch.setenv("AIRFLOW_CONN_HUNG", data_source.kendra.connection_json)
    return calls


def hung(source: DataSource, number: int) -> DataSource:
    return replace(source, data_source_id=f"hung-{number}")


def running_loop() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


def test_calls_that_hang_on_one_connection_delay_no_poll_on_another(data_source, calls):
    data_source.show(RUNNING)

    async def main() -> None:
        others = [wait(hung(data_source, number), aws=HUNG) for number in range(48)]
        waiting = wait(data_source)
        await until(400)
        await cancel(waiting, *others)

    run_in_virtual_time(main())
    assert calls.times[data_source.data_source_id] == [0, 60, 120, 180, 240, 300, 360]
    assert calls.most_threads <= 2 * (MAX_CALLS + 1)


def test_a_wait_whose_job_had_succeeded_never_times_out_without_a_poll_of_its_own(data_source, calls):
    data_source.show(SUCCEEDED)

    async def main() -> None:
        others = [wait(hung(data_source, number), timeout=30) for number in range(200)]
        assert isinstance(await wait(data_source, timeout=1), Satisfied)
        outcomes = await asyncio.gather(*others)
        assert {outcome.failure for outcome in outcomes} == {Failure.TIMED_OUT}

    run_in_virtual_time(main())
    assert all(calls.times[f"hung-{number}"] for number in range(200))


def test_a_freshness_wait_never_times_out_without_a_poll_of_its_own(data_source, calls):
    data_source.show([listed("job")])

    async def main() -> None:
        others = [wait(hung(data_source, number), timeout=30) for number in range(200)]
        await asyncio.sleep(0)
        outcome = await wait_until_fresh(
            freshness_index(AWS, data_source.index_id, [data_source.data_source_id]),
            freshness_condition(
                max_age=None,
                fresh_since="2020-01-01T00:00:00+00:00",
                measured_by="start_time",
                accepted_statuses=["SUCCEEDED"],
                max_documents_failed=None,
                fail_fast=False,
            ),
            interval=60,
            deadline=_clock.utcnow(),
            log=async_log(lambda line: None),
            connect=connect,
        )
        assert not isinstance(outcome, Failed), outcome
        await cancel(*others)

    run_in_virtual_time(main())


def test_a_data_source_is_polled_in_good_time_though_many_on_its_connection_hang(data_source, calls):
    data_source.show(RUNNING)

    async def main() -> None:
        others = [wait(hung(data_source, number)) for number in range(48)]
        waiting = wait(data_source)
        await until(3600)
        await cancel(waiting, *others)

    run_in_virtual_time(main())
    times = calls.times[data_source.data_source_id]
    assert times[0] <= 48 / MAX_CALLS * HANGS
    # Those that are known to hang leave threads free.
    assert {later - earlier for earlier, later in pairwise(times[1:])} == {60}
    assert calls.most_threads <= MAX_CALLS + 1


def test_a_look_up_that_hangs_delays_no_poll_on_another_connection(data_source, calls, monkeypatch):
    data_source.show(RUNNING)
    loops: list[VirtualTimeLoop] = []

    def look_up(true: Callable[[], Any]) -> Any:
        connection = true()
        if "hung" in connection.conn_id:
            loops[0].hang(1000)
        return connection

    look_up_with(monkeypatch, look_up)
    for number in range(20):
        monkeypatch.setenv(f"AIRFLOW_CONN_HUNG_{number}", data_source.kendra.connection_json)

    async def main() -> None:
        loops.append(running_loop())
        others = [wait(data_source, aws=replace(AWS, aws_conn_id=f"hung_{number}")) for number in range(20)]
        waiting = wait(data_source)
        await until(200)
        await cancel(waiting, *others)
        await asyncio.sleep(1000)

    run_in_virtual_time(main())
    assert calls.times[data_source.data_source_id] == [0, 60, 120, 180]


def test_a_client_stays_in_use_while_its_renewal_hangs_or_fails(data_source, calls, monkeypatch):
    data_source.show(RUNNING)
    loops: list[VirtualTimeLoop] = []
    look_ups: list[float] = []

    def look_up(true: Callable[[], Any]) -> Any:
        look_ups.append(loops[0].time())
        if len(look_ups) == 2:
            loops[0].hang(1000)
        if len(look_ups) in (2, 3):
            raise TimeoutError
        return true()

    look_up_with(monkeypatch, look_up)

    async def main() -> None:
        loops.append(running_loop())
        waiting = wait(data_source)
        await until(2500)
        assert not waiting.done()
        await cancel(waiting)

    run_in_virtual_time(main())
    times = calls.times[data_source.data_source_id]
    assert max(later - earlier for earlier, later in pairwise(times)) <= 60 + poll_client.RENEWAL_TIMEOUT
    assert look_ups[:2] == [0, poll_client.CLIENT_LIFETIME]
    assert len(look_ups) == 4


def test_threads_go_with_the_last_wait_of_their_client(data_source, calls, monkeypatch):
    data_source.show(RUNNING)
    for number in range(30):
        monkeypatch.setenv(f"AIRFLOW_CONN_AWS_{number}", data_source.kendra.connection_json)

    async def main() -> None:
        waits = [wait(data_source, aws=replace(AWS, aws_conn_id=f"aws_{number}")) for number in range(30)]
        await until(100)
        await cancel(*waits)

    run_in_virtual_time(main())
    for thread in threads():
        thread.join(30)
        assert not thread.is_alive()


def test_the_poller_makes_one_short_attempt_unless_the_author_says_otherwise(data_source):
    def config(**given: Any) -> Any:
        return poll_client._make_polling_hook(
            KendraSyncJobsHook._of, replace(AWS, botocore_config=json.dumps(given))
        ).conn.meta.config

    assert (config().retries["total_max_attempts"], config().connect_timeout, config().read_timeout) == (1, 5, 10)
    assert config(retries={"total_max_attempts": 4}).retries["total_max_attempts"] == 4
    assert (config(read_timeout=70).read_timeout, config(read_timeout=70).retries["total_max_attempts"]) == (70, 1)


SCRIPT = """
import asyncio, json, os, socket
from airflow_provider_kendra import _clock
from airflow_provider_kendra._waiting import sources
from airflow_provider_kendra._waiting import wait as waits
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._waiting.conditions import ExecutionFinished
from airflow_provider_kendra.sync_job import Acceptance
from airflow_provider_kendra.triggers.kendra import connect

server = socket.create_server(("127.0.0.1", 0), backlog=100)
os.environ["AIRFLOW_CONN_HUNG"] = json.dumps({
    "conn_type": "aws", "login": "a", "password": "b",
    "extra": {
        "region_name": "us-east-1",
        "endpoint_url": f"http://127.0.0.1:{server.getsockname()[1]}",
        "config_kwargs": {"read_timeout": 600},
    },
})

async def show(line):
    print(line)

async def main():
    for number in range(48):
        source = sources.DataSource(AwsParameters(aws_conn_id="hung"), "i" * 36, f"source-{number}")
        condition = ExecutionFinished("job", Acceptance(), 120, _clock.utcnow())
        waiting.append(asyncio.create_task(
            waits.wait_for(source, condition, interval=60, deadline=None, log=show, connect=connect)
        ))
    connections.append(await asyncio.to_thread(server.accept))

waiting, connections = [], []
asyncio.run(main())
print("leaving")
"""


@pytest.mark.slow
def test_the_process_exits_though_calls_hang():
    """They would for ten minutes, and Python waits at exit for the threads of its own executors."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "leaving" in done.stdout
