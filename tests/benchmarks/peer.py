"""What ours is measured against: the trigger that an author would write on the amazon provider's base class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.triggers.base import AwsBaseWaiterTrigger


class PeerHook(AwsBaseHook):
    """Knows the custom waiter, which the base class looks for in the amazon provider's own directory."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "client_type": "kendra"})

    @property
    def waiter_path(self) -> Path:
        return Path(__file__).with_name("peer.json")


class PeerTrigger(AwsBaseWaiterTrigger):
    """Waits until the newest sync job has succeeded."""

    aws_hook_class = PeerHook

    def __init__(
        self,
        *,
        index_id: str,
        data_source_id: str,
        waiter_delay: int = 60,
        waiter_max_attempts: int = 1440,
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            serialized_fields={"index_id": index_id, "data_source_id": data_source_id},
            waiter_name="sync_job_complete",
            waiter_args={"IndexId": index_id, "Id": data_source_id},
            failure_message="Sync job failed",
            status_message="Status of the sync job",
            status_queries=["History[0].Status"],
            return_key="data_source_id",
            return_value=data_source_id,
            waiter_delay=waiter_delay,
            waiter_max_attempts=waiter_max_attempts,
            aws_conn_id=aws_conn_id,
            **kwargs,
        )
