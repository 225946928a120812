"""Reads the documents that failed from Kendra's CloudWatch log streams, within a number of calls and seconds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_provider_kendra._clock import in_words
from airflow_provider_kendra.documents import DocumentFailures, FailedDocument, IndexCapacity, read_event, total
from airflow_provider_kendra.sync_job import SyncJobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_kendra.sync_job import SyncJob

REPORT = "SYNC_RUN_HISTORY_REPORT/"
"""The prefix of the streams with one event for each document of a sync."""

FAILED = '{ $.ConnectorDocumentStatus.Status = "FAILED" }'
"""Events of documents that failed, in a report."""

MENDED = (
    '{ ($.CrawlAction != "UNMODIFIED") && (($.IndexStatus.Status = "SUCCESS") || ($.IndexStatus = "SUCCESS") || '
    "($.CrawlAction = %^[Dd][Ee][Ll][Ee][Tt][Ee]%)) }"
)
"""Events of documents that were indexed or deleted, in a report."""

ERRORS = (
    '{ ($.ErrorCode = %.+%) || ($.CrawlStatus = "FAILED") || ($.IndexingStatus = "DocumentFailedToIndex") || '
    "($.Message = %[Ii]nvalid [Mm]etadata%) }"
)
"""Events of documents that failed, in the other streams of a data source."""

BEFORE = timedelta(minutes=5)
AFTER = timedelta(minutes=15)
"""How far from the start and the end of a sync its events are searched for."""

THROTTLED_PAUSE = 1.0  # seconds


class LogCalls:
    """
    FilterLogEvents on the log group of an index, with a limit of calls and of time.

    :param filter_events: Makes the call; raises the errors of botocore.
    :param explain: Returns the reason that a note gives for an error, and whether a repetition can help.
    :param group: The log group.
    :param calls: The most calls.
    :param seconds: After this time no call is made. A call that is under way then ends by its own time-outs.
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
        self._calls_left = calls
        self._monotonic = monotonic
        self._sleep = sleep
        self._ends_at = monotonic() + seconds
        self._limit = f"{calls} calls and {seconds:g} s"
        #: Why not everything was read; None if it was.
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
            for event in response.get("events") or ():
                if (found := _read(event, prefix)) is not None:
                    yield found
            token = response.get("nextToken")
            if not token:
                return
            if token in tokens:
                self.note = "CloudWatch Logs returned the same page twice, so not all events were read."
                return
            tokens.add(token)
            request["nextToken"] = token

    def _call(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        while self._calls_left > 0 and self._monotonic() < self._ends_at:
            self._calls_left -= 1
            try:
                response = self._filter_events(**request)
            except Exception as error:
                self.note, is_worth_a_retry = self._explain(error, self._group)
                if not is_worth_a_retry:
                    return None
            else:
                self.note = None
                return response
            if self._calls_left > 0:
                self._sleep(THROTTLED_PAUSE)
        if self.note is None:
            self.note = f"Not all events were read within {self._limit}."
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
    return int(moment.timestamp() * 1000)


def may_have_failures(job: SyncJob) -> bool:
    """
    Return whether a job can have documents that failed, so that it is worth reading its logs.

    :param job: The sync job.
    """
    return bool(job.documents_failed) or job.status in (SyncJobStatus.FAILED, SyncJobStatus.INCOMPLETE)


MANY_FAILURES = 10
"""From how many failed documents on a full index is suspected."""


def advise_on_capacity(calls: CapacityCalls, job: SyncJob, failures: DocumentFailures) -> str:
    """
    Return a sentence if many documents failed to be indexed because the index is full, else "".

    :param calls: Reads the capacity; its errors count as "not known".
    :param job: The sync job.
    :param failures: The documents that failed in it.
    """
    is_of_index = any(document.stage in ("index", "unknown") for document in failures.documents)
    if max(failures.found, failures.expected or 0) < MANY_FAILURES or (failures.documents and not is_of_index):
        return ""
    try:
        capacity = calls.get_index_capacity(job.index_id)
    except Exception:  # only advice
        return ""
    if capacity.share is None or capacity.share < 1:
        return ""
    return f"The index is {capacity}: add storage capacity units or delete documents."


class CapacityCalls(Protocol):
    """Reads the capacity of an index."""

    def get_index_capacity(self, index_id: str) -> IndexCapacity:
        """Read it."""


def failed_documents(calls: LogCalls, job: SyncJob, *, limit: int, now: datetime) -> DocumentFailures:
    """
    Read the documents that failed in a sync job.

    :param calls: The calls.
    :param job: The sync job.
    :param limit: How many documents to return.
    :param now: The time, if the job has not ended.
    """
    since = (job.start_time or now - timedelta(days=1)) - BEFORE
    until = (job.end_time or now) + AFTER
    report = f"{REPORT}{job.data_source_id}/{job.execution_id}"
    found, source = _failures(calls.events(report, FAILED, since, until), job.execution_id), "report"
    by_time = 0
    if not found and calls.note is None:
        source = "log"
        found = _failures(calls.events(f"{job.data_source_id}/", ERRORS, since, until), job.execution_id)
        by_time = sum(document.execution_id is None for document in found.values())
    result = _result(found, limit, expected=job.documents_failed, source=source if found else None, note=calls.note)
    return replace(result, note=result.note or _note(result, by_time), is_complete=_is_complete(result, by_time))


def _failures(events: Iterator[Event], execution_id: str) -> dict[str, FailedDocument]:
    """Return the documents whose last event is a failure, by id."""
    failures: dict[str, FailedDocument] = {}
    for event in sorted(events, key=lambda each: each.timestamp):
        is_of_job = event.stream.rpartition("/")[2] == execution_id
        known = read_event(event.message, execution_id if is_of_job else None)
        if known is None:
            continue
        if known.is_failure:
            failures[known.document.document_id] = known.document
        elif is_of_job:
            failures.pop(known.document.document_id, None)
    return failures


def _result(
    found: Mapping[str, FailedDocument], limit: int, *, expected: int | None, source: str | None, note: str | None
) -> DocumentFailures:
    documents = list(found.values())
    return DocumentFailures(
        documents=documents[:limit],
        found=len(documents),
        expected=expected,
        reasons=total(documents),
        is_complete=note is None,
        source=source,
        note=note,
    )


def _is_complete(result: DocumentFailures, by_time: int) -> bool:
    return result.note is None and not by_time and (result.expected is None or result.found >= result.expected)


def _note(result: DocumentFailures, by_time: int) -> str | None:
    if by_time:
        return (
            f"{by_time} of them are from streams that name no sync job; they were logged while this one ran. Kendra "
            "wrote no sync run history report for it."
        )
    if result.expected is None or result.found >= result.expected:
        return None
    if not result.found:
        return (
            f"Kendra's logs name none of the {result.expected:,} documents that failed. They may be late, or have been "
            "deleted by the retention of the log group."
        )
    return f"Kendra's logs name {result.found:,} of {result.expected:,} documents that failed; the rest may be late."


@dataclass
class _Missing:
    """A document that failed, when it last did, and when it was last indexed or deleted."""

    document: FailedDocument
    failed_at: int
    mended_at: int = field(default=-1)


def missing_documents(
    calls: LogCalls, data_source_id: str, *, lookback: timedelta, limit: int, now: datetime
) -> DocumentFailures:
    """
    Read which documents failed in a look-back and have not been indexed or deleted since.

    Kendra does not try a failed document again until it changes, so that later syncs report it as unmodified.

    :param calls: The calls.
    :param data_source_id: The data source.
    :param lookback: How far back to search for failures.
    :param limit: How many documents to return.
    :param now: The time.
    """
    prefix = f"{REPORT}{data_source_id}/"
    missing: dict[str, _Missing] = {}
    for event, known in _documents(calls.events(prefix, FAILED, now - lookback, now + AFTER)):
        if known.is_failure:
            document_id = known.document.document_id
            before = missing.get(document_id)
            if before is None or event.timestamp >= before.failed_at:
                missing[document_id] = _Missing(known.document, event.timestamp)
    if missing:
        oldest = datetime.fromtimestamp(min(each.failed_at for each in missing.values()) / 1000, UTC)
        for event, known in _documents(calls.events(prefix, MENDED, oldest, now + AFTER)):
            if known.is_mended and (failed := missing.get(known.document.document_id)) is not None:
                failed.mended_at = max(failed.mended_at, event.timestamp)
    newest_first = sorted(missing.values(), key=lambda each: -each.failed_at)
    found = {each.document.document_id: each.document for each in newest_first if each.mended_at <= each.failed_at}
    note = calls.note and f"{calls.note} Searched: the last {in_words(lookback)}."
    return _result(found, limit, expected=None, source="report" if found else None, note=note)


def _documents(events: Iterator[Event]) -> Iterator[tuple[Event, Any]]:
    for event in events:
        known = read_event(event.message, event.stream.rpartition("/")[2])
        if known is not None:
            yield event, known
