"""Fixtures for testing DAGs against the local Kendra; nothing is imported until one is used."""

import os
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


@pytest.fixture(scope="session")
def _local_kendra_module_server() -> "Iterator[LocalKendra]":
    from airflow_provider_kendra.testing.local import LocalKendra

    with LocalKendra() as kendra:
        yield kendra


@pytest.fixture
def local_kendra(_local_kendra_server: "LocalKendra", monkeypatch: pytest.MonkeyPatch) -> "LocalKendra":
    """A local Kendra, empty at the start of each test; boto3 and the connection `aws_default` use it."""
    return _prepare(_local_kendra_server, monkeypatch)


@pytest.fixture(scope="module")
def local_kendra_module(_local_kendra_module_server: "LocalKendra") -> "Iterator[LocalKendra]":
    """A separate server shared by the tests of a module, emptied before the first one."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield _prepare(_local_kendra_module_server, monkeypatch)


def _prepare(kendra: "LocalKendra", monkeypatch: pytest.MonkeyPatch) -> "LocalKendra":
    kendra.reset()
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in kendra.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it keeps the credentials of an earlier test
    return kendra
