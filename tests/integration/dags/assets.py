"""Tasks that end with a sync job, and one that reads what they put into the events of its asset."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, AssetAlias, task

from airflow_provider_kendra.assets.kendra import create_asset
from airflow_provider_kendra.operators.kendra import (
    KendraListSyncJobsOperator,
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor

IDS = {
    "index_id": os.environ.get("KENDRA_INDEX_ID", "i" * 36),
    "data_source_id": os.environ.get("KENDRA_DATA_SOURCE_ID", "source"),
}
FRESHNESS = {"index_id": IDS["index_id"], "data_source_ids": IDS["data_source_id"], "max_age": 3600}

documents = create_asset(region="us-east-1", **IDS)
elsewhere = create_asset(region="eu-west-1", **IDS)

with DAG("assets", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    start = KendraStartSyncJobOperator(task_id="start", poll_interval=0.2, **IDS)
    started = {"execution_id": start.output["execution_id"], **IDS}
    ends = [
        KendraStartSyncJobOperator(
            task_id="start_deferred",
            deferrable=True,
            poll_interval=0.2,
            outlets=[elsewhere, documents, AssetAlias("kendra://alias")],
            **IDS,
        ),
        KendraSyncJobSensor(task_id="wait", outlets=[documents], **started),
        KendraSyncJobSensor(task_id="wait_deferred", deferrable=True, outlets=[documents], **started),
        KendraDataFreshnessSensor(task_id="fresh", outlets=[documents], **FRESHNESS),
        KendraDataFreshnessSensor(task_id="fresh_deferred", deferrable=True, outlets=[documents], **FRESHNESS),
        KendraStopSyncJobOperator(task_id="stop", outlets=[documents], **started),
        KendraSyncJobMetricsOperator(task_id="metrics", outlets=[documents], **started),
    ]
    others = [
        KendraListSyncJobsOperator(task_id="list", outlets=[documents], **IDS),
        KendraSyncJobSensor(task_id="wait_without_xcom", do_xcom_push=False, **started),
        KendraStartSyncJobOperator(task_id="start_only", wait_for_completion=False, **IDS),
    ]

    @task(inlets=[documents, elsewhere])
    def read(inlet_events):
        """Write down what each task put into the events of the assets."""
        found = {
            asset.uri: {event.source_task_id: event.extra for event in inlet_events[asset]}
            for asset in (documents, elsewhere)
        }
        Path(os.environ["KENDRA_EVENTS"]).write_text(json.dumps(found))

    start >> ends[0] >> ends[1:] >> others[0] >> others[1:] >> read()
