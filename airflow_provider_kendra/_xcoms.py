"""The keys of a sync job's record that a task pushes as separate XComs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_kendra._docstrings import Documented
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS

if TYPE_CHECKING or AIRFLOW_V_3_0_PLUS:
    from airflow.sdk.definitions.xcom_arg import PlainXComArg
else:
    from airflow.models.xcom_arg import PlainXComArg

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

DEFAULT_KEYS = ("execution_id", "status", "documents_failed")
"""The keys that are pushed when ``multiple_outputs`` is None: those that later tasks usually need."""

# The API of Airflow 3.0 rejects an XCom that is None.
_CAN_PUSH_NONE = AIRFLOW_V_3_1_PLUS or not AIRFLOW_V_3_0_PLUS


class RecordTask(Documented, BaseOperator):
    """
    Base class of the operators and sensors that return the record of a sync; must be the first base.

    :param data_source_id: The data source (templated).
    :param multiple_outputs: Which keys of the record to also push as separate XComs: None (default) for
        ``execution_id``, ``status`` and ``documents_failed``, True for all, False for none.
    """

    def __init__(self, *, data_source_id: str, multiple_outputs: bool | None = None, **kwargs: Any) -> None:
        # With True, a key that a skipped task did not push resolves to None downstream; with False, Airflow fails.
        super().__init__(multiple_outputs=multiple_outputs is not False, **kwargs)
        self.data_source_id = data_source_id
        self._pushed_keys: Collection[str] | None = DEFAULT_KEYS  # None: all
        if multiple_outputs is not None:
            self._pushed_keys = None if multiple_outputs else ()

    @property
    def output(self) -> XComArg:
        """The record as an argument for other tasks; ``output[key]`` is one of the keys that are pushed."""
        task: Any = self
        return RecordXComArg(operator=task)

    def _push_keys(self, context: Context, record: Mapping[str, Any]) -> None:
        """Push the selected keys of the record; otherwise Airflow would push all of them."""
        ti: Any = context.get("ti")
        self.multiple_outputs = False
        if ti is None or not self.do_xcom_push:
            return
        for key in record if self._pushed_keys is None else self._pushed_keys:
            if record[key] is not None or _CAN_PUSH_NONE:
                ti.xcom_push(key=key, value=record[key])


class RecordXComArg(PlainXComArg):
    """Raises at DAG parsing for a key that the task never pushes, since it would be None in every run."""

    def __getitem__(self, item: str) -> XComArg:
        """Refer to one key of the record."""
        task: Any = self.operator
        if task._pushed_keys == DEFAULT_KEYS and item not in DEFAULT_KEYS and _is_in_record(item):
            raise ValueError(
                f"{task.task_id}: output[{item!r}] would always be None, since by default only the keys "
                f"{', '.join(DEFAULT_KEYS)} are separate XComs. Pass multiple_outputs=True to {task.task_id}, or read "
                f"{item} from the record: {{{{ ti.xcom_pull(task_ids={task.task_id!r})[{item!r}] }}}}."
            )
        return super().__getitem__(item)


def _is_in_record(key: str) -> bool:
    from airflow_provider_kendra.sync_job import RECORD_KEYS  # few DAGs need it at parse time

    return key in RECORD_KEYS
