"""
Writes the CloudWatch log streams of sync jobs and document uploads.

The streams and most events are those of "Monitoring Amazon Kendra with Amazon CloudWatch Logs" in Kendra's developer
guide. The report is that of AWS's post "Introducing document-level sync reports" (2024-09).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from moto.moto_api._internal import mock_random

from .documents import UNMODIFIED, Attributes, Change, Document, Problem
from .settings import Outcome
from .sync_jobs import SyncJob

#: An e-mail address and a name that occur only in `Acl` and `Metadata` of a report. A test can search its output for
#: them to find out whether personal data leaks.
PERSONAL_DATA = ("jane.doe@personal.example", "Jane Planted-Doe")

MAX_EVENTS_OF_DOCUMENT_STREAM = 500

STAGES = {"crawl": "CrawlStatus", "sync": "SyncStatus", "index": "IndexStatus"}

Event = dict[str, Any]

# Created once: json.dumps creates an encoder at each call with options.
_encode = json.JSONEncoder(default=str).encode
_compact = json.JSONEncoder(default=str, separators=(",", ":")).encode


def write_job(backend: Any, source: Any, job: SyncJob, *, available_at: float) -> None:
    """Write the report and the other streams of a sync job that has ended; readable from a time on."""
    index = backend.indexes[source.index_id]
    start = job.start_time
    span = (start, max(start, job.end_time or start))
    write = partial(_write, backend, index.id, span=span, available_at=available_at)
    if has_report(source):
        ids = {
            "AwsAccountId": backend.account_id,
            "DataSourceId": source.id,
            "SyncJobId": job.execution_id,
            "IndexId": index.id,
        }
        changes = [_without_text(change) for change in job.changes.values()]
        write(f"SYNC_RUN_HISTORY_REPORT/{source.id}/{job.execution_id}", changes, partial(report_event, ids))
    failed = [
        (change.document, stage_of(change.problem, source))
        for change in job.changes.values()
        if change.problem is not None
    ]
    earlier = [failed_event(index.id, document, stage) for document, stage in failed if stage != "index"]
    own = [*job.messages, *earlier, *error_events(job.outcome)]
    write(f"{source.id}/{_hour(start)}/{job.execution_id}", own)
    later = [document_event(index, document) for document, stage in failed if stage == "index"]
    for first in range(0, len(later), MAX_EVENTS_OF_DOCUMENT_STREAM):
        name = f"{source.id}/{_hour(start)}/{mock_random.uuid4()}"
        write(name, later[first : first + MAX_EVENTS_OF_DOCUMENT_STREAM])


def write_failed_upload(backend: Any, index: Any, change: Change, *, at: float, available_at: float) -> None:
    """Write why a document that was put into the index directly could not be indexed."""
    name = f"{_hour(at)}/{mock_random.uuid4()}"
    events = [document_event(index, change.document)]
    _write(backend, index.id, name, events, span=(at, at), available_at=available_at)


def has_report(source: Any) -> bool:
    """
    Tell whether the syncs of a data source have a report.

    AWS says that all supported connectors have one, but not whether CUSTOM data sources do. Here they have none, so
    code that reads reports is also tested without one.
    """
    return not source.is_custom


def stage_of(problem: Problem, source: Any) -> str:
    """Return the stage in which a document failed: always `index` for CUSTOM, whose documents are not crawled."""
    return "index" if source.is_custom or problem.stage not in STAGES else problem.stage


# events


def report_event(ids: dict[str, str], change: Change) -> Event:
    """Return what the report of a sync says about one document."""
    document, problem = change.document, change.problem
    return ids | {
        "DocumentId": document.id,
        "DocumentTitle": document.title,
        "SourceUri": document.source_uri,
        "Acl": _compact(_access_of(document, ids["DataSourceId"])),
        "Metadata": _compact(_metadata_of(document.attributes)),
        "CrawlAction": change.action,
        **{name: {"Status": status} for name, status in _statuses(change).items()},
        "HashedDocumentId": hashlib.sha256(document.id.encode()).hexdigest(),
        "ContentType": document.content_type,
        "IntermediateStatus": "",
        "ErrorMsg": problem.message if problem else "",
        "LogLevel": "Error" if problem else "Info",
    }


def _statuses(change: Change) -> dict[str, str]:
    """Return the status of each stage that the document reached, and of the document."""
    names = list(STAGES.values())
    if change.problem is not None:
        failed = STAGES.get(change.problem.stage, names[-1])
        reached = names[: names.index(failed)]
        return dict.fromkeys(reached, "SUCCESS") | {failed: "FAILED", "ConnectorDocumentStatus": "FAILED"}
    rest = "SKIPPED" if change.action == UNMODIFIED else "SUCCESS"
    return {names[0]: "SUCCESS"} | dict.fromkeys([*names[1:], "ConnectorDocumentStatus"], rest)


def failed_event(index_id: str, document: Document, stage: str) -> Event:
    """Return what the sync's own stream says about a document that was not crawled or not accepted."""
    problem = document.problem or Problem("")
    if stage == "crawl":
        return {
            "DocumentID": document.id,
            "IndexID": index_id,
            "SourceURI": document.source_uri,
            "CrawlStatus": "FAILED",
            "ErrorCode": problem.code,
            "ErrorMessage": problem.message,
            "DataSourceErrorCode": problem.code,
        }
    paths = [path for path in (document.id, document.source_uri) if path.startswith("s3://")]
    return {
        "DocumentId": document.id,
        **({"S3Path": paths[0]} if paths else {}),
        "Message": "Failed to ingest document via BatchPutDocument.",
        "ErrorCode": problem.code,
        "ErrorMessage": problem.message,
    }


def error_events(outcome: Outcome | None) -> list[Event]:
    """Return what the sync's own stream says about the error of the sync, if it had one."""
    if outcome is None or (outcome.error_code or outcome.error_message) is None:
        return []
    event = {
        "ErrorCode": outcome.error_code,
        "ErrorMessage": outcome.error_message,
        "DataSourceErrorCode": outcome.data_source_error_code,
    }
    return [{name: value for name, value in event.items() if value is not None}]


def document_event(index: Any, document: Document) -> Event:
    """Return what a document stream says about a document that could not be indexed."""
    problem = document.problem or Problem("")
    return {
        "DocumentId": document.id,
        "IndexName": index.configured["Name"],
        "IndexId": index.id,
        "SourceURI": document.source_uri,
        "IndexingStatus": "DocumentFailedToIndex",
        "ErrorCode": "500" if problem.code == "InternalError" else "400",
        "ErrorMessage": problem.message,
    }


def _access_of(document: Document, data_source_id: str) -> list[Event]:
    own = [
        {
            "globalName": principal.get("Name"),
            "name": principal.get("Name"),
            "type": principal.get("Type"),
            "isFederated": principal.get("Type") == "GROUP" and "DataSourceId" not in principal,
            "access": "DENIED" if principal.get("Access") == "DENY" else "ALLOWED",
            "dataSourceId": principal.get("DataSourceId"),
        }
        for principal in document.access
    ]
    address, name = PERSONAL_DATA
    planted = {"globalName": address, "name": name, "type": "USER", "isFederated": False, "access": "ALLOWED"}
    return [*own, planted | {"dataSourceId": data_source_id}]


def _metadata_of(attributes: Attributes) -> list[Event]:
    own = [
        {"key": key, "value": {kind[:1].lower() + kind[1:]: value for kind, value in values.items()}}
        for key, values in attributes.items()
    ]
    return [*own, {"key": "_authors", "value": {"stringListValue": list(PERSONAL_DATA)}}]


# streams


def _write(
    backend: Any,
    index_id: str,
    name: str,
    items: Sequence[Any],
    to_event: Callable[[Any], Event] = dict,
    *,
    span: tuple[float, float],
    available_at: float,
) -> None:
    """Add a stream with an event for each item, unless there are none; its group is created if it is missing."""
    from moto.logs.models import logs_backends

    from .log_streams import DelayedLogStream

    if not items:
        return
    logs = logs_backends[backend.account_id][backend.region_name]
    group_name = f"/aws/kendra/{index_id}"
    logs.ensure_log_group(group_name)
    group = logs.groups[group_name]
    # Not through put_log_events: it refuses events that are older than 14 days.
    stream = DelayedLogStream(
        group, name, _messages(items, to_event, span), created_at=span[0], available_at=available_at
    )
    group.streams = {**group.streams, name: stream}  # a copy: a request of another thread may iterate over it


def _messages(
    items: Sequence[Any], to_event: Callable[[Any], Event], span: tuple[float, float]
) -> Iterator[tuple[int, str]]:
    """Yield the time in milliseconds and the message of each event, spread evenly over a time."""
    start, end = (round(seconds * 1000) for seconds in span)
    for place, item in enumerate(items, 1):
        yield start + (end - start) * place // (len(items) + 1), _encode(to_event(item))


def _without_text(change: Change) -> Change:
    """Return a copy that does not keep the text of a document in memory."""
    return replace(change, document=replace(change.document, text="")) if change.document.text else change


def _hour(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d-%H")
