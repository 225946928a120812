"""
Sync a data source, and report its asset as updated at once: an outlet beside the asset's watcher.

Needs Airflow 3 and the connection ``aws_default``. The asset is the one that ``example_kendra_asset_schedule`` is
scheduled on. Both files import it from ``kendra_assets.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG
from kendra_assets import DATA_SOURCE_ID, INDEX_ID, REGION, index_synced

from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator

with DAG(
    dag_id="example_kendra_shared_asset",
    description="Sync a Kendra data source whose asset has a watcher and other DAGs",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["example", "kendra"],
):
    KendraStartSyncJobOperator(
        task_id="sync",
        index_id=INDEX_ID,
        data_source_id=DATA_SOURCE_ID,
        region_name=REGION,
        deferrable=True,
        poll_interval=5,
        outlets=[index_synced],
    )
