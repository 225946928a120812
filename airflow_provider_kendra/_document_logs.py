"""Reads the documents that failed from Kendra's CloudWatch log streams, within a number of calls and seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_kendra._clock import in_words
from airflow_provider_kendra._text import counted, plain
from airflow_provider_kendra.documents import DocumentEvent, DocumentFailures, IndexCapacity, read_event, total
from airflow_provider_kendra.exceptions import KendraRequestError
from airflow_provider_kendra.sync_job import SyncJobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_kendra.sync_job import SyncJob

REPORT = "SYNC_RUN_HISTORY_REPORT/"
"""The prefix of the streams with one event for each document of a sync."""

FAILED = '{ ($.ConnectorDocumentStatus.Status = "FAILED") || ($.ConnectorDocumentStatus = "FAILED") }'
"""Events of documents that failed, in a report."""

RESOLVED = (
    '{ ($.CrawlAction != "UNMODIFIED") && (($.IndexStatus.Status = "SUCCESS") || ($.IndexStatus = "SUCCESS") || '
    "($.CrawlAction = %^[Dd][Ee][Ll][Ee][Tt][Ee]%)) }"
)
"""Events of documents that were indexed or deleted, in a report."""

ERRORS = (
    '{ ($.ErrorCode = %.+%) || ($.CrawlStatus = "FAILED") || ($.IndexingStatus = "DocumentFailedToIndex") || '
    "($.Message = %[Ii]nvalid.[Mm]etadata%) }"
)
"""
Events of documents that failed, in the other streams of a data source.

A filter pattern can contain at most two regular expressions, and these can't contain a space:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/regex-expressions.html
"""

BEFORE = timedelta(minutes=5)
AFTER = timedelta(minutes=15)
"""How far from the start and the end of a sync its events are searched for."""

RETRY_PAUSE = 1.0  # seconds


class LogCalls:
    """
    FilterLogEvents on the log group of an index, with a limit of calls and of time.

    :param filter_events: Makes the call; raises the errors of botocore.
    :param explain: Returns the reason that a note gives for an error, and whether a retry can help.
    :param group: The log group.
    :param calls: The maximum number of calls.
    :param seconds: After this time no call is made, and ``filter_events`` must abort the call in progress.
    """

    def __init__(
        self,
        filter_events: Callable[..., Mapping[str, Any]],
        explain: Callable[[Exception, str], tuple[str, bool]],
        *,
        group: str,
        calls: int,
        seconds: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], object],
    ) -> None:
        self._filter_events = filter_events
        self._explain = explain
        self._group = group
        #: How many calls may still be made.
        self.calls_left = calls
        self._monotonic = monotonic
        self._sleep = sleep
        self._ends_at = monotonic() + seconds
        self._limit = f"{calls} calls and {seconds:g} s"
        #: The first reason why a search could not read everything; None if every search did.
        self.note: str | None = None

    def events(self, prefix: str, pattern: str, since: datetime, until: datetime) -> Iterator[Event]:
        """Yield the events of matching streams. If not all could be read, :attr:`note` says why."""
        request = {
            "logGroupName": self._group,
            "logStreamNamePrefix": prefix,
            "filterPattern": pattern,
            "startTime": _milliseconds(since),
            "endTime": _milliseconds(until),
        }
        tokens: set[str] = set()
        while True:
            response = self._call(request)
            if response is None:
                return
            events, token = response.get("events"), response.get("nextToken")
            for event in events if isinstance(events, list) else ():
                if (found := _read(event, prefix)) is not None:
                    yield found
            if not isinstance(events, list) or not isinstance(token, str | None):
                self._note_once("CloudWatch Logs returned a response that could not be read.")
                return
            if not token:
                return
            if token in tokens:
                self._note_once("CloudWatch Logs returned the same page twice, so not all events were read.")
                return
            tokens.add(token)
            request["nextToken"] = token

    def _note_once(self, note: str) -> None:
        self.note = self.note or note

    def _call(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        note = f"Not all events were read within {self._limit}."
        while self.calls_left > 0 and self._monotonic() < self._ends_at:
            self.calls_left -= 1
            try:
                response = self._filter_events(**request)
            except KendraRequestError:
                raise  # the configuration can't work
            except Exception as error:
                if isinstance(error, TimeoutError) and self._monotonic() >= self._ends_at:
                    break  # our own time limit ended the call, which says nothing about the service
                note, is_worth_a_retry = self._explain(error, self._group)
            else:
                return response
            if not is_worth_a_retry or self.calls_left == 0 or self._monotonic() + RETRY_PAUSE >= self._ends_at:
                break
            self._sleep(RETRY_PAUSE)
        self._note_once(note)
        return None


class Event(NamedTuple):
    """An event of a log stream."""

    stream: str
    timestamp: int
    message: str


def _read(event: object, prefix: str) -> Event | None:
    """Check an event; the service may return events of other streams, and botocore does not check types."""
    match event:
        case {"logStreamName": str(stream), "timestamp": int(timestamp), "message": str(message)} if stream.startswith(
            prefix
        ):
            return Event(stream, timestamp, message)
    return None


def _milliseconds(moment: datetime) -> int:
    return max(int(moment.timestamp() * 1000), 0)  # the service rejects a time before 1970


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return moment


def may_have_failures(job: SyncJob) -> bool:
    """
    Return whether a job can have documents that failed, so that it is worth reading its logs.

    :param job: The sync job.
    """
    return bool(job.documents_failed) or job.status in (SyncJobStatus.FAILED, SyncJobStatus.INCOMPLETE)


MANY_FAILURES = 10
"""A full index is suspected from this many failed documents."""

ALMOST_FULL = 0.99
"""An index counts as full from this share: a document that does not fit is rejected before 1 is reached."""


def may_be_of_a_full_index(job: SyncJob) -> bool:
    """
    Return whether so many documents of a job failed, or may have failed, that the index may be full.

    :param job: The sync job.
    """
    return job.documents_failed is None or job.documents_failed >= MANY_FAILURES


def advise_on_capacity(read_capacity: Callable[[], IndexCapacity], failures: DocumentFailures) -> str:
    """
    Return a sentence if many documents failed to be indexed because the index is full, else "".

    :param read_capacity: Reads the capacity; its errors count as "not known".
    :param failures: The documents that failed in a job.
    """
    of_index = sum(each["count"] for each in failures.reasons if each["stage"] in ("index", "unknown"))
    if max(failures.found, failures.expected or 0) < MANY_FAILURES or (failures.found and not of_index):
        return ""
    try:
        capacity = read_capacity()
    except Exception:  # only advice
        return ""
    if capacity.share is None or capacity.share < ALMOST_FULL:
        return ""
    return f"The index is {capacity}: add storage capacity units or delete documents."


def failed_documents(calls: LogCalls, job: SyncJob, *, limit: int, now: datetime) -> DocumentFailures:
    """
    Read the documents that failed in a sync job.

    :param calls: The calls.
    :param job: The sync job.
    :param limit: How many documents to return.
    :param now: The time.
    """
    ended = job.end_time or now
    since = _shifted(job.start_time or _shifted(ended, -timedelta(days=1)), -BEFORE)
    report = f"{REPORT}{job.data_source_id}/{job.execution_id}"
    of_report = (
        event
        for event in calls.events(report, FAILED, since, _shifted(max(ended, now), AFTER))
        if event.stream == report
    )
    found, source = _failures(of_report, job.execution_id), "report"
    if not found and calls.note is None:
        source = "log"
        until = _shifted(ended, AFTER)
        found = _failures(calls.events(f"{job.data_source_id}/", ERRORS, since, until), job.execution_id)
    notes = (calls.note, _note_on_number(len(found), job, calls.note), _note_on_time(found))
    note = " ".join(filter(None, notes)) or None
    return _result(found, limit, expected=job.documents_failed, source=source, note=note)


def _failures(events: Iterator[Event], execution_id: str) -> list[DocumentEvent]:
    """
    Return each document's last event, if it is a failure.

    An event matched by time alone is used only for a document without an event of this job.

    Messages are not kept, since many messages need much memory, and they contain personal data.
    """
    of_job: dict[str, tuple[int, DocumentEvent]] = {}
    by_time: dict[str, tuple[int, DocumentEvent]] = {}
    for event in events:
        is_of_job = event.stream.rpartition("/")[2] == execution_id
        known = read_event(event.message, execution_id if is_of_job else None)
        if known is None:
            continue
        last = of_job if is_of_job else by_time
        if known.key not in last or event.timestamp >= last[known.key][0]:
            last[known.key] = event.timestamp, known
    in_order = sorted({**by_time, **of_job}.values(), key=lambda each: each[0])
    return [known for _, known in in_order if known.is_failure]


def _result(
    found: Sequence[DocumentEvent], limit: int, *, expected: int | None, source: str, note: str | None
) -> DocumentFailures:
    return DocumentFailures(
        documents=[event.document for event in found[:limit]],
        found=len(found),
        expected=expected,
        reasons=total((event.document.stage, event.cause) for event in found),
        is_complete=note is None,
        source=source if found else None,
        note=note,
    )


def _note_on_number(found: int, job: SyncJob, fault: str | None) -> str | None:
    """Return a note if the logs name fewer documents than failed; a fault explains why they name none."""
    expected = job.documents_failed or 0
    if fault and (not found or found >= expected):
        return None
    if not found and not expected and job.status == SyncJobStatus.INCOMPLETE:
        return f"Kendra's logs do not name the documents that failed. {_MAY_BE_LATE}"
    if found >= expected:
        return None
    named = f"{found:,} of {counted(expected, 'document')} that failed"
    if fault:
        return f"The log events that were read name {named}."
    if found:
        return f"Kendra's logs name {named}; the rest may be late."
    if expected == 1:
        return f"Kendra's logs do not name the document that failed. {_MAY_BE_LATE}"
    return f"Kendra's logs name none of the {expected:,} documents that failed. {_MAY_BE_LATE}"


def _note_on_time(found: Iterable[DocumentEvent]) -> str | None:
    """Return a note if some documents are from streams of another job, or of none."""
    by_time = sum(event.document.execution_id is None for event in found)
    if not by_time:
        return None
    of_streams = (
        "is from a stream that does not name this sync job, and was"
        if by_time == 1
        else "are from streams that do not name this sync job, and were"
    )
    return (
        f"{by_time:,} of the documents {of_streams} logged at about the time of the sync. The sync's run history "
        "report names no document that failed: the report may be late, or not exist."
    )


_MAY_BE_LATE = "The log events may be late, or deleted by the log group's retention."


@dataclass(slots=True)
class _Missing:
    """The last failure of a document, when it was, and when the document was last indexed or deleted."""

    event: DocumentEvent
    failed_at: int
    resolved_at: int | None = None

    @property
    def is_resolved(self) -> bool:
        return self.resolved_at is not None and self.resolved_at > self.failed_at


def missing_documents(
    calls: LogCalls,
    data_source_id: str,
    *,
    lookback: timedelta,
    limit: int,
    now: datetime,
    read_jobs: Callable[[], Iterable[SyncJob] | None] = tuple,
) -> DocumentFailures:
    """
    Read which documents failed in a look-back and have not been indexed or deleted since.

    Kendra does not retry a failed document until it changes, so later syncs report it as unmodified. A document
    that could not be deleted is not missing.

    :param calls: The calls.
    :param data_source_id: The data source.
    :param lookback: How far back to search for failures.
    :param limit: How many documents to return.
    :param now: The time.
    :param read_jobs: Returns the newest sync jobs in the look-back; None if they can't be read. How many of their
        documents failed is compared with how many the logs name.
    """
    prefix = f"{REPORT}{data_source_id}/"
    since, until = now - lookback, now + AFTER
    missing: dict[str, _Missing] = {}
    named: dict[str, set[str]] = {}
    for event, known in _documents(calls.events(prefix, FAILED, since, until)):
        if not known.is_failure:
            continue
        named.setdefault(event.stream.removeprefix(prefix), set()).add(known.key)
        before = missing.get(known.key)
        if not known.is_deletion and (before is None or event.timestamp >= before.failed_at):
            missing[known.key] = _Missing(known, event.timestamp)
    if missing:
        oldest = _oldest(missing.values(), since, now)
        for event, known in _documents(calls.events(prefix, RESOLVED, oldest, until)):
            for failed in _resolved_by(known, missing):
                failed.resolved_at = max(event.timestamp, failed.resolved_at or event.timestamp)
    newest_first = sorted(missing.values(), key=lambda each: -each.failed_at)
    found = [each.event for each in newest_first if not each.is_resolved]
    note = calls.note or _note_on_unnamed(read_jobs(), {job: len(keys) for job, keys in named.items()})
    note = note and f"{note} Searched: the last {in_words(lookback)}."
    return _result(found, limit, expected=None, source="report", note=note)


def _resolved_by(known: DocumentEvent, missing: Mapping[str, _Missing]) -> Iterator[_Missing]:
    """Yield the failures that an event resolves. A URI, which documents can share, matches only those without an id."""
    for key in known.keys if known.is_resolved else ():
        failed = missing.get(key)
        if failed is not None and (key == known.key or not failed.event.document.document_id):
            yield failed


def _note_on_unnamed(jobs: Iterable[SyncJob] | None, named: Mapping[str, int]) -> str | None:
    """
    Return a note if the logs name fewer documents of a job than failed.

    :param jobs: The sync jobs; None if they could not be read.
    :param named: How many documents the logs name, by job.
    """
    if jobs is None:
        return (
            "The sync history could not be read, so it is not known whether the logs name every document that failed."
        )
    finished = [job for job in jobs if job.is_finished]
    unnamed = sum(named.get(job.execution_id, 0) < _least_failed(job) for job in finished)
    if not unnamed:
        return None
    number = f"{unnamed} of the last {counted(len(finished), 'sync')} report{'s' if unnamed == 1 else ''}"
    return (
        f"{number} documents that failed, but Kendra's logs do not name all of them. The log events may be late, or "
        "deleted by the log group's retention, or Kendra writes no reports for this data source (possible for CUSTOM "
        "ones)."
    )


def _least_failed(job: SyncJob) -> int:
    """Return the minimum number of failed documents: at least 1 for an INCOMPLETE job, even without a count."""
    return max(job.documents_failed or 0, int(job.status == SyncJobStatus.INCOMPLETE))


def _oldest(missing: Iterable[_Missing], since: datetime, now: datetime) -> datetime:
    """Return when the first document failed, clamped to the look-back."""
    oldest = min(each.failed_at for each in missing)
    return datetime.fromtimestamp(min(max(oldest, _milliseconds(since)), _milliseconds(now)) / 1000, UTC)


def _documents(events: Iterator[Event]) -> Iterator[tuple[Event, DocumentEvent]]:
    for event in events:
        known = read_event(event.message, plain(event.stream.rpartition("/")[2], _LONGEST_EXECUTION_ID))
        if known is not None:
            yield event, known


_LONGEST_EXECUTION_ID = 128
