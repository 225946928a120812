"""What a task tells Airflow of the sync job it ends with: links, asset events, OpenLineage."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias, BaseOperator, TaskDeferred

from airflow_provider_kendra.assets.kendra import create_asset
from airflow_provider_kendra.exceptions import KendraSyncJobMetricsError, KendraSyncJobRejectedError
from airflow_provider_kendra.operators.kendra import (
    KendraListSyncJobsOperator,
    KendraStartSyncJobOperator,
    KendraStopSyncJobOperator,
    KendraSyncJobMetricsOperator,
)
from airflow_provider_kendra.outcomes import Satisfied
from airflow_provider_kendra.sensors.kendra import KendraDataFreshnessSensor, KendraSyncJobSensor
from airflow_provider_kendra.sync_job import SyncJob
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS
from tests.conftest import counts, listed

if find_spec("openlineage") is not None:
    from airflow.providers.openlineage.extractors import OperatorLineage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import DataSource

REGION = "us-east-1"
INDEX_ID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
IDS = {"index_id": INDEX_ID, "data_source_id": "documents"}
JOB = SyncJob(**IDS, execution_id="mine", status="SUCCEEDED", documents_added=3, documents_modified=2)
INDEX_LINK, LOGS_LINK = "_link_KendraIndexLink", "_link_KendraSyncJobLogsLink"

with_openlineage = pytest.mark.skipif(
    find_spec("openlineage") is None, reason="the OpenLineage provider is not installed"
)


class Events(dict[Any, Any]):
    """Outlet events by URI, as the task runner hands them out: each when it is first asked for with its asset."""

    def __getitem__(self, asset: Any) -> Any:
        return self.setdefault(asset.uri, SimpleNamespace(extra={}))

    def records(self) -> dict[str, Any]:
        return {uri: event.extra["payload"]["sync_jobs"] for uri, event in self.items()}


class Run:
    """The context of a task, and what the task did with it."""

    dag_id, task_id, run_id, map_index = "dag", "wait", "run", -1

    def __init__(self) -> None:
        self.links: dict[str, str] = {}
        self.events = Events()
        self.stores = 0
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        assert not key.startswith("_link_"), "this would go into an XCom backend, where no link is looked for"
        self.pushed[key] = value

    @property
    def context(self) -> Any:
        return {"ti": self, "outlet_events": self.events}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose links go into the dictionary ``links`` instead of Airflow's database."""
    run = Run()

    def store(ti: Any, key: str, url: str) -> None:
        ti.links[key] = url
        ti.stores += 1

    monkeypatch.setattr("airflow_provider_kendra._lineage.store_link", store)
    return run


@pytest.fixture(autouse=True)
def _whoever_calls_execute_is_the_task_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{BaseOperator.__module__}.ExecutorSafeguard.test_mode", True)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Defines aws_default by its extra, and nothing else."""
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)

    def define(**extra: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "extra": extra}))

    return define


def wait(**arguments: Any) -> KendraSyncJobSensor:
    return KendraSyncJobSensor(**{"task_id": "wait", "execution_id": "mine", **IDS, **arguments})


def stop(**arguments: Any) -> KendraStopSyncJobOperator:
    return KendraStopSyncJobOperator(**{"task_id": "stop", **IDS, **arguments})


def event() -> dict[str, Any]:
    return Satisfied(JOB).to_event()


class TestAssetEvents:
    def outlets(self, source: DataSource) -> dict[str, Any]:
        return {"outlets": [create_asset(region=REGION, **source.as_kwargs)]}

    @pytest.fixture
    def finished(self, data_source: DataSource) -> DataSource:
        data_source.show([listed("mine")])
        return data_source

    def test_every_task_that_ends_with_a_finished_job_gives_its_record(self, run: Run, finished: DataSource) -> None:
        ids, outlets = finished.as_kwargs, self.outlets(finished)
        tasks = [
            wait(**ids, **outlets),
            KendraStopSyncJobOperator(task_id="stop", execution_id="mine", **ids, **outlets),
            KendraSyncJobMetricsOperator(task_id="metrics", **ids, **outlets),
        ]
        (asset,) = outlets["outlets"]

        for task in tasks:
            own = Run()
            record = task.execute(own.context)
            assert own.events.records() == {asset.uri: [record]}

    def test_a_start_gives_the_record_of_the_sync_that_it_waited_for(self, run: Run, data_source: DataSource) -> None:
        data_source.kendra.set_sync_duration(0)
        outlets = self.outlets(data_source)

        record = KendraStartSyncJobOperator(task_id="start", **data_source.as_kwargs, **outlets).execute(run.context)

        assert run.events.records() == {outlets["outlets"][0].uri: [record]}

    def test_a_poking_sensor_gives_it_too(self, run: Run, finished: DataSource) -> None:
        wait(**finished.as_kwargs, **self.outlets(finished)).poke(run.context)

        assert [[job["execution_id"] for job in jobs] for jobs in run.events.records().values()] == [["mine"]]

    def test_a_task_that_was_deferred_gives_it_when_it_resumes(self, run: Run) -> None:
        asset = create_asset(region=REGION, **IDS)

        wait(region_name=REGION, outlets=[asset]).execute_complete(run.context, event())

        assert run.events.records() == {asset.uri: [JOB.to_dict()]}

    def test_freshness_gives_each_data_source_its_own(self, run: Run, data_source: DataSource) -> None:
        kendra, index_id = data_source.kendra, data_source.index_id
        other = kendra.create_s3_data_source(index_id, "documents")
        kendra.set_history(index_id, other, [listed("theirs")])
        data_source.show([listed("mine")])
        ids = {data_source.data_source_id: "mine", other: "theirs"}
        assets = {id_: create_asset(region=REGION, index_id=index_id, data_source_id=id_) for id_ in ids}

        KendraDataFreshnessSensor(
            task_id="fresh", index_id=index_id, fresh_since="2026-01-01T00:00:00+00:00", outlets=list(assets.values())
        ).execute(run.context)

        given = {uri: [job["execution_id"] for job in jobs] for uri, jobs in run.events.records().items()}
        assert given == {asset.uri: [ids[id_]] for id_, asset in assets.items()}

    @pytest.mark.parametrize(
        "other",
        [{"region": "eu-west-1"}, {"data_source_id": "other"}, {"index_id": "9" * 36}],
        ids=["another region", "another data source", "another index"],
    )
    def test_the_outlet_of_what_was_not_synced_is_dropped_with_a_warning(
        self, run: Run, other: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine, others = create_asset(region=REGION, **IDS), create_asset(**{"region": REGION, **IDS, **other})
        declared = [others, mine]
        sensor = wait(region_name=REGION, outlets=declared)
        warnings: list[str] = []
        monkeypatch.setattr(sensor.log, "warning", lambda message, *args: warnings.append(message % args))

        sensor.execute_complete(run.context, event())

        assert sensor.outlets == [mine]
        assert list(run.events.records()) == [mine.uri]
        (warning,) = warnings
        assert warning.startswith("No asset event: ")
        assert others.uri in warning
        assert declared == [others, mine], "the DAG's own list is not touched"

    def test_outlets_that_are_not_of_kendra_stay(self, run: Run) -> None:
        outlets = [Asset(uri="s3://bucket/key"), AssetAlias("kendra://alias"), "text"]
        sensor = wait(region_name=REGION, outlets=outlets)

        sensor.execute_complete(run.context, event())

        assert sensor.outlets == outlets
        assert run.events == {}

    @pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 has no references to assets")
    @pytest.mark.parametrize("by", ["uri", "name"])
    def test_a_reference_to_the_asset_of_what_was_not_synced_is_dropped_too(self, run: Run, by: str) -> None:
        mine, others = (create_asset(region=REGION, **{**IDS, "data_source_id": id_}) for id_ in ("documents", "other"))
        outlets = [Asset.ref(**{by: getattr(asset, by)}) for asset in (mine, others)]
        sensor = wait(region_name=REGION, outlets=outlets)

        sensor.execute_complete({}, event())

        assert sensor.outlets == outlets[:1]

    def test_an_outlet_is_not_dropped_while_a_sensor_still_waits(self, run: Run, data_source: DataSource) -> None:
        data_source.show([listed("mine", "SYNCING")], [listed("mine")])
        sensor = wait(**data_source.as_kwargs, **self.outlets(data_source))

        assert not sensor.poke(run.context)
        assert sensor.poke(run.context)
        assert len(sensor.outlets) == 1

    def test_where_the_region_is_not_known_the_ids_decide(self, run: Run, connections: Any) -> None:
        connections()
        asset = create_asset(region="eu-west-1", **IDS)

        wait(outlets=[asset]).execute_complete(run.context, event())

        assert list(run.events.records()) == [asset.uri]

    def test_what_else_is_in_the_event_stays(self, run: Run) -> None:
        asset = create_asset(region=REGION, **IDS)
        run.events[asset].extra["mine"] = 1

        wait(region_name=REGION, outlets=[asset]).execute_complete(run.context, event())

        assert run.events[asset].extra.keys() == {"mine", "payload"}

    def test_a_gate_that_is_not_passed_gives_none(self, run: Run, data_source: DataSource) -> None:
        data_source.show([listed("mine", Metrics=counts(failed=3))])
        gate = KendraSyncJobMetricsOperator(
            task_id="gate", max_documents_failed=0, **data_source.as_kwargs, **self.outlets(data_source)
        )

        with pytest.raises(KendraSyncJobMetricsError):
            gate.execute(run.context)
        assert run.events == {}

    @pytest.mark.parametrize("status", ["FAILED", "ABORTED"])
    def test_metrics_of_a_sync_that_ended_badly_make_no_event_though_no_gate_stopped_them(
        self, run: Run, data_source: DataSource, status: str
    ) -> None:
        data_source.show([listed("mine", status)])
        metrics = KendraSyncJobMetricsOperator(task_id="metrics", **data_source.as_kwargs, **self.outlets(data_source))

        assert metrics.execute(run.context)["status"] == status
        assert (run.events, metrics.outlets) == ({}, [])

    @pytest.mark.parametrize("kind", ["data_source", "custom_data_source"])
    @pytest.mark.parametrize("status", ["SUCCEEDED", "INCOMPLETE", "ABORTED", "FAILED"])
    @pytest.mark.parametrize("is_resumed", [False, True], ids=["on a worker", "after a deferral"])
    def test_a_stop_makes_an_event_if_documents_were_indexed(
        self, run: Run, request: pytest.FixtureRequest, kind: str, status: str, is_resumed: bool
    ) -> None:
        source: DataSource = request.getfixturevalue(kind)
        source.show([listed("mine", status)])
        stop = KendraStopSyncJobOperator(
            task_id="stop", execution_id="mine", **source.as_kwargs, **self.outlets(source)
        )

        if is_resumed:
            job = SyncJob(**source.as_kwargs, execution_id="mine", status=status)
            record = stop.execute_complete(run.context, Satisfied(job).to_event())
        else:
            record = stop.execute(run.context)

        assert record["status"] == status
        has_event = status in ("SUCCEEDED", "INCOMPLETE") or (status, kind) == ("ABORTED", "custom_data_source")
        assert (len(run.events), len(stop.outlets)) == (has_event, has_event)

    def test_a_stop_that_cannot_find_out_the_type_makes_no_event_and_does_not_fail(
        self, run: Run, custom_data_source: DataSource
    ) -> None:
        custom_data_source.show([listed("mine", "ABORTED")])
        custom_data_source.kendra.inject("DescribeDataSource", error="AccessDeniedException")
        stop = KendraStopSyncJobOperator(
            task_id="stop", execution_id="mine", **custom_data_source.as_kwargs, **self.outlets(custom_data_source)
        )

        assert stop.execute(run.context)["status"] == "ABORTED"
        assert stop.outlets == []

    def test_a_stopped_batch_makes_an_event_though_the_reading_of_the_type_is_throttled_at_first(
        self, run: Run, custom_data_source: DataSource
    ) -> None:
        custom_data_source.show([listed("mine", "ABORTED")])
        custom_data_source.kendra.inject("DescribeDataSource", error="ThrottlingException", times=3)
        stop = KendraStopSyncJobOperator(
            task_id="stop",
            execution_id="mine",
            botocore_config={"retries": {"total_max_attempts": 1}},
            **custom_data_source.as_kwargs,
            **self.outlets(custom_data_source),
        )

        assert stop.execute(run.context)["status"] == "ABORTED"
        assert len(run.events) == 1

    def test_tasks_that_end_without_a_sync_make_no_event(self, run: Run, data_source: DataSource) -> None:
        arguments = {**data_source.as_kwargs, **self.outlets(data_source)}
        tasks = [
            KendraStopSyncJobOperator(task_id="stop", **arguments),
            KendraListSyncJobsOperator(task_id="list", **arguments),
        ]
        for task in tasks:
            task.execute(run.context)
            assert task.outlets == []
        assert run.events == {}

    @pytest.mark.parametrize("operator", [KendraStartSyncJobOperator, KendraStopSyncJobOperator])
    def test_a_task_that_does_not_wait_may_not_have_the_asset_as_outlet(self, operator: Any) -> None:
        with pytest.raises(ValueError, match="wait_for_completion=False with a Kendra asset among the outlets"):
            operator(task_id="t", wait_for_completion=False, outlets=[create_asset(region=REGION, **IDS)], **IDS)

    @pytest.mark.parametrize("operator", [KendraStartSyncJobOperator, KendraStopSyncJobOperator])
    def test_a_task_that_does_not_wait_makes_no_event_for_an_outlet_that_it_got_later(
        self, run: Run, data_source: DataSource, operator: Any
    ) -> None:
        if operator is KendraStopSyncJobOperator:
            data_source.start()
        task = operator(task_id="t", wait_for_completion=False, **data_source.as_kwargs)
        task.outlets = self.outlets(data_source)["outlets"]

        task.execute(run.context)

        assert (run.events, task.outlets) == ({}, [])

    def test_an_event_that_cannot_be_written_to_does_not_fail_the_task(self) -> None:
        sensor = wait(region_name=REGION, outlets=[create_asset(region=REGION, **IDS)])

        assert sensor.execute_complete({"outlet_events": None}, event()) == JOB.to_dict()
        assert sensor.execute_complete({"outlet_events": {}}, event()) == JOB.to_dict()

    def test_without_a_context_there_is_just_the_result(self, finished: DataSource) -> None:
        sensor = wait(**finished.as_kwargs, **self.outlets(finished))

        assert sensor.execute({})["execution_id"] == "mine"
        assert sensor.poke({})


class TestLinks:
    @pytest.fixture
    def as_if_on_aws(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow_provider_kendra._lineage.leads_to_aws", lambda endpoint: True)

    @pytest.mark.usefixtures("as_if_on_aws")
    def test_show_while_a_sensor_pokes(self, run: Run, data_source: DataSource) -> None:
        data_source.show([listed("mine", "SYNCING")])
        sensor = wait(**data_source.as_kwargs)

        sensor.poke(run.context)
        sensor.poke(run.context)

        assert run.links.keys() == {INDEX_LINK, LOGS_LINK}
        assert REGION in run.links[INDEX_LINK]
        assert run.stores == 2, "each is stored once"

    def test_show_while_a_task_is_deferred(self, run: Run) -> None:
        with pytest.raises(TaskDeferred):
            wait(region_name=REGION, deferrable=True).execute(run.context)

        assert run.links.keys() == {INDEX_LINK, LOGS_LINK}

    def test_show_the_logs_as_soon_as_a_sync_job_is_known(self, run: Run) -> None:
        arguments = {"execution_id": None, "started_after": "2026-01-31T05:00:00+00:00", "region_name": REGION}
        with pytest.raises(TaskDeferred):
            wait(deferrable=True, **arguments).execute(run.context)
        assert run.links.keys() == {INDEX_LINK}

        wait(deferrable=True, **arguments).execute_complete(run.context, event())
        assert run.links.keys() == {INDEX_LINK, LOGS_LINK}

    @pytest.mark.usefixtures("as_if_on_aws")
    def test_show_for_a_sync_that_failed(self, run: Run, data_source: DataSource) -> None:
        data_source.show([listed("mine", "FAILED")])

        with pytest.raises(KendraSyncJobRejectedError):
            wait(**data_source.as_kwargs).execute(run.context)
        assert run.links.keys() == {INDEX_LINK, LOGS_LINK}

    @pytest.mark.usefixtures("as_if_on_aws")
    def test_show_for_a_start_that_does_not_wait(self, run: Run, data_source: DataSource) -> None:
        KendraStartSyncJobOperator(task_id="start", wait_for_completion=False, **data_source.as_kwargs).execute(
            run.context
        )

        assert run.links.keys() == {INDEX_LINK, LOGS_LINK}

    @pytest.mark.usefixtures("as_if_on_aws")
    def test_cost_no_call(self, run: Run, data_source: DataSource) -> None:
        data_source.show([listed("mine")])
        before = len(data_source.kendra.calls())

        wait(**data_source.as_kwargs).execute(run.context)

        assert run.links
        assert [call.operation for call in data_source.kendra.calls()[before:]] == ["ListDataSourceSyncJobs"]

    def test_take_the_region_from_the_connection(self, run: Run, connections: Any) -> None:
        connections(region_name="eu-west-1")

        wait().execute_complete(run.context, event())

        assert "region=eu-west-1" in run.links[INDEX_LINK]

    def test_take_boto3s_own_region_where_the_connection_has_none(
        self, run: Run, connections: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connections()
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

        wait().execute_complete(run.context, event())

        assert "region=eu-central-1" in run.links[INDEX_LINK]

    @pytest.mark.parametrize("extra", [{}, {"session_kwargs": {"region_name": "eu-west-1"}}], ids=["no", "doubtful"])
    def test_are_absent_where_the_region_is_not_certain(
        self, run: Run, connections: Any, extra: dict[str, Any]
    ) -> None:
        connections(**extra)

        wait().execute_complete(run.context, event())

        assert run.links == {}

    def test_are_absent_for_a_local_kendra_which_the_console_does_not_show(
        self, run: Run, data_source: DataSource
    ) -> None:
        data_source.show([listed("mine")])

        wait(**data_source.as_kwargs).execute(run.context)

        assert run.links == {}

    @pytest.mark.parametrize(
        ("extra", "environment", "is_linked"),
        [
            ({"endpoint_url": "http://localhost:5000"}, {}, False),
            ({"service_config": {"kendra": {"endpoint_url": "http://localhost:5000"}}}, {}, False),
            ({"service_config": {"s3": {"endpoint_url": "http://localhost:5000"}}}, {}, True),
            ({"endpoint_url": "https://vpce-1.kendra.eu-west-1.vpce.amazonaws.com"}, {}, True),
            ({"endpoint_url": "https://amazonaws.com.example"}, {}, False),
            ({"endpoint_url": "http://[::1"}, {}, False),
            ({}, {"AWS_ENDPOINT_URL": "http://localhost:5000"}, False),
            ({}, {"AWS_ENDPOINT_URL_KENDRA": "http://localhost:5000"}, False),
            ({}, {"AWS_ENDPOINT_URL_S3": "http://localhost:5000"}, True),
            ({}, {"AWS_ENDPOINT_URL": "http://l:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, True),
        ],
    )
    def test_depend_on_the_endpoint_before_there_is_a_client(
        self, run: Run, connections: Any, monkeypatch: pytest.MonkeyPatch, extra: Any, environment: Any, is_linked: bool
    ) -> None:
        connections(region_name="eu-west-1", **extra)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        with pytest.raises(TaskDeferred):
            wait(region_name=REGION, deferrable=True).execute(run.context)

        assert bool(run.links) is is_linked

    def test_are_absent_where_the_connection_is_not_defined(self, run: Run) -> None:
        assert wait(aws_conn_id="absent").execute_complete(run.context, event()) == JOB.to_dict()
        assert run.links == {}

    @pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 stores no links itself")
    def test_are_not_stored_again_by_airflow_at_the_end_of_the_task(self, run: Run) -> None:
        sensor = wait(region_name=REGION)
        assert [link.xcom_key for link in sensor.operator_extra_links] == [INDEX_LINK, LOGS_LINK]

        sensor.execute_complete(run.context, event())

        assert sensor.operator_extra_links == ()
        assert len(wait(region_name=REGION).operator_extra_links) == 2, "the DAG's own task still has them"

    def test_are_not_stored_again_by_the_task_that_resumes(self, run: Run) -> None:
        with pytest.raises(TaskDeferred):
            wait(region_name=REGION, deferrable=True).execute(run.context)
        assert run.stores == 2

        wait(region_name=REGION, deferrable=True).resume_execution("execute_complete", {"event": event()}, run.context)
        assert (run.links.keys(), run.stores) == ({INDEX_LINK, LOGS_LINK}, 2)

    @pytest.mark.parametrize("make", [wait, lambda **arguments: stop(**arguments)], ids=["a sensor", "an operator"])
    def test_of_a_task_that_resumes_cost_no_call_of_airflow(
        self, run: Run, make: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def call(*_: Any) -> Any:
            raise AssertionError("This is a call of the api-server.")

        monkeypatch.setattr("airflow_provider_kendra._lineage._extra_of_connection", call)
        monkeypatch.setattr("airflow_provider_kendra.links.kendra._read", call)
        monkeypatch.setattr("airflow_provider_kendra._lineage.store_link", call)
        task = make(deferrable=True)

        assert task.resume_execution("execute_complete", {"event": event()}, run.context) == JOB.to_dict()
        if AIRFLOW_V_3_0_PLUS:
            assert task.operator_extra_links == (), "Airflow would read and store each at the end of the task"

    def test_of_a_task_that_resumes_are_stored_if_they_were_not_known_before(self, run: Run) -> None:
        arguments = {"execution_id": None, "started_after": "2026-01-31T05:00:00+00:00", "region_name": REGION}
        with pytest.raises(TaskDeferred):
            wait(deferrable=True, **arguments).execute(run.context)
        wait(deferrable=True, **arguments).resume_execution("execute_complete", {"event": event()}, run.context)
        assert (run.links.keys(), run.stores) == ({INDEX_LINK, LOGS_LINK}, 2)

    @pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="before Airflow 3.3 the task begins on a worker")
    def test_are_stored_by_the_task_that_resumes_if_it_began_in_the_triggerer(self, run: Run) -> None:
        sensor = wait(region_name=REGION, start_from_trigger=True)

        sensor.resume_execution("execute_complete", {"event": event()}, run.context)
        assert run.links.keys() == {INDEX_LINK, LOGS_LINK}

    @pytest.mark.parametrize("make", [wait, lambda **arguments: stop(**arguments)], ids=["a sensor", "an operator"])
    def test_a_task_that_pushes_no_xcoms_has_none(self, run: Run, make: Any) -> None:
        task = make(region_name=REGION, do_xcom_push=False)
        task.execute_complete(run.context, event())

        assert (run.links, list(task.operator_extra_links)) == ({}, [])

    def test_that_cannot_be_stored_do_not_fail_the_task(self) -> None:
        """There is no Airflow here that could store them."""
        sensor = wait(region_name=REGION, multiple_outputs=False)
        assert sensor.execute_complete({"ti": Run()}, event()) == JOB.to_dict()
        assert sensor.execute_complete({"ti": SimpleNamespace()}, event()) == JOB.to_dict()
        assert len(sensor.operator_extra_links) == 2, "Airflow may try at the end of the task"


class TestOpenLineage:
    def lineage(self, job: SyncJob = JOB, **arguments: Any) -> Any:
        sensor = wait(region_name=REGION, **arguments)
        sensor.execute_complete({}, Satisfied(job).to_event())
        return sensor.get_openlineage_facets_on_complete(None)

    @with_openlineage
    def test_the_data_source_is_an_output_with_the_documents_written(self) -> None:
        (output,) = self.lineage().outputs

        assert (output.namespace, output.name) == (f"kendra://{REGION}", f"{INDEX_ID}/documents")
        assert output.outputFacets["outputStatistics"].rowCount == 5

    @with_openlineage
    def test_a_count_that_was_not_reported_is_not_invented(self) -> None:
        (output,) = self.lineage(SyncJob(**IDS, execution_id="mine", status="SUCCEEDED")).outputs

        assert output.outputFacets == {}

    @with_openlineage
    def test_the_tasks_own_inlets_and_outlets_stay(self) -> None:
        mine, other = (create_asset(region=REGION, **{**IDS, "data_source_id": id_}) for id_ in ("documents", "other"))

        lineage = self.lineage(inlets=[other], outlets=[mine, other, AssetAlias("alias")])

        assert [dataset.name for dataset in lineage.inputs] == [f"{INDEX_ID}/other"]
        assert [dataset.name for dataset in lineage.outputs] == [f"{INDEX_ID}/documents", f"{INDEX_ID}/other"]

    @with_openlineage
    def test_the_result_is_empty_for_a_sync_that_goes_on(self) -> None:
        assert wait(region_name=REGION).get_openlineage_facets_on_complete(None) == OperatorLineage()

    @with_openlineage
    def test_the_result_is_empty_without_the_region(self, connections: Any) -> None:
        connections()
        sensor = wait()
        sensor.execute_complete({}, event())

        assert sensor.get_openlineage_facets_on_complete(None) == OperatorLineage()

    @with_openlineage
    @pytest.mark.parametrize("region", ["us-east-1\nforged", "us-east-1/x?y#z", "x" * 5_000, 5, {"a": "b"}])
    def test_a_region_that_is_none_reaches_neither_lineage_nor_links(
        self, run: Run, connections: Any, region: Any
    ) -> None:
        connections(region_name=region)
        sensor = wait()
        sensor.execute_complete(run.context, event())

        assert sensor.get_openlineage_facets_on_complete(None) == OperatorLineage()
        assert run.links == {}

    @with_openlineage
    def test_the_provider_takes_an_empty_result_without_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        from airflow.providers.openlineage.extractors.manager import ExtractorManager

        sensor = wait(region_name=REGION, outlets=[create_asset(region=REGION, **IDS)])
        extracted = ExtractorManager().extract_metadata(
            dagrun=SimpleNamespace(run_id="run"),
            task=sensor,
            task_instance_state="success",
            task_instance=SimpleNamespace(),
        )

        assert [dataset.name for dataset in extracted.outputs] == [f"{INDEX_ID}/documents"], "the outlets still count"
        assert caplog.messages == []

    def test_without_the_provider_nothing_breaks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("airflow.providers.openlineage", "airflow.providers.openlineage.extractors"):
            monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, "airflow.providers.common.compat.openlineage.utils.utils", raising=False)

        assert self.lineage() is None
