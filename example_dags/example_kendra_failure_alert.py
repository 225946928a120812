"""
Notify when a sync fails, with Kendra's reason, and when a run takes too long.

Needs the connection ``aws_default`` and the Airflow Variables ``kendra_index_id`` and ``kendra_data_source_id``. From
Airflow 3.2, a deadline alert says that a run is late while it still runs; ``KENDRA_DEADLINE`` is the time in seconds.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG
from kendra_alerts import LogNotifier, run_is_late

from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator

DEADLINE = timedelta(seconds=float(os.environ.get("KENDRA_DEADLINE", "7200")))

late: dict[str, Any] = {}
try:
    from airflow.sdk import DeadlineAlert, DeadlineReference, SyncCallback
except ImportError:  # before Airflow 3.2
    pass
else:
    late["deadline"] = DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=DEADLINE, callback=SyncCallback(run_is_late)
    )

with DAG(
    dag_id="example_kendra_failure_alert",
    description="Sync a Kendra data source; notify when the sync fails or takes too long",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["example", "kendra"],
    **late,
):
    KendraStartSyncJobOperator(
        task_id="sync",
        index_id="{{ var.value.kendra_index_id }}",
        data_source_id="{{ var.value.kendra_data_source_id }}",
        deferrable=True,
        poll_interval=5,
        timeout=timedelta(hours=6).total_seconds(),
        # The message of the exception begins with the status and Kendra's reason. It is undefined in dag.test() on
        # Airflow 3.0 to 3.2.
        on_failure_callback=LogNotifier("{{ dag.dag_id }}: {{ exception | default('the sync failed') }}"),
    )
