"""The calls that starts and stops need of the hook, with scripted answers and a clock that jumps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_kendra._calls import ErrorKind
from airflow_provider_kendra.sync_job import SyncJob


class CallError(Exception):
    """An error of a call, and what the hook would say of it."""

    def __init__(self, kind: ErrorKind, *, had_no_effect: bool = False) -> None:
        super().__init__(f"it is {kind}")
        self.kind = kind
        self.had_no_effect = had_no_effect or kind is not ErrorKind.TRANSIENT


NO_EFFECT = CallError(ErrorKind.TRANSIENT, had_no_effect=True)
ANSWER_LOST = CallError(ErrorKind.TRANSIENT)
EXPIRED_CREDENTIALS = CallError(ErrorKind.CREDENTIALS)
DENIED = CallError(ErrorKind.PERMANENT)
IN_USE = CallError(ErrorKind.ALREADY_RUNNING)

History = Sequence[SyncJob]


class Calls:
    """
    Answers as the hook's calls do.

    :param histories: What each reading shows, an error for one that fails; the last is repeated.
    :param answers: What each start or stop request is answered with, or the error that it meets; the last is repeated.
    :param types: What each reading of the data source's type gives; the last is repeated.
    """

    index_id = "index"
    data_source_id = "source"

    def __init__(
        self,
        histories: Sequence[History | Exception] = ((),),
        answers: Sequence[str | Exception] = ("new",),
        types: Sequence[str | Exception | None] = ("S3",),
        *,
        has_short_timeouts: bool = False,
    ) -> None:
        self._histories = list(histories)
        self._answers = list(answers)
        self._types = list(types)
        self.has_short_timeouts = has_short_timeouts
        self.done: list[str] = []
        self.jobs_read = 0
        self.lines: list[str] = []
        self.elapsed = 1000.0
        self.log = self

    def info(self, message: str, /, *args: object) -> None:
        self.lines.append(message % args)

    warning = info

    def iter_sync_jobs(self) -> Iterator[SyncJob]:
        self.done.append("read")
        for job in _next(self._histories):
            self.jobs_read += 1
            yield job

    def send_start(self) -> str:
        self.done.append("start")
        return _next(self._answers)

    def send_stop(self) -> None:
        self.done.append("stop")
        _next(self._answers)

    def get_data_source_type(self) -> str | None:
        self.done.append("describe")
        return _next(self._types)

    def classify_error(self, error: BaseException) -> ErrorKind:
        return error.kind if isinstance(error, CallError) else ErrorKind.TRANSIENT

    def certainly_had_no_effect(self, error: BaseException) -> bool:
        return isinstance(error, CallError) and error.had_no_effect

    def describe_error(self, error: BaseException) -> str:
        return str(error)

    def discard_clients(self) -> None:
        self.done.append("discard clients")

    def monotonic(self) -> float:
        return self.elapsed

    def sleep(self, seconds: float) -> None:
        self.done.append(f"sleep {seconds:g}")
        self.elapsed += seconds


def _next(scripted: list[Any]) -> Any:
    answer = scripted.pop(0) if len(scripted) > 1 else scripted[0]
    if isinstance(answer, Exception):
        raise answer
    return answer
