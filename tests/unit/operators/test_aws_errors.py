"""An AWS error fails every operator in the same way: it is explained, and retried only where that helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError

from airflow_provider_kendra.exceptions import KendraError, KendraRequestError
from airflow_provider_kendra.hooks._aws_errors import describe_error
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import (
    KendraListSyncJobsOperator,
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from tests.conftest import DataSource
from tests.task_runs import TaskRun

LIST = "ListDataSourceSyncJobs"

OPERATORS: dict[str, Callable[..., BaseOperator]] = {
    "start": KendraStartSyncJobOperator,
    "stop": KendraStopSyncJobOperator,
    "metrics": KendraSyncJobMetricsOperator,
    "list": KendraListSyncJobsOperator,
}

every_operator = pytest.mark.parametrize("name", OPERATORS)


def run_on(source: DataSource, name: str, **arguments: Any) -> Any:
    return TaskRun(lambda: OPERATORS[name](task_id=name, **source.as_kwargs, **arguments)).run()


@every_operator
def test_a_permanent_error_names_the_request_and_the_permission_it_needs(data_source, name):
    data_source.kendra.inject(LIST, error="AccessDeniedException", message="not allowed")
    with pytest.raises(KendraRequestError, match="not allowed") as raised:
        run_on(data_source, name)
    assert isinstance(raised.value, AirflowFailException)  # a retry would be refused as well
    assert "kendra:ListDataSourceSyncJobs" in str(raised.value)
    assert data_source.data_source_id in str(raised.value)


@every_operator
def test_an_error_of_aws_begins_with_its_cause_and_does_not_count_botocores_retries(data_source, name):
    data_source.kendra.inject(LIST, error="AccessDeniedException", message="not allowed")
    with pytest.raises(KendraRequestError) as raised:
        run_on(data_source, name)
    cause = str(raised.value).partition(": ")[2]
    assert cause.startswith(f"AccessDeniedException: not allowed ({LIST}). Check the ids")


@pytest.mark.parametrize("retries", [1, 3])
def test_no_error_of_aws_says_how_often_botocore_has_tried(data_source, retries):
    data_source.kendra.inject(LIST, error="ThrottlingException", message="Slow down")
    hook = KendraSyncJobsHook(config={"retries": {"total_max_attempts": retries}})
    with patch("time.sleep"), pytest.raises(ClientError) as raised:
        hook.list_sync_jobs(*data_source.ids)
    assert str(raised.value) == f"An error occurred (ThrottlingException) when calling the {LIST} operation: Slow down"
    assert describe_error(raised.value) == f"ThrottlingException: Slow down ({LIST})"


@pytest.mark.parametrize(("name", "call"), [("start", "Start"), ("stop", "Stop")])
def test_a_denied_start_or_stop_names_its_permission(data_source, name, call):
    if name == "stop":
        data_source.start()
    data_source.kendra.inject(f"{call}DataSourceSyncJob", error="AccessDeniedException")
    with pytest.raises(KendraRequestError, match=f"kendra:{call}DataSourceSyncJob"):
        run_on(data_source, name)


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_an_index_that_could_not_be_described_is_not_said_to_be_denied(data_source, code):
    data_source.start()
    data_source.finish()
    data_source.kendra.inject("DescribeIndex", error=code, message="No")
    with pytest.raises(KendraError, match=rf"^Could not describe the index: {code}: No") as raised:
        run_on(data_source, "metrics", max_index_share=0.9)
    assert isinstance(raised.value, KendraRequestError) is (code == "AccessDeniedException")


def failing_calls(error: Exception) -> Any:
    return patch.object(BaseClient, "_make_api_call", side_effect=error)


@every_operator
@pytest.mark.parametrize(
    "error",
    [NoCredentialsError(), EndpointConnectionError(endpoint_url="https://kendra")],
    ids=["credentials", "network"],
)
def test_a_transient_error_is_explained_and_retried_by_airflow(data_source, name, error):
    with failing_calls(error), pytest.raises(KendraError, match=str(error)[:20]) as raised:
        run_on(data_source, name)
    assert not isinstance(raised.value, AirflowFailException)


@every_operator
def test_a_configuration_error_is_explained_and_not_retried(data_source, name):
    with failing_calls(NoRegionError()), pytest.raises(KendraRequestError, match="region"):
        run_on(data_source, name)


@every_operator
def test_an_invalid_identifier_is_rejected_with_its_own_error(data_source, name):
    task = TaskRun(lambda: OPERATORS[name](task_id=name, index_id="x", data_source_id="y"))
    with pytest.raises(ValueError, match="index_id"):
        task.run()
