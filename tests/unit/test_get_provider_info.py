"""What Airflow discovers is valid, and is all there is."""

import json
import re
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.util import find_spec

import jsonschema
import pytest

from airflow_provider_kendra.get_provider_info import get_provider_info


def listed(section: str) -> set[str]:
    return {module for entry in get_provider_info()[section] for module in entry["python-modules"]}


def test_is_valid_against_airflows_own_schema():
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())

    jsonschema.validate(get_provider_info(), schema)


def test_is_found_through_the_entry_point_under_the_name_of_the_distribution():
    (entry_point,) = (
        found
        for found in entry_points(group="apache_airflow_provider")
        if found.value.startswith("airflow_provider_kendra.")
    )

    assert entry_point.load() is get_provider_info
    assert entry_point.dist is not None
    assert entry_point.dist.name == get_provider_info()["package-name"]


@pytest.mark.parametrize("section", ["hooks", "operators", "sensors", "triggers"])
def test_lists_every_public_module(section: str):
    assert f"airflow_provider_kendra.{section}.kendra" in listed(section)
    assert all(module.startswith(f"airflow_provider_kendra.{section}.") for module in listed(section))
    assert all(find_spec(module) for module in listed(section))


def test_every_integration_it_names_is_declared():
    info = get_provider_info()
    declared = {integration["integration-name"] for integration in info["integrations"]}
    named = {
        entry["integration-name"]
        for section in ("hooks", "operators", "sensors", "triggers")
        for entry in info[section]
    }

    assert named == declared


def test_the_description_is_readable_where_airflow_removes_the_markup_of_its_link():
    shown = re.sub("[`_<>]", "", get_provider_info()["description"].strip(" \n."))  # as Airflow 3 does

    assert shown.endswith("syncs of Amazon Kendra https://aws.amazon.com/kendra/")
