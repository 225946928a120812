"""Kendra's schedules, in both of the shapes that it takes; times are UTC."""

import itertools
import math
import re
from collections.abc import Iterator
from datetime import datetime, timezone

DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def due_times(schedule: str, after: float, until: float, limit: int) -> list[float]:
    """Return the last times of a schedule after one time and up to another, in seconds since the epoch."""
    expression, years = _translate(schedule)
    if years is not None:
        until = min(until, datetime(max(years), 12, 31, 23, 59, tzinfo=timezone.utc).timestamp())
    latest = itertools.takewhile(lambda due: due > after, _backwards(expression, until))
    wanted = (due for due in latest if years is None or datetime.fromtimestamp(due, timezone.utc).year in years)
    return list(itertools.islice(wanted, limit))[::-1]


def _backwards(expression: str, until: float) -> Iterator[float]:
    """Yield the times of an expression up to a time, the last one first."""
    from croniter import croniter
    from croniter.croniter import CroniterBadDateError

    # croniter begins before the time that it is given, and yields whole minutes.
    runs = croniter(expression, datetime.fromtimestamp(math.floor(until) + 1, timezone.utc), day_or=False)
    while True:
        try:
            yield runs.get_prev(float)
        except CroniterBadDateError:  # such as for the 31st of February
            return


def check(schedule: str) -> None:
    """
    Check a schedule.

    :raises ValueError: if it has neither shape.
    """
    from croniter import croniter
    from croniter.croniter import CroniterError

    expression, _ = _translate(schedule)
    try:
        croniter(expression, day_or=False)
    except (CroniterError, ValueError, KeyError, OverflowError) as error:
        raise ValueError(str(error)) from error


def _translate(schedule: str) -> tuple[str, set[int] | None]:
    """Return a schedule as croniter understands it, and its years."""
    fields = schedule.strip().removeprefix("cron(").removesuffix(")").split()
    if len(fields) == 7:
        seconds, *fields = fields
        if seconds != "0":
            raise ValueError(f"its seconds are {seconds!r}, but must be 0")
    if len(fields) != 6:
        raise ValueError(f"it has {len(fields)} fields, but must have six in cron(…), or seven that begin with seconds")
    # croniter reads a range of one value as the whole range, as croniter 6 does steps from the last value.
    *expression, year = (re.sub(r"\b(\w+)-\1(?:/[0-9]+)?\b", r"\1", part.upper()) for part in fields)
    lasts = ("59", "23", "31", "12|DEC", "7|SAT")
    expression = [
        re.sub(rf"(?<![-\w])({last})/[0-9]+\b", r"\1", part) for part, last in zip(expression, lasts, strict=True)
    ]
    days, weekdays = expression[2], expression[4]
    if (days == "?") == (weekdays == "?") and "*" not in (days, weekdays):
        raise ValueError("exactly one of the day of the month and the day of the week must be ?")
    expression = [part.replace("?", "*") for part in expression]
    expression[4] = ",".join(_weekday(part) for part in expression[4].split(","))
    return " ".join(expression), _years(year)


def _weekday(part: str) -> str:
    """Translate a weekday from 1 = Sunday to 0 = Sunday."""
    for number, name in enumerate(DAYS, start=1):
        part = part.replace(name, str(number))
    step = re.fullmatch(r"(.+)/([0-9]+)", part)
    if step:
        return f"{_weekday(step[1])}/{step[2]}"
    nth = re.fullmatch(r"([1-7])#([1-5])", part)
    if nth:
        return f"{int(nth[1]) - 1}#{nth[2]}"
    last = re.fullmatch(r"([1-7])L", part)
    if last:
        return f"L{int(last[1]) - 1}"
    return re.sub(r"[1-7]", lambda day: str(int(day[0]) - 1), part)


def _years(field: str) -> set[int] | None:
    if field in ("*", "?"):
        return None
    years: set[int] = set()
    for part in field.split(","):
        match = re.fullmatch(r"([0-9]{4}|\*)(?:-([0-9]{4}))?(?:/([0-9]+))?", part)
        if match is None or (match[3] and int(match[3]) == 0):
            raise ValueError(f"its year {part!r} can't be read")
        first = 1970 if match[1] == "*" else int(match[1])
        last = int(match[2]) if match[2] else 2199 if match[1] == "*" or match[3] else first
        years.update(range(first, last + 1, int(match[3] or 1)))
    return years
