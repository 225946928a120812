"""The outcomes of a wait, and how to read them from the event of a trigger."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from airflow_provider_kendra._decisions import AllFresh, Failed, Failure, Outcome, Satisfied, at_any_end
from airflow_provider_kendra._text import plain, shown
from airflow_provider_kendra._validation import check_time
from airflow_provider_kendra.sync_job import SyncJob

__all__ = [
    "AllFresh",
    "Failed",
    "Failure",
    "Outcome",
    "Satisfied",
    "at_any_end",
    "check_subject",
    "freshness_from_event",
    "outcome_from_event",
    "state_from_event",
]


def outcome_from_event(event: Any) -> Outcome:
    """
    Read an outcome from a trigger event, as its ``to_event`` created it.

    :param event: The payload of the event.
    :raises ValueError: if it is invalid, with the reason.
    """
    if (failed := _failure_in(event)) is not None:
        return failed
    job = SyncJob.from_dict(event.get("job"))
    if not job.is_finished:
        raise ValueError("the sync job that it reports as done has not finished")
    return Satisfied(job)


def freshness_from_event(event: Any) -> AllFresh | Failed:
    """
    Read an outcome from a trigger event, as its ``to_event`` created it.

    :param event: The payload of the event.
    :raises ValueError: if it is invalid, with the reason.
    """
    if (failed := _failure_in(event)) is not None:
        return failed
    records = event.get("jobs")
    if not isinstance(records, Mapping) or not records:
        raise ValueError("it has no jobs")
    jobs = {key: SyncJob.from_dict(record) for key, record in records.items()}
    if not all(job.is_finished and job.data_source_id == key for key, job in jobs.items()):
        raise ValueError("its jobs are not the finished sync jobs of these data sources")
    return AllFresh(jobs)


def _failure_in(event: Any) -> Failed | None:
    if not isinstance(event, Mapping):
        raise ValueError(f"it is of type {type(event).__name__}")
    failure, message, job = (event.get(name) for name in ("failure", "message", "job"))
    if failure is None:
        return None
    if not isinstance(failure, str) or failure not in set(Failure) or not isinstance(message, str):
        raise ValueError(f"its failure is {shown(failure)}, its message {shown(message)}")
    return Failed(Failure(failure), message, None if job is None else SyncJob.from_dict(job))


def state_from_event(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    Read the state that an operator passed to its trigger; empty if there is none.

    :param event: The event of a trigger.
    :raises ValueError: if it is invalid.
    """
    state = event.get("state")
    if state is None:
        return {}
    if not isinstance(state, Mapping):
        raise ValueError(f"its state is of type {type(state).__name__}")
    for name in ("stoppable", "source_type", "waited_out_until"):
        if not isinstance(state.get(name), str | None):
            raise ValueError(f"{name} in its state is {shown(state[name])}")
    if (until := state.get("waited_out_until")) is not None:
        check_time("waited_out_until in its state", until)
    return state


def check_subject(
    outcome: Outcome | AllFresh, index_id: str, data_source_ids: Collection[str] | None, execution_id: str | None = None
) -> None:
    """
    Check that an outcome belongs to a task's data sources and sync job.

    :param outcome: The outcome, as an event reports it.
    :param index_id: The index of the task.
    :param data_source_ids: Its data sources; None for any of the index.
    :param execution_id: Its sync job; None for any.
    :raises ValueError: if it does not.
    """
    jobs = list(outcome.jobs.values()) if isinstance(outcome, AllFresh) else [outcome.job] if outcome.job else []
    for job in jobs:
        is_ours = job.index_id == index_id and (data_source_ids is None or job.data_source_id in data_source_ids)
        if not is_ours or execution_id not in (None, job.execution_id):
            raise ValueError(f"it reports a sync that this task did not wait for {plain(job.ids)}")
    if isinstance(outcome, AllFresh) and data_source_ids is not None and set(outcome.jobs) != set(data_source_ids):
        raise ValueError("it does not report each of the data sources")
