"""What a wait writes to its task's log: at each change, when errors begin, and every five minutes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from airflow_provider_kendra._clock import in_words
from airflow_provider_kendra._text import LONGEST_MESSAGE, REJECTED, plain

if TYPE_CHECKING:
    from airflow_provider_kendra._decisions import Blocked, Waiting
    from airflow_provider_kendra._validation import MeasuredBy

# Seconds between progress lines.
PROGRESS_INTERVAL = 300.0


class PollErrors:
    """Summarises failed polls for the log: once when they begin, then at each progress interval."""

    __slots__ = ("_failed", "_is_reported", "_kind", "_polls")

    def __init__(self) -> None:
        self._polls = self._failed = 0
        self._kind = ""
        self._is_reported = False

    def count(self, error: str | None) -> None:
        """
        Count a poll.

        :param error: Why it failed, or None.
        """
        self._polls += 1
        if error is not None:
            self._failed += 1
            self._kind = _kind_of_error(error)

    @property
    def is_new(self) -> bool:
        """Whether polls have begun to fail and no summary has reported it yet."""
        return self._failed > 0 and not self._is_reported

    def summary(self, which: str | None = None) -> str:
        """
        Summarise the polls since the last summary in one sentence; empty if there is nothing to report.

        :param which: The subject of the sentence. Default: the number of failed polls.
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


_LONGEST_KIND = 24


def _kind_of_error(error: str) -> str:
    """Reduce the description of an error to its AWS error code or exception name."""
    return error.removeprefix(REJECTED).partition(":")[0][:_LONGEST_KIND]


class WaitState(Protocol):
    """The state of a wait."""

    @property
    def is_known(self) -> bool:
        """Whether every data source has been polled."""

    @property
    def log_key(self) -> object:
        """The part whose changes are logged."""

    @property
    def error(self) -> str | None:
        """Why the last poll failed, if it did."""


S = TypeVar("S", bound=WaitState)


class WaitLog(Generic[S]):
    """
    Formats the progress of a wait: at each change, when errors begin, and every five minutes.

    :param text: Formats a line from the state, the elapsed seconds, the time, and the errors since the last line.
    :param now: When the wait begins.
    :param errors: The error counter of the poller. Default None: :meth:`line` counts errors itself.
    """

    __slots__ = ("_errors", "_logged", "_logged_at", "_since", "_text")

    def __init__(
        self, text: Callable[[S, int, datetime, PollErrors], str], now: datetime, errors: PollErrors | None = None
    ) -> None:
        self._text = text
        self._errors = PollErrors() if errors is None else errors
        self._since = self._logged_at = now
        self._logged: object = self  # nothing logged yet

    def due_in(self, now: datetime) -> float:
        """
        Return the seconds until the next progress line.

        :param now: The time.
        """
        return PROGRESS_INTERVAL - (now - self._logged_at).total_seconds()

    def line(self, state: S, now: datetime) -> str | None:
        """
        Count a poll; return the line to log, or None if nothing changed.

        :param state: The state after the poll.
        :param now: The time of that poll.
        """
        self._errors.count(state.error)
        return self.report(state, now)

    def report(self, state: S, now: datetime) -> str | None:
        """
        Return the line to log, or None if nothing changed.

        :param state: The state after the last poll.
        :param now: The time of that poll.
        """
        if now < self._since and state.log_key is None:
            return None  # a response from before the wait
        is_progress = self.due_in(now) <= 0
        is_change = state.is_known and state.log_key != self._logged
        if not is_change and not is_progress and not self._errors.is_new:
            return None
        self._logged, self._logged_at = state.log_key, max(now, self._since)
        elapsed = max(int((now - self._since).total_seconds()), 0)
        return plain(self._text(state, elapsed, now, self._errors), LONGEST_MESSAGE)


def sync_job_log(subject: str, now: datetime, errors: PollErrors | None = None) -> WaitLog[Waiting]:
    """
    Create the log of a wait for a sync job.

    :param subject: What is waited for, in words.
    :param now: When the wait begins.
    :param errors: As for :class:`WaitLog`.
    """

    def text(state: Waiting, elapsed: int, now: datetime, errors: PollErrors) -> str:
        failed = errors.summary()
        if state.job is None:
            return (
                f"{failed}No sync job listed after {in_words(elapsed)}{'' if failed else f' (waiting for {subject})'}"
            )
        counts = "" if failed else f": {state.job.counts}"
        return f"{failed}{state.job.status} after {in_words(elapsed)}{counts} (sync job {state.job.execution_id})"

    return WaitLog(text, now, errors)


def freshness_log(measured_by: MeasuredBy, now: datetime, errors: PollErrors | None = None) -> WaitLog[Blocked]:
    """
    Create the log of a freshness wait, which names the data sources that are not fresh.

    :param measured_by: Which of a job's times counts.
    :param now: When the wait begins.
    :param errors: As for :class:`WaitLog`.
    """

    def text(state: Blocked, elapsed: int, now: datetime, errors: PollErrors) -> str:
        sources = f"{len(state.data_sources)} data source{'' if len(state.data_sources) == 1 else 's'}"
        begin = f"{errors.summary('Polls')}{sources} not fresh after {in_words(elapsed)}: "
        return begin + state.summary(measured_by, now, _LONGEST_LINE - len(begin))

    return WaitLog(text, now, errors)


_LONGEST_LINE = 190  # characters of a progress line, unless the first name alone takes more
