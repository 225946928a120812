"""Writes the CloudWatch log streams of sync jobs and document uploads."""

from typing import Any

from .documents import Change
from .sync_jobs import SyncJob


def write_job(backend: Any, source: Any, job: SyncJob, *, available_at: float) -> None:
    """Write the report and the own stream of a sync job that has ended; readable from a time on."""


def write_failed_upload(backend: Any, index: Any, change: Change, *, at: float, available_at: float) -> None:
    """Write why a document that was put into the index directly could not be indexed."""
