"""The runs of one case -> Measurements: what each request took, in the order of the rounds, and a rate for each run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..measurement import Case, Measurement
from .load_report import LoadReport, block_rates
from .request_record import LoadRun

__all__ = ["MAX_SAMPLES", "load_flags", "load_measurements"]

MAX_SAMPLES = 2000
"""Per metric and case; of more requests, evenly spaced ones are kept."""

SUITE = "serve"


def load_measurements(
    runs: Sequence[LoadRun], *, subject: str, case: Case, slo_ms: float, detail: str = ""
) -> list[Measurement]:
    """What the runs of one case, one a round, have to say.

    Of images: latency_from_schedule (open loop), latency_from_sending, queue, inference, encode, batch_size,
    schedule_lag (open loop). Of runs: images_per_s (of parts of a closed loop), goodput_per_s, offered_per_s (open
    loop), and for each status but OK `errors`, the share of the requests that ended so.

    Raises:
        BenchmarkError: not one image came in a run.
    """
    reports = [LoadReport.of(run, slo_ms) for run in runs]
    done = [record for run in runs for record in run.records if record.ok]
    sent = [record for run in runs for record in run.records]
    is_open = runs[0].loop == "open"

    def made(
        metric: str, unit: str, better: Literal["lower", "higher", "none"], samples: Sequence[float], **more: str
    ) -> Measurement:
        return Measurement(
            suite=SUITE,
            subject=subject,
            detail=detail,
            metric=metric,
            unit=unit,
            better=better,
            case={**case, **more},
            samples=_bounded(samples),
        )

    rates = [report.achieved_per_s for report in reports] if is_open else [r for run in runs for r in block_rates(run)]
    measurements = [
        made("latency_from_sending", "ms", "lower", [record.sending_latency_ms for record in done]),
        made("images_per_s", "1/s", "higher", rates),
        made("goodput_per_s", "1/s", "higher", [report.goodput_per_s for report in reports]),
        made("queue", "ms", "lower", [record.queue_ms for record in done]),
        made("inference", "ms", "lower", [record.inference_ms for record in done]),
        made("encode", "ms", "lower", [record.encode_ms for record in done]),
        made("batch_size", "", "none", [float(record.batch_size) for record in done]),
    ]
    if is_open:
        measurements += [
            made("latency_from_schedule", "ms", "lower", [record.latency_ms for record in done]),
            made("schedule_lag", "ms", "none", [record.lag_ms for record in sent]),
            made("offered_per_s", "1/s", "none", [report.offered_per_s or 0.0 for report in reports]),
        ]
    for code, number in Counter(record.code for record in sent if not record.ok).items():
        measurements.append(made("errors", "", "lower", [number / len(sent)], code=code))
    return measurements


def load_flags(runs: Sequence[LoadRun], name: str) -> list[str]:
    """What makes these runs less trustworthy, each in one line: missed schedules, requests that failed."""
    flags = []
    for run in runs:
        report = LoadReport.of(run)
        if run.loop == "open" and report.misses.too_many:
            flags.append(f"{SUITE}, {name}: the generator missed its schedule: {report.misses}")
        if report.errors:
            errors = ", ".join(f"{number} x {code}" for code, number in sorted(report.errors.items()))
            flags.append(f"{SUITE}, {name}: of {report.count} requests, some got no image: {errors}")
    return flags


def _bounded(samples: Sequence[float]) -> list[float]:
    if len(samples) <= MAX_SAMPLES:
        return list(samples)
    return [samples[index] for index in np.linspace(0, len(samples) - 1, MAX_SAMPLES).astype(int)]
