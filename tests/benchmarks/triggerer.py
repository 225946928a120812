"""Measures the memory of deferred waits in Airflow's own trigger runner; run in a process of its own, prints JSON."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

import structlog
from airflow.executors.workloads import RunTrigger
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.models.trigger import Trigger

from airflow_provider_kendra.testing import LocalKendra
from tests.benchmarks.loop import rss

# Airflow's own trigger, which only waits for a time.
PEER = "airflow.providers.standard.triggers.temporal.DateTimeTrigger"
OURS = "airflow_provider_kendra.triggers.kendra.KendraSyncJobTrigger"


def measure(trigger: str, waits: int, url: str, index_id: str, data_source_id: str) -> dict[str, float]:
    """
    Measure this many deferred waits, all on one data source.

    :param trigger: ``ours`` or ``airflow``.
    :param waits: How many.
    :param url: The local Kendra.
    :param index_id: The index.
    :param data_source_id: The data source.
    """
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = LocalKendra.attach(url).connection_json
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)
    if trigger == "airflow":
        return asyncio.run(_measure(PEER, {"moment": datetime(2100, 1, 1, tzinfo=UTC)}, waits))
    ids = {"index_id": index_id, "data_source_id": data_source_id, "execution_id": "job"}
    return asyncio.run(_measure(OURS, {**ids, "poll_interval": 5}, waits))


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent


async def _measure(classpath: str, kwargs: dict[str, Any], waits: int) -> dict[str, float]:
    runner = TriggerRunner()
    before = rss()
    await _create(runner, classpath, kwargs, range(1))
    await asyncio.sleep(8)  # the client is made, and polls have begun
    gc.collect()
    one = rss()
    await _create(runner, classpath, kwargs, range(1, waits))
    await asyncio.sleep(8)
    gc.collect()
    many = rss()
    assert len(runner.triggers) == waits
    assert not any(each["task"].done() for each in runner.triggers.values())
    return {"mb_once": round((one - before) / 1e6, 1), "kb_per_wait": round((many - one) / (waits - 1) / 1000, 1)}


async def _create(runner: TriggerRunner, classpath: str, kwargs: dict[str, Any], numbers: range) -> None:
    encrypted = Trigger.encrypt_kwargs(kwargs)
    runner.to_create.extend(RunTrigger(id=each, classpath=classpath, encrypted_kwargs=encrypted) for each in numbers)
    await runner.create_triggers()


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))), flush=True)
    os._exit(0)
