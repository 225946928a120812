"""Drives one sensor through each way of waiting, as Airflow does, with a clock that jumps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from airflow.models.trigger import Trigger
from airflow.providers.common.compat.sdk import DAG, AirflowException, BaseOperator, BaseSensorOperator, TaskDeferred
from airflow.triggers.base import BaseTrigger

from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor
from airflow_provider_kendra.sync_job import SyncJob
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from tests.virtual_time import VirtualTimeLoop

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:
    from airflow.exceptions import AirflowRescheduleException

NOW = datetime(2026, 1, 31, 6, tzinfo=UTC)
"""When each wait begins."""

TASK_ID = "wait"

# They are in other places from one Airflow to the next.
SENSOR_MODULE = BaseSensorOperator.__module__
OPERATOR_MODULE = BaseOperator.__module__

Arguments = dict[str, Any]


class Clock:
    """The time of a wait; sleeping moves it."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def sleep(self, seconds: float) -> None:
        self.elapsed += seconds

    def monotonic(self) -> float:
        return self.elapsed

    def utcnow(self) -> datetime:
        return NOW + timedelta(seconds=self.elapsed)


@dataclass(frozen=True)
class Ending:
    """What became of a task: what it returned, or what it raised."""

    result: Any = None
    error: type[BaseException] | None = None
    message: str = ""
    job: SyncJob | None = None


class Wait:
    """One task that waits, from its start to its end."""

    def __init__(self, arguments: Arguments, params: dict[str, Any] | None = None) -> None:
        self.arguments = arguments
        self.clock = Clock()
        self.meanwhile: Callable[[], None] | None = None
        """What happens before Airflow goes on with the wait for the first time, which then takes it `delay` seconds."""
        self.delay = 0.0
        self.neighbour: Arguments | None = None
        """Arguments of another trigger in the same triggerer, which polls before what happens meanwhile."""
        self.pushed: dict[str, Any] = {}
        """The XComs."""
        self._first_reschedule: datetime | None = None
        self._params = params or {}

    @property
    def context(self) -> Any:
        """What the task runner hands to a task."""
        ti = SimpleNamespace(
            dag_id="dag", task_id=TASK_ID, run_id="run", map_index=-1, max_tries=0, start_date=NOW,
            get_first_reschedule_date=lambda context: self._first_reschedule,
            xcom_push=lambda key, value: self.pushed.update({key: value}),
        )  # fmt: skip
        return {"ti": ti, "params": self._params, "data_interval_end": NOW - timedelta(hours=1)}

    def make_sensor(self, **arguments: Any) -> KendraSyncJobSensor:
        """The task as each process that runs it makes it anew from the DAG file."""
        with DAG("dag", schedule=None, start_date=NOW):
            return KendraSyncJobSensor(task_id=TASK_ID, **self.arguments, **arguments)

    def _make_rendered_sensor(self, **arguments: Any) -> KendraSyncJobSensor:
        sensor = self.make_sensor(**arguments)
        sensor.render_template_fields(self.context)
        return sensor

    def _go_on(self, seconds: float = 0) -> None:
        """Let time pass, and at the first time what happens meanwhile."""
        self.clock.sleep(seconds)
        if self.meanwhile is not None:
            self.meanwhile()
            self.meanwhile = None
            self.clock.sleep(self.delay)

    def poke(self) -> Any:
        return self._make_rendered_sensor(deferrable=False).execute(self.context)

    def reschedule(self) -> Any:
        while True:
            try:
                return self._make_rendered_sensor(deferrable=False, mode="reschedule").execute(self.context)
            except AirflowRescheduleException as pause:
                self._first_reschedule = self._first_reschedule or NOW
                self._go_on((pause.reschedule_date - self.clock.utcnow()).total_seconds())

    def defer(self, **arguments: Any) -> Any:
        arguments = arguments or {"deferrable": True}
        try:
            return self._make_rendered_sensor(**arguments).execute(self.context)
        except TaskDeferred as deferred:
            trigger, method_name, timeout = deferred.trigger, deferred.method_name, deferred.timeout
        event = self._run(_through_database(*trigger.serialize()), timeout)
        return self._make_rendered_sensor(**arguments).resume_execution(method_name, {"event": event}, self.context)

    def start_from_trigger(self) -> Any:
        if not AIRFLOW_V_3_3_PLUS:
            return self.defer(start_from_trigger=True)
        task = _through_dag_serialization(self.make_sensor(start_from_trigger=True))
        start = task.start_trigger_args
        trigger = _through_database(start.trigger_cls, start.trigger_kwargs)
        trigger.task_instance = SimpleNamespace(task=task, task_id=TASK_ID)
        trigger.render_template_fields(self.context)
        event = self._run(trigger, start.timeout)
        return self._make_rendered_sensor(start_from_trigger=True).resume_execution(
            start.next_method, {"event": event}, self.context
        )

    def _run(self, trigger: BaseTrigger, timeout: timedelta | None) -> Any:
        """The event as the resumed task gets it, from a triggerer that ends a trigger after this time."""
        if self.neighbour is None:
            self._go_on()
        began = self.clock.elapsed
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner, self._following(runner.get_loop()):
            payload = runner.run(self._first_event(trigger))
        assert timeout is not None
        is_in_time = self.clock.elapsed <= max(timeout.total_seconds(), began)
        assert is_in_time, "Airflow would have ended the trigger before"
        return json.loads(json.dumps(payload))

    async def _first_event(self, trigger: BaseTrigger) -> Any:
        if self.neighbour is None:
            return await _event_of(trigger)
        neighbour = type(trigger)(**{**trigger.serialize()[1], **self.neighbour})
        waiting = asyncio.create_task(_event_of(neighbour))
        await asyncio.sleep(1)
        self._go_on()
        try:
            return await _event_of(trigger)
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])

    @contextmanager
    def _following(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        began = self.clock.elapsed

        def utcnow() -> datetime:
            self.clock.elapsed = began + loop.time()
            return self.clock.utcnow()

        with (
            patch("airflow_provider_kendra._clock.utcnow", utcnow),
            patch("airflow_provider_kendra._clock.utcnow", utcnow),
        ):
            yield
        utcnow()

    def run(self, mode: str) -> Ending:
        """Wait in this mode to the end."""
        with self._clock_in_place():
            try:
                return Ending(result=getattr(self, mode)())
            except AirflowException as error:
                return Ending(None, type(error), str(error), getattr(error, "job", None))

    @contextmanager
    def _clock_in_place(self) -> Iterator[None]:
        clock = self.clock
        with ExitStack() as patches:

            def replace(target: str, replacement: Any) -> None:
                patches.enter_context(patch(target, replacement))

            replace(f"{SENSOR_MODULE}.time", SimpleNamespace(monotonic=clock.monotonic, sleep=self._go_on))
            replace(f"{SENSOR_MODULE}.timezone", SimpleNamespace(utcnow=clock.utcnow))
            replace("airflow_provider_kendra._clock.utcnow", clock.utcnow)
            replace("airflow_provider_kendra.hooks.kendra.time", clock)
            replace("airflow_provider_kendra._waiting.wait.time", clock)
            # Data sources drift apart by chance; here each look is to come at its time.
            replace("airflow_provider_kendra._waiting.poller.random", SimpleNamespace(uniform=lambda low, high: high))
            # Who calls execute here is the task runner, as far as Airflow can tell.
            replace(f"{OPERATOR_MODULE}.ExecutorSafeguard.test_mode", True)
            if not AIRFLOW_V_3_0_PLUS:
                replace(f"{SENSOR_MODULE}._orig_start_date", lambda **kwargs: self._first_reschedule)
            yield


async def _event_of(trigger: BaseTrigger) -> Any:
    async for event in trigger.run():
        return event.payload


def _through_database(classpath: str, kwargs: dict[str, Any]) -> BaseTrigger:
    """The trigger as a triggerer makes it from its row in the metadata database."""
    encrypt: Callable[..., str] = getattr(Trigger, "encrypt_kwargs", None) or Trigger._encrypt_kwargs
    stored = Trigger._decrypt_kwargs(encrypt(kwargs))
    if AIRFLOW_V_3_3_PLUS:
        from airflow.serialization.decoders import smart_decode_trigger_kwargs

        stored = {name: smart_decode_trigger_kwargs(value) for name, value in stored.items()}
    module, _, name = classpath.rpartition(".")
    trigger: BaseTrigger = getattr(import_module(module), name)(**stored)
    return trigger


def _through_dag_serialization(sensor: KendraSyncJobSensor) -> Any:
    """The task as scheduler and triggerer know it."""
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.from_dict(DagSerialization.to_dict(sensor.dag)).get_task(sensor.task_id)
