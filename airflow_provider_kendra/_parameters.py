"""Types, defaults and checks of parameters that several classes take; cheap to import in a DAG file."""

from __future__ import annotations

from typing import Literal

IfRunning = Literal["wait", "attach", "skip", "fail"]
"""What to do if a sync job is already running, since Kendra runs one at a time."""

NOT_FOUND_TIMEOUT = 120.0
"""Seconds that a sync job may be missing from the history before it is treated as not found."""

WHY_ONE_IS_REQUIRED = "Without one, any sync that ended earlier would end the wait at once."
"""Why a wait needs an execution id or a time, as a hint in errors."""


def check_max_documents_failed(limit: int | None) -> None:
    """
    Check the number of failed documents that is accepted.

    :param limit: A whole number of 0 or more, or None.
    :raises ValueError: for anything else.
    """
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise ValueError(f"max_documents_failed must be a whole number of 0 or more, or None, got {limit!r}.")
