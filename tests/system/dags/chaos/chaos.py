"""What runs while faults rain; the index comes from the environment, all else from the conf."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator, KendraSyncJobMetricsOperator
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor

INDEX_ID = os.environ["KENDRA_INDEX_ID"]
INTERVAL = 2
KENDRA = {"index_id": INDEX_ID, "data_source_id": "{{ dag_run.conf['data_source_id'] }}"}
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
MANY_RETRIES: dict[str, Any] = {"retries": 40, "retry_delay": timedelta(seconds=2)}
FEW_RETRIES = MANY_RETRIES | {"retries": 8}  # for what fails in any case

WAYS: dict[str, dict[str, Any]] = {
    "start_deferred": {"deferrable": True},
    "start_poke": {"deferrable": False},
    "attach_deferred": {"deferrable": True, "if_running": "attach"},
    "attach_poke": {"deferrable": False, "if_running": "attach"},
}
OUTCOMES: dict[str, dict[str, Any]] = {
    "": MANY_RETRIES,
    "_failing": FEW_RETRIES,
    "_incomplete": MANY_RETRIES | {"max_documents_failed": 3},
}

for way, parameters in WAYS.items():
    for outcome, judged in OUTCOMES.items():
        with DAG(way + outcome, schedule=None, start_date=BEGINNING):
            start = KendraStartSyncJobOperator(task_id="sync", poll_interval=INTERVAL, **KENDRA, **parameters, **judged)
            job = {"execution_id": start.output["execution_id"], **KENDRA, **MANY_RETRIES}
            start >> KendraSyncJobMetricsOperator(task_id="gate", max_documents_failed=0, **job)
            # Succeeds with SUCCEEDED only.
            start >> KendraSyncJobSensor(task_id="wait", start_from_trigger=True, poke_interval=INTERVAL, **job)

SENSOR: dict[str, Any] = {"task_id": "wait", "poke_interval": INTERVAL, **MANY_RETRIES}
EXECUTION_ID = "{{ dag_run.conf['execution_id'] }}"

with DAG("sensor_deferred", schedule=None, start_date=BEGINNING):
    KendraSyncJobSensor(deferrable=True, execution_id=EXECUTION_ID, **KENDRA, **SENSOR)

with DAG("sensor_from_trigger", schedule=None, start_date=BEGINNING):
    KendraSyncJobSensor(start_from_trigger=True, execution_id=EXECUTION_ID, **KENDRA, **SENSOR)

with DAG("freshness", schedule=None, start_date=BEGINNING, render_template_as_native_obj=True):
    KendraDataFreshnessSensor(
        index_id=INDEX_ID,
        data_source_ids="{{ dag_run.conf['data_source_ids'].split(',') }}",
        fresh_since="{{ dag_run.conf['fresh_since'] ~ '' }}",
        deferrable=True,
        **SENSOR,
    )
