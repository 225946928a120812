"""The page about an index: complete in itself, true, and not to be broken by what the service sends."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from airflow_provider_kendra._waiting.history import Page
from airflow_provider_kendra.documents import DocumentFailures, FailedDocument, IndexCapacity
from airflow_provider_kendra.exceptions import KendraError
from airflow_provider_kendra.report import render_report
from airflow_provider_kendra.sync_job import TERMINAL_STATUSES, SyncJob

INDEX = "01234567-89ab-cdef-0123-456789abcdef"
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NASTY = """</style></svg><script>alert("x")</script><img src='//evil' onerror="y">&amp;\x00\x1b[31m\u202e"""

pytest.importorskip("pygal")


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_kendra._clock.utcnow", lambda: NOW)


def job(hours: float, status: str = "SUCCEEDED", **more: Any) -> SyncJob:
    started = NOW - timedelta(hours=hours)
    ended = started + timedelta(minutes=30) if status in TERMINAL_STATUSES else None
    fields = {"start_time": started, "end_time": ended, "execution_id": f"job-{hours}", **more}
    return SyncJob(index_id=INDEX, data_source_id="source", status=status, **fields)


class Service:
    """Answers as the hook does, with whatever a test wants the service to have sent."""

    def __init__(self, **histories: list[SyncJob] | Exception) -> None:
        self.histories = histories
        self.summaries = [{"Id": name, "Name": f"name of {name}", "Status": "ACTIVE"} for name in histories]
        self.pages_read = 0
        self.missing: DocumentFailures | Exception = DocumentFailures()
        self.capacity: IndexCapacity | Exception = IndexCapacity("DEVELOPER_EDITION", 0, 5000, 10_000, 1, 100)

    def get_missing_documents(self, index_id: str, data_source_id: str) -> DocumentFailures:
        if isinstance(self.missing, Exception):
            raise self.missing
        return self.missing

    def get_index_capacity(self, index_id: str) -> IndexCapacity:
        if isinstance(self.capacity, Exception):
            raise self.capacity
        return self.capacity

    def list_data_sources(self, index_id: str) -> Iterator[dict[str, Any]]:
        yield from self.summaries

    def _iter_pages(self, index_id: str, data_source_id: str) -> Iterator[Page]:
        history = self.histories[data_source_id]
        if isinstance(history, Exception):
            raise history
        for start in range(0, max(len(history), 1), 10):
            self.pages_read += 1
            yield Page(history[start : start + 10], is_last=start + 10 >= len(history))


class Shown(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.text += data

    def with_class(self, name: str) -> int:
        return sum(name in (attributes.get("class") or "").split() for _, attributes in self.elements)

    def count(self, tag: str) -> int:
        return sum(each == tag for each, _ in self.elements)


def shown(service: Service, **options: Any) -> Shown:
    return Shown(render_report(service, INDEX, **options))  # type: ignore[arg-type]


def test_what_the_service_sends_is_shown_as_text_and_never_as_markup():
    fields = {"execution_id": NASTY, "error_code": NASTY, "error_message": NASTY, "data_source_error_code": NASTY}
    service = Service(
        source=[job(1, "FAILED", **fields), job(2, NASTY, execution_id=NASTY), job(3)], other=ValueError(NASTY)
    )
    service.summaries[0]["Name"] = service.summaries[1]["Name"] = NASTY
    service.summaries.append({"Id": NASTY, "Name": NASTY, "Status": NASTY})
    harmless = shown(
        Service(source=[job(1, "FAILED", error_code="x"), job(2, "SYNCING"), job(3)], other=ValueError("x"))
    )

    page = shown(service)

    assert page.count("script") == page.count("img") == 0
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in harmless.elements}
    assert page.text.count("""<script>alert("x")</script><img src='//evil' onerror="y">&amp;""") >= 8
    assert not set(page.text) & {"\x00", "\x1b", "\u202e"}


def test_the_page_needs_neither_network_nor_script():
    page = render_report(Service(source=[job(1), job(2, "FAILED")]), INDEX)  # type: ignore[arg-type]

    elements = Shown(page).elements
    assert not {tag for tag, _ in elements} & {"script", "link", "img", "iframe", "object", "base", "image", "use"}
    references = [value for _, attributes in elements for name, value in attributes.items() if name in ("src", "href")]
    assert references == []
    assert "@import" not in page
    assert "url(" not in page.replace("url(#", "")
    # … and could use neither.
    policy = next(attributes["content"] for _, attributes in elements if "http-equiv" in attributes)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_it_follows_the_colours_of_the_reader_and_the_width_of_a_phone():
    page = render_report(Service(source=[job(1)]), INDEX)  # type: ignore[arg-type]

    assert "@media (prefers-color-scheme:dark)" in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert [attributes for tag, attributes in Shown(page).elements if tag == "svg" and "viewbox" in attributes]


def test_an_outcome_is_told_by_a_symbol_besides_its_colour():
    statuses = ["SYNCING", "SUCCEEDED", "INCOMPLETE", "FAILED", "ABORTED"]

    page = render_report(Service(source=[job(n, status) for n, status in enumerate(statuses)]), INDEX)  # type: ignore[arg-type]

    for symbol, name in zip("…✓!✕-", ["running", "succeeded", "incomplete", "failed", "aborted"], strict=True):
        assert f'<span class="key {name}">{symbol}</span>' in page
        assert page.count(f">{symbol}</text>") == 2  # under a bar of each chart


def test_each_sync_has_a_bar_for_its_duration_and_one_for_each_count_of_documents():
    counts = {"documents_added": 5, "documents_modified": 3, "documents_deleted": 0, "documents_failed": None}

    page = shown(Service(source=[job(1, **counts), job(2, **counts), job(3, "FAILED")]))

    assert page.count("svg") == 1 + 2  # the patterns, and two charts
    assert page.with_class("bar") == 3 + 2 * 2


def test_the_numbers_of_the_charts_are_in_a_table_too():
    page = shown(Service(source=[job(1, documents_added=12345, documents_failed=0)]))

    row = page.text.partition("Sync job, error")[2]
    assert "SUCCEEDED30 min12,3450job-1" in row


def test_a_running_sync_shows_how_far_it_is_and_how_long_it_has_taken():
    page = shown(Service(source=[job(1.5, "SYNCING", documents_added=7), job(5)]))

    assert "SYNCING (7 added) for 1 h 30 min" in page.text
    assert "1 syncing now" in page.text


def test_a_data_source_is_fresh_or_stale_by_the_age_that_is_asked_for():
    service = Service(young=[job(1)], old=[job(7)])

    page = shown(service, max_age=timedelta(hours=6))

    assert "1 fresh" in page.text
    assert "1 stale" in page.text
    assert "started 7 h ago" in page.text


def test_a_tolerated_incomplete_sync_counts():
    service = Service(source=[job(1, "INCOMPLETE", documents_failed=3)])

    assert "1 stale" in shown(service).text
    assert "1 fresh" in shown(service, max_documents_failed=3).text


def test_an_index_without_data_sources_is_a_page_that_says_so():
    assert "This index has no data sources." in shown(Service()).text


def test_a_data_source_that_was_never_synced_says_so_and_has_no_chart():
    page = shown(Service(source=[]))

    assert "It has never been synced." in page.text
    assert page.with_class("chart") == 0


def test_a_data_source_that_cannot_be_synced_is_told_by_its_status():
    service = Service(source=[job(1)])
    service.summaries[0]["Status"] = "CREATING"

    assert "Its status is CREATING" in shown(service).text


def test_a_data_source_that_cannot_be_read_says_why_and_leaves_the_others_alone():
    page = shown(Service(refused=RuntimeError("access denied"), source=[job(1)]))

    assert "Its syncs could not be read. access denied" in page.text
    assert "1 could not be read" in page.text
    assert page.with_class("chart") == 2


def test_an_index_that_cannot_be_read_makes_no_page():
    service = Service()
    service.list_data_sources = lambda index_id: iter([][0])  # type: ignore[method-assign]

    with pytest.raises(IndexError):
        render_report(service, INDEX)  # type: ignore[arg-type]


@pytest.mark.parametrize(("syncs", "pages"), [(1, 1), (20, 2), (25, 3)])
def test_no_more_pages_are_read_than_there_are_syncs_to_show(syncs: int, pages: int):
    service = Service(source=[job(hours) for hours in range(100)])

    page = shown(service, syncs=syncs)

    assert service.pages_read == pages
    assert page.count("tr") == 1 + syncs


@pytest.mark.parametrize("gap", ["start_time", "end_time"])
def test_a_time_that_the_service_left_out_is_no_obstacle(gap: str):
    page = shown(Service(source=[job(1, **{gap: None}), job(2)]))

    assert page.count("tr") == 1 + 2


def test_a_sync_that_lasted_for_weeks_fits_into_the_chart():
    page = shown(Service(source=[job(2000, end_time=NOW, documents_added=10**15)]))

    assert page.with_class("bar") == 2


def test_without_the_chart_library_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pygal", None)

    with pytest.raises(KendraError, match=r"pip install 'airflow-provider-kendra\[report\]'"):
        render_report(Service(), INDEX)  # type: ignore[arg-type]


ABSURD = int("9" * 401)
MEGABYTE = "x<&'\"" * 200_000


@pytest.mark.parametrize(
    "absurd",
    [
        {"documents_added": ABSURD},
        {"documents_added": ABSURD, "documents_modified": ABSURD, "documents_failed": ABSURD},
        {"documents_failed": -ABSURD},
        {"documents_added": 10**4000},
        {"documents_added": -5},
        {"start_time": NOW, "end_time": NOW - timedelta(days=9)},
        {"start_time": datetime.min.replace(tzinfo=UTC), "end_time": datetime.max.replace(tzinfo=UTC)},
        {"error_message": MEGABYTE},
        {"error_message": MEGABYTE, "error_code": MEGABYTE, "execution_id": MEGABYTE, "status": MEGABYTE},
    ],
    ids=lambda absurd: f"{absurd!r:.40}",
)
@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "INCOMPLETE", "SYNCING"])
def test_absurd_values_of_one_data_source_neither_lose_nor_blow_up_the_page(absurd: dict[str, Any], status: str):
    service = Service(before=[job(1)], absurd=[job(1, **{"status": status, **absurd}), job(2)] * 10, after=[job(1)])
    usual = len(render_report(Service(before=[job(1)], absurd=[job(1)] * 20, after=[job(1)]), INDEX))  # type: ignore[arg-type]

    page = render_report(service, INDEX, max_documents_failed=3)  # type: ignore[arg-type]

    assert all(f"name of {name}" in page for name in service.histories)
    assert "It cannot be shown" not in page
    assert Shown(page).with_class("chart") == 6
    assert len(page) < usual + 200_000


@pytest.mark.parametrize("count", [ABSURD, -1], ids=["401 digits", "negative"])
def test_a_count_that_cannot_be_is_named_and_left_out_of_the_chart(count: int):
    page = shown(Service(source=[job(1, documents_added=count, documents_failed=2), job(2, documents_added=7)]))

    assert "1 count of documents is not plausible, and is left out of the charts." in page.text
    assert page.with_class("bar") == 2 + 2
    assert "implausible" in page.text


def test_a_data_source_that_cannot_be_shown_says_why_and_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError(f"<b>{MEGABYTE}")

    service = Service(first=[job(1)], last=[job(1)])
    monkeypatch.setattr("airflow_provider_kendra.report._charts.durations", fail)

    page = shown(service)

    assert page.text.count("It cannot be shown. ZeroDivisionError: <b>") == 2
    assert page.count("b") == shown(Service()).count("b") + 2  # those of the overview alone
    assert "name of last" in page.text


def test_a_history_that_cannot_be_judged_says_why_and_leaves_the_others_alone():
    service = Service(absurd=[job(1, start_time=NOW.replace(tzinfo=None))], good=[job(1)])

    page = shown(service, max_age=timedelta(hours=6))

    assert "Its syncs could not be read. can't" in page.text
    assert "1 fresh" in page.text


def test_the_page_has_a_largest_size_and_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("airflow_provider_kendra.report.LARGEST_PAGE", 300_000)
    nasty = dict.fromkeys(("execution_id", "error_code", "error_message", "data_source_error_code"), "'" * 3000)
    history = [job(number, "FAILED", **nasty) for number in range(20)]
    service = Service(first=[job(1)], **{f"source{number}": history for number in range(4)}, last=[job(1)])

    page = render_report(service, INDEX, syncs=20)  # type: ignore[arg-type]

    assert len(page.encode()) < 300_000 + 20_000
    assert all(f"name of {name}" in page for name in service.histories)
    assert page.count("Its syncs are left out, since the page would be too large. Ask for fewer.") > 0
    assert Shown(page).with_class("chart") >= 4


def test_more_data_sources_than_fit_into_a_page_are_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("airflow_provider_kendra.report.LARGEST_PAGE", 100_000)
    service = Service(first=[job(1)])
    service.summaries += [{"Id": f"source{n}", "Name": "'" * 10_000, "Status": "CREATING"} for n in range(200)]

    page = render_report(service, INDEX)  # type: ignore[arg-type]

    assert len(page.encode()) < 100_000 + 20_000
    found = re.search(r"(\d+) more data sources do not fit into the page", page)
    assert found
    assert Shown(page).count("section") == 201 - int(found[1])


def test_no_more_than_500_syncs_of_a_data_source_are_read_and_shown():
    service = Service(source=[job(hours) for hours in range(1_000)])

    page = shown(service, syncs=10**9)

    assert service.pages_read == 50
    assert page.count("tr") == 1 + 500
    assert "The last 500 syncs" in page.text


def test_missing_documents_and_the_capacity_are_shown() -> None:
    service = Service(source=[job(1)])
    document = FailedDocument("s3://b/a.pdf", stage="crawl", reason="Access Denied")
    reasons = [{"stage": "crawl", "reason": "Access Denied", "count": 12}]
    service.missing = DocumentFailures([document], 12, None, reasons, False, "report", "Not all events were read.")
    page = shown(service)
    assert "Capacity: 50% full: 5,000 of 10,000 documents, 1 of 100 bytes of text." in page.text
    assert "12 documents are missing: failed in an earlier sync, and not indexed since" in page.text
    assert "s3://b/a.pdf" in page.text
    assert "11 more. By reason: 12 × Access Denied (crawl)" in page.text
    assert "Missing documents: Not all events were read." in page.text


def test_what_holds_for_several_data_sources_is_said_once_at_the_top() -> None:
    service = Service(**{f"source-{number}": [job(1)] for number in range(50)})
    note = "The connection may not read Kendra's logs: grant logs:FilterLogEvents on log-group:/aws/kendra/index:*."
    service.missing = DocumentFailures(is_complete=False, note=note)
    page = shown(service)
    assert page.text.count("FilterLogEvents") == 1
    assert page.text.index(f"Missing documents of 50 data sources: {note}") < page.text.index("name of source-0")


def test_after_a_minute_the_logs_of_no_further_data_source_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(one=[job(1)], other=[job(1)])
    monkeypatch.setattr("airflow_provider_kendra._overview.LONGEST_READING", -1)
    service.missing = RuntimeError("must not be read")
    assert "Missing documents of 2 data sources: They were not read, since" in shown(service).text


def test_when_nothing_is_missing_nothing_is_said_about_documents() -> None:
    assert "missing" not in shown(Service(source=[job(1)])).text


def test_what_cannot_be_read_about_documents_and_capacity_leaves_the_rest_of_the_page() -> None:
    service = Service(source=[job(1)])
    service.missing, service.capacity = RuntimeError("no logs"), RuntimeError("no index")
    page = shown(service)
    assert "Missing documents: They could not be read: no logs" in page.text
    assert "Capacity: not known: no index." in page.text
    assert "Fresh" in page.text
