"""Measures waits on a long history without an acceptable job; run in a process of its own, prints JSON."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_kendra._waiting.history import Jobs
from airflow_provider_kendra.sync_job import SyncJob
from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.triggers.kendra import KendraDataFreshnessTrigger, KendraSyncJobTrigger
from tests.benchmarks.loop import LIST, Stalls, run, seen_by_their_logs

INTERVAL = 5


def measure(jobs: int, waits: int, intervals: int, url: str, index_id: str, data_source_id: str) -> Any:
    """
    Measure waits for freshness, each with a cutoff of its own, and one for a job that is not there.

    :param jobs: How many jobs the history has; all of them failed.
    :param waits: How many waits for freshness.
    :param intervals: For how many intervals to look on once all has been read.
    :param url: The local Kendra.
    :param index_id: The index.
    :param data_source_id: The data source.
    """
    kendra = LocalKendra.attach(url)
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = kendra.connection_json
    now = datetime.now(UTC).replace(microsecond=0)
    kendra.set_history(index_id, data_source_id, list(_history(jobs, now)))
    bytes_per_job = _bytes_per_job(jobs, now, index_id, data_source_id)
    with seen_by_their_logs() as seen:
        waited_for = [_started(number * jobs // waits, now) for number in range(waits)]
        return asyncio.run(_measure(kendra, index_id, data_source_id, waited_for, intervals, seen)) | {
            "jobs": jobs,
            "bytes_per_job": bytes_per_job,
        }


def _started(number: int, now: datetime) -> datetime:
    return now - timedelta(minutes=5 * (number + 1))


def _history(jobs: int, now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(jobs):
        started = _started(number, now)
        ended = started + timedelta(minutes=1)
        yield {"ExecutionId": f"{number:036}", "Status": "FAILED", "StartTime": started, "EndTime": ended}


def _bytes_per_job(jobs: int, now: datetime, index_id: str, data_source_id: str) -> int:
    gc.collect()
    tracemalloc.start()
    ids = {"index_id": index_id, "data_source_id": data_source_id}
    kept = Jobs(SyncJob.from_response(item, **ids) for item in _history(jobs, now))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size // len(kept.all)


async def _measure(
    kendra: LocalKendra,
    index_id: str,
    data_source_id: str,
    cutoffs: list[datetime],
    intervals: int,
    seen: set[int],
) -> dict[str, Any]:
    began = time.perf_counter()
    options: dict[str, Any] = {"index_id": index_id, "poll_interval": INTERVAL}
    triggers = [
        KendraDataFreshnessTrigger(data_source_ids=data_source_id, fresh_since=each.isoformat(), **options)
        for each in cutoffs
    ]
    missing = KendraSyncJobTrigger(
        data_source_id=data_source_id, execution_id="missing", not_found_timeout=86_400, **options
    )
    tasks = [asyncio.create_task(run(number, each)) for number, each in enumerate([missing, *triggers])]
    while len(seen) < len(tasks):
        await asyncio.sleep(0.1)
    first_read = time.perf_counter() - began
    await asyncio.sleep(2 * INTERVAL)

    stalls = Stalls()
    watch = asyncio.create_task(stalls.watch())
    before = len(await asyncio.to_thread(kendra.calls, LIST))
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.sleep(intervals * INTERVAL)
    cpu, took = time.process_time() - cpu, time.perf_counter() - began
    calls = len(await asyncio.to_thread(kendra.calls, LIST)) - before
    watch.cancel()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "first_read_s": round(first_read, 1),
        "cpu_percent": round(100 * cpu / took, 1),
        "longest_stall_ms": round(stalls.longest * 1000, 1),
        "calls_per_interval": round(calls / took * INTERVAL, 2),
    }


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))), flush=True)
    os._exit(0)
