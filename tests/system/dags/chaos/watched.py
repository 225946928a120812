"""A DAG for each watched data source; in a file of its own, since assets are slow to load."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, AssetWatcher, task

from airflow_provider_kendra.assets.kendra import create_asset
from airflow_provider_kendra.triggers.kendra import KendraSyncJobEventTrigger

INDEX_ID = os.environ["KENDRA_INDEX_ID"]
WATCHED = os.environ["KENDRA_WATCHED"].split(",")

for number, data_source_id in enumerate(WATCHED):
    trigger = KendraSyncJobEventTrigger(index_id=INDEX_ID, data_source_id=data_source_id, poll_interval=2)
    asset = create_asset(
        region="us-east-1",
        index_id=INDEX_ID,
        data_source_id=data_source_id,
        watchers=[AssetWatcher(name=f"watcher_{number}", trigger=trigger)],
    )
    with DAG(f"watched_{number}", schedule=[asset], start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False):

        @task(retries=40, retry_delay=timedelta(seconds=2))
        def report(triggering_asset_events: dict[Any, list[Any]]) -> list[dict[str, Any]]:
            events = (event for events in triggering_asset_events.values() for event in events)
            return [record for event in events for record in event.extra["payload"]["sync_jobs"]]

        report()
