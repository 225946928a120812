"""
Takes the pictures of the report in README and docs, with made-up data and headless Chromium.

``python scripts/report_pictures.py`` writes them to docs/images; ``--page FILE --sources 50`` writes only the page.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from airflow_provider_kendra import _clock
from airflow_provider_kendra._waiting.history import Page
from airflow_provider_kendra.documents import DocumentFailures, FailedDocument
from airflow_provider_kendra.report import render_report
from airflow_provider_kendra.sync_job import SyncJob

NOW = datetime(2026, 3, 18, 9, 40, tzinfo=UTC)
IMAGES = Path(__file__).parent.parent / "docs" / "images"
DARK, LIGHT = 0, 1
PICTURES = {
    "report-light": (1200, 1000, LIGHT),
    "report-dark": (1200, 1000, DARK),
    "report-phone": (390, 1100, LIGHT),
}
DENIED = "The IAM role can't list the documents of the site. Check the permissions of the app registration."


@dataclass(frozen=True)
class Kind:
    """How the syncs of a made-up data source go: hours between them, minutes each takes, documents that change."""

    name: str
    every: float
    minutes: float
    changes: int
    silent: float = 0
    failing: int = 0
    incomplete: float = 0.0
    running: bool = False
    missing: int = 0
    status: str = "ACTIVE"
    error: str | None = None


KINDS = (
    Kind("Wiki", 6, 14, 60, running=True),
    Kind("SharePoint-policies", 6, 38, 25, silent=76),
    Kind("HR-handbook", 12, 6, 4),
    Kind("Support-articles", 4, 22, 140, incomplete=0.25, missing=17),
    Kind("Contracts-S3", 6, 17, 35, failing=5),
    Kind("Confluence-engineering", 6, 55, 320),
    Kind("Product-manuals", 24, 41, 12),
    Kind("ServiceNow-knowledge", 4, 9, 18, incomplete=0.05),
    Kind("Website", 3, 12, 45),
    Kind(
        "Google-Drive-sales",
        6,
        31,
        80,
        error="AccessDeniedException: not authorized to perform: kendra:ListDataSourceSyncJobs",
    ),
    Kind("Release-notes", 8, 3, 6),
    Kind("Jira-archive", 24, 0, 0, status="CREATING"),
)


class MadeUp:
    """Answers as the hook does, about an index that does not exist."""

    conn = SimpleNamespace(
        meta=SimpleNamespace(region_name="eu-central-1", endpoint_url="https://kendra.eu-central-1.amazonaws.com")
    )

    def __init__(self, sources: int, syncs: int) -> None:
        self.random = random.Random(7)
        self.index_id = str(UUID(int=self.random.getrandbits(128), version=4))
        self.kinds: dict[str, Kind] = {}
        for number in range(sources):
            kind = KINDS[number % len(KINDS)]
            suffix = f"-{number // len(KINDS) + 1}" if number >= len(KINDS) else ""
            self.kinds[self.new_id()] = Kind(**{**vars(kind), "name": kind.name + suffix})
        self.histories = {each: list(self.syncs_of(each, syncs)) for each in self.kinds}

    def new_id(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))

    def syncs_of(self, data_source_id: str, syncs: int) -> Iterator[SyncJob]:
        kind = self.kinds[data_source_id]
        start = NOW - timedelta(hours=kind.silent or self.random.uniform(0.4, kind.every), minutes=kind.minutes)
        if kind.running:
            yield self.sync(data_source_id, NOW - timedelta(minutes=47), "SYNCING_INDEXING")
            start = NOW - timedelta(hours=kind.every)
        for number in range(syncs):
            failed = number < kind.failing or self.random.random() < 0.03
            incomplete = self.random.random() < kind.incomplete
            yield self.sync(data_source_id, start, "FAILED" if failed else "INCOMPLETE" if incomplete else "SUCCEEDED")
            start -= timedelta(hours=kind.every, minutes=self.random.uniform(-3, 3))

    def sync(self, data_source_id: str, start: datetime, status: str) -> SyncJob:
        kind, chance = self.kinds[data_source_id], self.random
        share = 0 if status == "FAILED" else chance.lognormvariate(0, 0.4)
        minutes = 1.5 if status == "FAILED" else kind.minutes * chance.uniform(0.8, 1.35)
        return SyncJob(
            index_id=self.index_id,
            data_source_id=data_source_id,
            execution_id=self.new_id(),
            status=status,
            start_time=start,
            end_time=None if status == "SYNCING_INDEXING" else start + timedelta(minutes=minutes),
            documents_scanned=kind.changes * 90,
            documents_added=int(kind.changes * share * 0.4),
            documents_modified=int(kind.changes * share),
            documents_deleted=int(kind.changes * share * 0.15),
            documents_failed=chance.randint(2, 20) if status == "INCOMPLETE" else 0,
            error_code="InternalError" if status == "FAILED" else None,
            error_message=DENIED if status == "FAILED" else None,
        )

    def list_data_sources(self, index_id: str) -> Iterator[dict[str, Any]]:
        for data_source_id, kind in self.kinds.items():
            yield {"Id": data_source_id, "Name": kind.name, "Status": kind.status}

    def _iter_pages(self, index_id: str, data_source_id: str) -> Iterator[Page]:
        if error := self.kinds[data_source_id].error:
            raise RuntimeError(error)
        history = self.histories[data_source_id]
        for start in range(0, len(history), 10):
            yield Page(history[start : start + 10], is_last=start + 10 >= len(history))

    def get_missing_documents(self, index_id: str, data_source_id: str) -> DocumentFailures:
        missing = self.kinds[data_source_id].missing
        if not missing:
            return DocumentFailures()
        reasons = [
            {"stage": "crawl", "reason": "The document is larger than 50 MB.", "count": missing - 5},
            {"stage": "index", "reason": "The document has no text that can be extracted.", "count": 5},
        ]
        documents = [
            FailedDocument("s3://support/articles/setup-guide-v2.pdf", None, None, "crawl", reasons[0]["reason"]),
            FailedDocument("s3://support/articles/cabling.pdf", None, None, "crawl", reasons[0]["reason"]),
            FailedDocument("s3://support/scans/warranty-1998.pdf", None, None, "index", reasons[1]["reason"]),
        ]
        return DocumentFailures(documents, missing, None, reasons, True, "report", None)

    def describe_index(self, index_id: str) -> dict[str, Any]:
        return {
            "Name": "company-search",
            "Edition": "ENTERPRISE_EDITION",
            "RoleArn": "arn:aws:iam::123456789012:role/kendra-index",
            "IndexStatistics": {
                "TextDocumentStatistics": {"IndexedTextDocumentsCount": 71_840, "IndexedTextBytes": 9_402_371_002}
            },
        }


def make_page(sources: int, syncs: int) -> str:
    """Render the report of the made-up index."""
    _clock.utcnow = lambda: NOW
    hook = MadeUp(sources, syncs)
    return render_report(hook, hook.index_id, max_age=timedelta(hours=26), max_documents_failed=10, syncs=syncs)  # type: ignore[arg-type]


def take_picture(page: Path, picture: Path, width: int, height: int, scheme: int) -> None:
    """Take a picture of a page with headless Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("The pictures need Chromium or Google Chrome.")
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--blink-settings=preferredColorScheme={scheme}"]
    subprocess.run(
        [chromium, *options, f"--window-size={width},{height}", f"--screenshot={picture}", page.as_uri()],
        check=True,
        capture_output=True,
    )


def main() -> None:
    """Write the pictures, or the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="write only the page, to this file")
    parser.add_argument("--sources", type=int, default=7)
    parser.add_argument("--syncs", type=int, default=20)
    args = parser.parse_args()
    html = make_page(args.sources, args.syncs)
    if args.page:
        args.page.write_text(html)
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(html)
        for name, (width, height, scheme) in PICTURES.items():
            take_picture(page, IMAGES / f"{name}.png", width, height, scheme)


if __name__ == "__main__":
    main()
