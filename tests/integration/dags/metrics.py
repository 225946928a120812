"""Tasks that end with a sync job, and tasks that only wait for one, in a deployment that sends metrics."""

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_kendra.operators.kendra import (
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor


def ids(name):
    """The ids of a data source that the test has made."""
    return {
        "index_id": os.environ.get("KENDRA_INDEX_ID", "i" * 36),
        "data_source_id": os.environ.get(f"KENDRA_{name}", "source"),
    }


with DAG(
    "metrics",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 0, "retry_delay": timedelta(0)},
):
    often = {"poll_interval": 0.2}
    on_worker = KendraStartSyncJobOperator(task_id="on_worker", deferrable=False, **ids("WORKER"), **often)
    deferred = KendraStartSyncJobOperator(task_id="deferred", deferrable=True, **ids("DEFERRED"), **often)
    opened = KendraStartSyncJobOperator(task_id="opened", wait_for_completion=False, **ids("CUSTOM"))
    stopped = KendraStopSyncJobOperator(
        task_id="stopped", execution_id=opened.output["execution_id"], deferrable=True, **ids("CUSTOM"), **often
    )
    arguments = {"execution_id": deferred.output["execution_id"], **ids("DEFERRED")}
    KendraSyncJobSensor(task_id="waited", deferrable=True, **arguments)
    KendraSyncJobMetricsOperator(task_id="measured", **arguments)
    gate = KendraDataFreshnessSensor(
        task_id="gate",
        index_id=ids("WORKER")["index_id"],
        data_source_ids=[ids("WORKER")["data_source_id"]],
        max_age=3600,
        deferrable=True,
    )
    on_worker >> gate
