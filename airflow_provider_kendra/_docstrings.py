"""Adds the parameters that a base class declares to the docstring and signature of each subclass."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELD = re.compile(r"^(?=:)", re.MULTILINE)
_PARAM = ":param "
_FIRST = ("index_id", "data_source_id", "data_source_ids")


class _Signature:
    """Builds a class's signature with inherited parameters; only on access."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        found: dict[str, inspect.Parameter] = {}
        for base in owner.__mro__:
            if "__init__" not in vars(base) or not issubclass(base, Documented):
                continue
            _, *parameters = _signature_of(vars(base)["__init__"]).parameters.values()
            own = {each.name: each for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD}
            found |= {name: each for name, each in own.items() if name not in found}
            if len(own) == len(parameters):  # this class passes nothing on to its bases
                return _signature(found)
        return _signature(found, inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD, annotation=Any))


def _signature_of(function: Any) -> inspect.Signature:
    """Return a signature with evaluated types, or their source text if only type checkers import them."""
    try:
        return inspect.signature(function, eval_str=True)
    except NameError:
        return inspect.signature(function)


def _signature(found: Mapping[str, inspect.Parameter], *last: inspect.Parameter) -> inspect.Signature:
    """Build a signature that starts with the ids."""
    ordered = sorted(found.values(), key=lambda each: (each.kind, _rank(each.name)))
    return inspect.Signature([*ordered, *last])


class Documented:
    """
    Adds inherited parameters to the docstring and signature of each subclass in this package.

    The subclass's own documentation takes precedence.
    """

    # The docstring fields of all parameters, by name.
    _parameter_docs: ClassVar[Mapping[str, str]] = {}

    __signature__ = _Signature()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls).get("__doc__")
        if own is None or not cls.__module__.startswith(f"{__package__}."):
            return
        text, *fields = _FIELD.split(inspect.cleandoc(own) + "\n")
        parameters = {_name(field): field for field in fields if field.startswith(_PARAM)}
        for base in cls.__mro__[1:]:
            for name, field in vars(base).get("_parameter_docs", {}).items():
                parameters.setdefault(name, field)
        parameters = {name: parameters[name] for name in sorted(parameters, key=_rank)}
        others = [field for field in fields if not field.startswith(_PARAM)]
        separator = "" if text.endswith("\n\n") or not parameters else "\n"
        cls._parameter_docs = parameters
        cls.__doc__ = "".join([text, separator, *parameters.values(), *others])


def _rank(name: str) -> int:
    """Sort key that puts the ids first and keeps the order of all other parameters."""
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _name(field: str) -> str:
    return field[len(_PARAM) : field.index(":", len(_PARAM))]
