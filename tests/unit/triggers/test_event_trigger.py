"""The watcher of an asset: what it fires, and that its cursor moves on only behind what has been persisted."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_kendra._waiting import poller
from airflow_provider_kendra.sync_job import SyncJob
from airflow_provider_kendra.triggers.kendra import KendraSyncJobEventTrigger
from airflow_provider_kendra.version_compat import AIRFLOW_V_3_3_PLUS, AIRFLOW_V_3_4_PLUS
from tests.conftest import NEWEST_START, DataSource, counts, listed
from tests.virtual_time import run_in_virtual_time

INTERVAL = 60.0
ACK_TIMEOUT = 300.0

LONGEST_KEY = 512
"""Airflow's column of a key, in characters; only SQLite stores a longer one."""

with_kept_cursor = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="a watcher's cursor is kept from Airflow 3.3 on")


@pytest.fixture(autouse=True)
def _even(monkeypatch: pytest.MonkeyPatch) -> None:
    """No jitter: a pause is as long as it says."""
    monkeypatch.setattr(poller, "random", SimpleNamespace(uniform=lambda low, high: high))


def job(number: int, status: str = "SUCCEEDED", **members: Any) -> dict[str, Any]:
    """An item of a history; a higher number started later."""
    return listed(f"job-{number}", status, StartTime=NEWEST_START + timedelta(hours=number), **members)


def make_trigger(source: DataSource, **arguments: Any) -> KendraSyncJobEventTrigger:
    return KendraSyncJobEventTrigger(**source.as_kwargs, poll_interval=INTERVAL, **arguments)


class Store:
    """Airflow's state store of one asset: JSON that outlives the triggerer."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        return json.loads(self.kept[key]) if key in self.kept else default

    async def aset(self, key: str, value: Any) -> None:
        assert value is not None  # Airflow refuses it
        assert len(key) <= LONGEST_KEY
        self.kept[key] = json.dumps(value)

    @property
    def cursor(self) -> Any:
        (value,) = self.kept.values()
        return json.loads(value)


class Triggerer:
    """Runs one watcher as Airflow's does, perhaps beside another, on Airflow's own streams; persists on demand."""

    def __init__(
        self, trigger: KendraSyncJobEventTrigger, store: Any, *, trigger_id: int = 1, beside: Any = None
    ) -> None:
        from airflow.triggers.shared_stream import SharedStreamManager

        trigger.asset_state_store = store
        trigger.trigger_id = trigger_id
        self.fired: list[list[str]] = []
        self._trigger = trigger
        self._trigger_id = trigger_id
        self._unconfirmed: list[int | None] = []
        now = asyncio.get_running_loop().time
        self._manager = beside._manager if beside else SharedStreamManager(ack_timeout=ACK_TIMEOUT, _now=now)
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        key = self._trigger.shared_stream_key()
        assert key is not None
        try:
            stream = self._manager.subscribe(trigger_id=self._trigger_id, trigger=self._trigger, key=key)
            async for event in self._trigger.filter_shared_stream(stream):
                self._unconfirmed.append(self._manager.bind_pending_event(trigger_id=self._trigger_id, key=key))
                self.fired.append([record["execution_id"] for record in event.payload["sync_jobs"]])
        finally:
            await self._manager.unsubscribe(self._trigger_id, key)

    def persist(self) -> None:
        """Store all that was fired, and tell the triggers so."""
        self._manager.confirm_persisted(seq for seq in self._unconfirmed if seq is not None)
        self._unconfirmed.clear()

    async def kill(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


async def next_look() -> None:
    """Let the next look happen, and a little time pass."""
    await asyncio.sleep(INTERVAL)


async def soon() -> None:
    await asyncio.sleep(5)


class TestEvent:
    @staticmethod
    def fire(source: DataSource, *histories: list[dict[str, Any]], **arguments: Any) -> list[Any]:
        """What is fired while these histories are shown, one at each look."""

        async def main() -> list[Any]:
            payloads = []

            async def collect() -> None:
                async for event in make_trigger(source, **arguments).run():
                    payloads.append(event.payload)

            source.show(*histories)
            task = asyncio.create_task(collect())
            await asyncio.sleep(INTERVAL * (len(histories) + 1))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return payloads

        return run_in_virtual_time(main())

    def test_it_has_the_records_of_all_jobs_finished_since_the_last_poll_oldest_first(
        self, custom_data_source: DataSource
    ) -> None:
        ended = {"EndTime": NEWEST_START + timedelta(hours=3), "Metrics": counts(added=3, failed=1)}
        second, third = job(2, **ended), job(3)
        (payload,) = self.fire(custom_data_source, [job(1)], [third, second, job(1)])
        records = [SyncJob.from_response(item, **custom_data_source.as_kwargs).to_dict() for item in (second, third)]
        assert json.loads(json.dumps(payload)) == {"sync_jobs": records}

    def test_there_is_one_for_each_poll_that_found_some(self, custom_data_source: DataSource) -> None:
        histories = [[job(number) for number in range(newest, 0, -1)] for newest in (1, 2, 2, 4)]
        payloads = self.fire(custom_data_source, *histories)
        found = [[record["execution_id"] for record in payload["sync_jobs"]] for payload in payloads]
        assert found == [["job-2"], ["job-3", "job-4"]]

    @pytest.mark.parametrize(
        ("statuses", "found"),
        [({}, ["job-5"]), ({"statuses": ["FAILED", "INCOMPLETE"]}, ["job-2", "job-3"])],
    )
    def test_only_jobs_with_one_of_the_statuses_count(
        self, custom_data_source: DataSource, statuses: dict[str, Any], found: list[str]
    ) -> None:
        history = [job(6, "SYNCING"), job(5), job(4, "ABORTED"), job(3, "INCOMPLETE"), job(2, "FAILED"), job(1)]
        (payload,) = self.fire(custom_data_source, [job(1)], history, **statuses)
        assert [record["execution_id"] for record in payload["sync_jobs"]] == found

    def test_there_is_none_for_what_had_finished_before_the_first_start(self, custom_data_source: DataSource) -> None:
        assert self.fire(custom_data_source, [job(2), job(1)], [job(2), job(1)]) == []


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ({"index_id": "short"}, "index_id is 'short'"),
            ({"data_source_id": "a b"}, "data_source_id is 'a b'"),
            ({"statuses": ["SYNCING"]}, "accepted statuses must be some of"),
            ({"statuses": []}, "accepted statuses must be some of"),
            ({"statuses": "FAILED"}, "must be a list or a tuple"),
        ],
    )
    def test_what_cannot_be_right_is_refused_where_the_watcher_is_made(
        self, arguments: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(ValueError, match=reason):
            KendraSyncJobEventTrigger(**{"index_id": "i" * 36, "data_source_id": "source", **arguments})

    def test_equal_ones_are_equal_to_airflow_in_whatever_order_the_statuses_are(self) -> None:
        ids = {"index_id": "i" * 36, "data_source_id": "source"}
        one = KendraSyncJobEventTrigger(**ids, statuses=["FAILED", "SUCCEEDED"])
        other = KendraSyncJobEventTrigger(**ids, statuses=("SUCCEEDED", "FAILED"))
        assert one.serialize() == other.serialize()

    @with_kept_cursor
    def test_each_has_a_stream_of_its_own_also_with_equal_arguments(self) -> None:
        ids = {"index_id": "i" * 36, "data_source_id": "source"}
        first, second, third = (KendraSyncJobEventTrigger(**ids) for _ in range(3))
        assert first.shared_stream_key() != second.shared_stream_key()
        assert first.shared_stream_key() == first.shared_stream_key()
        third.trigger_id, second.trigger_id = 3, 2  # as the triggerer sets it
        assert second.shared_stream_key() != third.shared_stream_key()
        assert first.serialize() == third.serialize()

    @with_kept_cursor
    def test_the_key_of_the_stream_which_airflow_logs_holds_no_configuration(self) -> None:
        trigger = KendraSyncJobEventTrigger(
            index_id="i" * 36,
            data_source_id="source",
            aws_conn_id="my-connection",
            region_name="eu-west-1",
            verify="/my/bundle.pem",
            botocore_config={"proxies": {"https": "http://user:secret@proxy"}},
        )
        key = repr(trigger.shared_stream_key())
        assert not [word for word in ("connection", "eu-west-1", "bundle", "secret", "prox") if word in key]

    @pytest.mark.skipif(AIRFLOW_V_3_3_PLUS, reason="this Airflow says when an event has been persisted")
    def test_where_airflow_does_not_say_when_an_event_is_persisted_it_has_no_shared_stream(self) -> None:
        trigger = KendraSyncJobEventTrigger(index_id="i" * 36, data_source_id="source")
        assert trigger.shared_stream_key() is None


@with_kept_cursor
class TestCursor:
    @pytest.fixture
    def store(self) -> Store:
        return Store()

    def test_it_moves_only_after_the_event_is_persisted(self, custom_data_source: DataSource, store: Store) -> None:
        async def main() -> None:
            custom_data_source.show([job(1)], [job(2), job(1)])
            triggerer = Triggerer(make_trigger(custom_data_source), store)
            await soon()
            assert store.cursor["execution_id"] == "job-1"
            await next_look()
            assert triggerer.fired == [["job-2"]]
            assert store.cursor["execution_id"] == "job-1"
            triggerer.persist()
            await soon()
            assert store.cursor["execution_id"] == "job-2"
            await triggerer.kill()

        run_in_virtual_time(main())

    def test_what_was_fired_but_not_persisted_comes_again_after_a_restart(
        self, custom_data_source: DataSource, store: Store
    ) -> None:
        async def main() -> None:
            custom_data_source.show([job(1)], [job(2), job(1)])
            first = Triggerer(make_trigger(custom_data_source), store)
            await next_look()
            await soon()
            assert first.fired == [["job-2"]]
            await first.kill()
            custom_data_source.show([job(4), job(3), job(2), job(1)])
            second = Triggerer(make_trigger(custom_data_source), store)
            await soon()
            assert second.fired == [["job-2", "job-3", "job-4"]]
            await second.kill()

        run_in_virtual_time(main())

    def test_an_event_that_is_never_persisted_ends_the_watcher_and_the_place_stays(
        self, custom_data_source: DataSource, store: Store
    ) -> None:
        async def main() -> None:
            custom_data_source.show([job(1)], [job(2), job(1)])
            triggerer = Triggerer(make_trigger(custom_data_source), store)
            await asyncio.sleep(2 * ACK_TIMEOUT + INTERVAL)
            assert triggerer.task.done()
            assert triggerer.task.exception() is not None
            assert store.cursor["execution_id"] == "job-1"

        run_in_virtual_time(main())

    def test_a_later_event_does_not_move_it_past_one_that_is_not_persisted(
        self, custom_data_source: DataSource, store: Store
    ) -> None:
        from airflow.triggers.shared_stream import AdvanceItem, AdvanceOutcome

        from airflow_provider_kendra.triggers._event_stream import EventProducer

        trigger = make_trigger(custom_data_source)
        trigger.asset_state_store = store
        kept, lost, nobody = AdvanceOutcome(1, 0), AdvanceOutcome(0, 1), AdvanceOutcome(0, 0)

        async def main() -> None:
            for outcome in (lost, nobody):
                batch = [AdvanceItem({"execution_id": "a"}, outcome), AdvanceItem({"execution_id": "b"}, kept)]
                with pytest.raises(RuntimeError, match="not persisted"):
                    await EventProducer(trigger).advance(batch)
            assert store.kept == {}

        run_in_virtual_time(main())

    def test_what_finished_while_no_triggerer_ran_comes_in_one_event(
        self, custom_data_source: DataSource, store: Store
    ) -> None:
        async def main() -> None:
            custom_data_source.show([job(1)])
            first = Triggerer(make_trigger(custom_data_source), store)
            await soon()
            await first.kill()
            custom_data_source.show([job(number) for number in range(25, 0, -1)])
            second = Triggerer(make_trigger(custom_data_source), store)
            await soon()
            assert second.fired == [[f"job-{number}" for number in range(2, 26)]]
            await second.kill()

        run_in_virtual_time(main())

    def test_of_an_empty_history_it_is_kept_too(self, custom_data_source: DataSource, store: Store) -> None:
        async def main() -> None:
            custom_data_source.show([])
            first = Triggerer(make_trigger(custom_data_source), store)
            await soon()
            assert store.cursor == {}
            await first.kill()
            custom_data_source.show([job(1)])
            second = Triggerer(make_trigger(custom_data_source), store)
            await soon()
            assert second.fired == [["job-1"]]
            await second.kill()

        run_in_virtual_time(main())

    def test_watchers_with_other_statuses_or_of_other_data_sources_keep_cursors_of_their_own(
        self, custom_data_source: DataSource, store: Store
    ) -> None:
        async def main() -> None:
            custom_data_source.show([job(1)])
            other = {"data_source_id": custom_data_source.kendra.create_custom_data_source(custom_data_source.index_id)}
            ids = custom_data_source.as_kwargs
            for arguments in (ids, {**ids, "statuses": ["FAILED"]}, ids | other):
                triggerer = Triggerer(KendraSyncJobEventTrigger(**arguments), store)
                await soon()
                await triggerer.kill()
            assert len(store.kept) == 3

        run_in_virtual_time(main())

    def test_its_key_is_that_of_1_0_0_and_fits_with_the_longest_ids(self) -> None:
        from airflow.models.asset_state_store import AssetStateStoreModel

        assert AssetStateStoreModel.__table__.c.key.type.length == LONGEST_KEY
        ids = {"index_id": "i" * 36, "data_source_id": "s" * 100}
        statuses = ["ABORTED", "FAILED", "INCOMPLETE", "SUCCEEDED"]
        trigger = KendraSyncJobEventTrigger(**ids, statuses=statuses[::-1])
        assert trigger.stream_key == f"kendra_sync_jobs:{json.dumps({**ids, 'statuses': statuses}, sort_keys=True)}"
        assert len(trigger.stream_key) <= LONGEST_KEY

    def test_without_a_store_it_fires_all_the_same(self, custom_data_source: DataSource) -> None:
        async def main() -> None:
            custom_data_source.show([job(1)], [job(2), job(1)])
            triggerer = Triggerer(make_trigger(custom_data_source), None)
            await next_look()
            await soon()
            triggerer.persist()
            await soon()
            assert triggerer.fired == [["job-2"]]
            await triggerer.kill()

        run_in_virtual_time(main())

    @pytest.mark.parametrize("order", [(1, 2), (2, 1)])
    def test_equal_watchers_of_two_assets_each_keep_a_cursor_whichever_begins_first(
        self, custom_data_source: DataSource, order: tuple[int, int]
    ) -> None:
        stores = {1: Store(), 2: Store()}

        def start(ids: tuple[int, ...]) -> list[Triggerer]:
            running: list[Triggerer] = []
            for number in ids:
                beside = running[0] if running else None
                trigger = make_trigger(custom_data_source)
                running.append(Triggerer(trigger, stores[number], trigger_id=number, beside=beside))
            return running

        async def main() -> None:
            custom_data_source.show([job(1)])
            for watcher in start((1, 2)):
                await soon()
                await watcher.kill()
            custom_data_source.show([job(3), job(2), job(1)])
            running = start(order)
            await soon()
            assert [watcher.fired for watcher in running] == [[["job-2", "job-3"]]] * 2
            running[0].persist()
            await soon()
            assert stores[order[0]].cursor["execution_id"] == "job-3"
            assert stores[order[1]].cursor["execution_id"] == "job-1"
            for watcher in running:
                await watcher.kill()

        run_in_virtual_time(main())

    @pytest.mark.parametrize("kept", [{}, {"two": "job-2"}, {"one": "job-2", "two": "job-3"}], ids=str)
    def test_one_trigger_of_several_assets_keeps_the_cursor_with_each_and_begins_at_the_one_that_is_furthest_behind(
        self, custom_data_source: DataSource, monkeypatch: pytest.MonkeyPatch, kept: dict[str, str]
    ) -> None:
        from airflow.sdk import Asset
        from airflow.sdk.execution_time.context import AssetStateStoreAccessor, AssetStateStoreAccessors

        stores = {"one": Store(), "two": Store()}
        for method in ("aget", "aset"):
            if not hasattr(AssetStateStoreAccessor, method):
                pytest.skip("the store has no asynchronous methods before Airflow 3.3.2")
            own = lambda self, *args, method=method: getattr(stores[self._name], method)(*args)  # noqa: E731
            monkeypatch.setattr(AssetStateStoreAccessor, method, own)
        trigger = make_trigger(custom_data_source)

        async def main() -> None:
            custom_data_source.show([job(number) for number in (4, 3, 2, 1)])
            first = Triggerer(make_trigger(custom_data_source), stores["one"])
            await soon()
            await first.kill()
            (key,) = stores["one"].kept
            stores["one"].kept.clear()
            for name, execution_id in kept.items():
                number = int(execution_id[-1])
                start = (NEWEST_START + timedelta(hours=number)).isoformat()
                await stores[name].aset(key, {"execution_id": execution_id, "start_time": start})
            triggerer = Triggerer(trigger, AssetStateStoreAccessors(inlets=[Asset("one"), Asset("two")]))
            await soon()
            assert triggerer.fired == ([["job-3", "job-4"]] if kept else [])
            triggerer.persist()
            await soon()
            assert {name: store.cursor["execution_id"] for name, store in stores.items()} == dict.fromkeys(
                stores, "job-4"
            )
            await triggerer.kill()

        run_in_virtual_time(main())

    @pytest.mark.parametrize("stored", ["job-1", {"execution_id": 1}, {"execution_id": "job-1", "start_time": "x"}])
    def test_one_that_cannot_be_read_is_logged_and_it_begins_from_now_on(
        self, custom_data_source: DataSource, store: Store, monkeypatch: pytest.MonkeyPatch, stored: object
    ) -> None:
        trigger = make_trigger(custom_data_source)
        warnings: list[str] = []

        async def keep(line: str, level: str) -> None:
            assert level == "warning"
            warnings.append(line)

        monkeypatch.setattr(trigger, "write_log", keep)

        async def main() -> None:
            custom_data_source.show([job(1)])
            first = Triggerer(make_trigger(custom_data_source), store)
            await soon()
            await first.kill()
            (key,) = store.kept
            store.kept[key] = json.dumps(stored)
            custom_data_source.show([job(2), job(1)], [job(3), job(2), job(1)])
            second = Triggerer(trigger, store)
            await next_look()
            await soon()
            assert second.fired == [["job-3"]]
            await second.kill()

        run_in_virtual_time(main())
        (warning,) = warnings
        assert warning.startswith("Cannot read the watcher's stored cursor: it")
        assert custom_data_source.data_source_id in warning

    def test_a_backlog_comes_in_events_of_a_hundred_records(self, custom_data_source: DataSource, store: Store) -> None:
        async def main() -> None:
            custom_data_source.show([job(0)])
            first = Triggerer(make_trigger(custom_data_source), store)
            await soon()
            await first.kill()
            custom_data_source.show([job(number) for number in range(230, -1, -1)])
            second = Triggerer(make_trigger(custom_data_source), store)
            for _ in range(4):
                await next_look()
                second.persist()
            await soon()
            expected = (range(1, 101), range(101, 201), range(201, 231))
            assert second.fired == [[f"job-{number}" for number in numbers] for numbers in expected]
            assert store.cursor["execution_id"] == "job-230"
            await second.kill()

        run_in_virtual_time(main())

    def test_jobs_that_do_not_count_move_it_behind_the_events_before(
        self, custom_data_source: DataSource, store: Store
    ) -> None:
        async def main() -> None:
            failed = job(3, "FAILED")
            custom_data_source.show([job(1)], [job(2), job(1)], [failed, job(2), job(1)])
            triggerer = Triggerer(make_trigger(custom_data_source), store)
            await next_look()
            await next_look()
            await soon()
            assert triggerer.fired == [["job-2"]]
            assert store.cursor["execution_id"] == "job-1"
            triggerer.persist()
            await soon()
            assert store.cursor["execution_id"] == "job-3"
            await triggerer.kill()

        run_in_virtual_time(main())


class TestQueue:
    @pytest.mark.skipif(AIRFLOW_V_3_4_PLUS, reason="Airflow gives triggers a queue from 3.4 on")
    def test_before_airflow_3_4_one_is_refused_with_a_reason(self, data_source: DataSource) -> None:
        with pytest.raises(ValueError, match=r"queue is 'gpu', but only Airflow 3\.4"):
            make_trigger(data_source, queue="gpu")

    @pytest.mark.skipif(not AIRFLOW_V_3_4_PLUS, reason="Airflow gives triggers a queue from 3.4 on")
    def test_airflow_stores_it_beside_the_arguments(self, data_source: DataSource) -> None:
        from airflow.serialization.encoders import encode_trigger

        assert encode_trigger(make_trigger(data_source, queue="gpu"))["queue"] == "gpu"
        assert "queue" not in encode_trigger(make_trigger(data_source))
