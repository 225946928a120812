"""
Runs one DAG of ``dags/xcoms.py`` with ``dag.test()``, and writes as JSON how its tasks ended and each XCom that was
written into the database, in order.

    python -m tests.integration.run_and_record DAG_ID REPORT
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow import settings
from airflow.models import xcom
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import event

from airflow_provider_kendra import _lineage
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_4_PLUS
from tests.integration.run_dag import load_dag

XCom: Any = xcom.XComModel if AIRFLOW_V_3_0_PLUS else xcom.BaseXCom


def record_writes(record: Callable[[Any, str, Any], None]) -> None:
    """Take each XCom that is stored."""
    if AIRFLOW_V_3_4_PLUS:
        store = XCom.set_for_attempt

        def set_for_attempt(*, task_instance_id: Any, key: str, value: Any, **more: Any) -> None:
            with settings.Session() as session:
                record(session.get(TaskInstance, task_instance_id), key, value)
            store(task_instance_id=task_instance_id, key=key, value=value, **more)

        XCom.set_for_attempt = set_for_attempt
        return

    @event.listens_for(XCom, "before_insert", propagate=True)
    def before_insert(mapper: Any, connection: Any, row: Any) -> None:
        value = json.loads(row.value) if isinstance(row.value, bytes) else row.value  # Airflow 2 stores JSON as bytes
        record(row, row.key, value)


def main() -> None:
    dag_id, report = sys.argv[1:]
    writes: list[tuple[str, int, str, Any]] = []

    def record(ti: Any, key: str, value: Any) -> None:
        writes.append((ti.task_id, ti.map_index, key, value))

    record_writes(record)
    _lineage.leads_to_aws = lambda endpoint: True  # else tasks have no links: their Kendra is local
    dag = load_dag(dag_id)
    began = time.monotonic()
    run = dag.test()
    states = [(ti.task_id, ti.map_index, ti.state, ti.try_number) for ti in run.get_task_instances()]
    took = time.monotonic() - began
    Path(report).write_text(json.dumps({"tasks": states, "writes": writes, "seconds": took}))


if __name__ == "__main__":
    main()
