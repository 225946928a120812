"""A nightly sync, and a gate on documents that are missing."""

import os
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator, KendraSyncJobMetricsOperator

IDS = {
    "index_id": os.environ.get("KENDRA_INDEX_ID", "i" * 36),
    "data_source_id": os.environ.get("KENDRA_DATA_SOURCE_ID", "source"),
}

with DAG("documents", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    sync = KendraStartSyncJobOperator(
        task_id="sync", max_documents_failed=10, poll_interval=0.1, deferrable=True, **IDS
    )
    gate = KendraSyncJobMetricsOperator(task_id="gate", max_missing_documents=0, **IDS)

    @task(trigger_rule="all_done")
    def show(failures):
        """Show what a later task gets."""
        print("LATER:", failures and [each["document_id"] for each in failures["documents"]])

    sync >> gate >> show(sync.output["failed_documents"])
