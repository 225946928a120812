"""Validates requests against the service model, with AWS's messages; a client may have skipped it."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import ListShape, ServiceModel, Shape, StructureShape
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

SHOWN_LENGTH = 1_000


def _service_model() -> ServiceModel:
    return get_service_model("kendra")


def parse_request(operation: str, body: str) -> dict[str, Any]:
    """Parse and validate the parameters of a request."""
    model = _service_model()
    if operation not in model.operation_names:
        raise UnknownOperationException(f"There is no operation {operation!r}")
    try:
        request = json.loads(body or "{}")
    except ValueError:
        raise SerializationException("The request body is not valid JSON") from None
    problems = list(_problems(model.operation_model(operation).input_shape, request, ""))
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise ValidationException(count + "; ".join(problems))
    return {name: value for name, value in request.items() if value is not None}


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if type(value) not in JSON_TYPES[shape.type_name]:
        raise SerializationException(f"Unexpected type at '{path}': expected {shape.type_name}")
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


def _broken_rules(shape: Shape, value: Any) -> Iterator[str]:
    limits = shape.metadata
    measured, unit = (len(value), "length") if hasattr(value, "__len__") else (value, "value")
    if measured < limits.get("min", measured):
        yield f"have {unit} greater than or equal to {limits['min']}"
    if measured > limits.get("max", measured):
        yield f"have {unit} less than or equal to {limits['max']}"
    if "enum" in limits and value not in limits["enum"]:
        yield f"satisfy enum value set: [{', '.join(limits['enum'])}]"
    pattern = _compiled(limits.get("pattern", ".*"))
    if isinstance(value, str) and pattern and not pattern.fullmatch(value):
        yield f"satisfy regular expression pattern: {limits['pattern']}"


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:  # a class that only Java knows, such as \P{C}
        return None


def _shown(value: Any) -> str:
    if isinstance(value, str) and len(value) > SHOWN_LENGTH:
        value = f"{value[:SHOWN_LENGTH]}…"
    return f"'{value}'" if isinstance(value, str | int | float) else "of this member"


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]
