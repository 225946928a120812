"""The operators against the local Kendra: what they return and push, and when they fail."""

import json
from datetime import UTC, datetime, timedelta
from unittest.mock import ANY, Mock

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Asset, TaskDeferred
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_kendra._thresholds import violations
from airflow_provider_kendra.exceptions import (
    KendraError,
    KendraRequestError,
    KendraSyncJobFailedError,
    KendraSyncJobMetricsError,
    KendraSyncJobNotFoundError,
    KendraSyncJobTimeoutError,
)
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import (
    KendraListSyncJobsOperator,
    KendraStartSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.outcomes import Failed, Failure, Satisfied
from airflow_provider_kendra.sync_job import SyncJob
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS
from tests.conftest import NEWEST_START, counts, listed

LIST = "ListDataSourceSyncJobs"
START = "StartDataSourceSyncJob"
INDEX_ID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
IDS = {"index_id": INDEX_ID, "data_source_id": "documents"}
ONE_ATTEMPT = {"retries": {"total_max_attempts": 1}}

# The API of Airflow 3.0 takes no XCom that is None.
IS_NONE_REFUSED = AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_PLUS


class TaskInstance:
    """As much of a task instance as an operator needs; links have tests of their own."""

    def __init__(self):
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


@pytest.fixture
def ti():
    return TaskInstance()


@pytest.fixture
def context(ti):
    return {"ti": ti}


class Clock:
    """The package's clock: sleeping moves it, and lets happen what is planned for meanwhile."""

    def __init__(self):
        self.began = datetime.now(UTC)
        self.seconds = 0.0
        self.plan = []

    def utcnow(self):
        return self.began + timedelta(seconds=self.seconds)

    def monotonic(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds
        if self.plan:
            self.plan.pop(0)()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("airflow_provider_kendra._waiting.wait.time", clock)
    monkeypatch.setattr("airflow_provider_kendra._clock.utcnow", clock.utcnow)
    monkeypatch.setattr("airflow_provider_kendra.hooks.kendra.time", clock)
    return clock


def asset(uri):
    return Asset(uri=uri)


def ids_of(task):
    return {"index_id": task.index_id, "data_source_id": task.data_source_id}


class TestStart:
    @pytest.fixture
    def make(self, data_source, clock):
        def make(source=data_source, **kwargs):
            defaults = {"task_id": "start", "deferrable": False, "botocore_config": ONE_ATTEMPT, **source.as_kwargs}
            return KendraStartSyncJobOperator(**defaults | kwargs)

        return make

    def test_the_record_of_the_finished_sync_is_the_result(self, make, data_source, clock, context):
        clock.plan = [
            lambda: data_source.kendra.advance(*data_source.ids),
            lambda: data_source.finish(metrics={"DocumentsAdded": 3}),
        ]
        record = make().execute(context)
        assert [record["execution_id"]] == data_source.execution_ids()
        assert (record["status"], record["documents_added"]) == ("SUCCEEDED", 3)
        assert clock.seconds == 120
        assert json.loads(json.dumps(record)) == record

    def test_the_sync_is_polled_at_the_poll_interval(self, make, data_source, clock, context):
        clock.plan = [lambda: None, data_source.finish]
        make(poll_interval=7).execute(context)
        assert clock.seconds == 14

    @pytest.mark.parametrize("status", ["FAILED", "ABORTED", "INCOMPLETE"])
    def test_a_sync_that_did_not_succeed_fails_the_task_with_the_job_and_kendras_error(
        self, make, data_source, clock, context, status
    ):
        clock.plan = [lambda: data_source.finish(status, error_code="InternalError", error_message="It broke.")]
        with pytest.raises(KendraSyncJobFailedError, match=rf"^Sync {status}: .*InternalError: It broke") as caught:
            make().execute(context)
        assert [caught.value.job.execution_id] == data_source.execution_ids()
        assert caught.value.job.status == status

    def test_a_failed_sync_is_retried_by_airflow(self, make, data_source, clock, context):
        clock.plan = [lambda: data_source.finish("FAILED")]
        with pytest.raises(KendraSyncJobFailedError) as caught:
            make().execute(context)
        assert not isinstance(caught.value, AirflowFailException)

    @pytest.mark.parametrize("failed", [0, 3])
    def test_an_incomplete_sync_within_the_tolerance_is_the_result(self, make, data_source, clock, context, failed):
        clock.plan = [lambda: data_source.finish("INCOMPLETE", metrics={"DocumentsFailed": failed})]
        record = make(max_documents_failed=3).execute(context)
        assert (record["status"], record["documents_failed"]) == ("INCOMPLETE", failed)

    @pytest.mark.parametrize("metrics", [{"DocumentsFailed": 4}, {}])
    def test_an_incomplete_sync_over_the_tolerance_or_without_a_count_fails(
        self, make, data_source, clock, context, metrics
    ):
        clock.plan = [lambda: data_source.finish("INCOMPLETE", metrics=metrics)]
        with pytest.raises(KendraSyncJobFailedError, match="max_documents_failed=3"):
            make(max_documents_failed=3).execute(context)

    @pytest.mark.parametrize("timeout", [600, timedelta(minutes=10)])
    def test_a_time_out_reports_the_last_known_state(self, make, data_source, clock, context, timeout):
        clock.plan = [lambda: data_source.kendra.advance(*data_source.ids)]
        with pytest.raises(KendraSyncJobTimeoutError, match=r"SYNCING_INDEXING.*Raise timeout") as caught:
            make(timeout=timeout).execute(context)
        assert caught.value.job.status == "SYNCING_INDEXING"
        assert [caught.value.job.execution_id] == data_source.execution_ids()
        assert clock.seconds == 600

    def test_the_last_poll_is_at_the_time_out_and_not_after_it(self, make, data_source, clock, context):
        clock.plan = [lambda: None, data_source.finish]
        assert make(timeout=100, poll_interval=60).execute(context)["status"] == "SUCCEEDED"
        assert clock.seconds == 100

    def test_transient_errors_do_not_fail_the_wait(self, make, data_source, clock, context):
        clock.plan = [
            lambda: data_source.kendra.inject(LIST, times=2, error="ThrottlingException"),
            lambda: data_source.kendra.inject(LIST, times=1, status=503),
            lambda: data_source.kendra.inject(LIST, times=1, reset="before"),
            lambda: None,
            lambda: None,
            data_source.finish,
        ]
        assert make().execute(context)["status"] == "SUCCEEDED"
        assert clock.plan == []

    def test_access_denied_while_waiting_fails_the_task_at_once(self, make, data_source, clock, context):
        clock.plan = [lambda: data_source.kendra.inject(LIST, error="AccessDeniedException")]
        with pytest.raises(KendraRequestError, match="kendra:ListDataSourceSyncJobs"):
            make().execute(context)
        assert clock.seconds == 60

    def test_a_start_that_aws_refuses_is_not_retried(self, make, data_source, context):
        data_source.kendra.inject(START, error="AccessDeniedException")
        with pytest.raises(KendraRequestError, match="AccessDeniedException"):
            make().execute(context)
        assert data_source.kendra.call_count(START) == 1

    def test_without_waiting_the_record_right_after_the_start_is_the_result(self, make, data_source, clock, context):
        record = make(wait_for_completion=False).execute(context)
        assert [record["execution_id"]] == data_source.execution_ids()
        assert (record["status"], record["end_time"], clock.seconds) == ("SYNCING", None, 0)
        assert record["start_time"] is not None

    def test_without_waiting_the_execution_id_is_returned_before_the_job_is_listed(self, make, data_source, context):
        data_source.kendra.set_listing_delay(1)
        record = make(wait_for_completion=False).execute(context)
        data_source.execution_ids()
        assert [record["execution_id"]] == data_source.execution_ids()
        assert (record["status"], record["start_time"]) == ("SYNCING", None)

    def test_a_custom_data_source_that_would_be_waited_for_is_refused_before_the_start(
        self, make, custom_data_source, context
    ):
        with pytest.raises(KendraRequestError, match=r"CUSTOM: its sync ends only when.*wait_for_completion=False"):
            make(custom_data_source).execute(context)
        assert custom_data_source.kendra.call_count(START) == 0

    def test_a_custom_data_source_is_refused_though_the_reading_of_its_type_is_throttled_at_first(
        self, make, custom_data_source, context
    ):
        custom_data_source.kendra.inject("DescribeDataSource", error="ThrottlingException", times=3)
        with pytest.raises(KendraRequestError, match="CUSTOM: its sync ends only when"):
            make(custom_data_source, botocore_config={"retries": {"total_max_attempts": 1}}).execute(context)
        assert custom_data_source.kendra.call_count(START) == 0

    def test_a_custom_data_source_can_be_started_without_waiting(self, make, custom_data_source, context):
        record = make(custom_data_source, wait_for_completion=False).execute(context)
        assert [record["execution_id"]] == custom_data_source.execution_ids()

    def test_a_start_needs_no_permission_to_describe_the_data_source(self, make, data_source, clock, context):
        data_source.kendra.inject("DescribeDataSource", error="AccessDeniedException")
        clock.plan = [data_source.finish]
        assert make().execute(context)["status"] == "SUCCEEDED"

    def test_a_sync_that_takes_a_while_to_be_listed_is_waited_for(self, make, data_source, clock, context):
        data_source.kendra.set_listing_delay(2)
        clock.plan = [lambda: None, lambda: None, data_source.finish]
        assert make(poll_interval=30).execute(context)["status"] == "SUCCEEDED"

    def test_a_sync_that_is_never_listed_fails_after_two_minutes(self, make, data_source, clock, context):
        data_source.show([])
        with pytest.raises(KendraSyncJobNotFoundError):
            make().execute(context)
        assert clock.seconds == 120

    def test_deferred_the_trigger_waits_for_the_sync_that_was_started(self, make, data_source, context):
        with pytest.raises(TaskDeferred) as deferred:
            make(deferrable=True, max_documents_failed=3, timeout=600).execute(context)
        _, kwargs = deferred.value.trigger.serialize()
        assert [kwargs["execution_id"]] == data_source.execution_ids()
        assert kwargs.items() >= {**data_source.as_kwargs, "max_documents_failed": 3, "timeout": 600}.items()
        assert deferred.value.method_name == "execute_complete"
        assert deferred.value.timeout > timedelta(seconds=600)

    def test_back_from_the_trigger_the_record_is_the_result(self, make, context):
        task = make()
        job = SyncJob(**ids_of(task), execution_id="e", status="SUCCEEDED", documents_added=3)
        assert task.execute_complete(context, Satisfied(job).to_event()) == job.to_dict()

    @pytest.mark.parametrize(
        ("failure", "error"),
        [
            (Failure.NOT_ACCEPTABLE, KendraSyncJobFailedError),
            (Failure.NOT_FOUND, KendraSyncJobNotFoundError),
            (Failure.REFUSED, KendraRequestError),
            (Failure.TIMED_OUT, KendraSyncJobTimeoutError),
        ],
    )
    def test_back_from_the_trigger_a_failure_is_the_error_that_it_is_on_a_worker(self, make, context, failure, error):
        task = make()
        job = SyncJob(**ids_of(task), execution_id="e", status="FAILED")
        with pytest.raises(error, match=r"^It failed\.$") as caught:
            task.execute_complete(context, Failed(failure, "It failed.", job).to_event())
        assert type(caught.value) is error
        assert caught.value.job == job

    def test_waiting_is_the_default(self):
        assert KendraStartSyncJobOperator(task_id="start", **IDS).wait_for_completion

    @pytest.mark.parametrize("uri", [f"kendra://us-east-1/{INDEX_ID}/documents"])
    def test_a_kendra_outlet_is_refused_without_waiting(self, uri):
        with pytest.raises(ValueError, match="start: wait_for_completion=False with a Kendra asset among the outlets"):
            KendraStartSyncJobOperator(task_id="start", **IDS, wait_for_completion=False, outlets=[asset(uri)])
        KendraStartSyncJobOperator(task_id="start", **IDS, outlets=[asset(uri)])

    def test_another_outlet_is_fine_without_waiting(self):
        outlets = [asset("s3://bucket/documents")]
        KendraStartSyncJobOperator(task_id="start", **IDS, wait_for_completion=False, outlets=outlets)

    @pytest.mark.parametrize("limit", [-1, "3", 1.5])
    def test_an_invalid_max_documents_failed_is_rejected_at_once(self, limit):
        with pytest.raises(ValueError, match="max_documents_failed must be a whole number"):
            KendraStartSyncJobOperator(task_id="start", **IDS, max_documents_failed=limit)


def finished(status="SUCCEEDED", **documents):
    return listed("e", status, EndTime=NEWEST_START + timedelta(minutes=1), Metrics=counts(**documents))


class TestMetrics:
    @pytest.fixture
    def make(self, data_source):
        def make(**kwargs):
            return KendraSyncJobMetricsOperator(task_id="metrics", **data_source.as_kwargs, **kwargs)

        return make

    def test_the_record_is_the_result(self, make, data_source, context):
        data_source.show([finished(added=1, modified=2, deleted=3, failed=4, scanned=5)])
        record = make().execute(context)
        assert [record[f"documents_{name}"] for name in ("added", "modified", "deleted", "failed", "scanned")] == [
            1, 2, 3, 4, 5,
        ]  # fmt: skip
        assert (record["execution_id"], record["duration_seconds"]) == ("e", 60.0)

    def test_a_job_is_found_by_its_execution_id(self, make, data_source, context):
        data_source.show_long_history(25)
        assert make(execution_id="job-21").execute(context)["execution_id"] == "job-21"

    def test_without_an_execution_id_the_newest_finished_job_is_read(self, make, data_source, context):
        data_source.show(
            [listed("running", "SYNCING_INDEXING"), listed("odd", "ERROR"), listed("ended", "FAILED"), finished()]
        )
        assert make().execute(context)["execution_id"] == "ended"

    def test_a_job_that_has_not_finished_is_refused(self, make, data_source, context):
        data_source.show([listed("e", "SYNCING", Metrics=counts(scanned=7))])
        with pytest.raises(
            KendraError, match=r"has not finished: SYNCING \(7 scanned\).*KendraSyncJobSensor"
        ) as caught:
            make(execution_id="e").execute(context)
        assert caught.value.job.execution_id == "e"
        assert not isinstance(caught.value, AirflowFailException)

    def test_the_error_does_not_advise_to_wait_for_a_superseded_job(self, make, data_source, context):
        data_source.show(
            [listed("newer", "SYNCING"), listed("e", "SYNCING", StartTime=NEWEST_START - timedelta(days=1))]
        )
        with pytest.raises(KendraError, match=r"will not finish: a newer sync has started, .* still SYNCING") as caught:
            make(execution_id="e").execute(context)
        assert "Wait for it" not in str(caught.value)

    @pytest.mark.parametrize("history", [[], [listed("running", "SYNCING")]])
    def test_a_data_source_without_a_finished_job_is_an_error(self, make, data_source, context, history):
        data_source.show(history)
        with pytest.raises(KendraSyncJobNotFoundError, match="has no finished sync job yet"):
            make().execute(context)

    def test_a_missing_job_is_an_error(self, make, data_source, context):
        data_source.show([finished()])
        with pytest.raises(KendraSyncJobNotFoundError, match=r"No such sync job.*other"):
            make(execution_id="other").execute(context)

    @pytest.mark.parametrize(
        ("status", "documents", "thresholds"),
        [
            ("SUCCEEDED", {"failed": 3}, {"max_documents_failed": 3}),
            ("SUCCEEDED", {"failed": 0}, {"max_documents_failed": 0}),
            ("INCOMPLETE", {"failed": 3}, {"max_documents_failed": 3}),
            ("SUCCEEDED", {"failed": 1, "scanned": 4}, {"max_failed_ratio": 0.25}),
            ("SUCCEEDED", {"failed": 29, "scanned": 100}, {"max_failed_ratio": 0.29}),
            ("SUCCEEDED", {"failed": 0, "scanned": 0}, {"max_failed_ratio": 0}),
            ("SUCCEEDED", {"failed": 0, "added": 0}, {"max_failed_ratio": 0.0}),
            ("SUCCEEDED", {"failed": 1, "added": 1, "modified": 1, "deleted": 1}, {"max_failed_ratio": 0.25}),
            ("SUCCEEDED", {"failed": 1, "added": 3}, {"max_failed_ratio": 0.25}),
            ("SUCCEEDED", {"failed": 5, "scanned": 5}, {"max_failed_ratio": 1}),
            ("SUCCEEDED", {"scanned": 7}, {"min_documents_scanned": 7}),
            ("SUCCEEDED", {"scanned": 0}, {"min_documents_scanned": 0}),
            ("FAILED", {"failed": 9}, {}),
            ("ABORTED", {}, {}),
        ],
        ids=str,
    )
    def test_a_job_that_meets_the_thresholds_passes(self, make, data_source, context, status, documents, thresholds):
        data_source.show([finished(status, **documents)])
        assert make(**thresholds).execute(context)["execution_id"] == "e"

    @pytest.mark.parametrize(
        ("status", "documents", "thresholds", "violation"),
        [
            ("SUCCEEDED", {"failed": 4}, {"max_documents_failed": 3}, "4 documents failed (max_documents_failed=3)"),
            (
                "SUCCEEDED",
                {},
                {"max_documents_failed": 3},
                "failed documents are not reported (max_documents_failed=3)",
            ),
            (
                "SUCCEEDED",
                {"failed": 2, "scanned": 4},
                {"max_failed_ratio": 0.25},
                "2 of 4 documents failed (max_failed_ratio=0.25)",
            ),
            (
                "SUCCEEDED",
                {"failed": 2, "scanned": 4, "added": 100},
                {"max_failed_ratio": 0.25},
                "2 of 4 documents failed (max_failed_ratio=0.25)",
            ),
            (
                "SUCCEEDED",
                {"failed": 2, "added": 1, "modified": 2, "deleted": 2},
                {"max_failed_ratio": 0.25},
                "2 of 7 documents failed (max_failed_ratio=0.25)",
            ),
            (
                "SUCCEEDED",
                {"scanned": 4},
                {"max_failed_ratio": 0.25},
                "failed documents are not reported (max_failed_ratio=0.25)",
            ),
            (
                "SUCCEEDED",
                {"failed": 1, "scanned": 0},
                {"max_failed_ratio": 0.25},
                "1 of 0 documents failed (max_failed_ratio=0.25)",
            ),
            (
                "SUCCEEDED",
                {"scanned": 6},
                {"min_documents_scanned": 7},
                "6 documents were scanned (min_documents_scanned=7)",
            ),
            (
                "SUCCEEDED",
                {"added": 6},
                {"min_documents_scanned": 7},
                "scanned documents are not reported (min_documents_scanned=7); Kendra never reports them for CUSTOM "
                "data sources",
            ),
            ("FAILED", {"failed": 0}, {"max_documents_failed": 3}, "it ended FAILED"),
            ("ABORTED", {"failed": 0, "scanned": 1}, {"max_failed_ratio": 1}, "it ended ABORTED"),
            ("FAILED", {"scanned": 1}, {"min_documents_scanned": 0}, "it ended FAILED"),
        ],
        ids=str,
    )
    def test_a_job_that_does_not_meet_a_threshold_fails_with_the_reason(
        self, make, data_source, context, status, documents, thresholds, violation
    ):
        data_source.show([finished(status, **documents)])
        with pytest.raises(KendraSyncJobMetricsError) as caught:
            make(**thresholds).execute(context)
        assert caught.value.violations == [violation]
        assert violation in str(caught.value)
        assert caught.value.job.execution_id == "e"

    def test_all_violations_are_in_one_error(self, make, data_source, context):
        data_source.show([finished("FAILED", failed=5, scanned=10)])
        thresholds = {"max_documents_failed": 3, "max_failed_ratio": 0.25, "min_documents_scanned": 20}
        with pytest.raises(KendraSyncJobMetricsError) as caught:
            make(**thresholds).execute(context)
        assert len(caught.value.violations) == 4
        assert "; ".join(caught.value.violations) in str(caught.value)

    def test_the_error_of_a_failed_sync_begins_with_kendras_error(self, make, data_source, context):
        data_source.show([listed("e", "FAILED", ErrorCode="InternalError", ErrorMessage="It broke.")])
        with pytest.raises(KendraSyncJobMetricsError, match=r"^Sync FAILED: InternalError: It broke\. Thresholds not"):
            make(max_documents_failed=3).execute(context)

    def test_the_xcoms_are_pushed_before_the_task_fails(self, make, data_source, context, ti):
        data_source.show([finished(failed=5)])
        with pytest.raises(KendraSyncJobMetricsError) as caught:
            make(max_documents_failed=3).execute(context)
        record = caught.value.job.to_dict()
        assert ti.pushed == {
            "execution_id": "e", "status": "SUCCEEDED", "documents_failed": 5, "return_value": record,
            "failed_documents": ANY,
        }  # fmt: skip

    def test_without_multiple_outputs_the_record_alone_is_pushed(self, make, data_source, context, ti):
        data_source.show([finished(failed=5)])
        with pytest.raises(KendraSyncJobMetricsError) as caught:
            make(max_documents_failed=3, multiple_outputs=False).execute(context)
        assert ti.pushed == {"return_value": caught.value.job.to_dict(), "failed_documents": ANY}

    def test_without_xcoms_nothing_is_pushed(self, make, data_source, context, ti):
        data_source.show([finished(failed=5)])
        with pytest.raises(KendraSyncJobMetricsError):
            make(max_documents_failed=3, do_xcom_push=False).execute(context)
        assert ti.pushed == {}

    @example(failed=29, more=71, percent=29)
    @given(failed=st.integers(0, 1000), more=st.integers(0, 1000), percent=st.integers(0, 100))
    def test_a_share_of_failed_documents_equal_to_the_threshold_passes_and_any_larger_one_does_not(
        self, failed, more, percent
    ):
        total = failed + more
        job = SyncJob(**IDS, execution_id="e", status="INCOMPLETE", documents_failed=failed, documents_scanned=total)
        # Told in whole numbers: failed / total <= percent / 100, and 0/0 is 0.
        is_met = failed * 100 <= percent * total
        assert (violations(job, max_failed_ratio=percent / 100) == []) is is_met

    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_documents_failed": -1},
            {"max_documents_failed": "3"},
            {"max_failed_ratio": -0.1},
            {"max_failed_ratio": float("nan")},
            {"min_documents_scanned": -1},
        ],
        ids=str,
    )
    def test_an_invalid_threshold_is_rejected_at_once(self, wrong):
        with pytest.raises(ValueError, match=f"metrics: {next(iter(wrong))} must be a number of 0 or more"):
            KendraSyncJobMetricsOperator(task_id="metrics", **IDS, **wrong)

    @pytest.mark.parametrize("name", ["max_failed_ratio", "max_index_share"])
    def test_a_share_above_1_is_refused_at_once(self, name):
        with pytest.raises(ValueError, match=rf"metrics: {name} is a share from 0 to 1, got 90"):
            KendraSyncJobMetricsOperator(task_id="metrics", **IDS, **{name: 90})


class TestList:
    @pytest.fixture
    def make(self, data_source):
        def make(**kwargs):
            return KendraListSyncJobsOperator(task_id="list", **data_source.as_kwargs, **kwargs)

        return make

    def test_the_records_come_newest_first_as_json(self, make, data_source, context):
        data_source.show_long_history(25)
        records = make().execute(context)
        assert [record["execution_id"] for record in records] == [f"job-{number}" for number in range(1, 26)]
        assert json.loads(json.dumps(records)) == records

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"limit": 3}, [1, 2, 3]),
            ({"status": "FAILED"}, [2, 4]),
            ({"status": "FAILED", "limit": 1}, [2]),
            ({"started_after": NEWEST_START - timedelta(hours=2)}, [1, 2, 3]),
            ({"started_after": (NEWEST_START - timedelta(hours=2)).isoformat()}, [1, 2, 3]),
            ({"started_before": NEWEST_START - timedelta(hours=3)}, [4, 5]),
            ({"status": "FAILED", "started_before": NEWEST_START - timedelta(hours=3)}, [4]),
        ],
        ids=str,
    )
    def test_only_what_is_asked_for_is_listed(self, make, data_source, context, filters, expected):
        data_source.show_long_history(5, job_2={"Status": "FAILED"}, job_4={"Status": "FAILED"})
        records = make(**filters).execute(context)
        assert [record["execution_id"] for record in records] == [f"job-{number}" for number in expected]
        assert data_source.kendra.call_count(LIST) == 1

    @pytest.mark.parametrize(
        ("jobs", "filters", "warnings"),
        [(1001, {}, 1), (1000, {}, 0), (1001, {"limit": 1001}, 0)],
        ids=["more than 1,000", "1,000", "as many as asked for"],
    )
    def test_more_than_1000_jobs_without_a_limit_cause_a_warning(
        self, make, data_source, context, monkeypatch, jobs, filters, warnings
    ):
        one = SyncJob(**data_source.as_kwargs, execution_id="one", status="SUCCEEDED")
        monkeypatch.setattr(KendraSyncJobsHook, "list_sync_jobs", lambda *_, **__: [one] * jobs)
        operator = make(**filters)
        monkeypatch.setattr(operator.log, "warning", warned := Mock())
        assert len(operator.execute(context)) == jobs
        logged = [call.args[0] % call.args[1:] for call in warned.call_args_list]
        assert [line for line in logged if "sync jobs" in line] == [
            "1001 sync jobs go into one XCom. Pass limit, started_after or started_before if that is too much "
            f"(data source {data_source.data_source_id})"
        ] * warnings

    def test_the_totals_are_pushed(self, make, data_source, context, ti):
        data_source.show(
            [
                listed("a", "SYNCING"),
                listed("b", Metrics=counts(added=1, modified=2, deleted=3, failed=4, scanned=5)),
                listed("c", "INCOMPLETE", Metrics=counts(added=10, failed=40)),
                listed("d", "ERROR"),
                listed("e"),
            ]
        )
        make().execute(context)
        assert ti.pushed == {
            "totals": {
                "documents_added": 11,
                "documents_modified": 2,
                "documents_deleted": 3,
                "documents_failed": 44,
                "documents_scanned": 5,
                "jobs": 5,
                "statuses": {
                    "SUCCEEDED": 2,
                    "FAILED": 0,
                    "INCOMPLETE": 1,
                    "ABORTED": 0,
                    "SYNCING": 1,
                    "SYNCING_INDEXING": 0,
                    "STOPPING": 0,
                    "ERROR": 1,
                },
            }
        }

    def test_the_totals_are_of_the_jobs_that_are_listed(self, make, data_source, context, ti):
        data_source.show([listed("a", Metrics=counts(added=1)), listed("b", Metrics=counts(added=10))])
        make(limit=1).execute(context)
        assert (ti.pushed["totals"]["jobs"], ti.pushed["totals"]["documents_added"]) == (1, 1)

    def test_a_data_source_that_was_never_synced_has_no_jobs_and_totals_of_0(self, make, context, ti):
        assert make().execute(context) == []
        statuses = ti.pushed["totals"].pop("statuses")
        assert set(ti.pushed["totals"].values()) == set(statuses.values()) == {0}

    def test_without_xcoms_nothing_is_pushed(self, make, context, ti):
        make(do_xcom_push=False).execute(context)
        assert ti.pushed == {}

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"started_after": "2026-01-31T06:00:00"}, "started_after is .*no time zone"),
            ({"started_before": "soon"}, "started_before is 'soon', but must be a datetime"),
            ({"index_id": "short"}, "index_id is 'short'"),
        ],
        ids=str,
    )
    def test_an_invalid_value_is_rejected_before_any_call(self, data_source, context, wrong, message):
        operator = KendraListSyncJobsOperator(task_id="list", **data_source.as_kwargs | wrong)
        with pytest.raises(ValueError, match=message):
            operator.execute(context)
        assert data_source.kendra.call_count(LIST) == 0


AWS_PARAMETERS = {"aws_conn_id", "region_name", "verify", "botocore_config"}


@pytest.mark.parametrize(
    ("operator", "own"),
    [
        (KendraStartSyncJobOperator, set()),
        (KendraSyncJobMetricsOperator, {"execution_id"}),
        (KendraListSyncJobsOperator, {"status", "started_after", "started_before"}),
    ],
)
class TestTemplates:
    def test_identifiers_times_and_aws_parameters_are_templated(self, operator, own):
        assert set(operator.template_fields) == {"index_id", "data_source_id"} | own | AWS_PARAMETERS

    def test_templates_are_rendered(self, operator, own):
        fields = {name: f"{{{{ params.{name} }}}}" for name in ("index_id", "data_source_id", "region_name", *own)}
        rendered = {name: f"the-{name}" for name in fields}
        task = operator(task_id="task", **fields)
        task.render_template_fields({"params": rendered})
        assert {name: getattr(task, name) for name in fields} == rendered


def test_the_calls_use_the_aws_parameters(data_source, context, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", data_source.kendra.connection_json)
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_DEFAULT", "aws://x:x@/?region_name=eu-west-1&endpoint_url=http%3A%2F%2F127.0.0.1%3A9"
    )
    task = KendraListSyncJobsOperator(
        task_id="list", **data_source.as_kwargs, aws_conn_id="other", botocore_config={"user_agent_extra": "mine"}
    )
    assert task.execute(context) == []
    assert [call.region for call in data_source.kendra.calls(LIST)] == ["us-east-1"]
    assert "mine" in task.hook.conn.meta.config.user_agent_extra
