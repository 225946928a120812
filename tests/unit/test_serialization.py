"""What holds for every operator, sensor and trigger of the package, those to come included."""

from __future__ import annotations

import inspect
import json
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from airflow.models.trigger import Trigger
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    BaseOperator,
    TaskDeferred,
    TaskGroup,
    task_group,
)
from airflow.triggers.base import BaseTrigger

from airflow_provider_kendra import operators, sensors, triggers
from airflow_provider_kendra._aws import TakesAwsParameters
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.sensors.kendra import KendraSyncJobSensor
from airflow_provider_kendra.triggers.kendra import KendraSyncJobTrigger
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING:
    from types import ModuleType

    from airflow_provider_kendra.testing import LocalKendra

START = datetime(2026, 1, 1, tzinfo=UTC)

AWS = {
    "aws_conn_id": "other",
    "region_name": "eu-west-1",
    "verify": False,
    "botocore_config": {"read_timeout": 7, "retries": {"total_max_attempts": 2}},
}

# A value for each parameter of any class, none of them its default: one that gets lost on a way is missed. Those that
# are true or false need none.
VALUES: dict[str, Any] = {
    **AWS,
    "index_id": "i" * 36,
    "data_source_id": "source",
    "data_source_ids": ["source", "other"],
    "execution_id": "execution",
    "started_after": "2026-01-31T05:00:00+00:00",
    "started_before": "2026-01-31T06:00:00+00:00",
    "fresh_since": "2026-01-31T05:00:00+00:00",
    "max_age": 18_000.0,
    "schedule_grace": 600.0,
    "warn_age": 9_000.0,
    "measured_by": "end_time",
    "status": "INCOMPLETE",
    "statuses": ["FAILED", "INCOMPLETE"],
    "target_statuses": ["FAILED", "INCOMPLETE"],
    "accepted_statuses": ["FAILED", "INCOMPLETE"],
    "max_documents_failed": 3,
    "max_failed_ratio": 0.5,
    "min_documents_scanned": 4,
    "limit": 5,
    "not_found_timeout": 17.0,
    "poll_interval": 11.0,
    "timeout": 123.0,
    "deferral_timeout": 456.0,
    "waiting_since": "2026-01-31T06:00:00+00:00",
    "if_running": "attach",
    "state": {"stoppable": "execution"},
}

# Of these a class takes exactly one.
ONE_OF = {
    "KendraSyncJobSensor": ("execution_id", "started_after"),
    "KendraDataFreshnessSensor": ("max_age", "fresh_since", "schedule_grace"),
    "KendraDataFreshnessEventTrigger": ("max_age", "schedule_grace"),
}


def _classes(package: ModuleType, base: type) -> Iterator[type]:
    for module_info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = import_module(module_info.name)
        for cls in vars(module).values():
            is_defined_there = isinstance(cls, type) and cls.__module__ == module.__name__
            if is_defined_there and issubclass(cls, base) and not cls.__name__.startswith("_"):
                yield cls


OPERATORS = [*_classes(operators, BaseOperator), *_classes(sensors, BaseOperator)]
TRIGGERS = list(_classes(triggers, BaseTrigger))

every_operator = pytest.mark.parametrize("operator", OPERATORS)
every_trigger = pytest.mark.parametrize("trigger", TRIGGERS)
every_deferrable_operator = pytest.mark.parametrize(
    "operator", [each for each in OPERATORS if "deferrable" in inspect.signature(each).parameters]
)


BESIDE_THE_ARGUMENTS = {"queue"}  # of a trigger: Airflow stores it in a column of its own


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(cls).parameters
    return {
        name: parameter
        for name, parameter in parameters.items()
        if name not in {"self", *BESIDE_THE_ARGUMENTS} and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


def _all_changed(cls: type) -> dict[str, Any]:
    """An argument for each parameter that is not its default."""
    arguments = {}
    for name, parameter in _parameters(cls).items():
        default = parameter.default
        arguments[name] = not default if isinstance(default, bool) else VALUES[name]
        assert arguments[name] != default, f"VALUES has the default of {name}"
    for name in ONE_OF.get(cls.__name__, ())[1:] if cls.__name__.endswith("EventTrigger") else ():
        arguments[name] = None  # an event trigger checks them when it is made
    return arguments


def _needed(operator: type[BaseOperator], given: dict[str, Any]) -> dict[str, Any]:
    """The arguments without which there is no such operator, and these."""
    required = [name for name, each in _parameters(operator).items() if each.default is inspect.Parameter.empty]
    alternatives = ONE_OF.get(operator.__name__, ())
    if alternatives and not given.keys() & set(alternatives):
        required.append(alternatives[0])
    return {**{name: VALUES[name] for name in required}, **given}


def _make(operator: type[BaseOperator], **given: Any) -> Any:
    return operator(task_id="task", **_needed(operator, given))


def _in_dag(operator: type[BaseOperator], **given: Any) -> Any:
    with DAG("dag", schedule=None, start_date=START):
        return _make(operator, **given)


def _through_dag_serialization(task: Any) -> Any:
    """The task as the scheduler knows it."""
    if AIRFLOW_V_3_0_PLUS:
        try:
            from airflow.serialization.serialized_objects import DagSerialization as Serialization
        except ImportError:
            from airflow.serialization.serialized_objects import SerializedDAG as Serialization
    else:
        from airflow.serialization.serialized_objects import SerializedDAG as Serialization
    data = json.loads(json.dumps(Serialization.to_dict(task.dag)))
    return Serialization.from_dict(data).get_task(task.task_id)


def _through_encryption(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a trigger as the triggerer reads them from the database."""
    encrypt = getattr(Trigger, "encrypt_kwargs", None) or Trigger._encrypt_kwargs
    return Trigger._decrypt_kwargs(encrypt(kwargs))


def test_the_classes_are_found() -> None:
    assert {KendraSyncJobSensor.__name__, "KendraStartSyncJobOperator"} <= {each.__name__ for each in OPERATORS}
    assert KendraSyncJobTrigger in TRIGGERS


class TestTriggers:
    @every_trigger
    def test_no_argument_is_dropped(self, trigger: type[BaseTrigger]) -> None:
        classpath, kwargs = trigger(**_all_changed(trigger)).serialize()
        assert classpath == f"{trigger.__module__}.{trigger.__name__}"
        assert kwargs == _all_changed(trigger)

    @every_trigger
    def test_the_arguments_survive_airflows_encoding(self, trigger: type[BaseTrigger]) -> None:
        _, kwargs = trigger(**_all_changed(trigger)).serialize()
        restored = _through_encryption(kwargs)
        assert restored == kwargs
        assert trigger(**restored).serialize()[1] == kwargs

    @every_trigger
    def test_the_arguments_are_json(self, trigger: type[BaseTrigger]) -> None:
        _, kwargs = trigger(**_all_changed(trigger)).serialize()
        assert json.loads(json.dumps(kwargs)) == kwargs

    @every_trigger
    def test_the_aws_parameters_reach_the_hook(self, trigger: type[TakesAwsParameters], other_connection: None) -> None:
        _check_hook(KendraSyncJobsHook._of(trigger(**_all_changed(trigger)).aws_parameters))


@pytest.fixture
def other_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "aws", "login": "key", "password": "secret"}))


def _check_hook(hook: Any) -> None:
    assert hook.aws_conn_id == "other"
    assert hook._region_name == "eu-west-1"
    assert hook._verify is False
    assert (hook.config.read_timeout, hook.config.retries) == (7, {"total_max_attempts": 2})


class TestOperators:
    @every_operator
    def test_all_take_the_aws_parameters(self, operator: type[BaseOperator]) -> None:
        defaults = {name: _parameters(operator)[name].default for name in AWS}
        assert defaults == {
            "aws_conn_id": "aws_default", "region_name": None, "verify": None, "botocore_config": None,
        }  # fmt: skip

    @every_operator
    def test_the_aws_parameters_reach_the_hook(self, operator: type[BaseOperator], other_connection: None) -> None:
        _check_hook(_make(operator, **AWS).hook)

    @every_deferrable_operator
    def test_the_aws_parameters_reach_the_trigger(
        self, operator: type[BaseOperator], local_kendra: LocalKendra, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", local_kendra.connection_json)
        monkeypatch.setattr(f"{BaseOperator.__module__}.ExecutorSafeguard.test_mode", True)
        local_kendra.client("s3").create_bucket(Bucket="documents")
        kendra = local_kendra.client(region_name=AWS["region_name"])
        role = "arn:aws:iam::123456789012:role/kendra"
        index_id = kendra.create_index(Name="index", RoleArn=role)["Id"]
        configuration = {"S3Configuration": {"BucketName": "documents"}}
        data_source_id = kendra.create_data_source(
            IndexId=index_id, Name="source", Type="S3", RoleArn=role, Configuration=configuration
        )["Id"]
        local_kendra.set_sync_duration(None)
        local_kendra.start_scheduled_sync(index_id, data_source_id)  # what is there to wait for, or to stop
        ids = {"index_id": index_id, "data_source_id": data_source_id, "data_source_ids": [data_source_id]}
        ids = {name: value for name, value in ids.items() if name in _parameters(operator)}
        task = _make(operator, **AWS, **ids, deferrable=True)
        with pytest.raises(TaskDeferred) as deferred:
            task.execute({})
        kwargs = deferred.value.trigger.serialize()[1]
        assert {name: kwargs[name] for name in AWS} == AWS

    @every_operator
    def test_default_args_reach_the_operator(self, operator: type[BaseOperator]) -> None:
        with DAG("dag", schedule=None, start_date=START, default_args={**AWS, "index_id": "j" * 36}):
            arguments = {name: value for name, value in _needed(operator, {}).items() if name != "index_id"}
            task = operator(task_id="task", **arguments)
        assert {name: getattr(task, name) for name in AWS} == AWS
        assert task.index_id == "j" * 36

    @every_operator
    def test_every_identifier_time_and_aws_parameter_is_templated(self, operator: type[BaseOperator]) -> None:
        templated = {name for name in _parameters(operator) if name.endswith("_id") or name.endswith("_ids")}
        templated |= {"started_after", "started_before", "fresh_since"} & _parameters(operator).keys()
        assert templated | AWS.keys() <= set(operator.template_fields)

    @pytest.mark.parametrize(
        ("operator", "field"), [(operator, field) for operator in OPERATORS for field in operator.template_fields]
    )
    def test_every_template_field_is_rendered(self, operator: type[BaseOperator], field: str) -> None:
        template = {"key": "{{ params.value }}"} if field == "botocore_config" else "{{ params.value }}"
        task = _make(operator, **{field: template})
        assert getattr(task, field) == template
        task.render_template_fields({"params": {"value": "rendered"}})
        assert getattr(task, field) == ({"key": "rendered"} if field == "botocore_config" else "rendered")

    @every_operator
    def test_a_serialized_dag_keeps_task_and_templates(self, operator: type[BaseOperator]) -> None:
        one_of = ONE_OF.get(operator.__name__, ())
        templates = {
            field: f"{{{{ params.{field} }}}}"
            for field in operator.template_fields
            if field not in (*one_of[1:], "verify", "botocore_config")
        }
        task = _through_dag_serialization(_in_dag(operator, **templates))
        assert task.task_type == operator.__name__
        assert list(task.template_fields) == list(operator.template_fields)
        assert {field: getattr(task, field) for field in templates} == templates

    @every_operator
    def test_a_mapped_task_gets_its_own_arguments(self, operator: type[BaseOperator]) -> None:
        arguments = _needed(operator, {**AWS})
        expanded = {"index_id": [arguments.pop("index_id"), "j" * 36]}
        with DAG("dag", schedule=None, start_date=START):
            mapped = operator.partial(task_id="task", **arguments).expand(**expanded)
        assert _through_dag_serialization(mapped).task_type == operator.__name__
        task = mapped.unmap({"index_id": "j" * 36})
        assert task.index_id == "j" * 36
        assert {name: getattr(task, name) for name in arguments} == arguments

    @every_operator
    def test_a_task_can_be_in_a_mapped_task_group(self, operator: type[BaseOperator]) -> None:
        with DAG("dag", schedule=None, start_date=START) as dag:

            @task_group
            def each(index_id: str) -> None:
                operator(task_id="task", **_needed(operator, {"index_id": index_id}))

            each.expand(index_id=["i" * 36, "j" * 36])
        assert _through_dag_serialization(dag.get_task("each.task")).task_type == operator.__name__


class TestStartFromTrigger:
    ARGUMENTS = {"index_id": "i" * 36, "data_source_id": "source", "start_from_trigger": True}  # noqa: RUF012

    def partial(self, **arguments: Any) -> Any:
        ids = {"index_id": "i" * 36, "data_source_id": "source"}
        return KendraSyncJobSensor.partial(task_id="task", **ids, **arguments)

    MAPPED: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "partial": lambda self: self.partial(start_from_trigger=True).expand(execution_id=["a", "b"]),
        "partial, default_args": lambda self: self.partial(default_args={"start_from_trigger": True}).expand(
            execution_id=["a", "b"]
        ),
        "expand": lambda self: self.partial(execution_id="a").expand(start_from_trigger=[False, True]),
        "expand_kwargs": lambda self: self.partial().expand_kwargs(
            [{"execution_id": "a"}, {"execution_id": "b", "start_from_trigger": True}]
        ),
        "expand_kwargs, default_args": lambda self: self.partial(
            default_args={"start_from_trigger": True}
        ).expand_kwargs(BaseOperator(task_id="find").output),
    }

    @pytest.mark.parametrize("how", MAPPED)
    @pytest.mark.filterwarnings("error")
    def test_a_mapped_task_refuses_it(self, how: str) -> None:
        with (
            DAG("dag", schedule=None, start_date=START),
            pytest.raises(
                ValueError, match=r"^task: start_from_trigger does not work for mapped tasks.*deferrable=True"
            ),
        ):
            self.MAPPED[how](self)

    @pytest.mark.parametrize("group", [False, True], ids=["of the DAG", "of a task group"])
    @pytest.mark.filterwarnings("error")
    def test_a_mapped_task_that_has_it_from_default_args_refuses_it(self, group: bool) -> None:
        default_args = {"start_from_trigger": True}
        with (
            DAG("dag", schedule=None, start_date=START, default_args={} if group else default_args),
            TaskGroup("group", default_args=default_args if group else {}),
            pytest.raises(ValueError, match="task: start_from_trigger does not work for mapped tasks"),
        ):
            self.partial().expand(execution_id=["a", "b"])

    @pytest.mark.parametrize(
        "default_args", [{}, {"start_from_trigger": True}], ids=["an argument", "from default_args"]
    )
    @pytest.mark.parametrize("is_nested", [False, True])
    def test_a_task_in_a_mapped_task_group_refuses_it(self, default_args: dict[str, Any], is_nested: bool) -> None:
        arguments = {name: value for name, value in self.ARGUMENTS.items() if name not in default_args}
        with DAG("dag", schedule=None, start_date=START):

            @task_group(default_args=default_args)
            def each(execution_id: str) -> None:
                with TaskGroup("inner") if is_nested else nullcontext():
                    KendraSyncJobSensor(task_id="task", execution_id=execution_id, **arguments)

            with pytest.raises(ValueError, match="task: start_from_trigger does not work for mapped tasks"):
                each.expand(execution_id=["a", "b"])

    def test_mapping_that_is_known_only_at_run_time_fails_without_retries(self) -> None:
        with DAG("dag", schedule=None, start_date=START):
            mapped = self.partial().expand_kwargs(BaseOperator(task_id="find").output)
        with pytest.raises(AirflowFailException, match=r"^task: start_from_trigger does not work for mapped tasks"):
            mapped.unmap({"execution_id": "a", "start_from_trigger": True})

    @pytest.mark.parametrize(
        "map_it",
        [
            lambda self: self.partial(start_from_trigger=False).expand(execution_id=["a", "b"]),
            lambda self: self.partial(execution_id="a").expand(start_from_trigger=[False, False]),
            lambda self: self.partial().expand_kwargs([{"execution_id": "a", "start_from_trigger": False}]),
        ],
        ids=["partial", "expand", "expand_kwargs"],
    )
    @pytest.mark.filterwarnings("error")
    def test_a_mapped_task_that_opts_out_of_default_args_is_as_any_other(self, map_it: Callable[[Any], Any]) -> None:
        with DAG("dag", schedule=None, start_date=START, default_args={"start_from_trigger": True}) as dag:
            map_it(self)
        assert _through_dag_serialization(dag.get_task("task")).task_id == "task"

    def test_a_mapped_task_without_it_is_as_any_other(self) -> None:
        with DAG("dag", schedule=None, start_date=START) as dag:
            self.partial().expand(execution_id=["a", "b"])
        assert dag.get_task("task").unmap({"execution_id": "a"}).execution_id == "a"

    @pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow starts from the trigger from 3.3 on")
    def test_the_scheduler_knows_all_the_trigger_needs(self) -> None:
        from airflow.serialization.decoders import smart_decode_trigger_kwargs

        given = {name: VALUES[name] for name in _parameters(KendraSyncJobSensor).keys() & VALUES.keys()}
        del given["started_after"]
        given |= {"poke_interval": VALUES["poll_interval"], "timeout": VALUES["timeout"], "start_from_trigger": True}
        task = _through_dag_serialization(_in_dag(KendraSyncJobSensor, **given))
        assert task.start_from_trigger is True
        start = task.start_trigger_args
        kwargs = {
            name: smart_decode_trigger_kwargs(value)
            for name, value in _through_encryption(start.trigger_kwargs).items()
        }
        assert start.trigger_cls == f"{KendraSyncJobTrigger.__module__}.{KendraSyncJobTrigger.__name__}"
        # It begins when the triggerer first runs it, not when the DAG was parsed.
        ends = {"deferral_timeout": start.timeout.total_seconds()}
        assert kwargs == {**{name: VALUES[name] for name in kwargs}, "started_after": None, **ends}
        assert "waiting_since" not in kwargs
        assert set(kwargs) >= _parameters(KendraSyncJobSensor).keys() & _parameters(KendraSyncJobTrigger).keys()
        assert KendraSyncJobTrigger(**kwargs).serialize()[1].items() >= kwargs.items()
        assert start.timeout > timedelta(seconds=VALUES["timeout"])

    @pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow starts from the trigger from 3.3 on")
    @pytest.mark.parametrize("minutes", [1, 100_000])
    def test_the_trigger_knows_how_long_airflow_lets_it_run(self, minutes: int) -> None:
        limit = timedelta(minutes=minutes)
        task = _in_dag(KendraSyncJobSensor, execution_id="mine", start_from_trigger=True, execution_timeout=limit)
        start = task.start_trigger_args
        assert start.trigger_kwargs["deferral_timeout"] == min(start.timeout, limit).total_seconds()

    @pytest.mark.skipif(AIRFLOW_V_3_3_PLUS, reason="Airflow starts from the trigger from 3.3 on")
    def test_before_airflow_can_it_is_an_ordinary_deferral(self) -> None:
        task = _in_dag(KendraSyncJobSensor, execution_id="mine", start_from_trigger=True)
        assert task.deferrable is True
        assert _through_dag_serialization(task).start_trigger_args is None
