"""
Run one DAG with Airflow's own ``dag.test()``, and report each task's fate as a line of JSON.

    run_dag.py DAG_FILE DAG_ID REPORT_FD

``scripts/demo.py`` starts this and reads the report; Airflow's log goes to stdout and stderr. The DAG's
connection and variables are awaited on stdin, once Airflow has been loaded, as a JSON object of environment
variables.
"""

# ruff: noqa: E402
from __future__ import annotations

import gc

# This process is short, and loads so much that collecting garbage would take a sixth of its time.
gc.disable()

import json
import os
import sys
from pathlib import Path
from typing import Any

from airflow import __version__, settings
from airflow.listeners import hookimpl
from airflow.models.xcom import XComModel
from airflow.sdk.listener import get_listener_manager
from airflow.utils.db import initdb
from sqlalchemy import select


class Reporter:
    """An Airflow listener that writes what happens to tasks."""

    def __init__(self, descriptor: int) -> None:
        self.out = os.fdopen(descriptor, "w", buffering=1)
        self.started: set[str] = set()

    def write(self, **event: Any) -> None:
        print(json.dumps(event, default=str), file=self.out)

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
        resumed = task_instance.task_id in self.started
        self.started.add(task_instance.task_id)
        self.write(task=task_instance.task_id, what="resumed" if resumed else "started")

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
        self.write(task=task_instance.task_id, what="success")

    @hookimpl
    def on_task_instance_skipped(self, previous_state: Any, task_instance: Any) -> None:
        self.write(task=task_instance.task_id, what="skipped")

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
        self.write(task=task_instance.task_id, what="failed", why=f"{type(error).__name__}: {error}")


def prepare_database() -> None:
    """Make Airflow's metadata database, unless an earlier run of this Airflow version has."""
    done = Path(os.environ["AIRFLOW_HOME"], f"database-{__version__}")
    if not done.exists():
        initdb()
        done.touch()


def main() -> None:
    """Run the DAG and report."""
    dag_file, dag_id, descriptor = sys.argv[1:]
    reporter = Reporter(int(descriptor))
    prepare_database()
    get_listener_manager().add_listener(reporter)
    os.environ.update(json.load(sys.stdin))

    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_file)
    if dag_id not in bag.dags:
        reporter.write(what="broken", why="\n".join(bag.import_errors.values()) or f"no DAG {dag_id}")
        return
    reporter.write(what="running", airflow=__version__)
    run = bag.dags[dag_id].test()

    with settings.Session() as session:
        results = session.scalars(
            select(XComModel).where(
                XComModel.dag_id == dag_id, XComModel.run_id == run.run_id, XComModel.key == "return_value"
            )
        )
        returned = {result.task_id: XComModel.deserialize_value(result) for result in results}
    tasks = sorted(run.get_task_instances(), key=lambda ti: (ti.start_date is None, ti.start_date))
    reporter.write(
        what="ended",
        state=run.state,
        tasks=[{"task": ti.task_id, "state": ti.state, "returned": returned.get(ti.task_id)} for ti in tasks],
    )


if __name__ == "__main__":
    main()
