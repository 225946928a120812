"""In real Airflow: which asset events there are, and that none is lost when a triggerer restarts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS, AIRFLOW_V_3_3_PLUS
from tests.conftest import DataSource
from tests.integration.conftest import MakeHome, RunModule
from tests.integration.test_triggerer import Airflow
from tests.xcom_table import MAP_INDEX

pytestmark = pytest.mark.slow

WATCHED = """
import os
from datetime import UTC, datetime

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_kendra.triggers.kendra import KendraSyncJobEventTrigger

trigger = KendraSyncJobEventTrigger(
    index_id=os.environ["INDEX_ID"],
    data_source_id=os.environ["DATA_SOURCE_ID"],
    statuses=["SUCCEEDED", "FAILED"],
    poll_interval=1,
)
asset = Asset("NAME", watchers=[AssetWatcher(name="watcher", trigger=trigger)])
with DAG("after_NAME", schedule=[asset], start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False):

    @task
    def read():
        pass

    read()
"""


class Deployment:
    """An Airflow on DAG files, with the local Kendra as its connection."""

    def __init__(self, home: Path, kendra: LocalKendra, files: dict[str, str], environment: dict[str, str]) -> None:
        (home / "dags").mkdir()
        for name, text in files.items():
            (home / "dags" / name).write_text(text)
        self._database = home / "airflow.db"
        self.airflow = Airflow(home, environment)
        self.airflow.add_connection(kendra)

    def events(self) -> dict[str, list[str]]:
        """The execution ids in the events of each asset, oldest event first."""
        found: dict[str, list[str]] = {}
        query = "SELECT a.uri, e.extra FROM asset_event e JOIN asset a ON a.id = e.asset_id ORDER BY e.id"
        for uri, extra in self.airflow.query(query):
            records = json.loads(extra)["payload"]["sync_jobs"]
            found.setdefault(uri, []).extend(record["execution_id"] for record in records)
        return found

    def execute(self, sql: str, *parameters: object) -> None:
        """Change the database, where no process of Airflow's does so at the time."""
        with closing(sqlite3.connect(self._database, timeout=30)) as connection, connection:
            connection.execute(sql, parameters)


def select(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def started() -> Iterator[list[Deployment]]:
    deployments: list[Deployment] = []
    yield deployments
    for deployment in deployments:
        deployment.airflow.stop()


@pytest.mark.skipif(
    AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_PLUS, reason="dag.test() of Airflow 3.0 takes no asset for an active one"
)
@pytest.mark.parametrize("mode", ["worker", "deferred"])
def test_a_mapped_sync_that_fails_does_not_start_the_dag_that_waits_for_its_data_source(
    tmp_path: Path, local_kendra: LocalKendra, run_module: RunModule, mode: str
) -> None:
    local_kendra.client("s3").create_bucket(Bucket="documents")
    index_id = local_kendra.create_index()
    sources = {name: local_kendra.create_s3_data_source(index_id, "documents") for name in ("handbook", "wiki")}
    local_kendra.set_sync_duration(0.5)
    local_kendra.set_next_outcome(index_id, sources["wiki"], "FAILED")
    env = {
        "KENDRA_INDEX_ID": index_id,
        "KENDRA_SOURCES": json.dumps(sources),
        "KENDRA_MODE": mode,
    }
    run_module(tmp_path, "run_dag", "sync_all", kendra=local_kendra, env=env)

    database = tmp_path / "airflow.db"
    states = select(database, f"SELECT {MAP_INDEX}, state FROM task_instance WHERE dag_id = 'sync_all'")
    assert sorted(states) == [(0, "success"), (1, "failed")]
    kind = "asset" if AIRFLOW_V_3_0_PLUS else "dataset"
    query = f"SELECT a.uri, e.source_map_index FROM {kind}_event e JOIN {kind} a ON a.id = e.{kind}_id"
    assert select(database, query) == [(f"kendra://us-east-1/{index_id}/{sources['handbook']}", 0)]
    # What the scheduler would start now.
    assert select(database, f"SELECT target_dag_id FROM {kind}_dag_run_queue") == [("after_handbook",)]


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="a watcher's cursor is kept from Airflow 3.3 on")
@pytest.mark.parametrize("ids_after_the_restart", [(1, 2), (7, 8)], ids=["the same order", "the other order"])
def test_equal_watchers_of_two_assets_in_two_files_lose_no_job_over_a_restart(
    tmp_path: Path,
    make_home: MakeHome,
    data_source: DataSource,
    started: list[Deployment],
    ids_after_the_restart: tuple[int, int],
) -> None:
    # Airflow starts triggers in the order in which a set of ids is iterated.
    assert (list({1, 2}), list({7, 8})) == ([1, 2], [8, 7])
    deployment = Deployment(
        make_home(tmp_path),
        data_source.kendra,
        {f"{name}.py": WATCHED.replace("NAME", name) for name in ("one", "two")},
        {"INDEX_ID": data_source.index_id, "DATA_SOURCE_ID": data_source.data_source_id},
    )
    started.append(deployment)
    airflow = deployment.airflow

    def sync(status: str) -> str:
        execution_id = data_source.start()
        data_source.finish(status)
        return execution_id

    def cursors() -> list[Any]:
        return airflow.query("SELECT value FROM asset_state_store")

    def events_hold(*execution_ids: str) -> bool:
        events = deployment.events()
        return len(events) == 2 and all(set(execution_ids) <= set(found) for found in events.values())

    sync("SUCCEEDED")
    airflow.start_dag_processor()
    watchers = "SELECT trigger_id FROM asset_watcher ORDER BY trigger_id"
    airflow.wait_until("two triggers", lambda: airflow.query(watchers) == [(1,), (2,)])
    airflow.start_triggerer()
    airflow.wait_until("two cursors", lambda: len(cursors()) == 2)
    first = sync("SUCCEEDED")
    airflow.wait_until("the first events", lambda: events_hold(first))
    airflow.wait_until("the cursors behind them", lambda: all(first in value for (value,) in cursors()))
    airflow.stop_triggerer()

    missed = [sync("FAILED"), sync("SUCCEEDED"), sync("SUCCEEDED")]
    airflow.stop_dag_processor()
    for old, new in zip((1, 2), ids_after_the_restart, strict=True):
        deployment.execute("UPDATE trigger SET id = ? WHERE id = ?", new, old)
        deployment.execute("UPDATE asset_watcher SET trigger_id = ? WHERE trigger_id = ?", new, old)
    airflow.start_triggerer()
    airflow.wait_until("the events of what was missed", lambda: events_hold(first, *missed))

    assert list(deployment.events().values()) == [[first, *missed]] * 2
