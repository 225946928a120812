"""Indexes, their data sources and documents, and the sync jobs that fill them."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import replace
from threading import RLock
from typing import Any, TypeVar

from moto.core.base_backend import BackendDict, BaseBackend
from moto.core.common_models import BaseModel
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_api._internal import mock_random
from moto.utilities.tagging_service import TaggingService

from . import crawler, schedules, search, sync_logs
from .documents import Change, Document, DocumentStore, Problem, plan
from .exceptions import (
    ConflictException,
    ResourceInUseException,
    ResourceNotFoundException,
    ResourceUnavailableException,
    ServiceQuotaExceededException,
    ValidationException,
)
from .pages import decode_token, encode_token, paginate
from .puts import InvalidDocument, Put, failure, read_put
from .settings import Script, Settings
from .sync_jobs import SyncJob, next_serial

#: Documents and bytes of text for each unit of capacity, and whether units can be added. Source: "Adjusting capacity"
#: in Kendra's developer guide.
CAPACITY = {
    "ENTERPRISE_EDITION": (100_000, 30 * 1024**3, True),
    "GEN_AI_ENTERPRISE_EDITION": (20_000, 200 * 1024**2, True),
    "DEVELOPER_EDITION": (10_000, 3 * 1024**3, False),
}

#: The member of the configuration that each type needs.
CONFIGURATIONS = {
    "S3": "S3Configuration",
    "SHAREPOINT": "SharePointConfiguration",
    "DATABASE": "DatabaseConfiguration",
    "SALESFORCE": "SalesforceConfiguration",
    "ONEDRIVE": "OneDriveConfiguration",
    "SERVICENOW": "ServiceNowConfiguration",
    "CONFLUENCE": "ConfluenceConfiguration",
    "GOOGLEDRIVE": "GoogleDriveConfiguration",
    "WEBCRAWLER": "WebCrawlerConfiguration",
    "WORKDOCS": "WorkDocsConfiguration",
    "FSX": "FsxConfiguration",
    "SLACK": "SlackConfiguration",
    "BOX": "BoxConfiguration",
    "QUIP": "QuipConfiguration",
    "JIRA": "JiraConfiguration",
    "GITHUB": "GitHubConfiguration",
    "ALFRESCO": "AlfrescoConfiguration",
    "TEMPLATE": "TemplateConfiguration",
}

#: What identifies a version of a document in BatchGetDocumentStatus.
STATUS_ATTRIBUTES = ("version", "datasourceId", "jobExecutionId")

#: The maximum number of missed scheduled runs to catch up on at once.
MAX_MISSED_RUNS = 1_000

#: Held while a backend is read or changed. It is global because moto's reset empties every backend.
lock = RLock()


def now() -> float:
    """Epoch seconds as Kendra reports them, to the millisecond."""
    return kendra_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].settings.now()


class Resource(BaseModel):
    """An index or a data source: its configuration, and whether it is still being created or updated."""

    CONFIGURED: tuple[str, ...] = ()

    def __init__(self, configured: dict[str, Any], *, takes: float) -> None:
        self.id = str(mock_random.uuid4())
        self.serial = next_serial()
        self.created_at = self.updated_at = now()
        self._busy_until = self.created_at + takes if takes else None
        self._is_new = True
        self.configured = self._check(self._of(configured))

    def _of(self, request: dict[str, Any]) -> dict[str, Any]:
        return {name: request[name] for name in self.CONFIGURED if name in request}

    def _check(self, configured: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration with its defaults; reject values that contradict each other."""
        return configured

    def update(self, changes: dict[str, Any], *, takes: float) -> None:
        self.check_ready("update")
        self.configured = self._check(self.configured | self._of(changes))
        self.updated_at, self._is_new = now(), False
        self._busy_until = self.updated_at + takes if takes else None

    @property
    def status(self) -> str:
        if not self.is_busy(now()):
            return "ACTIVE"
        return "CREATING" if self._is_new else "UPDATING"

    def is_busy(self, at: float) -> bool:
        """Whether it is still being created or updated at a time."""
        return self._busy_until is not None and at < self._busy_until

    def check_ready(self, what: str) -> None:
        if self.is_busy(now()):
            raise ConflictException(f"You can't {what} '{self.id}' while its status is {self.status}")

    def _state(self) -> dict[str, Any]:
        return {"Id": self.id, "Status": self.status, "CreatedAt": self.created_at, "UpdatedAt": self.updated_at}


class DataSource(Resource):
    """A data source: its configuration, its jobs, and the documents that they have indexed."""

    CONFIGURED = (
        "Name", "Type", "Configuration", "VpcConfiguration", "Description", "Schedule", "RoleArn",
        "LanguageCode", "CustomDocumentEnrichmentConfiguration",
    )  # fmt: skip

    def __init__(self, index_id: str, configured: dict[str, Any], *, takes: float) -> None:
        super().__init__({"LanguageCode": "en"} | configured, takes=takes)
        self.index_id = index_id
        self.documents = DocumentStore()
        self.jobs: list[SyncJob] = []
        self.latest: SyncJob | None = None
        self.script = Script()
        #: Scheduled runs until this time have been started.
        self.scheduled_until = self.created_at

    def _check(self, configured: dict[str, Any]) -> dict[str, Any]:
        kind = configured["Type"]
        if kind == "CUSTOM":
            given = [name for name in ("Configuration", "RoleArn", "Schedule") if configured.get(name)]
            if given:
                raise ValidationException(f"You can't specify {' or '.join(given)} for a CUSTOM data source")
            return configured
        if "Configuration" not in configured or "RoleArn" not in configured:
            raise ValidationException(f"Configuration and RoleArn are required for type {kind}")
        members = set(configured["Configuration"])
        if members != {CONFIGURATIONS[kind]}:
            shown = ", ".join(sorted(members)) or "no member"
            raise ValidationException(
                f"Configuration must have {CONFIGURATIONS[kind]} for type {kind}, but has {shown}"
            )
        if configured.get("Schedule"):
            try:
                schedules.parse(configured["Schedule"])
            except ValueError as error:
                raise ValidationException(f"Schedule '{configured['Schedule']}' is invalid: {error}") from None
        return configured

    @property
    def type(self) -> str:
        return str(self.configured["Type"])

    @property
    def is_custom(self) -> bool:
        return self.type == "CUSTOM"

    @property
    def status(self) -> str:
        return self.script.status or super().status

    @property
    def running(self) -> SyncJob | None:
        return self.latest if self.latest is not None and self.latest.is_running else None

    def add_job(self, job: SyncJob) -> None:
        insort(self.jobs, job, key=_age)
        self.latest = job

    def history(self, after: list[float] | None) -> Iterable[tuple[list[float], dict[str, Any]]]:
        """
        Yield jobs, newest first, with ascending keys.

        :param after: The last key of the page before; `None` for the first page.
        """
        if self.script.histories:
            yield from self.script.history(after)
            return
        moment = now()
        older = len(self.jobs)
        if after is not None:
            older = bisect_left(self.jobs, (-after[0], -after[1]), key=_age)
        for place in range(older - 1, -1, -1):
            job = self.jobs[place]
            if not job.unlisted_responses:
                yield [-job.start_time, -job.serial], job.to_dict(moment)
            job.unlisted_responses -= bool(job.unlisted_responses and after is None)

    def to_dict(self) -> dict[str, Any]:
        return self.configured | {"IndexId": self.index_id} | self._state()

    def to_summary(self) -> dict[str, Any]:
        shown = ("Name", "Type", "LanguageCode")
        return {name: self.configured[name] for name in shown} | self._state()


class Index(Resource):
    """An index: its configuration, its data sources, and the documents that were put into it directly."""

    CONFIGURED = (
        "Name", "Edition", "RoleArn", "ServerSideEncryptionConfiguration", "Description", "CapacityUnits",
        "UserTokenConfigurations", "UserContextPolicy", "UserGroupResolutionConfiguration",
    )  # fmt: skip

    def __init__(self, configured: dict[str, Any], *, takes: float) -> None:
        defaults = {"Edition": "ENTERPRISE_EDITION", "Description": ""}
        super().__init__(defaults | configured, takes=takes)
        self.data_sources: dict[str, DataSource] = {}
        self.documents = DocumentStore()
        self.metadata = {each["Name"]: each for each in search.default_metadata()}

    def _check(self, configured: dict[str, Any]) -> dict[str, Any]:
        edition = configured["Edition"]
        units = configured.get("CapacityUnits", {})
        if any(units.values()) and not CAPACITY[edition][2]:
            raise ValidationException(f"You can't add CapacityUnits to an index of {edition}")
        if edition == "GEN_AI_ENTERPRISE_EDITION" and configured.get("UserContextPolicy") == "USER_TOKEN":
            raise ValidationException(f"You can't use the UserContextPolicy USER_TOKEN with {edition}")
        none = {"StorageCapacityUnits": 0, "QueryCapacityUnits": 0}
        return {"UserContextPolicy": "ATTRIBUTE_FILTER"} | configured | {"CapacityUnits": none | units}

    def update(self, changes: dict[str, Any], *, takes: float) -> None:
        super().update(changes, takes=takes)
        for each in changes.get("DocumentMetadataConfigurationUpdates", []):
            known = self.metadata.get(each["Name"], {})
            # The reference does not say what happens to a member that was not sent; here it stays.
            merged = {name: known.get(name, {}) | each[name] for name in ("Relevance", "Search") if name in each}
            self.metadata[each["Name"]] = known | each | merged

    @property
    def stores(self) -> list[DocumentStore]:
        return [self.documents, *(source.documents for source in self.data_sources.values())]

    def owner_of(self, document_id: str) -> DocumentStore | None:
        """Return the store of a document: the first one that has it indexed, else the first where it failed."""
        holders = [store for store in self.stores if document_id in store]
        return next((store for store in holders if document_id in store.indexed), holders[0] if holders else None)

    def capacity(self, settings: Settings) -> tuple[int, int]:
        """Return how many documents and bytes of text the index can hold."""
        documents, text_bytes, _ = CAPACITY[self.configured["Edition"]]
        units = 1 + self.configured["CapacityUnits"]["StorageCapacityUnits"]
        if settings.documents_per_unit is not None:
            documents = settings.documents_per_unit
        if settings.text_bytes_per_unit is not None:
            text_bytes = settings.text_bytes_per_unit
        return units * documents, units * text_bytes

    @property
    def used(self) -> tuple[int, int]:
        """How many documents and bytes of text the index holds. Ids are unique: what two crawls find counts once."""
        documents = text_bytes = 0
        seen: set[str] = set()
        stores = [store for store in self.stores if store.indexed]
        for store in stores:
            again = seen & store.indexed.keys()
            documents += len(store.indexed) - len(again)
            text_bytes += store.text_bytes - sum(store.indexed[each].text_bytes for each in again)
            if store is not stores[-1]:
                seen |= store.indexed.keys()
        return documents, text_bytes

    def growth(self, document: Document) -> int:
        """Return by how many bytes of text the index grows with a document, which can replace another."""
        owner = self.owner_of(document.id)
        replaced = owner.indexed.get(document.id) if owner else None
        return document.text_bytes - (replaced.text_bytes if replaced else 0)

    def to_summary(self) -> dict[str, Any]:
        return {name: self.configured[name] for name in ("Name", "Edition")} | self._state()

    def to_dict(self) -> dict[str, Any]:
        documents, text_bytes = self.used
        return self.configured | self._state() | {
            "DocumentMetadataConfigurations": list(self.metadata.values()),
            "IndexStatistics": {
                "FaqStatistics": {"IndexedQuestionAnswersCount": 0},
                "TextDocumentStatistics": {
                    "IndexedTextDocumentsCount": documents,
                    "IndexedTextBytes": text_bytes,
                },
            },
        }  # fmt: skip


def _age(job: SyncJob) -> tuple[float, int]:
    return job.start_time, job.serial


class Room:
    """The capacity that an index has left for the documents of one crawl or request."""

    def __init__(self, index: Index, settings: Settings) -> None:
        limits, used = index.capacity(settings), index.used
        self.documents, self.text_bytes = limits[0] - used[0], limits[1] - used[1]
        self._limit = limits[0]

    def take(self, document: Document, replaced: Document | None) -> Problem | None:
        """Count a document as indexed, or return why it does not fit."""
        grows_by = document.text_bytes - (replaced.text_bytes if replaced else 0)
        if replaced is None and self.documents < 1:
            return Problem(f"The index holds {self._limit} documents already, which is its capacity")
        if grows_by > self.text_bytes:
            message = "The text of the document exceeds the capacity of the index"
            return Problem(message, code="ServiceQuotaExceededException")
        self.documents -= replaced is None
        self.text_bytes -= grows_by
        return None


AnyResource = TypeVar("AnyResource", Index, DataSource)


class KendraBackend(BaseBackend):
    """Kendra in one account and region."""

    def __init__(self, region_name: str, account_id: str):
        super().__init__(region_name, account_id)
        self.indexes: dict[str, Index] = {}
        #: Indexes and data sources by the scope of their client token ("index", or the id of an index) and the token.
        self.created: dict[tuple[str, str], Index | DataSource] = {}
        self.tagger = TaggingService()
        self._settings = Settings()

    @property
    def settings(self) -> Settings:
        """Shared by all accounts and regions, but kept in a backend because moto's reset clears backends."""
        return kendra_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]._settings

    # indexes

    def create_index(self, *, client_token: str | None = None, tags: list[dict[str, str]] | None = None,
                     **configured: Any) -> Index:  # fmt: skip
        known = self.created.get(("index", client_token or ""))
        if isinstance(known, Index):
            return known
        limit = self.settings.max_indexes
        if limit is not None and len(self.indexes) >= limit:
            raise ServiceQuotaExceededException(
                f"This account already has {len(self.indexes)} indexes; the limit is {limit}"
            )
        index = Index(configured, takes=self.settings.creating_seconds)
        self.indexes[index.id] = index
        if client_token:
            self.created["index", client_token] = index
        self.tagger.tag_resource(self._arn(index.id), tags)
        return index

    def describe_index(self, *, index_id: str) -> Index:
        index = self._index(index_id)
        for source in index.data_sources.values():
            self._settle(source)
        return index

    def update_index(self, *, index_id: str, changes: dict[str, Any]) -> None:
        self._index(index_id).update(changes, takes=self.settings.updating_seconds)

    def delete_index(self, *, index_id: str) -> None:
        index = self.describe_index(index_id=index_id)
        for source in list(index.data_sources.values()):
            self._forget(source, f"{index_id}/data-source/{source.id}")
        self._forget(index, index_id)
        del self.indexes[index_id]

    def list_indices(self, *, max_results: int | None, next_token: str | None) -> tuple[list[Index], str | None]:
        return self._by_age(self.indexes.values(), max_results, next_token, "indexes")

    def _index(self, index_id: str) -> Index:
        if index_id not in self.indexes:
            raise ResourceNotFoundException(f"The index '{index_id}' does not exist")
        return self.indexes[index_id]

    # data sources

    def create_data_source(self, *, index_id: str, client_token: str | None = None,
                           tags: list[dict[str, str]] | None = None, **configured: Any) -> DataSource:  # fmt: skip
        index = self._index(index_id)
        known = self.created.get((index.id, client_token or ""))
        if isinstance(known, DataSource):
            return known
        index.check_ready("add a data source to")
        limit = self.settings.max_data_sources
        if limit is not None and len(index.data_sources) >= limit:
            raise ServiceQuotaExceededException(
                f"This index already has {len(index.data_sources)} data sources; the limit is {limit}"
            )
        source = DataSource(index.id, configured, takes=self.settings.creating_seconds)
        index.data_sources[source.id] = source
        if client_token:
            self.created[index.id, client_token] = source
        self.tagger.tag_resource(self._arn(f"{index.id}/data-source/{source.id}"), tags)
        return source

    def describe_data_source(self, *, index_id: str, data_source_id: str) -> DataSource:
        source = self._index(index_id).data_sources.get(data_source_id)
        if source is None:
            raise ResourceNotFoundException(
                f"The data source '{data_source_id}' does not exist in the index '{index_id}'"
            )
        self._settle(source)
        return source

    def update_data_source(self, *, index_id: str, data_source_id: str, changes: dict[str, Any]) -> None:
        source = self.describe_data_source(index_id=index_id, data_source_id=data_source_id)
        source.update(changes, takes=self.settings.updating_seconds)
        source.scheduled_until = now()

    def delete_data_source(self, *, index_id: str, data_source_id: str) -> None:
        source = self.describe_data_source(index_id=index_id, data_source_id=data_source_id)
        self._forget(source, f"{index_id}/data-source/{data_source_id}")
        del self.indexes[index_id].data_sources[data_source_id]

    def list_data_sources(
        self, *, index_id: str, max_results: int | None, next_token: str | None
    ) -> tuple[list[DataSource], str | None]:
        return self._by_age(self._index(index_id).data_sources.values(), max_results, next_token, index_id)

    @staticmethod
    def _by_age(
        items: Iterable[AnyResource], max_results: int | None, next_token: str | None, scope: str
    ) -> tuple[list[AnyResource], str | None]:
        return paginate((([0.0, item.serial], item) for item in items), max_results or 100, next_token, scope)

    # tags

    def list_tags_for_resource(self, *, arn: str) -> list[dict[str, str]]:
        self._check_arn(arn)
        return self.tagger.list_tags_for_resource(arn)["Tags"]

    def tag_resource(self, *, arn: str, tags: list[dict[str, str]]) -> None:
        self._check_arn(arn)
        self.tagger.tag_resource(arn, tags)

    def untag_resource(self, *, arn: str, tag_keys: list[str]) -> None:
        self._check_arn(arn)
        self.tagger.untag_resource_using_names(arn, tag_keys)

    def _arn(self, path: str) -> str:
        return f"arn:{self.partition}:kendra:{self.region_name}:{self.account_id}:index/{path}"

    def _check_arn(self, arn: str) -> None:
        known = {self._arn(index_id) for index_id in self.indexes}
        for index in self.indexes.values():
            known |= {self._arn(f"{index.id}/data-source/{source_id}") for source_id in index.data_sources}
        if arn not in known:
            raise ResourceUnavailableException(f"The resource '{arn}' does not exist")

    def _forget(self, resource: Index | DataSource, path: str) -> None:
        self.tagger.delete_all_tags_for_resource(self._arn(path))
        self.created = {token: made for token, made in self.created.items() if made is not resource}

    # sync jobs

    def start_data_source_sync_job(self, *, index_id: str, data_source_id: str, scheduled: bool = False) -> SyncJob:
        source = self.describe_data_source(index_id=index_id, data_source_id=data_source_id)
        source.check_ready("synchronize")
        if source.running:
            raise ResourceInUseException(
                f"The data source '{data_source_id}' is already running the sync job '{source.running.execution_id}'"
            )
        job = self._start(source, now(), scheduled=scheduled)
        self._settle(source)
        return job

    def _start(self, source: DataSource, at: float, *, scheduled: bool) -> SyncJob:
        job = SyncJob(source.documents, at=at, crawls=not source.is_custom, scheduled=scheduled)
        job.unlisted_responses = self.settings.unlisted_responses
        if job.crawls:
            self._plan_crawl(source, job)
        job.outcome = source.script.take_outcome() or job.outcome
        source.add_job(job)
        return job

    def _plan_crawl(self, source: DataSource, job: SyncJob) -> None:
        """Plan the crawl of the documents as they are when the sync starts."""
        settings, index = self.settings, self.indexes[source.index_id]
        try:
            found = self._crawl(source, job)
        except crawler.CrawlError as error:
            job.fail(str(error), settings.crawl_seconds)
            return
        room = Room(index, settings)

        def try_to_index(change: Change) -> Problem | None:
            problem = source.script.problem_of(change.document.id, is_put=False)
            owner = index.owner_of(change.document.id) or source.documents
            return problem or room.take(change.document, owner.indexed.get(change.document.id))

        job.plan(plan(source.documents, found, try_to_index), settings.crawl_seconds, settings.indexing_seconds)

    def _crawl(self, source: DataSource, job: SyncJob) -> list[Document]:
        """Return the documents that a crawl finds."""
        if source.script.documents is not None:
            return source.script.documents
        if not crawler.reads_s3(source.configured):
            job.messages.append({"Message": f"No documents were given to this {source.type} data source."})
            return []
        return crawler.crawl(self.account_id, self.partition, source.configured["Configuration"], job.messages)

    def stop_data_source_sync_job(self, *, index_id: str, data_source_id: str) -> None:
        source = self.describe_data_source(index_id=index_id, data_source_id=data_source_id)
        if source.running:
            source.running.stop(now(), self.settings.indexing_seconds)
            self._settle(source)

    def list_data_source_sync_jobs(
        self,
        *,
        index_id: str,
        data_source_id: str,
        status: str | None = None,
        started_from: float | None = None,
        started_until: float | None = None,
        max_results: int | None = None,
        next_token: str | None = None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        source = self.describe_data_source(index_id=index_id, data_source_id=data_source_id)
        after = decode_token(next_token, data_source_id) if next_token is not None else None

        def is_wanted(item: dict[str, Any]) -> bool:
            start = item.get("StartTime")
            return (
                (status is None or item.get("Status") == status)
                and (started_from is None or (start is not None and start >= started_from))
                and (started_until is None or (start is not None and start <= started_until))
            )

        wanted = ((key, item) for key, item in source.history(after) if is_wanted(item))
        if self.settings.has_empty_first_page and next_token is None:
            first = next(wanted, None)
            return [], first and encode_token([first[0][0], first[0][1] - 1], data_source_id)
        return paginate(wanted, max_results or 10, next_token, data_source_id)

    def settle(self) -> None:
        """Apply everything due by now in all data sources; a request does so only for those it reads."""
        for index in self.indexes.values():
            for source in index.data_sources.values():
                if source.running or source.configured.get("Schedule"):
                    self._settle(source)

    def _settle(self, source: DataSource) -> None:
        """Apply all that is due by now: steps of the running job, and runs of the schedule."""
        moment = now()
        for due in self._due_runs(source, moment):
            if source.latest is not None:
                source.latest.settle(due)
                self.log(source)
            if source.running is None and not source.is_busy(due):
                self._start(source, due, scheduled=True)
        if source.latest is not None:
            source.latest.settle(moment)
            self.log(source)

    def _due_runs(self, source: DataSource, moment: float) -> list[float]:
        since, schedule = self.settings.schedules_since, source.configured.get("Schedule")
        if since is None or not schedule:
            return []
        after = min(moment, max(since, source.scheduled_until))  # a test can have put the clock back
        source.scheduled_until = moment
        return schedules.due_times(schedule, after, moment, MAX_MISSED_RUNS)

    def log(self, source: DataSource) -> None:
        """Write the log streams of the newest job once it has ended."""
        job = source.latest
        if job is None or job.end_time is None or job.is_logged:
            return
        sync_logs.write_job(self, source, job, available_at=job.end_time + self.settings.log_delay)
        job.is_logged, job.changes, job.messages = True, {}, []

    # documents

    def batch_put_document(self, *, index_id: str, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        puts = [read_put(each, self.account_id, self.partition) for each in documents]
        index = self.describe_index(index_id=index_id)
        index.check_ready("put documents into")
        room = Room(index, self.settings)
        newest = {put.document.id: put.document for put in puts}
        if sum(index.growth(document) for document in newest.values()) > room.text_bytes:
            raise ServiceQuotaExceededException("The documents exceed the capacity of the index for extracted text")
        failed = []
        for put in puts:
            try:
                self._put(index, room, put)
            except InvalidDocument as refused:
                failed.append(failure(put.document.id, put.data_source_id, refused))
        return failed

    def _put(self, index: Index, room: Room, put: Put) -> None:
        if put.objection:
            raise InvalidDocument(put.objection)
        source, job = self._batch_of(index, put)
        store = index.documents if source is None else source.documents
        document = put.document
        if any(document.id in other.indexed for other in index.stores if other is not store):
            raise InvalidDocument("A document with this id was added to the index from another source")
        problem = source.script.problem_of(document.id, is_put=True) if source else None
        if problem:
            raise InvalidDocument(problem.message, problem.code)
        later = (source.script.problem_of(document.id, is_put=False) if source else None) or document.problem
        problem = None if later else room.take(document, store.indexed.get(document.id))
        if problem:
            raise InvalidDocument(problem.message)
        if job is None:
            change = store.compare(document)
            store.apply(change)
            if change.problem:
                sync_logs.write_failed_upload(
                    self, index, change, at=now(), available_at=now() + self.settings.log_delay
                )
            return
        job.put(replace(document, execution_id=job.execution_id, problem=later))

    def _batch_of(self, index: Index, put: Put) -> tuple[DataSource | None, SyncJob | None]:
        """Return the data source and the running sync job that a document names; neither for a direct upload."""
        if put.data_source_id is None and put.execution_id is None:
            return None, None
        source = index.data_sources.get(put.data_source_id or "")
        job = source.running if source is not None and source.is_custom else None
        if job is None or job.status != "SYNCING" or put.execution_id not in (None, job.execution_id):
            raise InvalidDocument(
                "The attribute _data_source_id must name a CUSTOM data source of this index that runs a sync job, and "
                "_data_source_sync_job_execution_id, if given, that job"
            )
        return source, job

    def batch_delete_document(
        self, *, index_id: str, document_ids: list[str], target: dict[str, str] | None = None
    ) -> list[dict[str, Any]]:
        index = self.describe_index(index_id=index_id)
        job = None
        if target is not None:
            source = self.describe_data_source(index_id=index_id, data_source_id=target["DataSourceId"])
            job = source.running if source.is_custom and source.running and source.running.status == "SYNCING" else None
            wanted = target.get("DataSourceSyncJobId")
            if wanted is not None and (job is None or job.execution_id != wanted):
                refused = InvalidDocument(f"'{wanted}' is not the sync job that the data source is running")
                return [failure(each, source.id, refused) for each in document_ids]
        return [failed for each in document_ids if (failed := self._delete(index, each, job))]

    def _delete(self, index: Index, document_id: str, job: SyncJob | None) -> dict[str, Any] | None:
        owner = index.owner_of(document_id)
        if owner is None:
            return None
        if any(source.documents is owner and not source.is_custom for source in index.data_sources.values()):
            return failure(document_id, None, InvalidDocument("Only documents of BatchPutDocument can be deleted"))
        if job is not None and owner is job.store:
            job.delete(document_id)
        else:
            owner.apply(owner.deletion(document_id))
        return None

    def batch_get_document_status(
        self, *, index_id: str, documents: list[dict[str, Any]]
    ) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        index = self.describe_index(index_id=index_id)
        statuses, errors = [], []
        for document in documents:
            document_id = document["DocumentId"]
            given = {each["Key"]: each["Value"].get("StringValue") for each in document.get("Attributes", [])}
            if objection := self._objection_to(index, given):
                errors.append({"DocumentId": document_id, "ErrorCode": "InvalidRequest", "ErrorMessage": objection})
            else:
                statuses.append(self._status_of(index, document_id, given.get("datasourceId")))
        return statuses, errors

    @staticmethod
    def _objection_to(index: Index, given: dict[str, str | None]) -> str | None:
        """Return why the attributes in a request for the status of a document can't be used."""
        if unknown := [key for key in given if key not in STATUS_ATTRIBUTES]:
            return f"The attributes can only be {', '.join(STATUS_ATTRIBUTES)}, not {', '.join(unknown)}"
        if len({"datasourceId", "jobExecutionId"} & set(given)) == 1:
            return "The attributes datasourceId and jobExecutionId must be given together"
        source_id = given.get("datasourceId")
        if source_id is not None and source_id not in index.data_sources:
            return f"The data source '{source_id}' does not exist in the index"
        return None

    @staticmethod
    def _status_of(index: Index, document_id: str, source_id: str | None) -> dict[str, str]:
        owner = index.owner_of(document_id) if source_id is None else index.data_sources[source_id].documents
        sources = [source for source in index.data_sources.values() if source.documents is owner]
        if owner is None:
            return DocumentStore().status(document_id)
        if any(source.running and document_id in source.running.changes and source.is_custom for source in sources):
            return {"DocumentId": document_id, "DocumentStatus": "PROCESSING"}
        return owner.status(document_id)

    def query(self, *, index_id: str, request: dict[str, Any]) -> dict[str, Any]:
        return search.query(self._searchable(index_id), request, **self._search_settings(index_id))

    def retrieve(self, *, index_id: str, request: dict[str, Any]) -> dict[str, Any]:
        return search.retrieve(self._searchable(index_id), request, **self._search_settings(index_id))

    def _search_settings(self, index_id: str) -> dict[str, Any]:
        index = self._index(index_id)
        languages = {source.id: source.configured["LanguageCode"] for source in index.data_sources.values()}
        return {"fields": index.metadata, "languages": languages}

    def _searchable(self, index_id: str) -> list[tuple[str | None, Document]]:
        """Return the documents of an index, each once, with the id of the first data source that has it."""
        index = self.describe_index(index_id=index_id)
        index.check_ready("query")
        stores = [(None, index.documents), *((source.id, source.documents) for source in index.data_sources.values())]
        found: dict[str, tuple[str | None, Document]] = {}
        for source_id, store in stores:
            for document in store.indexed.values():
                found.setdefault(document.id, (source_id, document))
        return list(found.values())


kendra_backends = BackendDict(KendraBackend, "kendra")
