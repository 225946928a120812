"""
Answer from the index only while it is fresh: a gate on several data sources, whoever syncs them.

Needs the connection ``aws_default`` and the Airflow Variable ``kendra_index_id``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor

with DAG(
    dag_id="example_kendra_freshness_gate",
    description="Go on only when every data source of an index is fresh",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["example", "kendra"],
):
    fresh = KendraDataFreshnessSensor(
        task_id="fresh",
        index_id="{{ var.value.kendra_index_id }}",
        # All ACTIVE or UPDATING data sources of the index; data_source_ids=[…] selects some.
        max_age=timedelta(hours=6),
        # A few documents that fail every night do not make an index stale.
        max_documents_failed=100,
        deferrable=True,
        poke_interval=60,
        timeout=timedelta(hours=1).total_seconds(),
    )

    @task
    def answer(sync_jobs: dict[str, dict[str, Any]]) -> str:
        oldest = min(sync_job["start_time"] for sync_job in sync_jobs.values())
        return f"{len(sync_jobs)} data sources, the oldest as of {oldest}"

    answer(fresh.output)
