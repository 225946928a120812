"""A thousand deferred sensors in a real triggerer: what they cost, beside the figures of the bare loop (make bench)."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_provider_kendra.testing import LocalKendra
from tests.system.deployment import DAGS, NOBODY_IS_LOST, Deployment, wait_until
from tests.system.reaper import session_members

pytestmark = pytest.mark.system

WAITS, WAITS_A_RUN, DATA_SOURCES = 1000, 10, 10
INTERVAL = 5.0  # seconds, as the DAG says
OBSERVED = 30.0  # seconds for which all waits are watched waiting
PATIENCE = 900.0
LIST = "ListDataSourceSyncJobs"


@dataclass(frozen=True)
class Usage:
    """What a session's processes have used up to now, and the memory of the one with the most."""

    cpu_seconds: float
    resident_kilobytes: int

    @classmethod
    def of(cls, session: int) -> Usage:
        seconds, memory = 0.0, [0]
        for pid in session_members([session]):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / 100  # user and system, in ticks
            # The share of its own: what the fork has in common with its supervisor is not the waits'.
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            memory.append(int(rollup.partition("\nRss:")[2].split()[0]))
        return cls(seconds, max(memory))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with LocalKendra() as kendra:
        kendra.client("s3").create_bucket(Bucket="documents")
        kendra.set_sync_duration(None)
        settings = {
            **NOBODY_IS_LOST,
            "AIRFLOW__TRIGGERER__CAPACITY": str(2 * WAITS),
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(WAITS),
            "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "64",
        }
        home = tmp_path_factory.mktemp("airflow")
        with Deployment(home, kendra, dags=DAGS / "load", dag_count=1, settings=settings) as airflow:
            airflow.query("UPDATE slot_pool SET slots = %s RETURNING 1", WAITS)
            yield airflow


def test_a_thousand_waits_share_the_looks_of_a_triggerer(
    deployment: Deployment, request: pytest.FixtureRequest
) -> None:
    airflow, kendra = deployment, deployment.kendra
    index_id = kendra.create_index()
    sources = [kendra.create_s3_data_source(index_id, "documents", name=f"s3-{n}") for n in range(DATA_SOURCES)]
    jobs = {source: kendra.start_scheduled_sync(index_id, source) for source in sources}
    before = Usage.of(airflow.triggerer.pid)
    began_at = time.time()
    runs = [
        airflow.trigger("waits", index_id=index_id, data_source_id=source, execution_id=jobs[source])
        for source in (sources[number % DATA_SOURCES] for number in range(WAITS // WAITS_A_RUN))
    ]
    run_ids = [run.run_id for run in runs]

    def count(state: str) -> int:
        sql = "SELECT count(*) FROM task_instance WHERE state = %s AND run_id = ANY(%s)"
        [(number,)] = airflow.query(sql, state, run_ids)
        return int(number)

    def log_bytes() -> int:
        logs = airflow.home / "logs" / "dag_id=waits"
        return sum(
            file.stat().st_size for run_id in run_ids for file in (logs / f"run_id={run_id}").rglob("*.log.trigger.*")
        )

    def waiting_in_triggerer() -> bool:
        # Each wait has said in its log that it waits: its trigger runs.
        logs = airflow.home / "logs" / "dag_id=waits"
        return sum(len(list((logs / f"run_id={r}").rglob("*.log.trigger.*"))) for r in run_ids) >= WAITS

    def tell(figures: dict[str, str]) -> None:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print("".join(f"\n{name:<52}{value}" for name, value in figures.items()), flush=True)

    tell({f"== {WAITS} deferred sensors in one triggerer, interval": f"{INTERVAL:.0f} s"})
    wait_until("all to be deferred", lambda: count("deferred") == WAITS, patience=PATIENCE)
    deferred_after = time.time() - began_at
    try:
        wait_until("all to wait in the triggerer", waiting_in_triggerer, patience=PATIENCE)
    except TimeoutError as error:
        error.add_note((airflow.home / "triggerer.log").read_text()[-5000:])
        raise
    waiting_after = time.time() - began_at
    time.sleep(2 * INTERVAL)  # all have had their first look

    start, usage, logged = time.time(), Usage.of(airflow.triggerer.pid), log_bytes()
    time.sleep(OBSERVED)
    end, usage_after, logged_after = time.time(), Usage.of(airflow.triggerer.pid), log_bytes()
    assert count("deferred") == WAITS

    looks = sorted(call.time for call in kendra.calls(LIST) if call.parameters["Id"] in jobs)
    looked = bisect_right(looks, end) - bisect_left(looks, start)
    intervals = (end - start) / INTERVAL
    tell(
        {
            "data sources": str(DATA_SOURCES),
            "until all tasks were deferred": f"{deferred_after:.0f} s",
            "until all waited in the triggerer": f"{waiting_after:.0f} s",
            "API calls per interval and data source": f"{looked / intervals / DATA_SOURCES:.2f}",
            "memory per wait, of the runner's process": (
                f"{(usage.resident_kilobytes - before.resident_kilobytes) / WAITS:.1f} kB"
                f" (from {before.resident_kilobytes / 1024:.0f} to {usage.resident_kilobytes / 1024:.0f} MB)"
            ),
            "CPU of the triggerer while waiting": f"{(usage_after.cpu_seconds - usage.cpu_seconds) / OBSERVED:.1%}",
            "log per wait until it waited": f"{logged / WAITS:.0f} bytes",
            "log per wait and minute after that": f"{(logged_after - logged) / WAITS / (end - start) * 60:.0f} bytes",
        }
    )

    for source in sources:
        kendra.finish_sync_job(index_id, source)
    finished_at = time.time()
    wait_until(
        "all triggers to have fired",
        lambda: not airflow.query("SELECT 1 FROM trigger LIMIT 1") and count("deferred") == 0,
        patience=PATIENCE,
    )
    fired_after = time.time() - finished_at
    wait_until("all tasks to end", lambda: count("success") + count("failed") == WAITS, patience=2 * PATIENCE)
    ended_after = time.time() - finished_at

    tell(
        {
            "from the sync's end until all triggers had fired": f"{fired_after:.0f} s",
            "from the sync's end until all tasks had ended": f"{ended_after:.0f} s",
        }
    )

    assert count("success") == WAITS
    # The triggerer looks once per interval at each data source, however many wait; a tenth is jitter, and one
    # interval can be cut at either end.
    assert looked <= (intervals / 0.9 + 2) * DATA_SOURCES
