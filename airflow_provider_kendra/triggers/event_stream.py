"""A watcher's stream, and its place in the history: moved on only when Airflow has persisted what was fired (3.3+)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

try:
    from airflow.triggers.shared_stream import SharedStreamProducer
except ImportError:  # before 3.3, where nobody makes a producer
    SharedStreamProducer = object  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_kendra.triggers.kendra import KendraSyncJobEventTrigger
    from airflow_provider_kendra.watching import Cursor


class SyncJobProducer(SharedStreamProducer):
    """
    Produces the records of finished sync jobs for one watcher.

    :param trigger: The watcher, which has the store of the asset that it watches.
    """

    def __init__(self, trigger: KendraSyncJobEventTrigger) -> None:
        self._trigger = trigger
        place = {"index_id": trigger.index_id, "data_source_id": trigger.data_source_id, "statuses": trigger.statuses}
        self._key = f"kendra_sync_jobs:{json.dumps(place, sort_keys=True)}"

    async def open_stream(self) -> AsyncIterator[tuple[list[dict[str, Any]], Cursor]]:
        """Yield records, and the place to keep once they have been persisted."""
        cursor = await self._load()
        async for finished in self._trigger.watch(cursor):
            records = self._trigger.records(finished)
            if records:
                yield records, finished.cursor
            elif cursor is None:
                # The beginning: from here on nothing is missed.
                await self._save(finished.cursor)
            cursor = finished.cursor

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Keep the place behind what has been persisted."""
        if not all(item.outcome.is_clean for item in batch):
            raise RuntimeError("An event was not persisted; the watcher begins again where the last one was.")
        await self._save(batch[-1].broker_payload)

    async def _load(self) -> Cursor | None:
        store: Any = self._trigger.asset_state_store
        if store is None:
            return None
        get = store.aget if hasattr(store, "aget") else sync_to_async(store.get)  # aget from 3.3.2
        try:
            cursor: Cursor | None = await get(self._key)
        except ValueError:
            self._trigger.log.warning(
                "Several assets are watched with equal triggers, so that their place cannot be kept: sync jobs that "
                "finish while no triggerer runs are missed. Make the triggers differ, for example in poll_interval."
            )
            return None
        return cursor

    async def _save(self, cursor: Cursor) -> None:
        store: Any = self._trigger.asset_state_store
        if store is None:
            return
        keep = store.aset if hasattr(store, "aset") else sync_to_async(store.set)
        with suppress(ValueError):  # _load has told
            await keep(self._key, cursor)
