"""The record of a sync job matches the response, however incomplete; and which jobs are acceptable."""

import json
import logging
import time
from datetime import UTC, datetime, timedelta, timezone

import botocore.session
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_kendra import sync_job
from airflow_provider_kendra.sync_job import (
    ANY_END,
    DOCUMENT_COUNTS,
    TERMINAL_STATUSES,
    Acceptance,
    SyncJob,
    SyncJobStatus,
    check_status,
    describe_totals,
    sum_up,
)

INDEX_ID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
IDS = {"index_id": INDEX_ID, "data_source_id": "documents"}
START = datetime(2026, 1, 31, 6, tzinfo=UTC)
END = START + timedelta(minutes=7, milliseconds=250)
MODEL = botocore.session.get_session().get_service_model("kendra")
RESPONSE = MODEL.operation_model("ListDataSourceSyncJobs").output_shape
ITEM = RESPONSE.members["History"].member

FINISHED = ("SUCCEEDED", "FAILED", "INCOMPLETE", "ABORTED")
UNFINISHED = ("SYNCING", "SYNCING_INDEXING", "STOPPING")
COUNTS = ("documents_added", "documents_modified", "documents_deleted", "documents_failed", "documents_scanned")
# The table of the contract: what JSON types each key of the record may hold.
TEXT, TEXT_OR_NULL, INT_OR_NULL = (str,), (str, type(None)), (int, type(None))
RECORD_TYPES = {
    **dict.fromkeys(("index_id", "data_source_id", "execution_id", "status"), TEXT),
    **dict.fromkeys(("start_time", "end_time"), TEXT_OR_NULL),
    "duration_seconds": (float, type(None)),
    **dict.fromkeys(COUNTS, INT_OR_NULL),
    **dict.fromkeys(("error_code", "error_message", "data_source_error_code"), TEXT_OR_NULL),
}


def values(shape):
    """Whatever boto3 may give for a shape: any member absent, enums with values that came after the model."""
    if shape.type_name == "structure":
        return st.fixed_dictionaries({}, optional={name: values(each) for name, each in shape.members.items()})
    if shape.type_name == "list":
        return st.lists(values(shape.member), max_size=5)
    if shape.type_name == "timestamp":
        return st.datetimes(timezones=st.timezones() | st.just(UTC))
    assert shape.type_name == "string", f"the model has a new type here: {shape.type_name}"
    if "enum" in shape.metadata:
        return st.sampled_from(shape.metadata["enum"]) | st.text(min_size=1, max_size=30)
    pattern = shape.metadata.get("pattern")
    if pattern == r"^\P{C}*$":
        return st.text(st.characters(exclude_categories=("C",)), min_size=1)
    if pattern:
        return st.from_regex(pattern, fullmatch=True)
    return st.text(min_size=shape.metadata.get("min", 0))


def parsed(**members):
    return SyncJob.from_response(members, **IDS)


def job(status, **fields):
    return SyncJob(**IDS, execution_id="e", status=status, **fields)


class TestRecord:
    def test_a_full_response_becomes_the_record_of_the_contract(self):
        members = {
            "ExecutionId": "e-1",
            "Status": "INCOMPLETE",
            "StartTime": START,
            "EndTime": END,
            "ErrorCode": "InternalError",
            "ErrorMessage": "Some documents failed.",
            "DataSourceErrorCode": "S3-403",
            "Metrics": {
                "DocumentsAdded": "1",
                "DocumentsModified": "20",
                "DocumentsDeleted": "300",
                "DocumentsFailed": "0",
                "DocumentsScanned": "12345678901",
            },
        }
        assert parsed(**members).to_dict() == {
            "index_id": INDEX_ID,
            "data_source_id": "documents",
            "execution_id": "e-1",
            "status": "INCOMPLETE",
            "start_time": "2026-01-31T06:00:00+00:00",
            "end_time": "2026-01-31T06:07:00.250000+00:00",
            "duration_seconds": 420.25,
            "documents_added": 1,
            "documents_modified": 20,
            "documents_deleted": 300,
            "documents_failed": 0,
            "documents_scanned": 12345678901,
            "error_code": "InternalError",
            "error_message": "Some documents failed.",
            "data_source_error_code": "S3-403",
        }

    def test_an_empty_response_becomes_a_record_without_values_of_a_running_job(self):
        empty = parsed()
        known = {"index_id": INDEX_ID, "data_source_id": "documents", "execution_id": "", "status": ""}
        assert empty.to_dict() == dict.fromkeys(RECORD_TYPES) | known
        assert not empty.is_finished

    @given(values(RESPONSE))
    @example(
        {"History": [{"StartTime": datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "Status": "FAILED"}]}
    )
    @example({"History": [{"StartTime": datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))}]})
    @example({"History": [{"Metrics": {"DocumentsAdded": "9" * 5000}}]})
    @example({"History": [{"ErrorMessage": "\ud800"}]})
    def test_any_response_that_the_api_allows_becomes_json_of_the_types_of_the_contract(self, response):
        for item in response.get("History", []):
            record = SyncJob.from_response(item, **IDS).to_dict()
            assert set(record) == set(RECORD_TYPES)
            assert {key: value for key, value in record.items() if type(value) not in RECORD_TYPES[key]} == {}
            assert json.loads(json.dumps(record)) == record

    @given(values(ITEM))
    @example({"Metrics": {"DocumentsAdded": "9" * 5000}})
    def test_from_dict_of_the_record_is_the_same_job(self, item):
        original = SyncJob.from_response(item, **IDS)
        rebuilt = SyncJob.from_dict(json.loads(json.dumps(original.to_dict())))
        assert rebuilt == original
        assert rebuilt.to_dict() == original.to_dict()
        assert type(rebuilt.status) is type(original.status)

    @given(values(ITEM))
    @example({"Metrics": {"DocumentsAdded": "9" * 18, "DocumentsFailed": "9" * 19}})
    def test_the_record_contains_exactly_what_the_response_contains(self, item):
        record = SyncJob.from_response(item, **IDS).to_dict()
        assert record["execution_id"] == item.get("ExecutionId", "")
        assert record["status"] == item.get("Status", "")
        assert record["error_code"] == item.get("ErrorCode")
        assert record["error_message"] == item.get("ErrorMessage")
        assert record["data_source_error_code"] == item.get("DataSourceErrorCode")
        for name in COUNTS:
            said = item.get("Metrics", {}).get("".join(map(str.capitalize, name.split("_"))))
            # More digits than a 64-bit number has are no count.
            assert record[name] == (None if said is None or len(said) > 18 else int(said))

    def test_a_record_survives_unknown_and_missing_keys(self):
        record = job("SUCCEEDED", documents_added=3).to_dict()
        assert SyncJob.from_dict(record | {"from_a_later_version": 1}) == job("SUCCEEDED", documents_added=3)
        del record["documents_scanned"], record["duration_seconds"]
        assert SyncJob.from_dict(record) == job("SUCCEEDED", documents_added=3)

    def test_times_become_utc(self):
        record = parsed(StartTime=START.astimezone(timezone(timedelta(hours=5, minutes=30)))).to_dict()
        assert record["start_time"] == "2026-01-31T06:00:00+00:00"

    def test_times_become_utc_wherever_the_machine_is(self, monkeypatch):
        with monkeypatch.context() as patches:
            patches.setenv("TZ", "Asia/Kolkata")
            time.tzset()
            record = parsed(StartTime=START).to_dict()
        time.tzset()
        assert record["start_time"] == "2026-01-31T06:00:00+00:00"

    def test_a_time_without_an_equal_in_utc_is_treated_as_utc(self):
        first = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
        assert parsed(StartTime=first).start_time == datetime.min.replace(tzinfo=UTC)

    @pytest.mark.parametrize("said", ["", "many", "1.5", "-1"])
    def test_an_invalid_count_is_treated_as_not_reported(self, said):
        assert parsed(Metrics={"DocumentsAdded": said}).documents_added is None

    def test_texts_are_stored_up_to_a_length(self):
        long = parsed(
            ExecutionId="i" * 129,
            Status="S" * 129,
            ErrorCode="c" * 257,
            DataSourceErrorCode="d" * 257,
            ErrorMessage="m" * 2049,
        )
        assert (long.execution_id, long.status) == ("i" * 128, "S" * 128)
        assert (long.error_code, long.data_source_error_code) == ("c" * 256, "d" * 256)
        assert long.error_message == "m" * 2048

    def test_the_texts_of_a_record_are_read_up_to_a_length(self):
        record = job("S" * 200, error_message="m" * 5000).to_dict()
        rebuilt = SyncJob.from_dict(record)
        assert (rebuilt.status, rebuilt.error_message) == ("S" * 128, "m" * 2048)

    @pytest.mark.parametrize("largest", [10**18 - 1, 1 - 10**18])
    def test_a_count_of_a_record_has_at_most_18_digits(self, largest):
        record = job("SUCCEEDED").to_dict()
        assert SyncJob.from_dict(record | {"documents_added": largest}).documents_added == largest
        with pytest.raises(ValueError, match=r"documents_added of the record of a sync job is -?1000"):
            SyncJob.from_dict(record | {"documents_added": largest + (1 if largest > 0 else -1)})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("documents_added", True),
            ("documents_added", "3"),
            ("documents_failed", 1.5),
            ("start_time", "noon"),
            ("end_time", 3),
            ("end_time", "2026-01-31T06:00:00"),
            ("status", None),
            ("execution_id", None),
            ("index_id", 3),
            ("error_code", 3),
            ("error_message", ["It broke."]),
        ],
    )
    def test_a_record_with_a_value_of_the_wrong_type_is_rejected_with_the_name_and_the_value(self, name, value):
        with pytest.raises(ValueError, match="of the record") as refusal:
            SyncJob.from_dict(job("SUCCEEDED").to_dict() | {name: value})
        assert str(refusal.value) == f"{name} of the record of a sync job is {value!r}"

    def test_what_is_no_record_is_rejected_with_its_type(self):
        with pytest.raises(ValueError, match=r"^the record of a sync job is of type list$"):
            SyncJob.from_dict([job("SUCCEEDED").to_dict()])

    def test_the_record_cannot_be_changed(self):
        with pytest.raises(AttributeError):
            job("SYNCING").status = "SUCCEEDED"


class TestStatus:
    @pytest.fixture(autouse=True)
    def _no_status_has_been_warned_of(self):
        sync_job._parse_status.cache_clear()

    def test_the_statuses_are_those_of_the_api(self):
        assert sorted(SyncJobStatus) == sorted(ITEM.members["Status"].metadata["enum"])
        assert sorted(SyncJobStatus) == sorted(FINISHED + UNFINISHED)

    @pytest.mark.parametrize("status", FINISHED + UNFINISHED)
    def test_only_the_status_decides_whether_a_job_has_finished(self, status):
        is_finished = status in FINISHED
        assert SyncJobStatus(status).is_terminal is is_finished
        assert (status in TERMINAL_STATUSES) is is_finished
        for members in ({}, {"EndTime": END}, {"StartTime": START, "EndTime": END, "ErrorCode": "InternalError"}):
            assert parsed(Status=status, **members).is_finished is is_finished

    @pytest.mark.parametrize("status", [*UNFINISHED, "ERROR", None])
    def test_the_end_time_of_a_running_job_is_ignored(self, status):
        running = parsed(Status=status, StartTime=START, EndTime=END)
        assert (running.end_time, running.duration_seconds) == (None, None)

    @pytest.mark.parametrize("status", FINISHED)
    def test_a_finished_job_has_an_end_and_a_duration(self, status):
        finished = parsed(Status=status, StartTime=START, EndTime=END)
        assert (finished.end_time, finished.duration_seconds) == (END, 420.25)

    @pytest.mark.parametrize("members", [{"StartTime": START}, {"EndTime": END}])
    def test_without_both_times_there_is_no_duration(self, members):
        assert parsed(Status="SUCCEEDED", **members).duration_seconds is None

    @pytest.mark.parametrize("status", [*SyncJobStatus, "SYNCING"])
    def test_a_status_to_filter_by_can_be_text_or_enum(self, status):
        assert check_status("status", status) == status
        assert type(check_status("status", status)) is str

    @pytest.mark.parametrize("status", ["PAUSED", "", None, ["FAILED"]])
    def test_a_status_to_filter_by_that_kendra_does_not_have_is_rejected_with_those_it_has(self, status):
        with pytest.raises(ValueError, match="must be one of") as refusal:
            check_status("--status", status)
        assert str(refusal.value) == (
            f"--status is {status!r}, but must be one of FAILED, SUCCEEDED, SYNCING, INCOMPLETE, STOPPING, ABORTED, "
            "SYNCING_INDEXING."
        )

    def test_an_unknown_status_is_kept_as_sent_and_counts_as_running(self):
        unknown = parsed(Status="PAUSED")
        assert unknown.status == unknown.to_dict()["status"] == "PAUSED"
        assert not unknown.is_finished

    def test_an_unknown_status_causes_one_warning(self, caplog):
        with caplog.at_level(logging.INFO, logger="airflow_provider_kendra"):
            for _ in range(3):
                SyncJob.from_dict(parsed(Status="HIBERNATING").to_dict())
        assert [(record.levelname, record.message) for record in caplog.records] == [
            ("WARNING", 'Unknown status "HIBERNATING" of a Kendra sync job; the job counts as running.')
        ]

    def test_an_unknown_status_cannot_forge_lines_of_a_log(self, caplog):
        with caplog.at_level(logging.INFO, logger="airflow_provider_kendra"):
            parsed(Status="FORGED\nERROR all is lost")
        assert len(caplog.messages[0].splitlines()) == 1

    def test_a_known_status_causes_no_warning(self, caplog):
        for status in SyncJobStatus:
            parsed(Status=str(status))
        assert caplog.records == []


class TestMessages:
    def test_progress_contains_the_status_and_the_counts_that_are_not_0(self):
        scanned = job("SYNCING", documents_scanned=7000, documents_added=2, documents_failed=0)
        assert scanned.progress == "SYNCING (7,000 scanned, 2 added)"

    def test_progress_says_that_nothing_is_reported(self):
        assert parsed().progress == "without a status (no documents yet)"

    def test_a_running_job_says_since_when(self):
        began = job("SYNCING", start_time=datetime(2026, 1, 1, 12, 0, 1, 500_000, tzinfo=UTC))
        assert began.running == "SYNCING since 2026-01-01 12:00:01Z (no documents yet)"

    def test_the_ids_name_job_data_source_and_index(self):
        assert job("SYNCING").ids == f"(sync job e, data source documents, index {INDEX_ID})"
        assert "without an id" in parsed().ids

    def test_the_title_names_job_data_source_and_index(self):
        assert job("SYNCING").title == f"Sync job e of data source documents (index {INDEX_ID})"
        assert "without an id" in parsed().title

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({}, ""),
            ({"error_message": "It broke."}, "It broke."),
            (
                {"error_message": "It broke.", "error_code": "InternalError", "data_source_error_code": "S3-403"},
                "InternalError: S3-403: It broke.",
            ),
        ],
    )
    def test_the_error_quotes_the_service(self, fields, said):
        assert job("FAILED", **fields).reason == said
        assert job("FAILED", **fields).error == (f" Kendra says: {said}" if said else "")


ACCEPTED = True
REFUSED = False


class TestAcceptance:
    @pytest.mark.parametrize(
        ("status", "failed", "statuses", "limit", "expected"),
        [
            ("SUCCEEDED", None, None, None, ACCEPTED),
            ("SUCCEEDED", 5, None, None, ACCEPTED),
            ("INCOMPLETE", 0, None, None, REFUSED),
            ("FAILED", None, None, None, REFUSED),
            ("ABORTED", None, None, None, REFUSED),
            # A number of failed documents is tolerated.
            ("SUCCEEDED", None, None, 0, ACCEPTED),
            ("SUCCEEDED", 0, None, 0, ACCEPTED),
            ("SUCCEEDED", 1, None, 0, REFUSED),
            ("INCOMPLETE", 3, None, 3, ACCEPTED),
            ("INCOMPLETE", 4, None, 3, REFUSED),
            ("INCOMPLETE", None, None, 3, REFUSED),
            ("FAILED", 0, None, 3, REFUSED),
            ("ABORTED", 0, None, 3, REFUSED),
            # Statuses are named.
            ("INCOMPLETE", None, ["INCOMPLETE"], None, ACCEPTED),
            ("SUCCEEDED", None, ["INCOMPLETE"], None, REFUSED),
            ("FAILED", None, ["FAILED"], None, ACCEPTED),
            ("ABORTED", None, ["SUCCEEDED", "ABORTED"], None, ACCEPTED),
            ("FAILED", None, ["SUCCEEDED", "ABORTED"], None, REFUSED),
            ("SUCCEEDED", None, list(FINISHED), None, ACCEPTED),
            # Both.
            ("FAILED", None, ["FAILED"], 3, REFUSED),
            ("FAILED", 3, ["FAILED"], 3, ACCEPTED),
            ("FAILED", 4, ["FAILED"], 3, REFUSED),
            ("ABORTED", 3, ["ABORTED"], 3, ACCEPTED),
            ("INCOMPLETE", 3, ["ABORTED"], 3, ACCEPTED),
            ("SUCCEEDED", 0, ["ABORTED"], 3, REFUSED),
        ],
    )
    def test_a_finished_job_is_judged_as_the_contract_says(self, status, failed, statuses, limit, expected):
        acceptance = Acceptance.of(statuses or ["SUCCEEDED"], limit)
        assert (acceptance.objection(job(status, documents_failed=failed)) is None) is expected
        assert acceptance.accepts(job(status, documents_failed=failed)) is expected

    @given(
        status=st.sampled_from(FINISHED),
        failed=st.none() | st.integers(0, 4),
        statuses=st.sets(st.sampled_from(FINISHED), min_size=1),
        limit=st.none() | st.integers(0, 4),
    )
    def test_every_finished_job_is_judged_as_the_contract_says(self, status, failed, statuses, limit):
        status_is_accepted = status in statuses or (status == "INCOMPLETE" and limit is not None)
        few_enough_failed = (
            limit is None or (failed is None and status == "SUCCEEDED") or (failed is not None and failed <= limit)
        )
        objection = Acceptance.of(statuses, limit).objection(job(status, documents_failed=failed))
        assert (objection is None) is (status_is_accepted and few_enough_failed)

    @pytest.mark.parametrize(
        ("status", "failed", "limit", "hint"),
        [
            ("INCOMPLETE", 7, None, "max_documents_failed=7 or more would have accepted it"),
            ("INCOMPLETE", 0, None, "no documents; max_documents_failed=0 or more would have accepted it"),
            ("INCOMPLETE", None, None, "Only SUCCEEDED is accepted"),
            ("FAILED", None, None, "Only SUCCEEDED is accepted"),
            ("INCOMPLETE", 7, 3, ": 7 documents failed, more than max_documents_failed=3"),
            ("INCOMPLETE", None, 3, "without a count of failed documents, so max_documents_failed=3 is not met"),
        ],
    )
    def test_an_objection_names_the_status_and_what_would_have_accepted_the_job(self, status, failed, limit, hint):
        objection = Acceptance(max_documents_failed=limit).objection(job(status, documents_failed=failed))
        assert objection.startswith(f"Sync {status}")
        assert hint in objection

    @given(failed=st.integers(0, 10**6), limit=st.none() | st.integers(0, 10**6))
    def test_the_max_documents_failed_that_an_objection_names_is_enough(self, failed, limit):
        incomplete = job("INCOMPLETE", documents_failed=failed)
        if Acceptance(max_documents_failed=limit).objection(incomplete):
            assert Acceptance(max_documents_failed=failed).objection(incomplete) is None

    def test_statuses_can_be_text_or_enum_in_any_order(self):
        assert Acceptance.of(("FAILED", SyncJobStatus.SUCCEEDED)) == Acceptance.of(
            [SyncJobStatus.FAILED, "SUCCEEDED"] * 2
        )

    @pytest.mark.parametrize(
        ("statuses", "named"),
        [
            ([], "none"),
            (["SYNCING"], "'SYNCING'"),
            (["SUCCEEDED", "DONE"], "'DONE', 'SUCCEEDED'"),
            (["succeeded"], "'succeeded'"),
        ],
    )
    def test_statuses_that_no_finished_job_has_are_refused_and_named(self, statuses, named):
        with pytest.raises(ValueError, match="accepted statuses") as refusal:
            Acceptance.of(statuses)
        expected = f"The accepted statuses must be some of ABORTED, FAILED, INCOMPLETE, SUCCEEDED, got {named}."
        assert str(refusal.value) == expected

    def test_an_objection_names_all_statuses_that_are_accepted(self):
        objection = Acceptance.of(["SUCCEEDED", "ABORTED"], 3).objection(job("FAILED", error_message="It broke."))
        assert objection == "Sync FAILED: It broke. Only ABORTED, INCOMPLETE and SUCCEEDED are accepted"

    def test_a_text_instead_of_a_list_of_statuses_is_rejected(self):
        with pytest.raises(ValueError, match="must be a list or a tuple, got 'SUCCEEDED'"):
            Acceptance.of("SUCCEEDED")

    @pytest.mark.parametrize("limit", [-1, 1.5, "3", True])
    def test_an_invalid_max_documents_failed_is_rejected(self, limit):
        with pytest.raises(ValueError, match="max_documents_failed must be a whole number of 0 or more"):
            Acceptance(max_documents_failed=limit)

    @pytest.mark.parametrize("status", FINISHED)
    def test_any_end_accepts_every_terminal_status(self, status):
        assert ANY_END.objection(job(status)) is None


class TestEnd:
    @pytest.mark.parametrize(
        ("status", "fields", "end"),
        [
            ("FAILED", {"error_code": "InternalError", "error_message": "No role."}, "InternalError: No role"),
            ("INCOMPLETE", {"documents_failed": 30, "documents_scanned": 1000}, "30 of 1,000 documents failed"),
            ("INCOMPLETE", {"documents_failed": 1, "documents_added": 1}, "1 of 2 documents failed"),
            ("INCOMPLETE", {"documents_failed": 1, "documents_scanned": 1}, "1 of 1 document failed"),
            ("INCOMPLETE", {"documents_failed": 30}, "30 documents failed"),
            ("INCOMPLETE", {"documents_failed": 2, "documents_scanned": 1}, "2 documents failed"),
            ("SUCCEEDED", {"documents_scanned": 3, "documents_added": 3, "documents_failed": 0}, "3 scanned, 3 added"),
            ("SUCCEEDED", {"documents_scanned": 0}, "no documents"),
            ("ABORTED", {}, "no documents reported"),
        ],
    )
    def test_a_job_that_has_finished_says_its_status_and_then_why(self, status, fields, end):
        assert job(status, **fields).end == f"Sync {status}: {end}"

    def test_a_job_that_failed_without_a_reason_says_so_and_where_its_log_is(self):
        assert job("FAILED", documents_failed=2).end == (
            f"Sync FAILED: Kendra gave no reason; see log group /aws/kendra/{INDEX_ID}, "
            "stream documents/YYYY-MM-DD-HH/e"
        )

    def test_a_job_that_did_not_fail_quotes_the_error_of_kendra_after_its_end(self):
        assert job("INCOMPLETE", error_message="It broke.").reason_suffix == ". Kendra says: It broke"
        assert job("FAILED", error_message="It broke.").reason_suffix == job("SUCCEEDED").reason_suffix == ""

    @pytest.mark.parametrize(("status", "named"), [("SYNCING", "SYNCING"), ("", "not reported"), ("A\nB", r"A\nB")])
    def test_a_job_that_is_over_but_listed_as_running_has_been_superseded(self, status, named):
        assert job(status).superseded == (
            f"a newer sync has started, so this one is not running, though its status is still {named}"
        )


class TestCounts:
    def test_each_count_has_its_name(self):
        counts = dict(zip(DOCUMENT_COUNTS, range(5), strict=True))
        assert job("SYNCING", **{f"documents_{name}": n for name, n in counts.items()}).document_counts == counts

    def test_the_documents_of_a_job_are_those_scanned(self):
        assert job("SUCCEEDED", documents_scanned=7, documents_added=3).documents_processed == 7

    def test_the_documents_of_a_job_are_all_other_counts_if_scanned_is_not_reported(self):
        counts = {"documents_added": 1, "documents_modified": 2, "documents_deleted": 4, "documents_failed": 8}
        assert job("SUCCEEDED", **counts).documents_processed == 15
        assert job("SUCCEEDED").documents_processed == 0

    @pytest.mark.parametrize("status", [*FINISHED, *UNFINISHED, "ERROR"])
    def test_only_a_success_whole_or_in_part_has_updated_the_index(self, status):
        assert job(status).has_updated_index is (status in ("SUCCEEDED", "INCOMPLETE"))

    def test_totals_include_unknown_statuses(self):
        totals = sum_up([job("ERROR"), job("FAILED", documents_failed=2), job("FAILED", documents_failed=3)])
        assert (totals["jobs"], totals["documents_failed"], totals["documents_added"]) == (3, 5, 0)
        assert totals["statuses"] == {**dict.fromkeys(SyncJobStatus, 0), "FAILED": 2, "ERROR": 1}
        json.dumps(totals)
        assert describe_totals(totals) == "3 sync jobs: 2 FAILED, 1 ERROR; documents: 5 failed"

    def test_totals_name_every_count_and_cut_a_status_as_long_as_no_other(self):
        totals = sum_up([job("SUCCEEDED", documents_added=1_000, documents_failed=5)])
        assert describe_totals(totals) == "1 sync job: 1 SUCCEEDED; documents: 1,000 added, 5 failed"
        assert describe_totals(totals | {"statuses": {"S" * 129: 1}}).startswith(f"1 sync job: 1 {'S' * 127}…; ")

    def test_totals_of_nothing_are_described(self):
        assert describe_totals(sum_up([])) == "0 sync jobs"
