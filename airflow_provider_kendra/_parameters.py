"""Parameters that several classes take: types, defaults and rules; apart from what only a running task needs."""

from __future__ import annotations

from typing import Literal

IfRunning = Literal["wait", "attach", "skip", "fail"]
"""What a start does about a sync job that is running already, since Kendra runs one at a time."""

NOT_FOUND_TIMEOUT = 120.0
"""How long, in seconds, a sync job may be missing from the history before it counts as not found."""

WHY_ONE_SYNC_IS_MEANT = "With neither, last week's success would pass for today's."
"""Why a wait must be given an execution id or a time, as a hint for whoever gave none."""


def check_max_documents_failed(limit: int | None) -> None:
    """
    Check how many failed documents are tolerated.

    :param limit: A whole number of 0 or more, or None.
    :raises ValueError: for anything else.
    """
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise ValueError(f"max_documents_failed must be a whole number of 0 or more, or None, got {limit!r}.")
