"""OpenTelemetry traces, with the extra nonesuch[otel]: a span per call with child spans for the stages of an image.

A W3C traceparent from the caller continues the caller's trace. OpenTelemetry is imported only if `otlp` is set.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from google.rpc import code_pb2

from nonesuch.engine.errors import BackendUnavailableError

from ..access.call_record import CallRecord
from ..core.image_request import MadeImage

_NS_PER_MS = 1_000_000


class Tracing:
    """Makes spans if an endpoint is set, otherwise does nothing."""

    def __init__(self, otlp: str | None = None) -> None:
        """`otlp` is the endpoint of a collector, such as http://HOST:4317.

        Raises:
            BackendUnavailableError: the extra is not installed.
        """
        self._provider: Any = None
        if otlp is None:
            return
        try:
            exporter = import_module("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
            resources = import_module("opentelemetry.sdk.resources")
            sdk = import_module("opentelemetry.sdk.trace")
            export = import_module("opentelemetry.sdk.trace.export")
            self._api = import_module("opentelemetry.trace")
            self._propagate = import_module("opentelemetry.propagate")
        except ImportError as error:
            raise BackendUnavailableError(
                f"traces need OpenTelemetry ({error}); install it with: pip install 'nonesuch[otel]'"
            ) from error
        self._provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": "nonesuch"}))
        self._provider.add_span_processor(
            export.BatchSpanProcessor(exporter.OTLPSpanExporter(endpoint=otlp, insecure=otlp.startswith("http://")))
        )
        self._tracer = self._provider.get_tracer("nonesuch.server")

    @contextmanager
    def call(self, record: CallRecord, metadata: Mapping[str, str]) -> Iterator[None]:
        """Record a call as a span in the trace of its metadata; a code other than OK marks the span as an error."""
        if self._provider is None:
            yield
            return
        service, _, name = record.method.lstrip("/").rpartition("/")
        with self._tracer.start_as_current_span(
            f"{service}/{name}",
            context=self._propagate.extract(metadata),
            kind=self._api.SpanKind.SERVER,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": name,
                "nonesuch.request_id": record.request_id,
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            finally:
                span.set_attribute("rpc.grpc.status_code", code_pb2.Code.Value(record.code))
                if record.code != "OK":
                    span.set_status(self._api.StatusCode.ERROR, record.code)

    def image(self, made: MadeImage) -> None:
        """Add the child spans of an image that has just been encoded: queue, inference, encode."""
        if self._provider is None:
            return
        timing = made.timing
        end = time.time_ns()
        spans = [("encode", timing.encode_ms), ("inference", timing.inference_ms), ("queue", timing.queue_ms)]
        for name, taken_ms in spans:  # backwards from now; the gaps between them are negligible
            begin = end - round(taken_ms * _NS_PER_MS)
            span = self._tracer.start_span(
                name,
                start_time=begin,
                attributes={"nonesuch.model": made.model, "nonesuch.batch_size": made.batch_size},
            )
            span.end(end_time=end)
            end = begin

    def close(self) -> None:
        """Send the remaining spans."""
        if self._provider is not None:
            self._provider.shutdown()
