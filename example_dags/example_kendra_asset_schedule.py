"""
Run whenever a Kendra data source has been synced, whoever started the sync: Kendra's own schedule included.

Needs Airflow 3 and the connection ``aws_default``. The asset belongs to the DAG's structure, so that its ids come from
the environment of the DAG processor, not from Airflow Variables: ``KENDRA_REGION``, ``KENDRA_INDEX_ID`` and
``KENDRA_DATA_SOURCE_ID``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, AssetWatcher, task

from airflow_provider_kendra.assets.kendra import create_asset
from airflow_provider_kendra.triggers.kendra import KendraSyncJobEventTrigger

REGION = os.environ.get("KENDRA_REGION", "us-east-1")
INDEX_ID = os.environ.get("KENDRA_INDEX_ID", "00000000-0000-0000-0000-000000000000")
DATA_SOURCE_ID = os.environ.get("KENDRA_DATA_SOURCE_ID", "data-source")

index_synced = create_asset(
    region=REGION,
    index_id=INDEX_ID,
    data_source_id=DATA_SOURCE_ID,
    watchers=[
        AssetWatcher(
            name="finished_syncs",
            trigger=KendraSyncJobEventTrigger(
                index_id=INDEX_ID, data_source_id=DATA_SOURCE_ID, region_name=REGION, poll_interval=5
            ),
        )
    ],
)

with DAG(
    dag_id="example_kendra_asset_schedule",
    description="Runs when syncs of a Kendra data source have finished",
    schedule=[index_synced],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["example", "kendra"],
):

    @task
    def report(triggering_asset_events: dict[Any, list[Any]]) -> list[str]:
        # An event can come again after a fault: the execution id tells.
        sync_jobs = {
            sync_job["execution_id"]: sync_job
            for events in triggering_asset_events.values()
            for event in events
            for sync_job in event.extra["payload"]["sync_jobs"]
        }
        for sync_job in sync_jobs.values():
            print(f"{sync_job['execution_id']}: {sync_job['documents_added']} documents added")
        return list(sync_jobs)

    report()
