"""What examples decide by themselves, without a run: the integration tests run each of them."""

from __future__ import annotations

import runpy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_kendra.exceptions import (
    KendraError,
    KendraSyncJobAlreadyRunningError,
    KendraSyncJobFailedError,
    KendraSyncJobTimeoutError,
)
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_1_PLUS, AIRFLOW_V_3_3_PLUS

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"


def load(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"example_kendra_{name}.py"))


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="no retry policies before Airflow 3.3")
@pytest.mark.parametrize(
    ("error", "action", "delay"),
    [
        (KendraSyncJobAlreadyRunningError, "retry", timedelta(minutes=5)),
        (KendraSyncJobFailedError, "retry", timedelta(minutes=30)),
        (KendraSyncJobTimeoutError, "fail", None),
        (KendraError, "default", None),
    ],
)
def test_the_retry_policy_decides_by_the_kind_of_error(
    error: type[Exception], action: str, delay: timedelta | None
) -> None:
    decision = load("retry_policy")["retry_policy"].evaluate(error("why"), try_number=1, max_tries=3)
    assert (decision.action.value, decision.retry_delay) == (action, delay)


@pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="nobody is asked before Airflow 3.1")
def test_the_approval_says_which_provider_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow.providers.standard.__version__", "1.10.3")
    with pytest.raises(ImportError, match=r"needs apache-airflow-providers-standard 1\.12\.2 or newer, but 1\.10\.3 "):
        load("approval")
