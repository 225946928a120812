"""
Let somebody decide whether to publish what an INCOMPLETE sync has indexed.

Needs Airflow 3.1, apache-airflow-providers-standard 1.12.2, the connection ``aws_default``, and the Airflow Variables
``kendra_index_id`` and ``kendra_data_source_id``. The question appears under *Required Actions* in Airflow's UI.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard import __version__ as standard_version
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, task
from packaging.version import Version

from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator

if Version(standard_version) < Version("1.12.2"):
    raise ImportError(
        f"response_timeout needs apache-airflow-providers-standard 1.12.2 or newer, but {standard_version} is installed"
    )

REASONS = """
{% set failures = ti.xcom_pull(task_ids='sync', key='failed_documents') or {} %}
{% for reason in failures.get('reasons') or [] %}
- {{ reason['count'] }} × {{ reason['stage'] }}: {{ reason['reason'] }}
{% else %}
The reasons are not known: see the log of the task `sync`.
{% endfor %}
"""

with DAG(
    dag_id="example_kendra_approval",
    description="Publish a good Kendra sync; ask before publishing an incomplete one",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["example", "kendra"],
):
    sync = KendraStartSyncJobOperator(
        task_id="sync",
        index_id="{{ var.value.kendra_index_id }}",
        data_source_id="{{ var.value.kendra_data_source_id }}",
        # So many failed documents do not fail the task: somebody decides.
        max_documents_failed=1000,
        deferrable=True,
        poll_interval=5,
        timeout=timedelta(hours=6).total_seconds(),
    )

    @task.branch
    def is_complete(sync_job: dict[str, Any]) -> str:
        return "publish" if sync_job["status"] == "SUCCEEDED" else "approve"

    approve = ApprovalOperator(
        task_id="approve",
        subject="{{ ti.xcom_pull(task_ids='sync')['documents_failed'] }} documents failed. Publish?",
        body=REASONS,
        # If nobody decides in time, nothing is published.
        defaults=["Reject"],
        response_timeout=timedelta(hours=12),
    )

    @task(trigger_rule="none_failed_min_one_success")
    def publish(sync_job: dict[str, Any]) -> str:
        return f"published: {sync_job['documents_added']} documents added, as of {sync_job['start_time']}"

    published = publish(sync.output)
    is_complete(sync.output) >> [approve, published]
    approve >> published
