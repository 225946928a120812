"""Waits that no worker begins, on what a task before them found out."""

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor

with DAG(
    "start_from_trigger",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={"account": "default"},
    default_args={
        "retries": 1,
        "retry_delay": timedelta(0),
        "start_from_trigger": True,
        "poke_interval": 0.2,
        "index_id": os.environ.get("KENDRA_INDEX_ID", ""),
        "data_source_id": os.environ.get("KENDRA_DATA_SOURCE_ID", ""),
    },
):

    @task(multiple_outputs=True)
    def start():
        """Stand in for whatever starts the sync."""
        return {"execution_id": "mine", "start_time": "2026-01-31T05:30:00+00:00"}

    started = start()
    # Airflow 3.3's triggerer answers xcom_pull for one map index only.
    started >> [
        KendraSyncJobSensor(
            task_id="by_template",
            execution_id="{{ ti.xcom_pull(task_ids='start', key='execution_id', map_indexes=-1) }}",
        ),
        KendraSyncJobSensor(
            task_id="since_template", started_after="{{ ti.xcom_pull('start', map_indexes=-1)['start_time'] }}"
        ),
        KendraSyncJobSensor(
            task_id="since_logical_date", started_after="{{ logical_date - macros.timedelta(days=3650) }}"
        ),
        KendraSyncJobSensor(
            task_id="by_connection_template", execution_id="mine", aws_conn_id="aws_{{ params.account }}"
        ),
        KendraSyncJobSensor(
            task_id="by_template_of_nothing", execution_id="{{ ti.xcom_pull('start', key='none', map_indexes=-1) }}"
        ),
    ]
    KendraSyncJobSensor(task_id="by_xcom_arg", execution_id=started["execution_id"])
    KendraSyncJobSensor(task_id="since_xcom_arg", started_after=started["start_time"])
