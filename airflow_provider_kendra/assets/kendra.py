"""The asset of a data source, that is, of its documents in the index: ``kendra://region/index/data-source``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from airflow_provider_kendra._text import shown
from airflow_provider_kendra._validation import check_identifier
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset
    from airflow.providers.common.compat.sdk import Asset

SCHEME = "kendra"

_FORM = f"{SCHEME}://<region>/<index_id>/<data_source_id>"
_REGION = r"[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}"


class KendraUri(NamedTuple):
    """The parts of an asset's URI."""

    region: str
    index_id: str
    data_source_id: str

    def __str__(self) -> str:
        return f"{self.openlineage_namespace}/{self.openlineage_name}"

    @property
    def openlineage_namespace(self) -> str:
        """The namespace of the OpenLineage dataset."""
        return f"{SCHEME}://{self.region}"

    @property
    def openlineage_name(self) -> str:
        """The name of the OpenLineage dataset."""
        return f"{self.index_id}/{self.data_source_id}"

    @classmethod
    def parse(cls, uri: str | SplitResult) -> KendraUri:
        """
        Read a URI.

        :param uri: The URI, split or not.
        :raises ValueError: if it is invalid, with the reason.
        """
        parts = urlsplit(uri) if isinstance(uri, str) else uri
        user, _, region = parts.netloc.rpartition("@")
        segments = parts.path.split("/")[1:]
        try:
            if parts.scheme != SCHEME:
                raise ValueError(f"its scheme is {parts.scheme!r}.")
            if user or parts.netloc != region:
                raise ValueError("it names a user; credentials belong in the connection.")
            if parts.query or parts.fragment:
                raise ValueError("it has a query or a fragment.")
            if len(segments) != 2:
                raise ValueError(f"its path {parts.path!r} is not an index id and a data source id.")
            index_id, data_source_id = segments
            return cls(
                _check_region(region),
                check_identifier("index_id", index_id),
                check_identifier("data_source_id", data_source_id),
            )
        except ValueError as error:
            shown = f"{parts.scheme}://{region}{parts.path}"
            raise ValueError(f"The asset URI {shown} is not of the form {_FORM}: {error}") from None

    @classmethod
    def of(cls, asset: object) -> KendraUri | None:
        """Read the URI of an asset; None if it is not the asset of a data source, but for example an alias."""
        if not is_kendra_asset(asset):
            return None
        try:
            return cls.parse(_uri_of(asset))
        except ValueError:  # Airflow 2 only warns about an invalid URI
            return None


def is_kendra_asset(asset: object) -> bool:
    """Whether this is the asset of a data source or a reference to one, even with an invalid URI."""
    return _uri_of(asset).startswith(f"{SCHEME}://")


def _uri_of(asset: object) -> str:
    """The URI of an asset or a reference; the name of an asset defaults to its URI."""
    is_reference = type(asset).__name__ == "AssetNameRef"
    return str(getattr(asset, "name" if is_reference else "uri", ""))


def create_asset(*, region: str, index_id: str, data_source_id: str, name: str | None = None, **kwargs: Any) -> Asset:
    """
    Build the asset of a data source.

    :param region: AWS region, such as ``eu-west-1``.
    :param index_id: The index.
    :param data_source_id: The data source.
    :param name: What Airflow's pages call the asset, such as ``"handbook"``; ignored by Airflow 2. Default: the URI. To
        Airflow 3, assets with one URI and two names are two assets, of which only one works: give the same name in
        every DAG file.
    :param kwargs: Further parameters of Airflow's ``Asset`` (in Airflow 2 ``Dataset``): ``extra``, ``watchers``, …
    :raises ValueError: if one of the three is invalid.
    """
    # Imported here: the first Asset of a process loads the asset handlers of every provider.
    from airflow.providers.common.compat.sdk import Asset

    uri = KendraUri(
        _check_region(region),
        check_identifier("index_id", index_id),
        check_identifier("data_source_id", data_source_id),
    )
    if name is not None and AIRFLOW_V_3_0_PLUS:
        kwargs["name"] = name
    return Asset(uri=str(uri), **kwargs)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """
    Reject an invalid URI; Airflow calls this for each asset with the scheme.

    :param uri: The URI, split.
    :raises ValueError: if it is invalid, with the reason.
    """
    KendraUri.parse(uri)
    return uri


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> OpenLineageDataset:
    """
    Translate an asset into an OpenLineage dataset.

    :param asset: The asset.
    :param lineage_context: Ignored; Airflow passes it.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset

    uri = KendraUri.parse(asset.uri)
    return OpenLineageDataset(namespace=uri.openlineage_namespace, name=uri.openlineage_name)


def is_region(region: str) -> bool:
    """
    Whether a text has the form of an AWS region.

    :param region: The text.
    """
    return re.fullmatch(_REGION, region) is not None


def _check_region(region: object) -> str:
    if isinstance(region, str) and is_region(region):
        return region
    raise ValueError(f"region is {shown(region)}, but must be an AWS region such as 'eu-west-1'.")
