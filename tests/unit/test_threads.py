"""Calls run in bounded daemon threads that end when idle."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait

import pytest

from airflow_provider_kendra._waiting import threads
from airflow_provider_kendra._waiting.threads import DaemonThreads, call_within

NAME = "kendra-test"


@pytest.fixture
def executor() -> Iterator[DaemonThreads]:
    executor = DaemonThreads(3, NAME)
    yield executor
    executor.shutdown()
    join_all()


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def join_all() -> None:
    for thread in running():
        thread.join(30)
    assert running() == []


def test_a_call_gives_its_result_or_its_error(executor):
    assert executor.submit(pow, 2, 3).result(30) == 8
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result(30)


def test_calls_beyond_the_bound_wait_for_their_turn_in_order(executor):
    gate = threading.Event()
    began: list[int] = []

    def call(number: int) -> None:
        began.append(number)
        gate.wait(30)

    calls = [executor.submit(call, number) for number in range(20)]
    assert len(running()) == 3
    gate.set()
    wait(calls, 30)
    assert sorted(began) == list(range(20))


def test_a_thread_that_is_free_is_used_again(executor):
    for _ in range(50):
        executor.submit(int).result(30)
    assert len(running()) <= 3


def test_idle_threads_end_and_others_come_when_needed(executor, monkeypatch):
    monkeypatch.setattr(threads, "IDLE", 0.01)
    wait([executor.submit(int) for _ in range(9)], 30)
    join_all()
    assert executor.submit(int).result(30) == 0


def test_threads_never_keep_the_process_from_exiting(executor):
    executor.submit(int).result(30)
    assert all(thread.daemon for thread in running())


def test_after_shutdown_what_waits_still_runs_and_nothing_more_is_taken(executor):
    gate = threading.Event()
    calls = [executor.submit(gate.wait, 30) for _ in range(5)]
    executor.shutdown()
    with pytest.raises(RuntimeError):
        executor.submit(int)
    gate.set()
    assert all(call.result(30) for call in calls)


def test_shutdown_can_cancel_what_waits():
    executor = DaemonThreads(1, NAME)
    gate, begun = threading.Event(), threading.Event()
    calls = [executor.submit(lambda: begun.set() or gate.wait(30)) for _ in range(2)]
    begun.wait(30)
    executor.shutdown(cancel_futures=True)
    gate.set()
    assert calls[0].result(30)
    with pytest.raises(CancelledError):
        calls[1].result(30)
    join_all()


@pytest.mark.parametrize("seconds", [0, -0.1])
def test_a_call_for_which_no_time_is_left_is_not_begun(seconds):
    begun: list[bool] = []
    with pytest.raises(TimeoutError):
        call_within(seconds, lambda: begun.append(True))
    assert begun == []
