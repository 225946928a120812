"""Fixtures for testing DAGs against the local Kendra; nothing is imported until one is used."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_kendra.testing.local import LocalKendra


@pytest.fixture(scope="session")
def _local_kendra_server() -> "Iterator[LocalKendra]":
    from airflow_provider_kendra.testing.local import LocalKendra

    with LocalKendra() as kendra:
        yield kendra


@pytest.fixture
def local_kendra(_local_kendra_server: "LocalKendra", monkeypatch: pytest.MonkeyPatch) -> "LocalKendra":
    """A local Kendra, empty at the start of each test, to which the connection `aws_default` points."""
    _local_kendra_server.reset()
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", _local_kendra_server.connection_json)
    return _local_kendra_server
