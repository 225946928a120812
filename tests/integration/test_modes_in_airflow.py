"""A few scenarios in a real Airflow, to verify the driver of the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from tests.integration.dags.modes import MODES, WAITS
from tests.integration.scenarios import job

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_kendra.testing import LocalKendra
    from tests.integration.conftest import RunDag

pytestmark = pytest.mark.slow

RUNNING, SUCCEEDED, FAILED = ([job("mine", status)] for status in ("SYNCING", "SUCCEEDED", "FAILED"))
LOOKS = {
    "passes": (RUNNING, SUCCEEDED),
    "passes_since": (RUNNING, SUCCEEDED),
    "fails": (RUNNING, FAILED),
    "skips": (RUNNING, FAILED),
    "times_out": (RUNNING,),
}
EXPECTED = {
    "passes": ("success", "mine", None),
    "passes_since": ("success", "mine", None),
    "fails": ("failed", None, "KendraSyncJobRejectedError"),
    "skips": ("skipped", None, None),
    "is_refused": ("failed", None, "KendraRequestError"),
    "times_out": ("failed", None, "AirflowSensorTimeout"),
}


def test_each_mode_ends_in_the_same_way(local_kendra: LocalKendra, run_dag: RunDag, tmp_path: Path) -> None:
    index_id = local_kendra.create_index()
    env = {"KENDRA_INDEX_ID": index_id, "KENDRA_REASONS": str(tmp_path / "reasons")}
    for wait in WAITS:
        for mode in MODES:
            data_source_id = local_kendra.create_custom_data_source(index_id)
            local_kendra.set_history(index_id, data_source_id, *LOOKS.get(wait, ()))
            env[f"KENDRA_{wait}_{mode}".upper()] = "absent" if wait == "is_refused" else data_source_id

    tasks = run_dag(local_kendra, "modes", env=env)

    reasons = dict(map(json.loads, (tmp_path / "reasons").read_text().splitlines()))
    is_reason_told = AIRFLOW_V_3_3_PLUS or not AIRFLOW_V_3_0_PLUS

    def ending(task_id: str) -> tuple[Any, ...]:
        task = tasks[task_id]
        return task["state"], task["execution_id"], reasons.get(task_id)

    def expected(state: str, execution_id: str | None, error: str | None) -> tuple[Any, ...]:
        return state, execution_id, error if is_reason_told else None

    endings = {wait: {mode: ending(f"{wait}__{mode}") for mode in MODES} for wait in WAITS}
    assert endings == {wait: dict.fromkeys(MODES, expected(*EXPECTED[wait])) for wait in WAITS}
    assert {task["tries"] for task in tasks.values()} == {1}
