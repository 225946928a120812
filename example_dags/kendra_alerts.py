"""
Where alerts go: a notifier and a function that several DAG files import.

A shared module in the DAGs folder. In place of ``LogNotifier``, use the notifier of your chat or pager, such as
``SlackNotifier``.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.notifier import BaseNotifier


class LogNotifier(BaseNotifier):
    """Writes a message to a log."""

    template_fields = ("message",)

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def notify(self, context: Any) -> None:
        """Write the message."""
        print(f"ALERT: {self.message}")


def run_is_late(**kwargs: Any) -> None:
    """Say that a DAG run missed its deadline; Airflow passes the run in ``context``."""
    print(f"ALERT: {kwargs['context']['dag_run']['dag_run_id']} is late")
