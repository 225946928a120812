"""The page about an index: complete in itself, true, and not to be broken by what the service sends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_kendra._overview import Freshness, Reading, condition_for, read_index
from airflow_provider_kendra._validation import check_warn_age
from airflow_provider_kendra._waiting.history import Page
from airflow_provider_kendra.documents import DocumentFailures, FailedDocument
from airflow_provider_kendra.report import render_report
from airflow_provider_kendra.report._index import IndexFacts
from airflow_provider_kendra.report._page import render_page
from airflow_provider_kendra.report._summary import spans
from airflow_provider_kendra.sync_job import TERMINAL_STATUSES, SyncJob

INDEX = "01234567-89ab-cdef-0123-456789abcdef"
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NASTY = """</style></svg><script>alert("x")</script><img src='//evil' onerror="y">&amp;\x00\x1b[31m\u202e"""

AWS = "https://kendra.eu-west-1.amazonaws.com"


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
        self.schedules: dict[str, str] = {}
        self.missing: DocumentFailures | Exception = DocumentFailures()
        self.index: dict[str, Any] | Exception = {
            "Name": "company-search",
            "Edition": "DEVELOPER_EDITION",
            "RoleArn": "arn:aws:iam::123456789012:role/kendra",
            "IndexStatistics": {"TextDocumentStatistics": {"IndexedTextDocumentsCount": 5000, "IndexedTextBytes": 1}},
        }
        self.conn = SimpleNamespace(meta=SimpleNamespace(region_name="eu-west-1", endpoint_url=AWS))

    def get_missing_documents(self, index_id: str, data_source_id: str) -> DocumentFailures:
        if isinstance(self.missing, Exception):
            raise self.missing
        return self.missing

    def describe_index(self, index_id: str) -> dict[str, Any]:
        if isinstance(self.index, Exception):
            raise self.index
        return self.index

    def describe_data_source(self, index_id: str, data_source_id: str) -> dict[str, Any]:
        return {"Schedule": self.schedules.get(data_source_id, "")}

    def list_data_sources(self, index_id: str) -> Iterator[dict[str, Any]]:
        yield from self.summaries

    def _iter_pages(self, index_id: str, data_source_id: str) -> Iterator[Page]:
        history = self.histories[data_source_id]
        if isinstance(history, Exception):
            raise history
        for start in range(0, max(len(history), 1), 10):
            self.pages_read += 1
            yield Page(history[start : start + 10], is_last=start + 10 >= len(history))


class Uncalled:
    """A hook without any call."""


class Shown(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.data: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.data.append(data)
        if data.strip():
            self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return "".join(self.data)

    def with_class(self, name: str) -> int:
        return sum(name in (attributes.get("class") or "").split() for _, attributes in self.elements)

    def count(self, tag: str) -> int:
        return sum(each == tag for each, _ in self.elements)

    @property
    def links(self) -> list[str]:
        return [value or "" for _, attributes in self.elements for name, value in attributes.items() if name == "href"]


def shown(service: Service, **options: Any) -> Shown:
    return Shown(render_report(service, INDEX, **options))  # type: ignore[arg-type]


def test_data_sources_with_the_same_name_are_told_apart_by_their_ids():
    service = Service(first_one=[job(1)], second_one=[job(2)], third=[job(3)])
    for summary, name in zip(service.summaries, ("Wiki", "Wiki", "Manuals"), strict=True):
        summary["Name"] = name
    codes = [attributes["title"] for tag, attributes in shown(service).elements if tag == "code" and attributes]
    assert sorted(codes) == sorted(["first_one", "second_one"] * 3), "in overview, timeline and table"


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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "A data source is fresh if a sync succeeded."),
        (
            {"max_age": timedelta(hours=6), "max_documents_failed": 1},
            "A data source is fresh if a sync that started at most 6 h ago succeeded, or ended incomplete with at most "
            "1 failed document.",
        ),
    ],
)
def test_the_page_says_what_is_fresh(options, sentence):
    page = render_report(Service(source=[job(1)]), INDEX, **options)  # type: ignore[arg-type]
    assert sentence in " ".join(Shown(page).text.split())


def test_the_page_needs_neither_network_nor_script():
    page = render_report(Service(source=[job(1), job(2, "FAILED")]), INDEX)  # type: ignore[arg-type]

    elements = Shown(page).elements
    assert not {tag for tag, _ in elements} & {"script", "link", "img", "iframe", "object", "base", "image", "use"}
    assert not [name for _, attributes in elements for name in attributes if name == "src"]
    # Only a reader who clicks leaves the page.
    assert {tag for tag, attributes in elements if "href" in attributes} == {"a"}
    assert {
        link.partition("/kendra/")[0].partition("/cloudwatch/")[0] for link in Shown(page).links if link[0] != "#"
    } == {"https://eu-west-1.console.aws.amazon.com"}
    assert "@import" not in page
    assert "url(" not in page.replace("url(#", "")
    # … and could use neither.
    policy = next(attributes["content"] for _, attributes in elements if "http-equiv" in attributes)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_it_follows_the_colours_of_the_reader_and_the_width_of_a_phone():
    page = render_report(Service(source=[job(1)]), INDEX)  # type: ignore[arg-type]

    assert "@media screen and (prefers-color-scheme:dark)" in page
    assert "@media screen and (max-width:" in page
    assert "@media print" in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page


def test_an_outcome_is_told_by_a_symbol_besides_its_colour():
    statuses = ["SYNCING", "SUCCEEDED", "INCOMPLETE", "FAILED", "ABORTED"]

    page = render_report(Service(source=[job(n, status) for n, status in enumerate(statuses)]), INDEX)  # type: ignore[arg-type]

    for symbol, name in zip("…✓!✕-", ["running", "succeeded", "incomplete", "failed", "aborted"], strict=True):
        assert f'<span class="key {name}">{symbol}</span>' in page
    for symbol in "!✕-":
        assert page.count(f">{symbol}</text>") == 1 + 2  # on the timeline, and under each chart


def bars(page: str, kind: str) -> list[dict[str, float]]:
    """The bars of one kind in all charts of the cards."""
    groups = re.findall(rf'<g class="bars {kind}">(.*?)</g>', page, re.DOTALL)
    found = re.findall(r'<rect x="([^"]+)%" height="([^"]+)"', "".join(groups))
    return [{"x": float(x), "height": float(height)} for x, height in found]


def test_each_sync_has_a_bar_for_its_duration_and_one_for_each_count_of_documents():
    counts = {"documents_added": 5, "documents_modified": 3, "documents_deleted": 0, "documents_failed": None}

    page = render_report(Service(source=[job(1, **counts), job(2, **counts), job(3, "FAILED")]), INDEX)  # type: ignore[arg-type]

    assert {kind: len(bars(page, kind)) for kind in ("succeeded", "failed", "added", "modified", "deleted")} == {
        "succeeded": 2,
        "failed": 1,
        "added": 2,
        "modified": 2,
        "deleted": 0,
    }


def test_the_bars_stand_at_the_times_of_their_syncs():
    page = render_report(Service(source=[job(1), job(51), job(101)]), INDEX)  # type: ignore[arg-type]

    first, middle, last = sorted(bar["x"] for bar in bars(page, "succeeded"))
    assert last - middle == pytest.approx(middle - first, abs=0.1)
    assert first < 3
    assert last > 97


def test_the_charts_of_a_card_show_that_nothing_has_started_but_leave_half_for_the_syncs():
    silent = [job(72 + n) for n in range(20)]

    page = render_report(Service(source=silent), INDEX)  # type: ignore[arg-type]

    assert max(bar["x"] for bar in bars(page, "succeeded")) == pytest.approx(51, abs=1)
    assert "the charts end 29 Jan 2026 07:00, and nothing started since." in Shown(page).text
    assert "the charts end now." in shown(Service(source=[job(72), job(200)])).text


def test_a_sync_that_hangs_does_not_flatten_the_others():
    page = render_report(Service(source=[job(300, "SYNCING"), *(job(h) for h in range(301, 310))]), INDEX)  # type: ignore[arg-type]

    assert [bar["height"] for bar in bars(page, "succeeded")] == [120.0] * 9
    assert [bar["height"] for bar in bars(page, "running")] == [120.0]
    assert "▲: more than the chart can show" in page


def test_a_first_crawl_does_not_flatten_the_later_syncs():
    history = [*(job(h, documents_added=10) for h in range(1, 10)), job(11, documents_added=100_000)]

    page = render_report(Service(source=history), INDEX)  # type: ignore[arg-type]

    assert min(bar["height"] for bar in bars(page, "added")) > 10
    assert "100,000 added" in page


def test_few_failed_documents_are_visible_beside_many_added_ones():
    page = render_report(Service(source=[job(1, "INCOMPLETE", documents_added=1_000_000, documents_failed=1)]), INDEX)  # type: ignore[arg-type]

    assert [bar["height"] for bar in bars(page, "failed")] == [2.0]


def test_the_numbers_of_the_charts_are_in_a_table_too():
    page = shown(Service(source=[job(1, documents_added=12345, documents_failed=0)]))

    row = page.text.partition("Sync job, error")[2]
    assert re.sub(r"\s", "", row).startswith("31Jan202611:00SUCCEEDED30min12,3450job-1")


def row_of(page: Shown, name: str) -> str:
    """The texts of a data source in the overview."""
    start = page.texts.index(name, page.texts.index("Overview"))
    end = next(
        n for n, text in enumerate(page.texts[start:], start) if text in STATES or text.startswith("Worst first")
    )
    return " ".join(page.texts[start:end])


STATES = ("✕ Stale", "? Unknown", "! Aging", "✓ Fresh", "○ Inactive")


def test_the_overview_lists_the_worst_first_and_links_to_the_cards():
    service = Service(
        young=[job(1)], refused=RuntimeError("denied"), old=[job(30)], never=[], older=[job(40)], creating=[]
    )
    service.summaries[-1]["Status"] = "CREATING"

    page = shown(service, max_age=timedelta(hours=6))

    cards = [number for number, (tag, _) in enumerate(page.elements) if tag == "section"]
    names = [text.removeprefix("name of ") for text in page.texts if text.startswith("name of ")]
    assert names[:6] == ["never", "older", "old", "refused", "young", "creating"]
    assert names[-6:] == names[:6]
    assert [page.elements[number][1]["id"] for number in cards] == [f"source-{number}" for number in range(1, 7)]
    assert {link for link in page.links if link.startswith("#source")} == {f"#source-{n}" for n in range(1, 7)}


def test_a_row_says_age_and_limit_outcome_success_rate_and_median_duration():
    history = [job(2, "FAILED"), job(10), job(20), job(30, end_time=NOW - timedelta(hours=24))]

    row = row_of(shown(Service(source=history), max_age=timedelta(hours=6)), "name of source")

    assert row.startswith("name of source 10 h of 6 h ✕ FAILED 2 h ago 75% of 4 30 min")


def test_a_row_shows_a_running_sync_beside_the_last_outcome():
    row = row_of(shown(Service(source=[job(1, "SYNCING"), job(5)])), "name of source")

    assert "✓ SUCCEEDED 5 h ago … running 1 h" in row


def test_a_row_counts_missing_documents_and_says_when_they_are_not_known():
    service = Service(source=[job(1)])
    service.missing = DocumentFailures([], 17, None, [], True, "report", None)
    assert row_of(shown(service), "name of source").endswith(" 17")
    service.missing = DocumentFailures([], 17, None, [], False, "report", "Not all was read.")
    assert row_of(shown(service), "name of source").endswith(" 17+")
    service.missing = DocumentFailures([], 0, None, [], False, None, "No permission.")
    assert row_of(shown(service), "name of source").endswith(" ?")


def lane_of(page: str, name: str) -> str:
    lanes = page.split('<div class="lane">')[1:]
    return next(lane.partition("</svg>")[0] for lane in lanes if f"{name}</a>" in lane)


def bands(lane: str) -> list[tuple[str, float, float]]:
    found = re.findall(r'class="band (\w+)" x="([^"]+)%" width="([^"]+)%"', lane)
    return [(state, float(x), float(width)) for state, x, width in found]


def test_on_the_timeline_a_source_that_has_been_silent_for_three_days_looks_silent():
    service = Service(silent=[job(72 + 6 * n) for n in range(20)], busy=[job(1 + 6 * n) for n in range(32)])

    page = render_report(service, INDEX, max_age=timedelta(hours=12), syncs=32)  # type: ignore[arg-type]

    silent = lane_of(page, "name of silent")
    states = bands(silent)
    assert [state for state, _, _ in states] == ["stale", "fresh", "stale"]  # stale until the first sync ended
    assert states[-1][1] + states[-1][2] == pytest.approx(100, abs=0.1)
    assert states[-1][2] == pytest.approx(100 * 60 / (187 * 1.02), abs=0.5)  # hours of the axis
    assert [state for state, _, _ in bands(lane_of(page, "name of busy"))] == ["stale", "fresh"]
    assert silent.count("<rect x=") == 20


def test_the_timeline_reaches_back_to_the_last_sync_of_a_source_that_is_silent():
    service = Service(silent=[job(100)], **{f"busy{n}": [job(hours) for hours in range(1, 21)] for n in range(5)})

    page = render_report(service, INDEX, max_age=timedelta(hours=12))  # type: ignore[arg-type]

    assert lane_of(page, "name of silent").count("<rect x=") == 1


def test_a_last_sync_that_is_too_old_for_the_timeline_is_named():
    service = Service(silent=[job(24 * 90)], **{f"busy{n}": [job(hours) for hours in range(1, 21)] for n in range(5)})

    page = render_report(service, INDEX, max_age=timedelta(hours=12))  # type: ignore[arg-type]

    lane = lane_of(page, "name of silent")
    assert "◂ last sync 90 d ago" in lane
    assert bands(lane) == [("stale", 0.0, 100.0)]


def test_the_timeline_ends_with_the_state_of_each_data_source():
    service = Service(fresh=[job(1)], stale=[job(20)], failing=[job(1, "FAILED"), job(9)])

    page = render_report(service, INDEX, max_age=timedelta(hours=6))  # type: ignore[arg-type]

    for name in service.histories:
        assert bands(lane_of(page, f"name of {name}"))[-1][0] == ("fresh" if name == "fresh" else "stale")


def test_the_timeline_has_a_table_with_the_share_of_each_state_and_the_longest_gap():
    page = shown(Service(source=[job(12), job(24)]), max_age=timedelta(hours=6))

    table = page.texts[page.texts.index("Longest gap") + 1 :]
    assert table[:5] == ["name of source", "2", "46%", "54%", "12 h"]


def test_the_index_is_named_with_region_account_and_time():
    page = shown(Service(source=[job(1)]))

    assert "company-search" in page.texts
    assert f"As of 31 Jan 2026 12:00 UTC · {INDEX} · eu-west-1 · account 123456789012 · AWS console" in page.text
    assert f"https://eu-west-1.console.aws.amazon.com/kendra/home?region=eu-west-1#indexes/{INDEX}" in page.links
    assert any("log-groups" in link and "source" in link for link in page.links)


@pytest.mark.parametrize("endpoint", ["http://localhost:5000", "https://kendra.amazonaws.com.evil.example"])
def test_a_local_endpoint_has_no_links_to_the_console(endpoint: str):
    service = Service(source=[job(1)])
    service.conn.meta.endpoint_url = endpoint

    assert not [link for link in shown(service).links if not link.startswith("#")]


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
    assert "1 unknown" in page.text
    assert page.with_class("chart") == 2


def test_an_index_that_cannot_be_read_makes_no_page():
    service = Service()
    service.list_data_sources = lambda index_id: iter([][0])  # type: ignore[method-assign]

    with pytest.raises(IndexError):
        render_report(service, INDEX)  # type: ignore[arg-type]


ROWS = 2 + 2 + 1
"""The rows of a page about one data source besides its syncs: overview, timeline as a table, and a heading."""


@pytest.mark.parametrize(("syncs", "pages"), [(1, 1), (20, 2), (25, 3)])
def test_no_more_pages_are_read_than_there_are_syncs_to_show(syncs: int, pages: int):
    service = Service(source=[job(hours) for hours in range(100)])

    page = shown(service, syncs=syncs)

    assert service.pages_read == pages
    assert page.count("tr") == ROWS + syncs


@pytest.mark.parametrize("gap", ["start_time", "end_time"])
def test_a_time_that_the_service_left_out_is_no_obstacle(gap: str):
    page = shown(Service(source=[job(1, **{gap: None}), job(2)]))

    assert page.count("tr") == ROWS + 2


def test_a_sync_that_lasted_for_weeks_fits_into_the_chart():
    page = render_report(Service(source=[job(2000, end_time=NOW, documents_added=10**15)]), INDEX)  # type: ignore[arg-type]

    assert [len(bars(page, kind)) for kind in ("succeeded", "added")] == [1, 1]
    assert all(bar["height"] <= 120 for kind in ("succeeded", "added") for bar in bars(page, kind))


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
    assert "Its syncs are left out, since the page would be too large. Choose a smaller number of syncs." in page
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
    assert page.count("tr") == ROWS + 500
    assert "The last 500 syncs" in page.text


def test_missing_documents_and_the_capacity_are_shown() -> None:
    service = Service(source=[job(1)])
    document = FailedDocument("s3://b/a.pdf", stage="crawl", reason="Access Denied")
    reasons = [{"stage": "crawl", "reason": "Access Denied", "count": 12}]
    service.missing = DocumentFailures([document], 12, None, reasons, False, "report", "Not all events were read.")
    page = shown(service)
    assert "Capacity: 50% full: 5,000 of 10,000 documents, 1 of" in page.text
    assert "12 documents are missing: failed in an earlier sync, and not indexed since" in page.text
    assert "s3://b/a.pdf" in page.text
    assert "11 more. By reason: 12 × Access Denied (crawl)" in page.text
    assert "Missing documents: Not all events were read." in page.text


@pytest.mark.parametrize(
    ("limit", "is_too_full"), [({}, False), ({"max_index_share": 0.5}, False), ({"max_index_share": 0.4}, True)]
)
def test_an_index_that_is_too_full_says_so_in_words_and_color(limit: dict[str, float], is_too_full: bool) -> None:
    page = render_report(Service(source=[job(1)]), INDEX, **limit)  # type: ignore[arg-type]
    assert ("more than the limit of 40%" in page) is is_too_full
    assert ('class="meter bad"' in page) is is_too_full


@pytest.mark.parametrize("value", [90, -0.1, 1.01, float("nan"), True, "0.9", None])
def test_a_limit_of_the_capacity_that_is_no_share_is_refused_before_any_call(value: Any) -> None:
    message = f"max_index_share is {value!r}, but must be a share from 0 to 1, such as 0.9 for 90 %."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        render_report(Uncalled(), INDEX, max_index_share=value)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "20", None])
def test_a_number_of_syncs_that_is_no_whole_number_of_1_or_more_is_refused_before_any_call(value: Any) -> None:
    message = f"syncs is {value!r}, but must be a whole number of 1 or more."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        render_report(Uncalled(), INDEX, syncs=value)


@pytest.mark.parametrize("limit", [{"max_age": 21600}, {"schedule_grace": 3600}])
def test_an_age_to_warn_can_be_given_in_seconds_and_anything_else_is_refused(limit: dict[str, Any]) -> None:
    service = Service(source=[job(5)])
    service.schedules = {"source": "cron(0 * * * ? *)"}
    page = render_report(service, INDEX, warn_age=60, **limit)
    assert page == render_report(service, INDEX, warn_age=timedelta(minutes=1), **limit)
    with pytest.raises(ValueError, match=r"^warn_age is '1h', but must be a timedelta or a number of seconds"):
        render_report(Uncalled(), INDEX, warn_age="1h", **limit)


def test_what_holds_for_several_data_sources_is_said_once_at_the_top() -> None:
    service = Service(**{f"source-{number}": [job(1)] for number in range(50)})
    grant = "grant logs:FilterLogEvents on log-group:/aws/kendra/index:*."
    note = f"The connection is not allowed to read Kendra's logs: {grant}"
    service.missing = DocumentFailures(is_complete=False, note=note)
    page = shown(service)
    assert page.text.count("FilterLogEvents") == 1
    assert page.text.index(f"Missing documents of 50 data sources: {note}") < page.text.index("name of source-0")


def test_after_a_minute_the_logs_of_no_further_data_source_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(one=[job(1)], other=[job(1)])
    monkeypatch.setattr("airflow_provider_kendra._overview.LONGEST_READING", -1)
    service.missing = RuntimeError("must not be read")
    assert "Missing documents of 2 data sources: The logs were not read, since" in shown(service).text


def test_when_nothing_is_missing_nothing_is_said_about_documents() -> None:
    assert "missing" not in shown(Service(source=[job(1)])).text
    assert row_of(shown(Service(source=[job(1)])), "name of source").endswith(" 0")


def test_what_cannot_be_read_about_documents_and_capacity_leaves_the_rest_of_the_page() -> None:
    service = Service(source=[job(1)])
    service.missing, service.index = RuntimeError("no logs"), RuntimeError("no index")
    page = shown(service)
    assert "Missing documents: The logs could not be read: no logs" in page.text
    assert "Capacity: not known: no index." in page.text
    assert "Fresh" in page.text


@pytest.mark.slow
def test_fifty_data_sources_with_sixty_syncs_each_make_a_page_below_two_megabytes() -> None:
    counts = {"documents_added": 1234, "documents_modified": 56, "documents_deleted": 7, "documents_failed": 8}
    history = [job(hours, execution_id=f"8a4a9787-44f9-47f2-bc35-{hours:012}", **counts) for hours in range(60)]

    page = render_report(Service(**{f"source{n}": history for n in range(50)}), INDEX, syncs=60)  # type: ignore[arg-type]

    assert len(page.encode()) < 2_000_000
    assert page.count("<section") == 50


def spans_of(
    *history: SyncJob, searched_all: bool = False, warn_age: timedelta | None = None
) -> list[tuple[str, float, float]]:
    """The spans of a data source with a limit of 6 hours, in hours before the report."""
    condition = condition_for(max_age=timedelta(hours=6))
    freshness = Freshness(is_fresh=False, searched_all=searched_all)
    reading = Reading(data_source_id="source", name="", status="ACTIVE", jobs=history, freshness=freshness)
    found = spans(reading, condition, NOW, warn_age)
    hours = [tuple((NOW - each).total_seconds() / 3600 for each in (span.start, span.end)) for span in found]
    return [(span.state, *each) for span, each in zip(found, hours, strict=True)]


def test_a_sync_makes_a_source_fresh_from_its_end_until_its_start_is_too_long_ago() -> None:
    assert spans_of(job(20), searched_all=True) == [("stale", 20, 19.5), ("fresh", 19.5, 14), ("stale", 14, 0)]


def test_a_sync_that_is_exactly_as_old_as_allowed_is_fresh_as_in_the_table() -> None:
    assert spans_of(job(6), searched_all=True)[1:] == [("fresh", 5.5, 0)]
    assert spans_of(job(2), searched_all=True, warn_age=timedelta(hours=2))[1:] == [("fresh", 1.5, 0)]
    page = render_report(Service(source=[job(6)]), INDEX, max_age=timedelta(hours=6))  # type: ignore[arg-type]
    assert row_of(Shown(page), "name of source").startswith("name of source 6 h of 6 h")
    assert "✓ Fresh" in Shown(page).texts


def test_a_rejected_sync_changes_nothing() -> None:
    assert spans_of(job(16, "FAILED"), job(20), searched_all=True) == spans_of(job(20), searched_all=True)


def test_a_sync_in_time_keeps_a_source_fresh() -> None:
    assert spans_of(job(1), job(6), job(10))[1:] == [("fresh", 9.5, 0)]


def test_the_state_is_unread_until_any_sync_older_than_those_read_would_be_too_old() -> None:
    assert spans_of(job(20, "FAILED")) == [("unread", 20, 14), ("stale", 14, 0)]


def test_between_the_ages_to_warn_and_to_fail_a_source_is_aging() -> None:
    found = spans_of(job(20), searched_all=True, warn_age=timedelta(hours=2))

    assert found == [("stale", 20, 19.5), ("fresh", 19.5, 18), ("aging", 18, 14), ("stale", 14, 0)]


@settings(max_examples=60, deadline=None)
@given(
    starts=st.lists(st.tuples(st.integers(2, 200), st.integers(0, 30), st.booleans()), min_size=1, max_size=12),
    searched_all=st.booleans(),
)
def test_at_each_moment_the_span_is_what_a_report_would_have_said(
    starts: list[tuple[int, int, bool]], searched_all: bool
) -> None:
    history = [
        job(start / 4, "SUCCEEDED" if good else "FAILED", end_time=NOW - timedelta(hours=start / 4 - minutes / 60))
        for start, minutes, good in sorted(starts)
    ]
    found = spans_of(*history, searched_all=searched_all)
    for quarter in range(200, 0, -1):
        moment = quarter / 4 - 1 / 8
        shown = next((state for state, start, end in found if start >= moment > end), None)
        known = [each for each in history if each.end_time and each.end_time <= NOW - timedelta(hours=moment)]
        is_fresh = any(
            each.status == "SUCCEEDED" and each.start_time and each.start_time > NOW - timedelta(hours=moment + 6)
            for each in known
        )
        if shown in ("fresh", "stale"):
            assert (shown == "fresh") == is_fresh


class TestBySchedule:
    """The schedule has runs at 9:00, three hours before the report."""

    GRACE: ClassVar[dict[str, Any]] = {"schedule_grace": timedelta(hours=1)}

    @staticmethod
    def service(**histories: list[SyncJob] | Exception) -> Service:
        service = Service(**histories)
        service.schedules = dict.fromkeys(histories, "cron(0 9 * * ? *)")
        return service

    def test_the_page_says_what_became_of_the_scheduled_sync(self) -> None:
        service = self.service(
            missed=[job(27)], broken=[job(3, "FAILED", error_message="No bucket"), job(27)], good=[job(3)]
        )

        page = shown(service, **self.GRACE)

        run = "the scheduled sync of 2026-01-31 09:00 UTC"
        assert f"{run} did not start" in row_of(page, "name of missed")
        assert page.text.count(f"{run} started and FAILED: No bucket") == 2  # in the overview and on the card
        assert row_of(page, "name of good").startswith("name of good 3 h of 1 d 1 h ✓ SUCCEEDED 3 h ago")
        assert "since the last run of its own schedule in Kendra that was due at least 1 h ago" in page.text

    def test_a_data_source_without_a_schedule_is_unknown_and_still_shown(self) -> None:
        service = self.service(source=[job(1)])
        service.schedules = {}

        page = render_report(service, INDEX, **self.GRACE)  # type: ignore[arg-type]

        row = row_of(Shown(page), "name of source")
        assert row.startswith("name of source 1 h ✓ SUCCEEDED 1 h ago it has no schedule in Kendra")
        assert "? Unknown" in Shown(page).texts
        assert bands(lane_of(page, "name of source")) == []

    def test_the_timeline_is_stale_from_the_overdue_run_on(self) -> None:
        page = render_report(self.service(source=[job(3), job(40), job(51)]), INDEX, **self.GRACE)  # type: ignore[arg-type]

        # Fresh until an hour after the run that was missed, and again from the end of the next sync.
        assert [state for state, _, _ in bands(lane_of(page, "name of source"))][-3:] == ["fresh", "stale", "fresh"]

    def test_an_age_and_a_schedule_exclude_each_other(self) -> None:
        with pytest.raises(ValueError, match="max_age and schedule_grace exclude each other"):
            shown(Service(), max_age=timedelta(hours=6), **self.GRACE)


@pytest.mark.parametrize("warn_age", [timedelta(hours=6), timedelta(hours=7)])
def test_an_age_to_warn_that_never_comes_is_refused_before_any_call(warn_age: timedelta) -> None:
    with pytest.raises(ValueError, match=r"warn_age is [67] h, but must be less than max_age, which is 6 h"):
        read_index(Service(), INDEX, condition_for(max_age=timedelta(hours=6)), lambda: NOW, warn_age=warn_age)


def test_without_an_age_any_age_to_warn_will_do() -> None:
    assert check_warn_age(timedelta(days=365), None) == timedelta(days=365)


def test_an_aging_data_source_has_its_own_badge_and_band(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reading, "state", property(lambda reading: "aging"))
    condition = condition_for(max_age=timedelta(hours=6))
    reading = Reading(
        data_source_id="source",
        name="source",
        status="ACTIVE",
        jobs=[job(5)],
        freshness=Freshness(is_fresh=True, newest=job(5), measured_at=job(5).start_time, age=timedelta(hours=5)),
    )
    index = IndexFacts(index_id=INDEX, capacity="not known")

    page = render_page(index, [reading], condition, NOW, syncs=20, largest=10**6, warn_age=timedelta(hours=3))

    assert row_of(Shown(page), "source").startswith("source 5 h of 6 h")
    assert "! Aging" in Shown(page).texts
    assert [state for state, _, _ in bands(lane_of(page, "source"))] == ["fresh", "aging"]
