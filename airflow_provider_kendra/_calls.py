"""What starts and stops need of the hook: its calls, and the kinds of errors that these raise, without botocore."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_kendra.sync_job import SyncJob

LISTING_GRACE = 20.0
"""How long, in seconds, a sync job may have been started and not be listed yet."""

PAUSE = 2.0
"""Seconds between two requests."""


class ErrorKind(StrEnum):
    """How callers should treat an error."""

    TRANSIENT = "transient"
    """Will pass: throttling, an error on the service's side or on the way to it."""
    PERMANENT = "permanent"
    """Will not pass: access denied, no such resource, an invalid request, a wrong configuration."""
    CREDENTIALS = "credentials"
    """May pass with a new client: expired or missing credentials."""
    ALREADY_RUNNING = "already_running"
    """A start that was refused since a sync job is running."""


class Log(Protocol):
    """The logger of a hook, whichever Airflow it comes from."""

    def info(self, message: str, /, *args: Any) -> object: ...
    def warning(self, message: str, /, *args: Any) -> object: ...


class SyncJobCalls(Protocol):
    """What starts and stops both need of the hook, for one data source."""

    @property
    def log(self) -> Log: ...
    def iter_sync_jobs(self) -> Iterator[SyncJob]:
        """Read the history, newest job first; pages are fetched as they are consumed."""

    def classify_error(self, error: BaseException) -> ErrorKind: ...
    def describe_error(self, error: BaseException) -> str: ...
    def discard_clients(self) -> None:
        """Make the next call with a new client, and so with fresh credentials."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...
