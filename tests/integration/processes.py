"""
Processes of Airflow, forked from one that has imported everything, to start at once instead of after many seconds.

Apart from that each is a process of its own, with its own environment, output and session.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parents[2]

# Airflow reads these when it is imported.
_SETTINGS = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__API__WORKERS": "1",  # more are spawned, which needs a standard input
    "AIRFLOW__CORE__PARALLELISM": "2",
    # Only after so many seconds is it noticed that the process of a task has ended.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # A lost triggerer and a deferral that has timed out are noticed after seconds, not after half a minute.
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
}

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.integration.preloaded"])
_ADDRESS = "KENDRA_TEST_FORKSERVER"


def share_forkserver() -> None:
    """Start the process from which others are forked, for all processes of pytest-xdist that this one starts."""
    with patch.dict(os.environ, _SETTINGS):
        forkserver.ensure_running()
    os.environ[_ADDRESS] = forkserver._forkserver._forkserver_address  # type: ignore[attr-defined]


if _ADDRESS in os.environ:
    # That process ends with the one that has started it, which outlives this one.
    shared = forkserver._forkserver  # type: ignore[attr-defined]
    shared._forkserver_address = os.environ[_ADDRESS]
    shared._forkserver_alive_fd = os.open(os.devnull, os.O_RDONLY)
    shared.ensure_running = resource_tracker.ensure_running


@dataclass(frozen=True)
class Done:
    """How a process has ended, and what it said."""

    returncode: int
    output: str


class _Unforked(subprocess.Popen[bytes]):
    """A process with the methods of multiprocessing's."""

    def join(self, timeout: float | None = None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(timeout)

    @property
    def exitcode(self) -> int | None:
        return self.poll()


def start(module: str, *arguments: str, env: Mapping[str, str], output: Path) -> Any:
    """Start ``python -m MODULE ARGUMENTS``; gives a ``multiprocessing.Process``, which leads a session of its own."""
    # Imports Airflow, for which the process of pytest-xdist that only distributes the tests would wait.
    from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS

    if module == "airflow" and not AIRFLOW_V_3_0_PLUS:  # much of Airflow 2 goes by what its modules read when imported
        with output.open("ab") as log:
            return _Unforked(
                [sys.executable, "-m", module, *arguments],
                env=env, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
    process = _CONTEXT.Process(target=_become, args=(module, arguments, dict(env), str(output)))
    with patch.dict(os.environ, _SETTINGS):
        process.start()
    return process


def run(module: str, *arguments: str, env: Mapping[str, str], output: Path, timeout: float = 300) -> Done:
    """Run ``python -m MODULE ARGUMENTS`` to its end."""
    process = start(module, *arguments, env=env, output=output)
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        process.join()
    return Done(process.exitcode, output.read_text(errors="replace"))


def run_unforked(module: str, *arguments: str, env: Mapping[str, str], timeout: float = 300) -> Done:
    """The same in a process that imports everything itself, by settings that count when that is done."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout
    )
    return Done(done.returncode, done.stdout)


def copy_database(database: Path, home: Path) -> None:
    """Give an Airflow home a database."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(home / "airflow.db")) as copy:
        source.backup(copy)


def environment(home: Path, **more: str) -> dict[str, str]:
    """An Airflow that lives in a directory, whatever the settings of whoever runs the tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW"))}
    return {
        **inherited,
        "AIRFLOW_HOME": str(home),
        # Named each, since what Airflow makes of AIRFLOW_HOME it makes when it is imported.
        **_SETTINGS,
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_MANAGER_LOG_LOCATION": str(home / "logs" / "dag_processor_manager.log"),
        "AIRFLOW__SCHEDULER__CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "scheduler"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(ROOT),
        **more,
    }


def _become(module: str, arguments: Sequence[str], env: Mapping[str, str], output: str) -> None:
    os.setsid()
    os.chdir(ROOT)
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    os.environ.clear()
    os.environ.update(env)
    # The server from which this was forked has passed on its own method, by which a scheduler would start a second one.
    multiprocessing.set_start_method("fork", force=True)
    _initialize_airflow()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _initialize_airflow() -> None:
    """Let Airflow go by the environment of this process, not of the one that imported it."""
    from airflow import settings

    from airflow_provider_kendra.version_compat import AIRFLOW_V_3_3_PLUS

    sys.modules.pop("airflow.config_templates.airflow_local_settings", None)
    settings.initialize()
    if AIRFLOW_V_3_3_PLUS:
        _initialize_metrics_and_xcoms()


def _initialize_metrics_and_xcoms() -> None:
    """Let what Airflow 3.3 and newer choose when they are imported be chosen by this environment too."""
    from airflow.observability.metrics import stats_utils
    from airflow.sdk.execution_time import task_runner, xcom
    from airflow.sdk.observability import stats

    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
    xcom.XCom = task_runner.XCom = xcom.resolve_xcom_backend()
