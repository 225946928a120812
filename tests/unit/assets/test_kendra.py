"""The asset of a data source: what its URI may be, and what it is in OpenLineage."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_kendra.assets.kendra import KendraUri, convert_asset_to_openlineage, create_asset, sanitize_uri
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS

INDEX_ID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
IDS = {"index_id": INDEX_ID, "data_source_id": "documents"}
URI = f"kendra://eu-west-1/{INDEX_ID}/documents"

WRONG = {
    "without a region": (f"kendra:///{INDEX_ID}/documents", "region is ''"),
    "with a host for a region": (f"kendra://example.com/{INDEX_ID}/documents", "region is 'example.com'"),
    "with a port": (f"kendra://eu-west-1:443/{INDEX_ID}/documents", "region is 'eu-west-1:443'"),
    "without a data source": (f"kendra://eu-west-1/{INDEX_ID}", "is not an index id and a data source id"),
    "of a region alone": ("kendra://eu-west-1", "is not an index id and a data source id"),
    "with more path": (f"{URI}/more", "is not an index id and a data source id"),
    "with an index id that cannot be one": ("kendra://eu-west-1/short/documents", "index_id is 'short'"),
    "with a data source id that cannot be one": (f"kendra://eu-west-1/{INDEX_ID}/-x", "data_source_id is '-x'"),
    "with a query": (f"{URI}?full=1", "query or a fragment"),
    "with a user": (URI.replace("://", "://me@"), "it names a user"),
}

wrong_uris = pytest.mark.parametrize(("uri", "message"), WRONG.values(), ids=WRONG.keys())


def test_its_uri_tells_region_index_and_data_source() -> None:
    assert create_asset(region="eu-west-1", **IDS).uri == URI


def test_takes_whatever_else_an_asset_takes() -> None:
    assert create_asset(region="eu-west-1", **IDS, extra={"team": "search"}).extra == {"team": "search"}


def test_an_asset_can_have_a_readable_name_where_airflow_has_names() -> None:
    asset: Any = create_asset(region="eu-west-1", **IDS, name="handbook")

    assert asset.uri == create_asset(region="eu-west-1", **IDS).uri
    assert getattr(asset, "name", None) == ("handbook" if AIRFLOW_V_3_0_PLUS else None)
    assert KendraUri.of(asset) == KendraUri("eu-west-1", **IDS)


def test_an_asset_without_a_name_is_the_one_that_its_uri_alone_makes() -> None:
    assert create_asset(region="eu-west-1", **IDS) == Asset(uri=URI)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"region": "Ireland"}, "region is 'Ireland', but must be an AWS region such as 'eu-west-1'"),
        ({"region": None}, "region is None"),
        ({"index_id": "short"}, "index_id is 'short', but must be exactly 36"),
        ({"data_source_id": f"documents|{INDEX_ID}"}, "CloudFormation's Ref"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        create_asset(**{"region": "eu-west-1", **IDS, **wrong})


@pytest.mark.parametrize("region", ["us-east-1", "ap-southeast-2", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"])
def test_regions_of_every_partition_are_taken(region: str) -> None:
    assert KendraUri.parse(f"kendra://{region}/{INDEX_ID}/documents").region == region


@wrong_uris
def test_a_wrong_uri_is_refused_with_what_is_wrong(uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"not of the form kendra://<region>/<index_id>/<data_source_id>") as refused:
        sanitize_uri(urlsplit(uri))
    assert message in str(refused.value)


def test_a_password_in_a_uri_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="it names a user") as refused:
        sanitize_uri(urlsplit(URI.replace("://", "://me:secret@")))
    assert "secret" not in str(refused.value)


def test_a_right_uri_is_left_as_it_is() -> None:
    assert sanitize_uri(urlsplit(URI)) == urlsplit(URI)


@given(
    st.from_regex(r"[a-z]{2}-[a-z]{4,9}-[1-9]", fullmatch=True),
    st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9-]{35}", fullmatch=True),
    st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}", fullmatch=True),
)
def test_a_uri_is_read_as_it_was_written(region: str, index_id: str, data_source_id: str) -> None:
    uri = KendraUri(region, index_id, data_source_id)

    assert KendraUri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    "other",
    [AssetAlias("kendra://alias"), Asset(uri="s3://bucket/key"), SimpleNamespace(uri="kendra://nonsense"), "text"],
    ids=["an alias", "another scheme", "a wrong URI", "no asset"],
)
def test_nothing_else_passes_for_the_asset_of_a_data_source(other: object) -> None:
    assert KendraUri.of(other) is None


class TestInAirflow:
    def test_a_trailing_slash_and_a_fragment_make_no_other_asset(self) -> None:
        assert Asset(uri=f"{URI}/#top").uri == URI

    @pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 only warns")
    def test_a_wrong_uri_makes_no_asset(self) -> None:
        with pytest.raises(ValueError, match="region is ''"):
            Asset(uri=f"kendra:///{INDEX_ID}/documents")

    @pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="Airflow 3 refuses")
    def test_airflow_2_warns_of_a_wrong_uri(self) -> None:
        with pytest.warns(UserWarning, match="region is ''"):
            Asset(uri=f"kendra:///{INDEX_ID}/documents")

    def test_airflow_finds_factory_and_converter(self) -> None:
        from airflow.providers_manager import ProvidersManager

        kind, manager = "asset" if AIRFLOW_V_3_0_PLUS else "dataset", ProvidersManager()

        assert getattr(manager, f"{kind}_factories")["kendra"] is create_asset
        assert getattr(manager, f"{kind}_to_openlineage_converters")["kendra"] is convert_asset_to_openlineage


def test_in_openlineage_the_region_is_the_namespace_and_the_ids_the_name() -> None:
    pytest.importorskip("openlineage.client")

    dataset = convert_asset_to_openlineage(create_asset(region="eu-west-1", **IDS), None)

    assert (dataset.namespace, dataset.name) == ("kendra://eu-west-1", f"{INDEX_ID}/documents")
