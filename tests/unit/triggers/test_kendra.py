"""The trigger of the sync job sensor."""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from airflow_provider_kendra.outcomes import Failed, Failure, Satisfied, outcome_from_event
from airflow_provider_kendra.sync_job import SyncJob
from airflow_provider_kendra.triggers.kendra import KendraDataFreshnessTrigger, KendraSyncJobTrigger
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS
from tests.conftest import NEWEST_START, counts, listed
from tests.virtual_time import run_in_virtual_time

if TYPE_CHECKING:
    from tests.conftest import DataSource

SECRETS = ("the-secret-key", "the-session-token")


@pytest.fixture
def source(custom_data_source: DataSource, monkeypatch: pytest.MonkeyPatch) -> DataSource:
    connection = json.loads(custom_data_source.kendra.connection_json)
    connection["password"] = SECRETS[0]
    connection["extra"] |= {
        "aws_session_token": SECRETS[1],
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    return custom_data_source


def fire(trigger: KendraSyncJobTrigger) -> list[Any]:
    """The payloads of all events, until the trigger ends."""

    async def run() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    return run_in_virtual_time(run())


def fire_once(source: DataSource, **arguments: Any) -> dict[str, Any]:
    (payload,) = fire(KendraSyncJobTrigger(**source.as_kwargs, **arguments))
    assert isinstance(payload, dict)
    return payload


FULL = listed(
    "mine",
    "FAILED",
    EndTime=NEWEST_START + timedelta(minutes=7),
    Metrics=counts(added=1, modified=2, deleted=3, failed=4, scanned=10),
    ErrorCode="InternalError",
    ErrorMessage="It broke.",
    DataSourceErrorCode="S3-1",
)


class TestEvent:
    def test_it_rebuilds_what_was_found(self, source: DataSource) -> None:
        source.show([FULL])
        payload = fire_once(source, execution_id="mine", target_statuses=["FAILED"])
        assert outcome_from_event(json.loads(json.dumps(payload))) == Satisfied(
            SyncJob(
                index_id=source.index_id,
                data_source_id=source.data_source_id,
                execution_id="mine",
                status="FAILED",
                start_time=NEWEST_START,
                end_time=NEWEST_START + timedelta(minutes=7),
                documents_added=1,
                documents_modified=2,
                documents_deleted=3,
                documents_failed=4,
                documents_scanned=10,
                error_code="InternalError",
                error_message="It broke.",
                data_source_error_code="S3-1",
            )
        )

    def test_it_rebuilds_what_was_not_acceptable(self, source: DataSource) -> None:
        source.show([FULL])
        outcome = outcome_from_event(json.loads(json.dumps(fire_once(source, execution_id="mine"))))
        assert isinstance(outcome, Failed)
        assert outcome.failure is Failure.NOT_ACCEPTABLE
        assert outcome.job is not None
        assert (outcome.job.execution_id, outcome.job.error_message) == ("mine", "It broke.")

    @pytest.mark.parametrize(
        ("arguments", "failure"),
        [
            ({"execution_id": "absent"}, Failure.NOT_FOUND),
            ({"execution_id": "a b"}, Failure.REFUSED),
            ({"started_after": "2099-01-01T00:00:00+00:00", "timeout": 300}, Failure.TIMED_OUT),
        ],
    )
    def test_it_rebuilds_why_it_failed(self, source: DataSource, arguments: dict[str, Any], failure: Failure) -> None:
        source.show([FULL])
        outcome = outcome_from_event(json.loads(json.dumps(fire_once(source, **arguments))))
        assert isinstance(outcome, Failed)
        assert (outcome.failure, outcome.job) == (failure, None)

    def test_it_comes_once(self, source: DataSource) -> None:
        source.show([listed("mine")])
        assert len(fire(KendraSyncJobTrigger(**source.as_kwargs, execution_id="mine"))) == 1


class TestWhereNoWorkerChecksFirst:
    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ({"started_after": "2026-01-31T05:00:00"}, "which has no time zone"),
            ({"started_after": "None"}, "started_after is 'None', but must be a datetime"),
            ({"execution_id": "None"}, "execution_id is 'None', but must be .* the template found no value"),
            ({"execution_id": "mine", "target_statuses": ["SYNCING"]}, "accepted statuses must be some of"),
            ({}, "Exactly one of execution_id and started_after must be given"),
            ({"execution_id": "mine", "index_id": "short"}, "index_id is 'short', but must be"),
        ],
    )
    def test_a_bad_argument_fails_the_wait_with_the_reason(
        self, source: DataSource, arguments: dict[str, Any], reason: str
    ) -> None:
        (payload,) = fire(KendraSyncJobTrigger(**{**source.as_kwargs, **arguments}))
        outcome = outcome_from_event(payload)
        assert isinstance(outcome, Failed)
        assert outcome.failure is Failure.REFUSED
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(outcome.message)
        assert source.kendra.call_count("ListDataSourceSyncJobs") == 0


class TestDeadline:
    def test_it_counts_from_the_beginning_of_the_wait_not_of_this_trigger(self, source: DataSource) -> None:
        source.show([listed("mine", "SYNCING")])
        since = datetime.now(UTC) - timedelta(hours=1)
        outcome = outcome_from_event(
            fire_once(source, execution_id="mine", timeout=3600, waiting_since=since.isoformat())
        )
        assert isinstance(outcome, Failed)
        assert outcome.failure is Failure.TIMED_OUT
        assert source.kendra.call_count("ListDataSourceSyncJobs") == 1

    def test_a_restart_of_the_triggerer_does_not_begin_not_found_timeout_anew(self, source: DataSource) -> None:
        source.show([])
        since = datetime.now(UTC) - timedelta(minutes=2)
        event = fire_once(source, execution_id="mine", not_found_timeout=120, waiting_since=since.isoformat())
        assert event["failure"] == "not_found"
        assert source.kendra.call_count("ListDataSourceSyncJobs") == 2  # one answer alone can be out of date

    def test_after_a_restart_of_the_triggerer_one_answer_without_the_job_does_not_fail_the_wait(
        self, source: DataSource
    ) -> None:
        source.show([], [listed("mine")])
        since = datetime.now(UTC) - timedelta(hours=2)
        event = fire_once(source, execution_id="mine", not_found_timeout=120, waiting_since=since.isoformat())
        assert event["failure"] is None

    def test_without_a_beginning_it_counts_from_when_the_trigger_runs(self, source: DataSource) -> None:
        source.show([listed("mine", "SYNCING")])
        fire_once(source, execution_id="mine", timeout=600, poll_interval=60)
        assert source.kendra.call_count("ListDataSourceSyncJobs") > 10


class TestSecrets:
    def test_there_are_none_in_what_airflow_stores(self, source: DataSource) -> None:
        trigger = KendraSyncJobTrigger(**source.as_kwargs, execution_id="mine")
        source.show([listed("mine")])
        fire(trigger)
        stored = f"{json.dumps(trigger.serialize())} {trigger!r}"
        assert not [secret for secret in SECRETS if secret in stored]

    @pytest.mark.parametrize("fault", [{"error": "AccessDeniedException"}, {"error": "ExpiredTokenException"}])
    def test_there_are_none_in_the_event(self, source: DataSource, fault: dict[str, str]) -> None:
        source.kendra.inject("ListDataSourceSyncJobs", **fault)
        payload = json.dumps(fire_once(source, execution_id="mine", timeout=60))
        assert fault["error"] in payload
        assert not [secret for secret in SECRETS if secret in payload]


class TestStartFromTrigger:
    """Without a worker that notes when the wait began, the time at which Airflow will end it says so."""

    NOW = datetime(2026, 1, 31, 6, tzinfo=UTC)

    @pytest.fixture(autouse=True)
    def _now(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow_provider_kendra._clock.utcnow", lambda: self.NOW)

    def began(self, ends: datetime | None, **arguments: Any) -> datetime:
        trigger = KendraSyncJobTrigger(index_id="i", data_source_id="s", execution_id="e", **arguments)
        trigger.timeout_after = ends  # type: ignore[attr-defined]  # as the triggerer does
        return trigger._began

    @pytest.mark.parametrize("ago", [0, 15, 3600])
    def test_a_restart_of_the_triggerer_begins_no_new_wait(self, ago: int) -> None:
        began = self.NOW - timedelta(seconds=ago)
        for _restart in range(3):
            assert self.began(began + timedelta(seconds=500), deferral_timeout=500.0) == began

    def test_each_try_has_a_wait_of_its_own(self) -> None:
        ends = [self.NOW + timedelta(seconds=300), self.NOW + timedelta(seconds=500)]
        assert [self.NOW - self.began(end, deferral_timeout=500) for end in ends] == [
            timedelta(seconds=200),
            timedelta(0),
        ]

    def test_a_clock_ahead_of_the_triggerers_begins_no_wait_in_the_future(self) -> None:
        assert self.began(self.NOW + timedelta(seconds=510), deferral_timeout=500) == self.NOW

    def test_a_database_may_give_a_time_without_a_zone(self) -> None:
        ends = (self.NOW + timedelta(seconds=300)).replace(tzinfo=None)
        assert self.began(ends, deferral_timeout=500) == self.NOW - timedelta(seconds=200)

    def test_what_a_worker_noted_has_priority(self) -> None:
        noted = "2026-01-31T05:00:00+00:00"
        assert self.began(self.NOW, deferral_timeout=500, waiting_since=noted) == datetime.fromisoformat(noted)

    @pytest.mark.parametrize(("ends", "arguments"), [(None, {"deferral_timeout": 500}), (NOW, {})])
    def test_where_it_is_not_known_the_wait_begins_now(self, ends: datetime | None, arguments: Any) -> None:
        assert self.began(ends, **arguments) == self.NOW


@pytest.mark.parametrize(
    ("limits", "failure"),
    [
        ({"timeout": 1800, "not_found_timeout": 7200}, Failure.TIMED_OUT),
        ({"timeout": 7200, "not_found_timeout": 1800}, Failure.NOT_FOUND),
    ],
    ids=str,
)
def test_a_triggerer_that_takes_a_wait_over_keeps_both_limits(
    source: DataSource, limits: dict[str, Any], failure: Failure
) -> None:
    source.show([])
    trigger = KendraSyncJobTrigger(**source.as_kwargs, execution_id="mine", deferral_timeout=9000, **limits)
    # As the triggerer does. The task was deferred an hour ago.
    trigger.timeout_after = datetime.now(UTC) + timedelta(seconds=9000 - 3600)  # type: ignore[attr-defined]

    (payload,) = fire(trigger)

    assert outcome_from_event(payload).failure is failure  # type: ignore[union-attr]
    # One answer without the job can be out of date.
    assert source.kendra.call_count("ListDataSourceSyncJobs") == (2 if failure is Failure.NOT_FOUND else 1)


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 puts the lines of its triggerer into a queue")
@pytest.mark.parametrize("trigger", ["sync job", "freshness"])
def test_a_log_that_takes_no_line_for_now_does_not_block_the_event_loop(source: DataSource, trigger: str) -> None:
    """Airflow's supervisor reads the log of its triggers and sends to them by turns."""
    source.show([listed("mine", "SYNCING")])

    async def main() -> None:
        structlog: Any = importlib.import_module("structlog")
        loop, written, is_read = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        class Socket:
            def info(self, line: str) -> None:
                loop.call_soon_threadsafe(written.set)
                assert is_read.wait(5), "the event loop did not go on"
                lines.append(line)

        logger = structlog.wrap_logger(
            Socket(),
            processors=[lambda _, __, event: event["event"]],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )
        lines: list[str] = []
        ids = {"index_id": source.index_id, "poll_interval": 0.1}
        made: Any = (
            KendraSyncJobTrigger(**ids, data_source_id=source.data_source_id, execution_id="mine")
            if trigger == "sync job"
            else KendraDataFreshnessTrigger(**ids, data_source_ids=[source.data_source_id], max_age=60)
        )
        with patch.object(type(made), "log", logger):
            waiting = asyncio.create_task(anext(made.run()))
            await asyncio.wait_for(written.wait(), 30)
            is_read.set()
            async with asyncio.timeout(30):
                while not lines and not waiting.done():
                    await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait({waiting})
        assert lines

    asyncio.run(main())
