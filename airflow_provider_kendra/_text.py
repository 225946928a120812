"""Texts for logs, errors, terminals and pages: external ones are sanitised."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 2_000
"""The maximum number of characters shown of one text."""

LONGEST_MESSAGE = 4_000
"""The maximum number of characters of a whole message, which can contain several texts."""

REJECTED = "AWS rejected the request: "
"""How the message of a request that AWS has rejected begins; an error code follows."""


def plain(text: object, longest: int = LONGEST) -> str:
    r"""
    Return a text in one line, with unprintable characters escaped, for example as ``\n`` or ``\u202e``.

    This covers control characters, ANSI escapes, line and paragraph separators, bidirectional controls, zero-width
    characters and surrogates. A printable text is returned unchanged.

    :param text: An external text.
    :param longest: The maximum number of characters to keep; a text that is cut ends with an ellipsis.
    """
    whole = str(text)
    head = whole[: longest + 1]
    if not head.isprintable():
        head = "".join(each if each.isprintable() else _escaped(each) for each in head)
    return head if len(head) <= longest else f"{head[: longest - 1]}…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def shown(value: object) -> str:
    """
    Return the ``repr`` of a value, sanitised and cut.

    :param value: Any value.
    """
    return plain(repr(value), _LONGEST_VALUE)


_LONGEST_VALUE = 300


def storable(text: str, longest: int) -> str:
    """
    Cut a text for storage, and replace surrogates, which databases reject.

    :param text: An external text.
    :param longest: The maximum number of characters to keep.
    """
    return text[:longest].encode("utf-8", "replace").decode()


def label(name: str, data_source_id: str, *, is_unique: bool = True) -> str:
    """
    Return what to call a data source: its name, with the id if others have that name; without a name, the id.

    :param name: Its name in Kendra; "" if it is not known.
    :param data_source_id: Its id.
    :param is_unique: Whether no other data source has this name.
    """
    return " ".join(filter(None, (plain(name, _LONGEST_NAME), "" if name and is_unique else data_source_id)))


def with_names(text: str, names: Mapping[str, str]) -> str:
    """
    Put the names of data sources before their ids, as in "data source policies 4f5a…".

    :param text: A message.
    :param names: The names that are known, by id.
    """

    def named(found: re.Match[str]) -> str:
        return f"data source {label(names.get(found[1], ''), found[1], is_unique=False)}"

    return re.sub(r"\bdata source ([a-zA-Z0-9][a-zA-Z0-9_-]*)", named, text) if names else text


_LONGEST_NAME = 60


def counted(number: int, noun: str) -> str:
    """
    Return a number with its noun.

    :param number: The number.
    :param noun: The noun in the singular.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def are_missing(number: int) -> str:
    """
    Return how many documents are missing, as a sentence without the final period.

    :param number: The number.
    """
    return f"{counted(number, 'document')} {'is' if number == 1 else 'are'} missing"


def make_plain(error: BaseException) -> None:
    """
    Sanitise the messages of an error and its causes, since a traceback prints all of them.

    :param error: The error; changed in place.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.args = tuple(plain(value) if isinstance(value, str) else value for value in each.args)
        if isinstance(each, OSError) and isinstance(each.strerror, str):  # str() shows this
            each.strerror = plain(each.strerror)
        if notes := getattr(each, "__notes__", None):
            notes[:] = map(plain, notes)
        pending += [each.__cause__, each.__context__, *(arg for arg in each.args if isinstance(arg, BaseException))]
