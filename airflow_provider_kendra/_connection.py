"""The AWS parameters as a hashable value."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AwsParameters:
    """The AWS parameters; waits with equal parameters share a client."""

    aws_conn_id: str | None = "aws_default"
    region_name: str | None = None
    verify: bool | str | None = None
    # Can contain passwords, for example of proxies.
    botocore_config: str = field(default="{}", repr=False)
