"""One mapped task syncs several data sources, with all their assets as outlets; a DAG waits for each."""

import json
import os
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_kendra.assets.kendra import create_asset
from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator

INDEX_ID = os.environ.get("KENDRA_INDEX_ID", "i" * 36)
SOURCES = json.loads(os.environ.get("KENDRA_SOURCES", '{"handbook": "handbook"}'))
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

assets = {
    name: create_asset(region="us-east-1", index_id=INDEX_ID, data_source_id=data_source_id)
    for name, data_source_id in SOURCES.items()
}

with DAG("sync_all", schedule=None, start_date=BEGIN):
    KendraStartSyncJobOperator.partial(
        task_id="sync",
        index_id=INDEX_ID,
        deferrable=os.environ.get("KENDRA_MODE") == "deferred",
        poll_interval=0.2,
        outlets=list(assets.values()),
    ).expand(data_source_id=list(SOURCES.values()))

for name, asset in assets.items():
    with DAG(f"after_{name}", schedule=[asset], start_date=BEGIN):

        @task
        def read():
            """Stand for whatever is to be done after a sync."""

        read()
