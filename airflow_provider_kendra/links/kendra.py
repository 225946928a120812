"""Links into the AWS console. Where what they need is not known, there is none."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from collections.abc import Mapping

# The partitions that have Kendra: where their regions' console is. China has none.
_CONSOLES = (
    (re.compile(r"(?!cn-)[a-z]{2}-[a-z]+-[0-9]+"), "https://{region}.console.aws.amazon.com"),
    (re.compile(r"us-gov-[a-z]+-[0-9]+"), "https://console.amazonaws-us-gov.com"),
)


class KendraLink(BaseOperatorLink):
    """
    A link that a task keeps in XCom, under the key where Airflow 3 looks for it.

    It is there as soon as it is known, so also while the task waits.
    """

    name: ClassVar[str]

    @property
    def xcom_key(self) -> str:
        """Where the link is kept."""
        return f"_link_{type(self).__name__}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """
        Get the link of a task; empty if there is none.

        :param operator: The task.
        :param ti_key: Which run of it.
        """
        from airflow.providers.common.compat.sdk import XCom

        # Airflow 3 asks at the end of each try, and Airflow 2 whenever the link is shown.
        kept: str | None = getattr(operator, "kept_links", {}).get(self.xcom_key)
        if kept is not None or not getattr(operator, "do_xcom_push", True):
            return kept or ""
        return XCom.get_value(key=self.xcom_key, ti_key=ti_key) or ""

    @classmethod
    @abstractmethod
    def url(cls, **known: str | None) -> str | None:
        """
        Make the link; None if something it needs is not known.

        :param known: What is known of ``region``, ``index_id``, ``data_source_id`` and ``execution_id``.
        """


class KendraIndexLink(KendraLink):
    """The index."""

    name = "Kendra index"

    @classmethod
    def url(cls, **known: str | None) -> str | None:
        """Make the link."""
        console, index_id = _console(known), known.get("index_id")
        if not console or not index_id:
            return None
        return f"{console}/kendra/home?region={known['region']}#indexes/{quote(index_id, safe='')}"


class KendraSyncJobLogsLink(KendraLink):
    """
    The log streams of the sync jobs of a data source.

    A stream is named for the hour of a job's start, in a time zone that is not documented. So the link leads to
    all of the data source's, newest first.
    """

    name = "Sync job logs"

    @classmethod
    def url(cls, **known: str | None) -> str | None:
        """Make the link."""
        console = _console(known)
        index_id, data_source_id = known.get("index_id"), known.get("data_source_id")
        if not console or not index_id or not data_source_id or not known.get("execution_id"):
            return None
        group, streams = _in_fragment(f"/aws/kendra/{index_id}"), _in_fragment(f"{data_source_id}/")
        return (
            f"{console}/cloudwatch/home?region={known['region']}#logsV2:log-groups/log-group/{group}"
            f"$3FlogStreamNameFilter$3D{streams}"
        )


def _console(known: Mapping[str, str | None]) -> str | None:
    region = known.get("region") or ""
    return next((url.format(region=region) for regions, url in _CONSOLES if regions.fullmatch(region)), None)


def _in_fragment(text: str) -> str:
    """Escape as the CloudWatch console does: twice, with $ for %."""
    return quote(quote(text, safe=""), safe="").replace("%", "$")
