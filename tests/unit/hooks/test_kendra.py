"""The hook against the local Kendra: it asks for no more than it needs, and it starts exactly one sync."""

import itertools
import json
from datetime import datetime, timedelta, timezone
from functools import cache
from itertools import chain, islice, pairwise
from unittest.mock import Mock, patch

import botocore.session
import certifi
import pytest
import requests
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook, BaseSessionFactory
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from botocore import exceptions as aws
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParserError
from botocore.retries import standard
from botocore.stub import Stubber

from airflow_provider_kendra._waiting.history import Page
from airflow_provider_kendra.exceptions import (
    KendraError,
    KendraRequestError,
    KendraSyncJobAlreadyRunningError,
    KendraSyncJobNotFoundError,
)
from airflow_provider_kendra.hooks.kendra import (
    ErrorKind,
    KendraSyncJobsHook,
    _certainly_had_no_effect,
    classify_error,
    refusal,
)
from airflow_provider_kendra.operators.kendra import KendraListSyncJobsOperator
from airflow_provider_kendra.sync_job import SyncJob, SyncJobStatus
from tests.conftest import NEWEST_START, counts, listed, pages_without_jobs_first

LIST = "ListDataSourceSyncJobs"
START = "StartDataSourceSyncJob"
STOP = "StopDataSourceSyncJob"
INDEX_ID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
URL = {"endpoint_url": "https://kendra", "error": "It broke."}


@cache
def hook_for(connection, attempts=None):
    """A hook with the clients that it made in tests before, since making them takes longer than most tests."""
    return KendraSyncJobsHook(config=attempts and {"retries": {"total_max_attempts": attempts}})


@pytest.fixture
def hook(local_kendra):
    return hook_for(local_kendra.connection_json)


def execution_ids(jobs):
    return [job.execution_id for job in jobs]


def numbered(*numbers):
    return [f"job-{number}" for number in numbers]


def error_code(caught):
    return caught.value.response["Error"]["Code"]


class TestReading:
    def test_the_newest_job_of_a_thousand_costs_one_call(self, hook, data_source):
        data_source.show_long_history(1000)
        assert hook.get_latest_sync_job(*data_source.ids).execution_id == "job-1"
        assert data_source.kendra.call_count() == 1

    def test_a_finished_job_at_position_1000_is_found_with_100_calls(self, hook, data_source):
        data_source.show_long_history(1000, job_1000={"Metrics": counts(added=7)})
        assert hook.get_sync_job(*data_source.ids, "job-1000").documents_added == 7
        assert data_source.kendra.call_count(LIST) == 100

    def test_jobs_without_an_id_are_all_returned(self, hook, data_source):
        data_source.show([listed("", StartTime=NEWEST_START), listed("", StartTime=NEWEST_START - timedelta(hours=1))])
        assert execution_ids(hook.list_sync_jobs(*data_source.ids)) == ["", ""]

    def test_a_token_that_kendra_refuses_is_no_fault_of_the_request(self, hook, data_source):
        data_source.show_long_history(35)
        data_source.kendra.inject(LIST, times=1, next_token="invalid")
        with pytest.raises(KendraError, match="Kendra refused the token of the next page") as raised:
            hook.list_sync_jobs(*data_source.ids)
        assert not isinstance(raised.value, KendraRequestError)

    def test_a_job_on_two_pages_that_overlap_is_returned_once(self, hook, data_source):
        first, second, third = (
            SyncJob.from_response(listed(f"job-{n}"), index_id="i", data_source_id="d") for n in (1, 2, 3)
        )
        pages = [Page([first, second], is_last=False), Page([second, third], is_last=True)]
        with patch.object(KendraSyncJobsHook, "_iter_pages", lambda *_, **__: iter(pages)):
            assert execution_ids(hook.list_sync_jobs(*data_source.ids)) == numbered(1, 2, 3)

    @pytest.mark.parametrize(("position", "calls"), [(1, 1), (10, 1), (11, 2), (30, 3)])
    def test_a_job_is_looked_for_no_further_than_to_its_page(self, hook, data_source, position, calls):
        data_source.show_long_history(35)
        assert hook.get_sync_job(*data_source.ids, f"job-{position}").execution_id == f"job-{position}"
        assert data_source.kendra.call_count(LIST) == calls

    @pytest.mark.parametrize(("consumed", "calls"), [(0, 0), (1, 1), (10, 1), (11, 2), (35, 4)])
    def test_pages_are_fetched_as_they_are_consumed(self, hook, data_source, consumed, calls):
        data_source.show_long_history(35)
        jobs = hook.iter_sync_jobs(*data_source.ids)
        assert execution_ids(islice(jobs, consumed)) == numbered(*range(1, consumed + 1))
        assert data_source.kendra.call_count(LIST) == calls

    def test_all_jobs_come_newest_first_and_once(self, hook, data_source):
        data_source.show_long_history(35)
        assert execution_ids(hook.list_sync_jobs(*data_source.ids)) == numbered(*range(1, 36))

    @pytest.mark.parametrize(("limit", "calls", "page_size"), [(1, 1, 1), (10, 1, 10), (15, 2, 10), (99, 4, 10)])
    def test_a_limit_costs_no_more_calls_than_it_takes(self, hook, data_source, limit, calls, page_size):
        data_source.show_long_history(35)
        assert execution_ids(hook.list_sync_jobs(*data_source.ids, limit=limit)) == numbered(
            *range(1, min(limit, 35) + 1)
        )
        asked = data_source.kendra.calls(LIST)
        assert [call.parameters["MaxResults"] for call in asked] == [page_size] * calls

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_below_1_is_refused(self, hook, data_source, limit):
        with pytest.raises(ValueError, match=f"limit is {limit}, but must be a whole number of 1 or more"):
            hook.list_sync_jobs(*data_source.ids, limit=limit)

    def test_the_page_size_is_what_is_asked_for(self, hook, data_source):
        data_source.show_long_history(7)
        assert len(list(hook.iter_sync_jobs(*data_source.ids, page_size=3))) == 7
        assert [call.parameters["MaxResults"] for call in data_source.kendra.calls(LIST)] == [3, 3, 3]

    @pytest.mark.parametrize("page_size", [0, 11])
    def test_a_page_size_that_the_api_does_not_have_is_refused_before_any_call(self, hook, data_source, page_size):
        with pytest.raises(ValueError, match=f"page_size is {page_size}, but must be from 1 to 10"):
            next(hook.iter_sync_jobs(*data_source.ids, page_size=page_size))
        assert data_source.kendra.call_count(LIST) == 0

    def test_a_data_source_that_was_never_synced_has_no_jobs(self, hook, data_source):
        assert hook.list_sync_jobs(*data_source.ids) == []
        assert hook.get_latest_sync_job(*data_source.ids) is None

    def test_a_response_becomes_a_record(self, hook, data_source):
        end = NEWEST_START + timedelta(minutes=1)
        data_source.show([listed("e", "FAILED", EndTime=end, ErrorCode="InternalError", Metrics=counts(scanned=3))])
        assert hook.get_latest_sync_job(*data_source.ids).to_dict() == {
            **data_source.as_kwargs,
            "execution_id": "e",
            "status": "FAILED",
            "start_time": NEWEST_START.isoformat(),
            "end_time": end.isoformat(),
            "duration_seconds": 60.0,
            **dict.fromkeys(f"documents_{name}" for name in ("added", "modified", "deleted", "failed")),
            "documents_scanned": 3,
            "error_code": "InternalError",
            **dict.fromkeys(("error_message", "data_source_error_code")),
        }

    def test_a_job_without_any_details_is_listed(self, hook, data_source):
        data_source.show([{}, listed("e")])
        assert execution_ids(hook.list_sync_jobs(*data_source.ids)) == ["", "e"]

    def test_empty_pages_do_not_end_the_history(self, hook):
        answers = [{"NextToken": "a"}, {"History": [], "NextToken": "b"}, {"History": [{"ExecutionId": "e"}]}]
        with Stubber(hook.conn) as stubber:
            for answer in answers:
                stubber.add_response("list_data_source_sync_jobs", answer)
            assert execution_ids(hook.list_sync_jobs(INDEX_ID, "documents")) == ["e"]
            stubber.assert_no_pending_responses()

    def test_the_newest_sync_is_found_behind_pages_without_jobs(self, hook, data_source):
        execution_id = data_source.start()
        with pages_without_jobs_first():
            assert hook.get_latest_sync_job(*data_source.ids).execution_id == execution_id

    def test_only_a_history_without_jobs_has_a_page_without_any(self, hook, data_source):
        with pages_without_jobs_first():
            assert [page.jobs for page in hook._iter_pages(*data_source.ids)] == [[]]
            data_source.show_long_history(15)
            assert [len(page.jobs) for page in hook._iter_pages(*data_source.ids)] == [10, 5]

    def test_a_page_that_is_given_again_and_again_is_an_error_and_no_endless_loop(self, hook, data_source):
        data_source.show_long_history(35)
        data_source.kendra.inject(LIST, next_token="repeated")
        with pytest.raises(KendraError, match=r"returned the same page twice.*history of data source"):
            hook.list_sync_jobs(*data_source.ids)
        assert data_source.kendra.call_count(LIST) <= 3

    def test_a_missing_job_is_an_error_that_names_all_three_ids(self, hook, data_source):
        data_source.show_long_history(15)
        with pytest.raises(KendraSyncJobNotFoundError, match=r"No such sync job.*other") as caught:
            hook.get_sync_job(*data_source.ids, "other")
        for part in data_source.ids:
            assert part in str(caught.value)
        assert data_source.kendra.call_count(LIST) == 2


class TestFilters:
    @pytest.fixture
    def mixed(self, data_source):
        statuses = ["SYNCING", "FAILED", "SUCCEEDED", "FAILED", "ABORTED"] * 6
        data_source.show_long_history(
            30, **{f"job_{number}": {"Status": status} for number, status in enumerate(statuses, start=1)}
        )
        return data_source

    @pytest.mark.parametrize("status", ["FAILED", SyncJobStatus.FAILED])
    def test_the_service_filters_by_status(self, hook, mixed, status):
        jobs = hook.list_sync_jobs(*mixed.ids, status=status)
        assert execution_ids(jobs) == numbered(*(n for tens in range(0, 30, 5) for n in (tens + 2, tens + 4)))
        assert [call.parameters["StatusFilter"] for call in mixed.kendra.calls(LIST)] == ["FAILED"] * 2

    @pytest.mark.parametrize(
        ("times", "expected"),
        [
            ({"started_after": NEWEST_START - timedelta(hours=2)}, numbered(1, 2, 3)),
            ({"started_before": NEWEST_START - timedelta(hours=27)}, numbered(28, 29, 30)),
            (
                {
                    "started_after": NEWEST_START - timedelta(hours=4),
                    "started_before": NEWEST_START - timedelta(hours=3),
                },
                numbered(4, 5),
            ),
            ({"started_after": (NEWEST_START - timedelta(hours=1)).isoformat()}, numbered(1, 2)),
            ({"started_after": datetime(2026, 1, 31, 7, tzinfo=timezone(timedelta(hours=2)))}, numbered(1, 2)),
            ({"started_after": NEWEST_START + timedelta(hours=1)}, []),
        ],
    )
    def test_the_service_filters_by_start_time(self, hook, mixed, times, expected):
        assert execution_ids(hook.list_sync_jobs(*mixed.ids, **times)) == expected
        assert mixed.kendra.call_count(LIST) == 1

    def test_every_page_is_asked_for_with_both_filters(self, hook, mixed):
        since = NEWEST_START - timedelta(hours=28)
        jobs = hook.iter_sync_jobs(*mixed.ids, status="FAILED", started_after=since, page_size=4)
        assert len(list(jobs)) == 12
        filters = [(c.parameters["StatusFilter"], c.parameters["StartTimeFilter"]) for c in mixed.kendra.calls(LIST)]
        assert filters == [("FAILED", {"StartTime": since.timestamp()})] * 3

    def test_without_filters_none_is_sent(self, hook, mixed):
        hook.get_latest_sync_job(*mixed.ids)
        sent = mixed.kendra.calls(LIST)[0].parameters
        assert sent == {"IndexId": mixed.index_id, "Id": mixed.data_source_id, "MaxResults": 10}

    @pytest.mark.parametrize(
        ("statuses", "expected"),
        [(None, "job-1"), (["SUCCEEDED"], "job-3"), ({"ABORTED", "SUCCEEDED"}, "job-3"), (["ABORTED"], "job-5")],
    )
    def test_the_newest_job_of_some_statuses_costs_one_call_where_it_is_on_the_first_page(
        self, hook, mixed, statuses, expected
    ):
        assert hook.get_latest_sync_job(*mixed.ids, statuses=statuses).execution_id == expected
        assert mixed.kendra.call_count(LIST) == 1

    @pytest.mark.parametrize("status", ["SUCCEEDED", "INCOMPLETE"])
    def test_the_newest_job_of_one_status_costs_one_call_however_long_the_history_is(self, hook, data_source, status):
        start = NEWEST_START
        jobs = [listed(f"job-{n}", "FAILED", StartTime=start - timedelta(hours=n)) for n in range(30)]
        jobs.append(listed("old", "SUCCEEDED", StartTime=start - timedelta(hours=31)))
        data_source.show(jobs)
        found = hook.get_latest_sync_job(*data_source.ids, statuses=[status])
        assert (found and found.execution_id) == ("old" if status == "SUCCEEDED" else None)
        assert data_source.kendra.call_count(LIST) == 1

    def test_a_status_that_is_not_in_the_model_is_searched_for_in_the_whole_history(self, hook, mixed):
        assert hook.get_latest_sync_job(*mixed.ids, statuses=["PAUSED"]) is None

    def test_there_may_be_no_job_of_some_statuses(self, hook, mixed):
        assert hook.get_latest_sync_job(*mixed.ids, statuses=["INCOMPLETE"]) is None

    @pytest.mark.parametrize("name", ["started_after", "started_before"])
    def test_a_time_without_a_zone_is_refused_before_any_call(self, hook, data_source, name):
        with pytest.raises(ValueError, match=f"{name} is .*no time zone"):
            hook.list_sync_jobs(*data_source.ids, **{name: datetime(2026, 1, 31)})
        assert data_source.kendra.call_count(LIST) == 0


METHODS = {
    "iter_sync_jobs": lambda hook, *ids: next(hook.iter_sync_jobs(*ids)),
    "list_sync_jobs": lambda hook, *ids: hook.list_sync_jobs(*ids),
    "get_sync_job": lambda hook, *ids: hook.get_sync_job(*ids, "e"),
    "get_latest_sync_job": lambda hook, *ids: hook.get_latest_sync_job(*ids),
    "start_sync_job": lambda hook, *ids: hook.start_sync_job(*ids),
    "stop_sync_job": lambda hook, *ids: hook.stop_sync_job(*ids),
    "describe_data_source": lambda hook, *ids: hook.describe_data_source(*ids),
}


@pytest.mark.parametrize("method", METHODS)
class TestIdentifiers:
    @pytest.mark.parametrize(
        ("index_id", "data_source_id", "message"),
        [
            ("short", "documents", "index_id is 'short', but must be exactly 36"),
            (INDEX_ID, "two words", "data_source_id is 'two words', but must be 1 to 100"),
            (INDEX_ID, "", "data_source_id is ''.*the template found no value"),
            (INDEX_ID, f"documents|{INDEX_ID}", "data_source_id is .*CloudFormation's Ref.*data_source_id='documents'"),
            (f"documents|{INDEX_ID}", "documents", f"index_id is .*CloudFormation's Ref.*index_id='{INDEX_ID}'"),
        ],
    )
    def test_a_wrong_id_is_refused_before_any_call(self, hook, local_kendra, method, index_id, data_source_id, message):
        with pytest.raises(ValueError, match=message):
            METHODS[method](hook, index_id, data_source_id)
        assert local_kendra.call_count() == 0

    def test_what_the_service_does_not_know_is_its_own_error(self, hook, method):
        with pytest.raises(aws.ClientError) as caught:
            METHODS[method](hook, INDEX_ID, "documents")
        assert error_code(caught) == "ResourceNotFoundException"


@pytest.mark.parametrize("execution_id", ["", "two words", None])
def test_an_execution_id_that_cannot_be_one_is_refused_before_any_call(hook, data_source, execution_id):
    with pytest.raises(ValueError, match="execution_id is "):
        hook.get_sync_job(*data_source.ids, execution_id)
    assert data_source.kendra.call_count(LIST) == 0


class TestDataSources:
    def test_a_data_source_is_described_without_the_metadata_of_the_response(self, hook, data_source):
        described = hook.describe_data_source(*data_source.ids)
        assert (described["Id"], described["Type"], described["Status"]) == (data_source.data_source_id, "S3", "ACTIVE")
        assert "ResponseMetadata" not in described

    def test_all_data_sources_are_listed(self, hook, local_kendra):
        index_id = local_kendra.create_index()
        made = [local_kendra.create_custom_data_source(index_id, f"source-{number}") for number in range(3)]
        assert [each["Id"] for each in hook.list_data_sources(index_id)] == made

    def test_pages_of_data_sources_are_fetched_as_they_are_consumed(self, hook):
        with Stubber(hook.conn) as stubber:
            stubber.add_response("list_data_sources", {"SummaryItems": [{"Id": "a"}, {"Id": "b"}], "NextToken": "1"})
            found = hook.list_data_sources(INDEX_ID)
            assert [next(found)["Id"], next(found)["Id"]] == ["a", "b"]
            stubber.add_response("list_data_sources", {"NextToken": "2"}, {"IndexId": INDEX_ID, "NextToken": "1"})
            stubber.add_response("list_data_sources", {"SummaryItems": [{"Id": "c"}]})
            assert [each["Id"] for each in found] == ["c"]

    def test_an_index_without_data_sources_has_none(self, hook, local_kendra):
        assert list(hook.list_data_sources(local_kendra.create_index())) == []

    def test_a_page_of_data_sources_that_is_given_again_and_again_is_an_error(self, hook):
        with Stubber(hook.conn) as stubber:
            for _ in range(2):
                stubber.add_response("list_data_sources", {"SummaryItems": [{"Id": "a"}], "NextToken": "1"})
            with pytest.raises(KendraError, match=r"returned the same page twice.*data sources of index"):
                list(hook.list_data_sources(INDEX_ID))

    @pytest.mark.parametrize("cycle", ["AB", "ABC", "ABCB"])
    @pytest.mark.parametrize(
        ("method", "ids"), [("list_data_sources", (INDEX_ID,)), ("list_data_source_sync_jobs", (INDEX_ID, "documents"))]
    )
    def test_page_tokens_that_repeat_in_a_longer_cycle_are_an_error(self, hook, method, ids, cycle):
        tokens = itertools.cycle(cycle)
        read = {"list_data_sources": hook.list_data_sources, "list_data_source_sync_jobs": hook.list_sync_jobs}[method]
        with Stubber(hook.conn) as stubber:
            for _ in range(10):
                stubber.add_response(method, {"NextToken": next(tokens)})
            with pytest.raises(KendraError, match="returned the same page"):
                list(read(*ids))

    @pytest.mark.parametrize(("index_id", "message"), [("short", "index_id"), (f"d|{INDEX_ID}", "CloudFormation")])
    def test_a_wrong_index_id_is_refused(self, hook, local_kendra, index_id, message):
        with pytest.raises(ValueError, match=message):
            next(hook.list_data_sources(index_id))
        assert local_kendra.call_count() == 0

    def test_stopping_stops_what_runs(self, hook, data_source):
        data_source.start()
        hook.stop_sync_job(*data_source.ids)
        assert hook.get_latest_sync_job(*data_source.ids).status == "STOPPING"


class TestStop:
    def test_a_batch_whose_stop_lost_its_response_is_not_stopped_twice(self, hook, custom_data_source, clock):
        custom_data_source.kendra.set_sync_duration(None)
        execution_id = custom_data_source.start()
        custom_data_source.kendra.inject(STOP, times=1, reset="after")
        hook.stop_sync_job(*custom_data_source.ids)
        assert custom_data_source.kendra.call_count(STOP) == 1
        assert hook.get_sync_job(*custom_data_source.ids, execution_id).status == "SYNCING_INDEXING"

    @pytest.mark.parametrize(
        ("fault", "sent"),
        [
            ({"reset": "after"}, 1),
            ({"reset": "before"}, 2),
            ({"status": 503}, 2),
            ({"error": "SlowDown"}, 2),
        ],
        ids=str,
    )
    def test_a_stop_is_sent_again_only_while_the_sync_runs_on(self, hook, data_source, clock, fault, sent):
        data_source.start()
        data_source.kendra.inject(STOP, times=1, **fault)
        hook.stop_sync_job(*data_source.ids)
        assert data_source.kendra.call_count(STOP) == sent
        assert hook.get_latest_sync_job(*data_source.ids).status == "STOPPING"

    @pytest.mark.parametrize("is_custom", [False, True])
    @pytest.mark.parametrize(
        "fault", [{"reset": "after"}, {"reset": "before"}, {"error": "ThrottlingException"}], ids=str
    )
    def test_a_sync_that_was_started_after_the_stop_was_sent_is_not_stopped(
        self, hook, data_source, custom_data_source, clock, fault, is_custom
    ):
        source = custom_data_source if is_custom else data_source
        source.show([listed("first", "SYNCING")], [listed("second", "SYNCING"), listed("first", "SUCCEEDED")])
        source.kendra.inject(STOP, times=1, **fault)
        hook.stop_sync_job(*source.ids)
        assert source.kendra.call_count(STOP) == 1

    @pytest.mark.parametrize("before", [[], [listed("old", "SUCCEEDED")]], ids=["never synced", "synced before"])
    def test_a_stop_that_may_have_met_a_sync_not_yet_listed_raises_its_error(self, hook, data_source, clock, before):
        data_source.show(before, [listed("new", "SYNCING"), *before])
        data_source.kendra.inject(STOP, times=1, reset="after")
        with pytest.raises(aws.HTTPClientError):
            hook.stop_sync_job(*data_source.ids)
        assert data_source.kendra.call_count(STOP) == 1

    @pytest.mark.parametrize(
        "fault", [{"reset": "after"}, {"reset": "before"}, {"error": "ThrottlingException"}], ids=str
    )
    def test_without_permission_to_read_the_history_a_stop_is_sent_once_and_raises_its_error(
        self, hook, data_source, clock, fault
    ):
        data_source.start()
        data_source.kendra.inject(LIST, error="AccessDeniedException")
        data_source.kendra.inject(STOP, times=1, **fault)
        with pytest.raises((aws.HTTPClientError, aws.ClientError)) as raised:
            hook.stop_sync_job(*data_source.ids)
        assert "AccessDenied" not in str(raised.value)
        assert data_source.kendra.call_count(STOP) == 1

    def test_a_stop_needs_no_permission_to_read_the_history(self, hook, data_source):
        data_source.start()
        data_source.kendra.inject(LIST, error="AccessDeniedException", times=1)
        hook.stop_sync_job(*data_source.ids)
        assert hook.get_latest_sync_job(*data_source.ids).status == "STOPPING"

    @pytest.mark.parametrize("status", ["SYNCING", "SYNCING_INDEXING"])
    @pytest.mark.parametrize("fault", [{"reset": "before"}, {"error": "ThrottlingException"}], ids=str)
    def test_a_stop_of_an_unknown_type_raises_its_error_if_the_sync_is_being_indexed(
        self, hook, data_source, clock, fault, status
    ):
        data_source.kendra.inject("DescribeDataSource", error="AccessDeniedException")
        data_source.show([listed("job", status)], [listed("job", "SYNCING_INDEXING")])
        data_source.kendra.inject(STOP, times=1, **fault)
        with pytest.raises((aws.HTTPClientError, aws.ClientError)) as raised:
            hook.stop_sync_job(*data_source.ids)
        assert "AccessDenied" not in str(raised.value)
        assert data_source.kendra.call_count(STOP) == 1

    def test_a_stop_raises_its_error_if_the_sync_has_vanished_from_the_history(self, hook, data_source, clock):
        data_source.show([listed("job", "SYNCING")], [])
        data_source.kendra.inject(STOP, times=1, error="ThrottlingException")
        with pytest.raises(aws.ClientError):
            hook.stop_sync_job(*data_source.ids)

    def test_a_stop_raises_its_error_if_the_history_cannot_be_read_any_more(self, hook, data_source, monkeypatch):
        data_source.start()
        data_source.kendra.inject(STOP, times=1, reset="before")
        denied = Mock(side_effect=PermissionError("denied"))
        monkeypatch.setattr("airflow_provider_kendra._stopping.advance_stop", denied)
        with pytest.raises(aws.HTTPClientError) as raised:
            hook.stop_sync_job(*data_source.ids)
        assert raised.value.__cause__ is denied.side_effect

    def test_a_stop_that_lost_its_response_is_over_once_the_sync_has_ended(self, hook, data_source, clock):
        data_source.show([listed("job", "SYNCING")], [listed("job")])
        data_source.kendra.inject(STOP, times=1, reset="before")
        hook.stop_sync_job(*data_source.ids)
        assert data_source.kendra.call_count(STOP) == 1

    def test_a_stop_that_never_succeeds_is_given_up_within_a_bounded_time(self, hook, data_source, clock):
        data_source.start()
        data_source.kendra.inject(STOP, reset="before")
        with pytest.raises(aws.HTTPClientError):
            hook.stop_sync_job(*data_source.ids)
        assert clock.now < 1000 + 90

    def test_a_stop_that_is_denied_is_an_error_at_once(self, hook, data_source, clock):
        data_source.start()
        data_source.kendra.inject(STOP, error="AccessDeniedException")
        with pytest.raises(aws.ClientError):
            hook.stop_sync_job(*data_source.ids)
        assert (data_source.kendra.call_count(STOP), data_source.kendra.call_count(LIST)) == (1, 1)

    def test_a_stop_that_succeeds_reads_one_page_of_the_history(self, hook, data_source):
        data_source.start()
        hook.stop_sync_job(*data_source.ids)
        assert (data_source.kendra.call_count(STOP), data_source.kendra.call_count(LIST)) == (1, 1)


class TestConnection:
    def connect(self, monkeypatch, conn_id, **extra):
        connection = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            (AirflowNotFoundException("not defined"), "is not defined"),
            (ImportError("cannot import name 'SUPERVISOR_COMMS'"), "cannot be looked up here"),
        ],
        ids=["not defined", "Airflow cannot look it up"],
    )
    def test_an_unavailable_connection_is_named_and_never_replaced_by_another_identity(
        self, local_kendra, monkeypatch, fault, said
    ):
        def not_found(*_, **__):
            raise fault

        monkeypatch.setattr("airflow.providers.amazon.aws.hooks.base_aws.AwsBaseHook.get_connection", not_found)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-machine")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-machine")
        with pytest.raises(KendraRequestError, match=f"The AWS connection 'missing' {said}") as caught:
            KendraSyncJobsHook(aws_conn_id="missing", region_name="us-east-1").get_latest_sync_job(
                INDEX_ID, "documents"
            )
        assert "aws_conn_id=None" in str(caught.value)
        assert local_kendra.call_count() == 0

    def test_no_connection_is_boto3s_own_credentials(self, data_source, monkeypatch):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_ENDPOINT_URL_KENDRA", data_source.kendra.url)
        hook = KendraSyncJobsHook(aws_conn_id=None, region_name="us-east-1")
        assert hook.list_sync_jobs(*data_source.ids) == []

    def test_the_connection_gives_endpoint_and_region(self, data_source, monkeypatch):
        self.connect(monkeypatch, "other", region_name="us-east-1", endpoint_url=data_source.kendra.url)
        KendraSyncJobsHook(aws_conn_id="other").start_sync_job(*data_source.ids)
        assert {(call.operation, call.region) for call in data_source.kendra.calls()} >= {
            (LIST, "us-east-1"),
            (START, "us-east-1"),
        }

    def test_a_region_that_is_given_overrides_that_of_the_connection(self, local_kendra):
        index_id = local_kendra.client(region_name="eu-west-1").create_index(
            Name="there", RoleArn="arn:aws:iam::1:role/r"
        )["Id"]
        hook = KendraSyncJobsHook(region_name="eu-west-1")
        assert list(hook.list_data_sources(index_id)) == []
        with pytest.raises(aws.ClientError):
            hook.start_sync_job(index_id, "documents")
        assert {call.region for call in local_kendra.calls()} == {"eu-west-1"}

    @pytest.mark.parametrize("verify", [False, True, certifi.where()])
    def test_verify_reaches_the_client(self, local_kendra, verify):
        hook = KendraSyncJobsHook(verify=verify)
        assert hook.conn._endpoint.http_session._verify == verify

    def test_the_configuration_of_the_connection_reaches_the_client(self, local_kendra, monkeypatch):
        self.connect(monkeypatch, "other", region_name="us-east-1", config_kwargs={"read_timeout": 7})
        config = KendraSyncJobsHook(aws_conn_id="other").conn.meta.config
        assert (config.read_timeout, config.connect_timeout) == (7, 10)

    @pytest.mark.parametrize("config", [{"read_timeout": 7}, Config(read_timeout=7)])
    def test_the_configuration_that_is_given_reaches_the_client(self, local_kendra, config):
        config = KendraSyncJobsHook(config=config).conn.meta.config
        assert (config.read_timeout, config.connect_timeout) == (7, 10)

    def test_without_configuration_a_call_is_given_up_in_good_time(self, hook):
        assert (hook.conn.meta.config.read_timeout, hook.conn.meta.config.connect_timeout) == (30, 10)

    def test_the_client_is_made_once_until_it_is_discarded(self, hook):
        first = hook.conn
        assert hook.conn is first
        hook._discard_clients()
        assert hook.conn is not first

    def test_after_discarding_the_connection_is_looked_up_anew(self, data_source, monkeypatch):
        hook = KendraSyncJobsHook()
        hook.list_sync_jobs(*data_source.ids)
        self.connect(monkeypatch, "aws_default", region_name="eu-west-1", endpoint_url=data_source.kendra.url)
        hook._discard_clients()
        assert hook.conn.meta.region_name == "eu-west-1"


class TestMakingAClient:
    """A configuration that cannot work is refused for good; what may pass while credentials are fetched is not."""

    @pytest.mark.parametrize(
        ("arguments", "parameter"),
        [
            ({"config": {"retrys": 1}}, "botocore_config"),
            ({"config": {"retries": {"mode": "often"}}}, "botocore_config"),
            ({"config": {"read_timeout": "long"}}, "botocore_config"),
            ({"config": "read_timeout=5"}, "botocore_config"),
            ({"config": {"proxies": {"https": 5}}}, "botocore_config"),
            ({"verify": "/no/such.pem"}, "verify"),
            ({"verify": "/etc/passwd"}, "verify"),
            ({"verify": 5}, "verify"),
            ({"region_name": "no where"}, "region_name"),
        ],
    )
    def test_what_cannot_work_is_refused_before_any_call_and_names_the_parameter(
        self, data_source, arguments, parameter
    ):
        before = data_source.kendra.call_count()
        with pytest.raises(KendraRequestError, match=parameter):
            KendraSyncJobsHook(**arguments).list_sync_jobs(*data_source.ids)
        assert data_source.kendra.call_count() == before

    @pytest.mark.parametrize(
        "error",
        [TypeError("no"), ValueError("no"), AttributeError("no"), OSError("no"), FileNotFoundError(2, "no"),
         aws.InvalidConfigError(error_msg="no"), NotImplementedError("no")],
        ids=lambda error: type(error).__name__,
    )  # fmt: skip
    def test_an_error_while_creating_a_client_is_a_configuration_error(self, local_kendra, monkeypatch, error):
        self.break_sessions(monkeypatch, error)
        with pytest.raises(KendraRequestError, match=type(error).__name__):
            _ = KendraSyncJobsHook().conn

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (aws.EndpointConnectionError(**URL), ErrorKind.TRANSIENT),
            (aws.ReadTimeoutError(**URL), ErrorKind.TRANSIENT),
            (aws.ProxyConnectionError(proxy_url="http://proxy", error="It broke."), ErrorKind.TRANSIENT),
            (ConnectionResetError(), ErrorKind.TRANSIENT),
            (TimeoutError(), ErrorKind.TRANSIENT),
            (requests.HTTPError("503 of the identity provider"), ErrorKind.TRANSIENT),
            (OSError(24, "Too many open files"), ErrorKind.TRANSIENT),
            (aws.NoCredentialsError(), ErrorKind.CREDENTIALS),
            (aws.CredentialRetrievalError(provider="sts", error_msg="It broke."), ErrorKind.CREDENTIALS),
            (aws.ClientError({"Error": {"Code": "Throttling"}, "ResponseMetadata": {"HTTPStatusCode": 400}},
                "AssumeRole"), ErrorKind.TRANSIENT),
            (aws.ClientError({"Error": {"Code": "ServiceUnavailable"}, "ResponseMetadata": {"HTTPStatusCode": 503}},
                "AssumeRole"), ErrorKind.TRANSIENT),
            (aws.ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}},
                "AssumeRole"), ErrorKind.PERMANENT),
        ],
        ids=lambda value: type(value).__name__,
    )  # fmt: skip
    def test_an_error_of_fetching_credentials_stays_what_it_is(self, local_kendra, monkeypatch, error, kind):
        self.break_sessions(monkeypatch, error)
        with pytest.raises(type(error)) as caught:
            _ = KendraSyncJobsHook().conn
        assert classify_error(caught.value) is kind

    def break_sessions(self, monkeypatch, error):
        def create_session(*_, **__):
            raise error

        monkeypatch.setattr(BaseSessionFactory, "create_session", create_session)

    def test_passwords_are_not_shown(self, local_kendra, monkeypatch):
        self.break_sessions(monkeypatch, ValueError("Invalid proxy: http://me:secret@proxy:3128"))
        with pytest.raises(KendraRequestError, match=r"\*\*\*@proxy") as caught:
            _ = KendraSyncJobsHook().conn
        assert "secret" not in str(caught.value)
        assert caught.value.__suppress_context__

    def test_a_missing_file_that_only_a_call_discovers_is_a_permanent_error(self, local_kendra, monkeypatch):
        monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such.pem")
        connection = json.loads(local_kendra.connection_json)
        connection["extra"]["endpoint_url"] = connection["extra"]["endpoint_url"].replace("http:", "https:")
        monkeypatch.setenv("AIRFLOW_CONN_TLS", json.dumps(connection))
        with pytest.raises(aws.BotoCoreError) as caught:
            KendraSyncJobsHook("tls", config={"retries": {"total_max_attempts": 1}}).list_sync_jobs(INDEX_ID, "source")
        assert classify_error(caught.value) is ErrorKind.PERMANENT


class TestLookingTheConnectionUp:
    @pytest.fixture
    def look_ups(self, monkeypatch, local_kendra):
        """What the look-ups raise, one after the other; None for one that succeeds."""
        coming = []
        true = AwsBaseHook.get_connection

        def look_up(conn_id):
            if coming and (error := coming.pop(0)) is not None:
                raise error
            return true(conn_id)

        monkeypatch.setattr(AwsBaseHook, "get_connection", look_up)
        return coming

    @pytest.fixture
    def clock(self, monkeypatch):
        clock = Clock()
        monkeypatch.setattr("airflow_provider_kendra.hooks.kendra.time", clock)
        return clock

    def test_a_task_looks_it_up_several_times_over_a_minute(self, look_ups, clock, data_source):
        look_ups += [AirflowNotFoundException("not defined")] * 4
        operator = KendraListSyncJobsOperator(task_id="list", **data_source.as_kwargs)
        assert operator.hook.list_sync_jobs(*data_source.ids) == []
        assert clock.now == 1000 + 60

    def test_a_task_fails_for_good_if_it_stays_undefined(self, look_ups, clock, data_source):
        look_ups += [AirflowNotFoundException("not defined")] * 9
        operator = KendraListSyncJobsOperator(task_id="list", **data_source.as_kwargs)
        with pytest.raises(KendraRequestError, match="is not defined"):
            operator.hook.list_sync_jobs(*data_source.ids)
        assert len(look_ups) == 4

    def test_reading_logs_does_not_wait_for_a_look_up_but_other_calls_still_do(self, look_ups, clock, data_source):
        look_ups += [AirflowNotFoundException("not defined")] * 5
        operator = KendraListSyncJobsOperator(task_id="list", **data_source.as_kwargs)
        with pytest.raises(KendraRequestError, match="is not defined"):
            operator.hook.get_missing_documents(*data_source.ids)
        assert clock.now == 1000
        assert operator.hook.list_sync_jobs(*data_source.ids) == []
        assert clock.now == 1000 + 60

    def test_any_other_error_of_a_look_up_will_pass_and_its_text_is_not_shown(self, look_ups, data_source):
        look_ups.append(ValueError("Port could not be cast to integer value as 'secret'"))
        with pytest.raises(KendraError, match=r"look-up .* failed \(ValueError\)") as caught:
            KendraSyncJobsHook().list_sync_jobs(*data_source.ids)
        assert classify_error(caught.value) is ErrorKind.TRANSIENT
        assert "secret" not in str(caught.value)

    def test_a_hook_goes_on_with_what_it_knows_when_a_later_look_up_fails(self, look_ups, data_source):
        look_ups += [None, AirflowNotFoundException("not defined")]
        hook = KendraSyncJobsHook()
        first = hook.conn
        hook._discard_clients()
        assert hook.list_sync_jobs(*data_source.ids) == []
        assert hook.conn is not first
        assert not look_ups

    def test_a_connection_that_was_there_before_is_not_taken_for_undefined(self, look_ups, data_source):
        look_ups.append(AirflowNotFoundException("not defined"))
        hook = KendraSyncJobsHook()
        hook._expect_connection()
        with pytest.raises(KendraError) as caught:
            _ = hook.conn
        assert classify_error(caught.value) is ErrorKind.TRANSIENT

    @pytest.mark.parametrize("value", ["{", '{"conn_type": "aws"', "{'conn_type': 'aws'}"])
    def test_an_environment_variable_that_is_no_json_is_said_at_once(self, monkeypatch, clock, local_kendra, value):
        monkeypatch.setenv("AIRFLOW_CONN_BROKEN", value)
        hook = KendraSyncJobsHook("broken")
        hook._retry_connection_lookups()
        with pytest.raises(KendraRequestError, match="AIRFLOW_CONN_BROKEN is neither valid JSON"):
            _ = hook.conn
        assert clock.now == 1000


class Clock:
    """Stands in for the module `time`: sleeping moves it, and takes no time."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("airflow_provider_kendra.hooks.kendra.time", clock)
    return clock


class TestStart:
    @pytest.fixture(params=[0, 2], ids=["never synced", "synced before"])
    def source(self, request, data_source, clock):
        for _ in range(request.param):
            data_source.start()
            data_source.finish()
        self.before = data_source.execution_ids()
        self.starts_before = data_source.kendra.call_count(START)
        return data_source

    @pytest.fixture
    def hook(self, local_kendra):
        """It repeats nothing by itself, and so sleeps by no clock but ours."""
        return hook_for(local_kendra.connection_json, attempts=1)

    def starts(self, source):
        return source.kendra.call_count(START) - self.starts_before

    def started(self, source):
        """The syncs that were started since; however the list was delayed, this one shows it all."""
        for _ in range(7):
            jobs = source.execution_ids()
        return jobs[: len(jobs) - len(self.before)]

    def answer_with(self, monkeypatch, status, then=lambda: None):
        """Let the first start be acted on, and then answered with this HTTP status."""
        send = URLLib3Session.send
        spoiled = []

        def spoiling(session, request):
            response = send(session, request)
            if START.encode() in request.headers["X-Amz-Target"] and not spoiled:
                spoiled.append(request)
                response.status_code = status
                then()
            return response

        monkeypatch.setattr(URLLib3Session, "send", spoiling)

    def test_a_start_is_sent_once_and_gives_the_execution_id(self, hook, source):
        assert self.started(source) == []
        execution_id = hook.start_sync_job(*source.ids)
        assert self.started(source) == [execution_id]
        assert self.starts(source) == 1

    @pytest.mark.parametrize(
        "fault", [{"reset": "after"}, {"body": "not-json"}, {"body": "truncated"}, {"body": "empty"}], ids=str
    )
    def test_a_lost_response_is_resolved_from_the_history(self, hook, source, fault):
        source.kendra.inject(START, times=1, **fault)
        execution_id = hook.start_sync_job(*source.ids)
        assert self.started(source) == [execution_id]
        assert self.starts(source) == 1

    def test_a_lost_response_is_resolved_behind_empty_pages(self, hook, source):
        source.kendra.inject(START, times=1, reset="after")
        with pages_without_jobs_first():
            execution_id = hook.start_sync_job(*source.ids)
        assert self.started(source) == [execution_id]
        assert self.starts(source) == 1

    def test_a_running_sync_behind_empty_pages_is_reported_with_its_job(self, hook, source):
        running = source.start()
        with pages_without_jobs_first(), pytest.raises(KendraSyncJobAlreadyRunningError) as caught:
            hook.start_sync_job(*source.ids)
        assert caught.value.job.execution_id == running
        assert self.starts(source) == 1  # the one of the others

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_start_that_was_acted_on_but_answered_with_an_error_is_found(self, hook, source, monkeypatch, status):
        self.answer_with(monkeypatch, status)
        execution_id = hook.start_sync_job(*source.ids)
        assert self.started(source) == [execution_id]
        assert self.starts(source) == 1

    @pytest.mark.parametrize("looks", [1, 2, 5])
    def test_a_lost_response_is_resolved_even_if_the_job_is_listed_late(self, hook, source, looks):
        source.kendra.set_listing_delay(looks)
        source.kendra.inject(START, times=1, reset="after")
        execution_id = hook.start_sync_job(*source.ids)
        assert self.started(source) == [execution_id]
        assert self.starts(source) == 1

    @pytest.mark.parametrize("outcome", ["SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED"])
    def test_a_lost_response_is_resolved_even_if_the_job_has_ended(self, hook, source, outcome):
        source.kendra.set_sync_duration(0)
        source.kendra.set_next_outcome(*source.ids, outcome)
        source.kendra.inject(START, times=1, reset="after")
        execution_id = hook.start_sync_job(*source.ids)
        assert self.started(source) == [execution_id]
        assert self.starts(source) == 1

    def test_a_lost_response_is_resolved_even_if_reading_the_history_fails_at_first(self, hook, source, monkeypatch):
        self.answer_with(monkeypatch, 500, then=lambda: source.kendra.inject(LIST, status=503, times=2))
        execution_id = hook.start_sync_job(*source.ids)
        assert self.started(source) == [execution_id]
        assert self.starts(source) == 1

    @pytest.mark.parametrize(
        "fault",
        [
            {"reset": "before"},
            {"error": "InternalServerException"},
            {"status": 503},
            {"error": "ThrottlingException"},
            {"error": "ExpiredTokenException"},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("times", [1, 2])
    def test_a_start_that_was_not_acted_on_leads_to_one_sync(self, hook, source, fault, times):
        source.kendra.inject(START, times=times, **fault)
        execution_id = hook.start_sync_job(*source.ids)
        assert self.started(source) == [execution_id]
        assert self.starts(source) == times + 1

    def test_botocore_never_repeats_a_start_by_itself(self, source):
        source.kendra.inject(START, times=2, status=500)
        hook = KendraSyncJobsHook(config={"retries": {"total_max_attempts": 9, "mode": "standard"}})
        before = source.kendra.call_count()
        hook.start_sync_job(*source.ids)
        calls = [call.operation for call in source.kendra.calls()[before:]]
        assert calls.count(START) == 3
        assert (START, START) not in pairwise(calls)

    def test_a_service_that_cannot_be_reached_for_a_moment_does_no_harm(self, hook, source, monkeypatch):
        send = URLLib3Session.send
        failures = iter([aws.EndpointConnectionError(**URL), aws.ConnectTimeoutError(**URL)])

        def failing(session, request):
            if START.encode() in request.headers["X-Amz-Target"] and (error := next(failures, None)):
                raise error
            return send(session, request)

        monkeypatch.setattr(URLLib3Session, "send", failing)
        execution_id = hook.start_sync_job(*source.ids)
        assert self.started(source) == [execution_id]

    def test_a_throttled_read_before_the_start_is_retried(self, hook, source):
        source.kendra.inject(LIST, times=2, error="ThrottlingException")
        execution_id = hook.start_sync_job(*source.ids)
        assert self.started(source) == [execution_id]
        assert self.starts(source) == 1

    def test_expired_credentials_lead_to_a_new_client(self, hook, source):
        before = hook.conn
        source.kendra.inject(START, times=1, error="ExpiredTokenException")
        hook.start_sync_job(*source.ids)
        assert hook.conn is not before

    @pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException", "ResourceNotFoundException"])
    def test_a_permanent_error_is_raised_at_once(self, hook, source, clock, code):
        source.kendra.inject(START, error=code)
        now = clock.now
        with pytest.raises(aws.ClientError) as caught:
            hook.start_sync_job(*source.ids)
        assert error_code(caught) == code
        assert (self.starts(source), clock.now) == (1, now)

    def test_a_running_sync_is_reported_with_its_job(self, hook, source):
        running = source.start()
        with pytest.raises(
            KendraSyncJobAlreadyRunningError, match=f"wait for it to end, or stop it.*{running}"
        ) as caught:
            hook.start_sync_job(*source.ids)
        assert caught.value.job.execution_id == running
        assert self.started(source) == [running]

    def test_a_sync_that_was_running_before_is_not_taken_for_the_one_in_doubt(self, hook, source):
        running = source.start()
        source.kendra.inject(START, times=1, status=500)
        with pytest.raises(KendraSyncJobAlreadyRunningError) as caught:
            hook.start_sync_job(*source.ids)
        assert caught.value.job.execution_id == running
        assert self.started(source) == [running]

    def test_a_running_sync_is_reported_once_it_is_listed(self, hook, source):
        source.kendra.set_listing_delay(2)
        running = source.start()
        with pytest.raises(KendraSyncJobAlreadyRunningError) as caught:
            hook.start_sync_job(*source.ids)
        assert caught.value.job.execution_id == running
        assert self.started(source) == [running]

    @pytest.mark.parametrize("code", ["ResourceInUseException", "ConflictException"])
    def test_a_data_source_in_use_without_a_listed_sync_is_an_error_after_a_while(self, hook, source, clock, code):
        source.kendra.inject(START, error=code)
        with pytest.raises(KendraSyncJobAlreadyRunningError, match="in use") as caught:
            hook.start_sync_job(*source.ids)
        assert caught.value.job is None
        assert self.started(source) == []
        assert clock.now < 1000 + 120

    def test_a_data_source_that_is_in_use_for_a_moment_only_is_started(self, hook, source):
        source.kendra.inject(START, error="ConflictException", times=2)
        execution_id = hook.start_sync_job(*source.ids)
        assert self.started(source) == [execution_id]

    @pytest.mark.parametrize("fault", [{"reset": "before"}, {"status": 500}, {"error": "ThrottlingException"}], ids=str)
    def test_a_start_that_never_succeeds_is_given_up_within_a_bounded_time(self, hook, source, clock, fault):
        source.kendra.inject(START, **fault)
        with pytest.raises(KendraError, match="could be started within 60 s: ") as caught:
            hook.start_sync_job(*source.ids)
        assert type(caught.value) is KendraError
        assert source.data_source_id in str(caught.value)
        assert self.started(source) == []
        assert clock.now < 1000 + 180


class TestStartOnLongHistory:
    def test_a_start_reads_one_page(self, hook, data_source):
        data_source.show_long_history(1000)
        hook.start_sync_job(*data_source.ids)
        assert data_source.kendra.call_count(LIST) == 1

    def test_resolving_a_lost_response_reads_one_page_at_a_time(self, hook, data_source, clock):
        hours = [listed(f"job-{n}", StartTime=NEWEST_START - timedelta(hours=n)) for n in range(300)]
        data_source.show(hours, [listed("mine", "SYNCING", StartTime=NEWEST_START + timedelta(hours=1)), *hours])
        data_source.kendra.inject(START, times=1, reset="after")
        assert hook.start_sync_job(*data_source.ids) == "mine"
        assert data_source.kendra.call_count(LIST) == 2

    def test_of_two_newer_jobs_the_older_one_is_ours(self, hook, data_source, clock):
        before = [listed("before")]
        later = [
            listed("of-others", "SYNCING", StartTime=NEWEST_START + timedelta(hours=2)),
            listed("mine", "SUCCEEDED", StartTime=NEWEST_START + timedelta(hours=1)),
            *before,
        ]
        data_source.show(before, later)
        data_source.kendra.inject(START, times=1, reset="after")
        assert hook.start_sync_job(*data_source.ids) == "mine"


def client_error(code, status=400):
    return aws.ClientError(
        {"Error": {"Code": code, "Message": "No."}, "ResponseMetadata": {"HTTPStatusCode": status}}, LIST
    )


OF_THE_MODEL = {
    "AccessDeniedException": ErrorKind.PERMANENT,
    "ConflictException": ErrorKind.ALREADY_RUNNING,
    "FeaturedResultsConflictException": ErrorKind.PERMANENT,
    "InternalServerException": ErrorKind.TRANSIENT,
    "InvalidRequestException": ErrorKind.PERMANENT,
    "ResourceAlreadyExistException": ErrorKind.PERMANENT,
    "ResourceInUseException": ErrorKind.ALREADY_RUNNING,
    "ResourceNotFoundException": ErrorKind.PERMANENT,
    "ResourceUnavailableException": ErrorKind.PERMANENT,
    "ServiceQuotaExceededException": ErrorKind.PERMANENT,
    "ThrottlingException": ErrorKind.TRANSIENT,
    "ValidationException": ErrorKind.PERMANENT,
}


def codes_that_botocore_retries():
    """The codes of each of botocore's retry modes, for the services that calls and their credentials need."""
    modern = (
        standard.TransientRetryableChecker._TRANSIENT_ERROR_CODES,
        standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES,
    )
    session = botocore.session.get_session()
    retries = session.get_component("data_loader").load_data("_retry")
    policies = [retries["definitions"]]
    policies += [retries["retry"].get(name, {}).get("__default__", {}).get("policies", {}) for name in SERVICES]
    legacy = [
        policy.get("applies_when", {}).get("response", {}).get("service_error_code")
        for each in policies
        for policy in each.values()
    ]
    modelled = [
        shape.error_code
        for name in SERVICES
        for shape in session.get_service_model(name).error_shapes
        if "retryable" in shape.metadata
    ]
    return set(filter(None, (*chain(*modern), *legacy, *modelled)))


SERVICES = ("kendra", "logs", "sts", "sso", "sso-oidc")
CODES_THAT_BOTOCORE_RETRIES = codes_that_botocore_retries()


class TestErrors:
    def test_the_table_has_every_error_that_the_model_declares(self):
        model = botocore.session.get_session().get_service_model("kendra")
        assert {shape.name for shape in model.error_shapes} == set(OF_THE_MODEL)

    @pytest.mark.parametrize(("code", "kind"), OF_THE_MODEL.items())
    def test_an_error_of_the_model_is_what_its_name_says(self, code, kind):
        status = 500 if code == "InternalServerException" else 400
        assert classify_error(client_error(code, status)) is kind

    @pytest.mark.parametrize(
        ("code", "status", "kind"),
        [
            ("Throttling", 400, ErrorKind.TRANSIENT),
            ("TooManyRequestsException", 429, ErrorKind.TRANSIENT),
            ("RequestLimitExceeded", 503, ErrorKind.TRANSIENT),
            ("LimitExceededException", 400, ErrorKind.TRANSIENT),
            ("429", 429, ErrorKind.TRANSIENT),
            ("408", 408, ErrorKind.TRANSIENT),
            ("500", 500, ErrorKind.TRANSIENT),
            ("502", 502, ErrorKind.TRANSIENT),
            ("ServiceUnavailable", 503, ErrorKind.TRANSIENT),
            ("504", 504, ErrorKind.TRANSIENT),
            ("InternalFailure", 500, ErrorKind.TRANSIENT),
            ("301", 301, ErrorKind.TRANSIENT),
            ("Unheard", 0, ErrorKind.TRANSIENT),
            ("ExpiredToken", 400, ErrorKind.CREDENTIALS),
            ("ExpiredTokenException", 403, ErrorKind.CREDENTIALS),
            ("UnrecognizedClientException", 400, ErrorKind.CREDENTIALS),
            ("InvalidClientTokenId", 403, ErrorKind.CREDENTIALS),
            ("InvalidSignatureException", 400, ErrorKind.CREDENTIALS),
            ("SignatureDoesNotMatch", 403, ErrorKind.CREDENTIALS),
            ("RequestExpired", 400, ErrorKind.CREDENTIALS),
            ("AccessDenied", 403, ErrorKind.PERMANENT),
            ("400", 400, ErrorKind.TRANSIENT),  # botocore's code of a body that it could not read
            ("404", 404, ErrorKind.TRANSIENT),
            ("403", 403, ErrorKind.TRANSIENT),
            ("", 403, ErrorKind.TRANSIENT),
            (None, 407, ErrorKind.TRANSIENT),
            ("UnknownOperationException", 400, ErrorKind.PERMANENT),
        ],
    )
    def test_other_responses_are_classified_by_code_or_http_status(self, code, status, kind):
        assert classify_error(client_error(code, status)) is kind

    @pytest.mark.parametrize("code", sorted(CODES_THAT_BOTOCORE_RETRIES))
    def test_each_code_that_botocore_retries_is_transient(self, code):
        assert classify_error(client_error(code, 400)) is ErrorKind.TRANSIENT
        assert classify_error(client_error(code, 403)) is ErrorKind.TRANSIENT

    @pytest.mark.parametrize("code", sorted(standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES))
    def test_each_code_of_throttling_means_that_a_start_had_no_effect(self, code):
        assert _certainly_had_no_effect(client_error(code, 400))

    @pytest.mark.parametrize("code", sorted(standard.TransientRetryableChecker._TRANSIENT_ERROR_CODES))
    def test_a_start_that_timed_out_in_the_service_may_have_had_an_effect(self, code):
        is_refused = code in standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES
        assert _certainly_had_no_effect(client_error(code, 400)) is is_refused

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            # On the way to the service.
            (aws.EndpointConnectionError(**URL), ErrorKind.TRANSIENT),
            (aws.ConnectTimeoutError(**URL), ErrorKind.TRANSIENT),
            (aws.ReadTimeoutError(**URL), ErrorKind.TRANSIENT),
            (aws.ConnectionClosedError(**URL), ErrorKind.TRANSIENT),
            (aws.SSLError(**URL), ErrorKind.TRANSIENT),
            (aws.ProxyConnectionError(proxy_url="http://proxy", error="It broke."), ErrorKind.TRANSIENT),
            (aws.HTTPClientError(error="It broke."), ErrorKind.TRANSIENT),
            (aws.ResponseStreamingError(error="It broke."), ErrorKind.TRANSIENT),
            (ResponseParserError("not JSON"), ErrorKind.TRANSIENT),
            (ConnectionResetError(), ErrorKind.TRANSIENT),
            (TimeoutError(), ErrorKind.TRANSIENT),
            # On the way to credentials.
            (aws.NoCredentialsError(), ErrorKind.CREDENTIALS),
            (aws.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), ErrorKind.CREDENTIALS),
            (aws.CredentialRetrievalError(provider="sts", error_msg="It broke."), ErrorKind.CREDENTIALS),
            (aws.TokenRetrievalError(provider="sso", error_msg="It broke."), ErrorKind.CREDENTIALS),
            (aws.NoAuthTokenError(), ErrorKind.CREDENTIALS),
            # Nothing was asked, since it could not be.
            (ValueError("index_id is 'short'"), ErrorKind.PERMANENT),
            (aws.ParamValidationError(report="wrong"), ErrorKind.PERMANENT),
            (aws.NoRegionError(), ErrorKind.PERMANENT),
            (aws.ProfileNotFound(profile="missing"), ErrorKind.PERMANENT),
            (KendraRequestError("The AWS connection 'missing' is not defined."), ErrorKind.PERMANENT),
            # Who knows.
            (KendraError("Kendra gave the same page twice."), ErrorKind.TRANSIENT),
            (RuntimeError("The connection could not be looked up."), ErrorKind.TRANSIENT),
            (KeyError("ExecutionId"), ErrorKind.TRANSIENT),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_other_errors_are_classified_by_their_class(self, error, kind):
        assert classify_error(error) is kind

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("AccessDeniedException", ErrorKind.PERMANENT),
            ("com.amazon.coral.service#ThrottlingException:http://internal", ErrorKind.TRANSIENT),
            ("", ErrorKind.TRANSIENT),
        ],
    )
    def test_a_code_in_the_header_counts_where_the_body_has_none(self, code, kind):
        error = client_error("403", 403)
        error.response["ResponseMetadata"]["HTTPHeaders"] = {"x-amzn-errortype": code}
        assert classify_error(error) is kind

    @pytest.mark.parametrize(
        "error", [aws.MetadataRetrievalError(error_msg="It broke."), aws.SSOTokenLoadError(error_msg="No.")]
    )
    def test_errors_of_fetching_credentials_may_pass_with_a_new_client(self, error):
        assert classify_error(error) is ErrorKind.CREDENTIALS

    def test_a_client_error_without_any_details_is_transient(self):
        assert classify_error(aws.ClientError({}, LIST)) is ErrorKind.TRANSIENT

    def test_errors_of_a_real_call_are_distinguished(self, data_source, local_kendra):
        kinds = []
        hook = hook_for(local_kendra.connection_json, attempts=1)
        for fault in ({"error": "AccessDeniedException"}, {"error": "ResourceInUseException"}, {"reset": "before"}):
            local_kendra.clear_faults()
            local_kendra.inject("DescribeDataSource", **fault)
            with pytest.raises((aws.ClientError, aws.ConnectionClosedError)) as caught:
                hook.describe_data_source(*data_source.ids)
            kinds.append(classify_error(caught.value))
        assert kinds == [ErrorKind.PERMANENT, ErrorKind.ALREADY_RUNNING, ErrorKind.TRANSIENT]

    def test_a_refusal_names_the_data_source_and_what_to_check(self):
        said = refusal(client_error("AccessDeniedException"), "documents")
        for part in ("documents", "AccessDeniedException", "kendra:ListDataSourceSyncJobs"):
            assert part in said

    def test_a_refusal_that_is_not_the_services_says_what_the_error_says(self):
        assert refusal(ValueError("index_id is 'short'"), "documents") == "index_id is 'short'"
