"""Tasks whose XComs and links are of interest."""

import os
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_kendra.operators.kendra import KendraSyncJobMetricsOperator
from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor

IDS = {
    "index_id": os.environ.get("KENDRA_INDEX_ID", "i" * 36),
    "data_source_id": os.environ.get("KENDRA_DATA_SOURCE_ID", "source"),
}

with DAG("xcoms", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    # The only one that sees the sync run.
    first = KendraSyncJobSensor(task_id="poke", execution_id="mine", poke_interval=0.1, **IDS)
    others = [
        KendraSyncJobSensor(task_id="deferred", execution_id="mine", deferrable=True, **IDS),
        KendraSyncJobMetricsOperator(task_id="default", **IDS),
        KendraSyncJobMetricsOperator(task_id="all", multiple_outputs=True, **IDS),
        KendraSyncJobMetricsOperator(task_id="none", multiple_outputs=False, **IDS),
        KendraSyncJobMetricsOperator(task_id="silent", do_xcom_push=False, **IDS),
        KendraSyncJobMetricsOperator(task_id="gate", max_documents_failed=0, **IDS),
        KendraSyncJobMetricsOperator.partial(task_id="mapped", **IDS).expand(execution_id=["mine", "mine"]),
    ]
    first >> others

    @task
    def take(execution_id, status, documents_failed):
        """Take what is an XCom of its own."""
        return [execution_id, status, documents_failed]

    take(*(others[1].output[key] for key in ("execution_id", "status", "documents_failed")))

with DAG("mapped_at_run_time", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"retries": 2}):

    @task
    def find():
        """Find out only when it runs that tasks are to start from the trigger."""
        return [{"execution_id": "mine", "start_from_trigger": True}]

    KendraSyncJobSensor.partial(task_id="expand_kwargs", **IDS).expand_kwargs(find())

    @task
    def flags():
        """The same for one argument."""
        return [True]

    KendraSyncJobSensor.partial(task_id="expand", execution_id="mine", **IDS).expand(start_from_trigger=flags())
