"""A templated parameter of any class that renders to what can't work is refused before anything is called."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, BaseHook, BaseOperator
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_kendra.exceptions import KendraRequestError
from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.operators.kendra import (
    KendraListSyncJobsOperator,
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor
from airflow_provider_kendra.triggers.kendra import (
    KendraDataFreshnessTrigger,
    KendraSyncJobEventTrigger,
    KendraSyncJobTrigger,
)
from tests.conftest import DataSource

AWS: dict[str, Any] = {"aws_conn_id": "aws", "region_name": "eu-west-1", "verify": True, "botocore_config": {}}
IDS: dict[str, Any] = {"index_id": "i" * 36, "data_source_id": "source"}
TIME = "2026-01-31T06:00:00+00:00"

TASKS: dict[str, tuple[type[BaseOperator], dict[str, Any]]] = {
    "start": (KendraStartSyncJobOperator, IDS),
    "stop": (KendraStopSyncJobOperator, {**IDS, "execution_id": "mine"}),
    "metrics": (KendraSyncJobMetricsOperator, {**IDS, "execution_id": "mine"}),
    "list": (
        KendraListSyncJobsOperator,
        {**IDS, "status": "FAILED", "started_after": TIME, "started_before": TIME},
    ),
    "wait for one": (KendraSyncJobSensor, {**IDS, "execution_id": "mine"}),
    "wait for any": (KendraSyncJobSensor, {**IDS, "started_after": TIME}),
    "freshness": (
        KendraDataFreshnessSensor,
        {"index_id": IDS["index_id"], "data_source_ids": ["source"], "fresh_since": TIME},
    ),
}
PARAMETERS = [(name, parameter) for name, (_, own) in TASKS.items() for parameter in (*own, *AWS)]


def test_the_tables_name_every_templated_parameter() -> None:
    named: dict[type[BaseOperator], set[str]] = {}
    for operator, own in TASKS.values():
        named.setdefault(operator, set()).update(own, AWS)
    assert named == {operator: set(operator.template_fields) for operator in named}


def make(name: str, **arguments: Any) -> Any:
    operator, own = TASKS[name]
    return operator(task_id="task", **{**own, **AWS, **arguments})


def render(make_task: Callable[[], Any], values: dict[str, Any], *, native: bool = False) -> Any:
    """Make a task in a DAG and render it, where `{{ values.x }}` gives one of the values."""
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), render_template_as_native_obj=native):
        task = make_task()
    task.render_template_fields({"values": values})
    return task


@contextmanager
def nothing_is_called() -> Iterator[None]:
    """Fail if a connection is looked up or a client made; and take whoever calls execute for Airflow."""
    refused = AssertionError("something was called or looked up")
    with (
        patch.object(KendraSyncJobsHook, "_of", side_effect=refused),
        patch.object(BaseHook, "get_connection", side_effect=refused),
        patch(f"{BaseOperator.__module__}.ExecutorSafeguard.test_mode", True),
    ):
        yield


def error_of(task: Any) -> str:
    """The error that the task ends with, the same at its start and when it resumes."""
    with nothing_is_called(), pytest.raises(KendraRequestError) as refused:
        task.execute({})
    if hasattr(task, "execute_complete"):
        with nothing_is_called(), pytest.raises(KendraRequestError) as refused_again:
            task.execute_complete({}, {})
        assert str(refused_again.value) == str(refused.value)
    return str(refused.value)


NOTHING = {"None of native rendering": (None, True), "the text None": ("None", False), "no text": ("", False)}


@pytest.mark.parametrize(("value", "native"), NOTHING.values(), ids=NOTHING)
@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_a_template_that_finds_no_value_is_an_error(name: str, parameter: str, value: Any, native: bool) -> None:
    task = render(lambda: make(name, **{parameter: "{{ values.x }}"}), {"x": value}, native=native)
    message = error_of(task)
    assert message.startswith(f"task: {parameter} is ")
    assert "Its template found no value" in message


@pytest.mark.parametrize("parameter", ["execution_id", "aws_conn_id"])
def test_the_error_shows_what_the_value_was_before_rendering(parameter: str) -> None:
    task = render(lambda: make("stop", **{parameter: "{{ values.x }}"}), {"x": None})
    assert "before rendering: '{{ values.x }}'" in error_of(task)


def test_the_error_does_not_show_the_configuration_for_botocore() -> None:
    config = {"proxies": {"https": "http://user:hunter2@proxy", "http": "{{ values.x }}"}}
    task = render(lambda: make("stop", botocore_config=config), {"x": None})
    message = error_of(task)
    assert "botocore_config is incomplete. Its template found no value" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("ids", "native"),
    [(["a", "{{ values.x }}"], False), (("{{ values.x }}",), True), ("{{ ['a', values.x] }}", True)],
)
def test_a_list_with_an_element_that_has_no_value_is_an_error(ids: Any, native: bool) -> None:
    task = render(lambda: make("freshness", data_source_ids=ids), {"x": None}, native=native)
    assert "Its template found no value" in error_of(task)


def test_a_mapping_may_hold_none_and_empty_text_of_its_own() -> None:
    config = {"proxies": None, "user_agent_extra": "", "region_name": "{{ values.x }}"}
    render(lambda: make("stop", botocore_config=config), {"x": "eu-west-1"}).refuse_bad_parameters()


@pytest.mark.parametrize("name", TASKS)
def test_a_literal_none_is_the_same_as_leaving_a_parameter_out(name: str) -> None:
    left_out = {"execution_id", "status", "started_before", "data_source_ids", *AWS} & {*TASKS[name][1], *AWS}
    if name == "wait for one":
        left_out.discard("execution_id")
    render(lambda: make(name, **dict.fromkeys(left_out)), {}).check_rendered()


def test_what_a_template_was_is_kept_for_each_run_of_a_task() -> None:
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        task = make("stop", execution_id="{{ values.x }}")
    for value in ("found", None):
        run = task.prepare_for_execution()
        run.render_template_fields({"values": {"x": value}})
    assert "before rendering: '{{ values.x }}'" in error_of(run)


@given(data=st.data())
def test_whatever_templates_find_no_value_nothing_is_called(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(TASKS)))
    parameters = [parameter for task, parameter in PARAMETERS if task == name]
    missing = data.draw(st.lists(st.sampled_from(parameters), min_size=1, unique=True))
    nothing = st.sampled_from([None, "", "None", " ", "None\n"])
    values = {parameter: data.draw(nothing) for parameter in missing}
    templates = {parameter: f"{{{{ values.{parameter} }}}}" for parameter in missing}
    native = data.draw(st.booleans())
    arguments = data.draw(st.sampled_from([{}, {"deferrable": True}])) if name not in ("metrics", "list") else {}
    task = render(lambda: make(name, **templates, **arguments), values, native=native)
    message = error_of(task)
    assert "Its template found no value" in message
    assert any(message.startswith(f"task: {parameter} is ") for parameter in missing)


@pytest.mark.parametrize("name", ["wait for one", "wait for any", "freshness"])
@pytest.mark.parametrize("parameter", ["soft_fail", "never_fail"])
def test_a_sensor_that_may_not_fail_skips_instead(name: str, parameter: str) -> None:
    task = render(lambda: make(name, index_id="{{ values.x }}", **{parameter: True}), {"x": None})
    with nothing_is_called(), pytest.raises(AirflowSkipException, match="Its template found no value"):
        task.execute({})


class TestOtherTasksOutput:
    """What another task returns, passed as it is or mapped over."""

    def resolve(self, **arguments: Any) -> Any:
        with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            upstream = BaseOperator(task_id="upstream")
            task = make("stop", **{key: value(upstream) for key, value in arguments.items()})
        with patch.object(type(upstream.output), "resolve", return_value=None):
            task.render_template_fields({})
        return task

    def test_that_is_none_is_an_error(self) -> None:
        task = self.resolve(execution_id=lambda upstream: upstream.output["execution_id"])
        assert task.execution_id is None
        assert "execution_id is None. Its template found no value" in error_of(task)

    def map(self, partial: dict[str, Any], mapped: dict[str, Any], **dag: Any) -> Any:
        """The task that Airflow makes of a mapped one."""
        with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), **dag):
            operator = KendraStopSyncJobOperator.partial(task_id="task", **partial).expand_kwargs([mapped])
        task = operator.unmap(mapped)
        task.render_template_fields({})
        return task

    @pytest.mark.parametrize("parameter", ["execution_id", *AWS])
    def test_that_a_mapping_gives_as_none_is_an_error(self, parameter: str) -> None:
        task = self.map(IDS, {parameter: None})
        assert f"{parameter} is " in error_of(task)
        assert "Its template found no value (before rendering: " in error_of(task)

    @pytest.mark.parametrize("parameter", ["execution_id", *AWS])
    def test_none_in_partial_is_the_same_as_leaving_a_parameter_out(self, parameter: str) -> None:
        self.map({**IDS, parameter: None}, {"wait_for_completion": True}).refuse_bad_parameters()

    @pytest.mark.parametrize("parameter", ["execution_id", *AWS])
    def test_none_among_the_dags_defaults_is_the_same_as_leaving_a_parameter_out(self, parameter: str) -> None:
        self.map(IDS, {"wait_for_completion": True}, default_args={parameter: None}).refuse_bad_parameters()

    def test_no_text_in_a_mapping_is_an_error(self) -> None:
        assert "execution_id is ''" in error_of(self.map(IDS, {"execution_id": ""}))


# What a template renders to, and whether it does so natively.
ODD = {
    "number as text": ("12", False),
    "number": (12, True),
    "mapping as text": ("{'a': 1}", False),
    "mapping": ({"a": 1}, True),
    "list as text": ("['source']", False),
    "list": (["source"], True),
    "boolean as text": ("False", False),
    "boolean": (False, True),
}
# All others are refused.
WORKS = {
    "data_source_id": {"number as text", "boolean as text"},
    "data_source_ids": {"number as text", "boolean as text", "list"},
    "execution_id": {"number as text", "boolean as text"},
    "aws_conn_id": {"number as text", "boolean as text"},
    "region_name": {"number as text", "boolean as text", "list as text", "mapping as text"},
    "verify": {"number as text", "boolean", "list as text", "mapping as text"},
    "botocore_config": {"mapping"},
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_a_template_of_another_type_works_or_is_refused_in_one_sentence(name: str, parameter: str, odd: str) -> None:
    value, native = ODD[odd]
    task = render(lambda: make(name, **{parameter: "{{ values.x }}"}), {"x": value}, native=native)
    if odd in WORKS.get(parameter, set()):
        task.check_rendered()
    else:
        message = error_of(task)
        assert message.startswith(f"task: {parameter} ")
        assert ", but must " in message


@pytest.mark.parametrize(
    ("parameter", "value", "native", "hint"),
    [
        ("data_source_ids", "['a', 'b']", False, "render_template_as_native_obj=True"),
        ("botocore_config", "{'retries': {}}", False, "render_template_as_native_obj=True"),
        ("verify", "False", False, "render_template_as_native_obj=True"),
        ("index_id", 12, True, "Pass it as text"),
        ("data_source_ids", [12], True, "Pass it as text"),
    ],
)
def test_the_refusal_says_what_to_do(parameter: str, value: Any, native: bool, hint: str) -> None:
    task = render(lambda: make("freshness", **{parameter: "{{ values.x }}"}), {"x": value}, native=native)
    assert hint in error_of(task)


def test_a_refused_parameter_of_an_operator_is_a_value_error_too() -> None:
    with nothing_is_called(), pytest.raises(ValueError, match="index_id is 'short'"):
        make("list", index_id="short").execute({})


@pytest.mark.parametrize(
    "value",
    [object(), {1}, datetime(2026, 1, 31, tzinfo=UTC), timedelta(seconds=1)],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("name", ["start", "wait for one", "freshness"])
def test_a_configuration_that_cannot_travel_to_the_triggerer_is_refused_first(name: str, value: Any) -> None:
    task = make(name, botocore_config={"connect_timeout": value}, deferrable=True)
    assert "botocore_config holds a value that is not JSON" in error_of(task)


@pytest.mark.parametrize("name", ["wait for one", "freshness"])
def test_a_path_is_taken_for_a_ca_bundle_in_every_mode(name: str) -> None:
    task = make(name, verify=Path("/ca.pem"), deferrable=True)
    assert task.aws_parameters.verify == "/ca.pem"
    assert json.loads(json.dumps(task._make_trigger(waiting_since=TIME).serialize()[1]))["verify"] == "/ca.pem"


class TestWithKendra:
    """What 1.0.0 did to other people's syncs."""

    @pytest.fixture(autouse=True)
    def _is_airflow(self) -> Iterator[None]:
        with patch(f"{BaseOperator.__module__}.ExecutorSafeguard.test_mode", True):
            yield

    def lost(self, operator: type[BaseOperator], data_source: DataSource) -> Any:
        def task() -> Any:
            return operator(task_id="task", **data_source.as_kwargs, execution_id="{{ values.x }}")

        return render(task, {"x": None}, native=True)

    @pytest.mark.parametrize("operator", [KendraStopSyncJobOperator, KendraSyncJobMetricsOperator])
    def test_without_the_id_that_was_meant_no_other_sync_is_taken(
        self, operator: type[BaseOperator], data_source: DataSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", data_source.kendra.connection_json)
        running = data_source.start()
        before = {call: data_source.kendra.call_count(call) for call in CALLS}
        with pytest.raises(KendraRequestError, match="Its template found no value"):
            self.lost(operator, data_source).execute({})
        assert {call: data_source.kendra.call_count(call) for call in CALLS} == before
        assert data_source.execution_ids() == [running]
        (job,) = data_source.client.list_data_source_sync_jobs(
            IndexId=data_source.index_id, Id=data_source.data_source_id
        )["History"]
        assert job["Status"] == "SYNCING"


CALLS = ("ListDataSourceSyncJobs", "StopDataSourceSyncJob", "DescribeDataSource", "StartDataSourceSyncJob")
BAD_DURATIONS = [True, False, "60", -1, timedelta(seconds=-1), float("nan"), float("inf"), [60], 10**400]
BAD_INTERVALS = [*BAD_DURATIONS, None, 0, 0.0, timedelta()]
INTERVALS = [
    ("start", "poll_interval"),
    ("stop", "poll_interval"),
]


@pytest.mark.parametrize("value", BAD_INTERVALS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize(("name", "parameter"), INTERVALS)
def test_an_interval_between_polls_that_is_none_is_refused_in_the_dag_file(
    name: str, parameter: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=rf"^{parameter} is .*, but must be a timedelta or a number of seconds"):
        make(name, **{parameter: value})


@pytest.mark.parametrize("value", BAD_INTERVALS, ids=lambda value: repr(value)[:20])
def test_an_interval_of_a_watcher_that_is_none_is_refused_in_the_dag_file(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^poll_interval is .*, but must be a timedelta or a number of seconds"):
        KendraSyncJobEventTrigger(**IDS, poll_interval=value)


@pytest.mark.parametrize("value", [None, *BAD_DURATIONS], ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize(
    ("name", "parameter"), [("start", "timeout"), ("stop", "timeout"), ("wait for one", "not_found_timeout")]
)
def test_a_duration_that_is_none_is_refused_in_the_dag_file(name: str, parameter: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{parameter} is .*, but must be a timedelta or a number of seconds"):
        make(name, **{parameter: value})


@pytest.mark.parametrize("value", [*BAD_DURATIONS, 0, timedelta()], ids=lambda value: repr(value)[:20])
def test_an_age_that_is_none_is_refused_in_the_dag_file(value: Any) -> None:
    with pytest.raises(ValueError, match=r"max_age is .*, but must be a timedelta or a number of seconds, more than 0"):
        make("freshness", fresh_since=None, max_age=value)


@pytest.mark.parametrize("name", ["wait for one", "wait for any", "freshness"])
@pytest.mark.parametrize(
    "arguments",
    [{"poke_interval": 0}, {"poke_interval": timedelta()}, {"poke_interval": 1e10}, {"timeout": timedelta.max}],
    ids=str,
)
def test_a_duration_that_airflow_accepts_of_a_sensor_but_that_cannot_work_is_refused(
    name: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="but must be a timedelta or a number of seconds"):
        make(name, **arguments)


def test_a_timedelta_is_as_good_as_seconds() -> None:
    minutes = timedelta(minutes=2)
    start = make("start", poll_interval=minutes, timeout=minutes)
    assert (start.poll_interval, start.timeout) == (120, 120)
    wait = make("wait for one", not_found_timeout=minutes, poke_interval=minutes, timeout=minutes)
    assert (wait.not_found_timeout, wait.poke_interval, wait.timeout) == (120, 120, 120)
    for make_trigger, parameters in (
        (KendraSyncJobEventTrigger, ["poll_interval"]),
        (KendraSyncJobTrigger, ["poll_interval", "timeout", "not_found_timeout"]),
    ):
        _, kwargs = make_trigger(**IDS, **dict.fromkeys(parameters, minutes)).serialize()
        assert [kwargs[parameter] for parameter in parameters] == [120] * len(parameters)
        assert make_trigger(**json.loads(json.dumps(kwargs))).serialize()[1] == kwargs


@pytest.mark.parametrize(
    ("poll_interval", "arguments"), [(60, {"aws_conn_id": ""}), (0.05, {"verify": "False"}), (0, {})]
)
@pytest.mark.parametrize("trigger", [KendraSyncJobTrigger, KendraDataFreshnessTrigger])
def test_a_deferred_trigger_of_an_earlier_version_can_be_made_again(
    trigger: Any, poll_interval: float, arguments: dict[str, Any]
) -> None:
    own = IDS if trigger is KendraSyncJobTrigger else {"index_id": IDS["index_id"]}
    made = trigger(**own, poll_interval=poll_interval, **arguments)
    assert made.serialize()[1]["poll_interval"] == poll_interval


BAD_COUNTS = ["2", 2.0, True, 0, -1, float("nan"), [2]]


@pytest.mark.parametrize("limit", BAD_COUNTS, ids=repr)
def test_a_limit_that_is_no_whole_number_is_refused_in_the_dag_file(limit: Any) -> None:
    with pytest.raises(ValueError, match=r"limit is .*, but must be a whole number of 1 or more"):
        make("list", limit=limit)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_with_good_parameters_reaches_its_first_call(name: str) -> None:
    refused = RuntimeError("the first call")
    with (
        patch.object(KendraSyncJobsHook, "_of", side_effect=refused),
        patch.object(BaseHook, "get_connection", side_effect=refused),
        patch(f"{BaseOperator.__module__}.ExecutorSafeguard.test_mode", True),
        pytest.raises(RuntimeError, match="the first call"),
    ):
        make(name).execute({})
