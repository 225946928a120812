"""The parser that the reference of the command line is made from."""

from __future__ import annotations

import argparse

from airflow_provider_kendra.cli import make_parser


def parser() -> argparse.ArgumentParser:
    """Build the parser as a user meets it, with its examples marked as code, as reStructuredText wants it."""
    made = make_parser("python -m airflow_provider_kendra")
    (commands,) = (action for action in made._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands.choices.values():
        command.epilog = (command.epilog or "").replace("Example:\n", "Example::\n\n").replace("\nExit", "\n\nExit")
    return made
