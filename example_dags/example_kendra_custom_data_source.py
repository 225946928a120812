"""
Keep a CUSTOM data source up to date: open a sync, delete what is gone, put what has changed, close the sync, check.

The sync of a CUSTOM data source ends only when someone stops it, so its start is a setup task and its stop a
teardown task: it is stopped however the tasks between them end. Needs the connection ``aws_default`` and the Airflow
Variables ``kendra_index_id`` and ``kendra_custom_data_source_id``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_kendra.operators.kendra import (
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)

INDEX_ID = "{{ var.value.kendra_index_id }}"
DATA_SOURCE_ID = "{{ var.value.kendra_custom_data_source_id }}"
KENDRA = {"index_id": INDEX_ID, "data_source_id": DATA_SOURCE_ID}

with DAG(
    dag_id="example_kendra_custom_data_source",
    description="Delete documents from a CUSTOM Kendra data source and put others, in parallel",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["example", "kendra"],
):
    start = KendraStartSyncJobOperator(task_id="start", wait_for_completion=False, **KENDRA)

    @task
    def find_documents() -> list[list[str]]:
        # For example the pages of a wiki, or the rows of a table: one list for each mapped task.
        return [["holidays", "expenses"], ["travel"]]

    @task
    def delete_documents(index_id: str, data_source_id: str, execution_id: str) -> list[str]:
        from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook

        hook = KendraSyncJobsHook()
        removed = ["parking", "canteen"]  # from the wiki since the last run, say
        statuses = hook.get_document_status(index_id, removed)
        gone = [name for name, found in statuses.items() if found["status"] != "NOT_FOUND"]
        hook.delete_documents(index_id, data_source_id, execution_id, gone)
        return gone

    # Names the mapped tasks in Airflow's grid, instead of 0 and 1.
    @task(map_index_template="{{ task.op_kwargs['names'] | join(', ') }}")
    def put_documents(names: list[str], index_id: str, data_source_id: str, execution_id: str) -> int:
        from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook

        documents = (
            {"Id": name, "Title": name.title(), "Blob": f"All about {name}.".encode(), "ContentType": "PLAIN_TEXT"}
            for name in names
        )
        KendraSyncJobsHook().put_documents(index_id, data_source_id, execution_id, documents)
        return len(names)

    # Closes the sync and waits until Kendra has indexed what was put.
    stop = KendraStopSyncJobOperator(
        task_id="stop", execution_id=start.output["execution_id"], deferrable=True, poll_interval=5, **KENDRA
    )

    check = KendraSyncJobMetricsOperator(
        task_id="check", execution_id=start.output["execution_id"], max_documents_failed=0, **KENDRA
    )

    @task
    def publish(sync_job: dict[str, Any]) -> str:
        return ", ".join(f"{sync_job[f'documents_{what}']} {what}" for what in ("added", "modified", "deleted"))

    delete = delete_documents(execution_id=start.output["execution_id"], **KENDRA)
    put = put_documents.partial(execution_id=start.output["execution_id"], **KENDRA).expand(names=find_documents())
    start >> delete >> put >> stop.as_teardown(setups=start)
    put >> check
    stop >> check >> publish(check.output)
