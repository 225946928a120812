"""Validates requests against the service model, with AWS's messages. Not every client does so before it sends."""

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape
from moto.core.utils import get_service_model

from .exceptions import SerializationException, UnknownOperationException, ValidationException

JSON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (str,),
    "integer": (int,),
    "long": (int,),
    "timestamp": (int, float),
    "boolean": (bool,),
    "float": (int, float),
    "double": (int, float),
}

#: The values that each type can hold. Timestamps: the years 1 to 9999.
RANGES = {
    "integer": (-(2**31), 2**31 - 1),
    "long": (-(2**63), 2**63 - 1),
    "timestamp": (-62_135_596_800, 253_402_300_799),
}

#: Levels of a document type, such as the template of a data source.
MAX_LEVELS = 100

SHOWN_LENGTH = 1_000


def _service_model() -> ServiceModel:
    return get_service_model("kendra")


def parse_request(operation: str, body: bytes) -> dict[str, Any]:
    """Parse and validate the parameters of a request; return those that the model has and that are not null."""
    model = _service_model()
    if operation not in model.operation_names:
        raise UnknownOperationException(f"There is no operation {operation!r}")
    try:
        request = json.loads(body.decode() or "{}", parse_constant=_refuse_constant)
        shape = model.operation_model(operation).input_shape
        problems = list(_problems(shape, request, ""))
        modelled: dict[str, Any] = _modelled(shape, request)
    except ValueError:  # UnicodeDecodeError and JSONDecodeError are among them
        raise SerializationException("The request body is not valid JSON in UTF-8") from None
    except RecursionError:
        raise SerializationException("The request body is nested too deeply") from None
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise ValidationException(count + "; ".join(problems))
    return modelled


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    _check_type(shape, value, path)
    where = f"Value {_shown(value)} at '{path}' failed to satisfy constraint: Member must"
    for rule in _broken_rules(shape, value):
        yield f"{where} {rule}"
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            inner = f"{path}.{_lower_first(name)}" if path else _lower_first(name)
            if value.get(name) is not None:
                yield from _problems(member, value[name], inner)
            elif name in shape.required_members:
                yield f"Value null at '{inner}' failed to satisfy constraint: Member must not be null"
    elif isinstance(shape, ListShape):
        for number, item in enumerate(value, start=1):
            yield from _problems(shape.member, item, f"{path}.{number}.member")
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield from _problems(shape.key, key, f"{path}.key")
            yield from _problems(shape.value, item, f"{path}.{key}.value")


def _modelled(shape: Shape, value: Any) -> Any:
    """Return a value without what is null or not in the model; a document type as it is."""
    if isinstance(shape, StructureShape) and not shape.is_document_type:
        given = {name: value[name] for name in value if name in shape.members and value[name] is not None}
        return {name: _modelled(shape.members[name], each) for name, each in given.items()}
    if isinstance(shape, ListShape):
        return [_modelled(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {key: _modelled(shape.value, item) for key, item in value.items()}
    return value


def _check_type(shape: Shape, value: Any, path: str) -> None:
    if type(value) not in JSON_TYPES[shape.type_name]:
        raise SerializationException(f"Unexpected type at '{path}': expected {shape.type_name}")
    if isinstance(value, float) and not math.isfinite(value):
        raise SerializationException(f"The number at '{path}' is too large")
    least, greatest = RANGES.get(shape.type_name, (None, None))
    if least is not None and not least <= value <= greatest:
        raise SerializationException(f"The number at '{path}' is out of the range of {shape.type_name}")
    if isinstance(value, str) and not _is_text(value):
        raise SerializationException(f"The string at '{path}' has an unpaired surrogate")
    if getattr(shape, "is_document_type", False) and _is_deeper(value, MAX_LEVELS):
        raise SerializationException(f"The document at '{path}' has more than {MAX_LEVELS} levels")


def _is_text(value: str) -> bool:
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether JSON has more levels of lists and objects."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return items is not None and (levels == 0 or any(_is_deeper(item, levels - 1) for item in items))


def _broken_rules(shape: Shape, value: Any) -> Iterator[str]:
    limits = shape.metadata
    measured, unit = (len(value), "length") if hasattr(value, "__len__") else (value, "value")
    if measured < limits.get("min", measured):
        yield f"have {unit} greater than or equal to {limits['min']}"
    if measured > limits.get("max", measured):
        yield f"have {unit} less than or equal to {limits['max']}"
    if "enum" in limits and value not in limits["enum"]:
        yield f"satisfy enum value set: [{', '.join(limits['enum'])}]"
    if isinstance(value, str) and not _fits(limits.get("pattern"), value):
        yield f"satisfy regular expression pattern: {limits['pattern']}"


def _fits(pattern: str | None, value: str) -> bool:
    if pattern is None:
        return True
    if pattern == r"^\P{C}*$":  # no control, format or unassigned characters; Python's expressions have no categories
        return value.isprintable() or not any(unicodedata.category(char).startswith("C") for char in value)
    return bool(_compiled(pattern).fullmatch(value))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub("^/(.*)/$", r"\1", pattern))  # one pattern has the slashes of a JavaScript literal


def _shown(value: Any) -> str:
    if isinstance(value, str) and len(value) > SHOWN_LENGTH:
        value = f"{value[:SHOWN_LENGTH]}…"
    return f"'{value}'" if isinstance(value, str | int | float) else "of this member"


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]
