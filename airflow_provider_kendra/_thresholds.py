"""Thresholds that a finished sync job must meet."""

from __future__ import annotations

from airflow_provider_kendra._text import are_missing, counted
from airflow_provider_kendra.documents import DocumentFailures, IndexCapacity
from airflow_provider_kendra.sync_job import SyncJob


def violations(
    job: SyncJob,
    *,
    max_documents_failed: int | None = None,
    max_failed_ratio: float | None = None,
    min_documents_scanned: int | None = None,
    max_missing_documents: int | None = None,
    missing: DocumentFailures | None = None,
    max_index_share: float | None = None,
    capacity: IndexCapacity | None = None,
) -> list[str]:
    """
    Return a phrase for each threshold that a job does not meet, including those whose count is not reported.

    :param job: A finished job. FAILED or ABORTED adds one phrase of its own, if there is any threshold.
    :param max_documents_failed: The maximum number of failed documents allowed. Default None: no threshold.
    :param max_failed_ratio: The largest share of failed documents allowed, from 0 to 1. Default None: no threshold.
    :param min_documents_scanned: The fewest scanned documents required. Default None: no threshold.
    :param max_missing_documents: The maximum number of documents that failed in an earlier sync and are missing.
    :param missing: The documents for ``max_missing_documents``.
    :param max_index_share: The largest share of the index's capacity allowed to be in use.
    :param capacity: The capacity for ``max_index_share``.
    """
    found = []
    of_job = (max_documents_failed, max_failed_ratio, min_documents_scanned)
    if not job.has_updated_index and (*of_job, max_missing_documents, max_index_share) != (None,) * 5:
        found.append(f"it ended {job.status}")
    if max_documents_failed is not None:
        found += _too_many_failed(job, max_documents_failed)
    if max_failed_ratio is not None:
        found += _failed_ratio_too_large(job, max_failed_ratio)
    if min_documents_scanned is not None:
        found += _too_few_scanned(job, min_documents_scanned)
    if max_missing_documents is not None and missing is not None:
        found += _too_many_missing(missing, max_missing_documents)
    if max_index_share is not None and capacity is not None:
        found += _too_full(capacity, max_index_share)
    return found


def _too_many_missing(missing: DocumentFailures, limit: int) -> list[str]:
    if missing.found > limit:
        return [f"{are_missing(missing.found)} after failing in an earlier sync (max_missing_documents={limit})"]
    if not missing.is_complete:
        return [f"it is not known which documents are missing (max_missing_documents={limit})"]
    return []


def _too_full(capacity: IndexCapacity, limit: float) -> list[str]:
    if capacity.share is None:
        return [f"the capacity of {capacity.edition} is not known (max_index_share={limit})"]
    return [f"the index is {capacity} (max_index_share={limit})"] if capacity.share > limit else []


def _too_many_failed(job: SyncJob, limit: int) -> list[str]:
    if job.documents_failed is None:
        return [f"failed documents are not reported (max_documents_failed={limit})"]
    if job.documents_failed > limit:
        return [f"{counted(job.documents_failed, 'document')} failed (max_documents_failed={limit})"]
    return []


def _failed_ratio_too_large(job: SyncJob, limit: float) -> list[str]:
    failed, total = job.documents_failed, job.documents_processed
    if failed is None:
        return [f"failed documents are not reported (max_failed_ratio={limit})"]
    is_exceeded = failed / total > limit if total else failed != 0  # 0 of 0 counts as a share of 0
    if is_exceeded:
        return [f"{failed:,} of {counted(total, 'document')} failed (max_failed_ratio={limit})"]
    return []


def _too_few_scanned(job: SyncJob, limit: int) -> list[str]:
    if job.documents_scanned is None:
        return [
            f"scanned documents are not reported (min_documents_scanned={limit}); Kendra never reports them for CUSTOM "
            "data sources"
        ]
    if job.documents_scanned < limit:
        were = "was" if job.documents_scanned == 1 else "were"
        return [f"{counted(job.documents_scanned, 'document')} {were} scanned (min_documents_scanned={limit})"]
    return []
