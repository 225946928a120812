"""Waits in each mode, on data sources that the test has prepared."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor

INDEX_ID = os.environ.get("KENDRA_INDEX_ID", "")
MODES = {
    "poke": {"deferrable": False},
    "deferrable": {"deferrable": True},
    "start_from_trigger": {"start_from_trigger": True},
}
WAITS = {
    "passes": {"execution_id": "{{ params.execution_id }}"},
    "passes_since": {"started_after": "{{ params.cutoff }}"},
    "fails": {"execution_id": "mine"},
    "skips": {"execution_id": "mine", "soft_fail": True},
    "is_refused": {"execution_id": "mine"},
    "times_out": {"execution_id": "mine", "timeout": 0.5},
}


def write_reason(context):
    """Keep what the task failed of, for the test to read."""
    error = context.get("exception")  # dag.test() of Airflow 3.0 to 3.2 does not tell
    line = json.dumps([context["ti"].task_id, type(error).__name__ if error else None])
    with Path(os.environ["KENDRA_REASONS"]).open("a") as reasons:
        reasons.write(f"{line}\n")


with DAG(
    "modes",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={"execution_id": "mine", "cutoff": "2026-01-31T05:00:00+00:00"},
    # An error that is not to be retried must not be, although the DAG would.
    default_args={"retries": 1, "retry_delay": timedelta(0), "on_failure_callback": write_reason},
):
    for wait, arguments in WAITS.items():
        for mode, mode_arguments in MODES.items():
            KendraSyncJobSensor(
                task_id=f"{wait}__{mode}",
                index_id=INDEX_ID,
                data_source_id=os.environ.get(f"KENDRA_{wait}_{mode}".upper(), ""),
                poke_interval=0.2,
                **arguments,
                **mode_arguments,
            )
