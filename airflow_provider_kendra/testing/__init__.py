"""A local Kendra for tests and trials without an AWS account."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_kendra.testing.local import LocalKendra, MockedKendra
    from airflow_provider_kendra.testing.registry import mock_kendra

__all__ = ["LocalKendra", "MockedKendra", "mock_kendra"]


def __getattr__(name: str) -> Any:
    """Import on first use: pytest loads this package in every project, even without moto."""
    if name in ("LocalKendra", "MockedKendra"):
        from airflow_provider_kendra.testing import local

        return getattr(local, name)
    if name == "mock_kendra":
        from airflow_provider_kendra.testing import _extra

        _extra.check()
        from airflow_provider_kendra.testing.registry import mock_kendra

        return mock_kendra
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
