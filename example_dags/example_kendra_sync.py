"""
Put documents into S3, have Kendra sync them, publish only what a good sync has made searchable, and ask a question.

Runs unchanged against AWS and against the local Kendra (``python -m airflow_provider_kendra demo``). To make it yours,
set the connection ``aws_default`` and the Airflow Variables ``kendra_index_id``, ``kendra_data_source_id`` and
``kendra_bucket`` (the bucket that this data source crawls). The question needs the permission ``kendra:Query`` on the
index.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator, KendraSyncJobMetricsOperator

# Templates, not Variable.get(): that would ask the database at every parse of this file.
INDEX_ID = "{{ var.value.kendra_index_id }}"
DATA_SOURCE_ID = "{{ var.value.kendra_data_source_id }}"
BUCKET = "{{ var.value.kendra_bucket }}"

DOCUMENTS = {
    "handbook/holidays.txt": "Everybody has thirty days of holiday a year.",
    "handbook/expenses.txt": "Expenses are paid back within two weeks.",
    "handbook/travel.txt": "Trains come first, planes where there are no trains.",
}
QUESTION = "How many days of holiday does everybody have?"

with DAG(
    dag_id="example_kendra_sync",
    description="Documents into S3, a Kendra sync, a gate on its metrics, then publish and ask",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["example", "kendra"],
):

    @task
    def put_documents(bucket: str) -> list[str]:
        # Imported here: at the top, boto3 would be loaded at every parse of this file.
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        s3 = S3Hook(aws_conn_id="aws_default")
        for key, text in DOCUMENTS.items():
            s3.load_string(text, key=key, bucket_name=bucket, replace=True)
        return list(DOCUMENTS)

    # Deferred, the wait takes no worker slot, however long the sync runs.
    sync = KendraStartSyncJobOperator(
        task_id="sync",
        index_id=INDEX_ID,
        data_source_id=DATA_SOURCE_ID,
        # A few failed documents must not fail this task: the gate below decides how many are too many.
        max_documents_failed=100,
        deferrable=True,
        # Short, for the demo. The default of 60 s is enough for syncs that take minutes.
        poll_interval=5,
        timeout=timedelta(hours=6).total_seconds(),
    )

    # The gate: fails when the sync did badly, and nothing after it runs.
    check = KendraSyncJobMetricsOperator(
        task_id="check",
        index_id=INDEX_ID,
        data_source_id=DATA_SOURCE_ID,
        execution_id=sync.output["execution_id"],
        max_failed_ratio=0.05,
        min_documents_scanned=1,
    )

    @task
    def publish(sync_job: dict[str, Any]) -> str:
        # Here goes what needs the fresh index: switch an alias, warm a cache, tell the chat bot.
        return (
            f"published: {sync_job['documents_added']} added, {sync_job['documents_modified']} modified, "
            f"{sync_job['documents_deleted']} deleted, as of {sync_job['start_time']}"
        )

    @task
    def ask(question: str, index_id: str, data_source_id: str) -> dict[str, str]:
        from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook

        response = KendraSyncJobsHook().conn.query(
            IndexId=index_id,
            QueryText=question,
            # Only the documents of this data source: the index may have others.
            AttributeFilter={"EqualsTo": {"Key": "_data_source_id", "Value": {"StringValue": data_source_id}}},
        )
        if not response["ResultItems"]:
            raise ValueError(f"Kendra found no answer to: {question}")
        best = response["ResultItems"][0]
        return {"question": question, "answer": best["DocumentExcerpt"]["Text"], "document": best["DocumentId"]}

    put_documents(BUCKET) >> sync
    publish(check.output) >> ask(QUESTION, INDEX_ID, DATA_SOURCE_ID)
