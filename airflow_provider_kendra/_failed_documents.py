"""What tasks say about the documents that failed in their sync job."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_kendra._text import LONGEST_MESSAGE, plain
from airflow_provider_kendra._validation import check_limit
from airflow_provider_kendra._xcoms import RecordTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_kendra.documents import DocumentFailures
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
    from airflow_provider_kendra.outcomes import Failed, Satisfied
    from airflow_provider_kendra.sync_job import SyncJob

    AnOutcome = TypeVar("AnOutcome", Satisfied, Failed)

XCOM_KEY = "failed_documents"

MOST_LISTED = 1_000
"""The maximum number of documents in the XCom; each takes about 250 bytes, and 1,500 at most."""


def insert_details(message: str, job: SyncJob, details: str) -> str:
    """
    Insert sentences before the ids that end a message, truncated so that the ids still fit.

    :param message: The message; one of an older version has its ids elsewhere.
    :param job: The sync job.
    :param details: The sentences; empty for none.
    """
    ids = f" {job.ids}."
    if not details or not message.endswith(ids):
        return f"{message} {details}".rstrip()
    cause = message.removesuffix(ids)
    room = max(LONGEST_MESSAGE - len(f"{cause}. {ids}"), 1)
    return f"{cause}. {plain(details.removesuffix('.'), room)}{ids}"


class ListsFailedDocuments(RecordTask):
    """
    Base class of the tasks that name the documents that failed.

    :param list_failed_documents: How many of the documents that failed are named, with stage and reason, in the error
        message and in the XCom ``failed_documents`` (:meth:`.DocumentFailures.to_dict`), also if the job is accepted.
        Default 10, at most 1,000 (about 250 KB of XCom); 0 for none. A message of 4,000 characters names as many as
        fit, and counts the others. They are read from Kendra's CloudWatch logs, with ``logs:FilterLogEvents``, only if
        the job reports failed documents or ended FAILED or INCOMPLETE: on the worker, with at most 5 calls in 20
        seconds. What can't be read never changes the outcome of the task.
    """

    if TYPE_CHECKING:
        hook: KendraSyncJobsHook

    def __init__(self, *, list_failed_documents: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        try:
            self.list_failed_documents = check_limit(
                "list_failed_documents", list_failed_documents, at_most=MOST_LISTED
            )
        except ValueError as error:
            raise ValueError(f"{self.task_id}: {error}") from None

    def _publish_outcome(self, context: Context, outcome: Any) -> Any:
        super()._publish_outcome(context, outcome)  # type: ignore[misc]
        return self._name_failed_documents(context, outcome)

    def _name_failed_documents(self, context: Context, outcome: AnOutcome) -> AnOutcome:
        """Add the failed documents to the message of a failure; log those of a job that is accepted."""
        from airflow_provider_kendra.outcomes import Failed, Failure

        if outcome.job is None or (isinstance(outcome, Failed) and outcome.failure is not Failure.NOT_ACCEPTABLE):
            return outcome
        describe = self._read_failed_documents(context, outcome.job)
        if isinstance(outcome, Failed):
            text = describe(LONGEST_MESSAGE - len(outcome.message), outcome.message)
            return replace(outcome, message=insert_details(outcome.message, outcome.job, text)) if text else outcome
        if text := describe(LONGEST_MESSAGE):
            self.log.warning("The sync is accepted, though not complete. %s", text)
        return outcome

    def _read_failed_documents(self, context: Context, job: SyncJob) -> Callable[..., str]:
        """
        Push the failed documents of a finished job; return a function that describes them.

        Its arguments are the maximum length of the text and, optionally, the message that the text will follow, which
        may already count the documents.
        """
        if not self.list_failed_documents or not job.is_finished:
            return _nothing
        from airflow_provider_kendra._document_logs import may_have_failures
        from airflow_provider_kendra.documents import DocumentFailures
        from airflow_provider_kendra.sync_job import SyncJobStatus

        if not may_have_failures(job):
            return _nothing
        advice = ""
        try:
            failures, advice = self.hook._describe_failed_documents(job, limit=self.list_failed_documents)
        except Exception as error:  # must not change the outcome of the task
            note = f"The documents that failed could not be read: {plain(error)}"
            failures = DocumentFailures(expected=job.documents_failed, is_complete=False, note=note)
        is_pushed = self._push_failed_documents(context, failures)
        if job.status == SyncJobStatus.FAILED and not failures.documents and not failures.expected:
            return _nothing  # the sync failed before it came to documents

        def describe(longest: int, before: str = "") -> str:
            start = "Failed" if _IS_COUNTED.search(before) else None
            more_in = f"the XCom {XCOM_KEY}" if is_pushed else None
            described = failures.describe(start, longest=longest - len(advice) - 2, more_in=more_in)
            return " ".join(filter(None, (described, advice)))

        return describe

    def _push_failed_documents(self, context: Context, failures: DocumentFailures) -> bool:
        """Return whether they were pushed."""
        ti: Any = context.get("ti")
        if ti is None or not self.do_xcom_push:
            return False
        try:
            ti.xcom_push(key=XCOM_KEY, value=failures.to_dict())
        except Exception as error:
            self.log.warning("The XCom %s could not be pushed: %s", XCOM_KEY, plain(error))
            return False
        return True


_IS_COUNTED = re.compile("documents? failed")


def _nothing(longest: int, before: str = "") -> str:
    return ""
