"""What a DAG file imports is paid for at every parse: it loads no AWS library, and does nothing else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_kendra

PACKAGE = Path(airflow_provider_kendra.__file__).parent
HEAVY = ("boto3", "botocore", "moto")
ONLY_WHEN_RUN = (
    "airflow.triggers",
    *(
        f"airflow_provider_kendra.{name}"
        for name in (
            "_connection",
            "_decisions",
            "_metrics",
            "_starting",
            "_stopping",
            "_thresholds",
            "_waiting",
            "assets.kendra",
            "hooks",
            "operators._memory",
            "outcomes",
            "sync_job",
            "triggers",
        )
    ),
)

# One of each operator and sensor, as most DAG files make them.
A_DAG = """
from airflow_provider_kendra.operators.kendra import (
    KendraListSyncJobsOperator, KendraStartSyncJobOperator, KendraStopSyncJobOperator, KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor

ids = {"index_id": "{{ var.value.index }}", "data_source_id": "source"}
with DAG("dag", schedule=None):
    start = KendraStartSyncJobOperator(task_id="start", max_documents_failed=3, wait_for_completion=False, **ids)
    stop = KendraStopSyncJobOperator(task_id="stop", execution_id=start.output["execution_id"], **ids)
    gate = KendraSyncJobMetricsOperator(task_id="gate", max_documents_failed=3, multiple_outputs=True, **ids)
    wait = KendraSyncJobSensor(task_id="wait", started_after="{{ data_interval_end }}", deferrable=True, **ids)
    fresh = KendraDataFreshnessSensor(task_id="fresh", index_id=ids["index_id"], max_age=60)
    list_all = KendraListSyncJobsOperator(task_id="list", **ids)
"""

# Airflow's parser has loaded this much before it comes to a DAG file.
BARE_DAG = "import airflow; from airflow.providers.common.compat.sdk import DAG"


def modules(*patterns: str) -> list[str]:
    found = [file.relative_to(PACKAGE.parent) for pattern in patterns for file in PACKAGE.glob(pattern)]
    return sorted(".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in found)


def in_a_fresh_process(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, text=True, stdout=subprocess.PIPE
    ).stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def loaded() -> dict[str, Any]:
    """What one process loads that first parses a DAG, then imports all that is light, then everything."""
    light = modules("*.py", "_waiting/*.py", "report/*.py", "operators/*.py", "sensors/*.py", "triggers/*.py")
    assert "airflow_provider_kendra.operators.kendra" in light
    everything = modules("*.py", "[!_t]*/*.py", "triggers/*.py")
    assert "airflow_provider_kendra.hooks.kendra" in everything
    return json.loads(
        in_a_fresh_process(f"""
{BARE_DAG}, BaseOperator, BaseSensorOperator, Asset, BaseHook
import importlib, json, sys
with DAG("bare"):
    BaseOperator(task_id="bare")

before = set(sys.modules)
{A_DAG}
by_dag = sorted(set(sys.modules) - before)

heavy = {{}}
for module in {light}:
    before = set(sys.modules)
    importlib.import_module(module)
    heavy[module] = sorted(set(sys.modules) & set({HEAVY}) - before)

done = []
Asset.__init__ = lambda *args, **kwargs: done.append("built an asset")
BaseHook.get_connection = classmethod(lambda *args, **kwargs: done.append("looked up a connection"))
for module in {everything}:
    importlib.import_module(module)
print(json.dumps({{"by_dag": by_dag, "heavy": heavy, "done": done}}))
""")
    )


@pytest.mark.slow
def test_a_dag_loads_nothing_that_only_a_running_task_needs(loaded):
    assert "airflow_provider_kendra.operators.kendra" in loaded["by_dag"]
    assert [module for module in loaded["by_dag"] if module.startswith(ONLY_WHEN_RUN)] == []
    assert set(HEAVY).isdisjoint(loaded["by_dag"])


@pytest.mark.slow
def test_operators_sensors_and_triggers_load_no_aws_library(loaded):
    assert {module: heavy for module, heavy in loaded["heavy"].items() if heavy} == {}


@pytest.mark.slow
def test_importing_everything_builds_no_asset_and_looks_up_no_connection(loaded):
    assert loaded["done"] == []


def test_the_pytest_plugin_loads_nothing_heavy():
    loaded = in_a_fresh_process(f"""
import sys, pytest
import airflow_provider_kendra.testing.pytest_plugin
print(sorted(set(sys.modules) & {{"airflow", *{HEAVY}}}))
""")

    assert loaded == "[]"
