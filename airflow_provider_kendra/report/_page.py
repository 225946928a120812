"""Renders the page from templates that escape all values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import airflow_provider_kendra.report._charts as _charts
import airflow_provider_kendra.report._summary as _summary
from airflow_provider_kendra._clock import in_words
from airflow_provider_kendra._text import LONGEST, plain

if TYPE_CHECKING:
    from airflow_provider_kendra._overview import Reading
    from airflow_provider_kendra._waiting.conditions import Fresh
    from airflow_provider_kendra.report._index import IndexFacts

_PACKAGE = "airflow_provider_kendra.report"
_LARGEST_SHORT_SECTION = 6_000

Parts = dict[str, Markup]
"""What the page says about a data source: in the overview, on the timeline, in the timeline's table and on its card."""


def render_page(
    index: IndexFacts,
    readings: Sequence[Reading],
    condition: Fresh,
    now: datetime,
    *,
    syncs: int,
    largest: int,
    warn_age: timedelta | None = None,
    max_index_share: float = 0.9,
    shared_notes: Mapping[str, int] | None = None,
) -> str:
    """
    Render the page; its data sources take no more than ``largest`` bytes.

    Notes shared by several data sources appear once at the top, with the number of data sources.
    """
    axis = _charts.timeline_axis(readings, now, syncs)
    values = {"index": index, "condition": condition, "now": now, "syncs": syncs, "axis": axis, "warn_age": warn_age}
    names = Counter(reading.name for reading in readings if reading.name)
    values["shared_names"] = {name for name, number in names.items() if number > 1}
    environment = _environment(charts=_charts, summary=_summary, shared_notes=shared_notes or {}, **values)
    macros: Any = environment.get_template("source.html.jinja").module

    def render(reading: Reading, **form: Any) -> Parts:
        return {part: getattr(macros, part)(reading, **form) for part in ("row", "lane", "line", "card")}

    parts, left_out = _fit(render, _summary.worst_first(readings), largest)
    return environment.get_template("page.html.jinja").render(
        style=Markup((files(_PACKAGE) / "page.css").read_text("utf-8")),
        readings=readings,
        running=sum(bool(reading.freshness and reading.freshness.running) for reading in readings),
        parts=parts,
        left_out=left_out,
        max_index_share=max_index_share,
    )


def _environment(**values: Any) -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE, ""),
        autoescape=True,
        finalize=_plain_unless_markup,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(badge=_charts.badge_of, cut=_cut, in_words=in_words, number=_number)
    environment.globals.update(values)
    return environment


def _plain_unless_markup(value: object) -> str:
    """Sanitise and cut each value in the template; Jinja then escapes it."""
    return value if isinstance(value, Markup) else plain(value, 200)


def _cut(text: str, longest: int = LONGEST) -> Markup:
    """Show a text that may be longer or must be shorter than the usual values."""
    return escape(plain(text, longest))


def _number(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count:,}" if _charts.is_plausible(count) else "implausible"


def _fit(render: Callable[..., Parts], readings: Sequence[Reading], largest: int) -> tuple[list[Parts], int]:
    """Return the parts that fit into the page, in short form where needed, and how many data sources do not fit."""
    fitting: list[Parts] = []
    room = largest
    for number, reading in enumerate(readings):
        left = len(readings) - number
        try:
            parts = render(reading, number=number)
        except Exception as error:  # an unexpected value of one data source must not lose the others
            parts = render(reading, number=number, failure=f"{type(error).__name__}: {error}")
        if _size(parts) > room - _LARGEST_SHORT_SECTION * left:
            parts = render(reading, number=number, is_too_large=True)
        room -= _size(parts)
        if room < 0:
            return fitting, left
        fitting.append(parts)
    return fitting, 0


def _size(parts: Parts) -> int:
    return sum(len(part.encode()) for part in parts.values())
