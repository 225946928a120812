"""Checks the values that tests give to the controls; raises ValueError with name, value and rule."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any


def check_number(
    name: str, value: Any, *, least: float = 0, most: float | None = None, whole: bool = False, instead: str = ""
) -> None:
    """
    Check a number.

    :param instead: What to do instead of passing a wrong value, such as ``None for an unlimited number``.
    """
    types = int if whole else (int, float)
    is_number = isinstance(value, types) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and least <= value and (most is None or value <= most):
        return
    bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
    rest = f"; pass {instead}" if instead else ""
    raise ValueError(f"{name} must be a {'whole ' if whole else ''}number {bounds}, but is {value!r}{rest}")


def check_flag(name: str, value: Any) -> None:
    """Check a boolean."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, but is {value!r}")


def check_choice(name: str, value: Any, choices: Iterable[str | None]) -> None:
    """Check a value of a closed set."""
    known = list(choices)
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, but is {value!r}")


def check_names(name: str, values: Iterable[str], known: Collection[str]) -> None:
    """Check the keys of a mapping."""
    unknown = [value for value in values if value not in known]
    if unknown:
        raise ValueError(f"{name} has {', '.join(map(repr, unknown))}, but can only have {', '.join(known)}")


def check_text(name: str, value: Any, *, instead: str = "") -> None:
    """Check a text, which can be empty."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string, but is {value!r}{f'; pass {instead}' if instead else ''}")


def check_texts(name: str, values: Any) -> None:
    """Check a list of texts; a single text would be taken for a list of its characters."""
    is_list = isinstance(values, Collection) and not isinstance(values, str)
    if not is_list or not all(isinstance(each, str) and each for each in values):
        raise ValueError(f"{name} must be a list of non-empty strings, but is {values!r}")


def check_mappings(name: str, values: Any) -> None:
    """Check a list of mappings; a single mapping would be taken for a list of its keys."""
    is_list = isinstance(values, Sequence) and not isinstance(values, str)
    if not is_list or not all(isinstance(each, Mapping) for each in values):
        raise ValueError(f"{name} must be a list of mappings, but is {values!r}"[:500])


def epoch(name: str, value: Any) -> Any:
    """Return a datetime in epoch seconds; anything else as it is."""
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise ValueError(f"{name} must have a time zone, but is {value!r}; pass for example tzinfo=timezone.utc")
    return value.timestamp()
