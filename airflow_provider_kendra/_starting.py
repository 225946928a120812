"""
Starts a sync job exactly once: a state machine without I/O, and the loop that runs it.

A start request has no idempotency token, and its response or the process that sent it can be lost. So the newest job is
stored before each request: the *baseline*. A job newer than the baseline shows that the request was received. Kendra's
times are never compared with the local clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Any, Protocol

from airflow_provider_kendra._calls import LISTING_GRACE, PAUSE, ErrorKind, SyncJobCalls
from airflow_provider_kendra._parameters import IfRunning
from airflow_provider_kendra._text import plain, shown
from airflow_provider_kendra._validation import check_time
from airflow_provider_kendra.exceptions import KendraError, KendraRequestError, KendraSyncJobAlreadyRunningError
from airflow_provider_kendra.sync_job import Acceptance, SyncJob, SyncJobStatus

START_GRACE = 60.0
"""
Seconds for which a start is retried if it certainly had no effect, or was refused although no job is listed as running.
"""

DOUBT_LIMIT = 15 * 60.0
"""Seconds after a start request during which a finished job may be treated as ours, if the response was lost."""


CUSTOM_SYNC_ENDS = "The data source is CUSTOM: its sync ends only when someone stops it"
"""Why a wait for such a sync may never end, as the start of a sentence."""


@dataclass(frozen=True, slots=True)
class Reread:
    """Read the history again after a pause."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a start request, after a pause if it is not the first one."""


@dataclass(frozen=True, slots=True)
class Follow:
    """
    Wait for this job: it is the result.

    :param execution_id: The job.
    :param is_ours: Whether this task certainly started it; if not, a kill must not stop it.
    """

    execution_id: str
    is_ours: bool


@dataclass(frozen=True, slots=True)
class WaitOut:
    """Wait until this job has ended, with whatever status, then decide again."""

    job: SyncJob


@dataclass(frozen=True, slots=True)
class Return:
    """A previous attempt already finished this job: it is the result."""

    job: SyncJob


@dataclass(frozen=True, slots=True)
class Skip:
    """Skip the task, since this job is running."""

    job: SyncJob


@dataclass(frozen=True, slots=True)
class Refuse:
    """Fail, since a sync job is running: this one, if it is listed."""

    job: SyncJob | None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Fail, since there have been only errors for too long."""


CallerStep = Follow | WaitOut | Return | Skip | Refuse
"""A step that the loop leaves to its caller."""

Step = Reread | Send | GiveUp | CallerStep


class Starter:
    """
    Decides what to do next, after each read of the history and each start request.

    :param if_running: What to do if a sync job is already running.
    :param acceptance: Whether a finished job that an earlier try started is acceptable as the result.
    :param memory: The :attr:`memory` of an earlier try, if any.
    :param is_outdated: Whether the memory is too old for a finished job to be the result.
    :param needs_open_batch: Whether the result must be an open batch of a CUSTOM data source, which still takes
        documents.
    """

    def __init__(
        self,
        if_running: IfRunning = "fail",
        acceptance: Acceptance = Acceptance(),  # noqa: B008 - immutable
        memory: Mapping[str, Any] | None = None,
        *,
        is_outdated: bool = False,
        needs_open_batch: bool = False,
    ) -> None:
        self._if_running = if_running
        self._acceptance = acceptance
        self._is_outdated = is_outdated
        self._needs_open_batch = needs_open_batch
        remembered = memory or {}
        self._baseline: str | None = remembered.get("baseline")
        self._execution_id: str | None = remembered.get("execution_id")
        self._is_ours: bool = remembered.get("is_ours", False)
        self._is_stopped = bool(remembered.get("is_stopped"))
        self._in_doubt = memory is not None and self._execution_id is None
        self._is_resumed = memory is not None
        self._in_doubt_since: float | None = None
        self._refused_since: float | None = None
        self._failing_since: float | None = None

    @property
    def memory(self) -> dict[str, Any]:
        """What a later try needs to know, in JSON types."""
        return {"baseline": self._baseline, "execution_id": self._execution_id, "is_ours": self._is_ours}

    @property
    def is_in_doubt(self) -> bool:
        """Whether a start request whose response was lost may have been received."""
        return self._in_doubt

    @property
    def is_resumed(self) -> bool:
        """Whether the job is from an earlier try, and no request has been sent since."""
        return self._is_resumed

    @property
    def started(self) -> str | None:
        """The execution id of the job that this task has certainly started, if any."""
        return self._execution_id if self._is_ours else None

    @property
    def anchor(self) -> str | None:
        """The job up to which :meth:`next_step` needs the history; None if it needs only the newest job."""
        return self._execution_id or (self._baseline if self._in_doubt else None)

    @property
    def needs_whole_history(self) -> bool:
        """Whether the whole history must be read, since it was empty before the request in doubt."""
        return self._in_doubt and self._baseline is None

    def next_step(self, jobs: Sequence[SyncJob], now: float) -> Step:
        """
        Decide what to do next.

        :param jobs: The history, newest first, back to :attr:`anchor`.
        :param now: When it was read, in seconds of a monotonic clock.
        """
        # Only the newest job can be running: an older one has ended, whatever its status says.
        running = jobs[0] if jobs and not jobs[0].is_finished else None
        step = self._step_with_our_job(jobs, running, now) if self._execution_id or self._in_doubt else None
        return step or self._step_to_start(jobs, running, now)

    def _step_with_our_job(self, jobs: Sequence[SyncJob], running: SyncJob | None, now: float) -> Step | None:
        job = self._find(jobs, running)
        if job is None or (job is not running and not self._is_result(job)):
            return self._step_without_result(job, now)
        if job is not running:
            self._forget()
            return Return(job)
        # A job that is being stopped is useless, unless ABORTED is accepted.
        is_stopping = self._is_stopped or job.status == SyncJobStatus.STOPPING
        if is_stopping and SyncJobStatus.ABORTED not in self._acceptance.statuses:
            self._forget()
            self._refused_since = self._failing_since = None
            return WaitOut(job)
        if self._is_closed_batch(job):
            self._forget()
            return None
        self._execution_id = job.execution_id
        return Follow(job.execution_id, self._is_ours)

    def _step_without_result(self, job: SyncJob | None, now: float) -> Step | None:
        """Read again for a while, since our job or its final status may not be listed yet; then start anew."""
        if job is None or self._in_doubt or not job.is_finished:
            self._in_doubt_since = now if self._in_doubt_since is None else self._in_doubt_since
            if now - self._in_doubt_since < LISTING_GRACE:
                return Reread()
        if job is not None or not self._in_doubt:  # else the request was not received
            self._forget()
        return None

    def _find(self, jobs: Sequence[SyncJob], running: SyncJob | None) -> SyncJob | None:
        if self._execution_id is not None:
            return next((job for job in jobs if job.execution_id == self._execution_id), None)
        newer = list(takewhile(lambda job: job.execution_id != self._baseline, jobs))
        if len(newer) == len(jobs) and self._baseline is not None:
            return None  # the baseline is gone from the history, so the first job after it is unknown
        # The first job after the baseline is ours, unless someone else started one in between. Skip jobs that can't be
        # the result, since one of the later ones may be ours, and missing it would start a second sync. A job of
        # someone else that can be the result is good enough: it began after the task did.
        useful = [
            job
            for job in newer
            if (job is running and not self._is_closed_batch(job))
            or (job.is_finished and not self._needs_open_batch and self._acceptance.accepts(job))
        ]
        return (useful or newer)[-1] if newer else None

    def _is_result(self, job: SyncJob) -> bool:
        """Whether a job of ours that has ended is the result of the task."""
        is_wanted = not (self._is_outdated and self._is_resumed) and not self._needs_open_batch
        return is_wanted and job.is_finished and self._acceptance.accepts(job)

    def _is_closed_batch(self, job: SyncJob) -> bool:
        """Whether an open batch is needed, but this running job takes no more documents."""
        return self._needs_open_batch and job.status != SyncJobStatus.SYNCING

    def _step_to_start(self, jobs: Sequence[SyncJob], running: SyncJob | None, now: float) -> Step:
        if running is not None:
            self._refused_since = self._failing_since = None
            if self._if_running == "skip":
                return Skip(running)
            if self._if_running == "fail":
                return Refuse(running)
            is_ending = running.status == SyncJobStatus.STOPPING or self._is_closed_batch(running)
            if self._if_running == "attach" and not is_ending:
                self._execution_id, self._is_ours = running.execution_id, False
                return Follow(running.execution_id, is_ours=False)
            return WaitOut(running)
        if self._refused_since is not None and now - self._refused_since >= START_GRACE:
            return Refuse(None)
        if self.has_failed_for_too_long(now):
            return GiveUp()
        self._baseline = jobs[0].execution_id if jobs else None
        self._is_resumed = False
        return Send()

    def _forget(self) -> None:
        self._execution_id, self._is_ours, self._in_doubt, self._in_doubt_since = None, False, False, None
        self._is_stopped = self._is_resumed = False

    @property
    def is_repeated(self) -> bool:
        """Whether an earlier request or read failed, so the next request must wait."""
        return not (self._refused_since is self._failing_since is self._in_doubt_since is None)

    def has_failed_for_too_long(self, now: float) -> bool:
        """Whether there have been only errors for too long."""
        return self._failing_since is not None and now - self._failing_since >= START_GRACE

    def accepted(self, execution_id: str) -> Follow:
        """Note that a start request was accepted."""
        self._forget()
        self._execution_id, self._is_ours = execution_id, True
        return Follow(execution_id, is_ours=True)

    def refused(self, now: float) -> None:
        """Note that a start request was refused since a sync job is running."""
        if self._refused_since is None:
            self._refused_since = now

    def failed(self, now: float) -> None:
        """Note that a read failed, or that a start request certainly had no effect: throttled, or never sent."""
        if self._failing_since is None:
            self._failing_since = now

    def response_lost(self, now: float) -> None:
        """Note that the response to a start request was lost: the request may have been received."""
        self._in_doubt, self._in_doubt_since = True, now
        self.failed(now)


class StartCalls(SyncJobCalls, Protocol):
    """The calls of the hook that a start needs, for one data source."""

    @property
    def index_id(self) -> str: ...
    @property
    def data_source_id(self) -> str: ...
    def get_data_source_type(self) -> str | None: ...
    def send_start(self) -> str:
        """Send a start request in a single attempt, and return the execution id."""

    def certainly_had_no_effect(self, error: BaseException) -> bool:
        """Whether a start request that raised this was refused, or did not reach the service."""


Remember = Callable[[dict[str, Any] | None], object]
"""Called with the memory before each start request, and with None if the request certainly had no effect."""


def advance_start(calls: StartCalls, starter: Starter, *, remember: Remember | None = None) -> CallerStep:
    """
    Read the history and send start requests until the caller has something to do.

    :param calls: The hook's calls on the data source.
    :param starter: The state machine.
    :param remember: Stores the memory for later tries. Default None: nothing is stored.
    :raises KendraError: if there were only errors for too long. A permanent error is raised as it is.
    """
    loop = _StartLoop(calls, starter, remember or _remember_nothing)
    while True:
        step = loop.read_and_decide()
        match step:
            case Reread():
                calls.sleep(PAUSE)
            case Send():
                if starter.is_repeated:
                    calls.sleep(PAUSE)
                if (started := loop.send()) is not None:
                    return started
            case GiveUp():
                raise loop.final_error() from loop.last_error
            case _:
                return step


def _remember_nothing(memory: dict[str, Any] | None) -> None:
    pass


class _StartLoop:
    """The I/O of a start, and its last error."""

    def __init__(self, calls: StartCalls, starter: Starter, remember: Remember) -> None:
        self._calls = calls
        self._starter = starter
        self._remember = remember
        self.last_error: Exception | None = None

    def read_and_decide(self) -> Step:
        """Read as much of the history as necessary, and decide; after a transient error, read again or give up."""
        try:
            return self._starter.next_step(self._read_history(), self._calls.monotonic())
        except Exception as error:
            self._tolerate(error)
            now = self._calls.monotonic()
            self._starter.failed(now)
            return GiveUp() if self._starter.has_failed_for_too_long(now) else Reread()

    def _read_history(self) -> list[SyncJob]:
        jobs: list[SyncJob] = []
        for job in self._calls.iter_sync_jobs():
            jobs.append(job)
            if self._starter.anchor in (None, job.execution_id) and not self._starter.needs_whole_history:
                break
        return jobs

    def send(self) -> Follow | None:
        """Send a start request; None after an error that is not permanent."""
        self._remember(self._starter.memory)
        try:
            return self._starter.accepted(self._calls.send_start())
        except Exception as error:
            had_no_effect = self._calls.certainly_had_no_effect(error)
            if had_no_effect and not self._starter.is_in_doubt:
                self._remember(None)  # else a later try would treat the job of others as its own
            self._note_failed_start(error, had_no_effect)
            return None

    def _note_failed_start(self, error: Exception, had_no_effect: bool) -> None:
        if self._calls.classify_error(error) is ErrorKind.ALREADY_RUNNING:
            self.last_error = error
            self._calls.log.info("The start was refused: %s", self._calls.describe_error(error))
            self._starter.refused(self._calls.monotonic())
            return
        self._tolerate(error)
        if had_no_effect:
            self._starter.failed(self._calls.monotonic())
        else:
            self._starter.response_lost(self._calls.monotonic())

    def _tolerate(self, error: Exception) -> None:
        _tolerate(error, self._calls, "start a sync")
        self.last_error = error

    def final_error(self) -> KendraError:
        """Return the error to raise after giving up."""
        error = self._calls.describe_error(self.last_error).removesuffix(".") if self.last_error else ""
        return KendraError(
            f"No sync could be started within {START_GRACE:.0f} s: {error} (data source {self._calls.data_source_id}, "
            f"index {self._calls.index_id})."
        )


def _tolerate(error: Exception, calls: StartCalls, action: str) -> None:
    """Log a transient error; re-raise others."""
    kind = calls.classify_error(error)
    if kind is ErrorKind.PERMANENT:
        raise error
    if kind is ErrorKind.CREDENTIALS:
        calls.discard_clients()
    calls.log.warning("Could not %s yet: %s; trying again.", action, calls.describe_error(error))


def check_memory(memory: object) -> dict[str, Any]:
    """
    Check and return the memory of an earlier try.

    :param memory: The value from the store: :attr:`Starter.memory`, with ``deadline`` and, from version 1.1, ``since``.
    :raises ValueError: if it is invalid, with the reason.
    """
    if not isinstance(memory, dict):
        raise ValueError(f"it is of type {type(memory).__name__}")
    for name, kind in _MEMORY.items():
        if not isinstance(memory.get(name), kind):
            raise ValueError(f"its {name} is {shown(memory.get(name))}")
    check_time("its deadline", memory["deadline"])
    if memory.get("since") is not None:
        check_time("its since", memory["since"])
    return memory


_MEMORY: Mapping[str, Any] = {
    "baseline": str | None,
    "execution_id": str | None,
    "is_ours": bool | None,
    "is_stopped": bool | None,
    "deadline": str,
    "since": str | None,
}


def is_outdated(memory: Mapping[str, Any], now: datetime, timeout: timedelta) -> bool:
    """
    Whether the memory of an earlier try is too old for a finished job to be the result.

    :param memory: The memory, with ``deadline`` and ``since`` in ISO 8601.
    :param now: The time.
    :param timeout: The timeout of the task, to derive ``since`` for a memory of 1.0.0.
    """
    deadline = datetime.fromisoformat(memory["deadline"])
    since = datetime.fromisoformat(memory["since"]) if memory.get("since") else deadline - timeout
    is_in_doubt = memory.get("execution_id") is None
    return now >= deadline or (is_in_doubt and now - since > timedelta(seconds=DOUBT_LIMIT))


def already_running(index_id: str, data_source_id: str, job: SyncJob | None) -> KendraSyncJobAlreadyRunningError:
    """
    Return the error for a start that failed since a sync job is running.

    :param index_id: The index.
    :param data_source_id: The data source.
    :param job: The running job; None if the data source is in use, but no running job is listed.
    """
    if job:
        cause, where = f"A sync is already running: {job.running}", job.ids
    else:
        cause = f"The data source is in use, but no running sync was listed for {START_GRACE:.0f} s"
        where = f"(data source {data_source_id}, index {index_id})"
    advice = "Kendra runs one sync of a data source at a time: wait for it to end, or stop it"
    return KendraSyncJobAlreadyRunningError(f"{cause}. {advice} {where}.", job=job)


def read_type(calls: StartCalls, *, patience: float = START_GRACE) -> str | None:
    """
    Read the type of the data source, and retry for a while after transient errors.

    :param calls: The hook's calls on the data source.
    :param patience: Seconds after which the error is raised. Default: as long as a start is retried.
    :raises Exception: the error of the last reading, if it is permanent or the time is over.
    """
    give_up_at = calls.monotonic() + patience
    while True:
        try:
            return calls.get_data_source_type()
        except Exception as error:
            if calls.monotonic() >= give_up_at:
                raise
            _tolerate(error, calls, "read the type of the data source")
        calls.sleep(PAUSE)


def find_out_type(
    calls: StartCalls,
    *,
    instead_of_waiting: str | None,
    warn: Callable[[str], object],
    patience: float = START_GRACE,
) -> str | None:
    """
    Return the type of the data source before a start; raise if the caller would wait for a sync that does not end by
    itself.

    Reading the type requires a different permission than a start, so a failure that lasts is only a warning.

    :param calls: The hook's calls on the data source.
    :param instead_of_waiting: What to do with a CUSTOM data source, as a sentence; None if its sync is not waited for.
    :param warn: Takes the warning if the type can't be found out.
    :param patience: Seconds for which the type is read again after transient errors.
    :return: None if the type can't be found out.
    :raises KendraRequestError: if the data source is CUSTOM and its sync would be waited for, or the connection can't
        work.
    """
    try:
        source_type = read_type(calls, patience=patience)
    except (KendraRequestError, ValueError):
        raise
    except Exception as error:
        reason = calls.describe_error(error).removesuffix(".")
        risk = "" if instead_of_waiting is None else " If it is CUSTOM, its sync ends only when someone stops it."
        warn(f"Could not find out the type of the data source: {reason}.{risk}")
        return None
    if source_type == "CUSTOM" and instead_of_waiting is not None:
        raise KendraRequestError(
            f"{CUSTOM_SYNC_ENDS}, so waiting for it would never end. {instead_of_waiting.removesuffix('.')} (data "
            f"source {calls.data_source_id}, index {calls.index_id})."
        )
    return source_type


def read_started_job(calls: StartCalls, execution_id: str) -> SyncJob:
    """
    Read a job right after its start; return it as SYNCING if it is not listed yet, or can't be read.

    :param calls: The hook's calls on the data source.
    :param execution_id: The job.
    """
    try:
        for job in islice(calls.iter_sync_jobs(), _NEWEST):
            if job.execution_id == execution_id:
                return job
    except Exception as error:  # a retry of a failed task would start another
        reason = calls.describe_error(error)
        calls.log.warning("Could not read the sync job that was started: %s (%s)", reason, plain(execution_id))
    return SyncJob(
        index_id=calls.index_id,
        data_source_id=calls.data_source_id,
        execution_id=execution_id,
        status=SyncJobStatus.SYNCING,
    )


_NEWEST = 10
"""The number of jobs that are searched for one that was just started: one page."""
