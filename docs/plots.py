"""
Draw what ``python -m tests.benchmarks --output FILE`` has measured, as figures for the documentation site.

    python docs/plots.py docs/benchmarks.json FIGURES.html

Whatever the file has numbers for is drawn: nothing is wrong with a run that did without some measurement.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

# Columns of the table of waits, their titles, and how to say a value.
WAITS = {
    "mb_in_all": ("Memory for these waits, in megabytes", "{:,.1f}"),
    "calls_per_interval": ("Calls of ListDataSourceSyncJobs in one interval", "{:,.0f}"),
    "cpu_to_ready_s": ("CPU until every wait has had its first look, in seconds", "{:,.2f}"),
}
TRIGGERS = {"ours": "this package", "peer": "one poll for each wait"}
LATENCIES = {"median": "median", "p99": "99th percentile"}

# The page's own colours, so that a plot is right in light and dark.
FOREGROUND = "var(--color-foreground-primary)"
BORDER = "var(--color-background-border)"
STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground=FOREGROUND,
    foreground_strong=FOREGROUND,
    foreground_subtle="var(--color-foreground-muted)",
    guide_stroke_color=BORDER,
    major_guide_stroke_color=BORDER,
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
SHAPE: dict[str, Any] = {
    "style": STYLE,
    "width": 720,
    "height": 340,
    "margin": 8,
    "legend_at_bottom": True,
    "legend_at_bottom_columns": 1,
    "truncate_legend": -1,
    "disable_xml_declaration": True,
    "js": (),
}


def figures(measured: Mapping[str, Any]) -> Iterator[str]:
    """
    Draw all figures that there are numbers for.

    :param measured: What the benchmarks have written.
    """
    waits = measured.get("waits", [])
    counts = sorted({row["waits"] for row in waits})
    for column, (title, said) in WAITS.items():
        known = {(row["trigger"], row["waits"]): row[column] for row in waits if row.get(column) is not None}
        bars = {
            name: [known.get((trigger, count)) for count in counts]
            for trigger, name in TRIGGERS.items()
            if trigger in {trigger for trigger, _ in known}
        }
        if bars:
            yield _bars(title, [f"{count:,} waits" for count in counts], bars, said)
    load = measured.get("load", {})
    runs = {
        f"{name}: {load[trigger]['waits']:,} waits on {load[trigger]['data_sources']:,} data sources": load[trigger]
        for trigger, name in TRIGGERS.items()
        if trigger in load
    }
    if runs:
        yield _memory_over_time(runs)
        title = f"Seconds from the end of a sync to the event, polled every {load['interval_s']} s"
        latencies = {name: [run["latency_s"].get(each) for each in LATENCIES] for name, run in runs.items()}
        yield _bars(title, list(LATENCIES.values()), latencies, "{:,.1f}")


def _bars(title: str, labels: Sequence[str], bars: Mapping[str, Sequence[float | None]], said: str) -> str:
    values = [value for row in bars.values() for value in row if value]
    lowest = min(values) / 3
    chart = pygal.Bar(
        **SHAPE,
        title=title,
        logarithmic=True,
        zero=lowest,  # where the bars begin: a logarithmic scale has no 0
        range=(lowest, max(values) * 3),
        print_values=True,
        print_values_position="top",
        show_y_labels=False,
        show_y_guides=False,
        rounded_bars=2,
        value_formatter=said.format,
    )
    chart.x_labels = labels
    for name, row in bars.items():
        chart.add(name, row)
    return _figure(chart)


def _memory_over_time(runs: Mapping[str, Mapping[str, Any]]) -> str:
    chart = pygal.XY(
        **SHAPE,
        title="Megabytes above the bare process, by seconds",
        show_dots=False,
        stroke_style={"width": 2.5},
        show_x_guides=False,
        x_value_formatter="{:,.0f}".format,
        value_formatter="{:,.0f}".format,
    )
    for name, run in runs.items():
        series = run["series"]
        chart.add(name, [(moment, megabytes - run["baseline_mb"]) for moment, megabytes in series])
    return _figure(chart)


def _figure(chart: Any) -> str:
    svg: str = chart.render(is_unicode=True)
    return f'<figure class="drawing">\n{svg}\n</figure>\n'


def main(arguments: Sequence[str]) -> int:
    """Draw what the first file holds into the second one."""
    source, target = map(Path, arguments)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(figures(json.loads(source.read_text(encoding="utf-8")))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
