"""Passes the events of the core and the gate on to metrics, traces and the log."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import structlog

from nonesuch.engine.errors import NonesuchError

from ..access.call_record import CallObserver, CallRecord
from ..core.image_request import MadeImage
from ..core.observer import LoadReport, Observer, QueueGauge
from .metrics import ServerMetrics
from .tracing import Tracing

_log = structlog.get_logger("nonesuch.server")


class ServerObserver(Observer, CallObserver):
    """The observer of one server."""

    def __init__(self, metrics: ServerMetrics, tracing: Tracing) -> None:
        self._metrics = metrics
        self._tracing = tracing

    def queue_opened(self, model: str, queue: QueueGauge) -> None:
        """Start to report the queue."""
        self._metrics.watch(model, queue)

    def queue_closed(self, queue: QueueGauge) -> None:
        """Stop to report the queue."""
        self._metrics.forget(queue)

    def model_loaded(self, report: LoadReport) -> None:
        """Log the report."""
        _log.info(
            "loaded",
            model=report.model,
            backend=report.backend,
            reason=report.reason,
            batch_target=report.batch_target,
            run_ms={size: round(ms, 1) for size, ms in report.run_ms.items()},
            memory_mib=round(report.memory_mib),
            elapsed_s=round(report.elapsed_s, 1),
        )

    def model_unloaded(self, model: str) -> None:
        """Log the event."""
        _log.info("unloaded", model=model)

    def model_evicted(self, model: str, wanted: str) -> None:
        """Log the event."""
        _log.info("unloading", model=model, to_make_room_for=wanted)

    def load_failed(self, model: str, error: NonesuchError) -> None:
        """Log the reason, which callers do not see."""
        _log.error("model not loaded", model=model, reason=error.message)

    def batch_ran(self, model: str, images: int, run_ms: float) -> None:
        """Count the batch."""
        self._metrics.ran(model, images, run_ms)

    def image_made(self, made: MadeImage) -> None:
        """Count the image, and add its spans to the trace of its call."""
        self._metrics.made(made)
        self._tracing.image(made)

    def around(self, record: CallRecord, metadata: Mapping[str, str]) -> AbstractContextManager[None]:
        """Record the call as a span."""
        return self._tracing.call(record, metadata)

    def ended(self, record: CallRecord, error: BaseException | None) -> None:
        """Count and log the call."""
        self._metrics.called(record.method, record.code, record.elapsed_s)
        more: dict[str, Any] = {}
        if record.failure is not None:
            failure = record.failure
            more = {"error_id": failure.error_id, "exc_info": error} if error else {"error": failure.message}
        say = _log.error if record.code == "INTERNAL" else _log.info
        say(
            "call",
            code=record.code,
            method=record.method,
            request_id=record.request_id,
            caller=record.caller,
            messages=record.messages,
            elapsed_ms=round(record.elapsed_s * 1e3, 1),
            **more,
        )
