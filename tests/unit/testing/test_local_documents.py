"""What a sync does to documents is counted truly, for buckets that are crawled and batches that are put."""

import importlib
import re
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_kendra.testing.local import ROLE_ARN
from tests.conftest import examples
from tests.unit.testing.conftest import Source

NAMES = ("a/1", "a/2", "b/1")
changes = st.tuples(st.just("put"), st.sampled_from(NAMES), st.sampled_from([b"x", b"y"]))
changes |= st.tuples(st.just("delete"), st.sampled_from(NAMES), st.none())
changes |= st.tuples(st.just("sync"), st.none(), st.none())


@pytest.mark.slow
@settings(deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(changes, max_size=20), prefixes=st.sampled_from([[], ["a/"], ["a/1", "b/"]]))
def test_a_crawl_counts_what_changed_since_the_last(in_process, s3_source, steps, prefixes):
    source = s3_source(in_process, prefixes=prefixes)
    in_process.set_sync_duration(0)
    s3 = in_process.client("s3")
    for name in NAMES:
        s3.delete_object(Bucket="documents", Key=name)
    bucket, indexed = {}, {}
    for what, name, body in [*steps, ("sync", None, None)]:
        if what == "put":
            s3.put_object(Bucket="documents", Key=name, Body=body)
            bucket[name] = body
        elif what == "delete":
            s3.delete_object(Bucket="documents", Key=name)
            bucket.pop(name, None)
        else:
            source.start()
            seen = {key: bucket[key] for key in bucket if not prefixes or key.startswith(tuple(prefixes))}
            modified = sum(indexed[key] != seen[key] for key in seen.keys() & indexed.keys())
            added, deleted = len(seen.keys() - indexed.keys()), len(indexed.keys() - seen.keys())
            assert source.counts() == (added, modified, deleted, 0, len(seen))
            indexed = seen
    statistics = source.client.describe_index(Id=source.ids[0])["IndexStatistics"]
    assert statistics["TextDocumentStatistics"]["IndexedTextDocumentsCount"] == len(indexed)


def fill(kendra, count):
    for number in range(count):
        kendra.client("s3").put_object(Bucket="documents", Key=f"{number}", Body=b"text")


def test_a_crawl_over_http_sees_the_servers_bucket(kendra, s3_source):
    source = s3_source(kendra)
    fill(kendra, 3)
    kendra.set_sync_duration(0)
    source.start()
    assert source.counts() == (3, 0, 0, 0, 3)


def test_a_deleted_version_is_a_deleted_document(anywhere, s3_source):
    source = s3_source(anywhere)
    s3 = anywhere.client("s3")
    s3.put_bucket_versioning(Bucket="documents", VersioningConfiguration={"Status": "Enabled"})
    anywhere.set_sync_duration(0)
    fill(anywhere, 2)
    source.start()
    s3.delete_object(Bucket="documents", Key="0")
    source.start()
    assert source.counts() == (0, 0, 1, 0, 1)


def test_the_metrics_grow_while_the_crawl_goes_on(in_process, s3_source, monkeypatch):
    models = importlib.import_module("moto.kendra.models")
    clock = [1000.0]
    monkeypatch.setattr(models, "now", lambda: clock[0])
    source = s3_source(in_process)
    fill(in_process, 10)
    in_process.set_sync_duration(100)
    source.start()
    grown = []
    for clock[0] in (1000.0, 1050.0, 1100.0):
        grown.append(source.counts()[0])
    assert grown == [0, 5, 10]


def test_a_stopped_crawl_keeps_what_it_had_indexed(in_process, s3_source, monkeypatch):
    models = importlib.import_module("moto.kendra.models")
    clock = [1000.0]
    monkeypatch.setattr(models, "now", lambda: clock[0])
    source = s3_source(in_process)
    fill(in_process, 10)
    in_process.set_sync_duration(100)
    source.start()
    clock[0] += 40
    source.stop()
    clock[0] += 1000
    assert (source.newest()["Status"], source.counts()) == ("ABORTED", (4, 0, 0, 0, 4))
    source.start()
    clock[0] += 1000
    assert source.counts() == (6, 0, 0, 0, 10)


def test_a_failed_crawl_indexes_nothing(anywhere, s3_source):
    source = s3_source(anywhere)
    fill(anywhere, 2)
    anywhere.set_sync_duration(0)
    anywhere.set_next_outcome(*source.ids, "FAILED")
    source.start()
    assert source.counts()[0] == 0
    source.start()
    assert source.counts() == (2, 0, 0, 0, 2)


def test_a_missing_bucket_fails_the_sync_with_a_message(anywhere, s3_source):
    source = s3_source(anywhere)
    anywhere.client("s3").delete_bucket(Bucket="documents")
    anywhere.set_sync_duration(0)
    source.start()
    job = source.newest()
    assert (job["Status"], job["ErrorCode"]) == ("FAILED", "InvalidRequest")
    assert "'documents'" in job["ErrorMessage"]


def test_a_document_that_is_too_large_fails_and_leaves_the_sync_incomplete(in_process, s3_source, monkeypatch):
    source = s3_source(in_process)
    fill(in_process, 2)
    in_process.client("s3").put_object(Bucket="documents", Key="large", Body=b"much more text")
    monkeypatch.setattr(importlib.import_module("moto.kendra.crawler"), "MAX_DOCUMENT_BYTES", 10)
    in_process.set_sync_duration(0)
    source.start()
    assert (source.newest()["Status"], source.counts()) == ("INCOMPLETE", (2, 0, 0, 1, 3))


def test_a_custom_batch_goes_on_until_it_is_stopped(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_sync_duration(0)
    execution_id = source.start()
    assert source.put(execution_id, "a", "b") == []
    assert source.newest()["Status"] == "SYNCING"
    source.stop()
    assert (source.newest()["Status"], source.counts()) == ("SUCCEEDED", (2, 0, 0, 0, None))


def test_a_stopped_custom_batch_is_indexed_before_it_ends(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_sync_duration(None)
    source.start()
    source.stop()
    source.stop()
    assert source.newest()["Status"] == "SYNCING_INDEXING"
    assert anywhere.advance(*source.ids) == "SUCCEEDED"


def test_a_custom_batch_cannot_be_advanced_only_stopped(kendra, custom_source):
    source = custom_source(kendra)
    source.start()
    with pytest.raises(ValueError, match="until it is stopped"):
        kendra.advance(*source.ids)


def test_custom_batches_count_additions_changes_and_deletions(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_sync_duration(0)
    source.put(source.start(), "a", "b", "c")
    source.stop()
    execution_id = source.start()
    assert source.put(execution_id, "a", "d") == source.delete("b", "never there") == []
    assert source.counts() == (1, 1, 1, 0, None)


def test_documents_put_after_the_stop_all_fail(anywhere, custom_source):
    source = custom_source(anywhere)
    execution_id = source.start()
    source.stop()
    failed = source.put(execution_id, "a", "b")
    assert [(each["Id"], each["ErrorCode"]) for each in failed] == [("a", "InvalidRequest"), ("b", "InvalidRequest")]
    assert source.delete("a", DataSourceSyncJobId=execution_id)[0]["Id"] == "a"


def test_only_the_documents_of_the_running_job_are_taken(anywhere, custom_source):
    source = custom_source(anywhere)
    execution_id = source.start()
    documents = [
        source.document("good", execution_id),
        source.document("other job", "x"),
        source.document("other source", execution_id, data_source_id="y"),
        {"Id": "only a job", "Blob": b"text", "Attributes": source.document("x", execution_id)["Attributes"][1:]},
    ]
    failed = source.client.batch_put_document(IndexId=source.ids[0], Documents=documents)["FailedDocuments"]
    assert [each["Id"] for each in failed] == ["other job", "other source", "only a job"]
    assert source.counts()[0] == 1


def test_a_document_told_to_fail_is_rejected_that_often_and_is_not_counted(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_sync_duration(0)
    anywhere.fail_documents(*source.ids, ["a"], times=1)
    anywhere.fail_documents(*source.ids, ["z"], error_code="InvalidRequest")
    execution_id = source.start()
    failed = source.put(execution_id, "a", "b", "z")
    assert [(each["Id"], each["ErrorCode"]) for each in failed] == [("a", "InternalError"), ("z", "InvalidRequest")]
    assert source.put(execution_id, "a") == []
    source.stop()
    assert (source.newest()["Status"], source.counts()) == ("SUCCEEDED", (2, 0, 0, 0, None))


def test_an_accepted_document_can_fail_later_and_is_counted(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_sync_duration(0)
    anywhere.fail_documents(*source.ids, ["a"], stage="index")
    execution_id = source.start()
    assert source.put(execution_id, "a", "b") == []
    source.stop()
    assert (source.newest()["Status"], source.counts()) == ("INCOMPLETE", (1, 0, 0, 1, None))


def test_deleting_outside_any_sync_counts_nowhere(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_sync_duration(0)
    source.put(source.start(), "a", "b")
    source.stop()
    source.delete("a")
    source.client.batch_delete_document(IndexId=source.ids[0], DocumentIdList=["b"])
    source.put(source.start(), "a", "b")
    assert source.counts() == (2, 0, 0, 0, None)


def test_a_clock_that_is_put_back_leaves_what_exists_active(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_clock(datetime(2020, 1, 1, tzinfo=UTC))
    source.start()
    assert source.client.describe_data_source(**source.key)["Status"] == "ACTIVE"


def test_new_and_changed_resources_stay_creating_and_updating_for_as_long_as_asked(anywhere):
    anywhere.set_clock(datetime(2026, 1, 1, tzinfo=UTC))
    anywhere.set_creation_time(60, updating=30)
    client = anywhere.client()
    index_id = anywhere.create_index()
    with pytest.raises(client.exceptions.ConflictException, match="while its status is CREATING"):
        anywhere.create_custom_data_source(index_id)
    anywhere.advance_clock(60)
    assert client.describe_index(Id=index_id)["Status"] == "ACTIVE"
    client.update_index(Id=index_id, Name="renamed")
    assert client.describe_index(Id=index_id)["Status"] == "UPDATING"
    anywhere.advance_clock(30)
    assert client.describe_index(Id=index_id)["Status"] == "ACTIVE"


@pytest.mark.parametrize(
    "schedule", ["cron(0 18 ? * MON-FRI *)", "0 0 18 ? * MON,TUE,WED,THU,FRI *", "cron(0-0 18-18 ? * 6-6,2-2 *)"]
)
def test_a_schedule_starts_syncs_by_the_clock(anywhere, s3_source, schedule):
    anywhere.set_clock(datetime(2026, 1, 30, 12, tzinfo=UTC))  # a Friday
    anywhere.set_sync_duration(60, indexing=0)
    source = s3_source(anywhere, Schedule=schedule)
    anywhere.run_schedules()
    anywhere.advance_clock(4 * 86_400)
    jobs = source.jobs()
    assert [job["StartTime"] for job in jobs] == [
        datetime(2026, 2, 2, 18, tzinfo=UTC),
        datetime(2026, 1, 30, 18, tzinfo=UTC),
    ]
    assert [job["Status"] for job in jobs] == ["SUCCEEDED", "SUCCEEDED"]
    assert jobs[0]["EndTime"] == datetime(2026, 2, 2, 18, 1, tzinfo=UTC)


@pytest.mark.parametrize("schedule", ["daily", "cron(0 18 * *)", "cron(61 18 ? * * *)", "0 0 25 ? * * *", "cron()"])
def test_a_schedule_that_is_none_is_refused(anywhere, schedule):
    index_id = anywhere.create_index()
    with pytest.raises(ClientError, match=f"Schedule '{re.escape(schedule)}' is invalid"):
        anywhere.create_s3_data_source(index_id, "documents", Schedule=schedule)


def test_the_index_knows_of_a_sync_that_fell_due(anywhere, s3_source):
    source = s3_source(anywhere)
    fill(anywhere, 3)
    anywhere.set_clock(datetime(2026, 1, 1, tzinfo=UTC))
    anywhere.set_sync_duration(60)
    source.start()
    anywhere.advance_clock(1000)
    statistics = source.client.describe_index(Id=source.ids[0])["IndexStatistics"]["TextDocumentStatistics"]
    assert statistics == {"IndexedTextDocumentsCount": 3, "IndexedTextBytes": 12}


def put(source, document):
    return source.client.batch_put_document(IndexId=source.ids[0], Documents=[document])["FailedDocuments"]


def test_a_document_can_be_put_into_the_index_directly_and_deleted(anywhere, custom_source):
    source = custom_source(anywhere)
    assert put(source, {"Id": "a", "Blob": b"text", "Title": "A"}) == []
    assert status_of(source, "a") == {"DocumentId": "a", "DocumentStatus": "INDEXED"}
    assert put(source, {"Id": "a", "Blob": b"more"}) == []
    assert status_of(source, "a")["DocumentStatus"] == "UPDATED"
    source.client.batch_delete_document(IndexId=source.ids[0], DocumentIdList=["a"])
    assert status_of(source, "a")["DocumentStatus"] == "NOT_FOUND"


def status_of(source, document_id, **attributes):
    info = {"DocumentId": document_id} | attributes
    [status] = source.client.batch_get_document_status(IndexId=source.ids[0], DocumentInfoList=[info])[
        "DocumentStatusList"
    ]
    return status


def test_with_the_data_source_alone_a_document_belongs_to_the_running_sync(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_sync_duration(0)
    attribute = {"Key": "_data_source_id", "Value": {"StringValue": source.ids[1]}}
    document = {"Id": "a", "Blob": b"text", "Attributes": [attribute]}
    assert put(source, document)[0]["ErrorCode"] == "InvalidRequest"
    source.start()
    assert put(source, document) == []
    assert status_of(source, "a")["DocumentStatus"] == "PROCESSING"
    source.stop()
    assert (source.counts()[0], status_of(source, "a")["DocumentStatus"]) == (1, "INDEXED")


@pytest.mark.parametrize("document", [{}, {"Blob": b"x", "S3Path": {"Bucket": "bucket", "Key": "key"}}])
def test_a_document_has_either_content_or_a_path(anywhere, custom_source, document):
    source = custom_source(anywhere)
    assert put(source, {"Id": "a"} | document)[0]["ErrorMessage"] == "A document must have either Blob or S3Path"


def test_a_document_at_a_path_is_read_from_its_bucket(anywhere, custom_source):
    source = custom_source(anywhere)
    s3 = anywhere.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="key", Body=b"text")
    assert put(source, {"Id": "a", "S3Path": {"Bucket": "bucket", "Key": "key"}}) == []
    assert put(source, {"Id": "b", "S3Path": {"Bucket": "bucket", "Key": "none"}}) == []
    assert status_of(source, "a")["DocumentStatus"] == "INDEXED"
    assert status_of(source, "b")["DocumentStatus"] == "FAILED"
    assert "'none'" in status_of(source, "b")["FailureReason"]


@pytest.mark.parametrize("value", [{}, {"StringValue": "a", "LongValue": 1}])
def test_an_attribute_has_exactly_one_value(anywhere, custom_source, value):
    source = custom_source(anywhere)
    with pytest.raises(source.client.exceptions.ValidationException, match="must have exactly one of StringValue"):
        put(source, {"Id": "a", "Blob": b"text", "Attributes": [{"Key": "k", "Value": value}]})


def test_only_documents_that_were_put_can_be_deleted(anywhere, s3_source):
    source = s3_source(anywhere)
    fill(anywhere, 1)
    anywhere.set_sync_duration(0)
    source.start()
    [failed] = source.client.batch_delete_document(IndexId=source.ids[0], DocumentIdList=["s3://documents/0"])[
        "FailedDocuments"
    ]
    assert (failed["Id"], failed["ErrorCode"]) == ("s3://documents/0", "InvalidRequest")


def test_past_the_capacity_each_document_fails_and_past_its_size_the_request(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_quotas(documents=2, text_bytes=20)
    assert [put(source, {"Id": name, "Blob": b"text"}) for name in "ab"] == [[], []]
    assert put(source, {"Id": "c", "Blob": b"text"})[0]["ErrorCode"] == "InvalidRequest"
    assert put(source, {"Id": "a", "Blob": b"texts"}) == [], "a document that is there already can be replaced"
    with pytest.raises(source.client.exceptions.ServiceQuotaExceededException):
        put(source, {"Id": "a", "Blob": b"x" * 30})
    source.client.update_index(Id=source.ids[0], CapacityUnits={"StorageCapacityUnits": 1, "QueryCapacityUnits": 0})
    assert put(source, {"Id": "c", "Blob": b"text"}) == []


def test_in_a_full_index_documents_can_be_replaced_by_others_of_their_size(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_quotas(documents=2, text_bytes=8)
    documents = [{"Id": name, "Blob": b"text"} for name in "ab"]
    for _ in range(2):
        response = source.client.batch_put_document(IndexId=source.ids[0], Documents=documents)
        assert response["FailedDocuments"] == []
    grown = [{"Id": "a", "Blob": b"texts"}, {"Id": "b", "Blob": b"text"}]
    with pytest.raises(ClientError, match="ServiceQuotaExceededException"):
        source.client.batch_put_document(IndexId=source.ids[0], Documents=grown)


def test_documents_that_fail_take_no_room_from_those_put_with_them(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_quotas(documents=1)
    anywhere.fail_documents(*source.ids, ["a"], stage="index")
    missing = {"Id": "missing", "S3Path": {"Bucket": "bucket", "Key": "key"}}
    execution_id = source.start()
    documents = [missing, *(source.document(name, execution_id) for name in "ab")]
    response = source.client.batch_put_document(IndexId=source.ids[0], Documents=documents)
    assert response["FailedDocuments"] == []
    assert source.put(execution_id, "c")[0]["Id"] == "c"


def test_quotas_of_indexes_and_data_sources_hold_when_set(anywhere):
    anywhere.set_quotas(indexes=1, data_sources=1)
    index_id = anywhere.create_index()
    with pytest.raises(ClientError, match="This account already has 1 indexes; the limit is 1"):
        anywhere.create_index()
    anywhere.create_custom_data_source(index_id)
    with pytest.raises(ClientError, match="This index already has 1 data sources; the limit is 1"):
        anywhere.create_custom_data_source(index_id)


def test_a_quota_of_nothing_holds_too(anywhere, custom_source):
    source = custom_source(anywhere)
    anywhere.set_quotas(documents=0)
    (failed,) = source.put(source.start(), "a")
    assert failed["ErrorMessage"] == "The index holds 0 documents already, which is its capacity"
    anywhere.set_quotas(text_bytes=0)
    with pytest.raises(ClientError, match="ServiceQuotaExceededException"):
        source.put(source.newest()["ExecutionId"], "a")


def test_a_client_token_ends_with_what_it_made(anywhere):
    client = anywhere.client()
    request = {"Name": "i", "RoleArn": ROLE_ARN, "ClientToken": "t"}
    first = client.create_index(**request)["Id"]
    client.delete_index(Id=first)
    second = client.create_index(**request)["Id"]
    assert first != second


def test_resources_have_tags(anywhere):
    client = anywhere.client()
    tag = {"Key": "team", "Value": "search"}
    index_id = client.create_index(Name="i", RoleArn=ROLE_ARN, Tags=[tag])["Id"]
    arn = f"arn:aws:kendra:us-east-1:123456789012:index/{index_id}"
    assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == [tag]
    client.tag_resource(ResourceARN=arn, Tags=[{"Key": "cost", "Value": "1"}])
    client.untag_resource(ResourceARN=arn, TagKeys=["team"])
    assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "cost", "Value": "1"}]


@pytest.mark.parametrize(
    ("edition", "more", "reason"),
    [
        ("DEVELOPER_EDITION", {"CapacityUnits": {"StorageCapacityUnits": 1, "QueryCapacityUnits": 0}}, "CapacityUnits"),
        ("GEN_AI_ENTERPRISE_EDITION", {"UserContextPolicy": "USER_TOKEN"}, "USER_TOKEN"),
    ],
)
def test_settings_that_do_not_fit_an_edition_are_refused(anywhere, edition, more, reason):
    client = anywhere.client()
    index_id = client.create_index(Name="i", RoleArn=ROLE_ARN, Edition=edition)["Id"]
    with pytest.raises(client.exceptions.ValidationException, match=reason):
        client.update_index(Id=index_id, **more)


@pytest.mark.parametrize(
    ("kind", "more", "reason"),
    [
        ("CUSTOM", {"Schedule": "cron(0 1 * * ? *)"}, "Schedule for a CUSTOM"),
        ("WEBCRAWLER", {"Configuration": {"S3Configuration": {"BucketName": "bucket"}}, "RoleArn": "arn"},
         "must have WebCrawlerConfiguration for type WEBCRAWLER, but has S3Configuration"),
    ],
)  # fmt: skip
def test_a_configuration_that_does_not_fit_its_type_is_refused(anywhere, kind, more, reason):
    client = anywhere.client()
    more = {name: ROLE_ARN if value == "arn" else value for name, value in more.items()}
    with pytest.raises(client.exceptions.ValidationException, match=reason):
        client.create_data_source(IndexId=anywhere.create_index(), Name="s", Type=kind, **more)


def test_a_document_that_two_crawls_find_is_in_the_index_once(anywhere, s3_source):
    first = s3_source(anywhere, name="first")
    index_id = first.ids[0]
    second = Source(anywhere, anywhere.create_s3_data_source(index_id, "documents", name="second"), index_id)
    fill(anywhere, 2)
    anywhere.set_sync_duration(0)
    anywhere.set_quotas(documents=2, text_bytes=8)
    for source in (second, first):
        source.start()
        assert source.counts() == (2, 0, 0, 0, 2)

    def found():
        client = first.client
        statistics = client.describe_index(Id=index_id)["IndexStatistics"]["TextDocumentStatistics"]
        results = client.query(IndexId=index_id, QueryText="text")["ResultItems"]
        return (
            [statistics["IndexedTextDocumentsCount"], statistics["IndexedTextBytes"]],
            sorted(item["DocumentId"] for item in results),
        )

    once = ([2, 8], ["s3://documents/0", "s3://documents/1"])
    assert found() == once
    for source in (first, second):
        key = {"DocumentId": "s3://documents/0", "Attributes": [
            {"Key": "datasourceId", "Value": {"StringValue": source.ids[1]}},
            {"Key": "jobExecutionId", "Value": {"StringValue": source.newest()["ExecutionId"]}},
        ]}  # fmt: skip
        status = first.client.batch_get_document_status(IndexId=index_id, DocumentInfoList=[key])
        assert status["DocumentStatusList"][0]["DocumentStatus"] == "INDEXED"
    first.client.delete_data_source(IndexId=index_id, Id=first.ids[1])
    assert found() == once


def test_a_document_that_failed_in_one_data_source_can_come_from_another(anywhere, s3_source):
    failing = s3_source(anywhere, name="failing")
    index_id = failing.ids[0]
    other = Source(anywhere, anywhere.create_s3_data_source(index_id, "documents", name="other"), index_id)
    fill(anywhere, 1)
    anywhere.set_sync_duration(0)
    anywhere.fail_documents(*failing.ids, ["s3://documents/0"])
    failing.start()
    other.start()
    asked = {"IndexId": index_id, "DocumentInfoList": [{"DocumentId": "s3://documents/0"}]}
    assert other.client.batch_get_document_status(**asked)["DocumentStatusList"][0]["DocumentStatus"] == "INDEXED"


def test_a_version_of_a_document_is_identified_by_the_attributes_of_the_reference_only(anywhere, custom_source):
    source = custom_source(anywhere)
    put(source, {"Id": "a", "Blob": b"text"})
    for key, failed in (("version", []), ("_category", ["a"])):
        attribute = {"Key": key, "Value": {"StringValue": "1"}}
        asked = {"DocumentId": "a", "Attributes": [attribute]}
        answer = source.client.batch_get_document_status(IndexId=source.ids[0], DocumentInfoList=[asked])
        assert [each["DocumentId"] for each in answer["Errors"]] == failed
