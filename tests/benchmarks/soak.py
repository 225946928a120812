"""Sends waits in waves through one poller and looks for what stays behind; run in a process of its own, prints JSON."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from typing import Any

from botocore.client import BaseClient

from airflow_provider_kendra._waiting.client import MAX_CALLS
from airflow_provider_kendra._waiting.poller import Poller
from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.triggers.kendra import KendraSyncJobTrigger
from tests.benchmarks.loop import Stalls, maker, rss, run, seen_by_their_logs

INTERVAL = 1
TIMEOUT = 3


def measure(waits: int, waves: int, url: str, index_id: str, data_source_ids: list[str]) -> Any:
    """
    Measure what waits leave behind: of each three one ends with its job, one is cancelled, one times out.

    :param waits: How many a wave.
    :param waves: How many waves.
    :param url: The local Kendra.
    :param index_id: The index.
    :param data_source_ids: The data sources; the first one keeps the poller alive between the waves.
    """
    kendra = LocalKendra.attach(url)
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = kendra.connection_json
    with seen_by_their_logs() as seen:
        return asyncio.run(_measure(waits, waves, kendra, index_id, data_source_ids, seen))


async def _measure(
    waits: int, waves: int, kendra: LocalKendra, index_id: str, data_source_ids: list[str], seen: set[int]
) -> dict[str, Any]:
    keeps, *data_source_ids = data_source_ids
    files = _files()
    began = time.perf_counter()
    keeper = asyncio.create_task(run(-1, maker("ours", 3600)(index_id, keeps, "job")))
    while -1 not in seen:
        await asyncio.sleep(0.01)
    poller = Poller.of_running_loop()
    stalls = Stalls()

    outcomes: Counter[str] = Counter()
    memory, between = [], []
    threads: list[int] = []
    for wave in range(waves):
        watches = [asyncio.create_task(each) for each in (stalls.watch(), _count_threads(threads))]
        outcomes += await _wave(wave, waits, kendra, index_id, data_source_ids)
        for watch in watches:
            watch.cancel()  # what follows holds the loop
        await asyncio.wait(watches)
        gc.collect()
        assert Poller.of_running_loop() is poller
        between.append((len(poller._polls), _clients()))
        # glibc keeps what threads have freed: the first forty boto3 clients that are made and closed leave 35 MB of it.
        # What it cannot give back, since it is scattered, makes RSS creep: so what is in use is counted, too.
        ctypes.CDLL(None).malloc_trim(0)
        memory.append((rss(), sys.getallocatedblocks(), _malloced()))
    seconds = time.perf_counter() - began

    keeper.cancel()
    await asyncio.wait([keeper])
    del keeper  # a task that was cancelled holds the frames in which it was
    leftovers = await _leftovers(files)
    return {
        "waits": waits * waves,
        "waves": waves,
        "seconds": round(seconds, 1),
        "outcomes": dict(sorted(outcomes.items())),
        "unexpected": sum((outcomes - _expected(waits, waves, len(data_source_ids))).values()),
        "threads_at_most": max(threads),
        # Each client has one more, in which it is made; there is that of the wave, and that which outlasts the waves.
        "threads_allowed": 2 * (MAX_CALLS + 1),
        "polls_between_waves": max(polls for polls, _ in between),
        "clients_between_waves": max(clients for _, clients in between),
        "mb_after_first_wave": round(memory[0][0] / 1e6, 1),
        "mb_after_last_wave": round(memory[-1][0] / 1e6, 1),
        "growth_blocks_percent": round((memory[-1][1] / memory[0][1] - 1) * 100, 2),
        "growth_malloced_mb": round((memory[-1][2] - memory[0][2]) / 1e6, 2),
        "series": [[number, round(resident / 1e6, 1)] for number, (resident, *_) in enumerate(memory, start=1)],
        "longest_stall_ms": round(stalls.longest * 1000, 1),
        "left": leftovers,
    }


async def _wave(wave: int, waits: int, kendra: LocalKendra, index_id: str, data_source_ids: list[str]) -> Counter[str]:
    execution_id = f"wave-{wave}"

    def show(*statuses: str) -> None:
        for number, each in enumerate(data_source_ids):
            item = {"ExecutionId": execution_id, "Status": statuses[number % len(statuses)]}
            kendra.set_history(index_id, each, [item])

    await asyncio.to_thread(show, "SYNCING")
    chance = random.Random(wave)
    loop = asyncio.get_running_loop()
    ended: list[asyncio.Task[Any]] = []
    others: list[asyncio.Task[Any]] = []
    for number in range(waits):
        trigger = KendraSyncJobTrigger(
            index_id=index_id,
            data_source_id=data_source_ids[number // 3 % len(data_source_ids)],
            execution_id=execution_id,
            poll_interval=INTERVAL,
            timeout=TIMEOUT if number % 3 == 2 else None,
            botocore_config={"user_agent_extra": execution_id},  # so that each wave has a client of its own
        )
        task = asyncio.create_task(run(number, trigger))
        (others if number % 3 else ended).append(task)
        if number % 3 == 1:
            loop.call_later(chance.uniform(0, TIMEOUT), task.cancel)
        await asyncio.sleep(0)  # as the triggerer does between two triggers
    await asyncio.wait(others)
    await asyncio.to_thread(show, "SUCCEEDED", "FAILED")
    await asyncio.wait(ended)
    return Counter(
        "cancelled" if task.cancelled() else task.result()["failure"] or "satisfied" for task in ended + others
    )


def _expected(waits: int, waves: int, data_sources: int) -> Counter[str]:
    ends = Counter[str]()
    for number in range(waits):
        kind = number % 3
        good = number // 3 % data_sources % 2 == 0
        ends["cancelled" if kind == 1 else "timed_out" if kind == 2 else "satisfied" if good else "not_acceptable"] += 1
    return Counter({name: count * waves for name, count in ends.items()})


async def _count_threads(counts: list[int]) -> None:
    """Count them during a wave: those without work end soon after it."""
    while True:
        counts.append(len(_threads()))
        await asyncio.sleep(0.05)


async def _leftovers(files: int) -> dict[str, int]:
    """What is there that was not there before; what only needs a moment to end is given one."""
    for _ in range(50):
        gc.collect()
        left = {
            "tasks": len(asyncio.all_tasks()) - 1,
            "threads": len(_threads()),
            "clients": _clients(),
            "file_descriptors": _files() - files,
            "pollers": len(Poller._of_loop),
        }
        if not any(left.values()):
            break
        await asyncio.sleep(0.1)
    return left


def _threads() -> list[threading.Thread]:
    """All but this one and those of the loop's own executor, which reaches the local Kendra's levers here."""
    return [
        each
        for each in threading.enumerate()
        if each is not threading.current_thread() and not each.name.startswith("asyncio_")
    ]


def _clients() -> int:
    return sum(issubclass(type(each), BaseClient) for each in gc.get_objects())


class _Mallinfo(ctypes.Structure):
    """See mallinfo2(3)."""

    _fields_ = tuple((f"size{number}", ctypes.c_size_t) for number in range(10))


def _malloced() -> int:
    """Bytes in use of those that malloc gave: native code's, and Python's objects above 512 bytes."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    info = mallinfo()
    used: int = info.size7 + info.size4  # uordblks and hblkhd: in the heaps, and mapped on their own
    return used


def _files() -> int:
    return len(os.listdir("/proc/self/fd"))


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
