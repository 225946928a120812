"""Indexes, their data sources, and the sync jobs that fill them."""

import base64
import json
import time
from bisect import insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from math import isfinite
from threading import RLock
from typing import Any, TypeVar

from moto.core.base_backend import BackendDict, BaseBackend
from moto.core.common_models import BaseModel
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_api._internal import mock_random

from .exceptions import ResourceInUseException, ResourceNotFoundException, ValidationException

MAX_DOCUMENT_BYTES = 50 * 1024**2
RUNNING = ("SYNCING", "SYNCING_INDEXING", "STOPPING")
COUNTED = {
    "added": "DocumentsAdded",
    "modified": "DocumentsModified",
    "deleted": "DocumentsDeleted",
    "failed": "DocumentsFailed",
}

#: Held while a backend is read or changed. It is global because moto's reset empties every backend.
lock = RLock()

_serial_numbers = count(1)

T = TypeVar("T")


def now() -> float:
    """Epoch seconds as Kendra reports them, to the millisecond."""
    return round(time.time(), 3)


def paginate(
    entries: Iterable[tuple[list[float], T]], limit: int, token: str | None, scope: str
) -> tuple[list[T], str | None]:
    """Return one page of entries in ascending order. The token is the last key served, so new entries shift nothing."""
    after = _decode_token(token, scope) if token is not None else None
    page: list[tuple[list[float], T]] = []
    for key, item in entries:
        if after is not None and key <= after:
            continue
        if len(page) == limit:
            return [served for _, served in page], _encode_token(page[-1][0], scope)
        page.append((key, item))
    return [served for _, served in page], None


def _encode_token(key: list[float], scope: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([scope, *key]).encode()).decode()


def _decode_token(token: str, scope: str) -> list[float]:
    try:
        owner, *parts = json.loads(base64.urlsafe_b64decode(token))
        key = [float(parts[0]), int(parts[1])]
        if owner == scope and isfinite(key[0]) and _encode_token(key, scope) == token:
            return key
    except (ValueError, TypeError, IndexError, OverflowError):
        pass
    raise ValidationException("The provided NextToken is invalid")


@dataclass
class Settings:
    """How long the phases of new jobs take; `None`: until advanced."""

    crawl_seconds: float | None = 2.0
    indexing_seconds: float | None = 1.0
    unlisted_responses: int = 0
    has_empty_first_page: bool = False


@dataclass
class Outcome:
    """The outcome that a test has set for a job."""

    status: str
    metrics: dict[str, int | str] | None = None
    error_code: str | None = None
    error_message: str | None = None
    data_source_error_code: str | None = None


@dataclass
class Step:
    """After `seconds` in the previous status, the job enters `status`, or ends if it is `None`."""

    seconds: float | None
    status: str | None


class SyncJob(BaseModel):
    """One sync job. Reading it applies all steps that are due, each with the time when it was due."""

    def __init__(self, documents: dict[str, str | None], crawls: bool, scheduled: bool, settings: Settings):
        self.execution_id = str(mock_random.uuid4())
        self.serial = next(_serial_numbers)
        self.start_time = self.since = now()
        self.end_time: float | None = None
        self.status = "SYNCING"
        self.documents = documents
        self.crawls = crawls
        self.scheduled = scheduled
        self.unlisted_responses = settings.unlisted_responses
        self.outcome: Outcome | None = None
        self.final_metrics: dict[str, str] = {}
        #: What happens to each document, and its version, in crawl order.
        self.work: dict[str, tuple[str, str | None]] = {}
        self.stopped_after: int | None = None
        self.steps: list[Step] = []
        if crawls:
            self.steps = [
                Step(settings.crawl_seconds, "SYNCING_INDEXING"),
                Step(settings.indexing_seconds, None),
            ]

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING

    def settle(self) -> None:
        while self.steps and self.steps[0].seconds is not None:
            due = self.since + self.steps[0].seconds
            if due > now():
                break
            self.advance(due)

    def advance(self, at: float) -> None:
        status = self.steps.pop(0).status
        self.since = at
        if status is None:
            self.end(at)
        else:
            self.status = status

    def stop(self, indexing_seconds: float | None) -> None:
        """End the batch of a CUSTOM source, abort any other sync; scheduled jobs cannot be stopped."""
        if self.scheduled or self.status == "STOPPING":
            return
        if self.crawls:
            self.stopped_after = self._work_done()
            self.status = "STOPPING"
        elif self.status == "SYNCING":
            self.status = "SYNCING_INDEXING"
        else:
            return
        self.since = now()
        self.steps = [Step(indexing_seconds, None)]

    def end(self, at: float) -> None:
        status = self.outcome.status if self.outcome else self._natural_end()
        if status == "FAILED":
            self.stopped_after = 0 if self.crawls else None
        elif status == "ABORTED" and self.stopped_after is None:
            self.stopped_after = self._work_done()
        self.status, self.end_time, self.steps = status, at, []
        self.final_metrics = self._counted()
        if self.outcome and self.outcome.metrics is not None:
            self.final_metrics = {name: str(number) for name, number in self.outcome.metrics.items()}
        if self.crawls:
            self._keep_crawled()
        self.work = {}

    def _keep_crawled(self) -> None:
        for document, (what, version) in list(self.work.items())[: self._work_done()]:
            if what in ("added", "modified"):
                self.documents[document] = version
            elif what == "deleted":
                self.documents.pop(document, None)

    def _natural_end(self) -> str:
        if self.status == "STOPPING":
            return "ABORTED"
        return "INCOMPLETE" if any(what == "failed" for what, _ in self.work.values()) else "SUCCEEDED"

    def _work_done(self) -> int:
        if self.stopped_after is not None:
            return self.stopped_after
        if self.status != "SYNCING" or not self.crawls:
            return len(self.work)
        seconds = self.steps[0].seconds
        return int(len(self.work) * min(1.0, (now() - self.since) / seconds)) if seconds else 0

    def _counted(self) -> dict[str, str]:
        done = [what for what, _ in list(self.work.values())[: self._work_done()]]
        counts = Counter(done)
        metrics = {name: str(counts[what]) for what, name in COUNTED.items()}
        if self.crawls:
            metrics["DocumentsScanned"] = str(len(done) - counts["deleted"])
        return metrics

    def to_dict(self) -> dict[str, Any]:
        item: dict[str, Any] = {
            "ExecutionId": self.execution_id,
            "StartTime": self.start_time,
            "Status": self.status,
            "Metrics": self._counted() if self.is_running else self.final_metrics,
        }
        if self.end_time is not None:
            item["EndTime"] = self.end_time
            outcome = self.outcome or Outcome(self.status)
            errors = {
                "ErrorCode": outcome.error_code,
                "ErrorMessage": outcome.error_message,
                "DataSourceErrorCode": outcome.data_source_error_code,
            }
            item |= {name: value for name, value in errors.items() if value is not None}
        return item


class DataSource(BaseModel):
    """A data source: its configuration, its jobs, and the documents that they have indexed."""

    CONFIGURED = (
        "Name", "Type", "Configuration", "VpcConfiguration", "Description", "Schedule", "RoleArn",
        "LanguageCode", "CustomDocumentEnrichmentConfiguration",
    )  # fmt: skip

    def __init__(self, index_id: str, request: dict[str, Any]):
        self.id = str(mock_random.uuid4())
        self.serial = next(_serial_numbers)
        self.index_id = index_id
        self.created_at = self.updated_at = now()
        self.status = "ACTIVE"
        self.configured = {"LanguageCode": "en"} | self._configured(request)
        self._check()
        self.documents: dict[str, str | None] = {}
        self.jobs: list[SyncJob] = []
        self.latest: SyncJob | None = None
        self.next_outcome: Outcome | None = None
        self.histories: list[list[dict[str, Any]]] = []
        self.list_requests = 0
        #: Documents that will fail: how often still, and with which error code.
        self.failing: dict[str, tuple[float, str]] = {}

    def _configured(self, request: dict[str, Any]) -> dict[str, Any]:
        return {name: request[name] for name in self.CONFIGURED if name in request}

    def _check(self) -> None:
        given = [name for name in ("Configuration", "RoleArn") if name in self.configured]
        if self.is_custom and given:
            raise ValidationException(f"You can't specify {' or '.join(given)} for a CUSTOM data source")
        if not self.is_custom and len(given) < 2:
            raise ValidationException(f"Configuration and RoleArn are required for type {self.type}")
        if self.type == "S3" and "S3Configuration" not in self.configured["Configuration"]:
            raise ValidationException("Configuration.S3Configuration is required for type S3")

    def update(self, changes: dict[str, Any]) -> None:
        before = self.configured
        self.configured = before | self._configured(changes)
        try:
            self._check()
        except ValidationException:
            self.configured = before
            raise
        self.updated_at = now()

    @property
    def type(self) -> str:
        return str(self.configured["Type"])

    @property
    def is_custom(self) -> bool:
        return self.type == "CUSTOM"

    def running_job(self) -> SyncJob | None:
        if self.latest is None:
            return None
        self.latest.settle()
        return self.latest if self.latest.is_running else None

    def add_job(self, settings: Settings, scheduled: bool) -> SyncJob:
        job = SyncJob(self.documents, not self.is_custom, scheduled, settings)
        job.outcome, self.next_outcome = self.next_outcome, None
        insort(self.jobs, job, key=lambda each: (each.start_time, each.serial))
        self.latest = job
        return job

    def history(self, is_first_page: bool, number: int | None) -> Iterable[tuple[list[float], dict[str, Any]]]:
        """Yield every job, newest first, with ascending keys."""
        if self.histories:
            self.list_requests += is_first_page
            number = max(1, min(number if number is not None else self.list_requests, len(self.histories)))
            yield from (([float(number), place], item) for place, item in enumerate(self.histories[number - 1]))
            return
        self.running_job()
        for job in reversed(self.jobs):
            if not job.unlisted_responses:
                yield [-job.start_time, -job.serial], job.to_dict()
            job.unlisted_responses -= bool(job.unlisted_responses and is_first_page)

    def to_dict(self) -> dict[str, Any]:
        return self.configured | {"IndexId": self.index_id} | self._state()

    def to_summary(self) -> dict[str, Any]:
        shown = ("Name", "Type", "LanguageCode")
        return {name: self.configured[name] for name in shown} | self._state()

    def _state(self) -> dict[str, Any]:
        return {"Id": self.id, "Status": self.status, "CreatedAt": self.created_at, "UpdatedAt": self.updated_at}


@dataclass
class Index(BaseModel):
    """An index. It is ACTIVE as soon as it is created, which takes half an hour in Kendra."""

    name: str
    role_arn: str
    edition: str = "ENTERPRISE_EDITION"
    description: str = ""
    id: str = field(default_factory=lambda: str(mock_random.uuid4()))
    serial: int = field(default_factory=lambda: next(_serial_numbers))
    created_at: float = field(default_factory=now)
    data_sources: dict[str, DataSource] = field(default_factory=dict)

    def to_summary(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "Name": self.name,
            "Edition": self.edition,
            "Status": "ACTIVE",
            "CreatedAt": self.created_at,
            "UpdatedAt": self.created_at,
        }

    def to_dict(self) -> dict[str, Any]:
        documents = sum(len(source.documents) for source in self.data_sources.values())
        return self.to_summary() | {
            "RoleArn": self.role_arn,
            "Description": self.description,
            "IndexStatistics": {
                "FaqStatistics": {"IndexedQuestionAnswersCount": 0},
                "TextDocumentStatistics": {"IndexedTextDocumentsCount": documents, "IndexedTextBytes": 0},
            },
        }


Resource = TypeVar("Resource", Index, DataSource)


class KendraBackend(BaseBackend):
    """Kendra in one account and region."""

    def __init__(self, region_name: str, account_id: str):
        super().__init__(region_name, account_id)
        self.indexes: dict[str, Index] = {}
        self.created: dict[tuple[str, str], Index | DataSource] = {}
        self._settings = Settings()

    @property
    def settings(self) -> Settings:
        """One for all accounts and regions, kept in a backend so that moto's reset restores it."""
        return kendra_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]._settings

    def create_index(self, request: dict[str, Any]) -> Index:
        known = self.created.get(("index", request.get("ClientToken", "")))
        if isinstance(known, Index):
            return known
        index = Index(
            request["Name"],
            request["RoleArn"],
            request.get("Edition", "ENTERPRISE_EDITION"),
            request.get("Description", ""),
        )
        self.indexes[index.id] = index
        if "ClientToken" in request:
            self.created["index", request["ClientToken"]] = index
        return index

    def get_index(self, index_id: str) -> Index:
        if index_id not in self.indexes:
            raise ResourceNotFoundException(f"The index '{index_id}' does not exist")
        return self.indexes[index_id]

    def delete_index(self, index_id: str) -> None:
        self.get_index(index_id)
        del self.indexes[index_id]

    def list_indices(self, max_results: int | None, next_token: str | None) -> tuple[list[Index], str | None]:
        return self._by_age(self.indexes.values(), max_results, next_token, "indexes")

    def create_data_source(self, request: dict[str, Any]) -> DataSource:
        index = self.get_index(request["IndexId"])
        known = self.created.get((index.id, request.get("ClientToken", "")))
        if isinstance(known, DataSource):
            return known
        source = DataSource(index.id, request)
        index.data_sources[source.id] = source
        if "ClientToken" in request:
            self.created[index.id, request["ClientToken"]] = source
        return source

    def get_data_source(self, index_id: str, data_source_id: str) -> DataSource:
        source = self.get_index(index_id).data_sources.get(data_source_id)
        if source is None:
            raise ResourceNotFoundException(
                f"The data source '{data_source_id}' does not exist in the index '{index_id}'"
            )
        return source

    def update_data_source(self, index_id: str, data_source_id: str, changes: dict[str, Any]) -> None:
        self.get_data_source(index_id, data_source_id).update(changes)

    def delete_data_source(self, index_id: str, data_source_id: str) -> None:
        self.get_data_source(index_id, data_source_id)
        del self.indexes[index_id].data_sources[data_source_id]

    def list_data_sources(
        self, index_id: str, max_results: int | None, next_token: str | None
    ) -> tuple[list[DataSource], str | None]:
        sources = self.get_index(index_id).data_sources.values()
        return self._by_age(sources, max_results, next_token, index_id)

    @staticmethod
    def _by_age(
        items: Iterable[Resource], max_results: int | None, next_token: str | None, scope: str
    ) -> tuple[list[Resource], str | None]:
        return paginate((([0.0, item.serial], item) for item in items), max_results or 100, next_token, scope)

    def start_data_source_sync_job(self, index_id: str, data_source_id: str, scheduled: bool = False) -> SyncJob:
        source = self.get_data_source(index_id, data_source_id)
        running = source.running_job()
        if running:
            raise ResourceInUseException(
                f"The data source '{data_source_id}' is already running the sync job '{running.execution_id}'"
            )
        job = source.add_job(self.settings, scheduled)
        if source.type == "S3":
            self._plan_crawl(source, job)
        job.settle()
        return job

    def _plan_crawl(self, source: DataSource, job: SyncJob) -> None:
        """Plan the crawl of the bucket as it is when the sync starts."""
        from moto.s3.exceptions import S3ClientError
        from moto.s3.models import FakeKey, s3_backends

        configuration = source.configured["Configuration"]["S3Configuration"]
        name = configuration["BucketName"]
        try:
            bucket = s3_backends[self.account_id][self.partition].get_bucket(name)
        except S3ClientError as error:
            job.outcome = job.outcome or Outcome(
                "FAILED",
                error_code="InvalidRequest",
                error_message=f"Amazon Kendra could not read the S3 bucket '{name}': {error.message}",
            )
            job.steps = [Step(self.settings.crawl_seconds, None)]
            return
        prefixes = tuple(configuration.get("InclusionPrefixes", [])) or ("",)
        keys = ((document, bucket.keys.get(document)) for document in sorted(bucket.keys))
        found = {document: key for document, key in keys if isinstance(key, FakeKey) and document.startswith(prefixes)}
        for document, key in found.items():
            what = "unchanged"
            if key.size > MAX_DOCUMENT_BYTES:
                what = "failed"
            elif document not in source.documents:
                what = "added"
            elif source.documents[document] != key.etag:
                what = "modified"
            job.work[document] = (what, key.etag)
        job.work |= {gone: ("deleted", None) for gone in source.documents if gone not in found}

    def stop_data_source_sync_job(self, index_id: str, data_source_id: str) -> None:
        job = self.get_data_source(index_id, data_source_id).running_job()
        if job:
            job.stop(self.settings.indexing_seconds)

    def list_data_source_sync_jobs(
        self,
        index_id: str,
        data_source_id: str,
        status: str | None = None,
        started_from: float | None = None,
        started_until: float | None = None,
        max_results: int | None = None,
        next_token: str | None = None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        source = self.get_data_source(index_id, data_source_id)
        number = int(_decode_token(next_token, data_source_id)[0]) if next_token is not None else None

        def is_wanted(item: dict[str, Any]) -> bool:
            start = item.get("StartTime")
            return (
                (status is None or item.get("Status") == status)
                and (started_from is None or (start is not None and start >= started_from))
                and (started_until is None or (start is not None and start <= started_until))
            )

        entries = source.history(next_token is None, number)
        wanted = ((key, item) for key, item in entries if is_wanted(item))
        if self.settings.has_empty_first_page and next_token is None:
            first = next(wanted, None)
            return [], first and _encode_token([first[0][0], first[0][1] - 1], data_source_id)
        return paginate(wanted, max_results or 10, next_token, data_source_id)

    def batch_put_document(self, index_id: str, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.get_index(index_id)
        return [failure for each in documents if (failure := self._put(index_id, each))]

    def _put(self, index_id: str, document: dict[str, Any]) -> dict[str, Any] | None:
        said = {each["Key"]: each["Value"].get("StringValue") for each in document.get("Attributes", [])}
        source_id = said.get("_data_source_id")
        execution_id = said.get("_data_source_sync_job_execution_id")
        source, job = self._open_batch(index_id, source_id, execution_id)
        if source is None or job is None:
            return _failure(
                document["Id"],
                source_id,
                "The attributes _data_source_id and _data_source_sync_job_execution_id must name a CUSTOM "
                "data source of this index and the sync job it is running",
            )
        times, error_code = source.failing.get(document["Id"], (0, ""))
        if times:
            source.failing[document["Id"]] = (times - 1, error_code)
            job.work[document["Id"]] = ("failed", None)
            return _failure(document["Id"], source_id, "The document could not be indexed", error_code)
        before, _ = job.work.get(document["Id"], (None, None))
        is_known = document["Id"] in source.documents
        job.work[document["Id"]] = ("modified" if is_known and before != "added" else "added", None)
        source.documents[document["Id"]] = None
        return None

    def batch_delete_document(
        self, index_id: str, document_ids: list[str], target: dict[str, str] | None
    ) -> list[dict[str, Any]]:
        index = self.get_index(index_id)
        if target is None:
            for source in index.data_sources.values():
                for document_id in document_ids:
                    source.documents.pop(document_id, None)
            return []
        source = self.get_data_source(index_id, target["DataSourceId"])
        running = source.running_job()
        execution_id = target.get("DataSourceSyncJobId", running.execution_id if running else None)
        _, job = self._open_batch(index_id, source.id, execution_id)
        if execution_id is not None and job is None:
            message = f"'{execution_id}' is not the sync job that the data source is running"
            return [_failure(each, source.id, message) for each in document_ids]
        for document_id in document_ids:
            if document_id in source.documents:
                del source.documents[document_id]
                if job:
                    job.work[document_id] = ("deleted", None)
        return []

    def _open_batch(
        self, index_id: str, data_source_id: str | None, execution_id: str | None
    ) -> tuple[DataSource | None, SyncJob | None]:
        source = self.indexes[index_id].data_sources.get(data_source_id or "")
        job = source.running_job() if source and source.is_custom else None
        if job and job.status == "SYNCING" and job.execution_id == execution_id:
            return source, job
        return source, None


def _failure(
    document_id: str, data_source_id: str | None, message: str, error_code: str = "InvalidRequest"
) -> dict[str, Any]:
    failure = {"Id": document_id, "ErrorCode": error_code, "ErrorMessage": message}
    return failure | ({"DataSourceId": data_source_id} if data_source_id else {})


kendra_backends = BackendDict(KendraBackend, "kendra")
