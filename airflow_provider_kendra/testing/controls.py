"""Test controls of the local Kendra: advance, decide and rewrite sync jobs, which no AWS client can do.

Under `mock_kendra`, call these functions directly. `LocalKendra` documents them and calls them over HTTP.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import camelcase_to_underscores
from moto.s3.models import s3_backends

from airflow_provider_kendra.testing.registry import register

if TYPE_CHECKING:
    from airflow_provider_kendra.testing.moto_backends.kendra import documents, levers, models, responses, sync_jobs
else:
    register()
    from moto.kendra import documents, levers, models, responses


def is_operation(name: str) -> bool:
    """Whether this Kendra offers the operation."""
    return name[:1].isupper() and hasattr(responses.KendraResponse, camelcase_to_underscores(name))


def reset() -> None:
    """Delete all data of every service."""
    with models.lock:
        BackendDict.reset()
        reset_model_data()


def set_sync_duration(seconds: float | None, indexing: float | None = None) -> None:
    """Set how long crawling and then indexing take; `None`: until advanced."""
    if indexing is None and seconds is not None:
        indexing = seconds / 2
    settings = _settings()
    settings.crawl_seconds, settings.indexing_seconds = seconds, indexing


def set_listing_delay(looks: int) -> None:
    """Set from how many list responses a new job is missing."""
    _settings().unlisted_responses = looks


def set_empty_first_page(is_empty: bool) -> None:
    """Set whether the first page of each history is empty and has a `NextToken`."""
    _settings().has_empty_first_page = is_empty


def set_creation_time(seconds: float, updating: float | None = None) -> None:
    """Set how long new resources are CREATING, and changed ones UPDATING."""
    settings = _settings()
    settings.creating_seconds = seconds
    settings.updating_seconds = seconds if updating is None else updating


def set_log_delay(seconds: float) -> None:
    """Set how long after the end of a sync its log streams can be read."""
    _settings().log_delay = seconds


def set_quotas(
    *,
    indexes: int | None = None,
    data_sources: int | None = None,
    documents: int | None = None,
    text_bytes: int | None = None,
) -> None:
    """Set the quotas: of an account, of an index, and of each unit of an index's capacity."""
    settings = _settings()
    settings.max_indexes, settings.max_data_sources = indexes, data_sources
    settings.documents_per_unit, settings.text_bytes_per_unit = documents, text_bytes


def run_schedules(is_running: bool = True) -> None:
    """Set whether schedules start syncs by the clock, from now on."""
    _settings().schedules_since = models.now() if is_running else None


def set_clock(time: datetime | float | None) -> None:
    """Stop the clock at a time; `None`: let it show the real time again."""
    settings = _settings()
    settings.frozen_at = time.timestamp() if isinstance(time, datetime) else time
    settings.clock_offset = 0.0


def advance_clock(seconds: float) -> None:
    """Put the clock forward."""
    settings = _settings()
    if settings.frozen_at is None:
        settings.clock_offset += seconds
    else:
        settings.frozen_at += seconds


def set_data_source_status(index_id: str, data_source_id: str, status: str) -> None:
    """Set the status of a data source."""
    with models.lock:
        _data_source(index_id, data_source_id).script.status = status


def advance(index_id: str, data_source_id: str) -> str:
    """Advance the running sync to its next status and return it."""
    with models.lock:
        job = _running_job(index_id, data_source_id)
        if not job.steps:
            raise ValueError("The sync of a CUSTOM data source continues until it is stopped or finished")
        job.advance(models.now())
        _backend(index_id).log(_data_source(index_id, data_source_id))
        return str(job.status)


def finish_sync_job(index_id: str, data_source_id: str, status: str = "SUCCEEDED", **details: Any) -> None:
    """End the running sync now, with this outcome."""
    with models.lock:
        job = _running_job(index_id, data_source_id)
        job.outcome = levers.Outcome(status, **details)
        job.end(models.now())
        _backend(index_id).log(_data_source(index_id, data_source_id))


def set_next_outcome(index_id: str, data_source_id: str, status: str = "SUCCEEDED", **details: Any) -> None:
    """Set the outcome of the running sync, or else of the next one."""
    with models.lock:
        source = _data_source(index_id, data_source_id)
        outcome = levers.Outcome(status, **details)
        if source.running:
            source.running.outcome = outcome
        else:
            source.script.next_outcome = outcome


def start_scheduled_sync(index_id: str, data_source_id: str) -> str:
    """Start a sync as a data source's schedule does."""
    with models.lock:
        backend = _backend(index_id)
        job = backend.start_data_source_sync_job(index_id=index_id, data_source_id=data_source_id, scheduled=True)
        return job.execution_id


def fail_documents(
    index_id: str,
    data_source_id: str,
    document_ids: Sequence[str],
    times: int | None = None,
    error_code: str = "InternalError",
    stage: str | None = None,
    reason: str = "The document could not be indexed",
) -> None:
    """Let these documents fail when they are put, or in a stage of their sync."""
    with models.lock:
        source = _data_source(index_id, data_source_id)
        problem = documents.Problem(reason, stage or ("put" if source.is_custom else "crawl"), error_code)
        for document_id in document_ids:
            count = float("inf") if times is None else times
            source.script.failing[document_id] = levers.FailingDocument(count, problem)


def set_documents(index_id: str, data_source_id: str, found: Sequence[Mapping[str, Any]] | None) -> None:
    """Set what the next crawls of a data source find; `None`: what is really there."""
    with models.lock:
        source = _data_source(index_id, data_source_id)
        source.script.documents = None if found is None else [_document(each) for each in found]


def _document(given: Mapping[str, Any]) -> "documents.Document":
    text = given.get("text", "")
    attributes = {key: {"StringValue": value} for key, value in given.get("attributes", {}).items()}
    title, uri = given.get("title", ""), given.get("source_uri", "")
    content = json.dumps([text, title, uri, attributes, given.get("access", [])], sort_keys=True)
    return documents.Document(
        given["id"],
        version=hashlib.sha256(content.encode()).hexdigest(),
        title=title,
        source_uri=uri,
        text=text,
        attributes=attributes,
        access=list(given.get("access", [])),
    )


def make_data_source(bucket: str | None = None, **request: Any) -> list[str]:
    """Create an index, a data source and its bucket in one request, as many tests need."""
    if bucket is not None:
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(bucket, "us-east-1")
    with models.lock:
        backend = models.kendra_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]
        index = backend.create_index(Name="index", RoleArn="arn:aws:iam::123456789012:role/kendra")
        return [index.id, backend.create_data_source(index_id=index.id, **request).id]


def set_history(index_id: str, data_source_id: str, *histories: Sequence[Mapping[str, Any]]) -> None:
    """Return these histories, the next one at each list request."""
    with models.lock:
        script = _data_source(index_id, data_source_id).script
        script.histories = [[_wire(item) for item in history] for history in histories]
        script.list_requests = 0


def _wire(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each.timestamp() if isinstance(each, datetime) else each for name, each in item.items()}


def _settings() -> "levers.Settings":
    return models.kendra_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].settings


def _backend(index_id: str) -> "models.KendraBackend":
    for _, _, backend in models.kendra_backends.iter_backends():
        if isinstance(backend, models.KendraBackend) and index_id in backend.indexes:
            return backend
    raise LookupError(f"There is no index {index_id!r} in any account or region")


def _data_source(index_id: str, data_source_id: str) -> "models.DataSource":
    return _backend(index_id).describe_data_source(index_id=index_id, data_source_id=data_source_id)


def _running_job(index_id: str, data_source_id: str) -> "sync_jobs.SyncJob":
    job = _data_source(index_id, data_source_id).running
    if job is None:
        raise LookupError(f"The data source {data_source_id!r} has no running sync job")
    return job


#: What is offered over HTTP, by name.
CONTROLS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        set_sync_duration, set_creation_time, set_log_delay, set_quotas, run_schedules, set_clock, advance_clock,
        set_listing_delay, set_empty_first_page, set_data_source_status,
        advance, finish_sync_job, set_next_outcome,
        start_scheduled_sync, fail_documents, set_documents, make_data_source, set_history,
    )
}  # fmt: skip
