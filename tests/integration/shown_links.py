"""
Tells which links Airflow's API server gives for each task of the last run of a DAG in ``dags/``, as JSON.

    python -m tests.integration.shown_links DAG_ID REPORT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from airflow import settings
from airflow.models import DagRun
from sqlalchemy import select

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
    dag = as_stored(load_dag(dag_id))
    with settings.Session() as session:
        runs = select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc())
        tasks = session.scalars(runs).first().get_task_instances(session=session)
        links = {
            ti.task_id: {name: task.get_extra_links(ti, name) or None for name in task.extra_links}
            for ti in tasks
            if (task := dag.get_task(ti.task_id))
        }
    Path(report).write_text(json.dumps(links))


if __name__ == "__main__":
    main()
