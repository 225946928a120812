"""A real Airflow for the tests that need one: its own process, its own home, its own database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_kendra.testing import LocalKendra

ROOT = Path(__file__).parents[2]

Tasks = dict[str, dict[str, Any]]
RunDag = Callable[..., Tasks]


@pytest.fixture(scope="module")
def run_dag(tmp_path_factory: pytest.TempPathFactory) -> RunDag:
    """
    Runs a DAG of ``dags/`` against a local Kendra; tells what became of each task.

    A database for each module: ``dag.test()`` leaves the rows of its triggers behind, a triggerer would take them up,
    and SQLite gives the id of a deleted row to the next, so that the events would reach the wrong task.
    """
    home = tmp_path_factory.mktemp("airflow")

    def run(kendra: LocalKendra, dag_id: str, *options: str, env: Mapping[str, str]) -> Tasks:
        report = home / f"{dag_id}.json"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW"))}
        environment = {
            **inherited,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "tests" / "integration" / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_AWS_DEFAULT": kendra.connection_json,
            "PYTHONPATH": str(ROOT),
            **env,
        }
        command = [sys.executable, "-m", "tests.integration.run_dag", dag_id, str(report), *options]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
        print(done.stdout[-20_000:], done.stderr[-20_000:], sep="\n")
        assert done.returncode == 0, f"run_dag ended with {done.returncode}; its output is above"
        tasks: Tasks = json.loads(report.read_text())
        return tasks

    return run
