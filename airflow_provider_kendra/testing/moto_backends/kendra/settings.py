"""What a test can set, with the controls of the local Kendra: times, quotas, the clock, outcomes, failing documents."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .documents import Document, Problem


@dataclass
class Settings:
    """Settings of all indexes. A duration of `None` lasts until a test advances the sync."""

    crawl_seconds: float | None = 2.0
    indexing_seconds: float | None = 1.0
    creating_seconds: float = 0.0
    updating_seconds: float = 0.0
    log_delay: float = 0.0
    unlisted_responses: int = 0
    has_empty_first_page: bool = False
    schedules_since: float | None = None  # when schedules began to start syncs; None: they do not
    max_indexes: int | None = None
    max_data_sources: int | None = None
    documents_per_unit: int | None = None
    text_bytes_per_unit: int | None = None
    clock_offset: float = 0.0
    frozen_at: float | None = None

    def now(self) -> float:
        """Return the time as Kendra reports it, to the millisecond."""
        return round(time.time() + self.clock_offset if self.frozen_at is None else self.frozen_at, 3)


@dataclass
class Outcome:
    """The outcome that a test has set for a sync job."""

    status: str
    metrics: dict[str, int | str] | None = None
    error_code: str | None = None
    error_message: str | None = None
    data_source_error_code: str | None = None


@dataclass
class FailingDocument:
    """The problem that a test gives to a document, and how many more times it occurs."""

    times: float
    problem: Problem


@dataclass
class Script:
    """What a test has set for one data source."""

    next_outcome: Outcome | None = None
    status: str | None = None
    documents: list[Document] | None = None
    failing: dict[str, FailingDocument] = field(default_factory=dict)
    histories: list[list[dict[str, Any]]] = field(default_factory=list)
    list_requests: int = 0

    def take_outcome(self) -> Outcome | None:
        """Return the outcome of the next job, once."""
        outcome, self.next_outcome = self.next_outcome, None
        return outcome

    def problem_of(self, document_id: str, *, is_put: bool) -> Problem | None:
        """Return the problem that a test has set for a document, and count that it occurred."""
        failing = self.failing.get(document_id)
        if failing is None or failing.times < 1 or (failing.problem.stage == "put") != is_put:
            return None
        failing.times -= 1
        return failing.problem

    def history(self, after: list[float] | None) -> Iterable[tuple[list[float], dict[str, Any]]]:
        """Yield items with ascending keys: of the next history or, after a page, of the history that page was from."""
        self.list_requests += after is None
        number = max(1, min(int(after[0]) if after else self.list_requests, len(self.histories)))
        history = self.histories[number - 1]
        first = max(0, int(after[1]) + 1) if after else 0
        return (([float(number), place], history[place]) for place in range(first, len(history)))
