"""The names, options and help texts of ``airflow kendra`` and ``python -m airflow_provider_kendra``."""

from __future__ import annotations

import argparse
import copy
import re
import shutil
import textwrap
from datetime import UTC, datetime, timedelta

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ActionCommand,
    Arg,
    CLICommand,
    GroupCommand,
    lazy_load_command,
)

from airflow_provider_kendra._demo import options as demo
from airflow_provider_kendra._validation import MAX_SECONDS

# Every call of `airflow` imports this module, so the commands themselves are in `_cli_commands`.

_DIGITS = 9
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_LOOKBACK = timedelta(days=3650)


def duration(text: str) -> timedelta:
    """
    Parse a duration such as ``6h``, ``1h30m``, ``2d``, or a number of seconds.

    :param text: The argument.
    """
    seconds = _seconds(text)
    if seconds is not None and 0 < seconds <= MAX_SECONDS and timedelta(seconds=seconds):
        return timedelta(seconds=seconds)
    reason = "too long" if seconds is not None and seconds > MAX_SECONDS else "not a duration"
    raise argparse.ArgumentTypeError(
        f"{text!r} is {reason}: write 6h, 1h30m, 2d, 45s, or a number of seconds, at most {MAX_SECONDS:,.0f}"
    )


def _seconds(text: str) -> float | None:
    """Read a duration in seconds, of any size; None if the text is not one."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text.strip().lower())
    if parts and "".join(map("".join, parts)) == text.strip().lower():
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    try:
        return float(text)
    except ValueError:
        return None


def interval(text: str) -> timedelta:
    """
    Parse the time between two polls.

    :param text: The argument.
    """
    length = duration(text)
    if length < timedelta(seconds=1):
        raise argparse.ArgumentTypeError(f"{text!r} is too short: at least 1s")
    return length


def lookback(text: str) -> timedelta:
    """
    Parse how far back to search.

    :param text: The argument.
    """
    length = duration(text)
    if length > _LONGEST_LOOKBACK:
        raise argparse.ArgumentTypeError(f"{text!r} is too long: at most {_LONGEST_LOOKBACK.days}d")
    return length


def moment(text: str) -> datetime | timedelta:
    """
    Parse a time with a time zone, or how long ago it was.

    :param text: The argument.
    """
    is_date = re.fullmatch(r"\d{8}", text) is not None
    if _seconds(text) is not None and not is_date:
        return duration(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r:.80} is not a time: write it as ISO 8601, 2026-01-31T06:00:00Z, or how long ago: 6h, 2d"
        ) from None
    if time.utcoffset() is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} has no time zone: write {time.isoformat()}Z for UTC, or how long ago: 6h, 2d"
        )
    try:
        is_in_range = time.astimezone(UTC).year >= 1970
    except OverflowError:
        is_in_range = False
    if is_in_range:
        return time
    raise argparse.ArgumentTypeError(f"{text!r} is out of range: write a time from 1970 on, or how long ago: 6h, 2d")


def count(text: str) -> int:
    """
    Parse a whole number of 0 or more.

    :param text: The argument.
    """
    return _whole_number(text, at_least=0)


def positive(text: str) -> int:
    """
    Parse a whole number of 1 or more.

    :param text: The argument.
    """
    return _whole_number(text, at_least=1)


def share(text: str) -> float:
    """
    Parse a share from 0 to 1.

    :param text: The argument.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1
    if 0 <= value <= 1:
        return value
    raise argparse.ArgumentTypeError(f"{text!r:.40} is not a share from 0 to 1, such as 0.9")


def _whole_number(text: str, *, at_least: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) >= at_least:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"{text!r:.40} is not a whole number of {at_least} or more, with at most {_DIGITS} digits"
    )


_INDEX = Arg(("index_id",), metavar="INDEX", help="The id of the index")
_DATA_SOURCE = Arg(("data_source_id",), metavar="DATA_SOURCE", help="The id or the name of the data source")
_AWS = (
    Arg(
        ("--aws-conn-id",),
        metavar="CONN_ID",
        default="aws_default",
        help="The Airflow connection for AWS (default: aws_default); '' for the credentials that boto3 finds here",
    ),
    Arg(("--region",), metavar="REGION", help="The AWS region (default: that of the connection)"),
)
_OUTPUT = (ARG_OUTPUT, *_AWS, ARG_VERBOSE)
_MAX_DOCUMENTS_FAILED = Arg(
    ("--max-documents-failed",),
    metavar="N",
    type=count,
    help="Accept INCOMPLETE too, with up to N failed documents (default: only SUCCEEDED is accepted)",
)
_MAX_AGE = Arg(
    ("--max-age",),
    metavar="AGE",
    type=duration,
    help="How old the newest acceptable sync may be: 6h, 2d (default: any age)",
)
_SCHEDULE_GRACE = Arg(
    ("--schedule-grace",),
    metavar="TIME",
    type=duration,
    help="Judge each data source by its own schedule in Kendra, not by --max-age: it is stale this long after a "
    "scheduled run, unless an acceptable sync has started (or, with --measured-by end_time, ended) since that run: "
    "30m, 2h",
)
_WARN_AGE = Arg(
    ("--warn-age",),
    metavar="AGE",
    type=duration,
    help="A data source that is older than this, but not stale yet, counts as aging: 4h (default: never)",
)
_MEASURED_BY = Arg(
    ("--measured-by",),
    choices=("start_time", "end_time"),
    default="start_time",
    help="Which time of a sync counts (default: start_time, which is safer: a sync that began before the documents "
    "changed may not include them, whenever it ended)",
)
_TIMEOUT = Arg(
    ("--timeout",),
    metavar="TIME",
    type=duration,
    default=timedelta(days=1),
    help="The longest time to wait: 2h, 90m (default: 24h). The sync continues after that",
)
_POLL_INTERVAL = Arg(
    ("--poll-interval",),
    metavar="TIME",
    type=interval,
    default=timedelta(seconds=15),
    help="The time between polls, at least 1s (default: 15s)",
)

_EXIT_STATUS = """\
Exit status: 0 on success, {status_1}2 if the command is invalid, a request fails or the result is unknown, \
130 after Ctrl-C, 141 if the output is a closed pipe."""


def _command(
    name: str,
    help: str,
    args: tuple[Arg, ...],
    *,
    details: str,
    example: str,
    status_1_if: str = "",
    function: str = "",
) -> ActionCommand:
    status = _EXIT_STATUS.format(status_1=f"1 if {status_1_if}, " if status_1_if else "")
    return ActionCommand(
        name=name,
        help=help,
        description=f"{help}.\n\n{details}",
        epilog=f"Example:\n  airflow kendra {example}\n\n{status}",
        func=lazy_load_command(f"airflow_provider_kendra.{function or f'_cli_commands.{name}'}"),
        args=args,
    )


COMMANDS = (
    _command(
        "jobs",
        "List the sync jobs of a data source, newest first",
        (
            _INDEX,
            _DATA_SOURCE,
            Arg(("--status",), metavar="STATUS", help="Only jobs with this status: SUCCEEDED, FAILED, INCOMPLETE ..."),
            Arg(
                ("--since",),
                metavar="TIME",
                type=moment,
                help="Only jobs that started at or after this time: 24h (ago), or 2026-01-31T06:00:00Z",
            ),
            Arg(
                ("--limit",),
                metavar="N",
                type=count,
                default=20,
                help="At most N jobs, the newest (default: 20; 0: all)",
            ),
            *_OUTPUT,
        ),
        details="Shows when each job started, how long it took, how it ended, and its document counts.",
        example="jobs 01234567-89ab-cdef-0123-456789abcdef my-data-source --status FAILED --since 7d",
    ),
    _command(
        "freshness",
        "Show how fresh each data source of an index is",
        (_INDEX, _MAX_AGE, _SCHEDULE_GRACE, _WARN_AGE, _MAX_DOCUMENTS_FAILED, _MEASURED_BY, *_OUTPUT),
        details="Shows for each data source its newest acceptable sync and its age, the progress of a running sync, "
        "and the error of a later sync that was not acceptable. A data source without an acceptable sync is stale. "
        "One is unknown if its newest 200 syncs were not acceptable and an older one may be, and with "
        "--schedule-grace, if it has no schedule in Kendra. One that is CREATING, DELETING or FAILED is inactive, and "
        "does not change the exit status.",
        example="freshness 01234567-89ab-cdef-0123-456789abcdef --max-age 6h",
        status_1_if="a data source is stale",
    ),
    _command(
        "start",
        "Start a sync of a data source",
        (
            _INDEX,
            _DATA_SOURCE,
            Arg(("--wait",), action="store_true", help="Wait until the sync has ended"),
            _TIMEOUT,
            _MAX_DOCUMENTS_FAILED,
            _POLL_INTERVAL,
            *_OUTPUT,
        ),
        details="Starts exactly one: if the response is lost, the sync is looked up, not started again. Kendra runs "
        "one sync of a data source at a time. The sync of a CUSTOM data source runs until it is stopped, so it "
        "can't be started with --wait.",
        example="start 01234567-89ab-cdef-0123-456789abcdef my-data-source --wait --timeout 2h",
        status_1_if="a sync is already running, or if the sync fails or times out with --wait",
    ),
    _command(
        "stop",
        "Stop the running sync of a data source",
        (
            _INDEX,
            _DATA_SOURCE,
            Arg(
                ("--execution-id",),
                metavar="EXECUTION_ID",
                help="Stop only this sync job (default: whichever is running)",
            ),
            Arg(("--wait",), action="store_true", help="Wait until the sync has ended"),
            _TIMEOUT,
            _POLL_INTERVAL,
            *_OUTPUT,
        ),
        details="For a CUSTOM data source, this ends the batch: Kendra then indexes its documents. Succeeds if no "
        "sync is running.",
        example="stop 01234567-89ab-cdef-0123-456789abcdef my-data-source --wait",
        status_1_if="the sync has not ended in time",
    ),
    _command(
        "wait",
        "Wait for a sync of a data source",
        (
            _INDEX,
            _DATA_SOURCE,
            Arg(("execution_id",), metavar="EXECUTION_ID", nargs="?", help="The id of the sync job"),
            Arg(
                ("--started-after",),
                metavar="TIME",
                type=moment,
                help="Wait for any sync that started at or after this time: 1h (ago), or 2026-01-31T06:00:00Z",
            ),
            _TIMEOUT,
            _MAX_DOCUMENTS_FAILED,
            _POLL_INTERVAL,
            *_OUTPUT,
        ),
        details="Shows the progress on a terminal, each second; elsewhere it prints nothing until the end.",
        example="wait 01234567-89ab-cdef-0123-456789abcdef my-data-source --started-after 1h && ./publish",
        status_1_if="the sync failed or timed out",
    ),
    _command(
        "documents",
        "Show which documents failed in a sync, or are missing from the index",
        (
            _INDEX,
            _DATA_SOURCE,
            Arg(("--execution-id",), metavar="EXECUTION_ID", help="The sync job (default: the newest finished one)"),
            Arg(
                ("--missing",),
                action="store_true",
                help="Documents that failed in any earlier sync and have not been indexed or deleted since",
            ),
            Arg(
                ("--lookback",),
                metavar="TIME",
                type=lookback,
                help="With --missing: how far back to search: 7d (default: 30d)",
            ),
            Arg(
                ("--limit",),
                metavar="N",
                type=count,
                default=20,
                help="Show at most N documents (default: 20; 0: all). All are counted",
            ),
            Arg(
                ("--max-index-share",),
                metavar="SHARE",
                type=share,
                help="Also check how full the index is: exit with 1 above this share of its capacity, such as 0.9",
            ),
            *_OUTPUT,
        ),
        details="Reads Kendra's CloudWatch logs of the data source, which needs logs:FilterLogEvents. Kendra does not "
        "retry a failed document until it changes, so a later sync can succeed while documents are missing.",
        example="documents 01234567-89ab-cdef-0123-456789abcdef my-data-source --missing",
        status_1_if="documents failed or are missing, or if the index is fuller than --max-index-share",
    ),
    _command(
        "report",
        "Write an HTML page about the syncs of an index",
        (
            _INDEX,
            Arg(
                ("--output",),
                metavar="FILE.html",
                dest="file",
                required=True,
                help="The file to write; an existing file is replaced at the end. Symbolic links are rejected",
            ),
            _MAX_AGE,
            _SCHEDULE_GRACE,
            _WARN_AGE,
            _MAX_DOCUMENTS_FAILED,
            _MEASURED_BY,
            Arg(
                ("--syncs",),
                metavar="N",
                type=positive,
                default=20,
                help="Show the last N syncs of each data source (default: 20; at most 500)",
            ),
            Arg(
                ("--max-index-share",),
                metavar="SHARE",
                type=share,
                default=0.9,
                help="Warn above this share of the index's capacity (default: 0.9)",
            ),
            *_AWS,
            ARG_VERBOSE,
        ),
        details="Shows how fresh each data source is, the running syncs, and charts of the last syncs, in one HTML "
        "file without scripts.",
        example="report 01234567-89ab-cdef-0123-456789abcdef --max-age 6h --output kendra.html",
    ),
    _command(
        "demo",
        demo.HELP,
        tuple(Arg((flag,), **keywords) for flag, keywords in demo.OPTIONS),
        details=demo.DETAILS,
        example="demo",
        status_1_if="the demo fails or the extra 'local' is not installed",
        function="_demo.command.run_in_airflow",
    ),
)


def get_kendra_cli_commands() -> list[CLICommand]:
    """Return the commands that Airflow adds to its own (Airflow 3.2+), with help texts for the terminal's width."""
    return [
        GroupCommand(
            name="kendra",
            help=_HELP,
            subcommands=_wrapped_commands("airflow kendra"),
        )
    ]


_HELP = "List, start, stop and wait for syncs of Amazon Kendra data sources"
_WIDEST_HELP = 120
_HELP_COLUMN = 26  # where argparse puts the help of options, and a margin


def _wrapped_commands(prog: str) -> tuple[ActionCommand, ...]:
    width = max(min(shutil.get_terminal_size().columns, _WIDEST_HELP) - _HELP_COLUMN, _HELP_COLUMN)
    return tuple(_wrapped(command, width, prog) for command in COMMANDS)


def _wrapped(command: ActionCommand, width: int, prog: str) -> ActionCommand:
    """Wrap the help texts of a command, which Airflow shows as they are."""
    return command._replace(
        description=_wrap(command.description or "", width + _HELP_COLUMN - 2),
        epilog=_wrap((command.epilog or "").replace("airflow kendra", prog), width + _HELP_COLUMN - 2),
        args=tuple(_with_wrapped_help(arg, width) for arg in command.args),
    )


def _with_wrapped_help(arg: Arg, width: int) -> Arg:
    wrapped = copy.copy(arg)
    wrapped.kwargs = {**arg.kwargs, "help": _wrap(str(arg.kwargs["help"]), width)}
    return wrapped


def _wrap(text: str, width: int) -> str:
    """Wrap each line; an indented one is an example, which a shell must still understand."""
    return "\n".join(
        _wrapped_example(line, width) if line.startswith(" ") else _fill(line, width) for line in text.splitlines()
    )


def _fill(line: str, width: int) -> str:
    return textwrap.fill(line, width, break_on_hyphens=False, break_long_words=False)


def _wrapped_example(line: str, width: int) -> str:
    parts = textwrap.wrap(line, width - 2, subsequent_indent="      ", break_on_hyphens=False, break_long_words=False)
    return " \\\n".join(parts)


def _usage(prog: str, command: ActionCommand) -> str:
    """Name what a command needs; argparse would list every option, indented past the long program name."""
    names = {arg: arg.kwargs.get("metavar", "") for arg in command.args}
    options = [f"{arg.flags[0]} {name}" for arg, name in names.items() if arg.kwargs.get("required")]
    arguments = [
        f"[{name}]" if arg.kwargs.get("nargs") == "?" else name
        for arg, name in names.items()
        if not arg.flags[0].startswith("-")
    ]
    usage = " ".join([prog, command.name, "[options]", *options, *arguments])
    return _fill(usage, max(shutil.get_terminal_size().columns - len("usage: "), 20))


def make_parser(prog: str) -> argparse.ArgumentParser:
    """
    Build a parser of the same commands for use without ``airflow``.

    :param prog: The name of the program in help texts.
    """
    parser = argparse.ArgumentParser(prog=prog, description=f"{_HELP}.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _wrapped_commands(prog):
        added = commands.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            epilog=command.epilog,
            usage=_usage(prog, command),
            formatter_class=argparse.RawTextHelpFormatter,
        )
        for arg in command.args:
            arg.add_to_parser(added)
        added.set_defaults(func=command.func)
    return parser
