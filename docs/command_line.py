"""The parser that the reference of the command line is made from."""

from __future__ import annotations

import argparse

from airflow_provider_kendra.cli import make_parser


def parser() -> argparse.ArgumentParser:
    """Build the parser as a user of ``python -m airflow_provider_kendra`` meets it."""
    return make_parser("python -m airflow_provider_kendra")
