"""Measurements side by side: those of one suite, metric and case, best first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ..measurement import Case, Measurement
from ..summary import median

__all__ = ["Group", "case_text", "find", "grouped", "label"]

_LABELS = {
    "device_images_per_s": "images per second, device alone",
    "device_latency": "latency, device alone",
    "encode": "time to encode",
    "goodput_per_s": "goodput",
    "images_per_s": "images per second",
    "latency_from_schedule": "latency from the schedule",
    "latency_from_sending": "latency from sending",
    "max_error": "largest error",
    "offered_per_s": "offered rate",
    "peak_rss": "peak resident memory",
    "psnr": "PSNR",
    "rss": "resident memory",
    "rss_import": "resident memory after import",
    "rss_open": "resident memory after opening",
    "ssim": "SSIM",
}


def label(metric: str) -> str:
    """A metric in words: "peak resident memory"."""
    return _LABELS.get(metric, metric.replace("_", " "))


def case_text(case: Case) -> str:
    """What was varied, in words: "batch 4, precision fp32"; empty for nothing."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in case.items())


@dataclass(frozen=True)
class Group:
    """Measurements that may be compared: one suite, metric and case.

    Attributes:
        members: by median, best first; those that have no better way (a floor) last. At least one.
    """

    members: list[Measurement]

    @property
    def metric(self) -> str:
        """Of all members."""
        return self.members[0].metric

    @property
    def unit(self) -> str:
        """Of all members."""
        return self.members[0].unit

    @property
    def case(self) -> Case:
        """Of all members."""
        return self.members[0].case

    @cached_property
    def best(self) -> Measurement | None:
        """The member with the best median; None where the metric has no better way."""
        return self.members[0] if self.members[0].better != "none" else None


def grouped(measurements: Iterable[Measurement], suite: str, metric: str | None = None) -> list[Group]:
    """The groups of a suite, in the order in which their first measurement comes; of one metric, or of all."""
    found: dict[tuple[str, ...], list[Measurement]] = {}
    for one in measurements:
        if one.suite == suite and metric in {None, one.metric}:
            found.setdefault(one.key[:-1], []).append(one)
    return [Group(sorted(members, key=_rank)) for members in found.values()]


def find(measurements: Iterable[Measurement], suite: str, metric: str, **wanted: str | float) -> list[Measurement]:
    """The measurements of a suite and metric whose case holds these values."""
    return [
        one
        for one in measurements
        if (one.suite, one.metric) == (suite, metric)
        and all(one.case.get(name) == value for name, value in wanted.items())
    ]


def _rank(one: Measurement) -> tuple[bool, float]:
    middle = median(one.samples)
    return one.better == "none", -middle if one.better == "higher" else middle
