"""Renders the page from a template that escapes all values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import airflow_provider_kendra.report._charts as _charts
from airflow_provider_kendra._clock import in_words
from airflow_provider_kendra._text import LONGEST, plain

if TYPE_CHECKING:
    from airflow_provider_kendra._overview import Reading
    from airflow_provider_kendra._waiting.conditions import Fresh

_PACKAGE = "airflow_provider_kendra.report"
_LARGEST_SHORT_SECTION = 4_000


def render_page(
    index_id: str,
    readings: Sequence[Reading],
    condition: Fresh,
    now: datetime,
    *,
    syncs: int,
    largest: int,
    capacity: str,
    shared_notes: Mapping[str, int],
) -> str:
    """
    Render the page; its data sources take no more than ``largest`` bytes.

    Notes that hold for several data sources stand at the top, with their number.
    """
    environment = Environment(
        loader=PackageLoader(_PACKAGE, ""),
        autoescape=True,
        finalize=_plain_unless_markup,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(badge=_charts.badge_of, cut=_cut, in_words=in_words, number=_number)
    return environment.get_template("page.html.jinja").render(
        style=Markup((files(_PACKAGE) / "page.css").read_text("utf-8")),
        charts=_charts,
        index_id=index_id,
        readings=readings,
        running=sum(bool(reading.freshness and reading.freshness.running) for reading in readings),
        condition=condition,
        now=now,
        syncs=syncs,
        capacity=capacity,
        shared_notes=shared_notes,
        fit=lambda section: _fit(section, readings, largest),
    )


def _plain_unless_markup(value: object) -> str:
    """Sanitise and cut each value in the template; Jinja then escapes it."""
    return value if isinstance(value, Markup) else plain(value, 200)


def _cut(text: str, longest: int = LONGEST) -> Markup:
    """Show a text that may be longer than the usual values."""
    return escape(plain(text, longest))


def _number(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count:,}" if _charts.is_plausible(count) else "implausible"


def _fit(section: Callable[..., Markup], readings: Sequence[Reading], largest: int) -> tuple[list[Markup], int]:
    """Return the sections that fit into the page, in short form where needed, and how many do not fit."""
    sections: list[Markup] = []
    room = largest
    for left in range(len(readings), 0, -1):
        reading = readings[-left]
        try:
            rendered = section(reading)
        except Exception as error:  # an unexpected value of one data source must not lose the others
            rendered = section(reading, failure=f"{type(error).__name__}: {error}")
        if len(rendered.encode()) > room - _LARGEST_SHORT_SECTION * left:
            rendered = section(reading, is_too_large=True)
        room -= len(rendered.encode())
        if room < 0:
            return sections, left
        sections.append(rendered)
    return sections, 0
