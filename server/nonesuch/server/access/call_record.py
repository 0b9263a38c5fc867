"""The record of one call, and its failure in the engine's terms; each protocol translates it to its own."""

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

REQUEST_ID_KEY = "x-request-id"
MAX_TEXT = 512
"""Max length of a message: it may quote the caller, and gRPC limits a call's status to 8 KiB."""
_MAX_VIOLATIONS = 4
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def request_id(metadata: Mapping[str, str]) -> str:
    """The caller's x-request-id if it is safe to log, otherwise a new one."""
    given = metadata.get(REQUEST_ID_KEY, "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


@dataclass(frozen=True)
class Failure:
    """The failure of a call, as its caller sees it.

    Attributes:
        code: a code of `nonesuch.engine.errors`.
        reason: the name of the error's class.
        message: one line of limited length.
        violations: the first few invalid fields, with texts of limited length.
        retry_after_ms: when to try again, if known.
        error_id: the log's id of an internal failure.
    """

    code: str
    reason: str
    message: str
    violations: tuple[FieldViolation, ...] = ()
    retry_after_ms: int | None = None
    error_id: str = ""

    @classmethod
    def of(cls, error: NonesuchError) -> Failure:
        """The failure for an error of the engine."""
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
        """An internal failure: only an id, no details."""
        error_id = secrets.token_hex(8)
        message = f"the server failed on this request; its log has the reason under id {error_id}"
        return cls("INTERNAL", "InternalError", message, error_id=error_id)


class CallObserver(Protocol):
    """Receives the events of every call; must neither block nor raise."""

    def around(self, record: CallRecord, metadata: Mapping[str, str]) -> AbstractContextManager[None]:
        """Entered when a call begins, and left after it is answered."""
        ...

    def ended(self, record: CallRecord, error: BaseException | None) -> None:
        """A call has ended and is about to be answered; `error` is set for an internal failure."""


class CallRecord:
    """The record of one call.

    Attributes:
        method: its name; never text from the caller.
        request_id: its id in the log and the answer.
        caller: the caller's name, set at admission.
        messages: the number of answers sent.
        code: its result: "OK", "CANCELLED" or a code of `nonesuch.engine.errors`.
        failure: the failure sent to the caller, if any.
        elapsed_s: its duration, set at its end.
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
        """The failure to answer with; None if the call was cancelled or the error is not to be answered."""
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
    """The text, cut to `MAX_TEXT`. A character beyond ASCII is sent as three characters per byte."""
    room = MAX_TEXT - 9  # for the ellipsis
    for index, letter in enumerate(text):
        room -= 1 if letter.isascii() else 3 * len(letter.encode(errors="replace"))
        if room < 0:
            return f"{text[:index]}…"
    return text
