"""Measures many waits over many data sources for minutes; run in a process of its own, prints JSON."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from typing import Any

from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.testing.calls import Call
from tests.benchmarks.loop import LIST, Stalls, maker, rss, run, seen_by_their_logs

SAMPLES_PER_S = 2


def measure(
    trigger: str, waits: int, interval: int, ends: tuple[float, float], url: str, sources: list[tuple[str, str]]
) -> Any:
    """
    Measure waits that are spread evenly over data sources, the job of each of which ends at a moment of its own.

    :param trigger: ``ours`` or ``peer``.
    :param waits: How many.
    :param interval: Seconds between looks.
    :param ends: From when to when the jobs end, in seconds after all waits were ready.
    :param url: The local Kendra.
    :param sources: Index and id of each data source.
    """
    kendra = LocalKendra.attach(url)
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = kendra.connection_json
    kendra.set_sync_duration(None)
    client = kendra.client()
    jobs = []
    for index_id, data_source_id in sources:
        job = client.start_data_source_sync_job(IndexId=index_id, Id=data_source_id)
        jobs.append((index_id, data_source_id, job["ExecutionId"]))
    with seen_by_their_logs() as seen:
        result, detected, steady = asyncio.run(_measure(trigger, waits, interval, ends, kendra, jobs, seen))

    ended = [_end_time(client, *job) for job in jobs]
    latencies = [moment - ended[number % len(jobs)] for number, moment in enumerate(detected)]
    calls = [call for call in kendra.calls(LIST) if steady[0] <= call.time < steady[1]]
    return result | {
        "calls_per_interval": round(_calls_per_second(calls) * interval, 2),
        "latency_s": {
            "median": round(statistics.median(latencies), 2),
            "p99": round(statistics.quantiles(latencies, n=100)[98], 2),
        },
    }


def _calls_per_second(calls: list[Call]) -> float:
    """Calls a second and data source, by the time between its first and its last call: where they begin is chance."""
    times: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        times[call.parameters["Id"]].append(call.time)
    return sum(len(each) - 1 for each in times.values()) / sum(each[-1] - each[0] for each in times.values())


async def _measure(
    trigger: str,
    waits: int,
    interval: int,
    ends: tuple[float, float],
    kendra: LocalKendra,
    jobs: list[tuple[str, str, str]],
    seen: set[int],
) -> tuple[dict[str, Any], list[float], tuple[float, float]]:
    async def detect(number: int) -> float:
        payload = await run(number, make(*jobs[number % len(jobs)]))
        assert payload.get("failure") is None, payload
        assert payload.get("status") != "error", payload
        return time.time()

    async def sample() -> None:
        while True:
            series.append((time.time(), rss(), sys.getallocatedblocks()))
            await asyncio.sleep(1 / SAMPLES_PER_S)

    make = maker(trigger, interval)
    gc.collect()
    memory = rss()
    stalls = Stalls()
    series: list[tuple[float, int, int]] = []
    watches = [asyncio.create_task(stalls.watch()), asyncio.create_task(sample())]
    await asyncio.sleep(0.2)

    began = time.time()
    tasks = []
    for number in range(waits):
        tasks.append(asyncio.create_task(detect(number)))
        await asyncio.sleep(0)  # as the triggerer does between two triggers
    while len(seen) < waits:
        await asyncio.sleep(0.005)
    ready = time.time() - began
    # From here on until the first job ends nothing changes: each look finds what the one before did.
    await asyncio.sleep(interval)
    since, cpu = time.time(), time.process_time()
    await asyncio.sleep(ends[0] - interval)
    until, cpu = time.time(), time.process_time() - cpu
    for number, (index_id, data_source_id, _) in enumerate(jobs):
        await asyncio.sleep(until + (ends[1] - ends[0]) * number / len(jobs) - time.time())
        await asyncio.to_thread(kendra.finish_sync_job, index_id, data_source_id)
    detected = await asyncio.gather(*tasks)
    for each in watches:
        each.cancel()

    waiting = [(resident, blocks) for moment, resident, blocks in series if since <= moment < until]
    quarter = len(waiting) // 4
    first, last = (
        [statistics.median(column) for column in zip(*part, strict=True)]
        for part in (waiting[:quarter], waiting[-quarter:])
    )
    peak = max(resident for resident, _ in waiting)
    result = {
        "waits": waits,
        "data_sources": len(jobs),
        "ready_s": round(ready, 2),
        "mb_in_all": round((peak - memory) / 1e6, 1),
        "kb_per_wait": round((peak - memory) / waits / 1000, 1),
        "growth_mb": round((last[0] - first[0]) / 1e6, 2),
        "growth_blocks_percent": round((last[1] / first[1] - 1) * 100, 2),
        "cpu_percent": round(cpu / (until - since) * 100, 1),
        "longest_stall_ms": round(stalls.longest * 1000, 1),
        "baseline_mb": round(memory / 1e6, 1),
        "series": [[round(moment - began, 1), round(resident / 1e6, 1)] for moment, resident, _ in series],
    }
    return result, detected, (since, until)


def _end_time(client: Any, index_id: str, data_source_id: str, execution_id: str) -> float:
    history = client.list_data_source_sync_jobs(IndexId=index_id, Id=data_source_id)["History"]
    end: float = next(item for item in history if item["ExecutionId"] == execution_id)["EndTime"].timestamp()
    return end


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))), flush=True)
    os._exit(0)  # hundreds of clients take a while to be torn down
