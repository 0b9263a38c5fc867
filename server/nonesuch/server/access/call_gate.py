"""What every call passes, whatever it came by: who calls and what it may do, how many may run, a record, the end.

Every wire is a layer over one gate, so keys, limits, the drain and the log know all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from nonesuch.engine.errors import OverloadedError

from ..core.batching.queued_image import shutting_down
from ..settings import ServerSettings
from .api_keys import KeyRing
from .call_record import CallObserver, CallRecord, request_id
from .caller import CURRENT_CALLER

__all__ = ["Answer", "CallGate"]

_BUSY_RETRY_MS = 1000

Answer = Callable[[CallRecord, BaseException], Awaitable[None]]
"""Tells the caller of an error, after `record.failed` said what; it may raise to end the call."""


class CallGate:
    """One gate of a server; used on the event loop alone.

    Attributes:
        keys: the API keys that are known; may be replaced at any time.
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
        """A record of a call that begins now, with the request id of its metadata or a fresh one."""
        return CallRecord(method, request_id(metadata), self._observer)

    def refuse(self) -> None:
        """Answer every further call with UNAVAILABLE; those that run already go on."""
        self._refusing = True

    async def finish(self, timeout_s: float) -> bool:
        """Wait until no call runs, at most so long; whether that is so."""
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
        """Around one call.

        Args:
            record: of the call; it is told how it ends.
            metadata: the call's headers, by lower-case names.
            peer: who it is where no key is asked for.
            answer: is called for what the body raises, and for a refusal at the gate.
            scope: what the caller's key must allow.
            counted: whether the bound on calls holds for it.
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
        most = self._settings.max_calls
        if self._active > most and counted:
            raise OverloadedError(
                f"{most} calls run, and no more may; try again in {_BUSY_RETRY_MS} ms", retry_after_ms=_BUSY_RETRY_MS
            )
        CURRENT_CALLER.set(caller)
