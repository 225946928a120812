"""
Faults rain and processes die while forty DAG runs share ten data sources; afterwards everything must add up.

docs/guarantees.md says what must hold. It is checked against evidence that the provider does not write itself: the
local Kendra's history and log of calls, and Airflow's database. KENDRA_CHAOS_SEED chooses another course of events.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_kendra.sync_job import SyncJob
from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.testing.faults import Fault
from airflow_provider_kendra.testing.local import Call
from tests.system.deployment import DAGS, Component, Deployment, Run, wait_until
from tests.system.reaper import parent_of, session_of
from tests.xcom_table import XCOM

pytestmark = pytest.mark.system

SEED = int(os.environ.get("KENDRA_CHAOS_SEED", "1"))
TIME_LIMIT = 2400.0  # seconds; nothing takes so long unless it is broken
INTERVAL = 2.0  # of all waits, as the DAGs say
LIST, START, STOP = "ListDataSourceSyncJobs", "StartDataSourceSyncJob", "StopDataSourceSyncJob"

WAYS = ("start_deferred", "start_poke", "attach_deferred", "attach_poke")
GOOD, WATCHED = 8, 4  # data sources whose syncs succeed, and those of them that are watched
DAG_COUNT = len(WAYS) * 3 + 3 + WATCHED

# What strikes: a name for the table, the operation, and the fault. Of several that fit a call, the first one strikes.
TROUBLE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("throttled", {"error": "ThrottlingException"}),
    ("500", {"error": "InternalServerException"}),
    ("503", {"status": 503}),
    ("reset before", {"reset": "before"}),
    ("reset after", {"reset": "after"}),
    ("truncated", {"body": "truncated"}),
    ("not JSON", {"body": "not-json"}),
    ("slow", {"delay": 2.5}),
)
RATES = {LIST: 0.035, START: 0.09}
FAULTS: list[tuple[str, str, dict[str, Any]]] = [
    (name, operation, {"rate": rate, "seed": SEED * 1000 + number, **trouble})
    for operation, rate in RATES.items()
    for number, (name, trouble) in enumerate(TROUBLE)
]

# What is done to processes, and how often.
KILLS = {
    "triggerer and its runner": 3,
    "triggerer alone": 3,
    "triggerer frozen": 2,
    "scheduler": 2,
    "api-server": 1,
    "task process": 6,
    "task supervisor": 3,
    "SIGTERM of a supervisor": 5,
}
DOWNTIME = (1.0, 15.0)  # seconds; a triggerer that is away for more than ten loses its triggers to the other


@dataclass
class Planned:
    """One of the forty runs."""

    dag_id: str
    sources: list[str]
    conf: dict[str, str]
    run: Run | None = None
    started_at: datetime | None = None


@dataclass(frozen=True)
class Try:
    """One try of a task."""

    dag_id: str
    run_id: str
    task_id: str
    number: int
    state: str | None
    start: float
    end: float


@dataclass
class Chaos:
    """What happens, and what is known of it afterwards."""

    airflow: Deployment
    kendra: LocalKendra
    index_id: str
    sources: list[str]
    random: random.Random = field(default_factory=lambda: random.Random(SEED))
    planned: list[Planned] = field(default_factory=list)
    scheduled: dict[str, str] = field(default_factory=dict)  # syncs that no task started, and their data source
    kills: Counter[str] = field(default_factory=Counter)
    terminated: Counter[str] = field(default_factory=Counter)  # data sources whose start tasks got a SIGTERM
    triggerer_starts: list[float] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    first_call: int = 0
    began_at: float = 0.0
    ended_at: float = 0.0

    # What they leave behind.
    history: dict[str, list[SyncJob]] = field(default_factory=dict)
    states: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    records: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    tries: list[Try] = field(default_factory=list)
    events: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list)

    @property
    def good(self) -> list[str]:
        return self.sources[:GOOD]

    @property
    def failing(self) -> str:
        return self.sources[GOOD]

    @property
    def incomplete(self) -> str:
        return self.sources[GOOD + 1]

    def plan(self) -> None:
        def start(way: str, source: str) -> Planned:
            outcome = {self.failing: "_failing", self.incomplete: "_incomplete"}.get(source, "")
            return Planned(way + outcome, [source], {"data_source_id": source})

        self.planned += [start(way, self.good[(2 * w + n) % GOOD]) for w, way in enumerate(WAYS) for n in range(4)]
        self.planned += [start(way, source) for way in WAYS for source in (self.failing, self.incomplete)]
        for dag_id in ("sensor_deferred", "sensor_from_trigger"):
            # The execution id joins the conf when there is one.
            waited_for = [*self.random.sample(self.good, 2), self.failing, self.incomplete]
            self.planned += [Planned(dag_id, [source], {"data_source_id": source}) for source in waited_for]
        now = datetime.now(UTC).isoformat()
        for _ in range(8):
            pair = self.random.sample(self.good, 2)
            self.planned.append(Planned("freshness", pair, {"data_source_ids": ",".join(pair), "fresh_since": now}))
        assert len(self.planned) == 40
        self.random.shuffle(self.planned)

    def decide_outcomes(self) -> None:
        """Let the next syncs of two data sources end badly."""
        self.kendra.set_next_outcome(self.index_id, self.failing, "FAILED", metrics={}, error_code="InternalError")
        metrics = {"DocumentsAdded": 10, "DocumentsFailed": 3, "DocumentsScanned": 13}
        self.kendra.set_next_outcome(self.index_id, self.incomplete, "INCOMPLETE", metrics=metrics)

    def happen(self) -> None:
        """Start the runs, kill processes in between, and wait until all runs have ended."""
        self.began_at = time.time()
        self.triggerer_starts = [self.began_at] * 2
        for source in self.good[:3]:  # once; the task's retry then succeeds
            self.kendra.set_next_outcome(self.index_id, source, "FAILED", error_code="InternalError")
        self.first_call = self.kendra.call_count()
        for _, operation, fault in FAULTS:
            self.kendra.inject(operation, **fault)
        to_start = list(self.planned)
        to_kill = [kind for kind, times in KILLS.items() for _ in range(times)]
        self.random.shuffle(to_kill)
        to_mend: list[tuple[float, Callable[[], object]]] = []
        next_start, next_kill = self.began_at, self.began_at + 8
        while to_start or to_kill or to_mend or not self.all_ended():
            now = time.time()
            assert now < self.began_at + TIME_LIMIT, f"after {TIME_LIMIT:.0f} s:\n{self.unfinished()}"
            self.decide_outcomes()
            for each in [each for each in to_mend if each[0] <= now]:
                to_mend.remove(each)
                each[1]()
            if to_start and now >= next_start and self.start(to_start[0]):
                to_start.pop(0)
                next_start = now + self.random.uniform(0.5, 2.5)
            # One component at a time: two triggerers that are both away prove nothing more.
            if to_kill and now >= next_kill and not to_mend and (mend := self.strike(to_kill[0])) is not None:
                self.kills[to_kill.pop(0)] += 1
                to_mend += mend
                next_kill = now + self.random.uniform(2, 7)
            elif not to_start and self.all_ended():
                to_kill.clear()  # nobody is left who would mind
            time.sleep(0.25)
        self.ended_at = time.time()

    def start(self, planned: Planned) -> bool:
        """Start a run, unless the sync that it is to wait for cannot be started now."""
        if planned.dag_id.startswith("sensor"):
            (source,) = planned.sources
            try:
                execution_id = self.kendra.start_scheduled_sync(self.index_id, source)
            except ValueError:  # another one is running
                return False
            self.scheduled[execution_id] = source
            planned.conf["execution_id"] = execution_id
        self.airflow.wait_until_api_answers()
        planned.started_at = datetime.now(UTC)
        planned.run = self.airflow.trigger(planned.dag_id, **planned.conf)
        return True

    def strike(self, kind: str) -> list[tuple[float, Callable[[], object]]] | None:
        """Kill somebody; returns when to do what to mend it, None if there is nobody to kill."""
        mended_at = time.time() + self.random.uniform(*DOWNTIME)
        if kind.startswith("triggerer"):
            triggerer = self.random.choice(self.airflow.triggerers)
            if kind == "triggerer frozen":
                triggerer.freeze_all()
                return [(mended_at, triggerer.thaw)]
            (triggerer.kill if kind == "triggerer alone" else triggerer.kill_all)()
            return [(mended_at, lambda: self.start_triggerer(triggerer))]
        if kind == "scheduler":
            self.airflow.scheduler.kill()
            return [(mended_at, self.airflow.scheduler.start)]
        if kind == "api-server":
            self.airflow.api_server.kill_all()
            return [(time.time(), self.airflow.api_server.start)]
        return self.strike_task(kind)

    def start_triggerer(self, triggerer: Component) -> None:
        self.triggerer_starts.append(time.time())
        triggerer.start()

    def strike_task(self, kind: str) -> list[Any] | None:
        tasks = self.airflow.query(
            "SELECT dag_id, run_id, task_id, pid FROM task_instance WHERE state = 'running' AND pid IS NOT NULL "
            "ORDER BY dag_id, run_id, task_id"
        )
        self.random.shuffle(tasks)
        for dag_id, run_id, task_id, process in tasks:
            try:
                supervisor = parent_of(process)
                if session_of(process) != session_of(supervisor):
                    continue  # it has lost its supervisor already
                if kind == "SIGTERM of a supervisor":
                    if task_id == "sync":
                        self.terminated[self.source_of(dag_id, run_id)] += 1
                    os.kill(supervisor, signal.SIGTERM)
                else:
                    os.kill(process if kind == "task process" else supervisor, signal.SIGKILL)
            except (ProcessLookupError, FileNotFoundError):
                continue
            return []
        return None

    def source_of(self, dag_id: str, run_id: str) -> str:
        return next(
            each.sources[0] for each in self.planned if each.run and (each.dag_id, each.run.run_id) == (dag_id, run_id)
        )

    def all_ended(self) -> bool:
        return not self.airflow.query("SELECT 1 FROM dag_run WHERE state IN ('queued', 'running') LIMIT 1")

    def unfinished(self) -> str:
        tasks = self.airflow.query(
            "SELECT dag_id, run_id, task_id, state, try_number FROM task_instance "
            "WHERE state IS NULL OR state NOT IN ('success', 'failed', 'upstream_failed', 'skipped')"
        )
        return "\n".join(map(str, tasks))

    def read(self) -> None:
        """Take what is to be judged."""
        self.calls = self.kendra.calls()[self.first_call :]
        self.kendra.clear_faults()
        client = self.kendra.client()
        for source in self.sources:
            ids = {"index_id": self.index_id, "data_source_id": source}
            request = {"IndexId": self.index_id, "Id": source}
            items: list[dict[str, Any]] = []
            while True:
                page = client.list_data_source_sync_jobs(**request)
                items += page["History"]
                if "NextToken" not in page:
                    break
                request["NextToken"] = page["NextToken"]
            self.history[source] = [SyncJob.from_response(item, **ids) for item in items]
        query = self.airflow.query
        for dag_id, run_id, task_id, state in query("SELECT dag_id, run_id, task_id, state FROM task_instance"):
            self.states[dag_id, run_id, task_id] = state
        values = query(f"SELECT dag_id, run_id, task_id, value FROM {XCOM} WHERE key = 'return_value'")
        for dag_id, run_id, task_id, value in values:
            self.records[dag_id, run_id, task_id] = json.loads(value) if isinstance(value, str) else value
        for table in ("task_instance", "task_instance_history"):
            rows = query(
                "SELECT dag_id, run_id, task_id, try_number, state, extract(epoch FROM start_date)::float, "
                f"extract(epoch FROM coalesce(end_date, updated_at))::float FROM {table} WHERE start_date IS NOT NULL"
            )
            self.tries += [Try(*row) for row in rows]

    def read_events(self) -> None:
        rows = self.airflow.query(
            "SELECT asset.uri, asset_event.extra FROM asset_event JOIN asset ON asset.id = asset_id"
        )
        self.events = []
        for uri, extra in rows:
            extra = json.loads(extra) if isinstance(extra, str) else extra
            self.events.append((uri.rpartition("/")[2], extra["payload"]["sync_jobs"]))

    def missing_events(self) -> set[str]:
        """The syncs that succeeded and are in no event."""
        self.read_events()
        told = {record["execution_id"] for _, records in self.events for record in records}
        watched = (job for source in self.sources[:WATCHED] for job in self.history[source])
        return {job.execution_id for job in watched if job.status == "SUCCEEDED"} - told

    def key(self, planned: Planned, task_id: str) -> tuple[str, str, str]:
        assert planned.run is not None
        return planned.dag_id, planned.run.run_id, task_id

    def log(self, planned: Planned) -> str:
        assert planned.run is not None
        return planned.run.logs()

    @property
    def starts(self) -> list[Planned]:
        """The runs with a task that starts a sync."""
        return [each for each in self.planned if each.dag_id.startswith(("start", "attach"))]

    def job(self, execution_id: str) -> SyncJob:
        return next(job for jobs in self.history.values() for job in jobs if job.execution_id == execution_id)

    def strikes(self) -> Counter[tuple[str, str]]:
        """Which fault has struck which operation how often: the same seeds over the same calls tell it again."""
        struck: Counter[tuple[str, str]] = Counter()
        faults = [(name, Fault(operation, **fault)) for name, operation, fault in FAULTS]
        for call in self.calls:
            name = next((name for name, fault in faults if fault.applies_to(call.operation)), None)
            if name is not None:
                struck[name, call.operation] += 1
        return struck

    def table(self) -> str:
        lines = [f"== Chaos, seed {SEED}: 40 runs on 10 data sources in {self.ended_at - self.began_at:.0f} s", ""]
        lines.append(f"{'DAG':<26}{'runs':>6}{'task':>8}{'success':>9}{'failed':>8}{'upstr.f.':>9}{'tries':>7}")
        tries = Counter((each.dag_id, each.task_id) for each in self.tries)
        by_task: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for (dag_id, _, task_id), state in self.states.items():
            by_task[dag_id, task_id][str(state)] += 1
        for (dag_id, task_id), states in sorted(by_task.items()):
            lines.append(
                f"{dag_id:<26}{states.total():>6}{task_id:>8}{states['success']:>9}{states['failed']:>8}"
                f"{states['upstream_failed']:>9}{tries[dag_id, task_id]:>7}"
            )
        lines += ["", "kills: " + ", ".join(f"{kind} {times}" for kind, times in self.kills.items())]
        struck = self.strikes()
        for operation in RATES:
            kinds = ", ".join(f"{name} {struck[name, operation]}" for name, _ in TROUBLE)
            calls = sum(call.operation == operation for call in self.calls)
            lines.append(f"faults at {operation} ({calls} calls): {kinds}")
        told = Counter(record["execution_id"] for _, records in self.events for record in records)
        lines += [
            f"events: {len(self.events)}, with {len(told)} sync jobs, {sum(n > 1 for n in told.values())} of them "
            "more than once",
            "",
            f"{'data source':<13}{'syncs':>6}{'by tasks':>9}{'SUCC.':>7}{'FAILED':>7}{'INCOMP.':>8}{'ABORTED':>8}"
            f"{'start calls':>12}{'stops':>6}{'list calls':>11}{'a minute':>9}{'most in 10 s':>13}{'of at most':>11}",
        ]
        minutes = (self.ended_at - self.began_at) / 60
        for number, source in enumerate(self.sources):
            jobs = self.history[source]
            ended = Counter(str(job.status) for job in jobs)
            calls_ = Counter(call.operation for call in self.calls if call.parameters.get("Id") == source)
            most, bound = max(self.windows(source))
            lines.append(
                f"{number:<13}{len(jobs):>6}{sum(job.execution_id not in self.scheduled for job in jobs):>9}"
                f"{ended['SUCCEEDED']:>7}{ended['FAILED']:>7}{ended['INCOMPLETE']:>8}{ended['ABORTED']:>8}"
                f"{calls_[START]:>12}{calls_[STOP]:>6}{calls_[LIST]:>11}{calls_[LIST] / minutes:>9.1f}"
                f"{most:>13}{bound:>11.0f}"
            )
        return "\n".join(lines)

    def windows(self, source: str) -> list[tuple[int, float]]:
        """How many times a data source was looked at in each ten seconds, and how many at most may be."""
        looks = [call.time for call in self.calls if call.operation == LIST and call.parameters.get("Id") == source]
        runs = {(p.dag_id, p.run.run_id) for p in self.planned if p.run and source in p.sources}
        tries = [each for each in self.tries if (each.dag_id, each.run_id) in runs]
        counted = []
        for begin in range(int(self.began_at), int(self.ended_at), 5):
            end = begin + 10
            looked = bisect_right(looks, end) - bisect_left(looks, begin)
            triggerers = 2 + sum(begin <= at <= end for at in self.triggerer_starts[2:])
            # One that was orphaned lives on a while unknown to the database.
            trying = sum(each.start <= end and each.end + 10 >= begin for each in tries)
            counted.append((looked, (triggerers + trying) * 10 / INTERVAL * 2))
        return counted


@pytest.fixture(scope="module")
def chaos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    """All of it has happened, and all processes run again."""
    with LocalKendra() as kendra:
        kendra.client("s3").create_bucket(Bucket="documents")
        index_id = kendra.create_index()
        sources = [kendra.create_s3_data_source(index_id, "documents", name=f"s3-{n}") for n in range(GOOD + 2)]
        kendra.set_sync_duration(3, 1.5)
        settings = {
            "KENDRA_INDEX_ID": index_id,
            "KENDRA_WATCHED": ",".join(sources[:WATCHED]),
            "AIRFLOW__CORE__PARALLELISM": "6",
            # A machine that is busy is none that is lost.
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
        }
        home = tmp_path_factory.mktemp("airflow")
        with Deployment(
            home, kendra, dags=DAGS / "chaos", dag_count=DAG_COUNT, settings=settings, triggerers=2
        ) as airflow:
            chaos = Chaos(airflow, kendra, index_id, sources)
            # Each watcher has found its beginning, from which on it must miss nothing.
            wait_until("the watchers", lambda: len(airflow.query("SELECT 1 FROM asset_state_store")) == WATCHED)
            chaos.plan()
            chaos.happen()
            airflow.restart()
            chaos.read()
            with suppress(TimeoutError):  # a test will tell
                wait_until("all events", lambda: not chaos.missing_events())
            with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                print("", chaos.table(), sep="\n")
            yield chaos


def expected_states(chaos: Chaos, planned: Planned) -> dict[str, str]:
    """What the tasks of a run come to by contract, from how its data source's syncs end."""
    if planned.dag_id == "freshness":
        return {"wait": "success"}
    if planned.dag_id.startswith("sensor"):
        return {"wait": "success" if chaos.job(planned.conf["execution_id"]).status == "SUCCEEDED" else "failed"}
    if planned.dag_id.endswith("_failing"):
        return {"sync": "failed", "gate": "upstream_failed", "wait": "upstream_failed"}
    if planned.dag_id.endswith("_incomplete"):  # which the start tolerates, and the others do not
        return {"sync": "success", "gate": "failed", "wait": "failed"}
    return {"sync": "success", "gate": "success", "wait": "success"}


def test_every_task_comes_to_what_its_sync_job_calls_for(chaos: Chaos) -> None:
    for planned in chaos.planned:
        for task_id, state in expected_states(chaos, planned).items():
            key = chaos.key(planned, task_id)
            assert chaos.states[key] == state, f"{key}\n{chaos.log(planned)}"
        if planned.dag_id.endswith("_failing"):  # for no other reason, such as that its processes died too often
            assert "Sync FAILED: " in chaos.log(planned), chaos.log(planned)


def test_every_record_is_what_kendra_says(chaos: Chaos) -> None:
    jobs = {job.execution_id: job.to_dict() for jobs in chaos.history.values() for job in jobs}
    for planned in chaos.planned:
        for task_id, state in expected_states(chaos, planned).items():
            record = chaos.records.get(chaos.key(planned, task_id))
            if planned.dag_id == "freshness":
                assert set(record) == set(planned.sources)
                assert record == {source: jobs[job["execution_id"]] for source, job in record.items()}
                assert all(job["data_source_id"] == source for source, job in record.items())
            elif state == "success" or (task_id == "gate" and state == "failed"):  # a gate tells what it refuses
                assert record == jobs[record["execution_id"]], chaos.log(planned)
                assert record["data_source_id"] == planned.sources[0]
            else:
                assert record is None
            if planned.dag_id.startswith("sensor") and state == "success":
                assert record["execution_id"] == planned.conf["execution_id"]


def test_a_task_that_attaches_to_nothing_has_a_sync_that_began_after_it(chaos: Chaos) -> None:
    for planned in chaos.starts:
        record = chaos.records.get(chaos.key(planned, "sync"))
        if planned.dag_id.startswith("start") and record is not None:
            assert planned.started_at is not None
            assert datetime.fromisoformat(record["start_time"]) > planned.started_at


def is_lost(job: SyncJob, logs: str) -> bool:
    """Whether a try returned this job, but Airflow never heard that it ended: see docs/guarantees.md."""
    return any(
        f"Sync {job.status}: " in log and job.execution_id in log and "Failed to report terminal task state" in log
        for log in logs.split("\n== ")
    )


def test_no_sync_is_started_twice(chaos: Chaos) -> None:
    """
    Every sync that no schedule started is what a task has made of one of its tries.

    Either it is the result of a task; or it ended as no task could accept it, and a try ended with it: each such try
    is followed by another, or by the failure of the task; or Airflow lost the result of the try. A sync that ended well
    otherwise and that no task has for its result was started twice.
    """
    for source, jobs in chaos.history.items():
        runs = [each for each in chaos.starts if each.sources == [source]]
        claimed = {record["execution_id"] for each in runs if (record := chaos.records.get(chaos.key(each, "sync")))}
        unclaimed = [job for job in jobs if job.execution_id not in claimed | chaos.scheduled.keys()]
        logs = "\n".join(chaos.log(each) for each in runs)
        twice = [job for job in unclaimed if job.status not in ("FAILED", "ABORTED") and not is_lost(job, logs)]
        assert not twice, f"{twice}\n{logs}"
        run_ids = {(each.dag_id, each.run.run_id) for each in runs if each.run}
        tries = [each for each in chaos.tries if (each.dag_id, each.run_id) in run_ids and each.task_id == "sync"]
        ended_without = sum(each.state != "success" for each in tries)
        assert len(unclaimed) <= ended_without, logs


def test_nothing_but_a_sigterm_stops_a_sync(chaos: Chaos) -> None:
    stops = Counter(call.parameters["Id"] for call in chaos.calls if call.operation == STOP)
    for source, jobs in chaos.history.items():
        assert sum(job.status == "ABORTED" for job in jobs) <= stops[source] <= chaos.terminated[source]


def test_no_event_is_lost(chaos: Chaos) -> None:
    assert chaos.missing_events() == set()
    for source, records in chaos.events:
        for record in records:
            assert record == chaos.job(record["execution_id"]).to_dict()
            assert record["data_source_id"] == source


def test_calls_do_not_come_in_storms(chaos: Chaos) -> None:
    """Each triggerer, and each try of a task that runs, looks once per interval: twice that, for faults are retried."""
    for source in chaos.sources:
        assert all(looks <= bound for looks, bound in chaos.windows(source)), chaos.table()
