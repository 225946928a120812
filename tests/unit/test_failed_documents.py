"""What tasks and the hook say about documents that failed, with the logs of the local Kendra."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock, patch

import pytest
from airflow.providers.common.compat.sdk import BaseOperator, TaskDeferred
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from airflow_provider_kendra._failed_documents import insert_details
from airflow_provider_kendra._text import LONGEST_MESSAGE
from airflow_provider_kendra.documents import CAPACITY
from airflow_provider_kendra.exceptions import (
    KendraDocumentsError,
    KendraRequestError,
    KendraSyncJobFailedError,
    KendraSyncJobMetricsError,
    KendraSyncJobNotFoundError,
    KendraSyncJobRejectedError,
)
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import KendraStartSyncJobOperator, KendraSyncJobMetricsOperator
from airflow_provider_kendra.outcomes import Failed, Failure, Satisfied
from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor
from airflow_provider_kendra.sync_job import SyncJob
from tests.conftest import DataSource, counts, listed

PERSONAL = "jane.roe@personal.example"


class TaskInstance:
    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = json.loads(json.dumps(value))


@pytest.fixture(autouse=True)
def _whoever_calls_execute_is_the_task_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{BaseOperator.__module__}.ExecutorSafeguard.test_mode", True)


@pytest.fixture
def ti() -> TaskInstance:
    return TaskInstance()


@pytest.fixture
def hook(local_kendra: Any) -> KendraSyncJobsHook:
    return KendraSyncJobsHook()


class Nights:
    """A data source with documents, synced once a night."""

    def __init__(self, source: DataSource) -> None:
        self.source = source
        self.kendra = source.kendra
        self.kendra.set_sync_duration(0)
        self.kendra.set_clock(datetime.now(UTC) - timedelta(days=10))
        self.versions: dict[str, int] = {}

    def write(self, *names: str) -> None:
        for name in names:
            self.versions[name] = self.versions.get(name, 0) + 1
        self.kendra.set_documents(
            *self.source.ids,
            [
                {"id": name, "title": name, "text": f"version {version}", "access": [{"Name": PERSONAL, "Type": "USER",
                 "Access": "ALLOW"}]}
                for name, version in self.versions.items()
            ],
        )  # fmt: skip

    def remove(self, name: str) -> None:
        del self.versions[name]
        self.write()

    def sync(self, *failing: str, reason: str = "Access Denied", stage: str = "crawl") -> str:
        self.kendra.advance_clock(86_400)
        self.kendra.fail_documents(*self.source.ids, list(failing), times=1, reason=reason, stage=stage)
        execution_id: str = self.source.start()
        self.kendra.advance_clock(60)
        return execution_id


@pytest.fixture
def nights(data_source: DataSource) -> Nights:
    return Nights(data_source)


def recorded_calls() -> Any:
    """Record the calls of AWS."""
    return patch.object(BaseClient, "_make_api_call", autospec=True, side_effect=BaseClient._make_api_call)


class TestHook:
    def test_names_the_documents_with_stage_and_reason(self, nights, hook):
        nights.write("a", "b", "c")
        execution_id = nights.sync("a", "b")
        found = hook.get_failed_documents(*nights.source.ids, execution_id)
        assert [(each.document_id, each.stage, each.reason) for each in found.documents] == [
            ("a", "crawl", "Access Denied"), ("b", "crawl", "Access Denied"),
        ]  # fmt: skip
        assert (found.found, found.expected, found.is_complete, found.source) == (2, 2, True, "report")
        assert found.documents[0].execution_id == execution_id

    def test_a_sync_without_failures_costs_no_call_of_the_logs(self, nights, hook):
        nights.write("a")
        execution_id = nights.sync()
        with recorded_calls() as calls:
            found = hook.get_failed_documents(*nights.source.ids, execution_id)
        assert (found.found, found.expected, found.is_complete, found.note) == (0, 0, True, None)
        assert [call.args[1] for call in calls.call_args_list] == ["ListDataSourceSyncJobs"]

    @pytest.mark.parametrize(("failing", "calls_of_logs"), [(1, 1), (10, 1), (200, 1), (10_000, 2)])
    def test_one_call_reads_as_many_failures_as_fit_into_a_page(
        self, nights, hook, failing, calls_of_logs, monkeypatch
    ):
        for limit in ("_LOGS_CALL_SECONDS", "FAILED_DOCUMENTS_SECONDS"):  # a busy machine may need longer
            monkeypatch.setattr(f"airflow_provider_kendra.hooks.kendra.{limit}", 600.0)
        monkeypatch.setattr("airflow_provider_kendra.hooks.kendra._LOGS", Config(read_timeout=600))
        names = [f"d{number}" for number in range(failing)]
        nights.write(*names)
        execution_id = nights.sync(*names)
        with recorded_calls() as calls:
            found = hook.get_failed_documents(*nights.source.ids, execution_id)
        assert (found.found, len(found.documents), found.is_complete) == (failing, min(failing, 10), True)
        logs = ["FilterLogEvents"] * calls_of_logs  # moto's pages hold 10,000 events
        assert [call.args[1] for call in calls.call_args_list] == ["ListDataSourceSyncJobs", *logs]

    def test_a_missing_log_group_is_a_note(self, nights, hook):
        nights.write("a")
        execution_id = nights.sync("a")
        group = f"/aws/kendra/{nights.source.index_id}"
        nights.kendra.client("logs").delete_log_group(logGroupName=group)
        found = hook.get_failed_documents(*nights.source.ids, execution_id)
        assert (found.found, found.is_complete) == (0, False)
        unknown = "so nothing is known about individual documents."
        assert found.note == f"Kendra's log group {group} does not exist, {unknown}"

    def test_a_late_report_is_a_note(self, nights, hook):
        nights.kendra.set_log_delay(3600)
        nights.write("a")
        execution_id = nights.sync("a")
        found = hook.get_failed_documents(*nights.source.ids, execution_id)
        assert (found.found, found.expected, found.is_complete) == (0, 1, False)
        assert found.note.startswith("Kendra's logs do not name the document that failed. The log events may be late")

    def test_an_unknown_sync_job_is_an_error(self, nights, hook):
        with pytest.raises(KendraSyncJobNotFoundError):
            hook.get_failed_documents(*nights.source.ids, "unknown")

    @pytest.mark.parametrize(
        "endpoint",
        ["https://vpce-1.kendra.us-east-1.vpce.amazonaws.com", "https://kendra-fips.us-east-1.amazonaws.com",
         "https://kendra.us-east-1.api.aws"],
    )  # fmt: skip
    def test_an_endpoint_of_kendra_alone_is_not_used_for_the_logs(self, monkeypatch, endpoint):
        extra = {"region_name": "us-east-1", "endpoint_url": endpoint}
        connection = {"conn_type": "aws", "login": "x", "password": "y", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        assert KendraSyncJobsHook()._logs_client.meta.endpoint_url == "https://logs.us-east-1.amazonaws.com"
        assert KendraSyncJobsHook().conn.meta.endpoint_url == endpoint

    @pytest.mark.parametrize("limit", [-1, 1.5, "2", True, None])
    def test_the_limit_is_a_whole_number(self, nights, hook, limit):
        with pytest.raises(ValueError, match=r"limit is .* but must be a whole number of 0 or more"):
            hook.get_missing_documents(*nights.source.ids, limit=limit)

    @pytest.mark.parametrize("limit", [-1, None])
    def test_the_limit_is_checked_before_any_call(self, nights, hook, limit):
        with recorded_calls() as calls, pytest.raises(ValueError, match="limit is"):
            hook.get_failed_documents(*nights.source.ids, "e", limit=limit)
        assert calls.call_count == 0

    @pytest.mark.parametrize("lookback", [timedelta(), timedelta(days=-1), 30, None])
    def test_the_look_back_is_a_positive_timedelta(self, nights, hook, lookback):
        with pytest.raises(ValueError, match=r"lookback is .* but must be a positive timedelta"):
            hook.get_missing_documents(*nights.source.ids, lookback=lookback)


class TestMissingDocuments:
    def test_a_green_sync_does_not_hide_what_failed_the_night_before(self, nights, hook):
        nights.write("a", "b", "c", "d")
        nights.sync("a", "b", "c")
        second = nights.sync()
        assert hook.get_sync_job(*nights.source.ids, second).status == "SUCCEEDED"
        assert hook.get_sync_job(*nights.source.ids, second).documents_failed == 0
        found = hook.get_missing_documents(*nights.source.ids)
        assert sorted(each.document_id for each in found.documents) == ["a", "b", "c"]
        assert (found.expected, found.is_complete) == (None, True)

    def test_what_is_changed_or_removed_is_no_longer_missing(self, nights, hook):
        nights.write("a", "b", "c")
        nights.sync("a", "b", "c")
        nights.write("a")
        nights.remove("b")
        nights.sync()
        assert [each.document_id for each in hook.get_missing_documents(*nights.source.ids).documents] == ["c"]


def start(nights: Nights, **arguments: Any) -> Any:
    return KendraStartSyncJobOperator(task_id="start", **nights.source.as_kwargs, **arguments)


def wait(nights: Nights, execution_id: str, **arguments: Any) -> Any:
    return KendraSyncJobSensor(task_id="wait", **nights.source.as_kwargs, execution_id=execution_id, **arguments)


def gate(nights: Nights, **arguments: Any) -> Any:
    return KendraSyncJobMetricsOperator(task_id="gate", **nights.source.as_kwargs, **arguments)


class TestTasks:
    def test_a_failed_start_names_documents_and_totals_and_pushes_them(self, nights, ti):
        nights.write("a", "b")
        nights.kendra.fail_documents(*nights.source.ids, ["a", "b"], reason="Access Denied")
        with pytest.raises(KendraSyncJobFailedError) as caught:
            start(nights).execute({"ti": ti})
        assert ". Failed: a (crawl: Access Denied); b (crawl: Access Denied)." in str(caught.value)
        assert "By reason: 2 × Access Denied (crawl) (sync job" in str(caught.value)
        assert [each["document_id"] for each in ti.pushed["failed_documents"]["documents"]] == ["a", "b"]

    def test_an_accepted_job_pushes_them_too_and_logs_them(self, nights, ti):
        nights.write("a", "b")
        nights.kendra.fail_documents(*nights.source.ids, ["a"], reason="No access")
        task = start(nights, max_documents_failed=1)
        with patch.object(type(task), "log", Mock()) as log:
            record = task.execute({"ti": ti})
        assert record["status"] == "INCOMPLETE"
        assert ti.pushed["failed_documents"]["found"] == 1
        lines = [call.args[0] % call.args[1:] for call in log.warning.call_args_list]
        assert "The sync is accepted, though not complete. 1 document failed: a (crawl: No access)." in lines
        results = [call.args[0] % call.args[1:] for call in log.info.call_args_list]
        assert [line.partition(" (")[0] for line in results if line.startswith("Sync ")] == [
            "Sync INCOMPLETE: 1 of 2 documents failed, up to 1 accepted"
        ]

    def test_when_nothing_failed_there_is_no_such_xcom(self, nights, ti):
        nights.write("a")
        start(nights).execute({"ti": ti})
        assert "failed_documents" not in ti.pushed

    def test_it_can_be_turned_off(self, nights, ti):
        nights.write("a")
        nights.kendra.fail_documents(*nights.source.ids, ["a"])
        with pytest.raises(KendraSyncJobFailedError) as caught, recorded_calls() as calls:
            start(nights, list_failed_documents=0).execute({"ti": ti})
        assert "FilterLogEvents" not in [call.args[1] for call in calls.call_args_list]
        assert "Access Denied" not in str(caught.value)
        assert "failed_documents" not in ti.pushed

    def test_the_number_of_named_documents_can_be_chosen(self, nights, ti):
        nights.write(*"abcdef")
        execution_id = nights.sync(*"abcdef")
        with pytest.raises(KendraSyncJobRejectedError, match=r" Failed: a [^;]*; b [^;]* and 4 more"):
            wait(nights, execution_id, list_failed_documents=2).execute({"ti": ti})
        assert len(ti.pushed["failed_documents"]["documents"]) == 2

    @pytest.mark.parametrize("value", [-1, 2.5, "3", None, True, 1001])
    def test_a_number_that_makes_no_sense_is_refused_when_the_dag_is_parsed(self, nights, value):
        with pytest.raises(ValueError, match=r"start: list_failed_documents is .* a whole number from 0 to 1,000\."):
            start(nights, list_failed_documents=value)

    @pytest.mark.parametrize("is_pushed", [True, False])
    def test_a_message_names_as_many_documents_as_fit_and_the_xcom_has_all(self, nights, ti, is_pushed):
        names = [f"s3://bucket/folder/{number:04}.pdf" for number in range(1500)]
        nights.write(*names)
        execution_id = nights.sync(*names)
        task = wait(nights, execution_id, list_failed_documents=1000, do_xcom_push=is_pushed)
        with pytest.raises(KendraSyncJobRejectedError) as caught:
            task.execute({"ti": ti})
        message = str(caught.value)
        assert 3000 < len(message) <= 4000
        assert ". Failed: s3://bucket/folder/0000.pdf (crawl: Access Denied); s3://" in message
        more = r" \(the XCom failed_documents lists 1,000\)" if is_pushed else ""
        assert re.search(rf" and 1,4\d\d more{more}\. By reason: 1,500 × Access Denied \(crawl\) \(sync job ", message)
        assert is_pushed is ("failed_documents" in ti.pushed)
        if is_pushed:
            assert len(ti.pushed["failed_documents"]["documents"]) == 1000
            assert len(json.dumps(ti.pushed["failed_documents"])) < 300_000

    def test_a_gate_has_room_for_missing_and_failed_documents(self, nights, ti):
        names = [f"s3://bucket/{'long/' * 40}{number:04}.pdf" for number in range(30)]
        nights.write(*names)
        nights.sync(*names, reason="Access Denied " * 10)
        with pytest.raises(KendraSyncJobMetricsError) as caught:
            gate(nights, max_documents_failed=0, max_missing_documents=0, list_failed_documents=30).execute({"ti": ti})
        message = str(caught.value)
        assert len(message) <= 4000
        assert re.search(r"\. Missing: s3.* and \d\d more\. By reason: 30 × Access", message)
        assert re.search(r"\. Failed: s3.* and \d\d more \(the XCom .*\)\. By reason: 30 × .*\)\.$", message)

    def test_a_deferred_sensor_reads_them_on_the_worker_after_the_event(self, nights, ti):
        nights.write("a")
        execution_id = nights.sync("a")
        sensor = wait(nights, execution_id, deferrable=True)
        with pytest.raises(TaskDeferred), recorded_calls() as calls:
            sensor.execute({"ti": ti})
        assert calls.call_args_list == []
        job = KendraSyncJobsHook().get_sync_job(*nights.source.ids, execution_id)
        event = Failed(Failure.NOT_ACCEPTABLE, "It ended INCOMPLETE.", job).to_event()
        with pytest.raises(KendraSyncJobRejectedError, match=r"^It ended INCOMPLETE\. 1 document failed: a \(crawl"):
            sensor.execute_complete({"ti": ti}, event)
        assert ti.pushed["failed_documents"]["found"] == 1

    def test_a_deferred_start_that_is_accepted_pushes_them(self, nights, ti):
        nights.write("a")
        execution_id = nights.sync("a")
        job = KendraSyncJobsHook().get_sync_job(*nights.source.ids, execution_id)
        task = start(nights, max_documents_failed=1)
        assert task.execute_complete({"ti": ti}, Satisfied(job).to_event())["status"] == "INCOMPLETE"
        assert ti.pushed["failed_documents"]["found"] == 1

    @pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError("no memory"), KeyError("x")])
    def test_an_error_while_reading_changes_no_outcome(self, nights, ti, error):
        nights.write("a")
        execution_id = nights.sync("a")
        with patch.object(KendraSyncJobsHook, "_describe_failed_documents", side_effect=error):
            record = wait(nights, execution_id, max_documents_failed=1).execute({"ti": ti})
        assert record["status"] == "INCOMPLETE"
        assert ti.pushed["failed_documents"]["note"].startswith("The documents that failed could not be read: ")

    def test_a_sync_that_failed_before_any_document_says_nothing_about_documents(self, nights, ti):
        nights.source.show([listed("e", "FAILED", ErrorMessage="No role.", Metrics=counts(failed=0))])
        with pytest.raises(KendraSyncJobRejectedError) as caught:
            wait(nights, "e").execute({"ti": ti})
        assert "log group" not in str(caught.value)

    def test_personal_data_of_the_logs_is_shown_nowhere(self, nights, ti, caplog, capsys):
        from airflow_provider_kendra.testing.registry import register

        register()
        from moto.kendra.sync_logs import PERSONAL_DATA

        nights.write("a")
        execution_id = nights.sync("a")
        with caplog.at_level("DEBUG"), pytest.raises(KendraSyncJobRejectedError) as caught:
            wait(nights, execution_id).execute({"ti": ti})
        with pytest.raises(KendraSyncJobMetricsError) as gated:
            gate(nights, max_missing_documents=0).execute({"ti": ti})
        shown = "".join([str(caught.value), str(gated.value), json.dumps(ti.pushed), caplog.text, *capsys.readouterr()])
        assert [each for each in (*PERSONAL_DATA, PERSONAL, "123456789012") if each in shown] == []


class TestGates:
    def test_three_nights_fail_hide_and_mend_documents(self, nights, ti):
        nights.write("a", "b", "c", "d")
        nights.sync("a", "b", "c")
        nights.sync()
        with pytest.raises(KendraSyncJobMetricsError) as caught:
            gate(nights, max_missing_documents=0).execute({"ti": ti})
        violation = "3 documents are missing after failing in an earlier sync (max_missing_documents=0)"
        assert caught.value.violations == [violation]
        assert str(caught.value)[:60] == "Thresholds not met: 3 documents are missing after failing in"
        named = "; ".join(f"{name} (crawl: Access Denied)" for name in ("a", "b", "c"))
        assert f"(max_missing_documents=0). Missing: {named}. By reason: 3 × " in str(caught.value)

        nights.write("a", "b", "c")
        nights.sync()
        assert gate(nights, max_missing_documents=0).execute({"ti": ti})["status"] == "SUCCEEDED"

    def test_how_many_documents_failed_or_are_missing_is_said_once(self, nights, ti):
        nights.write("a", "b", "c", "d")
        nights.sync("a", "b", "c")
        nights.write("d")
        nights.sync("d")
        with pytest.raises(KendraSyncJobMetricsError) as caught:
            gate(nights, max_documents_failed=0, max_missing_documents=0).execute({"ti": ti})
        message = str(caught.value)
        assert message.startswith(
            "Thresholds not met: 1 document failed (max_documents_failed=0); 4 documents are missing after failing in "
            "an earlier sync (max_missing_documents=0). Missing: d (crawl: Access Denied); "
        )
        assert ". Failed: d (crawl: Access Denied) (sync job" in message
        assert (message.count("document failed"), message.count("documents are missing")) == (1, 1)

    def test_what_no_threshold_has_counted_is_counted_with_the_names(self, nights, ti):
        nights.write("a", "b")
        nights.sync("a", "b")
        with pytest.raises(KendraSyncJobMetricsError) as caught:
            gate(nights, max_missing_documents=2, min_documents_scanned=9).execute({"ti": ti})
        assert ". 2 documents are missing: a (crawl: Access Denied); b" in str(caught.value)
        assert ". 2 documents failed: a (crawl: Access Denied); b" in str(caught.value)

    def test_as_many_as_allowed_pass(self, nights, ti):
        nights.write("a", "b")
        nights.sync("a")
        nights.sync()
        task = gate(nights, max_missing_documents=1)
        with patch.object(type(task), "log", Mock()) as log:
            task.execute({"ti": ti})
        lines = [call.args[0] % call.args[1:] for call in log.warning.call_args_list]
        assert "1 document is missing: a (crawl: Access Denied)." in lines

    def test_what_cannot_be_found_out_does_not_pass(self, nights, ti):
        nights.write("a")
        nights.sync()
        group = f"/aws/kendra/{nights.source.index_id}"
        nights.kendra.client("logs").delete_log_group(logGroupName=group)
        with pytest.raises(KendraSyncJobMetricsError) as caught:
            gate(nights, max_missing_documents=5).execute({"ti": ti})
        assert caught.value.violations == ["it is not known which documents are missing (max_missing_documents=5)"]
        assert "log group" in str(caught.value)

    def test_an_index_that_is_too_full_does_not_pass(self, nights, ti, monkeypatch):
        monkeypatch.setitem(CAPACITY, "ENTERPRISE_EDITION", (4, 10**9))
        nights.write("a", "b", "c")
        nights.sync()
        with pytest.raises(KendraSyncJobMetricsError) as caught:
            gate(nights, max_index_share=0.5).execute({"ti": ti})
        assert caught.value.violations[0].startswith("the index is 75% full: 3 of 4 documents")
        assert "max_index_share=0.5" in caught.value.violations[0]

    def test_an_index_that_is_not_too_full_passes(self, nights, ti):
        nights.write("a", "b", "c")
        nights.sync()
        gate(nights, max_index_share=0.5).execute({"ti": ti})


class TestCustom:
    def test_documents_are_deleted_in_the_batch_and_counted(self, custom_data_source, hook):
        custom_data_source.kendra.set_sync_duration(0)
        ids = custom_data_source.ids
        names = [f"d{number}" for number in range(12)]
        first = hook.start_sync_job(*ids)
        hook.put_documents(*ids, first, [{"Id": name, "Blob": b"text"} for name in names])
        hook.stop_sync_job(*ids)

        second = hook.start_sync_job(*ids)
        hook.delete_documents(*ids, second, iter([*names[:11], "unknown"]))
        hook.stop_sync_job(*ids)

        assert hook.get_sync_job(*ids, second).documents_deleted == 11
        assert {name: each["status"] for name, each in hook.get_document_status(ids[0], names).items()} == {
            **dict.fromkeys(names[:11], "NOT_FOUND"),
            "d11": "INDEXED",
        }
        assert custom_data_source.kendra.call_count("BatchDeleteDocument") == 2

    def test_documents_of_another_sync_are_rejected_with_the_reason(self, custom_data_source, hook):
        with pytest.raises(KendraDocumentsError, match="must be running while documents are deleted") as caught:
            hook.delete_documents(*custom_data_source.ids, "other", ["a"])
        assert [failure["Id"] for failure in caught.value.failures] == ["a"]

    def test_a_lost_response_is_repeated(self, custom_data_source, hook):
        ids = custom_data_source.ids
        execution_id = hook.start_sync_job(*ids)
        hook.put_documents(*ids, execution_id, [{"Id": "a", "Blob": b"text"}])
        custom_data_source.kendra.inject("BatchDeleteDocument", reset="after", times=1)
        hook.delete_documents(*ids, execution_id, ["a"])
        assert hook.get_document_status(ids[0], ["a"])["a"]["status"] == "NOT_FOUND"

    @pytest.mark.parametrize("wrong", ["a", b"a", {"a": 1}, None, 3])
    def test_what_is_not_a_list_of_ids_is_refused(self, custom_data_source, hook, wrong):
        with pytest.raises(ValueError, match=r"document_ids is .* but must be a list"):
            hook.delete_documents(*custom_data_source.ids, "job", wrong)

    @pytest.mark.parametrize("wrong", ["", None, 3, "a" * 2049])
    def test_what_is_not_an_id_is_refused_with_its_position(self, custom_data_source, hook, wrong):
        with pytest.raises(ValueError, match=r"document_ids\[1\] is .* but must be text of 1 to 2048 characters"):
            hook.get_document_status(custom_data_source.index_id, ["a", wrong])

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"Blob": b"planted", "Id": "a"}, "document_ids is of type dict, but must be a list"),
            ("planted", "document_ids is of type str, but must be a list"),
            (b"planted", "document_ids is of type bytes, but must be a list"),
            ([{"Blob": b"planted"}], "document_ids[0] is of type dict, but must be text"),
            (["a", b"planted"], "document_ids[1] is of type bytes, but must be text"),
            (["planted" * 300], "document_ids[0] is text of 2100 characters, but must be text"),
        ],
    )
    def test_documents_that_are_passed_instead_of_ids_are_not_shown(self, custom_data_source, hook, wrong, said):
        for use in (
            lambda: hook.delete_documents(*custom_data_source.ids, "job", wrong),
            lambda: hook.get_document_status(custom_data_source.index_id, wrong),
        ):
            with pytest.raises(ValueError, match=re.escape(said)) as raised:
                use()
            assert "planted" not in str(raised.value)

    def test_a_status_says_why_a_document_failed(self, custom_data_source, hook):
        kendra, ids = custom_data_source.kendra, custom_data_source.ids
        kendra.set_sync_duration(0)
        kendra.fail_documents(*ids, ["a"], stage="index", reason="too large", error_code="InvalidRequest")
        execution_id = hook.start_sync_job(*ids)
        hook.put_documents(*ids, execution_id, [{"Id": "a", "Blob": b"text"}])
        running = hook.get_document_status(ids[0], ["a"], data_source_id=ids[1], execution_id=execution_id)
        hook.stop_sync_job(*ids)
        assert running["a"]["status"] == "PROCESSING"
        assert hook.get_document_status(ids[0], ["a"])["a"] == {
            "status": "FAILED", "failure_code": "InvalidRequest", "failure_reason": "too large",
        }  # fmt: skip

    @pytest.mark.parametrize("wrong", ["", "None", "a b"])
    def test_ids_that_are_given_for_a_status_are_checked(self, custom_data_source, hook, wrong):
        for ids in ({"data_source_id": wrong, "execution_id": "e"}, {"data_source_id": "d", "execution_id": wrong}):
            with pytest.raises(ValueError, match=r"(data_source|execution)_id is"):
                hook.get_document_status(custom_data_source.index_id, ["a"], **ids)

    def test_data_source_and_job_are_given_together(self, custom_data_source, hook):
        with pytest.raises(ValueError, match="must be given together"):
            hook.get_document_status(custom_data_source.index_id, ["a"], execution_id="job")


class LogsOf:
    """Replaces the client of CloudWatch Logs: answers or errors for its calls; the last one is repeated."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls = 0

    def filter_log_events(self, **request: Any) -> Any:
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer = answer() if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer


def refused(code: str, status: int = 400, message: str = "No.") -> ClientError:
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "FilterLogEvents")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    paused: list[float] = []
    monkeypatch.setattr("airflow_provider_kendra.hooks.kendra.time.sleep", paused.append)
    return paused


class TestFaultsOfTheLogs:
    def test_a_call_that_does_not_end_is_given_up(self, nights, hook, pauses, monkeypatch):
        monkeypatch.setattr("airflow_provider_kendra.hooks.kendra._LOGS_CALL_SECONDS", 0.05)
        hanging = threading.Event()
        hook._logs_client = logs = LogsOf(hanging.wait)
        try:
            found = hook.get_missing_documents(*nights.source.ids)
        finally:
            hanging.set()
        assert (found.found, found.is_complete, logs.calls) == (0, False, 20)
        assert found.note.startswith("CloudWatch Logs did not answer in time")

    @pytest.mark.parametrize(
        "error", [refused("ServiceUnavailableException", 503), refused("ThrottlingException"),
                  EndpointConnectionError(endpoint_url="https://logs"), ReadTimeoutError(endpoint_url="https://logs")],
    )  # fmt: skip
    def test_a_transient_error_is_retried(self, nights, hook, pauses, error):
        hook._logs_client = logs = LogsOf(error, {"events": []})
        assert hook.get_missing_documents(*nights.source.ids).is_complete
        assert (logs.calls, len(pauses)) == (2, 1)

    @pytest.mark.parametrize("error", [refused("AccessDeniedException"), refused("InvalidParameterException")])
    def test_a_permanent_error_is_not_retried(self, nights, hook, error):
        hook._logs_client = logs = LogsOf(error)
        assert not hook.get_missing_documents(*nights.source.ids).is_complete
        assert logs.calls == 1

    def test_an_error_while_a_response_is_parsed_does_not_quote_it(self, nights, hook):
        hook._logs_client = LogsOf(AttributeError(f"'{PERSONAL}' has no attribute 'get'"))
        note = hook.get_missing_documents(*nights.source.ids).note
        assert note.startswith(f"Kendra's log group /aws/kendra/{nights.source.index_id} could not be read: Attribute")
        assert PERSONAL not in note

    def test_a_page_of_a_proxy_does_not_pass_for_an_empty_log(self, nights, hook, pauses):
        proxy = Mock(status_code=200, headers={}, content=b"<html>Sign in</html>")
        hook._logs_client.meta.events.register_first("before-send.cloudwatch-logs", lambda **_: proxy)
        found = hook.get_missing_documents(*nights.source.ids)
        assert not found.is_complete
        assert "its body is not a JSON object, as from a proxy" in found.note

    def test_a_connection_that_is_not_defined_is_an_error(self, nights):
        with pytest.raises(KendraRequestError, match="The AWS connection 'nowhere' is not defined"):
            KendraSyncJobsHook("nowhere").get_missing_documents(*nights.source.ids)

    def test_a_missing_region_is_an_error(self, nights, monkeypatch):
        connection = {"conn_type": "aws", "login": "x", "password": "y"}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
        with pytest.raises(KendraRequestError, match="NoRegionError"):
            KendraSyncJobsHook().get_missing_documents(*nights.source.ids)

    def test_an_incomplete_sync_without_a_count_says_which_permission_is_missing(self, nights, ti):
        nights.source.show([listed("e", "INCOMPLETE", Metrics={})])
        task = wait(nights, "e")
        task.hook._logs_client = LogsOf(refused("AccessDeniedException"))
        with pytest.raises(KendraSyncJobRejectedError, match="grant logs:FilterLogEvents on log-group:/aws/kendra/"):
            task.execute({"ti": ti})

    def test_reports_that_are_late_do_not_pass_the_gate(self, nights, ti):
        nights.kendra.set_log_delay(7 * 86_400)
        nights.write("a")
        nights.sync("a")
        nights.sync()
        with pytest.raises(KendraSyncJobMetricsError, match="1 of the last 2 syncs reports documents that failed, but"):
            gate(nights, max_missing_documents=0).execute({"ti": ti})

    def test_reports_that_are_late_do_not_pass_the_gate_though_those_of_other_syncs_are_there(self, nights, ti):
        nights.write("a", "b")
        nights.sync("a")
        nights.kendra.set_log_delay(7 * 86_400)
        nights.write("b")
        nights.sync("b")
        nights.sync()
        with pytest.raises(KendraSyncJobMetricsError) as caught:
            gate(nights, max_missing_documents=5).execute({"ti": ti})
        assert caught.value.violations == ["it is not known which documents are missing (max_missing_documents=5)"]
        assert "1 of the last 3 syncs reports documents that failed" in str(caught.value)

    @pytest.mark.parametrize(("pages", "calls_of_the_history"), [(1, 5), (17, 3), (20, 0)])
    def test_the_history_is_compared_within_the_twenty_calls(self, nights, hook, pages, calls_of_the_history):
        nights.source.show_long_history(70)
        empty = [{"events": [], "nextToken": str(number)} for number in range(pages - 1)]
        hook._logs_client = logs = LogsOf(*empty, {"events": []})
        with recorded_calls() as calls:
            found = hook.get_missing_documents(*nights.source.ids, lookback=timedelta(days=3650))
        assert found.is_complete is (calls_of_the_history > 0)
        assert (logs.calls, calls.call_count) == (pages, calls_of_the_history)

    def test_without_the_history_it_is_not_known_whether_the_logs_name_all(self, nights, hook):
        nights.write("a")
        nights.sync()
        assert hook.get_missing_documents(*nights.source.ids).is_complete
        with patch.object(KendraSyncJobsHook, "list_sync_jobs", side_effect=refused("AccessDeniedException")):
            found = hook.get_missing_documents(*nights.source.ids)
        assert (found.found, found.is_complete) == (0, False)
        assert found.note.startswith("The sync history could not be read, so it is not known whether the logs name ")

    def test_one_missing_document_is_a_singular(self, nights, ti):
        nights.write("a")
        nights.sync("a")
        with pytest.raises(KendraSyncJobMetricsError, match=r"1 document is missing after .*\)\. Missing: a \(cr"):
            gate(nights, max_missing_documents=0).execute({"ti": ti})

    def test_with_endless_pages_and_a_full_index_a_task_makes_five_calls(self, nights, ti, monkeypatch):
        monkeypatch.setitem(CAPACITY, "ENTERPRISE_EDITION", (1, 10**9))
        nights.write("a")
        nights.sync()
        nights.source.show([listed("e", "INCOMPLETE", Metrics=counts(failed=5000))])
        task = wait(nights, "e")
        pages = iter(range(100))
        task.hook._logs_client = logs = LogsOf(lambda: {"events": [], "nextToken": str(next(pages))})
        with recorded_calls() as calls, pytest.raises(KendraSyncJobRejectedError, match="The index is 100% full"):
            task.execute({"ti": ti})
        described = [call.args[1] for call in calls.call_args_list].count("DescribeIndex")
        assert (logs.calls, described) == (4, 1)


def test_the_capacity_is_that_of_the_index(nights, hook):
    nights.write("a", "b")
    nights.sync()
    found = hook.get_index_capacity(nights.source.index_id)
    assert (found.edition, found.units, found.documents, found.documents_limit) == ("ENTERPRISE_EDITION", 0, 2, 100_000)
    assert 0 < found.share < 0.001


def test_when_many_documents_fail_and_the_index_is_full_the_error_says_so(nights, ti, monkeypatch):
    monkeypatch.setitem(CAPACITY, "ENTERPRISE_EDITION", (1, 10**9))
    nights.kendra.set_quotas(documents=1)
    nights.write(*(f"d{number}" for number in range(15)))
    with pytest.raises(KendraSyncJobFailedError, match=r"The index is 100% full: 1 of 1 documents"):
        start(nights).execute({"ti": ti})


JOB = SyncJob(index_id="index", data_source_id="documents", execution_id="e", status="FAILED")


class TestDetails:
    def test_details_come_before_the_ids(self):
        message = insert_details(f"It failed {JOB.ids}.", JOB, "Two documents. By reason.")
        assert message == f"It failed. Two documents. By reason {JOB.ids}."

    def test_details_that_are_too_long_do_not_cut_the_ids(self):
        message = insert_details(f"It failed {JOB.ids}.", JOB, "x" * 10_000)
        assert (len(message), message.endswith(f"x… {JOB.ids}.")) == (LONGEST_MESSAGE, True)

    def test_a_message_of_an_older_version_gets_them_at_its_end(self):
        assert insert_details("Sync job e failed.", JOB, "A document.") == "Sync job e failed. A document."

    def test_without_details_a_message_is_unchanged(self):
        assert insert_details(f"It failed {JOB.ids}.", JOB, "") == f"It failed {JOB.ids}."
