"""Imported once by the process from which Airflow's processes are forked."""

from __future__ import annotations

import asyncio
import gc
import importlib
from contextlib import suppress

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


async def _first_request() -> None:
    """The API inside a process makes its routes at its first request, which takes many seconds."""
    import httpx
    from airflow.sdk.execution_time import supervisor

    transport = httpx.ASGITransport(supervisor.in_process_api_server().app)
    async with httpx.AsyncClient(transport=transport, base_url="http://in-process") as client:
        await client.get("/health")


if AIRFLOW_V_3_0_PLUS:
    with suppress(ImportError, AttributeError):
        asyncio.run(_first_request())

gc.freeze()
gc.enable()
