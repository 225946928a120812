"""
Ten waits a run that go to the triggerer without a worker; what they wait for is in the run's conf.

No more, for Airflow sends each of them to the triggerer together with the whole DAG.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG

from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor

with DAG("waits", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), max_active_runs=1000):
    for number in range(10):
        KendraSyncJobSensor(
            task_id=f"wait_{number}",
            index_id="{{ dag_run.conf['index_id'] }}",
            data_source_id="{{ dag_run.conf['data_source_id'] }}",
            execution_id="{{ dag_run.conf['execution_id'] }}",
            start_from_trigger=True,
            poke_interval=5,
            retries=5,
        )
