"""The errors that this package raises. Each message says what happened, to which job, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_kendra._text import LONGEST_MESSAGE, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_kendra.sync_job import SyncJob


class KendraError(AirflowException):
    """
    Base class of all errors of this package. Airflow retries the task.

    :param message: What happened, to which sync job, and what to do. It is escaped to one line and cut at 4,000
        characters, since it can quote external texts.
    :param job: The sync job as last read, if one is known; kept as ``.job``.
    """

    def __init__(self, message: str, *, job: SyncJob | None = None) -> None:
        super().__init__(plain(message, LONGEST_MESSAGE))
        self.job = job


class KendraRequestError(KendraError, AirflowFailException):
    """AWS rejects the request permanently, or the configuration can't work. Airflow does not retry the task."""


class KendraStateError(KendraError):
    """
    State that Airflow stored for a task is invalid: the event of its trigger, or the state of an earlier try. Airflow
    retries the task.
    """


class InvalidParameterError(KendraRequestError, ValueError):
    """A parameter of a task is invalid. Airflow does not retry the task."""


class KendraSyncJobFailedError(KendraError):
    """A sync job ended, but not acceptably; ``.job`` is the job. Airflow retries the task."""


class KendraSyncJobRejectedError(KendraSyncJobFailedError, AirflowFailException):
    """
    A sync job that a sensor waited for ended, but not acceptably. Airflow does not retry the task: a retry would find
    the same job.
    """


class KendraSyncJobNotFoundError(KendraError, AirflowFailException):
    """The history of the data source has no such sync job. Airflow does not retry the task."""


class KendraSyncJobTimeoutError(KendraError):
    """
    An operator's ``timeout`` passed before its sync job was started or had ended; ``.job`` is the job as last read, if
    known. Airflow retries the task.
    """


class KendraSyncJobAlreadyRunningError(KendraError):
    """No sync job could be started, as one was running; ``.job`` is that job, if known. Airflow retries the task."""


class KendraSyncJobMetricsError(KendraError, AirflowFailException):
    """
    A sync job did not meet the thresholds of ``KendraSyncJobMetricsOperator``. Airflow does not retry the task.

    :param message: All violations, in one text.
    :param job: The sync job.
    :param violations: One phrase for each threshold that was not met, and one for a job that is FAILED or ABORTED.
    """

    def __init__(self, message: str, *, job: SyncJob | None = None, violations: Sequence[str] = ()) -> None:
        super().__init__(message, job=job)
        self.violations = list(violations)


class KendraDocumentsError(KendraError):
    """
    Kendra rejected some of the documents that were put or deleted. Airflow retries the task.

    :param message: How many, and the first few of them.
    :param failures: ``FailedDocuments`` of the response: ``Id``, ``ErrorCode``, ``ErrorMessage`` each.
    """

    def __init__(self, message: str, *, failures: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.failures = list(failures)


class KendraDocumentsRequestError(KendraDocumentsError, KendraRequestError):
    """
    Kendra rejected some of the documents, and a later call failed permanently (``__cause__``). Airflow does not retry
    the task.
    """
