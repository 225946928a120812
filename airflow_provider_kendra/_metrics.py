"""
Metrics of sync jobs, freshness and polls, sent with Airflow's ``Stats`` to StatsD, Datadog or OpenTelemetry.

Nothing here raises or logs: a metric must never fail a task or a poll, and the event loop must not wait for a log.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from airflow_provider_kendra._waiting.sources import Source
    from airflow_provider_kendra.sync_job import SyncJob


def count_sync_job(job: SyncJob) -> None:
    """Count a finished sync job, with its duration and document counts where Kendra reports them."""
    tags = _tags_of(job)
    _send("incr", "sync_job.finished", 1, {**tags, "status": str(job.status)})
    if job.duration_seconds is not None:
        _send("timing", "sync_job.duration", _milliseconds(job.duration_seconds), tags)
    for name, count in job.document_counts.items():
        if count is not None:
            _send("incr", f"sync_job.documents_{name}", count, tags)


def report_age(source: Source, *ages: timedelta | None) -> None:
    """Report the age of a data source in seconds: the highest, if waits that judge it differently share a poll."""
    known = [age.total_seconds() for age in ages if age is not None]
    if known:
        # Kendra's clock may be ahead, and StatsD would subtract a negative value.
        _send("gauge", "data_source.age", max(*known, 0.0), _tags_of(source))


def count_poll_error(source: Source) -> None:
    """Count a poll that failed."""
    _send("incr", "poll.errors", 1, _tags_of(source))


def report_poll_delay(source: Source, seconds: float) -> None:
    """Report the delay between the due time of a poll and its first call."""
    _send("timing", "poll.delay", _milliseconds(seconds), _tags_of(source))


def _milliseconds(seconds: float) -> float:
    # The unit of Airflow's timers. A timedelta would become seconds in some backends of Airflow 2.
    return max(seconds, 0.0) * 1000


def _tags_of(subject: Source | SyncJob) -> dict[str, str]:
    """The ids; polls that list an index's data sources have no ``data_source_id``."""
    names = ("index_id", "data_source_id")
    return {name: getattr(subject, name) for name in names if hasattr(subject, name)}


def _send(kind: Literal["incr", "gauge", "timing"], name: str, value: float, tags: Mapping[str, str]) -> None:
    with suppress(Exception):
        from airflow.providers.common.compat.sdk import Stats  # imported lazily to keep DAG parsing fast

        getattr(Stats, kind)(f"kendra.{name}", value, tags=tags)
