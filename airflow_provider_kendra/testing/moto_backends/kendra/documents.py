"""Documents, the versions of them that an index holds, and what a sync changes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any

#: Source: "Quotas" in Kendra's developer guide.
MAX_DOCUMENT_BYTES = 50 * 1024**2
MAX_TEXT_BYTES = 5 * 1024**2

#: Content types whose text is the content itself, and those whose text stands between tags.
PLAIN_TYPES = ("PLAIN_TEXT", "CSV", "JSON", "MD")
MARKUP_TYPES = ("HTML", "XML", "XSLT")

ADD, MODIFY, DELETE, UNMODIFIED = "ADD", "MODIFY", "DELETE", "UNMODIFIED"

Attributes = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Problem:
    """Why a document can't be indexed. The stage is `crawl`, `sync` or `index`."""

    message: str
    stage: str = "index"
    code: str = "InvalidRequest"


@dataclass(frozen=True)
class Document:
    """One version of a document."""

    id: str
    version: str | None = None  # differs if the content or the metadata does
    title: str = ""
    source_uri: str = ""
    content_type: str = "PLAIN_TEXT"
    text: str = ""
    attributes: Attributes = field(default_factory=dict)
    access: list[dict[str, Any]] = field(default_factory=list)
    execution_id: str | None = None  # the sync job that brought it
    problem: Problem | None = None
    is_update: bool = False

    @property
    def text_bytes(self) -> int:
        return len(self.text.encode())


@dataclass
class Change:
    """What a sync does with a document; `is_counted` is False for the deletion of one that was never indexed."""

    action: str
    document: Document
    is_counted: bool = True

    @property
    def problem(self) -> Problem | None:
        return self.document.problem if self.action in (ADD, MODIFY) else None

    @property
    def counted_as(self) -> str | None:
        """The metric in which the sync job counts it."""
        if self.problem is not None:
            return "DocumentsFailed"
        metric = {ADD: "DocumentsAdded", MODIFY: "DocumentsModified", DELETE: "DocumentsDeleted"}.get(self.action)
        return metric if self.is_counted else None


class DocumentStore:
    """The documents of a data source, or those that were put into the index directly."""

    def __init__(self) -> None:
        self.indexed: dict[str, Document] = {}
        #: The newest version of each document whose newest version failed.
        self.failed: dict[str, Document] = {}
        #: Of all indexed documents.
        self.text_bytes = 0

    def __contains__(self, document_id: str) -> bool:
        return document_id in self.indexed or document_id in self.failed

    def compare(self, document: Document) -> Change:
        """Return how a document changes what is indexed. One that failed is not tried again until it changes."""
        known, failed = self.indexed.get(document.id), self.failed.get(document.id)
        newest = failed or known
        if newest is not None and document.version is not None and newest.version == document.version:
            return Change(UNMODIFIED, newest)
        return Change(MODIFY, replace(document, is_update=True)) if known else Change(ADD, document)

    def gone(self, found: set[str]) -> Iterator[Change]:
        """Yield the deletions of documents that a crawl has not found."""
        for document_id in [*self.indexed, *(each for each in self.failed if each not in self.indexed)]:
            if document_id not in found:
                yield self.deletion(document_id)

    def deletion(self, document_id: str) -> Change:
        known = self.indexed.get(document_id)
        return Change(DELETE, known or self.failed[document_id], is_counted=known is not None)

    def apply(self, change: Change) -> None:
        document = change.document
        if change.problem is not None:
            self.failed[document.id] = document
        elif change.action != UNMODIFIED:
            self.failed.pop(document.id, None)
            replaced = self.indexed.pop(document.id, None)
            self.text_bytes -= replaced.text_bytes if replaced else 0
            if change.action != DELETE:
                self.indexed[document.id] = document
                self.text_bytes += document.text_bytes

    def status(self, document_id: str) -> dict[str, str]:
        """Return the status as BatchGetDocumentStatus does."""
        failed = self.failed.get(document_id)
        if failed is not None and failed.problem is not None:
            status = "UPDATE_FAILED" if document_id in self.indexed else "FAILED"
            reason = {"FailureCode": failed.problem.code, "FailureReason": failed.problem.message}
            return {"DocumentId": document_id, "DocumentStatus": status, **reason}
        known = self.indexed.get(document_id)
        status = "NOT_FOUND" if known is None else "UPDATED" if known.is_update else "INDEXED"
        return {"DocumentId": document_id, "DocumentStatus": status}


def plan(
    store: DocumentStore, found: Iterable[Document], try_to_index: Callable[[Change], Problem | None]
) -> list[Change]:
    """Plan what a crawl changes. Documents that are new or have changed are tried, and may fail."""
    changes, ids = [], set()
    for document in found:
        ids.add(document.id)
        change = store.compare(document)
        if change.action != UNMODIFIED and change.problem is None and (problem := try_to_index(change)):
            change = Change(change.action, replace(change.document, problem=problem))
        changes.append(change)
    return [*changes, *store.gone(ids)]


def extract_text(body: bytes, content_type: str) -> str:
    """
    Return the text of a document.

    It is empty for PDF, RTF and the formats of Word, Excel and PowerPoint: nothing here reads them. Such documents are
    indexed, but found by their title and attributes only.
    """
    if content_type in PLAIN_TYPES:
        return body.decode(errors="replace")
    if content_type not in MARKUP_TYPES:
        return ""
    parser = _TextOfPage()
    try:
        parser.feed(body.decode(errors="replace"))
        parser.close()
    except AssertionError:
        pass  # HTMLParser of some Python versions fails at an unknown <![…; the text before it is kept
    return " ".join("".join(parser.parts).split())


class _TextOfPage(HTMLParser):
    """Collects the text of a page, without scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._hidden += tag in ("script", "style")
        self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style") and self._hidden > 0
        self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)

    def unknown_decl(self, data: str) -> None:
        if data.startswith("CDATA["):
            self.parts.append(data.removeprefix("CDATA["))
