"""The boto3 client shared by all polls with the same AWS parameters, and its threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_kendra._aws import (
    LOOK_UP_PAUSES,
    ConnectionLookUpError,
    ConnectionNotDefinedError,
)
from airflow_provider_kendra._connection import AwsParameters
from airflow_provider_kendra._waiting.threads import MAX_CALLS, DaemonThreads, in_empty_context

if TYPE_CHECKING:
    from airflow_provider_kendra._decisions import Failed
    from airflow_provider_kendra.hooks.kendra import KendraSyncJobsHook

MakeHook = Callable[[AwsParameters], "KendraSyncJobsHook"]

MAX_FAILING_CALLS = MAX_CALLS // 2
"""The maximum number of calls for data sources whose last poll failed, so that some threads are left for others."""


CLIENT_LIFETIME = 900.0
"""Seconds until the connection is looked up again, in case it has been edited."""


KNOWN_AFTER = 300.0
"""Age in seconds from which a wait counts as resumed: an earlier triggerer must have found its connection."""


RENEWAL_PAUSE = 60.0
"""Seconds between attempts to renew a client; the old one stays in use."""


RENEWAL_TIMEOUT = 10.0
"""Seconds that a poll waits for a renewed client before it uses the old one."""


class Client:
    """
    The client shared by all polls with the same AWS parameters, and the threads that create and use it.

    A call that hangs or fails here does not delay polls of other clients.

    :param aws: The parameters.
    :param make_hook: Creates a hook; called in a thread, since it may import boto3.
    """

    def __init__(self, aws: AwsParameters, make_hook: MakeHook) -> None:
        self._make_polling_hook = partial(_make_polling_hook, make_hook, aws)
        self._hook: KendraSyncJobsHook | None = None
        self._renew_at = 0.0
        self._making: asyncio.Task[KendraSyncJobsHook] | None = None
        self._is_discarded = False
        self.is_connection_known = False
        # Not the loop's own executor, which other triggers can fill with blocking calls.
        self.threads = DaemonThreads(MAX_CALLS, "kendra-poll")
        self._maker_thread = DaemonThreads(1, "kendra-poll-client")
        self._turns = asyncio.Semaphore(MAX_CALLS)
        self._turns_of_failing = asyncio.Semaphore(MAX_FAILING_CALLS)

    @asynccontextmanager
    async def turn(self, *, is_failing: bool) -> AsyncIterator[None]:
        """Limit concurrent calls, first come, first served."""
        async with self._turns_of_failing if is_failing else nullcontext(), self._turns:
            yield

    async def hook(self) -> KendraSyncJobsHook:
        """Return the hook to poll with; if a renewal fails or hangs, the previous one stays in use."""
        if self._hook is not None and asyncio.get_running_loop().time() < self._renew_at:
            return self._hook
        if self._making is None:
            self._making = in_empty_context(self._make())
            self._making.add_done_callback(_consume_error)
        making = self._making
        if self._hook is None:
            # Shielded: cancelling a connection look-up half-way breaks the order of the triggerer's messages.
            return await asyncio.shield(making)
        await asyncio.wait({making}, timeout=RENEWAL_TIMEOUT)
        return self._hook

    def discard(self) -> None:
        """Close the client, now or as soon as it has been created."""
        self._is_discarded = True
        if self._hook is not None:
            self._hook.conn.close()
        self.threads.shutdown()
        if self._making is None:
            self._maker_thread.shutdown()

    def judge(self, error: Exception, contents: str, hook: KendraSyncJobsHook | None) -> Failed | str:
        """Return a failure for a permanent error, and a description of any other."""
        from airflow_provider_kendra.hooks._aws_errors import judge_poll_error  # already imported with the hook

        return judge_poll_error(error, contents, partial(self._renew, hook))

    def _renew(self, hook: KendraSyncJobsHook | None) -> None:
        """Renew the client before the next poll, if this hook is still in use."""
        if hook is not None and self._hook is hook:
            self._renew_at = 0.0

    async def _make(self) -> KendraSyncJobsHook:
        loop = asyncio.get_running_loop()
        try:
            hook = await self._look_up()
        except Exception:
            if self._hook is None:
                raise
            self._renew_at = loop.time() + RENEWAL_PAUSE
            return self._hook
        finally:
            self._making = None
            if self._is_discarded:
                self._maker_thread.shutdown()
        if self._is_discarded:
            hook.conn.close()
            return hook
        if self._hook is not None:
            self._hook.conn.close()
        self._hook, self._renew_at = hook, loop.time() + CLIENT_LIFETIME
        return hook

    async def _look_up(self) -> KendraSyncJobsHook:
        from asgiref.sync import sync_to_async  # imported lazily to keep DAG parsing fast

        # Through asgiref: before Airflow 3.2.2, a look-up from any other thread breaks the order of the triggerer's
        # messages.
        make: Callable[[], Awaitable[KendraSyncJobsHook]] = sync_to_async(  # type: ignore[call-overload]
            self._make_polling_hook, thread_sensitive=False, executor=self._maker_thread
        )
        for pause in LOOK_UP_PAUSES if self._hook is None else ():
            # Airflow 3.1 to 3.3 report every failed look-up as "not defined".
            with suppress(ConnectionNotDefinedError):
                return await make()
            await asyncio.sleep(pause)
        try:
            return await make()
        except ConnectionNotDefinedError as error:
            if not self.is_connection_known:
                raise
            raise ConnectionLookUpError(f"The look-up of the AWS connection failed: {error}") from error


def _make_polling_hook(make_hook: MakeHook, aws: AwsParameters) -> KendraSyncJobsHook:
    hook = make_hook(aws)
    hook._use_for_polling()
    _ = hook.conn  # looks the connection up and creates the client
    return hook


def _consume_error(making: asyncio.Task[KendraSyncJobsHook]) -> None:
    """Retrieve the error of a client that is no longer awaited; asyncio would log it otherwise."""
    if not making.cancelled():
        making.exception()
