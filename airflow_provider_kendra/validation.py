"""Checks of what a DAG author passes, made before any call, each with one sentence on what to do."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

# Patterns and lengths: https://docs.aws.amazon.com/kendra/latest/APIReference/API_StartDataSourceSyncJob.html
_RULES = {
    "index_id": (
        re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{35}"),
        "exactly 36 letters, digits and hyphens, the first no hyphen",
    ),
    "data_source_id": (
        re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}"),
        "1 to 100 letters, digits, hyphens and underscores, the first a letter or digit",
    ),
    "execution_id": (re.compile(r"\S+"), "the id that a start or a list of sync jobs gave, without spaces"),
}


def check_identifier(name: str, value: object) -> str:
    """
    Return an identifier if it is one.

    :param name: Which parameter it is: ``index_id``, ``data_source_id`` or ``execution_id``.
    :param value: What the DAG author passed, rendered.
    :raises ValueError: naming parameter, value and rule.
    """
    pattern, rule = _RULES[name]
    if isinstance(value, str):
        # CloudFormation's Ref of a data source gives both ids in one text.
        data_source_id, bar, index_id = value.partition("|")
        if bar and _RULES["index_id"][0].fullmatch(index_id):
            raise ValueError(
                f"{name} is {value!r}, which is what CloudFormation's Ref gives for a data source: "
                f"dataSourceId|indexId. Pass data_source_id={data_source_id!r} and index_id={index_id!r}."
            )
        if value not in ("", "None") and pattern.fullmatch(value):
            return value
    hint = " Its template found no value." if value in (None, "", "None") else ""
    raise ValueError(f"{name} is {value!r}, but must be {rule}.{hint}")


def check_time(name: str, value: datetime | str) -> datetime:
    """
    Return a point in time that leaves no doubt.

    :param name: Which parameter it is.
    :param value: A datetime with a time zone, or the same as ISO 8601 text.
    :raises ValueError: if it is no time, or has no time zone.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise ValueError(
            f"{name} is {value!r}, but must be a datetime with a time zone or ISO 8601 text such as "
            f"'2026-01-31T06:00:00+00:00'."
        )
    if moment.utcoffset() is None:
        raise ValueError(
            f"{name} is {moment.isoformat()!r}, which has no time zone, so that it can mean different times. Add one, "
            f"for example +00:00, or use a templated value that has one, such as '{{{{ data_interval_end }}}}'."
        )
    return moment


MAX_SECONDS = 1e9  # some thirty years: from any time now, that far on or back there is still a datetime


def check_seconds(name: str, value: float | timedelta) -> float:
    """
    Return a length of time in seconds.

    :param name: Which parameter it is.
    :param value: Seconds, or a ``timedelta``.
    :raises ValueError: if it is no such thing, is negative, or is longer than anybody waits.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds <= MAX_SECONDS:
        return float(seconds)
    raise ValueError(
        f"{name} is {value!r}, but must be a timedelta or a number of seconds, from 0 to {MAX_SECONDS:,.0f}."
    )
