"""Sync jobs: the phases that they go through, and what they count."""

from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import Any

from moto.core.common_models import BaseModel
from moto.moto_api._internal import mock_random

from .documents import ADD, Change, Document, DocumentStore
from .settings import Outcome

RUNNING = ("SYNCING", "SYNCING_INDEXING", "STOPPING")

_serial_numbers = count(1)


def next_serial() -> int:
    """Return a number higher than any before: the order in which things were made."""
    return next(_serial_numbers)


@dataclass
class Step:
    """After `seconds` in the previous status, the job enters `status`, or ends if it is `None`."""

    seconds: float | None
    status: str | None


class SyncJob(BaseModel):
    """
    One sync job. :meth:`settle` applies all steps that are due, each with the time when it was due.

    A crawl knows from the start what it will change. A CUSTOM batch changes documents as they are put and deleted.
    """

    def __init__(self, store: DocumentStore, *, at: float, crawls: bool, scheduled: bool = False) -> None:
        self.execution_id = str(mock_random.uuid4())
        self.serial = next_serial()
        self.start_time = self.since = at
        self.end_time: float | None = None
        self.status = "SYNCING"
        self.store = store
        self.crawls = crawls
        self.scheduled = scheduled
        self.unlisted_responses = 0
        self.outcome: Outcome | None = None
        self.final_metrics: dict[str, str] = {}
        #: In the order of the crawl, by document.
        self.changes: dict[str, Change] = {}
        self.stopped_after: int | None = None  # how many changes were done when it was stopped
        self.steps: list[Step] = []
        #: Events of the job's own log stream.
        self.messages: list[dict[str, Any]] = []
        self.is_logged = False

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING

    def plan(self, changes: list[Change], crawl_seconds: float | None, indexing_seconds: float | None) -> None:
        """Plan a crawl, and how long it and indexing take."""
        self.changes = {change.document.id: change for change in changes}
        self.steps = [Step(crawl_seconds, "SYNCING_INDEXING"), Step(indexing_seconds, None)]

    def fail(self, message: str, crawl_seconds: float | None) -> None:
        """Plan a crawl that fails."""
        self.outcome = Outcome("FAILED", error_code="InvalidRequest", error_message=message)
        self.steps = [Step(crawl_seconds, None)]

    def settle(self, now: float) -> None:
        """Apply what is due by now."""
        while self.steps and self.steps[0].seconds is not None:
            due = self.since + self.steps[0].seconds
            if due > now:
                break
            self.advance(due)

    def advance(self, at: float) -> None:
        status = self.steps.pop(0).status
        if status is None:
            self.end(at)
        else:
            self.status, self.since = status, at

    def stop(self, now: float, indexing_seconds: float | None) -> None:
        """End the batch of a CUSTOM source, abort any other sync; scheduled jobs cannot be stopped."""
        if self.scheduled or self.status == "STOPPING":
            return
        if self.crawls:
            self.stopped_after = self._done_count(now)
            self.status = "STOPPING"
        elif self.status == "SYNCING":
            self.status = "SYNCING_INDEXING"
        else:
            return
        self.since = now
        self.steps = [Step(indexing_seconds, None)]

    def end(self, at: float) -> None:
        status = self.outcome.status if self.outcome else self._natural_end()
        if status == "FAILED":
            self.stopped_after = 0 if self.crawls else None
        elif status == "ABORTED" and self.stopped_after is None:
            self.stopped_after = self._done_count(at)
        done = self.done(at)
        self.final_metrics = self._counted(at)
        if self.outcome and self.outcome.metrics is not None:
            self.final_metrics = {name: str(number) for name, number in self.outcome.metrics.items()}
        self.status, self.end_time, self.steps = status, at, []
        if self.crawls:
            for change in done:
                self.store.apply(change)
        self.changes = {change.document.id: change for change in done}

    def put(self, document: Document) -> None:
        """Add a document to a CUSTOM batch."""
        before = self.changes.get(document.id)
        change = self.store.compare(document)
        if before is not None and before.action == ADD and before.problem is None:
            change.action = ADD
        self.store.apply(change)
        self.changes[document.id] = change

    def delete(self, document_id: str) -> None:
        """Delete a document in a CUSTOM batch."""
        change = self.store.deletion(document_id)
        self.store.apply(change)
        self.changes[document_id] = change

    def done(self, now: float) -> list[Change]:
        """Return what has been changed by now."""
        return list(self.changes.values())[: self._done_count(now)]

    def _natural_end(self) -> str:
        if self.status == "STOPPING":
            return "ABORTED"
        return "INCOMPLETE" if any(change.problem for change in self.changes.values()) else "SUCCEEDED"

    def _done_count(self, now: float) -> int:
        if self.stopped_after is not None:
            return self.stopped_after
        if self.status != "SYNCING" or not self.crawls:
            return len(self.changes)
        seconds = self.steps[0].seconds if self.steps else None
        share = (now - self.since) / seconds if seconds else 0.0
        return int(len(self.changes) * min(1.0, max(0.0, share)))  # a test can have put the clock back

    def _counted(self, now: float) -> dict[str, str]:
        done = self.done(now)
        counts = Counter(change.counted_as for change in done)
        names = ("DocumentsAdded", "DocumentsModified", "DocumentsDeleted", "DocumentsFailed")
        metrics = {name: str(counts[name]) for name in names}
        if self.crawls:
            metrics["DocumentsScanned"] = str(sum(change.action != "DELETE" for change in done))
        return metrics

    def to_dict(self, now: float) -> dict[str, Any]:
        item: dict[str, Any] = {
            "ExecutionId": self.execution_id,
            "StartTime": self.start_time,
            "Status": self.status,
            "Metrics": self._counted(now) if self.is_running else self.final_metrics,
        }
        if self.end_time is not None:
            item["EndTime"] = self.end_time
            outcome = self.outcome or Outcome(self.status)
            errors = {
                "ErrorCode": outcome.error_code,
                "ErrorMessage": outcome.error_message,
                "DataSourceErrorCode": outcome.data_source_error_code,
            }
            item |= {name: value for name, value in errors.items() if value is not None}
        return item
