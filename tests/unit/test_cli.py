"""The command line: its arguments, its help, and what it costs every call of `airflow`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_kendra import cli
from airflow_provider_kendra.get_provider_info import get_provider_info

INDEX = "01234567-89ab-cdef-0123-456789abcdef"
NAMES = ["jobs", "freshness", "start", "stop", "wait", "documents", "report", "demo"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45),
        ("90m", 5400),
        ("6h", 21600),
        ("2d", 172800),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("30", 30),
        (" 6H ", 21600),
    ],
)
def test_common_notations_of_a_duration_are_accepted(text: str, seconds: int):
    assert cli.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0", "-6h", "6 hours", "h", "6h!", "nan", "1e-9", "0.0000001s"])
def test_an_invalid_duration_is_rejected_with_an_example(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a duration: write 6h, 1h30m"):
        cli.duration(text)


@pytest.mark.parametrize("text", ["99999999d", "999999999d", "99999999999d", "1e10", "inf", "1e400", "9" * 400 + "d"])
@pytest.mark.parametrize("parse", [cli.duration, cli.moment, cli.interval])
def test_a_duration_out_of_range_is_rejected(parse: Callable[[str], object], text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="is too long: write 6h, 1h30m"):
        parse(text)


@given(seconds=st.floats(min_value=0))
def test_any_accepted_duration_from_now_is_a_valid_time(seconds: float):
    now = datetime(2026, 1, 31, tzinfo=UTC)
    try:
        length = cli.duration(repr(seconds))
    except argparse.ArgumentTypeError:
        return
    assert now - length < now < now + length


@pytest.mark.parametrize("text", ["0", "0.5", "999e-3", "-1"])
def test_the_time_between_polls_is_at_least_a_second(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match=r"too short|not a duration"):
        cli.interval(text)
    assert cli.interval("1s") == timedelta(seconds=1)


@pytest.mark.parametrize("columns", [1, 6, 7, 8])
def test_no_terminal_is_too_narrow(columns: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert cli.make_parser("kendra").parse_args(["jobs", "a", "b"]).index_id == "a"


def test_a_time_has_a_time_zone_or_says_how_long_ago_it_was():
    assert cli.moment("2026-01-31T06:00:00+00:00") == datetime(2026, 1, 31, 6, tzinfo=UTC)
    assert cli.moment("24h") == timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-01-31T06:00:00", "has no time zone: write 2026-01-31T06:00:00Z for UTC, or how long ago: 6h, 2d"),
        ("2026-01-01", "has no time zone: write 2026-01-01T00:00:00Z for UTC, or how long ago: 6h, 2d"),
        ("20260101", "has no time zone: write 2026-01-01T00:00:00Z for UTC, or how long ago: 6h, 2d"),
        ("20261301", "is not a time"),
        ("yesterday", "'yesterday' is not a time: write it as ISO 8601, 2026-01-31T06:00:00Z, or how long ago: 6h, 2d"),
    ],
)
def test_an_ambiguous_time_is_rejected_with_the_reason(text: str, reason: str):
    with pytest.raises(argparse.ArgumentTypeError, match=reason):
        cli.moment(text)


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+00:00",
        "0001-01-01T00:00:00+05:00",
        "1969-12-31T23:59:59+00:00",
        "9999-12-31T23:59:59-05:00",
    ],
)
def test_a_time_that_no_client_can_send_is_rejected(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="is out of range: write a time from 1970 on"):
        cli.moment(text)


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "", "²", "9999999999", "9" * 5000])
@pytest.mark.parametrize("parse", [cli.count, cli.positive])
def test_a_count_is_a_whole_number(parse: Callable[[str], object], text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
        parse(text)


def test_a_search_goes_back_ten_years_at_most():
    assert cli.lookback("3650d") == timedelta(days=3650)
    with pytest.raises(argparse.ArgumentTypeError, match="'3651d' is too long: at most 3650d"):
        cli.lookback("3651d")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("columns", [80, 100, 200])
def test_help_fits_the_terminal(
    columns: int, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit, match="0"):
        cli.make_parser("python -m airflow_provider_kendra").parse_args([name, "--help"])

    (group,) = cli.get_kendra_cli_commands()
    (command,) = (each for each in group.subcommands if each.name == name)
    own = capsys.readouterr().out.splitlines()
    in_airflow = [*command.description.splitlines(), *command.epilog.splitlines()]
    in_airflow += [" " * 24 + line for arg in command.args for line in arg.kwargs["help"].splitlines()]
    assert max(map(len, [*own, *in_airflow])) <= columns


def test_a_report_shows_one_sync_at_least():
    parser = cli.make_parser("kendra")
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["report", INDEX, "--output", "page.html", "--syncs", "0"])
    assert parser.parse_args(["report", INDEX, "--output", "page.html", "--syncs", "1"]).syncs == 1


def test_airflow_gets_a_group_with_every_command():
    (path,) = get_provider_info()["cli"]
    module, _, function = path.rpartition(".")

    (group,) = getattr(import_module(module), function)()

    assert group.name == "kendra"
    assert [command.name for command in group.subcommands] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_help_gives_an_example_that_parses_and_the_exit_statuses(name: str, capsys: pytest.CaptureFixture[str]):
    parser = cli.make_parser("airflow kendra")
    with pytest.raises(SystemExit, match="0"):
        parser.parse_args([name, "--help"])
    shown = capsys.readouterr().out

    (example,) = (line for line in shown.replace("\\\n", "").splitlines() if line.startswith("  airflow kendra "))
    arguments = example.partition("&&")[0].split()[2:]
    assert arguments[0] == name
    assert getattr(parser.parse_args(arguments), "index_id", INDEX) == INDEX
    assert "Exit status: 0" in shown
    assert "2 if the command is invalid, a request fails or the result is unknown" in " ".join(shown.split())
    assert shown.isascii(), "a terminal may know no other characters"


@pytest.mark.parametrize("command", cli.COMMANDS, ids=NAMES)
def test_both_entries_take_the_same_arguments(command: cli.ActionCommand):
    as_airflow_does = argparse.ArgumentParser()
    for arg in command.args:
        arg.add_to_parser(as_airflow_does)
    arguments = [INDEX, *(["source"] if command.name not in ("freshness", "report") else []), "--region", "eu-west-1"]
    arguments += ["--output", "page.html"] if command.name == "report" else ["--output", "json"]
    if command.name == "demo":
        arguments = ["--ui", "--port", "8081", "--directory", "here"]

    ours = vars(cli.make_parser("kendra").parse_args([command.name, *arguments]))

    assert ours.pop("func") is command.func
    assert ours == vars(as_airflow_does.parse_args(arguments))


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["jobs"], ["jobs", INDEX], ["report", INDEX]])
def test_an_incomplete_command_is_invalid(arguments: list[str]):
    with pytest.raises(SystemExit, match="2"):
        cli.make_parser("kendra").parse_args(arguments)


@pytest.mark.slow
def test_airflow_loads_only_the_definition_of_the_commands():
    code = """
import json, sys
import airflow.cli.cli_config
before = set(sys.modules)
import airflow_provider_kendra.cli
airflow_provider_kendra.cli.get_kendra_cli_commands()
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True, stdout=subprocess.PIPE)

    loaded = json.loads(done.stdout.splitlines()[-1])
    assert set(loaded) <= {
        "airflow_provider_kendra",
        "airflow_provider_kendra.cli",
        "airflow_provider_kendra._clock",
        "airflow_provider_kendra._demo",
        "airflow_provider_kendra._demo.options",
        "airflow_provider_kendra._text",
        "airflow_provider_kendra._validation",
    }
