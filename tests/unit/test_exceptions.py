"""Which errors Airflow retries, and what they carry: both are part of the public contract."""

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_kendra import exceptions
from airflow_provider_kendra.sync_job import SyncJob

JOB = SyncJob(index_id="i", data_source_id="d", execution_id="e", status="FAILED")

RETRIED = {
    exceptions.KendraError: True,
    exceptions.KendraSyncJobFailedError: True,
    exceptions.KendraSyncJobTimeoutError: True,
    exceptions.KendraSyncJobAlreadyRunningError: True,
    exceptions.KendraStateError: True,
    exceptions.KendraDocumentsError: True,
    exceptions.KendraDocumentsRequestError: False,
    exceptions.KendraRequestError: False,
    exceptions.InvalidParameterError: False,
    exceptions.KendraSyncJobRejectedError: False,
    exceptions.KendraSyncJobNotFoundError: False,
    exceptions.KendraSyncJobMetricsError: False,
}


def test_the_table_names_every_error_of_the_module():
    defined = {
        each for each in vars(exceptions).values() if isinstance(each, type) and each.__module__ == exceptions.__name__
    }
    assert defined == set(RETRIED)


@pytest.mark.parametrize(("error", "is_retried"), RETRIED.items())
def test_airflow_retries_exactly_those_errors_that_may_pass(error, is_retried):
    assert issubclass(error, AirflowException)
    assert issubclass(error, exceptions.KendraError)
    assert issubclass(error, AirflowFailException) is not is_retried


def test_handling_a_failed_sync_also_handles_that_of_a_sensor():
    assert issubclass(exceptions.KendraSyncJobRejectedError, exceptions.KendraSyncJobFailedError)


@pytest.mark.parametrize(
    "error",
    [each for each in RETRIED if each not in (exceptions.KendraDocumentsError, exceptions.KendraDocumentsRequestError)],
)
def test_an_error_about_a_sync_job_carries_the_job(error):
    raised = error("It failed.", job=JOB)
    assert raised.job is JOB
    assert str(raised) == "It failed."


def test_a_metrics_error_carries_the_violations():
    raised = exceptions.KendraSyncJobMetricsError("It failed.", job=JOB, violations=("one", "two"))
    assert raised.violations == ["one", "two"]


def test_a_documents_error_carries_the_failures():
    failures = [{"Id": "a", "ErrorCode": "InternalError", "ErrorMessage": "No."}]
    raised = exceptions.KendraDocumentsError("It failed.", failures=failures)
    assert raised.failures == failures
    assert raised.job is None
