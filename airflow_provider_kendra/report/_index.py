"""What the report says about the index itself, and its links to the AWS console."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_kendra._text import plain, storable
from airflow_provider_kendra.documents import capacity_of
from airflow_provider_kendra.links.kendra import KendraIndexLink, KendraSyncJobLogsLink, leads_to_aws

if TYPE_CHECKING:
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFacts:
    """
    What the report shows about an index.

    :param index_id: The index.
    :param capacity: How full it is, or why that is not known, in words.
    :param share: How full it is: 0 empty, 1 full; None if that is not known.
    :param name: Its name in Kendra; empty if ``DescribeIndex`` is not allowed.
    :param account: The AWS account, as in the ARN of the index's role.
    :param region: The AWS region of the client.
    :param is_on_aws: Whether the client calls AWS, not a local endpoint; only then are there links to the console.
    """

    index_id: str
    capacity: str
    share: float | None = None
    name: str = ""
    account: str | None = None
    region: str | None = None
    is_on_aws: bool = False

    @property
    def url(self) -> str | None:
        """The index in the AWS console; None where there is none."""
        return KendraIndexLink.url(region=self._console_region, index_id=self.index_id)

    def logs_url(self, data_source_id: str) -> str | None:
        """
        Build the link to the log streams of a data source's syncs.

        :param data_source_id: A data source with at least one sync.
        """
        known = {"region": self._console_region, "index_id": self.index_id, "data_source_id": data_source_id}
        return KendraSyncJobLogsLink.url(**known, execution_id="any")

    @property
    def _console_region(self) -> str | None:
        return self.region if self.is_on_aws else None


def describe(hook: KendraSyncJobsHook, index_id: str) -> IndexFacts:
    """
    Describe the index with one call of ``DescribeIndex``; without permission, say so in place of the capacity.

    :param hook: Makes the call.
    :param index_id: The index.
    """
    client = hook.conn.meta
    known: dict[str, Any] = {
        "index_id": index_id,
        "region": client.region_name,
        "is_on_aws": leads_to_aws(client.endpoint_url),
    }
    try:
        index = hook.describe_index(index_id)
        capacity = capacity_of(index)
        known |= {"name": storable(str(index.get("Name") or ""), 1_000), "account": _account(index.get("RoleArn"))}
        return IndexFacts(**known, capacity=str(capacity), share=capacity.share)
    except Exception as error:  # the page is worth reading without it
        return IndexFacts(**known, capacity=f"not known: {plain(error)}")


def _account(role_arn: object) -> str | None:
    """Return the account of the index's role, which is the index's own: a role cannot be passed across accounts."""
    found = re.match(r"arn:aws[a-z-]*:iam::([0-9]{12}):role/", str(role_arn))
    return found and found[1]
