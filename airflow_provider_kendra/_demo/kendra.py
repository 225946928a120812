"""The local Kendra of the demo, with what the example DAGs expect there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.testing.local import REGION

BUCKET = "kendra-demo"
SCHEDULE = 120.0
"""Seconds between the syncs that Kendra's own schedule starts; in the example it is every night."""
BEGAN = time.monotonic()


def say(who: str, what: str) -> None:
    """
    Print one line of what happens.

    :param who: Who does it.
    :param what: What is done.
    """
    print(f"{time.monotonic() - BEGAN:6.1f}s  {who:<14} {what}", flush=True)


def example_environment(local: LocalKendra) -> dict[str, str]:
    """
    Make what the example DAGs need, and return the environment in which each of them finds it.

    :param local: The local Kendra.
    """
    local.client("s3").create_bucket(Bucket=BUCKET)
    index_id = local.create_index()
    data_source_id = local.create_s3_data_source(index_id, BUCKET)
    say("local Kendra", f"{local.url}, index {index_id}, its data source crawls s3://{BUCKET}")
    return {
        # The asset example reads its ids where it is parsed, the others read Airflow Variables in their tasks.
        "KENDRA_REGION": REGION,
        "KENDRA_INDEX_ID": index_id,
        "KENDRA_DATA_SOURCE_ID": data_source_id,
        # A data source without a watcher: a second definition of the watched asset would remove its watcher.
        "KENDRA_DATA_SOURCES": json.dumps({"wiki": local.create_s3_data_source(index_id, BUCKET)}),
        # Seconds.
        "KENDRA_DEADLINE": "7200",
        "KENDRA_MAX_AGE": "21600",
        "KENDRA_POLL_INTERVAL": "5",
        "KENDRA_TIMEOUT": "21600",
        "AIRFLOW_CONN_AWS_DEFAULT": local.connection_json,
        "AIRFLOW_VAR_KENDRA_INDEX_ID": index_id,
        "AIRFLOW_VAR_KENDRA_DATA_SOURCE_ID": data_source_id,
        "AIRFLOW_VAR_KENDRA_CUSTOM_DATA_SOURCE_ID": local.create_custom_data_source(index_id),
        "AIRFLOW_VAR_KENDRA_BUCKET": BUCKET,
    }


def sync_once(local: LocalKendra, environment: dict[str, str]) -> None:
    """
    Give each data source a successful sync, as in an index that is in use, so the freshness gate of an example is open.

    :param local: The local Kendra.
    :param environment: What :func:`example_environment` has returned.
    """
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
    """
    Sync the S3 data source as Kendra's own schedule does: some examples wait for a sync that no DAG starts.

    :param local: The local Kendra.
    :param environment: What :func:`example_environment` has returned.
    :param every: Seconds between two syncs.
    """

    def sync(stop: threading.Event) -> None:
        while not stop.wait(every):
            with suppress(ValueError, OSError):  # a sync is running already, or Kendra is gone
                local.start_scheduled_sync(environment["KENDRA_INDEX_ID"], environment["KENDRA_DATA_SOURCE_ID"])

    with _in_background(sync):
        yield


@contextmanager
def watching(local: LocalKendra, index_id: str, data_source_id: str) -> Iterator[None]:
    """
    Print each status of the newest sync job, as Kendra reports it.

    :param local: The local Kendra.
    :param index_id: The index.
    :param data_source_id: The data source.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    kendra = local.client("kendra", config=Config(retries={"total_max_attempts": 1}))

    def watch(stop: threading.Event) -> None:
        last = None
        # Ctrl-C reaches the local Kendra too, and may end it first; or the output is closed.
        with suppress(BotoCoreError, OSError):
            while not stop.wait(0.2):
                for job in kendra.list_data_source_sync_jobs(IndexId=index_id, Id=data_source_id)["History"][:1]:
                    if job["Status"] != last:
                        last = job["Status"]
                        metrics = job.get("Metrics", {}).items()
                        counts = [f"{count} {name.removeprefix('Documents').lower()}" for name, count in metrics]
                        say("Kendra", f"{last:<17} {', '.join(counts)}".rstrip())

    with _in_background(watch):
        yield


@contextmanager
def _in_background(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run a function in a thread until the block ends, which sets its event."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def kill_session(process: subprocess.Popen[str]) -> None:
    """
    Kill everything in the session that a process leads: Airflow's tasks have process groups of their own.

    :param process: The leader of the session.
    """
    for each in psutil.pids():
        with suppress(OSError):
            if os.getsid(each) == process.pid:
                os.kill(each, signal.SIGKILL)
    process.wait()
