"""The commands against the local Kendra."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow import __version__ as airflow_version
from botocore.exceptions import NoCredentialsError, NoRegionError, ReadTimeoutError
from packaging.version import Version

from airflow_provider_kendra import cli, report
from airflow_provider_kendra._naming import find_data_source
from airflow_provider_kendra._overview import Reading
from airflow_provider_kendra.documents import CAPACITY
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.testing import LocalKendra
from tests.conftest import ROLE_ARN, DataSource, client, counts, listed
from tests.integration import processes
from tests.integration.conftest import MakeHome

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


class Clock:
    """The time of a wait; sleeping moves it, and lets happen what was planned for then."""

    def __init__(self) -> None:
        self.now = NOW
        self.plans: list[Callable[[], object]] = []

    def utcnow(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.now.timestamp()

    def pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        self.pause(seconds)
        if self.plans:
            self.plans.pop(0)()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    retries = SimpleNamespace(sleep=clock.pause, monotonic=clock.monotonic)
    monkeypatch.setattr("airflow_provider_kendra.hooks.kendra.time", retries)
    monkeypatch.setattr("airflow_provider_kendra._clock.utcnow", clock.utcnow)
    monkeypatch.setattr("airflow_provider_kendra._waiting.wait.time", SimpleNamespace(sleep=clock.sleep))
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return clock


@dataclass
class Result:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def records(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The cells of a table, without its head."""
        lines = [line for line in self.out.splitlines() if "|" in line]
        return [[cell.strip() for cell in line.split("|")] for line in lines[1:]]


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process."""

    def run(*arguments: str) -> Result:
        args = cli.make_parser("kendra").parse_args(list(arguments))
        status = 0
        try:
            args.func(args)
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Result(status, said.out, said.err)

    return run


# jobs


def test_jobs_shows_start_end_and_document_counts(data_source: DataSource, run: Run):
    data_source.show(
        [
            listed("new", "SYNCING", StartTime=ago(hours=1), Metrics=counts(added=3)),
            listed(
                "old",
                "FAILED",
                StartTime=ago(hours=3),
                EndTime=ago(hours=2.5),
                ErrorCode="InternalError",
                ErrorMessage="No bucket",
            ),
        ]
    )

    result = run("jobs", *data_source.ids)

    assert (result.status, result.err) == (0, "")
    assert result.rows == [
        ["new", "SYNCING", "2026-01-31 11:00:00Z", "", "", "3", "", "", "", ""],
        ["old", "FAILED", "2026-01-31 09:00:00Z", "30 min", "", "", "", "", "", "InternalError: No bucket"],
    ]


def test_jobs_prints_typed_records_for_programs(data_source: DataSource, run: Run):
    data_source.show([listed("new", Metrics=counts(added=3))])

    (record,) = run("jobs", *data_source.ids, "-o", "json").records

    assert record["execution_id"] == "new"
    assert record["documents_added"] == 3
    assert record["documents_failed"] is None


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_text_of_the_service_is_not_read_as_markup(output: str, data_source: DataSource, run: Run):
    message = "[red]no[/red] [/bold] :smile: \x1b[2J\x07 end"
    data_source.show([listed("new", "FAILED", ErrorMessage=message)])

    result = run("jobs", *data_source.ids, "-o", output)

    assert result.status == 0
    assert "[red]no[/red] [/bold] :smile:" in result.out
    assert "\x1b[2J" not in result.out
    assert "\x07" not in result.out


def test_jobs_requests_only_matching_jobs(data_source: DataSource, run: Run):
    data_source.show_long_history(50)

    result = run("jobs", *data_source.ids, "--status", "succeeded", "--since", "2000d", "--limit", "3", "-o", "json")

    assert [record["execution_id"] for record in result.records] == ["job-1", "job-2", "job-3"]
    (call,) = data_source.kendra.calls("ListDataSourceSyncJobs")
    assert call.parameters["StatusFilter"] == "SUCCEEDED"
    assert call.parameters["MaxResults"] == 3
    assert call.parameters["StartTimeFilter"]["StartTime"] == pytest.approx((NOW - timedelta(days=2000)).timestamp())


def test_jobs_shows_twenty_by_default(data_source: DataSource, run: Run):
    data_source.show_long_history(25)

    assert len(run("jobs", *data_source.ids, "-o", "json").records) == 20
    assert len(run("jobs", *data_source.ids, "-o", "json", "--limit", "0").records) == 25


# freshness


@dataclass
class Index:
    """An index with data sources of a name and a history each."""

    kendra: LocalKendra
    index_id: str

    def add(self, name: str, *history: dict[str, Any]) -> str:
        data_source_id = self.kendra.create_custom_data_source(self.index_id, name)
        self.kendra.set_history(self.index_id, data_source_id, list(history))
        return data_source_id

    def add_scheduled(self, name: str, schedule: str, *history: dict[str, Any]) -> str:
        created = client(self.kendra.url).create_data_source(
            IndexId=self.index_id, Name=name, Type="S3", RoleArn=ROLE_ARN, Schedule=schedule,
            Configuration={"S3Configuration": {"BucketName": "documents"}},
        )  # fmt: skip
        self.kendra.set_history(self.index_id, created["Id"], list(history))
        return str(created["Id"])


@pytest.fixture
def index(local_kendra: LocalKendra) -> Index:
    return Index(local_kendra, local_kendra.create_index())


def test_freshness_shows_age_running_sync_and_error_of_each_data_source(index: Index, run: Run):
    fresh = index.add("fresh", listed("a", StartTime=ago(hours=2)))
    stale = index.add(
        "stale",
        listed("b", "SYNCING", StartTime=ago(minutes=5), Metrics=counts(added=7)),
        listed("c", "FAILED", StartTime=ago(hours=5), ErrorMessage="No bucket"),
        listed("d", StartTime=ago(hours=9)),
    )
    never = index.add("never")

    result = run("freshness", index.index_id, "--max-age", "6h", "-o", "plain")

    assert result.status == 1
    assert [re.split(r" {2,}", line.strip()) for line in result.out.splitlines()[1:]] == [
        [fresh, "fresh", "fresh", "2026-01-31 10:00:00Z", "2 h"],
        [
            stale,
            "stale",
            "stale",
            "2026-01-31 03:00:00Z",
            "9 h",
            "SYNCING (7 added), since 2026-01-31 11:55:00Z",
            "Sync FAILED: No bucket (sync job c)",
        ],
        [never, "never", "stale", "none"],
    ]
    assert result.err == "2 of 3 data sources are stale: stale, never\n"


def test_freshness_prints_numbers_and_records_for_programs(index: Index, run: Run):
    data_source_id = index.add(
        "wiki", listed("a", "SYNCING", StartTime=ago(minutes=1)), listed("b", StartTime=ago(hours=2))
    )

    result = run("freshness", index.index_id, "-o", "json")

    (record,) = result.records
    assert (result.status, result.err) == (0, "")
    assert (record["data_source_id"], record["name"], record["state"]) == (data_source_id, "wiki", "fresh")
    assert record["age_seconds"] == 7200
    assert record["newest_acceptable"]["execution_id"] == "b"
    assert record["running"]["execution_id"] == "a"
    assert record["last_error"] is None


def test_freshness_without_an_age_takes_an_acceptable_sync_of_any_age(index: Index, run: Run):
    index.add("old", listed("a", StartTime=ago(days=900)))
    assert run("freshness", index.index_id).status == 0

    index.add("never")
    assert run("freshness", index.index_id).status == 1


def test_freshness_can_be_measured_by_end_time_and_accept_failed_documents(index: Index, run: Run):
    index.add(
        "slow",
        listed("a", "INCOMPLETE", StartTime=ago(hours=7), EndTime=ago(hours=1), Metrics=counts(failed=2)),
    )
    command = ("freshness", index.index_id, "--max-age", "6h")

    assert run(*command).status == 1
    assert run(*command, "--max-documents-failed", "2").status == 1
    assert run(*command, "--max-documents-failed", "2", "--measured-by", "end_time").status == 0
    assert run(*command, "--max-documents-failed", "1", "--measured-by", "end_time").status == 1


def test_freshness_reads_each_history_no_further_than_to_its_newest_acceptable_job(index: Index, run: Run):
    failures = [listed(f"x{number}", "FAILED", StartTime=ago(hours=number)) for number in range(300)]
    index.add("good", listed("a", StartTime=ago(hours=1)), *failures)
    index.add("bad", *failures)

    result = run("freshness", index.index_id)

    assert index.kendra.call_count("ListDataSourceSyncJobs") == 1 + 20
    assert "none in the last 200 syncs" in result.out


def test_freshness_shows_what_it_could_read_when_one_data_source_cannot_be_read(index: Index, run: Run):
    index.add("one", listed("a"))
    index.add("two", listed("b"))
    index.kendra.inject("ListDataSourceSyncJobs", times=1, error="AccessDeniedException", status=400, message="not you")

    result = run("freshness", index.index_id, "-o", "json")

    assert result.status == 2
    assert sorted(record["state"] for record in result.records) == ["fresh", "unknown"]
    assert re.match(r"1 of 2 data sources is unknown: (one|two) \(.*", result.err)
    assert "not you" in result.err


def test_freshness_names_by_id_too_what_shares_its_name(index: Index, run: Run):
    ids = sorted(index.add("twin") for _ in range(2))

    result = run("freshness", index.index_id)

    (named,) = re.findall(r"^2 of 2 data sources are stale: (.*)$", result.err, re.MULTILINE)
    assert sorted(named.split(", ")) == [f"twin {each}" for each in ids]


def test_freshness_speaks_of_a_single_data_source_in_the_singular(index: Index, run: Run):
    index.add("never")

    assert run("freshness", index.index_id).err == "1 of 1 data source is stale: never\n"


@pytest.mark.parametrize(("state", "status"), [("fresh", 0), ("aging", 0), ("stale", 1), ("unknown", 2)])
def test_the_status_of_freshness_is_that_of_the_worst_state(
    state: str, status: int, index: Index, run: Run, monkeypatch: pytest.MonkeyPatch
):
    index.add("wiki", listed("a"))
    monkeypatch.setattr(Reading, "state", state)

    result = run("freshness", index.index_id)

    assert result.status == status
    assert result.err.startswith("" if state == "fresh" else f"1 of 1 data source is {state}: wiki")


DAILY = "cron(0 9 * * ? *)"
RUN = "the scheduled sync of 2026-01-31 09:00 UTC"


def test_freshness_goes_by_the_schedule_of_each_data_source(index: Index, run: Run):
    yesterday = listed("y", StartTime=ago(hours=27))
    index.add_scheduled("good", DAILY, listed("a", StartTime=ago(hours=3)))
    index.add_scheduled("missed", DAILY, yesterday)
    index.add_scheduled("broken", DAILY, listed("b", "FAILED", StartTime=ago(hours=2.9), ErrorMessage="No bucket"))
    index.add_scheduled("running", "0 0 9 * * ? *", listed("c", "SYNCING", StartTime=ago(hours=2.9)), yesterday)
    command = ("freshness", index.index_id, "--schedule-grace", "30m")

    result = run(*command, "-o", "json")

    reasons = {record["name"]: (record["state"], record["reason"]) for record in result.records}
    assert reasons == {
        "good": ("fresh", None),
        "missed": ("stale", f"{RUN} did not start"),
        "broken": ("stale", f"{RUN} started and FAILED: No bucket"),
        "running": ("stale", f"{RUN} is running: SYNCING (no documents yet)"),
    }
    assert result.status == 1
    assert result.err.startswith("3 of 4 data sources are stale: ")
    assert f"missed ({RUN} did not start)" in result.err
    assert f"{RUN} did not start" in run(*command, "-o", "plain").out
    assert run("freshness", index.index_id, "--schedule-grace", "4h").status == 1  # broken never succeeded


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [("", "it has no schedule in Kendra"), ("cron(0 9 1 * 2 *)", "its schedule 'cron(0 9 1 * 2 *)' can't be read: ")],
)
def test_by_schedule_a_data_source_without_a_usable_one_is_unknown_with_the_reason(
    index: Index, run: Run, monkeypatch: pytest.MonkeyPatch, schedule: str, reason: str
):
    monkeypatch.setattr(KendraSyncJobsHook, "describe_data_source", lambda *_: {"Schedule": schedule})
    index.add("wiki", listed("a", StartTime=ago(hours=1)))

    result = run("freshness", index.index_id, "--schedule-grace", "30m", "-o", "json")

    (record,) = result.records
    assert result.status == 2
    assert (record["state"], record["age_seconds"]) == ("unknown", 3600)
    assert record["reason"].startswith(reason)
    assert result.err.startswith(f"1 of 1 data source is unknown: wiki ({reason}")


def test_a_schedule_that_cannot_be_read_makes_a_data_source_unknown(index: Index, run: Run):
    index.add_scheduled("wiki", DAILY, listed("a", StartTime=ago(hours=1)))
    index.kendra.inject("DescribeDataSource", error="AccessDeniedException", status=400, message="not you")

    result = run("freshness", index.index_id, "--schedule-grace", "30m")

    assert result.status == 2
    assert "not you" in result.err
    assert "DescribeDataSource" in result.err


def test_an_age_to_warn_that_never_comes_is_rejected_by_the_name_of_its_option(index: Index, run: Run):
    result = run("freshness", index.index_id, "--warn-age", "7h", "--max-age", "6h")

    assert result.status == 2
    assert result.err.startswith("--warn-age is 7 h, but must be less than --max-age, which is 6 h: ")


def test_an_empty_id_is_rejected_without_a_word_about_templates(index: Index, run: Run):
    result = run("jobs", index.index_id, "")

    assert result.status == 2
    assert "DATA_SOURCE is ''" in result.err
    assert "template" not in result.err


def test_an_age_and_a_schedule_exclude_each_other(index: Index, run: Run):
    result = run("freshness", index.index_id, "--schedule-grace", "30m", "--max-age", "6h")

    assert result.status == 2
    assert result.err == "--max-age and --schedule-grace exclude each other: pass one of them.\n"
    assert index.kendra.call_count("ListDataSources") == 0


def test_no_age_is_negative(index: Index, run: Run):
    index.add("ahead", listed("a", StartTime=ago(seconds=-5)))

    (record,) = run("freshness", index.index_id, "-o", "json").records

    assert record["age_seconds"] == 0


def test_a_report_by_schedule_says_which_data_sources_are_unknown(index: Index, run: Run, tmp_path: Path):
    index.add_scheduled("missed", DAILY, listed("y", StartTime=ago(hours=27)))
    index.add("without", listed("a", StartTime=ago(hours=1)))
    file = tmp_path / "kendra.html"

    result = run("report", index.index_id, "--schedule-grace", "30m", "--output", str(file))

    assert result.status == 2
    assert "1 stale" in result.err
    assert "1 unknown" in result.err
    assert "1 of them could not be judged; the page says why." in result.err
    assert f"{RUN} did not start" in file.read_text()
    assert "it has no schedule in Kendra" in file.read_text()


def test_inactive_data_sources_are_listed_and_not_judged(index: Index, run: Run):
    index.add("fine", listed("a", StartTime=ago(hours=1)))
    broken = index.add("broken", listed("b", StartTime=ago(hours=90)))
    index.kendra.set_data_source_status(index.index_id, broken, "FAILED")

    result = run("freshness", index.index_id, "--max-age", "6h", "-o", "json")

    assert (result.status, result.err) == (0, "")
    assert {(each["name"], each["state"], each["reason"]) for each in result.records} == {
        ("fine", "fresh", None),
        ("broken", "inactive", "the data source is FAILED in Kendra"),
    }
    assert "the data source is FAILED in Kendra" in run("freshness", index.index_id, "-o", "plain").out


def test_an_index_whose_data_sources_are_all_inactive_is_not_fresh(index: Index, run: Run):
    index.kendra.set_data_source_status(index.index_id, index.add("broken"), "DELETING")

    result = run("freshness", index.index_id, "-o", "json")

    assert (result.status, [each["state"] for each in result.records]) == (2, ["inactive"])
    assert "has no active data source" in result.err


def test_an_index_without_active_data_sources_is_not_fresh(index: Index, run: Run):
    result = run("freshness", index.index_id)

    assert result.status == 2
    assert "has no active data source" in result.err


# start, stop


def test_start_starts_one_sync_and_names_it(data_source: DataSource, run: Run):
    (record,) = run("start", *data_source.ids, "-o", "json").records

    assert record["execution_id"] in data_source.execution_ids()
    assert len(data_source.execution_ids()) == 1


def test_start_while_a_sync_runs_names_it_and_exits_with_1(data_source: DataSource, run: Run):
    running = data_source.start()

    result = run("start", *data_source.ids)

    assert (result.status, result.out) == (1, "")
    assert running in result.err


def test_start_can_wait_for_the_end(data_source: DataSource, run: Run, clock: Clock):
    clock.plans = [lambda: data_source.finish("SUCCEEDED")]

    result = run("start", *data_source.ids, "--wait", "-o", "json")

    assert (result.status, result.err) == (0, "")
    assert result.records[0]["status"] == "SUCCEEDED"


def test_start_with_wait_reports_a_failed_sync_by_status_and_message(data_source: DataSource, run: Run, clock: Clock):
    clock.plans = [lambda: data_source.finish("FAILED", error_message="No bucket")]

    result = run("start", *data_source.ids, "--wait")

    assert (result.status, result.out) == (1, "")
    assert "Sync FAILED: " in result.err
    assert "No bucket" in result.err


def test_a_custom_data_source_cannot_be_waited_for_and_is_not_started(custom_data_source: DataSource, run: Run):
    result = run("start", *custom_data_source.ids, "--wait")

    assert result.status == 2
    assert "without --wait" in result.err
    assert custom_data_source.kendra.call_count("StartDataSourceSyncJob") == 0


def test_start_warns_that_it_may_wait_forever_if_it_cannot_read_the_type(
    data_source: DataSource, run: Run, clock: Clock
):
    data_source.kendra.inject("DescribeDataSource", error="AccessDeniedException", message="not allowed")
    clock.plans = [lambda: data_source.finish("SUCCEEDED")]

    result = run("start", *data_source.ids, "--wait", "-o", "json")

    assert (result.status, result.records[0]["status"]) == (0, "SUCCEEDED")
    assert result.err.startswith("Could not find out the type of the data source: ")
    assert "If it is CUSTOM, its sync ends only when someone stops it." in result.err


def test_start_names_its_sync_before_it_is_listed(data_source: DataSource, run: Run):
    data_source.kendra.set_listing_delay(2)

    (record,) = run("start", *data_source.ids, "-o", "json").records

    assert (record["status"], record["start_time"]) == ("SYNCING", None)
    assert record["execution_id"]


def test_stop_stops_what_runs(data_source: DataSource, run: Run):
    running = data_source.start()

    result = run("stop", *data_source.ids, "-o", "json")

    assert result.status == 0
    assert result.records[0]["execution_id"] == running
    assert result.err.startswith("Stop sent: the sync was SYNCING")
    assert data_source.kendra.call_count("StopDataSourceSyncJob") == 1


def test_stop_can_wait_for_the_end_whatever_it_is(data_source: DataSource, run: Run, clock: Clock):
    data_source.start()
    clock.plans = [lambda: data_source.finish("ABORTED")]

    result = run("stop", *data_source.ids, "--wait", "-o", "json")

    assert (result.status, result.records[0]["status"]) == (0, "ABORTED")
    assert result.err.startswith("Stop sent: the sync was SYNCING")  # an interrupted wait must not hide that


def test_a_stopped_sync_has_ended_once_a_newer_one_runs_whatever_its_listed_status(
    data_source: DataSource, run: Run, clock: Clock
):
    data_source.show([listed("mine", "SYNCING", StartTime=ago(hours=1))])
    newer = [listed("newer", "SYNCING", StartTime=NOW), listed("mine", "STOPPING", StartTime=ago(hours=1))]
    clock.plans = [lambda: data_source.show(newer)]

    result = run("stop", *data_source.ids, "--wait", "-o", "json")

    assert (result.status, result.records[0]["execution_id"]) == (0, "mine")
    assert "The sync will not finish: a newer sync has started, so this one is not running" in result.err


def test_stop_succeeds_with_a_message_if_nothing_is_running(data_source: DataSource, run: Run):
    result = run("stop", *data_source.ids)

    assert (result.status, result.out) == (0, "")
    assert result.err == "Nothing to stop: no sync is running.\n"


def test_stop_of_one_sync_leaves_another_alone(data_source: DataSource, run: Run):
    ended = data_source.start()
    data_source.finish()
    data_source.start()

    result = run("stop", *data_source.ids, "--execution-id", ended)

    assert result.status == 0
    assert "Sync SUCCEEDED: " in result.err
    assert data_source.kendra.call_count("StopDataSourceSyncJob") == 0


def test_stop_of_an_older_sync_that_is_listed_as_running_leaves_the_running_one_alone(
    data_source: DataSource, run: Run
):
    data_source.show([listed("other", "SYNCING"), listed("mine", "SYNCING", StartTime=ago(days=90))])

    result = run("stop", *data_source.ids, "--execution-id", "mine")

    assert result.status == 0
    assert result.err.startswith("Nothing to stop: a newer sync has started, so this one is not running")
    assert data_source.kendra.call_count("StopDataSourceSyncJob") == 0


def test_stop_does_not_repeat_a_stop(data_source: DataSource, run: Run):
    data_source.show([listed("mine", "STOPPING")])

    result = run("stop", *data_source.ids)

    assert result.status == 0
    assert result.err.startswith("No stop was sent: the sync is already STOPPING")
    assert data_source.kendra.call_count("StopDataSourceSyncJob") == 0


def test_messages_of_stop_contain_no_control_characters(data_source: DataSource, run: Run):
    data_source.start()
    data_source.show([listed("mine", "NEW\x1b[2J")])

    assert "\x1b" not in run("stop", *data_source.ids).err


# wait


def test_wait_ends_with_the_sync_and_is_quiet_in_a_pipe(data_source: DataSource, run: Run, clock: Clock):
    data_source.show([listed("mine", "SYNCING")], [listed("mine", "SYNCING_INDEXING")], [listed("mine")])

    result = run("wait", *data_source.ids, "mine", "-o", "json")

    assert (result.status, result.err) == (0, "")
    assert result.records[0]["status"] == "SUCCEEDED"
    assert clock.now - NOW == timedelta(seconds=30)


def test_wait_for_any_sync_since_a_time(data_source: DataSource, run: Run):
    data_source.show([listed("new", StartTime=ago(minutes=30)), listed("old", StartTime=ago(hours=9))])

    result = run("wait", *data_source.ids, "--started-after", "1h", "-o", "json")

    assert result.records[0]["execution_id"] == "new"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("the width is that of COLUMNS")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes standard output and error terminals of a width."""

    def make(columns: int) -> None:
        for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, Terminal())

    return make


def written(stream: str) -> str:
    """What a terminal was sent, without colors and styles."""
    return re.sub(r"\x1b\[[\d;]*m", "", getattr(sys, stream).getvalue())


def test_wait_overwrites_one_progress_line_on_a_terminal(
    data_source: DataSource, run: Run, terminal: Callable[[int], None]
):
    terminal(60)
    data_source.show(
        *([listed("mine", "SYNCING", Metrics=counts(added=number))] for number in (5, 12)), [listed("mine")]
    )

    run("wait", *data_source.ids, "mine")

    line = written("stderr")
    assert "0:00:00 Waiting for Kendra's response" in line
    assert "0:00:00 SYNCING: 5 added (sync job mine)" in line
    assert "0:00:15 SYNCING: 12 added (sync job mine)" in line
    assert "\n" not in line
    assert all(len(each) < 60 for each in line.split("\r\x1b[J"))
    assert line.endswith("\r\x1b[J")


# tables on a terminal

JOB = "0f7be7d3-3f4e-4a0e-9d3e-0a8b2f7f1c55"
LONG_ERROR = (
    "Amazon Kendra can't execute the request with arn:aws:iam::123456789012:role/kendra-crawler-production. Wait."
)


def test_a_narrow_terminal_shows_each_job_as_a_block_with_the_state_first(
    data_source: DataSource, run: Run, terminal: Callable[[int], None]
):
    terminal(80)
    failed = listed(JOB, "FAILED", StartTime=ago(hours=3), EndTime=ago(hours=2.5), ErrorMessage=LONG_ERROR)
    data_source.show([listed("new", StartTime=ago(hours=1), Metrics=counts(scanned=12043, added=0)), failed])

    run("jobs", *data_source.ids)

    assert (
        written("stdout")
        == f"""\
SUCCEEDED  new
  started    2026-01-31 11:00:00Z
  documents  12,043 scanned

FAILED  {JOB}
  started    2026-01-31 09:00:00Z
  duration   30 min
  error      Amazon Kendra can't execute the request with
             arn:aws:iam::123456789012:role/kendra-crawler-production. Wait.
"""
    )


@pytest.mark.parametrize("columns", [10, 40, 80, 99, 100, 130, 200])
def test_no_width_breaks_an_id_a_status_or_an_arn(
    columns: int, data_source: DataSource, run: Run, terminal: Callable[[int], None]
):
    terminal(columns)
    data_source.show([listed(JOB, "SYNCING_INDEXING"), listed("x" * 100, "FAILED", ErrorMessage=LONG_ERROR)])

    run("jobs", *data_source.ids)

    for whole in (
        JOB,
        "x" * 100,
        "SYNCING_INDEXING",
        "FAILED",
        "arn:aws:iam::123456789012:role/kendra-crawler-production",
    ):
        assert whole in written("stdout")


def test_a_wide_terminal_shows_a_table_with_the_state_first(
    data_source: DataSource, run: Run, terminal: Callable[[int], None]
):
    terminal(200)
    data_source.show([listed(JOB, "FAILED", ErrorMessage=LONG_ERROR)])

    run("jobs", *data_source.ids)

    head, _, row, *_ = ([cell.strip() for cell in line.split("|")] for line in written("stdout").splitlines())
    assert head == ["status", "execution id", "started", "error"]
    assert row == ["FAILED", JOB, "2026-01-31 06:00:00Z", LONG_ERROR]


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_states_in_colors(
    columns: int, data_source: DataSource, run: Run, terminal: Callable[[int], None]
):
    terminal(columns)
    data_source.show([listed("a"), listed("b", "FAILED"), listed("c", "INCOMPLETE")])

    run("jobs", *data_source.ids)

    for color, status in ((32, "SUCCEEDED"), (31, "FAILED"), (33, "INCOMPLETE")):
        assert f"\x1b[{color}m{status}" in sys.stdout.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_shows_no_colors_if_they_are_turned_off(
    name: str, value: str,
    data_source: DataSource, run: Run, terminal: Callable[[int], None], monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    terminal(80)
    monkeypatch.setenv(name, value)
    data_source.show([listed("a"), listed("b", "FAILED")])

    run("jobs", *data_source.ids)

    assert "FAILED  b" in written("stdout")
    assert not re.search(r"\x1b\[3[0-9]m", sys.stdout.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_there_are_no_escapes_in_a_pipe(output: str, data_source: DataSource, run: Run):
    data_source.show([listed("a"), listed("b", "FAILED")])

    assert "\x1b" not in run("jobs", *data_source.ids, "-o", output).out


def test_a_long_text_is_one_line_of_yaml(data_source: DataSource, run: Run):
    data_source.show([listed("a", "FAILED", ErrorMessage="word " * 300 + "end")])

    (line,) = (each for each in run("jobs", *data_source.ids, "-o", "yaml").out.splitlines() if "message" in each)

    assert line.split() == ["error_message:", *["word"] * 300, "end"]


def test_a_narrow_terminal_shows_freshness_with_names_first(index: Index, run: Run, terminal: Callable[[int], None]):
    terminal(80)
    ids = [index.add("wiki", listed("a", StartTime=ago(hours=2))), index.add("hr")]

    run("freshness", index.index_id)

    assert (
        written("stdout")
        == f"""\
fresh  wiki
  data source id   {ids[0]}
  acceptable sync  2026-01-31 10:00:00Z
  age              2 h

stale  hr
  data source id   {ids[1]}
  acceptable sync  none
"""
    )


def test_messages_on_a_terminal_are_wrapped_between_words(index: Index, run: Run, terminal: Callable[[int], None]):
    terminal(40)
    for number in range(4):
        index.add(f"confluence-{number}")

    run("freshness", index.index_id)

    assert written("stderr").splitlines() == [
        "4 of 4 data sources are stale:",
        "confluence-0, confluence-1,",
        "confluence-2, confluence-3",
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["failed"], 1, "Sync FAILED: "),
        (["running", "--timeout", "2h"], 1, "Timed out"),
        (["incomplete"], 1, "--max-documents-failed 3 or more would have accepted it"),
        (["incomplete", "--max-documents-failed", "3"], 0, ""),
        (["absent"], 2, "not in the history"),
        (["absent"], 2, "If it was started just now, wait again"),
        ([], 2, "xactly one of EXECUTION_ID and --started-after must be given"),
        (["running", "--started-after", "1h"], 2, "xactly one of EXECUTION_ID and --started-after must be given"),
    ],
)
def test_wait_ends_with_a_status_and_a_reason(
    arguments: list[str], status: int, reason: str, data_source: DataSource, run: Run
):
    data_source.show(
        [
            listed("running", "SYNCING", StartTime=ago(hours=1)),
            listed("incomplete", "INCOMPLETE", StartTime=ago(hours=2), Metrics=counts(failed=3)),
            listed("failed", "FAILED", StartTime=ago(hours=3)),
        ]
    )

    result = run("wait", *data_source.ids, *arguments)

    assert result.status == status
    assert reason in result.err


# what goes wrong


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ["--aws-conn-id", "absent"],
            "The AWS connection 'absent' is not defined. Define it, or pass --aws-conn-id ''",
        ),
        (["--status", "DONE"], "--status is 'DONE', but must be one of FAILED, SUCCEEDED"),
    ],
)
def test_an_invalid_option_is_reported_in_a_sentence(
    options: list[str], reason: str, data_source: DataSource, run: Run
):
    result = run("jobs", *data_source.ids, *options)

    assert (result.status, result.out) == (2, "")
    assert reason in result.err


def test_an_invalid_id_is_reported_in_a_sentence(local_kendra: LocalKendra, run: Run):
    result = run("jobs", "nonsense", "source")

    assert result.status == 2
    assert result.err.startswith("INDEX is 'nonsense', but must be exactly 36")


def test_a_rejected_request_is_reported_in_a_sentence(data_source: DataSource, run: Run):
    data_source.kendra.inject("*", error="AccessDeniedException", status=400, message="not you")

    result = run("jobs", *data_source.ids)

    assert result.status == 2
    assert result.err.count("\n") == 1
    assert "AccessDeniedException" in result.err
    assert "not you" in result.err


def test_an_unreachable_endpoint_is_reported_in_a_sentence(
    data_source: DataSource, run: Run, monkeypatch: pytest.MonkeyPatch
):
    nowhere = data_source.kendra.connection_json.replace(data_source.kendra.url, "http://127.0.0.1:9")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", nowhere)

    result = run("jobs", *data_source.ids)

    assert result.status == 2
    assert result.err == (
        "The request failed (EndpointConnectionError): Could not connect to the endpoint URL: "
        '"http://127.0.0.1:9/"; try again.\n'
    )


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (
            {"error": "InternalServerException", "status": 500, "message": "We have a bad day."},
            "The request failed (InternalServerException): We have a bad day; try again.",
        ),
        (
            {"error": "ThrottlingException", "status": 400, "message": "Slower"},
            "The request failed (ThrottlingException): Slower; try again.",
        ),
        ({"reset": "before"}, "The request failed (ConnectionClosedError): "),
        (
            {"error": "UnrecognizedClientException", "status": 400, "message": "Who?"},
            "AWS rejects the credentials: ",
        ),
        ({"error": "ValidationException", "status": 400, "message": "no\x1b[2J\nway"}, "AWS rejects the request: "),
    ],
    ids=["5xx", "throttled", "reset", "credentials", "refused"],
)
@pytest.mark.parametrize("command", ["jobs", "freshness", "stop", "report"])
def test_an_aws_error_is_described_by_its_kind(
    command: str,
    fault: dict[str, Any],
    sentence: str,
    data_source: DataSource,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    connection = json.loads(data_source.kendra.connection_json)
    connection["extra"]["config_kwargs"] = {"retries": {"total_max_attempts": 1}}  # botocore would really wait
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    data_source.kendra.inject("*", **fault)
    more = {"freshness": [], "report": ["--output", str(tmp_path / "kendra.html")]}

    result = run(command, data_source.index_id, *more.get(command, [data_source.data_source_id]))

    assert result.status == 2
    assert sentence in result.err
    assert ("AWS rejects the request" in result.err) is (sentence == "AWS rejects the request: ")
    assert result.err.removesuffix("\n").isprintable()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NoCredentialsError(), "No credentials to call AWS: "),
        (NoRegionError(), "The request could not be made: You must specify a region"),
        (ReadTimeoutError(endpoint_url="http://kendra"), "The request failed (ReadTimeoutError): "),
        (RuntimeError("what\x1b[2J"), r"RuntimeError: what\x1b[2J"),
    ],
)
def test_an_error_of_the_client_is_described_by_its_kind(
    error: Exception, sentence: str, data_source: DataSource, run: Run, monkeypatch: pytest.MonkeyPatch
):
    def raise_error(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(KendraSyncJobsHook, "list_sync_jobs", raise_error)

    result = run("jobs", *data_source.ids)

    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(sentence)


def test_an_error_shows_its_traceback_only_when_asked_to_and_has_the_same_status(
    data_source: DataSource, capsys: pytest.CaptureFixture[str]
):
    data_source.kendra.inject("*", error="InternalServerException", status=500)
    args = cli.make_parser("kendra").parse_args(["jobs", *data_source.ids, "--verbose"])

    with pytest.raises(SystemExit, match="2"):
        args.func(args)

    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("The request failed (InternalServerException)")


def test_an_interrupted_wait_says_that_the_sync_goes_on(data_source: DataSource, run: Run, clock: Clock):
    def interrupt() -> None:
        raise KeyboardInterrupt

    data_source.show([listed("mine", "SYNCING")])
    clock.plans = [interrupt]

    result = run("wait", *data_source.ids, "mine")

    assert (result.status, result.err) == (130, "Interrupted. A running sync continues.\n")


# report


def test_report_writes_a_page_about_each_data_source(index: Index, run: Run, tmp_path: Path):
    ids = [index.add("one", listed("a", StartTime=ago(hours=1))), index.add("two")]

    result = run("report", index.index_id, "--max-age", "6h", "--output", str(tmp_path / "kendra.html"))

    page = (tmp_path / "kendra.html").read_text("utf-8")
    assert result.status == 0
    assert result.err == f"Wrote {tmp_path / 'kendra.html'}: 2 data sources (1 fresh, 1 stale).\n"
    assert all(data_source_id in page for data_source_id in ids)


def test_a_report_shows_the_others_beside_a_data_source_with_absurd_values(index: Index, run: Run, tmp_path: Path):
    absurd = {"Metrics": {"DocumentsAdded": "9" * 401, "DocumentsFailed": "9" * 17}, "ErrorMessage": "<'" * 500_000}
    ids = [
        index.add("first", listed("a")),
        index.add("absurd", listed("b", "FAILED", **absurd)),
        index.add("last", listed("c")),
    ]

    result = run("report", index.index_id, "--output", str(tmp_path / "kendra.html"))

    page = (tmp_path / "kendra.html").read_text("utf-8")
    assert result.status == 0
    assert all(data_source_id in page for data_source_id in ids)
    assert "1 count of documents is not plausible" in page
    assert len(page) < 200_000


def test_a_report_with_a_data_source_that_cannot_be_read_is_written_and_has_a_status(
    index: Index, run: Run, tmp_path: Path
):
    index.add("one", listed("a"))
    index.kendra.inject("ListDataSourceSyncJobs", error="AccessDeniedException", status=400, message="not you")

    result = run("report", index.index_id, "--output", str(tmp_path / "kendra.html"))

    assert result.status == 2
    assert "not you" in (tmp_path / "kendra.html").read_text("utf-8")


def test_a_report_of_an_index_that_cannot_be_read_leaves_the_old_page_alone(index: Index, run: Run, tmp_path: Path):
    (tmp_path / "kendra.html").write_text("yesterday's")
    index.kendra.inject("ListDataSources", error="AccessDeniedException", status=400, message="not you")

    result = run("report", index.index_id, "--output", str(tmp_path / "kendra.html"))

    assert result.status == 2
    assert "not you" in result.err
    assert (tmp_path / "kendra.html").read_text() == "yesterday's"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".", "which is a directory: name the file to write"),
        ("", "--output is empty: name the file to write"),
        ("x" * 300, "could not be written: File name too long"),
    ],
)
def test_a_file_that_cannot_be_written_is_rejected_before_any_call(name: str, reason: str, index: Index, run: Run):
    result = run("report", index.index_id, "--output", name)

    assert result.status == 2
    assert reason in result.err
    assert result.err.count("\n") == 1
    assert index.kendra.call_count("ListDataSources") == 0


@pytest.mark.parametrize("name", ["/dev/full", "/dev/null"])
def test_a_device_is_rejected_before_any_call(name: str, index: Index, run: Run):
    result = run("report", index.index_id, "--output", name)

    assert result.status == 2
    assert result.err == f"--output is {name!r}, which is not a regular file: name the file to write.\n"
    assert index.kendra.call_count("ListDataSources") == 0


def test_a_report_into_a_fifo_is_refused_and_does_not_hang(index: Index, run: Run, tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")

    result = run("report", index.index_id, "--output", str(tmp_path / "fifo"))

    assert result.status == 2
    assert "which is not a regular file: name the file to write" in result.err


@pytest.mark.parametrize("points_to", ["victim.html", "absent.html", "."])
def test_a_report_does_not_go_through_a_symbolic_link(points_to: str, index: Index, run: Run, tmp_path: Path):
    (tmp_path / "victim.html").write_text("precious")
    page = tmp_path / "kendra.html"
    page.symlink_to(tmp_path / points_to)

    result = run("report", index.index_id, "--output", str(page))

    assert result.status == 2
    assert result.err == (
        f"--output is {str(page)!r}, which is a symbolic link, and links are not followed: name the file to write.\n"
    )
    assert (tmp_path / "victim.html").read_text() == "precious"
    assert page.is_symlink()
    assert {each.name for each in tmp_path.iterdir()} == {"victim.html", "kendra.html"}


def test_a_link_that_appears_while_the_report_is_made_is_replaced_and_not_followed(
    index: Index, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    victim, page = tmp_path / "victim.html", tmp_path / "kendra.html"
    victim.write_text("precious")
    read = report.read_report

    def read_late(*args: Any, **kwargs: Any) -> Any:
        page.symlink_to(victim)
        return read(*args, **kwargs)

    monkeypatch.setattr(report, "read_report", read_late)

    assert run("report", index.index_id, "--output", str(page)).status == 0
    assert victim.read_text() == "precious"
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert not page.is_symlink()


@pytest.mark.parametrize(
    ("failure", "status", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "could not be written: No space left on device."),
        (KeyboardInterrupt(), 130, "Interrupted."),
    ],
    ids=["full disk", "Ctrl-C"],
)
@pytest.mark.parametrize("step", ["fchmod", "replace"])
def test_a_report_that_fails_to_be_written_keeps_the_old_page_and_leaves_nothing_behind(
    step: str, failure: BaseException, status: int, sentence: str,
    index: Index, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    page = tmp_path / "kendra.html"
    page.write_text("yesterday's")

    def fail(*_: Any) -> None:
        raise failure

    monkeypatch.setattr(os, step, fail)

    result = run("report", index.index_id, "--output", str(page))

    assert result.status == status
    assert sentence in result.err
    assert result.err.count("\n") == 1
    assert page.read_text() == "yesterday's"
    assert [each.name for each in tmp_path.iterdir()] == ["kendra.html"]


@pytest.mark.parametrize("room", [0, 1000])
def test_a_page_that_does_not_fit_on_the_disk_keeps_the_old_one(room: int, tmp_path: Path):
    page = tmp_path / "kendra.html"
    page.write_text("yesterday's")
    limited = (
        "import pathlib, resource, signal, sys; from airflow_provider_kendra import _output;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY));"
        "_output.write(pathlib.Path(sys.argv[2]), 'x' * 100_000)"
    )

    done = subprocess.run(
        [sys.executable, "-B", "-c", limited, str(room), str(page)], capture_output=True, text=True, check=False
    )

    assert "could not be written: File too large." in done.stderr
    assert page.read_text() == "yesterday's"
    assert [each.name for each in tmp_path.iterdir()] == ["kendra.html"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_report_has_the_permissions_that_the_umask_leaves(
    umask: int, mode: int, index: Index, run: Run, tmp_path: Path
):
    before = os.umask(umask)
    try:
        assert run("report", index.index_id, "--output", str(tmp_path / "kendra.html")).status == 0
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "kendra.html").stat().st_mode) == mode


def test_a_report_that_replaces_another_keeps_its_permissions(index: Index, run: Run, tmp_path: Path):
    page = tmp_path / "kendra.html"
    page.write_text("yesterday's")
    page.chmod(0o664)

    assert run("report", index.index_id, "--output", str(page)).status == 0
    assert stat.S_IMODE(page.stat().st_mode) == 0o664
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")


def test_a_missing_directory_is_rejected_before_any_call(index: Index, run: Run, tmp_path: Path):
    result = run("report", index.index_id, "--output", str(tmp_path / "absent" / "kendra.html"))

    assert result.status == 2
    assert "There is no directory" in result.err
    assert index.kendra.call_count("ListDataSources") == 0


# the real entries

MODULE = [sys.executable, "-m", "airflow_provider_kendra"]
AIRFLOW = [sys.executable, "-m", "airflow", "kendra"]
HAS_COMMANDS_OF_PROVIDERS = pytest.mark.skipif(
    Version(airflow_version) < Version("3.2"), reason="no commands of providers yet"
)
ENTRIES = [
    pytest.param(MODULE, id="python -m airflow_provider_kendra"),
    pytest.param(AIRFLOW, id="airflow kendra", marks=HAS_COMMANDS_OF_PROVIDERS),
]


@pytest.fixture(scope="session")
def airflow_home(make_home: MakeHome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Airflow whose metadata database exists."""
    return make_home(tmp_path_factory.mktemp("airflow"))


def _env(home: Path) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW", "_AIRFLOW"))
    }
    return {**inherited, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PYTHONPATH": str(ROOT)}


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_each_entry_runs_a_command_with_a_connection_from_the_metadata_database(
    entry: list[str], data_source: DataSource, airflow_home: Path
):
    data_source.show([listed("mine", Metrics=counts(added=3))])
    unencrypted = {"AIRFLOW__CORE__FERNET_KEY": ""}
    conn_id = f"on_call_{entry[-1]}"
    add = ("airflow", "connections", "add", conn_id, "--conn-json", data_source.kendra.connection_json)
    environment = processes.environment(airflow_home, **unencrypted)
    added = processes.run(*add, env=environment, output=airflow_home / conn_id)
    assert added.returncode == 0, added.output

    done = subprocess.run(
        [*entry, "jobs", *data_source.ids, "--aws-conn-id", conn_id, "-o", "json"],
        env={**_env(airflow_home), **unencrypted},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert (record["execution_id"], record["documents_added"]) == ("mine", 3)


def _call(entry: list[str], *arguments: str, kendra: LocalKendra, home: Path, shell: str = "", **env: str) -> Any:
    """Run an entry in a shell that leads its streams elsewhere."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {shell}', "sh", *entry, *arguments],
        env={**_env(home), "AIRFLOW_CONN_AWS_DEFAULT": kendra.connection_json, **env},
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "output"),
    [(MODULE, "table"), (MODULE, "json"), pytest.param(AIRFLOW, "table", marks=HAS_COMMANDS_OF_PROVIDERS)],
)
def test_a_closed_pipe_ends_a_command_quietly(
    entry: list[str], output: str, data_source: DataSource, airflow_home: Path
):
    data_source.show([listed("mine")])
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        done = subprocess.run(
            [*entry, "jobs", *data_source.ids, "-o", output],
            env={**_env(airflow_home), "AIRFLOW_CONN_AWS_DEFAULT": data_source.kendra.connection_json},
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.slow
def test_a_closed_pipe_ends_help_quietly(local_kendra: LocalKendra, airflow_home: Path):
    done = _call(MODULE, "--help", kendra=local_kendra, home=airflow_home, shell="| true; exit 0")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_the_exit_status_is_right_when_standard_output_is_closed(entry: list[str], index: Index, airflow_home: Path):
    index.add("never")

    done = _call(entry, "freshness", index.index_id, kendra=index.kendra, home=airflow_home, shell=">&-")

    assert done.returncode == 1
    assert done.stderr.startswith("1 of 1 data source is stale: never")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_no_message_goes_to_the_output_when_standard_error_is_closed(
    entry: list[str], index: Index, airflow_home: Path
):
    index.add("never")
    arguments = ("freshness", index.index_id, "-o", "json")

    done = _call(entry, *arguments, kendra=index.kendra, home=airflow_home, shell="2>&-")

    assert done.returncode == 1
    assert [record["state"] for record in json.loads(done.stdout)] == ["stale"]


@pytest.mark.slow
def test_an_output_that_cannot_be_written_is_reported_in_a_sentence(data_source: DataSource, airflow_home: Path):
    data_source.show([listed("mine")])

    # Not `airflow kendra`: there Airflow itself has ended with a traceback before it comes to our command.
    done = _call(MODULE, "jobs", *data_source.ids, kendra=data_source.kendra, home=airflow_home, shell=">/dev/full")

    assert (done.returncode, done.stderr) == (2, "The output could not be written: No space left on device.\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "output", "terminal"),
    [
        (MODULE, "table", {"PYTHONIOENCODING": "ascii"}),
        (MODULE, "plain", {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1"}),
        pytest.param(AIRFLOW, "table", {"PYTHONIOENCODING": "ascii"}, marks=HAS_COMMANDS_OF_PROVIDERS),
    ],
    ids=["ascii", "latin-1", "ascii-airflow"],
)
def test_a_terminal_that_lacks_a_character_shows_another_one(
    entry: list[str], output: str, terminal: dict[str, str], data_source: DataSource, airflow_home: Path
):
    data_source.show([listed("mine", "FAILED", ErrorMessage="f\u00fcr \u65e5\u672c only")])
    kendra = data_source.kendra

    done = _call(entry, "jobs", *data_source.ids, "-o", output, kendra=kendra, home=airflow_home, **terminal)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine" in done.stdout
    assert "only" in done.stdout


@pytest.mark.slow
def test_ctrl_c_ends_a_wait_with_a_sentence(data_source: DataSource, airflow_home: Path):
    data_source.show([listed("mine", "SYNCING")])
    wait = subprocess.Popen(
        [*MODULE, "wait", *data_source.ids, "mine"],
        env={**_env(airflow_home), "AIRFLOW_CONN_AWS_DEFAULT": data_source.kendra.connection_json},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell, and what it starts, would ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while wait.poll() is None and not data_source.kendra.call_count("ListDataSourceSyncJobs"):
        time.sleep(0.1)  # leaves the CPU to the command

    output, messages = _interrupted(wait)
    assert output == ""
    assert messages.endswith("Interrupted. A running sync continues.\n")
    assert wait.returncode == 130


def _interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Interrupt a process, again if that got lost: Python ignores an interrupt while it destroys an object."""
    for _ in range(6):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=10)
    process.kill()
    return process.communicate()


# documents


@pytest.fixture
def failing(data_source: DataSource) -> DataSource:
    """A data source with a sync in which two of three documents failed, and a later one without failures."""
    kendra = data_source.kendra
    kendra.set_sync_duration(0)
    kendra.set_clock(NOW - timedelta(days=2))
    kendra.set_documents(*data_source.ids, [{"id": name, "title": name.upper()} for name in ("a", "b", "c")])
    kendra.fail_documents(*data_source.ids, ["a", "b"], reason="Access Denied")
    data_source.start()
    kendra.advance_clock(86_400)
    data_source.start()
    kendra.set_clock(NOW)
    return data_source


def test_documents_shows_what_failed_in_a_sync_and_exits_with_1(failing: DataSource, run: Run):
    newest, first = failing.execution_ids()
    assert run("documents", *failing.ids).status == 0
    result = run("documents", *failing.ids, "--execution-id", first, "-o", "plain")
    assert result.status == 1
    assert [line.split()[:2] for line in result.out.splitlines()[1:]] == [["a", "crawl"], ["b", "crawl"]]
    assert "2 × Access Denied (crawl)" in result.err
    assert "2 documents failed.\n" in result.err
    assert newest not in result.err


def test_documents_shows_what_is_still_missing_after_a_green_sync(failing: DataSource, run: Run):
    result = run("documents", *failing.ids, "--missing", "--limit", "1", "-o", "json")
    assert result.status == 1
    assert [each["document_id"] for each in result.records] == ["a"]
    assert "2 documents are missing; 1 of them shown (--limit)." in result.err


def test_documents_says_when_nothing_failed_or_is_missing(failing: DataSource, run: Run):
    result = run("documents", *failing.ids)
    assert (result.status, "No document failed." in result.err) == (0, True)
    result = run("documents", *failing.ids, "--missing", "--lookback", "1h")
    assert (result.status, "No document is missing." in result.err) == (0, True)


@pytest.mark.parametrize(
    ("limit", "status", "message"),
    [("0.2", 1, "The index is too full."), ("0.25", 0, "No document failed."), ("1", 0, "No document failed.")],
)
def test_documents_checks_how_full_the_index_is_if_told_to(
    limit: str, status: int, message: str, failing: DataSource, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(CAPACITY, "ENTERPRISE_EDITION", (4, 10**9))
    result = run("documents", *failing.ids, "--max-index-share", limit)
    assert result.status == status
    assert "The index is 25% full: 1 of 4 documents" in result.err
    assert f"(--max-index-share {float(limit)})." in result.err
    assert message in result.err


def test_documents_that_failed_since_the_index_is_full_says_so(
    data_source: DataSource, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(CAPACITY, "ENTERPRISE_EDITION", (1, 10**9))
    data_source.kendra.set_quotas(documents=1)
    data_source.kendra.set_sync_duration(0)
    data_source.kendra.set_documents(*data_source.ids, [{"id": f"d{number}"} for number in range(15)])
    data_source.start()
    result = run("documents", *data_source.ids)
    assert (result.status, "The index is 100% full: 1 of 1 documents" in result.err) == (1, True)


@pytest.mark.parametrize("share", ["1.1", "90%", "-0.1", "nan", "much"])
def test_a_share_of_the_index_is_from_0_to_1(share: str, failing: DataSource, run: Run, capsys: Any):
    with pytest.raises(SystemExit):
        cli.make_parser("kendra").parse_args(["documents", *failing.ids, "--max-index-share", share])
    assert "is not a share from 0 to 1, such as 0.9" in capsys.readouterr().err


def test_documents_of_a_running_sync_says_that_it_has_not_finished(failing: DataSource, run: Run):
    failing.kendra.set_sync_duration(3600)
    result = run("documents", *failing.ids, "--execution-id", failing.start())
    assert (result.status, result.err.partition(":")[0]) == (0, "The sync has not finished")
    assert "Kendra reports no failed document so far." in result.err


def test_documents_of_a_failed_sync_without_a_count_says_that_kendra_reports_none(data_source: DataSource, run: Run):
    data_source.show([listed("failed", "FAILED", Metrics={}), listed("counted", "FAILED", Metrics=counts(failed=0))])
    data_source.kendra.client("logs").create_log_group(logGroupName=f"/aws/kendra/{data_source.index_id}")
    result = run("documents", *data_source.ids, "--execution-id", "failed")
    assert (result.status, "Kendra reports no failed document for it." in result.err) == (0, True)
    result = run("documents", *data_source.ids, "--execution-id", "counted")
    assert (result.status, "No document failed." in result.err) == (0, True)


def test_documents_of_an_incomplete_sync_without_a_count_are_not_known(data_source: DataSource, run: Run):
    data_source.show([listed("incomplete", "INCOMPLETE", Metrics={})])
    data_source.kendra.client("logs").create_log_group(logGroupName=f"/aws/kendra/{data_source.index_id}")
    result = run("documents", *data_source.ids)
    assert (result.status, "It is not known which documents failed." in result.err) == (2, True)
    assert "Kendra's logs do not name the documents that failed. The log events may be late" in result.err


def test_one_missing_document_is_a_singular(failing: DataSource, run: Run):
    failing.kendra.set_documents(*failing.ids, [{"id": "b", "title": "B"}, {"id": "c", "title": "C"}])
    failing.start()
    result = run("documents", *failing.ids, "--missing")
    assert (result.status, "1 document is missing.\n" in result.err) == (1, True)


def test_documents_that_cannot_be_read_are_reported_with_status_2(failing: DataSource, run: Run):
    failing.kendra.client("logs").delete_log_group(logGroupName=f"/aws/kendra/{failing.index_id}")
    result = run("documents", *failing.ids, "--missing")
    assert result.status == 2
    assert "does not exist" in result.err
    assert "It is not known which documents are missing." in result.err


def test_an_empty_id_of_a_sync_does_not_go_with_missing_documents(failing: DataSource, run: Run):
    result = run("documents", *failing.ids, "--missing", "--execution-id", "")
    assert (result.status, "--execution-id" in result.err) == (2, True)


def test_documents_that_failed_have_status_1_though_it_cannot_be_read_which(failing: DataSource, run: Run):
    failing.kendra.client("logs").delete_log_group(logGroupName=f"/aws/kendra/{failing.index_id}")
    execution_id = next(
        job.execution_id for job in KendraSyncJobsHook().list_sync_jobs(*failing.ids) if job.documents_failed
    )
    result = run("documents", *failing.ids, "--execution-id", execution_id)
    assert result.status == 1
    assert "documents failed; it is not known which." in result.err


def test_an_index_that_is_too_full_is_reported_though_documents_cannot_be_read(
    failing: DataSource, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(CAPACITY, "ENTERPRISE_EDITION", (4, 10**9))
    failing.kendra.client("logs").delete_log_group(logGroupName=f"/aws/kendra/{failing.index_id}")
    result = run("documents", *failing.ids, "--missing", "--max-index-share", "0.2")
    assert result.status == 1
    assert "It is not known which documents are missing. The index is too full." in result.err


def test_documents_that_failed_are_counted_though_the_index_is_too_full(
    failing: DataSource, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(CAPACITY, "ENTERPRISE_EDITION", (4, 10**9))
    result = run("documents", *failing.ids, "--missing", "--max-index-share", "0.2")
    assert (result.status, "2 documents are missing. The index is too full." in result.err) == (1, True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--missing", "--execution-id", "x"], "Pass either --missing or --execution-id"),
        (["--lookback", "1d"], "--lookback requires --missing."),
        (["--execution-id", "x"], "No such sync job"),
    ],
)
def test_documents_with_options_that_do_not_fit_is_rejected(
    options: list[str], reason: str, failing: DataSource, run: Run
):
    result = run("documents", *failing.ids, *options)
    assert (result.status, reason in result.err) == (2, True)


def test_documents_of_a_data_source_that_never_finished_a_sync_says_so(data_source: DataSource, run: Run):
    result = run("documents", *data_source.ids)
    assert (result.status, "No sync has finished yet" in result.err) == (2, True)


def test_a_narrow_terminal_shows_a_document_as_a_block(failing: DataSource, run: Run, terminal: Callable[[int], None]):
    _, first = failing.execution_ids()
    terminal(80)

    run("documents", *failing.ids, "--execution-id", first, "--limit", "1")

    assert [line.split(None, 1) for line in written("stdout").splitlines()][:1] == [["crawl", "a"]]
    assert "  reason  " in written("stdout")
    assert "2 documents failed; 1 of them shown" in written("stderr")


# names


@pytest.fixture
def named(index: Index) -> Index:
    """An index with data sources of which two share a name."""
    index.add("wiki", listed("of-wiki"))
    index.add("twin")
    index.add("twin")
    return index


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["jobs", "wiki"], 0),
        (["start", "wiki"], 0),
        (["stop", "wiki"], 0),
        (["wait", "wiki", "of-wiki"], 0),
        (["documents", "wiki", "--missing"], 2),  # there are no logs
    ],
)
def test_a_data_source_can_be_given_by_its_name(command: list[str], status: int, named: Index, run: Run):
    result = run(command[0], named.index_id, *command[1:])

    assert result.status == status, result.err
    assert named.kendra.call_count("ListDataSources") == 1


def test_an_id_costs_no_call(data_source: DataSource, run: Run):
    run("jobs", *data_source.ids)

    assert data_source.kendra.call_count("ListDataSources") == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("twin", r"2 data sources have the name 'twin': give the id of one, \S{36} or \S{36} \(index "),
        ("Wiki", r"No data source of the index has the id or the name 'Wiki': the index has twin, twin, wiki \(index "),
        ("wi/ki", "DATA_SOURCE is 'wi/ki', but must be 1 to 100 letters"),
    ],
)
def test_a_name_that_does_not_say_which_data_source_is_an_error(name: str, reason: str, named: Index, run: Run):
    result = run("stop", named.index_id, name)

    assert (result.status, result.out) == (2, "")
    assert re.match(reason, result.err)
    assert named.kendra.call_count("StopDataSourceSyncJob") == 0


def test_an_id_is_preferred_to_a_name():
    sources = [{"Id": "a", "Name": "b"}, {"Id": "b", "Name": "c"}]
    hook = SimpleNamespace(list_data_sources=lambda index_id: iter(sources))

    assert [find_data_source(hook, "index", text, print) for text in ("a", "b", "c")] == ["a", "b", "b"]  # type: ignore[arg-type]


def test_a_name_is_taken_as_an_id_where_names_cannot_be_looked_up(named: Index, run: Run):
    named.kendra.inject("ListDataSources", error="AccessDeniedException", status=400, message="not you")

    result = run("jobs", named.index_id, "wiki")

    assert result.status == 2
    assert result.err.startswith(
        "Names can't be looked up, so 'wiki' is taken as an id. Allow kendra:ListDataSources: "
    )
    assert "ListDataSourceSyncJobs" in result.err.splitlines()[-1]


# what messages call things


def test_names_of_data_sources_that_contain_those_of_parameters_are_left_as_they_are(index: Index, run: Run):
    index.kendra.create_s3_data_source(index.index_id, "documents", name="index_id_of_docs")

    result = run("freshness", index.index_id, "--max-age", "1h")

    assert "index_id_of_docs" in result.err


def test_messages_use_the_names_of_arguments_and_options(data_source: DataSource, run: Run):
    data_source.show([listed("mine")])

    absent = run("wait", *data_source.ids, "absent").err
    invalid = run("documents", *data_source.ids, "--execution-id", "a b").err
    unconnected = run("jobs", *data_source.ids, "--aws-conn-id", "a b").err

    assert "Check EXECUTION_ID, DATA_SOURCE, INDEX, connection and region." in absent
    assert invalid.startswith("EXECUTION_ID is 'a b'")
    assert unconnected.startswith("--aws-conn-id is 'a b'")
    assert "_id" not in absent + invalid + unconnected


def test_times_in_messages_have_no_microseconds(data_source: DataSource, run: Run, clock: Clock):
    clock.now = NOW + timedelta(microseconds=123_456)

    result = run("wait", *data_source.ids, "--started-after", "1h", "--timeout", "1m")

    assert "started at or after 2026-01-31T11:00:00+00:00" in result.err
