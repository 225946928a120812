"""Kendra's own schedules of data sources, translated for croniter; times are UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from airflow_provider_kendra._clock import LATEST, later
from airflow_provider_kendra._text import counted, shown

_RANGE = re.compile(r"\b(\w+)-(\w+)(/[0-9]+)?\b")
_RANDOM = re.compile(r"(?<![A-Z])[HR](?![A-Z])")
_LAST_VALUES = ("59", "23", "31", "12|DEC", "7|SAT")

DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_NUMBERS = {name: number for names in (DAYS, MONTHS) for number, name in enumerate(names, 1)}


class Cron(NamedTuple):
    """
    A schedule as croniter reads it.

    ``parts`` split the days of the month, and together cover all runs: given a list of days, croniter 6.0 misses runs
    in months that lack one of them. ``years`` are its years, which croniter would read as seconds; None for any.
    """

    expression: str
    parts: tuple[str, ...]
    years: frozenset[int] | None


@lru_cache(maxsize=1_000)
def translate(schedule: str) -> Cron:
    """
    Translate a schedule of ``DescribeDataSource``.

    Kendra has two shapes: ``cron(minutes hours day month weekday year)``, and seven bare fields that begin with
    seconds. Weekdays count from 1 for Sunday, unlike in croniter.

    :param schedule: The schedule.
    :raises ValueError: if there is none or it can't be translated, with the reason.
    """
    fields = schedule.strip().removeprefix("cron(").removesuffix(")").upper().split()
    if not fields:
        raise ValueError("it has no schedule in Kendra")
    if len(fields) == 7 and fields.pop(0) != "0":
        raise _untranslatable(schedule, "its seconds are not 0")
    if len(fields) != 6:
        raise _untranslatable(schedule, f"it has {counted(len(fields), 'field')}")
    try:
        *parts, year = (_RANGE.sub(_without_one_value, part) for part in fields)
    except ValueError as error:
        raise _untranslatable(schedule, str(error)) from None
    minute, hour, day, month, weekday = map(_without_single_steps, parts, _LAST_VALUES)
    if "?" not in (day, weekday) and "*" not in (day, weekday):
        raise _untranslatable(schedule, "it names both days of the month and weekdays")
    if any(map(_RANDOM.search, parts)):  # croniter would choose one each time
        raise _untranslatable(schedule, "it names a time at random")
    days = ",".join(_weekday(part) for part in weekday.replace("?", "*").split(","))
    try:
        cron = Cron(
            " ".join((minute, hour, day.replace("?", "*"), month, days)),
            tuple(" ".join((minute, hour, each, month, days)) for each in _day_parts(day.replace("?", "*"))),
            _years(year),
        )
        _runs(cron.expression, datetime(2026, 1, 1, tzinfo=UTC))
    except (ValueError, KeyError, OverflowError) as error:  # croniter's errors are ValueErrors
        raise _untranslatable(schedule, str(error)) from None
    return cron


def _day_parts(field: str) -> list[str]:
    """Split days of the month into those that every month has and, one by one, those after the 28th."""
    others: list[str] = []
    numbers: set[int] = set()
    for part in field.split(","):
        found = re.fullmatch(r"([0-9]{1,2}|\*)(?:-([0-9]{1,2}))?(?:/([1-9][0-9]?))?", part)
        if found is None or part == "*":
            others.append(part)
            continue
        first = 1 if found[1] == "*" else int(found[1])
        last = int(found[2]) if found[2] else 31 if found[3] else first
        if first > last:  # for croniter to judge
            others.append(part)
        numbers.update(range(first, last + 1, int(found[3] or 1)))
    usual = ",".join(str(day) for day in sorted(numbers) if day <= 28)
    return [*others, *filter(None, [usual]), *(str(day) for day in (29, 30, 31) if day in numbers)]


def _without_one_value(found: re.Match[str]) -> str:
    """Write a range of one value (5-5, MON-2) as that value; refuse a reversed range with a step."""
    first, last = (int(value) if value.isdecimal() else _NUMBERS.get(value) for value in found.groups()[:2])
    if first is None or last is None:
        return found[0]
    if first > last and found[3]:
        raise ValueError(f"the range {found[0]} has a step, but begins after its end")
    return found[1] if first == last else found[0]


def _without_single_steps(part: str, last: str) -> str:
    """Drop a step after a field's highest value (59/5): croniter 6 reads a range of one value as the whole range."""
    return re.sub(rf"(?<![-\w])({last})/[0-9]+\b", r"\1", part)


def _untranslatable(schedule: str, reason: str) -> ValueError:
    return ValueError(f"its schedule {shown(schedule)} can't be read: {reason}")


@lru_cache(maxsize=10_000)
def next_run(schedule: str, after: datetime) -> datetime | None:
    """
    Return the first time of a schedule after a moment; None if there is none.

    :param schedule: The schedule.
    :param after: The moment.
    :raises ValueError: as :func:`translate`.
    """
    cron, start = translate(schedule), after
    while True:
        run = min(filter(None, (_next(part, start) for part in cron.parts)), default=None)
        if run is None:
            return None
        if cron.years is None or run.year in cron.years:
            return run
        # Trying each run until a year that is far away would block the event loop.
        years = [year for year in cron.years if year > run.year]
        if not years:
            return None
        start = datetime(min(years), 1, 1, tzinfo=UTC) - timedelta(seconds=1)


@lru_cache(maxsize=10_000)
def previous_run(schedule: str, until: datetime) -> datetime | None:
    """
    Return the last time of a schedule at or before a moment; None if there is none.

    :param schedule: The schedule.
    :param until: The moment.
    :raises ValueError: as :func:`translate`.
    """
    cron = translate(schedule)
    # Runs are at whole minutes, and croniter looks for those before a moment.
    start = later(until.replace(second=0, microsecond=0), timedelta(minutes=1))
    while (run := _previous(cron.expression, start)) is not None and cron.years and run.year not in cron.years:
        years = [year for year in cron.years if year < run.year]
        if not years:
            return None
        start = datetime(max(years) + 1, 1, 1, tzinfo=UTC)
    # croniter 6.0 skips leap days on its way back.
    while run is not None and (following := next_run(schedule, run)) is not None and following <= until:
        run = following
    return run


def stale_at(measured: datetime, *, max_age: timedelta | None, grace: timedelta | None, schedule: str) -> datetime:
    """
    Return when a sync no longer keeps its data source fresh: at an age, or when the next run of the schedule is missed.

    :param measured: The start or end of the sync, whichever counts.
    :param max_age: The age; None for any.
    :param grace: How long after its time a run counts as missed; None if the schedule does not count.
    :param schedule: The schedule of the data source.
    :raises ValueError: as :func:`translate`.
    """
    if grace is None:
        return LATEST if max_age is None else later(measured, max_age)
    run = next_run(schedule, measured)
    return LATEST if run is None else later(run, grace)


def _next(expression: str, start: datetime) -> datetime | None:
    from croniter import CroniterBadDateError

    try:
        run: datetime = _runs(expression, start).get_next()
    except (CroniterBadDateError, OverflowError, ValueError):
        return None
    return run


def _previous(expression: str, start: datetime) -> datetime | None:
    from croniter import CroniterBadDateError

    try:
        run: datetime = _runs(expression, start).get_prev()
    except (CroniterBadDateError, OverflowError, ValueError):
        return None
    return run


def _runs(expression: str, start: datetime) -> Any:
    from croniter import croniter  # not needed to parse a DAG

    return croniter(expression, start, day_or=False, ret_type=datetime)


def _weekday(part: str) -> str:
    """Translate a part of the weekdays."""
    for number, name in enumerate(DAYS, start=1):
        part = part.replace(name, str(number))
    if step := re.fullmatch(r"(.+)/([0-9]+)", part):
        return f"{_weekday(step[1])}/{step[2]}"
    if nth := re.fullmatch(r"([1-7])#([1-5])", part):
        return f"{int(nth[1]) - 1}#{nth[2]}"
    if last := re.fullmatch(r"([1-7])L", part):
        return f"L{int(last[1]) - 1}"
    if part == "L":  # Saturday
        return "6"
    if part != "*" and not re.fullmatch(r"[1-7](-[1-7])?", part):
        raise ValueError(f"its weekday {part!r} is not one of 1 to 7 or SUN to SAT")
    return re.sub(r"[1-7]", lambda day: str(int(day[0]) - 1), part)


def _years(field: str) -> frozenset[int] | None:
    if field in ("*", "?"):
        return None
    years: set[int] = set()
    for part in field.split(","):
        match = re.fullmatch(r"([0-9]{4}|\*)(?:-([0-9]{4}))?(?:/([1-9][0-9]{0,2}))?", part)
        found = range(0)
        if match is not None:
            first = 1970 if match[1] == "*" else int(match[1])
            last = int(match[2]) if match[2] else 2199 if match[1] == "*" or match[3] else first
            found = range(max(first, 1970), min(last, 2199) + 1, int(match[3] or 1))
        if not found:
            raise ValueError(f"its year {part!r} is not a year from 1970 to 2199")
        years.update(found)
    return frozenset(years)
