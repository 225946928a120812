"""
Globs as the inclusion and exclusion patterns of S3 data sources use them.

The rules follow the examples in the API reference of S3DataSourceConfiguration: ``*`` stays within a directory, ``**``
does not, ``{png, md}`` and ``!(*.module)`` are groups, and a leading slash means the bucket.
"""

import re
from functools import lru_cache

#: Each "not" group doubles the size of the regular expression.
MAX_NEGATIONS = 5

TOKENS = re.compile(r"\*\*+/|\*\*+|!\(|\[[!^]?\]?[^\]]*\]|\\.|.", re.DOTALL)


@lru_cache(maxsize=1_000)
def compiled(glob: str) -> re.Pattern[str]:
    """
    Return a regular expression for keys without a leading slash.

    :raises ValueError: if the glob is not valid.
    """
    if glob.count("!(") > MAX_NEGATIONS:
        raise ValueError(f"it has more than {MAX_NEGATIONS} groups of the form !(…)")
    try:
        return re.compile(_regex(re.sub(r"^\\?/", "", glob)) + r"\Z", re.DOTALL)
    except (re.error, RecursionError) as error:
        raise ValueError(str(error)) from None


def matches(key: str, globs: tuple[str, ...]) -> bool:
    """Whether a key matches one of the globs."""
    key = key.removeprefix("/")
    return any(compiled(glob).match(key) for glob in globs)


def _regex(glob: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(glob):
        token = TOKENS.match(glob, at)[0]  # type: ignore[index]  # matches any character
        brackets = {"{": "},", "!(": ")|"}.get(token)
        group = _group(glob, at + len(token), *brackets) if brackets else None
        if group is None:
            parts.append(_simple(token))
            at += len(token)
            continue
        alternatives, at = group
        inner = "(?:" + "|".join(_regex(each.strip()) for each in alternatives) + ")"
        if token == "{":
            parts.append(inner)
            continue
        rest = _regex(glob[at:])
        return "".join(parts) + rf"(?!{inner}{rest}\Z)[^/]*{rest}"
    return "".join(parts)


def _simple(token: str) -> str:
    """Translate what is not a group."""
    if token.startswith("**"):
        return "(?:[^/]*/)*" if token.endswith("/") else ".*"
    if token in ("*", "?"):
        return "[^/]*" if token == "*" else "[^/]"
    if token[0] == "[" and len(token) > 2:
        inside = token[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return "[^/" + inside[1:] + "]" if inside[0] in "!^" else f"[{inside}]"
    if token[0] == "\\" and len(token) == 2:
        return re.escape(token[1])
    return re.escape(token)


def _group(glob: str, start: int, closing: str, separator: str) -> tuple[list[str], int] | None:
    """Return the alternatives of the group whose inside starts here, and where it ends; `None` if it is not closed."""
    depth, begin = 0, start
    alternatives: list[str] = []
    for at in range(start, len(glob)):
        character = glob[at]
        if character in "({":
            depth += 1
        elif character == closing and depth == 0:
            return [*alternatives, glob[begin:at]], at + 1
        elif character in ")}":
            depth -= 1
        elif character == separator and depth == 0:
            alternatives.append(glob[begin:at])
            begin = at + 1
    return None
