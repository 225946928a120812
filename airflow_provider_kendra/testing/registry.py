"""Adds the Kendra service to moto, which does not ship it."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

import moto
from moto import mock_aws
from moto.backend_index import backend_url_patterns
from moto.core.models import botocore_stubber

from airflow_provider_kendra.testing import in_process

if TYPE_CHECKING:
    from moto.core.config import DefaultConfig
    from moto.core.models import MockAWS

P = ParamSpec("P")
T = TypeVar("T")

#: As in urls.py.
PATTERNS = [
    ("kendra", re.compile(r"https?://kendra(?:-fips)?\.(.+)\.amazonaws\.com")),
    ("kendra", re.compile(r"https?://kendra(?:-fips)?\.(.+)\.api\.aws")),
]


def register() -> None:
    """Make `moto.kendra` importable and its requests routed; a moto that ships Kendra keeps its own."""
    if any(service == "kendra" for service, _ in backend_url_patterns):
        return
    moto.__path__.append(str(Path(__file__).parent / "moto_backends"))
    backend_url_patterns.extend(PATTERNS)
    botocore_stubber.process_request = in_process.intercept(  # type: ignore
        botocore_stubber.process_request, [pattern for _, pattern in PATTERNS]
    )


def require_own() -> None:
    """
    Register this package's Kendra.

    :raises RuntimeError: if moto ships a Kendra, which the controls can't reach.
    """
    register()
    if not any(entry is PATTERNS[0] for entry in backend_url_patterns):
        raise RuntimeError(
            "The installed moto has a Kendra of its own, which the controls of airflow-provider-kendra cannot reach: "
            "install a moto without it, or use moto's mock_aws and server without these controls"
        )


@overload
def mock_kendra(func: Callable[P, T]) -> Callable[P, T]: ...


@overload
def mock_kendra(func: None = None, config: "DefaultConfig | None" = None) -> "MockAWS": ...


def mock_kendra(func: Any = None, config: Any = None) -> Any:
    """
    Like moto's ``mock_aws``, with Kendra: a decorator, or a context manager if called without a function.

    :param func: The function to decorate.
    :param config: moto's configuration, as ``mock_aws`` takes it.
    :raises TypeError: for a coroutine function: the mock would end before its body runs.
    """
    if inspect.iscoroutinefunction(func):
        raise TypeError(
            "mock_kendra cannot decorate a coroutine function: the mock would end before the body runs. "
            "Write `with mock_kendra():` inside it."
        )
    register()
    return mock_aws(func, config)
