"""Every way that a start meets a running sync, in both modes, in a real Airflow under ``dag.test()``."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.dags.starts import MODES, STARTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_kendra.testing import LocalKendra
    from tests.integration.conftest import RunDag

pytestmark = pytest.mark.slow

RUNNING_BEFORE = ("waits", "attaches", "skips", "fails")
ENDING = ("alone", "waits", "attaches")
"""Where syncs end."""

EXPECTED = {
    "alone": ("success", "own", 1, 0),
    "waits": ("success", "own", 2, 0),
    "attaches": ("success", "theirs", 1, 0),
    "skips": ("skipped", None, 1, 0),
    "fails": ("failed", None, 1, 0),
    "times_out": ("failed", None, 1, 1),
}
"""State of the task, whose sync it returns, how many syncs there were, and how many were stopped."""


@contextmanager
def ending_each_sync(kendra: LocalKendra, sources: list[tuple[str, str]]) -> Iterator[None]:
    """End each sync of these data sources once the history has been listed twice since it began."""
    is_over = threading.Event()
    listed = dict.fromkeys(sources, 0)

    def end_syncs() -> None:
        while not is_over.wait(0.2):
            calls = [call.parameters.get("Id") for call in kendra.calls("ListDataSourceSyncJobs")]
            for source, before in listed.items():
                if calls.count(source[1]) >= before + 2:
                    with suppress(ValueError):  # none is running yet
                        kendra.finish_sync_job(*source)
                        listed[source] = calls.count(source[1])

    thread = threading.Thread(target=end_syncs)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_a_start_treats_a_running_sync_in_dag_test_as_in_a_deployment(
    local_kendra: LocalKendra, run_dag: RunDag
) -> None:
    local_kendra.set_sync_duration(None)
    local_kendra.client("s3").create_bucket(Bucket="documents")
    index_id = local_kendra.create_index()
    sources = {
        (start, mode): (index_id, local_kendra.create_s3_data_source(index_id, "documents", name=f"{start}-{mode}"))
        for start in STARTS
        for mode in MODES
    }
    theirs = {key: local_kendra.start_scheduled_sync(*sources[key]) for key in sources if key[0] in RUNNING_BEFORE}
    env = {f"KENDRA_{start}_{mode}".upper(): source for (start, mode), (_, source) in sources.items()}

    with ending_each_sync(local_kendra, [source for (start, _), source in sources.items() if start in ENDING]):
        tasks = run_dag(local_kendra, "starts", env={**env, "KENDRA_INDEX_ID": index_id})

    client = local_kendra.client()
    stops = [call.parameters["Id"] for call in local_kendra.calls("StopDataSourceSyncJob")]

    def ending(start: str, mode: str) -> tuple[Any, ...]:
        task, data_source_id = tasks[f"{start}__{mode}"], sources[start, mode][1]
        history = client.list_data_source_sync_jobs(IndexId=index_id, Id=data_source_id)["History"]
        whose = {None: None, theirs.get((start, mode), "none"): "theirs"}.get(task["execution_id"], "own")
        assert whose != "own" or task["execution_id"] == history[0]["ExecutionId"]
        return task["state"], whose, len(history), stops.count(data_source_id)

    endings = {start: {mode: ending(start, mode) for mode in MODES} for start in STARTS}
    assert endings == {start: dict.fromkeys(MODES, EXPECTED[start]) for start in STARTS}
