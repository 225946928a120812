"""Run all measurements, each in a fresh process; print a table, and whether the targets are met."""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from airflow_provider_kendra._waiting.threads import MAX_CALLS
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
    ("ours", 1000): {"kb_per_wait": 10, "calls_per_interval": ONE_CALL},
    ("ours", 10_000): {"mb_in_all": 100, "calls_per_interval": ONE_CALL},
}
PEER_SHARE = 0.02  # of what as many waits of the peer take; machines differ in their speed
PEER_SHARE_OF_LOAD = 0.1  # there the peer has a twenty-fifth of our waits
# Of what a DAG file pays for the Glue modules of the amazon provider, which load fewer modules without OpenLineage.
PARSE_SHARE = 0.12

# Of a deferred wait in Airflow's trigger runner, above Airflow's own DateTimeTrigger; and once, with the client.
TRIGGERER_TARGETS = {"kb_above": 5, "mb_once": 36}

INTERVALS = 2  # for which waits are looked on

THROUGHPUT = {"seconds": 5, "rounds": 3}
QUICK_THROUGHPUT = {"seconds": 2, "rounds": 1}
THROUGHPUT_SHARE = 1.2  # of what a plain moto_server answers

SOURCES_PER_INDEX = 50  # as many as AWS allows


class Load(NamedTuple):
    """How many waits on how many data sources, how often they look, and from when to when the jobs then end."""

    sizes: dict[str, tuple[int, int]]
    interval: int
    ends: tuple[float, float]


LOAD = Load({"ours": (10_000, 500), "peer": (400, 20)}, interval=10, ends=(60, 120))
QUICK_LOAD = Load({"ours": (1000, 50), "peer": (40, 2)}, interval=2, ends=(12, 20))

LOAD_COLUMNS = {
    "waits": "waits",
    "data_sources": "data sources",
    "ready_s": "ready (s)",
    "mb_in_all": "RSS in all (MB)",
    "kb_per_wait": "RSS a wait (kB)",
    "growth_mb": "growth (MB)",
    "cpu_percent": "CPU (% of a core)",
    "longest_stall_ms": "longest stall (ms)",
    "calls_per_interval": "calls an interval and data source",
    "latency_median_s": "latency, median (s)",
    "latency_p99_s": "latency, 99th percentile (s)",
}
GROWTH_MB = 5
LATE = 1.1  # intervals; a look takes its time, too

SOAK = {"waits": 5000, "waves": 10, "data_sources": 50}
QUICK_SOAK = {"waits": 1000, "waves": 3, "data_sources": 10}

SOAK_COLUMNS = {
    "seconds": "took (s)",
    "mb_after_first_wave": "RSS after the first wave (MB)",
    "mb_after_last_wave": "after the last (MB)",
    "growth_blocks_percent": "more allocated blocks (%)",
    "growth_malloced_mb": "more in use of malloc's (MB)",
    "longest_stall_ms": "longest stall (ms)",
    "threads_at_most": "threads at most",
}
GROWTH_BLOCKS_PERCENT = 1

ISOLATION = {"hung": 48, "interval": 10, "seconds": 120, "timeout": 20}
QUICK_ISOLATION = {"hung": 48, "interval": 5, "seconds": 30, "timeout": 5}

ISOLATION_COLUMNS = {
    "hung": "data sources that hang",
    "first_poll_s": "first poll of the other (s)",
    "longest_pause_s": "longest pause between its polls (s)",
    "timed_out": "waits timed out",
    "timed_out_without_poll": "without a poll",
    "threads_at_most": "threads at most",
    "exit_s": "exit (s)",
}

HISTORIES = (1000, 26_000)  # jobs; the second is 90 days of a sync every 5 minutes
HISTORY_COLUMNS = {
    "jobs": "jobs",
    "first_read_s": "first read (s)",
    "cpu_percent": "CPU then (% of a core)",
    "longest_stall_ms": "longest stall (ms)",
    "calls_per_interval": "calls an interval",
    "bytes_per_job": "memory a job (bytes)",
}
HISTORY_TARGETS = {"cpu_percent": 10, "longest_stall_ms": 50, "calls_per_interval": 2, "bytes_per_job": 400}


def main() -> int:
    """Measure, print, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each once, with fewer waits and for a shorter time")
    parser.add_argument("--output", type=Path, help="write all numbers to this file, as JSON")
    arguments = parser.parse_args()
    began = time.perf_counter()
    repeats = 1 if arguments.quick else 3
    load = QUICK_LOAD if arguments.quick else LOAD

    plan = [("ours", 1000, repeats), ("ours", 10_000, 1)]
    if not arguments.quick:
        plan.insert(0, ("ours", 100, 1))
    has_peer = find_spec("aiobotocore") is not None
    if has_peer:
        plan += [("peer", 100, 1)] if arguments.quick else [("peer", 100, 1), ("peer", 1000, 1)]
    else:
        print("No peer to compare with: its trigger needs aiobotocore.\n")

    with tempfile.TemporaryDirectory() as home, LocalKendra() as kendra:
        waits = [(each, count, _waits(home, kendra, each, count, times)) for each, count, times in plan]
        loads = {each: _load(home, kendra, load, each) for each in load.sizes if each == "ours" or has_peer}
        triggerer = {each: _triggerer(home, kendra, each, repeats) for each in ("ours", "airflow")}
        isolation = _isolation(home, kendra, **(QUICK_ISOLATION if arguments.quick else ISOLATION))
        histories = [_history(home, kendra, jobs) for jobs in HISTORIES[: 1 if arguments.quick else None]]
        soak = _soak(home, kendra, **(QUICK_SOAK if arguments.quick else SOAK))
        parse = _parse(home, repeats)
        throughput = _throughput(home, kendra, **(QUICK_THROUGHPUT if arguments.quick else THROUGHPUT))

    missed = _report_waits(waits, repeats) + _report_load(loads, load) + _report_isolation(isolation)
    missed += _report_triggerer(triggerer) + _report_histories(histories) + _report_soak(soak) + _report_parse(parse)
    missed += _report_throughput(throughput)
    print("\n".join(f"MISSED: {each}" for each in missed) or "All targets are met.")
    print(f"Took {time.perf_counter() - began:.0f} s.")
    if arguments.output:
        versions = {name: version(name) for name in ("apache-airflow", "boto3", "airflow-provider-kendra")}
        numbers = {
            "versions": {"python": sys.version.split()[0], **versions},
            "waits": [{"trigger": each, "waits": count, **result} for each, count, result in waits],
            "load": {"interval_s": load.interval, **loads},
            "triggerer": triggerer,
            "isolation": isolation,
            "histories": histories,
            "soak": soak,
            "parse": parse,
            "throughput": throughput,
            "missed": missed,
        }
        # A line for each measurement: the series are long.
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in numbers.items())
        arguments.output.write_text(f"{{\n{lines}\n}}\n")
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


def _load(home: str, kendra: LocalKendra, load: Load, trigger: str) -> dict[str, Any]:
    waits, data_sources = load.sizes[trigger]
    print(f"… {trigger}, {waits:,} waits over {data_sources} data sources", file=sys.stderr)
    kendra.reset()
    kendra.client("s3").create_bucket(Bucket="documents")
    indexes = [kendra.create_index() for _ in range(-(-data_sources // SOURCES_PER_INDEX))]
    index_ids = [indexes[number // SOURCES_PER_INDEX] for number in range(data_sources)]
    result: dict[str, Any] = _fresh(
        home,
        "tests.benchmarks.load",
        trigger=trigger,
        waits=waits,
        interval=load.interval,
        ends=load.ends,
        url=kendra.url,
        sources=[(each, kendra.create_s3_data_source(each, "documents")) for each in index_ids],
    )
    return result


def _triggerer(home: str, kendra: LocalKendra, trigger: str, times: int) -> dict[str, Any]:
    results = []
    for _ in range(times):
        print(f"… 1,000 deferred waits in Airflow's trigger runner, {trigger}", file=sys.stderr)
        kendra.reset()
        index_id = kendra.create_index()
        ids = {"index_id": index_id, "data_source_id": kendra.create_custom_data_source(index_id)}
        kendra.set_history(*ids.values(), [{"ExecutionId": "job", "Status": "SYNCING"}])
        results.append(_fresh(home, "tests.benchmarks.triggerer", trigger=trigger, waits=1000, url=kendra.url, **ids))
    return {name: statistics.median(result[name] for result in results) for name in results[0]}


def _isolation(home: str, kendra: LocalKendra, **sizes: Any) -> dict[str, Any]:
    print(f"… {sizes['hung']} data sources that hang, and one that answers", file=sys.stderr)
    kendra.reset()
    index_id = kendra.create_index()
    data_source_id = kendra.create_custom_data_source(index_id)
    kendra.set_history(index_id, data_source_id, [{"ExecutionId": "job", "Status": "SYNCING"}])
    ids = (index_id, data_source_id)
    result: dict[str, Any] = _fresh(home, "tests.benchmarks.isolation", **sizes, url=kendra.url, ids=ids)
    return result | {"exit_s": round(time.time() - result.pop("ended_at"), 1)}


def _history(home: str, kendra: LocalKendra, jobs: int) -> dict[str, Any]:
    print(f"… a history of {jobs:,} jobs", file=sys.stderr)
    kendra.reset()
    index_id = kendra.create_index()
    ids = {"index_id": index_id, "data_source_id": kendra.create_custom_data_source(index_id)}
    result: dict[str, Any] = _fresh(
        home, "tests.benchmarks.history", jobs=jobs, waits=300, intervals=4, url=kendra.url, **ids
    )
    return result


def _soak(home: str, kendra: LocalKendra, waits: int, waves: int, data_sources: int) -> dict[str, Any]:
    print(f"… {waits * waves:,} waits in {waves} waves", file=sys.stderr)
    kendra.reset()
    index_id = kendra.create_index()
    # Those of the waves, and the one that keeps the poller alive.
    data_source_ids = [kendra.create_custom_data_source(index_id) for _ in range(data_sources + 1)]
    kendra.set_history(index_id, data_source_ids[0], [{"ExecutionId": "job", "Status": "SYNCING"}])
    result: dict[str, Any] = _fresh(
        home,
        "tests.benchmarks.soak",
        waits=waits,
        waves=waves,
        url=kendra.url,
        index_id=index_id,
        data_source_ids=data_source_ids,
    )
    return result


def _parse(home: str, times: int) -> dict[str, dict[str, Any]]:
    print("… imports", file=sys.stderr)
    results: dict[str, list[dict[str, Any]]] = {"ours": [], "eager": []}
    for _ in range(times):  # in turns, so that other work on the machine meets both
        for name, modules in {"ours": OURS, "eager": EAGER}.items():
            results[name].append(_fresh(home, "tests.benchmarks.parsing", modules=modules, parses=9))
    # The least, since other work only adds to the CPU time.
    return {
        name: {**runs[0], "ms": round(min(each for run in runs for each in run["ms"]), 1)}
        for name, runs in results.items()
    }


def _throughput(home: str, kendra: LocalKendra, seconds: float, rounds: int) -> dict[str, float]:
    print("… requests a second, beside a plain moto_server", file=sys.stderr)
    kendra.reset()
    index_id = kendra.create_index()
    source = {"IndexId": index_id, "Id": kendra.create_custom_data_source(index_id)}
    kendra.client().start_data_source_sync_job(**source)
    with _moto_server() as url:
        asked: dict[str, dict[str, Any]] = {
            "ours": {
                "url": kendra.url,
                "service": "kendra",
                "target": "AWSKendraFrontendService.ListDataSourceSyncJobs",
                "content_type": "application/x-amz-json-1.1",
                "request": source,
            },
            "moto": {
                "url": url,
                "service": "sqs",
                "target": "AmazonSQS.ListQueues",
                "content_type": "application/x-amz-json-1.0",
                "request": {},
            },
        }
        found: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(rounds):  # in turns, so that other work on the machine meets both
            for name, request in asked.items():
                result = _fresh(home, "tests.benchmarks.throughput", seconds=seconds, **request)
                found[name].append(result["requests_per_s"])
    return {name: statistics.median(each) for name, each in found.items()}


@contextmanager
def _moto_server() -> Iterator[str]:
    """Run moto's own server, which has no Kendra."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


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


def _report_waits(waits: list[tuple[str, int, dict[str, Any]]], repeats: int) -> list[str]:
    missed = []
    print(f"All waits on one data source, polled every 5 s; ours at 1,000: medians of {repeats}.\n")
    _head("", "waits", *COLUMNS.values())
    for trigger, count, result in waits:
        _row(trigger, f"{count:,}", *(f"{result[name]:,}" for name in COLUMNS))
        for name, target in TARGETS.get((trigger, count), {}).items():
            if result[name] > target:
                missed.append(f"{count:,} waits: {COLUMNS[name]} is {result[name]}, target {target}")
    print()
    results = {(trigger, count): result for trigger, count, result in waits}
    for trigger, count in results:
        if trigger == "peer":
            missed += _beyond_peer(f"{count:,} waits", results.get(("ours", count)), results[trigger, count])
    return missed


def _beyond_peer(
    measured: str, ours: dict[str, Any] | None, peer: dict[str, Any], share: float = PEER_SHARE
) -> list[str]:
    """The measurements in which ours exceeds the allowed share of the peer's."""
    return [
        f"{measured}: {COLUMNS[name]} is {ours[name] / peer[name]:.1%} of the peer's, target {share:.0%}"
        for name in ("cpu_to_ready_s", "longest_stall_ms")
        if ours and name in ours and ours[name] > share * peer[name]
    ]


def _report_load(loads: dict[str, dict[str, Any]], load: Load) -> list[str]:
    first, last = load.ends
    print(f"Waits over many data sources for {last:g} s, polled every {load.interval} s. From second {first:g} on the")
    print("jobs end one by one; latency is from a job's end to the event. Growth, CPU and calls are from before.\n")
    _head("", *LOAD_COLUMNS.values())
    flat = {
        each: result | {f"latency_{name}_s": value for name, value in result["latency_s"].items()}
        for each, result in loads.items()
    }
    for trigger, result in flat.items():
        _row(trigger, *(f"{result[name]:,}" for name in LOAD_COLUMNS))
    print()
    ours, missed = flat["ours"], []
    if peer := flat.get("peer"):
        missed = _beyond_peer("load", ours, peer, PEER_SHARE_OF_LOAD)
        memory = peer["kb_per_wait"] / ours["kb_per_wait"]
        cpu = peer["cpu_percent"] / peer["waits"] / (ours["cpu_percent"] / ours["waits"])
        calls = peer["calls_per_interval"] / ours["calls_per_interval"]
        print(f"The peer takes {memory:.0f} times the memory and {cpu:.0f} times the CPU for a wait,")
        print(f"and {calls:.0f} times the calls for a data source.\n")
    targets = {
        "growth_mb": GROWTH_MB,
        "calls_per_interval": ONE_CALL,
        "latency_p99_s": LATE * load.interval,
    }
    return missed + [
        f"load: {LOAD_COLUMNS[name]} is {ours[name]}, target {target:g}"
        for name, target in targets.items()
        if ours[name] > target
    ]


def _report_triggerer(triggerer: dict[str, Any]) -> list[str]:
    print("1,000 deferred waits in Airflow's own trigger runner, and as many of Airflow's DateTimeTrigger.\n")
    _head("", "RSS a wait (kB)", "RSS once (MB)")
    for name, result in triggerer.items():
        _row(name, f"{result['kb_per_wait']}", f"{result['mb_once']}")
    print()
    ours, airflow = triggerer["ours"], triggerer["airflow"]
    found = {"kb_above": round(ours["kb_per_wait"] - airflow["kb_per_wait"], 1), "mb_once": ours["mb_once"]}
    return [
        f"trigger runner: {name} is {found[name]}, target {target}"
        for name, target in TRIGGERER_TARGETS.items()
        if found[name] > target
    ]


def _report_isolation(isolation: dict[str, Any]) -> list[str]:
    print("Waits on an endpoint that accepts and never answers, half of them with a time-out, and one on another")
    print(f"connection; all polled every {isolation['interval_s']} s.\n")
    _head(*ISOLATION_COLUMNS.values())
    _row(*(f"{isolation[name]}" for name in ISOLATION_COLUMNS))
    print()
    targets = {
        "first_poll_s": 2,
        "longest_pause_s": LATE * isolation["interval_s"],
        "timed_out_without_poll": 0,
        "threads_at_most": 2 * (MAX_CALLS + 1),
        "exit_s": 20,
    }
    return [
        f"isolation: {ISOLATION_COLUMNS[name]} is {isolation[name]}, target {target:g}"
        for name, target in targets.items()
        if isolation[name] > target
    ]


def _report_histories(histories: list[dict[str, Any]]) -> list[str]:
    print("300 waits for freshness with different cutoffs and one for a job that is not there; no job is acceptable.\n")
    _head(*HISTORY_COLUMNS.values())
    for each in histories:
        _row(*(f"{each[name]:,}" for name in HISTORY_COLUMNS))
    print()
    return [
        f"a history of {each['jobs']:,} jobs: {HISTORY_COLUMNS[name]} is {each[name]}, target {target:g}"
        for each in histories
        for name, target in HISTORY_TARGETS.items()
        if each[name] > target
    ]


def _report_soak(soak: dict[str, Any]) -> list[str]:
    outcomes = ", ".join(f"{count:,} {name}" for name, count in soak["outcomes"].items())
    print(f"{soak['waits']:,} waits in {soak['waves']} waves through one poller: {outcomes}.\n")
    left = {f"{name.replace('_', ' ')} left": count for name, count in soak["left"].items()}
    _head(*SOAK_COLUMNS.values(), *left)
    _row(*(f"{soak[name]:,}" for name in SOAK_COLUMNS), *map(str, left.values()))
    print()
    targets = {
        "waits with another outcome than theirs": (soak["unexpected"], 0),
        "threads": (soak["threads_at_most"], soak["threads_allowed"]),
        # Between two waves there is the wait that keeps the poller alive, and nothing else.
        "polls between waves": (soak["polls_between_waves"], 1),
        "clients between waves": (soak["clients_between_waves"], 1),
        "growth of what is in use (MB)": (soak["growth_malloced_mb"], GROWTH_MB),
        "more allocated blocks (%)": (soak["growth_blocks_percent"], GROWTH_BLOCKS_PERCENT),
        **{name: (count, 0) for name, count in left.items()},
    }
    return [f"soak: {name}: {value}, target {target}" for name, (value, target) in targets.items() if value > target]


def _report_parse(parse: dict[str, dict[str, Any]]) -> list[str]:
    missed = []
    _head("DAG parse, over bare Airflow", "ms", "modules", "boto3 loaded")
    _row("all our operators and sensors", *_parse_cells(parse["ours"]))
    _row("for comparison: the amazon provider's Glue", *_parse_cells(parse["eager"]))
    print()
    share = parse["ours"]["ms"] / parse["eager"]["ms"]
    if share > PARSE_SHARE:
        missed.append(f"DAG parse: {share:.1%} of what Glue's modules take, target {PARSE_SHARE:.0%}")
    if parse["ours"]["boto3"]:
        missed.append("DAG parse: boto3 is loaded")
    return missed


def _report_throughput(throughput: dict[str, float]) -> list[str]:
    print("Requests of 8 parallel clients, one connection each.\n")
    _head("", "requests a second")
    _row("the local Kendra: ListDataSourceSyncJobs", f"{throughput['ours']:,}")
    _row("for comparison: a plain moto_server, SQS's ListQueues", f"{throughput['moto']:,}")
    print()
    share = throughput["ours"] / throughput["moto"]
    return [f"throughput: {share:.0%} of moto_server's, target {THROUGHPUT_SHARE:.0%}"] * (share < THROUGHPUT_SHARE)


def _parse_cells(result: dict[str, Any]) -> list[str]:
    return [f"{result['ms']}", f"{result['modules']}", "yes" if result["boto3"] else "no"]


def _head(*cells: str) -> None:
    _row(*cells)
    _row(*["---"] * len(cells))


def _row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    sys.exit(main())
