"""
Sync several data sources of an index at once, and gate and publish each by itself.

A data source that fails stops only its own tasks. Needs the connection ``aws_default``. The data sources are part of
the DAG's structure, since their assets are outlets. So they come from the environment of the DAG processor:
``KENDRA_REGION``, ``KENDRA_INDEX_ID`` and ``KENDRA_DATA_SOURCES``, a JSON object of names and ids.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task, task_group

from airflow_provider_kendra.assets.kendra import create_asset
from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator, KendraSyncJobMetricsOperator

REGION = os.environ.get("KENDRA_REGION", "us-east-1")
INDEX_ID = os.environ.get("KENDRA_INDEX_ID", "00000000-0000-0000-0000-000000000000")
DATA_SOURCES = json.loads(os.environ.get("KENDRA_DATA_SOURCES", '{"handbook": "data-source"}'))

with DAG(
    dag_id="example_kendra_several_data_sources",
    description="Sync several Kendra data sources, and gate and publish each",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    user_defined_macros={"names": {data_source_id: name for name, data_source_id in DATA_SOURCES.items()}},
    tags=["example", "kendra"],
):

    @task_group
    def refresh(data_source_id: str) -> None:
        sync = KendraStartSyncJobOperator(
            task_id="sync",
            index_id=INDEX_ID,
            data_source_id=data_source_id,
            region_name=REGION,
            deferrable=True,
            poll_interval=5,
            timeout=timedelta(hours=6).total_seconds(),
            # Without it the grid shows 0, 1, 2 …
            map_index_template="{{ names[task.data_source_id] }}",
            # All of them: each mapped task reports only the asset of its own data source.
            outlets=[
                create_asset(region=REGION, index_id=INDEX_ID, data_source_id=each) for each in DATA_SOURCES.values()
            ],
        )
        check = KendraSyncJobMetricsOperator(
            task_id="check",
            index_id=INDEX_ID,
            data_source_id=data_source_id,
            execution_id=sync.output["execution_id"],
            region_name=REGION,
            max_failed_ratio=0.05,
            map_index_template="{{ names[task.data_source_id] }}",
        )

        @task
        def publish(sync_job: dict[str, Any]) -> str:
            return f"{sync_job['data_source_id']}: {sync_job['documents_added']} documents added"

        publish(check.output)

    @task(trigger_rule="all_done")
    def summary() -> str:
        return "Every data source has been refreshed, or its tasks say why not."

    refresh.expand(data_source_id=list(DATA_SOURCES.values())) >> summary()
