"""Removes personal data and secrets from the texts of Kendra's logs."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

LONGEST = 3_000
"""The maximum number of characters of a text that are read; what is shown is shorter."""

HIDDEN = "…"


def redact_name(text: str) -> str:
    """
    Return an id or a title without user information and secrets.

    A URI keeps its query, which can identify the document.

    :param text: The id or the title.
    """
    text = _SECRET_PARAMETER.sub(rf"\1{HIDDEN}", _without_user_information(text))
    start = re.search(r"[?#]|\Z", text).start()  # type: ignore[union-attr]
    return text[:start] + without_addresses(text[start:])


def redact_uri(text: str) -> str:
    """
    Return a URI without its query, fragment, user information and secret parameters; "" if it is malformed.

    :param text: The URI.
    """
    bare = re.split(r"[?#]", _without_user_information(text), maxsplit=1)[0]
    try:
        urlsplit(bare)
    except ValueError:
        return ""
    return _SECRET_PARAMETER.sub(rf"\1{HIDDEN}", bare)


def redact_reason(text: str) -> str:
    """
    Return an error message without account ids, addresses, names of IAM users, secrets and the queries of URIs.

    :param text: The message, as :func:`shortened` returns it.
    """
    text = URI.sub(lambda found: redact_uri(found[0]), text)
    for secret in (_SECRET_PARAMETER, _SECRET):
        text = secret.sub(rf"\1{HIDDEN}", text)
    return without_addresses(_ACCOUNT.sub(HIDDEN, text))


def without_addresses(text: str, mask: str = HIDDEN) -> str:
    """
    Return a text without e-mail addresses.

    :param text: The text.
    :param mask: What to show instead.
    """
    return _ADDRESS.sub(mask, text) if _AT.search(text) else text  # most texts have none, and the search takes long


def without_values(text: Any) -> Any:
    """
    Return a text without the values in "Value '…' at 'documents.1.member.title' failed to satisfy constraint: …".

    A value can itself contain such a text, so everything from the first value to the last path is removed.

    :param text: The text; anything else is returned as it is.
    """
    return _QUOTED.sub(r"Value\1", text) if isinstance(text, str) else text


_QUOTED = re.compile(r"\bValue '(?:.*'( at ')(?=[\w.]+' failed to satisfy constraint)|.*)", re.DOTALL)


def shortened(text: str) -> str:
    """
    Return an error message with each embedded object, such as JSON, replaced by its message.

    A longer text is truncated, without a part of a word at its end.

    :param text: The message.
    """
    text = _without_objects(without_values(text))
    head = text[:LONGEST]
    if len(text) <= LONGEST:
        return head
    last_word = re.match(r"[^\s\"'<>]*", head[::-1])[0]  # type: ignore[index]
    return head.removesuffix(last_word[::-1]) or head


# The numbers of repetitions are limited: otherwise a long text without spaces would take quadratic time.

URI = re.compile(r"\b[a-z][a-z0-9+.-]{0,19}://[^\s\"'<>]+", re.IGNORECASE)

_ADDRESS = re.compile(
    r"[^\s@\uff20<>\"'(:;,/?&#=]{1,64}(?:@|\uff20|%40|\\u0040|&#64;)[^\s@\uff20<>\"'):;,/?&#=]{1,255}"
    r"\.(?:xn--[a-z0-9-]{1,59}|[^\W\d_]{2,63})",
    re.IGNORECASE,
)

_AT = re.compile(r"@|\uff20|%40|\\u0040|&#64;")

_ACCOUNT = re.compile(r"(?<![0-9])(?:[0-9]{12}|[0-9]{4}-[0-9]{4}-[0-9]{4})(?![0-9])")

_SECRET_PARAMETER = re.compile(
    r"((?:[?&#;]|%3f|%26|%23)[^=&#?;\s%]{0,60}"
    r"(?:sig|token|secret|passw|pwd|auth|credential|session|key|jwt|saml|cookie|user|login|mail)"
    r"[^=&#?;\s%]{0,60}(?:=|%3d))[^&#\s]*",
    re.IGNORECASE,
)

_QUOTE = r"(?:\\{0,4}[\"'])?"

_SECRET = re.compile(
    rf"((?:passw|pwd|client.?secret)[a-z_.-]{{0,30}}{_QUOTE}\s?[:=]\s?{_QUOTE}"
    rf"|secret[a-z_.-]{{0,30}}{_QUOTE}\s?(?:=\s?|:\s){_QUOTE}"
    rf"|(?:token|credential|api.?key)[a-z_.-]{{0,30}}{_QUOTE}"
    rf"\s?(?:=\s?|:\s?(?={_QUOTE}[a-z0-9+/=._~-]{{20}})){_QUOTE}"
    rf"|authorization{_QUOTE}\s?[:=]\s?{_QUOTE}(?:[a-z0-9-]{{1,20}} )?"
    r"|bearer (?=[a-z0-9+/=._~-]{20})"
    r"|:(?:user|federated-user|assumed-role/[^/\s]{1,128})/)"  # in an ARN
    # Up to the closing quote, or else up to the end of the word.
    r"(?:(?<=\")(?:\\.|[^\"\\])+|(?<=')(?:\\.|[^'\\])+|[^\s,;&\"'<>)]+)",
    re.IGNORECASE,
)


def _without_user_information(text: str) -> str:
    head = text[:LONGEST]
    if len(text) > LONGEST:  # the end of the user information may have been cut
        return _CUT_USER_INFORMATION.sub(r"\1", _USER_INFORMATION.sub(r"\1", head))
    return _LOGIN.sub("", _USER_INFORMATION.sub(r"\1", head))


# A password may contain "/". What follows a colon is taken for one unless it can be a port.
_BEFORE_HOST = r"((?:[a-z][a-z0-9+.-]{0,19}:)?//)(?:[^/?#\s]*|[^/?#\s@:\[\]]*:(?![0-9]*(?:[/?#\s]|\Z))[^\s?#]*)"
_USER_INFORMATION = re.compile(rf"{_BEFORE_HOST}@", re.IGNORECASE)
_CUT_USER_INFORMATION = re.compile(rf"{_BEFORE_HOST}\Z", re.IGNORECASE)
_LOGIN = re.compile(r"\A\s*[^\s/?#@:]+:[^\s/?#@]*@")  # user:password@host/path


def _without_objects(text: str, depth: int = 0) -> str:
    """Replace each object or list in a text by its message; what can't be parsed is left out up to the end."""
    parts, position = [], 0
    while (found := _OBJECT.search(text, position)) is not None:
        parts.append(text[position : found.start()])
        try:
            value, position = _DECODER.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            return "".join([*parts, HIDDEN])
        parts.append(_message_of(value, depth) or HIDDEN)
    return "".join([*parts, text[position:]])


_DECODER = json.JSONDecoder()

# JSON, Python, XML, what Java shows, such as "acl=[Principal(name=…)]", and lists of users without brackets.
_OBJECT = re.compile(
    r"[\[{]\s{0,9}(?:[\[{]\s{0,9}){0,9}\\{0,9}[\"']|\b(?:acl|metadata)\s?[:=]?\s?[\[{(]"
    r"|<(?:acl|metadata|\w{0,30}(?:access_?control_?list|attributes|authors|groups|principals|users))\b"
    r"|\b\w{0,30}(?:access_?control_?list|attributes|authors|groups|principals|users)\s?[:=]\s?[\[{(]"
    r"|\b(?:acl|\w{0,30}access_?control_?list|_?authors?)\s?[:=]|\bprincipal\s?\(",
    re.IGNORECASE,
)

_MESSAGES = ("message", "errormessage", "errormsg", "error_description", "error", "reason", "detail", "description")

_DEEPEST = 8


def _message_of(value: object, depth: int) -> str:
    """Return the message of an error that is an object, or ""."""
    if depth >= _DEEPEST:
        return ""
    if isinstance(value, str):
        return _without_objects(value, depth + 1)
    if not isinstance(value, dict):
        return ""
    members = {name.lower(): member for name, member in value.items()}
    return next(filter(None, (_message_of(members.get(name), depth + 1) for name in _MESSAGES)), "")
