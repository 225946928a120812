"""The hook's public surface: what the documentation lists, what the base class requires, and nothing else."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook
from airflow_provider_kendra.testing import LocalKendra
from tests.conftest import DataSource

METHODS = {
    "delete_documents",
    "describe_data_source",
    "describe_index",
    "get_document_status",
    "get_failed_documents",
    "get_index_capacity",
    "get_latest_sync_job",
    "get_missing_documents",
    "get_sync_job",
    "iter_sync_jobs",
    "list_data_sources",
    "list_sync_jobs",
    "put_documents",
    "start_sync_job",
    "stop_sync_job",
}
OVERRIDDEN = {"config", "conn", "conn_config", "get_client_type", "get_connection"}
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "hook.md"


def public(names: Any) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_the_hook_adds_the_documented_methods_to_the_base_class():
    assert public(dir(KendraSyncJobsHook)) - public(dir(AwsBaseHook)) == METHODS


def test_the_hook_overrides_only_what_making_a_client_takes():
    assert public(vars(KendraSyncJobsHook)) - METHODS == OVERRIDDEN


def test_a_hook_has_no_public_attributes_of_its_own(local_kendra: LocalKendra):
    ours, base = KendraSyncJobsHook(), AwsBaseHook(client_type="kendra")
    assert public(vars(ours)) <= public(vars(base))


def test_the_reference_lists_each_public_method():
    (members,) = re.findall(r"^ +:members: (.+)$", REFERENCE.read_text("utf-8"), re.MULTILINE)
    assert set(members.split(", ")) == METHODS | {"get_connection"}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_each_method_begins_with_the_index_and_then_the_data_source(name: str):
    _, *parameters = inspect.signature(getattr(KendraSyncJobsHook, name)).parameters
    of_index = {"list_data_sources", "describe_index", "get_index_capacity", "get_document_status"}
    expected = ["index_id"] if name in of_index else ["index_id", "data_source_id"]
    assert parameters[: len(expected)] == expected


def test_the_public_methods_are_enough_to_run_a_sync(data_source: DataSource, hook: KendraSyncJobsHook):
    ids = data_source.ids
    assert ids[1] in [each["Id"] for each in hook.list_data_sources(ids[0])]
    assert hook.describe_data_source(*ids)["Type"] == "S3"

    execution_id = hook.start_sync_job(*ids)
    assert not hook.get_sync_job(*ids, execution_id).is_finished
    hook.stop_sync_job(*ids)
    data_source.finish()

    assert hook.get_latest_sync_job(*ids).is_finished
    assert hook.list_sync_jobs(*ids) == list(hook.iter_sync_jobs(*ids))


def test_the_public_methods_are_enough_to_put_documents(custom_data_source: DataSource, hook: KendraSyncJobsHook):
    ids = custom_data_source.ids
    execution_id = hook.start_sync_job(*ids)

    hook.put_documents(*ids, execution_id, [{"Id": "document", "Blob": b"text"}])
    hook.stop_sync_job(*ids)

    assert hook.get_sync_job(*ids, execution_id).status == "SYNCING_INDEXING"


@pytest.fixture
def hook(local_kendra: LocalKendra) -> KendraSyncJobsHook:
    return KendraSyncJobsHook()
