"""The deferred half of the waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_kendra.aws import AwsParametersMixin
from airflow_provider_kendra.conditions import Condition, Failed, Failure, sync_job_condition
from airflow_provider_kendra.polling import DataSource, utcnow, wait_for


class KendraSyncJobTrigger(AwsParametersMixin, BaseTrigger):
    """
    Wait until a sync job has finished, sharing polls with all other waits on its data source.

    Fires once, with what :func:`airflow_provider_kendra.conditions.outcome_from_event` takes. All parameters
    are JSON types.

    :param index_id: The index.
    :param data_source_id: The data source.
    :param execution_id: The sync job that is waited for. Exclusive with ``started_after``.
    :param started_after: Any sync job that started at or after this time, ISO 8601 with a time zone.
    :param target_statuses: Statuses that are accepted.
    :param max_documents_failed: Failed documents that are tolerated; given, INCOMPLETE is accepted too.
    :param not_found_timeout: Seconds until a job that is not listed counts as not found.
    :param poll_interval: Seconds between looks.
    :param timeout: Seconds after which the wait gives up; None for never.
    :param waiting_since: When the wait began, ISO 8601; None for when the trigger first runs. ``timeout`` and
        ``not_found_timeout`` count from here, so that a restart of the triggerer does not extend them.
    :param stop_on_kill: Stop the sync job ``execution_id`` when a user acts on the deferred task (Airflow 3.3+).
    :param aws_conn_id: The Airflow connection for AWS.
    :param region_name: AWS region.
    :param verify: Whether, or with which CA bundle, to verify TLS certificates.
    :param botocore_config: Configuration for the botocore client.
    """

    def __init__(
        self,
        *,
        index_id: str,
        data_source_id: str,
        execution_id: str | None = None,
        started_after: str | None = None,
        target_statuses: Sequence[str] = ("SUCCEEDED",),
        max_documents_failed: int | None = None,
        not_found_timeout: float = 120,
        poll_interval: float = 60,
        timeout: float | None = None,
        waiting_since: str | None = None,
        stop_on_kill: bool = False,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            aws_conn_id=aws_conn_id, region_name=region_name, verify=verify, botocore_config=botocore_config
        )
        self.index_id = index_id
        self.data_source_id = data_source_id
        self.execution_id = execution_id
        self.started_after = started_after
        self.target_statuses = list(target_statuses)
        self.max_documents_failed = max_documents_failed
        self.not_found_timeout = not_found_timeout
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.waiting_since = waiting_since
        self.stop_on_kill = stop_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give class path and arguments to rebuild the trigger."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "index_id": self.index_id,
                "data_source_id": self.data_source_id,
                "execution_id": self.execution_id,
                "started_after": self.started_after,
                "target_statuses": self.target_statuses,
                "max_documents_failed": self.max_documents_failed,
                "not_found_timeout": self.not_found_timeout,
                "poll_interval": self.poll_interval,
                "timeout": self.timeout,
                "waiting_since": self.waiting_since,
                "stop_on_kill": self.stop_on_kill,
                **self.aws_kwargs,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire."""
        since = utcnow() if self.waiting_since is None else datetime.fromisoformat(self.waiting_since)
        try:
            condition = self._condition(since)
        except ValueError as error:  # reached only with start_from_trigger: else the worker has checked
            yield TriggerEvent(Failed(Failure.REFUSED, str(error)).to_event())
            return
        outcome = await wait_for(
            DataSource(self.aws_parameters, self.index_id, self.data_source_id),
            condition,
            interval=self.poll_interval,
            deadline=None if self.timeout is None else since + timedelta(seconds=self.timeout),
            log=self.log.info,
        )
        yield TriggerEvent(outcome.to_event())

    def _condition(self, since: datetime) -> Condition:
        return sync_job_condition(
            execution_id=self.execution_id,
            started_after=self.started_after,
            target_statuses=self.target_statuses,
            max_documents_failed=self.max_documents_failed,
            missing_from=since + timedelta(seconds=self.not_found_timeout),
        )

    async def on_kill(self) -> None:
        """
        Stop the sync job, since a user has acted on the deferred task.

        Airflow calls this also in a triggerer that stalled until another one took its triggers over. So the task's
        own state has the last word: while it is deferred, or about to go on, or not known, nothing is stopped.
        """
        if not self.stop_on_kill or self.execution_id is None:
            return
        state = await self._task_state()
        if state not in _ENDED_BY_USER:
            self.log.info("Not stopping sync job %s: the task is %s.", self.execution_id, state or "not known")
            return
        stopped = await sync_to_async(self._stop, thread_sensitive=False)()
        self.log.info("The task was ended: sync job %s %s.", self.execution_id, "stopped" if stopped else "had ended")

    async def _task_state(self) -> str | None:
        """The state of the task in words, None if it cannot be found out."""
        ti: Any = self.task_instance
        try:
            from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

            states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
                dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
            )
            state = states[ti.run_id][ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"]
        except Exception as error:
            self.log.warning("Could not find out the state of the task: %s", error)
            return None
        return "cleared" if state is None else str(state)

    def _stop(self) -> bool:
        hook = self.aws_parameters.make_hook()
        hook.hurry()
        return hook.stop_sync_job_if_running(self.index_id, self.data_source_id, str(self.execution_id))


# A task in any other state is still waited for, or goes on with what was waited for.
_ENDED_BY_USER = frozenset({"failed", "success", "skipped", "removed", "cleared"})
