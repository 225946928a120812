"""Stops at most one sync job: a state machine without I/O, and the loop that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Protocol

from airflow_provider_kendra._calls import LISTING_GRACE, PAUSE, ErrorKind, SyncJobCalls
from airflow_provider_kendra._clock import CLOCK_DIFFERENCE
from airflow_provider_kendra.exceptions import KendraError
from airflow_provider_kendra.sync_job import SyncJob, SyncJobStatus

STOP_GRACE = 60.0
"""Seconds for which a stop is retried after transient errors."""


class StopState(StrEnum):
    """The result of a request to stop a sync job."""

    NOT_LISTED = "not_listed"
    """No such job is listed; without an execution id: no job is running."""
    OVER = "over"
    """The job is no longer running."""
    STOPPING = "stopping"
    """The job was stopped before, or may have been, and has not ended yet."""
    SENT = "sent"
    """The stop request was sent."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The result of a stop; ``job`` is the job as last read, None if none is listed."""

    state: StopState
    job: SyncJob | None = None

    @property
    def is_ending(self) -> bool:
        """Whether the job has yet to end."""
        return self.state in (StopState.SENT, StopState.STOPPING)

    @property
    def effect(self) -> str:
        """What stopping our own job has done, in words."""
        if self.is_ending:
            return "The sync is being stopped"
        if self.state is StopState.OVER:
            return "The sync has already ended"
        return "The sync is not listed, so no stop was sent; it may still be running"

    @property
    def message(self) -> str:
        """The result, in words."""
        job = self.job
        if job is None:
            return "Nothing to stop: no sync is running."
        if self.state is StopState.SENT:
            what = f"Stop sent: the sync was {job.progress}"
        elif self.state is StopState.STOPPING:
            what = f"No stop was sent: the sync is already {job.progress}"
        else:
            what = f"Nothing to stop{f'. {job.end}' if job.is_finished else f': {job.superseded}'}"
        return f"{what} {job.ids}."


class Stopper:
    """
    Decides whether to send a stop request, after each read of the history.

    Kendra's call takes no execution id: it stops whatever is running. So each request is sent right after a read that
    shows the job running, and the history is read again after a failed request.

    :param execution_id: The job to stop. Default None: the first that is found running.
    :param is_custom: Whether the data source is CUSTOM; None if unknown.
    """

    def __init__(self, execution_id: str | None = None, *, is_custom: bool | None = None) -> None:
        self.execution_id = execution_id
        self.is_custom = is_custom
        self.previous: SyncJob | None = None
        """The job before the one that was chosen."""
        self._missing_since: float | None = None
        self._failing_since: float | None = None
        self._refusal: Exception | None = None

    def depends_on_type(self, jobs: Sequence[SyncJob]) -> bool:
        """Whether the type decides: on a CUSTOM data source, a SYNCING_INDEXING job has already been stopped."""
        is_indexing = bool(jobs) and jobs[0].status == SyncJobStatus.SYNCING_INDEXING
        return is_indexing and self.is_custom is None and self.execution_id in (None, jobs[0].execution_id)

    def next_step(self, jobs: Sequence[SyncJob], now: float) -> SyncJob | Stopped | None:
        """
        Return the job to stop now, the final result, or None to read again after a pause.

        :param jobs: The history, newest first, back to the job; the newest two if none has been chosen yet.
        :param now: Seconds of a monotonic clock.
        """
        newest = jobs[0] if jobs else None
        if self.execution_id is None:
            job = newest if newest and not newest.is_finished else None
        else:
            job = next((each for each in jobs if each.execution_id == self.execution_id), None)
        if job is None:
            self._missing_since = now if self._missing_since is None else self._missing_since
            return None if now - self._missing_since < LISTING_GRACE else Stopped(StopState.NOT_LISTED)
        self._missing_since = None
        # Only the newest job can be running: an older one has ended, whatever its status says.
        if job.is_finished or job is not newest:
            return Stopped(StopState.OVER, job)
        is_indexing = job.status == SyncJobStatus.SYNCING_INDEXING
        if job.status == SyncJobStatus.STOPPING or (is_indexing and self.is_custom is not False):
            return Stopped(StopState.STOPPING, job)
        if self._refusal is not None:
            raise self._refusal
        if self.execution_id is None:
            self.execution_id = job.execution_id
            self.previous = jobs[1] if len(jobs) > 1 else None
        return job

    def refused(self, error: Exception) -> None:
        """Note that AWS refused the request; :meth:`next_step` raises the error if the job is still running."""
        self._refusal = error

    def failed(self, now: float) -> bool:
        """Note a transient error, and return whether to give up."""
        self._failing_since = now if self._failing_since is None else self._failing_since
        return now - self._failing_since >= STOP_GRACE


class StopCalls(SyncJobCalls, Protocol):
    """The calls of the hook that a stop needs, for one data source."""

    @property
    def data_source_id(self) -> str: ...
    @property
    def has_short_timeouts(self) -> bool:
        """Whether the task is being killed, so there is no time for a new client."""

    def send_stop(self) -> None:
        """Send a stop request in a single attempt."""

    def get_data_source_type(self) -> str | None: ...


Confirm = Callable[[SyncJob, SyncJob | None], object]
"""Called with the running job that was chosen, and the job before it; may raise to prevent the stop."""


def advance_stop(calls: StopCalls, stopper: Stopper, confirm: Confirm | None = None) -> Stopped:
    """
    Read the history and send stop requests until one has been accepted, or there is nothing to stop.

    :param calls: The hook's calls on the data source.
    :param stopper: The state machine.
    :param confirm: Called when a job has been chosen; not if the stopper was given one.
    """
    while True:
        is_choice = stopper.execution_id is None
        step = _read_and_decide(calls, stopper)
        match step:
            case Stopped():
                return step
            case SyncJob():
                if is_choice and confirm is not None:
                    confirm(step, stopper.previous)
                if _send(calls, stopper):
                    return Stopped(StopState.SENT, step)
        calls.sleep(PAUSE)


def stop_whichever_runs(calls: StopCalls) -> None:
    """
    Send a stop request; after a transient error send it again, but only for the sync that was running before.

    :param calls: The hook's calls on the data source.
    :raises Exception: the error of the request, unless the history shows that this sync has ended or is being stopped.
    """
    running = _find_running(calls)
    try:
        calls.send_stop()
    except Exception as error:
        if running is None or calls.classify_error(error) is not ErrorKind.TRANSIENT:
            raise
        calls.log.warning(
            "The stop request may have had no effect: %s; reading the history.", calls.describe_error(error)
        )
        stopper = Stopper(running.execution_id)
        try:
            stopped = advance_stop(calls, stopper)
        except Exception as unread:
            raise error from unread
        is_indexing = stopped.job is not None and stopped.job.status == SyncJobStatus.SYNCING_INDEXING
        is_unclear = stopped.is_ending and is_indexing and stopper.is_custom is None
        if stopped.job is None or is_unclear:
            raise


def _find_running(calls: StopCalls) -> SyncJob | None:
    """Return the running sync; None if none is listed, or the history can't be read, which a stop does not require."""
    try:
        newest = next(calls.iter_sync_jobs(), None)
    except Exception as error:
        reason = calls.describe_error(error).removesuffix(".")
        calls.log.info("Could not read which sync is running: %s; sending the stop nevertheless.", reason)
        return None
    return None if newest is None or newest.is_finished else newest


def _read_and_decide(calls: StopCalls, stopper: Stopper) -> SyncJob | Stopped | None:
    try:
        jobs = _read_history(calls, stopper.execution_id)
        if stopper.depends_on_type(jobs):
            stopper.is_custom = _is_custom(calls)
    except Exception as error:
        _tolerate(error, calls, stopper)
        return None
    return stopper.next_step(jobs, calls.monotonic())


def _read_history(calls: StopCalls, execution_id: str | None) -> list[SyncJob]:
    history = calls.iter_sync_jobs()
    if execution_id is None:
        return list(islice(history, 2))
    jobs: list[SyncJob] = []
    for job in history:
        jobs.append(job)
        if job.execution_id == execution_id:
            break
    return jobs


def _is_custom(calls: StopCalls) -> bool | None:
    """Whether a data source is CUSTOM; None if its type can't be read."""
    try:
        kind = calls.get_data_source_type()
    except Exception as error:
        if not isinstance(error, KendraError) and calls.classify_error(error) is not ErrorKind.PERMANENT:
            raise
        calls.log.warning(
            "The type of the data source can't be read: %s. No stop is sent while documents are being indexed, since a "
            "CUSTOM data source must not be stopped twice. Allow kendra:DescribeDataSource (data source %s).",
            calls.describe_error(error).removesuffix("."),
            calls.data_source_id,
        )
        return None
    return None if kind is None else kind == "CUSTOM"


def _send(calls: StopCalls, stopper: Stopper) -> bool:
    """Send a stop request, and return whether it was accepted."""
    try:
        calls.send_stop()
    except Exception as error:
        if calls.classify_error(error) is ErrorKind.PERMANENT:
            stopper.refused(error)
        else:
            _tolerate(error, calls, stopper)
        return False
    return True


def _tolerate(error: Exception, calls: StopCalls, stopper: Stopper) -> None:
    """Log a transient error; re-raise others, and a transient one after a while."""
    kind = calls.classify_error(error)
    is_final = kind is ErrorKind.PERMANENT or (kind is ErrorKind.CREDENTIALS and calls.has_short_timeouts)
    if is_final or stopper.failed(calls.monotonic()):
        raise error
    if kind is ErrorKind.CREDENTIALS:
        calls.discard_clients()
    calls.log.warning("Could not stop the sync yet: %s; trying again.", calls.describe_error(error))


def may_follow_a_stopped_job(running: SyncJob, previous: SyncJob | None, began: datetime | None) -> bool:
    """
    Whether an earlier try of the task may have stopped a job other than the running one.

    A job stopped by an earlier try must have ended after the DAG run began. If the job before the running one had ended
    by then, an earlier try can only have stopped the running one.

    :param running: The running job.
    :param previous: The job before it, if there is one.
    :param began: When the DAG run began, by Airflow's clock; None if unknown.
    """
    if previous is None:
        return False
    ended_by = min(filter(None, (previous.end_time, running.start_time)), default=None)
    return began is None or ended_by is None or ended_by >= began - CLOCK_DIFFERENCE
