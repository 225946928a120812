"""Positions of what the charts show; the templates draw it as SVG, and the page's CSS colours it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil
from statistics import median
from typing import TYPE_CHECKING

from airflow_provider_kendra._clock import in_words
from airflow_provider_kendra.report._summary import Span, spans

if TYPE_CHECKING:
    from airflow_provider_kendra._overview import Reading
    from airflow_provider_kendra._waiting.conditions import Fresh
    from airflow_provider_kendra.sync_job import SyncJob


@dataclass(frozen=True, slots=True)
class Badge:
    """A symbol, for readers who cannot distinguish the colours, and a CSS class."""

    symbol: str
    css: str


_SUCCEEDED = Badge("✓", "succeeded")
_OUTCOMES = {
    "SUCCEEDED": _SUCCEEDED,
    "INCOMPLETE": Badge("!", "incomplete"),
    "FAILED": Badge("✕", "failed"),
    "ABORTED": Badge("-", "aborted"),
}
_RUNNING = Badge("…", "running")
BADGES = (*_OUTCOMES.values(), _RUNNING)
COUNTS = ("added", "modified", "deleted", "failed")
HEIGHT = 120
"""The height of the bars of a chart, in pixels."""

TREND = 60
"""How many syncs a trend shows."""

_MOST_DOCUMENTS = 10**15
_LONGEST_AXIS = timedelta(days=3650)
_SHORTEST_AXIS = timedelta(hours=1)
_RECENT = timedelta(days=7)
_SMALLEST_BAR = 2.0
_HOUR, _DAY = 3600, 86400
_ROUND_SECONDS = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    *(_HOUR * n for n in (1, 2, 4, 6, 12, 24, 48, 168)),
)
_ROUND_COUNTS = tuple(factor * 10**power for power in range(12) for factor in (1, 2, 5))
_TIME_STEPS = (
    300,
    900,
    1800,
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 4, 7, 14, 28, 91, 364)),
)


def badge_of(job: SyncJob) -> Badge:
    return _OUTCOMES.get(job.status, _RUNNING)


def counts_of(job: SyncJob) -> list[int | None]:
    return [getattr(job, f"documents_{name}") for name in COUNTS]


def is_plausible(count: int) -> bool:
    """Whether a count is realistic: Kendra sends counts as text of any length."""
    return 0 <= count <= _MOST_DOCUMENTS


def count_implausible(jobs: Sequence[SyncJob]) -> int:
    counts = [count for job in jobs for count in counts_of(job)]
    return sum(count is not None and not is_plausible(count) for count in counts)


@dataclass(frozen=True, slots=True)
class Tick:
    """A position on a time axis with its label, which is an hour or a date."""

    x: float
    label: str
    is_hour: bool


@dataclass(frozen=True, slots=True)
class Axis:
    """A time axis; positions on it are in percent, so that it is as wide as the screen allows."""

    start: datetime
    end: datetime

    @classmethod
    def until(cls, end: datetime, starts: Iterable[datetime]) -> Axis:
        """Return an axis from the first of the starts, but of a plausible length."""
        length = min(max(end - min(starts, default=end), _SHORTEST_AXIS), _LONGEST_AXIS)
        return cls(end - length * 1.02, end)

    def percent(self, moment: datetime) -> float:
        """The position of a moment; that of the nearer end where it is outside."""
        share = (moment - self.start) / (self.end - self.start)
        return round(100 * min(max(share, 0), 1), 2)

    def width(self, start: datetime, end: datetime) -> float:
        """The distance of two moments on the axis."""
        return round(max(self.percent(end) - self.percent(start), 0), 2)

    def ticks(self, most: int) -> list[Tick]:
        """Return round times in UTC."""
        first, last = self.start.timestamp(), self.end.timestamp()
        step = next((step for step in _TIME_STEPS if (last - first) / step <= most), _TIME_STEPS[-1])
        number = ceil(first / step)
        moments = [datetime.fromtimestamp(each * step, UTC) for each in range(number, int(last // step) + 1)]
        return [self._tick(each, step) for each in moments]

    def _tick(self, moment: datetime, step: int) -> Tick:
        is_hour = step < _DAY and bool(moment.hour or moment.minute)
        form = "%H:%M" if is_hour else "%d %b" if step < 91 * _DAY else "%b %Y"
        return Tick(self.percent(moment), moment.strftime(form), is_hour)


@dataclass(frozen=True, slots=True)
class Bar:
    """
    A bar of a chart, which stands on the axis.

    :param x: Its position, in percent.
    :param height: Its height in pixels.
    :param title: What the bar says in words.
    """

    x: float
    height: float
    title: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """
    The bars of a chart by kind, which is their CSS class, over a time axis.

    :param axis: The time axis.
    :param levels: The positions and labels of the vertical axis.
    :param width: The width of a bar, in percent.
    :param bars: The bars of each kind.
    :param signs: Positions and symbols under the bars.
    :param cut: The positions of bars that are higher than the chart.
    """

    axis: Axis
    levels: list[tuple[float, str]]
    width: float
    bars: dict[str, list[Bar]] = field(default_factory=dict)
    signs: list[tuple[float, str]] = field(default_factory=list)
    cut: list[float] = field(default_factory=list)


def durations(jobs: Sequence[SyncJob], now: datetime) -> Chart:
    """
    Draw how long each sync took; for a running sync, until now.

    The finished syncs set the scale, so a sync that hangs does not flatten them.

    :param jobs: Newest first.
    :param now: The time of the report.
    """
    dated = _dated(jobs)
    seconds = [_seconds(job, now) for job in dated]
    finished = [value for job, value in zip(dated, seconds, strict=True) if job.is_finished]
    top, chart = _frame(dated, now, finished if any(finished) else seconds, _ROUND_SECONDS, in_words)
    for job, value in zip(dated, seconds, strict=True):
        if value is None:
            continue
        badge, x = badge_of(job), chart.axis.percent(_start(job))
        title = f"{_start(job):%d %b %H:%M}: {in_words(value)}, {badge.css}"
        chart.bars.setdefault(badge.css, []).append(Bar(x, _height(value, top), title))
        if value > top:
            chart.cut.append(x)
    return chart


def documents(jobs: Sequence[SyncJob], now: datetime) -> Chart:
    """
    Draw how many documents each sync added, modified, deleted and failed to index, the failed ones at the bottom.

    Each bar starts at the axis and must be painted over the one before, in the order of the kinds.

    :param jobs: Newest first.
    :param now: The time of the report.
    """
    dated = _dated(jobs)
    stacks = [[count if count and is_plausible(count) else 0 for count in counts_of(job)] for job in dated]
    top, chart = _frame(dated, now, [sum(stack) for stack in stacks], _ROUND_COUNTS, "{:,.0f}".format)
    for job, stack in zip(dated, stacks, strict=True):
        x, height = chart.axis.percent(_start(job)), 0.0
        for kind, count in reversed(list(zip(COUNTS, stack, strict=True))):
            if count:
                height = round(min(height + _height(count, top), HEIGHT), 1)
                chart.bars.setdefault(kind, []).append(Bar(x, height))
        if height:
            words = ", ".join(f"{count:,} {kind}" for kind, count in zip(COUNTS, stack, strict=True) if count)
            chart.bars.setdefault("words", []).append(Bar(x, height, f"{_start(job):%d %b %H:%M}: {words}"))
        if sum(stack) > top:
            chart.cut.append(x)
    return chart


def _start(job: SyncJob) -> datetime:
    return job.start_time or datetime.min.replace(tzinfo=UTC)


def _dated(jobs: Sequence[SyncJob]) -> list[SyncJob]:
    """Return the syncs that have a place on a time axis, oldest first."""
    return sorted((job for job in jobs if job.start_time), key=_start)


def _frame(
    jobs: Sequence[SyncJob],
    now: datetime,
    values: Sequence[float | None],
    steps: Sequence[int],
    label: Callable[[float], str],
) -> tuple[float, Chart]:
    """Return the highest value that fits into a chart, and the chart without its bars."""
    starts = [_start(job) for job in jobs]
    axis = Axis.until(_end_of_axis(starts, now), starts)
    ticks = _ticks(_ceiling(values), steps)
    levels = [(round(HEIGHT * (1 - tick / ticks[-1]), 1), label(tick)) for tick in ticks]
    signs = [(axis.percent(_start(job)), badge_of(job).symbol) for job in jobs if badge_of(job) is not _SUCCEEDED]
    return ticks[-1], Chart(axis, levels, _bar_width([axis.percent(_start(job)) for job in jobs]), signs=signs)


def _end_of_axis(starts: Sequence[datetime], now: datetime) -> datetime:
    """Return now, or an earlier time if the period without syncs would take more than half of the axis."""
    if not starts:
        return now
    length = min(max(starts[-1] - starts[0], _SHORTEST_AXIS), _LONGEST_AXIS)
    return starts[-1] + length if starts[-1] < now - length else now


def _bar_width(positions: Sequence[float]) -> float:
    """Return a width at which few bars overlap."""
    gaps = sorted(later - earlier for earlier, later in pairwise(positions))
    typical = gaps[len(gaps) // 10] if gaps else 100
    return round(min(max(0.75 * typical, 0.6), 3), 2)


def _ceiling(values: Sequence[float | None]) -> float:
    """Return the highest value to show in full: a single extreme one would flatten all others."""
    positive = [value for value in values if value]
    return min(max(positive), 6 * median(positive)) if positive else 0


def _ticks(highest: float, steps: Sequence[int]) -> list[float]:
    """Return round values for an axis, from 0 to at least the highest value."""
    step = next((step for step in steps if highest <= 4 * step), highest / 4)
    return [number * step for number in range(max(ceil(highest / step), 1) + 1)]


def _height(value: float, top: float) -> float:
    return round(min(max(HEIGHT * value / top, _SMALLEST_BAR), HEIGHT), 1)


def _seconds(job: SyncJob, now: datetime) -> float | None:
    if not job.is_finished and job.start_time is not None:
        return max((now - job.start_time).total_seconds(), 0)
    seconds = job.duration_seconds
    return None if seconds is None else max(seconds, 0)


@dataclass(frozen=True, slots=True)
class Trend:
    """A sparkline of durations, as paths in a box of 120 by 28: bars up for acceptable syncs, bars down for others."""

    accepted: str
    rejected: str


def trend(jobs: Sequence[SyncJob], condition: Fresh) -> Trend:
    """
    Draw the finished syncs as a sparkline.

    :param jobs: Newest first.
    :param condition: What makes a sync acceptable.
    """
    finished = [job for job in reversed(jobs) if job.is_finished][-TREND:]
    seconds = [max(job.duration_seconds or 0, 0) for job in finished]
    top = _ceiling(seconds) or 1
    slot = 120 / max(len(finished), 20)
    paths = {True: "", False: ""}
    for number, (job, value) in enumerate(zip(finished, seconds, strict=True), start=max(20 - len(finished), 0)):
        is_accepted = condition.acceptance.accepts(job)
        height = -max(min(20 * value / top, 20), 1) if is_accepted else 7
        paths[is_accepted] += f"M{number * slot:.1f} 20v{height:.1f}h{slot * 0.75:.1f}V20z"
    return Trend(paths[True], paths[False])


@dataclass(frozen=True, slots=True)
class Mark:
    """A sync on the timeline, with its position and its width in percent."""

    x: float
    width: float
    badge: Badge
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """
    The syncs of one data source on the timeline.

    :param bands: When it was fresh and when stale: state, position and width.
    :param marks: Its syncs.
    :param before: Its newest sync, if that is too old for the timeline.
    """

    bands: list[tuple[str, float, float]]
    marks: list[Mark]
    before: SyncJob | None

    def share(self, state: str) -> float:
        """The share of the known time with this state: 0 never, 1 always."""
        known = sum(width for each, _, width in self.bands if each != "unread")
        return sum(width for each, _, width in self.bands if each == state) / known if known else 0


def timeline_axis(readings: Sequence[Reading], now: datetime, syncs: int) -> Axis:
    """
    Return a time axis for all data sources.

    It starts at the median of the data sources' oldest syncs, so a rarely synced one does not squeeze the others;
    earlier, if needed to show each newest sync of the last 7 days.

    :param readings: What was read about each.
    :param now: The time of the report.
    :param syncs: How many syncs of each are shown.
    """
    shown = [[job.start_time for job in reading.jobs[:syncs] if job.start_time] for reading in readings]
    oldest = sorted(min(starts) for starts in shown if starts)
    newest = [max(starts) for starts in shown if starts]
    return Axis.until(now, [*oldest[len(oldest) // 2 :][:1], *(each for each in newest if now - each <= _RECENT)])


def meter(age: timedelta, limit: timedelta) -> float:
    """Return an age in percent of twice its limit, at most 100."""
    return round(min(50 * age / limit, 100), 1) if limit else 100


def lane(reading: Reading, axis: Axis, condition: Fresh, syncs: int, warn_age: timedelta | None = None) -> Lane:
    """
    Place the syncs of a data source on the timeline.

    :param reading: What was read about it.
    :param axis: The time axis.
    :param condition: What makes it fresh.
    :param syncs: How many syncs are shown.
    :param warn_age: Older than this, it is aging.
    """
    dated = _dated(reading.jobs[:syncs])
    in_view = [job for job in dated if (_end(job, axis.end)) >= axis.start]
    return Lane(
        bands=[_band(axis, span) for span in spans(reading, condition, axis.end, warn_age) if span.end > axis.start],
        marks=[_mark(axis, job) for job in in_view],
        before=dated[-1] if dated and not in_view else None,
    )


def _end(job: SyncJob, now: datetime) -> datetime:
    return (job.end_time or _start(job)) if job.is_finished else now


def _band(axis: Axis, span: Span) -> tuple[str, float, float]:
    return span.state, axis.percent(span.start), axis.width(span.start, span.end)


def _mark(axis: Axis, job: SyncJob) -> Mark:
    badge, start, end = badge_of(job), _start(job), _end(job, axis.end)
    title = f"{start:%d %b %H:%M}: {badge.css}{f', {in_words(end - start)}' if end > start else ''}"
    return Mark(axis.percent(start), axis.width(start, end), badge, title)
