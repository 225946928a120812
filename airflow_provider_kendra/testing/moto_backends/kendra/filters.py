"""Which documents a query may find: attribute filters and access control lists."""

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .documents import Attributes, Document
from .exceptions import ValidationException

#: From the reference of AttributeFilter.
MAX_DEPTH = 2
MAX_LENGTH = 10

TESTS: dict[str, tuple[tuple[str, ...], Callable[[Any, Any], bool]]] = {
    "EqualsTo": (("StringValue", "StringListValue", "LongValue", "DateValue"), operator.eq),
    "ContainsAll": (("StringListValue",), lambda values, wanted: set(wanted) <= set(values)),
    "ContainsAny": (("StringListValue",), lambda values, wanted: not set(wanted).isdisjoint(values)),
    "GreaterThan": (("LongValue", "DateValue"), operator.gt),
    "GreaterThanOrEquals": (("LongValue", "DateValue"), operator.ge),
    "LessThan": (("LongValue", "DateValue"), operator.lt),
    "LessThanOrEquals": (("LongValue", "DateValue"), operator.le),
}
OPERATORS = ("AndAllFilters", "OrAllFilters", "NotFilter", *TESTS)


@dataclass(frozen=True)
class Candidate:
    """A document of the index as a query sees it."""

    document: Document
    source_id: str | None
    default_language: str

    @cached_property
    def attributes(self) -> Attributes:
        """The document's attributes, with those that follow from its other properties."""
        known = {
            "_document_id": self.document.id,
            "_document_title": self.document.title,
            "_source_uri": self.document.source_uri,
            "_data_source_id": self.source_id,
        }
        language = {"_language_code": {"StringValue": self.default_language}}
        return language | self.document.attributes | {
            key: {"StringValue": value} for key, value in known.items() if value
        }  # fmt: skip


@dataclass(frozen=True)
class Principals:
    """The users of a request, usually one (an attribute filter can name several), and the groups they belong to."""

    users: frozenset[str]
    groups: frozenset[str]
    source_groups: frozenset[tuple[str, str]] = frozenset()

    def may_read(self, candidate: Candidate) -> bool:
        """Whether a document is public, or its access control list allows and does not deny access."""
        access = {each["Access"] for each in candidate.document.access if self._are(each, candidate.source_id)}
        return not candidate.document.access or access == {"ALLOW"}

    def _are(self, principal: dict[str, Any], source_id: str | None) -> bool:
        name = principal["Name"]
        if principal["Type"] == "USER":
            return name in self.users
        return name in self.groups or (name, principal.get("DataSourceId", source_id)) in self.source_groups


def principals_of_context(context: dict[str, Any]) -> Principals | None:
    """
    Return the user and groups of a UserContext; ``None`` if it names none.

    :raises ValidationException: if it has a token. Tokens are not read.
    """
    if not any(context.values()):
        return None
    if context.get("Token"):
        others = [name for name in ("UserId", "Groups", "DataSourceGroups") if context.get(name)]
        if others:
            raise ValidationException(f"UserContext can't have both Token and {others[0]}")
        raise ValidationException("The local Kendra can't read a Token: give UserId and Groups in UserContext instead")
    return Principals(
        frozenset([context["UserId"]] if context.get("UserId") else ()),
        frozenset(context.get("Groups") or ()),
        frozenset((each["GroupId"], each["DataSourceId"]) for each in context.get("DataSourceGroups") or ()),
    )


def matcher(attribute_filter: dict[str, Any], fields: Iterable[str]) -> Callable[[Candidate], bool]:
    """
    Return the function that tells whether a document passes an AttributeFilter.

    Its tests of `_user_id` and `_group_ids` are combined: each passes if those users and groups may read the document.

    :param fields: Names of the fields of the index.
    :raises ValidationException: if the filter is too deep or too long, or an attribute is not a field of the index.
    """
    tests = list(_tests(attribute_filter))
    named = [each["Value"] for _, each in tests if each["Key"] in ("_user_id", "_group_ids")]
    principals = Principals(
        frozenset(each["StringValue"] for each in named if "StringValue" in each),
        frozenset(group for each in named for group in each.get("StringListValue", ())),
    )
    for name, attribute in tests:
        _check(name, attribute, fields)
    return lambda candidate: _passes(attribute_filter, candidate, principals)


def keys(attribute_filter: dict[str, Any]) -> set[str]:
    """Return the keys of all attributes that a filter tests."""
    return {attribute["Key"] for _, attribute in _tests(attribute_filter)}


def _tests(attribute_filter: dict[str, Any], depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each test in a filter: its operator and attribute."""
    if depth > MAX_DEPTH:
        raise ValidationException(f"AttributeFilter cannot have a depth of more than {MAX_DEPTH}.")
    name, value = _operator(attribute_filter)
    if name in TESTS:
        yield name, value
        return
    inner = [value] if name == "NotFilter" else value
    if len(inner) > MAX_LENGTH:
        raise ValidationException(f"AttributeFilter cannot have a length of more than {MAX_LENGTH}")
    for each in inner:
        yield from _tests(each, depth + 1)


def _operator(attribute_filter: dict[str, Any]) -> tuple[str, Any]:
    given = [(name, attribute_filter[name]) for name in OPERATORS if name in attribute_filter]
    if len(given) != 1:
        # The wording of the real service.
        raise ValidationException(f"AttributeFilter cannot have {len(given)} operators. It must have one and only one.")
    return given[0]


def _check(name: str, attribute: dict[str, Any], fields: Iterable[str]) -> None:
    key, kinds = attribute["Key"], list(attribute["Value"])
    if len(kinds) != 1:
        raise ValidationException(f"The value of '{key}' in AttributeFilter must have exactly one type")
    if kinds[0] not in TESTS[name][0]:
        raise ValidationException(f"{name} in AttributeFilter needs {' or '.join(TESTS[name][0])} for '{key}'")
    if key not in fields and key not in ("_document_id", "_user_id", "_group_ids"):
        raise ValidationException(
            f"AttributeFilter can't use '{key}', which is not a field of the index: add it with UpdateIndex"
        )


def _passes(attribute_filter: dict[str, Any], candidate: Candidate, principals: Principals) -> bool:
    name, value = _operator(attribute_filter)
    if name == "NotFilter":
        return not _passes(value, candidate, principals)
    if name not in TESTS:
        combine = all if name == "AndAllFilters" else any
        return combine(_passes(each, candidate, principals) for each in value)
    if value["Key"] in ("_user_id", "_group_ids"):
        return principals.may_read(candidate)
    has = candidate.attributes.get(value["Key"], {})
    return any(kind in has and TESTS[name][1](has[kind], wanted) for kind, wanted in value["Value"].items())
