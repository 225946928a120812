"""One task in each class and mode, whose XComs and calls are counted; run with the ids as the run's conf."""

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_kendra.operators.kendra import (
    KendraListSyncJobsOperator,
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor

INDEX = {"index_id": "{{ dag_run.conf['index_id'] }}"}
SOURCE = {**INDEX, "data_source_id": "{{ dag_run.conf['data_source_id'] }}"}
JOB = {**SOURCE, "execution_id": "{{ dag_run.conf['execution_id'] }}"}
FRESH = {**INDEX, "data_source_ids": "{{ dag_run.conf['data_source_id'] }}", "max_age": timedelta(days=1)}
POLL, POKE = {"poll_interval": 1}, {"poke_interval": 1}

TASKS = {
    "start": (KendraStartSyncJobOperator, SOURCE | POLL),
    "start_deferred": (KendraStartSyncJobOperator, SOURCE | POLL | {"deferrable": True}),
    "start_after_another": (KendraStartSyncJobOperator, SOURCE | POLL | {"deferrable": True}),
    "start_no_wait": (KendraStartSyncJobOperator, SOURCE | {"wait_for_completion": False}),
    "stop": (KendraStopSyncJobOperator, SOURCE | POLL),
    "stop_deferred": (KendraStopSyncJobOperator, SOURCE | POLL | {"deferrable": True}),
    "metrics": (KendraSyncJobMetricsOperator, SOURCE),
    "list": (KendraListSyncJobsOperator, SOURCE),
    "sensor": (KendraSyncJobSensor, JOB | POKE),
    "sensor_deferred": (KendraSyncJobSensor, JOB | POKE | {"deferrable": True}),
    "sensor_from_trigger": (KendraSyncJobSensor, JOB | POKE | {"start_from_trigger": True}),
    "freshness": (KendraDataFreshnessSensor, FRESH | POKE),
    "freshness_deferred": (KendraDataFreshnessSensor, FRESH | POKE | {"deferrable": True}),
}

for name, (operator, parameters) in TASKS.items():
    with DAG(name, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        operator(task_id="sync", **parameters)
