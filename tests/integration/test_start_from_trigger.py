"""Sensors that begin in a real triggerer, where templates are rendered without a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_kendra.testing import LocalKendra
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_3_PLUS
from tests.integration.scenarios import job

if TYPE_CHECKING:
    from tests.integration.conftest import RunDag, Tasks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow starts from the trigger from 3.3 on"),
]


@pytest.fixture(scope="module")
def tasks(run_dag: RunDag) -> Tasks:
    with LocalKendra() as kendra:
        index_id = kendra.create_index()
        data_source_id = kendra.create_custom_data_source(index_id)
        kendra.set_history(index_id, data_source_id, [job("mine", "SUCCEEDED", started=15)])
        env = {"KENDRA_INDEX_ID": index_id, "KENDRA_DATA_SOURCE_ID": data_source_id}
        return run_dag(kendra, "start_from_trigger", "--triggerer", env=env)


@pytest.mark.parametrize("wait", ["by_template", "since_template", "since_logical_date", "by_connection_template"])
def test_templates_are_rendered_in_the_triggerer(tasks: Tasks, wait: str) -> None:
    assert (tasks[wait]["state"], tasks[wait]["execution_id"]) == ("success", "mine")


@pytest.mark.parametrize("wait", ["by_xcom_arg", "since_xcom_arg"])
def test_what_another_task_returned_is_found_in_the_triggerer(tasks: Tasks, wait: str) -> None:
    assert (tasks[wait]["state"], tasks[wait]["execution_id"]) == ("success", "mine")


def test_a_template_that_finds_nothing_fails_without_retries(tasks: Tasks) -> None:
    assert (tasks["by_template_of_nothing"]["state"], tasks["by_template_of_nothing"]["tries"]) == ("failed", 1)
