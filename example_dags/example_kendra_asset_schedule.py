"""
Run whenever a Kendra data source has been synced, whoever started the sync: Kendra's own schedule included.

Needs Airflow 3 and the connection ``aws_default``. The asset and its watcher are in ``kendra_assets.py``, since other
DAGs use them too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, task
from kendra_assets import index_synced

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
        # One sync can be in two events: after a failure, or if an outlet reports it too. Its execution id is the same.
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
