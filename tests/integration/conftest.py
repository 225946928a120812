"""A real Airflow for the tests that need one: its own processes, its own home, its own database."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_kendra.testing import LocalKendra
from tests.integration import processes
from tests.integration.processes import ROOT

Tasks = dict[str, dict[str, Any]]
MakeHome = Callable[[Path], Path]
RunModule = Callable[..., Any]
RunDag = Callable[..., Tasks]


@pytest.fixture(scope="session")
def make_home(tmp_path_factory: pytest.TempPathFactory) -> MakeHome:
    """Makes a directory a home of Airflow, with a database that holds nothing yet."""
    base = tmp_path_factory.getbasetemp()
    first = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "airflow"
    first.mkdir(exist_ok=True)
    with (first / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process of pytest-xdist makes the database for all
        if not (first / "is_made").exists():
            done = processes.run("airflow", "db", "migrate", env=processes.environment(first), output=first / "output")
            assert done.returncode == 0, done.output
            (first / "is_made").touch()

    def make(home: Path) -> Path:
        processes.copy_database(first / "airflow.db", home)
        return home

    return make


@pytest.fixture(scope="session")
def run_module(make_home: MakeHome) -> RunModule:
    """Runs a module of tests.integration that writes a report, in a new process of Airflow's; gives the report."""

    def run(home: Path, module: str, dag_id: str, *options: str, kendra: LocalKendra, env: Mapping[str, str]) -> Any:
        if not (home / "airflow.db").exists():
            make_home(home)
        report = home / f"{dag_id}.json"
        environment = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "tests" / "integration" / "dags"),
            "AIRFLOW_CONN_AWS_DEFAULT": kendra.connection_json,
            **env,
        }
        done = processes.run(
            f"tests.integration.{module}", dag_id, str(report), *options,
            env=processes.environment(home, **environment), output=home / f"{dag_id}.log",
        )  # fmt: skip
        print(done.output)
        assert done.returncode == 0, f"{module} ended with {done.returncode}; its output is above"
        return json.loads(report.read_text())

    return run


@pytest.fixture(scope="module")
def run_dag(run_module: RunModule, tmp_path_factory: pytest.TempPathFactory) -> RunDag:
    """
    Runs a DAG of ``dags/`` against a local Kendra; tells what became of each task.

    A database for each module: ``dag.test()`` leaves the rows of its triggers behind, a triggerer would take them up,
    and SQLite gives the id of a deleted row to the next, so that the events would reach the wrong task.
    """
    home = tmp_path_factory.mktemp("airflow")

    def run(kendra: LocalKendra, dag_id: str, *options: str, env: Mapping[str, str]) -> Tasks:
        tasks: Tasks = run_module(home, "run_dag", dag_id, *options, kendra=kendra, env=env)
        return tasks

    return run
