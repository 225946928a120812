"""
Wait for the sync that Kendra's own schedule starts, and publish only when it was good.

This DAG starts nothing: it is for a data source that Kendra itself syncs every night at four, by the ``Schedule``
``cron(0 4 * * ? *)``. It needs the connection ``aws_default`` and the Airflow Variables ``kendra_index_id`` and
``kendra_data_source_id``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_kendra.operators.kendra import KendraSyncJobMetricsOperator
from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor

INDEX_ID = "{{ var.value.kendra_index_id }}"
DATA_SOURCE_ID = "{{ var.value.kendra_data_source_id }}"

with DAG(
    dag_id="example_kendra_wait_for_scheduled_sync",
    description="Wait for a scheduled Kendra sync, a gate on its metrics, then publish",
    schedule="0 4 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["example", "kendra"],
):
    wait = KendraSyncJobSensor(
        task_id="wait",
        index_id=INDEX_ID,
        data_source_id=DATA_SOURCE_ID,
        # The four o'clock this run is for, on Airflow 2 and 3 alike: yesterday's success does not count.
        started_after="{{ data_interval_end }}",
        max_documents_failed=100,
        deferrable=True,
        poke_interval=60,
        timeout=timedelta(hours=6).total_seconds(),
    )

    check = KendraSyncJobMetricsOperator(
        task_id="check",
        index_id=INDEX_ID,
        data_source_id=DATA_SOURCE_ID,
        execution_id=wait.output["execution_id"],
        max_failed_ratio=0.05,
    )

    @task
    def publish(sync_job: dict[str, Any]) -> str:
        return f"the index is as of {sync_job['start_time']}, {sync_job['documents_failed']} documents failed"

    publish(check.output)
