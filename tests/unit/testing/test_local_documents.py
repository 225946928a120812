"""What a sync does to documents is counted truly, for buckets that are crawled and batches that are put."""

import importlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import examples

NAMES = ("a/1", "a/2", "b/1")
changes = st.tuples(st.just("put"), st.sampled_from(NAMES), st.sampled_from([b"x", b"y"]))
changes |= st.tuples(st.just("delete"), st.sampled_from(NAMES), st.none())
changes |= st.tuples(st.just("sync"), st.none(), st.none())


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
