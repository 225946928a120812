"""Measures what an import costs a DAG file's parse; run in a process of its own, prints JSON."""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time

# What Airflow's DAG processor has loaded before it comes to a file, and what any DAG file loads: names that begin
# with "airflow." it imports before it forks.
BARE = (
    "airflow.dag_processing.processor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.sdk.definitions.dag",
    "airflow.sdk.bases.operator",
    "airflow.providers.common.compat.sdk",
)


def measure(modules: list[str], parses: int) -> dict[str, object]:
    """
    Measure the import of these modules, anew in a forked process for each parse.

    :param modules: What a DAG file imports.
    :param parses: How many times.
    """
    for module in BARE:
        importlib.import_module(module)
    sys.dont_write_bytecode = False
    _fork(modules)  # compiles the byte code, if need be
    gc.collect()
    gc.freeze()  # else what has been loaded before may be searched for garbage in one of the imports
    samples = [_fork(modules) for _ in range(parses)]
    return {"ms": [sample["ms"] for sample in samples], **{key: samples[0][key] for key in ("modules", "boto3")}}


def _fork(modules: list[str]) -> dict[str, object]:
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        with open(read) as answer:
            result: dict[str, object] = json.load(answer)
        os.wait()
        return result
    os.close(read)
    loaded, began = len(sys.modules), time.process_time()
    for module in modules:
        importlib.import_module(module)
    elapsed = time.process_time() - began
    with open(write, "w") as answer:
        json.dump({"ms": elapsed * 1000, "modules": len(sys.modules) - loaded, "boto3": "boto3" in sys.modules}, answer)
    os._exit(0)


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
