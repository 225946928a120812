"""The AWS parameters as a value, which only a running task or trigger needs."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AwsParameters:
    """The AWS parameters as a value: what is equal can share a client."""

    aws_conn_id: str | None = "aws_default"
    region_name: str | None = None
    verify: bool | str | None = None
    # It can hold passwords, of proxies for one.
    botocore_config: str = field(default="{}", repr=False)
