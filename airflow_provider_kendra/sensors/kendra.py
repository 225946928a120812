"""Sensors that wait for sync jobs, with the same outcome in every mode."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    XComArg,
    conf,
)

from airflow_provider_kendra import _clock
from airflow_provider_kendra._failed_documents import ListsFailedDocuments
from airflow_provider_kendra._parameters import NOT_FOUND_TIMEOUT, WHY_ONE_IS_REQUIRED
from airflow_provider_kendra._tasks import DEFERRAL_MARGIN, KendraOperator
from airflow_provider_kendra._text import plain
from airflow_provider_kendra._validation import (
    MeasuredBy,
    check_exactly_one,
    check_interval,
    check_max_age,
    check_seconds,
)
from airflow_provider_kendra.exceptions import (
    KendraRequestError,
    KendraStateError,
    KendraSyncJobNotFoundError,
    KendraSyncJobRejectedError,
)
from airflow_provider_kendra.links.kendra import KendraIndexLink
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING or AIRFLOW_V_3_0_PLUS:
    from airflow.sdk.definitions.mappedoperator import OperatorPartial
else:
    from airflow.models.mappedoperator import OperatorPartial

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_kendra._waiting.wait import Pokes
    from airflow_provider_kendra.outcomes import AllFresh, Failed, Outcome
    from airflow_provider_kendra.triggers.kendra import (
        KendraDataFreshnessTrigger,
        KendraSyncJobTrigger,
        _WaitTrigger,
    )

# Imports that only a running task needs are inside functions, to keep DAG parsing fast.

_TRIGGER = "airflow_provider_kendra.triggers.kendra.KendraSyncJobTrigger"


class _KendraSensor(KendraOperator, BaseSensorOperator):
    """
    Base class of the sensors: all modes share conditions and outcomes.

    :param deferrable: Wait in the triggerer, without a worker slot. Default: ``[operators] default_deferrable``.
    :param poke_interval: Seconds, or a ``timedelta``, between polls; more than 0. Default 60 seconds. All waits of a
        triggerer on one data source share polls; the shortest interval applies.
    """

    _since: datetime | None = None
    _poke_outcome: Outcome | AllFresh | None = None
    _pokes: Pokes | None = None

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        # BaseSensorOperator accepts other values too.
        check_interval("poke_interval", self.poke_interval)
        check_seconds("timeout", self.timeout)

    def execute(self, context: Context) -> Any:
        """Wait in the worker or in the triggerer."""
        began = _clock.utcnow()
        self._since = self._waiting_since(context)
        try:
            trigger = self._checked_trigger()
        except ValueError as error:
            self._refuse(error)
        if self.deferrable:
            self._show_links(context, self._execution_id)
            self.defer(
                trigger=trigger,
                method_name="execute_complete",
                timeout=timedelta(seconds=self.timeout) + DEFERRAL_MARGIN,
            )
        if self._is_later_poke(began):
            self.hook._expect_connection()  # else the first poke would have failed
        try:
            return super().execute(context)
        except (AirflowSensorTimeout, AirflowSkipException) as error:
            if isinstance(error.__cause__, AirflowTaskTimeout):  # raised during a request: fail as between two
                raise error.__cause__ from None
            if error.__cause__ is not None:  # raised by _end during a poke
                raise
            return self._end(self._poke_outcome or self._polls.timed_out())

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Poll once."""
        outcome = self._polls.poll(self.hook)
        if outcome is None:
            self._show_links(context, self._execution_id)
            return False
        self._poke_outcome = outcome = self._publish_outcome(context, outcome)
        return PokeReturnValue(is_done=True, xcom_value=self._end(outcome))

    def _check_exactly_one(self, *names: str, hint: str = "") -> None:
        """Check that exactly one of several parameters is given; raise ValueError with the task's id."""
        try:
            check_exactly_one({name: getattr(self, name) for name in names}, hint)
        except ValueError as error:
            raise ValueError(f"{self.task_id}: {error}") from None

    @abstractmethod
    def _make_trigger(self, *, waiting_since: str) -> _WaitTrigger:
        """Create the trigger; a wait in a worker uses its ``pokes``."""

    def _checked_trigger(self) -> _WaitTrigger:
        """Create the trigger, before any call or connection look-up; raise ValueError for invalid parameters."""
        self.check_rendered()
        trigger = self._make_trigger(waiting_since=(self._since or _clock.utcnow()).isoformat())
        trigger.check()
        return trigger

    def _refuse(self, error: ValueError) -> NoReturn:
        self._raise(KendraRequestError(f"{self.task_id}: {error}"))

    @property
    def _polls(self) -> Pokes:
        """The polls in a worker, which keep what earlier pokes found."""
        if self._pokes is None:
            trigger = self._make_trigger(waiting_since=(self._since or _clock.utcnow()).isoformat())
            self._pokes = trigger.pokes(log=self.log.info, is_rescheduled=self.reschedule)
        return self._pokes

    @property
    def _execution_id(self) -> str | None:
        """The sync job that is waited for, if it is a single one and known."""
        given: str | None = getattr(self, "execution_id", None)
        return given or (self._pokes.execution_id if self._pokes else None)

    def _get_next_poke_interval(self, started_at: Any, run_duration: Callable[[], float], poke_count: int) -> float:
        """Shorten the last interval to poke at the deadline, as the trigger does."""
        remaining = self.timeout - run_duration()
        if remaining <= 0:
            raise AirflowSensorTimeout(f"{self.task_id}: timed out.")  # replaced in execute
        interval: float = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        return min(interval, remaining)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Handle the trigger's event."""
        try:
            trigger = self._checked_trigger()
        except ValueError as error:
            self._refuse(error)
        try:
            outcome = trigger.outcome_of(event)
        except ValueError as error:
            reason = f"The event that resumed this task can't be used: {error}. The next try starts a new wait."
            self._raise(KendraStateError(f"{reason} ({self.task_id}, index {self.index_id})"))
        return self._end(self._publish_outcome(context, outcome))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral; the base class differs between Airflow versions."""
        self._is_resumed = not self.start_from_trigger  # else no process of the task ran before
        try:
            return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
        except AirflowException as error:
            if next_method == "execute_complete":
                raise
            if "timeout" in str(error).lower():
                if self._is_ended_by_execution_timeout:
                    raise AirflowTaskTimeout(
                        f"execution_timeout ({self.execution_timeout}) has passed while {self.task_id} was deferred. "
                        f"It is below timeout ({timedelta(seconds=self.timeout)}): raise or remove it."
                    ) from error
                self._raise(AirflowSensorTimeout(f"{self.task_id}: the trigger fired no event in time."))
            if self.never_fail:
                raise AirflowSkipException(f"Skipped by never_fail: {error}") from error
            raise

    @property
    def _is_ended_by_execution_timeout(self) -> bool:
        """Whether Airflow ends a deferral of this task by its ``execution_timeout`` rather than by its ``timeout``."""
        is_enforced = self.start_from_trigger or not AIRFLOW_V_3_0_PLUS
        limit: timedelta | None = self.execution_timeout if is_enforced else None
        return limit is not None and limit.total_seconds() < self.timeout

    def _end(self, outcome: Outcome | AllFresh) -> dict[str, Any]:
        """Turn an outcome into the task's result or exception, in all modes."""
        from airflow_provider_kendra.outcomes import AllFresh, Satisfied

        if isinstance(outcome, Satisfied):
            self._log_end(outcome.job, getattr(self, "max_documents_failed", None))
            return outcome.job.to_dict()
        if isinstance(outcome, AllFresh):
            self.log.info("Fresh: %s.", plain(", ".join(outcome.jobs)))
            return {data_source_id: job.to_dict() for data_source_id, job in outcome.jobs.items()}
        self._raise(_error_of(outcome))

    def _raise(self, error: Exception) -> NoReturn:
        """Raise the error, or skip if ``soft_fail`` or ``never_fail`` is set."""
        for parameter in ("soft_fail", "never_fail"):
            if getattr(self, parameter):
                raise AirflowSkipException(f"Skipped by {parameter}: {error}") from error
        raise error

    def _waiting_since(self, context: Context) -> datetime:
        """When this wait began; in reschedule mode, before the first reschedule."""
        started: datetime | None = None
        if self.reschedule and not self.deferrable:
            ti: Any = context["ti"]
            # Airflow 2 keeps the start of the first poke as the task's start_date.
            started = ti.get_first_reschedule_date(context) if AIRFLOW_V_3_0_PLUS else ti.start_date
        return started or _clock.utcnow()

    def _is_later_poke(self, began: datetime) -> bool:
        """Whether an earlier process of this wait has poked, in reschedule mode."""
        elapsed = (began - (self._since or began)).total_seconds()
        # Airflow 2 only has the start of the task, which is a little before that of the first poke.
        return elapsed > 0 and (AIRFLOW_V_3_0_PLUS or elapsed >= self.poke_interval)


class KendraSyncJobSensor(ListsFailedDocuments, _KendraSensor):
    """
    Wait until a sync job has finished; returns its record.

    Exactly one of ``execution_id`` and ``started_after`` must be given. Three keys of the record are also separate
    XComs: ``execution_id``, ``status`` and ``documents_failed``. A later task can take
    ``wait.output["execution_id"]``.

    :param execution_id: The sync job to wait for (templated). Passes when it ended acceptably; fails at once
        when it did not.
    :param started_after: Wait for any sync job that started at or after this time, no matter who started it: a
        ``datetime`` or ISO 8601 text, with a time zone (templated). Passes on the newest acceptable one; fails when at
        least one has ended, none of them acceptably, and none is running.
    :param target_statuses: The accepted statuses: any of SUCCEEDED (default), INCOMPLETE, FAILED and ABORTED.
    :param max_documents_failed: Accept INCOMPLETE too, with up to this many failed documents.
        Default None: only ``target_statuses`` count.
    :param not_found_timeout: Seconds, or a ``timedelta``, for which the job must be missing from every response before
        the wait fails. Default 120 seconds. Reschedule mode keeps no state between pokes, so a poke after this time
        polls for as long again before it fails.
    :param start_from_trigger: Start in the triggerer, without a worker (Airflow 3.3+; before, the task is deferred as
        usual). Not for mapped tasks.
    :raises KendraSyncJobRejectedError: if the job ended, but not acceptably.
    :raises KendraSyncJobNotFoundError: if there is no such job.
    :raises KendraRequestError: if AWS rejects the request.
    :raises AirflowSensorTimeout: after ``timeout``. None of these is retried. With ``soft_fail`` or
        ``never_fail`` each skips the task instead.

    The other parameters are those of ``BaseSensorOperator``. ``silent_fail`` has no effect, since transient
    errors never end the wait.
    """

    template_fields: Sequence[str] = (
        "index_id",
        "data_source_id",
        "execution_id",
        "started_after",
        *KendraOperator.aws_template_fields,
    )
    ui_color = "#c5e1f5"

    def __init__(
        self,
        *,
        execution_id: str | None = None,
        started_after: datetime | str | None = None,
        target_statuses: Sequence[str] = ("SUCCEEDED",),
        max_documents_failed: int | None = None,
        not_found_timeout: float | timedelta = NOT_FOUND_TIMEOUT,
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.execution_id = execution_id
        self.started_after = started_after
        self.target_statuses = target_statuses
        self.max_documents_failed = max_documents_failed
        self.not_found_timeout = check_seconds("not_found_timeout", not_found_timeout)
        self.deferrable = self.deferrable or start_from_trigger
        self._check_exactly_one("execution_id", "started_after", hint=WHY_ONE_IS_REQUIRED)
        if start_from_trigger:
            self._start_from_trigger()

    def _start_from_trigger(self) -> None:
        if getattr(self, "_BaseOperator__from_mapped", False):  # at run time; a retry would fail too
            raise AirflowFailException(f"{self.task_id}: {_NOT_MAPPED}")
        if _is_in_mapped_task_group(self):
            raise ValueError(f"{self.task_id}: {_NOT_MAPPED}")
        try:
            # Checks values that are not templates: the trigger calls AWS before a worker does. Ids are checked by the
            # trigger.
            self.check_templates(self.aws_template_fields)
        except ValueError as error:
            raise ValueError(f"{self.task_id}: {error}") from error
        if AIRFLOW_V_3_3_PLUS:
            from airflow.triggers.base import StartTriggerArgs

            timeout = timedelta(seconds=self.timeout) + DEFERRAL_MARGIN
            # The limit that Airflow derives from both when it starts the trigger.
            allowed = min(timeout, self.execution_timeout or timeout)
            aws = {name: getattr(self, name) for name in self.aws_template_fields}
            if isinstance(self.verify, os.PathLike):
                aws["verify"] = os.fspath(self.verify)
            kwargs = {**self._trigger_kwargs(), **aws, "deferral_timeout": allowed.total_seconds()}
            self.start_from_trigger = True
            self.start_trigger_args = StartTriggerArgs(
                trigger_cls=_TRIGGER,
                next_method="execute_complete",
                trigger_kwargs={key: self._as_template(key, value) for key, value in kwargs.items()},
                timeout=timeout,
            )

    def _as_template(self, name: str, value: Any) -> Any:
        """Replace the output of another task by a template, which the arguments of a trigger can contain."""
        if isinstance(value, XComArg):
            task, key = getattr(value, "operator", None), getattr(value, "key", None)
            if task is None or key is None or task.is_mapped:
                raise ValueError(
                    f"{self.task_id}: start_from_trigger cannot take {value!r} as {name}, only the output of one task "
                    "that is not mapped. Use deferrable=True."
                )
            return f"{{{{ ti.xcom_pull(task_ids={task.task_id!r}, key={key!r}, map_indexes=-1) }}}}"
        if isinstance(value, str) and "xcom_pull(" in value and "map_indexes" not in value:
            raise ValueError(
                f"{self.task_id}: with start_from_trigger, {name}={value!r} would wait forever, since Airflow's "
                "triggerer can pull the XCom of one map index only. Add map_indexes=-1 to xcom_pull, pass the other "
                "task's output itself, or use deferrable=True."
            )
        return value

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Prepare a mapped task; it cannot start from the trigger."""
        made = super().partial(**kwargs)
        made._expand_called = True  # it is replaced, so Airflow must not warn about it
        partial = _SensorPartial(operator_class=cls, kwargs=made.kwargs, params=made.params)
        default_args: dict[str, Any] = {}
        for owner in (made.kwargs["dag"], made.kwargs["task_group"]):  # Airflow reads these only when the task runs
            default_args |= getattr(owner, "default_args", None) or {}
        default_args |= kwargs.get("default_args") or {}
        partial.starts_from_trigger = kwargs.get("start_from_trigger", default_args.get("start_from_trigger", False))
        if kwargs.get("start_from_trigger"):
            partial.refuse()
        return partial

    @property
    def _was_job_known(self) -> bool:
        return self.execution_id is not None

    def _make_trigger(self, *, waiting_since: str) -> KendraSyncJobTrigger:
        from airflow_provider_kendra.triggers.kendra import KendraSyncJobTrigger

        return KendraSyncJobTrigger(**self._trigger_kwargs(), **self.aws_kwargs, waiting_since=waiting_since)

    def _trigger_kwargs(self) -> dict[str, Any]:
        started_after = self.started_after
        return {
            "index_id": self.index_id,
            "data_source_id": self.data_source_id,
            "execution_id": self.execution_id,
            "started_after": started_after.isoformat() if isinstance(started_after, datetime) else started_after,
            "target_statuses": _listed(self.target_statuses),
            "max_documents_failed": self.max_documents_failed,
            "not_found_timeout": self.not_found_timeout,
            "poll_interval": self.poke_interval,
            "timeout": self.timeout,
        }


class KendraDataFreshnessSensor(_KendraSensor):
    """
    Wait until data sources of an index are fresh; returns ``{data_source_id: record}``.

    A data source is fresh when it has an acceptable sync job that started (or ended) at or after the cutoff, no
    matter who started it. Exactly one of ``max_age``, ``fresh_since`` and ``schedule_grace`` must be given.

    :param data_source_ids: One data source, several, or None (default) for all that are ACTIVE or UPDATING, listed
        again at each poll (templated). All must be fresh at once. While only CREATING ones exist, the sensor waits.
    :param max_age: The cutoff as an age, which moves with the clock: a ``timedelta``, or seconds.
    :param fresh_since: The cutoff as a time: a ``datetime`` or ISO 8601 text, with a time zone (templated).
    :param schedule_grace: The cutoff is the last run of each data source's own schedule in Kendra that is at least
        this long ago: a ``timedelta``, or seconds. Allow for the time that a sync takes. Schedules are read with
        DescribeDataSource, and kept for 15 minutes; in reschedule mode, each poke reads them.
    :param measured_by: ``"start_time"`` (default) or ``"end_time"``. A sync that began before the data arrived may
        not include it, whenever it ended.
    :param accepted_statuses: The accepted statuses: any of SUCCEEDED (default), INCOMPLETE, FAILED and ABORTED.
    :param max_documents_failed: Accept INCOMPLETE too, with up to this many failed documents.
        Default None: only ``accepted_statuses`` count.
    :param fail_fast: Fail as soon as the newest sync job since the cutoff ended unacceptably and none is running.
        Default False: wait for the next one.
    :raises KendraSyncJobRejectedError: with ``fail_fast``.
    :raises KendraRequestError: if AWS rejects the request, or there is no data source that could be fresh; with
        ``schedule_grace`` also if a data source has no schedule, or one that can't be translated.
    :raises AirflowSensorTimeout: after ``timeout``. None of these is retried. With ``soft_fail`` or
        ``never_fail`` each skips the task instead.

    The other parameters are those of ``BaseSensorOperator``. ``silent_fail`` has no effect, since transient
    errors never end the wait.
    """

    template_fields: Sequence[str] = (
        "index_id",
        "data_source_ids",
        "fresh_since",
        *KendraOperator.aws_template_fields,
    )
    operator_extra_links = (KendraIndexLink(),)
    ui_color = "#c5e1f5"

    def __init__(
        self,
        *,
        data_source_ids: str | Sequence[str] | None = None,
        max_age: timedelta | float | None = None,
        fresh_since: datetime | str | None = None,
        schedule_grace: timedelta | float | None = None,
        measured_by: MeasuredBy = "start_time",
        accepted_statuses: Sequence[str] = ("SUCCEEDED",),
        max_documents_failed: int | None = None,
        fail_fast: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_source_ids = data_source_ids
        self.max_age = max_age
        self.fresh_since = fresh_since
        self.schedule_grace = schedule_grace
        self.measured_by = measured_by
        self.accepted_statuses = accepted_statuses
        self.max_documents_failed = max_documents_failed
        self.fail_fast = fail_fast
        if max_age is not None:
            check_max_age(max_age)
        if schedule_grace is not None:
            check_seconds("schedule_grace", schedule_grace)
        self._check_exactly_one("max_age", "fresh_since", "schedule_grace")

    def _make_trigger(self, *, waiting_since: str) -> KendraDataFreshnessTrigger:
        from airflow_provider_kendra.triggers.kendra import KendraDataFreshnessTrigger

        fresh_since = self.fresh_since
        return KendraDataFreshnessTrigger(
            index_id=self.index_id,
            data_source_ids=_listed(self.data_source_ids),
            max_age=_in_seconds(self.max_age),
            fresh_since=fresh_since.isoformat() if isinstance(fresh_since, datetime) else fresh_since,
            schedule_grace=_in_seconds(self.schedule_grace),
            measured_by=self.measured_by,
            accepted_statuses=_listed(self.accepted_statuses),
            max_documents_failed=self.max_documents_failed,
            fail_fast=self.fail_fast,
            poll_interval=self.poke_interval,
            timeout=self.timeout,
            waiting_since=waiting_since,
            **self.aws_kwargs,
        )


def _in_seconds(duration: timedelta | float | None) -> float | None:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _error_of(outcome: Failed) -> Exception:
    from airflow_provider_kendra.outcomes import Failure

    match outcome.failure:
        case Failure.NOT_ACCEPTABLE:
            return KendraSyncJobRejectedError(outcome.message, job=outcome.job)
        case Failure.NOT_FOUND:
            return KendraSyncJobNotFoundError(outcome.message)
        case Failure.REFUSED:
            return KendraRequestError(outcome.message)
        case Failure.TIMED_OUT:
            return AirflowSensorTimeout(outcome.message)


_NOT_MAPPED = (
    "start_from_trigger does not work for mapped tasks, since Airflow starts their triggers with the arguments of "
    "the unmapped task. Use deferrable=True."
)


class _SensorPartial(OperatorPartial):
    """A sensor's ``partial()``, which rejects ``start_from_trigger`` where it is known when the DAG is parsed."""

    starts_from_trigger: bool

    def expand(self, **mapped_kwargs: Any) -> Any:
        """Map over these arguments."""
        values = mapped_kwargs.get("start_from_trigger", [self.starts_from_trigger])
        if isinstance(values, list | tuple):
            self._check(values)
        return super().expand(**mapped_kwargs)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> Any:
        """Map over these mappings of arguments."""
        each = [{}] if isinstance(kwargs, XComArg) else [one for one in kwargs if isinstance(one, Mapping)]
        self._check([one.get("start_from_trigger", self.starts_from_trigger) for one in each])
        return super().expand_kwargs(kwargs, strict=strict)

    def _check(self, values: Sequence[Any]) -> None:
        if any(value and not isinstance(value, XComArg) for value in values):
            self.refuse()

    def refuse(self) -> NoReturn:
        """Fail the parsing of the DAG."""
        self._expand_called = True
        raise ValueError(f"{self.kwargs['task_id']}: {_NOT_MAPPED}")


def _is_in_mapped_task_group(operator: BaseSensorOperator) -> bool:
    return next(iter(operator.iter_mapped_task_groups()), None) is not None


def _listed(values: Any) -> Any:
    """Convert a collection to a serializable list; leave other values for the trigger to reject."""
    is_several = isinstance(values, Collection) and not isinstance(values, str)
    return [str(value) if isinstance(value, str) else value for value in values] if is_several else values
