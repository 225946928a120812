"""A nightly sync, and a gate on documents that are missing; and mapped tasks for several data sources."""

import json
import os
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator, KendraSyncJobMetricsOperator
from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor

IDS = {
    "index_id": os.environ.get("KENDRA_INDEX_ID", "i" * 36),
    "data_source_id": os.environ.get("KENDRA_DATA_SOURCE_ID", "source"),
}

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

with DAG("documents", schedule=None, start_date=BEGIN):
    sync = KendraStartSyncJobOperator(
        task_id="sync", max_documents_failed=10, poll_interval=0.1, deferrable=True, **IDS
    )
    gate = KendraSyncJobMetricsOperator(task_id="gate", max_missing_documents=0, **IDS)

    @task(trigger_rule="all_done")
    def show(failures):
        """Show what a later task gets."""
        print("LATER:", failures and [each["document_id"] for each in failures["documents"]])

    sync >> gate >> show(sync.output["failed_documents"])


with DAG("documents_of_each", schedule=None, start_date=BEGIN):
    ids = {"index_id": IDS["index_id"], "max_documents_failed": 2}
    sources = json.loads(os.environ.get("KENDRA_DATA_SOURCE_IDS", '["source"]'))
    start = KendraStartSyncJobOperator.partial(task_id="start", poll_interval=0.1, deferrable=True, **ids)
    wait = KendraSyncJobSensor.partial(task_id="wait", started_after=BEGIN, deferrable=True, **ids)
    reschedule = KendraSyncJobSensor.partial(task_id="reschedule", started_after=BEGIN, mode="reschedule", **ids)
    reject = KendraSyncJobMetricsOperator.partial(task_id="reject", **ids | {"max_documents_failed": 0})
    mapped = [each.expand(data_source_id=sources) for each in (start, wait, reschedule, reject)]

    @task(trigger_rule="all_done")
    def show_each(failures):
        """Show what a later task gets of each of the mapped tasks."""
        for task_id, of_task in failures.items():
            print("OF EACH:", task_id, [[each["document_id"] for each in found["documents"]] for found in of_task])

    shown = show_each({each.task_id: each.output["failed_documents"] for each in mapped})
    mapped[0] >> mapped[1:3] >> mapped[3] >> shown
