"""Requests made from the service model: valid ones, and ones with exactly one violation."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from tests.unit.testing.wire import JSON_TYPES, compiled, complaints

Place = tuple[str, ...]

TEXTS = (
    "text", "a" * 36, "10s", "1", "0", "https://example.com/", "https://example.com",
    "arn:aws:iam::123456789012:role/kendra", "arn:aws:lambda:us-east-1:123456789012:function:name", "fs-0123456789",
    "d-0123456789", "2026-01-31", "example.service-now.com", "https://example.atlassian.net/", "a@example.com",
    "example.com", "ABC", "01234567-89ab-cdef-0123-456789abcdef", "",
)  # fmt: skip
ODD_TEXTS = ("!", "\x00", " ", "!" * 40, "\x00" * 40, " " * 40, "ftp:!", "a\n")
PADDING = ("a", "0", "A", "x/", ".a", "")
NUMBERS = (1, 0)
KINDS: dict[str, Any] = {"string": "1", "number": 1, "boolean": True, "array": [], "object": {}}


class Violation(NamedTuple):
    """A request that breaks one rule of the model, and where."""

    operation: str
    place: str
    rule: str
    request: Any

    @property
    def name(self) -> str:
        return f"{self.operation} {self.place or 'request'}: {self.rule}"


def valid(shape: Any, *, everything: bool = False, above: Place = ()) -> Any:
    """A valid value with the required members only, or with every member; a shape inside itself is left out."""
    kind = shape.type_name
    if shape.metadata.get("document"):
        return {"type": "S3"}
    above = (*above, shape.name)
    if kind == "structure":
        names = shape.members if everything else shape.required_members
        return {
            name: valid(shape.members[name], everything=everything, above=above)
            for name in names
            if not _holds(shape.members[name], above)
        }
    if kind == "list":
        return [valid(shape.member, everything=everything, above=above)] * max(1, shape.metadata.get("min", 1))
    if kind == "map":
        return {valid(shape.key): valid(shape.value, everything=everything, above=above)}
    return _scalar(shape)


def _holds(shape: Any, above: Place) -> bool:
    """Whether a shape is one of those above it, or a list of one."""
    return shape.name in above or (shape.type_name == "list" and shape.member.name in above)


@cache
def _scalar(shape: Any) -> Any:
    if shape.type_name == "boolean":
        return True
    if shape.type_name == "blob":
        return "dGV4dA=="
    pool = shape.metadata.get("enum") or (TEXTS if shape.type_name == "string" else NUMBERS)
    return next(each for each in pool if not list(complaints(shape, each)))


def places(shape: Any, place: Place = (), above: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every place of a request with its shape, nested ones included; a shape inside itself once more."""
    if above.count(shape.name) > 1:
        return
    yield place, shape
    above = (*above, shape.name)
    if shape.metadata.get("document"):
        return
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from places(member, (*place, name), above)
    elif shape.type_name == "list":
        yield from places(shape.member, (*place, "[]"), above)
    elif shape.type_name == "map":
        yield (*place, "{key}"), shape.key
        yield from places(shape.value, (*place, "{}"), above)


def with_value_at(shape: Any, place: Place, value: Any) -> Any:
    """A request with the required members only and, at one place, a value."""
    if not place:
        return value
    name, rest = place[0], place[1:]
    if name == "[]":
        items = valid(shape)
        return [with_value_at(shape.member, rest, value), *items[1:]]
    if name == "{key}":
        return {value: valid(shape.value)}
    if name == "{}":
        return {valid(shape.key): with_value_at(shape.value, rest, value)}
    return valid(shape) | {name: with_value_at(shape.members[name], rest, value)}


def violations(operation: Any) -> Iterator[Violation]:
    """Every violation of the model that a request of an operation can have."""
    whole = operation.input_shape
    for place, shape in places(whole):
        for rule, value in _bad_values(shape, is_key=place[-1:] == ("{key}",)):
            yield Violation(operation.name, ".".join(place), rule, with_value_at(whole, place, value))


def _bad_values(shape: Any, *, is_key: bool) -> Iterator[tuple[str, Any]]:
    if shape.metadata.get("document"):
        return
    if not is_key:  # a key of JSON is a string anyway
        yield from _of_other_kinds(shape)
    if shape.type_name == "string":
        yield from _bad_texts(shape)
    elif shape.type_name in ("list", "map"):
        yield from _of_other_lengths(shape)
    elif shape.type_name == "structure":
        for name in shape.required_members:
            yield f"without {name}", {key: value for key, value in valid(shape).items() if key != name}
    elif shape.type_name == "blob":
        yield "not base64", "é!"
    else:
        limits = shape.metadata
        yield from ((f"{rule} {limits[rule]}", limits[rule] + step) for rule, step in LIMITS.items() if rule in limits)


LIMITS = {"min": -1, "max": 1}


def _of_other_kinds(shape: Any) -> Iterator[tuple[str, Any]]:
    right = JSON_TYPES[shape.type_name]
    for kind, value in KINDS.items():
        if not isinstance(value, right) or (kind == "boolean" and shape.type_name != "boolean"):
            yield f"{kind} instead of {shape.type_name}", value


def _of_other_lengths(shape: Any) -> Iterator[tuple[str, Any]]:
    limits = shape.metadata
    if limits.get("min", 0) > 0:
        yield f"min {limits['min']}", _of_length(shape, limits["min"] - 1)
    if "max" in limits:
        yield f"max {limits['max']}", _of_length(shape, limits["max"] + 1)


def _of_length(shape: Any, length: int) -> Any:
    if shape.type_name == "list":
        return [valid(shape.member)] * length
    return {f"key{number}": valid(shape.value) for number in range(length)}


def _bad_texts(shape: Any) -> Iterator[tuple[str, str]]:
    limits = shape.metadata
    if "enum" in limits:
        yield "enum", "NO_SUCH_VALUE"
        return
    if limits.get("min", 0) > 0:
        yield f"min {limits['min']}", _text_of_length(shape, limits["min"] - 1)
    if "max" in limits:
        yield f"max {limits['max']}", _text_of_length(shape, limits["max"] + 1)
    if "pattern" in limits:
        pattern = compiled(limits["pattern"])
        fits = (each for each in ODD_TEXTS if limits.get("min", 0) <= len(each) <= limits.get("max", len(each)))
        odd = next((each for each in fits if not pattern.fullmatch(each)), None)
        if odd is not None:  # some patterns match everything
            yield f"pattern {limits['pattern']}", odd


def _text_of_length(shape: Any, length: int) -> str:
    """A text of another length than allowed that still matches the pattern, if one does."""
    pattern = compiled(shape.metadata.get("pattern", r"[\s\S]*"))
    start = valid(shape)
    made = [(start + padding * length)[:length] for padding in PADDING]
    made += [(padding * length + start)[-length:] for padding in PADDING if length]
    right = [text for text in made if len(text) == length]
    return next((text for text in right if pattern.fullmatch(text)), right[0])
