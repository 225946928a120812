"""One decision, three ways to wait: whatever happens, every mode ends in the same way."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException

from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from tests.integration.modes import TASK_ID, Ending, Wait
from tests.integration.scenarios import LIST, SCENARIOS, Passes, Raises, Scenario, faulty, job

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_kendra.testing import LocalKendra

MODES = ("poke", "reschedule", "defer", "start_from_trigger")


class Stage:
    """A local Kendra with one data source, on which scenarios are played."""

    def __init__(self, kendra: LocalKendra) -> None:
        self.kendra = kendra
        self.index_id = kendra.create_index()
        self.data_source_id = kendra.create_custom_data_source(self.index_id)

    def play(self, scenario: Scenario, mode: str) -> tuple[Ending, int]:
        """Let it happen to a wait in this mode; returns how that ended, and how many calls it took."""
        self.kendra.clear_faults()
        self.kendra.set_empty_first_page(scenario.has_empty_first_page)
        self.kendra.set_history(self.index_id, self.data_source_id, *scenario.histories)
        for fault in scenario.faults:
            self.kendra.inject(LIST, **fault)
        before = self.kendra.call_count(LIST)
        arguments = {
            "index_id": self.index_id,
            "data_source_id": self.data_source_id,
            "execution_id": scenario.execution_id,
            "started_after": scenario.started_after,
            "timeout": 3600,
            **scenario.arguments,
        }
        with _look_ups(scenario.look_ups):
            ending = Wait(arguments, dict(scenario.params)).run(mode)
        return ending, self.kendra.call_count(LIST) - before


@contextmanager
def _look_ups(results: Sequence[BaseException | None]) -> Iterator[None]:
    """Let the first look-ups of a connection have these results."""
    true = AwsBaseHook.get_connection
    coming = iter(results)

    def look_up(conn_id: str) -> Any:
        if (error := next(coming, None)) is not None:
            raise error
        return true(conn_id)

    with patch.object(AwsBaseHook, "get_connection", look_up):
        yield


def _connection(kendra: LocalKendra, **changes: Any) -> str:
    connection = json.loads(kendra.connection_json)
    # One look is to be one call: what botocore's own retries hide, no wait sees.
    extra = {**connection["extra"], "config_kwargs": {"retries": {"total_max_attempts": 1}}, **changes.pop("extra", {})}
    return json.dumps({**connection, "extra": extra, **changes})


@pytest.fixture
def stage(local_kendra: LocalKendra, monkeypatch: pytest.MonkeyPatch) -> Stage:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", _connection(local_kendra))
    monkeypatch.setenv("AIRFLOW_CONN_WITHOUT_CREDENTIALS", _connection(local_kendra, login=None, password=None))
    monkeypatch.setenv("AIRFLOW_CONN_WITHOUT_REGION", _connection(local_kendra, extra={"region_name": None}))
    monkeypatch.setenv("AIRFLOW_CONN_UNKNOWN_PROFILE", _connection(local_kendra, extra={"profile_name": "missing"}))
    monkeypatch.setenv("AIRFLOW_CONN_BAD_CONFIG", _connection(local_kendra, extra={"config_kwargs": {"retrys": 1}}))
    monkeypatch.setenv("AIRFLOW_CONN_BAD_EXTRA", "aws://testing:testing@/?__extra__=%7Bregion")
    monkeypatch.setenv("AIRFLOW_CONN_NO_JSON", _connection(local_kendra)[:-1])
    return Stage(local_kendra)


def _check(ending: Ending, expected: Passes | Raises) -> None:
    if isinstance(expected, Passes):
        assert ending.error is None, ending.message
        assert {"execution_id": expected.execution_id, **expected.values}.items() <= ending.result.items()
        return
    assert ending.error is expected.error, ending
    assert not [name for name in expected.named if name not in ending.message], ending.message
    assert (ending.job and ending.job.execution_id) == expected.execution_id


@pytest.mark.parametrize("scenario", [pytest.param(each, id=each.name) for each in SCENARIOS])
def test_every_mode_ends_in_the_same_way(stage: Stage, scenario: Scenario) -> None:
    endings = {}
    for mode in MODES:
        ending, calls = stage.play(scenario, mode)
        _check(ending, scenario.expected)
        assert "secret" not in ending.message
        assert scenario.calls in (None, calls), mode
        # Where nobody has a worker to check an argument on, nobody knows the task's name either.
        endings[mode] = replace(ending, message=ending.message.replace(f"{TASK_ID}: ", ""))
    assert endings == dict.fromkeys(MODES, endings["poke"])


@pytest.mark.parametrize(("poke_interval", "timeout", "calls"), [(600, 60, 2), (100, 250, 4), (60, 60, 2)])
@pytest.mark.parametrize("mode", MODES)
def test_the_last_poke_is_at_the_deadline_whatever_the_interval(
    stage: Stage, mode: str, poke_interval: int, timeout: int, calls: int
) -> None:
    stage.kendra.clear_faults()
    stage.kendra.set_history(stage.index_id, stage.data_source_id, [job("mine", "SYNCING")])
    before = stage.kendra.call_count(LIST)
    ids = {"index_id": stage.index_id, "data_source_id": stage.data_source_id}
    wait = Wait({**ids, "execution_id": "mine", "poke_interval": poke_interval, "timeout": timeout})
    assert wait.run(mode).error is AirflowSensorTimeout
    assert wait.clock.elapsed == pytest.approx(timeout, abs=1)
    assert stage.kendra.call_count(LIST) - before == calls


def test_the_names_of_the_scenarios_are_unique() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("mode", ["poke", "defer", "start_from_trigger"])
@pytest.mark.parametrize(
    ("error", "clients"),
    [("ExpiredTokenException", 2), ("UnrecognizedClientException", 2), ("ThrottlingException", 1)],
)
def test_only_credential_errors_lead_to_a_new_client(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, mode: str, error: str, clients: int
) -> None:
    made = []
    make = KendraSyncJobsHook.get_client_type

    def spy(hook: KendraSyncJobsHook, *args: Any, **kwargs: Any) -> Any:
        made.append(hook)
        return make(hook, *args, **kwargs)

    monkeypatch.setattr(KendraSyncJobsHook, "get_client_type", spy)
    scenario = faulty("", Passes("mine"), {"error": error, "times": 1})
    ending, _ = stage.play(scenario, mode)
    _check(ending, scenario.expected)
    assert len(made) == clients


class TestWhenAirflowItselfEndsTheDeferral:
    """Airflow's own limit of a deferral, which is there if the trigger's fails, and a trigger that fails."""

    ARGUMENTS = {"index_id": "i" * 36, "data_source_id": "source", "execution_id": "mine"}  # noqa: RUF012
    TIME_OUTS = ("Trigger timeout", "Trigger/execution timeout")

    def resume(self, error: str, **arguments: Any) -> Any:
        wait = Wait({**self.ARGUMENTS, "deferrable": True, **arguments})
        next_kwargs = {"error": error, "traceback": None}
        return wait.make_sensor().resume_execution("__fail__", next_kwargs, wait.context)

    @pytest.mark.parametrize("error", TIME_OUTS)
    def test_its_time_out_is_a_sensor_time_out(self, error: str) -> None:
        with pytest.raises(AirflowSensorTimeout, match=TASK_ID):
            self.resume(error)

    @pytest.mark.parametrize("parameter", ["soft_fail", "never_fail"])
    @pytest.mark.parametrize("error", TIME_OUTS)
    def test_its_time_out_skips_with_soft_fail_or_never_fail(self, error: str, parameter: str) -> None:
        with pytest.raises(AirflowSkipException, match=parameter):
            self.resume(error, **{parameter: True})

    @pytest.mark.parametrize("arguments", [{}, {"soft_fail": True}], ids=["as it is", "soft_fail"])
    def test_a_broken_trigger_fails_the_task(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(Exception, match="Trigger failure") as raised:
            self.resume("Trigger failure", **arguments)
        assert not isinstance(raised.value, AirflowSensorTimeout | AirflowSkipException)

    def test_a_broken_trigger_skips_with_never_fail(self) -> None:
        with pytest.raises(AirflowSkipException, match="Trigger failure"):
            self.resume("Trigger failure", never_fail=True)
