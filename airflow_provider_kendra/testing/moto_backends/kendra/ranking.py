"""Ranks passages with SQLite's full-text search (BM25): a stand-in for Kendra's ranking, which is not public."""

import re
import sqlite3
import string
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from .exceptions import ValidationException

#: Kendra reads 30 words of a query, without punctuation and stop words (API reference of Query). Its list of stop words
#: is not public.
MAX_QUERY_WORDS = 30
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by can do does for from has have how i in is it its my of on or our s t that the their "
        "there this to was we were what when where which who why will with you your",
    )
)

TITLE_WEIGHT = 2.0

#: Put around each match by SQLite. Documents that contain them, or NUL, get a space instead.
BEGIN, END = "\ue000", "\ue001"
_UNWANTED = {0: " ", ord(BEGIN): " ", ord(END): " "}
_BETWEEN_WORDS = re.compile(rf"[\s{re.escape(string.punctuation)}]+")


@dataclass(frozen=True)
class Hit:
    """A passage that matches. BEGIN and END mark each matching word in title and text."""

    place: int  # of the document in the list that was searched
    score: float | None  # None: there was no query text
    title: str
    text: str


def find(texts: Sequence[tuple[str, str]], query: str | None, *, words_per_passage: int) -> list[Hit]:
    """
    Return the passages that contain a word of the query, best first.

    Equal scores keep the order of the documents. Words match by their stem (English), without case and accents.

    :param texts: Title and text of each document.
    :param query: Only words are read, no operators. ``None`` finds each document by its first passage.
    :raises ValidationException: if this Python's SQLite has no full-text search.
    """
    cleaned = ((place, clean(title), clean(text)) for place, (title, text) in enumerate(texts))
    if query is None:
        return [Hit(place, None, title, next(passages(text, words_per_passage))) for place, title, text in cleaned]
    expression = as_expression(query)
    if not expression:
        return []
    with closing(sqlite3.connect(":memory:")) as database:
        try:
            database.execute("CREATE VIRTUAL TABLE passage USING fts5(title, text, place UNINDEXED, tokenize='porter')")
        except sqlite3.OperationalError as error:
            raise ValidationException(f"QueryText needs a Python whose SQLite has FTS5: {error}") from None
        database.executemany(
            "INSERT INTO passage VALUES (?, ?, ?)",
            ((title, each, place) for place, title, text in cleaned for each in passages(text, words_per_passage)),
        )
        rows = database.execute(
            "SELECT place, -bm25(passage, ?), highlight(passage, 0, ?, ?), highlight(passage, 1, ?, ?) "
            "FROM passage WHERE passage MATCH ? ORDER BY 2 DESC, rowid",
            (TITLE_WEIGHT, BEGIN, END, BEGIN, END, expression),
        )
        return [Hit(*row) for row in rows]


def as_expression(query: str) -> str:
    """Return an FTS5 expression that matches any content word of the query; empty if it has no words."""
    words = dict.fromkeys(word for word in _BETWEEN_WORDS.split(clean(query)) if word)
    content_words = [word for word in words if word.casefold() not in STOP_WORDS] or list(words)
    return " OR ".join(f'"{word}"' for word in content_words[:MAX_QUERY_WORDS])


def passages(text: str, words: int) -> Iterator[str]:
    """Split a text into passages; one that has no words is one empty passage."""
    is_empty = True
    for match in re.finditer(rf"\S+(?:\s+\S+){{0,{words - 1}}}", text):
        is_empty = False
        yield match[0]
    if is_empty:
        yield ""


def read_marks(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """Return a text without the marks of its matches, and where each match begins and ends."""
    text, *rest = marked.split(BEGIN)
    spans = []
    for part in rest:
        match, _, after = part.partition(END)
        spans.append((len(text), len(text) + len(match)))
        text += match + after
    return text, spans


def clean(text: str) -> str:
    """Return a text of the same length that SQLite can store and that has no marks."""
    return text.translate(_UNWANTED).encode(errors="replace").decode()
