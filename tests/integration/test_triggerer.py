"""A real Airflow with all its processes, for behaviour of a separate triggerer."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.testing.local import Call
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from tests.conftest import DataSource
from tests.integration import processes
from tests.integration.conftest import MakeHome
from tests.integration.processes import ROOT
from tests.system.reaper import send
from tests.xcom_table import XCOM

T = TypeVar("T")

PATIENCE = 120.0  # seconds for anything that is waited for; nothing takes so long unless it is broken
INTERVAL = 0.5
DAG_ID = "two_waits"

DAG = f"""
import json
import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor

with DAG({DAG_ID!r}, schedule="@once", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False):
    for task_id, arguments in json.loads(os.environ["WAITS"]).items():
        if "execution_timeout" in arguments:
            arguments["execution_timeout"] = timedelta(seconds=arguments["execution_timeout"])
        KendraSyncJobSensor(task_id=task_id, deferrable=True, poke_interval={INTERVAL}, **arguments)
"""


class Airflow:
    """Its components as processes, on SQLite, with everything else in one directory."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self._home = home
        self._database = home / "airflow.db"
        port = _free_port()
        key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        more = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor" if AIRFLOW_V_3_0_PLUS else "SequentialExecutor",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": key,
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__API__SECRET_KEY": key,
            "AIRFLOW__API_AUTH__JWT_SECRET": key,
            # Airflow 2 looks for its own program there.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONWARNINGS": "ignore",
        }
        self._environment = processes.environment(home, **more, **environment)
        self._port = port
        self._processes: dict[str, Any] = {}
        # Ends the processes, and whatever they have forked, also if this one is killed.
        self._reaper = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "system" / "reaper.py")],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def add_connection(self, kendra: LocalKendra) -> None:
        """Into the database, where a triggerer has to ask for it."""
        self._run("connections", "add", "aws_default", "--conn-json", kendra.connection_json)

    def trigger(self, dag_id: str) -> None:
        """Start a run of the DAG."""
        self._run("dags", "trigger", dag_id)

    def _run(self, *command: str) -> None:
        output = self._home / f"{command[0]}.log"
        done = processes.run("airflow", *command, env=self._environment, output=output, timeout=PATIENCE)
        assert done.returncode == 0, done.output

    def start(self) -> None:
        self.start_triggerer()
        if AIRFLOW_V_3_0_PLUS:
            self.start_dag_processor()
            self._start("api-server", "--apps", "execution", "--host", "127.0.0.1", "--port", str(self._port))
            self.wait_until("the api-server", self._api_server_answers)
        # The last one: a task that cannot reach the api-server fails.
        self._start("scheduler", "--skip-serve-logs")

    def start_triggerer(self) -> None:
        self._start("triggerer", "--skip-serve-logs")

    def stop_triggerer(self) -> None:
        self._stop("triggerer")

    def start_dag_processor(self) -> None:
        self._start("dag-processor")

    def stop_dag_processor(self) -> None:
        self._stop("dag-processor")

    def _stop(self, name: str) -> None:
        process = self._processes[name]
        process.terminate()
        process.join(PATIENCE)

    def kill_triggerer(self) -> None:
        """kill -9 of it and all that it has forked, as when its machine is lost."""
        triggerer = self._processes["triggerer"]
        send({triggerer.pid}, signal.SIGKILL)
        triggerer.join()

    def _start(self, *arguments: str) -> None:
        output = self._home / f"{arguments[0]}.log"
        process = processes.start("airflow", *arguments, env=self._environment, output=output)
        self._processes[arguments[0]] = process
        assert self._reaper.stdin is not None
        self._reaper.stdin.write(f"{process.pid} {int(signal.SIGKILL)}\n")
        self._reaper.stdin.flush()

    def _api_server_answers(self) -> bool:
        """With its first request it makes its routes, which takes longer than a task waits for an answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/execution/health", timeout=PATIENCE):
                return True
        except HTTPError:
            return True
        except OSError:
            return False

    def stop(self) -> None:
        self._reaper.communicate()
        for process in self._processes.values():
            process.join()

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def states(self) -> dict[str, str | None]:
        """Of the tasks, in their last try: Airflow 3.4 has a row for each."""
        query = "SELECT task_id, state FROM task_instance WHERE dag_id = ? ORDER BY try_number"
        return dict(self.query(query, DAG_ID))

    def move_deferrals_back(self, by: timedelta, *task_ids: str) -> None:
        """Let the tasks have been deferred so much earlier."""
        for task_id in task_ids:
            [(text,)] = self.query(
                "SELECT trigger_timeout FROM task_instance WHERE dag_id = ? AND task_id = ?", DAG_ID, task_id
            )
            earlier = datetime.fromisoformat(text) - by
            with closing(sqlite3.connect(self._database, timeout=30)) as connection, connection:
                connection.execute(
                    "UPDATE task_instance SET trigger_timeout = ? WHERE dag_id = ? AND task_id = ?",
                    (str(earlier), DAG_ID, task_id),
                )

    def result(self, task_id: str) -> dict[str, object]:
        query = f"SELECT value FROM {XCOM} WHERE dag_id = ? AND task_id = ? AND key = 'return_value'"
        [(value,)] = self.query(query, DAG_ID, task_id)
        result = json.loads(value)
        return json.loads(result) if isinstance(result, str) else result  # type: ignore[no-any-return]

    def log_of(self, task_id: str) -> str:
        """All that the worker and the triggerer have written into a task's log."""
        files = sorted((self._home / "logs").glob(f"dag_id={DAG_ID}/*/task_id={task_id}/*"))
        return "\n".join(file.read_text() for file in files)

    def wait_until(self, what: str, look: Callable[[], T | None]) -> T:
        give_up = time.monotonic() + PATIENCE
        while not (seen := look()):
            if time.monotonic() > give_up:
                raise TimeoutError(f"Waited {PATIENCE:.0f} s for {what}; tasks are {self.states()}\n{self._said()}")
            time.sleep(0.1)
        return seen

    def _said(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in self._home.glob("*.log"))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


StartAirflow = Callable[[dict[str, dict[str, Any]]], Airflow]


@pytest.fixture
def airflow(tmp_path: Path, make_home: MakeHome, data_source: DataSource) -> Iterator[StartAirflow]:
    """Starts an Airflow that runs sensors with these arguments, by task id."""
    started = []

    def start(waits: dict[str, dict[str, Any]]) -> Airflow:
        (tmp_path / "dags").mkdir()
        (tmp_path / "dags" / "two_waits.py").write_text(DAG)
        airflow = Airflow(make_home(tmp_path), {"WAITS": json.dumps(waits)})
        started.append(airflow)
        airflow.add_connection(data_source.kendra)
        airflow.start()
        return airflow

    yield start
    for airflow in started:
        airflow.stop()


@pytest.mark.slow
def test_two_waits_share_polls_and_each_logs_in_its_own_task(data_source: DataSource, airflow: StartAirflow) -> None:
    first = data_source.start()
    after_first = (datetime.now(UTC) + timedelta(milliseconds=1)).isoformat()
    running = airflow(
        {
            "wait_for_one": {**data_source.as_kwargs, "execution_id": first},
            "wait_for_next": {**data_source.as_kwargs, "started_after": after_first},
        }
    )
    for task_id, line in (("wait_for_one", f"(sync job {first})"), ("wait_for_next", "No sync job listed after ")):
        running.wait_until(f"{task_id} to wait", lambda t=task_id, line=line: line in running.log_of(t))  # type: ignore[misc]
    assert running.states() == {"wait_for_one": "deferred", "wait_for_next": "deferred"}

    def polls() -> list[Call]:
        return data_source.kendra.calls("ListDataSourceSyncJobs")

    before = len(polls())
    shared = running.wait_until("more polls", lambda: polls()[before:] if len(polls()) >= before + 10 else None)

    data_source.finish("SUCCEEDED")
    running.wait_until("the first wait's end", lambda: running.states()["wait_for_one"] in ("success", "failed"))
    assert running.states() == {"wait_for_one": "success", "wait_for_next": "deferred"}
    assert running.result("wait_for_one")["execution_id"] == first

    second = data_source.start()
    data_source.finish("FAILED")
    running.wait_until("the other's end", lambda: running.states()["wait_for_next"] in ("success", "failed"))
    assert running.states() == {"wait_for_one": "success", "wait_for_next": "failed"}
    assert second in running.log_of("wait_for_next")

    # Two waits that look for themselves would look twice as often.
    assert shared[-1].time - shared[0].time > 0.75 * INTERVAL * (len(shared) - 1)
    waits_for = {
        "wait_for_one": f"sync job {first}, data source",
        "wait_for_next": f"(waiting for a sync job that started at or after {after_first}",
    }
    for task_id, words in waits_for.items():
        (other,) = waits_for.keys() - {task_id}
        assert words in running.log_of(task_id)
        assert words not in running.log_of(other)


@pytest.mark.slow
@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow starts from the trigger from 3.3 on")
def test_limits_of_a_wait_that_started_from_the_trigger_survive_the_triggerer(
    data_source: DataSource, airflow: StartAirflow
) -> None:
    limit = 1800
    wait = {**data_source.as_kwargs, "execution_id": data_source.start(), "start_from_trigger": True}
    running = airflow(
        {
            "timed_out": {**wait, "timeout": limit},
            "not_found": {**wait, "execution_id": "missing", "not_found_timeout": limit, "timeout": 2 * limit},
            "limited": {**wait, "execution_timeout": 5, "soft_fail": True, "retries": 1, "retry_delay": 0},
        }
    )
    waits = ("timed_out", "not_found")
    for task_id in waits:
        running.wait_until(f"{task_id} to wait", lambda t=task_id: "sync job" in running.log_of(t))  # type: ignore[misc]

    running.kill_triggerer()
    running.move_deferrals_back(timedelta(seconds=limit), *waits)
    running.start_triggerer()

    for task_id in (*waits, "limited"):
        running.wait_until(
            f"the end of {task_id}",
            lambda t=task_id: running.states()[t] in ("success", "failed", "skipped"),  # type: ignore[misc]
        )
    assert running.states() == {"timed_out": "failed", "not_found": "failed", "limited": "failed"}
    assert "Raise timeout if syncs take this long" in running.log_of("timed_out")
    assert "raise not_found_timeout" in running.log_of("not_found")
    assert "execution_timeout (0:00:05) has passed" in running.log_of("limited")
    tries = "SELECT max(try_number) FROM task_instance WHERE dag_id = ? AND task_id = 'limited'"
    assert running.query(tries, DAG_ID) == [(2,)]
