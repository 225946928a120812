"""Prints the results of commands: fitted to a terminal's width, otherwise as Airflow's own commands do."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from airflow.cli.simple_table import AirflowConsole, SimpleTable
from airflow.utils import yaml
from airflow.utils.platform import is_tty
from rich.cells import cell_len
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from airflow_provider_kendra._text import LONGEST_MESSAGE, plain

Row = dict[str, Any]

NARROW = 100
"""On a terminal with fewer columns, each row of a table becomes a block of lines."""

_COLORS = {
    **dict.fromkeys(("SUCCEEDED", "fresh"), "green"),
    **dict.fromkeys(("INCOMPLETE", "ABORTED", "STOPPING", "aging", "unknown"), "yellow"),
    **dict.fromkeys(("FAILED", "stale"), "red"),
}
_SEPARATOR = 3  # " | "
_UNFOLDED = 1_000_000_000  # characters, more than any line has


class _Console(AirflowConsole):
    """Airflow's console, but a broken pipe raises an error instead of exiting, and lines of YAML are not folded."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    def print_as_yaml(self, data: Any) -> None:
        self.print(Syntax(yaml.dump(data, width=_UNFOLDED), "yaml", theme="ansi_dark"), soft_wrap=True)


def print_results(records: Sequence[Row], rows: Sequence[Row], lines: Sequence[Row], output: str) -> None:
    """
    Print the results of a command.

    :param records: For JSON and YAML.
    :param rows: For a plain table, or a table that is not printed on a terminal.
    :param lines: For a table on a terminal: the state first, then what identifies the row; the rest may be empty.
    :param output: ``json``, ``yaml``, ``plain`` or ``table``.
    """
    # Text from the service must not be read as markup.
    console = _Console(markup=False, emoji=False, highlight=False)
    if output == "json":
        console.print_as_json(list(records))  # type: ignore[arg-type]
    elif output == "yaml":
        console.print_as_yaml(list(records))
    elif output == "table" and lines and is_tty():
        _print_on_terminal(console, [_printable(line) for line in lines])
    else:
        console.print_as([_printable(row) for row in rows], output)


def _printable(row: Row) -> dict[str, str]:
    """Escape control characters, which texts of the service may contain."""
    return {key: "" if value is None else plain(value, LONGEST_MESSAGE) for key, value in row.items()}


def _print_on_terminal(console: Console, rows: list[dict[str, str]]) -> None:
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    rows = [{name: row[name] for name in names} for row in rows]
    if widths := column_widths(rows, console.width):
        console.print(_table(rows, widths))
    else:
        for block in _blocks(rows, console.width):
            console.print(block, soft_wrap=True)  # the terminal wraps what is too long, so it can still be copied


def column_widths(rows: Sequence[dict[str, str]], width: int) -> list[int] | None:
    """
    Return the widths of the columns of a table; None if it does not fit without breaking a word, such as an id.

    :param rows: The rows; all have the same keys.
    :param width: The width of the terminal.
    """
    cells = [[name, *(row[name] for row in rows)] for name in rows[0]]
    least = [max(cell_len(word) for cell in column for word in _words(cell)) for column in cells]
    most = [max(map(cell_len, column)) for column in cells]
    spare = width - sum(least) - _SEPARATOR * (len(cells) - 1)
    if width < NARROW or spare < 0:
        return None
    wanted = [high - low for low, high in zip(least, most, strict=True)]
    if sum(wanted) <= spare:
        return most
    return [low + spare * more // sum(wanted) for low, more in zip(least, wanted, strict=True)]


def _words(cell: str) -> list[str]:
    """Split a text into the words between which it may wrap; a short one, such as a time, stays whole."""
    return [cell] if len(cell) <= _UNBROKEN else cell.split() or [""]


_UNBROKEN = len("2026-01-31 12:00:00Z")


def _table(rows: Sequence[dict[str, str]], widths: Sequence[int]) -> SimpleTable:
    table = SimpleTable(show_header=True)
    for name, width in zip(rows[0], widths, strict=True):
        table.add_column(name.replace("_", " "), width=width)
    for row in rows:
        state, *others = row.values()
        table.add_row(_colored(state), *map(Text, others))
    return table


def _blocks(rows: Sequence[dict[str, str]], width: int) -> Iterator[Text]:
    """Format each row as a block of lines: the state and what identifies it, then one line for each other value."""
    for number, row in enumerate(rows):
        state, title, *others = row.items()
        block = Text("\n" if number else "").append_text(_colored(state[1])).append(f"  {title[1]}")
        label_width = max((len(name) for name, _ in others), default=0)
        for name, value in others:
            if value:
                block.append(f"\n  {name.replace('_', ' '):<{label_width}}  ", "dim")
                room = max(width - label_width - 4, 20)
                block.append(f"\n{' ' * (label_width + 4)}".join(wrap(value, room)))
        yield block


def wrap(text: str, width: int) -> list[str]:
    """
    Wrap a text between words; one that is too long is not broken, so that an id or a URL can be copied.

    :param text: The text.
    :param width: The width of a line.
    """
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _colored(state: str) -> Text:
    return Text(state, style=_COLORS.get(state, ""))
