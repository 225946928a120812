"""A page about the syncs of an index, for people: one HTML file that needs neither network nor script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from math import ceil
from typing import TYPE_CHECKING, Any

from airflow_provider_kendra import _clock
from airflow_provider_kendra._text import plain
from airflow_provider_kendra.conditions import Fresh
from airflow_provider_kendra.exceptions import KendraError
from airflow_provider_kendra.freshness import Freshness, Reading, condition_for, in_words, read_index
from airflow_provider_kendra.sync_job import SyncJob

if TYPE_CHECKING:
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook


LARGEST_PAGE = 10_000_000
"""How many bytes the data sources of a page may take."""

_MOST_SYNCS = 500
_MOST_DOCUMENTS = 10**15


@dataclass(frozen=True, slots=True)
class Report:
    """The page, and what it was made from."""

    html: str
    readings: Sequence[Reading]


def render_report(
    hook: KendraSyncJobsHook,
    index_id: str,
    *,
    max_age: timedelta | None = None,
    measured_by: str = "start_time",
    max_documents_failed: int | None = None,
    syncs: int = 20,
) -> str:
    """
    Render a page about the syncs of an index: freshness of each data source, what runs now, charts of recent syncs.

    In a task, with the extra ``report`` installed::

        @task
        def publish_report():
            hook = KendraSyncJobsHook(aws_conn_id="aws_default")
            page = render_report(hook, "0123…", max_age=timedelta(hours=6))
            S3Hook().load_string(page, key="kendra.html", bucket_name="reports", replace=True)

    A data source whose history cannot be read or shown says so on the page; an index that cannot be read raises. Long
    texts are cut, counts that are not plausible are left out of the charts, and the page is no larger than 10 MB: what
    does not fit is left out, and the page says so.

    :param hook: What to read with.
    :param index_id: The index.
    :param max_age: How old the newest acceptable sync of a data source may be. Default None: of any age.
    :param measured_by: Which time of a sync counts: ``start_time`` (default) or ``end_time``.
    :param max_documents_failed: Accept INCOMPLETE too, and tolerate up to so many failed documents.
    :param syncs: Show so many syncs of each data source, the newest. Default 20, a call for every 10. At most 500 are
        shown.
    :raises KendraError: if the chart library is not installed.
    """
    return read_report(
        hook,
        index_id,
        max_age=max_age,
        measured_by=measured_by,
        max_documents_failed=max_documents_failed,
        syncs=syncs,
    ).html


def read_report(
    hook: KendraSyncJobsHook,
    index_id: str,
    *,
    max_age: timedelta | None,
    measured_by: str,
    max_documents_failed: int | None,
    syncs: int,
) -> Report:
    """Render the page and keep what was read; the parameters are those of :func:`render_report`."""
    pygal = _chart_library()
    if syncs < 1:
        raise ValueError(f"syncs is {syncs!r}, but must be 1 or more.")
    syncs = min(syncs, _MOST_SYNCS)
    condition = condition_for(max_age=max_age, measured_by=measured_by, max_documents_failed=max_documents_failed)
    readings = read_index(hook, index_id, condition, _clock.utcnow, at_least=syncs)
    return Report(_page(index_id, readings, condition, _clock.utcnow(), _Charts(pygal), syncs), readings)


def _chart_library() -> Any:
    try:
        import pygal
    except ImportError as error:
        raise KendraError("The report needs a chart library: pip install 'airflow-provider-kendra[report]'.") from error
    return pygal


@dataclass(frozen=True, slots=True)
class _Look:
    """How an outcome is shown: by a symbol as well as a colour, for readers who cannot distinguish the colours."""

    symbol: str
    css: str
    words: str


_OUTCOMES = {
    "SUCCEEDED": _Look("✓", "succeeded", "succeeded"),
    "INCOMPLETE": _Look("!", "incomplete", "incomplete: some documents failed"),
    "FAILED": _Look("✕", "failed", "failed"),
    "ABORTED": _Look("-", "aborted", "aborted"),
}
_RUNNING = _Look("…", "running", "running")
_LOOKS = (*_OUTCOMES.values(), _RUNNING)
_STATES = {
    "fresh": _Look("✓", "good", "Fresh"),
    "stale": _Look("✕", "bad", "Stale"),
    "unknown": _Look("?", "bad", "Could not be read"),
    "inactive": _Look("○", "none", "Not active"),
}
_COUNTS = ("added", "modified", "deleted", "failed")


def _look(job: SyncJob) -> _Look:
    return _OUTCOMES.get(job.status, _RUNNING)


# The page, from the outside in. Whatever the service or the user gave goes through `_text`.


def _page(
    index_id: str, readings: Sequence[Reading], condition: Fresh, now: datetime, charts: _Charts, syncs: int
) -> str:
    title = f"Kendra index {_text(index_id)}"
    body = "\n".join(_fitting(readings, lambda reading: _section(reading, condition, now, charts, syncs)))
    if not readings:
        body = '<p class="notice">This index has no data sources.</p>'
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
{_PATTERNS}
<header>
<h1>Amazon Kendra syncs</h1>
<p>Index <code>{_text(index_id)}</code>, read {_time(now)}. {_rule(condition)}</p>
{_overview(readings)}
</header>
<main>
{body}
</main>
<footer><p>All times are UTC.</p></footer>
</body>
</html>
"""


def _rule(condition: Fresh) -> str:
    verb = "started" if condition.measured_by == "start_time" else "ended"
    limit = condition.acceptance.max_documents_failed
    accepted = (
        "succeeded" if limit is None else f"succeeded, or ended incomplete, with at most {limit} failed documents"
    )
    age = f" and {verb} at most {in_words(condition.max_age)} ago" if condition.max_age else ""
    return f"A data source is fresh when a sync has {accepted}{age}."


def _overview(readings: Sequence[Reading]) -> str:
    if not readings:
        return ""
    states = [reading.state for reading in readings]
    running = sum(bool(reading.freshness and reading.freshness.running) for reading in readings)
    items = [
        f'<li class="{look.css}"><b>{states.count(state)}</b> {look.words.lower()}</li>'
        for state, look in _STATES.items()
        if state in states
    ]
    return f'<ul class="overview">{"".join(items)}<li class="none"><b>{running}</b> syncing now</li></ul>'


def _fitting(readings: Sequence[Reading], show: Callable[[Reading], str]) -> Iterator[str]:
    """Yield the sections that fit into the page, in short form where the full one does not."""
    room = LARGEST_PAGE
    for number, reading in enumerate(readings):
        section = show(reading)
        if len(section.encode()) > room - _LARGEST_HEAD * (len(readings) - number):
            section = _framed(reading, f'<p class="notice">{_TOO_LARGE}</p>')
        room -= len(section.encode())
        if room < 0:
            yield f'<p class="notice">{len(readings) - number} more data sources do not fit into the page.</p>'
            return
        yield section


_TOO_LARGE = "Its syncs are left out, since the page would be too large. Ask for fewer."
_LARGEST_HEAD = 4_000


def _section(reading: Reading, condition: Fresh, now: datetime, charts: _Charts, syncs: int) -> str:
    try:
        return _framed(reading, _details(reading, condition, now, charts, syncs))
    except Exception as error:  # of values that no one foresaw: the other data sources are shown all the same
        reason = f"{type(error).__name__}: {error}"
        return _framed(reading, f'<p class="notice bad">It cannot be shown. {_text(reason, _ERROR)}</p>')


def _framed(reading: Reading, details: str) -> str:
    state = _STATES[reading.state]
    head = (
        f'<div class="head"><h2>{_text(reading.name or reading.data_source_id)}</h2>'
        f'<span class="badge {state.css}">{state.symbol} {state.words}</span></div>'
        f'<p class="id"><code>{_text(reading.data_source_id)}</code></p>'
    )
    return f"<section>{head}{details}</section>"


def _details(reading: Reading, condition: Fresh, now: datetime, charts: _Charts, syncs: int) -> str:
    if reading.error is not None:
        return f'<p class="notice bad">Its syncs could not be read. {_text(reading.error, _ERROR)}</p>'
    if reading.freshness is None:
        return f'<p class="notice">Its status is {_text(reading.status)}: it cannot be synced.</p>'
    shown = list(reading.jobs[:syncs])
    pictures = _pictures(shown, now, charts) if shown else '<p class="notice">It has never been synced.</p>'
    return _facts(reading.freshness, condition, now) + pictures


def _facts(known: Freshness, condition: Fresh, now: datetime) -> str:
    verb = "started" if condition.measured_by == "start_time" else "ended"
    if known.newest is not None:
        last = f"{verb} <b>{in_words(known.age)} ago</b>, {_time(known.measured_at)}"
    elif known.searched_all:
        last = "none"
    else:
        last = f"none in the last {known.searched} syncs"
    facts = [("Last acceptable sync", last)]
    if known.running is not None:
        since = known.running.start_time
        elapsed = f" for {in_words(now - since)}" if since else ""
        facts.append(("Running now", f"{_text(known.running.progress)}{elapsed}"))
    else:
        facts.append(("Running now", "nothing"))
    if known.last_error:
        facts.append(("Last error", f'<span class="error">{_text(known.last_error, _ERROR)}</span>'))
    return "<dl>" + "".join(f"<div><dt>{term}</dt><dd>{fact}</dd></div>" for term, fact in facts) + "</dl>"


def _pictures(shown: Sequence[SyncJob], now: datetime, charts: _Charts) -> str:
    oldest_first = list(reversed(shown))
    first, last = _time(oldest_first[0].start_time), _time(oldest_first[-1].start_time)
    span = f"The last {len(shown)} syncs, oldest first: {first} to {last}" if len(shown) > 1 else f"One sync: {first}"
    return (
        '<div class="charts">'
        f"<figure><figcaption>Duration <span>{_outcome_keys(shown)}</span></figcaption>"
        f"{charts.durations(oldest_first, now)}</figure>"
        f"<figure><figcaption>Documents <span>{_count_keys()}</span></figcaption>"
        f"{charts.documents(oldest_first)}</figure></div>"
        f'<p class="span">{span}</p>{_implausible(shown)}'
        f"<details><summary>As a table</summary>{_table(shown)}</details>"
    )


def _implausible(shown: Iterable[SyncJob]) -> str:
    counts = [getattr(job, f"documents_{name}") for job in shown for name in _COUNTS]
    wrong = sum(count is not None and _plausible(count) is None for count in counts)
    if not wrong:
        return ""
    are = (
        "count of documents is not plausible, and is"
        if wrong == 1
        else "counts of documents are not plausible, and are"
    )
    return f'<p class="notice bad">{wrong} {are} left out of the charts.</p>'


def _plausible(count: int | None) -> int | None:
    """The count, unless it is none that documents can have: the service sends counts as text of any length."""
    return count if count is not None and 0 <= count <= _MOST_DOCUMENTS else None


def _number(count: int | None) -> str:
    if count is None:
        return ""
    return "implausible" if _plausible(count) is None else f"{count:,}"


def _outcome_keys(shown: Iterable[SyncJob]) -> str:
    seen = {_look(job) for job in shown}
    return " ".join(_key(look.css, look.symbol, look.css) for look in _LOOKS if look in seen)


def _count_keys() -> str:
    return " ".join(_key(name, "", name) for name in _COUNTS)


def _key(css: str, symbol: str, words: str) -> str:
    return f'<span class="nowrap"><span class="key {css}">{symbol}</span> {words}</span>'


def _table(shown: Iterable[SyncJob]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("Started", "Outcome", "Duration", *_COUNTS, "Sync job, error"))
    rows = "".join(map(_row, shown))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(job: SyncJob) -> str:
    look = _look(job)
    counts = (getattr(job, f"documents_{name}") for name in _COUNTS)
    return (
        f'<tr><td>{_time(job.start_time)}</td><td class="outcome">'
        f'<span class="key {look.css}">{look.symbol}</span> {_text(job.status)}</td>'
        f"<td>{in_words(job.duration_seconds)}</td>"
        + "".join(f'<td class="number">{_number(count)}</td>' for count in counts)
        + f'<td><code>{_text(job.execution_id)}</code><span class="error">{_text(job.error, 500)}</span></td></tr>'
    )


def _text(text: object, longest: int = 200) -> str:
    """Escape and cut what came from elsewhere, for a page."""
    return escape(plain(text, longest))


_ERROR = 2_000
"""How many characters of an error are shown where it stands alone."""


def _time(time: datetime | None) -> str:
    return f'<time datetime="{time.isoformat()}">{time:%d %b %Y %H:%M}</time>' if time else "at an unknown time"


class _Charts:
    """Charts of sync jobs, as SVG that takes its colours from the page."""

    def __init__(self, pygal: Any) -> None:
        self._pygal = pygal

    def durations(self, jobs: Sequence[SyncJob], now: datetime) -> str:
        """Draw how long each took; what runs has taken so long by now."""
        seconds = [_seconds(job, now) for job in jobs]
        bars = {
            look.css: [value if _look(job) is look else None for job, value in zip(jobs, seconds, strict=True)]
            for look in _LOOKS
        }
        return self._draw("Duration of each sync", jobs, bars, in_words, _ticks(seconds, _ROUND_SECONDS))

    def documents(self, jobs: Sequence[SyncJob]) -> str:
        """Draw what became of the documents of each."""
        bars = {name: [_plausible(getattr(job, f"documents_{name}")) or None for job in jobs] for name in _COUNTS}
        totals = [sum(count or 0 for count in column) for column in zip(*bars.values(), strict=True)]
        return self._draw("Documents of each sync", jobs, bars, "{:,.0f}".format, _ticks(totals, _ROUND_COUNTS))

    def _draw(
        self,
        title: str,
        jobs: Sequence[SyncJob],
        bars: Mapping[str, Sequence[float | None]],
        say: Callable[[float], str],
        ticks: Sequence[float],
    ) -> str:
        """Draw a stack of bars for each job; each kind of bar gets the class of its name."""
        chart = self._pygal.StackedBar(
            width=440,
            height=200,
            margin=6,
            margin_top=12,
            show_legend=False,
            js=(),
            css=(),
            classes=("chart",),
            no_prefix=True,
            disable_xml_declaration=True,
            style=self._pygal.style.Style(label_font_size=15, major_label_font_size=15),
        )
        room = max(_SLOTS - len(jobs), 0)  # few bars are no wider than many
        chart.x_labels = [""] * room + [_look(job).symbol for job in jobs]
        chart.y_labels = [{"value": tick, "label": say(tick)} for tick in ticks]
        for kind, values in bars.items():
            told = [_bar(job, value, f"{say(value or 0)} {kind}") for job, value in zip(jobs, values, strict=True)]
            chart.add(kind, [None] * room + told)
        chart.add_xml_filter(lambda root: _bare(root, title, list(bars)))
        svg: str = chart.render(is_unicode=True)
        return svg


def _bar(job: SyncJob, value: float | None, said: str) -> dict[str, Any] | None:
    if value is None:
        return None
    started = f"{job.start_time:%d %b %Y %H:%M}" if job.start_time else "at an unknown time"
    return {"value": value, "tooltip": f"Started {started}: {said}"}


def _seconds(job: SyncJob, now: datetime) -> float | None:
    if not job.is_finished and job.start_time is not None:
        return max((now - job.start_time).total_seconds(), 0)
    seconds = job.duration_seconds
    return None if seconds is None else max(seconds, 0)


_SLOTS = 10
_ROUND_SECONDS = (
    *(1, 2, 5, 10, 15, 30),
    *(60 * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(3600 * hours for hours in (1, 2, 4, 6, 12, 24)),
)
_ROUND_COUNTS = tuple(factor * 10**power for power in range(12) for factor in (1, 2, 5))


def _ticks(values: Sequence[float | None], steps: Sequence[int]) -> list[float]:
    """Give round values for an axis, from 0 to the first one that is not below the highest."""
    highest = max((value or 0 for value in values), default=0)
    step = next((step for step in steps if highest <= 4 * step), highest / 4)
    return [number * step for number in range(max(ceil(highest / step), 1) + 1)]


def _bare(root: Any, title: str, kinds: Sequence[str]) -> Any:
    """Take out what is for the library's own scripts and styles, and bars of no height; name the others."""
    for parent in list(root.iter()):
        for child in list(parent):
            is_dressing = not isinstance(child.tag, str) or _local_name(child) in ("script", "style", "desc")
            is_no_bar = child.get("class") == "bar" and not any(_local_name(each) == "title" for each in child)
            if is_dressing or is_no_bar or "overlay" in child.get("class", ""):
                parent.remove(child)
            elif _local_name(child) == "title" and parent is root:
                child.text = title
            elif child.get("class", "").startswith("series "):
                child.set("class", f"bars {kinds[int(child.get('class').split()[1].removeprefix('serie-'))]}")
    root.set("role", "img")
    root.attrib.pop("id", None)
    return root


def _local_name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


# Hatching distinguishes the parts of a bar without their colours.
_PATTERNS = """\
<svg width="0" height="0" aria-hidden="true" style="position:absolute"><defs>
<pattern id="p-lines" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="5" height="5" class="ground"/><rect width="2" height="5" class="ink"/></pattern>
<pattern id="p-cross" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="5" height="5" class="fail"/><path d="M0 0H5M0 0V5" class="line"/></pattern>
<pattern id="p-dots" width="5" height="5" patternUnits="userSpaceOnUse">
<rect width="5" height="5" class="warn"/><circle cx="2.5" cy="2.5" r="1.1" class="paper"/></pattern>
</defs></svg>"""

# Colours of Okabe and Ito, which people with any kind of colour vision can distinguish.
_STYLE = """
:root{--paper:#fff;--card:#f6f7f9;--ink:#1b1f24;--soft:#59636e;--rule:#d5dae0;--ok:#0072b2;--warn:#e69f00;
--fail:#c24a00;--grey:#8a8f98;--alt:#56b4e9;--good-bg:#dcefff;--good-ink:#00466e;--bad-bg:#ffe3d3;--bad-ink:#8a2f00}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1e2329;--ink:#e8ebee;--soft:#a3adb8;--rule:#3a424c;
--ok:#4aa8e0;--warn:#f0b93a;--fail:#f0793a;--grey:#8d96a1;--alt:#a6d8f5;--good-bg:#0d3552;--good-ink:#bfe2fa;
--bad-bg:#55230b;--bad-ink:#ffd3bb}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:64rem;padding:1rem;background:var(--paper);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:.5rem 0 .25rem}h2{font-size:1.15rem;margin:0}p{margin:.25rem 0}
code{font:.85em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
header p,footer,.id,.span{color:var(--soft);font-size:.875rem}
section{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:1rem;margin:1rem 0}
.head{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center;justify-content:space-between}
.badge,.overview li{border-radius:1rem;padding:.1rem .75rem;font-weight:600;white-space:nowrap}
.overview{display:flex;flex-wrap:wrap;gap:.5rem;list-style:none;padding:0;margin:.75rem 0 0}
.overview li{font-weight:400;border-radius:.4rem}
.good{background:var(--good-bg);color:var(--good-ink)}.bad{background:var(--bad-bg);color:var(--bad-ink)}
.none{background:var(--rule);color:var(--ink)}
.notice{padding:.5rem .75rem;border-radius:.4rem;border:1px solid var(--rule);margin-top:.75rem}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(18rem,100%),1fr));gap:.5rem 1.5rem;margin:.75rem 0}
dt{color:var(--soft);font-size:.8rem}dd{margin:0}
.error{color:var(--bad-ink)}
@media (prefers-color-scheme:light){.error{color:var(--fail)}}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr));gap:1rem}
figure{margin:0;min-width:0;display:flex;flex-direction:column;justify-content:space-between}
figcaption{font-size:.875rem;font-weight:600}figcaption span{font-weight:400}
svg.chart{display:block;width:100%;height:auto;font-family:inherit;fill:var(--ink)}
.chart .background{fill:none}.chart text{font-size:13px;stroke:none;fill:var(--soft)}
@media (max-width:30rem){.chart text{font-size:16px}}
.chart .axis.y text{text-anchor:end}.chart .axis.x text{text-anchor:middle;fill:var(--ink)}
.chart .axis .line{stroke:var(--rule);fill:none}.chart .axis.x .guide.line{stroke:none}
.bars rect{stroke:var(--card);stroke-width:.5}
.bars.succeeded{fill:var(--ok)}.bars.incomplete{fill:url(#p-dots)}.bars.failed{fill:url(#p-cross)}
.bars.aborted{fill:var(--grey)}.bars.running{fill:none}
.bars.running rect{stroke:var(--ok);stroke-width:1.5;stroke-dasharray:3 2}
.bars.added{fill:var(--ok)}.bars.modified{fill:url(#p-lines)}.bars.deleted{fill:var(--grey)}
.nowrap{white-space:nowrap}
.ground{fill:var(--card)}.ink{fill:var(--alt)}.fail{fill:var(--fail)}.warn{fill:var(--warn)}.paper{fill:var(--card)}
.line{stroke:var(--card);stroke-width:1.2;fill:none}
.key{display:inline-block;min-width:1.15em;height:1.15em;line-height:1.15em;text-align:center;border-radius:.2em;
font-weight:700;font-size:.85em;color:var(--paper);vertical-align:middle}
.key.succeeded,.key.added{background:var(--ok)}.key.incomplete{background:var(--warn);color:#1b1f24}
.key.failed{background:var(--fail)}.key.aborted,.key.deleted{background:var(--grey)}
.key.modified{background:repeating-linear-gradient(45deg,var(--alt) 0 2px,var(--card) 2px 4px)}
.key.failed:empty{background:repeating-linear-gradient(45deg,var(--fail) 0 3px,var(--card) 3px 4px)}
.key.running{border:1.5px dashed var(--ok);color:var(--ink);line-height:.7em}
summary{cursor:pointer;font-size:.875rem;margin-top:.5rem}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.85rem;margin-top:.5rem;width:100%}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--rule);vertical-align:top}
td:not(:last-child),th{white-space:nowrap}td:last-child{min-width:14rem}.number{text-align:right}
th{color:var(--soft);font-weight:600}th::first-letter{text-transform:uppercase}
footer{margin:1.5rem 0}
"""
