"""
Write what ``python -m tests.benchmarks --output FILE`` has measured as tables for the documentation site.

    python docs/measured.py docs/benchmarks.json TABLES.md

A measurement that is not in the file has no table. Only the same load is compared.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SIDES = {"ours": "this package", "peer": "one poll for each wait"}
WAITS = {
    "mb_in_all": ("memory", "{:,.1f} MB"),
    "calls_per_interval": ("calls per interval", "{:,.0f}"),
    "cpu_to_ready_s": ("CPU until each wait has been polled once", "{:,.2f} s"),
}
LOAD = {
    "mb_in_all": ("memory above that of the bare process", "{:,.0f} MB"),
    "growth_mb": ("growth of memory afterwards", "{:,.1f} MB"),
    "cpu_percent": ("CPU", "{:,.0f} % of a core"),
    "calls_per_interval": ("calls per interval and data source", "{:,.2f}"),
    "longest_stall_ms": ("longest pause of the event loop", "{:,.0f} ms"),
}


def tables(measured: Mapping[str, Any]) -> Iterator[str]:
    """
    Write a table of the waits on one data source, and one of the load on many.

    :param measured: What the benchmarks have written.
    """
    waits = measured.get("waits", [])
    if waits:
        header = ["waits on one data source", "", *(title for title, _ in WAITS.values())]
        rows = [
            [f"{row['waits']:,}", SIDES[row["trigger"]], *(_said(row, column, WAITS) for column in WAITS)]
            for row in sorted(waits, key=lambda row: (row["waits"], row["trigger"]))
        ]
        yield _table(header, rows, numbers_from=2)
    load = measured.get("load", {})
    if "ours" in load:
        ours = load["ours"]
        title = f"{ours['waits']:,} waits on {ours['data_sources']:,} data sources, polled every {load['interval_s']} s"
        rows = [[name, _said(ours, column, LOAD)] for column, (name, _) in LOAD.items() if column in ours]
        latency = ours.get("latency_s", {})
        names = {"median": "from the end of a sync to the event, median", "p99": "the same, 99th percentile"}
        rows += [[name, f"{latency[each]:,.1f} s"] for each, name in names.items() if each in latency]
        yield _table([title, "measured"], rows, numbers_from=1)


def _said(row: Mapping[str, Any], column: str, columns: Mapping[str, tuple[str, str]]) -> str:
    value = row.get(column)
    return "" if value is None else columns[column][1].format(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int) -> str:
    rule = ["---" if column < numbers_from else "---:" for column in range(len(header))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rule, *rows)) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write what the first file holds into the second one."""
    source, target = map(Path, arguments)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(tables(json.loads(source.read_text(encoding="utf-8")))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
