"""Pages of a list. moto's paginator can't be used: its tokens differ in each process, and new items shift its pages."""

import base64
import json
from collections.abc import Iterable
from math import isfinite
from typing import TypeVar

from .exceptions import ValidationException

T = TypeVar("T")


def paginate(
    entries: Iterable[tuple[list[float], T]], limit: int, token: str | None, scope: str
) -> tuple[list[T], str | None]:
    """Return a page of entries in ascending order. Its token holds the last key served: new entries do not shift it."""
    after = decode_token(token, scope) if token is not None else None
    page: list[tuple[list[float], T]] = []
    for key, item in entries:
        if after is not None and key <= after:
            continue
        if len(page) == limit:
            return [served for _, served in page], encode_token(page[-1][0], scope)
        page.append((key, item))
    return [served for _, served in page], None


def encode_token(key: list[float], scope: str) -> str:
    """Make a token of the last key served; it is valid only for the same list."""
    return base64.urlsafe_b64encode(json.dumps([scope, *key]).encode()).decode()


def decode_token(token: str, scope: str) -> list[float]:
    """
    Return the last key served.

    :raises ValidationException: for any text that is not a token of this list.
    """
    try:
        owner, *parts = json.loads(base64.urlsafe_b64decode(token))
        key = [float(parts[0]), int(parts[1])]
        if owner == scope and isfinite(key[0]) and encode_token(key, scope) == token:
            return key
    except (ValueError, TypeError, IndexError, OverflowError):
        pass
    raise ValidationException("The provided NextToken is invalid")
