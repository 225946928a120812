"""Freshness of an index's data sources, for the command line and the report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_kendra._decisions import NeedsOlder, Satisfied
from airflow_provider_kendra._text import plain, storable
from airflow_provider_kendra._validation import check_warn_age
from airflow_provider_kendra._waiting.conditions import Fresh, freshness_condition
from airflow_provider_kendra._waiting.history import History, Page
from airflow_provider_kendra._waiting.sources import INACTIVE_STATUSES
from airflow_provider_kendra.documents import DocumentFailures
from airflow_provider_kendra.sync_job import SyncJob, SyncJobStatus

if TYPE_CHECKING:
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook

T = TypeVar("T")
R = TypeVar("R")

MAX_PAGES = 20
"""The maximum number of pages to read in search of an acceptable sync job."""

_EVER = datetime.min.replace(tzinfo=UTC)
_CALLS = 8  # at once; botocore's connection pool holds 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """
    How fresh a data source is.

    :param is_fresh: Whether its newest acceptable sync job is recent enough; None if it has no schedule to judge by.
    :param is_aging: Whether it is older than the warning age, even if it is stale too.
    :param newest: Its newest acceptable sync job; None if none was found.
    :param measured_at: The start or end time of that job, whichever counts.
    :param age: How long ago that was.
    :param running: The sync job that runs now.
    :param rejected: Its newest finished sync job, if that is not acceptable.
    :param last_error: Why ``rejected`` is not acceptable.
    :param searched: How many jobs were read without finding an acceptable one; None if one was found.
    :param searched_all: Whether the whole history was read.
    :param reason: Where the schedule decides: why it is stale, or why it can't be judged.
    """

    is_fresh: bool | None
    is_aging: bool = False
    newest: SyncJob | None = None
    measured_at: datetime | None = None
    age: timedelta | None = None
    running: SyncJob | None = None
    rejected: SyncJob | None = None
    last_error: str | None = None
    searched: int | None = None
    searched_all: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """
    What was read about a data source.

    :param data_source_id: The data source.
    :param name: Its name in Kendra.
    :param status: ``ACTIVE`` or ``UPDATING`` if it can be synced.
    :param jobs: Those of its sync jobs that were read, newest first.
    :param freshness: None if the history could not be read, or the data source cannot be synced: while it is
        ``CREATING``, ``DELETING`` or ``FAILED``.
    :param error: Why it could not be read.
    :param missing: The documents that failed in an earlier sync and are still missing; None if they were not read.
    :param condition: What makes it fresh, with its schedule if it is judged by one; None if the common condition
        applies.
    """

    data_source_id: str
    name: str
    status: str
    jobs: Sequence[SyncJob] = ()
    freshness: Freshness | None = None
    error: str | None = None
    missing: DocumentFailures | None = None
    condition: Fresh | None = None

    @property
    def state(self) -> str:
        """``fresh``, ``aging``, ``stale``, ``unknown`` or ``inactive``."""
        if self.freshness is None:
            return "unknown" if self.error else "inactive"
        if self.freshness.is_fresh is None:
            return "unknown"
        if not self.freshness.is_fresh:
            return "stale"
        return "aging" if self.freshness.is_aging else "fresh"


def condition_for(
    *,
    max_age: timedelta | None,
    measured_by: str = "start_time",
    max_documents_failed: int | None = None,
    schedule_grace: timedelta | None = None,
) -> Fresh:
    """
    Build the condition; without ``max_age`` and ``schedule_grace`` an acceptable sync job of any age will do.

    :param max_age: How old the newest acceptable sync job may be.
    :param measured_by: ``start_time`` or ``end_time``.
    :param max_documents_failed: Failed documents that are tolerated; if given, INCOMPLETE is accepted too.
    :param schedule_grace: How long after its scheduled time a run counts as overdue.
    :raises ValueError: for both ``max_age`` and ``schedule_grace``.
    """
    if max_age is not None and schedule_grace is not None:
        raise ValueError("max_age and schedule_grace exclude each other: pass one of them.")
    return freshness_condition(
        max_age=max_age,
        fresh_since=_EVER if max_age is None and schedule_grace is None else None,
        schedule_grace=schedule_grace,
        measured_by=measured_by,
        accepted_statuses=("SUCCEEDED",),
        max_documents_failed=max_documents_failed,
        fail_fast=False,
    )


def assess(
    history: History,
    condition: Fresh,
    now: datetime,
    warn_age: timedelta | None = None,
    unjudged: str | None = None,
) -> Freshness:
    """
    Assess the freshness of a data source from its history.

    :param history: Read back to the newest acceptable job at least, if there is one.
    :param condition: What makes it fresh.
    :param now: When it was read.
    :param warn_age: Older than this, it is aging; None for never.
    :param unjudged: Why it can't be judged, if it can't.
    """
    found = _newest_acceptable(condition).decide(history, now)
    newest = found.job if isinstance(found, Satisfied) else None
    if unjudged is None and newest is None and isinstance(condition.decide(history, now), NeedsOlder):
        unjudged = f"none of its newest {len(history.jobs)} syncs is acceptable, and older ones were not read"
    measured_at: datetime | None = getattr(newest, condition.measured_by) if newest else None
    later = history.jobs[: history.jobs.index(newest)] if newest else history.jobs
    rejected = next((job for job in later if job.is_finished and not condition.acceptance.accepts(job)), None)
    age = max(now - measured_at, timedelta()) if measured_at else None
    is_fresh = None if unjudged else newest is not None and condition.is_fresh(newest, now)
    return Freshness(
        is_fresh=is_fresh,
        is_aging=warn_age is not None and age is not None and age > warn_age,
        newest=newest,
        measured_at=measured_at,
        age=age,
        running=history.running,
        rejected=rejected,
        last_error=_what_went_wrong(rejected, condition) if rejected else None,
        searched=None if newest else len(history.jobs),
        searched_all=history.is_complete,
        reason=condition.missed_sync(history, now) if is_fresh is False else unjudged,
    )


def read_back(pages: Iterable[Page], condition: Fresh, now: datetime, *, at_least: int = 0) -> History:
    """
    Read a history back to the newest acceptable job, searching 20 pages at most.

    :param pages: Fetched as they are consumed.
    :param condition: Defines what is acceptable.
    :param now: The current time.
    :param at_least: Read at least this many jobs, if there are that many.
    """
    history = History()
    newest = _newest_acceptable(condition)
    for number, page in enumerate(pages, start=1):
        history.add_page(page)
        is_found = not isinstance(newest.decide(history, now), NeedsOlder)
        if (is_found or number >= MAX_PAGES) and len(history.jobs) >= at_least:
            break
    return history


def read_index(
    hook: KendraSyncJobsHook,
    index_id: str,
    condition: Fresh,
    now: Callable[[], datetime],
    *,
    at_least: int = 0,
    warn_age: timedelta | None = None,
    with_documents: bool = False,
) -> list[Reading]:
    """
    Assess the freshness of each data source of an index; a reading that failed holds its error.

    :param hook: Makes the calls.
    :param index_id: The index.
    :param condition: What makes a data source fresh.
    :param now: The clock.
    :param at_least: Read at least this many sync jobs of each, if there are that many.
    :param warn_age: A data source that is older than this, but not stale yet, is aging; None for never.
    :param with_documents: Also read from Kendra's logs which documents are missing.
    :raises ValueError: if warn_age is not less than the age at which a data source is stale.
    """

    def read_data_source(summary: dict[str, Any]) -> Reading:
        reading: dict[str, Any] = {
            key: storable(str(summary.get(member) or ""), 1_000) for key, member in _MEMBERS.items()
        }
        if reading["status"] in INACTIVE_STATUSES:
            return Reading(**reading)
        try:
            judge, unjudged = _with_schedule(hook, index_id, reading["data_source_id"], condition)
            read_at = now()
            pages = hook._iter_pages(index_id, reading["data_source_id"])
            history = read_back(pages, judge, read_at, at_least=at_least)
            freshness = assess(history, judge, read_at, warn_age, unjudged)
            missing = missing_documents.read(reading["data_source_id"]) if with_documents else None
            return Reading(**reading, jobs=history.jobs, freshness=freshness, missing=missing, condition=judge)
        except Exception as error:
            return Reading(**reading, error=plain(error) or type(error).__name__)

    check_warn_age(warn_age, condition.max_age)
    missing_documents = _MissingDocuments(hook, index_id)
    # Creates the client here, not in several threads at once.
    data_sources = list(hook.list_data_sources(index_id))
    with ThreadPoolExecutor(_CALLS, thread_name_prefix="kendra-freshness") as threads:
        return list(threads.map(read_data_source, data_sources))


def _with_schedule(
    hook: KendraSyncJobsHook, index_id: str, data_source_id: str, condition: Fresh
) -> tuple[Fresh, str | None]:
    """Return the condition for a data source, and why it can't be judged, if it can't."""
    if condition.grace is None:
        return condition, None
    described = hook.describe_data_source(index_id, data_source_id)
    try:
        return condition.with_schedule(str(described.get("Schedule") or "")), None
    except ValueError as error:
        return condition, str(error)


class _MissingDocuments:
    """Reads the missing documents of data sources; starts no search after a minute, since each can take that long."""

    def __init__(self, hook: KendraSyncJobsHook, index_id: str) -> None:
        self._hook = hook
        self._index_id = index_id
        self._ends_at = time.monotonic() + LONGEST_READING

    def read(self, data_source_id: str) -> DocumentFailures:
        if time.monotonic() >= self._ends_at:
            return DocumentFailures(is_complete=False, note=_NOT_READ)
        try:
            return self._hook.get_missing_documents(self._index_id, data_source_id)
        except Exception as error:  # the rest of the reading is worth showing
            return DocumentFailures(is_complete=False, note=f"The logs could not be read: {plain(error)}")


LONGEST_READING = 60.0
"""Seconds after which the logs of no further data source are read."""

_NOT_READ = f"The logs were not read, since those of other data sources took {LONGEST_READING:.0f} s."


def shared_notes(readings: Iterable[Reading]) -> dict[str, int]:
    """
    Return the notes on missing documents that are the same for several data sources, and for how many.

    :param readings: The data sources.
    """
    notes = Counter(reading.missing.note for reading in readings if reading.missing and reading.missing.note)
    return {note: number for note, number in notes.items() if number > 1}


def _what_went_wrong(job: SyncJob, condition: Fresh) -> str:
    is_plain = job.status in (SyncJobStatus.FAILED, SyncJobStatus.ABORTED)
    end = job.end if is_plain else condition.acceptance.objection(job)
    return f"{end}{job.reason_suffix} (sync job {plain(job.execution_id)})"


_MEMBERS = {"data_source_id": "Id", "name": "Name", "status": "Status"}


def _newest_acceptable(condition: Fresh) -> Fresh:
    """Return a condition without a cutoff, which is met by the newest acceptable job."""
    return Fresh(condition.acceptance, fresh_since=_EVER, measured_by=condition.measured_by)
