"""Renders a report on the syncs of an index as one HTML file without network or script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_kendra import _clock
from airflow_provider_kendra._overview import Reading, condition_for, read_index, shared_notes
from airflow_provider_kendra._validation import check_limit, check_seconds, check_share

if TYPE_CHECKING:
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook

__all__ = ["render_report"]

LARGEST_PAGE = 10_000_000
"""The maximum number of bytes that the data sources on a page may take."""

_MOST_SYNCS = 500


@dataclass(frozen=True, slots=True)
class Report:
    """
    The page, and the readings it shows.

    :param html: The page.
    :param readings: What was read about each data source.
    """

    html: str
    readings: Sequence[Reading]


def render_report(
    hook: KendraSyncJobsHook,
    index_id: str,
    *,
    max_age: timedelta | None = None,
    measured_by: str = "start_time",
    max_documents_failed: int | None = None,
    syncs: int = 20,
    warn_age: timedelta | None = None,
    schedule_grace: timedelta | None = None,
    max_index_share: float = 0.9,
) -> str:
    """
    Render a report on the syncs of an index: a table of its data sources, a timeline of their syncs, charts of each.

    In a task::

        @task
        def publish_report():
            hook = KendraSyncJobsHook(aws_conn_id="aws_default")
            page = render_report(hook, "0123…", max_age=timedelta(hours=6))
            S3Hook().load_string(page, key="kendra.html", bucket_name="reports", replace=True)

    If the history of a data source cannot be read or shown, the page says why; if the index cannot be read, an error is
    raised. Long texts are cut, and implausible counts are left out of the charts. The page is at most 10 MB and says
    what it leaves out. With ``logs:FilterLogEvents`` it names documents that failed in an earlier sync and are still
    missing, and with ``kendra:DescribeIndex`` it shows the name and account of the index and how full it is; without,
    it says what is not allowed.

    :param hook: Makes the calls.
    :param index_id: The index.
    :param max_age: How old the newest acceptable sync of a data source may be. Default None: any age. Exclusive with
        ``schedule_grace``.
    :param measured_by: Which time of a sync counts: ``start_time`` (default) or ``end_time``.
    :param max_documents_failed: Accept INCOMPLETE too, with up to this many failed documents.
    :param syncs: How many of the newest syncs to show for each data source, at most 500. Default 20; each 10 need
        one call.
    :param warn_age: A data source that is older than this, but not stale yet, is aging. Default None: never.
    :param schedule_grace: A data source is stale this long after a run of its own Kendra schedule, unless an acceptable
        sync has started (or, by ``measured_by``, ended) since that run. A data source without a schedule, or with one
        that can't be translated, is unknown. Default None: schedules do not count.
    :param max_index_share: Above this share of its capacity the index counts as too full, from 0 to 1. Default 0.9.
    :raises ValueError: for both ``max_age`` and ``schedule_grace``, for a ``warn_age`` that is not less than
        ``max_age``, or for another invalid value.
    """
    return read_report(
        hook,
        index_id,
        max_age=max_age,
        measured_by=measured_by,
        max_documents_failed=max_documents_failed,
        syncs=syncs,
        warn_age=warn_age,
        schedule_grace=schedule_grace,
        max_index_share=max_index_share,
    ).html


def read_report(
    hook: KendraSyncJobsHook,
    index_id: str,
    *,
    max_age: timedelta | None,
    measured_by: str,
    max_documents_failed: int | None,
    syncs: int,
    warn_age: timedelta | None = None,
    schedule_grace: timedelta | None = None,
    max_index_share: float = 0.9,
) -> Report:
    """Render the page and return it with the readings; the parameters are those of :func:`render_report`."""
    from airflow_provider_kendra.report import _index, _page  # imported lazily: the page needs jinja2

    syncs = min(check_limit("syncs", syncs, at_least=1), _MOST_SYNCS)
    check_share("max_index_share", max_index_share)
    if warn_age is not None:
        warn_age = timedelta(seconds=check_seconds("warn_age", warn_age, is_zero_allowed=False))
    condition = condition_for(
        max_age=max_age,
        measured_by=measured_by,
        max_documents_failed=max_documents_failed,
        schedule_grace=schedule_grace,
    )
    readings = read_index(
        hook, index_id, condition, _clock.utcnow, at_least=syncs, warn_age=warn_age, with_documents=True
    )
    index = _index.describe(hook, index_id)
    page = _page.render_page(
        index,
        readings,
        condition,
        _clock.utcnow(),
        syncs=syncs,
        largest=LARGEST_PAGE,
        warn_age=warn_age,
        max_index_share=max_index_share,
        shared_notes=shared_notes(readings),
    )
    return Report(page, readings)
