"""A watcher's event stream; its cursor moves only after Airflow has persisted the events (3.3+)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from asgiref.sync import sync_to_async

from airflow_provider_kendra._text import plain

try:
    from airflow.triggers.shared_stream import SharedStreamProducer
except ImportError:  # before 3.3, where no producer is created
    SharedStreamProducer = object  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_kendra._waiting.cursor import Cursor


class Watcher(Protocol):
    """The parts of the trigger that the stream uses."""

    @property
    def stream_key(self) -> str:
        """The key of its cursor in the state stores."""

    @property
    def place(self) -> str:
        """The ids of what it watches, for messages."""

    @property
    def asset_state_store(self) -> Any: ...
    def watch(self, cursor: Cursor | None) -> AsyncIterator[Found]: ...
    @staticmethod
    def records(found: Any) -> list[dict[str, Any]]: ...
    @staticmethod
    def check_cursor(value: object) -> Cursor: ...
    @staticmethod
    def oldest(cursors: Iterable[Cursor]) -> Cursor | None: ...
    async def write_log(self, line: str, level: str = "info") -> None: ...


class Found(Protocol):
    """What a watcher has found, with the cursor to store afterwards."""

    @property
    def cursor(self) -> Cursor: ...


class EventProducer(SharedStreamProducer):
    """
    Produces the records of one watcher.

    :param trigger: The watcher, which has the state stores of its assets.
    """

    def __init__(self, trigger: Watcher) -> None:
        self._trigger = trigger
        self._key = trigger.stream_key

    async def open_stream(self) -> AsyncIterator[tuple[list[dict[str, Any]], Cursor]]:
        """Yield records, and the cursor to keep once they have been persisted."""
        async for found in self._trigger.watch(await self._load()):
            # Even without records: nothing fires, but the cursor is stored after the preceding events.
            yield self._trigger.records(found), found.cursor

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Store the cursor of the last persisted event."""
        if not all(item.outcome.is_clean for item in batch):
            raise RuntimeError("An event was not persisted; the watcher restarts after the last one that was.")
        await self._save(batch[-1].broker_payload)

    async def _load(self) -> Cursor | None:
        """Read the cursor; with several assets the oldest one, to miss nothing."""
        cursors = []
        for store in self._stores():
            get = store.aget if hasattr(store, "aget") else sync_to_async(store.get)  # aget from 3.3.2
            stored = await get(self._key)
            if stored is None:
                continue
            try:
                cursors.append(self._trigger.check_cursor(stored))
            except ValueError as error:
                await self._trigger.write_log(
                    f"Cannot read the watcher's stored cursor: {plain(error).rstrip('.')}. Starting with what happens "
                    f"from now on ({self._trigger.place})",
                    "warning",
                )
        return self._trigger.oldest(cursors)

    async def _save(self, cursor: Cursor) -> None:
        for store in self._stores():
            keep = store.aset if hasattr(store, "aset") else sync_to_async(store.set)
            await keep(self._key, cursor)

    def _stores(self) -> list[Any]:
        """
        Get the store of each watched asset.

        In Airflow, equal watchers of several assets in one DAG file are a single trigger, which fires for all of them.
        """
        store: Any = self._trigger.asset_state_store
        if store is None:
            return []
        # Airflow has no public way to list them, and rejects get and set on several at once.
        return list(getattr(store, "_by_name", {}).values()) or [store]
