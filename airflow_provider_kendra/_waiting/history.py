"""The history of a data source as polls read it, newest job first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import get_args

from airflow_provider_kendra._validation import MeasuredBy
from airflow_provider_kendra.sync_job import Acceptance, SyncJob


class Jobs:
    """Sync jobs, newest first, with answers about them that all conditions share and that grow with the jobs."""

    def __init__(self, jobs: Iterable[SyncJob] = ()) -> None:
        self.all: list[SyncJob] = []
        self._by_execution_id: dict[str, SyncJob] = {}
        self._latest: dict[tuple[Acceptance | None, MeasuredBy], SyncJob | None] = {}
        self._earliest: dict[MeasuredBy, datetime] = {}
        self.add_older(jobs)

    def add_older(self, jobs: Iterable[SyncJob]) -> None:
        """Add jobs that are older than all others."""
        added = list(jobs)
        self.all += added
        self._take(added, is_newer=False)

    def add_newer(self, jobs: Iterable[SyncJob]) -> None:
        """Add jobs that are newer than all others."""
        added = list(jobs)
        self.all[:0] = added
        self._take(added, is_newer=True)

    def get(self, execution_id: str) -> SyncJob | None:
        """Find a job; of several with this id the newest."""
        return self._by_execution_id.get(execution_id)

    def latest(self, acceptance: Acceptance | None, measured_by: MeasuredBy) -> SyncJob | None:
        """
        Find the job with the latest time.

        :param acceptance: Only among finished jobs that are acceptable; None: among all.
        :param measured_by: Which of the job's times counts.
        """
        key = acceptance, measured_by
        if key not in self._latest:
            self._latest[key] = _latest(self.all, *key)
        return self._latest[key]

    def is_any_before(self, moment: datetime, measured_by: MeasuredBy) -> bool:
        """Whether a job started (or ended) before a moment."""
        earliest = self._earliest.get(measured_by)
        return earliest is not None and earliest < moment

    def _take(self, added: list[SyncJob], *, is_newer: bool) -> None:
        for job in reversed(added) if is_newer else added:
            if is_newer:
                self._by_execution_id[job.execution_id] = job
            else:
                self._by_execution_id.setdefault(job.execution_id, job)
        for measured_by in _MEASURES:
            times = [time for job in added if (time := getattr(job, measured_by)) is not None]
            if times:
                self._earliest[measured_by] = min(*times, self._earliest.get(measured_by, times[0]))
        for key, before in self._latest.items():
            both = [_latest(added, *key), before]
            self._latest[key] = _latest(filter(None, both if is_newer else reversed(both)), None, key[1])


_MEASURES: tuple[MeasuredBy, ...] = get_args(MeasuredBy)


def _latest(jobs: Iterable[SyncJob], acceptance: Acceptance | None, measured_by: MeasuredBy) -> SyncJob | None:
    """Of several with the same time, the first."""
    judged = (
        job
        for job in jobs
        if getattr(job, measured_by) is not None
        and (acceptance is None or (job.is_finished and acceptance.objection(job) is None))
    )
    return max(judged, key=lambda job: getattr(job, measured_by), default=None)


class History:
    """
    The part of a data source's history that one poll has read so far, newest job first.

    Finished jobs do not change, so a poll reads only until it meets those that polls before it have read.

    :param kept: What polls before this one have read: the end of the history of one of them.
    """

    def __init__(self, kept: Kept | None = None) -> None:
        self.data_source_ids: list[str] = []
        self.creating_ids: list[str] = []
        self.is_complete = False
        self._read = Jobs()
        self._kept = kept
        self._tail: Jobs | None = None  # that of what was kept, once the pages have met it

    def add_page(self, page: Page) -> None:
        """Add the next older page."""
        self.data_source_ids += page.data_source_ids
        self.creating_ids += page.creating_ids
        self.is_complete = page.is_last
        self.__dict__.pop("jobs", None)
        if self._tail is not None:
            self._tail.add_older(job for job in page.jobs if self._tail.get(job.execution_id) is None)
            return
        newer = None if self._kept is None else self._kept.newer(page)
        if newer is None or self._kept is None:
            self._read.add_older(page.jobs)
            return
        self._read.add_older(page.jobs[:newer])
        self._tail = self._kept.jobs
        self._tail.add_older(page.jobs[newer + len(self._tail.all) :])
        self.is_complete = page.is_last or self._kept.is_complete

    @cached_property
    def jobs(self) -> list[SyncJob]:
        """The jobs."""
        return [*self._read.all, *(self._tail.all if self._tail else ())]

    @property
    def resumes_before(self) -> datetime | None:
        """When the last job started that is known, if the history goes on behind what was kept."""
        return self._tail.all[-1].start_time if self._tail is not None and not self.is_complete else None

    @property
    def has_met_kept(self) -> bool:
        """Whether the pages have reached what was kept."""
        return self._tail is not None

    def keep(self) -> Kept | None:
        """Give what the next poll need not read: the finished jobs at the end. Call it once all has been read."""
        read = self._read.all
        running = next((number for number in range(len(read), 0, -1) if not read[number - 1].is_finished), 0)
        # Pages overlap when a sync starts while they are read.
        ended = [job for job in read[running:] if self._read.get(job.execution_id) is job]
        oldest = (ended if self._tail is None else self._tail.all)[-1:]
        if not all(job.execution_id for job in ended) or not oldest or oldest[0].start_time is None:
            return None
        tail = Jobs() if self._tail is None else self._tail
        tail.add_newer(job for job in ended if tail.get(job.execution_id) is None)
        self._read, self._tail = Jobs(read[:running]), tail
        self.__dict__.pop("jobs", None)
        return Kept(tail, self.is_complete)

    def get(self, execution_id: str) -> SyncJob | None:
        """Find a job among those read so far."""
        return self._read.get(execution_id) or (self._tail.get(execution_id) if self._tail else None)

    def latest(self, acceptance: Acceptance | None, measured_by: MeasuredBy) -> SyncJob | None:
        """
        Find the job with the latest time.

        :param acceptance: Only among finished jobs that are acceptable; None: among all.
        :param measured_by: Which of the job's times counts.
        """
        found = [part.latest(acceptance, measured_by) for part in (self._read, self._tail) if part is not None]
        return _latest(filter(None, found), None, measured_by)

    @property
    def newest(self) -> SyncJob | None:
        """The newest job, the only one that can be running, whatever the status of others says."""
        first = next(iter(self._read.all or (self._tail.all if self._tail else ())), None)
        if first is None or first.start_time is None:
            return first
        return self.latest(None, "start_time")  # a page may come unsorted

    @property
    def running(self) -> SyncJob | None:
        """The newest job, if it has not finished."""
        newest = self.newest
        return None if newest is None or newest.is_finished else newest

    def reaches(self, moment: datetime, measured_by: MeasuredBy) -> bool:
        """Whether every job that started (or ended) at or after this moment has been read."""
        parts = (self._read, self._tail)
        return self.is_complete or any(part.is_any_before(moment, measured_by) for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Kept:
    """Finished jobs that polls have read, and whether the history ends with them."""

    jobs: Jobs
    is_complete: bool

    def newer(self, page: Page) -> int | None:
        """
        Say how many jobs of a page are newer than those kept, if the page meets them and lists them unchanged.

        :param page: The page.
        """
        kept, listed = self.jobs.all, page.jobs
        known = (number for number, job in enumerate(listed) if self.jobs.get(job.execution_id) is not None)
        newer = next(known, None)
        if newer is None:
            return None
        met = listed[newer:]
        is_cut = page.is_last and len(met) < len(kept)  # the service lists older jobs no more
        return None if is_cut or met[: len(kept)] != kept[: len(met)] else newer


@dataclass(frozen=True, slots=True)
class Page:
    """One response of ListDataSourceSyncJobs, or what a poll of an index read."""

    jobs: list[SyncJob]
    is_last: bool
    data_source_ids: list[str] = field(default_factory=list)
    creating_ids: list[str] = field(default_factory=list)
