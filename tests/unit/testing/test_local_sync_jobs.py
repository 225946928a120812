"""How a sync job of the local Kendra lives, which is how one of the real Kendra does."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError


def error_code(caught):
    return caught.value.response["Error"]["Code"]


def test_a_job_crawls_then_indexes_then_succeeds(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.set_sync_duration(None)
    execution_id = source.start()
    seen = [source.newest()["Status"], anywhere.advance(*source.ids), anywhere.advance(*source.ids)]
    assert seen == ["SYNCING", "SYNCING_INDEXING", "SUCCEEDED"]
    assert source.newest()["ExecutionId"] == execution_id


def test_a_job_that_was_never_read_ended_when_it_was_due(in_process, s3_source, monkeypatch):
    source = s3_source(in_process)
    in_process.set_sync_duration(100, indexing=20)
    started = time.time()
    source.start()
    monkeypatch.setattr(time, "time", lambda: started + 10_000)
    job = source.newest()
    assert job["Status"] == "SUCCEEDED"
    assert job["EndTime"] - job["StartTime"] == timedelta(seconds=120)


def test_a_running_job_has_metrics_but_no_end_and_no_error(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.set_sync_duration(None)
    source.start()
    assert set(source.newest()) == {"ExecutionId", "StartTime", "Status", "Metrics"}


def test_a_second_start_is_refused_while_the_first_runs(anywhere, s3_source):
    source = s3_source(anywhere)
    source.start()
    with pytest.raises(source.client.exceptions.ResourceInUseException):
        source.start()


def test_a_sync_can_start_when_the_last_has_ended(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.set_sync_duration(0)
    ids = [source.start() for _ in range(3)]
    assert [job["ExecutionId"] for job in source.jobs()] == ids[::-1]


def test_a_stopped_crawl_is_aborted(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.set_sync_duration(None)
    source.start()
    source.stop()
    assert source.newest()["Status"] == "STOPPING"
    assert anywhere.advance(*source.ids) == "ABORTED"


def test_stopping_when_nothing_runs_changes_nothing(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.set_sync_duration(0)
    source.start()
    before = source.jobs()
    source.stop()
    assert source.jobs() == before


def test_a_scheduled_sync_cannot_be_stopped(anywhere, s3_source):
    source = s3_source(anywhere, Schedule="cron(0 3 * * ? *)")
    anywhere.set_sync_duration(None)
    execution_id = anywhere.start_scheduled_sync(*source.ids)
    source.stop()
    assert (source.newest()["ExecutionId"], source.newest()["Status"]) == (execution_id, "SYNCING")
    with pytest.raises(source.client.exceptions.ResourceInUseException):
        source.start()


@pytest.mark.parametrize("status", ["FAILED", "INCOMPLETE", "ABORTED", "SUCCEEDED"])
def test_the_next_sync_ends_as_it_was_told_to(anywhere, s3_source, status):
    source = s3_source(anywhere)
    anywhere.set_sync_duration(0)
    told = {"error_code": "InternalError", "error_message": "no", "data_source_error_code": "S3-1"}
    anywhere.set_next_outcome(*source.ids, status, metrics={"DocumentsFailed": 3}, **told)
    source.start()
    job = source.newest()
    assert (job["Status"], job["Metrics"]) == (status, {"DocumentsFailed": "3"})
    assert (job["ErrorCode"], job["ErrorMessage"], job["DataSourceErrorCode"]) == ("InternalError", "no", "S3-1")
    source.start()
    assert source.newest()["Status"] == "SUCCEEDED"


def test_the_running_sync_can_be_told_how_it_will_end(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.set_sync_duration(None)
    source.start()
    anywhere.set_next_outcome(*source.ids, "INCOMPLETE")
    assert [anywhere.advance(*source.ids) for _ in range(2)] == ["SYNCING_INDEXING", "INCOMPLETE"]


def test_the_running_sync_can_be_ended_by_hand(anywhere, custom_source):
    source = custom_source(anywhere)
    source.start()
    anywhere.finish_sync_job(*source.ids, "FAILED", error_message="role gone")
    assert (source.newest()["Status"], source.newest()["ErrorMessage"]) == ("FAILED", "role gone")
    assert source.newest()["EndTime"] >= source.newest()["StartTime"]


def test_a_control_that_finds_no_running_sync_says_so(kendra, custom_source):
    source = custom_source(kendra)
    with pytest.raises(ValueError, match="has no running sync job"):
        kendra.finish_sync_job(*source.ids)


def test_a_new_job_can_be_missing_from_the_first_lists(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.set_listing_delay(2)
    execution_id = source.start()
    looks = [[job["ExecutionId"] for job in source.page()["History"]] for _ in range(3)]
    assert looks == [[], [], [execution_id]]


def test_the_first_page_can_be_empty_and_lead_to_all_jobs(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.set_sync_duration(0)
    anywhere.set_empty_first_page(True)
    assert source.page() | {"ResponseMetadata": None} == {"History": [], "ResponseMetadata": None}
    started = [source.start() for _ in range(3)]
    first = source.page(MaxResults=2)
    second = source.page(MaxResults=2, NextToken=first["NextToken"])
    third = source.page(MaxResults=2, NextToken=second["NextToken"])
    found = [[job["ExecutionId"] for job in page["History"]] for page in (first, second, third)]
    assert found == [[], [started[2], started[1]], [started[0]]]
    assert "NextToken" not in third


def test_an_empty_first_page_leads_to_each_history_in_turn(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_history(*source.ids, [], [{"ExecutionId": "one"}], [{"ExecutionId": "two"}])
    anywhere.set_empty_first_page(True)
    assert [[job["ExecutionId"] for job in source.jobs()] for _ in range(4)] == [[], ["one"], ["two"], ["two"]]


def test_a_data_source_can_show_another_status(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_data_source_status(*source.ids, "UPDATING")
    assert source.client.list_data_sources(IndexId=source.ids[0])["SummaryItems"][0]["Status"] == "UPDATING"
    assert source.client.describe_data_source(**source.key)["Status"] == "UPDATING"


def test_the_status_filter_leaves_only_that_status(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.set_sync_duration(0)
    anywhere.set_next_outcome(*source.ids, "FAILED")
    failed, succeeded = source.start(), source.start()
    assert [job["ExecutionId"] for job in source.jobs(StatusFilter="FAILED")] == [failed]
    assert [job["ExecutionId"] for job in source.jobs(StatusFilter="SUCCEEDED")] == [succeeded]
    assert source.jobs(StatusFilter="ABORTED") == []


def test_the_start_time_filter_includes_both_of_its_ends(anywhere, custom_source):
    source = custom_source(anywhere)
    times = [datetime(2026, 1, day, tzinfo=UTC) for day in (4, 3, 2, 1)]
    anywhere.set_history(*source.ids, [{"StartTime": each} for each in times])

    def starts(**period):
        return [job["StartTime"] for job in source.jobs(StartTimeFilter=period)]

    assert starts(StartTime=times[2], EndTime=times[1]) == times[1:3]
    assert starts(StartTime=times[1]) == times[:2]
    assert starts(EndTime=times[2]) == times[2:]


def test_histories_are_returned_one_per_list_request_and_then_the_last(anywhere, custom_source):
    source = custom_source(anywhere)
    odd = {"ExecutionId": "x", "Status": "WHATEVER", "EndTime": 12.5}
    anywhere.set_history(*source.ids, [], [odd], [{}, odd])
    sizes = [len(source.page()["History"]) for _ in range(4)]
    assert sizes == [0, 1, 2, 2]
    assert source.page()["History"][1] == odd | {"EndTime": datetime.fromtimestamp(12.5, UTC)}


def test_deleting_a_data_source_removes_its_jobs(anywhere, custom_source):
    source = custom_source(anywhere)
    source.start()
    source.client.delete_data_source(**source.key)
    with pytest.raises(source.client.exceptions.ResourceNotFoundException):
        source.page()
    assert source.client.list_data_sources(IndexId=source.ids[0])["SummaryItems"] == []


def test_regions_and_accounts_do_not_see_each_other(anywhere, custom_source, monkeypatch):
    source = custom_source(anywhere)
    elsewhere = anywhere.client(region_name="eu-west-1")
    assert elsewhere.list_indices()["IndexConfigurationSummaryItems"] == []
    with pytest.raises(ClientError) as caught:
        elsewhere.list_data_source_sync_jobs(**source.key)
    assert error_code(caught) == "ResourceNotFoundException"


def test_resetting_forgets_data_settings_and_calls(kendra, custom_source):
    source = custom_source(kendra)
    kendra.set_listing_delay(5)
    kendra.inject("*", error="ThrottlingException")
    kendra.reset()
    assert kendra.call_count() == 0
    assert kendra.client().list_indices()["IndexConfigurationSummaryItems"] == []
    source = custom_source(kendra)
    source.start()
    assert len(source.jobs()) == 1


def test_the_mock_leaves_no_setting_behind(in_process, s3_source):
    from airflow_provider_kendra.testing import controls, mock_kendra

    controls.set_sync_duration(None)
    with mock_kendra():
        pass
    assert controls._settings().crawl_seconds is None, "a nested mock resets nothing"
    controls.reset()
    assert controls._settings().crawl_seconds == 2.0


def test_connection_values_are_equivalent(kendra):
    assert json.loads(kendra.connection_json)["extra"]["endpoint_url"] == kendra.url
    assert kendra.connection_uri.startswith("aws://")
