"""What the measurements in an event loop share: how a wait runs, what it costs the loop and the process."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow.triggers.base import BaseTrigger

from airflow_provider_kendra.triggers.kendra import KendraSyncJobTrigger

LIST = "ListDataSourceSyncJobs"

_number: contextvars.ContextVar[int | None] = contextvars.ContextVar("number", default=None)


def maker(trigger: str, interval: float) -> Callable[[str, str, str], BaseTrigger]:
    """
    Give what makes a trigger for an index, a data source and a sync job.

    :param trigger: ``ours`` or ``peer``.
    :param interval: Seconds between looks.
    """
    if trigger == "ours":
        return lambda index_id, data_source_id, execution_id: KendraSyncJobTrigger(
            index_id=index_id, data_source_id=data_source_id, execution_id=execution_id, poll_interval=interval
        )
    from tests.benchmarks.peer import PeerTrigger

    return lambda index_id, data_source_id, _: PeerTrigger(
        index_id=index_id, data_source_id=data_source_id, waiter_delay=int(interval)
    )


async def run(number: int, trigger: BaseTrigger) -> Any:
    """Run a trigger to its end, as the triggerer does, and give the payload of its event."""
    _number.set(number)
    payload = None
    async for event in trigger.run():
        payload = event.payload
    return payload


@contextmanager
def seen_by_their_logs() -> Iterator[set[int]]:
    """The numbers of the waits that have logged something, which each does on its first look."""
    import structlog

    seen: set[int] = set()

    def take(logger: Any, *_: Any) -> Any:
        # What it logs of its connection comes before the look.
        if (number := _number.get()) is not None and "connection" not in logger.name:
            seen.add(number)
        raise structlog.DropEvent

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (number := _number.get()) is not None and "wait" in record.name:
                seen.add(number)

    structlog.configure(processors=[take], wrapper_class=structlog.stdlib.BoundLogger, cache_logger_on_first_use=False)
    logging.basicConfig(handlers=[Handler()], level=logging.INFO, force=True)
    yield seen


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


def rss() -> int:
    """The memory that this process holds, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
