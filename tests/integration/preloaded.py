"""Imported once by the process from which Airflow's processes are forked."""

from __future__ import annotations

import asyncio
import gc
import importlib
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import Any

from sqlalchemy.orm import configure_mappers

from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS

MODULES = (
    "airflow.__main__",
    "airflow.cli.cli_parser",
    "airflow.dag_processing.manager",
    "airflow.executors.local_executor",
    "airflow.jobs.scheduler_job_runner",
    "airflow.jobs.triggerer_job_runner",
    "airflow.providers.amazon.aws.hooks.base_aws",
    "airflow.providers.standard.operators.python",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow_provider_kendra._cli_commands",
    "airflow_provider_kendra.operators.kendra",
    "airflow_provider_kendra.sensors.kendra",
    "airflow_provider_kendra.triggers.kendra",
    "boto3",
    "tests.integration.run_and_record",
    "tests.integration.run_and_show",
    "tests.integration.run_dag",
)

# What is imported is never garbage: neither this process nor those that are forked from it need to look through it.
gc.disable()

for module in MODULES:
    with suppress(ImportError):  # not every version has it
        importlib.import_module(module)

configure_mappers()  # else each process does it at its first query


async def _make_routes(app: Any, path: str) -> None:
    """An API makes its routes at its first request, which takes many seconds."""
    import httpx

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://in-process") as client:
        await client.get(path)


def _make_apis() -> None:
    """Of a process that runs tasks or triggers, and of an api-server for tasks."""
    from airflow.api_fastapi.app import cached_app
    from airflow.jobs import triggerer_job_runner
    from airflow.sdk.execution_time import supervisor

    in_process = supervisor.in_process_api_server
    asyncio.run(_make_routes(in_process().app, "/health"))
    if hasattr(triggerer_job_runner, "in_process_api_server"):
        triggerer_job_runner.in_process_api_server = in_process
    with redirect_stdout(StringIO()):  # the request is logged
        asyncio.run(_make_routes(cached_app(apps="execution"), "/execution/health"))


if AIRFLOW_V_3_0_PLUS:
    with suppress(ImportError, AttributeError):
        _make_apis()

gc.freeze()
gc.enable()
