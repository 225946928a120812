"""Logs each call of Kendra and applies the faults of the test to it, over HTTP and in process."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import camelcase_to_underscores

from airflow_provider_kendra.testing.calls import Call, CallLog, parameters_of
from airflow_provider_kendra.testing.faults import Answer, Fault
from airflow_provider_kendra.testing.in_process import TARGET_PREFIX
from airflow_provider_kendra.testing.registry import require_own

if TYPE_CHECKING:
    from airflow_provider_kendra.testing.moto_backends.kendra import models, responses
else:
    require_own()
    from moto.kendra import models, responses


class Traffic:
    """The calls since the last reset, and the faults that apply to the next ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._log = CallLog()

    def inject(self, fault: Fault) -> None:
        if fault.operation != "*" and not is_operation(fault.operation):
            raise ValueError(f"Kendra has no operation {fault.operation!r}")
        with self._lock:
            self._faults.append(fault)

    def clear_faults(self) -> None:
        with self._lock:
            self._faults.clear()

    def calls(self, operation: str | None = None) -> list[Call]:
        with self._lock:
            return [replace(call) for call in self._log.calls(operation)]

    def count(self, operation: str | None = None) -> int:
        with self._lock:
            return self._log.count(operation)

    def exchange(
        self, target: str, region: str, body: bytes, serve: Callable[[], Answer], reset: Callable[[], Exception]
    ) -> Answer:
        """
        Log a call, and answer it.

        :param target: The header ``X-Amz-Target``.
        :param serve: Lets Kendra handle the call.
        :param reset: Returns the exception that breaks the connection.
        """
        call = Call(target.removeprefix(TARGET_PREFIX), parameters_of(body), region, time.time())
        with self._lock:
            self._log.add(call, len(body))
            fault = next((fault for fault in self._faults if fault.applies_to(call.operation)), None)
        answer = serve() if fault is None else _apply(fault, call, serve)
        if answer is None:
            call.error = "ConnectionReset"
            raise reset()
        call.status = answer.status
        if answer.status >= 400:
            call.error = _error_code(answer)
        return answer


def current() -> Traffic:
    """Return the traffic since the last reset. A backend holds it because moto's reset clears backends."""
    backend = models.kendra_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]
    traffic: Traffic = vars(backend).setdefault("traffic", Traffic())
    return traffic


def is_operation(name: str) -> bool:
    """Whether this Kendra offers the operation."""
    return name[:1].isupper() and hasattr(responses.KendraResponse, camelcase_to_underscores(name))


def region_of(authorization: str) -> str:
    """Return the region in the credential scope of a signature."""
    scope = authorization.partition("Credential=")[2].split("/")
    return scope[2] if len(scope) > 2 else ""


def _apply(fault: Fault, call: Call, serve: Callable[[], Answer]) -> Answer | None:
    """Return the response that the fault leaves, or None for a reset."""
    answer = fault.refusal()
    if answer is None and fault.reset != "before":
        answer = serve()
    # Kendra has acted by now: a client that times out misses the response, but the call has had its effect.
    time.sleep(fault.delay)
    if fault.reset or answer is None:
        return None
    return fault.corrupt(answer, call.parameters)


def _error_code(answer: Answer) -> str | None:
    try:
        content = json.loads(answer.body)
    except ValueError:
        return None
    return content.get("__type") if isinstance(content, dict) else None
