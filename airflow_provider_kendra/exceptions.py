"""The errors that a DAG author can meet. Each message says what happened, to which job, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_kendra._text import LONGEST_MESSAGE, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_kendra.sync_job import SyncJob


class KendraError(AirflowException):
    """
    Anything that went wrong with a Kendra sync job. Airflow retries the task.

    :param message: What happened, to which sync job, and what to do. It is escaped to one line, and cut at 4,000
        characters, since it can quote what others wrote.
    :param job: The sync job as last read, if one is known; kept as ``.job``.
    """

    def __init__(self, message: str, *, job: SyncJob | None = None) -> None:
        super().__init__(plain(message, LONGEST_MESSAGE))
        self.job = job


class KendraRequestError(KendraError, AirflowFailException):
    """AWS refuses this request however often it is sent. Airflow does not retry the task."""


class KendraStateError(KendraError):
    """
    What Airflow kept for a task can't be used: the event of its trigger, or what an earlier try remembered. Airflow
    retries the task.
    """


class InvalidParameterError(KendraRequestError, ValueError):
    """A parameter of a task can't work, however often the task is retried. Airflow does not retry the task."""


class KendraSyncJobFailedError(KendraError):
    """A sync job ended, but not acceptably; ``.job`` is the job. Airflow retries an operator."""


class KendraSyncJobRejectedError(KendraSyncJobFailedError, AirflowFailException):
    """The same for a sensor, without retries: a retry would meet the same job."""


class KendraSyncJobNotFoundError(KendraError, AirflowFailException):
    """The history of the data source has no such sync job. Airflow does not retry the task."""


class KendraSyncJobTimeoutError(KendraError):
    """
    An operator's ``timeout`` passed before its sync job had ended; ``.job`` is the job as last read. Airflow retries
    the task.
    """


class KendraSyncJobAlreadyRunningError(KendraError):
    """
    None could be started, since a sync job was running; ``.job`` is that job, if it is known. Airflow
    retries the task.
    """


class KendraSyncJobMetricsError(KendraError, AirflowFailException):
    """
    A sync job did not pass the gates of ``KendraSyncJobMetricsOperator``. Airflow does not retry the task.

    :param message: All violations, in one text.
    :param job: The sync job.
    :param violations: One sentence for each gate that was not passed.
    """

    def __init__(self, message: str, *, job: SyncJob | None = None, violations: Sequence[str] = ()) -> None:
        super().__init__(message, job=job)
        self.violations = list(violations)


class KendraDocumentsError(KendraError):
    """
    Kendra did not take some of the documents that were put. Airflow retries the task.

    :param message: How many, and the first few of them.
    :param failures: ``FailedDocuments`` of the response: ``Id``, ``ErrorCode``, ``ErrorMessage`` each.
    """

    def __init__(self, message: str, *, failures: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.failures = list(failures)


class KendraDocumentsRequestError(KendraDocumentsError, KendraRequestError):
    """
    The same, and then a later call failed in a way that a retry can't mend (``__cause__``). Airflow does not retry the
    task.
    """
