"""The record of a sync job, parsed from a response of the Kendra API."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from airflow_provider_kendra._parameters import check_max_documents_failed
from airflow_provider_kendra._text import counted, plain, shown, storable

log = logging.getLogger(__name__)


class SyncJobStatus(StrEnum):
    """
    The statuses of a sync job.

    Source: ``DataSourceSyncJobStatus`` of the Amazon Kendra API,
    https://docs.aws.amazon.com/kendra/latest/APIReference/API_DataSourceSyncJob.html
    """

    FAILED = "FAILED"
    SUCCEEDED = "SUCCEEDED"
    SYNCING = "SYNCING"
    INCOMPLETE = "INCOMPLETE"
    STOPPING = "STOPPING"
    ABORTED = "ABORTED"
    SYNCING_INDEXING = "SYNCING_INDEXING"

    @property
    def is_terminal(self) -> bool:
        """Whether a job with this status has finished."""
        return self in TERMINAL_STATUSES


TERMINAL_STATUSES = frozenset(
    {SyncJobStatus.SUCCEEDED, SyncJobStatus.FAILED, SyncJobStatus.INCOMPLETE, SyncJobStatus.ABORTED}
)


def check_status(name: str, value: object) -> str:
    """
    Return the status of a sync job.

    :param name: The name of the parameter.
    :param value: One of :class:`SyncJobStatus`, or its text.
    :raises ValueError: for anything else.
    """
    if isinstance(value, str) and value in set(SyncJobStatus):
        return str(value)
    raise ValueError(f"{name} is {shown(value)}, but must be one of {', '.join(SyncJobStatus)}.")


DOCUMENT_COUNTS = ("scanned", "added", "modified", "deleted", "failed")
"""Kendra's document counts; a record has each as ``documents_<name>``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncJob:
    """
    One run of a data source sync.

    Texts are stored as the service sent them, cut to a bounded length, and escaped where they are shown.

    :param index_id: The index.
    :param data_source_id: The data source.
    :param execution_id: The execution id of the job; empty if the service sent none.
    :param status: A :class:`SyncJobStatus`, or the text as sent where it is none of these. Only the
        status says whether the job has finished.
    :param start_time: When the job started, in UTC.
    :param end_time: When the job ended, in UTC; None while it runs, whatever the service sends.
    :param documents_added: Documents added so far. This and the other counts are None where the service does not
        report them.
    :param documents_modified: Documents modified.
    :param documents_deleted: Documents deleted.
    :param documents_failed: Documents that could not be crawled or indexed.
    :param documents_scanned: Documents scanned; never reported for CUSTOM data sources.
    :param error_code: Why the job failed, as a code.
    :param error_message: Why the job failed, in words.
    :param data_source_error_code: The error code of the data source itself, such as S3.
    """

    index_id: str
    data_source_id: str
    execution_id: str
    status: SyncJobStatus | str
    start_time: datetime | None = None
    end_time: datetime | None = None
    documents_added: int | None = None
    documents_modified: int | None = None
    documents_deleted: int | None = None
    documents_failed: int | None = None
    documents_scanned: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    data_source_error_code: str | None = None

    @classmethod
    def from_response(cls, item: Mapping[str, Any], *, index_id: str, data_source_id: str) -> SyncJob:
        """
        Parse one item of ``History`` in a ``ListDataSourceSyncJobs`` response.

        :param item: The item as boto3 returns it. Any of its members may be absent.
        :param index_id: The index of the request.
        :param data_source_id: The data source of the request.
        """
        status = _parse_status(_text(item.get("Status"), _LONGEST_ID) or "")
        metrics = item.get("Metrics") or {}
        return cls(
            index_id=index_id,
            data_source_id=data_source_id,
            execution_id=as_execution_id(item.get("ExecutionId")),
            status=status,
            start_time=_utc(item.get("StartTime")),
            # The service can send an EndTime while the job is still indexing.
            end_time=_utc(item.get("EndTime")) if status in TERMINAL_STATUSES else None,
            documents_added=_count(metrics.get("DocumentsAdded")),
            documents_modified=_count(metrics.get("DocumentsModified")),
            documents_deleted=_count(metrics.get("DocumentsDeleted")),
            documents_failed=_count(metrics.get("DocumentsFailed")),
            documents_scanned=_count(metrics.get("DocumentsScanned")),
            error_code=_text(item.get("ErrorCode"), _LONGEST_CODE),
            error_message=_text(item.get("ErrorMessage"), _LONGEST_MESSAGE),
            data_source_error_code=_text(item.get("DataSourceErrorCode"), _LONGEST_CODE),
        )

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> SyncJob:
        """
        Rebuild the job from a record that :meth:`to_dict` returned.

        :param record: The record, as found in XCom, a trigger event or an asset event.
        :raises ValueError: if the record is invalid, with the reason.
        """
        if not isinstance(record, Mapping):
            raise ValueError(f"the record of a sync job is of type {type(record).__name__}")
        values = {field.name: _checked(field.name, record.get(field.name)) for field in fields(cls)}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the record in JSON types, as in XCom, trigger events and asset events."""
        return {
            **asdict(self),
            "status": str(self.status),
            "start_time": self.start_time and self.start_time.isoformat(),
            "end_time": self.end_time and self.end_time.isoformat(),
            "duration_seconds": self.duration_seconds,
        }

    @property
    def is_finished(self) -> bool:
        """Whether the job has ended. An unknown status is treated as running."""
        return self.status in TERMINAL_STATUSES

    @property
    def duration_seconds(self) -> float | None:
        """How long the job took, in seconds; None while it runs or where a time is unknown."""
        if self.start_time is None or self.end_time is None:
            return None
        return (self.end_time - self.start_time).total_seconds()

    @property
    def has_updated_index(self) -> bool:
        """Whether the job has certainly updated the index: it ended SUCCEEDED or INCOMPLETE."""
        return self.status in (SyncJobStatus.SUCCEEDED, SyncJobStatus.INCOMPLETE)

    @property
    def document_counts(self) -> dict[str, int | None]:
        """The counts of :data:`DOCUMENT_COUNTS`; None where one is not reported."""
        return {name: getattr(self, f"documents_{name}") for name in DOCUMENT_COUNTS}

    @property
    def documents_processed(self) -> int:
        """The number of documents scanned or, where it is not reported, the sum of the other counts."""
        counts = self.document_counts
        scanned = counts.pop("scanned")
        return sum(count or 0 for count in counts.values()) if scanned is None else scanned

    @property
    def progress(self) -> str:
        """The status and the counts so far that are not 0, for messages."""
        return f"{plain(self.status, _LONGEST_ID) or 'without a status'} ({self.counts})"

    @property
    def running(self) -> str:
        """The status, start time and counts of a running job, for messages."""
        since = f" since {self.start_time:%Y-%m-%d %H:%M:%S}Z" if self.start_time else ""
        return f"{plain(self.status, _LONGEST_ID) or 'without a status'}{since} ({self.counts})"

    @property
    def counts(self) -> str:
        """The document counts that are not 0, for messages."""
        counts = self.document_counts
        if listed := ", ".join(f"{count:,} {name}" for name, count in counts.items() if count):
            return listed
        if not self.is_finished:
            return "no documents yet"
        return "no documents reported" if set(counts.values()) == {None} else "no documents"

    @property
    def superseded(self) -> str:
        """Why an unfinished job that is not the newest is not running, as a clause for messages."""
        status = plain(self.status, _LONGEST_ID) or "not reported"
        return f"a newer sync has started, so this one is not running, though its status is still {status}"

    @property
    def end(self) -> str:
        """How a finished job ended and why, as the start of a message."""
        if self.status == SyncJobStatus.FAILED:
            return f"Sync FAILED: {self.reason.removesuffix('.') or self._where_the_reason_may_be}"
        if not self.documents_failed:
            return f"Sync {self.status}: {self.counts}"
        failed, total = self.documents_failed, self.documents_processed
        if total > failed or self.documents_scanned == failed:
            return f"Sync {self.status}: {failed:,} of {counted(total, 'document')} failed"
        return f"Sync {self.status}: {counted(failed, 'document')} failed"  # no total is known

    @property
    def reason_suffix(self) -> str:
        """The error that Kendra reports, as the next sentence after :attr:`end`; empty if there is none."""
        is_new = self.reason and self.status != SyncJobStatus.FAILED
        return f". Kendra says: {self.reason.removesuffix('.')}" if is_new else ""

    @property
    def _where_the_reason_may_be(self) -> str:
        # The hour in the name of the stream has an undocumented time zone.
        stream = f"{self.data_source_id}/YYYY-MM-DD-HH/{plain(self.execution_id, _LONGEST_ID)}"
        return f"Kendra gave no reason; see log group /aws/kendra/{self.index_id}, stream {stream}"

    @property
    def ids(self) -> str:
        """The ids of the job, its data source and index, as the end of a message."""
        job = f"sync job {plain(self.execution_id, _LONGEST_ID) or 'without an id'}"
        return f"({job}, data source {self.data_source_id}, index {self.index_id})"

    @property
    def title(self) -> str:
        """The ids of the job, its data source and index, as the subject of a message."""
        return (
            f"Sync job {plain(self.execution_id, _LONGEST_ID) or 'without an id'} of data source {self.data_source_id} "
            f"(index {self.index_id})"
        )

    @property
    def error(self) -> str:
        """The error that Kendra reports, as the next sentence of a message; empty if there is none."""
        return f" Kendra says: {self.reason}" if self.reason else ""

    @property
    def reason(self) -> str:
        """The error that Kendra reports; empty if there is none."""
        parts = (self.error_code, self.data_source_error_code, self.error_message)
        return plain(": ".join(part for part in parts if part))


RECORD_KEYS = (*(field.name for field in fields(SyncJob)), "duration_seconds")
"""The keys of a job's record."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """
    Defines which finished jobs are acceptable.

    :param statuses: The statuses that are accepted.
    :param max_documents_failed: The maximum number of failed documents to accept. If given, INCOMPLETE is accepted
        too; the count must then be known and no higher, but SUCCEEDED is accepted without a count.
    :raises ValueError: for a status that no finished job has, or a negative number.
    """

    statuses: frozenset[str] = frozenset({SyncJobStatus.SUCCEEDED})
    max_documents_failed: int | None = None

    def __post_init__(self) -> None:
        if not self.statuses or not self.statuses <= TERMINAL_STATUSES:
            raise ValueError(
                f"The accepted statuses must be some of {', '.join(sorted(TERMINAL_STATUSES))}, "
                f"got {', '.join(sorted(map(repr, self.statuses))) or 'none'}."
            )
        check_max_documents_failed(self.max_documents_failed)

    @classmethod
    def of(cls, statuses: Collection[str], max_documents_failed: int | None = None) -> Acceptance:
        """
        Create it from the parameters of an operator or sensor.

        :param statuses: Statuses as text or :class:`SyncJobStatus`, in any order.
        :param max_documents_failed: As in the class.
        :raises ValueError: as in the class, and for a single text or anything else that is no collection.
        """
        if isinstance(statuses, str) or not isinstance(statuses, Collection):
            raise ValueError(f"The accepted statuses must be a list or a tuple, got {statuses!r}.")
        return cls(frozenset(map(str, statuses)), max_documents_failed)

    def accepts(self, job: SyncJob) -> bool:
        """
        Return whether a finished job is acceptable; faster than :meth:`objection` for a job that is not.

        :param job: A finished job.
        """
        is_incomplete = job.status == SyncJobStatus.INCOMPLETE and self.max_documents_failed is not None
        return (is_incomplete or job.status in self.statuses) and self.objection(job) is None

    def objection(self, job: SyncJob) -> str | None:
        """
        Return how a finished job ended, why that is not acceptable, and what would have accepted it; None if it is.

        :param job: A finished job.
        """
        statuses, limit = self.statuses, self.max_documents_failed
        if limit is not None:
            statuses = statuses | {SyncJobStatus.INCOMPLETE}
        if job.status not in statuses:
            if job.status == SyncJobStatus.INCOMPLETE and job.documents_failed is not None:
                return f"{job.end}; max_documents_failed={job.documents_failed} or more would have accepted it"
            return f"{job.end}. Only {_listed(sorted(statuses))} accepted"
        if limit is None or (job.documents_failed is None and job.status == SyncJobStatus.SUCCEEDED):
            return None
        if job.documents_failed is None:
            return f"Sync {job.status} without a count of failed documents, so max_documents_failed={limit} is not met"
        return f"{job.end}, more than max_documents_failed={limit}" if job.documents_failed > limit else None


ANY_END = Acceptance(TERMINAL_STATUSES)
"""Accepts every finished job."""


def sum_up(jobs: Sequence[SyncJob]) -> dict[str, Any]:
    """
    Return totals in JSON types: the sum of each document count, the number of ``jobs``, and that of each status.

    :param jobs: The jobs. A count that is not reported is treated as 0.
    """
    return {
        **{f"documents_{name}": sum(job.document_counts[name] or 0 for job in jobs) for name in DOCUMENT_COUNTS},
        "jobs": len(jobs),
        "statuses": {**dict.fromkeys(map(str, SyncJobStatus), 0), **Counter(str(job.status) for job in jobs)},
    }


def describe_totals(totals: Mapping[str, Any]) -> str:
    """
    Describe totals in words, for messages.

    :param totals: What :func:`sum_up` returned.
    """
    statuses = [f"{number:,} {plain(status, _LONGEST_ID)}" for status, number in totals["statuses"].items() if number]
    documents = [f"{totals[f'documents_{name}']:,} {name}" for name in DOCUMENT_COUNTS if totals[f"documents_{name}"]]
    parts = [", ".join(statuses), f"documents: {', '.join(documents)}" if documents else ""]
    return ": ".join(filter(None, (counted(totals["jobs"], "sync job"), "; ".join(filter(None, parts)))))


def _listed(statuses: Sequence[str]) -> str:
    """List statuses with the verb that follows: ``FAILED is``, or ``FAILED and SUCCEEDED are``."""
    *others, last = statuses
    return f"{', '.join(others)} and {last} are" if others else f"{last} is"


@lru_cache(maxsize=256)
def _parse_status(text: str) -> SyncJobStatus | str:
    """Return the status as an enum member, or as sent if unknown; cached to warn once for each unknown status."""
    try:
        return SyncJobStatus(text)
    except ValueError:
        log.warning('Unknown status "%s" of a Kendra sync job; the job counts as running.', plain(text, _LONGEST_ID))
        return text


def _utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    try:
        return value.astimezone(UTC)
    except OverflowError:  # within a day of datetime.min or datetime.max
        return value.replace(tzinfo=UTC)


def _count(text: str | None) -> int | None:
    """Parse a metric, which Kendra sends as text; None for anything but a count of at most 18 digits."""
    return int(text) if text is not None and len(text) <= _MOST_DIGITS and text.isdecimal() else None


# Kendra documents at most 2,048 characters for a message and 100 for an id.
_LONGEST_MESSAGE = 2_048
_LONGEST_CODE = 256
_LONGEST_ID = 128
_MOST_DIGITS = 18


def as_execution_id(text: str | None) -> str:
    """
    Return an execution id, cut to a bounded length; empty if the service sent none.

    :param text: The id as sent.
    """
    return _text(text, _LONGEST_ID) or ""


def _text(text: str | None, longest: int) -> str | None:
    return text if text is None else storable(text, longest)


def _checked(name: str, value: Any) -> Any:
    """Convert a value of a record to the type of its field; raise ValueError if it is invalid."""
    if name.startswith("documents_"):
        is_count = isinstance(value, int) and not isinstance(value, bool)
        if value is None or (is_count and abs(value) < 10**_MOST_DIGITS):
            return value
    elif name in ("start_time", "end_time"):
        if value is None:
            return None
        with suppress(TypeError, ValueError):
            moment = datetime.fromisoformat(value)
            if moment.utcoffset() is not None:
                return moment
    elif isinstance(value, str):
        if name == "status":
            return _parse_status(storable(value, _LONGEST_ID))
        return storable(value, _LONGEST_MESSAGE)
    elif value is None and name.endswith(("error_code", "error_message")):
        return None
    raise ValueError(f"{name} of the record of a sync job is {shown(value)}")
