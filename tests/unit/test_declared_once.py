"""A parameter is declared and documented by one class; Airflow and the help know it of every class that takes it."""

from __future__ import annotations

import inspect
import pydoc
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, BaseOperator
from airflow.triggers.base import BaseTrigger

from airflow_provider_kendra import _tasks, _xcoms
from airflow_provider_kendra._tasks import KendraOperator
from airflow_provider_kendra.exceptions import KendraRequestError
from airflow_provider_kendra.operators import kendra as operators
from airflow_provider_kendra.operators.kendra import KendraListSyncJobsOperator, KendraStartSyncJobOperator
from airflow_provider_kendra.outcomes import Failed, Failure
from airflow_provider_kendra.sensors import kendra as sensors
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor
from airflow_provider_kendra.triggers import kendra as triggers
from airflow_provider_kendra.triggers.kendra import (
    KendraDataFreshnessTrigger,
    KendraSyncJobEventTrigger,
    KendraSyncJobTrigger,
)

AWS = ("aws_conn_id", "region_name", "verify", "botocore_config")
START = datetime(2026, 1, 1, tzinfo=UTC)
IDS = {"index_id": "i" * 36, "data_source_id": "source"}
NEEDED: dict[type[BaseOperator], dict[str, Any]] = {
    KendraDataFreshnessSensor: {"index_id": "i" * 36, "max_age": 60},
    KendraSyncJobSensor: {**IDS, "execution_id": "mine"},
}

# Parameters of Airflow's own classes that ours say more about.
EXPLAINED = {"poke_interval"}


def tasks_of(module: Any) -> list[type[BaseOperator]]:
    return [
        each
        for name, each in vars(module).items()
        if name.startswith("Kendra") and isinstance(each, type) and issubclass(each, KendraOperator)
        if each is not KendraOperator
    ]


TASKS = [*tasks_of(operators), *tasks_of(sensors)]
TRIGGERS: list[type[BaseTrigger]] = [KendraSyncJobTrigger, KendraDataFreshnessTrigger, KendraSyncJobEventTrigger]
CLASSES: list[type] = [*TASKS, *TRIGGERS]
every_trigger = pytest.mark.parametrize("trigger", TRIGGERS)
every_task = pytest.mark.parametrize("task", TASKS)
every_class = pytest.mark.parametrize("cls", CLASSES)


def ours(cls: type) -> list[type]:
    """A class and its bases in the package."""
    return [base for base in cls.__mro__ if base.__module__.startswith("airflow_provider_kendra.")]


def declared_by(cls: type) -> set[str]:
    """The parameters in the signature of a class's own ``__init__``."""
    if "__init__" not in vars(cls):
        return set()
    _, *parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
    return {each.name for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD}


def accepted_by(cls: type) -> set[str]:
    """The parameters that a class and its bases in the package accept."""
    return set().union(*map(declared_by, ours(cls)))


def documented_by(cls: type) -> list[str]:
    return re.findall(r"^:param (\w+):", inspect.cleandoc(cls.__doc__ or ""), re.MULTILINE)


def make(task: type[BaseOperator], **arguments: Any) -> Any:
    return task(task_id="task", **{**NEEDED.get(task, IDS), **arguments})


def test_the_classes_are_found() -> None:
    assert {KendraStartSyncJobOperator, KendraSyncJobSensor} < set(TASKS)
    assert len(TASKS) == 6


class TestDocumentation:
    @every_class
    def test_each_parameter_is_documented_once(self, cls: type) -> None:
        documented = documented_by(cls)
        assert len(documented) == len(set(documented))
        assert set(documented) - EXPLAINED == accepted_by(cls)

    @every_class
    def test_the_signature_names_each_parameter(self, cls: type) -> None:
        assert set(inspect.signature(cls).parameters) - {"kwargs"} == accepted_by(cls)

    @every_class
    def test_the_help_shows_all_of_it(self, cls: type) -> None:
        shown = pydoc.render_doc(cls, renderer=pydoc.plaintext)
        for name in ("index_id", *AWS):
            assert f":param {name}: " in shown
            # From Python 3.13 on a long signature takes several lines.
            assert re.search(rf"^ \|  {cls.__name__}\((?s:.*?)\b{name}: ", shown, re.MULTILINE)

    @every_class
    def test_the_parameters_are_one_block_before_what_is_raised(self, cls: type) -> None:
        lines = (cls.__doc__ or "").splitlines()
        first = next(number for number, line in enumerate(lines) if line.startswith(":param "))
        assert lines[first - 1] == ""
        assert lines[first].startswith(":param index_id: ")
        kinds = [re.match(r":(\w+)", line)[1] for line in lines if line.startswith(":")]  # type: ignore[index]
        assert kinds == sorted(kinds)

    @pytest.mark.parametrize("modules", [(_tasks, _xcoms, operators, sensors), (triggers,)], ids=["tasks", "triggers"])
    @pytest.mark.parametrize("name", ["index_id", *AWS])
    def test_the_text_is_in_the_source_once(self, name: str, modules: tuple[Any, ...]) -> None:
        assert sum(inspect.getsource(module).count(f":param {name}:") for module in modules) == 1

    def test_a_subclass_can_document_a_parameter_in_other_words(self) -> None:
        assert "all waits together" in (KendraStartSyncJobOperator.__doc__ or "")
        assert "all waits together" not in (operators.KendraStopSyncJobOperator.__doc__ or "")

    def test_the_docstring_of_a_subclass_elsewhere_is_left_alone(self) -> None:
        class Mine(KendraSyncJobSensor):
            """Mine."""

            def __init__(self, *, own: int, **kwargs: Any) -> None:
                super().__init__(**kwargs)

        assert Mine.__doc__ == "Mine."
        assert {"own", "index_id", "execution_id"} < set(inspect.signature(Mine).parameters)

    def test_the_signature_of_a_subclass_that_passes_nothing_on_is_its_own(self) -> None:
        class Mine(KendraListSyncJobsOperator):
            def __init__(self, name: str, *, limit: int = 3) -> None:
                super().__init__(task_id=name, limit=limit, **IDS)

        assert list(inspect.signature(Mine).parameters) == ["name", "limit"]


class TestAirflow:
    """What Airflow reads of ``__init__``, which it does of subclasses of its own classes only."""

    @every_task
    def test_each_class_that_declares_parameters_is_an_operator(self, task: type[BaseOperator]) -> None:
        assert all(issubclass(base, BaseOperator) for base in ours(task) if declared_by(base))

    @every_task
    def test_default_args_reach_the_base_class(self, task: type[BaseOperator]) -> None:
        defaults = {"aws_conn_id": "mine", "index_id": "j" * 36, "verify": False}
        with DAG("dag", schedule=None, start_date=START, default_args=defaults):
            arguments = {name: value for name, value in NEEDED.get(task, IDS).items() if name != "index_id"}
            made: Any = task(task_id="task", region_name="eu-west-1", **arguments)
        assert (made.aws_conn_id, made.index_id, made.verify) == ("mine", "j" * 36, False)
        assert made.region_name == "eu-west-1"

    @pytest.mark.parametrize("task", [each for each in TASKS if "multiple_outputs" in accepted_by(each)])
    def test_default_args_decide_on_the_keys_that_are_pushed(self, task: type[BaseOperator]) -> None:
        with DAG("dag", schedule=None, start_date=START, default_args={"multiple_outputs": False}):
            assert make(task)._pushed_keys == ()

    @every_task
    def test_an_argument_takes_precedence_over_default_args(self, task: type[BaseOperator]) -> None:
        with DAG("dag", schedule=None, start_date=START, default_args={"aws_conn_id": "other", "verify": False}):
            made = make(task, aws_conn_id="mine", verify=None)
        assert (made.aws_conn_id, made.verify) == ("mine", None)

    @every_task
    def test_partial_and_expand_take_them(self, task: type[BaseOperator]) -> None:
        with DAG("dag", schedule=None, start_date=START):
            partial = task.partial(task_id="task", aws_conn_id="mine", **NEEDED.get(task, IDS))
            mapped = partial.expand(region_name=["eu-west-1", "us-east-1"])
        made = mapped.unmap({"region_name": "us-east-1"})
        assert (made.aws_conn_id, made.region_name, made.verify) == ("mine", "us-east-1", None)

    @every_task
    def test_expand_kwargs_takes_them(self, task: type[BaseOperator]) -> None:
        one = {**NEEDED.get(task, IDS), "botocore_config": {"read_timeout": 7}}
        with DAG("dag", schedule=None, start_date=START):
            mapped = task.partial(task_id="task").expand_kwargs([one])
        assert mapped.unmap(one).botocore_config == {"read_timeout": 7}

    @every_task
    def test_templates_are_rendered(self, task: type[BaseOperator]) -> None:
        config = {"user_agent_extra": "{{ params.x }}"}
        made = make(task, **dict.fromkeys(("index_id", *AWS[:3]), "{{ params.x }}"), botocore_config=config)
        made.render_template_fields({"params": {"x": "rendered"}})
        assert [getattr(made, name) for name in ("index_id", *AWS[:3])] == ["rendered"] * 4
        assert made.botocore_config == {"user_agent_extra": "rendered"}

    @every_task
    def test_an_unknown_argument_is_refused(self, task: type[BaseOperator]) -> None:
        with pytest.raises((TypeError, AirflowException), match="aws_connection"):
            make(task, aws_connection="mine")
        with DAG("dag", schedule=None, start_date=START), pytest.raises(TypeError, match="aws_connection"):
            task.partial(task_id="task", aws_connection="mine")

    @every_task
    def test_a_required_argument_that_is_missing_is_named(self, task: type[BaseOperator]) -> None:
        arguments = {name: value for name, value in NEEDED.get(task, IDS).items() if name != "index_id"}
        with pytest.raises((TypeError, AirflowException), match="missing keyword argument 'index_id'"):
            task(task_id="task", **arguments)


class TestSensors:
    def test_the_trigger_is_all_that_a_sensor_has_to_make(self) -> None:
        assert sensors._KendraSensor.__abstractmethods__ == {"_make_trigger"}

    @pytest.mark.parametrize("sensor", [KendraSyncJobSensor, KendraDataFreshnessSensor])
    def test_poke_mode_asks_the_trigger(self, sensor: type[BaseOperator], monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        class Polls:
            execution_id = None

            def poll(self, hook: object) -> Failed:
                asked.append(hook)
                return Failed(Failure.REFUSED, "asked")

        for trigger in (KendraSyncJobTrigger, KendraDataFreshnessTrigger):
            monkeypatch.setattr(trigger, "pokes", lambda *args, **kwargs: Polls())
        made = make(sensor)
        with pytest.raises(KendraRequestError, match="asked"):
            made.poke({})
        assert asked == [made.hook]


class Bare(BaseTrigger):
    """A trigger without anything of ours."""

    def serialize(self) -> Any:
        """Not called."""

    async def run(self) -> Any:
        """Not called."""


class TestTriggers:
    def make(self, trigger: type[BaseTrigger], **arguments: Any) -> Any:
        ids = {"index_id": "i" * 36} if trigger is KendraDataFreshnessTrigger else IDS
        return trigger(**ids, **arguments)

    @every_trigger
    def test_what_the_triggerer_fills_in_is_there(self, trigger: type[BaseTrigger]) -> None:
        made = self.make(trigger)
        assert vars(Bare()).keys() <= vars(made).keys()
        assert (made.task_instance, made.trigger_id) == (None, None)

    @every_trigger
    def test_equal_triggers_are_two(self, trigger: type[BaseTrigger]) -> None:
        assert len({self.make(trigger), self.make(trigger)}) == 2

    @every_trigger
    def test_unknown_and_positional_arguments_are_refused(self, trigger: type[BaseTrigger]) -> None:
        with pytest.raises(TypeError, match="aws_connection"):
            self.make(trigger, aws_connection="mine")
        with pytest.raises(TypeError, match="positional"):
            trigger("i" * 36)

    def test_airflow_hashes_the_arguments_of_a_watcher_so_their_order_stays(self) -> None:
        _, arguments = self.make(KendraSyncJobEventTrigger).serialize()
        assert list(arguments) == ["index_id", "data_source_id", "statuses", "poll_interval", *AWS]

    @every_trigger
    def test_setting_an_attribute_runs_no_code_of_ours(self, trigger: type[BaseTrigger]) -> None:
        """A triggerer makes thousands, with up to eighteen arguments each."""
        assert not [base for base in ours(trigger) if "__setattr__" in vars(base)]
