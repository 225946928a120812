"""The command line: what it takes, what it says about itself, and what it costs whoever calls `airflow`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest

from airflow_provider_kendra import cli
from airflow_provider_kendra.get_provider_info import get_provider_info

INDEX = "01234567-89ab-cdef-0123-456789abcdef"
NAMES = ["jobs", "freshness", "start", "stop", "wait", "report"]


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
def test_a_duration_is_taken_as_people_write_it(text: str, seconds: int):
    assert cli.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0", "-6h", "6 hours", "h", "6h!", "nan", "inf", "1e400", "99999999999d"])
def test_what_is_no_duration_is_refused_with_an_example(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="write 6h, 1h30m"):
        cli.duration(text)


def test_a_time_is_a_time_with_a_zone_or_how_long_ago_it_was():
    assert cli.moment("2026-01-31T06:00:00+00:00") == datetime(2026, 1, 31, 6, tzinfo=UTC)
    assert cli.moment("24h") == timedelta(days=1)


@pytest.mark.parametrize(("text", "reason"), [("2026-01-31T06:00:00", "no time zone"), ("yesterday", "ISO 8601")])
def test_a_time_that_can_mean_different_times_is_refused_with_the_reason(text: str, reason: str):
    with pytest.raises(argparse.ArgumentTypeError, match=reason):
        cli.moment(text)


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "", "²"])
def test_a_count_is_a_whole_number(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
        cli.count(text)


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

    (example,) = (line for line in shown.splitlines() if line.startswith("  airflow kendra "))
    arguments = example.partition("&&")[0].split()[2:]
    assert arguments[0] == name
    assert parser.parse_args(arguments).index_id == INDEX
    assert "Exit status: 0" in shown
    assert "2 if the command is wrong or AWS does not answer it" in shown


@pytest.mark.parametrize("command", cli.COMMANDS, ids=NAMES)
def test_both_entries_take_the_same_arguments(command: cli.ActionCommand):
    as_airflow_does = argparse.ArgumentParser()
    for arg in command.args:
        arg.add_to_parser(as_airflow_does)
    arguments = [INDEX, *(["source"] if command.name not in ("freshness", "report") else []), "--region", "eu-west-1"]
    arguments += ["--output", "page.html"] if command.name == "report" else ["--output", "json"]

    ours = vars(cli.make_parser("kendra").parse_args([command.name, *arguments]))

    assert ours.pop("func") is command.func
    assert ours == vars(as_airflow_does.parse_args(arguments))


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["jobs"], ["jobs", INDEX], ["report", INDEX]])
def test_an_incomplete_command_is_a_wrong_one(arguments: list[str]):
    with pytest.raises(SystemExit, match="2"):
        cli.make_parser("kendra").parse_args(arguments)


def test_airflow_loads_nothing_more_for_these_commands_than_their_definition():
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
        "airflow_provider_kendra.validation",
    }
