"""
Runs one DAG with Airflow's own ``dag.test()``, and reports the progress of each task as lines of JSON.

    python -m airflow_provider_kendra._demo.run_dag DAG_FILE DAG_ID REPORT_FD

The demo starts this and reads the report; Airflow's log goes to stdout and stderr. The DAG's connection and variables
are read from stdin, once Airflow has been loaded, as a JSON object of environment variables.
"""

# ruff: noqa: E402
from __future__ import annotations

import gc

# This process is short, and loads so much that collecting garbage would take a sixth of its time.
gc.disable()

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from airflow import __version__
from airflow.listeners import hookimpl
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS


class Reporter:
    """An Airflow listener that writes what happens to tasks."""

    def __init__(self, descriptor: int) -> None:
        self.out = os.fdopen(descriptor, "w", buffering=1)
        self.started: list[str] = []

    def write(self, **event: Any) -> None:
        print(json.dumps(event, default=str), file=self.out)

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
        resumed = task_instance.task_id in self.started
        self.started.append(task_instance.task_id)
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


def first(*paths: str) -> Any:
    """
    Return the first of these objects that this Airflow version has.

    :param paths: Where Airflow versions have it, as import paths.
    """
    for path in paths:
        module, _, name = path.rpartition(".")
        try:
            return getattr(import_module(module), name)
        except (AttributeError, ImportError):
            continue
    raise ImportError(f"this Airflow ({__version__}) has none of {', '.join(paths)}")


def prepare_database() -> None:
    """Make Airflow's metadata database, unless an earlier run of this Airflow version has."""
    done = Path(os.environ["AIRFLOW_HOME"], f"database-{__version__}")
    if not done.exists():
        initdb()
        done.touch()


def results(dag_id: str, run_id: str) -> dict[str, Any]:
    """
    Return what each task of a run has returned.

    :param dag_id: The DAG.
    :param run_id: Its run.
    """
    xcom = first("airflow.models.xcom.XComModel", "airflow.models.xcom.XCom")
    with create_session() as session:
        found = session.scalars(
            select(xcom).where(xcom.dag_id == dag_id, xcom.run_id == run_id, xcom.key == "return_value")
        )
        # Airflow 2 deserializes a value when it is read.
        return {each.task_id: xcom.deserialize_value(each) if AIRFLOW_V_3_0_PLUS else each.value for each in found}


def main() -> None:
    """Run the DAG and report."""
    dag_file, dag_id, descriptor = sys.argv[1:]
    reporter = Reporter(int(descriptor))
    prepare_database()
    get_listener_manager = first(
        "airflow.sdk.listener.get_listener_manager", "airflow.listeners.listener.get_listener_manager"
    )
    get_listener_manager().add_listener(reporter)
    os.environ.update(json.load(sys.stdin))

    bag = first("airflow.dag_processing.dagbag.DagBag", "airflow.models.dagbag.DagBag")(dag_file)
    if dag_id not in bag.dags:
        reporter.write(what="broken", why="\n".join(bag.import_errors.values()) or f"no DAG {dag_id}")
        return
    reporter.write(what="running", airflow=__version__)
    run = bag.dags[dag_id].test()

    returned = results(dag_id, run.run_id)
    # Those that have not started come last.
    order = [*reporter.started, *bag.dags[dag_id].task_ids]
    tasks = sorted(run.get_task_instances(), key=lambda ti: order.index(ti.task_id))
    reporter.write(
        what="ended",
        state=run.state,
        tasks=[{"task": ti.task_id, "state": ti.state, "returned": returned.get(ti.task_id)} for ti in tasks],
    )


if __name__ == "__main__":
    main()
