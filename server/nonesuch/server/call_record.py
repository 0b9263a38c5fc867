"""One call as the operator sees it: a line in the log, a sample in the metrics, a span in the trace."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import Any

import structlog

from nonesuch.engine.errors import NonesuchError

from .server_metrics import ServerMetrics
from .wire_errors import WireStatus, internal_status, wire_status

__all__ = ["REQUEST_ID_KEY", "CallRecord", "request_id"]

REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_OURS = "/nonesuch."
_log = structlog.get_logger("nonesuch.server")


def request_id(metadata: dict[str, str]) -> str:
    """The caller's own x-request-id where it is one that can be logged, else a fresh one."""
    given = metadata.get(REQUEST_ID_KEY, "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


class CallRecord:
    """How one call went."""

    def __init__(self, method: str, request_id: str, metrics: ServerMetrics) -> None:
        self.method = method
        self.request_id = request_id
        self.caller = ""  # its name, once it is known
        self.messages = 0
        self.code = "OK"
        self._metrics = metrics
        self._start = time.monotonic()

    def answered(self) -> None:
        """The call was answered in full."""
        self._done("OK")

    def failed(self, error: BaseException) -> WireStatus | None:
        """What to answer for an error; None means that the caller is gone and there is nobody to answer."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._done("CANCELLED")
            return None
        if isinstance(error, NonesuchError) and error.code != "INTERNAL":
            status = wire_status(error, ours=self.method.startswith(_OURS))
            self._done(error.code, error=status.details)
            return status
        if not isinstance(error, Exception):
            return None
        error_id = secrets.token_hex(8)
        self._done("INTERNAL", error_id=error_id, exc_info=error)
        return internal_status(error_id)

    def _done(self, code: str, **more: Any) -> None:
        self.code = code
        elapsed_s = time.monotonic() - self._start
        self._metrics.called(self.method, code, elapsed_s)
        say = _log.error if code == "INTERNAL" else _log.info
        say(
            "call",
            code=code,
            method=self.method,
            request_id=self.request_id,
            caller=self.caller,
            messages=self.messages,
            elapsed_ms=round(elapsed_s * 1e3, 1),
            **more,
        )
