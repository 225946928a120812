"""Measures waits in a bare event loop, as the triggerer's is; run in a process of its own, prints JSON."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from airflow.triggers.base import BaseTrigger

from airflow_provider_kendra.testing import LocalKendra
from tests.benchmarks.loop import LIST, Stalls, maker, rss, run, seen_by_their_logs

JOB = "job"
INTERVAL = 5


def measure(trigger: str, waits: int, intervals: int, url: str, index_id: str, data_source_ids: list[str]) -> Any:
    """
    Measure this many waits on one data source.

    :param trigger: ``ours`` or ``peer``.
    :param waits: How many.
    :param intervals: For how many intervals to look on.
    :param url: The local Kendra.
    :param index_id: The index.
    :param data_source_ids: The data source, and another one that keeps the client alive.
    """
    kendra = LocalKendra.attach(url)
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = kendra.connection_json
    make = maker(trigger, INTERVAL)
    keeper = maker("ours", 3600)(index_id, data_source_ids[1], JOB)
    ids = (index_id, data_source_ids[0])
    with seen_by_their_logs() as seen:
        return asyncio.run(_measure(lambda: make(*ids, JOB), waits, intervals, kendra, ids, keeper, seen))


async def _measure(
    make: Callable[[], BaseTrigger],
    waits: int,
    intervals: int,
    kendra: LocalKendra,
    ids: tuple[str, str],
    keeper: BaseTrigger,
    seen: set[int],
) -> dict[str, float]:
    def calls() -> list[float]:
        return [call.time for call in kendra.calls(LIST) if call.parameters["Id"] == ids[1]]

    client = asyncio.create_task(run(-1, keeper))
    while -1 not in seen:
        await asyncio.sleep(0.01)
    seen.clear()
    gc.collect()
    memory = rss()
    stalls = Stalls()
    watch = asyncio.create_task(stalls.watch())
    await asyncio.sleep(0.2)

    cpu, began = time.process_time(), time.perf_counter()
    tasks = []
    for number in range(waits):
        tasks.append(asyncio.create_task(run(number, make())))
        await asyncio.sleep(0)  # as the triggerer does between two triggers
    while len(seen) < waits:
        await asyncio.sleep(0.005)
    ready, cpu = time.perf_counter() - began, time.process_time() - cpu

    before = len(await asyncio.to_thread(calls))
    # The peer's looks come in bursts, an interval apart: end between two of them.
    await asyncio.sleep((intervals + 0.5) * INTERVAL)
    during = (await asyncio.to_thread(calls))[before - 1 :]
    peak = rss()
    await asyncio.to_thread(kendra.set_history, *ids, [{"ExecutionId": JOB, "Status": "SUCCEEDED"}])
    payloads = await asyncio.gather(*tasks)
    assert all(payload.get("failure") is None and payload.get("status") != "error" for payload in payloads)
    watch.cancel()
    client.cancel()
    return {
        "ready_s": round(ready, 3),
        "cpu_to_ready_s": round(cpu, 3),
        "kb_per_wait": round((peak - memory) / waits / 1000, 1),
        "mb_in_all": round((peak - memory) / 1e6, 1),
        "longest_stall_ms": round(stalls.longest * 1000, 1),
        "calls_per_interval": round((len(during) - 1) / (during[-1] - during[0]) * INTERVAL, 2),
    }


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))), flush=True)
    os._exit(0)  # a thousand clients take a while to be torn down
