"""Links to the AWS console, left out if something they need is unknown."""

from __future__ import annotations

import re
from abc import abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KendraIndexLink", "KendraSyncJobLogsLink"]

# The consoles of the partitions that have Kendra; China does not.
_CONSOLES = (
    (r"(?!cn-)[a-z]{2}-[a-z]+-[0-9]+", "https://{region}.console.aws.amazon.com"),
    (r"us-gov-[a-z]+-[0-9]+", "https://console.amazonaws-us-gov.com"),
)


class KendraLink(BaseOperatorLink):
    """
    A link that is stored in XCom under the key that Airflow 3 reads.

    It is stored as soon as it is known, even while the task waits.
    """

    name: ClassVar[str]
    needs_job: ClassVar[bool] = False
    """Whether the link requires the sync job to be known."""

    @property
    def xcom_key(self) -> str:
        """The key of the link's XCom."""
        return f"_link_{type(self).__name__}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """
        Get the link of a task; empty if there is none.

        :param operator: The task.
        :param ti_key: The key of the task instance.
        """
        # Airflow 3 calls this at the end of each try for links not stored yet; Airflow 2 whenever it shows the link.
        if not getattr(operator, "do_xcom_push", True):
            return ""
        return stored_link(ti_key, self.xcom_key) or ""

    @classmethod
    @abstractmethod
    def url(cls, **known: str | None) -> str | None:
        """
        Build the link; None if something it needs is unknown.

        :param known: Those of ``region``, ``index_id``, ``data_source_id`` and ``execution_id`` that are known.
        """


class KendraIndexLink(KendraLink):
    """The index."""

    name = "Kendra index"

    @classmethod
    def url(cls, **known: str | None) -> str | None:
        """Build the link."""
        console, index_id = _console(known), known.get("index_id")
        if not console or not index_id:
            return None
        return f"{console}/kendra/home?region={known['region']}#indexes/{quote(index_id, safe='')}"


class KendraSyncJobLogsLink(KendraLink):
    """
    The log streams of the sync jobs of a data source.

    The name of a stream contains the hour in which the job started, in an undocumented time zone. So the link leads to
    all streams of the data source, newest first.
    """

    name = "Sync job logs"
    needs_job = True

    @classmethod
    def url(cls, **known: str | None) -> str | None:
        """Build the link."""
        console = _console(known)
        index_id, data_source_id = known.get("index_id"), known.get("data_source_id")
        if not console or not index_id or not data_source_id or not known.get("execution_id"):
            return None
        group, streams = _in_fragment(f"/aws/kendra/{index_id}"), _in_fragment(f"{data_source_id}/")
        return (
            f"{console}/cloudwatch/home?region={known['region']}#logsV2:log-groups/log-group/{group}"
            f"$3FlogStreamNameFilter$3D{streams}"
        )


def leads_to_aws(endpoint: object) -> bool:
    """
    Whether calls to an endpoint reach AWS, and not for example a local Kendra, which the AWS console does not show.

    :param endpoint: The URL of the endpoint; None for the default one.
    """
    if not endpoint:
        return True
    try:
        host = urlsplit(str(endpoint)).hostname or ""
    except ValueError:
        return False
    return host.endswith((".amazonaws.com", ".api.aws"))


def store_link(ti: Any, key: str, url: str) -> None:
    """
    Store a link where Airflow reads it: in its database, not in a custom XCom backend.

    :param ti: The task instance.
    :param key: The key of the link's XCom.
    :param url: The link.
    """
    _database_xcom().set(
        key=key, value=url, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
    )


def stored_link(ti: Any, key: str) -> str | None:
    """
    Read a link from Airflow's database; None if there is none.

    :param ti: The task instance, or its key.
    :param key: The key of the link's XCom.
    """
    stored = _read(ti, key)
    # 1.0.0 stored links through the custom backend, so the database may contain the path of an object instead.
    return stored if isinstance(stored, str) and stored.startswith("https://") else None


def _read(ti: Any, key: str) -> Any:
    xcom = _database_xcom()
    if AIRFLOW_V_3_0_PLUS:
        return xcom.get_value(ti_key=ti, key=key)
    from airflow.utils.session import create_session  # Airflow 2's get_value goes through the backend

    with create_session() as session:
        this = {"run_id": ti.run_id, "dag_ids": ti.dag_id, "task_ids": ti.task_id, "map_indexes": ti.map_index}
        row = xcom.get_many(key=key, **this, limit=1, session=session).with_entities(xcom.value).first()
        return row and xcom.deserialize_value(row)


def _database_xcom() -> Any:
    """Get Airflow's own XCom class, which a custom backend does not replace."""
    return import_module("airflow.sdk.bases.xcom" if AIRFLOW_V_3_0_PLUS else "airflow.models.xcom").BaseXCom


def _console(known: Mapping[str, str | None]) -> str | None:
    region = known.get("region") or ""
    return next((url.format(region=region) for regions, url in _CONSOLES if re.fullmatch(regions, region)), None)


def _in_fragment(text: str) -> str:
    """Escape as the CloudWatch console does: twice, with $ for %."""
    return quote(quote(text, safe=""), safe="").replace("%", "$")
