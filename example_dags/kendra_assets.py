"""
The assets of the data sources, built once and imported by every DAG file that names them.

A shared module, not a DAG file: it is in the DAGs folder, which Airflow puts on the import path. It needs Airflow 3.
The ids come from the environment of the DAG processor: ``KENDRA_REGION``, ``KENDRA_INDEX_ID`` and
``KENDRA_DATA_SOURCE_ID``.
"""

from __future__ import annotations

import os

from airflow.sdk import AssetWatcher

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
