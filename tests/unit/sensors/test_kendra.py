"""The sync job sensor: what it takes and does, but for the outcome, which tests/integration/test_modes.py shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowSensorTimeout,
    AirflowTaskTimeout,
    BaseOperator,
    PokeReturnValue,
    TaskDeferred,
)

from airflow_provider_kendra import _clock
from airflow_provider_kendra._waiting import wait as waits
from airflow_provider_kendra.exceptions import KendraRequestError
from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from tests.conftest import counts, listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import DataSource

LIST = "ListDataSourceSyncJobs"

only_from_3_3 = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow starts from the trigger from 3.3 on")


@pytest.fixture
def make_sensor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., KendraSyncJobSensor]:
    monkeypatch.setattr(f"{BaseOperator.__module__}.ExecutorSafeguard.test_mode", True)

    def make(**arguments: Any) -> KendraSyncJobSensor:
        ids = {"index_id": "i" * 36, "data_source_id": "source"}
        return KendraSyncJobSensor(task_id="wait", **{**ids, **arguments})

    return make


class TestArguments:
    @pytest.mark.parametrize(
        "arguments", [{}, {"execution_id": "mine", "started_after": "2026-01-31T05:00:00+00:00"}], ids=["none", "both"]
    )
    def test_exactly_one_target_must_be_given(self, make_sensor: Any, arguments: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="wait: Exactly one of execution_id and started_after must be given"):
            make_sensor(**arguments)

    def test_its_time_out_is_airflows_own(self, make_sensor: Any) -> None:
        assert make_sensor(execution_id="mine", timeout=timedelta(minutes=5)).timeout == 300

    def test_a_bad_argument_is_refused_before_any_call(self, make_sensor: Any, data_source: DataSource) -> None:
        for deferrable in (False, True):
            sensor = make_sensor(**data_source.as_kwargs, execution_id="a b", deferrable=deferrable)
            with pytest.raises(KendraRequestError, match="wait: execution_id is 'a b'"):
                sensor.execute({})
        assert data_source.kendra.call_count(LIST) == 0


class TestExecutionTimeout:
    @pytest.mark.parametrize("soft", [{}, {"soft_fail": True}, {"never_fail": True}], ids=["", "soft", "never"])
    def test_during_a_request_it_is_the_same_as_between_two(
        self, make_sensor: Any, monkeypatch: pytest.MonkeyPatch, soft: dict[str, bool]
    ) -> None:
        def pass_the_limit(*args: Any) -> None:
            raise AirflowTaskTimeout("Timeout, PID: 7")

        monkeypatch.setattr(waits, "poll_once", pass_the_limit)
        with pytest.raises(AirflowTaskTimeout, match="PID: 7"):
            make_sensor(execution_id="mine", deferrable=False, **soft).execute({})


class TestDeferral:
    def defer(self, sensor: KendraSyncJobSensor) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute({})
        return deferred.value

    def test_nothing_is_asked_before_the_trigger_runs(self, make_sensor: Any, data_source: DataSource) -> None:
        self.defer(make_sensor(**data_source.as_kwargs, execution_id="mine", deferrable=True))
        assert data_source.kendra.call_count(LIST) == 0

    def test_airflow_times_out_only_after_the_trigger(self, make_sensor: Any) -> None:
        deferred = self.defer(make_sensor(execution_id="mine", deferrable=True, timeout=600))
        assert deferred.trigger.timeout == 600
        assert deferred.timeout > timedelta(seconds=600 + _clock.OVERRUN)

    def test_the_deadline_is_absolute(self, make_sensor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        began = datetime(2026, 1, 31, 6, tzinfo=UTC)
        monkeypatch.setattr(_clock, "utcnow", lambda: began)
        deferred = self.defer(make_sensor(execution_id="mine", deferrable=True))
        assert datetime.fromisoformat(deferred.trigger.waiting_since) == began

    FAIL, TIME_OUT = "__fail__", {"error": "Trigger timeout"}  # what Airflow resumes with when it ends a deferral

    @pytest.mark.parametrize("soft", [{}, {"soft_fail": True}, {"never_fail": True}], ids=["", "soft", "never"])
    @pytest.mark.parametrize(
        "arguments",
        [
            pytest.param({"start_from_trigger": True}, marks=only_from_3_3),
            pytest.param(
                {"deferrable": True},
                marks=pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="Airflow 3 lets a deferral outlast the limit"),
            ),
        ],
        ids=["from trigger", "deferred"],
    )
    def test_execution_timeout_is_named_and_can_be_retried(
        self, make_sensor: Any, arguments: dict[str, Any], soft: dict[str, bool]
    ) -> None:
        limit = timedelta(seconds=90)
        sensor = make_sensor(execution_id="mine", timeout=600, execution_timeout=limit, **arguments, **soft)
        with pytest.raises(AirflowTaskTimeout, match=r"^execution_timeout \(0:01:30\) has passed .* below timeout"):
            sensor.resume_execution(self.FAIL, self.TIME_OUT, {})

    @pytest.mark.parametrize("limit", [None, 600, 610, 100_000])
    @pytest.mark.parametrize("mode", ["deferrable", "start_from_trigger"])
    def test_any_other_time_out_of_airflow_is_the_sensors_own(
        self, make_sensor: Any, mode: str, limit: int | None
    ) -> None:
        limits = {} if limit is None else {"execution_timeout": timedelta(seconds=limit)}
        sensor = make_sensor(execution_id="mine", timeout=600, **limits, **{mode: True})
        with pytest.raises(AirflowSensorTimeout, match="wait: the trigger fired no event in time"):
            sensor.resume_execution(self.FAIL, self.TIME_OUT, {})

    @pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 enforces execution_timeout in a deferral")
    def test_execution_timeout_does_not_end_an_ordinary_deferral(self, make_sensor: Any) -> None:
        sensor = make_sensor(execution_id="mine", timeout=600, execution_timeout=timedelta(seconds=90), deferrable=True)
        with pytest.raises(AirflowSensorTimeout, match="wait: the trigger fired no event in time"):
            sensor.resume_execution(self.FAIL, self.TIME_OUT, {})

    def test_a_time_travels_as_text(self, make_sensor: Any) -> None:
        cutoff = datetime(2026, 1, 31, 6, tzinfo=UTC)
        deferred = self.defer(make_sensor(started_after=cutoff, deferrable=True))
        assert deferred.trigger.serialize()[1]["started_after"] == "2026-01-31T06:00:00+00:00"


class TestPoke:
    def test_a_poll_of_a_running_job_is_one_call(self, make_sensor: Any, data_source: DataSource) -> None:
        data_source.show_long_history(30, job_1={"Status": "SYNCING"})
        assert make_sensor(**data_source.as_kwargs, execution_id="job-1").poke({}) is False
        assert data_source.kendra.call_count(LIST) == 1

    def test_what_it_returns_is_the_record(self, make_sensor: Any, data_source: DataSource) -> None:
        data_source.show([listed("mine", Metrics=counts(added=3))])
        result = make_sensor(**data_source.as_kwargs, execution_id="mine").poke({})
        assert isinstance(result, PokeReturnValue)
        assert (result.is_done, result.xcom_value["documents_added"]) == (True, 3)

    def test_the_log_tells_changes_once(
        self, make_sensor: Any, data_source: DataSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        crawling, indexing = [listed("mine", "SYNCING")], [listed("mine", "SYNCING_INDEXING")]
        data_source.show(crawling, crawling, indexing, indexing, [listed("mine")])
        sensor = make_sensor(**data_source.as_kwargs, execution_id="mine")
        lines: list[str] = []
        monkeypatch.setattr(sensor.log, "info", lambda text, *values: lines.append(text % values if values else text))
        for _ in range(5):
            sensor.poke({})
        assert [line.split()[0] for line in lines[:2]] == ["SYNCING", "SYNCING_INDEXING"]
        assert [line.partition(":")[0] for line in lines[2:]] == ["Sync SUCCEEDED"]


class TestStartFromTrigger:
    @only_from_3_3
    def test_what_another_task_returned_is_pulled_in_a_way_the_triggerer_can_answer(self, make_sensor: Any) -> None:
        with DAG("dag", schedule=None):
            start = BaseOperator(task_id="start")
            sensor = make_sensor(execution_id=start.output["execution_id"], start_from_trigger=True)
        template = sensor.start_trigger_args.trigger_kwargs["execution_id"]
        assert "map_indexes=-1" in template
        assert sensor.upstream_task_ids == {"start"}

    @only_from_3_3
    @pytest.mark.parametrize("field", ["execution_id", "started_after"])
    def test_a_template_that_the_triggerer_cannot_answer_is_refused(self, make_sensor: Any, field: str) -> None:
        with pytest.raises(ValueError, match=r"wait: .*map_indexes=-1"):
            make_sensor(**{field: "{{ ti.xcom_pull(task_ids='start') }}"}, start_from_trigger=True)

    def test_it_means_deferrable_wherever_a_worker_begins_it_nevertheless(self, make_sensor: Any) -> None:
        assert make_sensor(execution_id="mine", start_from_trigger=True).deferrable is True
