"""A thousand deferred sensors in a real triggerer: what they cost, beside the figures of the bare loop (make bench)."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
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


class Waits:
    """Deferred sensors on running syncs, ten in each run of the DAG."""

    def __init__(self, airflow: Deployment) -> None:
        self._airflow, self._kendra = airflow, airflow.kendra
        self._index_id = self._kendra.create_index()
        self.sources = [
            self._kendra.create_s3_data_source(self._index_id, "documents", name=f"s3-{number}")
            for number in range(DATA_SOURCES)
        ]
        jobs = {source: self._kendra.start_scheduled_sync(self._index_id, source) for source in self.sources}
        ids = (self.sources[number % DATA_SOURCES] for number in range(WAITS // WAITS_A_RUN))
        self._run_ids = [
            airflow.trigger("waits", index_id=self._index_id, data_source_id=each, execution_id=jobs[each]).run_id
            for each in ids
        ]

    def count(self, state: str) -> int:
        sql = "SELECT count(*) FROM task_instance WHERE state = %s AND run_id = ANY(%s)"
        [(number,)] = self._airflow.query(sql, state, self._run_ids)
        return int(number)

    @property
    def logs(self) -> list[Path]:
        """What the triggerer has written; a trigger writes its first line when it begins to wait."""
        logs = self._airflow.home / "logs" / "dag_id=waits"
        return [log for run_id in self._run_ids for log in (logs / f"run_id={run_id}").rglob("*.log.trigger.*")]

    @property
    def log_bytes(self) -> int:
        return sum(log.stat().st_size for log in self.logs)

    def wait_until_all_wait(self) -> None:
        try:
            wait_until("all to wait in the triggerer", lambda: len(self.logs) >= WAITS, patience=PATIENCE)
        except TimeoutError as error:
            error.add_note((self._airflow.home / "triggerer.log").read_text()[-5000:])
            raise

    def polls(self, start: float, end: float) -> int:
        """How many polls of these data sources began in a period."""
        calls = sorted(call.time for call in self._kendra.calls(LIST) if call.parameters["Id"] in self.sources)
        return bisect_right(calls, end) - bisect_left(calls, start)

    def finish(self) -> None:
        """End the syncs."""
        for source in self.sources:
            self._kendra.finish_sync_job(self._index_id, source)

    def have_fired(self) -> bool:
        return not self._airflow.query("SELECT 1 FROM trigger LIMIT 1") and self.count("deferred") == 0


@pytest.fixture
def show(request: pytest.FixtureRequest) -> Callable[[Mapping[str, str]], None]:
    """Print figures at once."""

    def print_figures(figures: Mapping[str, str]) -> None:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print("".join(f"\n{name:<52}{value}" for name, value in figures.items()), flush=True)

    return print_figures


def test_a_thousand_waits_share_the_polls_of_a_triggerer(
    deployment: Deployment, show: Callable[[Mapping[str, str]], None]
) -> None:
    show({f"== {WAITS} deferred sensors in one triggerer, interval": f"{INTERVAL:.0f} s"})
    before, began_at = Usage.of(deployment.triggerer.pid), time.time()
    waits = Waits(deployment)
    wait_until("all to be deferred", lambda: waits.count("deferred") == WAITS, patience=PATIENCE)
    show({"until all tasks were deferred": f"{time.time() - began_at:.0f} s"})
    waits.wait_until_all_wait()
    show({"until all waited in the triggerer": f"{time.time() - began_at:.0f} s"})
    time.sleep(2 * INTERVAL)  # all have had their first poll
    polls_per_interval = _observe(deployment, waits, before, show)
    waits.finish()
    _wait_for_the_end(waits, show)
    # The triggerer polls each data source once per interval, however many wait; a tenth is jitter, and one interval can
    # be cut at either end.
    assert polls_per_interval <= (1 / 0.9 + 2 * INTERVAL / OBSERVED) * DATA_SOURCES


def _observe(airflow: Deployment, waits: Waits, before: Usage, show: Callable[[Mapping[str, str]], None]) -> float:
    """Watch all waits for a while, and return how many polls they make per interval."""
    start, usage, logged = time.time(), Usage.of(airflow.triggerer.pid), waits.log_bytes
    time.sleep(OBSERVED)
    end, usage_after, logged_after = time.time(), Usage.of(airflow.triggerer.pid), waits.log_bytes
    assert waits.count("deferred") == WAITS
    polls_per_interval = waits.polls(start, end) / (end - start) * INTERVAL
    used = (usage.resident_kilobytes - before.resident_kilobytes) / WAITS
    show(
        {
            "data sources": str(DATA_SOURCES),
            "API calls per interval and data source": f"{polls_per_interval / DATA_SOURCES:.2f}",
            "memory per wait, of the runner's process": (
                f"{used:.1f} kB (from {before.resident_kilobytes / 1024:.0f} to "
                f"{usage.resident_kilobytes / 1024:.0f} MB)"
            ),
            "CPU of the triggerer while waiting": f"{(usage_after.cpu_seconds - usage.cpu_seconds) / OBSERVED:.1%}",
            "log per wait until it waited": f"{logged / WAITS:.0f} bytes",
            "log per wait and minute after that": f"{(logged_after - logged) / WAITS / (end - start) * 60:.0f} bytes",
        }
    )
    return polls_per_interval


def _wait_for_the_end(waits: Waits, show: Callable[[Mapping[str, str]], None]) -> None:
    finished_at = time.time()
    wait_until("all triggers to have fired", waits.have_fired, patience=PATIENCE)
    show({"from the sync's end until all triggers had fired": f"{time.time() - finished_at:.0f} s"})
    wait_until(
        "all tasks to end", lambda: waits.count("success") + waits.count("failed") == WAITS, patience=2 * PATIENCE
    )
    show({"from the sync's end until all tasks had ended": f"{time.time() - finished_at:.0f} s"})
    assert waits.count("success") == WAITS
