"""Distinguishes a template that rendered to nothing from a parameter that was left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from airflow_provider_kendra._aws import AWS_CHECKS
from airflow_provider_kendra._validation import check_identifier, check_identifiers, check_time, is_nothing
from airflow_provider_kendra.exceptions import InvalidParameterError


def _check_status(name: str, value: Any) -> str:
    from airflow_provider_kendra.sync_job import check_status  # not needed to parse a DAG

    return check_status(name, value)


CHECKS: Mapping[str, Callable[[str, Any], object]] = {
    "index_id": check_identifier,
    "data_source_id": check_identifier,
    "data_source_ids": check_identifiers,
    "execution_id": check_identifier,
    "started_after": check_time,
    "started_before": check_time,
    "fresh_since": check_time,
    "status": _check_status,
    **AWS_CHECKS,
}
"""How each templated parameter is checked once it is rendered."""

REQUIRED = frozenset({"index_id", "data_source_id"})
"""Templated parameters that may not be None."""


class RenderedParameters:
    """
    Keeps the value of each templated parameter before rendering, to check it afterwards.

    A literal None is the same as leaving the parameter out; None from a template, another task's output or a mapping
    is an error. Comes before Airflow's class in the bases of an operator, a sensor or a trigger.
    """

    # The last usable value of each parameter: its template, or the rendered value.
    _given: Mapping[str, Any] = {}

    @classmethod
    def _templated_parameters(cls) -> Sequence[str]:
        """Return the names of the templated parameters."""
        names: Sequence[str] = getattr(cls, "template_fields", ())
        return names

    def check_templates(self, names: Sequence[str] | None = None, *, are_literals_checked: bool = True) -> None:
        """
        Check that each template rendered to a value.

        :param names: Which parameters to check. Default None: all templated ones.
        :param are_literals_checked: Whether to reject a literal ``""`` or ``"None"`` as well.
        :raises ValueError: naming the parameter and what it was before rendering.
        """
        for name in self._templated_parameters() if names is None else names:
            before, after = self._given.get(name), getattr(self, name, None)
            if before is None and after is None and name in self._mapped_to_none():
                raise ValueError(_no_value(name, "an element of a mapping", after))
            if (are_literals_checked or before != after) and _has_no_value(before, after):
                raise ValueError(_no_value(name, repr(str(before)[:_SHOWN]), after))

    def _mapped_to_none(self) -> frozenset[str]:
        """Return the parameters that a mapping set to None; a None in ``partial`` is a literal."""
        return frozenset()


class RenderedTask(RenderedParameters):
    """Rendered parameters of an operator or sensor, which Airflow copies for each run and may create by mapping."""

    # Parameters that were None when Airflow expanded a mapped task.
    _passed_as_none: frozenset[str] = frozenset()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Record the mapped parameters that are None; ``__init__`` can't distinguish them from its defaults."""
        self = super().__new__(cls)
        if kwargs.get("_airflow_from_mapped"):
            vars(self)["_passed_as_none"] = frozenset(name for name, value in kwargs.items() if value is None)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if value is None or isinstance(value, bool | int | float) or name not in self._templated_parameters():
            return  # not a template
        if name not in self._given or not _has_no_value(self._given[name], value):
            # A new mapping, since Airflow runs shallow copies of a task.
            vars(self)["_given"] = {**self._given, name: value}

    def check_rendered(self) -> None:
        """
        Check each templated parameter, once rendered.

        :raises ValueError: naming the parameter and what it must be.
        """
        self.check_templates()
        for name in self._templated_parameters():
            value = getattr(self, name, None)
            if name in CHECKS and (value is not None or name in REQUIRED):
                CHECKS[name](name, value)

    def refuse_bad_parameters(self) -> None:
        """
        Check each templated parameter of an operator, before any call or connection look-up.

        :raises InvalidParameterError: as :meth:`check_rendered`; Airflow does not retry the task.
        """
        try:
            self.check_rendered()
        except ValueError as error:
            raise InvalidParameterError(f"{getattr(self, 'task_id', '')}: {error}") from error

    def _mapped_to_none(self) -> frozenset[str]:
        """Return the parameters that a mapping set to None; a None in ``partial`` is a literal."""
        if not self._passed_as_none:
            return frozenset()
        dag: Any = getattr(self, "dag", None)
        mapped = dag.task_dict.get(getattr(self, "task_id", None)) if dag is not None else None
        literal = getattr(mapped, "partial_kwargs", {})
        return frozenset(name for name in self._passed_as_none if literal.get(name, ...) is not None)


def _has_no_value(before: object, after: object) -> bool:
    """Whether rendering turned a given value, or a part of it, into nothing."""
    if after is None or isinstance(after, str):
        return before is not None and is_nothing(after)
    if isinstance(after, Mapping):
        # A mapping may hold None or empty text by itself: only what rendering changed counts.
        pairs = ((before.get(key), value) for key, value in after.items()) if isinstance(before, Mapping) else ()
        return any(old != new and _has_no_value(old, new) for old, new in pairs)
    return isinstance(after, list | tuple | set | frozenset) and any(map(is_nothing, after))


_SHOWN = 200  # characters of a template


def _no_value(name: str, was: str, after: object) -> str:
    # botocore_config can hold passwords.
    now, was = ("incomplete", "not shown") if name == "botocore_config" else (repr(after)[:_SHOWN], was)
    return (
        f"{name} is {now}. Its template found no value (before rendering: {was}). Check that what it refers to exists: "
        f"a task that failed, was skipped or pushes no XCom gives none. To leave {name} out, do not pass it."
    )
