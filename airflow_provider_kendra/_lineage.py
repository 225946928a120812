"""What a task publishes about the sync jobs it handled: links, asset events, OpenLineage."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_kendra._text import plain
from airflow_provider_kendra.links.kendra import (
    KendraIndexLink,
    KendraLink,
    KendraSyncJobLogsLink,
    leads_to_aws,
    store_link,
)
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_kendra.assets.kendra import KendraUri
    from airflow_provider_kendra.outcomes import AllFresh, Outcome
    from airflow_provider_kendra.sync_job import SyncJob

# Imports that only a running task needs are inside functions, to keep DAG parsing fast.


class SyncJobLineageMixin:
    """
    For operators and sensors that handle sync jobs; comes before Airflow's class in the bases.

    Links and asset events never fail a task. They need no AWS call, except that a stop may read its data source's type.
    A failed push of the record's keys fails the task, so that the next try repeats it.
    """

    operator_extra_links: Any = (KendraIndexLink(), KendraSyncJobLogsLink())

    # Provided by the classes that use this mixin.
    if TYPE_CHECKING:
        index_id: str
        region_name: str | None
        aws_conn_id: str | None
        do_xcom_push: bool
        log: Any

        def _push_keys(self, context: Context, record: Mapping[str, Any]) -> None: ...

    _finished_jobs: Sequence[SyncJob] = ()
    _declared_outlets: Sequence[Any] | None = None
    _stored_links: Collection[str] = ()
    _is_resumed = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not self.do_xcom_push:  # the links are XComs
            self.operator_extra_links = ()

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral."""
        self._is_resumed = True
        base: Any = super()
        return base.resume_execution(next_method, next_kwargs, context)

    def _publish_jobs(self, context: Context, *jobs: SyncJob) -> None:
        """
        Publish the jobs of a task whose outcome is final; called even if there are none.

        Finished jobs go into the lineage and into the asset events of matching outlets. Other Kendra outlets are
        dropped.

        :param context: The task's context.
        :param jobs: The jobs.
        """
        if not jobs:
            self._show_links(context)
        for job in jobs:
            self._show_links(context, job.execution_id)
        self._finished_jobs = [job for job in jobs if job.is_finished]
        self._write_asset_events(context)

    def _publish_outcome(self, context: Context, outcome: Outcome | AllFresh) -> Any:
        """
        Publish the jobs of a wait that is over, and return the outcome that the task ends with.

        :param context: The task's context.
        :param outcome: The outcome of the wait.
        """
        from airflow_provider_kendra.outcomes import AllFresh, Satisfied

        if isinstance(outcome, Satisfied):
            self._publish_jobs(context, outcome.job)
            self._push_keys(context, outcome.job.to_dict())
        elif isinstance(outcome, AllFresh):
            self._publish_jobs(context, *outcome.jobs.values())
        elif outcome.job is not None:
            self._show_links(context, outcome.job.execution_id)
        return outcome

    def _show_links(self, context: Context, execution_id: str | None = None) -> None:
        """
        Store the links that are known, which Airflow shows while the task still waits.

        :param context: The task's context.
        :param execution_id: The sync job, if it is known already.
        """
        ti: Any = context.get("ti")
        if ti is None:
            return
        for link in self.operator_extra_links:
            if not isinstance(link, KendraLink) or link.xcom_key in self._stored_links:
                continue
            if not self._was_stored_before(link):
                url = link.url(
                    region=self._region if leads_to_aws(self._endpoint) else None,  # may look the connection up
                    index_id=self.index_id,
                    data_source_id=getattr(self, "data_source_id", None),
                    execution_id=execution_id,
                )
                if url is None:
                    continue
                try:
                    store_link(ti, link.xcom_key, url)
                except Exception as error:  # a link must never fail the task
                    self.log.warning("Could not store the link %r: %s", link.name, plain(error))
                    return
            self._stored_links = {*self._stored_links, link.xcom_key}
        if AIRFLOW_V_3_0_PLUS:  # Airflow 3 would store them again at the end of the task
            self.operator_extra_links = tuple(
                link for link in self.operator_extra_links if getattr(link, "xcom_key", None) not in self._stored_links
            )

    def _was_stored_before(self, link: KendraLink) -> bool:
        """Whether the process that deferred the task stored this link, inferred without a call to Airflow."""
        return self._is_resumed and (self._was_job_known or not link.needs_job)

    @property
    def _was_job_known(self) -> bool:
        """Whether the sync job was known when the task deferred."""
        return True

    def _write_asset_events(self, context: Context) -> None:
        """
        Add the jobs to the events of their assets, and drop Kendra outlets that no job has updated.

        Airflow (2.11 to 3.4) creates an event for everything in ``outlets`` when the task succeeds.
        """
        from airflow_provider_kendra.assets.kendra import KendraUri, is_kendra_asset

        task: Any = self
        if self._declared_outlets is None:
            self._declared_outlets = task.outlets
        outlets = []
        for outlet in self._declared_outlets:
            if is_kendra_asset(outlet):
                records = self._records_of(KendraUri.of(outlet))
                if not records:
                    self.log.warning(
                        "No asset event: this task did not end with a finished, accepted sync of that data source (%s)",
                        plain(getattr(outlet, "uri", outlet)),
                    )
                    continue
                self._write_asset_event(context, outlet, records)
            outlets.append(outlet)
        task.outlets = outlets

    def _records_of(self, uri: KendraUri | None) -> list[dict[str, Any]]:
        jobs = [job for job in self._finished_jobs if uri is not None and self._is_of(uri, job)]
        return [job.to_dict() for job in jobs if self._is_update(job)]

    def _write_asset_event(self, context: Context, outlet: Any, records: Sequence[Mapping[str, Any]]) -> None:
        events: Any = context.get("outlet_events")
        if events is None:
            return
        try:
            # The same key and shape as in a watcher's events.
            events[outlet].extra["payload"] = {"sync_jobs": records}
        except Exception as error:  # an event's details must never fail the task
            self.log.warning(
                "Could not put the sync job into the asset event: %s (%s)",
                plain(error),
                plain(getattr(outlet, "uri", outlet)),
            )

    def _is_update(self, job: SyncJob) -> bool:
        """Whether this finished job updated its data source. Always true: the task fails unless its job is accepted."""
        return True

    def _is_of(self, uri: KendraUri, job: SyncJob) -> bool:
        same_ids = (uri.index_id, uri.data_source_id) == (job.index_id, job.data_source_id)
        return same_ids and self._region in (None, uri.region)

    @property
    def _region(self) -> str | None:
        """The AWS region, if it is known without creating a client."""
        if self.region_name:
            return self.region_name
        hook = vars(self).get("hook")
        if hook is not None and "conn" in vars(hook):
            region: str = hook.conn_region_name
            return region
        return _region_in(self._connection_extra)

    @property
    def _endpoint(self) -> object:
        """The endpoint of Kendra, if it is known without creating a client; None for that of AWS."""
        hook = vars(self).get("hook")
        if hook is not None and "conn" in vars(hook):
            return hook.conn.meta.endpoint_url
        return _endpoint_in(self._connection_extra)

    @cached_property
    def _connection_extra(self) -> Mapping[str, Any] | None:
        """The extra of the connection, empty without a connection; None if it is uncertain."""
        return _extra_of_connection(self.aws_conn_id)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """
        Report to OpenLineage the data sources that were synced, each with the number of documents written.

        They are outputs even of a task that only waited, since its run reports the new data. OpenLineage uses the
        task's own inlets and outlets only if the result is empty, so they are added here.

        :param task_instance: The task instance.
        """
        try:
            from airflow.providers.common.compat.openlineage.facet import (
                OutputDataset,
                OutputStatisticsOutputDatasetFacet,
            )
            from airflow.providers.common.compat.openlineage.utils.utils import translate_airflow_asset
            from airflow.providers.openlineage.extractors import OperatorLineage
        except ImportError:
            return None
        from airflow_provider_kendra.assets.kendra import KendraUri

        region = self._region if self._finished_jobs else None
        if region is None:
            return OperatorLineage()

        def translated(assets: Sequence[Any]) -> list[Any]:
            return [dataset for asset in assets if (dataset := translate_airflow_asset(asset, None)) is not None]

        outputs = {}
        for job in self._finished_jobs:
            uri = KendraUri(region, job.index_id, job.data_source_id)
            written = [count for count in (job.documents_added, job.documents_modified) if count is not None]
            outputs[uri.openlineage_namespace, uri.openlineage_name] = OutputDataset(
                namespace=uri.openlineage_namespace,
                name=uri.openlineage_name,
                outputFacets=(
                    {"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=sum(written))} if written else {}
                ),
            )
        task: Any = self
        for dataset in translated(self._declared_outlets or task.outlets):
            outputs.setdefault((dataset.namespace, dataset.name), dataset)
        return OperatorLineage(inputs=translated(task.inlets), outputs=list(outputs.values()))


def check_no_kendra_outlets(task: Any) -> None:
    """
    Reject Kendra outlets of a task that does not wait for its sync.

    :param task: The task, which has ``wait_for_completion``.
    :raises ValueError: if it has such an outlet and does not wait.
    """
    if task.wait_for_completion or not task.outlets:
        return
    from airflow_provider_kendra.assets.kendra import is_kendra_asset  # already imported by a DAG with Kendra outlets

    if any(map(is_kendra_asset, task.outlets)):
        raise ValueError(
            f"{task.task_id}: wait_for_completion=False with a Kendra asset among the outlets would report the "
            "asset as updated before it is. Wait here, or move the outlet to the task that waits."
        )


def _extra_of_connection(aws_conn_id: str | None) -> Mapping[str, Any] | None:
    if not aws_conn_id:
        return {}
    from airflow.providers.common.compat.sdk import BaseHook

    try:
        extra = BaseHook.get_connection(aws_conn_id).extra_dejson
    except Exception:  # the first call reports it
        return None
    return extra if isinstance(extra, dict) else None


def _region_in(extra: Mapping[str, Any] | None) -> str | None:
    """The region that a client with this extra would use; None if uncertain."""
    from airflow_provider_kendra.assets.kendra import is_region

    if extra is None or "session_kwargs" in extra:
        return None
    if region := extra.get("region_name"):
        return region if isinstance(region, str) and is_region(region) else None
    return os.environ.get("AWS_DEFAULT_REGION")


def _endpoint_in(extra: Mapping[str, Any] | None) -> object:
    """The endpoint of Kendra that a client with this extra would use, ignoring boto3's configuration files."""
    services = (extra or {}).get("service_config")
    of_kendra = services.get("kendra") if isinstance(services, Mapping) else None
    own = of_kendra.get("endpoint_url") if isinstance(of_kendra, Mapping) else None
    if configured := own or (extra or {}).get("endpoint_url"):
        return configured
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return os.environ.get("AWS_ENDPOINT_URL_KENDRA") or os.environ.get("AWS_ENDPOINT_URL")
