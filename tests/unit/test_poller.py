"""When polls happen and whom they wake, without calls: a source in memory, in virtual time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_kendra import _clock, _metrics
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._decisions import Failed, Failure, NeedsOlder, Satisfied, Waiting
from airflow_provider_kendra._waiting import poller
from airflow_provider_kendra._waiting.conditions import ExecutionFinished, Fresh, SyncedSince
from airflow_provider_kendra._waiting.history import History, Page
from airflow_provider_kendra._waiting.poller import FOREVER, Poller, Subscriber
from airflow_provider_kendra._waiting.wait import wait_for
from airflow_provider_kendra.sync_job import Acceptance, SyncJob
from tests.virtual_time import VirtualTimeLoop, async_log, run_in_virtual_time

BEGAN = datetime(2026, 1, 31, tzinfo=UTC)
DENIED = Failed(Failure.REFUSED, "denied")
ANYTHING = 0  # a decision that is neither success nor failure


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def now() -> float:
    """The time of the loop; a run begins at 0."""
    return asyncio.get_running_loop().time()


async def until(time: float) -> None:
    await asyncio.sleep(time - now())


def run(main: Coroutine[Any, Any, None]) -> None:
    run_in_virtual_time(main, BEGAN)


def job(execution_id: str = "job", status: str = "SYNCING", started: float = 0) -> SyncJob:
    """A job that began at that time."""
    ended = at(started) if status in ("SUCCEEDED", "FAILED") else None
    return SyncJob(
        index_id="index",
        data_source_id="documents",
        execution_id=execution_id,
        status=status,
        start_time=at(started),
        end_time=ended,
    )


def failed_jobs(count: int) -> list[SyncJob]:
    """Newest first, an hour apart; the newest is job-1."""
    return [job(f"job-{number}", "FAILED", -3600 * number) for number in range(1, count + 1)]


class Service:
    """What a poll reads, and when it was read; a call takes no time, unless it hangs."""

    def __init__(self) -> None:
        self.jobs: list[SyncJob] = [job()]
        self.polls: dict[str, list[float]] = defaultdict(list)  # by data source
        self.calls = 0
        self.fails_before = 0.0
        self.error: Exception = ConnectionError("reset")
        self.hanging: asyncio.Future[None] | None = None

    def pages(self, source: Source, before: datetime | None) -> Iterator[Page]:
        if before is None:
            self.polls[source.data_source_id].append(now())
        jobs = [each for each in self.jobs if before is None or (each.start_time and each.start_time <= before)]
        starts = range(0, max(len(jobs), 1), 10)
        for start in starts:
            self.calls += 1
            if now() < self.fails_before:
                raise self.error
            yield Page(jobs[start : start + 10], is_last=start == starts[-1])

    @property
    def times(self) -> list[float]:
        """When the data source with the default name was polled."""
        return self.polls["documents"]


@dataclass(frozen=True)
class Source:
    data_source_id: str = "documents"
    aws: AwsParameters = field(default_factory=AwsParameters)
    is_reusable: bool = True
    min_interval: float = 0.0
    contents: str = "the sync jobs"

    def pages(self, hook: Service, before: datetime | None = None) -> Iterator[Page]:
        return hook.pages(self, before)

    def subject(self, condition: Any) -> str:
        return str(condition.subject)


class Inline(Executor):
    """Makes each call at once; while the service hangs, its result comes later."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def finish(_: object = None) -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except StopIteration:
                future.set_exception(AssertionError("read on behind the last page"))
            except Exception as error:
                future.set_exception(error)

        if self._service.hanging is None:
            finish()
        else:
            self._service.hanging.add_done_callback(finish)
        return future


class Client:
    """The client of polls in memory."""

    def __init__(self, service: Service, aws: AwsParameters) -> None:
        self.service = service
        self.aws = aws
        self.threads = Inline(service)
        self.is_connection_known = False
        self.discarded = 0
        self.turns: list[bool] = []
        self.free = asyncio.Semaphore(1000)
        self.judged: list[tuple[str, Service | None]] = []
        self.hook_error: Exception | None = None
        self.making: asyncio.Future[None] | None = None

    @asynccontextmanager
    async def turn(self, *, is_failing: bool) -> AsyncIterator[None]:
        self.turns.append(is_failing)
        async with self.free:
            yield

    async def hook(self) -> Service:
        if self.making is not None:
            await self.making
        if self.hook_error is not None:
            raise self.hook_error
        return self.service

    def judge(self, error: Exception, contents: str, hook: Service | None) -> Failed | str:
        self.judged.append((contents, hook))
        return DENIED if isinstance(error, PermissionError) else f"{type(error).__name__}: {error}"

    def discard(self) -> None:
        self.discarded += 1


class Setting:
    """A service, and the clients that were made for it."""

    def __init__(self) -> None:
        self.service = Service()
        self.clients: list[Client] = []

    def connect(self, aws: AwsParameters) -> Client:
        self.clients.append(Client(self.service, aws))
        return self.clients[-1]

    def wait(
        self,
        condition: Any = None,
        *,
        source: Source | None = None,
        interval: float = 60,
        timeout: float | None = None,
        log: Callable[[str], object] = lambda line: None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        """Begin to wait."""
        return asyncio.create_task(
            wait_for(
                source or Source(),  # type: ignore[arg-type]
                condition or finished(),
                interval=interval,
                deadline=None if timeout is None else _clock.utcnow() + timedelta(seconds=timeout),
                log=async_log(log),
                connect=self.connect,  # type: ignore[arg-type]
                **options,
            )
        )

    def subscriber(self, interval: float = 60, timeout: float | None = None, **options: Any) -> Subscriber:
        deadline = None if timeout is None else _clock.utcnow() + timedelta(seconds=timeout)
        return Subscriber(interval, self.connect, deadline, **options)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _polls_end_with_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of these tests end while they still wait; the tests of other files must not find their polls."""
    monkeypatch.setattr(Poller, "_of_loop", {})


@pytest.fixture
def setting() -> Setting:
    return Setting()


@pytest.fixture
def service(setting: Setting) -> Service:
    return setting.service


@pytest.fixture(autouse=True)
def _even(monkeypatch: pytest.MonkeyPatch) -> None:
    """No jitter: a pause is as long as it says."""
    monkeypatch.setattr(poller, "random", SimpleNamespace(uniform=lambda low, high: high))


def finished(execution_id: str = "job", not_found_after: float = 1e9) -> ExecutionFinished:
    return ExecutionFinished(execution_id, Acceptance(), not_found_after, _clock.utcnow())


@dataclass(eq=False)
class Says:
    """A condition that decides as it is told, and notes at which times it is asked."""

    decision: Any
    subject: str = "whatever"
    times: list[datetime] = field(default_factory=list)

    def decide(self, history: History, now: datetime) -> Any:
        self.times.append(now)
        return self.decision


async def cancel(*waits: asyncio.Task[Any]) -> None:
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def wakes_of(subscriber: Subscriber, end: float, *, is_logging: bool = True) -> list[float]:
    """When a subscriber, which logs errors when it is woken, is woken until then."""
    times: list[float] = []
    while True:
        await subscriber.wait_for_change(end)
        if now() >= end:
            return times
        times.append(now())
        if is_logging:
            subscriber.errors.summary()


# Whom a poll wakes


def test_a_subscriber_is_woken_at_its_first_decision_at_changes_and_when_errors_begin_and_end(setting, service):
    async def main() -> None:
        condition, loop = Says(1), asyncio.get_running_loop()
        subscriber = setting.subscriber()
        subscription = subscriber.subscribe(Source(), condition)
        loop.call_at(130, setattr, condition, "decision", 2)
        loop.call_at(310, setattr, service, "fails_before", 490)
        assert await wakes_of(subscriber, 850) == [0, 180, 360, 540]
        assert service.times == [0, 60, 120, 180, 240, 300, 360, 420, 540, 600, 660, 720, 780, 840]
        assert (subscription.state, subscription.is_over) == (2, False)
        subscriber.unsubscribe()

    run(main())


def test_of_polls_that_go_on_failing_only_the_first_one_wakes_a_subscriber_that_logs_no_errors(setting, service):
    async def main() -> None:
        subscriber = setting.subscriber()
        subscriber.subscribe(Source(), Says(1))
        asyncio.get_running_loop().call_at(130, setattr, service, "fails_before", 490)
        assert await wakes_of(subscriber, 850, is_logging=False) == [0, 180, 600]
        subscriber.unsubscribe()

    run(main())


def test_the_state_of_a_subscription_whose_poll_failed_has_the_job_and_the_error(setting, service):
    async def main() -> None:
        condition = Says(Waiting(job()))
        subscriber = setting.subscriber()
        subscription = subscriber.subscribe(Source(), condition)
        assert (subscription.state, subscription.is_over) == (None, False)
        await until(1)
        service.fails_before = 61
        await until(62)
        assert subscription.state == Waiting(job(), error="ConnectionError: reset")
        await until(122)
        assert subscription.state == Waiting(job())
        subscriber.unsubscribe()

    run(main())


def test_a_failure_ends_a_subscription_and_success_only_if_it_says_so(setting, service):
    async def main() -> None:
        conditions = Says(Satisfied(job())), Says(Satisfied(job())), Says(Failed(Failure.NOT_FOUND, "gone"))
        subscriber = setting.subscriber()
        goes_on = subscriber.subscribe(Source(), conditions[0])
        ends = subscriber.subscribe(Source(), conditions[1], (Satisfied, Failed))
        fails = subscriber.subscribe(Source(), conditions[2])
        await until(1)
        assert (goes_on.is_over, ends.is_over, fails.is_over) == (False, True, True)
        assert not subscriber.is_over
        conditions[1].decision = conditions[2].decision = ANYTHING
        conditions[0].decision = Failed(Failure.NOT_FOUND, "gone")
        await until(61)
        assert subscriber.is_over
        assert ends.state == Satisfied(job())
        assert fails.state == Failed(Failure.NOT_FOUND, "gone")
        await until(300)
        assert service.times == [0, 60]
        subscriber.unsubscribe()

    run(main())


def test_an_error_that_stays_ends_a_subscription_with_the_judgement(setting, service):
    service.error, service.fails_before = PermissionError("no"), 1

    async def main() -> None:
        subscriber = setting.subscriber()
        subscription = subscriber.subscribe(Source(), Says(Waiting()))
        assert await wakes_of(subscriber, 300) == [0]
        assert (subscription.state, subscription.is_over) == (DENIED, True)
        assert setting.clients[0].judged == [("the sync jobs", service)]
        subscriber.unsubscribe()

    run(main())


def test_an_error_without_a_hook_is_judged_without_one(setting, service):
    async def main() -> None:
        subscriber = setting.subscriber()
        subscription = subscriber.subscribe(Source(), Says(Waiting()))
        setting.clients[0].hook_error = TimeoutError("late")
        await until(1)
        assert setting.clients[0].judged == [("the sync jobs", None)]
        assert subscription.state == Waiting(error="TimeoutError: late")
        subscriber.unsubscribe()

    run(main())


class IgnoresAbsence(Subscriber):
    ignores_absence_before = True


def test_a_missing_job_in_a_reading_from_before_a_wait_does_not_wake_it(setting, service):
    async def main() -> None:
        first = setting.subscriber()
        first.subscribe(Source(), Says(ANYTHING))
        await until(30)
        subscriber = IgnoresAbsence(60, setting.connect)
        subscription = subscriber.subscribe(Source(), Says(Waiting()))
        assert subscription.state == Waiting()
        assert await wakes_of(subscriber, 170) == [60]
        first.unsubscribe()
        subscriber.unsubscribe()

    run(main())


def test_a_missing_job_in_a_reading_from_the_very_beginning_of_a_wait_wakes_it(setting, service):
    async def main() -> None:
        subscriber = IgnoresAbsence(60, setting.connect)
        subscriber.subscribe(Source(), Says(Waiting()))
        assert await wakes_of(subscriber, 170) == [0]
        subscriber.unsubscribe()

    run(main())


def test_a_job_in_a_reading_from_before_a_wait_wakes_it(setting, service):
    async def main() -> None:
        first = setting.subscriber()
        first.subscribe(Source(), Says(ANYTHING))
        await until(30)
        subscriber = IgnoresAbsence(60, setting.connect)
        subscriber.subscribe(Source(), Says(Waiting(job())))
        assert await wakes_of(subscriber, 170) == [30]
        first.unsubscribe()
        subscriber.unsubscribe()

    run(main())


def test_other_waits_are_woken_by_a_missing_job_in_any_reading(setting, service):
    async def main() -> None:
        first = setting.subscriber()
        first.subscribe(Source(), Says(ANYTHING))
        await until(30)
        subscriber = setting.subscriber()
        subscriber.subscribe(Source(), Says(Waiting()))
        assert await wakes_of(subscriber, 170) == [30]
        first.unsubscribe()
        subscriber.unsubscribe()

    run(main())


def test_a_subscriber_that_was_woken_while_it_did_not_wait_returns_at_once_and_then_waits_again(setting):
    async def main() -> None:
        subscriber = setting.subscriber()
        subscriber.wake()
        subscriber.wake()
        await subscriber.wait_for_change(FOREVER)
        assert now() == 0
        asyncio.get_running_loop().call_at(7, subscriber.wake)
        asyncio.get_running_loop().call_at(7, subscriber.wake)
        await subscriber.wait_for_change(FOREVER)
        assert now() == 7
        subscriber.wake()
        await subscriber.wait_for_change(20)
        assert now() == 7
        await subscriber.wait_for_change(20)
        assert now() == 20

    run(main())


def test_the_end_of_a_wait_that_was_woken_before_does_not_end_the_next_one(setting):
    async def main() -> None:
        subscriber = setting.subscriber()
        asyncio.get_running_loop().call_at(7, subscriber.wake)
        await subscriber.wait_for_change(20)
        assert now() == 7
        await subscriber.wait_for_change(30)
        assert now() == 30

    run(main())


def test_a_subscriber_leaves_the_polls_of_some_subscriptions_or_of_all(setting, service):
    sources = Source("a"), Source("b"), Source("c")

    async def main() -> None:
        subscriber = setting.subscriber()
        subscriptions = [subscriber.subscribe(source, Says(ANYTHING)) for source in sources]
        await until(30)
        subscriber.unsubscribe(subscriptions[0])
        await until(70)
        subscriber.unsubscribe(*subscriptions[:2])
        await until(130)
        assert setting.clients[0].discarded == 0
        subscriber.unsubscribe()
        await until(300)
        assert service.polls == {"a": [0], "b": [0, 60], "c": [0, 60, 120]}
        assert setting.clients[0].discarded == 1
        assert asyncio.get_running_loop() not in Poller._of_loop

    run(main())


def test_a_known_connection_is_told_to_the_client_by_whichever_wait_knows_it(setting):
    async def main() -> None:
        new, known = setting.subscriber(), setting.subscriber(is_connection_known=True)
        new.subscribe(Source(), Says(ANYTHING))
        assert not setting.clients[0].is_connection_known
        known.subscribe(Source(), Says(ANYTHING))
        new.subscribe(Source("other"), Says(ANYTHING))
        assert setting.clients[0].is_connection_known
        new.unsubscribe()
        known.unsubscribe()

    run(main())


def test_sources_with_equal_aws_parameters_share_a_client_and_the_last_one_closes_it(setting, service):
    elsewhere = AwsParameters(region_name="eu-west-1")

    async def main() -> None:
        sources = Source("a"), Source("b"), Source("c", aws=elsewhere), Source("a")
        waits = [setting.wait(source=source) for source in sources]
        await until(1)
        assert [client.aws for client in setting.clients] == [AwsParameters(), elsewhere]
        assert asyncio.get_running_loop() in Poller._of_loop
        assert service.polls == {"a": [0], "b": [0], "c": [0]}
        await cancel(waits[0])
        await cancel(waits[1], waits[2])
        assert [client.discarded for client in setting.clients] == [0, 1]
        await until(61)
        assert service.polls["a"] == [0, 60]
        await cancel(waits[3])
        assert [client.discarded for client in setting.clients] == [1, 1]
        assert asyncio.get_running_loop() not in Poller._of_loop
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


# When polls happen


def test_the_shortest_interval_applies_while_its_wait_is_subscribed(setting, service):
    async def main() -> None:
        patient = [setting.wait(interval=300), setting.wait(interval=100)]
        await until(250)
        hasty = setting.wait(interval=10)
        await until(275)
        await cancel(hasty)
        await until(600)
        await cancel(*patient)

    run(main())
    assert service.times == [0, 100, 200, 250, 260, 270, 280, 380, 480, 580]


def test_a_shorter_interval_counts_from_the_last_poll(setting, service):
    async def main() -> None:
        patient = setting.wait(interval=300)
        await until(1)
        hasty = setting.wait(interval=10)
        await until(25)
        await cancel(patient, hasty)

    run(main())
    assert service.times == [0, 10, 20]


def test_polls_are_at_least_a_tenth_of_a_second_apart(setting, service):
    async def main() -> None:
        waiting = setting.wait(interval=0)
        await until(0.45)
        await cancel(waiting)

    run(main())
    assert service.times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_a_pause_is_shortened_by_up_to_a_tenth_at_random(setting, service, monkeypatch):
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    monkeypatch.setattr(poller, "random", SimpleNamespace(uniform=uniform))

    async def main() -> None:
        waiting = setting.wait(interval=100)
        await until(280)
        await cancel(waiting)

    run(main())
    assert service.times == [0, 90, 180, 270]
    assert set(asked) == {(0.9, 1.0)}


def test_a_source_with_a_shortest_interval_is_polled_no_more_often_unless_polls_fail(setting, service):
    source = Source(min_interval=900)

    async def main() -> None:
        waiting = setting.wait(source=source)
        await until(1000)
        service.fails_before = 2000
        await until(2300)
        await cancel(waiting)

    run(main())
    assert service.times == [0, 900, 1800, 1860, 1980, 2220]


@pytest.mark.parametrize(
    ("interval", "pauses"),
    [(60, [60, 120, 240, 300, 300]), (1000, [1000, 1000, 1000]), (0.1, [0.1 * 2**n for n in range(12)] + [300, 300])],
    ids=str,
)
def test_polls_that_fail_back_off_to_five_minutes_or_the_interval(setting, service, interval, pauses):
    service.fails_before = 1e9

    async def main() -> None:
        waiting = setting.wait(interval=interval)
        await until(sum(pauses) + 1)
        await cancel(waiting)

    run(main())
    assert [later - earlier for earlier, later in zip(service.times, service.times[1:], strict=False)] == pytest.approx(
        pauses
    )


def test_a_poll_that_succeeds_ends_the_back_off(setting, service):
    service.fails_before = 200

    async def main() -> None:
        waiting = setting.wait()
        await until(550)
        service.fails_before = 640
        await until(800)
        await cancel(waiting)

    run(main())
    assert service.times == [0, 60, 180, 420, 480, 540, 600, 660, 720, 780]
    assert setting.clients[0].turns == [False, True, True, True, False, False, False, True, False, False]


def test_a_poll_that_fails_is_counted_and_the_delay_of_each_first_call_reported(setting, service, monkeypatch):
    errors: list[object] = []
    delays: list[tuple[object, float]] = []
    monkeypatch.setattr(_metrics, "count_poll_error", errors.append)
    monkeypatch.setattr(_metrics, "report_poll_delay", lambda source, seconds: delays.append((source, seconds)))
    service.jobs = failed_jobs(25)

    async def main() -> None:
        waiting = setting.wait(finished("nowhere"))
        await until(1)
        assert delays == [(Source(), 0)]
        client = setting.clients[0]
        client.free = asyncio.Semaphore(0)
        asyncio.get_running_loop().call_at(67, client.free.release)
        await until(70)
        assert delays[1:] == [(Source(), 7)]
        service.fails_before = 121
        client.free = asyncio.Semaphore(9)
        await until(135)
        await cancel(waiting)

    run(main())
    assert errors == [Source()]
    assert delays[2:] == [(Source(), 0)]


# Newcomers


def test_a_wait_that_joins_uses_a_reading_as_old_as_its_interval(setting, service):
    async def main() -> None:
        patient = setting.wait(interval=3600)
        await until(60)
        same, older = setting.wait(finished("job")), setting.wait(interval=59)
        await until(61)
        assert service.times == [0, 60]
        await cancel(patient, same, older)

    run(main())


@pytest.mark.parametrize(("interval", "outcome", "times"), [(60, Satisfied, [0]), (59.9, Failed, [0, 60])])
def test_a_reading_is_reused_up_to_the_interval(setting, service, interval, outcome, times):
    service.jobs = [job(status="SUCCEEDED")]

    async def main() -> None:
        patient = setting.wait(finished("other"), interval=3600)
        await until(60)
        service.jobs = [job(status="FAILED")]
        assert isinstance(await setting.wait(interval=interval), outcome)
        assert service.times == times
        await cancel(patient)

    run(main())


def test_a_reading_of_a_source_with_a_shortest_interval_is_reused_for_that_long(setting, service):
    source = Source(min_interval=900)

    async def main() -> None:
        first = setting.wait(source=source)
        await until(890)
        second = setting.wait(source=source)
        await until(899)
        assert service.times == [0]
        await cancel(first, second)

    run(main())


def test_a_wait_that_joins_can_end_with_the_reading_of_others(setting, service):
    service.jobs = [job(), job("earlier", "SUCCEEDED", -10)]

    async def main() -> None:
        first = setting.wait()
        await until(30)
        assert isinstance(await setting.wait(finished("earlier")), Satisfied)
        assert (now(), service.times) == (30, [0])
        await until(70)
        assert service.times == [0, 60]
        await cancel(first)

    run(main())


def test_a_subscription_that_an_earlier_poll_satisfies_is_judged_once_at_the_time_of_that_poll(setting, service):
    condition = Says(Satisfied(job()))

    async def main() -> None:
        first, second = setting.subscriber(), setting.subscriber()
        first.subscribe(Source(), Says(ANYTHING))
        await until(5)
        assert second.subscribe(Source(), condition, (Satisfied,)).is_over
        await until(125)
        assert service.times == [0, 60, 120]
        first.unsubscribe()
        second.unsubscribe()

    run(main())
    assert condition.times == [at(0)]


def test_a_wait_that_joins_when_all_others_have_ended_but_not_left_is_polled_for(setting, service):
    async def main() -> None:
        ended, newcomer = setting.subscriber(), setting.subscriber()
        ended.subscribe(Source(), Says(DENIED))
        await until(100)
        subscription = newcomer.subscribe(Source(), Says(ANYTHING))
        await until(101)
        assert subscription.state == ANYTHING
        assert service.times == [0, 100]
        ended.unsubscribe()
        newcomer.unsubscribe()

    run(main())


def test_a_wait_that_would_fail_or_needs_older_jobs_is_polled_for_at_once(setting, service):
    service.jobs = [job(), *failed_jobs(15)]

    async def main() -> None:
        first = setting.wait()
        await until(10)
        assert isinstance(await setting.wait(finished("job-3")), Failed)
        assert service.times == [0, 10]
        await until(20)
        assert isinstance(await setting.wait(finished("job-14")), Failed)
        assert service.times == [0, 10, 20]
        await until(79)
        assert service.times == [0, 10, 20]
        await until(81)
        assert service.times == [0, 10, 20, 80]
        await cancel(first)

    run(main())


def test_a_wait_that_joins_does_not_shorten_the_back_off(setting, service):
    service.jobs = [job(), *failed_jobs(15)]

    async def main() -> None:
        first = setting.wait()
        await until(30)
        service.fails_before = 1e9
        newcomers = []
        for time in range(70, 400, 10):
            await until(time)
            newcomers.append(setting.wait(finished("job-14")))
        assert service.times == [0, 60, 120, 240]
        await cancel(first, *newcomers)

    run(main())


def test_a_wait_that_begins_at_its_deadline_is_polled_for_though_the_last_reading_would_decide_it(setting, service):
    service.jobs = [job(status="SUCCEEDED")]

    async def main() -> None:
        first = setting.wait(finished("other"))
        await until(30)
        service.jobs = [job(status="FAILED")]
        assert isinstance(await setting.wait(timeout=0), Failed)
        assert service.times == [0, 30]
        await cancel(first)

    run(main())


@pytest.mark.parametrize(("is_reusable", "times"), [(True, [0]), (False, [0, 0])])
def test_a_wait_that_joins_during_a_poll_is_served_by_it_only_if_readings_can_be_reused(
    setting, service, is_reusable, times
):
    source = Source(is_reusable=is_reusable)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        service.hanging = loop.create_future()
        first = setting.subscriber()
        first.subscribe(source, Says(ANYTHING))
        for _ in range(10):
            await asyncio.sleep(0)
        second = setting.subscriber()
        subscription = second.subscribe(source, Says(ANYTHING))
        service.hanging.set_result(None)
        service.hanging = None
        await until(1)
        assert subscription.state == ANYTHING
        assert service.times == times
        await until(61)
        assert service.times == [*times, 60]
        first.unsubscribe()
        second.unsubscribe()

    run(main())


@pytest.mark.parametrize(
    "condition",
    [
        SyncedSince(at(-7200), Acceptance()),
        Fresh(Acceptance(), max_age=timedelta(hours=2), fail_fast=True),
    ],
    ids=["since", "fresh"],
)
def test_a_wait_that_joins_during_a_poll_does_not_fail_on_a_page_that_was_read_before(setting, service, condition):
    service.jobs = failed_jobs(20)

    class NeedsAll:
        def decide(self, history: History, now: datetime) -> Any:
            if history.is_complete:
                return ANYTHING
            setting.clients[0].free = asyncio.Semaphore(0)  # the second page has to wait
            return NeedsOlder()

    async def main() -> None:
        first = setting.subscriber()
        first.subscribe(Source(), NeedsAll())
        await until(5)
        service.jobs = [job("again", started=4), *failed_jobs(20)]
        newcomer = setting.wait(condition)
        await until(6)
        first.unsubscribe()
        setting.clients[0].free.release()
        await until(8)
        service.jobs = [job("again", "SUCCEEDED", started=4), *failed_jobs(20)]
        outcome = await newcomer
        assert isinstance(outcome, Satisfied)
        assert outcome.job.execution_id == "again"
        assert service.times == [0, 6, 66]

    run(main())


def test_a_wait_that_began_before_the_clock_was_set_back_fails_with_the_next_poll(setting, service):
    service.jobs = failed_jobs(1)

    async def main() -> None:
        waiting = setting.subscriber()
        waiting.since += timedelta(hours=1)
        subscription = waiting.subscribe(Source(), SyncedSince(at(-7200), Acceptance()))
        await until(1)
        assert isinstance(subscription.decision, Failed)
        assert service.times == [0]
        waiting.unsubscribe()

    run(main())


def test_a_wait_that_joins_before_the_first_call_is_served_by_the_poll(setting, service):
    source = Source(is_reusable=False)

    async def main() -> None:
        first, second = setting.subscriber(), setting.subscriber()
        first.subscribe(source, Says(ANYTHING))
        setting.clients[0].making = asyncio.get_running_loop().create_future()
        await until(5)
        second.subscribe(source, Says(ANYTHING))
        setting.clients[0].making.set_result(None)
        await until(60)
        assert service.times == [5]
        first.unsubscribe()
        second.unsubscribe()

    run(main())


def test_a_latecomer_is_told_that_the_next_poll_failed_however_early(setting, service):
    source = Source(is_reusable=False)

    async def main() -> None:
        service.hanging = asyncio.get_running_loop().create_future()
        first, second = setting.subscriber(), setting.subscriber()
        first.subscribe(source, Says(ANYTHING))
        for _ in range(10):
            await asyncio.sleep(0)
        subscription = second.subscribe(source, Says(ANYTHING))
        setting.clients[0].hook_error = PermissionError("no")
        service.hanging.set_result(None)
        await until(5)
        assert subscription.state == DENIED
        first.unsubscribe()
        second.unsubscribe()

    run(main())


def test_a_latecomer_that_has_gone_causes_no_poll(setting, service):
    source = Source(is_reusable=False)

    async def main() -> None:
        service.hanging = asyncio.get_running_loop().create_future()
        first = setting.subscriber()
        first.subscribe(source, Says(ANYTHING))
        for _ in range(10):
            await asyncio.sleep(0)
        second = setting.subscriber()
        second.subscribe(source, Says(ANYTHING))
        second.unsubscribe()
        service.hanging.set_result(None)
        service.hanging = None
        await until(61)
        assert service.times == [0, 60]
        first.unsubscribe()

    run(main())


def test_a_source_that_is_not_reusable_is_read_again_for_each_wait_that_joins(setting, service):
    source = Source(is_reusable=False)

    async def main() -> None:
        first = setting.wait(source=source)
        await until(30)
        second = setting.wait(source=source)
        await until(50)
        assert service.times == [0, 30]
        await cancel(first, second)

    run(main())


# Deadlines


def test_a_wait_polls_at_its_deadline_and_then_times_out(setting, service):
    async def main() -> None:
        outcome = await setting.wait(timeout=90)
        assert (outcome.failure, outcome.job, now()) == (Failure.TIMED_OUT, job(), 90)
        assert service.times == [0, 60, 90]

    run(main())


def test_a_wait_whose_polls_fail_times_out_at_its_deadline_and_says_why_the_last_one_failed(setting, service):
    async def main() -> None:
        waiting = setting.wait(timeout=90)
        await until(1)
        service.fails_before = 1e9
        outcome = await waiting
        assert (outcome.failure, outcome.job, now()) == (Failure.TIMED_OUT, job(), 90)
        assert "the sync is SYNCING (no documents yet); the last poll failed: ConnectionError: reset" in outcome.message

    run(main())


def test_what_is_true_at_the_deadline_counts(setting, service):
    async def main() -> None:
        waiting = setting.wait(timeout=90)
        await until(80)
        service.jobs = [job(status="SUCCEEDED")]
        assert isinstance(await waiting, Satisfied)
        assert now() == 90

    run(main())


def test_a_deadline_that_comes_later_than_others_is_kept(setting, service):
    async def main() -> None:
        waits = [setting.wait(timeout=timeout, interval=1000) for timeout in (None, 300, 100, 200)]
        await asyncio.gather(*waits[1:])
        await until(350)
        await cancel(waits[0])

    run(main())
    assert service.times == [0, 100, 200, 300]


def test_a_wait_that_joins_with_an_earlier_deadline_is_polled_for_then(setting, service):
    async def main() -> None:
        patient = setting.wait(interval=1000)
        await until(10)
        outcome = await setting.wait(interval=1000, timeout=40)
        assert (outcome.failure, now()) == (Failure.TIMED_OUT, 50)
        await cancel(patient)

    run(main())
    assert service.times == [0, 50]


@pytest.mark.parametrize(("pause", "times"), [(4.9, [0, 60, 90]), (5, [0, 60, 90, 95])])
def test_a_wait_times_out_without_a_poll_if_the_last_one_was_less_than_five_seconds_ago(setting, service, pause, times):
    async def main() -> None:
        outcomes = await asyncio.gather(setting.wait(timeout=90), setting.wait(timeout=90 + pause))
        assert [outcome.failure for outcome in outcomes] == [Failure.TIMED_OUT] * 2
        assert now() == 90 + pause

    run(main())
    assert service.times == times


def test_a_wait_that_was_never_polled_for_is_at_its_deadline_however_recent_the_last_poll(setting, service):
    async def main() -> None:
        first = setting.wait()
        await until(1)
        newcomer = setting.wait(timeout=2)
        await until(2)
        service.jobs = [job(status="SUCCEEDED")]
        assert isinstance(await newcomer, Satisfied)
        assert service.times == [0, 3]
        await cancel(first)

    run(main())


def test_a_poll_that_is_due_is_made_though_a_deadline_has_just_passed(setting, service):
    async def main() -> None:
        first = setting.wait(interval=3)
        timed = setting.wait(interval=3, timeout=6)
        await until(5)
        service.jobs = [job(status="SUCCEEDED")]
        assert isinstance(await timed, Satisfied)
        assert isinstance(await first, Satisfied)
        assert service.times == [0, 3, 6]

    run(main())


def test_waits_that_time_out_do_not_stop_the_others(setting, service):
    async def main() -> None:
        patient = setting.wait()
        await asyncio.gather(*(setting.wait(timeout=90 + number) for number in range(3)))
        assert now() == 92
        await until(200)
        assert service.times == [0, 60, 90, 150]
        service.jobs = [job(status="SUCCEEDED")]
        assert isinstance(await patient, Satisfied)

    run(main())


def hold_no_more() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.hold_no_more()


def test_a_wait_whose_last_poll_hangs_times_out_two_minutes_late(setting, service):
    async def main() -> None:
        waiting = setting.wait(timeout=600)
        await until(30)
        service.hanging = asyncio.get_running_loop().create_future()
        hold_no_more()
        outcome = await waiting
        assert (outcome.failure, now()) == (Failure.TIMED_OUT, 720)
        assert "the last poll failed: no response before the time-out" in outcome.message

    run(main())


def test_a_wait_that_begins_after_its_deadline_gives_a_poll_that_hangs_two_minutes(setting, service):
    async def main() -> None:
        service.hanging = asyncio.get_running_loop().create_future()
        hold_no_more()
        outcome = await setting.wait(timeout=-3600)
        assert (outcome.failure, now()) == (Failure.TIMED_OUT, 120)

    run(main())


def test_a_wait_that_begins_after_its_deadline_outlasts_any_time_until_its_poll_begins(setting, service):
    async def main() -> None:
        service.hanging = asyncio.get_running_loop().create_future()
        waiting = setting.wait(timeout=-3600)
        await asyncio.sleep(0)
        setting.clients[0].free = asyncio.Semaphore(0)
        asyncio.get_running_loop().call_at(300, setting.clients[0].free.release)
        hold_no_more()
        await until(355)
        assert not waiting.done()
        outcome = await waiting
        # It is at its second time-out that the poll has hung for long enough, since 300.
        assert (outcome.failure, now()) == (Failure.TIMED_OUT, 480)

    run(main())


# What a wait logs


def test_a_wait_logs_progress_every_five_minutes_however_rare_its_polls(setting, service):
    lines: list[tuple[float, str]] = []

    async def main() -> None:
        waiting = setting.wait(interval=1000, timeout=900, log=lambda line: lines.append((now(), line)))
        await waiting

    run(main())
    assert lines == [
        (0, "SYNCING after 0 s: no documents yet (sync job job)"),
        (300, "SYNCING after 5 min: no documents yet (sync job job)"),
        (600, "SYNCING after 10 min: no documents yet (sync job job)"),
    ]


def test_a_wait_logs_an_error_at_once_and_the_end_of_errors_with_the_progress(setting, service):
    lines: list[tuple[float, str]] = []

    async def main() -> None:
        waiting = setting.wait(interval=90, log=lambda line: lines.append((now(), line)))
        await until(50)
        service.fails_before = 250
        await until(800)
        await cancel(waiting)

    run(main())
    assert lines == [
        (0, "SYNCING after 0 s: no documents yet (sync job job)"),
        (90, "The last poll failed (ConnectionError); retrying. SYNCING after 1 min 30 s (sync job job)"),
        (390, "1 of the last 2 polls failed (ConnectionError); retrying. SYNCING after 6 min 30 s (sync job job)"),
        (690, "Polls succeed again. SYNCING after 11 min 30 s (sync job job)"),
    ]


def test_a_wait_logs_nothing_before_its_first_poll(setting, service):
    lines: list[str] = []

    async def main() -> None:
        service.hanging = asyncio.get_running_loop().create_future()
        waiting = setting.wait(log=lines.append)
        hold_no_more()
        await until(700)
        assert lines == []
        await cancel(waiting)

    run(main())


# What a poll reads


def test_a_poll_reads_as_many_pages_as_one_of_its_waits_needs(setting, service):
    service.jobs = [job(), *failed_jobs(35)]

    async def main() -> None:
        waits = [setting.wait(finished(name)) for name in ("job", "job-3", "job-25", "job-14")]
        await asyncio.gather(*waits[1:])
        assert service.calls == 3
        await until(61)
        assert service.calls == 4
        await cancel(waits[0])

    run(main())


def test_a_poll_goes_on_behind_the_jobs_that_earlier_ones_have_read(setting, service):
    service.jobs = failed_jobs(100)

    async def main() -> None:
        first = setting.wait(finished("nowhere"))
        await until(1)
        assert service.calls == 10
        await until(61)
        assert service.calls == 11
        await cancel(first)

    run(main())


def test_a_poll_resumes_once_where_the_others_stopped(setting, service):
    service.jobs = [job(), *failed_jobs(60)]

    async def main() -> None:
        first = setting.wait()
        await until(1)
        service.calls = 0
        assert isinstance(await setting.wait(finished("job-55")), Failed)
        # The newest page, and from the last job of that page to the one that is waited for.
        assert service.calls == 1 + 5
        await cancel(first)

    run(main())


def test_a_source_that_is_not_reusable_is_read_anew_by_each_poll(setting, service):
    service.jobs = failed_jobs(30)

    async def main() -> None:
        waiting = setting.wait(finished("nowhere"), source=Source(is_reusable=False))
        await until(61)
        assert service.calls == 6
        await cancel(waiting)

    run(main())


def test_everything_is_read_again_after_a_day_and_only_then(setting, service):
    service.jobs = failed_jobs(30)
    calls: list[int] = []

    async def main() -> None:
        await until(1000)
        waiting = setting.wait(finished("nowhere"), interval=poller.KEPT_LIFETIME / 4)
        for number in range(11):
            await until(1001 + number * poller.KEPT_LIFETIME / 4)
            calls.append(service.calls - sum(calls))
        await cancel(waiting)

    run(main())
    assert calls == [3, 1, 1, 1, 1, 3, 1, 1, 1, 1, 3]


def test_a_poll_that_fails_after_some_pages_keeps_them_and_does_not_back_off(setting, service):
    service.jobs = failed_jobs(100)

    class Breaks(Service):
        def pages(self, source: Source, before: datetime | None) -> Iterator[Page]:
            for number, page in enumerate(super().pages(source, before)):
                if number == 4:
                    raise ConnectionError("reset")
                yield page

    setting.service = Breaks()
    setting.service.jobs = failed_jobs(100)

    async def main() -> None:
        waiting = setting.wait(finished("job-100"))
        assert isinstance(await waiting, Failed)
        assert setting.service.times == [0, 60, 120]

    run(main())


def test_polls_that_fail_and_get_no_further_back_off_though_they_read_pages(setting):
    class Breaks(Service):
        def pages(self, source: Source, before: datetime | None) -> Iterator[Page]:
            if before is not None:
                raise ConnectionError("reset")
            for number, page in enumerate(super().pages(source, before)):
                if number == 1:
                    raise ConnectionError("reset")
                yield page

    setting.service = Breaks()
    setting.service.jobs = failed_jobs(100)

    async def main() -> None:
        waiting = setting.wait(finished("job-100"))
        await until(500)
        assert setting.service.times == [0, 60, 180, 420]
        await cancel(waiting)

    run(main())


@pytest.mark.parametrize("is_failing", [False, True])
def test_the_event_loop_has_its_turn_after_each_hundred_waits(setting, service, is_failing):
    service.fails_before = 1 if is_failing else 0
    turns: list[int] = []

    async def main() -> None:
        subscribers = [setting.subscriber() for _ in range(250)]
        subscriptions = [subscriber.subscribe(Source(), Says(ANYTHING)) for subscriber in subscribers]
        while (decided := sum(each.state is not None for each in subscriptions)) < 250:
            turns.append(decided)
            await asyncio.sleep(0)
        for subscriber in subscribers:
            subscriber.unsubscribe()

    run(main())
    assert sorted(set(turns)) == [0, 100, 200]


def test_the_age_of_a_source_is_reported_as_its_conditions_measure_it(setting, service, monkeypatch):
    ages: list[tuple[object, ...]] = []
    monkeypatch.setattr(_metrics, "report_age", lambda source, *ages_: ages.append((source, *ages_)))
    service.jobs = [job(status="SUCCEEDED", started=-100)]

    async def main() -> None:
        subscriber = setting.subscriber()
        subscriber.subscribe(Source(), Fresh(Acceptance(), max_age=timedelta(hours=1)))
        subscriber.subscribe(Source(), Says(ANYTHING))
        await until(61)
        subscriber.unsubscribe()

    run(main())
    assert [(source, set(measured)) for source, *measured in ages] == [
        (Source(), {timedelta(seconds=100), None}),
        (Source(), {timedelta(seconds=160), None}),
    ]


def test_a_wait_whose_first_poll_is_still_to_come_is_known(setting, service):
    async def main() -> None:
        subscriber = setting.subscriber()
        subscriber.subscribe(Source(), Says(ANYTHING))
        assert subscriber.awaits_first_poll
        service.hanging = asyncio.get_running_loop().create_future()
        hold_no_more()
        await until(119)
        assert subscriber.awaits_first_poll
        await until(120)
        assert not subscriber.awaits_first_poll  # it hangs
        service.hanging.set_result(None)
        await until(121)
        assert not subscriber.awaits_first_poll
        subscriber.unsubscribe()

    run(main())
