"""Threads for calls that may hang, and tasks in an empty context."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from functools import partial
from threading import Condition, Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")


T = TypeVar("T")


MAX_CALLS = 8
"""The maximum number of concurrent AWS calls of a client; botocore's connection pool holds 10."""


IDLE = 5.0
"""Seconds until an idle thread ends."""


class DaemonThreads(Executor):
    """
    Runs calls in a bounded number of daemon threads, which are started as needed and end when idle.

    ``ThreadPoolExecutor`` keeps its threads forever, and Python waits for them at exit, however long a call hangs.

    :param most: The maximum number of concurrent calls; further ones are queued.
    :param name: The name of the threads.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = Condition()
        self._threads = self._idle = 0
        self._is_shut_down = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call in a thread, now or as soon as one is free."""
        future: Future[T] = Future()
        with self._changed:
            if self._is_shut_down:
                raise RuntimeError("The threads have been shut down.")
            if len(self._waiting) >= self._idle and self._threads < self._most:
                Thread(target=self._work, name=self._name, daemon=True).start()
                self._threads += 1
            self._waiting.append((future, partial(fn, *args, **kwargs)))
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """Accept no more calls; the threads end after the queued ones. Never blocks."""
        with self._changed:
            self._is_shut_down = True
            for future, _ in self._waiting if cancel_futures else ():
                future.cancel()
            self._changed.notify_all()

    def _work(self) -> None:
        while (waiting := self._next()) is not None:
            future, call = waiting
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
            del waiting, future, call  # an idle thread must not keep a client alive

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._is_shut_down, IDLE)
            self._idle -= 1
            if self._waiting:
                return self._waiting.popleft()
            self._threads -= 1
            return None


def call_within(seconds: float, call: Callable[[], T]) -> T:
    """
    Make a call in a daemon thread, and give it up after some seconds.

    botocore's read time-out limits only the gap between two reads, so a slow response can take any length of time.

    :param seconds: The time.
    :param call: The call.
    :raises TimeoutError: after that time. The call itself runs on until it ends; if ``seconds`` is 0 or less, it is not
        started.
    """
    if seconds <= 0:
        raise TimeoutError
    thread = DaemonThreads(1, "kendra-call")
    try:
        return thread.submit(call).result(seconds)
    finally:
        thread.shutdown()


def in_empty_context(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task outside the log context of the current wait."""
    return asyncio.get_running_loop().create_task(coroutine, context=contextvars.Context())
