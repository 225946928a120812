"""A real Airflow in separate processes, on PostgreSQL, whose processes a test can kill, freeze and start again."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import psycopg

from airflow_provider_kendra.testing import LocalKendra
from tests.system.reaper import parent_of, send

ROOT = Path(__file__).parents[2]
DAGS = Path(__file__).with_name("dags")
PATIENCE = 180.0  # seconds for anything that a test waits for; nothing takes so long unless it is broken

T = TypeVar("T")

# Airflow notices a loss after minutes; here, after seconds.
THRESHOLDS = {
    # Every component tells the database this often that it lives …
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    # … and a task's supervisor no more often than this.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # A scheduler, or triggerer, that was silent so long counts as dead, and another takes its work over.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "6",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
    # How often a scheduler looks for tasks of dead schedulers.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "2",
    # A running task whose supervisor was silent so long is lost, and how often that is looked for.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    # How long the scheduler rests when there is nothing to do.
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    # How often a supervisor asks an api-server that does not answer, before it counts a heartbeat as failed.
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "2",
    # How long one answer may take: a slow machine is no failure.
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
    # How often the DAG files are looked for, and read again.
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
}

# Where nothing is killed, nobody is lost, however busy the machine.
NOBODY_IS_LOST = {
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "120",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "120",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "600",
}

SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    **THRESHOLDS,
}


def wait_until(what: str, look: Callable[[], T | None], *, patience: float = PATIENCE) -> T:
    """Look until there is something to see, and return it."""
    give_up = time.monotonic() + patience
    while not (seen := look()):
        if time.monotonic() > give_up:
            raise TimeoutError(f"Waited {patience:.0f} s for {what}")
        time.sleep(0.1)
    return seen


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Reaper:
    """Ends what it was told of, also if this process is killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("reaper.py"))],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def watch(self, session: int, first_signal: signal.Signals = signal.SIGKILL) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{session} {first_signal.value}\n")
        self._process.stdin.flush()

    def reap(self) -> None:
        self._process.communicate()


class PostgreSQL:
    """A server of Debian's package on a free port, with a data directory of its own."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._port = free_port()
        self._programs = self._install()
        self._directory = Path(tempfile.mkdtemp(prefix="kendra-postgresql-"))
        self._server: subprocess.Popen[bytes] | None = None
        self.uri = f"postgresql+psycopg://airflow@127.0.0.1:{self._port}/airflow"

    def start(self) -> None:
        # The server refuses to run as root.
        as_whom = []
        if os.geteuid() == 0:
            shutil.chown(self._directory, "postgres", "postgres")
            as_whom = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data, log = self._directory / "data", self._directory / "log"
        initdb = [self._programs / "initdb", "-D", data, "-U", "airflow", "-A", "trust", "--no-sync", "-E", "UTF8"]
        _run([*as_whom, *initdb], cwd="/")
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 200,
            # The workers of a scheduler that was killed hold its connections open, and with them its locks.
            "idle_in_transaction_session_timeout": "15s",
        }
        arguments = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            self._server = subprocess.Popen(
                [*as_whom, self._programs / "postgres", "-D", data, "-p", str(self._port), *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
            )
        self._reaper.watch(self._server.pid, signal.SIGQUIT)
        wait_until("PostgreSQL", self._is_up)
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE airflow")

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._dsn("airflow"), autocommit=True)

    def remove(self) -> None:
        """Remove the data of a server that has been ended."""
        if self._server is not None:
            self._server.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _dsn(self, database: str) -> str:
        return f"host=127.0.0.1 port={self._port} user=airflow dbname={database}"

    def _is_up(self) -> bool:
        try:
            psycopg.connect(self._dsn("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    @staticmethod
    def _install() -> Path:
        """Where the programs are, after installing Debian's package where it is absent."""
        find = Path("/usr/lib/postgresql").glob
        if not any(find("*/bin/postgres")):
            _install("postgresql")
        return max(find("*/bin/postgres"), key=lambda path: float(path.parent.parent.name)).parent


class Redis:
    """A server of Debian's package on a free port, that keeps nothing: Celery's broker."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._port = free_port()
        self.uri = f"redis://127.0.0.1:{self._port}"

    def start(self) -> None:
        if shutil.which("redis-server") is None:
            _install("redis-server")
        server = subprocess.Popen(
            ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        self._reaper.watch(server.pid)
        wait_until("Redis", self._is_up)

    def _is_up(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port)).close()
        except ConnectionRefusedError:
            return False
        return True


def _install(package: str) -> None:
    """Install a package of Debian's."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError(f"The system tests need {package}: install it, for example apt-get install {package}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-q"], env=environment, check=False)
    _run(["apt-get", "install", "-q", "-y", "--no-install-recommends", package], env=environment)


@dataclass
class Component:
    """One of Airflow's processes, with all that it forks."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    reaper: Reaper
    _process: subprocess.Popen[bytes] | None = None
    _orphaned: set[int] = field(default_factory=set)  # sessions whose leader was killed

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *self.arguments],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.reaper.watch(self._process.pid)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self) -> None:
        """Wait until it has ended, if it ever started."""
        if self._process is not None:
            self._process.wait()

    def kill(self) -> None:
        """kill -9 of the process itself; what it has forked is left to its fate."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._orphaned.add(self.pid)

    def kill_all(self) -> None:
        """kill -9 of the process and all that it has forked, as when the machine is lost."""
        assert self._process is not None
        send({self.pid}, signal.SIGKILL)
        self._process.wait()

    def kill_orphans(self) -> None:
        send(self._orphaned, signal.SIGKILL)
        self._orphaned.clear()

    def freeze(self) -> None:
        """SIGSTOP of the process itself; what it has forked goes on."""
        os.kill(self.pid, signal.SIGSTOP)

    def freeze_all(self) -> None:
        """SIGSTOP of the process and all that it has forked."""
        send({self.pid}, signal.SIGSTOP)

    def thaw(self) -> None:
        send({self.pid}, signal.SIGCONT)


class Deployment:
    """
    All processes of an Airflow, and a test's way to see and do things in it.

    :param home: Where it keeps its files.
    :param kendra: What its connection `aws_default` leads to.
    :param dags: The folder with its DAGs.
    :param dag_count: How many there are.
    :param settings: Environment variables besides, or instead of, those that all deployments have.
    :param triggerers: How many triggerers run from the start on: one or two.
    :param workers: How many Celery workers there are; with none, tasks run in the scheduler's LocalExecutor.
    """

    def __init__(
        self,
        home: Path,
        kendra: LocalKendra,
        *,
        dags: Path,
        dag_count: int,
        settings: Mapping[str, str] | None = None,
        triggerers: int = 1,
        workers: int = 0,
    ) -> None:
        self.home = home
        self.kendra = kendra
        self._dag_count = dag_count
        self._runs: list[Run] = []
        self._reaper = Reaper()
        self._database = PostgreSQL(self._reaper)
        self._broker = Redis(self._reaper) if workers else None
        port = free_port()
        self._api = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self._environment = self._make_environment(port) | {"AIRFLOW__CORE__DAGS_FOLDER": str(dags), **(settings or {})}
        self.api_server = self._component("api-server", "api-server", "--host", "127.0.0.1", "--port", str(port))
        self.scheduler = self._component("scheduler", "scheduler", "--skip-serve-logs")
        self.dag_processor = self._component("dag-processor", "dag-processor")
        self.triggerer = self._component("triggerer", "triggerer", "--skip-serve-logs")
        # Where only one runs from the start on, a test can start the other.
        self.other_triggerer = self._component("other-triggerer", "triggerer", "--skip-serve-logs")
        self.triggerers = [self.triggerer, self.other_triggerer][:triggerers]
        self.workers = [
            self._component(
                f"worker-{number}", "celery", "worker", "--skip-serve-logs", "--celery-hostname", f"w{number}"
            )
            for number in range(workers)
        ]
        self.components = [self.api_server, self.scheduler, self.dag_processor, *self.triggerers, *self.workers]

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._reaper.reap()
        for component in [*self.components, self.other_triggerer]:
            component.wait()
        self._database.remove()

    def _start(self) -> None:
        self._database.start()
        if self._broker is not None:
            self._broker.start()
        _run([sys.executable, "-m", "airflow", "db", "migrate"], env=self._environment, cwd=ROOT)
        self._connection = self._database.connect()
        # First of all, for a task that it does not answer fails.
        self.api_server.start()
        self.wait_until_api_answers()
        self._api.headers["Authorization"] = f"Bearer {self._api.get('/auth/token').json()['access_token']}"
        # In the database, where every process but none of the environment finds it.
        connection = json.loads(self.kendra.connection_json)
        connection |= {"connection_id": "aws_default", "extra": json.dumps(connection["extra"])}
        self.request("POST", "/connections", json=connection)
        for component in self.components:
            if component is not self.api_server:
                component.start()
        wait_until("the DAGs", lambda: len(self.query("SELECT dag_id FROM serialized_dag")) >= self._dag_count)
        self.wait_until_healthy()

    def wait_until_healthy(self) -> None:
        """Wait until every component has told the database that it lives."""
        [(now,)] = self.query("SELECT now()")

        def is_healthy() -> bool:
            jobs = dict(self.query("SELECT job_type, count(*) FROM job WHERE latest_heartbeat > %s GROUP BY 1", now))
            triggerers = jobs.get("TriggererJob", 0)
            return {"SchedulerJob", "DagProcessorJob"} <= jobs.keys() and triggerers >= len(self.triggerers)

        wait_until("all components to be healthy", is_healthy)

    def restart(self) -> None:
        """Start what does not run, and thaw what is frozen; the api-server first, without which tasks fail."""
        for component in self.components:
            if component.is_alive:
                component.thaw()
            else:
                component.start()
            if component is self.api_server:
                self.wait_until_api_answers()
        self.wait_until_healthy()

    def wait_until_api_answers(self) -> None:
        wait_until("the api-server", self._api_answers)

    def restore(self) -> None:
        """Undo what a test has done to the components."""
        if self.other_triggerer.is_alive and self.other_triggerer not in self.components:
            self.other_triggerer.kill_all()
        for component in self.components:
            component.kill_orphans()
        self.restart()
        while self._runs:
            self._runs.pop().end()

    def _api_answers(self) -> bool:
        try:
            # The part that tasks speak to is built at the first request, which takes longer than these would wait.
            self._api.get("/execution/connections/none", timeout=PATIENCE)
            return self._api.get("/api/v2/version").is_success
        except httpx.TransportError:
            return False

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall()

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        response = self._api.request(method, f"/api/v2{path}", **kwargs)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    def trigger(self, dag_id: str, **conf: str) -> Run:
        """Start a run of a DAG."""
        started = self.request("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})
        self._runs.append(Run(self, dag_id, started["dag_run_id"]))
        return self._runs[-1]

    def _component(self, name: str, *arguments: str) -> Component:
        return Component(name, arguments, self._environment, self.home / f"{name}.log", self._reaper)

    def _make_environment(self, port: int) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW"))}
        key = urlsafe_b64encode(secrets.token_bytes(32)).decode()
        celery = {}
        if self._broker is not None:
            celery = {
                "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
                "AIRFLOW__CELERY__BROKER_URL": f"{self._broker.uri}/0",
                "AIRFLOW__CELERY__RESULT_BACKEND": f"{self._broker.uri}/1",
                "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
            }
        return {
            **inherited,
            **SETTINGS,
            **celery,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database.uri,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": self._database.uri,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": key,
            "AIRFLOW__API__SECRET_KEY": key,
            "AIRFLOW__API_AUTH__JWT_SECRET": key,
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }


@dataclass
class Run:
    """One run of a DAG whose only task is `sync`."""

    deployment: Deployment
    dag_id: str
    run_id: str
    task_id: str = field(default="sync", init=False)

    @property
    def _task_path(self) -> str:
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/{self.task_id}"

    def _task_column(self, column: str) -> Any:
        rows = self.deployment.query(
            f"SELECT {column} FROM task_instance WHERE dag_id = %s AND run_id = %s AND task_id = %s "
            "ORDER BY try_number DESC",  # Airflow 3.4 has a row for each try
            self.dag_id,
            self.run_id,
            self.task_id,
        )
        return rows[0][0] if rows else None

    @property
    def state(self) -> str | None:
        """The task's."""
        state: str | None = self._task_column("state")
        return state

    @property
    def try_number(self) -> int:
        return int(self._task_column("try_number"))

    def wait_for(self, *states: str) -> str:
        """Wait until the task is in one of these states."""
        try:
            return wait_until(f"the task to be {states}", lambda: self.state if self.state in states else None)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it is {self.state} at try {self.try_number}\n{self.logs()}") from None

    def wait_for_try(self, number: int) -> None:
        wait_until(f"try {number}", lambda: self.try_number >= number)

    def process(self) -> int:
        """The pid of the process that runs the task's code."""
        pid: int = wait_until("the task's process", lambda: self._task_column("pid"))
        return pid

    def kill_process(self) -> None:
        """kill -9 of the task's process."""
        os.kill(self.process(), signal.SIGKILL)

    def kill_supervisor(self) -> None:
        """kill -9 of the supervisor of the task's process."""
        os.kill(parent_of(self.process()), signal.SIGKILL)

    def terminate_worker(self) -> None:
        """SIGTERM of the task's supervisor, which is what a pod gets that is evicted."""
        os.kill(parent_of(self.process()), signal.SIGTERM)

    def wait_for_log(self, words: str) -> None:
        """Wait until the log of any try has these words."""
        try:
            wait_until(f"{words!r} in the log", lambda: words in self.logs())
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the task is {self.state} at try {self.try_number}\n{self.logs()}") from None

    def wait_for_waiting(self) -> None:
        """Wait until the task waits, in its process or in a triggerer."""
        self.wait_for_log("SYNCING after ")

    def triggerer_job(self) -> int | None:
        """The job that the task's trigger is assigned to."""
        rows = self.deployment.query("SELECT triggerer_id FROM trigger WHERE id = %s", self._task_column("trigger_id"))
        return rows[0][0] if rows else None

    def end(self) -> None:
        """Let nothing of it run on."""
        path = f"/dags/{self.dag_id}/dagRuns/{self.run_id}"
        if self.deployment.request("GET", path)["state"] not in ("success", "failed"):
            self.deployment.request("PATCH", path, json={"state": "failed"})

    def mark(self, state: str) -> None:
        """What the button does."""
        self.deployment.request("PATCH", self._task_path, json={"new_state": state})

    def clear(self) -> None:
        """What the button does."""
        self.deployment.request(
            "POST",
            f"/dags/{self.dag_id}/clearTaskInstances",
            json={"dry_run": False, "dag_run_id": self.run_id, "task_ids": [self.task_id], "only_failed": False},
        )

    def result(self) -> dict[str, Any]:
        """The task's XCom."""
        value: dict[str, Any] = self.deployment.request("GET", f"{self._task_path}/xcomEntries/return_value")["value"]
        return value

    def logs(self) -> str:
        """The last lines of all tries."""
        folder = self.deployment.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        files = sorted(folder.rglob("*.log*"))
        return "\n".join(f"== {file.name}\n{file.read_text()[-6000:]}" for file in files)


def _run(command: Sequence[str | Path], *, check: bool = True, **kwargs: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **kwargs)
    if check and done.returncode != 0:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}")
