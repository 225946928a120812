"""Operators make many clients."""

from __future__ import annotations

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook


@pytest.fixture(autouse=True)
def _clients_do_not_ask_who_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the user agent, the amazon provider reads the source of the whole call stack: a deep one in a test."""
    monkeypatch.setattr(AwsGenericHook, "_generate_user_agent_extra_field", lambda hook, existing_user_agent_extra: "")
