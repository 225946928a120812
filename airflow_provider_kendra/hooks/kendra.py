"""The hook: the only module that calls AWS."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from botocore import exceptions as aws
from botocore.config import Config
from botocore.parsers import ResponseParserError
from botocore.utils import CachedProperty

from airflow_provider_kendra import _clock
from airflow_provider_kendra._aws import (
    LOOK_UP_PAUSES,
    ConnectionLookUpError,
    ConnectionNotDefinedError,
)
from airflow_provider_kendra._batches import (
    batches_of,
    check_document_ids,
    check_documents,
    prepare,
    sort_failures,
    status_by_id,
)
from airflow_provider_kendra._calls import PAUSE, ErrorKind
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._document_logs import (
    LogCalls,
    advise_on_capacity,
    failed_documents,
    may_be_of_a_full_index,
    may_have_failures,
    missing_documents,
)
from airflow_provider_kendra._redaction import without_values
from airflow_provider_kendra._starting import (
    CallerStep,
    Follow,
    Remember,
    Return,
    Starter,
    advance_start,
    already_running,
)
from airflow_provider_kendra._stopping import Confirm, Stopped, Stopper, advance_stop, stop_whichever_runs
from airflow_provider_kendra._text import plain, shown
from airflow_provider_kendra._validation import (
    check_connection_id,
    check_count,
    check_identifier,
    check_limit,
    check_lookback,
    check_time,
)
from airflow_provider_kendra._waiting.history import Page
from airflow_provider_kendra._waiting.threads import call_within
from airflow_provider_kendra.documents import DocumentFailures, IndexCapacity, capacity_of
from airflow_provider_kendra.exceptions import (
    KendraDocumentsError,
    KendraDocumentsRequestError,
    KendraError,
    KendraRequestError,
    KendraSyncJobNotFoundError,
)
from airflow_provider_kendra.hooks._aws_connections import (
    endpoint_for_logs,
    fault_of,
    fault_of_text,
    is_unreadable,
)
from airflow_provider_kendra.hooks._aws_errors import (
    THROTTLING_CODES,
    check_ca_bundle,
    classify_error,
    describe_error,
    explain_logs_error,
    hide_secrets,
    judge_poll_error,
    make_config,
    misconfiguration_explained,
    plain_errors,
    refusal,
    secrets_of,
    without_response_logs,
)
from airflow_provider_kendra.hooks._contents import contents_hidden, values_hidden, was_raised_in
from airflow_provider_kendra.sync_job import ANY_END, SyncJob, SyncJobStatus, as_execution_id, check_status
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection
    from types_boto3_kendra import KendraClient
    from types_boto3_kendra.type_defs import (
        ListDataSourceSyncJobsRequestTypeDef,
    )

    from airflow_provider_kendra._decisions import Failed

__all__ = ["ErrorKind", "KendraSyncJobsHook", "classify_error", "refusal"]

P = ParamSpec("P")
R = TypeVar("R")

PAGE_SIZE = 10
"""The maximum number of jobs that ListDataSourceSyncJobs returns in one response."""

MAX_EMPTY_PAGES = 100
"""The maximum number of consecutive pages without a sync job before the response counts as unreadable."""

PUT_ATTEMPTS = 5
"""How often a document that fails with Kendra's ``InternalError`` is sent."""

# A call must end before its caller times out; botocore's default is 60 s for each of these two.
_TIMEOUTS = Config(connect_timeout=10, read_timeout=30)

# The poller retries by itself; a retry here or a long attempt would only block a shared thread.
_POLLING = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1})

_LOGS_CALL_SECONDS = 10.0
"""The longest that a call of CloudWatch Logs may take, including the creation of its client."""

FAILED_DOCUMENTS_CALLS = 5
FAILED_DOCUMENTS_SECONDS = 20.0
"""How long reading the documents that failed in a sync may take."""

_MISSING_DOCUMENTS_SECONDS = 60.0
"""How long a search for missing documents may take."""

_MISSING_DOCUMENTS_CALLS = 20
"""The maximum number of calls of a search for missing documents."""

_HISTORY_CALLS = 5
"""How many of these calls may read the sync history, to compare it with the logs; each returns ten jobs."""

# Reading logs must not delay a task that has its result.
_LOGS = Config(connect_timeout=3, read_timeout=7, retries={"total_max_attempts": 1})

# The request did not reach Kendra. TLS and proxy errors can also occur after it did.
_NEVER_SENT = (aws.EndpointConnectionError, aws.ConnectTimeoutError)


def _certainly_had_no_effect(error: BaseException) -> bool:
    """Whether a start request with this error was rejected, or did not reach Kendra."""
    if isinstance(error, aws.ClientError) and error.response.get("Error", {}).get("Code") in THROTTLING_CODES:
        return True
    return isinstance(error, _NEVER_SENT) or classify_error(error) is not ErrorKind.TRANSIENT


class KendraSyncJobsHook(AwsBaseHook):
    """
    Work with the sync jobs of Amazon Kendra data sources.

    All times must have a time zone. Every method raises ``ValueError`` for an invalid identifier, before any call.
    Errors from AWS are raised as ``botocore.exceptions.ClientError``, network errors as ``BotoCoreError``, and
    responses that can't be read as ``KendraError``, unless a method says otherwise.

    :param aws_conn_id: The Airflow connection for AWS; only None uses boto3's own credential chain. Unlike with other
        AWS hooks, a connection that is undefined, unreadable or of another type is an error, and does not fall back to
        the identity of the machine.
    :param region_name: AWS region; by default that of the connection.
    :param verify: Whether, or with which CA bundle, to verify TLS certificates.
    :param config: botocore configuration, a dict or a ``botocore.config.Config``.

    .. seealso::
        - :class:`airflow.providers.amazon.aws.hooks.base_aws.AwsBaseHook`
    """

    _has_short_timeouts = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # A wrong configuration raises when a client is created, like every other error of a client.
        self._config_error: str | None = None
        try:
            kwargs["config"] = make_config(kwargs.get("config"))
        except KendraRequestError as error:
            self._config_error = str(error)
            kwargs["config"] = None
        super().__init__(*args, **{**kwargs, "client_type": "kendra"})
        self._lookup_pauses: Sequence[float] = ()
        self._is_connection_expected = False
        self._defaults = _TIMEOUTS
        self._known_conn_config: Any = None

    @classmethod
    def _of(cls, aws: AwsParameters) -> KendraSyncJobsHook:
        """Make a hook from the AWS parameters of a task or a trigger."""
        return cls(
            aws_conn_id=aws.aws_conn_id,
            region_name=aws.region_name,
            verify=aws.verify,
            config=json.loads(aws.botocore_config) or None,
        )

    def _judge_poll_error(self, error: Exception, contents: str) -> Failed | str:
        """Return a failure for a permanent error, and a description of any other."""
        return judge_poll_error(error, contents, self._discard_clients)

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """
        Look up the connection.

        :param conn_id: Its id.
        :raises KendraRequestError: if it is undefined or unreadable, or if a bug in Airflow prevents the look-up. The
            base class would use the credentials that boto3 finds on the machine, which in a triggerer are those of
            the triggerer.
        :raises ConnectionLookUpError: if the look-up failed for another reason.
        """
        remedy = "or pass aws_conn_id=None to use the credentials that boto3 finds on the machine."
        try:
            connection = super().get_connection(conn_id)
        except AirflowNotFoundException as error:
            _check_environment(conn_id)
            raise ConnectionNotDefinedError(
                f"The AWS connection {conn_id!r} is not defined. Define it, {remedy}"
            ) from error
        except ImportError as error:  # Airflow 3.1.0, outside a task
            raise KendraRequestError(
                f"The AWS connection {conn_id!r} cannot be looked up here: {error}. Upgrade Airflow, {remedy}"
            ) from error
        except Exception as error:
            # Its text could contain the connection.
            raise ConnectionLookUpError(
                f"The look-up of the AWS connection {conn_id!r} failed ({type(error).__name__})."
            ) from None
        if (connection.conn_type or "").lower() != "aws":
            _check_environment(conn_id)
        if fault := fault_of(connection):
            raise KendraRequestError(f"The AWS connection {conn_id!r} {fault}")
        return connection

    # Before Python 3.12, functools.cached_property has one lock for all hooks: a hanging look-up would block the
    # others.
    @CachedProperty  # type: ignore[untyped-decorator]
    def conn(self) -> Any:
        """The client."""
        return self.get_client_type(region_name=self.region_name)

    @CachedProperty  # type: ignore[untyped-decorator]
    def conn_config(self) -> Any:
        """The values of the connection; those of the last look-up if a later one fails."""
        if self._config_error is not None:
            raise KendraRequestError(self._config_error)
        _check_connection_id(self.aws_conn_id)
        try:
            self._known_conn_config = self._look_up_connection_with_retries()
        except (ConnectionLookUpError, ConnectionNotDefinedError) as error:
            if self._known_conn_config is None:
                raise
            self.log.warning("%s Using the values of the last look-up.", error)
        return self._known_conn_config

    def _look_up_connection_with_retries(self) -> Any:
        """Look up the connection with retries, since Airflow reports failed look-ups as "not defined" too."""
        for pause in self._lookup_pauses if self._known_conn_config is None else ():
            try:
                return self._look_up_connection()
            except (ConnectionLookUpError, ConnectionNotDefinedError) as error:
                self.log.warning("%s Retrying in %g s, in case only the look-up failed.", error, pause)
            time.sleep(pause)
        return self._look_up_connection()

    def _look_up_connection(self) -> Any:
        try:
            with self._secrets_hidden(), misconfiguration_explained(f"the connection {self.aws_conn_id!r}"):
                return AwsBaseHook.conn_config.func(self)  # type: ignore[attr-defined]
        except ConnectionNotDefinedError as error:
            if not self._is_connection_expected:
                raise
            raise ConnectionLookUpError(
                f"The look-up of the AWS connection {self.aws_conn_id!r} failed: Airflow reports it as not defined, "
                "but it has been used before."
            ) from error

    @contextmanager
    def _secrets_hidden(self) -> Iterator[None]:
        """Mask the secrets of the connection and the configuration in errors: botocore quotes whole URLs."""
        try:
            yield
        except Exception as error:
            hide_secrets(error, secrets_of(self._known_conn_config, self._config))
            raise

    def _retry_connection_lookups(self) -> None:
        """Look up the connection several times, over a minute, before it counts as not defined."""
        self._lookup_pauses = LOOK_UP_PAUSES

    def _reuse_connection_of(self, other: KendraSyncJobsHook) -> None:
        """Copy the connection from a hook with the same parameters, to look it up only once."""
        self.conn_config = self._known_conn_config = other.conn_config

    def _expect_connection(self) -> None:
        """Treat "not defined" as a failed look-up: an earlier process has used the connection."""
        self._lookup_pauses = ()
        self._is_connection_expected = True

    def get_client_type(self, *args: Any, **kwargs: Any) -> Any:
        """
        Make a client.

        :raises KendraRequestError: if the configuration is invalid.
        """
        with misconfiguration_explained(f"botocore_config, or the connection {self.aws_conn_id!r}"):
            check_ca_bundle(self.verify)
            # Creating a client can call STS. Secrets are masked before texts are escaped, or they would not match.
            with plain_errors(), self._secrets_hidden():
                client = super().get_client_type(*args, **kwargs)
        client.meta.events.register_last("before-parse.kendra", _check_body)
        return client

    @property
    def config(self) -> Config:
        """The botocore configuration of the author or the connection, with bounded default time-outs."""
        return self._defaults.merge(super().config)

    def _use_for_polling(self) -> None:
        """Use one attempt per call and short time-outs, unless the author has set them: the poller retries."""
        self._defaults = _POLLING

    @cached_property
    def _single_attempt_client(self) -> KendraClient:
        # botocore's retries would repeat a start after a lost response, and then report our own sync job as "already
        # running". They would stop a CUSTOM data source twice.
        config = self.config.merge(Config(retries={"total_max_attempts": 1}))
        client: KendraClient = self.get_client_type(self.region_name, config=config)
        return client

    def _iter_pages(self, index_id: str, data_source_id: str, **filters: Any) -> Iterator[Page]:
        """
        Read the history page by page, newest job first; pages are fetched as they are consumed.

        Pages without jobs are skipped, except the last: Kendra may send an empty page with a token. Each page is
        sorted, since Kendra does not document the order of jobs.
        """
        request = self._list_request(index_id, data_source_id, **filters)
        contents = f"history of data source {data_source_id}"
        empty = 0
        for response in self._list(
            "ListDataSourceSyncJobs", self._kendra.list_data_source_sync_jobs, request, contents
        ):
            jobs = [
                SyncJob.from_response(item, index_id=index_id, data_source_id=data_source_id)
                for item in response.get("History") or ()
            ]
            is_last = not response.get("NextToken")
            empty = 0 if jobs else empty + 1
            if empty > MAX_EMPTY_PAGES:
                raise _unreadable("ListDataSourceSyncJobs", f"{empty} consecutive pages have no sync job")
            if jobs or is_last:
                yield Page(_newest_first(jobs), is_last=is_last)

    def _list_request(
        self,
        index_id: str,
        data_source_id: str,
        *,
        status: str | None = None,
        started_after: datetime | str | None = None,
        started_before: datetime | str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> ListDataSourceSyncJobsRequestTypeDef:
        if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= PAGE_SIZE:
            raise ValueError(f"page_size is {shown(page_size)}, but must be from 1 to {PAGE_SIZE}.")
        request: dict[str, Any] = {**self._ids(index_id, data_source_id), "MaxResults": page_size}
        if status is not None:
            request["StatusFilter"] = check_status("status", status)
        times = {"StartTime": ("started_after", started_after), "EndTime": ("started_before", started_before)}
        window = {key: check_time(name, value) for key, (name, value) in times.items() if value is not None}
        if window:
            request["StartTimeFilter"] = window
        return request  # type: ignore[return-value]

    def iter_sync_jobs(
        self,
        index_id: str,
        data_source_id: str,
        *,
        status: str | None = None,
        started_after: datetime | str | None = None,
        started_before: datetime | str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> Iterator[SyncJob]:
        """
        Iterate over the sync jobs, newest first; pages are fetched as they are consumed.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param status: Only jobs with this status (``StatusFilter``). Default None: with any.
        :param started_after: Only jobs that started at or after this time: a ``datetime`` or ISO 8601 text, with a
            time zone (``StartTimeFilter.StartTime``). Default None: any.
        :param started_before: Only jobs that started at or before this time (``StartTimeFilter.EndTime``). Default
            None: any.
        :param page_size: Jobs in one call, 1 to 10 (``MaxResults``). Default 10.
        """
        pages = self._iter_pages(
            index_id,
            data_source_id,
            status=status,
            started_after=started_after,
            started_before=started_before,
            page_size=page_size,
        )
        seen: set[str] = set()
        for page in pages:
            for job in page.jobs:
                if job.execution_id and job.execution_id in seen:
                    continue  # pages overlap when a sync starts while they are read
                seen.add(job.execution_id)
                yield job

    def list_sync_jobs(
        self,
        index_id: str,
        data_source_id: str,
        *,
        status: str | None = None,
        started_after: datetime | str | None = None,
        started_before: datetime | str | None = None,
        limit: int | None = None,
    ) -> list[SyncJob]:
        """
        List the sync jobs, newest first.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param status: As in :meth:`iter_sync_jobs`.
        :param started_after: As in :meth:`iter_sync_jobs`.
        :param started_before: As in :meth:`iter_sync_jobs`.
        :param limit: The maximum number of jobs to return. Default None: all.
        """
        check_count("limit", limit)
        jobs = self.iter_sync_jobs(
            index_id,
            data_source_id,
            status=status,
            started_after=started_after,
            started_before=started_before,
            page_size=min(limit or PAGE_SIZE, PAGE_SIZE),
        )
        return list(itertools.islice(jobs, limit))

    def get_sync_job(self, index_id: str, data_source_id: str, execution_id: str) -> SyncJob:
        """
        Find one sync job; the history is read back to it and no further.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param execution_id: The job's execution id.
        :raises KendraSyncJobNotFoundError: if it is not in the history.
        """
        check_identifier("execution_id", execution_id)
        for job in self.iter_sync_jobs(index_id, data_source_id):
            if job.execution_id == execution_id:
                return job
        raise _no_such_job(index_id, data_source_id, execution_id)

    def get_latest_sync_job(
        self, index_id: str, data_source_id: str, *, statuses: Collection[str] | None = None
    ) -> SyncJob | None:
        """
        Get the newest sync job, or None if there is none.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param statuses: Only jobs with one of these statuses. Default None: any status.
        """
        wanted = set() if statuses is None else {str(status) for status in statuses}
        only = wanted.pop() if len(wanted) == 1 and wanted <= set(SyncJobStatus) else None  # Kendra filters by one
        for job in self.iter_sync_jobs(index_id, data_source_id, status=only):
            if statuses is None or job.status in statuses:
                return job
        return None

    def start_sync_job(self, index_id: str, data_source_id: str) -> str:
        """
        Start exactly one sync job and return its execution id.

        If the response is lost, the history decides: a job newer than the newest one before the request is ours. The
        request is repeated, for up to a minute, only if it certainly had no effect or no such job is listed for 20 s.

        :param index_id: The index.
        :param data_source_id: The data source.
        :raises KendraSyncJobAlreadyRunningError: if a sync job is running already.
        :raises KendraError: if no sync job could be started in time.
        """
        step = self._advance_start(index_id, data_source_id, Starter(acceptance=ANY_END))
        match step:
            case Follow(execution_id):
                return execution_id
            case Return(job):
                return job.execution_id  # the response was lost, and the job has already ended
            case _:
                raise already_running(index_id, data_source_id, step.job)

    def _advance_start(
        self, index_id: str, data_source_id: str, starter: Starter, *, remember: Remember | None = None
    ) -> CallerStep:
        """Read the history and send start requests until the caller has something to do."""
        return advance_start(self._calls_on(index_id, data_source_id), starter, remember=remember)

    def _calls_on(self, index_id: str, data_source_id: str) -> _DataSourceCalls:
        self._ids(index_id, data_source_id)  # raises for invalid ids, before any call
        return _DataSourceCalls(self, index_id, data_source_id)

    def _discard_clients(self) -> None:
        """Discard the connection and clients: the next call uses fresh credentials."""
        for name in ("conn", "_client", "conn_config", "_single_attempt_client", "_logs_client"):
            self.__dict__.pop(name, None)

    def _request_stop(
        self,
        index_id: str,
        data_source_id: str,
        execution_id: str | None = None,
        *,
        confirm: Confirm | None = None,
    ) -> Stopped:
        """
        Stop the running sync job once, without waiting for its end, and return the result.

        A stop is sent only right after the history has shown the job as running. Transient errors are retried for up to
        a minute. The search for a job lasts 20 seconds, since a new one may not be listed at once.
        No stop is sent for a CUSTOM data source that is indexing, since its sync has already been stopped.

        :param execution_id: Stop only this job. Default None: the running one.
        :param confirm: Called before a request is sent, unless ``execution_id`` is given.
        :raises KendraSyncJobNotFoundError: if ``execution_id`` is not in the history.
        """
        if execution_id is not None:
            check_identifier("execution_id", execution_id)
        stopped = advance_stop(self._calls_on(index_id, data_source_id), Stopper(execution_id), confirm)
        if stopped.job is None and execution_id is not None:
            raise _no_such_job(index_id, data_source_id, execution_id)
        return stopped

    def _stop_sync_job_if_running(
        self, index_id: str, data_source_id: str, execution_id: str, *, is_custom: bool | None = None
    ) -> Stopped:
        """
        Stop a sync job if it is the running one.

        :param is_custom: Whether the data source is CUSTOM. Default None: looked up if needed.
        """
        stopper = Stopper(execution_id, is_custom=is_custom)
        return advance_stop(self._calls_on(index_id, data_source_id), stopper)

    def _use_short_timeouts(self) -> None:
        """
        Use short timeouts from now on, for calls made while the task is being killed.

        Airflow 3 sends SIGKILL 5 seconds after SIGTERM. The stop is sent within 4: 1 to connect, 2 to read the history,
        1 to connect again. Its response can take 2 more, and is lost if the task is killed before; the sync is stopped
        nevertheless. Airflow 2 waits 60 seconds (``[core] killed_task_cleanup_time``).
        """
        connect, read = (1, 2) if AIRFLOW_V_3_0_PLUS else (3, 5)
        quick = Config(connect_timeout=connect, read_timeout=read, retries={"total_max_attempts": 1})
        client = self.get_client_type(self.region_name, config=self.config.merge(quick))
        self.conn = self._single_attempt_client = client
        self._has_short_timeouts = True

    def stop_sync_job(self, index_id: str, data_source_id: str) -> None:
        """
        Stop the running sync job, whichever it is: Kendra's call takes no execution id. On a CUSTOM data source it ends
        the batch.

        After a lost response or a throttled request, the stop is sent again, for up to a minute, as long as the history
        shows the same sync still running. It never stops another sync, nor a batch of a CUSTOM data source twice. If
        the history does not show what became of the sync, the error of the request is raised. Reading the
        history needs ``kendra:ListDataSourceSyncJobs``, and for a sync in SYNCING_INDEXING
        ``kendra:DescribeDataSource``; without them, a stop is sent once.

        :param index_id: The index.
        :param data_source_id: The data source.
        """
        stop_whichever_runs(self._calls_on(index_id, data_source_id))

    def describe_data_source(self, index_id: str, data_source_id: str) -> dict[str, Any]:
        """
        Describe a data source: the response of ``DescribeDataSource``.

        :param index_id: The index.
        :param data_source_id: The data source.
        """
        response = self._invoke(
            "DescribeDataSource", self._kendra.describe_data_source, **self._ids(index_id, data_source_id)
        )
        return {key: value for key, value in response.items() if key != "ResponseMetadata"}

    def describe_index(self, index_id: str) -> dict[str, Any]:
        """
        Describe an index: the response of ``DescribeIndex``.

        :param index_id: The index.
        """
        request = {"Id": check_identifier("index_id", index_id)}
        response = self._invoke("DescribeIndex", self._kendra.describe_index, **request)
        return {key: value for key, value in response.items() if key != "ResponseMetadata"}

    def get_index_capacity(self, index_id: str) -> IndexCapacity:
        """
        Get how many documents and how much text an index holds, and how much it can hold.

        :param index_id: The index.
        """
        return capacity_of(self.describe_index(index_id))

    def get_document_status(
        self,
        index_id: str,
        document_ids: Iterable[str],
        *,
        data_source_id: str | None = None,
        execution_id: str | None = None,
    ) -> dict[str, dict[str, str | None]]:
        """
        Get the indexing status of documents, as ``BatchGetDocumentStatus`` reports it; one call per ten ids.

        The status is one of ``NOT_FOUND PROCESSING INDEXED UPDATED FAILED UPDATE_FAILED``, or ``ERROR`` for an id that
        Kendra rejected. For documents of connectors it is advisory: the logs of the sync say more
        (:meth:`get_failed_documents`).

        :param index_id: The index.
        :param document_ids: A list, or other iterable, of ids.
        :param data_source_id: The data source, together with ``execution_id``. Default None: not given.
        :param execution_id: The sync job that put the documents, together with ``data_source_id``.
        :return: For each id its ``status``, ``failure_code`` and ``failure_reason``; the last two can be None.
        :raises ValueError: if ``document_ids`` is not a list of ids, or only one of the other two is given.
        """
        check_identifier("index_id", index_id)
        if (data_source_id is None) != (execution_id is None):
            raise ValueError("data_source_id and execution_id must be given together, or neither of them.")
        attributes = []
        if data_source_id is not None:
            given = {
                "datasourceId": check_identifier("data_source_id", data_source_id),
                "jobExecutionId": check_identifier("execution_id", execution_id),
            }
            attributes = [{"Key": key, "Value": {"StringValue": value}} for key, value in given.items()]
        found: dict[str, dict[str, str | None]] = {}
        for batch in batches_of(check_document_ids(document_ids)):
            infos = [{"DocumentId": each["Id"], **({"Attributes": attributes} if attributes else {})} for each in batch]
            request: Any = {"IndexId": index_id, "DocumentInfoList": infos}
            response = self._invoke("BatchGetDocumentStatus", self._kendra.batch_get_document_status, **request)
            found |= status_by_id(response)
        return found

    def get_failed_documents(
        self, index_id: str, data_source_id: str, execution_id: str, *, limit: int = 10
    ) -> DocumentFailures:
        """
        Get the documents that failed in a sync job, from Kendra's CloudWatch logs.

        No log is read unless the job reports failed documents or ended FAILED or INCOMPLETE. Then at most five calls of
        ``FilterLogEvents`` are made within 20 seconds. A missing log group or permission, a late report, throttling and
        time-outs raise nothing: ``note`` of the result says what is missing. The connection needs
        ``logs:FilterLogEvents`` on the log group ``/aws/kendra/<index id>``.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param execution_id: The sync job.
        :param limit: The maximum number of documents to return; all are counted.
        :raises KendraSyncJobNotFoundError: if the history has no such job.
        :raises KendraRequestError: if no call can be made: the connection is not defined, or there is no region.

        .. seealso:: https://docs.aws.amazon.com/kendra/latest/dg/cloudwatch-logs.html
        """
        check_limit("limit", limit)
        job = self.get_sync_job(index_id, data_source_id, execution_id)
        return self._failed_documents_of(job, limit=limit)

    def _failed_documents_of(
        self, job: SyncJob, *, limit: int, calls: int = FAILED_DOCUMENTS_CALLS
    ) -> DocumentFailures:
        """Get the documents that failed in a job; no call if nothing failed."""
        if not may_have_failures(job):
            return DocumentFailures(expected=job.documents_failed)
        log_calls = self._log_calls(job.index_id, calls=calls, seconds=FAILED_DOCUMENTS_SECONDS)
        return failed_documents(log_calls, job, limit=limit, now=_clock.utcnow())

    def _describe_failed_documents(self, job: SyncJob, *, limit: int) -> tuple[DocumentFailures, str]:
        """Get the documents that failed in a job, and advice if the index is full; one limit holds for all calls."""
        ends_at = time.monotonic() + FAILED_DOCUMENTS_SECONDS
        # One call is left to read the capacity of the index.
        calls = FAILED_DOCUMENTS_CALLS - may_be_of_a_full_index(job)
        failures = self._failed_documents_of(job, limit=limit, calls=calls)
        advice = advise_on_capacity(lambda: self._index_capacity_within(job.index_id, ends_at), failures)
        return failures, advice

    def _index_capacity_within(self, index_id: str, ends_at: float) -> IndexCapacity:
        seconds = min(_LOGS_CALL_SECONDS, ends_at - time.monotonic())
        return call_within(seconds, lambda: capacity_of(self._single_attempt_client.describe_index(Id=index_id)))

    def get_missing_documents(
        self, index_id: str, data_source_id: str, *, lookback: timedelta = timedelta(days=30), limit: int = 10
    ) -> DocumentFailures:
        """
        Get the documents that failed in an earlier sync and have not been indexed or deleted since.

        Kendra does not retry a failed document until it or its metadata has changed. So the next sync can end
        SUCCEEDED while documents are missing from the index. Kendra's CloudWatch logs are read in two passes, with at
        most 20 calls within 60 seconds: what failed in the look-back, then what was indexed or deleted since. A
        document is missing until the logs say otherwise. If one of the last 50 sync jobs reports more documents that
        failed than the logs name, or the history can't be read, the result is not complete. Permissions, and the
        faults that set ``note`` instead of raising, are as in :meth:`get_failed_documents`.

        :param index_id: The index.
        :param data_source_id: The data source. Whether Kendra logs reports for CUSTOM ones is not documented.
        :param lookback: How far back to search for failures. Default: 30 days. The log group's retention limits it too.
        :param limit: The maximum number of documents to return; all are counted.
        :return: ``expected`` is None. If not ``is_complete``, documents may be left out, or have been indexed since.
        :raises ValueError: unless ``lookback`` is positive and at most 3,650 days.
        :raises KendraRequestError: if no call can be made: the connection is not defined, or there is no region.
        """
        check_identifier("index_id", index_id)
        check_identifier("data_source_id", data_source_id)
        check_lookback("lookback", lookback)
        check_limit("limit", limit)
        ends_at = time.monotonic() + _MISSING_DOCUMENTS_SECONDS
        calls = self._log_calls(index_id, calls=_MISSING_DOCUMENTS_CALLS, seconds=_MISSING_DOCUMENTS_SECONDS)
        now = _clock.utcnow()
        return missing_documents(
            calls,
            data_source_id,
            lookback=lookback,
            limit=limit,
            now=now,
            read_jobs=lambda: self._list_sync_jobs_until(
                ends_at, index_id, data_source_id, since=now - lookback, calls=min(_HISTORY_CALLS, calls.calls_left)
            ),
        )

    def _list_sync_jobs_until(
        self, ends_at: float, index_id: str, data_source_id: str, *, since: datetime, calls: int
    ) -> list[SyncJob] | None:
        """List the newest sync jobs since a time; None if they can't be read in time."""
        if calls == 0:
            return None
        read = partial(self.list_sync_jobs, index_id, data_source_id, started_after=since, limit=PAGE_SIZE * calls)
        try:
            return call_within(ends_at - time.monotonic(), read)
        except Exception as error:  # must not discard what the logs returned
            self.log.warning("The history could not be compared with the logs: %s", describe_error(error))
            return None

    def _log_calls(self, index_id: str, *, calls: int, seconds: float) -> LogCalls:
        ends_at = time.monotonic() + seconds
        pauses, self._lookup_pauses = self._lookup_pauses, ()  # the retries of a look-up take a minute
        try:
            _ = self.conn_config  # raises if the connection is not defined; Airflow is not asked in another thread
        finally:
            self._lookup_pauses = pauses

        def filter_events(**request: Any) -> Mapping[str, Any]:
            with plain_errors(), self._secrets_hidden(), without_response_logs():
                response: Mapping[str, Any] = self._logs_client.filter_log_events(**request)
            return response

        def filter_in_time(**request: Any) -> Mapping[str, Any]:
            seconds_left = min(_LOGS_CALL_SECONDS, ends_at - time.monotonic())
            return call_within(seconds_left, partial(filter_events, **request))

        return LogCalls(
            filter_in_time,
            explain_logs_error,
            group=f"/aws/kendra/{index_id}",
            calls=calls,
            seconds=seconds,
            monotonic=time.monotonic,
            sleep=time.sleep,
        )

    @CachedProperty  # type: ignore[untyped-decorator]
    def _logs_client(self) -> Any:
        """A client for CloudWatch Logs, with the same credentials, region, verification and configuration."""
        with misconfiguration_explained(f"botocore_config, or the connection {self.aws_conn_id!r}"):
            check_ca_bundle(self.verify)
            with plain_errors(), self._secrets_hidden():
                client = self.get_session(region_name=self.region_name).client(
                    service_name="logs",
                    endpoint_url=endpoint_for_logs(self.conn_config),
                    config=self.config.merge(_LOGS),
                    verify=self.verify,
                )
        client.meta.events.register_last("before-parse.cloudwatch-logs", _check_body)
        return client

    def list_data_sources(self, index_id: str) -> Iterator[dict[str, Any]]:
        """
        Iterate over the data sources of an index: items of ``ListDataSources``, fetched as they are consumed.

        :param index_id: The index.
        """
        request = {"IndexId": check_identifier("index_id", index_id)}
        contents = f"data sources of index {index_id}"
        for response in self._list("ListDataSources", self._kendra.list_data_sources, request, contents):
            for item in response.get("SummaryItems") or ():
                if "Id" not in item:
                    raise _unreadable("ListDataSources", "a data source has no Id")
                yield dict(item)

    def put_documents(
        self, index_id: str, data_source_id: str, execution_id: str, documents: Iterable[Mapping[str, Any]]
    ) -> None:
        """
        Put documents into a CUSTOM data source, as part of its running sync job.

        They are sent in batches of at most ten documents and 50 MB of ``Blob`` (a larger document is sent alone). Each
        document gets the two attributes that assign it to the data source and the sync job. Documents that fail with
        Kendra's ``InternalError`` are sent again. Documents with the same Id are all sent, in order.

        If a call fails before all documents were sent, its error is raised unchanged as long as no document has failed.
        Otherwise ``KendraDocumentsError`` reports the failed documents, with that error as ``__cause__``. If a retry
        can't help, it is the subclass ``KendraDocumentsRequestError``, which is also a ``KendraRequestError``.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param execution_id: The running sync job.
        :param documents: A list, or other iterable, of ``Document`` structures of ``BatchPutDocument``; consumed
            lazily, not changed.
        :raises ValueError: if ``documents`` is not a list of documents, or one of them has no ``Id``.
        :raises KendraDocumentsError: at the end, if Kendra rejected some, with the reason for each.

        .. seealso:: https://docs.aws.amazon.com/kendra/latest/dg/data-source-custom.html
        """
        check_identifier("index_id", index_id)
        tie = {
            "_data_source_id": check_identifier("data_source_id", data_source_id),
            "_data_source_sync_job_execution_id": check_identifier("execution_id", execution_id),
        }
        where = f"(sync job {execution_id}, data source {data_source_id}, index {index_id})"

        def put(batch: list[dict[str, Any]], first: int) -> Mapping[str, Any]:
            request: Any = {"IndexId": index_id, "Documents": batch}
            shape = self._kendra.meta.service_model.operation_model("BatchPutDocument").input_shape
            with contents_hidden(shape, request, first):
                return self._invoke("BatchPutDocument", values_hidden(self._kendra.batch_put_document), **request)

        self._send_batches(
            batches_of(prepare(check_documents(documents), tie)), put, "Putting documents failed", "put", where
        )

    def delete_documents(
        self, index_id: str, data_source_id: str, execution_id: str, document_ids: Iterable[str]
    ) -> None:
        """
        Delete documents of a CUSTOM data source from the index, as part of its running sync job, which counts them.

        Ids are sent in batches of at most ten. Those that fail with Kendra's ``InternalError`` are sent again; to
        delete a document twice is harmless. Kendra deletes them asynchronously, which can take an hour or more, and
        accepts ids that the index does not have. Errors are as in :meth:`put_documents`.

        :param index_id: The index.
        :param data_source_id: The data source.
        :param execution_id: The running sync job.
        :param document_ids: A list, or other iterable, of ids; consumed lazily.
        :raises ValueError: if ``document_ids`` is not a list of ids.
        :raises KendraDocumentsError: at the end, if Kendra rejected some, with the reason for each.

        .. seealso:: https://docs.aws.amazon.com/kendra/latest/APIReference/API_BatchDeleteDocument.html
        """
        check_identifier("index_id", index_id)
        target = {
            "DataSourceId": check_identifier("data_source_id", data_source_id),
            "DataSourceSyncJobId": check_identifier("execution_id", execution_id),
        }
        where = f"(sync job {execution_id}, data source {data_source_id}, index {index_id})"

        def delete(batch: list[dict[str, Any]], _: int) -> Mapping[str, Any]:
            request: Any = {
                "IndexId": index_id,
                "DocumentIdList": [document["Id"] for document in batch],
                "DataSourceSyncJobMetricTarget": target,
            }
            return self._invoke("BatchDeleteDocument", self._kendra.batch_delete_document, **request)

        self._send_batches(
            batches_of(check_document_ids(document_ids)), delete, "Deleting documents failed", "deleted", where
        )

    def _send_batches(
        self,
        batches: Iterable[list[dict[str, Any]]],
        send: Callable[[list[dict[str, Any]], int], Mapping[str, Any]],
        failed: str,
        done: str,
        where: str,
    ) -> None:
        """Send batches of documents, and report at the end which ones Kendra rejected."""
        failures: list[dict[str, Any]] = []
        sent: list[int] = []
        try:
            for batch in batches:
                self._send_batch(batch, send, failures, sent)
        except Exception as error:
            if not failures:
                raise
            kind = KendraDocumentsRequestError if classify_error(error) is ErrorKind.PERMANENT else KendraDocumentsError
            raise kind(
                f"{failed}: {describe_error(error).removesuffix('.')}, after "
                f"{_count(len(sent), 'batch', 'batches')} ({_count(sum(sent), 'document', 'documents')}). Before that, "
                f"{_rejection_summary(failures)} {where}.",
                failures=failures,
            ) from error
        if failures:
            raise KendraDocumentsError(
                f"{_rejection_summary(failures)}. The sync job must be running while documents are {done} {where}.",
                failures=failures,
            )

    @staticmethod
    def _send_batch(
        batch: list[dict[str, Any]],
        send: Callable[[list[dict[str, Any]], int], Mapping[str, Any]],
        failures: list[dict[str, Any]],
        sent: list[int],
    ) -> None:
        """Send a batch with retries; add failed documents to ``failures`` and the batch size to ``sent``."""
        size = len(batch)
        first = sum(sent)
        earlier = list(failures)
        kept: list[dict[str, Any]] = []
        for attempt in itertools.count(1):
            response = send(batch, first)
            if attempt == 1:
                sent.append(size)
            failed = [
                {name: without_values(value) for name, value in failure.items()}
                for failure in response.get("FailedDocuments") or ()
            ]
            batch, verdicts = sort_failures(batch, failed)
            kept += [failure for failure in verdicts if failure not in kept]
            # If the next attempt raises, the documents that it was to send again have failed too.
            failures[:] = [*earlier, *kept, *(failure for failure in failed if failure not in verdicts)]
            if attempt == PUT_ATTEMPTS or not batch:
                return
            time.sleep(PAUSE * attempt)

    def _list(
        self, operation: str, call: Callable[..., Any], request: Mapping[str, Any], contents: str
    ) -> Iterator[Mapping[str, Any]]:
        """Fetch responses until one has no ``NextToken``; reject a repeated token, which would never end."""
        tokens: set[str] = set()
        page: dict[str, str] = {}
        while True:
            try:
                response = self._invoke(operation, call, **request, **page)
            except aws.ClientError as error:
                # The same request without a token was accepted.
                if not page or error.response.get("Error", {}).get("Code") != "ValidationException":
                    raise
                raise KendraError(
                    f"Kendra refused the token of the next page, which may have expired. Try again ({contents})."
                ) from error
            yield response
            token = response.get("NextToken")
            if not token:
                return
            if token in tokens:
                raise KendraError(
                    f"Kendra returned the same page twice, so reading would never end. Try again ({contents})."
                )
            tokens.add(token)
            page = {"NextToken": token}

    def _invoke(self, operation: str, call: Callable[P, R], /, *args: P.args, **request: P.kwargs) -> R:
        """
        Make a call and reject a malformed response.

        botocore validates only requests. It parses a body that is not JSON as an empty response, which would pass as an
        empty history. It does not check the types of values, and its parser can raise any error.
        """
        try:
            with plain_errors(), self._secrets_hidden():  # secrets are masked first
                answer = call(*args, **request)
        except ResponseParserError as error:
            raise _unreadable(operation, str(error)) from error
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            if was_raised_in(error, "botocore.parsers"):
                raise _unreadable(operation, reason) from error
            raise KendraError(f"The call {operation} failed: {reason.removesuffix('.')}. Try again.") from error
        shape = self._kendra.meta.service_model.operation_model(operation).output_shape
        if shape is not None:
            members: Any = answer
            length = members.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("content-length", "2")
            if length != str(len("{}")) and not any(name in members for name in shape.members):
                raise _unreadable(operation, f"it has none of {', '.join(shape.members)}")
            if mismatch := _type_mismatch(members, shape):
                raise _unreadable(operation, mismatch)
        return answer

    @property
    def _kendra(self) -> KendraClient:
        client: KendraClient = self.conn
        return client

    @staticmethod
    def _ids(index_id: str, data_source_id: str) -> dict[str, str]:
        return {
            "IndexId": check_identifier("index_id", index_id),
            "Id": check_identifier("data_source_id", data_source_id),
        }


class _DataSourceCalls:
    """Implements ``StartCalls`` and ``StopCalls`` for one data source."""

    def __init__(self, hook: KendraSyncJobsHook, index_id: str, data_source_id: str) -> None:
        self._hook = hook
        self.index_id = index_id
        self.data_source_id = data_source_id
        self.log = hook.log
        self.classify_error = classify_error
        self.describe_error = describe_error
        self.certainly_had_no_effect = _certainly_had_no_effect
        self.discard_clients = hook._discard_clients
        self.monotonic = time.monotonic
        self.sleep = time.sleep

    @property
    def has_short_timeouts(self) -> bool:
        return self._hook._has_short_timeouts

    def iter_sync_jobs(self) -> Iterator[SyncJob]:
        return self._hook.iter_sync_jobs(self.index_id, self.data_source_id)

    def get_data_source_type(self) -> str | None:
        kind: str | None = self._hook.describe_data_source(self.index_id, self.data_source_id).get("Type")
        return kind

    def send_start(self) -> str:
        start = self._hook._single_attempt_client.start_data_source_sync_job
        response = self._hook._invoke("StartDataSourceSyncJob", start, IndexId=self.index_id, Id=self.data_source_id)
        return as_execution_id(response["ExecutionId"])

    def send_stop(self) -> None:
        stop = self._hook._single_attempt_client.stop_data_source_sync_job
        self._hook._invoke("StopDataSourceSyncJob", stop, IndexId=self.index_id, Id=self.data_source_id)


def _no_such_job(index_id: str, data_source_id: str, execution_id: str) -> KendraSyncJobNotFoundError:
    return KendraSyncJobNotFoundError(
        "No such sync job in the history of the data source. Check the three ids, the connection and the region (sync "
        f"job {execution_id}, data source {data_source_id}, index {index_id})."
    )


def _check_connection_id(conn_id: object) -> None:
    """Reject values that the base class would treat as None: "", "None" from a template, False."""
    if conn_id is None:
        return
    try:
        check_connection_id("aws_conn_id", conn_id)
    except ValueError as error:
        raise KendraRequestError(str(error)) from None


def _check_environment(conn_id: str) -> None:
    """Reject a malformed environment variable, which Airflow reads as no connection or as one without a type."""
    name = f"AIRFLOW_CONN_{conn_id.upper()}"
    text = os.environ.get(name, "")
    if is_unreadable(text):
        raise KendraRequestError(
            f"The AWS connection {conn_id!r} cannot be read: the environment variable {name} is neither valid JSON nor "
            "a URI such as aws://. Correct it."
        )
    if fault := fault_of_text(text):
        raise KendraRequestError(f"The AWS connection {conn_id!r} {fault}")


def _newest_first(jobs: list[SyncJob]) -> list[SyncJob]:
    """Sort jobs by start time; those without one keep their position."""
    timed = iter(sorted((job for job in jobs if job.start_time), key=lambda job: job.start_time or _EVER, reverse=True))
    return [next(timed) if job.start_time else job for job in jobs]


_EVER = datetime.min.replace(tzinfo=UTC)


def _check_body(response_dict: Mapping[str, Any], operation_model: Any, **_: Any) -> None:
    """Reject a body that is not a JSON object; botocore would parse it as an empty response."""
    if response_dict["status_code"] >= 300 or (not response_dict["body"] and operation_model.output_shape is None):
        return
    try:
        body = json.loads(response_dict["body"])
    except (RecursionError, ValueError):
        body = None
    if not isinstance(body, dict):
        raise ResponseParserError("its body is not a JSON object, as from a proxy")


def _unreadable(operation: str, reason: str) -> KendraError:
    return KendraError(f"Kendra's response to {operation} could not be read: {reason}. Try again.")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _rejection_summary(failures: list[dict[str, Any]]) -> str:
    named = "; ".join(
        plain(f"{plain(f.get('Id'), 100)}: {plain(f.get('ErrorCode'), 50)} {f.get('ErrorMessage')}", 300)
        for f in failures[:5]
    )
    more = "; …" if len(failures) > 5 else ""
    return f"Kendra rejected {_count(len(failures), 'document', 'documents')}: {named}{more}"


_PYTHON_TYPES = {"list": list, "map": dict, "string": str, "structure": dict, "timestamp": datetime}


def _type_mismatch(value: Any, shape: Any) -> str | None:
    """Describe the first value in a response whose type does not match the API's model; None if all match."""
    if not isinstance(value, _PYTHON_TYPES.get(shape.type_name, object)):
        return f"{value!r:.40} is not of type {shape.name}"
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict) and shape.type_name == "structure":
        parts = ((value[name], member) for name, member in shape.members.items() if name in value)
    elif isinstance(value, list):
        parts = ((each, shape.member) for each in value)
    return next((mismatch for part, member in parts if (mismatch := _type_mismatch(part, member))), None)
