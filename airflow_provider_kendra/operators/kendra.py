"""Operators that start, stop, list and check sync jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, get_args

from airflow.providers.common.compat.sdk import AirflowSkipException, conf

from airflow_provider_kendra import _clock
from airflow_provider_kendra._failed_documents import ListsFailedDocuments, insert_details
from airflow_provider_kendra._lineage import check_no_kendra_outlets
from airflow_provider_kendra._parameters import NOT_FOUND_TIMEOUT, IfRunning, check_max_documents_failed
from airflow_provider_kendra._tasks import DEFERRAL_MARGIN, KendraOperator
from airflow_provider_kendra._text import LONGEST_MESSAGE, are_missing, plain
from airflow_provider_kendra._validation import check_count, check_interval, check_lookback, check_seconds
from airflow_provider_kendra._xcoms import RecordTask
from airflow_provider_kendra.exceptions import (
    KendraError,
    KendraRequestError,
    KendraStateError,
    KendraSyncJobFailedError,
    KendraSyncJobMetricsError,
    KendraSyncJobNotFoundError,
    KendraSyncJobTimeoutError,
)
from airflow_provider_kendra.links.kendra import KendraIndexLink
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_kendra._starting import Follow, Starter
    from airflow_provider_kendra.documents import DocumentFailures, IndexCapacity
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
    from airflow_provider_kendra.operators._memory import StartMemory, StopMemory
    from airflow_provider_kendra.outcomes import Failed, Outcome
    from airflow_provider_kendra.sync_job import Acceptance, SyncJob
    from airflow_provider_kendra.triggers.kendra import KendraSyncJobTrigger

# Imports that only a running task needs are inside functions, to keep DAG parsing fast.


@contextmanager
def _aws_errors_explained(
    task: _SyncJobWaiter | KendraSyncJobMetricsOperator | KendraListSyncJobsOperator, problem: str, *calls: str
) -> Iterator[None]:
    """
    Turn AWS errors into errors that say what to do; Airflow retries only transient ones.

    :param task: The task.
    :param problem: What failed, as the start of a message.
    :param calls: The API calls that the connection needs permission for, besides ListDataSourceSyncJobs.
    """
    from airflow_provider_kendra.hooks._aws_errors import ErrorKind, classify_error, describe_error, is_aws_error

    try:
        yield
    except (KendraError, ValueError):
        raise
    except Exception as error:
        where = f"(data source {task.data_source_id}, index {task.index_id})"
        cause = f"{problem}: {describe_error(error).removesuffix('.')}"
        if classify_error(error) is ErrorKind.PERMANENT:
            permissions = " and ".join(f"kendra:{call}" for call in (*calls, "ListDataSourceSyncJobs"))
            raise KendraRequestError(
                f"{cause}. Check the ids, the region and the permissions of the connection: "
                f"{permissions} on index and data source {where}."
            ) from error
        if is_aws_error(error):
            raise KendraError(
                f"{cause}. The error may be temporary: the next try repeats the request {where}."
            ) from error
        raise


_TIME_TO_RESUME = timedelta(minutes=1)
"""The time allowed for Airflow to resume the task after the trigger's event, and for the task to stop its sync."""


class _SyncJobWaiter(RecordTask, KendraOperator):
    """
    Base class of operators that wait for a sync job, in the worker or in the triggerer, until a deadline.

    :param deferrable: Wait in the triggerer, without a worker slot. Default: ``[operators] default_deferrable``.
    :param poll_interval: Seconds, or a ``timedelta``, between polls; more than 0. Default 60 seconds.
    :param timeout: Seconds, or a ``timedelta``, that the wait may take. Default 24 hours.
    """

    wait_for_completion: bool

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 60,
        timeout: float | timedelta = 24 * 60 * 60,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.poll_interval = check_interval("poll_interval", poll_interval)
        self.timeout = check_seconds("timeout", timeout)

    def _wait(
        self,
        execution_id: str,
        acceptance: Acceptance,
        deadline: datetime,
        *,
        stop_on_kill: bool = False,
        **state: Any,
    ) -> Outcome:
        """Wait for a sync job; when deferred, ``execute_complete`` receives the outcome and the state."""
        now = _clock.utcnow()
        if self.deferrable:
            remaining = max((deadline - now).total_seconds(), 0)
            self.defer(
                trigger=self._make_trigger(
                    execution_id, acceptance, now, remaining, stop_on_kill=stop_on_kill, state=state or None
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=remaining) + DEFERRAL_MARGIN,
            )
        from airflow_provider_kendra._waiting.conditions import ExecutionFinished
        from airflow_provider_kendra._waiting.sources import DataSource
        from airflow_provider_kendra._waiting.wait import wait_in_worker

        return wait_in_worker(
            self.hook,
            DataSource(self.aws_parameters, self.index_id, self.data_source_id),
            ExecutionFinished(execution_id, acceptance, NOT_FOUND_TIMEOUT, now),
            interval=self.poll_interval,
            deadline=deadline,
            log=self.log.info,
        )

    def _make_trigger(
        self, execution_id: str, acceptance: Acceptance, now: datetime, timeout: float, **options: Any
    ) -> KendraSyncJobTrigger:
        from airflow_provider_kendra.triggers.kendra import KendraSyncJobTrigger

        return KendraSyncJobTrigger(
            index_id=self.index_id,
            data_source_id=self.data_source_id,
            execution_id=execution_id,
            target_statuses=sorted(acceptance.statuses),
            max_documents_failed=acceptance.max_documents_failed,
            not_found_timeout=NOT_FOUND_TIMEOUT,
            poll_interval=self.poll_interval,
            timeout=timeout,
            waiting_since=now.isoformat(),
            is_connection_known=True,
            **options,
            **self.aws_kwargs,
        )

    def _deadline(self, context: Context) -> datetime:
        """
        Return when the wait of this try times out.

        Airflow 2 also fails a deferred task at its ``execution_timeout``, without resuming it. A deferred wait
        therefore ends a little earlier, while the task can still stop its sync.
        """
        deadline = _clock.utcnow() + timedelta(seconds=self.timeout)
        return min(filter(None, (deadline, self._before_execution_timeout(context))))

    def _before_execution_timeout(self, context: Context) -> datetime | None:
        started: datetime | None = getattr(context.get("ti"), "start_date", None)
        limit: timedelta | None = self.execution_timeout
        if AIRFLOW_V_3_0_PLUS or not self.deferrable or limit is None or started is None:
            return None
        return started + limit - min(limit / 10, _TIME_TO_RESUME)

    def _read_event(
        self, context: Context, event: Any, execution_id: str | None = None
    ) -> tuple[Outcome, Mapping[str, Any]]:
        """Read and check the trigger's event; if it is unusable, the next try finds the sync job again."""
        from airflow_provider_kendra.outcomes import (
            Failed,
            Failure,
            check_subject,
            outcome_from_event,
            state_from_event,
        )

        try:
            outcome = outcome_from_event(event)
            check_subject(outcome, self.index_id, [self.data_source_id], execution_id)
            state = state_from_event(event)
        except ValueError as error:
            raise KendraStateError(
                f"The event that resumed this task can't be used: {error}. The next try reads the sync job from "
                f"Kendra (data source {self.data_source_id}, index {self.index_id})."
            ) from None
        if isinstance(outcome, Failed) and outcome.failure is Failure.TIMED_OUT:
            outcome = self._name_execution_timeout(context, outcome)
        return outcome, state

    def _name_execution_timeout(self, context: Context, outcome: Failed) -> Failed:
        """Name ``execution_timeout`` in the message if it ended a deferred wait."""
        end = self._before_execution_timeout(context)
        if end is None or _clock.utcnow() < end:
            return outcome
        return replace(
            outcome, message=f"execution_timeout ({self.execution_timeout}) is about to end the task. {outcome.message}"
        )

    def _count(self, outcome: Outcome) -> None:
        """Count the job that the task ends with."""
        from airflow_provider_kendra._metrics import count_sync_job

        if self.wait_for_completion and outcome.job is not None and outcome.job.is_finished:
            count_sync_job(outcome.job)

    def _record(self, outcome: Outcome) -> dict[str, Any]:
        """Turn the outcome into the task's result or exception."""
        from airflow_provider_kendra.outcomes import Satisfied

        if isinstance(outcome, Satisfied):
            if outcome.job.is_finished:
                self._log_end(outcome.job, getattr(self, "max_documents_failed", None))
            return outcome.job.to_dict()
        raise _error_of(outcome)


class KendraStartSyncJobOperator(ListsFailedDocuments, _SyncJobWaiter):
    """
    Start a sync job of a data source and wait until it has finished; returns its record.

    Three keys of the record are also separate XComs: ``execution_id``, ``status`` and ``documents_failed``. A later
    task can take ``start.output["execution_id"]``.

    :param wait_for_completion: Wait until the job has finished. With False, returns the record as known right
        after the start. A CUSTOM data source needs False, since its sync ends only when someone stops it.
    :param if_running: What to do if a sync job is already running, since Kendra runs one at a time: ``"wait"``
        (default) waits for its end and then starts a new one, so the result is always a sync that began after the
        task; ``"attach"`` adopts the running one; ``"skip"`` skips the task; ``"fail"`` raises.
    :param max_documents_failed: Accept INCOMPLETE too, with up to this many failed documents.
        Default None: only SUCCEEDED is accepted.
    :param timeout: Seconds, or a ``timedelta``, that all waits together may take. Default 24 hours.
    :param stop_on_kill: Stop the sync job when the task is killed or times out, if it is known that this task started
        it, it is still running, and its data source is not CUSTOM. While the task is deferred, this needs Airflow 3.3.
        Default True.
    :param durable: Store the job, and resume it in the next try if this one is lost (Airflow 3.3+; before,
        ``if_running`` applies). A job that has ended is returned only until the deadline of the try that started it,
        and for at most 15 minutes if the response to its start was lost. With ``wait_for_completion=False`` and a
        CUSTOM data source, a batch that is still open is returned again. Default True.
    :raises KendraSyncJobFailedError: if the job ended, but not acceptably.
    :raises KendraSyncJobAlreadyRunningError: if a sync job is running and ``if_running`` is ``"fail"``, or the
        data source is in use though no job is listed.
    :raises KendraSyncJobTimeoutError: after ``timeout``.
    :raises KendraRequestError: if AWS rejects a request, or the data source is CUSTOM and ``wait_for_completion`` is
        set.
    """

    template_fields: Sequence[str] = ("index_id", "data_source_id", *KendraOperator.aws_template_fields)
    ui_color = "#c5e1f5"

    def __init__(
        self,
        *,
        wait_for_completion: bool = True,
        if_running: IfRunning = "wait",
        max_documents_failed: int | None = None,
        stop_on_kill: bool = True,
        durable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.if_running = if_running
        self.max_documents_failed = max_documents_failed
        self.stop_on_kill = stop_on_kill
        self.durable = durable
        check_max_documents_failed(max_documents_failed)
        self._is_killed = False
        self._is_waiting = False
        self._stop_on_worker: Callable[[], object] | None = None
        if if_running not in get_args(IfRunning):
            raise ValueError(
                f"{self.task_id}: if_running must be one of {', '.join(get_args(IfRunning))}, got {if_running!r}."
            )
        check_no_kendra_outlets(self)

    @property
    def _acceptance(self) -> Acceptance:
        from airflow_provider_kendra.sync_job import Acceptance

        return Acceptance(max_documents_failed=self.max_documents_failed)

    def execute(self, context: Context) -> Any:
        """Start a sync job, or resume the one of a lost try, and wait for it."""
        self.refuse_bad_parameters()
        if self.deferrable:
            # Raises before the start if the task can't be deferred; later, the sync would be orphaned.
            self._make_trigger("not-started-yet", self._acceptance, _clock.utcnow(), self.timeout).serialize()
        remembered = self._memory(context).recall()
        if remembered is not None:
            which = remembered.get("execution_id")
            of = f"sync job {plain(which)}" if which else "its start request got no response"
            self.log.info("Looking for the sync of an earlier attempt first (%s).", of)
        return self._advance(context, remembered, self._deadline(context))

    def execute_complete(
        self,
        context: Context,
        event: Any = None,
        *,
        stoppable: str | None = None,
        waited_out_until: str | None = None,
    ) -> Any:
        """Handle the trigger's event: our own sync job has ended, or another one that had to end first."""
        self.refuse_bad_parameters()
        # Version 1.0.0 passed the state as keyword arguments.
        outcome, state = self._read_event(context, event)
        state = state or {"stoppable": stoppable, "waited_out_until": waited_out_until}
        if state.get("waited_out_until") is None:
            return self._end(context, outcome, state.get("stoppable"))
        deadline = datetime.fromisoformat(state["waited_out_until"])
        self._check_waited_out(outcome, deadline, state.get("source_type"))
        return self._advance(context, None, deadline)

    def _advance(self, context: Context, remembered: dict[str, Any] | None, deadline: datetime) -> Any:
        from airflow_provider_kendra._starting import Follow, Refuse, Return, Skip, WaitOut, already_running
        from airflow_provider_kendra.outcomes import Satisfied

        source_type = self._find_out_type(deadline)
        may_stop = self.wait_for_completion and self.stop_on_kill and source_type is not None
        starter = self._make_starter(context, remembered, source_type)
        remember = partial(self._remember, self._memory(context), starter, deadline, may_stop)
        while True:
            with _aws_errors_explained(self, "Could not start a sync", "StartDataSourceSyncJob"):
                step = self.hook._advance_start(self.index_id, self.data_source_id, starter, remember=remember)
            match step:
                case WaitOut(job):
                    self._wait_out(context, job, deadline, source_type)
                case Follow():
                    if starter.is_resumed and remembered is not None:
                        deadline = self._resumed_deadline(remembered, deadline)
                    return self._follow(context, starter, step, deadline, may_stop, source_type)
                case Return(job):
                    return self._end(context, Satisfied(job))
                case Skip(job):
                    raise AirflowSkipException(f"Skipped, since a sync is running: {job.progress} {job.ids}.")
                case Refuse(job):
                    raise already_running(self.index_id, self.data_source_id, job)

    def _make_starter(self, context: Context, remembered: dict[str, Any] | None, source_type: str | None) -> Starter:
        from airflow_provider_kendra._starting import Starter, is_outdated
        from airflow_provider_kendra.sync_job import ANY_END

        # Without a wait, any job that was started is the result, whatever its end; but a CUSTOM batch must be open. If
        # the type is unknown, the job is the result too: requiring an open batch could start a second sync.
        return Starter(
            self.if_running,
            self._acceptance if self.wait_for_completion else ANY_END,
            remembered,
            is_outdated=remembered is not None
            and (
                is_outdated(remembered, _clock.utcnow(), timedelta(seconds=self.timeout))
                or self._memory(context).is_of_cleared_task(remembered)
            ),
            needs_open_batch=not self.wait_for_completion and source_type == "CUSTOM",
        )

    def _leaves_batch_open(self, source_type: str | None) -> bool:
        """Whether the started sync may be a CUSTOM batch, which takes documents until someone stops it."""
        return not self.wait_for_completion and source_type in (None, "CUSTOM")

    @staticmethod
    def _resumed_deadline(remembered: Mapping[str, Any], deadline: datetime) -> datetime:
        """The deadline of the lost try, or that of this try if the former has passed."""
        earlier = datetime.fromisoformat(remembered["deadline"])
        return earlier if _clock.utcnow() < earlier else deadline

    def _remember(
        self, memory: StartMemory, starter: Starter, deadline: datetime, may_stop: bool, known: dict[str, Any] | None
    ) -> None:
        """Store the state before a start request; with None, delete it after a request without effect."""
        if known is None:
            return memory.forget()
        if self.timeout and _clock.utcnow() >= deadline:
            raise self._started_too_late(
                "Timed out before a sync could be started, since reading the history and the type of the data source "
                "took too long. Raise timeout; the log names requests to Kendra that failed"
            )
        if may_stop:
            self._prepare_kill(memory, starter)
        memory.keep(known, deadline)
        if self._is_killed:
            if not starter.is_in_doubt:
                memory.forget()
            raise KendraError("The task was killed before it started a sync.")

    def _wait_out(self, context: Context, job: SyncJob, deadline: datetime, source_type: str | None) -> None:
        """Wait until another job has ended, before a new one can be started."""
        from airflow_provider_kendra.sync_job import ANY_END

        advice = f"Waiting for its end.{_advice_on_batch(job, source_type)}".removesuffix(".")
        self.log.info("Another sync is running: %s. %s %s.", job.running, advice, job.ids)
        self._show_links(context, job.execution_id)
        outcome = self._wait(
            job.execution_id, ANY_END, deadline, waited_out_until=deadline.isoformat(), source_type=source_type
        )
        self._check_waited_out(outcome, deadline, source_type)

    def _check_waited_out(self, outcome: Outcome, deadline: datetime, source_type: str | None) -> None:
        """Raise unless the other job has ended, or is gone from the history, before the deadline."""
        from airflow_provider_kendra.outcomes import Failed, Failure, Satisfied, at_any_end

        if isinstance(outcome, Failed) and outcome.failure is Failure.TIMED_OUT:
            state = f"{outcome.message.removeprefix('Timed out: ')}{_advice_on_batch(outcome.job, source_type)}"
            message = "Timed out before a sync could be started, since another one was running. Last known state: "
            raise KendraSyncJobTimeoutError(f"{message}{state}", job=outcome.job)
        ended = at_any_end(outcome)
        if isinstance(ended, Satisfied):
            job = ended.job
            how = outcome.message if isinstance(outcome, Failed) else f"{job.end}{job.reason_suffix} {job.ids}."
            self.log.info("The other sync is over. %s", how)
        elif ended.failure is not Failure.NOT_FOUND:
            raise _error_of(ended)
        if _clock.utcnow() >= deadline:
            raise self._started_too_late(
                "Timed out before a sync could be started, since others were running until then. Raise timeout if they "
                "take this long",
                outcome.job,
            )

    def _started_too_late(self, why: str, job: SyncJob | None = None) -> KendraSyncJobTimeoutError:
        where = f"(data source {self.data_source_id}, index {self.index_id})"
        return KendraSyncJobTimeoutError(f"{why} {where}.", job=job)

    def _follow(
        self,
        context: Context,
        starter: Starter,
        step: Follow,
        deadline: datetime,
        may_stop: bool,
        source_type: str | None,
    ) -> Any:
        """Wait for a job that was started or found; without ``wait_for_completion``, return it."""
        memory = self._memory(context)
        may_stop = may_stop and step.is_ours
        if may_stop:
            self._prepare_kill(memory, starter)
            if self._is_killed:
                self.on_kill()
        memory.keep_if_possible(starter.memory, deadline)
        if starter.is_resumed:
            how = "Resumed a sync that an earlier try started or adopted"
        elif step.is_ours:
            how = "Started a sync"
        elif self.if_running == "attach":
            how = "Adopted a sync that was running"
        else:
            how = "Found the sync of the start request whose response was lost"
        self.log.info("%s (sync job %s, data source %s).", how, plain(step.execution_id), self.data_source_id)
        if not self.wait_for_completion:
            record = self._read_started_job(step.execution_id).to_dict()
            self._show_links(context, step.execution_id)
            self._publish_jobs(context)
            self._push_keys(context, record)
            if not self._leaves_batch_open(source_type):  # else a retry would wait for its own batch
                memory.forget()
            return record
        self._show_links(context, step.execution_id)
        self._is_waiting = True
        stoppable = step.execution_id if may_stop else None
        outcome = self._wait(step.execution_id, self._acceptance, deadline, stop_on_kill=may_stop, stoppable=stoppable)
        return self._end(context, outcome, stoppable)

    def _end(self, context: Context, outcome: Outcome, stoppable: str | None = None) -> dict[str, Any]:
        from airflow_provider_kendra.outcomes import Failed, Failure

        self._stop_on_worker = None
        memory = self._memory(context)
        failure = outcome.failure if isinstance(outcome, Failed) else None
        if failure is Failure.TIMED_OUT and stoppable is not None and self._stop_if_running(self.hook, stoppable):
            memory.note_stop(stoppable)
        outcome = self._publish_outcome(context, outcome)
        if failure not in (Failure.REFUSED, Failure.NOT_FOUND, Failure.TIMED_OUT):
            # After these failures the job may still be running, so keep the entry for a later try to resume. Otherwise
            # delete it last: if this try dies or an XCom push fails, the next one returns the job.
            memory.forget()
        self._count(outcome)
        return self._record(outcome)

    def _prepare_kill(self, memory: StartMemory, starter: Starter) -> None:
        """Create the client for a kill in advance, since the signal handler must not look up connections."""
        if self._stop_on_worker is not None:
            return
        try:
            hook = self._make_hook()
            hook._reuse_connection_of(self.hook)
            hook._use_short_timeouts()
        except Exception as error:  # must not fail a task whose sync may be running
            self.log.warning("Killing this task will not stop its sync job: %s", plain(error))
            return
        self._stop_on_worker = partial(self._stop_started, hook, memory, starter)

    def _stop_started(self, hook: KendraSyncJobsHook, memory: StartMemory, starter: Starter) -> None:
        """Stop the sync job that this try started, unless another try has adopted it."""
        execution_id = starter.started
        if execution_id is None:
            return
        # Before the wait, there can be no other try, and the interrupted code may hold the lock of Airflow's messages.
        if self._is_waiting and not memory.owns(execution_id):
            self.log.info("Not stopping the sync: another try may have adopted it (sync job %s).", plain(execution_id))
            return
        if self._stop_if_running(hook, execution_id) and self._is_waiting:
            memory.note_stop(execution_id)

    def _stop_if_running(self, hook: KendraSyncJobsHook, execution_id: str) -> bool:
        """Stop our sync job if it is running; only log errors, which must not hide the kill or time-out."""
        from airflow_provider_kendra.hooks._aws_errors import describe_error

        try:
            stopped = hook._stop_sync_job_if_running(self.index_id, self.data_source_id, execution_id, is_custom=False)
        except Exception as error:
            self.log.warning("Could not stop the sync: %s (sync job %s)", describe_error(error), plain(execution_id))
            return False
        self.log.info("%s (sync job %s).", stopped.effect, plain(execution_id))
        return stopped.is_ending

    def _memory(self, context: Context) -> StartMemory:
        from airflow_provider_kendra.operators._memory import StartMemory

        return StartMemory(context, self.index_id, self.data_source_id, self.log, is_kept=self.durable)

    def on_kill(self) -> None:
        """Stop the sync job if it is certainly ours; runs in a signal handler."""
        self._is_killed = True
        if self._stop_on_worker is None:
            return
        # In a thread with a time limit, since the interrupted code may hold a lock that the stop needs.
        stopping = Thread(target=self._stop_on_worker, daemon=True)
        stopping.start()
        stopping.join(_KILL_TIMEOUT)

    def _find_out_type(self, deadline: datetime) -> str | None:
        from airflow_provider_kendra._starting import START_GRACE, find_out_type

        advice = (
            "Start it with wait_for_completion=False, put the documents, stop it, then wait with KendraSyncJobSensor."
        )
        return find_out_type(
            self.hook._calls_on(self.index_id, self.data_source_id),
            instead_of_waiting=advice if self.wait_for_completion else None,
            warn=self._warn_of_unknown_type,
            patience=min(START_GRACE, (deadline - _clock.utcnow()).total_seconds()),
        )

    def _warn_of_unknown_type(self, warning: str) -> None:
        risk = " Killing the task will not stop the sync" if self.wait_for_completion else ""
        self.log.warning("%s%s (data source %s).", warning if risk else warning[:-1], risk, self.data_source_id)

    def _read_started_job(self, execution_id: str) -> SyncJob:
        from airflow_provider_kendra._starting import read_started_job

        return read_started_job(self.hook._calls_on(self.index_id, self.data_source_id), execution_id)


class KendraStopSyncJobOperator(_SyncJobWaiter):
    """
    Stop the running sync job of a data source; returns its record, whatever its status, once it has ended.

    If no running sync is listed within 20 seconds, the task succeeds. For a CUSTOM data source, the stop ends the
    batch: Kendra then indexes its documents, and no second stop is sent. A retry never stops a different sync than
    the first try; below Airflow 3.3 it may fail instead, unless ``execution_id`` is given. ``execution_id``,
    ``status`` and ``documents_failed`` of the record are also separate XComs.

    :param execution_id: Stop only this sync job, if it is running (templated). Recommended, since each try then stops
        the same sync. Default None: whichever is running.
    :param wait_for_completion: Wait until the job has ended. With False, returns the record as it was when the
        stop was sent.
    :raises KendraSyncJobNotFoundError: if the history does not contain ``execution_id``. Not retried.
    :raises KendraSyncJobTimeoutError: after ``timeout``.
    :raises KendraRequestError: if AWS rejects a request, or a retry below Airflow 3.3 cannot be sure which sync the
        first try stopped. Not retried.
    """

    template_fields: Sequence[str] = (
        "index_id",
        "data_source_id",
        "execution_id",
        *KendraOperator.aws_template_fields,
    )
    ui_color = "#c5e1f5"

    def __init__(
        self,
        *,
        execution_id: str | None = None,
        wait_for_completion: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.execution_id = execution_id
        self.wait_for_completion = wait_for_completion
        check_no_kendra_outlets(self)

    def execute(self, context: Context) -> Any:
        """Stop the running sync job and wait for its end."""
        from airflow_provider_kendra._stopping import StopState
        from airflow_provider_kendra.sync_job import ANY_END

        self.refuse_bad_parameters()
        memory = self._memory(context)
        decided = self.execution_id if self.execution_id is not None else memory.recall()
        with _aws_errors_explained(self, "Could not stop the sync", "StopDataSourceSyncJob"):
            stopped = self.hook._request_stop(
                self.index_id, self.data_source_id, decided, confirm=partial(self._confirm, context, memory)
            )
        self.log.info("%s", stopped.message)
        job = stopped.job
        if job is None:
            self._publish_jobs(context)
            return None
        if decided is None and stopped.state is StopState.STOPPING:
            memory.keep(job)  # no request was sent, but a retry must not stop the next sync
        self._show_links(context, job.execution_id)
        if stopped.is_ending and self.wait_for_completion:
            return self._end(context, self._wait(job.execution_id, ANY_END, self._deadline(context)))
        self._push_keys(context, job.to_dict())
        self._publish_jobs(context, job)
        memory.forget()
        return job.to_dict()

    def execute_complete(self, context: Context, event: Any = None, **state: Any) -> Any:
        """Handle the trigger's event."""
        self.refuse_bad_parameters()
        outcome, _ = self._read_event(context, event, self.execution_id)
        return self._end(context, outcome)

    def _end(self, context: Context, outcome: Outcome) -> dict[str, Any]:
        from airflow_provider_kendra.outcomes import Failed, Satisfied, at_any_end

        ended = at_any_end(outcome)
        if isinstance(outcome, Failed) and isinstance(ended, Satisfied):
            self.log.info("%s", outcome.message)  # the sync will not finish, since a newer one has started
        self._count(ended)  # the next try would not count a job that has ended
        record = self._record(self._publish_outcome(context, ended))
        self._memory(context).forget()  # a try that failed keeps it for the next one
        return record

    def _confirm(self, context: Context, memory: StopMemory, job: SyncJob, previous: SyncJob | None) -> None:
        """Store which sync this task stops, or make sure that no earlier try can have stopped another one."""
        from airflow_provider_kendra._stopping import may_follow_a_stopped_job

        if memory.keep(job):
            return
        began = getattr(context.get("dag_run"), "start_date", None)
        if memory.is_retry(self.retries or 0) and may_follow_a_stopped_job(job, previous, began):
            raise KendraRequestError(
                "Not stopping the running sync: this is a retry, and an earlier try may already have stopped another "
                "one. Pass execution_id to stop the same sync in each try, or clear the task to stop the running one "
                f"{job.ids}.",
                job=job,
            )

    def _memory(self, context: Context) -> StopMemory:
        from airflow_provider_kendra.operators._memory import StopMemory

        return StopMemory(context, self.index_id, self.data_source_id, self.log)

    def _is_update(self, job: SyncJob) -> bool:
        """A stopped sync may not have updated the index, but a stopped CUSTOM batch has."""
        from airflow_provider_kendra._starting import read_type
        from airflow_provider_kendra.hooks._aws_errors import describe_error
        from airflow_provider_kendra.sync_job import SyncJobStatus

        if job.status != SyncJobStatus.ABORTED:
            return job.has_updated_index
        try:
            calls = self.hook._calls_on(self.index_id, self.data_source_id)
            return read_type(calls, patience=_TYPE_PATIENCE) == "CUSTOM"
        except Exception as error:  # stopped already: failing now would make the retry stop the next one
            self.log.warning(
                "Could not find out the type of the data source: %s (data source %s)",
                describe_error(error),
                self.data_source_id,
            )
            return False


_TYPE_PATIENCE = 10.0  # seconds for which a finished stop reads the type again; the task may be near its time limit


# Seconds that a kill may take on a worker. Airflow 2 sends SIGKILL after 60 s, and Airflow 3 after 5 s if a user ended
# the task: with `hook._use_short_timeouts()`, the stop request is sent before that. After an execution_timeout there is
# no such limit.
_KILL_TIMEOUT = 25.0


def _error_of(outcome: Failed) -> KendraError:
    from airflow_provider_kendra.outcomes import Failure

    match outcome.failure:
        case Failure.NOT_ACCEPTABLE:
            return KendraSyncJobFailedError(outcome.message, job=outcome.job)
        case Failure.NOT_FOUND:
            return KendraSyncJobNotFoundError(outcome.message, job=outcome.job)
        case Failure.REFUSED:
            return KendraRequestError(outcome.message, job=outcome.job)
        case Failure.TIMED_OUT:
            return KendraSyncJobTimeoutError(outcome.message, job=outcome.job)


def _advice_on_batch(job: SyncJob | None, source_type: str | None) -> str:
    """Return what ends a running CUSTOM batch, as the next sentence of a message."""
    from airflow_provider_kendra._starting import CUSTOM_SYNC_ENDS
    from airflow_provider_kendra.sync_job import SyncJobStatus

    if source_type != "CUSTOM" or job is None or job.status != SyncJobStatus.SYNCING:
        return ""
    return f" {CUSTOM_SYNC_ENDS}, for example with KendraStopSyncJobOperator."


class KendraSyncJobMetricsOperator(ListsFailedDocuments, KendraOperator):
    """
    Push the record of a finished sync job to XCom, and check it against thresholds.

    The record's ``execution_id``, ``status`` and ``documents_failed`` are also separate XComs. If thresholds are not
    met, one error names all of them, after the XComs were pushed. FAILED and ABORTED jobs meet no threshold, nor does
    a count that was not reported.

    :param execution_id: The sync job (templated). Default None: the newest finished one.
    :param max_documents_failed: The maximum number of failed documents allowed. Default None: no threshold.
    :param max_failed_ratio: The largest share of failed documents allowed, from 0 to 1: of those scanned or, where
        Kendra does not report these, of those added, modified, deleted and failed. Default None: no threshold.
    :param min_documents_scanned: The fewest scanned documents required. Default None: no threshold.
    :param max_missing_documents: The maximum number of documents that failed in an earlier sync and have not been
        indexed or deleted since, which a sync that ended SUCCEEDED does not show. If that can't be found out, for
        example without the permission ``logs:FilterLogEvents``, the threshold is not met. See
        :meth:`.KendraSyncJobsHook.get_missing_documents`. Default None: no threshold, and no log is read.
    :param missing_lookback: How far back to search for such failures. Default: 30 days.
    :param max_index_share: The largest share of the index's capacity allowed to be in use, from 0 to 1, such as 0.9.
        Default None: no threshold.
    :raises KendraRequestError: if AWS rejects a request. Not retried.
    :raises KendraSyncJobMetricsError: if a threshold is not met. Not retried.
    :raises KendraSyncJobNotFoundError: if there is no such job, or none has finished. Not retried.
    """

    template_fields: Sequence[str] = (
        "index_id",
        "data_source_id",
        "execution_id",
        *KendraOperator.aws_template_fields,
    )
    ui_color = "#c5e1f5"

    def __init__(
        self,
        *,
        execution_id: str | None = None,
        max_documents_failed: int | None = None,
        max_failed_ratio: float | None = None,
        min_documents_scanned: int | None = None,
        max_missing_documents: int | None = None,
        missing_lookback: timedelta = timedelta(days=30),
        max_index_share: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.execution_id = execution_id
        self.max_documents_failed = max_documents_failed
        self.max_failed_ratio = max_failed_ratio
        self.min_documents_scanned = min_documents_scanned
        self.max_missing_documents = max_missing_documents
        self.max_index_share = max_index_share
        try:
            self.missing_lookback = check_lookback("missing_lookback", missing_lookback)
        except ValueError as error:
            raise ValueError(f"{self.task_id}: {error}") from None
        for name in _THRESHOLDS:
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not (isinstance(value, int | float) and value >= 0)):
                raise ValueError(f"{self.task_id}: {name} must be a number of 0 or more, or None, got {value!r}.")
        for name in ("max_failed_ratio", "max_index_share"):
            value = getattr(self, name)
            if value is not None and value > 1:
                raise ValueError(f"{self.task_id}: {name} is a share from 0 to 1, got {value!r}.")

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the job and check it."""
        from airflow_provider_kendra._thresholds import violations

        self.refuse_bad_parameters()
        with _aws_errors_explained(self, "Could not list the sync jobs"):
            job = self._find_job()
        record = job.to_dict()
        self._log_end(job)
        self._show_links(context, job.execution_id)
        self._push_keys(context, record)
        describe_failed = self._read_failed_documents(context, job)
        missing = self._find_missing_documents()
        found = violations(
            job,
            max_documents_failed=self.max_documents_failed,
            max_failed_ratio=self.max_failed_ratio,
            min_documents_scanned=self.min_documents_scanned,
            max_missing_documents=self.max_missing_documents,
            missing=missing,
            max_index_share=self.max_index_share,
            capacity=self._find_capacity(),
        )
        if found:
            if self.do_xcom_push:
                context["ti"].xcom_push(key="return_value", value=record)
            reason = "" if job.has_updated_index else f"{job.end}. "
            message = f"{reason}Thresholds not met: {'; '.join(found)}{job.reason_suffix} {job.ids}."
            room = LONGEST_MESSAGE - len(message)
            failed = describe_failed(room // 2, message)
            details = self._describe_missing(missing, room - len(failed) - 2) if missing else ""
            details = " ".join(filter(None, (details, failed)))
            raise KendraSyncJobMetricsError(insert_details(message, job, details), job=job, violations=found)
        allowed = self._describe_missing(missing, LONGEST_MESSAGE) if missing else ""
        for text in filter(None, (allowed, describe_failed(LONGEST_MESSAGE))):
            self.log.warning("%s", text)
        self._publish_jobs(context, job)
        return record

    def _find_missing_documents(self) -> DocumentFailures | None:
        if self.max_missing_documents is None:
            return None
        return self.hook.get_missing_documents(self.index_id, self.data_source_id, lookback=self.missing_lookback)

    def _describe_missing(self, missing: DocumentFailures, longest: int) -> str:
        is_counted = missing.found > (self.max_missing_documents or 0)  # by the violation
        return missing.describe("Missing" if is_counted else are_missing(missing.found), longest=longest)

    def _find_capacity(self) -> IndexCapacity | None:
        if self.max_index_share is None:
            return None
        with _aws_errors_explained(self, "Could not describe the index", "DescribeIndex"):
            return self.hook.get_index_capacity(self.index_id)

    def _is_update(self, job: SyncJob) -> bool:
        """Without thresholds, jobs that updated nothing pass too."""
        return job.has_updated_index

    def _find_job(self) -> SyncJob:
        from airflow_provider_kendra.sync_job import TERMINAL_STATUSES

        if self.execution_id is None:
            job = self.hook.get_latest_sync_job(self.index_id, self.data_source_id, statuses=TERMINAL_STATUSES)
            if job is None:
                raise KendraSyncJobNotFoundError(
                    "The data source has no finished sync job yet. Wait for one with KendraSyncJobSensor (data source "
                    f"{self.data_source_id}, index {self.index_id})."
                )
            return job
        job = self.hook.get_sync_job(self.index_id, self.data_source_id, self.execution_id)
        if job.is_finished:
            return job
        newest = self.hook.get_latest_sync_job(self.index_id, self.data_source_id)
        if newest is not None and newest.execution_id != job.execution_id:
            raise KendraError(f"The sync will not finish: {job.superseded} {job.ids}.", job=job)
        raise KendraError(
            f"The sync has not finished: {job.progress}. Wait for it with KendraSyncJobSensor {job.ids}.", job=job
        )


_THRESHOLDS = (
    "max_documents_failed",
    "max_failed_ratio",
    "min_documents_scanned",
    "max_missing_documents",
    "max_index_share",
)
_MANY_JOBS = 1000  # each takes about 500 bytes of the XCom


class KendraListSyncJobsOperator(KendraOperator):
    """
    List sync jobs; returns their records, newest first, ready for ``.expand`` and ``.map``.

    Also pushes the XCom ``totals``: the sum of each document count (``documents_added`` and so on), the
    number of ``jobs``, and under ``statuses`` the number of jobs with each status.

    :param data_source_id: The data source (templated).
    :param status: Only jobs with this status (templated).
    :param started_after: Only jobs that started at or after this time: a ``datetime`` or ISO 8601 text, with a
        time zone (templated).
    :param started_before: Only jobs that started at or before this time (templated).
    :param limit: List only this many jobs, the newest. Default None: all, with a warning above 1,000.
    :raises KendraRequestError: if AWS rejects a request. Not retried.
    """

    template_fields: Sequence[str] = (
        "index_id",
        "data_source_id",
        "status",
        "started_after",
        "started_before",
        *KendraOperator.aws_template_fields,
    )
    operator_extra_links = (KendraIndexLink(),)
    ui_color = "#c5e1f5"

    def __init__(
        self,
        *,
        data_source_id: str,
        status: str | None = None,
        started_after: datetime | str | None = None,
        started_before: datetime | str | None = None,
        limit: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_source_id = data_source_id
        self.status = status
        self.started_after = started_after
        self.started_before = started_before
        self.limit = check_count("limit", limit)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """List the jobs and push their totals."""
        from airflow_provider_kendra.sync_job import describe_totals, sum_up

        self.refuse_bad_parameters()
        with _aws_errors_explained(self, "Could not list the sync jobs"):
            jobs = self.hook.list_sync_jobs(
                self.index_id,
                self.data_source_id,
                status=self.status,
                started_after=self.started_after,
                started_before=self.started_before,
                limit=self.limit,
            )
        if self.limit is None and len(jobs) > _MANY_JOBS:
            self.log.warning(
                "%d sync jobs go into one XCom. Pass limit, started_after or started_before if that is too much (data "
                "source %s)",
                len(jobs),
                self.data_source_id,
            )
        totals = sum_up(jobs)
        self.log.info("Listed %s (data source %s).", describe_totals(totals), self.data_source_id)
        self._publish_jobs(context)
        if self.do_xcom_push:
            context["ti"].xcom_push(key="totals", value=totals)
        return [job.to_dict() for job in jobs]
