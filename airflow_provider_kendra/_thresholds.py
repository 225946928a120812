"""Thresholds that a finished sync job must meet."""

from __future__ import annotations

from airflow_provider_kendra.sync_job import SyncJob


def violations(
    job: SyncJob,
    *,
    max_documents_failed: int | None = None,
    max_failed_ratio: float | None = None,
    min_documents_scanned: int | None = None,
) -> list[str]:
    """
    Return a phrase for each threshold that a job does not meet. A count that is not reported meets none.

    :param job: A finished job. One that ended FAILED or ABORTED meets no threshold.
    :param max_documents_failed: The most failed documents allowed. Default None: no threshold.
    :param max_failed_ratio: The largest share of failed documents allowed, from 0 to 1. Default None: no threshold.
    :param min_documents_scanned: The fewest scanned documents required. Default None: no threshold.
    """
    found = []
    if not job.has_updated_index and (max_documents_failed, max_failed_ratio, min_documents_scanned) != (None,) * 3:
        found.append(f"it ended {job.status}")
    if max_documents_failed is not None:
        found += _too_many_failed(job, max_documents_failed)
    if max_failed_ratio is not None:
        found += _failed_ratio_too_large(job, max_failed_ratio)
    if min_documents_scanned is not None:
        found += _too_few_scanned(job, min_documents_scanned)
    return found


def _too_many_failed(job: SyncJob, limit: int) -> list[str]:
    if job.documents_failed is None:
        return [f"failed documents are not reported (max_documents_failed={limit})"]
    if job.documents_failed > limit:
        return [f"{job.documents_failed} documents failed (max_documents_failed={limit})"]
    return []


def _failed_ratio_too_large(job: SyncJob, limit: float) -> list[str]:
    failed, total = job.documents_failed, job.documents_processed
    if failed is None:
        return [f"failed documents are not reported (max_failed_ratio={limit})"]
    is_exceeded = failed / total > limit if total else failed != 0  # 0 of 0 counts as a share of 0
    if is_exceeded:
        return [f"{failed} of {total} documents failed (max_failed_ratio={limit})"]
    return []


def _too_few_scanned(job: SyncJob, limit: int) -> list[str]:
    if job.documents_scanned is None:
        return [
            f"scanned documents are not reported (min_documents_scanned={limit}); Kendra never reports them for CUSTOM "
            "data sources"
        ]
    if job.documents_scanned < limit:
        return [f"{job.documents_scanned} documents were scanned (min_documents_scanned={limit})"]
    return []
