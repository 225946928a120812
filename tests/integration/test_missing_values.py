"""In real Airflow: a task whose id is missing, from whatever source, fails instead of taking any sync."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from tests.integration.scenarios import job

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_kendra.testing import LocalKendra
    from tests.integration.conftest import RunDag

pytestmark = pytest.mark.slow

WAYS = ("output", "template", "literal_mapping", "mapping", "kwargs")
REFUSED = {f"{task}_{way}" for task in ("stop", "metrics") for way in WAYS} | {"wait_output"}


def test_only_a_literal_none_means_any_sync(local_kendra: LocalKendra, run_dag: RunDag, tmp_path: Path) -> None:
    index_id = local_kendra.create_index()
    data_source_id = local_kendra.create_custom_data_source(index_id)
    local_kendra.set_history(index_id, data_source_id, [job("running", "SYNCING"), job("finished", "SUCCEEDED")])
    before = local_kendra.call_count()
    env = {
        "KENDRA_INDEX_ID": index_id,
        "KENDRA_DATA_SOURCE_ID": data_source_id,
        "KENDRA_REASONS": str(tmp_path / "reasons"),
    }

    tasks = run_dag(local_kendra, "missing_values", env=env)

    states = {name: (task["state"], task["tries"]) for name, task in tasks.items() if not name.startswith("pushes")}
    passed = dict.fromkeys(("named_none", "mapped_none"), ("success", 1))
    assert states == {**dict.fromkeys(REFUSED, ("failed", 1)), **passed}
    assert local_kendra.call_count("StopDataSourceSyncJob") == 0
    assert local_kendra.call_count() - before == len(passed)
    if AIRFLOW_V_3_3_PLUS or not AIRFLOW_V_3_0_PLUS:  # the others do not pass the error on
        reasons = dict(map(json.loads, (tmp_path / "reasons").read_text().splitlines()))
        assert {name for name, reason in reasons.items() if "its template found no value" in reason.lower()} == REFUSED
