"""One call as the operator sees it, and how it ended, in the engine's terms; each wire says that in its own."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from nonesuch.engine.errors import FieldViolation, InvalidRequestError, NonesuchError, OverloadedError

__all__ = ["MAX_TEXT", "REQUEST_ID_KEY", "CallObserver", "CallRecord", "Failure", "request_id"]

REQUEST_ID_KEY = "x-request-id"
MAX_TEXT = 512
"""Letters of a message at most: it may quote the caller, and what gRPC says of a call must stay below 8 KiB."""
_MAX_VIOLATIONS = 4
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def request_id(metadata: Mapping[str, str]) -> str:
    """The caller's own x-request-id where it is one that can be logged, else a fresh one."""
    given = metadata.get(REQUEST_ID_KEY, "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


@dataclass(frozen=True)
class Failure:
    """Why a call failed, for its caller.

    Attributes:
        code: of `nonesuch.engine.errors`.
        reason: the name of the error's class.
        message: one line, bounded.
        violations: the fields that are wrong, the first few, each text bounded.
        retry_after_ms: when to try again, where that is known.
        error_id: of a failure of our own, which the log has under this id.
    """

    code: str
    reason: str
    message: str
    violations: tuple[FieldViolation, ...] = ()
    retry_after_ms: int | None = None
    error_id: str = ""

    @classmethod
    def of(cls, error: NonesuchError) -> Failure:
        """What the caller is told of one of our errors."""
        message = error.message
        violations: tuple[FieldViolation, ...] = ()
        if isinstance(error, InvalidRequestError):
            shown = error.violations[:_MAX_VIOLATIONS]
            violations = tuple(FieldViolation(one.field, _bounded(one.description)) for one in shown)
            message = "; ".join(f"{one.field}: {one.description}" for one in violations)
        retry_after_ms = error.retry_after_ms if isinstance(error, OverloadedError) else None
        return cls(error.code, type(error).__name__, _bounded(message), violations, retry_after_ms)

    @classmethod
    def internal(cls) -> Failure:
        """What the caller is told of a failure that is our own: nothing of its inside, only an id."""
        error_id = secrets.token_hex(8)
        message = f"the server failed on this request; its log has the reason under id {error_id}"
        return cls("INTERNAL", "InternalError", message, error_id=error_id)


class CallObserver(Protocol):
    """Is told of every call; must neither block nor raise."""

    def around(self, record: CallRecord, metadata: Mapping[str, str]) -> AbstractContextManager[None]:
        """Entered when a call begins, and left when its caller has been told of its end."""
        ...

    def ended(self, record: CallRecord, error: BaseException | None) -> None:
        """A call has ended; `error` is there where the failure is our own. Its caller is about to be told."""


class CallRecord:
    """How one call went.

    Attributes:
        method: its name; never anything that a caller wrote.
        request_id: as the log and the answer have it.
        caller: who called, once that is known.
        messages: how many answers were given.
        code: how it ended, of `nonesuch.engine.errors`; "OK" and "CANCELLED" besides.
        failure: what its caller is told, where it failed.
        elapsed_s: how long it took, once it has ended.
    """

    def __init__(self, method: str, request_id: str, observer: CallObserver) -> None:
        self.method = method
        self.request_id = request_id
        self.caller = ""
        self.messages = 0
        self.code = "OK"
        self.failure: Failure | None = None
        self.elapsed_s = 0.0
        self._observer = observer
        self._start = time.monotonic()

    def answered(self) -> None:
        """The call was answered in full."""
        self._end("OK")

    def failed(self, error: BaseException) -> Failure | None:
        """What to answer for an error; None means that the caller is gone and there is nobody to answer."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._end("CANCELLED")
            return None
        if isinstance(error, NonesuchError) and error.code != "INTERNAL":
            return self._fail(Failure.of(error))
        if not isinstance(error, Exception):
            return None
        return self._fail(Failure.internal(), error)

    def _fail(self, failure: Failure, error: Exception | None = None) -> Failure:
        self.failure = failure
        self._end(failure.code, error)
        return failure

    def _end(self, code: str, error: Exception | None = None) -> None:
        self.code = code
        self.elapsed_s = time.monotonic() - self._start
        self._observer.ended(self, error)


def _bounded(text: str) -> str:
    """The text, cut where it is too long. Letters beyond ASCII travel as three letters a byte."""
    room = MAX_TEXT - 9  # for the mark of what is left out
    for index, letter in enumerate(text):
        room -= 1 if letter.isascii() else 3 * len(letter.encode(errors="replace"))
        if room < 0:
            return f"{text[:index]}…"
    return text
