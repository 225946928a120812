"""Starts on data sources that the test has prepared, each met by a running sync in another way, in both modes."""

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator

STARTS = {
    "alone": {},
    "waits": {"if_running": "wait"},
    "attaches": {"if_running": "attach"},
    "skips": {"if_running": "skip"},
    "fails": {"if_running": "fail"},
    "times_out": {"timeout": 5},
}
MODES = {"worker": {"deferrable": False}, "deferred": {"deferrable": True}}

with DAG(
    "starts",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 0, "retry_delay": timedelta(0)},
):
    for start, arguments in STARTS.items():
        for mode, mode_arguments in MODES.items():
            KendraStartSyncJobOperator(
                task_id=f"{start}__{mode}",
                index_id=os.environ.get("KENDRA_INDEX_ID", ""),
                data_source_id=os.environ.get(f"KENDRA_{start}_{mode}".upper(), ""),
                poll_interval=0.2,
                **arguments,
                **mode_arguments,
            )
