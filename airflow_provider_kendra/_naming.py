"""Finds the data source that a user of the command line names: by its id or its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_provider_kendra._text import plain, shown

if TYPE_CHECKING:
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook

# The ids that Kendra gives. Its API accepts others.
_LIKE_AN_ID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# https://docs.aws.amazon.com/kendra/latest/APIReference/API_CreateDataSource.html
_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,999}"
_NAMED = 10  # names that an error lists


def find_data_source(hook: KendraSyncJobsHook, index_id: str, text: str, warn: Callable[[str], object]) -> str:
    """
    Return the id of a data source; a text that looks like an id, or cannot be a name, is returned without a call.

    Other texts are looked up among the data sources of the index, first by id, then by name. Without permission to list
    them, the text is taken as an id.

    :param hook: Makes the calls.
    :param index_id: The index.
    :param text: The id or the name.
    :param warn: Takes the warning that data sources could not be listed.
    :raises ValueError: if there is no such data source, or if several have that name.
    """
    from botocore.exceptions import ClientError

    if re.fullmatch(_LIKE_AN_ID, text) or not re.fullmatch(_NAME, text):
        return text
    try:
        names = {source["Id"]: source.get("Name", "") for source in hook.list_data_sources(index_id)}
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "AccessDeniedException":
            raise
        warn(f"Names can't be looked up, so {text!r} is taken as an id. Allow kendra:ListDataSources: {plain(error)}")
        return text
    return text if text in names else _find_name(index_id, text, names)


def _find_name(index_id: str, text: str, names: dict[str, str]) -> str:
    found = [data_source_id for data_source_id, name in names.items() if name == text]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{len(found)} data sources have the name {text!r}: give the id of one, {' or '.join(map(plain, found))} "
            f"(index {index_id})."
        )
    known = sorted(plain(name) for name in names.values() if name)
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    listed = f"the index has {', '.join(known[:_NAMED])}{more}" if known else "the index has none"
    raise ValueError(f"No data source of the index has the id or the name {shown(text)}: {listed} (index {index_id}).")
