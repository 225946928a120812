"""The guide on permissions: its tables are what each class calls, by the call log of the local Kendra."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_kendra import cli
from airflow_provider_kendra.exceptions import KendraSyncJobMetricsError, KendraSyncJobTimeoutError
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators import kendra as operators
from airflow_provider_kendra.operators.kendra import (
    KendraListSyncJobsOperator,
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.report import render_report
from airflow_provider_kendra.sensors import kendra as sensors
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor
from airflow_provider_kendra.triggers import kendra as triggers
from airflow_provider_kendra.triggers.kendra import (
    KendraDataFreshnessEventTrigger,
    KendraDataFreshnessTrigger,
    KendraSyncJobEventTrigger,
    KendraSyncJobTrigger,
)
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS
from tests.conftest import DataSource, listed
from tests.task_runs import Clock, TaskRun
from tests.unit.triggers.test_on_kill import kill, states
from tests.virtual_time import run_in_virtual_time

GUIDE = Path(__file__).parents[2] / "docs" / "howto"


def rows(*head: str) -> list[list[str]]:
    """The cells of the table of the guide that begins with these columns."""
    lines = (GUIDE / "iam.md").read_text("utf-8").splitlines()
    begin = lines.index(f"| {' | '.join(head)} |") + 2
    table = lines[begin : next(n for n in range(begin, len(lines)) if not lines[n].startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def actions(cell: str) -> set[str]:
    return set(re.findall(r"`(?:kendra:)?(\w+)`", cell))


ARNS = {
    name: set(arns.split(", "))
    for action, arns, _ in rows("action", "checked against", "without it")
    for name in actions(action)
}
TABLE = {
    name.replace("`", ""): (actions(needed), actions(also))
    for name, needed, also in rows("class, method or command", "needed", "also used")
}


@dataclass
class Place:
    """Data sources on the local Kendra, and the calls since `begin`."""

    source: DataSource
    custom: DataSource
    clock: Clock
    earlier: int = 0

    @property
    def ids(self) -> tuple[str, str]:
        return self.source.ids

    @property
    def by_name(self) -> tuple[str, str]:
        return self.source.index_id, "documents"

    @property
    def hook(self) -> KendraSyncJobsHook:
        return KendraSyncJobsHook()

    def begin(self) -> None:
        """Leave out the calls up to now, which prepared something."""
        self.earlier = self.source.kendra.call_count()

    @property
    def calls(self) -> list[Any]:
        return self.source.kendra.calls()[self.earlier :]

    def show_one(self) -> None:
        self.source.show([listed("job", StartTime=self.clock.utcnow())])

    def let_one_index(self) -> str:
        """Have a sync that is SYNCING_INDEXING, where a stop depends on the type of the data source."""
        execution_id = self.source.kendra.start_scheduled_sync(*self.ids)
        self.source.kendra.advance(*self.ids)
        return execution_id

    def run(self, operator: Callable[..., BaseOperator], **arguments: Any) -> None:
        arguments = {"index_id": self.ids[0], **arguments}
        TaskRun(lambda: operator(task_id="task", **arguments), self.clock).run()

    def command(self, *arguments: str) -> None:
        with self.clock.in_place(), suppress(SystemExit):
            args = cli.make_parser("kendra").parse_args(list(arguments))
            args.func(args)

    def fire(self, trigger: Any, seconds: float = 100.0) -> None:
        async def first() -> None:
            async for _ in trigger.run():
                return

        async def main() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(first(), seconds)

        run_in_virtual_time(main())


@pytest.fixture
def place(data_source: DataSource, custom_data_source: DataSource) -> Place:
    return Place(data_source, custom_data_source, Clock())


def start_operator(place: Place) -> None:
    with pytest.raises(KendraSyncJobTimeoutError):  # so that it stops its sync
        place.run(KendraStartSyncJobOperator, **place.source.as_kwargs, timeout=60, poll_interval=10)


def stop_operator(place: Place) -> None:
    place.let_one_index()
    place.clock.at(100, place.source.finish)
    place.run(KendraStopSyncJobOperator, **place.source.as_kwargs, poll_interval=10)


def trigger(place: Place) -> None:
    execution_id = place.source.kendra.start_scheduled_sync(*place.ids)
    waiting = KendraSyncJobTrigger(**place.source.as_kwargs, execution_id=execution_id, stop_on_kill=True, timeout=60)
    place.fire(waiting)
    kill(waiting, states("failed", "start"))


def in_batch(call: Callable[..., object]) -> Callable[[Place], None]:
    """Do it while a sync of a CUSTOM data source runs."""

    def scenario(place: Place) -> None:
        execution_id = place.custom.start()
        place.begin()
        call(place.hook, *place.custom.ids, execution_id)

    return scenario


def on_one(call: Callable[[Place], object], *, fails: bool = False) -> Callable[[Place], None]:
    """Do it where a sync has succeeded."""

    def scenario(place: Place) -> None:
        place.show_one()
        with place.clock.in_place(), pytest.raises(KendraSyncJobMetricsError) if fails else nullcontext():
            call(place)

    return scenario


def hook(name: str, *more: Any) -> Callable[[Place], None]:
    def call(place: Place) -> None:
        found = getattr(place.hook, name)(*place.ids, *more)
        if inspect.isgenerator(found):
            list(found)

    return on_one(call)


def with_logs(scenario: Callable[[Place], None]) -> Callable[[Place], None]:
    """Do it where Kendra has written logs; their reading is compared with the history."""

    def with_group(place: Place) -> None:
        place.source.kendra.client("logs").create_log_group(logGroupName=f"/aws/kendra/{place.ids[0]}")
        scenario(place)

    return with_group


def with_schedule(call: Callable[[Place], object]) -> Callable[[Place], None]:
    """Do it where a data source has a schedule, and a sync has succeeded."""

    def scenario(place: Place) -> None:
        place.source.set_schedule("cron(0 18 * * ? *)")
        place.begin()
        on_one(call)(place)

    return scenario


AGE = {"max_age": timedelta(days=9)}
GRACE = {"schedule_grace": timedelta(days=9)}
JOB = {"execution_id": "job"}
NAME = "a name of a data source"
SCENARIOS: dict[str, Callable[[Place], None]] = {
    "KendraStartSyncJobOperator": start_operator,
    "KendraStopSyncJobOperator": stop_operator,
    "KendraSyncJobMetricsOperator": on_one(lambda p: p.run(KendraSyncJobMetricsOperator, **p.source.as_kwargs)),
    "KendraSyncJobMetricsOperator with max_missing_documents": on_one(
        lambda p: p.run(KendraSyncJobMetricsOperator, **p.source.as_kwargs, max_missing_documents=0), fails=True
    ),
    "KendraSyncJobMetricsOperator with max_index_share": on_one(
        lambda p: p.run(KendraSyncJobMetricsOperator, **p.source.as_kwargs, max_index_share=0.9)
    ),
    "KendraListSyncJobsOperator": on_one(lambda p: p.run(KendraListSyncJobsOperator, **p.source.as_kwargs)),
    "KendraSyncJobSensor": on_one(lambda p: p.run(KendraSyncJobSensor, **p.source.as_kwargs, **JOB)),
    "KendraDataFreshnessSensor with data_source_ids": on_one(
        lambda p: p.run(KendraDataFreshnessSensor, data_source_ids=p.ids[1], **AGE)
    ),
    "KendraDataFreshnessSensor without data_source_ids": on_one(lambda p: p.run(KendraDataFreshnessSensor, **AGE)),
    "KendraDataFreshnessSensor with schedule_grace": with_schedule(
        lambda p: p.run(KendraDataFreshnessSensor, data_source_ids=p.ids[1], **GRACE)
    ),
    "KendraSyncJobTrigger": trigger,
    "KendraDataFreshnessTrigger with data_source_ids": on_one(
        lambda p: p.fire(KendraDataFreshnessTrigger(index_id=p.ids[0], data_source_ids=[p.ids[1]], max_age=60))
    ),
    "KendraDataFreshnessTrigger without data_source_ids": on_one(
        lambda p: p.fire(KendraDataFreshnessTrigger(index_id=p.ids[0], max_age=60))
    ),
    "KendraDataFreshnessTrigger with schedule_grace": with_schedule(
        lambda p: p.fire(KendraDataFreshnessTrigger(index_id=p.ids[0], data_source_ids=[p.ids[1]], schedule_grace=60))
    ),
    "KendraSyncJobEventTrigger": on_one(lambda p: p.fire(KendraSyncJobEventTrigger(**p.source.as_kwargs))),
    "KendraDataFreshnessEventTrigger with data_source_ids": on_one(
        lambda p: p.fire(KendraDataFreshnessEventTrigger(index_id=p.ids[0], data_source_ids=p.ids[1], max_age=60))
    ),
    "KendraDataFreshnessEventTrigger without data_source_ids": on_one(
        lambda p: p.fire(KendraDataFreshnessEventTrigger(index_id=p.ids[0], max_age=60))
    ),
    "KendraDataFreshnessEventTrigger with schedule_grace": with_schedule(
        lambda p: p.fire(
            KendraDataFreshnessEventTrigger(index_id=p.ids[0], data_source_ids=p.ids[1], schedule_grace=60)
        )
    ),
    **{
        f"KendraSyncJobsHook.{name}": hook(name)
        for name in (
            *("iter_sync_jobs", "list_sync_jobs", "get_latest_sync_job", "start_sync_job", "describe_data_source"),
        )
    },
    "KendraSyncJobsHook.get_sync_job": hook("get_sync_job", "job"),
    "KendraSyncJobsHook.stop_sync_job": lambda p: p.let_one_index() and p.hook.stop_sync_job(*p.ids),
    "KendraSyncJobsHook.list_data_sources": on_one(lambda p: list(p.hook.list_data_sources(p.ids[0]))),
    "KendraSyncJobsHook.put_documents": in_batch(
        lambda hook, *ids: hook.put_documents(*ids, [{"Id": "document", "Blob": b"text"}])
    ),
    "KendraSyncJobsHook.delete_documents": in_batch(lambda hook, *ids: hook.delete_documents(*ids, ["document"])),
    "KendraSyncJobsHook.get_document_status": on_one(lambda p: p.hook.get_document_status(p.ids[0], ["document"])),
    "KendraSyncJobsHook.get_failed_documents": hook("get_failed_documents", "job"),
    "KendraSyncJobsHook.get_missing_documents": with_logs(hook("get_missing_documents")),
    "KendraSyncJobsHook.describe_index": on_one(lambda p: p.hook.describe_index(p.ids[0])),
    "KendraSyncJobsHook.get_index_capacity": on_one(lambda p: p.hook.get_index_capacity(p.ids[0])),
    "render_report": on_one(lambda p: render_report(p.hook, p.ids[0])),
    "command jobs": on_one(lambda p: p.command("jobs", *p.ids)),
    "command freshness with --schedule-grace": on_one(
        lambda p: p.command("freshness", p.ids[0], "--schedule-grace", "30m")
    ),
    "command report with --schedule-grace": on_one(
        lambda p: p.command("report", p.ids[0], "--schedule-grace", "30m", "--output", "kendra.html")
    ),
    "render_report with schedule_grace": on_one(
        lambda p: render_report(p.hook, p.ids[0], schedule_grace=timedelta(minutes=30))
    ),
    "command freshness": on_one(lambda p: p.command("freshness", p.ids[0])),
    "command start": lambda p: p.command("start", *p.ids, "--wait", "--timeout", "60"),
    "command stop": lambda p: p.let_one_index() and p.command("stop", *p.ids),
    "command documents": on_one(lambda p: p.command("documents", *p.ids)),
    "command documents with --missing": with_logs(on_one(lambda p: p.command("documents", *p.ids, "--missing"))),
    "command documents with --max-index-share": on_one(
        lambda p: p.command("documents", *p.ids, "--max-index-share", "1")
    ),
    "command wait": on_one(lambda p: p.command("wait", *p.ids, "job")),
    f"command jobs with {NAME}": on_one(lambda p: p.command("jobs", *p.by_name)),
    f"command start with {NAME}": lambda p: p.command("start", *p.by_name, "--wait", "--timeout", "60"),
    f"command stop with {NAME}": lambda p: p.let_one_index() and p.command("stop", *p.by_name),
    f"command documents with {NAME}": on_one(lambda p: p.command("documents", *p.by_name)),
    f"command wait with {NAME}": on_one(lambda p: p.command("wait", *p.by_name, "job")),
    "command report": on_one(lambda p: p.command("report", p.ids[0], "--output", "kendra.html")),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_guide_names_the_actions_of_each_class_and_their_arns(
    name: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    needed, also = TABLE[name]
    place.begin()

    SCENARIOS[name](place)

    used = {call.operation for call in place.calls}
    if name == "KendraSyncJobTrigger" and not AIRFLOW_V_3_0_PLUS:
        also = set()  # the state of a task cannot be asked for, so that nothing is stopped
    assert used == needed | also
    assert {call.operation: arns_of(call) for call in place.calls} == {action: ARNS[action] for action in used}


def arns_of(call: Any) -> set[str]:
    """A call on a data source is checked against the ARN of its index too."""
    return {"index", "data source"} if {"Id", "IndexId"} <= call.parameters.keys() else {"index"}


@pytest.mark.parametrize("name", [name for name, (_, also) in TABLE.items() if also])
def test_what_is_also_used_may_be_denied(name: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for action in TABLE[name][1]:
        place.source.kendra.inject(action, error="AccessDeniedException", status=400, message="no")

    SCENARIOS[name](place)

    assert {"ListDataSourceSyncJobs"} <= {call.operation for call in place.calls}


def test_whatever_makes_calls_has_its_row():
    classes = {
        name
        for module in (operators, sensors, triggers)
        for name, each in vars(module).items()
        if name.startswith("Kendra") and inspect.isclass(each) and each.__module__ == module.__name__
        if issubclass(each, BaseOperator | triggers.BaseTrigger)
    }
    methods = {
        f"KendraSyncJobsHook.{name}"
        for name, method in vars(KendraSyncJobsHook).items()
        if not name.startswith("_") and inspect.isfunction(method)
        if "index_id" in inspect.signature(method).parameters
    }
    commands = {f"command {command.name}" for command in cli.COMMANDS if command.name != "demo"}  # it calls no AWS

    assert {re.sub(r" with(out)? .*", "", name) for name in TABLE} == {*classes, *methods, *commands, "render_report"}
    assert SCENARIOS.keys() == TABLE.keys()


def test_the_policy_allows_what_the_guide_names_on_its_arns_and_nothing_else():
    statements = json.loads((GUIDE / "iam-policy.json").read_text())["Statement"]
    arn = "arn:aws:kendra:REGION:ACCOUNT:index/INDEX_ID"
    named = {"index": arn, "data source": f"{arn}/data-source/DATA_SOURCE_ID"}

    assert [each["Sid"] for each in statements] == ["Read", "Capacity", "Logs", "StartAndStop", "Documents"]
    logs = statements.pop(2)
    assert logs["Action"] == ["logs:FilterLogEvents"]
    assert logs["Resource"] == ["arn:aws:logs:REGION:ACCOUNT:log-group:/aws/kendra/INDEX_ID:*"]
    allowed = [action.removeprefix("kendra:") for statement in statements for action in statement["Action"]]
    assert sorted(allowed) == sorted(ARNS) == sorted(set().union(*(needed | also for needed, also in TABLE.values())))
    for statement in statements:
        checked = set().union(*(ARNS[action.removeprefix("kendra:")] for action in statement["Action"]))
        assert set(statement["Resource"]) == {named[kind] for kind in checked}
