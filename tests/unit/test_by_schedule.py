"""Waits that judge freshness by the schedules in Kendra: over HTTP against the local Kendra, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_kendra import _clock
from airflow_provider_kendra._decisions import Blocked
from airflow_provider_kendra._waiting import freshness
from airflow_provider_kendra._waiting.conditions import Fresh
from airflow_provider_kendra._waiting.index import Index
from airflow_provider_kendra._waiting.states import Limits
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.outcomes import AllFresh, Failed, Failure
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor
from airflow_provider_kendra.sync_job import Acceptance
from tests.conftest import DataSource, listed
from tests.unit.test_states import watched
from tests.unit.test_watching import (
    AWS,
    LIST,
    LIST_SOURCES,
    _even,  # noqa: F401 - no jitter
    assert_nothing_is_left,
    until,
    wait,
)
from tests.virtual_time import run_in_virtual_time

DESCRIBE = "DescribeDataSource"
BEGIN = datetime(2026, 1, 31, 18, 40, tzinfo=UTC)
"""With half an hour of grace, a run at 18:00 has been overdue for ten minutes."""
DAILY = "cron(0 18 * * ? *)"
GRACE = timedelta(minutes=30)
CONDITION = Fresh(Acceptance(), grace=GRACE)


def run(main: Callable[[], Any]) -> None:
    async def whole() -> None:
        await main()
        await assert_nothing_is_left()

    run_in_virtual_time(whole(), BEGIN)


def item(minutes: float, status: str = "SUCCEEDED", **members: Any) -> dict[str, Any]:
    """A sync that started so many minutes after 18:00."""
    start = datetime(2026, 1, 31, 18, tzinfo=UTC) + timedelta(minutes=minutes)
    return listed(f"job-{minutes:g}", status, StartTime=start, **members)


YESTERDAY = item(-24 * 60)
FAILED = item(0.1, "FAILED", ErrorMessage="No such bucket")


@pytest.fixture
def daily(data_source: DataSource) -> DataSource:
    data_source.set_schedule(DAILY)
    return data_source


def another(source: DataSource, schedule: str = DAILY) -> DataSource:
    created = source.client.create_data_source(
        IndexId=source.index_id, Name="another", Type="S3", RoleArn="arn:aws:iam::123456789012:role/kendra",
        Configuration={"S3Configuration": {"BucketName": "documents"}}, Schedule=schedule,
    )  # fmt: skip
    return replace(source, data_source_id=created["Id"])


def test_200_watchers_and_1000_waits_read_each_schedule_once_in_15_minutes(daily: DataSource) -> None:
    kendra, index_id = daily.kendra, daily.index_id
    sources = [daily, *(another(daily) for _ in range(49))]
    ids = tuple(source.data_source_id for source in sources)
    for source in sources:
        source.show([YESTERDAY])
    before = {operation: kendra.call_count(operation) for operation in (DESCRIBE, LIST_SOURCES)}

    def calls(operation: str) -> Counter[str]:
        return Counter(call.parameters.get("Id", "") for call in kendra.calls(operation)[before.get(operation, 0) :])

    async def main() -> None:
        limits = Limits(Acceptance(), grace=GRACE)
        watchers = [watched(sources[number % 50], limits, interval=300) for number in range(195)]
        watchers += [watched(daily, limits, ids=None, interval=300) for _ in range(5)]
        waits = [wait(index_id, (ids[number % 50],), CONDITION, interval=300) for number in range(940)]
        waits += [wait(index_id, ids, CONDITION, interval=300) for _ in range(50)]
        waits += [wait(index_id, None, CONDITION, interval=300) for _ in range(10)]
        for polls in (1, 2, 3, 4, 5, 6):
            await until(polls * 300 - 150)
            assert calls(LIST) == dict.fromkeys(ids, polls)
            assert calls(LIST_SOURCES) == {"": polls}
            assert calls(DESCRIBE) == dict.fromkeys(ids, 1 if polls <= 3 else 2)
        for source in sources:
            source.show([item(60)])
        outcomes = await asyncio.gather(*(each.task for each in waits))
        assert {type(outcome) for outcome in outcomes} == {AllFresh}
        assert calls(LIST) == dict.fromkeys(ids, 7)
        await until(6 * 300 + 60)  # the watchers read the schedules again
        assert calls(DESCRIBE) == dict.fromkeys(ids, 3)
        for watcher in watchers:
            await watcher.cancel()

    run(main)


def test_a_wait_passes_when_a_sync_has_started_since_the_run_that_is_overdue(daily: DataSource) -> None:
    async def main() -> None:
        daily.show([item(0), YESTERDAY])
        outcome = await wait(*ids_of(daily), CONDITION).task
        assert isinstance(outcome, AllFresh)
        assert (daily.kendra.call_count(DESCRIBE), daily.kendra.call_count(LIST)) == (1, 1)

    run(main)


def ids_of(*sources: DataSource) -> tuple[str, tuple[str, ...]]:
    return sources[0].index_id, tuple(source.data_source_id for source in sources)


def test_the_log_tells_a_sync_that_did_not_start_from_one_that_failed_and_one_that_runs(daily: DataSource) -> None:
    async def main() -> None:
        daily.show([YESTERDAY])
        waiting = wait(*ids_of(daily), CONDITION)
        await until(30)
        daily.show([FAILED, YESTERDAY])
        await until(90)
        daily.show([item(0.1, "SYNCING"), YESTERDAY])
        await until(150)
        daily.show([item(0.1), YESTERDAY])
        assert isinstance(await waiting.task, AllFresh)
        run = "the scheduled sync of 2026-01-31 18:00 UTC"
        assert [line.partition(" (")[2] for line in waiting.lines] == [
            f"{run} did not start)",
            f"{run} started and FAILED: No such bucket)",
            f"{run} is running: SYNCING (no documents yet))",
        ]

    run(main)


def test_a_time_out_says_what_became_of_the_scheduled_sync(daily: DataSource) -> None:
    async def main() -> None:
        daily.show([FAILED, YESTERDAY])
        outcome = await wait(*ids_of(daily), CONDITION, timeout=120).task
        assert isinstance(outcome, Failed)
        assert outcome.message.startswith(
            "Timed out: not fresh: documents (the scheduled sync of 2026-01-31 18:00 UTC started and "
            "FAILED: No such bucket; last acceptable sync 1 day, 0:42:00 ago). "
        )

    run(main)


def test_a_sync_is_no_longer_fresh_when_the_next_run_becomes_overdue_between_two_polls(daily: DataSource) -> None:
    other = another(daily)

    async def main() -> None:
        daily.set_schedule("cron(45 18 * * ? *)")
        daily.show([item(0)])  # fresh until 19:15
        other.show([])
        waiting = wait(*ids_of(daily, other), CONDITION, interval=3600)
        await until(34 * 60)
        other.show([item(70), YESTERDAY])
        await until(61 * 60)
        assert not waiting.task.done()
        await waiting.cancel()

    run(main)


def test_a_schedule_that_is_changed_in_kendra_counts_after_15_minutes(daily: DataSource) -> None:
    async def main() -> None:
        daily.show([item(-60), YESTERDAY])
        waiting = wait(*ids_of(daily), CONDITION)
        await until(30)
        daily.set_schedule("cron(0 16 * * ? *)")
        await until(14 * 60)
        assert not waiting.task.done()
        await until(17 * 60)
        assert waiting.task.done()
        assert isinstance(await waiting.task, AllFresh)

    run(main)


@pytest.mark.parametrize("error", ["ThrottlingException", "InternalServerException", "ExpiredTokenException"])
def test_a_transient_error_of_the_schedule_neither_fails_a_wait_nor_forgets_the_last_one(
    daily: DataSource, error: str
) -> None:
    kendra = daily.kendra

    async def main() -> None:
        daily.show([YESTERDAY])
        kendra.inject(DESCRIBE, error=error, times=2)
        waiting = wait(*ids_of(daily), CONDITION)
        await until(300)
        assert "did not start" in waiting.lines[-1]
        kendra.inject(DESCRIBE, error=error)
        await until(1000)
        assert not waiting.task.done()
        daily.show([item(60), YESTERDAY])
        assert isinstance(await waiting.task, AllFresh)

    run(main)


def test_a_wait_that_never_gets_a_schedule_times_out_with_the_reason(daily: DataSource) -> None:
    async def main() -> None:
        daily.show([item(0)])
        daily.kendra.inject(DESCRIBE, error="ThrottlingException")
        outcome = await wait(*ids_of(daily), CONDITION, timeout=300).task
        assert isinstance(outcome, Failed)
        assert outcome.failure is Failure.TIMED_OUT
        assert "the last poll failed: ThrottlingException" in outcome.message

    run(main)


def test_a_wait_that_begins_long_after_its_deadline_reads_schedule_and_syncs_once(daily: DataSource) -> None:
    async def main() -> None:
        daily.show([item(0)])
        assert isinstance(await wait(*ids_of(daily), CONDITION, timeout=-3600).task, AllFresh)
        assert isinstance(await wait(daily.index_id, None, CONDITION, timeout=-3600).task, AllFresh)

    run(main)


def test_who_may_not_read_the_schedule_is_told_the_permission(daily: DataSource) -> None:
    async def main() -> None:
        daily.kendra.inject(DESCRIBE, error="AccessDeniedException")
        for ids in (ids_of(daily)[1], None):
            outcome = await wait(daily.index_id, ids, CONDITION).task
            assert isinstance(outcome, Failed)
            assert outcome.failure is Failure.REFUSED
            assert "kendra:DescribeDataSource" in outcome.message
            name = "" if ids else "documents "
            assert f"the schedule of data source {name}{daily.data_source_id}" in outcome.message

    run(main)


NO_SCHEDULE = "No usable schedule: it has no schedule in Kendra. schedule_grace needs one: give the data source a"
UNREADABLE = "No usable schedule: its schedule 'cron(0 18 15 * 2 *)' can't be read: it names both days of the month and"


@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize(("schedule", "reason"), [("", NO_SCHEDULE), ("cron(0 18 15 * 2 *)", UNREADABLE)])
def test_a_data_source_without_a_usable_schedule_fails_the_wait(
    daily: DataSource, monkeypatch: pytest.MonkeyPatch, is_listed: bool, schedule: str, reason: str
) -> None:
    other = another(daily)
    describe = KendraSyncJobsHook.describe_data_source
    monkeypatch.setattr(
        KendraSyncJobsHook,
        "describe_data_source",
        lambda hook, index, key: describe(hook, index, key) | ({"Schedule": schedule} if key == ids[1] else {}),
    )
    index_id, ids = ids_of(daily, other)

    async def main() -> None:
        daily.show([item(0)])
        other.show([item(0)])
        outcome = await wait(index_id, None if is_listed else ids, CONDITION).task
        assert isinstance(outcome, Failed)
        assert outcome.failure is Failure.REFUSED
        assert outcome.message.startswith(reason)
        assert outcome.message.endswith(f"(data source another {ids[1]}, index {index_id}).")

    run(main)


def test_after_a_schedule_has_been_added_the_next_wait_does_not_go_by_what_others_have_read(daily: DataSource) -> None:
    async def main() -> None:
        daily.show([item(0)])
        daily.set_schedule("")
        watching = watched(daily, Limits(Acceptance(), grace=GRACE))
        await until(30)
        assert isinstance(await wait(*ids_of(daily), CONDITION).task, Failed)
        daily.set_schedule(DAILY)
        assert isinstance(await wait(*ids_of(daily), CONDITION).task, AllFresh)
        await watching.cancel()

    run(main)


def test_a_data_source_with_a_schedule_that_is_deleted_no_longer_blocks_a_wait(daily: DataSource) -> None:
    deleted = another(daily)
    ids = ids_of(daily)

    async def main() -> None:
        daily.show([item(0)])
        deleted.show([YESTERDAY])
        waiting = wait(daily.index_id, None, CONDITION)
        await until(30)
        daily.client.delete_data_source(IndexId=daily.index_id, Id=deleted.data_source_id)
        outcome = await waiting.task
        assert isinstance(outcome, AllFresh)
        assert tuple(outcome.jobs) == ids[1]

    run(main)


@pytest.mark.parametrize(("status", "is_judged"), [("UPDATING", True), ("CREATING", False), ("FAILED", False)])
def test_only_data_sources_that_can_be_synced_need_a_schedule(daily: DataSource, status: str, is_judged: bool) -> None:
    other = another(daily, schedule="")
    daily.kendra.set_data_source_status(*other.ids, status)

    async def main() -> None:
        daily.show([item(0)])
        outcome = await wait(daily.index_id, None, CONDITION).task
        assert isinstance(outcome, Failed if is_judged else AllFresh)

    run(main)


class TestSensor:
    @pytest.mark.parametrize(
        "arguments",
        [{}, {"schedule_grace": 60, "max_age": 60}, {"schedule_grace": 0, "fresh_since": "2026-01-31T06:00:00Z"}],
    )
    def test_exactly_one_limit_must_be_given(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="gate: Exactly one of max_age, fresh_since and schedule_grace"):
            KendraDataFreshnessSensor(task_id="gate", index_id="i" * 36, **arguments)

    @pytest.mark.parametrize("grace", [-1, timedelta(seconds=-1), "30m", True, float("nan")])
    def test_an_invalid_grace_fails_the_parsing_of_the_dag(self, grace: Any) -> None:
        with pytest.raises(ValueError, match=r"schedule_grace is .*, but must be a timedelta or a number of seconds"):
            KendraDataFreshnessSensor(task_id="gate", index_id="i" * 36, schedule_grace=grace)

    @pytest.mark.parametrize("grace", [timedelta(minutes=30), 1800, 1800.0])
    def test_the_grace_reaches_the_trigger_in_seconds(self, grace: Any) -> None:
        sensor = KendraDataFreshnessSensor(task_id="gate", index_id="i" * 36, schedule_grace=grace)
        trigger = sensor._make_trigger(waiting_since=BEGIN.isoformat())
        _, arguments = trigger.serialize()
        assert arguments["schedule_grace"] == 1800
        assert type(trigger)(**arguments)._condition() == CONDITION

    def test_it_can_be_mapped(self) -> None:
        with DAG("dag", schedule=None, start_date=BEGIN):
            mapped = KendraDataFreshnessSensor.partial(task_id="gate", index_id="i" * 36).expand(
                schedule_grace=[60, timedelta(hours=1)]
            )
        assert mapped.unmap({"schedule_grace": timedelta(hours=1)}).schedule_grace == timedelta(hours=1)


class TestWorker:
    """Poke and reschedule mode."""

    @staticmethod
    def pokes(source: DataSource, lines: list[str]) -> freshness.FreshnessPokes:
        index = Index(AWS, source.index_id, (source.data_source_id,))
        return freshness.FreshnessPokes(
            index, CONDITION, since=BEGIN, deadline=BEGIN + timedelta(hours=3), log=lines.append
        )

    def test_it_keeps_a_schedule_for_15_minutes(self, daily: DataSource, monkeypatch: pytest.MonkeyPatch) -> None:
        daily.show([YESTERDAY])
        lines: list[str] = []
        pokes, hook = self.pokes(daily, lines), KendraSyncJobsHook._of(AWS)
        described = []
        for minute in range(31):
            monkeypatch.setattr(_clock, "utcnow", lambda minute=minute: BEGIN + timedelta(minutes=minute))
            assert pokes.poll(hook) is None
            described.append(daily.kendra.call_count(DESCRIBE))
        assert described == [1] * 15 + [2] * 15 + [3]
        assert len(lines) == 7  # the first, and one in five minutes
        assert "the scheduled sync of 2026-01-31 18:00 UTC did not start" in lines[0]

    def test_a_transient_error_leaves_the_schedule_as_it_was(
        self, daily: DataSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        daily.show([YESTERDAY])
        pokes, hook = self.pokes(daily, []), KendraSyncJobsHook._of(AWS)
        monkeypatch.setattr(_clock, "utcnow", lambda: BEGIN)
        daily.kendra.inject(DESCRIBE, error="ThrottlingException", times=1)
        assert pokes.poll(hook) is None
        assert pokes.poll(hook) is None
        monkeypatch.setattr(_clock, "utcnow", lambda: BEGIN + timedelta(hours=1))
        daily.kendra.inject(DESCRIBE, error="ThrottlingException")
        daily.show([item(60)])
        assert isinstance(pokes.poll(hook), AllFresh)

    def test_a_schedule_that_does_not_come_in_time_ends_the_wait(
        self, daily: DataSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        daily.show([item(0)])
        daily.kendra.inject(DESCRIBE, delay=1)
        hook = KendraSyncJobsHook._of(AWS)
        _ = hook.conn
        index = Index(AWS, daily.index_id, (daily.data_source_id,))
        outcome = freshness.poll_all(hook, index, CONDITION, {}, _clock.utcnow() + timedelta(seconds=0.2))
        assert isinstance(outcome, Failed)
        assert "no response before the time-out" in outcome.message

    def test_a_data_source_that_was_deleted_when_listed_is_not_judged(self, daily: DataSource) -> None:
        deleted = another(daily)
        daily.show([item(0)])
        list_data_sources = KendraSyncJobsHook.list_data_sources

        class Hook(KendraSyncJobsHook):
            def list_data_sources(self, index_id: str) -> Any:
                found = list(list_data_sources(self, index_id))
                if len(found) == 2:
                    daily.client.delete_data_source(IndexId=index_id, Id=deleted.data_source_id)
                return iter(found)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(_clock, "utcnow", lambda: BEGIN)
            outcome = freshness.poll_all(
                Hook._of(AWS), Index(AWS, daily.index_id, None), CONDITION, {}, BEGIN + timedelta(hours=1)
            )
        assert not isinstance(outcome, Failed | Blocked), outcome
        assert tuple(outcome.jobs) == (daily.data_source_id,)
