"""
Runs one DAG of ``dags/`` with ``dag.test()``, and writes what Airflow's API server then tells of its tasks, as JSON.

    python -m tests.integration.run_and_show DAG_ID REPORT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from airflow_provider_kendra import _lineage
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS
from tests.integration.run_dag import load_dag


def as_stored(dag: Any) -> Any:
    """The DAG as the API server knows it: read from the database, not from its file."""
    try:
        from airflow.serialization.serialized_objects import DagSerialization
    except ImportError:
        from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization
    return DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))


def main() -> None:
    dag_id, report = sys.argv[1:]
    _lineage.leads_to_aws = lambda endpoint: True  # else tasks have no links: their Kendra is local
    dag = load_dag(dag_id)
    if not AIRFLOW_V_3_0_PLUS:
        dag.sync_to_db()  # else there are no datasets that could have events
    run = dag.test()
    stored = as_stored(dag)
    shown = {}
    for ti in run.get_task_instances():
        task = stored.get_task(ti.task_id)
        links = {name: task.get_extra_links(ti, name) or None for name in task.extra_links}
        shown[ti.task_id] = {"state": ti.state, "links": links}
    Path(report).write_text(json.dumps(shown))


if __name__ == "__main__":
    main()
