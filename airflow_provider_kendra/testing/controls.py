"""Test controls of the local Kendra: advance, decide and rewrite sync jobs, which no AWS client can do.

Under `mock_kendra`, call these functions directly. `LocalKendra` documents them and calls them over HTTP.
"""

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
    from airflow_provider_kendra.testing.moto_backends.kendra import models, responses
else:
    register()
    from moto.kendra import models, responses


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


def set_data_source_status(index_id: str, data_source_id: str, status: str) -> None:
    """Set the status of a data source."""
    with models.lock:
        _data_source(index_id, data_source_id).status = status


def advance(index_id: str, data_source_id: str) -> str:
    """Advance the running sync to its next status and return it."""
    with models.lock:
        job = _running_job(index_id, data_source_id)
        if not job.steps:
            raise ValueError("The sync of a CUSTOM data source continues until it is stopped or finished")
        job.advance(models.now())
        return job.status


def finish_sync_job(index_id: str, data_source_id: str, status: str = "SUCCEEDED", **details: Any) -> None:
    """End the running sync now, with this outcome."""
    with models.lock:
        job = _running_job(index_id, data_source_id)
        job.outcome = models.Outcome(status, **details)
        job.end(models.now())


def set_next_outcome(index_id: str, data_source_id: str, status: str = "SUCCEEDED", **details: Any) -> None:
    """Set the outcome of the running sync, or else of the next one."""
    with models.lock:
        source = _data_source(index_id, data_source_id)
        job = source.running_job()
        if job:
            job.outcome = models.Outcome(status, **details)
        else:
            source.next_outcome = models.Outcome(status, **details)


def start_scheduled_sync(index_id: str, data_source_id: str) -> str:
    """Start a sync as a data source's schedule does."""
    with models.lock:
        backend = _backend(index_id)
        return backend.start_data_source_sync_job(index_id, data_source_id, scheduled=True).execution_id


def fail_documents(
    index_id: str,
    data_source_id: str,
    document_ids: Sequence[str],
    times: int | None = None,
    error_code: str = "InternalError",
) -> None:
    """Reject these documents when they are put."""
    refusals = (float("inf") if times is None else times, error_code)
    with models.lock:
        _data_source(index_id, data_source_id).failing |= dict.fromkeys(document_ids, refusals)


def make_data_source(bucket: str | None = None, **request: Any) -> list[str]:
    """Create an index, a data source and its bucket in one request, as many tests need."""
    if bucket is not None:
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(bucket, "us-east-1")
    with models.lock:
        backend = models.kendra_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]
        index = backend.create_index({"Name": "index", "RoleArn": "arn:aws:iam::123456789012:role/kendra"})
        return [index.id, backend.create_data_source({"IndexId": index.id, **request}).id]


def set_history(index_id: str, data_source_id: str, *histories: Sequence[Mapping[str, Any]]) -> None:
    """Return these histories, the next one at each list request."""
    with models.lock:
        source = _data_source(index_id, data_source_id)
        source.histories = [[_wire(item) for item in history] for history in histories]
        source.list_requests = 0


def _wire(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each.timestamp() if isinstance(each, datetime) else each for name, each in item.items()}


def _settings() -> "models.Settings":
    return models.kendra_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].settings


def _backend(index_id: str) -> "models.KendraBackend":
    for _, _, backend in models.kendra_backends.iter_backends():
        if isinstance(backend, models.KendraBackend) and index_id in backend.indexes:
            return backend
    raise LookupError(f"There is no index {index_id!r} in any account or region")


def _data_source(index_id: str, data_source_id: str) -> "models.DataSource":
    return _backend(index_id).get_data_source(index_id, data_source_id)


def _running_job(index_id: str, data_source_id: str) -> "models.SyncJob":
    job = _data_source(index_id, data_source_id).running_job()
    if job is None:
        raise LookupError(f"The data source {data_source_id!r} has no running sync job")
    return job


#: What is offered over HTTP, by name.
CONTROLS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        set_sync_duration, set_listing_delay, set_empty_first_page, set_data_source_status,
        advance, finish_sync_job, set_next_outcome,
        start_scheduled_sync, fail_documents, make_data_source, set_history,
    )
}  # fmt: skip
