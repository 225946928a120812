"""Validates a DAG author's parameters before any call; each error says what to do."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from airflow_provider_kendra._clock import in_words
from airflow_provider_kendra._text import shown

MeasuredBy = Literal["start_time", "end_time"]
"""Which time of a sync job determines its age."""

# Patterns and lengths: https://docs.aws.amazon.com/kendra/latest/APIReference/API_StartDataSourceSyncJob.html
# That of an execution id: https://docs.aws.amazon.com/kendra/latest/APIReference/API_DataSourceSyncJobMetricTarget.html
# (at most 100 there; a few more do no harm)
# Not compiled here: few DAGs need the patterns at parse time, and re caches what it compiles.
_RULES = {
    "index_id": (
        r"[a-zA-Z0-9][a-zA-Z0-9-]{35}",
        "exactly 36 letters, digits and hyphens, starting with a letter or digit",
    ),
    "data_source_id": (
        r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}",
        "1 to 100 letters, digits, hyphens and underscores, starting with a letter or digit",
    ),
    "data_source_ids": (
        r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}",
        "ids of 1 to 100 letters, digits, hyphens and underscores, starting with a letter or digit",
    ),
    "execution_id": (
        r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,127}",
        "the id of a sync job: 1 to 128 letters, digits, hyphens and underscores",
    ),
}


def check_identifier(name: str, value: object) -> str:
    """
    Validate an identifier and return it.

    :param name: Which parameter it is: ``index_id``, ``data_source_id``, ``data_source_ids`` or ``execution_id``.
    :param value: What the DAG author passed, rendered.
    :raises ValueError: naming parameter, value and rule.
    """
    pattern, rule = _RULES[name]
    if isinstance(value, str):
        # CloudFormation's Ref of a data source gives both ids in one text.
        data_source_id, bar, index_id = value.partition("|")
        if bar and re.fullmatch(_RULES["index_id"][0], index_id):
            raise ValueError(
                f"{name} is {shown(value)}, which is what CloudFormation's Ref gives for a data source: "
                f"dataSourceId|indexId. Pass data_source_id={shown(data_source_id)} and index_id={index_id!r}."
            )
        if not is_nothing(value) and not _is_collection(value) and re.fullmatch(pattern, value):
            return value
    raise ValueError(f"{name} is {shown(value)}, but must be {rule}.{_hint(value)}")


def check_identifiers(name: str, value: object) -> tuple[str, ...]:
    """
    Validate the ids of one or more data sources and return them without duplicates.

    :param name: Which parameter it is: ``data_source_ids``.
    :param value: What the DAG author passed, rendered: one identifier, or a sequence of them.
    :raises ValueError: if it is neither, is empty, or contains an invalid identifier.
    """
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, Sequence) or not values:
        raise ValueError(
            f"{name} is {shown(value)}, but must be one data source id, several, or None for all of the index."
        )
    return tuple(dict.fromkeys(check_identifier(name, each) for each in values))


def _hint(value: object) -> str:
    """Explain the likely mistake, if the value shows it."""
    if is_nothing(value):
        return " If it is templated, the template found no value."
    if not isinstance(value, str):
        return " Pass it as text."
    if _is_collection(value):
        return (
            " It is the text of a collection: pass the other task's output itself, or set "
            "render_template_as_native_obj=True on the DAG."
        )
    return ""


def _is_collection(value: str) -> bool:
    return value.lstrip()[:1] in ("[", "(", "{")


def is_nothing(value: object) -> bool:
    """Whether a template rendered to nothing: to None, to empty text, or to the text None."""
    return value is None or (isinstance(value, str) and value.strip() in ("", "None"))


def check_time(name: str, value: datetime | str) -> datetime:
    """
    Validate a time and return it as a datetime with a time zone.

    :param name: Which parameter it is.
    :param value: A datetime with a time zone, or the same as ISO 8601 text.
    :raises ValueError: if it is not a time, or has no time zone.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise ValueError(
            f"{name} is {shown(value)}, but must be a datetime with a time zone or ISO 8601 text such as "
            f"'2026-01-31T06:00:00+00:00'."
        )
    if moment.utcoffset() is None:
        raise ValueError(
            f"{name} is {moment.isoformat()!r}, which has no time zone. Add one, for example +00:00, or use a template "
            "that has one, such as '{{ data_interval_end }}'."
        )
    return moment


MAX_SECONDS = 1e9  # about 30 years, which can be added to and subtracted from the current time


def check_seconds(name: str, value: object, *, is_zero_allowed: bool = True, at_most: float = MAX_SECONDS) -> float:
    """
    Validate a duration and return it in seconds.

    :param name: Which parameter it is.
    :param value: Seconds as a number, or a ``timedelta``.
    :param is_zero_allowed: False for durations such as the time between two polls.
    :param at_most: The longest that is allowed, in seconds.
    :raises ValueError: if it is neither, or too short or too long.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        is_long_enough = seconds > 0 or (seconds == 0 and is_zero_allowed)
        if is_long_enough and seconds <= at_most:
            return seconds
    least = "from 0 to" if is_zero_allowed else "more than 0 and at most"
    raise ValueError(
        f"{name} is {shown(value)}, but must be a timedelta or a number of seconds, {least} {at_most:,.0f}."
    )


_LONGEST_AGE = timedelta.max.total_seconds()  # as a float slightly more than a timedelta can hold


def check_max_age(value: object) -> timedelta:
    """
    Validate the greatest age of a sync job and return it.

    :param value: A ``timedelta`` or seconds, more than 0.
    :raises ValueError: for anything else.
    """
    seconds = check_seconds("max_age", value, is_zero_allowed=False, at_most=_LONGEST_AGE)
    return timedelta.max if seconds >= _LONGEST_AGE else timedelta(seconds=seconds)


def check_warn_age(warn_age: timedelta | None, max_age: timedelta | None) -> timedelta | None:
    """
    Check the age above which a data source is aging, and return it.

    :param warn_age: The age; None for never.
    :param max_age: The age above which it is stale; None if it is not judged by age.
    :raises ValueError: if it would be stale before it is aging.
    """
    if warn_age is not None and max_age is not None and warn_age >= max_age:
        ages = [in_words(warn_age), in_words(max_age)]
        if ages[0] == ages[1] and warn_age != max_age:  # which words round
            ages = [f"{age.total_seconds():g} s" for age in (warn_age, max_age)]
        raise ValueError(
            f"warn_age is {ages[0]}, but must be less than max_age, which is {ages[1]}: a data source is aging before "
            "it is stale."
        )
    return warn_age


def check_interval(name: str, value: object) -> float:
    """
    Validate the time between two polls and return it in seconds.

    :param name: Which parameter it is.
    :param value: Seconds as a number, or a ``timedelta``.
    :raises ValueError: as :func:`check_seconds`, and for 0, which would flood Kendra with calls.
    """
    return check_seconds(name, value, is_zero_allowed=False)


def check_count(name: str, value: object) -> int | None:
    """
    Validate a limit and return it; None for all items.

    :param name: Which parameter it is.
    :param value: A whole number of 1 or more, or None.
    :raises ValueError: for anything else, such as 2.0 or the text 2.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"{name} is {shown(value)}, but must be a whole number of 1 or more, or None for all.")


def check_measured_by(value: object) -> MeasuredBy:
    """
    Validate which time of a sync job its age is measured by and return it.

    :param value: ``"start_time"`` or ``"end_time"``.
    :raises ValueError: for anything else.
    """
    if value == "start_time":
        return "start_time"
    if value == "end_time":
        return "end_time"
    raise ValueError(f"measured_by must be start_time or end_time, got {value!r}.")


def check_limit(name: str, value: object, *, at_least: int = 0, at_most: int | None = None) -> int:
    """
    Validate how many items to name and return it.

    :param name: The parameter.
    :param value: A whole number.
    :param at_least: The smallest number allowed.
    :param at_most: The largest number allowed. Default None: any.
    :raises ValueError: for anything else, such as 2.0 or the text 2.
    """
    most = float("inf") if at_most is None else at_most
    if isinstance(value, int) and not isinstance(value, bool) and at_least <= value <= most:
        return value
    allowed = f"of {at_least} or more" if at_most is None else f"from {at_least} to {at_most:,}"
    raise ValueError(f"{name} is {shown(value)}, but must be a whole number {allowed}.")


def check_share(name: str, value: object) -> float:
    """
    Validate a share and return it.

    :param name: The parameter.
    :param value: A number from 0 to 1.
    :raises ValueError: for anything else, such as 90 or the text 0.9.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return value
    raise ValueError(f"{name} is {shown(value)}, but must be a share from 0 to 1, such as 0.9 for 90 %.")


def check_lookback(name: str, value: object) -> timedelta:
    """
    Validate how far back to read and return it.

    :param name: The parameter.
    :param value: A ``timedelta``.
    :raises ValueError: unless it is positive and at most 3,650 days.
    """
    if not isinstance(value, timedelta) or not timedelta() < value <= timedelta(days=3650):
        raise ValueError(
            f"{name} is {shown(value)}, but must be a positive timedelta of at most 3,650 days, such as "
            "timedelta(days=30)."
        )
    return value


def check_exactly_one(values: Mapping[str, object], hint: str = "") -> None:
    """
    Check that exactly one of several parameters is given, that is, not None.

    :param values: The parameters that exclude each other, by name.
    :param hint: Why one is needed, as a sentence; added where none is given.
    :raises ValueError: naming the parameters, and those that are given.
    """
    *others, last = values
    given = [name for name, value in values.items() if value is not None]
    if len(given) != 1:
        why = f" {hint}" if hint and not given else ""
        raise ValueError(
            f"Exactly one of {', '.join(others)} and {last} must be given, got {' and '.join(given) or 'none'}.{why}"
        )


def check_text(name: str, value: object) -> str:
    """
    Validate a text and return it.

    :param name: Which parameter it is.
    :param value: What the DAG author passed, rendered.
    :raises ValueError: if it is not text.
    """
    if isinstance(value, str):
        return value
    raise ValueError(f"{name} is {shown(value)}, but must be text, or None.")


_CONNECTION_ID = r"[\w#!()\-.:/\\]{1,250}"
"""Airflow's own rule."""


def check_connection_id(name: str, value: object) -> str:
    """
    Validate the id of a connection and return it.

    :param name: Which parameter it is.
    :param value: What the DAG author passed, rendered.
    :raises ValueError: if Airflow does not accept it as an id, or if a template rendered to nothing, which would use
        the credentials of the machine.
    """
    if isinstance(value, str) and not is_nothing(value) and re.fullmatch(_CONNECTION_ID, value, re.ASCII):
        return value
    raise ValueError(
        f"{name} is {shown(value)}, but must be the id of a connection. Only {name}=None uses the credentials that "
        "boto3 finds on the machine."
    )


def check_verify(name: str, value: object) -> bool | str:
    """
    Validate whether, or with which CA bundle, to verify TLS certificates; return a path as text.

    :param name: Which parameter it is.
    :param value: A boolean, or the path of a CA bundle.
    :raises ValueError: for anything else, including the text of a boolean, which would count as a path.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() not in ("true", "false")):
        return value
    raise ValueError(
        f"{name} is {shown(value)}, but must be True, False or the path of a CA bundle. For a template that gives a "
        "boolean, set render_template_as_native_obj=True on the DAG."
    )


def check_botocore_config(name: str, value: object) -> Mapping[str, Any]:
    """
    Validate the botocore configuration and return it. No error shows it, since it can hold passwords of proxies.

    :param name: Which parameter it is.
    :param value: A mapping of JSON types.
    :raises ValueError: for anything else, which could not be sent to the triggerer.
    """
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{name} is of type {type(value).__name__}, but must be a mapping of the parameters of "
            "botocore.config.Config. For a template that gives one, set render_template_as_native_obj=True on the DAG."
        )
    try:
        json.dumps(dict(value), sort_keys=True)
    except (TypeError, ValueError):
        raise ValueError(f"{name} holds a value that is not JSON: pass text, numbers, booleans and lists.") from None
    return dict(value)
