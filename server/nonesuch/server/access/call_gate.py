"""Admission of every call: authentication, scope, the limit of running calls, the call record and the drain.

All protocols share one gate, so keys, limits, drain and log cover all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from nonesuch.engine.errors import OverloadedError

from ..core.batching.queued_image import shutting_down
from ..settings import ServerSettings
from .api_keys import CURRENT_CALLER, KeyRing
from .call_record import CallObserver, CallRecord, request_id

_BUSY_RETRY_MS = 1000

Answer = Callable[[CallRecord, BaseException], Awaitable[None]]
"""Sends an error, as `record.failed` describes it, to the caller; may raise to end the call."""


class CallGate:
    """The gate of a server; used only on the event loop.

    Attributes:
        keys: the accepted API keys; may be replaced at any time.
    """

    def __init__(self, settings: ServerSettings, observer: CallObserver) -> None:
        self.keys = KeyRing(settings.keys)
        self._settings = settings
        self._observer = observer
        self._active = 0
        self._refusing = False
        self._idle = asyncio.Event()
        self._idle.set()

    def record(self, method: str, metadata: Mapping[str, str]) -> CallRecord:
        """Start the record of a call, with the request id of its metadata or a new one."""
        return CallRecord(method, request_id(metadata), self._observer)

    def refuse(self) -> None:
        """Answer new calls with UNAVAILABLE; running calls continue."""
        self._refusing = True

    async def finish(self, timeout_s: float) -> bool:
        """Wait until all calls have ended, at most `timeout_s`; returns whether they have."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    @asynccontextmanager
    async def call(
        self,
        record: CallRecord,
        metadata: Mapping[str, str],
        peer: str,
        answer: Answer,
        *,
        scope: str | None = None,
        counted: bool = True,
    ) -> AsyncIterator[CallRecord]:
        """Admit and run one call in a `with` block.

        Args:
            record: the call's record, which also gets its result.
            metadata: the call's headers, by lower-case names.
            peer: the caller's name if the server has no keys.
            answer: called with an exception of the body, or of the admission.
            scope: the scope that the call requires.
            counted: whether `max_calls` applies to it.
        """
        self._active += 1
        self._idle.clear()
        try:
            with self._observer.around(record, metadata):
                try:
                    self._admit(record, metadata, peer, scope, counted)
                    yield record
                    record.answered()
                except BaseException as error:
                    await answer(record, error)
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    def _admit(
        self, record: CallRecord, metadata: Mapping[str, str], peer: str, scope: str | None, counted: bool
    ) -> None:
        if self._refusing:
            raise shutting_down()
        caller = self.keys.caller(metadata.get("authorization"), peer)
        record.caller = caller.name
        if scope is not None:
            caller.require(scope)
        max_calls = self._settings.max_calls
        if self._active > max_calls and counted:
            raise OverloadedError(
                f"{max_calls} calls run, and no more may; try again in {_BUSY_RETRY_MS} ms",
                retry_after_ms=_BUSY_RETRY_MS,
            )
        CURRENT_CALLER.set(caller)
