"""Runs an operator as Airflow does, on a worker and deferred, with a clock that jumps instead of waiting."""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from airflow.providers.common.compat.sdk import BaseOperator, TaskDeferred

from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS
from tests.virtual_time import VirtualTimeLoop

BEGIN = datetime(2026, 1, 31, 6, tzinfo=UTC)
"""The time of the clock when it begins to run."""

OPERATOR_MODULE = "airflow.sdk.bases.operator" if AIRFLOW_V_3_0_PLUS else "airflow.models.baseoperator"


class Clock:
    """The package's time. Sleeping moves it, and what was to happen meanwhile happens."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.sleeps: list[float] = []
        self._order = count()
        self._coming: list[tuple[float, int, Callable[[], object]]] = []

    def at(self, seconds: float, happening: Callable[[], object]) -> None:
        """Let something happen when the clock gets there."""
        heapq.heappush(self._coming, (seconds, next(self._order), happening))

    def move_to(self, seconds: float) -> None:
        while self._coming and self._coming[0][0] <= seconds:
            moment, _, happening = heapq.heappop(self._coming)
            self.elapsed = max(self.elapsed, moment)
            happening()
        self.elapsed = max(self.elapsed, seconds)

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.move_to(self.elapsed + seconds)

    def monotonic(self) -> float:
        return self.elapsed

    def utcnow(self) -> datetime:
        return BEGIN + timedelta(seconds=self.elapsed)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the package go by this clock, and take whoever calls ``execute`` for Airflow."""
        with ExitStack() as patches:
            for target, replacement in {
                "airflow_provider_kendra.hooks.kendra.time": self,
                "airflow_provider_kendra._waiting.wait.time": self,
                "airflow_provider_kendra._clock.utcnow": self.utcnow,
                # Data sources drift apart by chance; here each look is to come at its time.
                "airflow_provider_kendra._waiting.poller.random": SimpleNamespace(uniform=lambda low, high: high),
                f"{OPERATOR_MODULE}.ExecutorSafeguard.test_mode": True,
                # There is no Airflow that could store links.
                "airflow_provider_kendra._lineage.store_link": lambda ti, key, url: None,
            }.items():
                patches.enter_context(patch(target, replacement))
            yield

    @contextmanager
    def following(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Go with the time of an event loop."""
        began = self.elapsed

        def utcnow() -> datetime:
            self.move_to(began + loop.time())
            return self.utcnow()

        with (
            patch("airflow_provider_kendra._clock.utcnow", utcnow),
            patch("airflow_provider_kendra._clock.utcnow", utcnow),
        ):
            yield
        utcnow()


class Store:
    """Airflow's task state store: kept from try to try, in JSON types."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.kept[key]) if key in self.kept else default

    def set(self, key: str, value: Any) -> None:
        self.kept[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


class XComs:
    """Stands for the task instance: takes XComs."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


class TaskRun:
    """One task of one DAG run: its tries, on a clock, with what Airflow keeps for it."""

    def __init__(self, make_operator: Callable[[], BaseOperator], clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.store = Store()
        self.xcoms = XComs()
        self.deferrals: list[TaskDeferred] = []
        self._make_operator = make_operator
        self.operator = make_operator()

    @property
    def context(self) -> Any:
        return {"ti": self.xcoms, "task_state_store": self.store}

    def execute(self) -> Any:
        """Begin a try: up to its end, or until it defers."""
        self.operator = self._make_operator()
        with self.clock.in_place():
            return self.operator.execute(self.context)

    def run(self) -> Any:
        """Run a try to its end, through as many deferrals as it takes."""
        return self._to_the_end(self.execute)

    def resume(self, deferred: TaskDeferred) -> Any:
        """Run the trigger of a deferral, and the task to its end or next deferral."""
        return self._trigger(deferred)()

    def _to_the_end(self, resume: Callable[[], Any]) -> Any:
        while True:
            try:
                return resume()
            except TaskDeferred as deferred:
                self.deferrals.append(deferred)
                resume = self._trigger(deferred)

    def _trigger(self, deferred: TaskDeferred) -> Callable[[], Any]:
        event = self._first_event(*json.loads(json.dumps(deferred.trigger.serialize())), deferred.timeout)
        kwargs = json.loads(json.dumps({**(deferred.kwargs or {}), "event": event}))

        def resume() -> Any:
            self.operator = self._make_operator()
            with self.clock.in_place():
                return self.operator.resume_execution(deferred.method_name, kwargs, self.context)

        return resume

    def _first_event(self, classpath: str, kwargs: dict[str, Any], timeout: timedelta | None) -> Any:
        """What a triggerer makes of the trigger, before Airflow ends it."""
        module, _, name = classpath.rpartition(".")
        trigger = getattr(import_module(module), name)(**kwargs)
        began = self.clock.elapsed

        async def first_event() -> Any:
            async for event in trigger.run():
                return event.payload

        with (
            self.clock.in_place(),
            asyncio.Runner(loop_factory=VirtualTimeLoop) as runner,
            self.clock.following(runner.get_loop()),
        ):
            payload = runner.run(first_event())
        assert timeout is not None
        assert self.clock.elapsed - began <= timeout.total_seconds(), "Airflow would have ended the trigger before"
        return payload
