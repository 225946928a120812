"""The progress line of a wait: it ticks, fits the terminal, and says what the last poll showed."""

from __future__ import annotations

import io
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_kendra._decisions import Waiting
from airflow_provider_kendra._progress import Progress, describe
from airflow_provider_kendra.sync_job import SyncJob, SyncJobStatus

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
JOB = SyncJob(index_id="index", data_source_id="source", execution_id="mine", status=SyncJobStatus.SYNCING)


class Terminal(io.StringIO):
    """A terminal of a width that can change."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("the width is that of COLUMNS")

    @property
    def lines(self) -> list[str]:
        return self.getvalue().split("\r\x1b[J")[1:]


class Ticks:
    """Stands in for the event that ends the ticking: lets some ticks pass, each of which moves the clock."""

    def __init__(self, count: int) -> None:
        self.left, self.seconds, self.now = count, 0.0, BEGIN
        self.are_over = threading.Event()

    def utcnow(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> bool:
        if self.left == 0:
            self.are_over.set()
            return True
        self.left -= 1
        self.now += timedelta(seconds=seconds)
        return False

    def set(self) -> None:
        self.are_over.wait()


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    """Three ticks of the only clock."""
    ticks = Ticks(3)
    monkeypatch.setattr("airflow_provider_kendra._clock.utcnow", ticks.utcnow)
    stand_in = SimpleNamespace(Event=lambda: ticks, Lock=threading.Lock, Thread=threading.Thread)
    monkeypatch.setattr("airflow_provider_kendra._progress.threading", stand_in)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    return ticks


def test_the_line_ticks_each_second_without_a_poll_and_is_cleared_at_the_end(ticks: Ticks):
    with Progress(terminal := Terminal()):
        pass

    text = "Waiting for Kendra's response"
    assert terminal.lines == [*(f"0:00:0{second} {text}" for second in range(4)), ""]


def test_the_line_goes_on_after_the_terminal_is_gone(ticks: Ticks):
    class Gone(Terminal):
        def flush(self) -> None:
            if ticks.left < 3:
                ticks.are_over.set()
                raise BrokenPipeError

    with Progress(Gone()) as progress:
        progress.update(Waiting())
    assert not progress._thread.is_alive()


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_overwrite_a_line_shows_none(term: str, ticks: Ticks, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", term)
    ticks.are_over.set()
    with Progress(terminal := Terminal()) as progress:
        progress.update(Waiting(JOB))

    assert terminal.getvalue() == ""


def test_nothing_is_shown_in_a_pipe(ticks: Ticks):
    ticks.are_over.set()
    with Progress(pipe := io.StringIO()) as progress:
        progress.update(Waiting(JOB))

    assert pipe.getvalue() == ""


def test_a_line_that_a_narrower_terminal_shows_on_several_rows_is_cleared_on_all_of_them(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch
):
    progress = Progress(terminal := Terminal())
    progress.update(Waiting(JOB))
    monkeypatch.setenv("COLUMNS", "20")
    progress.update(Waiting(JOB))

    assert terminal.getvalue() == (
        "\r\x1b[J0:00:00 SYNCING: no documents yet (sync job mine)\x1b[2A\r\x1b[J0:00:00 SYNCING:…"
    )


def test_wide_characters_count_twice(ticks: Ticks, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    Progress(terminal := Terminal()).update(Waiting(error="\u65e5" * 30))

    assert terminal.lines == ["0:00:00 No sync job listed yet, and the last poll failed: " + "\u65e5" * 9 + "…"]


def test_a_clock_that_is_set_back_shows_no_negative_time(ticks: Ticks):
    progress = Progress(terminal := Terminal())
    ticks.now -= timedelta(hours=1)
    progress.update(Waiting())

    assert terminal.lines == ["0:00:00 No sync job listed yet"]


def test_control_characters_are_escaped(ticks: Ticks):
    Progress(terminal := Terminal()).update(Waiting(error="\x1b[2J"))

    assert terminal.lines[0].isprintable()


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (None, "Waiting for Kendra's response"),
        (Waiting(), "No sync job listed yet"),
        (Waiting(error="Throttled"), "No sync job listed yet, and the last poll failed: Throttled"),
        (Waiting(JOB), "SYNCING: no documents yet (sync job mine)"),
        (Waiting(JOB, error="Throttled"), "SYNCING: the last poll failed: Throttled (sync job mine)"),
    ],
)
def test_the_status_comes_first(state: Waiting | None, text: str):
    assert describe(state) == text
