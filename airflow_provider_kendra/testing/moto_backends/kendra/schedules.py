"""Kendra's schedules, in both of the shapes that it takes; times are UTC."""

import itertools
import re
from calendar import SATURDAY, SUNDAY, monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache

DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

#: One part of a field: all or one value, or a range, with a step or not.
PART = re.compile(r"(?:\*|([A-Z]+|[0-9]+)(?:-([A-Z]+|[0-9]+))?)(?:/0*([1-9][0-9]*))?")


@dataclass(frozen=True)
class Schedule:
    """A schedule. The days that its two day fields select depend on the month."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: str
    months: frozenset[int]
    weekdays: str
    years: frozenset[int]


def due_times(schedule: str, after: float, until: float, limit: int) -> list[float]:
    """Return the last times of a schedule after one time and up to another, in seconds since the epoch."""
    latest = itertools.takewhile(lambda due: due > after, _backwards(parse(schedule), after, until))
    return list(itertools.islice(latest, limit))[::-1]


def _backwards(schedule: Schedule, after: float, until: float) -> Iterator[float]:
    """Yield the times of a schedule up to ``until``, latest first, back to the month of ``after``."""
    begin, end = (datetime.fromtimestamp(each, timezone.utc) for each in (after, until))
    for number in range(12 * end.year + end.month - 1, 12 * begin.year + begin.month - 2, -1):
        year, month = number // 12, number % 12 + 1
        if month not in schedule.months or (schedule.years and year not in schedule.years):
            continue
        for day in days_of_month(schedule.days, schedule.weekdays, year, month):
            midnight = datetime(year, month, day, tzinfo=timezone.utc).timestamp()
            if midnight > until:
                continue
            for hour, minute in itertools.product(schedule.hours, schedule.minutes):
                due = midnight + 3600 * hour + 60 * minute
                if due <= until:
                    yield due


@lru_cache(maxsize=1_000)
def parse(schedule: str) -> Schedule:
    """
    Parse a schedule.

    :raises ValueError: if it has neither shape.
    """
    fields = schedule.strip().removeprefix("cron(").removesuffix(")").upper().split()
    if len(fields) == 7:
        seconds, *fields = fields
        if seconds != "0":
            raise ValueError(f"its seconds are {seconds!r}, but must be 0")
    if len(fields) != 6:
        raise ValueError(f"it has {len(fields)} fields, but must have six in cron(…), or seven that begin with seconds")
    minutes, hours, days, months, weekdays, years = fields
    if (days == "?") == (weekdays == "?") and "*" not in (days, weekdays):
        raise ValueError("exactly one of the day of the month and the day of the week must be ?")
    days_of_month(days, weekdays, 2024, 1)  # fails for a day that can't be read
    return Schedule(
        tuple(sorted(_values(minutes, "minute", 0, 59), reverse=True)),
        tuple(sorted(_values(hours, "hour", 0, 23), reverse=True)),
        days,
        frozenset(_values(months, "month", 1, 12, MONTHS)),
        weekdays,
        frozenset() if years in ("*", "?") else frozenset(_values(years, "year", 1970, 2199)),
    )


@lru_cache(maxsize=10_000)
def days_of_month(days: str, weekdays: str, year: int, month: int) -> tuple[int, ...]:
    """
    Return the days of a month that both fields mean, the last one first.

    :raises ValueError: if a field can't be read.
    """
    meant = set(_days(days, year, month)) & set(_weekdays(weekdays, year, month))
    return tuple(sorted(meant, reverse=True))


def _days(field: str, year: int, month: int) -> Iterator[int]:
    """Yield the days that the field of days of the month means: L is the last, 15W the workday nearest to 15."""
    first_weekday, last = monthrange(year, month)
    for part in field.split(","):
        if part == "L":
            yield last
        elif re.fullmatch(r"[0-9]+W", part):
            for day in (min(each, last) for each in _values(part[:-1], "day of the month", 1, 31)):
                shifts = {SATURDAY: -1 if day > 1 else 2, SUNDAY: 1 if day < last else -2}
                yield day + shifts.get((first_weekday + day - 1) % 7, 0)
        else:
            yield from (day for day in _values(part, "day of the month", 1, 31) if day <= last)


def _weekdays(field: str, year: int, month: int) -> Iterator[int]:
    """Yield the days that the field of weekdays means: 1 is SUN, L is SAT, 6L the last FRI, 2#1 the first MON."""
    first_weekday, last = monthrange(year, month)
    for part in field.split(","):
        which = slice(None)
        if match := re.fullmatch(r"([A-Z]+|[0-9]+)#([1-5])", part):
            part, which = match[1], slice(int(match[2]) - 1, int(match[2]))
        elif match := re.fullmatch(r"([A-Z]+|[0-9]+)L", part):
            part, which = match[1], slice(-1, None)
        for number in _values("7" if part == "L" else part, "day of the week", 1, 7, DAYS):
            yield from [day for day in range(1, last + 1) if (first_weekday + day) % 7 + 1 == number][which]


def _values(field: str, name: str, low: int, high: int, names: Sequence[str] = ()) -> set[int]:
    """Return the values of a field of numbers, names, ranges and steps; a range such as FRI-MON goes past the end."""
    values: set[int] = set()
    for part in field.replace("?", "*").split(","):
        start, end, step = match.groups() if (match := PART.fullmatch(part)) else ("", None, None)
        first = low if start is None else _number(start, low, names)
        last = _number(end, low, names) if end else high if start is None or step else first
        is_reversed = first > last and name == "year"
        if not (low <= first <= high and low <= last <= high) or is_reversed:
            raise ValueError(f"its {name} {part!r} can't be read")
        span = range(first, last + 1) if first <= last else [*range(first, high + 1), *range(low, last + 1)]
        values.update(span[:: int(step or 1)])
    return values


def _number(text: str, low: int, names: Sequence[str]) -> int:
    """Return the value of a number or name; -1 for any other text."""
    return names.index(text) + low if text in names else int(text) if text.isdecimal() else -1
