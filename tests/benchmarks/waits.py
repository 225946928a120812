"""Measures waits in a bare event loop, as the triggerer's is; run in a process of its own, prints JSON."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow.triggers.base import BaseTrigger

from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.triggers.kendra import KendraSyncJobTrigger

LIST = "ListDataSourceSyncJobs"
JOB = "job"
INTERVAL = 5

_number: contextvars.ContextVar[int | None] = contextvars.ContextVar("number", default=None)


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
    source = {"index_id": index_id, "data_source_id": data_source_ids[0]}
    make: Callable[[], BaseTrigger]
    if trigger == "ours":
        make = lambda: KendraSyncJobTrigger(**source, execution_id=JOB, poll_interval=INTERVAL)  # noqa: E731
    else:
        from tests.benchmarks.peer import PeerTrigger

        make = lambda: PeerTrigger(**source, waiter_delay=INTERVAL)  # noqa: E731
    keeper = KendraSyncJobTrigger(
        index_id=index_id, data_source_id=data_source_ids[1], execution_id=JOB, poll_interval=3600
    )
    with _seen_by_their_logs() as seen:
        return asyncio.run(_measure(make, waits, intervals, kendra, (index_id, data_source_ids[0]), keeper, seen))


async def _measure(
    make: Callable[[], BaseTrigger],
    waits: int,
    intervals: int,
    kendra: LocalKendra,
    ids: tuple[str, str],
    keeper: BaseTrigger,
    seen: set[int],
) -> dict[str, float]:
    async def run(number: int, trigger: BaseTrigger) -> Any:
        _number.set(number)
        async for event in trigger.run():
            return event.payload

    def calls() -> list[float]:
        return [call.time for call in kendra.calls(LIST) if call.parameters["Id"] == ids[1]]

    client = asyncio.create_task(run(-1, keeper))
    while -1 not in seen:
        await asyncio.sleep(0.01)
    seen.clear()
    gc.collect()
    memory = _rss()
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
    await asyncio.sleep(intervals * INTERVAL)
    during = (await asyncio.to_thread(calls))[before - 1 :]
    peak = _rss()
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


class Stalls:
    """
    How long the event loop was not free at a stretch, by what runs in it.

    Pauses of the garbage collector do not count, nor does the time in which other processes had the CPU.
    """

    TICK = 0.002

    def __init__(self) -> None:
        self.longest = 0.0
        self._collecting = self._began = 0.0
        gc.callbacks.append(self._on_collection)

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self._collecting += time.perf_counter() - self._began

    async def watch(self) -> None:
        while True:
            began, excused = time.perf_counter(), self._collecting + _waited_for_cpu()
            await asyncio.sleep(self.TICK)
            stalled = time.perf_counter() - began - self.TICK
            self.longest = max(self.longest, stalled - (self._collecting + _waited_for_cpu() - excused))


def _waited_for_cpu() -> float:
    """How long this thread could have run and was not let, in seconds."""
    with open("/proc/thread-self/schedstat") as file:
        return int(file.read().split()[1]) / 1e9


@contextmanager
def _seen_by_their_logs() -> Iterator[set[int]]:
    """The numbers of the waits that have logged something, which each does on its first look."""
    import structlog

    seen: set[int] = set()

    def take(*_: Any) -> Any:
        if (number := _number.get()) is not None:
            seen.add(number)
        raise structlog.DropEvent

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (number := _number.get()) is not None and "wait" in record.name:
                seen.add(number)

    structlog.configure(processors=[take], wrapper_class=structlog.stdlib.BoundLogger, cache_logger_on_first_use=False)
    logging.basicConfig(handlers=[Handler()], level=logging.INFO, force=True)
    yield seen


def _rss() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))), flush=True)
    os._exit(0)  # a thousand clients take a while to be torn down
