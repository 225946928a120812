"""Tasks that are to stop or judge one sync, whose id is not there, and tasks that name none."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_kendra.operators.kendra import KendraStopSyncJobOperator, KendraSyncJobMetricsOperator
from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor

IDS = {
    "index_id": os.environ.get("KENDRA_INDEX_ID", "i" * 36),
    "data_source_id": os.environ.get("KENDRA_DATA_SOURCE_ID", "source"),
}


def write_reason(context):
    """Keep what the task failed of, for the test to read."""
    line = json.dumps([context["ti"].task_id, str(context.get("exception"))])
    with Path(os.environ["KENDRA_REASONS"]).open("a") as reasons:
        reasons.write(f"{line}\n")


with DAG(
    "missing_values",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    render_template_as_native_obj=True,
    default_args={
        "retries": 1,
        "retry_delay": timedelta(0),
        "on_failure_callback": write_reason,
        "trigger_rule": "all_done",
        "region_name": None,
    },
):

    @task(multiple_outputs=True)
    def pushes_nothing():
        """Return a mapping without the key that is asked for."""
        return {}

    @task
    def pushes_list():
        """Return a list to map over, with an element that is not there."""
        return [None]

    nothing = pushes_nothing()
    pulled = "{{ ti.xcom_pull(task_ids='pushes_nothing', key='execution_id') }}"
    for operator in (KendraStopSyncJobOperator, KendraSyncJobMetricsOperator):
        prefix = "stop" if operator is KendraStopSyncJobOperator else "metrics"
        operator(task_id=f"{prefix}_output", execution_id=nothing["execution_id"], **IDS)
        operator(task_id=f"{prefix}_template", execution_id=pulled, **IDS) << nothing
        operator.partial(task_id=f"{prefix}_literal_mapping", **IDS).expand(execution_id=[None])
        operator.partial(task_id=f"{prefix}_mapping", **IDS).expand(execution_id=pushes_list())
        operator.partial(task_id=f"{prefix}_kwargs", **IDS).expand_kwargs([{"execution_id": None}])
    KendraSyncJobSensor(task_id="wait_output", execution_id=nothing["execution_id"], deferrable=True, **IDS)
    # These name no sync, which is another thing than naming one that is not there.
    ids = {"index_id": IDS["index_id"]}
    named = KendraSyncJobMetricsOperator(task_id="named_none", execution_id=None, **IDS)
    mapped = KendraSyncJobMetricsOperator.partial(task_id="mapped_none", execution_id=None, **ids).expand(
        data_source_id=[IDS["data_source_id"]]
    )
