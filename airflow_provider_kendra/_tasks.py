"""The base class of operators and sensors: index and AWS parameters, links, asset events, checks of templates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_kendra import _clock
from airflow_provider_kendra._aws import TakesAwsParameters
from airflow_provider_kendra._docstrings import Documented
from airflow_provider_kendra._lineage import SyncJobLineageMixin
from airflow_provider_kendra._rendering import RenderedTask

if TYPE_CHECKING:
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
    from airflow_provider_kendra.sync_job import SyncJob

DEFERRAL_MARGIN = timedelta(seconds=_clock.OVERRUN + 60)
"""How long after the trigger's own time-out Airflow ends a deferral, so that the trigger's error comes first."""


# A subclass of BaseOperator, since Airflow reads only the __init__ of such classes for default_args and partial().
class KendraOperator(Documented, SyncJobLineageMixin, TakesAwsParameters, RenderedTask, BaseOperator):
    """
    Base class of the operators and sensors.

    :param index_id: The index (templated).
    :param aws_conn_id: The Airflow connection for AWS, by default ``aws_default``; None for boto3's own credentials
        (templated).
    :param region_name: AWS region; by default that of the connection (templated).
    :param verify: Whether, or with which CA bundle, to verify TLS certificates (templated).
    :param botocore_config: Configuration for the botocore client: a mapping of the parameters of
        ``botocore.config.Config`` (templated). Default: that of the connection.
    """

    def __init__(
        self,
        *,
        index_id: str,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.index_id = index_id
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    @cached_property
    def hook(self) -> KendraSyncJobsHook:
        """The hook for these parameters."""
        hook = self._make_hook()
        hook._retry_connection_lookups()
        return hook

    def _make_hook(self) -> KendraSyncJobsHook:
        from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook  # imported lazily: it needs boto3

        return KendraSyncJobsHook._of(self.aws_parameters)

    def _log_end(self, job: SyncJob, max_documents_failed: int | None = None) -> None:
        """Log how a sync ended; with the limit, if it was accepted with failed documents."""
        is_tolerated = bool(job.documents_failed) and max_documents_failed is not None
        limit = f", up to {max_documents_failed:,} accepted" if is_tolerated else ""
        self.log.info("%s%s%s %s.", job.end, limit, job.reason_suffix, job.ids)
