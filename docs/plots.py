"""
Draw what ``python -m tests.benchmarks --output FILE`` has measured, as SVGs for the documentation site.

    python docs/plots.py docs/benchmarks.json DIRECTORY
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

# What is drawn: a column of the table of waits, its title, and how to say a value.
PLOTS = {
    "mb_in_all": ("Memory of the triggerer's process for these waits (MB)", "{:,.1f} MB"),
    "calls_per_interval": ("Calls of ListDataSourceSyncJobs in one interval", "{:,.0f}"),
    "cpu_to_ready_s": ("CPU until every wait has had its first look (s)", "{:,.2f} s"),
}
TRIGGERS = {"ours": "this package", "peer": "one poll for each wait"}

# The page's own colours, so that a plot is right in light and dark.
FOREGROUND = "var(--color-foreground-primary)"
STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground=FOREGROUND,
    foreground_strong=FOREGROUND,
    foreground_subtle="var(--color-foreground-muted)",
    guide_stroke_color="var(--color-background-border)",
    major_guide_stroke_color="var(--color-background-border)",
    value_colors=(FOREGROUND, FOREGROUND),
    colors=("var(--color-brand-primary)", "var(--color-foreground-muted)"),
    font_family="inherit",
    title_font_size=17,
    label_font_size=14,
    major_label_font_size=14,
    legend_font_size=15,
    value_font_size=14,
    opacity=0.9,
    opacity_hover=1,
    transition="none",
)


def draw(waits: Sequence[Mapping[str, Any]], column: str) -> str | None:
    """
    Draw one column of the table of waits; None if nothing was measured in it.

    :param waits: The rows.
    :param column: The column.
    """
    title, said = PLOTS[column]
    values = {(row["trigger"], row["waits"]): row[column] for row in waits if row.get(column) is not None}
    if not values:
        return None
    counts = sorted({count for _, count in values})
    chart = pygal.Bar(
        style=STYLE,
        width=720,
        height=320,
        title=title,
        logarithmic=True,
        legend_at_bottom=True,
        legend_at_bottom_columns=len(TRIGGERS),
        print_values=True,
        print_values_position="top",
        show_y_labels=False,
        show_y_guides=False,
        rounded_bars=2,
        margin=8,
        min_scale=1,
        zero=min(values.values()) / 3,  # where the bars begin: a logarithmic scale has no 0
        range=(min(values.values()) / 3, max(values.values()) * 3),
        disable_xml_declaration=True,
        js=(),
        value_formatter=said.format,
    )
    chart.x_labels = [f"{count:,} waits" for count in counts]
    for trigger, name in TRIGGERS.items():
        if any(key[0] == trigger for key in values):
            chart.add(name, [values.get((trigger, count)) for count in counts])
    svg: str = chart.render(is_unicode=True)
    return svg


def main(arguments: Sequence[str]) -> int:
    """Draw every plot that the file has numbers for."""
    source, directory = map(Path, arguments)
    measured = json.loads(source.read_text(encoding="utf-8"))
    directory.mkdir(parents=True, exist_ok=True)
    for column in PLOTS:
        svg = draw(measured.get("waits", []), column)
        if svg is not None:
            (directory / f"{column}.svg").write_text(svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
