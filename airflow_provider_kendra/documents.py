"""Failed documents, parsed from Kendra's logs, and the capacity of an index."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from airflow_provider_kendra._redaction import URI, redact_name, redact_reason, redact_uri, shortened, without_addresses
from airflow_provider_kendra._text import LONGEST_MESSAGE, counted, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["DocumentFailures", "FailedDocument", "IndexCapacity"]

LONGEST_NAME = 300
"""The maximum number of characters kept of an id, a title or a URI."""

LONGEST_REASON = 300
"""The maximum number of characters kept of a reason."""

MOST_REASONS = 20
"""The maximum number of reasons listed separately in totals; the rest are counted as one."""

OTHER_REASONS = "other reasons"

STAGES = ("crawl", "sync", "index")


@dataclass(frozen=True, slots=True)
class FailedDocument:
    """
    A document that Kendra did not index.

    No other field of Kendra's logs is kept: they hold access lists and metadata, which are personal data.

    :param document_id: Its id in the index, as text of at most 300 characters. Kendra does not always log one.
    :param title: Its title, or None.
    :param source_uri: Where it is, without query and user information, or None.
    :param stage: The first stage that failed: ``crawl``, ``sync`` or ``index``; ``unknown`` if Kendra does not say.
    :param reason: Kendra's error message, at most 300 characters; account ids are left out. None if there is none.
    :param error_code: Kendra's error code, or None.
    :param execution_id: The sync job; None if the event was matched by time only.
    """

    document_id: str
    title: str | None = None
    source_uri: str | None = None
    stage: str = "unknown"
    reason: str | None = None
    error_code: str | None = None
    execution_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields in JSON types, as they are."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def __str__(self) -> str:
        cause = ": ".join(filter(None, (self.error_code, self.reason)))
        return (
            f"{self.document_id or self.source_uri or 'a document without an id'} ({self.stage}{cause and ': '}{cause})"
        )


@dataclass(frozen=True)
class DocumentFailures:
    """
    The documents that failed in a sync job, or that are missing from an index.

    :param documents: The first of them.
    :param found: How many were found.
    :param expected: How many the sync job reports as failed (``documents_failed``); None if that is not known.
    :param reasons: How many failed for each reason, the most frequent first, as mappings with ``stage``, ``reason`` and
        ``count``. Ids, URIs and numbers in a reason are masked, so that documents with the same cause count together.
    :param is_complete: Whether everything Kendra logged was read, the logs name as many documents as the sync jobs
        report, and the sync job of each document is known.
    :param source: Where they were found: ``report`` (the sync run history report), ``log`` or None.
    :param note: Why the result is incomplete or missing, and what to do; None if it is complete.
    """

    documents: list[FailedDocument] = field(default_factory=list)
    found: int = 0
    expected: int | None = None
    reasons: list[dict[str, Any]] = field(default_factory=list)
    is_complete: bool = True
    source: str | None = None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields in JSON types; ``documents`` as a list of :meth:`FailedDocument.to_dict`."""
        return {**vars(self), "documents": [each.to_dict() for each in self.documents]}

    def describe(self, start: str | None = None, *, longest: int = LONGEST_MESSAGE, more_in: str | None = None) -> str:
        """
        Return one or more sentences for a message; empty if there is nothing to say.

        :param start: How the list of documents begins, such as ``Missing``. Default None: with how many failed.
        :param longest: About how many characters to return. As many documents and reasons are named as fit, always at
            least the first of each; the rest is counted.
        :param more_in: What holds the documents that are not named, in words. Default None: nothing.
        """
        rest = [self._totals()] if self.found > len(self.documents[:1]) else []
        rest += [self.note] if self.note else []
        if not self.documents:
            return " ".join(rest)
        start = f"{start or counted(self.found, 'document') + ' failed'}: "
        room = longest - len(" ".join([start, *rest])) - _LONGEST_REMAINDER
        named = _fitting(list(map(str, self.documents)), "; ", room)
        more = ""
        if self.found > len(named):
            listed = f" ({more_in} lists {len(self.documents):,})" if more_in and self.documents[len(named) :] else ""
            more = f" and {self.found - len(named):,} more{listed}"
        return " ".join([f"{start}{'; '.join(named)}{more}.", *rest])

    def _totals(self) -> str:
        totals = [f"{each['count']:,} × {each['reason']} ({each['stage']})" for each in self.reasons]
        named = _fitting(totals, ", ", _LONGEST_TOTALS)
        rest = sum(each["count"] for each in self.reasons[len(named) :])
        return f"By reason: {', '.join([*named, *([f'{rest:,} × {OTHER_REASONS}'] if rest else [])])}."


_LONGEST_TOTALS = 1_000
"""The maximum number of characters of the totals in a message."""

_LONGEST_REMAINDER = 80
"""The maximum number of characters of the clause that counts the unnamed documents."""


def _fitting(texts: Sequence[str], separator: str, longest: int) -> Sequence[str]:
    """Return the first of these texts, as many as fit when they are joined, but at least one."""
    length = 0
    for number, text in enumerate(texts):
        length += len(text) + len(separator)
        if number and length > longest:
            return texts[:number]
    return texts


@dataclass(frozen=True)
class IndexCapacity:
    """
    How full an index is.

    Limits: "Adjusting capacity" in Kendra's developer guide. Each storage unit adds the base capacity once more.

    :param edition: Its edition, such as ``ENTERPRISE_EDITION``.
    :param units: Storage capacity units that were added; 0 if none.
    :param documents: Documents in the index.
    :param documents_limit: How many it can hold; None for an edition whose capacity is not known.
    :param text_bytes: Bytes of text extracted from them.
    :param text_bytes_limit: How many bytes it can hold; None for an edition whose capacity is not known.
    """

    edition: str
    units: int
    documents: int
    documents_limit: int | None
    text_bytes: int
    text_bytes_limit: int | None

    @property
    def share(self) -> float | None:
        """The larger of the two shares that are used: 0 empty, 1 full; None for an unknown edition."""
        if not self.documents_limit or not self.text_bytes_limit:
            return None
        return max(self.documents / self.documents_limit, self.text_bytes / self.text_bytes_limit)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and ``share`` in JSON types."""
        return {**vars(self), "share": self.share}

    def __str__(self) -> str:
        if self.share is None:
            return f"{self.documents:,} documents ({self.edition}, whose capacity is not known)"
        return (
            f"{self.share:.0%} full: {self.documents:,} of {self.documents_limit:,} documents, "
            f"{self.text_bytes:,} of {self.text_bytes_limit:,} bytes of text"
        )


CAPACITY = {
    "DEVELOPER_EDITION": (10_000, 3 * 1024**3),
    "ENTERPRISE_EDITION": (100_000, 30 * 1024**3),
    "GEN_AI_ENTERPRISE_EDITION": (20_000, 200 * 1024**2),
}
"""Documents and bytes of text for each unit, by edition."""


def capacity_of(index: Mapping[str, Any]) -> IndexCapacity:
    """
    Read the capacity of an index.

    :param index: The response of ``DescribeIndex``.
    """
    edition = str(index.get("Edition") or "ENTERPRISE_EDITION")
    units = int((index.get("CapacityUnits") or {}).get("StorageCapacityUnits") or 0)
    statistics = (index.get("IndexStatistics") or {}).get("TextDocumentStatistics") or {}
    documents, text_bytes = CAPACITY.get(edition, (0, 0))
    return IndexCapacity(
        edition=plain(edition, LONGEST_NAME),
        units=units,
        documents=int(statistics.get("IndexedTextDocumentsCount") or 0),
        documents_limit=documents * (1 + units) or None,
        text_bytes=int(statistics.get("IndexedTextBytes") or 0),
        text_bytes_limit=text_bytes * (1 + units) or None,
    )


@dataclass(frozen=True, slots=True)
class DocumentEvent:
    """
    What one event of Kendra's logs says about a document.

    :param document: The document.
    :param keys: Its id and URI, if known; long ones hashed, not truncated as in ``document_id`` and ``source_uri``.
    :param cause: The reason without what differs from document to document; "" unless it failed.
    :param is_failure: Whether the document failed.
    :param is_resolved: Whether it was indexed or deleted.
    :param is_deletion: Whether Kendra deleted the document, or tried to.
    """

    document: FailedDocument
    keys: tuple[str, ...]
    cause: str
    is_failure: bool
    is_resolved: bool
    is_deletion: bool

    @property
    def key(self) -> str:
        """Identifies a document: its id, or its URI if it has none (documents can share a URI)."""
        return self.keys[0]


def read_event(message: str, execution_id: str | None) -> DocumentEvent | None:
    """
    Read an event of Kendra's log streams; None if it says nothing about a document.

    :param message: Its text.
    :param execution_id: The sync job of its stream.
    """
    event = _parsed(message)
    if event is None:
        return None
    invalid = _INVALID_METADATA.search(_raw(event.get("Message")))
    raw_id = _raw(event.get("DocumentId")) or _raw(event.get("DocumentID")) or (invalid[1] if invalid else "")
    uri = _raw(event.get("SourceUri")) or _raw(event.get("S3Path"))
    if not raw_id and not uri:
        return None
    title = _raw(event.get("DocumentTitle"))
    reason = shortened(_raw(event.get("ErrorMsg") or event.get("ErrorMessage") or event.get("Message")))
    code = shortened(_raw(event.get("ErrorCode") or event.get("DataSourceErrorCode")))
    failed = _failed_stage(event) or ("crawl" if invalid else None)
    is_deletion = _action(event).startswith("DELETE")
    return DocumentEvent(
        FailedDocument(
            document_id=_name(raw_id) or "",
            title=_name(title),
            source_uri=_uri(uri),
            stage=failed or "unknown",
            reason=_reason(reason) if failed else None,
            error_code=_reason(code),
            execution_id=execution_id,
        ),
        keys=tuple(map(_key, filter(None, (raw_id, uri)))),
        cause=cause_of(reason or code, [raw_id, uri, title]) if failed else "",
        is_failure=failed is not None,
        is_resolved=failed is None and (is_deletion or _is_indexed(event)),
        is_deletion=is_deletion,
    )


_INVALID_METADATA = re.compile(r"invalid metadata file (\S+?)\.?\s*$", re.IGNORECASE)


def _parsed(message: str) -> Mapping[str, Any] | None:
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _failed_stage(event: Mapping[str, Any]) -> str | None:
    """Return the first stage that failed, ``unknown`` if it failed in no known stage, None if it did not fail."""
    for stage in STAGES:
        if _status(event.get(f"{stage.capitalize()}Status")) == "FAILED":
            return stage
    if _status(event.get("IndexingStatus")) == "DOCUMENTFAILEDTOINDEX":
        return "index"
    is_failure = _status(event.get("ConnectorDocumentStatus")) == "FAILED"
    return "unknown" if is_failure or ("ConnectorDocumentStatus" not in event and event.get("ErrorCode")) else None


def _is_indexed(event: Mapping[str, Any]) -> bool:
    return _status(event.get("IndexStatus")) == "SUCCESS" and _action(event) != "UNMODIFIED"


def _action(event: Mapping[str, Any]) -> str:
    """Return what the sync did to the document; what can't be read counts as nothing."""
    action = event.get("CrawlAction", "")
    return action.upper() if isinstance(action, str) else "UNMODIFIED"


def _status(value: object) -> str:
    """Return a status, which is an object with a member ``Status`` or plain text."""
    return str(value.get("Status") if isinstance(value, dict) else value).upper()


def _raw(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) else ""


def _key(name: str) -> str:
    """Return a short text that is different for different names."""
    return name if len(name) <= LONGEST_NAME else hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _name(text: str) -> str | None:
    return plain(redact_name(text), LONGEST_NAME) or None


def _uri(text: str) -> str | None:
    return plain(redact_uri(text), LONGEST_NAME) or None


def _reason(text: str) -> str | None:
    return plain(redact_reason(text).strip(), LONGEST_REASON) or None


_MASKS = (
    (re.compile(r"(request id:? )[^\s;,)]+", re.IGNORECASE), r"\1<id>"),
    (re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9:.,]+Z?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b(?=[a-z]{0,99}[0-9])[0-9a-z]{16,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"(?<![^\s'\"])[^\s'\"/]*/[^\s'\"]*"), "<path>"),
    (re.compile(r"[0-9]{4,}"), "<number>"),
)


def cause_of(reason: str, names: Iterable[str]) -> str:
    """
    Return a reason without what differs from document to document.

    :param reason: The reason, "" for none.
    :param names: What the document is called; replaced together with its file name.
    """
    text = shortened(reason)
    known = {part for name in names for part in (name, name.rpartition("/")[2])}
    for name in sorted(known, key=len, reverse=True):
        if len(name) >= _SHORTEST_NAME:
            text = text.replace(name, "<document>")
        elif any(map(str.isdecimal, name)):  # a short id can be part of a word or a number
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<document>", text)
    text = redact_reason(without_addresses(URI.sub("<uri>", text), "<address>"))  # a mask would break up a secret
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return _reason(text) or "no reason given"


_SHORTEST_NAME = 3  # a shorter id would be found within words


def total(causes: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """
    Count documents by stage and cause, the most frequent first.

    :param causes: The stage and the cause of each document.
    """
    counts = Counter(causes)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    totals = [{"stage": stage, "reason": reason, "count": count} for (stage, reason), count in ordered[:MOST_REASONS]]
    if rest := sum(count for _, count in ordered[MOST_REASONS:]):
        totals.append({"stage": "unknown", "reason": OTHER_REASONS, "count": rest})
    return totals
