"""One start of a sync in each way that the system tests need; run with the two ids as the run's conf."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator
from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor

DATA_SOURCE = {"index_id": "{{ dag_run.conf['index_id'] }}", "data_source_id": "{{ dag_run.conf['data_source_id'] }}"}
# More than any test needs: a try that Airflow itself loses is no failure.
RETRIES = {"retries": 5, "retry_delay": timedelta(seconds=1)}
WAYS: dict[str, dict[str, Any]] = {
    "poke": {"deferrable": False},
    "poke_not_durable": {"deferrable": False, "durable": False},
    "deferred": {"deferrable": True},
    "deferred_attach": {"deferrable": True, "if_running": "attach"},
    "deferred_no_wait": {"deferrable": True, "wait_for_completion": False},
}

for way, parameters in WAYS.items():
    with DAG(way, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        KendraStartSyncJobOperator(task_id="sync", poll_interval=1, **DATA_SOURCE, **RETRIES, **parameters)

with DAG("sensor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    KendraSyncJobSensor(
        task_id="sync",
        execution_id="{{ dag_run.conf['execution_id'] }}",
        deferrable=True,
        poke_interval=1,
        **DATA_SOURCE,
        **RETRIES,
    )
