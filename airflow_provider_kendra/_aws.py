"""The four AWS parameters that every operator, sensor and trigger takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_kendra._validation import check_botocore_config, check_connection_id, check_text, check_verify
from airflow_provider_kendra.exceptions import KendraError, KendraRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_kendra._connection import AwsParameters

LOOK_UP_PAUSES = (1.0, 4.0, 15.0, 40.0)
"""Seconds between look-ups of a connection that is reported as not defined."""


class ConnectionNotDefinedError(KendraRequestError):
    """Airflow reports the connection as not defined; 3.1 to 3.3 also do so after a failed look-up."""


class ConnectionLookUpError(KendraError):
    """The look-up of a connection failed; a later one may succeed."""


AWS_CHECKS: Mapping[str, Callable[[str, Any], object]] = {
    "aws_conn_id": check_connection_id,
    "region_name": check_text,
    "verify": check_verify,
    "botocore_config": check_botocore_config,
}
"""The check of each AWS parameter, for rendered values."""


class TakesAwsParameters:
    """Base class of operators, sensors and triggers: the AWS parameters."""

    aws_template_fields: ClassVar[Sequence[str]] = tuple(AWS_CHECKS)

    if TYPE_CHECKING:
        aws_conn_id: str | None
        region_name: str | None
        verify: bool | str | None
        botocore_config: Mapping[str, Any] | None

    @property
    def aws_parameters(self) -> AwsParameters:
        """
        The parameters as they are after rendering.

        :raises ValueError: if one of them is invalid.
        """
        from airflow_provider_kendra._connection import AwsParameters  # not needed to parse a DAG

        checked = self.aws_kwargs
        return AwsParameters(
            **checked | {"botocore_config": json.dumps(checked["botocore_config"] or {}, sort_keys=True)}
        )

    @property
    def aws_kwargs(self) -> dict[str, Any]:
        """
        The parameters as keyword arguments for another class that takes them, in JSON types.

        :raises ValueError: if one of them is invalid.
        """
        values = {name: getattr(self, name) for name in self.aws_template_fields}
        return {name: None if value is None else AWS_CHECKS[name](name, value) for name, value in values.items()}
