"""
Runs one DAG of ``dags/xcoms.py`` with ``dag.test()``, and writes as JSON how its tasks ended and each XCom that was
written into the database, in order.

    python -m tests.integration.run_and_record DAG_ID REPORT
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from airflow.models import xcom
from sqlalchemy import event

from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS
from tests.integration.run_dag import load_dag

XCom: Any = xcom.XComModel if AIRFLOW_V_3_0_PLUS else xcom.BaseXCom


def main() -> None:
    dag_id, report = sys.argv[1:]
    writes: list[tuple[str, int, str, Any]] = []

    @event.listens_for(XCom, "before_insert", propagate=True)
    def record(mapper: Any, connection: Any, row: Any) -> None:
        value = json.loads(row.value) if isinstance(row.value, bytes) else row.value  # Airflow 2 stores JSON as bytes
        writes.append((row.task_id, row.map_index, row.key, value))

    dag = load_dag(dag_id)
    began = time.monotonic()
    run = dag.test()
    states = [(ti.task_id, ti.map_index, ti.state, ti.try_number) for ti in run.get_task_instances()]
    took = time.monotonic() - began
    Path(report).write_text(json.dumps({"tasks": states, "writes": writes, "seconds": took}))


if __name__ == "__main__":
    main()
