"""Operators make many clients: what takes long in making one is left out, or done once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from unittest.mock import patch

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from botocore.loaders import JSONFileLoader


@pytest.fixture(scope="package", autouse=True)
def _clients_are_made_quickly() -> Iterator[None]:
    load = cache(lambda path: load_file(JSONFileLoader(), path))
    load_file = JSONFileLoader.load_file
    with (
        # Each session would parse the models of the service anew.
        patch.object(JSONFileLoader, "load_file", lambda loader, path: load(path)),
        # The amazon provider would read the source of the whole call stack.
        patch.object(
            AwsGenericHook,
            "_generate_user_agent_extra_field",
            lambda hook, existing_user_agent_extra: existing_user_agent_extra or "",
        ),
    ):
        yield
