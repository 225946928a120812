"""Runs the example DAG in a real Airflow, and prints what happens."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow_provider_kendra._demo import interrupts
from airflow_provider_kendra._demo.kendra import example_environment, kill_session, say, watching
from airflow_provider_kendra.testing import LocalKendra

DAG_ID = "example_kendra_sync"
WIDEST = 110


def run(home: Path) -> int:
    """
    Run the example DAG; return the exit status.

    :param home: Airflow's home.
    """
    log = home / "airflow.log"
    say("demo", "a DAG puts documents into S3, syncs them into Kendra, checks, publishes, asks a question")
    say("Airflow", f"is starting, its log is {log}")
    reader, writer = os.pipe()
    with log.open("w") as output:
        airflow = subprocess.Popen(
            [
                sys.executable,
                *("-m", "airflow_provider_kendra._demo.run_dag"),
                str(home / "dags" / f"{DAG_ID}.py"),
                DAG_ID,
                str(writer),
            ],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=[writer],
            start_new_session=True,  # this process stops it on Ctrl-C
            text=True,
        )
    os.close(writer)
    try:
        with LocalKendra() as local:
            # Long enough to see each status, and over before the DAG polls for the second time.
            local.set_sync_duration(2.5, indexing=1.5)
            environment = example_environment(local)
            assert airflow.stdin is not None
            with suppress(BrokenPipeError), airflow.stdin as stdin:  # it may have ended early
                json.dump(environment, stdin)
            interrupts.check()
            with watching(local, environment["KENDRA_INDEX_ID"], environment["KENDRA_DATA_SOURCE_ID"]):
                return report(follow(reader), log)
    finally:
        kill_session(airflow)


def follow(reader: int) -> dict[str, Any]:
    """
    Print the reports of the DAG run as they arrive; return the last one.

    :param reader: The descriptor that its reports are read from.
    """
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
    """
    Print the table, the answer that the index gave and, if it did not go well, why; return the exit status.

    :param end: The last report of the DAG run.
    :param log: Airflow's log.
    """
    if end.get("what") != "ended":
        print("".join(log.read_text().splitlines(keepends=True)[-20:]), file=sys.stderr)
        print(
            f"The DAG did not run: {end.get('why', 'Airflow ended early, see the end of its log above')}",
            file=sys.stderr,
        )
        return 1
    print(f"\n{table(end['tasks'])}\n", flush=True)
    for task in end["tasks"]:
        if task["task"] == "ask" and task["returned"]:
            asked = task["returned"]
            print(f"Question: {asked['question']}")
            print(f"Answer:   {asked['answer']} (from {asked['document']}, which this sync indexed)\n", flush=True)
    for name, why in end["reasons"].items():
        print(f"{name} failed: {why}", file=sys.stderr)
    if end["state"] != "success":
        print(f"The DAG run ended as {end['state']}. Airflow's log: {log}", file=sys.stderr)
        return 1
    return 0


def table(tasks: list[dict[str, Any]]) -> str:
    """
    Lay out tasks, states and results in columns as wide as they need; the last one wraps.

    :param tasks: The tasks of the last report.
    """
    rows = [
        ("task", "state", "returned"),
        *((each["task"], str(each["state"]), shown(each["returned"])) for each in tasks),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    lines = []
    for row in rows:
        start = f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  "
        wrap = textwrap.TextWrapper(width, start, " " * len(start), break_long_words=False, break_on_hyphens=False)
        lines.append((wrap.fill(row[2]) or start).rstrip())
    return "\n".join([lines[0], "-" * width, *lines[1:]])


def shown(returned: Any) -> str:
    """
    Return the result of a task as one line.

    :param returned: The result.
    """
    if isinstance(returned, dict):
        return ", ".join(f"{key}={value}" for key, value in returned.items() if value is not None)
    if isinstance(returned, list):
        return ", ".join(map(str, returned))
    return "" if returned is None else str(returned)
