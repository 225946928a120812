"""The history of a data source as polls read it, newest job first."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from airflow_provider_kendra._validation import MeasuredBy
    from airflow_provider_kendra.sync_job import Acceptance, SyncJob


class Jobs:
    """Sync jobs, newest first, with cached lookups that are updated as jobs are added."""

    def __init__(self, jobs: Iterable[SyncJob] = ()) -> None:
        self.all: list[SyncJob] = []
        self._by_execution_id: dict[str, SyncJob] = {}
        self._latest: dict[tuple[Acceptance | None, MeasuredBy], SyncJob | None] = {}
        self.earliest: dict[MeasuredBy, datetime] = {}
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
        """Find a job by its execution id; the newest if several share it."""
        return self._by_execution_id.get(execution_id)

    def latest(self, acceptance: Acceptance | None, measured_by: MeasuredBy) -> SyncJob | None:
        """
        Find the job with the latest time.

        :param acceptance: Consider only finished jobs that are acceptable. None: all jobs.
        :param measured_by: Which of the job's times counts.
        """
        key = acceptance, measured_by
        if key not in self._latest:
            self._latest[key] = _latest(self.all, *key)
        return self._latest[key]

    def is_any_before(self, moment: datetime, measured_by: MeasuredBy) -> bool:
        """Whether any job started (or ended) before this time."""
        earliest = self.earliest.get(measured_by)
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
                self.earliest[measured_by] = min(*times, self.earliest.get(measured_by, times[0]))
        for key, before in self._latest.items():
            both = [_latest(added, *key), before]
            self._latest[key] = _latest(filter(None, both if is_newer else reversed(both)), None, key[1])


_MEASURES: tuple[MeasuredBy, ...] = ("start_time", "end_time")


def _latest(jobs: Iterable[SyncJob], acceptance: Acceptance | None, measured_by: MeasuredBy) -> SyncJob | None:
    """Find the job with the latest time, the first if several share it."""
    judged = (
        job
        for job in jobs
        if getattr(job, measured_by) is not None
        and (acceptance is None or (job.is_finished and acceptance.accepts(job)))
    )
    return max(judged, key=lambda job: getattr(job, measured_by), default=None)


class History:
    """
    The part of a data source's history that one poll has read so far, newest job first.

    Finished jobs do not change, so a poll stops reading at the jobs that earlier polls have kept. Older jobs are read
    with a start time filter. It would miss jobs without a start time, but Kendra reports one for each.

    :param kept: The finished jobs kept from an earlier poll.
    """

    def __init__(self, kept: Kept | None = None) -> None:
        self.data_source_ids: list[str] = []
        self.creating_ids: list[str] = []
        self.inactive_ids: list[str] = []
        self.names: dict[str, str] = {}
        self.schedule = ""
        self.is_complete = False
        self._kept = kept
        self._read = Jobs()
        self._tail: Jobs | None = None  # the kept jobs, once a page has reached them
        self._older = Jobs()  # jobs older than the kept ones

    def add_page(self, page: Page) -> None:
        """Add the next older page."""
        self.data_source_ids += page.data_source_ids
        self.creating_ids += page.creating_ids
        self.inactive_ids += page.inactive_ids
        self.names.update(page.names)
        self.schedule = page.schedule
        self.is_complete = page.is_last
        self.__dict__.pop("jobs", None)
        if self._tail is not None:
            self._add_older(page.jobs)
        elif self._kept is None or not self._join_kept(self._kept, page):
            self._read.add_older(page.jobs)

    def _join_kept(self, kept: Kept, page: Page) -> bool:
        """
        Append the kept jobs if this page lists them unchanged; drop them if it contradicts them.

        Jobs with equal start times can come in any order, so if all matches share a start time, the next page must
        match too.
        """
        known = kept.jobs.all
        places = {job.execution_id: place for place, job in enumerate(known[:_OVERLAP]) if job.execution_id}
        first = next((number for number, job in enumerate(page.jobs) if kept.jobs.get(job.execution_id)), None)
        if first is None:
            oldest = min((job.start_time for job in page.jobs if job.start_time), default=None)
            is_passed = oldest is not None and known[0].start_time is not None and oldest < known[0].start_time
            self._kept = None if is_passed or page.is_last else kept
            return False
        place = places.get(page.jobs[first].execution_id)
        if place is None or (place and (first or self._read.all[-place:] != known[:place])):
            self._kept = None
            return False
        listed = [*known[:place], *page.jobs[first:]]
        is_cut = page.is_last and len(listed) < len(known)  # Kendra no longer lists the older jobs
        if is_cut or listed[: len(known)] != known[: len(listed)]:
            self._kept = None
            return False
        if not page.is_last and all(job.start_time == known[0].start_time for job in listed):
            return False
        newer = self._read.all[: len(self._read.all) - place] + page.jobs[:first]
        self._read, self._tail = Jobs(newer), kept.jobs
        self._add_older(page.jobs[first + len(known) - place :])
        self.is_complete = page.is_last or kept.is_complete
        return True

    def _add_older(self, jobs: Iterable[SyncJob]) -> None:
        """Add jobs older than the kept ones, skipping the overlap."""
        tail = self._tail or Jobs()
        recent = self._older.all[-_OVERLAP:]  # kept jobs all have an execution id
        for job in jobs:
            is_known = tail.get(job.execution_id) or self._older.get(job.execution_id)
            if job not in recent if not job.execution_id else not is_known:
                self._older.add_older([job])

    @property
    def _parts(self) -> list[Jobs]:
        return [self._read] if self._tail is None else [self._read, self._tail, self._older]

    @cached_property
    def jobs(self) -> list[SyncJob]:
        return [job for part in self._parts for job in part.all]

    @property
    def resumes_before(self) -> datetime | None:
        """Start time of the oldest kept job, if older jobs are still to be read."""
        if self._tail is None or self.is_complete:
            return None
        started = self._tail.all[-1].start_time
        # Older versions of botocore send whole seconds.
        return started and started.replace(microsecond=0) + timedelta(seconds=1 if started.microsecond else 0)

    @property
    def can_be_kept(self) -> bool:
        """Whether :meth:`keep` would retain all jobs kept so far."""
        return self._kept is None or self._tail is not None

    def keep(self) -> Kept | None:
        """Return the finished jobs that the next poll need not read. Call it once, after reading."""
        read, older = self._read.all, self._older.all
        running = next((number for number in range(len(read), 0, -1) if not read[number - 1].is_finished), 0)
        # Pages overlap when a sync starts while they are read.
        ended = [job for job in read[running:] if self._read.get(job.execution_id) is job]
        changing = (number for number, job in enumerate(older) if not job.is_finished or not _can_be_found(job))
        cut = next(changing, len(older))
        if not all(map(_can_be_found, ended)) or not (ended or self._tail is not None):
            return None
        tail = Jobs() if self._tail is None else self._tail
        tail.add_newer(job for job in ended if tail.get(job.execution_id) is None)
        tail.add_older(older[:cut])
        self._read, self._tail, self._older = Jobs(read[:running]), tail, Jobs(older[cut:])
        self.__dict__.pop("jobs", None)
        return Kept(tail, self.is_complete and cut == len(older))

    def get(self, execution_id: str) -> SyncJob | None:
        """Find a job among those read so far."""
        return next((job for part in self._parts if (job := part.get(execution_id)) is not None), None)

    def latest(self, acceptance: Acceptance | None, measured_by: MeasuredBy) -> SyncJob | None:
        """
        Find the job with the latest time.

        :param acceptance: Consider only finished jobs that are acceptable. None: all jobs.
        :param measured_by: Which of the job's times counts.
        """
        return _latest(filter(None, (part.latest(acceptance, measured_by) for part in self._parts)), None, measured_by)

    @property
    def newest(self) -> SyncJob | None:
        """The newest job, the only one that can be running, regardless of the status of others."""
        first = next((part.all[0] for part in self._parts if part.all), None)
        if first is None or first.start_time is None:
            return first
        return self.latest(None, "start_time")  # Kendra does not document the order of jobs

    @property
    def running(self) -> SyncJob | None:
        """The newest job, if it has not finished."""
        newest = self.newest
        return None if newest is None or newest.is_finished else newest

    def earliest(self, measured_by: MeasuredBy) -> datetime | None:
        """The earliest start (or end) of the jobs read."""
        return min((part.earliest[measured_by] for part in self._parts if measured_by in part.earliest), default=None)

    def reaches(self, moment: datetime, measured_by: MeasuredBy) -> bool:
        """Whether every job that started (or ended) at or after this moment has been read."""
        return self.is_complete or any(part.is_any_before(moment, measured_by) for part in self._parts)


def age(history: History, acceptance: Acceptance, measured_by: MeasuredBy, now: datetime) -> timedelta | None:
    """
    Return the age of the newest acceptable job, for metrics; None if there is none.

    If it is on a page that was not read, the age of the oldest job read: the data source is at least that old.

    :param history: As far as it was read.
    :param acceptance: What is acceptable.
    :param measured_by: Which of a job's times counts.
    :param now: The time.
    """
    good = history.latest(acceptance, measured_by)
    time: datetime | None = getattr(good, measured_by) if good else None
    if time is None and not history.is_complete:
        time = history.earliest(measured_by)
    return None if time is None else now - time


_OVERLAP = 20  # jobs, twice as many as a page has


def _can_be_found(job: SyncJob) -> bool:
    """Whether later polls can recognise this job and resume after it."""
    return bool(job.execution_id) and job.start_time is not None


@dataclass(frozen=True, slots=True)
class Kept:
    """Finished jobs that polls have read, and whether the history ends with them."""

    jobs: Jobs
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Page:
    """One response of ListDataSourceSyncJobs, or a list of an index's data sources, or a data source's schedule."""

    jobs: list[SyncJob]
    is_last: bool
    data_source_ids: list[str] = field(default_factory=list)
    creating_ids: list[str] = field(default_factory=list)
    inactive_ids: list[str] = field(default_factory=list)  # those being created too
    names: Mapping[str, str] = field(default_factory=dict)  # of data sources, by id
    schedule: str = ""
