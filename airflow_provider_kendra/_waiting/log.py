"""What a wait writes to its task's log: at each change, when errors begin, and every five minutes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from airflow_provider_kendra._text import LONGEST_MESSAGE, plain

if TYPE_CHECKING:
    from airflow_provider_kendra._decisions import HeldUp, Waiting
    from airflow_provider_kendra._validation import MeasuredBy

# How often a wait says that it still waits, in seconds.
PROGRESS_INTERVAL = 300.0


class PollErrors:
    """Sums up the polls that fail, for a log that says so when errors begin and then at its progress interval."""

    __slots__ = ("_failed", "_is_reported", "_kind", "_polls")

    def __init__(self) -> None:
        self._polls = self._failed = 0
        self._kind = ""
        self._is_reported = False

    def count(self, error: str | None) -> bool:
        """
        Count a poll, and say whether errors begin with it.

        :param error: Why it failed, None if it did not.
        """
        self._polls += 1
        if error is not None:
            self._failed += 1
            self._kind = _kind_of_error(error)
        return error is not None and self.is_new

    @property
    def is_new(self) -> bool:
        """Whether polls have failed since the last summary, which said nothing of it."""
        return self._failed > 0 and not self._is_reported

    def summary(self, which: str | None = None) -> str:
        """
        Sum up the polls since the last summary, as the first sentence of a line; empty if there is nothing to say.

        :param which: How to call those that failed. Default: by their number.
        """
        polls, failed, was_reported = self._polls, self._failed, self._is_reported
        self._polls, self._failed, self._is_reported = 0, 0, failed > 0
        if not failed:
            return "Polls succeed again. " if was_reported else ""
        if which is not None:
            words = f"{which} failed"
        else:
            words = f"{failed} of the last {polls} polls failed" if was_reported else "The last poll failed"
        return f"{words} ({self._kind}); retrying. "


_AWS_CODE = re.compile(r"An error occurred \(([^)]+)\)")


_LONGEST_KIND = 28


def _kind_of_error(error: str) -> str:
    """Cut the description of an error to its AWS error code, or to the exception's name."""
    code = _AWS_CODE.search(error)
    return (code[1] if code else error.partition(":")[0])[:_LONGEST_KIND]


class Standing(Protocol):
    """How a wait stands."""

    @property
    def is_known(self) -> bool:
        """Whether all that it is about has been polled."""

    @property
    def news(self) -> object:
        """What of it is worth a line in the log when it changes."""

    @property
    def error(self) -> str | None:
        """Why the last poll failed, if it did."""


S = TypeVar("S", bound=Standing)


class WaitLog(Generic[S]):
    """
    Says in a task's log how a wait stands: at each change, when errors begin, and every five minutes.

    :param text: Gives the line for what the last poll came to, the seconds that the wait has taken, the time, and the
        errors since the last line.
    :param now: When the wait begins.
    :param errors: Counts the polls that fail, where the poller does so; default None: :meth:`line` counts.
    """

    __slots__ = ("_errors", "_logged", "_logged_at", "_since", "_text")

    def __init__(
        self, text: Callable[[S, int, datetime, PollErrors], str], now: datetime, errors: PollErrors | None = None
    ) -> None:
        self._text = text
        self._errors = PollErrors() if errors is None else errors
        self._since = self._logged_at = now
        self._logged: object = self  # no news yet

    def due_in(self, now: datetime) -> float:
        """
        Give the seconds until a line is due that says that the wait goes on.

        :param now: The time.
        """
        return PROGRESS_INTERVAL - (now - self._logged_at).total_seconds()

    def line(self, standing: S, now: datetime) -> str | None:
        """
        Count a poll and give the line to log, or None if there is nothing new.

        :param standing: What the poll came to.
        :param now: The time of that poll.
        """
        self._errors.count(standing.error)
        return self.report(standing, now)

    def report(self, standing: S, now: datetime) -> str | None:
        """
        Give the line to log, or None if there is nothing new.

        :param standing: What the last poll came to.
        :param now: The time of that poll.
        """
        if now < self._since and standing.news is None:
            return None  # an answer from before the wait
        is_progress = self.due_in(now) <= 0
        is_news = standing.is_known and standing.news != self._logged
        if not is_news and not is_progress and not self._errors.is_new:
            return None
        self._logged, self._logged_at = standing.news, max(now, self._since)
        elapsed = max(int((now - self._since).total_seconds()), 0)
        return plain(self._text(standing, elapsed, now, self._errors), LONGEST_MESSAGE)


def sync_job_log(subject: str, now: datetime, errors: PollErrors | None = None) -> WaitLog[Waiting]:
    """
    Make the log of a wait for a sync job.

    :param subject: What is waited for, in words.
    :param now: When the wait begins.
    :param errors: As for :class:`WaitLog`.
    """

    def text(standing: Waiting, elapsed: int, now: datetime, errors: PollErrors) -> str:
        failed = errors.summary()
        if standing.job is None:
            return f"{failed}No sync job listed after {elapsed} s{'' if failed else f' (waiting for {subject})'}"
        counts = "" if failed else f": {standing.job.counts}"
        return f"{failed}{standing.job.status} after {elapsed} s{counts} (sync job {standing.job.execution_id})"

    return WaitLog(text, now, errors)


def freshness_log(measured_by: MeasuredBy, now: datetime, errors: PollErrors | None = None) -> WaitLog[HeldUp]:
    """
    Make the log of a wait for freshness, which names the data sources that are waited for.

    :param measured_by: Which of a job's times counts.
    :param now: When the wait begins.
    :param errors: As for :class:`WaitLog`.
    """

    def text(standing: HeldUp, elapsed: int, now: datetime, errors: PollErrors) -> str:
        sources = f"{len(standing.data_sources)} data source{'' if len(standing.data_sources) == 1 else 's'}"
        begin = f"{errors.summary('Polls')}{sources} not fresh after {elapsed} s: "
        return begin + standing.summary(measured_by, now, _LONGEST_LINE - len(begin))

    return WaitLog(text, now, errors)


_LONGEST_LINE = 190  # characters of a progress line, unless the first name alone takes more
