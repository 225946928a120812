"""The controls of the local Kendra: state that tests, but not AWS clients, can set or read.

`MockedKendra` calls them in process, `LocalKendra` over HTTP. `local.Controls` documents them.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from moto.core.base_backend import BackendDict
from moto.core.exceptions import JsonRESTError, ServiceException
from moto.core.model_instances import reset_model_data
from moto.core.models import DEFAULT_ACCOUNT_ID, botocore_stubber
from moto.core.utils import get_service_model
from moto.s3.models import s3_backends

from airflow_provider_kendra.testing import traffic
from airflow_provider_kendra.testing.calls import Call
from airflow_provider_kendra.testing.checks import (
    check_choice,
    check_flag,
    check_mappings,
    check_names,
    check_number,
    check_text,
    check_texts,
    epoch,
)
from airflow_provider_kendra.testing.faults import Fault
from airflow_provider_kendra.testing.local import ROLE_ARN
from airflow_provider_kendra.testing.registry import require_own

if TYPE_CHECKING:
    from airflow_provider_kendra.testing.moto_backends.kendra import documents, models, sync_jobs
    from airflow_provider_kendra.testing.moto_backends.kendra.settings import FailingDocument, Outcome, Settings
else:
    require_own()
    from moto.kendra import documents, models, sync_jobs
    from moto.kendra.settings import FailingDocument, Outcome, Settings

STAGES = (None, "crawl", "sync", "index", "put")
DOCUMENT_MEMBERS = ("id", "title", "text", "source_uri", "attributes", "access")
LAST_TIME = 253_402_300_799
"""The end of the year 9999."""


def call(name: str, arguments: Mapping[str, Any]) -> Any:
    """
    Call a control by its name.

    :param arguments: Its arguments; positional ones in ``args``.
    :raises ValueError: if there is no such control or an argument is wrong.
    """
    if name not in CONTROLS:
        raise ValueError(f"There is no control {name!r}")
    named = {key: value for key, value in arguments.items() if key != "args"}
    try:
        return CONTROLS[name](*arguments.get("args", ()), **named)
    except (TypeError, AttributeError, LookupError, ServiceException, JsonRESTError) as error:
        raise ValueError(getattr(error, "message", None) or str(error)) from error


def require_mock() -> None:
    """
    Check that moto mocks this process.

    :raises RuntimeError: if it does not.
    """
    if not botocore_stubber.enabled:
        raise RuntimeError("MockedKendra only works while mock_kendra is active")


#: Held while a backend is read or changed.
lock = models.lock


def reset() -> None:
    """Delete all data of every service, and all settings, faults and logged calls."""
    with lock:
        BackendDict.reset()
        reset_model_data()


def set_sync_duration(seconds: float | None, indexing: float | None = None) -> None:
    """Set how long crawling (`None`: until advanced) and then indexing (`None`: half as long as crawling) take."""
    for name, value in (("seconds", seconds), ("indexing", indexing)):
        if value is not None:
            check_number(name, value, instead="None for a sync that waits until it is advanced")
    if indexing is None and seconds is not None:
        indexing = seconds / 2
    settings = _settings()
    settings.crawl_seconds, settings.indexing_seconds = seconds, indexing


def set_listing_delay(looks: int) -> None:
    """Set how many list responses omit a new job."""
    check_number("looks", looks, whole=True)
    _settings().unlisted_responses = looks


def set_empty_first_page(is_empty: bool) -> None:
    """Set whether the first page of each history is empty and has a `NextToken`."""
    check_flag("is_empty", is_empty)
    _settings().has_empty_first_page = is_empty


def set_creation_time(seconds: float, updating: float | None = None) -> None:
    """Set how long new resources are CREATING, and changed ones UPDATING."""
    updating = seconds if updating is None else updating
    check_number("seconds", seconds)
    check_number("updating", updating)
    settings = _settings()
    settings.creating_seconds, settings.updating_seconds = seconds, updating


def set_log_delay(seconds: float) -> None:
    """Set how long after the end of a sync its log streams can be read."""
    check_number("seconds", seconds)
    _settings().log_delay = seconds


def set_quotas(
    *,
    indexes: int | None = None,
    data_sources: int | None = None,
    documents: int | None = None,
    text_bytes: int | None = None,
) -> None:
    """Set the quotas: of an account, of an index, and of each unit of an index's capacity."""
    quotas = {"indexes": indexes, "data_sources": data_sources, "documents": documents, "text_bytes": text_bytes}
    for name, value in quotas.items():
        if value is not None:
            check_number(name, value, whole=True, instead="None for the initial quota")
    settings = _settings()
    settings.max_indexes, settings.max_data_sources = indexes, data_sources
    settings.documents_per_unit, settings.text_bytes_per_unit = documents, text_bytes


def run_schedules(is_running: bool = True) -> None:
    """Set whether schedules start syncs by the clock, from now on."""
    check_flag("is_running", is_running)
    _settings().schedules_since = models.now() if is_running else None
    settle()


def set_clock(time: datetime | float | None) -> None:
    """Stop the clock at a time; `None`: let it show the real time again."""
    seconds = epoch("time", time)
    if seconds is not None:
        check_number("time", seconds, most=LAST_TIME, instead="a datetime, or None for the real time")
    settings = _settings()
    settings.frozen_at = None if seconds is None else float(seconds)
    settings.clock_offset = 0.0
    if settings.schedules_since is not None:
        settings.schedules_since = min(settings.schedules_since, models.now())
    settle()


def advance_clock(seconds: float) -> None:
    """Put the clock forward."""
    settings = _settings()
    check_number("seconds", seconds, most=LAST_TIME - models.now())
    if settings.frozen_at is None:
        settings.clock_offset += seconds
    else:
        settings.frozen_at += seconds
    settle()


def set_data_source_status(index_id: str, data_source_id: str, status: str) -> None:
    """Set the status of a data source."""
    _check_status(status)
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
    outcome = _outcome(status, **details)
    with models.lock:
        job = _running_job(index_id, data_source_id)
        job.outcome = outcome
        job.end(models.now())
        _backend(index_id).log(_data_source(index_id, data_source_id))


def set_next_outcome(index_id: str, data_source_id: str, status: str = "SUCCEEDED", **details: Any) -> None:
    """Set the outcome of the running sync, or else of the next one."""
    outcome = _outcome(status, **details)
    with models.lock:
        source = _data_source(index_id, data_source_id)
        if source.running:
            source.running.outcome = outcome
        else:
            source.script.next_outcome = outcome


def _outcome(status: str, metrics: Mapping[str, Any] | None = None, **details: Any) -> Outcome:
    _check_status(status)
    if status in sync_jobs.RUNNING:
        raise ValueError(f"status must be one that a sync ends with, but is {status!r}")
    check_names("metrics", metrics or (), _members_of("DataSourceSyncJobMetrics"))
    for name, number in dict(metrics or {}).items():
        is_count = re.fullmatch("[0-9]+", str(number)) and not isinstance(number, bool)
        if not is_count:
            raise ValueError(f"{name} in metrics must be a whole number of 0 or more, but is {number!r}")
    for name, text in details.items():
        if text is not None:
            check_text(name, text)
    return Outcome(status, None if metrics is None else dict(metrics), **details)


def _members_of(shape: str) -> Collection[str]:
    members: Collection[str] = get_service_model("kendra").shape_for(shape).members
    return members


def _check_status(status: Any) -> None:
    # Kendra can add statuses, so tests may use one that its model does not have.
    if not isinstance(status, str) or not re.fullmatch("[A-Z][A-Z0-9_]*", status):
        raise ValueError(f"status must be a name in capital letters, such as FAILED, but is {status!r}")


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
    """Make documents fail when they are put, or in a stage of their sync."""
    check_texts("document_ids", document_ids)
    check_text("error_code", error_code)
    check_text("reason", reason)
    check_choice("stage", stage, STAGES)
    if times is not None:
        check_number("times", times, least=0, whole=True, instead="None for always")
    with models.lock:
        source = _data_source(index_id, data_source_id)
        if stage == "put" and not source.is_custom:
            sentence = f"Documents of a data source of type {source.type} are not put with BatchPutDocument"
            raise ValueError(f"{sentence}: they can fail in the stage crawl, sync or index")
        problem = documents.Problem(reason, stage or ("put" if source.is_custom else "crawl"), error_code)
        for document_id in document_ids:
            count = float("inf") if times is None else times
            source.script.failing[document_id] = FailingDocument(count, problem)


def set_documents(index_id: str, data_source_id: str, documents: Sequence[Mapping[str, Any]] | None) -> None:
    """Set the documents that the next syncs of a data source find; `None`: those in its bucket."""
    if documents is not None:
        check_mappings("documents", documents)
    for each in documents or ():
        _check_document(each)
    ids = Counter(each["id"] for each in documents or ())
    if repeated := [document_id for document_id, number in ids.items() if number > 1]:
        raise ValueError(f"documents has {repeated[0]!r} more than once")
    with models.lock:
        source = _data_source(index_id, data_source_id)
        if source.is_custom:
            raise ValueError("A CUSTOM data source finds no documents: add them with BatchPutDocument")
        source.script.documents = None if documents is None else [_document(each) for each in documents]


def _check_document(given: Mapping[str, Any]) -> None:
    check_names("A document", given, DOCUMENT_MEMBERS)
    check_texts("The id of a document", [given.get("id", "")])
    for name in ("title", "text", "source_uri"):
        check_text(f"The {name} of a document", given.get(name, ""))
    attributes = given.get("attributes", {})
    if not isinstance(attributes, Mapping):
        raise ValueError(f"The attributes of a document must be a mapping, but are {attributes!r}")
    check_texts("The attributes of a document", [*attributes, *attributes.values()])
    check_mappings("The access of a document", given.get("access", []))
    for principal in given.get("access", []):
        check_names("The access of a document", principal, _members_of("Principal"))


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
    """Create an index, a data source and its bucket in one request. Only this project's own tests use it."""
    if bucket is not None:
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(bucket, "us-east-1")
    with models.lock:
        backend = models.kendra_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]
        index = backend.create_index(Name="index", RoleArn=ROLE_ARN)
        return [index.id, backend.create_data_source(index_id=index.id, **request).id]


def set_history(index_id: str, data_source_id: str, *histories: Sequence[Mapping[str, Any]]) -> None:
    """Return these histories, the next one at each list request."""
    for history in histories:
        check_mappings("A history", history)
        for item in history:
            check_names("An item of a history", item, _members_of("DataSourceSyncJob"))
    with models.lock:
        script = _data_source(index_id, data_source_id).script
        script.histories = [[_wire(item) for item in history] for history in histories]
        script.list_requests = 0


def _wire(item: Mapping[str, Any]) -> dict[str, Any]:
    wire = {name: epoch(name, each) for name, each in item.items()}
    for name in ("StartTime", "EndTime"):
        if wire.get(name) is not None:
            check_number(name, wire[name], most=LAST_TIME, instead="a datetime")
    return wire


def inject(operation: str, **fault: Any) -> None:
    """Inject a fault."""
    traffic.current().inject(Fault(operation, **fault))


def clear_faults() -> None:
    """Remove all faults."""
    traffic.current().clear_faults()


def calls(operation: str | None = None) -> list[Call]:
    """Return the calls since the last reset, oldest first."""
    return traffic.current().calls(operation)


def call_count(operation: str | None = None) -> int:
    """Count the calls since the last reset."""
    return traffic.current().count(operation)


def settle() -> None:
    """Apply everything due by now, before a request changes what a scheduled sync would have crawled."""
    with models.lock:
        for backend in _backends():
            backend.settle()


def _settings() -> Settings:
    """Apply everything due under the current settings, then return them."""
    settle()
    return models.kendra_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].settings


def _backends() -> "list[models.KendraBackend]":
    backends = (backend for _, _, backend in models.kendra_backends.iter_backends())
    return [backend for backend in backends if isinstance(backend, models.KendraBackend)]


def _backend(index_id: str) -> "models.KendraBackend":
    for backend in _backends():
        if index_id in backend.indexes:
            return backend
    raise LookupError(f"There is no index {index_id!r} in any account or region")


def _data_source(index_id: str, data_source_id: str) -> "models.DataSource":
    return _backend(index_id).describe_data_source(index_id=index_id, data_source_id=data_source_id)


def _running_job(index_id: str, data_source_id: str) -> "sync_jobs.SyncJob":
    job = _data_source(index_id, data_source_id).running
    if job is None:
        raise LookupError(f"The data source {data_source_id!r} has no running sync job")
    return job


#: The controls that `call` accepts, by name.
CONTROLS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        reset, inject, clear_faults, calls, call_count,
        set_sync_duration, set_creation_time, set_log_delay, set_quotas, run_schedules, set_clock, advance_clock,
        set_listing_delay, set_empty_first_page, set_data_source_status,
        advance, finish_sync_job, set_next_outcome,
        start_scheduled_sync, fail_documents, set_documents, make_data_source, set_history,
    )
}  # fmt: skip
