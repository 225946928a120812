"""Where the calls go: the four AWS parameters that every operator, sensor and trigger takes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_kendra._validation import CHECKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook


@dataclass(frozen=True, slots=True)
class AwsParameters:
    """The AWS parameters as a value: what is equal can share a client."""

    aws_conn_id: str | None = "aws_default"
    region_name: str | None = None
    verify: bool | str | None = None
    # It can hold passwords, of proxies for one.
    botocore_config: str = field(default="{}", repr=False)

    def make_hook(self) -> KendraSyncJobsHook:
        """Make a hook. It is imported here, since boto3 is what DAG parsing must not pay for."""
        from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook

        return KendraSyncJobsHook(
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            config=json.loads(self.botocore_config) or None,
        )


class TakesAwsParameters:
    """What classes have in common that take the AWS parameters: operators, sensors and triggers."""

    aws_template_fields: ClassVar[Sequence[str]] = ("aws_conn_id", "region_name", "verify", "botocore_config")

    if TYPE_CHECKING:
        aws_conn_id: str | None
        region_name: str | None
        verify: bool | str | None
        botocore_config: Mapping[str, Any] | None

    @property
    def aws_parameters(self) -> AwsParameters:
        """
        The parameters as they are after rendering.

        :raises ValueError: if no client can be made with them.
        """
        checked = self.aws_kwargs
        return AwsParameters(
            **checked | {"botocore_config": json.dumps(checked["botocore_config"] or {}, sort_keys=True)}
        )

    @property
    def aws_kwargs(self) -> dict[str, Any]:
        """
        The parameters as keyword arguments for another class that takes them, in JSON types.

        :raises ValueError: if no client can be made with them.
        """
        values = {name: getattr(self, name) for name in self.aws_template_fields}
        return {name: None if value is None else CHECKS[name](name, value) for name, value in values.items()}
