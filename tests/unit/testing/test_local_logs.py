"""Syncs and uploads write the CloudWatch log streams that Kendra documents."""

import gc
import hashlib
import importlib
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from botocore.exceptions import ClientError

NOON = datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
REPORT_KEYS = {
    "AwsAccountId", "DataSourceId", "SyncJobId", "IndexId", "DocumentId", "DocumentTitle", "SourceUri", "Acl",
    "Metadata", "CrawlAction", "CrawlStatus", "SyncStatus", "IndexStatus", "ConnectorDocumentStatus",
    "HashedDocumentId", "ContentType", "IntermediateStatus", "ErrorMsg", "LogLevel",
}  # fmt: skip


@pytest.fixture
def stopped(anywhere):
    """The local Kendra with a stopped clock and syncs of 60 s."""
    anywhere.set_clock(NOON)
    anywhere.set_sync_duration(40, 20)
    return anywhere


class Logs:
    """The log group of an index, read as a client does."""

    def __init__(self, kendra, index_id):
        self.client = kendra.client("logs")
        self.group = f"/aws/kendra/{index_id}"

    def streams(self):
        found = self.client.describe_log_streams(logGroupName=self.group)["logStreams"]
        return {stream["logStreamName"]: stream for stream in found}

    def raw(self, name, **window):
        pages = self.client.get_paginator("filter_log_events").paginate(
            logGroupName=self.group, logStreamNames=[name], **window
        )
        return [event for page in pages for event in page["events"]]

    def events(self, name):
        return [json.loads(event["message"]) for event in self.raw(name)]

    def report(self, source, execution_id):
        return {event["DocumentId"]: event for event in self.events(report_of(source, execution_id))}


def report_of(source, execution_id):
    return f"SYNC_RUN_HISTORY_REPORT/{source.key['Id']}/{execution_id}"


def own_stream(source, execution_id, hour="2024-03-01-12"):
    return f"{source.key['Id']}/{hour}/{execution_id}"


def give(kendra, source, *documents):
    kendra.set_documents(*source.ids, [each if isinstance(each, dict) else {"id": each} for each in documents])


def sync(kendra, source):
    """Run a sync to its end."""
    execution_id = source.start()
    if source.client.describe_data_source(**source.key)["Type"] == "CUSTOM":
        source.stop()
    kendra.advance_clock(60)
    source.newest()
    return execution_id


def overall(event):
    return {name: event[name]["Status"] for name in ("CrawlStatus", "SyncStatus", "IndexStatus") if name in event} | {
        "": event["ConnectorDocumentStatus"]["Status"]
    }


# the report of a sync


def test_the_report_has_one_event_for_each_document(stopped, s3_source):
    source = s3_source(stopped)
    give(stopped, source, {"id": "a", "title": "First", "source_uri": "https://wiki.example/a"}, "b")
    execution_id = sync(stopped, source)
    report = Logs(stopped, source.ids[0]).report(source, execution_id)
    assert list(report) == ["a", "b"]
    assert set(report["a"]) == REPORT_KEYS
    shown = ("AwsAccountId", "DataSourceId", "SyncJobId", "IndexId", "DocumentTitle", "SourceUri", "CrawlAction")
    assert [report["a"][name] for name in shown] == [
        "123456789012", source.key["Id"], execution_id, source.ids[0], "First", "https://wiki.example/a", "ADD",
    ]  # fmt: skip
    assert report["a"]["HashedDocumentId"] == hashlib.sha256(b"a").hexdigest()
    assert (report["a"]["ErrorMsg"], report["a"]["LogLevel"]) == ("", "Info")
    assert overall(report["a"]) == {
        "CrawlStatus": "SUCCESS", "SyncStatus": "SUCCESS", "IndexStatus": "SUCCESS", "": "SUCCESS",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "statuses"),
    [
        ("crawl", {"CrawlStatus": "FAILED", "": "FAILED"}),
        ("sync", {"CrawlStatus": "SUCCESS", "SyncStatus": "FAILED", "": "FAILED"}),
        ("index", {"CrawlStatus": "SUCCESS", "SyncStatus": "SUCCESS", "IndexStatus": "FAILED", "": "FAILED"}),
    ],
)
def test_a_document_that_failed_has_no_status_after_the_stage_that_failed(stopped, s3_source, stage, statuses):
    source = s3_source(stopped)
    give(stopped, source, "good", "bad")
    stopped.fail_documents(*source.ids, ["bad"], stage=stage, reason="broken content")
    report = Logs(stopped, source.ids[0]).report(source, sync(stopped, source))
    assert overall(report["bad"]) == statuses
    assert (report["bad"]["ErrorMsg"], report["bad"]["LogLevel"]) == ("broken content", "Error")
    assert overall(report["good"])[""] == "SUCCESS"


def test_a_document_that_failed_before_and_did_not_change_is_reported_as_unmodified(stopped, s3_source):
    source = s3_source(stopped)
    give(stopped, source, "bad")
    stopped.fail_documents(*source.ids, ["bad"], times=1)
    sync(stopped, source)
    event = Logs(stopped, source.ids[0]).report(source, sync(stopped, source))["bad"]
    assert (event["CrawlAction"], event["ErrorMsg"]) == ("UNMODIFIED", "")
    assert overall(event) == {
        "CrawlStatus": "SUCCESS", "SyncStatus": "SKIPPED", "IndexStatus": "SKIPPED", "": "SKIPPED",
    }  # fmt: skip


def test_modified_and_deleted_documents_are_reported_as_such(stopped, s3_source):
    source = s3_source(stopped)
    give(stopped, source, {"id": "changed", "text": "1"}, "removed")
    sync(stopped, source)
    give(stopped, source, {"id": "changed", "text": "2"})
    report = Logs(stopped, source.ids[0]).report(source, sync(stopped, source))
    assert {name: event["CrawlAction"] for name, event in report.items()} == {"changed": "MODIFY", "removed": "DELETE"}


def test_an_aborted_sync_reports_the_documents_that_were_done(stopped, s3_source):
    source = s3_source(stopped)
    give(stopped, source, "a", "b", "c", "d")
    execution_id = source.start()
    stopped.advance_clock(20)
    source.stop()
    stopped.advance_clock(20)
    assert source.newest()["Status"] == "ABORTED"
    assert list(Logs(stopped, source.ids[0]).report(source, execution_id)) == ["a", "b"]


def test_access_and_metadata_are_json_in_a_string_as_the_console_shows_them(stopped, s3_source):
    source = s3_source(stopped)
    access = [{"Name": "staff", "Type": "GROUP", "Access": "DENY"}]
    give(stopped, source, {"id": "a", "access": access, "attributes": {"_category": "news"}})
    event = Logs(stopped, source.ids[0]).report(source, sync(stopped, source))["a"]
    assert json.loads(event["Acl"])[0] == {
        "globalName": "staff", "name": "staff", "type": "GROUP", "isFederated": True, "access": "DENIED",
        "dataSourceId": None,
    }  # fmt: skip
    assert '{"key":"_category","value":{"stringValue":"news"}}' in event["Metadata"]


def test_personal_data_stands_only_in_access_and_metadata(stopped, s3_source):
    personal_data = importlib.import_module("moto.kendra.sync_logs").PERSONAL_DATA
    source = s3_source(stopped)
    give(stopped, source, "good", "bad")
    stopped.fail_documents(*source.ids, ["bad"])
    logs = Logs(stopped, source.ids[0])
    execution_id = sync(stopped, source)
    for event in logs.report(source, execution_id).values():
        planted = event.pop("Acl") + event.pop("Metadata")
        assert all(each in planted for each in personal_data)
        assert not any(each in json.dumps(event) for each in personal_data)
    assert not any(each in json.dumps(logs.events(own_stream(source, execution_id))) for each in personal_data)


# the sync's own stream


def test_the_own_stream_says_which_documents_could_not_be_crawled_or_sent(stopped, s3_source):
    source = s3_source(stopped)
    give(stopped, source, {"id": "denied", "source_uri": "https://wiki.example/denied"}, "s3://documents/odd", "fine")
    stopped.fail_documents(*source.ids, ["denied"], error_code="403", reason="Access Denied")
    stopped.fail_documents(*source.ids, ["s3://documents/odd"], stage="sync", error_code="InvalidRequest", reason="no")
    execution_id = sync(stopped, source)
    assert Logs(stopped, source.ids[0]).events(own_stream(source, execution_id)) == [
        {
            "DocumentID": "denied", "IndexID": source.ids[0], "SourceURI": "https://wiki.example/denied",
            "CrawlStatus": "FAILED", "ErrorCode": "403", "ErrorMessage": "Access Denied", "DataSourceErrorCode": "403",
        },
        {
            "DocumentId": "s3://documents/odd", "S3Path": "s3://documents/odd",
            "Message": "Failed to ingest document via BatchPutDocument.",
            "ErrorCode": "InvalidRequest", "ErrorMessage": "no",
        },
    ]  # fmt: skip


def test_the_own_stream_ends_with_the_error_of_a_failed_sync(stopped, s3_source):
    source = s3_source(stopped)
    stopped.set_next_outcome(
        *source.ids, "FAILED", error_code="InternalError", error_message="role denied", data_source_error_code="KE-1"
    )
    execution_id = sync(stopped, source)
    logs = Logs(stopped, source.ids[0])
    assert logs.events(own_stream(source, execution_id)) == [
        {"ErrorCode": "InternalError", "ErrorMessage": "role denied", "DataSourceErrorCode": "KE-1"}
    ]
    assert list(logs.streams()) == [own_stream(source, execution_id)]


def test_a_crawl_of_a_missing_bucket_says_so_in_its_own_stream(stopped, s3_source):
    source = s3_source(stopped)
    stopped.client("s3").delete_bucket(Bucket="documents")
    execution_id = sync(stopped, source)
    (event,) = Logs(stopped, source.ids[0]).events(own_stream(source, execution_id))
    assert event["ErrorMessage"] == source.newest()["ErrorMessage"]


def test_the_own_stream_is_named_after_the_hour_in_which_the_sync_started(stopped, s3_source):
    source = s3_source(stopped)
    stopped.set_clock(NOON + timedelta(minutes=29, seconds=50))
    stopped.set_next_outcome(*source.ids, "FAILED", error_message="no")
    execution_id = sync(stopped, source)
    assert own_stream(source, execution_id, "2024-03-01-12") in Logs(stopped, source.ids[0]).streams()


# document streams


def test_documents_that_could_not_be_indexed_are_in_document_streams_of_at_most_500_events(stopped, s3_source):
    source = s3_source(stopped)
    names = [f"{number:04}" for number in range(501)]
    give(stopped, source, *names)
    stopped.fail_documents(*source.ids, names, stage="index", error_code="InvalidRequest", reason="unreadable")
    execution_id = sync(stopped, source)
    logs = Logs(stopped, source.ids[0])
    streams = [name for name in logs.streams() if name.startswith(source.key["Id"])]
    assert sorted(len(logs.events(name)) for name in streams) == [1, 500]
    for name in streams:
        data_source_id, hour, uuid = name.split("/")
        assert (data_source_id, hour, str(UUID(uuid))) == (source.key["Id"], "2024-03-01-12", uuid)
        assert uuid != execution_id
    events = [event for name in streams for event in logs.events(name)]
    assert sorted(event["DocumentId"] for event in events) == names
    assert events[0] | {"DocumentId": ""} == {
        "DocumentId": "", "IndexName": "index", "IndexId": source.ids[0], "SourceURI": "",
        "IndexingStatus": "DocumentFailedToIndex", "ErrorCode": "400", "ErrorMessage": "unreadable",
    }  # fmt: skip


def test_a_custom_sync_has_no_report_but_a_document_stream_of_what_failed_later(stopped, custom_source):
    source = custom_source(stopped)
    stopped.fail_documents(*source.ids, ["bad"], stage="index", reason="unreadable")
    source.put(source.start(), "good", "bad")
    source.stop()
    stopped.advance_clock(60)
    assert source.counts() == (1, 0, 0, 1, None)
    logs = Logs(stopped, source.ids[0])
    (name,) = logs.streams()
    assert name.startswith(f"{source.key['Id']}/2024-03-01-12/")
    (event,) = logs.events(name)
    assert (event["DocumentId"], event["ErrorCode"], event["ErrorMessage"]) == ("bad", "500", "unreadable")


def test_a_direct_upload_that_failed_is_in_a_stream_without_a_data_source(stopped):
    index_id = stopped.create_index()
    document = {"Id": "a", "S3Path": {"Bucket": "missing", "Key": "a"}, "ContentType": "PLAIN_TEXT"}
    stopped.client().batch_put_document(IndexId=index_id, Documents=[document])
    logs = Logs(stopped, index_id)
    (name,) = logs.streams()
    hour, uuid = name.split("/")
    assert (hour, str(UUID(uuid))) == ("2024-03-01-12", uuid)
    (event,) = logs.events(name)
    assert (event["DocumentId"], event["IndexingStatus"]) == ("a", "DocumentFailedToIndex")
    assert "missing" in event["ErrorMessage"]


# the log group, and when its events can be read


def test_there_is_no_log_group_before_the_first_event(stopped, s3_source):
    source = s3_source(stopped)
    sync(stopped, source)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        Logs(stopped, source.ids[0]).streams()


def test_a_deleted_log_group_is_made_again_by_the_next_sync(stopped, s3_source):
    source = s3_source(stopped)
    give(stopped, source, "a")
    logs = Logs(stopped, source.ids[0])
    first = sync(stopped, source)
    logs.client.delete_log_group(logGroupName=logs.group)
    second = sync(stopped, source)
    assert list(logs.streams()) == [report_of(source, second)]
    assert first != second


def test_events_can_be_read_only_after_the_delay(stopped, s3_source):
    source = s3_source(stopped)
    give(stopped, source, "a")
    stopped.set_log_delay(30)
    name = report_of(source, sync(stopped, source))
    logs = Logs(stopped, source.ids[0])
    stopped.advance_clock(29)
    assert logs.raw(name) == []
    assert logs.client.get_log_events(logGroupName=logs.group, logStreamName=name)["events"] == []
    assert "lastEventTimestamp" not in logs.streams()[name]
    stopped.advance_clock(1)
    assert len(logs.raw(name)) == 1
    assert len(logs.client.get_log_events(logGroupName=logs.group, logStreamName=name)["events"]) == 1
    assert "lastEventTimestamp" in logs.streams()[name]


def test_a_stream_is_described_with_kendras_times(stopped, s3_source):
    source = s3_source(stopped)
    give(stopped, source, "a", "b")
    stopped.set_log_delay(30)
    name = report_of(source, sync(stopped, source))
    stopped.advance_clock(30)
    stream = Logs(stopped, source.ids[0]).streams()[name]
    start = int(NOON.timestamp() * 1000)
    assert stream["creationTime"] == start
    assert start < stream["firstEventTimestamp"] < stream["lastEventTimestamp"] < start + 60_000
    assert stream["lastIngestionTime"] == start + 90_000


def test_events_are_in_order_between_start_and_end_of_the_sync(stopped, s3_source):
    source = s3_source(stopped)
    give(stopped, source, *(f"{number:03}" for number in range(100)))
    name = report_of(source, sync(stopped, source))
    logs = Logs(stopped, source.ids[0])
    start = int(NOON.timestamp() * 1000)
    events = logs.raw(name)
    times = [event["timestamp"] for event in events]
    assert times == sorted(times)
    assert start <= times[0]
    assert times[-1] <= start + 60_000
    assert [json.loads(event["message"])["DocumentId"] for event in events] == sorted(f"{n:03}" for n in range(100))
    assert logs.raw(name, startTime=start, endTime=start + 60_000) == events
    assert logs.raw(name, startTime=start + 60_001) == []


def test_a_sync_that_took_no_time_has_all_its_events_at_that_time(stopped, s3_source):
    source = s3_source(stopped)
    give(stopped, source, "a", "b")
    stopped.set_sync_duration(0)
    name = report_of(source, source.start())
    times = {event["timestamp"] for event in Logs(stopped, source.ids[0]).raw(name)}
    assert times == {int(NOON.timestamp() * 1000)}


def test_a_client_can_put_its_own_events_into_a_stream(stopped, s3_source):
    source = s3_source(stopped)
    give(stopped, source, "a")
    name = report_of(source, sync(stopped, source))
    logs = Logs(stopped, source.ids[0])
    mine = {"timestamp": int(datetime.now(UTC).timestamp() * 1000), "message": "{}"}
    logs.client.put_log_events(logGroupName=logs.group, logStreamName=name, logEvents=[mine])
    assert [event["message"] == "{}" for event in logs.raw(name)] == [False, True]


# memory


@pytest.mark.slow
def test_a_report_takes_little_more_memory_than_its_messages(in_process, s3_source):
    source = s3_source(in_process)
    in_process.set_sync_duration(0)
    count = 2_000
    give(in_process, source, *(f"{number:05}" for number in range(count)))
    tracemalloc.start()
    try:
        name = report_of(source, source.start())
        logs = Logs(in_process, source.ids[0])
        used, _ = tracemalloc.get_traced_memory()
        messages = sum(len(event["message"]) for event in logs.raw(name))
        gc.collect()
        read, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read - used < messages + 500 * count


def test_the_log_of_a_sync_does_not_keep_the_text_of_documents(in_process, s3_source):
    source = s3_source(in_process)
    in_process.set_sync_duration(0)
    tracemalloc.start()
    try:
        give(in_process, source, *({"id": f"{number}", "text": f"{number}" * 1_000_000} for number in range(10)))
        sync(in_process, source)
        give(in_process, source)
        sync(in_process, source)
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 5_000_000
