"""Stores which sync job a try started or stopped, for later tries: in Airflow's task state store (Airflow 3.3+)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_kendra import _clock
from airflow_provider_kendra._starting import check_memory
from airflow_provider_kendra._text import plain
from airflow_provider_kendra._validation import check_identifier
from airflow_provider_kendra.exceptions import KendraStateError
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_kendra.sync_job import SyncJob


class _Memory:
    """
    An entry in Airflow's task state store, about one data source.

    :param context: The context of the try.
    :param index_id: The index of the task.
    :param data_source_id: Its data source, which a Variable or a mapping can change between two tries.
    :param log: The log of the task.
    :param is_kept: False to store and read nothing.
    """

    _KEY: ClassVar[str]
    _ACTION: ClassVar[str]
    _REMEDY: ClassVar[str]
    _DELETE_FAILED: ClassVar[str]

    def __init__(self, context: Context, index_id: str, data_source_id: str, log: Any, *, is_kept: bool = True) -> None:
        self._store: Any = context.get("task_state_store") if is_kept and AIRFLOW_V_3_3_PLUS else None
        self._about = {"index_id": index_id, "data_source_id": data_source_id}
        self._log = log
        self._try_number = getattr(context.get("ti"), "try_number", None)
        # Clearing a task raises max_tries, a retry does not. None if unknown.
        max_tries = getattr(context.get("ti"), "max_tries", None)
        self._max_tries = max_tries if isinstance(max_tries, int) else None

    @property
    def _is_first_try(self) -> bool:
        """Whether no earlier try can have stored anything; False if unknown."""
        return bool(self._try_number == 1)

    def _read(self) -> Any:
        return self._store.get(self._KEY) if self._store is not None else None

    def _unreadable(self, reason: object) -> KendraStateError:
        return KendraStateError(
            f"The state stored by an earlier try can't be read: {reason}. Nothing was {self._ACTION}, since that try "
            f"may already have {self._ACTION} a sync. Delete the key {self._KEY!r} of the task's state, or "
            f"{self._REMEDY}."
        )

    def forget(self) -> None:
        """Delete the entry, for later tries to start anew; only log a failure, since the task has its result."""
        if self._store is None:
            return
        try:
            self._store.delete(self._KEY)
        except Exception as error:
            self._log.warning("%s: %s", self._DELETE_FAILED, plain(error))


class StartMemory(_Memory):
    """
    The sync that a try has started, or may have started.

    An entry of 1.0.0 does not name its data source; its execution id is searched for in the task's data source.
    """

    _KEY = "kendra_sync_job"
    _ACTION = "started"
    _REMEDY = "pass durable=False for one run"
    _DELETE_FAILED = "Could not delete the stored sync job; a later try may resume it"

    def recall(self) -> dict[str, Any] | None:
        """
        Return what an earlier try stored about this data source, if anything.

        :raises KendraStateError: if it can't be read; starting anyway might start a second sync.
        """
        return None if self._is_first_try else self._recall()

    def _recall(self) -> dict[str, Any] | None:
        known = self._read()
        if known is None:
            return None
        if isinstance(known, Mapping) and {**self._about, **known} != {**known, **self._about}:
            self._log.info(
                "Ignoring what an earlier attempt stored: it is about data source %s (index %s).",
                plain(known.get("data_source_id")),
                plain(known.get("index_id")),
            )
            return None
        try:
            return check_memory(known)
        except ValueError as error:
            raise self._unreadable(error) from None

    def is_of_cleared_task(self, known: Mapping[str, Any]) -> bool:
        """Whether the task has been cleared since; a sync that had finished by then is not the result."""
        return known.get("max_tries") not in (None, self._max_tries)

    def owns(self, execution_id: str) -> bool:
        """
        Whether the sync job still belongs to this try, and not to a later one; always True without a store.

        Each try has a different id in Airflow, and only the latest id gives access to the store.
        """
        if self._store is None:
            return True
        try:
            known = self._recall()
        except Exception as error:
            self._log.warning("Could not find out whether another try has adopted the sync job: %s", plain(error))
            return False
        return known is not None and known.get("execution_id") == execution_id

    def keep(self, known: Mapping[str, Any], deadline: datetime) -> None:
        """Store the start for a later try."""
        if self._store is not None:
            times = {"deadline": deadline.isoformat(), "since": _clock.utcnow().isoformat()}
            self._store.set(self._KEY, {**self._about, **known, **times, "max_tries": self._max_tries})

    def keep_if_possible(self, known: Mapping[str, Any], deadline: datetime) -> None:
        """Store the start; only log a failure, since the sync job is already running."""
        try:
            self.keep(known, deadline)
        except Exception as error:
            self._log.warning("Could not store the sync job for a later try: %s", plain(error))

    def note_stop(self, execution_id: str) -> None:
        """Store that this sync job was stopped: a later try waits for its end and starts a new one."""
        try:
            known = self._recall()
            if known is not None and known.get("execution_id") == execution_id:
                self._store.set(self._KEY, {**known, "is_stopped": True})
        except Exception as error:  # must not hide that the stop was sent
            self._log.warning("Could not store for a later try that the sync job was stopped: %s", plain(error))


class StopMemory(_Memory):
    """The sync that a try has decided to stop; a cleared task decides anew."""

    _KEY = "kendra_stop"
    _ACTION = "stopped"
    _REMEDY = "pass execution_id"
    _DELETE_FAILED = "Could not delete the record of which sync was stopped; a retry would target the same one"

    def recall(self) -> str | None:
        """
        Return the execution id that an earlier try decided to stop, if any.

        :raises KendraStateError: if it can't be read; stopping anyway might stop another sync.
        """
        known = None if self._is_first_try else self._read()
        if known is None:
            return None
        if not isinstance(known, Mapping):
            raise self._unreadable(f"it is of type {type(known).__name__}")
        if any(known.get(name) != value for name, value in self._scope.items()):
            return None
        try:
            return check_identifier("execution_id", known.get("execution_id"))
        except ValueError as error:
            raise self._unreadable(error) from None

    def keep(self, job: SyncJob) -> bool:
        """Store the decision; return False without a store."""
        if self._store is None:
            return False
        self._store.set(self._KEY, {**self._scope, "execution_id": job.execution_id})
        return True

    @property
    def _scope(self) -> dict[str, Any]:
        return {**self._about, "max_tries": self._max_tries}

    def is_retry(self, retries: int) -> bool:
        """
        Whether an earlier try has run since the task was scheduled or cleared.

        :param retries: The ``retries`` of the task.
        """
        if not isinstance(self._try_number, int) or self._max_tries is None:
            return False
        return self._try_number > self._max_tries - retries + 1
