"""Airflow's UI beside the local Kendra."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, suppress
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

from airflow_provider_kendra._demo import interrupts
from airflow_provider_kendra._demo.kendra import example_environment, kendra_schedule, kill_session, say, sync_once
from airflow_provider_kendra.testing import LocalKendra

AIRFLOW_2 = version("apache-airflow").startswith("2.")  # Airflow itself is not imported here
HEALTH = "health" if AIRFLOW_2 else "api/v2/monitor/health"


def ui_environment(examples: dict[str, str], port: int) -> dict[str, str]:
    """
    Return the settings of ``airflow standalone``.

    :param examples: What the example DAGs need.
    :param port: The port of the UI.
    """
    return {
        **examples,
        # The asset example runs only when it is not paused.
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # A run that is due at the start begins before the API server accepts connections, and fails.
        "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "1",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "15",
        # On a busy machine the API server needs longer than the 5 s after which Airflow fails a task that starts.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        # The UI needs no login, so only this machine may reach it.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        # Airflow 2.
        "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
        "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
        # Other demos may be running, and other Airflows.
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
    }


def free_port(port: int = 0) -> int:
    """
    Return a port that nobody listens on.

    :param port: The port to try. Default: any.
    :raises ValueError: if it is taken.
    """
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError as error:
            raise ValueError(f"port {port} is not free ({error.strerror}): choose another one with --port") from None
        return int(server.getsockname()[1])


def run(home: Path, port: int) -> int:
    """
    Run ``airflow standalone`` until Ctrl-C, which raises KeyboardInterrupt; return the exit status if it ends earlier.

    :param home: Airflow's home.
    :param port: The port of the UI.
    """
    if AIRFLOW_2:
        (home / "webserver_config.py").write_text("AUTH_ROLE_PUBLIC = 'Admin'\nWTF_CSRF_ENABLED = True\n")
        os.environ["TMPDIR"] = str(home)  # its webserver leaves a file there
    log = home / "airflow.log"
    with ExitStack() as stack:
        output = stack.enter_context(log.open("w"))
        say("Airflow", f"is starting, its log is {log}")
        local = stack.enter_context(LocalKendra())
        local.set_sync_duration(20, indexing=10)
        examples = example_environment(local)
        sync_once(local, examples)
        stack.enter_context(kendra_schedule(local, examples))
        serve(ui_environment(examples, port), f"http://localhost:{port}", output)
    print("".join(log.read_text().splitlines(keepends=True)[-20:]), file=sys.stderr)
    print("Airflow ended by itself; the end of its log is above.", file=sys.stderr)
    return 1


def serve(environment: dict[str, str], address: str, output: TextIO) -> None:
    """
    Run ``airflow standalone`` until it ends.

    :param environment: Its settings.
    :param address: The address of the UI.
    :param output: Where its output goes.
    """
    process = subprocess.Popen(
        # In a session of its own, so that Ctrl-C comes to it through us, once and in order.
        [shutil.which("airflow") or "airflow", "standalone"],
        env=os.environ | environment,
        stdout=output,
        stderr=output,
        start_new_session=True,
        text=True,
    )
    try:
        while process.poll() is None and not answers(f"{address}/{HEALTH}"):
            interrupts.check()
            time.sleep(0.5)
        interrupts.check()
        if process.poll() is None:
            say("Airflow", f"{address} (no login needed): trigger example_kendra_sync. Ctrl-C stops everything")
        process.wait()
    except KeyboardInterrupt:
        say("Airflow", "is stopping")
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        raise
    finally:
        kill_session(process)


def answers(url: str) -> bool:
    """
    Return whether a server answers at a URL.

    :param url: The URL.
    """
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (OSError, HTTPException):
        return False
