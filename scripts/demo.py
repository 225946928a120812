"""
Real Airflow beside a local Kendra, without an AWS account.

    demo.py run     run example_kendra_sync, show what happens, end with a table and an answer (make demo)
    demo.py ui      airflow standalone with the example DAGs, until Ctrl-C (make airflow)
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.testing.local import REGION

ROOT = Path(__file__).resolve().parent.parent
DAG_ID = "example_kendra_sync"
BUCKET = "kendra-demo"
SCHEDULE = 120.0
"""Seconds between the syncs that Kendra's own schedule starts; in the example it is every night."""
BEGAN = time.monotonic()


def say(who: str, what: str) -> None:
    """Print one line of what happens."""
    print(f"{time.monotonic() - BEGAN:6.1f}s  {who:<14} {what}", flush=True)


def airflow_environment(home: Path) -> dict[str, str]:
    """Return an environment in which Airflow lives in ``home`` and knows nothing of anybody's AWS."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW_", "AWS_"))},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def example_environment(local: LocalKendra) -> dict[str, str]:
    """Make what the example DAGs need, and return the environment in which each of them finds it."""
    local.client("s3").create_bucket(Bucket=BUCKET)
    index_id = local.create_index()
    data_source_id = local.create_s3_data_source(index_id, BUCKET)
    say("local Kendra", f"{local.url}, index {index_id}, its data source crawls s3://{BUCKET}")
    return {
        # The asset example reads its ids where it is parsed, the others read Airflow Variables in their tasks.
        "KENDRA_REGION": REGION,
        "KENDRA_INDEX_ID": index_id,
        "KENDRA_DATA_SOURCE_ID": data_source_id,
        # One that no watcher watches: a second definition of the asset, without the watcher, would remove it.
        "KENDRA_DATA_SOURCES": json.dumps({"wiki": local.create_s3_data_source(index_id, BUCKET)}),
        # Seconds.
        "KENDRA_DEADLINE": "7200",
        "KENDRA_MAX_AGE": "21600",
        "KENDRA_TIMEOUT": "21600",
        "AIRFLOW_CONN_AWS_DEFAULT": local.connection_json,
        "AIRFLOW_VAR_KENDRA_INDEX_ID": index_id,
        "AIRFLOW_VAR_KENDRA_DATA_SOURCE_ID": data_source_id,
        "AIRFLOW_VAR_KENDRA_CUSTOM_DATA_SOURCE_ID": local.create_custom_data_source(index_id),
        "AIRFLOW_VAR_KENDRA_BUCKET": BUCKET,
    }


def sync_once(local: LocalKendra, environment: dict[str, str]) -> None:
    """Give each data source a sync that succeeded, as in an index that has been used: the freshness gate is open."""
    kendra, index_id = local.client(), environment["KENDRA_INDEX_ID"]
    local.client("s3").put_object(Bucket=BUCKET, Key="handbook/welcome.txt", Body=b"Welcome.")
    s3 = (environment["KENDRA_DATA_SOURCE_ID"], *json.loads(environment["KENDRA_DATA_SOURCES"]).values())
    for data_source_id in s3:
        local.start_scheduled_sync(index_id, data_source_id)
    custom = environment["AIRFLOW_VAR_KENDRA_CUSTOM_DATA_SOURCE_ID"]
    kendra.start_data_source_sync_job(IndexId=index_id, Id=custom)
    for data_source_id in (*s3, custom):
        local.finish_sync_job(index_id, data_source_id)


@contextmanager
def kendra_schedule(local: LocalKendra, environment: dict[str, str], every: float = SCHEDULE) -> Iterator[None]:
    """Sync the S3 data source as Kendra's own schedule does: some examples wait for a sync that no DAG starts."""
    stop = threading.Event()

    def sync() -> None:
        while not stop.wait(every):
            with suppress(ValueError, OSError):  # a sync is running already, or Kendra is gone
                local.start_scheduled_sync(environment["KENDRA_INDEX_ID"], environment["KENDRA_DATA_SOURCE_ID"])

    thread = threading.Thread(target=sync, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def ui_environment(home: Path, examples: dict[str, str], port: str) -> dict[str, str]:
    """Return the environment of ``airflow standalone``."""
    return {
        **airflow_environment(home),
        **examples,
        # The asset example runs only when it is not paused.
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # On a busy machine the API server needs longer than the 5 s after which Airflow fails a task that starts.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        # Nobody has to log in, so nobody else may reach it.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
    }


@contextmanager
def watching(local: LocalKendra, index_id: str, data_source_id: str) -> Iterator[None]:
    """Say each status the newest sync job takes, as Kendra tells it."""
    kendra = local.client("kendra")
    stop = threading.Event()

    def watch() -> None:
        seen = None
        while not stop.wait(0.2):
            for job in kendra.list_data_source_sync_jobs(IndexId=index_id, Id=data_source_id)["History"][:1]:
                if job["Status"] != seen:
                    seen = job["Status"]
                    metrics = job.get("Metrics", {}).items()
                    counts = [f"{count} {name.removeprefix('Documents').lower()}" for name, count in metrics]
                    say("Kendra", f"{seen:<17} {', '.join(counts)}".rstrip())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def table(rows: list[list[str]]) -> str:
    """Lay out rows in columns as wide as they need; the last one wraps."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    indent = sum(widths) + 2 * len(widths)
    lines = []
    for row in rows:
        start = "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
        lines.append(
            textwrap.fill(row[-1], 110, initial_indent=start, subsequent_indent=" " * indent).rstrip() or start
        )
        if row is rows[0]:
            lines.append("-" * 110)
    return "\n".join(lines)


def run_demo() -> int:
    """Run the example DAG; return the exit status."""
    home = ROOT / ".airflow" / "demo"
    home.mkdir(parents=True, exist_ok=True)
    log = home / "airflow.log"
    say("Airflow", f"is starting, its own log is {log.relative_to(ROOT)}")
    reader, writer = os.pipe()
    with log.open("w") as output:
        airflow = subprocess.Popen(
            [
                sys.executable,
                ROOT / "scripts/run_dag.py",
                ROOT / f"example_dags/{DAG_ID}.py",
                DAG_ID,
                str(writer),
            ],
            env=airflow_environment(home),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=[writer],
            text=True,
        )
    os.close(writer)
    try:
        with LocalKendra() as local:
            # Long enough to see each status, and over before the DAG looks for the second time.
            local.set_sync_duration(2.5, indexing=1.5)
            environment = example_environment(local)
            assert airflow.stdin is not None
            with airflow.stdin as stdin:
                json.dump(environment, stdin)
            with watching(local, environment["KENDRA_INDEX_ID"], environment["KENDRA_DATA_SOURCE_ID"]):
                return report(follow(reader), log)
    finally:
        airflow.terminate()
        airflow.wait()


def follow(reader: int) -> dict[str, Any]:
    """Say what the DAG run reports as it goes on; return its last word."""
    event: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    with os.fdopen(reader) as lines:
        for line in lines:
            event = json.loads(line)
            if event["what"] == "running":
                say("Airflow", f"{event['airflow']} runs {DAG_ID}")
            elif "task" in event:
                say(event["task"], event["what"])
                if "why" in event:
                    reasons[event["task"]] = event["why"]
            else:
                break
    return {**event, "reasons": reasons}


def report(end: dict[str, Any], log: Path) -> int:
    """Print the table, the answer that the index gave and, if it did not go well, why; return the exit status."""
    if end.get("what") != "ended":
        print(f"\nThe DAG did not run: {end.get('why', 'Airflow ended early')}\n", file=sys.stderr)
        print("".join(log.read_text().splitlines(keepends=True)[-20:]), file=sys.stderr)
        return 1
    rows = [["task", "state", "returned"]]
    for task in end["tasks"]:
        returned = task["returned"]
        if isinstance(returned, dict):
            returned = ", ".join(f"{key}={value}" for key, value in returned.items() if value is not None)
        elif isinstance(returned, list):
            returned = ", ".join(map(str, returned))
        rows.append([task["task"], str(task["state"]), "" if returned is None else str(returned)])
    print(f"\n{table(rows)}\n", flush=True)
    for task in end["tasks"]:
        if task["task"] == "ask" and task["returned"]:
            asked = task["returned"]
            print(f"Question: {asked['question']}")
            print(f"Answer:   {asked['answer']} (from {asked['document']}, which this sync indexed)\n", flush=True)
    for task, why in end["reasons"].items():
        print(f"{task} failed: {why}", file=sys.stderr)
    if end["state"] != "success":
        print(f"The DAG run ended as {end['state']}. Airflow's log: {log}", file=sys.stderr)
        return 1
    return 0


def run_ui(port: str) -> int:
    """Run ``airflow standalone`` until Ctrl-C."""
    home = ROOT / ".airflow" / "ui"
    home.mkdir(parents=True, exist_ok=True)
    log = home / "airflow.log"
    address = f"http://localhost:{port}"
    if answers(address):
        print(f"{address} is taken: make airflow PORT=8081", file=sys.stderr)
        return 1
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        output = stack.enter_context(log.open("w"))
        local = stack.enter_context(LocalKendra())
        local.set_sync_duration(20, indexing=10)
        examples = example_environment(local)
        sync_once(local, examples)
        environment = ui_environment(home, examples, port)
        stack.enter_context(kendra_schedule(local, examples))
        say("Airflow", f"is starting, its log is {log.relative_to(ROOT)}")
        if serve(environment, address, output):
            return 0
    print("".join(log.read_text().splitlines(keepends=True)[-20:]), file=sys.stderr)
    print(f"Airflow ended by itself, see {log}", file=sys.stderr)
    return 1


def serve(environment: dict[str, str], address: str, output: TextIO) -> bool:
    """Run ``airflow standalone``; return whether Ctrl-C ended it, and not Airflow itself."""
    airflow = shutil.which("airflow", path=environment["PATH"]) or "airflow"
    process = subprocess.Popen(
        # In a session of its own, so that Ctrl-C comes to it through us, once and in order.
        [airflow, "standalone"],
        env=environment,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        while process.poll() is None and not answers(f"{address}/api/v2/monitor/health"):
            time.sleep(0.5)
        if process.poll() is None:
            say("Airflow", f"{address} (no login needed): trigger {DAG_ID}. Ctrl-C ends it all")
        process.wait()
        return False
    except KeyboardInterrupt:
        say("Airflow", "is stopping")
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        return True
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def answers(url: str) -> bool:
    """Tell whether something serves ``url``."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    try:
        sys.exit(run_ui(os.environ.get("PORT", "8080")) if sys.argv[1:] == ["ui"] else run_demo())
    except KeyboardInterrupt:
        sys.exit(130)
