"""The options of the command `demo`, for Airflow's parser and for one that does not import Airflow."""

from __future__ import annotations

import argparse
from typing import Any

HELP = "Run an example DAG in a real Airflow against the local Kendra"
DETAILS = (
    "Puts documents into S3, syncs them into Kendra, checks the metrics, publishes, and asks the index a question. "
    "Needs the extra 'local' and no AWS account. Airflow runs in a directory of its own and ignores your own "
    "Airflow and AWS settings and credentials."
)


def port(text: str) -> int:
    """
    Parse the number of a port.

    :param text: The argument.
    """
    if text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r:.40} is not a port: write a number from 1 to 65535")


OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--directory",
        {
            "metavar": "DIR",
            "help": "Where Airflow lives, with the example DAGs and the files of the tutorial; it is kept, and can be "
            "used again (default: a temporary directory, which is removed unless the demo fails)",
        },
    ),
    ("--ui", {"action": "store_true", "help": "Show Airflow's UI with all example DAGs, until Ctrl-C"}),
    (
        "--port",
        {"metavar": "PORT", "type": port, "default": 8080, "help": "The port of the UI on localhost (default: 8080)"},
    ),
)
