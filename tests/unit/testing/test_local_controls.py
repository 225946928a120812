"""The controls work over HTTP and in process, and refuse values that can't be meant."""

import importlib
import inspect
import json
import math
from datetime import date, datetime, timedelta

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from airflow_provider_kendra.testing import MockedKendra, mock_kendra
from airflow_provider_kendra.testing.faults import Answer, Fault
from airflow_provider_kendra.testing.local import Controls

LIST = "ListDataSourceSyncJobs"
START = "StartDataSourceSyncJob"
ONCE = Config(retries={"total_max_attempts": 1})


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"times": -1}, "times must be a whole number of 1 or more, but is -1; pass None for a fault that "
                        "always applies"),
        ({"times": 0}, "times must be a whole number of 1 or more, but is 0"),
        ({"times": 1.5}, "times must be a whole number of 1 or more, but is 1.5"),
        ({"times": True}, "times must be a whole number of 1 or more, but is True"),
        ({"rate": 7}, "rate must be a number from 0 to 1, but is 7"),
        ({"rate": math.nan}, "rate must be a number from 0 to 1, but is nan"),
        ({"rate": "0.5"}, "rate must be a number from 0 to 1, but is '0.5'"),
        ({"delay": -1}, "delay must be a number from 0 to 3600, but is -1"),
        ({"delay": math.inf}, "delay must be a number from 0 to 3600, but is inf"),
        ({"status": 42}, "status must be a whole number from 200 to 599, but is 42"),
        ({"reset": "sometimes"}, "reset must be one of None, before, after, but is 'sometimes'"),
        ({"error": 5}, "error must be a string, but is 5"),
        ({"message": 5}, "message must be a string, but is 5"),
        ({"seed": [1]}, "seed must be a whole number, but is [1]"),
    ],
)  # fmt: skip
def test_an_invalid_fault_is_refused(anywhere, fault, sentence):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        anywhere.inject(LIST, **({"error": "ThrottlingException"} | fault))
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("control", "arguments", "sentence"),
    [
        ("set_sync_duration", [-1], "seconds must be a number of 0 or more, but is -1"),
        ("set_sync_duration", [1, -2], "indexing must be a number of 0 or more, but is -2"),
        ("set_listing_delay", [-1], "looks must be a whole number of 0 or more, but is -1"),
        ("set_empty_first_page", ["yes"], "is_empty must be True or False, but is 'yes'"),
        ("set_creation_time", [-1], "seconds must be a number of 0 or more, but is -1"),
        ("set_creation_time", [1, math.nan], "updating must be a number of 0 or more, but is nan"),
        ("set_log_delay", [-0.5], "seconds must be a number of 0 or more, but is -0.5"),
        ("run_schedules", [1], "is_running must be True or False, but is 1"),
        ("set_clock", [datetime(2026, 1, 1)], "must have a time zone"),
        ("set_clock", [math.nan], "time must be a number from 0 to"),
        ("advance_clock", [-1], "seconds must be a number from 0 to"),
        ("advance_clock", [1e18], "seconds must be a number from 0 to"),
        ("set_clock", [date(2026, 1, 1)], "datetime.date(2026, 1, 1)"),
        ("advance_clock", [timedelta(1)], "datetime.timedelta(days=1)"),
        ("inject", [None], "operation must be a string, but is None"),
    ],
)
def test_an_invalid_setting_is_refused(anywhere, control, arguments, sentence):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        getattr(anywhere, control)(*arguments)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("quota", ["indexes", "data_sources", "documents", "text_bytes"])
def test_a_negative_quota_is_refused(anywhere, quota):
    with pytest.raises(ValueError, match=f"{quota} must be a whole number of 0 or more, but is -1"):
        anywhere.set_quotas(**{quota: -1})


@pytest.mark.parametrize(
    ("control", "arguments", "named", "sentence"),
    [
        ("set_data_source_status", ["sleeping"], {}, "status must be a name in capital letters, such as FAILED, but "),
        ("set_next_outcome", [""], {}, "status must be a name in capital letters, such as FAILED, but is ''"),
        ("finish_sync_job", ["done"], {}, "status must be a name in capital letters, such as FAILED, but is 'done'"),
        ("set_next_outcome", [], {"metrics": {"Failed": 1}}, "metrics has 'Failed', but can only have Doc"),
        ("fail_documents", [["a"]], {"stage": "read"}, "stage must be one of None, crawl, sync, index, put, but is "),
        ("fail_documents", [["a"]], {"times": -1}, "times must be a whole number of 0 or more, but is -1"),
        ("fail_documents", [[""]], {}, "document_ids must be a list of non-empty strings"),
        ("set_documents", [[{"id": "a", "body": "b"}]], {}, "A document has 'body', but can only have id, title, "),
        ("set_documents", [[{"id": "a"}]], {}, "A CUSTOM data source finds no documents: add them with BatchPut"),
        ("set_documents", [[{"text": "b"}]], {}, "The id of a document must be a list of non-empty strings"),
        ("set_documents", [[{"id": "a", "text": 5}]], {}, "The text of a document must be a string, but is 5"),
        ("set_documents", [[{"id": "a", "attributes": ["n"]}]], {}, "The attributes of a document must be a mapping"),
        ("set_documents", [[{"id": "a", "attributes": {"n": 5}}]], {}, "The attributes of a document must be a list"),
        ("set_documents", [[{"id": "a", "access": ["bob"]}]], {}, "The access of a document must be a list of mapp"),
        ("set_documents", [[{"id": "a", "access": [{"who": "b"}]}]], {}, "The access of a document has 'who', but "),
        ("set_documents", [[{"id": "a"}, {"id": "a"}]], {}, "documents has 'a' more than once"),
        ("set_documents", [{"id": "a"}], {}, "documents must be a list of mappings, but is {'id': 'a'}"),
        ("set_documents", [[{"id": "a"}]], {}, "A CUSTOM data source finds no documents: add them with Batch"),
        ("fail_documents", ["s3://b/a"], {}, "document_ids must be a list of non-empty strings, but is 's3://"),
        ("fail_documents", [None], {}, "document_ids must be a list of non-empty strings, but is None"),
        ("fail_documents", [["a"]], {"reason": 5}, "reason must be a string, but is 5"),
        ("fail_documents", [["a"]], {"error_code": None}, "error_code must be a string, but is None"),
        ("finish_sync_job", ["SYNCING"], {}, "status must be one that a sync ends with, but is 'SYNCING'"),
        ("set_next_outcome", [], {"metrics": {"DocumentsFailed": "many"}}, "DocumentsFailed in metrics must be a who"),
        ("set_next_outcome", [], {"metrics": {"DocumentsFailed": -1}}, "DocumentsFailed in metrics must be a whole n"),
        ("set_next_outcome", [], {"error_code": 42}, "error_code must be a string, but is 42"),
        ("set_history", [{"Status": "FAILED"}], {}, "A history must be a list of mappings, but is {'Status'"),
        ("set_history", [["one"]], {}, "A history must be a list of mappings, but is ['one']"),
        ("set_history", [[{"State": "FAILED"}]], {}, "An item of a history has 'State', but can only have Execution"),
        ("set_history", [[{"StartTime": "now"}]], {}, "StartTime must be a number from 0 to "),
    ],
)  # fmt: skip
def test_a_control_of_a_data_source_refuses_unknown_values(
    anywhere, custom_source, control, arguments, named, sentence
):
    source = custom_source(anywhere)
    source.start()
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        getattr(anywhere, control)(*source.ids, *arguments, **named)
    assert str(caught.value).startswith(sentence)


def test_controls_take_the_documented_names_of_their_parameters(in_process):
    controls = importlib.import_module("airflow_provider_kendra.testing.controls").CONTROLS
    for name in controls.keys() & vars(Controls).keys():
        documented = list(inspect.signature(getattr(Controls, name)).parameters.values())[1:]
        named = {each.name: None for each in documented if each.kind is not each.VAR_POSITIONAL}
        inspect.signature(controls[name]).bind(**named)


def test_a_status_that_the_model_does_not_know_is_possible(anywhere, custom_source):
    source = custom_source(anywhere)
    source.start()
    anywhere.finish_sync_job(*source.ids, "PAUSED")
    assert source.newest()["Status"] == "PAUSED"


def test_a_control_for_what_does_not_exist_says_so(anywhere):
    with pytest.raises(ValueError, match="There is no index 'x' in any account or region"):
        anywhere.advance("x", "y")


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ({"error": "ThrottlingException"}, "ThrottlingException", 400),
        ({"error": "InternalServerException"}, "InternalServerException", 500),
        ({"status": 503}, "503", 503),
    ],
)
def test_an_injected_error_has_the_members_of_kendras_own(anywhere, custom_source, fault, code, status):
    source = custom_source(anywhere)
    anywhere.inject(START, **fault, message="not now")
    source.client = anywhere.client(config=ONCE)
    with pytest.raises(ClientError) as caught:
        source.start()
    response = caught.value.response
    assert response["Error"] == {"Code": code, "Message": "not now"}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert response["ResponseMetadata"]["RequestId"]
    assert response["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/x-amz-json-1.1"
    assert [(call.status, call.error) for call in anywhere.calls(START)] == [(status, fault.get("error"))]
    anywhere.clear_faults()
    source.start()


@pytest.mark.parametrize(("when", "started"), [("before", False), ("after", True)])
def test_a_reset_comes_before_or_after_kendra_acts(anywhere, custom_source, when, started):
    source = custom_source(anywhere)
    source.client = anywhere.client(config=ONCE)
    anywhere.inject(START, reset=when, times=1)
    with pytest.raises(ConnectionClosedError):
        source.start()
    assert bool(source.jobs()) is started
    assert [(call.status, call.error) for call in anywhere.calls(START)] == [(None, "ConnectionReset")]


@pytest.mark.parametrize("body", ["not-json", "empty"])
def test_a_damaged_body_loses_the_response_but_not_the_sync(anywhere, custom_source, body):
    source = custom_source(anywhere)
    anywhere.inject(START, body=body, times=1)
    assert "ExecutionId" not in source.client.start_data_source_sync_job(**source.key)
    assert len(source.jobs()) == 1


def test_calls_are_logged_with_their_parameters_and_region(anywhere):
    anywhere.client(region_name="eu-west-1").list_indices(MaxResults=3)
    (call,) = anywhere.calls()
    assert (call.operation, call.parameters, call.region) == ("ListIndices", {"MaxResults": 3}, "eu-west-1")
    assert (call.status, call.error) == (200, None)
    assert (anywhere.call_count(), anywhere.call_count("ListIndices"), anywhere.call_count(START)) == (1, 1, 0)


def test_a_reset_removes_data_settings_faults_and_calls(anywhere, custom_source):
    custom_source(anywhere)
    anywhere.set_quotas(indexes=0)
    anywhere.inject("*", error="ThrottlingException")
    anywhere.reset()
    assert anywhere.call_count() == 0
    assert anywhere.client().list_indices()["IndexConfigurationSummaryItems"] == []
    anywhere.create_index()


def test_each_mock_starts_without_faults_and_calls():
    for _ in range(2):
        with mock_kendra():
            kendra = MockedKendra()
            assert kendra.call_count() == 0
            kendra.create_index()
            kendra.inject("*", error="ThrottlingException")


def test_faults_meet_plain_boto3_clients_and_only_kendra():
    with mock_kendra():
        MockedKendra().inject("*", error="AccessDeniedException")
        boto3.client("s3", region_name="us-east-1").list_buckets()
        with pytest.raises(ClientError, match="AccessDenied"):
            boto3.client("kendra", region_name="us-east-1").list_indices()


@pytest.mark.parametrize("options", [{"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}])
def test_the_mock_serves_each_form_of_kendras_host_name(in_process, options):
    assert in_process.client(config=Config(**options)).list_indices()["IndexConfigurationSummaryItems"] == []


def test_a_token_can_be_changed_where_the_answer_has_empty_members(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.inject(LIST, next_token="invalid")
    assert source.page()["History"] == []
    anywhere.clear_faults()
    anywhere.inject(LIST, next_token="repeated")
    page = source.page()
    assert (page["History"], "NextToken" in page) == ([], False)


def test_a_token_can_be_changed_whatever_the_parameters_were_logged_as():
    fault = Fault(LIST, next_token="repeated")
    answer = Answer(200, {}, b'{"History": [], "NextToken": "t"}')
    assert json.loads(fault.corrupt(answer, "a text").body) == {"History": [], "NextToken": "t"}


def test_only_documents_of_a_custom_data_source_can_fail_when_they_are_put(anywhere, s3_source):
    source = s3_source(anywhere)
    sentence = "Documents of a data source of type S3 are not put with BatchPutDocument"
    with pytest.raises(ValueError, match=f"^{sentence}: they can fail in the stage crawl, sync or index$"):
        anywhere.fail_documents(*source.ids, ["s3://documents/a"], stage="put")
