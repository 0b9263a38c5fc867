"""The records of a run -> what a serving benchmark reports: rates, percentiles, goodput, errors, schedule misses."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..measurement import BenchmarkError
from .request_record import NOT_SENT, LoadRun

__all__ = ["LoadReport", "Misses", "Percentiles", "block_rates", "quantile"]

MAX_MISSED_SHARE = 0.01
LATE_MS = 1.0
LATE_SHARE = 0.05


@dataclass(frozen=True)
class Percentiles:
    """Of observed values, in milliseconds; each is one that really occurred."""

    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Percentiles:
        """Those of some values. Raises as `quantile`."""
        found = list(values)
        return cls(*(quantile(found, share) for share in (0.5, 0.9, 0.99, 1.0)))


@dataclass(frozen=True)
class Misses:
    """How well an open loop kept its schedule.

    A miss is a request that was sent later than scheduled by more than `tolerance_ms`, which is 5 % of the median
    latency and at least 1 ms, or not at all.
    """

    later_than_1_ms: int
    missed: int
    tolerance_ms: float
    share: float
    max_lag_ms: float

    @property
    def too_many(self) -> bool:
        """More than 1 % of the requests: the tail then shows the generator and not the server."""
        return self.share > MAX_MISSED_SHARE

    def __str__(self) -> str:
        return (
            f"{self.missed} requests ({self.share:.1%}) were sent more than {self.tolerance_ms:.1f} ms late, or not at "
            f"all; the latest by {self.max_lag_ms:.1f} ms"
        )


@dataclass(frozen=True)
class LoadReport:
    """One run, summed up. Latencies and the server's own times are of the images that came; errors are counted beside.

    Attributes:
        count: requests.
        errors: by status, without OK.
        offered_per_s: of the schedule; None for a closed loop.
        achieved_per_s: images per second, from the start of the run until the last answer.
        goodput_per_s: the same of the images that came within the SLO, timed from the schedule.
        slo_ms: that bound.
        latency: from the schedule.
        sending_latency: from the sending.
        queue: as the server reports it, like the next two.
        inference: of the whole batch.
        encode: of the image.
        mean_batch: images in a batch, as an image sees it.
        misses: of the schedule; of a closed loop there are none.
    """

    count: int
    errors: dict[str, int]
    offered_per_s: float | None
    achieved_per_s: float
    goodput_per_s: float
    slo_ms: float
    latency: Percentiles
    sending_latency: Percentiles
    queue: Percentiles
    inference: Percentiles
    encode: Percentiles
    mean_batch: float
    misses: Misses

    @classmethod
    def of(cls, run: LoadRun, slo_ms: float = math.inf) -> LoadReport:
        """Sum up a run.

        Raises:
            BenchmarkError: not one image came.
        """
        done = [record for record in run.records if record.ok]
        errors = dict(Counter(record.code for record in run.records if not record.ok))
        if not done:
            raise BenchmarkError(f"the server gave no image in {len(run.records)} requests ({errors}); see its log")
        start_s = 0.0 if run.loop == "open" else run.records[0].sent_s
        span_s = max(record.done_s for record in run.records) - start_s
        return cls(
            count=len(run.records),
            errors=errors,
            offered_per_s=run.offered_per_s,
            achieved_per_s=len(done) / span_s,
            goodput_per_s=sum(record.latency_ms <= slo_ms for record in done) / span_s,
            slo_ms=slo_ms,
            latency=Percentiles.of(record.latency_ms for record in done),
            sending_latency=Percentiles.of(record.sending_latency_ms for record in done),
            queue=Percentiles.of(record.queue_ms for record in done),
            inference=Percentiles.of(record.inference_ms for record in done),
            encode=Percentiles.of(record.encode_ms for record in done),
            mean_batch=float(np.mean([record.batch_size for record in done])),
            misses=_misses(run),
        )


def quantile(values: list[float], share: float) -> float:
    """The value at place n * share (0 to 1) of the n sorted ones: one that occurred, and the one that LoadGen takes.

    Raises:
        BenchmarkError: there are no values.
    """
    if not values:
        raise BenchmarkError("there is nothing to take a percentile of; send at least one request")
    return sorted(values)[min(len(values) - 1, math.floor(len(values) * share))]


def block_rates(run: LoadRun, blocks: int = 5, least: int = 4) -> list[float]:
    """Images per second in consecutive parts of a closed loop, in order: a rate with its spread.

    Each part has as many images as the others, give or take one, and at least `least`, so short runs have fewer parts;
    a run without images has none.
    """
    ends = np.sort([record.done_s for record in run.records if record.ok])
    if not len(ends):
        return []
    parts = np.array_split(ends, max(1, min(blocks, len(ends) // least)))
    edges = [run.records[0].sent_s, *(float(part[-1]) for part in parts)]
    return [len(part) / (edges[i + 1] - edges[i]) for i, part in enumerate(parts) if edges[i + 1] > edges[i]]


def _misses(run: LoadRun) -> Misses:
    sent = [record for record in run.records if record.code != NOT_SENT]
    median_ms = quantile([record.sending_latency_ms for record in sent if record.ok], 0.5)
    tolerance_ms = max(LATE_MS, LATE_SHARE * median_ms)
    missed = sum(record.lag_ms > tolerance_ms for record in sent) + len(run.records) - len(sent)
    return Misses(
        later_than_1_ms=sum(record.lag_ms > LATE_MS for record in run.records),
        missed=missed,
        tolerance_ms=tolerance_ms,
        share=missed / len(run.records),
        max_lag_ms=max(record.lag_ms for record in run.records),
    )
