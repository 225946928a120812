"""What Airflow discovers is valid, and is all there is."""

import json
import re
from importlib.metadata import entry_points
from importlib.resources import files

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


def public_modules(package: str) -> set[str]:
    """The modules of a package of ours that users may import."""
    directory = files("airflow_provider_kendra").joinpath(package)
    names = {file.name.removesuffix(".py") for file in directory.iterdir() if file.name.endswith(".py")}
    return {f"airflow_provider_kendra.{package}.{name}" for name in names if not name.startswith("_")}


@pytest.mark.parametrize("section", ["hooks", "operators", "sensors", "triggers"])
def test_lists_every_public_module(section: str):
    assert listed(section) == public_modules(section)


def test_lists_every_link_that_operators_and_sensors_have():
    from airflow_provider_kendra.links import kendra as links
    from airflow_provider_kendra.operators import kendra as operators
    from airflow_provider_kendra.sensors import kendra as sensors

    tasks = [each for module in (operators, sensors) for each in vars(module).values() if isinstance(each, type)]
    used = {type(link).__name__ for task in tasks for link in getattr(task, "operator_extra_links", ())}
    assert used == set(links.__all__)
    assert get_provider_info()["extra-links"] == [f"{links.__name__}.{name}" for name in links.__all__]


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
