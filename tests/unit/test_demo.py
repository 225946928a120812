"""The command `demo`: what it takes, what it refuses, and what it leaves behind. Its run is in test_packaging."""

from __future__ import annotations

import fcntl
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from airflow_provider_kendra._demo import command, dag, interrupts, ui
from airflow_provider_kendra._demo.kendra import example_environment, kill_session
from airflow_provider_kendra.testing import LocalKendra, _extra

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _handlers_of_signals_are_restored() -> Iterator[None]:
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    interrupts.catch()  # forgets those that came
    for each, handler in handlers.items():
        signal.signal(each, handler)


def test_without_the_extra_the_demo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(_extra, "NEEDED", ("moto", "flask_of_nobody"))
    assert command.main([]) == 1
    assert capsys.readouterr().err == (
        "The demo failed: The local Kendra needs flask_of_nobody: pip install 'airflow-provider-kendra[local]'\n"
    )


def test_a_directory_with_someones_files_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "airflow.cfg").touch()
    assert command.main(["--directory", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"The demo failed: --directory is neither empty nor that of an earlier demo: {tmp_path}\n"
    )
    assert os.listdir(tmp_path) == ["airflow.cfg"]


def test_two_demos_do_not_share_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with (tmp_path / command.MARK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert command.main(["--directory", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"The demo failed: another demo is running in {tmp_path}\n"


def test_a_busy_port_is_reported_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert command.main(["--ui", "--port", str(port), "--directory", str(tmp_path / "home")]) == 1
    assert capsys.readouterr().err == (
        f"The demo failed: port {port} is not free (Address already in use): choose another one with --port\n"
    )
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "8080.5"])
def test_a_port_is_a_number_that_can_be_listened_on(port: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        command.main(["--port", port])
    assert f"'{port}' is not a port" in capsys.readouterr().err


def test_airflow_is_not_imported_which_would_create_a_home_elsewhere(tmp_path: Path):
    (tmp_path / "file").touch()
    code = f"""
import sys
from airflow_provider_kendra._demo import command
assert command.main(["--directory", {str(tmp_path)!r}]) == 1
print("airflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True, stdout=subprocess.PIPE)
    assert done.stdout == "False\n"


def test_settings_of_the_callers_airflow_and_aws_do_not_reach_the_demo(tmp_path: Path):
    foreign = {
        "AIRFLOW_HOME": "/elsewhere",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://production",
        "AWS_PROFILE": "production",
        "AWS_ENDPOINT_URL": "https://production",
        "OPENLINEAGE_URL": "https://production",
        "NO_PROXY": "intranet",
    }
    with patch.dict(os.environ, foreign):
        command._isolate(tmp_path)
        now = dict(os.environ)
    assert [name for name, value in now.items() if "production" in value or value == "/elsewhere"] == []
    assert now["AIRFLOW_HOME"] == str(tmp_path)
    assert now["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert now["no_proxy"] == "intranet,localhost,127.0.0.1"


def test_the_examples_and_the_files_of_the_tutorial_are_copied_but_not_over_what_was_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ui, "AIRFLOW_2", False)
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "example_kendra_sync.py").write_text("edited")
    command._copy_files(tmp_path)

    def names(directory: Path) -> set[str]:
        return {file.name for file in directory.glob("*.py")}

    assert names(tmp_path / "dags") == names(ROOT / "example_dags")
    assert names(tmp_path / "tutorial") == names(ROOT / "docs" / "tutorial")
    assert (tmp_path / "dags" / "example_kendra_sync.py").read_text() == "edited"


def test_airflow_2_gets_no_example_that_it_cannot_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ui, "AIRFLOW_2", True)
    command._copy_files(tmp_path)
    assert (tmp_path / "dags" / "example_kendra_sync.py").exists()
    assert not (tmp_path / "dags" / "example_kendra_asset_schedule.py").exists()


class Response(io.RawIOBase):
    """Is interrupted while Python destroys it, and drops what is raised."""

    def close(self) -> None:
        if not self.closed:
            super().close()
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_an_interrupt_that_python_drops_still_ends_the_demo(tmp_path: Path):
    interrupts.catch()
    with (
        patch.object(dag, "example_environment", lambda local: Response() and example_environment(local)),
        patch.object(dag, "DAG_ID", "absent"),
        pytest.raises(KeyboardInterrupt),
    ):
        dag.run(tmp_path)


def test_a_process_with_a_group_of_its_own_ends_too():
    child = "import os, time; os.setpgid(0, 0); print(os.getpid(), flush=True); time.sleep(600)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    leader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert leader.stdout is not None
    with leader.stdout as output:
        assert int(output.readline())
        kill_session(leader)
        assert output.read() == "", "the pipe has been closed by its last writer"


def test_the_table_fits_the_terminal_and_breaks_no_id(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "60")
    record = {"execution_id": "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9", "status": "SUCCEEDED", "error_code": None}
    tasks = [
        {"task": "sync", "state": "success", "returned": record},
        {"task": "list", "state": "success", "returned": ["a", "b"]},
        {"task": "publish", "state": None, "returned": None},
    ]
    assert dag.table(tasks).splitlines() == [
        "task     state    returned",
        "-" * 60,
        "sync     success  execution_id=0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9,",
        "                  status=SUCCEEDED",
        "list     success  a, b",
        "publish  None",
    ]


def test_a_dag_that_fails_ends_the_demo_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tasks = [{"task": "check", "state": "failed", "returned": None}]
    end = {"what": "ended", "state": "failed", "tasks": tasks, "reasons": {"check": "Thresholds not met"}}
    assert dag.report(end, tmp_path / "airflow.log") == 1
    assert capsys.readouterr().err == (
        f"check failed: Thresholds not met\nThe DAG run ended as failed. Airflow's log: {tmp_path}/airflow.log\n"
    )


def test_an_airflow_that_cannot_start_ends_the_demo(
    tmp_path: Path, local_kendra: LocalKendra, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(dag, "sys", SimpleNamespace(executable="false", stderr=sys.stderr))
    monkeypatch.setattr(dag, "LocalKendra", lambda: nullcontext(local_kendra))
    assert dag.run(tmp_path) == 1
    assert "The DAG did not run: Airflow ended early" in capsys.readouterr().err


def test_an_airflow_that_ends_early_leaves_the_end_of_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    log = tmp_path / "airflow.log"
    log.write_text("".join(f"line {number}\n" for number in range(1, 41)))
    assert dag.report({"reasons": {}}, log) == 1
    error = capsys.readouterr().err.splitlines()
    assert error[0] == "line 21"
    assert error[-1] == "The DAG did not run: Airflow ended early, see the end of its log above"
