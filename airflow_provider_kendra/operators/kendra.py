"""Operators that start sync jobs, and read what they did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_kendra import polling
from airflow_provider_kendra.aws import AwsParametersMixin
from airflow_provider_kendra.conditions import (
    ExecutionFinished,
    Failure,
    Outcome,
    Satisfied,
    outcome_from_event,
)
from airflow_provider_kendra.exceptions import (
    KendraError,
    KendraRequestError,
    KendraSyncJobFailedError,
    KendraSyncJobMetricsError,
    KendraSyncJobNotFoundError,
    KendraSyncJobTimeoutError,
)
from airflow_provider_kendra.sync_job import (
    DOCUMENT_COUNTS,
    TERMINAL_STATUSES,
    Acceptance,
    SyncJob,
    SyncJobStatus,
)
from airflow_provider_kendra.triggers.kendra import KendraSyncJobTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

NOT_FOUND_TIMEOUT = 120.0
"""How long, in seconds, a sync job that was just started may not be listed."""

_NET = timedelta(seconds=polling.OVERRUN + 60)


class KendraStartSyncJobOperator(AwsParametersMixin, BaseOperator):
    """
    Start a sync job of a data source and wait until it has finished; returns its record.

    Pushes the XCom ``execution_id`` as soon as the job has been started, so that it is there however the wait
    ends; a later task takes it as ``start.output["execution_id"]``.

    :param index_id: The index (templated).
    :param data_source_id: The data source (templated).
    :param wait_for_completion: Wait until the job has finished. With False, returns the record as known right
        after the start. A CUSTOM data source needs False, since its sync ends only when someone stops it.
    :param max_documents_failed: Accept INCOMPLETE too, and tolerate up to so many failed documents.
        Default None: only SUCCEEDED is accepted.
    :param deferrable: Wait in the triggerer, at no cost of a worker slot. Default: ``[operators]
        default_deferrable``.
    :param poll_interval: Seconds between looks. Default 60.
    :param timeout: Seconds, or a ``timedelta``, that all waiting may take. Default 24 hours.
    :param aws_conn_id: The Airflow connection for AWS; None for boto3's own credentials (templated).
    :param region_name: AWS region; by default that of the connection (templated).
    :param verify: Whether, or with which CA bundle, to verify TLS certificates (templated).
    :param botocore_config: Configuration for the botocore client (templated).
    :raises KendraSyncJobFailedError: if the job ended, but not acceptably.
    :raises KendraSyncJobAlreadyRunningError: if a sync job is running already.
    :raises KendraSyncJobTimeoutError: after ``timeout``.
    :raises KendraRequestError: if AWS refuses, or the data source is CUSTOM and ``wait_for_completion`` is set.
    """

    template_fields: Sequence[str] = ("index_id", "data_source_id", *AwsParametersMixin.aws_template_fields)
    ui_color = "#c5e1f5"

    def __init__(
        self,
        *,
        index_id: str,
        data_source_id: str,
        wait_for_completion: bool = True,
        max_documents_failed: int | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 60,
        timeout: float | timedelta = 24 * 60 * 60,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
            **kwargs,
        )
        self.index_id = index_id
        self.data_source_id = data_source_id
        self.wait_for_completion = wait_for_completion
        self.max_documents_failed = max_documents_failed
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        Acceptance(max_documents_failed=max_documents_failed)
        if not wait_for_completion and any(map(_is_kendra_asset, self.outlets)):
            raise ValueError(
                f"{self.task_id}: wait_for_completion=False with a Kendra asset among the outlets would report the "
                "asset as updated before it is. Wait here, or move the outlet to the task that waits."
            )

    def execute(self, context: Context) -> Any:
        """Start, then wait here or in the triggerer."""
        if self.wait_for_completion:
            self._refuse_custom_data_source()
        execution_id = self.hook.start_sync_job(self.index_id, self.data_source_id)
        self.log.info("Started sync job %s of data source %s.", execution_id, self.data_source_id)
        if self.do_xcom_push:
            context["ti"].xcom_push(key="execution_id", value=execution_id)
        if not self.wait_for_completion:
            return self._just_started(execution_id).to_dict()
        since = polling.utcnow()
        if self.deferrable:
            self.defer(
                trigger=KendraSyncJobTrigger(
                    index_id=self.index_id,
                    data_source_id=self.data_source_id,
                    execution_id=execution_id,
                    max_documents_failed=self.max_documents_failed,
                    not_found_timeout=NOT_FOUND_TIMEOUT,
                    poll_interval=self.poll_interval,
                    timeout=self.timeout,
                    waiting_since=since.isoformat(),
                    **self.aws_kwargs,
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.timeout) + _NET,
            )
        return self._end(
            polling.wait_in_worker(
                self.hook,
                polling.DataSource(self.aws_parameters, self.index_id, self.data_source_id),
                ExecutionFinished(
                    execution_id,
                    Acceptance(max_documents_failed=self.max_documents_failed),
                    since + timedelta(seconds=NOT_FOUND_TIMEOUT),
                ),
                interval=self.poll_interval,
                deadline=since + timedelta(seconds=self.timeout),
                log=self.log.info,
            )
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Take what the trigger saw."""
        return self._end(outcome_from_event(event))

    def _end(self, outcome: Outcome) -> dict[str, Any]:
        if isinstance(outcome, Satisfied):
            self.log.info("%s is %s.", outcome.job.title, outcome.job.progress)
            return outcome.job.to_dict()
        raise _ERRORS[outcome.failure](outcome.message, job=outcome.job)

    def _refuse_custom_data_source(self) -> None:
        from botocore.exceptions import ClientError

        try:
            described = self.hook.describe_data_source(self.index_id, self.data_source_id)
        except ClientError as error:
            self.log.info("Could not find out the type of data source %s: %s", self.data_source_id, error)
            return
        if described.get("Type") == "CUSTOM":
            raise KendraRequestError(
                f"Data source {self.data_source_id} is CUSTOM: its sync ends only when someone stops it, so that "
                "waiting for it would never end. Start it with wait_for_completion=False, put the documents, stop "
                "it, then wait with KendraSyncJobSensor."
            )

    def _just_started(self, execution_id: str) -> SyncJob:
        for job in next(self.hook.iter_pages(self.index_id, self.data_source_id)).jobs:
            if job.execution_id == execution_id:
                return job
        return SyncJob(
            index_id=self.index_id,
            data_source_id=self.data_source_id,
            execution_id=execution_id,
            status=SyncJobStatus.SYNCING,
        )


_ERRORS: dict[Failure, type[KendraError]] = {
    Failure.NOT_ACCEPTABLE: KendraSyncJobFailedError,
    Failure.NOT_FOUND: KendraSyncJobNotFoundError,
    Failure.REFUSED: KendraRequestError,
    Failure.TIMED_OUT: KendraSyncJobTimeoutError,
}


def _is_kendra_asset(outlet: object) -> bool:
    return str(getattr(outlet, "uri", "")).startswith("kendra://")


class KendraSyncJobMetricsOperator(AwsParametersMixin, BaseOperator):
    """
    Push what a finished sync job did to XCom, each key of the record on its own besides the whole.

    With thresholds it is a gate: all that are not met are told in one error, after the XComs were pushed.
    FAILED and ABORTED jobs pass no threshold, and a count that was not reported meets none.

    :param index_id: The index (templated).
    :param data_source_id: The data source (templated).
    :param execution_id: The sync job (templated). Default None: the newest finished one.
    :param max_documents_failed: At most so many documents failed.
    :param max_failed_ratio: At most this share of documents failed, from 0 to 1: of those scanned or, where
        Kendra does not report these, of those added, modified, deleted and failed.
    :param min_documents_scanned: At least so many documents were scanned.
    :param aws_conn_id: The Airflow connection for AWS; None for boto3's own credentials (templated).
    :param region_name: AWS region; by default that of the connection (templated).
    :param verify: Whether, or with which CA bundle, to verify TLS certificates (templated).
    :param botocore_config: Configuration for the botocore client (templated).
    :raises KendraSyncJobMetricsError: if a threshold is not met. Not retried.
    :raises KendraSyncJobNotFoundError: if there is no such job, or none has finished. Not retried.
    """

    template_fields: Sequence[str] = (
        "index_id",
        "data_source_id",
        "execution_id",
        *AwsParametersMixin.aws_template_fields,
    )
    ui_color = "#c5e1f5"

    def __init__(
        self,
        *,
        index_id: str,
        data_source_id: str,
        execution_id: str | None = None,
        max_documents_failed: int | None = None,
        max_failed_ratio: float | None = None,
        min_documents_scanned: int | None = None,
        multiple_outputs: bool = True,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
            multiple_outputs=multiple_outputs,
            **kwargs,
        )
        self.index_id = index_id
        self.data_source_id = data_source_id
        self.execution_id = execution_id
        self.max_documents_failed = max_documents_failed
        self.max_failed_ratio = max_failed_ratio
        self.min_documents_scanned = min_documents_scanned
        for name in ("max_documents_failed", "max_failed_ratio", "min_documents_scanned"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and value >= 0):
                raise ValueError(f"{self.task_id}: {name} must be a number of 0 or more, or None, got {value!r}.")
        if max_failed_ratio is not None and max_failed_ratio > 1:
            raise ValueError(f"{self.task_id}: max_failed_ratio is a share from 0 to 1, got {max_failed_ratio!r}.")

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the job, and judge it."""
        job = self._find_job()
        record = job.to_dict()
        self.log.info("%s ended %s.%s", job.title, job.progress, job.error)
        violations = self._violations(job)
        if violations:
            if self.do_xcom_push:
                for key, value in {
                    **(record if self.multiple_outputs else {}),
                    "return_value": record,
                }.items():
                    context["ti"].xcom_push(key=key, value=value)
            raise KendraSyncJobMetricsError(
                f"{job.title} does not pass: {'; '.join(violations)}.{job.error}",
                job=job,
                violations=violations,
            )
        return record

    def _find_job(self) -> SyncJob:
        if self.execution_id is None:
            job = self.hook.get_latest_sync_job(self.index_id, self.data_source_id, statuses=TERMINAL_STATUSES)
            if job is None:
                raise KendraSyncJobNotFoundError(
                    f"Data source {self.data_source_id} (index {self.index_id}) has no finished sync job yet. Wait "
                    "for one with KendraSyncJobSensor."
                )
            return job
        job = self.hook.get_sync_job(self.index_id, self.data_source_id, self.execution_id)
        if not job.is_finished:
            raise KendraError(
                f"{job.title} has not finished: {job.progress}. Wait for it with KendraSyncJobSensor.",
                job=job,
            )
        return job

    def _violations(self, job: SyncJob) -> list[str]:
        found = []
        thresholds = (self.max_documents_failed, self.max_failed_ratio, self.min_documents_scanned)
        if job.status in (SyncJobStatus.FAILED, SyncJobStatus.ABORTED) and thresholds != (None, None, None):
            found.append(f"it ended {job.status}")
        failed, scanned = job.documents_failed, job.documents_scanned
        if self.max_documents_failed is not None:
            if failed is None:
                found.append(f"documents failed are not reported (max_documents_failed={self.max_documents_failed})")
            elif failed > self.max_documents_failed:
                found.append(f"{failed} documents failed (max_documents_failed={self.max_documents_failed})")
        if self.max_failed_ratio is not None:
            if failed is None:
                found.append(f"documents failed are not reported (max_failed_ratio={self.max_failed_ratio})")
            elif failed > self.max_failed_ratio * (total := _documents(job)):
                found.append(f"{failed} of {total} documents failed (max_failed_ratio={self.max_failed_ratio})")
        if self.min_documents_scanned is not None:
            if scanned is None:
                found.append(
                    f"documents scanned are not reported (min_documents_scanned={self.min_documents_scanned}); "
                    "Kendra never reports them for CUSTOM data sources"
                )
            elif scanned < self.min_documents_scanned:
                found.append(f"{scanned} documents were scanned (min_documents_scanned={self.min_documents_scanned})")
        return found


def _documents(job: SyncJob) -> int:
    """Count the documents that a job dealt with."""
    if job.documents_scanned is not None:
        return job.documents_scanned
    return sum(
        count or 0
        for count in (
            job.documents_added,
            job.documents_modified,
            job.documents_deleted,
            job.documents_failed,
        )
    )


class KendraListSyncJobsOperator(AwsParametersMixin, BaseOperator):
    """
    List sync jobs; returns their records, newest first, ready for ``.expand`` and ``.map``.

    Pushes the XCom ``totals`` besides: the sum of each document count (``documents_added`` and so on), the
    number of ``jobs``, and under ``statuses`` the number of jobs with each status.

    :param index_id: The index (templated).
    :param data_source_id: The data source (templated).
    :param status: Only jobs with this status (templated).
    :param started_after: Only jobs that started at or after this time: a ``datetime`` or ISO 8601 text, with a
        time zone (templated).
    :param started_before: Only jobs that started at or before this time (templated).
    :param limit: At most so many jobs, the newest. Default None: all.
    :param aws_conn_id: The Airflow connection for AWS; None for boto3's own credentials (templated).
    :param region_name: AWS region; by default that of the connection (templated).
    :param verify: Whether, or with which CA bundle, to verify TLS certificates (templated).
    :param botocore_config: Configuration for the botocore client (templated).
    """

    template_fields: Sequence[str] = (
        "index_id",
        "data_source_id",
        "status",
        "started_after",
        "started_before",
        *AwsParametersMixin.aws_template_fields,
    )
    ui_color = "#c5e1f5"

    def __init__(
        self,
        *,
        index_id: str,
        data_source_id: str,
        status: str | None = None,
        started_after: datetime | str | None = None,
        started_before: datetime | str | None = None,
        limit: int | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
            **kwargs,
        )
        self.index_id = index_id
        self.data_source_id = data_source_id
        self.status = status
        self.started_after = started_after
        self.started_before = started_before
        self.limit = limit

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """List, and sum up."""
        records = [
            job.to_dict()
            for job in self.hook.list_sync_jobs(
                self.index_id,
                self.data_source_id,
                status=self.status,
                started_after=self.started_after,
                started_before=self.started_before,
                limit=self.limit,
            )
        ]
        totals: dict[str, Any] = {
            key: sum(record[key] or 0 for record in records) for key in (f"documents_{n}" for n in DOCUMENT_COUNTS)
        }
        totals["jobs"] = len(records)
        totals["statuses"] = {
            **dict.fromkeys(map(str, SyncJobStatus), 0),
            **Counter(record["status"] for record in records),
        }
        self.log.info("Data source %s: %s", self.data_source_id, totals)
        if self.do_xcom_push:
            context["ti"].xcom_push(key="totals", value=totals)
        return records
