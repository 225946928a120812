"""The links into the AWS console: where they lead, and when there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

from airflow_provider_kendra.links.kendra import KendraIndexLink, KendraSyncJobLogsLink

INDEX_ID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
KNOWN = {"region": "eu-west-1", "index_id": INDEX_ID, "data_source_id": "docs_1", "execution_id": "mine"}
BOTH = pytest.mark.parametrize("link", [KendraIndexLink, KendraSyncJobLogsLink])


def test_the_index_is_in_the_console_of_its_region() -> None:
    assert KendraIndexLink.url(**KNOWN) == (
        f"https://eu-west-1.console.aws.amazon.com/kendra/home?region=eu-west-1#indexes/{INDEX_ID}"
    )


def test_the_logs_are_the_streams_of_the_data_source_in_the_log_group_of_the_index() -> None:
    url = KendraSyncJobLogsLink.url(**KNOWN)

    assert url is not None
    assert url.startswith("https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#")
    # What CloudWatch's console makes of its fragment.
    fragment = unquote(unquote(url.partition("#")[2].replace("$", "%")))
    assert fragment == f"logsV2:log-groups/log-group//aws/kendra/{INDEX_ID}?logStreamNameFilter=docs_1/"


@BOTH
def test_govcloud_has_a_console_of_its_own(link: Any) -> None:
    url = link.url(**{**KNOWN, "region": "us-gov-west-1"})

    assert url.startswith("https://console.amazonaws-us-gov.com/")
    assert "region=us-gov-west-1" in url


@BOTH
@pytest.mark.parametrize("region", [None, "", "cn-north-1", "us-iso-east-1", "eusc-de-east-1", "nowhere"])
def test_there_is_none_where_the_region_is_unknown_or_has_no_kendra(link: Any, region: str | None) -> None:
    assert link.url(**{**KNOWN, "region": region}) is None


@pytest.mark.parametrize("missing", ["index_id", "data_source_id", "execution_id"])
def test_there_are_no_logs_before_the_sync_job_is_known(missing: str) -> None:
    assert KendraSyncJobLogsLink.url(**{**KNOWN, missing: None}) is None


def test_the_index_needs_no_sync_job() -> None:
    assert KendraIndexLink.url(region="eu-west-1", index_id=INDEX_ID) == KendraIndexLink.url(**KNOWN)


@BOTH
def test_is_kept_where_airflow_3_looks_for_it(link: Any) -> None:
    assert link().xcom_key == f"_link_{link.__name__}"


class TestGetLink:
    """What Airflow 3 asks of the task at its end, and Airflow 2 when it shows the task."""

    KEY = SimpleNamespace(dag_id="dag", task_id="task", run_id="run", map_index=-1)

    @pytest.fixture
    def xcoms(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        stored: dict[str, Any] = {}
        monkeypatch.setattr("airflow_provider_kendra.links.kendra._read", lambda ti, key: stored.get(key))
        return stored

    def test_gives_what_the_task_has_stored(self, xcoms: dict[str, Any]) -> None:
        xcoms["_link_KendraIndexLink"] = "https://there"

        assert KendraIndexLink().get_link(SimpleNamespace(), ti_key=self.KEY) == "https://there"

    @pytest.mark.parametrize("stored", [None, "", "s3://bucket/dag/run/task/link", 7])
    def test_is_empty_if_what_is_stored_is_no_link(self, xcoms: dict[str, Any], stored: Any) -> None:
        xcoms["_link_KendraIndexLink"] = stored

        assert KendraIndexLink().get_link(SimpleNamespace(), ti_key=self.KEY) == ""

    def test_asks_for_no_xcom_of_a_task_that_pushes_none(self, xcoms: dict[str, Any]) -> None:
        xcoms["_link_KendraIndexLink"] = "https://stale"

        assert KendraIndexLink().get_link(SimpleNamespace(do_xcom_push=False), ti_key=self.KEY) == ""
