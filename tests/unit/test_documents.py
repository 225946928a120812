"""What an event of Kendra's logs says about a document, and what is never read from it."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_kendra.documents import (
    LONGEST_NAME,
    LONGEST_REASON,
    MOST_REASONS,
    DocumentFailures,
    FailedDocument,
    IndexCapacity,
    capacity_of,
    cause_of,
    read_event,
    total,
)

PERSONAL = "jane.doe@personal.example"


def report(**changed):
    """An event of a sync run history report."""
    event = {
        "AwsAccountId": "123456789012",
        "DocumentId": "s3://docs/a.pdf",
        "DocumentTitle": "A",
        "SourceUri": "https://user:secret@docs.example/a.pdf?X-Amz-Signature=secret",
        "Acl": [{"Name": PERSONAL, "Type": "USER"}],
        "Metadata": {"_authors": PERSONAL},
        "CrawlAction": "ADD",
        "CrawlStatus": {"Status": "SUCCESS"},
        "SyncStatus": {"Status": "SUCCESS"},
        "IndexStatus": {"Status": "FAILED"},
        "ConnectorDocumentStatus": {"Status": "FAILED"},
        "ErrorMsg": "Access Denied",
        "Anything": PERSONAL,
    }
    return json.dumps({name: value for name, value in (event | changed).items() if value is not None})


def read(**changed):
    return read_event(report(**changed), "job")


def reasons(events):
    """The totals of failed documents by reason."""
    read_events = [read_event(report(**event), "job") for event in events]
    return {each["reason"]: each["count"] for each in total((e.document.stage, e.cause) for e in read_events)}


class TestAnEvent:
    def test_names_the_document_and_why_it_failed(self):
        assert read().document == FailedDocument(
            document_id="s3://docs/a.pdf",
            title="A",
            source_uri="https://docs.example/a.pdf",
            stage="index",
            reason="Access Denied",
            error_code=None,
            execution_id="job",
        )

    @pytest.mark.parametrize(
        ("failed", "stage"),
        [
            (["CrawlStatus"], "crawl"),
            (["SyncStatus"], "sync"),
            (["SyncStatus", "IndexStatus"], "sync"),
            (["CrawlStatus", "SyncStatus", "IndexStatus"], "crawl"),
            ([], "unknown"),
        ],
    )
    @pytest.mark.parametrize("shape", [lambda status: {"Status": status}, str], ids=["object", "text"])
    def test_the_stage_is_the_first_that_failed(self, failed, stage, shape):
        stages = {name: shape("FAILED" if name in failed else "SUCCESS") for name in
                  ("CrawlStatus", "SyncStatus", "IndexStatus")}  # fmt: skip
        assert read(**stages).document.stage == stage

    def test_a_document_that_was_indexed_is_resolved(self):
        event = read(IndexStatus={"Status": "SUCCESS"}, ConnectorDocumentStatus={"Status": "SUCCESS"}, ErrorMsg=None)
        assert (event.is_failure, event.is_resolved) == (False, True)

    @pytest.mark.parametrize("action", ["UNMODIFIED", "unmodified"])
    def test_an_unmodified_document_is_neither_failed_nor_resolved(self, action):
        event = read(
            CrawlAction=action, IndexStatus={"Status": "SUCCESS"}, ConnectorDocumentStatus={"Status": "SKIPPED"}
        )
        assert (event.is_failure, event.is_resolved) == (False, False)

    @pytest.mark.parametrize("action", ["DELETE", "Deleted", "delete_document"])
    def test_a_deleted_document_is_resolved(self, action):
        event = read(CrawlAction=action, IndexStatus=None, ConnectorDocumentStatus={"Status": "SUCCESS"})
        assert event.is_resolved

    def test_a_deletion_that_failed_is_not_resolved(self):
        assert not read(CrawlAction="DELETE").is_resolved

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            (
                {"DocumentId": "a", "S3Path": "s3://b/a", "ErrorCode": "InvalidRequest", "ErrorMessage": "too large"},
                FailedDocument("a", None, "s3://b/a", "unknown", "too large", "InvalidRequest", "job"),
            ),
            (
                {"DocumentID": "a", "CrawlStatus": "FAILED", "ErrorCode": "403", "ErrorMessage": "Forbidden"},
                FailedDocument("a", None, None, "crawl", "Forbidden", "403", "job"),
            ),
            (
                {"DocumentId": "a", "IndexingStatus": "DocumentFailedToIndex", "ErrorCode": "400"},
                FailedDocument("a", None, None, "index", None, "400", "job"),
            ),
            (
                {"Message": "Found Invalid metadata file b/p/f.ext.metadata.json."},
                FailedDocument("b/p/f.ext.metadata.json", None, None, "crawl",
                               "Found Invalid metadata file b/p/f.ext.metadata.json.", None, "job"),
            ),
        ],
    )  # fmt: skip
    def test_events_of_the_other_streams_are_understood(self, event, expected):
        assert read_event(json.dumps(event), "job").document == expected

    @pytest.mark.parametrize(
        "message", ["", "no JSON", "[]", "null", "1", '{"Message": "Sync job started"}', "[" * 100_000, "{}"]
    )
    def test_what_says_nothing_about_a_document_is_ignored(self, message):
        assert read_event(message, "job") is None

    def test_long_texts_are_cut(self):
        document = read(DocumentId="i" * 9999, DocumentTitle="t" * 9999, ErrorMsg="r" * 10**6).document
        assert (len(document.document_id), len(document.title)) == (LONGEST_NAME, LONGEST_NAME)
        assert len(document.reason) == LONGEST_REASON

    def test_long_ids_that_begin_alike_are_different_documents(self):
        one, other = (read(DocumentId=f"s3://docs/{'x' * 2000}{number}") for number in (1, 2))
        assert one.document.document_id == other.document.document_id
        assert one.key != other.key

    @pytest.mark.parametrize(
        ("ids", "expected"),
        [({"DocumentId": None, "DocumentID": "b"}, "b"), ({"DocumentId": "", "DocumentID": "b"}, "b"),
         ({"DocumentId": 0, "DocumentID": None}, "0"), ({"DocumentId": ["a"], "DocumentID": 7}, "7")],
    )  # fmt: skip
    def test_the_id_has_two_spellings(self, ids, expected):
        event = json.dumps({"ConnectorDocumentStatus": "FAILED"} | ids)
        assert read_event(event, "job").document.document_id == expected

    def test_a_failed_document_without_an_id_is_named_by_its_uri(self):
        one, other = (read(DocumentId=None, SourceUri=f"https://h.example/{number}") for number in (1, 2))
        assert str(one.document) == "https://h.example/1 (index: Access Denied)"
        assert one.is_failure
        assert one.key != other.key

    @pytest.mark.parametrize("action", [{"Action": "UNMODIFIED"}, ["UNMODIFIED"], 3, True])
    def test_an_action_that_is_not_text_mends_nothing(self, action):
        event = read(CrawlAction=action, IndexStatus="SUCCESS", ConnectorDocumentStatus="SUCCESS")
        assert not event.is_resolved

    @pytest.mark.parametrize(
        ("uri", "expected"),
        [
            ("https://user:secret@[::1]:8443/a b?token=secret#secret", "https://[::1]:8443/a b"),
            ("user:secret@host/path", "host/path"),
            ("//user:secret@host/path?secret", "//host/path"),
            ("s3://docs/who@home.pdf", "s3://docs/who@home.pdf"),
            ("http://[::1", None),
            (["https://h.example"], None),
        ],
    )
    def test_a_uri_loses_query_and_user_information(self, uri, expected):
        assert read(SourceUri=uri).document.source_uri == expected

    def test_an_id_that_is_a_uri_loses_its_user_information(self):
        document = read(DocumentId="https://user:secret@h.example/p?id=1", DocumentTitle="ftp://u:secret@h/p").document
        assert (document.document_id, document.title) == ("https://h.example/p?id=1", "ftp://h/p")

    def test_an_id_that_is_a_uri_keeps_its_query_but_not_the_secrets_in_it(self):
        document = read(DocumentId="https://h.example/p?id=1&X-Amz-Signature=secret&access_token=secret#key=secret")
        assert document.document.document_id == "https://h.example/p?id=1&X-Amz-Signature=…&access_token=…#key=…"

    def test_an_error_code_shows_neither_account_nor_address(self):
        document = read(ErrorCode="Denied for arn:aws:iam::123456789012:user/jane.doe@personal.example").document
        assert document.error_code == "Denied for arn:aws:iam::…:user/…"

    def test_control_characters_are_escaped(self):
        assert read(DocumentId="a\x1b[31m\n").document.document_id == r"a\x1b[31m\n"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["FAILED", "SUCCESS", "DELETE"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from([*list(json.loads(report())), "DocumentID", "S3Path", "Message", "ErrorCode", "ErrorMessage"])


class TestPersonalData:
    @given(event=st.dictionaries(names, values))
    def test_any_event_is_read_without_acl_metadata_and_unknown_members(self, event):
        planted = event | {
            "Acl": PERSONAL,
            "Metadata": {"a": [PERSONAL]},
            "AwsAccountId": "123456789012",
            "X": PERSONAL,
        }
        found = read_event(json.dumps(planted), "job")
        shown = json.dumps(found.document.to_dict()) if found else ""
        assert PERSONAL not in shown
        assert "123456789012" not in shown

    def test_a_reason_shows_neither_account_nor_address_nor_signature(self):
        reason = f"User {PERSONAL} with arn:aws:iam::123456789012:role/x can't read https://u:p@h.ex/a?sig=secret. Sad"
        assert read(ErrorMsg=reason).document.reason == (
            "User … with arn:aws:iam::…:role/x can't read https://h.ex/a Sad"
        )

    def test_the_record_has_no_other_fields(self):
        assert [each.name for each in fields(FailedDocument)] == [
            "document_id", "title", "source_uri", "stage", "reason", "error_code", "execution_id",
        ]  # fmt: skip


class TestTotals:
    def test_documents_with_the_same_cause_count_together(self):
        assert reasons(
            {"DocumentId": f"s3://b/{number}.pdf", "ErrorMsg": f"Access Denied: s3://b/{number}.pdf"}
            for number in range(123)
        ) == {"Access Denied: <document>": 123}

    @pytest.mark.parametrize(
        "id_and_reason",
        [
            lambda n: (f"{n}", f"Document {n} is locked"),
            lambda n: (f"s3://b/p/report {n}.pdf", f"report {n}.pdf: is locked"),
            lambda n: (f"https://h.example/page?id={n}", f"Cannot read https://h.example/page?id={n}"),
            lambda n: (f"s3://b/what? {n}.pdf", f"s3://b/what? {n}.pdf: is locked"),
            lambda n: ("s3://b/" + "long" * n, f"s3://b/{'long' * n} is locked: {'because ' * 100}"),
            lambda n: ("s3://b/" + "x" * 400 + str(n), f"s3://b/{'x' * 400}{n} is locked"),
            lambda n: (f"d{n}", "Access Denied (Service: Amazon S3; Status Code: 403; Error Code: AccessDenied; "
                       f"Request ID: PX7CT4GK5Y2E{n:04}; S3 Extended Request ID: mN8+{n:04}abcdefghijklmnopqr=; "
                       "Proxy: null)"),
            lambda n: (f"d{n}", f"Locked since 2026-01-31T18:{n % 60:02}:00.{n:03}Z"),
        ],
    )  # fmt: skip
    def test_ids_in_reasons_do_not_split_them(self, id_and_reason):
        pairs = map(id_and_reason, range(1, 124))
        counted = reasons({"DocumentId": document_id, "ErrorMsg": reason} for document_id, reason in pairs)
        assert list(counted.values()) == [123], counted

    @pytest.mark.parametrize(
        ("reason", "expected"),
        [
            ("Request 3f2504e0-4f89-11d3-9a0c-0305e82c3301 failed", "Request <id> failed"),
            ("No access to https://h.example/x/1", "No access to <uri>"),
            ("Object b/p/q.txt is gone", "Object <path> is gone"),
            ("Size 52428801 is over 52428800", "Size <number> is over <number>"),
            ("HTTP 403", "HTTP 403"),
            ("Digest 9e107d9d372bb6826bd81d3542a419d6 differs", "Digest <id> differs"),
        ],
    )
    def test_what_differs_is_masked(self, reason, expected):
        assert cause_of(reason, ["d"]) == expected

    def test_a_short_id_is_not_masked_within_words(self):
        assert cause_of("Access Denied", ["a"]) == "Access Denied"

    def test_the_most_frequent_reason_comes_first_and_the_rest_is_counted_together(self):
        causes = [chr(97 + number) * 3 for number in range(25)]
        documents = [("unknown", cause) for number, cause in enumerate(causes) for _ in range(number + 1)]
        totals = total(documents)
        assert len(totals) == MOST_REASONS + 1
        assert totals[0] == {"stage": "unknown", "reason": "yyy", "count": 25}
        assert totals[-1] == {"stage": "unknown", "reason": "other reasons", "count": 15}
        assert sum(each["count"] for each in totals) == len(documents)

    def test_a_document_without_a_reason_counts_by_its_code(self):
        events = [{"ErrorMsg": None, "ErrorCode": "403"}, {"ErrorMsg": None}]
        assert reasons(events) == {"403": 1, "no reason given": 1}


class TestTheDescription:
    def test_names_documents_totals_and_what_is_missing(self):
        document = FailedDocument("a.pdf", stage="crawl", reason="Access Denied", error_code="403")
        failures = DocumentFailures(
            [document], 3, 4, total([("crawl", "Access Denied")] * 3), False, "report", "One may be late."
        )
        assert failures.describe() == (
            "3 documents failed: a.pdf (crawl: 403: Access Denied) and 2 more. By reason: 3 × Access Denied (crawl). "
            "One may be late."
        )

    def failures(self, number, *, reason="Access Denied", reasons=1, found=None, note=None):
        """As many documents, with as many reasons in the totals."""
        documents = [FailedDocument(f"s3://docs/{n}.pdf", stage="crawl", reason=reason) for n in range(number)]
        found = found or number
        totals = total(("crawl", f"{reason} {chr(97 + n % reasons)}") for n in range(found))
        return DocumentFailures(documents, found, found, totals, note is None, "report", note)

    def test_ten_documents_are_named_whatever_their_reasons(self):
        described = self.failures(10, reason="Access Denied (Service: Amazon S3; Status Code: 403; Request ID: …; S3 "
                                  "Extended Request ID: …; Proxy: null)", found=130).describe()  # fmt: skip
        assert described.count("s3://docs/") == 10
        assert " and 120 more. By reason: 130 × Access Denied" in described

    @pytest.mark.parametrize("longest", [300, 1000, 4000])
    def test_as_many_documents_are_named_as_fit_and_the_rest_is_counted(self, longest):
        described = self.failures(1000, found=5000, note="Some may be late.").describe(longest=longest)
        named = described.count("s3://docs/")
        assert 0 < named < longest / 40
        assert longest - 120 < len(described) <= longest
        more = f" and {5000 - named:,} more. By reason: 5,000 × Access Denied a (crawl). Some may be late."
        assert described.endswith(more)

    def test_where_the_others_are_listed_is_said_if_they_are(self):
        described = self.failures(1000, found=5000).describe(longest=1000, more_in="the XCom x")
        assert " more (the XCom x lists 1,000). By reason" in described
        assert "the XCom x" not in self.failures(10, found=5000).describe(more_in="the XCom x")

    def test_totals_and_note_are_there_however_long_ids_reasons_and_totals_are(self):
        failures = self.failures(20, reason="x" * LONGEST_REASON, reasons=20, note="Some may be late.")
        described = failures.describe()
        assert len(described) <= 4000
        assert "; s3://docs/1.pdf (crawl: xxx" in described
        assert re.search(r" and \d+ more\. By reason: 1 × x+ .*, \d+ × other reasons\. Some may be late\.$", described)

    def test_the_first_document_and_reason_are_named_even_if_they_are_too_long(self):
        described = self.failures(3, reasons=3).describe(longest=10)
        assert described == (
            "3 documents failed: s3://docs/0.pdf (crawl: Access Denied) and 2 more. By reason: "
            "1 × Access Denied a (crawl), 1 × Access Denied b (crawl), 1 × Access Denied c (crawl)."
        )

    @pytest.mark.parametrize("number", [1, 2])
    def test_without_documents_it_has_the_totals(self, number):
        failures = DocumentFailures([], number, number, [{"stage": "crawl", "reason": "Denied", "count": number}])
        assert failures.describe() == f"By reason: {number} × Denied (crawl)."

    def test_is_empty_when_nothing_failed(self):
        assert DocumentFailures().describe() == ""

    def test_is_in_json_types(self):
        document = FailedDocument("a.pdf")
        failures = DocumentFailures([document], 1, 1, total([("crawl", "Access Denied")]))
        assert json.loads(json.dumps(failures.to_dict())) == failures.to_dict()
        assert failures.to_dict()["documents"] == [document.to_dict()]


class TestCapacity:
    @pytest.mark.parametrize(
        ("edition", "units", "documents", "text_bytes"),
        [
            ("ENTERPRISE_EDITION", 0, 100_000, 30 * 1024**3),
            ("ENTERPRISE_EDITION", 2, 300_000, 90 * 1024**3),
            ("GEN_AI_ENTERPRISE_EDITION", 1, 40_000, 400 * 1024**2),
            ("DEVELOPER_EDITION", 0, 10_000, 3 * 1024**3),
            ("FUTURE_EDITION", 0, None, None),
        ],
    )
    def test_depends_on_edition_and_units(self, edition, units, documents, text_bytes):
        found = capacity_of({"Edition": edition, "CapacityUnits": {"StorageCapacityUnits": units}})
        assert (found.documents_limit, found.text_bytes_limit) == (documents, text_bytes)

    @pytest.mark.parametrize(("documents", "text_bytes", "share"), [(50, 1, 0.5), (1, 80, 0.8), (200, 1, 2.0)])
    def test_the_share_is_the_larger_of_documents_and_text(self, documents, text_bytes, share):
        assert IndexCapacity("E", 0, documents, 100, text_bytes, 100).share == share

    def test_an_unknown_edition_has_no_share(self):
        found = capacity_of({"Edition": "FUTURE_EDITION"})
        assert (found.share, str(found)) == (None, "0 documents (FUTURE_EDITION, whose capacity is not known)")

    def test_an_empty_response_is_an_empty_enterprise_index(self):
        assert capacity_of({}).to_dict() == {
            "edition": "ENTERPRISE_EDITION", "units": 0, "documents": 0, "documents_limit": 100_000,
            "text_bytes": 0, "text_bytes_limit": 30 * 1024**3, "share": 0.0,
        }  # fmt: skip
