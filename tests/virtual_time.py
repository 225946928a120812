"""An event loop whose clock jumps instead of waiting, for tests of what takes minutes and hours."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Any, TypeVar
from unittest.mock import patch

T = TypeVar("T")

PATIENCE = 60.0
"""Real seconds without any event after which a test has got stuck."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """
    Runs as asyncio's own loop does, but when nothing is ready its time jumps to the next timer.

    Time stands still while a call runs in an executor: calls over HTTP really happen, and take no time.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._calls = 0
        self._is_holding = True
        self._hanging: list[threading.Event] = []
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds

    @property
    def is_held(self) -> bool:
        """Whether a call in an executor holds the time."""
        return self._is_holding and self._calls > 0

    def hold_no_more(self) -> None:
        """Let time go on while calls run; for a call that hangs on purpose, from whatever thread."""
        self._is_holding = False
        self.call_soon_threadsafe(lambda: None)

    def hold_again(self) -> None:
        """Let time stand still again while calls run."""
        self._is_holding = True

    def hang(self, seconds: float) -> None:
        """Let the call that runs in this thread take so long, while time goes on."""
        over = threading.Event()
        self._hanging.append(over)

        def begin() -> None:
            self._calls -= 1
            self.call_later(seconds, end)

        def end() -> None:
            self._calls += 1
            over.set()

        self.call_soon_threadsafe(begin)
        over.wait()

    def close(self) -> None:
        super().close()
        for over in self._hanging:
            over.set()

    def call_at(self, when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        if isnan(when):
            raise ValueError("A timer at no time: it would spoil the order of all others")
        return super().call_at(when, *args, **kwargs)

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)
        self._calls += 1
        future.add_done_callback(self._release)
        return future

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        self._calls += 1
        await super().shutdown_default_executor(*args, **kwargs)
        self._release()

    def _release(self, _: object = None) -> None:
        self._calls -= 1


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        is_stuck_if_idle = timeout is None or (timeout > 0 and self._loop.is_held)
        ready = super().select(PATIENCE if is_stuck_if_idle else 0)
        if not ready and is_stuck_if_idle:
            raise RuntimeError(f"Nothing has happened for {PATIENCE} s: the test waits for what will not come")
        if not ready and timeout is not None and timeout > 0:
            self._loop.jump(timeout)
        return ready


@contextmanager
def _clock_of(loop: VirtualTimeLoop, began: datetime) -> Iterator[None]:
    def utcnow() -> datetime:
        return began + timedelta(seconds=loop.time())

    with patch("airflow_provider_kendra._clock.utcnow", utcnow):
        yield


def async_log(log: Callable[[str], object]) -> Callable[..., Coroutine[Any, Any, None]]:
    """Take the lines of a wait in an event loop with a plain function."""

    async def write(line: str, level: str = "info") -> None:
        log(line)

    return write


def run_in_virtual_time(main: Coroutine[Any, Any, T], began: datetime | None = None) -> T:
    """Run it to its end on a loop of its own, with the package's clock following the loop's, by default from now on."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        with _clock_of(loop, began or datetime.now(UTC)):
            return runner.run(main)
