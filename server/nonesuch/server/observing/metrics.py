"""Prometheus metrics, named as Triton's (nv_inference_...) with the prefix nonesuch_inference_.

Each server has its own registry. Durations are counters in microseconds, as in Triton; divide by the request count for
the mean. docs/serving.md lists all metrics.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..core.image_cache import ImageCache
from ..core.image_request import MadeImage
from ..core.observer import QueueGauge

_PREFIX = "nonesuch_inference"
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
# Triton's failure reasons by gRPC code.
_REASONS = {
    "RESOURCE_EXHAUSTED": "REJECTED",
    "UNAVAILABLE": "REJECTED",
    "UNAUTHENTICATED": "REJECTED",
    "PERMISSION_DENIED": "REJECTED",
    "CANCELLED": "CANCELED",
    "DEADLINE_EXCEEDED": "CANCELED",
    "INTERNAL": "BACKEND",
}


class ServerMetrics:
    """The counters of one server; updated on the event loop, read through the registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        self._success = counter(f"{_PREFIX}_request_success", "Images that were made.", "model")
        self._failure = counter(
            f"{_PREFIX}_request_failure", "Calls that failed: REJECTED, CANCELED, BACKEND, OTHER.", "method", "reason"
        )
        self._images = counter(f"{_PREFIX}_count", "Images that ran on the device.", "model")
        self._runs = counter(f"{_PREFIX}_exec_count", "Batches that ran on the device.", "model")
        self._run_us = counter(f"{_PREFIX}_compute_infer_duration_us", "Time of all batches.", "model")
        self._request_us = counter(f"{_PREFIX}_request_duration_us", "Time of all images, arrival to answer.", "model")
        self._queue_us = counter(f"{_PREFIX}_queue_duration_us", "Time of all images in the queue.", "model")
        self._encode_us = counter(f"{_PREFIX}_compute_output_duration_us", "Time of encoding all images.", "model")
        self._batch = Histogram(
            f"{_PREFIX}_batch_size", "Images in a batch.", ("model",), buckets=_BATCH_SIZES, registry=self.registry
        )
        self._call = Histogram(
            "nonesuch_call_duration_seconds", "Calls by method and gRPC code.", ("method", "code"), buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._gauges = _Gauges()
        self.registry.register(self._gauges)
        # Looking up a labelled counter takes as long as a dozen increments.
        self._image_counters = cache(self._new_image_counters)
        self._run_counters = cache(self._new_run_counters)
        self._call_histogram = cache(self._call.labels)

    def made(self, image: MadeImage) -> None:
        """Count an image that was rendered for a request."""
        timing = image.timing
        success, request_us, queue_us, encode_us = self._image_counters(image.model)
        success.inc()
        request_us.inc(timing.total_ms * 1e3)
        queue_us.inc(timing.queue_ms * 1e3)
        encode_us.inc(timing.encode_ms * 1e3)

    def ran(self, model: str, images: int, run_ms: float) -> None:
        """Count a batch."""
        count, runs, run_us, size = self._run_counters(model)
        count.inc(images)
        runs.inc()
        run_us.inc(run_ms * 1e3)
        size.observe(images)

    def called(self, method: str, code: str, elapsed_s: float) -> None:
        """Count a call by its gRPC code."""
        self._call_histogram(method, code).observe(elapsed_s)
        if code != "OK":
            self._failure.labels(method, _REASONS.get(code, "OTHER")).inc()

    def _new_image_counters(self, model: str) -> tuple[Counter, Counter, Counter, Counter]:
        labelled = (self._success, self._request_us, self._queue_us, self._encode_us)
        return tuple(counter.labels(model) for counter in labelled)  # type: ignore[return-value]

    def _new_run_counters(self, model: str) -> tuple[Counter, Counter, Counter, Histogram]:
        return (
            self._images.labels(model), self._runs.labels(model), self._run_us.labels(model), self._batch.labels(model),
        )  # fmt: skip

    def watch(self, model: str, queue: QueueGauge) -> None:
        """Start to report the queue of a model."""
        self._gauges.queues[queue] = model

    def forget(self, queue: QueueGauge) -> None:
        """Stop to report a queue."""
        self._gauges.queues.pop(queue, None)

    def watch_cache(self, cache: ImageCache) -> None:
        """Start to report the cache: size, hits and misses."""
        self._gauges.cache = cache


class _Gauges(Collector):
    """Gauges, read at collection time."""

    def __init__(self) -> None:
        self.queues: dict[QueueGauge, str] = {}
        self.cache: ImageCache | None = None

    def collect(self) -> Iterator[Metric]:
        pending = GaugeMetricFamily(f"{_PREFIX}_pending_request_count", "Images that wait.", labels=("model",))
        flying = GaugeMetricFamily("nonesuch_batches_in_flight", "Batches on the device.", labels=("model",))
        waiting: dict[str, list[int]] = {}
        for queue, model in list(self.queues.items()):
            counts = waiting.setdefault(model, [0, 0])
            counts[0] += queue.waiting
            counts[1] += queue.in_flight
        for model, (queued, running) in waiting.items():
            pending.add_metric((model,), queued)
            flying.add_metric((model,), running)
        yield pending
        yield flying
        if self.cache is not None:
            for name, text, value in (
                ("nonesuch_cache_num_hits", "Images found in the cache.", self.cache.hits),
                ("nonesuch_cache_num_misses", "Images not found in the cache.", self.cache.misses),
                ("nonesuch_cache_bytes", "Size of the cached images.", self.cache.size_bytes),
            ):
                yield GaugeMetricFamily(name, text, value=value)
