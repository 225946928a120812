"""Run all measurements, each in a fresh process; print a table, and whether the targets are met."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from airflow_provider_kendra.testing import LocalKendra

OURS = ["airflow_provider_kendra.operators.kendra", "airflow_provider_kendra.sensors.kendra"]
EAGER = ["airflow.providers.amazon.aws.operators.glue", "airflow.providers.amazon.aws.sensors.glue"]

COLUMNS = {
    "ready_s": "ready (s)",
    "cpu_to_ready_s": "CPU to ready (s)",
    "kb_per_wait": "RSS a wait (kB)",
    "mb_in_all": "RSS in all (MB)",
    "longest_stall_ms": "longest stall (ms)",
    "calls_per_interval": "calls an interval",
}

# The jitter makes intervals up to a tenth shorter.
ONE_CALL = 1.15

TARGETS = {
    ("ours", 1000): {"ready_s": 0.2, "kb_per_wait": 10, "longest_stall_ms": 50, "calls_per_interval": ONE_CALL},
    ("ours", 10_000): {"mb_in_all": 100, "calls_per_interval": ONE_CALL},
}
PARSE_MS = 5

INTERVALS = 2  # for which waits are looked on


def main() -> int:
    """Measure, print, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each once, and the peer at 100 waits only")
    parser.add_argument("--output", type=Path, help="write all numbers to this file, as JSON")
    arguments = parser.parse_args()
    repeats = 1 if arguments.quick else 3

    plan = [("ours", 1000, repeats), ("ours", 10_000, 1)]
    if not arguments.quick:
        plan.insert(0, ("ours", 100, 1))
    if find_spec("aiobotocore"):
        plan += [("peer", 100, 1)] if arguments.quick else [("peer", 100, 1), ("peer", 1000, 1)]
    else:
        print("No peer to compare with: its trigger needs aiobotocore (pip install aiobotocore).\n")

    with tempfile.TemporaryDirectory() as home, LocalKendra() as kendra:
        waits = [(each, count, _waits(home, kendra, each, count, times)) for each, count, times in plan]
        parse = {name: _parse(home, modules, repeats) for name, modules in {"ours": OURS, "eager": EAGER}.items()}

    missed = _report(waits, parse, repeats)
    if arguments.output:
        versions = {name: version(name) for name in ("apache-airflow", "boto3", "airflow-provider-kendra")}
        numbers = {
            "versions": {"python": sys.version.split()[0], **versions},
            "waits": [{"trigger": each, "waits": count, **result} for each, count, result in waits],
            "parse": parse,
            "missed": missed,
        }
        arguments.output.write_text(json.dumps(numbers, indent=2) + "\n")
    return 1 if missed else 0


def _waits(home: str, kendra: LocalKendra, trigger: str, waits: int, times: int) -> dict[str, Any]:
    results = []
    for _ in range(times):
        kendra.reset()
        index_id = kendra.create_index()
        data_source_ids = [kendra.create_custom_data_source(index_id) for _ in range(2)]
        for each in data_source_ids:
            kendra.set_history(index_id, each, [{"ExecutionId": "job", "Status": "SYNCING"}])
        print(f"… {trigger}, {waits:,} waits", file=sys.stderr)
        results.append(
            _fresh(
                home,
                "tests.benchmarks.waits",
                trigger=trigger,
                waits=waits,
                intervals=INTERVALS,
                url=kendra.url,
                index_id=index_id,
                data_source_ids=data_source_ids,
            )
        )
    return {name: statistics.median(result[name] for result in results) for name in results[0]}


def _parse(home: str, modules: list[str], times: int) -> dict[str, Any]:
    print(f"… import of {modules[0]}", file=sys.stderr)
    results = [_fresh(home, "tests.benchmarks.parsing", modules=modules, parses=9) for _ in range(times)]
    milliseconds = statistics.median(each for result in results for each in result["ms"])
    return {"ms": round(milliseconds, 1), "modules": results[0]["modules"], "boto3": results[0]["boto3"]}


def _fresh(home: str, module: str, **arguments: Any) -> Any:
    # Neither settings of whoever calls, nor whether there is byte code yet, shall matter.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW_", "PYTHON"))
    }
    environment |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPYCACHEPREFIX": f"{home}/pycache",
    }
    command = [sys.executable, "-W", "ignore", "-m", module, json.dumps(arguments)]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def _report(waits: list[tuple[str, int, dict[str, Any]]], parse: dict[str, dict[str, Any]], repeats: int) -> list[str]:
    missed = []
    print(f"All waits on one data source, polled every 5 s; ours at 1,000: medians of {repeats}.\n")
    _row("", "waits", *COLUMNS.values())
    _row(*["---"] * (2 + len(COLUMNS)))
    for trigger, count, result in waits:
        _row(trigger, f"{count:,}", *(f"{result[name]:,}" for name in COLUMNS))
        for name, target in TARGETS.get((trigger, count), {}).items():
            if result[name] > target:
                missed.append(f"{count:,} waits: {COLUMNS[name]} is {result[name]}, target {target}")
    print()
    _row("DAG parse, over bare Airflow", "ms", "modules", "boto3 loaded")
    _row(*["---"] * 4)
    _row("all our operators and sensors", *_parse_cells(parse["ours"]))
    _row("for comparison: the amazon provider's Glue", *_parse_cells(parse["eager"]))
    if parse["ours"]["ms"] > PARSE_MS:
        missed.append(f"DAG parse: {parse['ours']['ms']} ms, target {PARSE_MS}")
    if parse["ours"]["boto3"]:
        missed.append("DAG parse: boto3 is loaded")
    print("\n" + ("\n".join(f"MISSED: {each}" for each in missed) or "All targets are met."))
    return missed


def _parse_cells(result: dict[str, Any]) -> list[str]:
    return [f"{result['ms']}", f"{result['modules']}", "yes" if result["boto3"] else "no"]


def _row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    sys.exit(main())
