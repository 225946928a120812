"""Triggers: the deferred waits of operators and sensors, and the watchers for assets."""

from __future__ import annotations

import asyncio
import json
import os
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import airflow.triggers.base
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_kendra import _clock
from airflow_provider_kendra._aws import TakesAwsParameters
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._decisions import AllFresh, Failed, Failure, Outcome
from airflow_provider_kendra._docstrings import Documented
from airflow_provider_kendra._rendering import RenderedParameters
from airflow_provider_kendra._text import plain
from airflow_provider_kendra._validation import (
    check_exactly_one,
    check_identifier,
    check_identifiers,
    check_interval,
    check_measured_by,
    check_seconds,
    check_time,
    check_warn_age,
)
from airflow_provider_kendra._waiting.client import KNOWN_AFTER, Client
from airflow_provider_kendra._waiting.conditions import Fresh, SyncJobCondition, freshness_condition, sync_job_condition
from airflow_provider_kendra._waiting.cursor import Cursor, check_cursor, oldest
from airflow_provider_kendra._waiting.freshness import FreshnessPokes, wait_until_fresh
from airflow_provider_kendra._waiting.index import Index, freshness_index
from airflow_provider_kendra._waiting.poller import NEVER
from airflow_provider_kendra._waiting.sources import DataSource
from airflow_provider_kendra._waiting.state_watcher import Changed, watch_states
from airflow_provider_kendra._waiting.states import Limits, check_states, oldest_states, store_states
from airflow_provider_kendra._waiting.wait import Pokes, SyncJobPokes, wait_for
from airflow_provider_kendra._waiting.watcher import Finished, watch
from airflow_provider_kendra.exceptions import InvalidParameterError, KendraRequestError
from airflow_provider_kendra.outcomes import check_subject, freshness_from_event, outcome_from_event
from airflow_provider_kendra.sync_job import Acceptance
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_4_PLUS

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger

    from airflow_provider_kendra._stopping import Stopped
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
else:  # Airflow 2 has no event triggers; the class still exists there, since an import must never break.
    BaseEventTrigger = getattr(airflow.triggers.base, "BaseEventTrigger", BaseTrigger)


def _make_hook(aws: AwsParameters) -> KendraSyncJobsHook:
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook  # imported lazily: it needs boto3

    return KendraSyncJobsHook._of(aws)


def connect(aws: AwsParameters) -> Client:
    """Create the client that the polls of an event loop share."""
    return Client(aws, _make_hook)


@dataclass(kw_only=True, eq=False, repr=False)
class _KendraTrigger(Documented, TakesAwsParameters, RenderedParameters, BaseTrigger):
    """
    Base class of the triggers: each is rebuilt from its fields.

    :param index_id: The index.
    :param aws_conn_id: The Airflow connection for AWS.
    :param region_name: AWS region.
    :param verify: Whether, or with which CA bundle, to verify TLS certificates.
    :param botocore_config: Configuration for the botocore client.
    """

    index_id: str
    aws_conn_id: str | None = "aws_default"
    region_name: str | None = None
    verify: bool | str | None = None
    botocore_config: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        # Sets the attributes that the triggerer fills in.
        super().__init__()  # type: ignore[no-untyped-call]

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Return the class path and the arguments to rebuild the trigger, in JSON types.

        :raises KendraRequestError: for an argument that is not JSON, since Airflow could not store it.
        """
        kwargs = {name: _as_json(name, getattr(self, name)) for name in self._arguments()}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    @classmethod
    def _arguments(cls) -> list[str]:
        """Return the fields that Airflow stores as arguments, in a fixed order: Airflow hashes those of a watcher."""
        names = [each.name for each in fields(cls) if each.metadata.get("is_argument", True)]
        return sorted(names, key=lambda name: name in cls.aws_template_fields)

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render the templates of a trigger that a task starts from, and keep the originals."""
        self._given = {name: getattr(self, name) for name in self._arguments()}
        super().render_template_fields(context, jinja_env)

    def __repr__(self) -> str:
        """Show the arguments except botocore_config, which can contain passwords."""
        classpath, arguments = self.serialize()
        return f"<{classpath} {_shown(arguments)}>"

    async def write_log(self, line: str, level: str = "info") -> None:
        """
        Write a line without blocking the event loop.

        From Airflow 3, the log goes through a socket to the triggerer's supervisor, which does not read while it sends.
        An event loop that waited for the log at that moment would deadlock.
        """
        log: Any = getattr(self, "log")  # noqa: B009 - Airflow's, which comes later in the bases
        if (write := getattr(log, f"a{level}", None)) is not None:
            await write(line)
        else:  # Airflow 2, whose triggerer puts lines into a queue
            getattr(log, level)(line)


def _shown(arguments: Mapping[str, Any]) -> str:
    config = {"botocore_config": "***"} if arguments.get("botocore_config") else {}
    return ", ".join(f"{name}={value}" for name, value in {**arguments, **config}.items())


def _as_json(name: str, value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:  # names the type, not the value
        raise KendraRequestError(
            f"{name} can't be passed to the triggerer: {error}. Use JSON types: text, numbers, true, false, null, "
            "lists and mappings."
        ) from error


class _WaitTrigger(_KendraTrigger):
    """Waits once and fires with the outcome; also provides the polls of a sensor that waits in a worker."""

    def check(self) -> None:
        """Raise ValueError for invalid or conflicting parameters."""
        self._condition()

    @abstractmethod
    def _condition(self) -> SyncJobCondition:
        """Build the condition from the parameters."""

    @abstractmethod
    def pokes(self, *, log: Callable[[str], object], is_rescheduled: bool) -> Pokes:
        """Check the parameters and return the polls for a wait in a worker."""

    @abstractmethod
    def outcome_of(self, event: Any) -> Outcome | AllFresh:
        """Read the event that this trigger fired; raise ValueError if it is unreadable or about something else."""

    @abstractmethod
    def _wait(self) -> Coroutine[Any, Any, Outcome | AllFresh]:
        """Check the parameters and return the wait."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire."""
        try:
            # 1.0.0 could store "" for boto3's own credential chain, so only values that rendering changed are checked.
            self.check_templates(tuple(self._given), are_literals_checked=False)
            wait = self._wait()
        except ValueError as error:  # only with start_from_trigger; otherwise the worker has checked them
            outcome: Outcome | AllFresh = Failed(Failure.REFUSED, str(error))
        else:
            outcome = await wait
        # The state goes into the event, since dag.test() passes nothing else on to the resumed task.
        state = getattr(self, "state", None)
        yield TriggerEvent({**outcome.to_event(), **({} if state is None else {"state": state})})


@dataclass(kw_only=True, eq=False, repr=False)
class KendraSyncJobTrigger(_WaitTrigger):
    """
    Wait until a sync job has finished, sharing polls with all other waits on its data source.

    Fires once, with an event that :func:`airflow_provider_kendra.outcomes.outcome_from_event` reads. All parameters are
    JSON types.

    :param data_source_id: The data source.
    :param execution_id: The sync job to wait for. Exclusive with ``started_after``.
    :param started_after: Wait for any sync job that started at or after this time, ISO 8601 with a time zone.
    :param target_statuses: Statuses that are accepted.
    :param max_documents_failed: The maximum number of failed documents to accept; if given, INCOMPLETE is accepted too.
    :param not_found_timeout: Seconds until a job that is not listed counts as not found.
    :param poll_interval: Seconds between polls.
    :param timeout: Seconds after which the wait gives up; None for never.
    :param waiting_since: When the wait began, ISO 8601; None for whenever the trigger starts. ``timeout`` and
        ``not_found_timeout`` count from here; if given, a restart of the triggerer does not extend them.
    :param deferral_timeout: Airflow's time-out, in seconds, for a task that starts from this trigger. If
        ``waiting_since`` is None, the wait began this long before the time at which Airflow will end the deferral.
    :param stop_on_kill: Stop the sync job ``execution_id`` when a user acts on the deferred task (Airflow 3.3+).
    :param is_connection_known: The task has used the connection before, so "not defined" is treated as a failed
        look-up.
    :param state: State for the resumed task, a mapping of JSON types; returned in the event under ``state``. Default
        None: the event has no such key.
    """

    data_source_id: str
    execution_id: str | None = None
    started_after: str | None = None
    target_statuses: Sequence[str] = ("SUCCEEDED",)
    max_documents_failed: int | None = None
    not_found_timeout: float = 120
    poll_interval: float = 60
    timeout: float | None = None
    waiting_since: str | None = None
    deferral_timeout: float | None = None
    stop_on_kill: bool = False
    is_connection_known: bool = False
    state: Mapping[str, Any] | None = None

    def pokes(self, *, log: Callable[[str], object], is_rescheduled: bool) -> Pokes:
        """Check the parameters and return the polls for a wait in a worker."""
        since = _since(self.waiting_since)
        return SyncJobPokes(
            self._source(),
            self._condition(),
            since=since,
            deadline=_deadline(since, self.timeout) or NEVER,
            interval=self.poll_interval,
            is_rescheduled=is_rescheduled,
            log=log,
        )

    def outcome_of(self, event: Any) -> Outcome:
        """Read the event that this trigger fired; raise ValueError if it is unreadable or about something else."""
        outcome = outcome_from_event(event)
        check_subject(outcome, self.index_id, [self.data_source_id], self.execution_id)
        return outcome

    def _source(self) -> DataSource:
        return DataSource(
            self.aws_parameters,
            check_identifier("index_id", self.index_id),
            check_identifier("data_source_id", self.data_source_id),
        )

    def _condition(self, origin: datetime | None = None) -> SyncJobCondition:
        """Build the condition; ``origin`` is when the wait began, if that may have been in another process."""
        return sync_job_condition(
            execution_id=self.execution_id,
            started_after=self.started_after,
            target_statuses=self.target_statuses,
            max_documents_failed=self.max_documents_failed,
            not_found_timeout=check_seconds("not_found_timeout", self.not_found_timeout),
            since=_clock.utcnow(),
            origin=origin,
        )

    def _wait(self) -> Coroutine[Any, Any, Outcome]:
        since = self._began
        return wait_for(
            self._source(),
            self._condition(origin=since),
            interval=_interval(self.poll_interval),
            deadline=_deadline(since, self.timeout),
            log=self.write_log,
            connect=connect,
            is_connection_known=self.is_connection_known or _is_resumed(since),
        )

    @property
    def _began(self) -> datetime:
        """When the wait began; without a worker, derived from the time at which Airflow will end the deferral."""
        ends: datetime | None = getattr(self, "timeout_after", None)
        if self.waiting_since is not None or self.deferral_timeout is None or ends is None:
            return _since(self.waiting_since)
        ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
        return min(ends - timedelta(seconds=self.deferral_timeout), _clock.utcnow())

    async def on_kill(self) -> None:
        """
        Stop the sync job after a user has acted on the deferred task.

        Airflow also calls this in a triggerer that stalled until another one took over its triggers. So the state of
        the task decides: while it is deferred, about to resume, or unknown, nothing is stopped.
        """
        if not self.stop_on_kill or self.execution_id is None:
            return
        # Airflow cancels a trigger every second until it has ended, together with whatever is awaited here. So the stop
        # runs as a separate task, which needs a reference.
        stopping = asyncio.create_task(self._stop_if_ended_by_user())
        _stopping.add(stopping)
        stopping.add_done_callback(_stopping.discard)
        await asyncio.shield(stopping)

    async def _stop_if_ended_by_user(self) -> None:
        from asgiref.sync import sync_to_async  # imported lazily to keep DAG parsing fast

        from airflow_provider_kendra.hooks._aws_errors import describe_error

        try:
            # First, since a cleared task may resume while the connection is looked up.
            make_hook = sync_to_async(self._make_stopping_hook, thread_sensitive=False)
            made = await asyncio.gather(make_hook(), return_exceptions=True)
            state = await self._task_state()
            if state not in _ENDED_BY_USER:
                known = f"the task is {state}" if state else "the state of the task is not known"
                await self.write_log(f"Not stopping the sync: {known} (sync job {plain(self.execution_id)}).")
                return
            if isinstance(hook := made[0], BaseException):
                raise hook
            stopped = await sync_to_async(self._stop, thread_sensitive=False)(hook)
        except Exception as error:
            await self.write_log(
                f"Could not stop the sync: {describe_error(error)} (sync job {plain(self.execution_id)})", "warning"
            )
            return
        await self.write_log(f"The task was ended. {stopped.effect} (sync job {plain(self.execution_id)}).")

    async def _task_state(self) -> str | None:
        """The state of the task; None if it cannot be determined."""
        ti: Any = self.task_instance
        try:
            from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
            from asgiref.sync import sync_to_async

            states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
                dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
            )
            state = states[ti.run_id][ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"]
        except Exception as error:
            await self.write_log(f"Could not find out the state of the task: {plain(error)}", "warning")
            return None
        return "cleared" if state is None else str(state)

    def _make_stopping_hook(self) -> KendraSyncJobsHook:
        hook = _make_hook(self.aws_parameters)
        hook._use_short_timeouts()
        return hook

    def _stop(self, hook: KendraSyncJobsHook) -> Stopped:
        # Only a task that knows its data source not to be CUSTOM sets stop_on_kill.
        return hook._stop_sync_job_if_running(
            self.index_id, self.data_source_id, str(self.execution_id), is_custom=False
        )


_stopping: set[asyncio.Task[None]] = set()

# In any other state, the task still waits or is about to resume.
_ENDED_BY_USER = frozenset({"failed", "success", "skipped", "removed", "cleared"})


def _since(waiting_since: str | None) -> datetime:
    return _clock.utcnow() if waiting_since is None else check_time("waiting_since", waiting_since)


def _interval(poll_interval: object) -> float:
    # 1.0.0 accepted 0; such a wait continues with the default.
    return check_seconds("poll_interval", poll_interval) or 60


def _is_resumed(since: datetime) -> bool:
    """Whether a wait is old enough that an earlier triggerer must have found its connection."""
    return (_clock.utcnow() - since).total_seconds() >= KNOWN_AFTER


def _deadline(since: datetime, timeout: float | None) -> datetime | None:
    return None if timeout is None else since + timedelta(seconds=check_seconds("timeout", timeout))


@dataclass(kw_only=True, eq=False, repr=False)
class KendraDataFreshnessTrigger(_WaitTrigger):
    """
    Wait until data sources are fresh, sharing polls with all other waits on them.

    Fires once, with an event that :func:`airflow_provider_kendra.outcomes.freshness_from_event` reads. All parameters
    are JSON types.

    :param data_source_ids: One data source, several, or None for all that are ACTIVE or UPDATING.
    :param max_age: The cutoff, in seconds before each poll. Exclusive with ``fresh_since`` and ``schedule_grace``.
    :param fresh_since: The cutoff, ISO 8601 with a time zone.
    :param schedule_grace: The cutoff is the last run of the data source's own Kendra schedule that was due at least
        this many seconds ago. Schedules are read with DescribeDataSource every 15 minutes.
    :param measured_by: ``"start_time"`` or ``"end_time"``.
    :param accepted_statuses: Statuses that are accepted.
    :param max_documents_failed: The maximum number of failed documents to accept; if given, INCOMPLETE is accepted too.
    :param fail_fast: Fail when the newest job since the cutoff ended unacceptably and none is running.
    :param poll_interval: Seconds between polls.
    :param timeout: Seconds after which the wait gives up; None for never.
    :param waiting_since: When the wait began, ISO 8601; None for whenever the trigger starts. ``timeout`` counts
        from here; if given, a restart of the triggerer does not extend it.
    """

    data_source_ids: str | Sequence[str] | None = None
    max_age: float | None = None
    fresh_since: str | None = None
    schedule_grace: float | None = None
    measured_by: str = "start_time"
    accepted_statuses: Sequence[str] = ("SUCCEEDED",)
    max_documents_failed: int | None = None
    fail_fast: bool = False
    poll_interval: float = 60
    timeout: float | None = None
    waiting_since: str | None = None

    def pokes(self, *, log: Callable[[str], object], is_rescheduled: bool) -> Pokes:
        """Check the parameters and return the polls for a wait in a worker."""
        since = _since(self.waiting_since)
        return FreshnessPokes(
            self._index(),
            self._condition(),
            since=since,
            deadline=_deadline(since, self.timeout) or NEVER,
            log=log,
        )

    def outcome_of(self, event: Any) -> Outcome | AllFresh:
        """Read the event that this trigger fired; raise ValueError if it is unreadable or about something else."""
        outcome, ids = freshness_from_event(event), self.data_source_ids
        check_subject(outcome, self.index_id, ids if ids is None else check_identifiers("data_source_ids", ids))
        return outcome

    def _index(self) -> Index:
        return freshness_index(self.aws_parameters, self.index_id, self.data_source_ids)

    def _condition(self) -> Fresh:
        return freshness_condition(
            max_age=self.max_age,
            fresh_since=self.fresh_since,
            schedule_grace=self.schedule_grace,
            measured_by=self.measured_by,
            accepted_statuses=self.accepted_statuses,
            max_documents_failed=self.max_documents_failed,
            fail_fast=self.fail_fast,
        )

    def _wait(self) -> Coroutine[Any, Any, AllFresh | Failed]:
        since = _since(self.waiting_since)
        return wait_until_fresh(
            self._index(),
            self._condition(),
            interval=_interval(self.poll_interval),
            deadline=_deadline(since, self.timeout),
            log=self.write_log,
            connect=connect,
            is_connection_known=_is_resumed(since),
        )


@dataclass(kw_only=True, eq=False, repr=False)
class _EventTrigger(_KendraTrigger, BaseEventTrigger):
    """Base class of the event triggers: each watcher has a stream with a cursor, which Airflow stores (3.3+)."""

    _has_stream = False
    _stream_name = ""
    _payload_name = ""

    def __post_init__(self) -> None:
        queue: str | None = getattr(self, "queue", None)
        super().__post_init__()  # which resets the queue
        self.queue = queue
        if queue is not None and not AIRFLOW_V_3_4_PLUS:
            raise InvalidParameterError(f"queue is {queue!r}, but only Airflow 3.4 and newer give triggers a queue")
        self.index_id = check_identifier("index_id", self.index_id)
        self._check_parameters()
        _ = self.aws_parameters  # raises for invalid AWS parameters

    @abstractmethod
    def _check_parameters(self) -> None:
        """Check the parameters other than those of AWS, and bring them into their stored form."""

    @property
    @abstractmethod
    def _watched(self) -> dict[str, Any]:
        """What is watched, which identifies the stored cursor."""

    @property
    @abstractmethod
    def place(self) -> str:
        """The ids of what is watched, for messages."""

    @abstractmethod
    def watch(self, cursor: Cursor | None) -> AsyncIterator[Any]:
        """Watch from a cursor on."""

    @staticmethod
    @abstractmethod
    def records(found: Any) -> list[dict[str, Any]]:
        """Return what an event reports, oldest first."""

    @staticmethod
    @abstractmethod
    def check_cursor(value: object) -> Cursor:
        """Validate a stored cursor and return it; raise ValueError if it is invalid."""

    @staticmethod
    @abstractmethod
    def oldest(cursors: Iterable[Cursor]) -> Cursor | None:
        """Return the cursor that is furthest behind, so that nothing is missed; None if there is none."""

    @property
    def stream_key(self) -> str:
        """The key of the stored cursor; watchers of 1.0.0 have stored theirs under it."""
        return f"{self._stream_name}:{json.dumps(self._watched, sort_keys=True)}"

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments to rebuild the trigger."""
        classpath, arguments = super().serialize()
        return classpath, _OwnArguments(arguments, self) if self._has_stream else arguments

    def shared_stream_key(self) -> Hashable | None:
        """
        Give each watcher its own stream, which reports when an event has been persisted (3.3+).

        Watchers with equal arguments belong to different assets, each with its own cursor. Airflow logs the key, so it
        contains no configuration.
        """
        if not hasattr(super(), "create_shared_stream_producer"):
            return None
        self._has_stream = True
        own = id(self) if self.trigger_id is None else self.trigger_id
        return (self._stream_name, self.index_id, str(self._watched.get("data_source_id", "")), own)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """
        Create the producer for a watcher's stream.

        :param kwargs: The result of the running watcher's ``serialize``.
        """
        from airflow_provider_kendra.triggers._event_stream import EventProducer

        if not isinstance(kwargs, _OwnArguments):
            raise TypeError("Airflow did not pass the arguments that serialize() of the running watcher returned.")
        return EventProducer(kwargs.trigger)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Fire an event for each batch of records in the stream."""
        async for records in shared_stream:
            if records:
                yield TriggerEvent({self._payload_name: records})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch and fire, on Airflow versions that do not report when an event has been persisted."""
        async for found in self.watch(None):
            if records := self.records(found):
                yield TriggerEvent({self._payload_name: records})


@dataclass(kw_only=True, eq=False, repr=False)
class KendraSyncJobEventTrigger(_EventTrigger):
    """
    Watch for sync jobs that finish, no matter who started them: for an ``AssetWatcher`` (Airflow 3.0+).

    Fires with the payload ``{"sync_jobs": [records, oldest first]}`` when one or more jobs have reached one of the
    statuses since the last event. Each poll fires at most one event, since Airflow merges asset events that arrive
    together into one DAG run. An event has at most 100 records; the rest follows with the next polls.

    From Airflow 3.3, no job is missed while no triggerer runs: Airflow stores a cursor for each watched asset, which
    moves only after an event has been persisted. An event can be repeated, but none is lost; the ``execution_id``
    identifies repeated records. Without a readable cursor, only jobs that finish from then on are reported.

    :param data_source_id: The data source.
    :param statuses: The statuses to report: any of SUCCEEDED (default), INCOMPLETE, FAILED and ABORTED.
    :param poll_interval: Seconds, or a ``timedelta``, between polls; more than 0. Default 60 seconds. All watchers and
        waits of a triggerer on one data source share polls; the shortest interval applies.
    :param queue: The trigger queue (Airflow 3.4+). Default None: any triggerer runs it.
    :raises InvalidParameterError: for a ``queue`` before Airflow 3.4.
    :raises ValueError: for any other invalid value.
    """

    _stream_name = "kendra_sync_jobs"
    _payload_name = "sync_jobs"

    data_source_id: str
    statuses: Sequence[str] = ("SUCCEEDED",)
    poll_interval: float | timedelta = 60
    # Airflow stores it next to the arguments, not among them.
    queue: str | None = field(default=None, metadata={"is_argument": False})

    def _check_parameters(self) -> None:
        self.data_source_id = check_identifier("data_source_id", self.data_source_id)
        self.statuses = sorted(Acceptance.of(self.statuses).statuses)
        self.poll_interval = check_interval("poll_interval", self.poll_interval)

    @property
    def _watched(self) -> dict[str, Any]:
        return {"index_id": self.index_id, "data_source_id": self.data_source_id, "statuses": self.statuses}

    @property
    def place(self) -> str:
        """The ids of what is watched, for messages."""
        return f"data source {self.data_source_id}, index {self.index_id}"

    def watch(self, cursor: Cursor | None) -> AsyncIterator[Finished]:
        """Watch from a cursor on."""
        source = DataSource(self.aws_parameters, self.index_id, self.data_source_id)
        return watch(
            source,
            cursor,
            statuses=self.statuses,
            interval=check_interval("poll_interval", self.poll_interval),
            log=self.write_log,
            connect=connect,
        )

    check_cursor = staticmethod(check_cursor)
    oldest = staticmethod(oldest)

    @staticmethod
    def records(found: Finished) -> list[dict[str, Any]]:
        """Return the records, oldest first."""
        return [job.to_dict() for job in found.jobs]


@dataclass(kw_only=True, eq=False, repr=False)
class KendraDataFreshnessEventTrigger(_EventTrigger):
    """
    Watch how fresh data sources are, no matter who syncs them: for an ``AssetWatcher`` (Airflow 3.0+).

    Fires with the payload ``{"changes": [{"data_source_id", "state", "previous", "at", "record"}]}``, in order, when a
    data source has become ``fresh``, ``aging``, ``stale`` or ``unknown``. ``previous`` is None at the first report,
    ``at`` the time of the change (ISO 8601), ``record`` the newest acceptable sync job or None. A data source is
    ``unknown`` when it can't be read for three intervals. A data source becomes aging or stale at the exact time, not
    at the next poll, without calls beyond the shared polls. A sync that ended after the last poll is not known yet.

    At the first start, what is not fresh is reported once. From Airflow 3.3, no change is missed while no triggerer
    runs: Airflow stores the states for each watched asset, after an event has been persisted. An event can be repeated,
    but none is lost; data source, state and ``at`` identify a repeated change. ``at`` is the time at which the watcher
    noticed the change, if it can't be derived from the syncs: for ``unknown``, usually for the state that follows it,
    for ``stale`` without an acceptable sync, and if the schedule has changed or the newest sync is no longer listed. A
    repetition of such a change has another ``at``, but the same ``state`` and ``previous``.

    :param data_source_ids: One data source, several, or None (default) for all that are ACTIVE or UPDATING, listed
        again at each poll.
    :param max_age: A data source is stale once its newest acceptable sync is older than this: a ``timedelta``, or
        seconds. Exclusive with ``schedule_grace``.
    :param schedule_grace: A data source is stale this long after a run of its own Kendra schedule, unless an acceptable
        sync has started (or, by ``measured_by``, ended) since that run: a ``timedelta``, or seconds. Schedules are read
        with DescribeDataSource every 15 minutes. A data source without a schedule, or with an untranslatable one, is
        ``unknown``.
    :param warn_age: A data source that is older than this, but not stale yet, is aging: a ``timedelta``, or seconds,
        less than ``max_age``. Default None: never.
    :param measured_by: ``"start_time"`` (default) or ``"end_time"``: which time of a sync counts.
    :param accepted_statuses: The accepted statuses: any of SUCCEEDED (default), INCOMPLETE, FAILED and ABORTED.
    :param max_documents_failed: Accept INCOMPLETE too, with up to this many failed documents.
    :param poll_interval: Seconds, or a ``timedelta``, between polls; more than 0. Default 60 seconds.
    :param queue: The trigger queue (Airflow 3.4+). Default None: any triggerer runs it.
    :raises InvalidParameterError: for a ``queue`` before Airflow 3.4.
    :raises ValueError: for any other invalid value.
    """

    _stream_name = "kendra_data_freshness"
    _payload_name = "changes"

    data_source_ids: str | Sequence[str] | None = None
    max_age: float | timedelta | None = None
    schedule_grace: float | timedelta | None = None
    warn_age: float | timedelta | None = None
    measured_by: str = "start_time"
    accepted_statuses: Sequence[str] = ("SUCCEEDED",)
    max_documents_failed: int | None = None
    poll_interval: float | timedelta = 60
    queue: str | None = field(default=None, metadata={"is_argument": False})

    def _check_parameters(self) -> None:
        if self.data_source_ids is not None:
            self.data_source_ids = list(check_identifiers("data_source_ids", self.data_source_ids))
        check_exactly_one({"max_age": self.max_age, "schedule_grace": self.schedule_grace})
        for name in ("max_age", "schedule_grace", "warn_age"):
            if (value := getattr(self, name)) is not None:
                setattr(self, name, check_seconds(name, value, is_zero_allowed=name == "schedule_grace"))
        self.accepted_statuses = sorted(Acceptance.of(self.accepted_statuses).statuses)
        self.poll_interval = check_interval("poll_interval", self.poll_interval)
        _ = self._limits

    @property
    def _limits(self) -> Limits:
        return Limits(
            Acceptance.of(self.accepted_statuses, self.max_documents_failed),
            measured_by=check_measured_by(self.measured_by),
            max_age=_as_timedelta(self.max_age),
            warn_age=check_warn_age(_as_timedelta(self.warn_age), _as_timedelta(self.max_age)),
            grace=_as_timedelta(self.schedule_grace),
        )

    @property
    def _watched(self) -> dict[str, Any]:
        ids = None if self.data_source_ids is None else sorted(self.data_source_ids)
        durations = {name: getattr(self, name) for name in ("max_age", "schedule_grace", "warn_age")}
        others = ("measured_by", "accepted_statuses", "max_documents_failed")
        return {
            "index_id": self.index_id,
            "data_source_ids": ids,
            **{name: None if seconds is None else float(seconds) for name, seconds in durations.items()},
            **{name: getattr(self, name) for name in others},
        }

    @property
    def stream_key(self) -> str:
        """The key of the stored states: a hash, since Airflow's column holds 512 characters, too few for many ids."""
        watched = json.dumps(self._watched, sort_keys=True)
        return f"{self._stream_name}:{sha256(watched.encode()).hexdigest()}"

    @property
    def place(self) -> str:
        """The ids of what is watched, for messages."""
        return f"index {self.index_id}"

    def watch(self, cursor: Cursor | None) -> AsyncIterator[Changed]:
        """Watch from stored states on."""
        return watch_states(
            freshness_index(self.aws_parameters, self.index_id, self.data_source_ids),
            self._limits,
            check_states(cursor) if cursor else {},
            interval=check_interval("poll_interval", self.poll_interval),
            log=self.write_log,
            connect=connect,
        )

    oldest = staticmethod(oldest_states)

    @staticmethod
    def check_cursor(value: object) -> Cursor:
        """Validate stored states and return them; raise ValueError if they are invalid."""
        return store_states(check_states(value))

    @staticmethod
    def records(found: Changed) -> list[dict[str, Any]]:
        """Return the changes, in order."""
        return [change.to_dict() for change in found.changes]


def _as_timedelta(value: float | timedelta | None) -> timedelta | None:
    return timedelta(seconds=value) if isinstance(value, int | float) else value


class _OwnArguments(dict[str, Any]):
    """The arguments of a running watcher, with a reference to it: Airflow creates the producer from arguments alone."""

    def __init__(self, arguments: Mapping[str, Any], trigger: _EventTrigger) -> None:
        super().__init__(arguments)
        self.trigger = trigger

    def __repr__(self) -> str:
        return f"<{_shown(self)}>"
