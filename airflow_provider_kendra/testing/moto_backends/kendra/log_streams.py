"""A log stream of moto's CloudWatch Logs whose events appear at a later time."""

from collections.abc import Iterable
from threading import Lock
from typing import Any

from moto.logs.models import LogEvent, LogGroup, LogStream

from .models import now

_lock = Lock()


class DelayedLogStream(LogStream):
    """
    Stays empty until a given time on Kendra's clock; the first read after that creates its events.

    :param events: The time in epoch milliseconds and the message of each, oldest first.
    :param created_at: When the stream was created, in epoch seconds.
    :param available_at: From when on its events can be read, in epoch seconds.
    """

    def __init__(
        self, group: LogGroup, name: str, events: Iterable[tuple[int, str]], *, created_at: float, available_at: float
    ) -> None:
        super().__init__(group, name)
        self._pending: Iterable[tuple[int, str]] | None = events
        self._created_at, self._available_at = created_at, available_at
        # Its type differs: milliseconds in moto 5.1.15, a datetime in 5.2.5. The creation time has the right one.
        self.last_ingestion_time = self.creation_time

    @property
    def events(self) -> list[LogEvent]:
        """What can be read by now."""
        with _lock:
            if self._pending is not None and now() >= self._available_at:
                ingested_at = milliseconds(self._available_at)
                for timestamp, message in self._pending:
                    self._events.append(LogEvent(ingested_at, {"timestamp": timestamp, "message": message}))
                    self.stored_bytes += len(message)
                self._pending = None
        return self._events

    @events.setter
    def events(self, events: list[LogEvent]) -> None:
        self._events = events

    def to_describe_dict(self) -> dict[str, Any]:
        described = super().to_describe_dict()
        times = {"creationTime": self._created_at, "lastIngestionTime": self._available_at}
        return described | {name: milliseconds(time) for name, time in times.items() if name in described}


def milliseconds(seconds: float) -> int:
    """Convert epoch seconds to the unit of CloudWatch Logs."""
    return round(seconds * 1000)
