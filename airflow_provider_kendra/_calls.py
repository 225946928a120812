"""The hook methods that starting and stopping use, and the kinds of errors; imports no botocore."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_kendra.sync_job import SyncJob

LISTING_GRACE = 20.0
"""Seconds that Kendra may take to list a sync job that has started."""

PAUSE = 2.0
"""Seconds between two requests."""


class ErrorKind(StrEnum):
    """How callers should treat an error."""

    TRANSIENT = "transient"
    """A retry can succeed: throttling, a server error, a network error."""
    PERMANENT = "permanent"
    """A retry would fail again: access denied, no such resource, an invalid request, a wrong configuration."""
    CREDENTIALS = "credentials"
    """A retry with a new client can succeed: expired or missing credentials."""
    ALREADY_RUNNING = "already_running"
    """A start was rejected because a sync job is running."""


class Log(Protocol):
    """The logger of a hook, on any Airflow version."""

    def info(self, message: str, /, *args: Any) -> object: ...
    def warning(self, message: str, /, *args: Any) -> object: ...


class SyncJobCalls(Protocol):
    """The calls that both starting and stopping use, for one data source."""

    @property
    def log(self) -> Log: ...
    def iter_sync_jobs(self) -> Iterator[SyncJob]:
        """Read the history, newest job first; pages are fetched as they are consumed."""

    def classify_error(self, error: BaseException) -> ErrorKind: ...
    def describe_error(self, error: BaseException) -> str: ...
    def discard_clients(self) -> None:
        """Discard the clients, so that the next call uses fresh credentials."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...
