"""Measures a wait beside others whose endpoint accepts and never answers; run in a process of its own, prints JSON."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import threading
import time
from itertools import pairwise
from typing import Any

from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.triggers.kendra import KendraSyncJobTrigger
from tests.benchmarks.loop import LIST, run, seen_by_their_logs

CONNECTION = "hung"


class Endpoint:
    """Takes requests and never answers; notes which data sources they are about."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.asked: set[str] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._server.accept()
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        request = b""
        while data := connection.recv(65536):
            request += data
            if found := re.search(rb'"Id": ?"([^"]+)"', request):
                self.asked.add(found[1].decode())


def measure(hung: int, interval: float, seconds: float, timeout: float, url: str, ids: tuple[str, str]) -> Any:
    """
    Measure one wait on a data source that answers, beside waits on others of another connection that does not.

    :param hung: How many data sources hang.
    :param interval: Seconds between polls.
    :param seconds: For how long to look on.
    :param timeout: The time-out, in seconds, of every other wait that hangs.
    :param url: The local Kendra.
    :param ids: Index and data source.
    """
    kendra = LocalKendra.attach(url)
    endpoint = Endpoint()
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = kendra.connection_json
    connection = json.loads(kendra.connection_json)
    connection["extra"]["endpoint_url"] = endpoint.url
    os.environ[f"AIRFLOW_CONN_{CONNECTION.upper()}"] = json.dumps(connection)

    def trigger(data_source_id: str, **arguments: Any) -> KendraSyncJobTrigger:
        return KendraSyncJobTrigger(
            index_id=ids[0], data_source_id=data_source_id, execution_id="job", poll_interval=interval, **arguments
        )

    triggers = {
        f"hung-{number}": trigger(f"hung-{number}", aws_conn_id=CONNECTION, timeout=timeout if number % 2 else None)
        for number in range(hung)
    }
    triggers["healthy"] = trigger(ids[1])
    _ = KendraSyncJobsHook._of(AwsParameters()).conn  # importing boto3 is not what is measured
    with seen_by_their_logs():
        counted = asyncio.run(_measure(triggers, endpoint, seconds))
    began = counted.pop("began")
    calls = [call.time for call in kendra.calls(LIST) if call.parameters["Id"] == ids[1]]
    return {
        "hung": hung,
        "interval_s": interval,
        "first_poll_s": round(calls[0] - began, 2) if calls else seconds,
        "longest_pause_s": round(max((later - earlier for earlier, later in pairwise(calls)), default=seconds), 2),
        "polls": len(calls),
        **counted,
    }


async def _measure(triggers: dict[str, KendraSyncJobTrigger], endpoint: Endpoint, seconds: float) -> dict[str, Any]:
    began = time.time()
    tasks = {name: asyncio.create_task(run(0, trigger)) for name, trigger in triggers.items()}
    without_poll: set[str] = set()
    most_threads = 0
    while time.time() < began + seconds:
        await asyncio.sleep(0.1)
        most_threads = max(most_threads, sum(each.name.startswith("kendra-poll") for each in threading.enumerate()))
        without_poll |= {name for name, task in tasks.items() if task.done() and name not in endpoint.asked}
    return {
        "began": began,
        "timed_out": sum(task.done() for task in tasks.values()),
        "timed_out_without_poll": len(without_poll),
        "threads_at_most": most_threads,
    }


if __name__ == "__main__":
    # All waits have been cancelled; calls that still hang must not keep the process.
    print(json.dumps(measure(**json.loads(sys.argv[1])) | {"ended_at": time.time()}), flush=True)
