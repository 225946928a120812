"""
Retry a sync by the reason for which it failed.

Needs Airflow 3.3, the connection ``aws_default``, and the Airflow Variables ``kendra_index_id`` and
``kendra_data_source_id``. ``KENDRA_TIMEOUT`` is the time for a sync in seconds.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, ExceptionRetryPolicy, RetryAction, RetryRule

from airflow_provider_kendra.exceptions import (
    KendraSyncJobAlreadyRunningError,
    KendraSyncJobFailedError,
    KendraSyncJobTimeoutError,
)
from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator

TIMEOUT = float(os.environ.get("KENDRA_TIMEOUT", "21600"))

retry_policy = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=KendraSyncJobAlreadyRunningError,
            retry_delay=timedelta(minutes=5),
            reason="Another sync is running: try again soon",
        ),
        RetryRule(
            exception=KendraSyncJobTimeoutError,
            action=RetryAction.FAIL,
            reason="Another sync would take as long",
        ),
        RetryRule(
            exception=KendraSyncJobFailedError,
            retry_delay=timedelta(minutes=30),
            reason="Give the repository time to recover",
        ),
    ]
)

with DAG(
    dag_id="example_kendra_retry_policy",
    description="Sync a Kendra data source, and retry by the reason of a failure",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["example", "kendra"],
):
    KendraStartSyncJobOperator(
        task_id="sync",
        index_id="{{ var.value.kendra_index_id }}",
        data_source_id="{{ var.value.kendra_data_source_id }}",
        if_running="fail",
        deferrable=True,
        poll_interval=5,
        timeout=TIMEOUT,
        retries=3,  # a policy can end the retries early, but add none
        retry_policy=retry_policy,
    )
