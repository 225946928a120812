"""Failed and missing documents, read from a stub of CloudWatch Logs that can do what moto's can't."""

from __future__ import annotations

import json
import re
import tracemalloc
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._document_logs import (
    ERRORS,
    FAILED,
    RESOLVED,
    LogCalls,
    advise_on_capacity,
    failed_documents,
    may_have_failures,
    missing_documents,
)
from airflow_provider_kendra.documents import DocumentFailures, FailedDocument, IndexCapacity
from airflow_provider_kendra.sync_job import SyncJob
from tests.conftest import examples

START = datetime(2026, 1, 31, 18, tzinfo=UTC)
NOW = START + timedelta(hours=1)
REPORT = "SYNC_RUN_HISTORY_REPORT/source/job"


class Throttled(Exception):
    pass


class Denied(Exception):
    pass


def explain(error, group):
    return f"{type(error).__name__} for {group}.", isinstance(error, Throttled)


@dataclass
class Logs:
    """CloudWatch Logs: pages to return, or errors to raise, one for each call; then empty pages."""

    pages: list = field(default_factory=list)
    calls: list = field(default_factory=list)
    seconds_per_call: float = 0.1
    now: float = 0.0

    def filter_events(self, **request):
        self.calls.append(request)
        self.now += self.seconds_per_call
        page = self.pages.pop(0) if self.pages else {"events": []}
        if isinstance(page, Exception):
            raise page
        return page() if callable(page) else page

    def sleep(self, seconds):
        self.now += seconds

    def limited(self, calls=5, seconds=20.0):
        return LogCalls(
            self.filter_events, explain, group="/aws/kendra/index", calls=calls, seconds=seconds,
            monotonic=lambda: self.now, sleep=self.sleep,
        )  # fmt: skip


def event(document_id, status="FAILED", *, stream=REPORT, at=START, **members):
    body = {"DocumentId": document_id, "ConnectorDocumentStatus": {"Status": status}}
    if status == "FAILED":
        body |= {"CrawlStatus": {"Status": "FAILED"}, "ErrorMsg": "Access Denied"}
    else:
        body |= {"CrawlAction": "MODIFY", "IndexStatus": {"Status": status}}
    return {
        "logStreamName": stream,
        "timestamp": int(at.timestamp() * 1000),
        "message": json.dumps(body | members),
    }


def page(*events, token=None):
    return {"events": list(events), **({"nextToken": token} if token else {})}


def job(failed=1, status="INCOMPLETE", **changed):
    item = {
        "ExecutionId": "job", "Status": status, "StartTime": START, "EndTime": START + timedelta(minutes=30),
        "Metrics": {} if failed is None else {"DocumentsFailed": str(failed)},
    } | changed  # fmt: skip
    return SyncJob.from_response(item, index_id="index", data_source_id="source")


def read(logs, limit=10, **changed):
    return failed_documents(logs.limited(), job(**changed), limit=limit, now=NOW)


class TestFailedDocuments:
    def test_one_call_reads_the_report_of_the_job_around_its_time(self):
        logs = Logs([page(event("a"))])
        found = read(logs)
        assert [each.document_id for each in found.documents] == ["a"]
        assert (found.found, found.expected, found.is_complete, found.source, found.note) == (
            1,
            1,
            True,
            "report",
            None,
        )
        [call] = logs.calls
        assert (call["logGroupName"], call["logStreamNamePrefix"]) == ("/aws/kendra/index", REPORT)
        assert call["startTime"] == int((START - timedelta(minutes=5)).timestamp() * 1000)
        assert call["endTime"] == int((NOW + timedelta(minutes=15)).timestamp() * 1000), "events may be late"
        assert "limit" not in call, "totals need all events"

    @pytest.mark.parametrize(
        ("failed", "status", "expected"),
        [(0, "SUCCEEDED", False), (None, "SUCCEEDED", False), (3, "SUCCEEDED", True), (None, "INCOMPLETE", True),
         (0, "FAILED", True), (0, "ABORTED", False)],
    )  # fmt: skip
    def test_logs_are_worth_reading_only_if_something_can_have_failed(self, failed, status, expected):
        assert may_have_failures(job(failed, status)) is expected

    def test_the_first_documents_are_named_and_all_are_counted(self):
        logs = Logs([page(*(event(f"d{number}") for number in range(30)))])
        found = read(logs, failed=30, limit=3)
        assert [each.document_id for each in found.documents] == ["d0", "d1", "d2"]
        assert (found.found, found.reasons) == (30, [{"stage": "crawl", "reason": "Access Denied", "count": 30}])

    def test_empty_pages_with_a_token_are_followed(self):
        logs = Logs([page(token="1"), page(token="2"), page(event("a"))])
        assert read(logs).found == 1
        assert [call.get("nextToken") for call in logs.calls] == [None, "1", "2"]

    def test_events_of_other_streams_and_other_statuses_are_left_out(self):
        logs = Logs(
            [page(event("a"), event("b", "SUCCESS"), event("c", stream="SYNC_RUN_HISTORY_REPORT/source/other"))]
        )
        assert [each.document_id for each in read(logs).documents] == ["a"]

    def test_the_last_event_of_a_document_counts(self):
        later = START + timedelta(minutes=1)
        logs = Logs(
            [page(event("b", at=later), event("b", "SUCCESS"), event("a"), event("a", "SUCCESS", at=later), event("b"))]
        )
        assert [each.document_id for each in read(logs).documents] == ["b"]

    def test_fewer_than_the_job_reports_says_that_the_rest_may_be_late(self):
        found = read(Logs([page(event("a"))]), failed=130)
        assert (found.is_complete, found.note) == (
            False,
            "Kendra's logs name 1 of 130 documents that failed; the rest may be late.",
        )

    def test_one_document_is_a_singular(self):
        note = read(Logs(), failed=1).note
        assert note.startswith(
            "Kendra's logs do not name the document that failed. The log events may be late, or deleted "
        )

    def test_none_at_all_says_why_that_can_be(self):
        logs = Logs()
        found = read(logs, failed=130)
        assert (found.found, found.source, found.is_complete) == (0, None, False)
        assert found.note.startswith(
            "Kendra's logs name none of the 130 documents that failed. The log events may be late"
        )
        assert len(logs.calls) == 2

    @pytest.mark.parametrize("failed", [None, 0])
    def test_a_sync_that_ended_incomplete_has_failed_documents_even_if_it_counts_none(self, failed):
        found = read(Logs(), failed=failed)
        assert (found.found, found.is_complete) == (0, False)
        assert found.note == (
            "Kendra's logs do not name the documents that failed. The log events may be late, or deleted by the "
            "log group's retention."
        )
        assert read(Logs(), failed=failed, status="FAILED").is_complete

    def test_without_a_report_the_other_streams_of_the_data_source_are_read(self):
        mine = event("a", stream="source/2026-01-31-18/job", ConnectorDocumentStatus={"Status": "FAILED"})
        logs = Logs([page(), page(mine)])
        found = read(logs)
        assert (found.source, found.documents[0].execution_id, found.is_complete) == ("log", "job", True)
        assert logs.calls[1]["logStreamNamePrefix"] == "source/"

    @pytest.mark.parametrize("pattern", [FAILED, RESOLVED, ERRORS])
    def test_a_filter_pattern_contains_only_what_cloudwatch_logs_documents(self, pattern):
        expressions = re.findall("%(.*?)%", pattern)
        assert len(expressions) <= 2
        assert len(pattern) <= 1024
        assert all(re.fullmatch(r"[A-Za-z0-9:_#=@/;,^$?\[\]{}|\\*+.-]+", each) for each in expressions)

    def test_documents_of_streams_without_a_job_are_said_to_fit_by_time_only(self):
        other = event("a", stream="source/2026-01-31-18/0f0f")
        found = read(Logs([page(), page(other)]))
        assert (found.documents[0].execution_id, found.is_complete) == (None, False)
        assert found.note.startswith("1 of the documents is from a stream that does not name this sync job")

    def test_two_of_them_are_said_to_fit_by_time_only(self):
        others = [event(name, stream="source/2026-01-31-18/0f0f") for name in "ab"]
        assert read(Logs([page(), page(*others)]), failed=2).note == (
            "2 of the documents are from streams that do not name this sync job, and were logged at about the time of "
            "the sync. The sync's run history report names no document that failed: the report may be late, or not "
            "exist."
        )

    def test_that_they_fit_by_time_only_is_said_together_with_how_many_are_named(self):
        others = [event(name, stream="source/2026-01-31-18/0f0f") for name in "ab"]
        assert read(Logs([page(), page(*others)]), failed=9).note.startswith(
            "Kendra's logs name 2 of 9 documents that failed; the rest may be late. 2 of the documents are from streams"
        )

    def test_that_they_fit_by_time_only_is_said_together_with_a_fault(self):
        others = [event(name, stream="source/2026-01-31-18/0f0f") for name in "ab"]
        note = read(Logs([page(), page(*others, token="1"), Denied()]), failed=9).note
        assert note.startswith(
            "Denied for /aws/kendra/index. The log events that were read name 2 of 9 documents that failed. 2 of the "
        )

    def test_what_the_stream_of_the_job_says_counts_more_than_what_fits_by_time(self):
        mine = event("a", stream="source/2026-01-31-18/job")
        other = event("a", stream="source/2026-01-31-18/0f0f", at=START + timedelta(minutes=1))
        found = read(Logs([page(), page(mine, other)]))
        assert (found.found, found.documents[0].execution_id, found.is_complete) == (1, "job", True)

    def test_the_report_of_a_job_whose_id_begins_alike_is_left_out(self):
        assert read(Logs([page(event("a"), event("b", stream=f"{REPORT}-2"))])).found == 1

    def test_long_ids_that_begin_alike_are_counted_separately(self):
        assert read(Logs([page(*(event("x" * 500 + name) for name in "abc"))]), failed=3).found == 3

    def test_a_status_that_is_plain_text_is_searched_for_too(self):
        logs = Logs([page(event("a", ConnectorDocumentStatus="FAILED"))])
        assert read(logs).found == 1
        assert '($.ConnectorDocumentStatus = "FAILED")' in logs.calls[0]["filterPattern"]

    @pytest.mark.parametrize("at", [datetime.min, datetime(1900, 1, 1), datetime.max], ids=["first", "1900", "last"])
    def test_a_job_at_a_time_that_is_far_off_is_not_an_error(self, at):
        logs = Logs([page(event("a"))])
        assert read(logs, StartTime=at.replace(tzinfo=UTC), EndTime=at.replace(tzinfo=UTC)).found == 1
        assert 0 <= logs.calls[0]["startTime"] <= logs.calls[0]["endTime"] < 10**15

    def test_the_streams_that_may_not_name_the_job_are_read_around_its_time(self):
        logs = Logs()
        read(logs)
        assert logs.calls[1]["startTime"] == int((START - timedelta(minutes=5)).timestamp() * 1000)
        assert logs.calls[1]["endTime"] == int((START + timedelta(minutes=45)).timestamp() * 1000)

    def test_without_a_start_a_job_is_searched_from_a_day_before_its_end(self):
        logs = Logs()
        read(logs, StartTime=None, EndTime=START - timedelta(days=9))
        for call in logs.calls:
            assert call["startTime"] == int((START - timedelta(days=10, minutes=5)).timestamp() * 1000)
            assert call["startTime"] < call["endTime"]

    def test_a_running_job_is_read_up_to_now(self):
        logs = Logs([page(event("a"))])
        read(logs, EndTime=None)
        assert logs.calls[0]["endTime"] == int((NOW + timedelta(minutes=15)).timestamp() * 1000)


FAULTS = {
    "throttled once": ([Throttled(), page(event("a"))], 1, None),
    "throttled for ever": ([Throttled()] * 9, 0, "Throttled for /aws/kendra/index."),
    "denied": ([Denied()], 0, "Denied for /aws/kendra/index."),
    "denied on the second page": ([page(event("a"), token="1"), Denied()], 1, "Denied for /aws/kendra/index."),
    "more pages than calls": ([page(event(str(n)), token=str(n)) for n in range(9)], 5,
                              "Not all events were read within 5 calls and 20 s."),
    "the same page for ever": ([page(event("a"), token="1")] * 9, 1,
                               "CloudWatch Logs returned the same page twice, so not all events were read."),
    "malformed events": ([page({}, {"message": 3}, "text", event("a"), {"logStreamName": REPORT, "timestamp": 1,
                                                                        "message": "no JSON"})], 1, None),
    "an event of a megabyte": ([page(event("a", ErrorMsg="x" * 10**6))], 1, None),
    "no members": ([{}], 0, "CloudWatch Logs returned a response that could not be read."),
    "events that are no list": ([{"events": 5}], 0, "CloudWatch Logs returned a response that could not be read."),
    "a token that is no text": ([page(event("a"), token=["1"])], 1,
                                "CloudWatch Logs returned a response that could not be read."),
    "a time that is far off": ([page(event("a") | {"timestamp": 10**30})], 1, None),
}  # fmt: skip


def cut_off(logs, call, request):
    """Make a call that ends when the time is over, as the hook does."""
    try:
        return call(**request)
    finally:
        logs.now = min(logs.now, 20)


class TestFaults:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_fault_raises_nothing_and_the_note_says_what_is_missing(self, fault):
        pages, found, note = FAULTS[fault]
        logs = Logs(list(pages))
        result = read(logs, failed=max(found, 1))
        assert (result.found, result.note) == (found, note)
        assert result.is_complete is (note is None)
        assert len(logs.calls) <= 5

    def test_no_call_is_made_after_the_time_is_over(self):
        logs = Logs([page(token=str(n)) for n in range(9)], seconds_per_call=8)
        assert read(logs).note == "Not all events were read within 5 calls and 20 s."
        assert len(logs.calls) == 3

    @pytest.mark.parametrize("seconds_per_call", [0.1, 4, 9.5, 20])
    def test_pauses_between_calls_count_too(self, seconds_per_call):
        logs = Logs([Throttled()] * 99, seconds_per_call=seconds_per_call)
        logs.filter_events = lambda *, call=logs.filter_events, **request: cut_off(logs, call, request)
        assert read(logs).note == "Throttled for /aws/kendra/index."
        assert logs.now <= 20

    def test_all_events_that_five_calls_return_are_counted(self):
        pages = [page(*(event(f"{n}-{number}") for number in range(1000)), token=str(n)) for n in range(5)]
        pages[-1].pop("nextToken")
        found = read(Logs(pages), failed=5000)
        assert (found.found, len(found.documents), found.is_complete) == (5000, 10, True)

    def test_what_was_read_of_ten_thousand_failures_is_counted_against_what_the_job_reports(self):
        # CloudWatch Logs returns at most 1 MB per call, here about 1,100 events.
        pages = [page(*(event(f"{n}-{k}", Acl="x" * 750) for k in range(1_100)), token=str(n)) for n in range(9)]
        logs = Logs(pages)
        found = read(logs, failed=10_000)
        assert (len(logs.calls), found.found, len(found.documents), found.is_complete) == (5, 5_500, 10, False)
        assert found.note == (
            "Not all events were read within 5 calls and 20 s. The log events that were read name 5,500 of 10,000 "
            "documents that failed."
        )

    @pytest.mark.parametrize("read_all", [
        lambda logs: failed_documents(logs.limited(20), job(failed=2_000), limit=10, now=NOW),
        lambda logs: missing(logs),
    ], ids=["failed", "missing"])  # fmt: skip
    def test_what_is_kept_of_an_event_does_not_grow_with_the_event(self, read_all):
        def make_page(n):
            return page(*(event(f"{n}-{k}", Acl="x" * 20_000) for k in range(50)), token=str(n) if n < 9 else None)

        logs = Logs([partial(make_page, n) for n in range(10)])
        tracemalloc.start()
        try:
            assert read_all(logs).found == 500
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # Of 10 MB, two pages are in memory at a time, and 2 KB for each document.
        assert peak < 2 * 1_100_000 + 500 * 2_000


class Store:
    """CloudWatch Logs with a report for each night, which filters as the service does."""

    def __init__(self, events):
        self.events = events
        self.calls = 0

    def filter_events(self, **request):
        self.calls += 1
        is_first_pass = "FAILED" in request["filterPattern"]
        return page(*(each for each in self.events if self.matches(each, request, is_first_pass)))

    @staticmethod
    def matches(each, request, is_first_pass):
        body = json.loads(each["message"])
        if not request["startTime"] <= each["timestamp"] <= request["endTime"]:
            return False
        if is_first_pass:
            return body["ConnectorDocumentStatus"]["Status"] == "FAILED"
        is_indexed = body.get("IndexStatus", {}).get("Status") == "SUCCESS"
        return body.get("CrawlAction") != "UNMODIFIED" and (is_indexed or "DELETE" in body.get("CrawlAction", ""))


def missing(events, **changed):
    store = events if hasattr(events, "filter_events") else Store(events)
    calls = LogCalls(
        store.filter_events, explain, group="/aws/kendra/index", calls=20, seconds=60, monotonic=lambda: 0.0,
        sleep=lambda _: None,
    )  # fmt: skip
    arguments = {"lookback": timedelta(days=30), "limit": 10, "now": NOW} | changed
    return missing_documents(calls, "source", **arguments)


def night(number, document_id, what, **members):
    stream = f"SYNC_RUN_HISTORY_REPORT/source/night-{number}"
    at = NOW - timedelta(days=29 - number)
    if what == "fails":
        return event(document_id, stream=stream, at=at, **members, CrawlAction="MODIFY")
    if what == "unmodified":
        return event(document_id, "SKIPPED", stream=stream, at=at, **members, CrawlAction="UNMODIFIED")
    if what == "deleted":
        return event(document_id, "SUCCESS", stream=stream, at=at, **members, CrawlAction="DELETE", IndexStatus={})
    return event(document_id, "SUCCESS", stream=stream, at=at, **members, CrawlAction="MODIFY")


class TestMissingDocuments:
    def test_a_green_sync_does_not_hide_what_failed_the_night_before(self):
        nights = [night(1, "a", "fails"), night(1, "b", "fails"), night(2, "a", "unmodified"), night(2, "b", "changed")]
        found = missing(nights)
        assert [each.document_id for each in found.documents] == ["a"]
        assert (found.found, found.expected, found.is_complete, found.source) == (1, None, True, "report")

    def test_nothing_missing_costs_one_call(self):
        store = Store([night(1, "a", "changed")])
        found = missing(store)
        assert (found.found, found.source, found.is_complete, store.calls) == (0, None, True, 1)

    @pytest.mark.parametrize(("what", "is_missing"), [("deleted", False), ("changed", False), ("unmodified", True)])
    def test_only_indexing_or_deletion_ends_it(self, what, is_missing):
        assert missing([night(1, "a", "fails"), night(2, "a", what)]).found == is_missing

    def test_a_success_before_the_failure_does_not_count(self):
        assert missing([night(1, "a", "changed"), night(2, "a", "fails")]).found == 1

    def test_a_success_at_the_same_moment_is_not_later(self):
        assert missing([night(1, "a", "changed"), night(1, "a", "fails")]).found == 1

    def test_the_newest_failure_comes_first(self):
        nights = [night(number, f"d{number}", "fails") for number in (1, 3, 2)]
        assert [each.document_id for each in missing(nights, limit=2).documents] == ["d3", "d2"]

    def test_what_is_older_than_the_look_back_is_not_searched(self):
        assert missing([night(1, "a", "fails")], lookback=timedelta(days=2)).found == 0

    @pytest.mark.parametrize("far_off", [10**30, -(10**30)])
    def test_a_time_that_is_far_off_is_not_an_error(self, far_off):
        failed = event("a", stream="SYNC_RUN_HISTORY_REPORT/source/1") | {"timestamp": far_off}
        logs = Logs([page(failed)])
        assert missing(logs).found == 1
        window = [(call["startTime"], call["endTime"]) for call in logs.calls]
        assert all(0 <= since <= until < 10**13 for since, until in window)

    def test_a_change_of_one_long_id_does_not_mend_another(self):
        one, other = "x" * 500 + "1", "x" * 500 + "2"
        found = missing([night(1, one, "fails"), night(1, other, "fails"), night(2, one, "changed")])
        assert found.found == 1

    def test_syncs_whose_failures_the_logs_do_not_name_are_counted(self):
        nights = [night(3, "a", "fails"), night(4, "a", "changed")]
        jobs = [job(failed, ExecutionId=f"night-{n}") for n, failed in enumerate([0, None, 7, 1, 5])]
        jobs.append(job(2, status="SYNCING", EndTime=None))
        found = missing(nights, read_jobs=lambda: jobs)
        assert (found.found, found.is_complete) == (0, False)
        assert found.note.startswith(
            "4 of the last 5 syncs report documents that failed, but Kendra's logs do not name all of them. The "
            "log events may be late"
        )
        assert missing(nights, read_jobs=lambda: [jobs[3], job(0, "SUCCEEDED")]).is_complete

    @pytest.mark.parametrize(
        ("changed", "named", "is_complete"),
        [
            ({"failed": 100}, "abc", False),
            ({"failed": 3}, "aab", False),
            ({"failed": 3}, "abc", True),
            ({"failed": 2, "status": "SUCCEEDED"}, "a", False),
            ({"failed": None}, "", False),
            ({"failed": 0}, "", False),
            ({"failed": None}, "a", True),
            ({"failed": None, "status": "SUCCEEDED"}, "", True),
            ({"failed": 0, "status": "FAILED"}, "", True),
        ],
    )
    def test_the_logs_must_name_as_many_documents_of_a_sync_as_it_reports(self, changed, named, is_complete):
        nights = [night(3, name, "fails") for name in named]
        found = missing(nights, read_jobs=lambda: [job(ExecutionId="night-3", **changed)])
        assert (found.found, found.is_complete) == (len(set(named)), is_complete)
        assert (found.note is None) is is_complete

    def test_a_history_that_cannot_be_read_leaves_open_whether_all_are_named(self):
        found = missing([night(1, "a", "fails")], read_jobs=lambda: None)
        assert (found.found, found.is_complete) == (1, False)
        assert found.note == (
            "The sync history could not be read, so it is not known whether the logs name every document that failed. "
            "Searched: the last 30 d."
        )

    @pytest.mark.parametrize("action", ["DELETE", "deleted"])
    def test_a_document_that_could_not_be_deleted_is_not_missing_but_was_named(self, action):
        failed = night(3, "a", "fails") | {"message": event("a", CrawlAction=action)["message"]}
        found = missing([failed], read_jobs=lambda: [job(1, ExecutionId="night-3")])
        assert (found.found, found.is_complete) == (0, True)
        assert missing([night(2, "a", "fails"), failed]).found == 1

    def test_a_failure_without_an_id_is_mended_by_a_success_with_the_same_uri(self):
        here, there = {"SourceUri": "https://h.example/1"}, {"SourceUri": "https://h.example/2"}
        failed = night(1, None, "fails", **here)
        assert missing([failed, night(2, "a", "changed", **here)]).found == 0
        assert missing([failed, night(2, "a", "changed", **there)]).found == 1

    def test_documents_that_share_a_uri_are_told_apart_by_their_ids(self):
        shared = {"SourceUri": "https://h.example/1"}
        for document_id in ("a", "https://h.example/1"):
            found = missing([night(1, document_id, "fails", **shared), night(2, "b", "changed", **shared)])
            assert [each.document_id for each in found.documents] == [document_id]

    def test_the_history_is_not_read_if_the_logs_were_not_read_to_their_end(self):
        found = missing(Logs([Denied()]), read_jobs=lambda: pytest.fail("was read"))
        assert found.note.startswith("Denied")

    def test_the_name_of_a_stream_is_made_plain(self):
        stream = "SYNC_RUN_HISTORY_REPORT/source/\x1b[31m" + "x" * 500
        [document] = missing([event("a", stream=stream, at=NOW - timedelta(days=1))]).documents
        assert document.execution_id.startswith(r"\x1b[31mxxx")
        assert len(document.execution_id) <= 128

    @pytest.mark.parametrize(
        ("pages", "note"),
        [
            ([page(night(1, "a", "fails"), token="1")] * 2, "CloudWatch Logs returned the same page twice"),
            ([page(night(1, "a", "fails"), token="1"), Denied()], "Denied for /aws/kendra/index."),
            ([page(night(1, "a", "fails"), token=3)], "CloudWatch Logs returned a response that could not be read."),
        ],
        ids=["a repeated page", "a denial", "an unreadable page"],
    )  # fmt: skip
    def test_what_the_first_pass_has_left_out_is_said_though_the_second_one_is_complete(self, pages, note):
        found = missing(Logs([*pages, page(night(2, "a", "changed"))]))
        assert (found.found, found.is_complete) == (0, False)
        assert found.note.startswith(note)

    def test_if_not_everything_was_read_what_may_be_mended_is_still_missing(self):
        logs = Logs([page(event("a", stream="SYNC_RUN_HISTORY_REPORT/source/1")), Denied()])
        found = missing(logs)
        assert (found.found, found.is_complete) == (1, False)
        assert found.note == "Denied for /aws/kendra/index. Searched: the last 30 d."

    @settings(deadline=None, max_examples=examples(200))
    @given(
        nights=st.lists(
            st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["fails", "changed", "deleted", "unmodified"])),
            max_size=20,
        ),
        order=st.randoms(use_true_random=False),
    )
    def test_a_document_is_missing_if_nothing_but_unmodified_followed_its_last_failure(self, nights, order):
        expected = set()
        for changes in nights:
            for document_id, what in changes.items():
                if what == "fails":
                    expected.add(document_id)
                elif what != "unmodified":
                    expected.discard(document_id)
        events = [
            night(n, document_id, what) for n, changes in enumerate(nights) for document_id, what in changes.items()
        ]
        order.shuffle(events)
        found = missing(events)
        assert {each.document_id for each in found.documents} == expected
        assert found.found == len(expected)


@pytest.mark.parametrize(
    ("reasons", "found", "expected", "is_advised"),
    [
        ([{"stage": "crawl", "reason": "r", "count": 15}, {"stage": "index", "reason": "q", "count": 5}], 20, 20, True),
        ([{"stage": "crawl", "reason": "r", "count": 20}], 20, 20, False),
        ([], 0, 20, True),
        ([{"stage": "index", "reason": "q", "count": 5}], 5, 5, False),
    ],
    ids=["some failed to be indexed", "all failed to be crawled", "no log could be read", "few"],
)
def test_a_full_index_is_named_if_many_documents_failed_and_not_all_of_them_in_the_crawl(
    reasons, found, expected, is_advised
):
    full = IndexCapacity("ENTERPRISE_EDITION", 0, 10, 10, 1, 10)
    document = FailedDocument("a", stage="crawl")
    advice = advise_on_capacity(lambda: full, DocumentFailures([document] * bool(found), found, expected, reasons))
    assert bool(advice) is is_advised


@pytest.mark.parametrize(("text_bytes", "is_advised"), [(98, False), (99, True), (100, True)])
def test_an_index_counts_as_full_just_below_its_capacity_since_a_document_may_not_fit(text_bytes, is_advised):
    capacity = IndexCapacity("ENTERPRISE_EDITION", 0, 1, 100, text_bytes, 100)
    assert bool(advise_on_capacity(lambda: capacity, DocumentFailures(expected=20))) is is_advised
