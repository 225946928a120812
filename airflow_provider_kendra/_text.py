"""Makes texts that others wrote harmless wherever people read them: in logs, errors, terminals and pages."""

from __future__ import annotations

LONGEST = 2_000
"""How many characters of one text are shown."""

LONGEST_MESSAGE = 4_000
"""How many characters a whole message may have, which can show more than one text."""


def plain(text: object, longest: int = LONGEST) -> str:
    r"""
    Show a text in one line: what is not printable becomes its escape, such as ``\n`` or ``\u202e``.

    This covers control characters, ANSI escapes, line and paragraph separators, bidirectional controls, characters of
    no width and surrogates. A text that is plain already stays as it is.

    :param text: What somebody else wrote.
    :param longest: How many characters to keep; the last one of a text that was cut is an ellipsis.
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
    Show a value as Python writes it, cut.

    :param value: Whatever was passed.
    """
    return plain(repr(value), _LONGEST_VALUE)


_LONGEST_VALUE = 300


def storable(text: str, longest: int) -> str:
    """
    Keep a text as data: as it is, but of bounded size, and without surrogates, which no database takes.

    :param text: What somebody else wrote.
    :param longest: How many characters to keep.
    """
    return text[:longest].encode("utf-8", "replace").decode()


def make_plain(error: BaseException) -> None:
    """
    Make the messages of an error, and of those that led to it, plain: a traceback prints all of them.

    :param error: What a library raised.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.args = tuple(plain(value) if isinstance(value, str) else value for value in each.args)
        if isinstance(each, OSError) and isinstance(each.strerror, str):  # what it shows
            each.strerror = plain(each.strerror)
        if notes := getattr(each, "__notes__", None):
            notes[:] = map(plain, notes)
        pending += [each.__cause__, each.__context__, *(arg for arg in each.args if isinstance(arg, BaseException))]
