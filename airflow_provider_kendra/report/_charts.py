"""Draws charts of sync jobs as SVG, coloured by the page's CSS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any

from markupsafe import Markup

from airflow_provider_kendra._clock import in_words
from airflow_provider_kendra.exceptions import KendraError
from airflow_provider_kendra.sync_job import SyncJob


@dataclass(frozen=True, slots=True)
class Badge:
    """A symbol, for readers who cannot distinguish the colours, and a CSS class."""

    symbol: str
    css: str


_OUTCOMES = {
    "SUCCEEDED": Badge("✓", "succeeded"),
    "INCOMPLETE": Badge("!", "incomplete"),
    "FAILED": Badge("✕", "failed"),
    "ABORTED": Badge("-", "aborted"),
}
_RUNNING = Badge("…", "running")
BADGES = (*_OUTCOMES.values(), _RUNNING)
COUNTS = ("added", "modified", "deleted", "failed")

_MOST_DOCUMENTS = 10**15
_FEWEST_SLOTS = 10
_ROUND_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_ROUND_COUNTS = tuple(factor * 10**power for power in range(12) for factor in (1, 2, 5))


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


def check_library() -> None:
    """Raise an error that says how to install the chart library, if it is missing."""
    try:
        import pygal  # noqa: F401
    except ImportError as error:
        raise KendraError("The report needs a chart library: pip install 'airflow-provider-kendra[report]'.") from error


def durations(jobs: Sequence[SyncJob], now: datetime) -> Markup:
    """Draw how long each job took; for a running job, until now."""
    seconds = [_seconds(job, now) for job in jobs]
    bars = {
        badge.css: [value if badge_of(job) is badge else None for job, value in zip(jobs, seconds, strict=True)]
        for badge in BADGES
    }
    return _draw("Duration of each sync", jobs, bars, in_words, _ticks(seconds, _ROUND_SECONDS))


def documents(jobs: Sequence[SyncJob]) -> Markup:
    """Draw how many documents each job added, modified, deleted and failed to index."""
    columns = [[count if count and is_plausible(count) else None for count in counts_of(job)] for job in jobs]
    totals = [sum(count or 0 for count in column) for column in columns]
    bars = dict(zip(COUNTS, zip(*columns, strict=True), strict=True))
    return _draw("Documents of each sync", jobs, bars, "{:,.0f}".format, _ticks(totals, _ROUND_COUNTS))


def _seconds(job: SyncJob, now: datetime) -> float | None:
    if not job.is_finished and job.start_time is not None:
        return max((now - job.start_time).total_seconds(), 0)
    seconds = job.duration_seconds
    return None if seconds is None else max(seconds, 0)


def _ticks(values: Sequence[float | None], steps: Sequence[int]) -> list[float]:
    """Return round values for an axis, from 0 to at least the highest value."""
    highest = max((value or 0 for value in values), default=0)
    step = next((step for step in steps if highest <= 4 * step), highest / 4)
    return [number * step for number in range(max(ceil(highest / step), 1) + 1)]


def _draw(
    title: str,
    jobs: Sequence[SyncJob],
    bars: Mapping[str, Sequence[float | None]],
    label: Callable[[float], str],
    ticks: Sequence[float],
) -> Markup:
    """Draw a stack of bars for each job; the name of a kind of bar becomes its CSS class."""
    import pygal

    chart = pygal.StackedBar(
        width=440,
        height=200,
        margin=6,
        margin_top=12,
        show_legend=False,
        js=(),
        css=(),
        classes=("chart",),
        no_prefix=True,
        disable_xml_declaration=True,
        style=pygal.style.Style(label_font_size=15, major_label_font_size=15),
    )
    empty = max(_FEWEST_SLOTS - len(jobs), 0)  # keeps the bars narrow if there are few
    chart.x_labels = [""] * empty + [badge_of(job).symbol for job in jobs]
    chart.y_labels = [{"value": tick, "label": label(tick)} for tick in ticks]
    for kind, values in bars.items():
        stack = [_bar(job, value, f"{label(value or 0)} {kind}") for job, value in zip(jobs, values, strict=True)]
        chart.add(kind, [None] * empty + stack)
    chart.add_xml_filter(lambda root: _strip(root, title, list(bars)))
    return Markup(chart.render(is_unicode=True))  # pygal escapes the texts


def _bar(job: SyncJob, value: float | None, label: str) -> dict[str, Any] | None:
    if value is None:
        return None
    started = f"{job.start_time:%d %b %Y %H:%M}" if job.start_time else "at an unknown time"
    return {"value": value, "tooltip": f"Started {started}: {label}"}


def _strip(root: Any, title: str, kinds: Sequence[str]) -> Any:
    """Remove empty bars and what only the library's scripts and styles use; set CSS classes on the other bars."""
    for parent in list(root.iter()):
        for child in list(parent):
            is_unused = not isinstance(child.tag, str) or _local_name(child) in ("script", "style", "desc")
            is_no_bar = child.get("class") == "bar" and not any(_local_name(each) == "title" for each in child)
            if is_unused or is_no_bar or "overlay" in child.get("class", ""):
                parent.remove(child)
            elif _local_name(child) == "title" and parent is root:
                child.text = title
            elif child.get("class", "").startswith("series "):
                child.set("class", f"bars {kinds[int(child.get('class').split()[1].removeprefix('serie-'))]}")
    root.set("role", "img")
    root.attrib.pop("id", None)
    return root


def _local_name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]
