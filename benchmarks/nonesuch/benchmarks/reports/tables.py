"""The tables of a result: one compact form for each suite, for reports and documents, and all samples summarised."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from ..encoding import ALONE
from ..result import Result, case_text, label
from ..serve.overhead import ENGINE
from ..speed import FLOOR
from ..subjects.wheel import WheelSubject
from ..summary import median, percentile
from .grid import ENOUGH, NOTHING, Grid, grouped, middle, number, pivot, spread, tail, times

_REDUCED = re.compile(r"\((fp16|bf16|int8|int4|fp8)|float16")
_SERVE_COLUMNS = {
    "offered": ("offered_per_s", 50), "images/s": ("images_per_s", 50), "goodput": ("goodput_per_s", 50),
    "p50 ms": ("", 50), "p90 ms": ("", 90), "p99 ms": ("", 99),
    "queue ms": ("queue", 50), "inference ms": ("inference", 50), "encode ms": ("encode", 50),
}  # fmt: skip


def tables(result: Result, name: str) -> list[Grid]:
    """The compact tables by that name, one of `TABLES`; none where the result has nothing of it."""
    return [grid for grid in TABLES[name](result) if grid.rows] if name in TABLES else []


def summary_grid(result: Result, suite: str) -> Grid:
    """Every measurement of a suite in a row: median, quartiles, percentiles, and ratio to the best of its group."""
    header = ["metric", "case", "subject", "median", "quartiles", "p90", "p99", "samples", "times the best", "95 %"]
    rows = [
        [
            label(one.metric), case_text(one.case), one.subject, middle(one), spread(one),
            *(tail(one, percent) for percent in ENOUGH), str(len(one.samples)), *times(one, group[0]),
        ]
        for group in grouped(result, suite)
        for one in group
    ]  # fmt: skip
    return Grid(header, rows, left=3).without_empty()


def _latency(result: Result, *, headline: bool = False) -> list[Grid]:
    """Every subject; for the headline ours, the best of each other kind, and the floor, in float32."""
    members = next(iter(grouped(result, "latency", "latency")), [])
    if headline:
        members = [one for one in members if not _REDUCED.search(f"{one.subject} {one.detail}")]
        kinds = (WheelSubject.name, "torch compile", "torch eager", FLOOR)
        best = [next((one for one in members if one.subject.startswith(kind)), None) for kind in kinds]
        ours = [one for one in members if not one.subject.startswith((*kinds, "torch"))]
        members = [*ours, *filter(None, best)]
    header = ["one image", "median", "quartiles", "p90", "times the first", "95 %"]
    rows = [[one.subject, middle(one), f"{spread(one)} ms", tail(one, 90), *times(one, members[0])] for one in members]
    return [Grid(header, rows).without_empty()]


def _precision(result: Result) -> list[Grid]:
    rows = []
    for one in result.find("precision", "psnr"):
        same_case = {other.metric: other.samples for other in result.find("precision") if other.key[2:] == one.key[2:]}
        ssim, error = same_case.get("ssim"), same_case.get("max_error")
        row = [one.subject, str(one.case.get("variant", "")), str(one.case.get("precision", ""))]
        row += [f"{min(one.samples):.1f} dB", middle(one), f"{min(ssim):.5f}" if ssim else NOTHING]
        rows.append([*row, number(max(error)) if error else NOTHING, str(len(one.samples))])
    header = ["against PyTorch float32", "graph", "precision", "worst PSNR", "median PSNR", "worst SSIM"]
    return [Grid([*header, "largest error, of 255", "seeds"], rows, left=3)]


def _encoding(result: Result) -> list[Grid]:
    sizes = {one.subject: middle(one) for one in result.find("encoding", "size")}
    encode = [one for group in grouped(result, "encoding", "encode") for one in group]
    formats = [[one.subject, middle(one), sizes.get(one.subject, NOTHING)] for one in encode]
    overlap = result.find("encoding", "images_per_s")
    alone = next((one for one in overlap if one.subject == ALONE), None)
    rows = [[one.subject, number(median(one.samples)), *times(one, alone)] for one in overlap]
    return [
        Grid(["format", "time to encode", "size"], formats, "one image, one thread"),
        Grid(["", "images per second", "times generating alone", "95 %"], rows, "generating and encoding"),
    ]


def _serve(result: Result) -> list[Grid]:
    rows = []
    for group in grouped(result, "serve", "images_per_s"):
        same_case = [one for one in result.find("serve") if one.key[2:] == group[0].key[2:]]
        found = {one.metric: one.samples for one in same_case}
        # What a caller who keeps to the schedule sees; in a closed loop there is no schedule.
        found[""] = found.get("latency_from_schedule", found.get("latency_from_sending", []))
        row = [case_text(group[0].case)]
        for metric, percent in _SERVE_COLUMNS.values():
            samples = found.get(metric, [])
            shown = samples and len(samples) >= ENOUGH.get(percent, 0)
            row.append(number(percentile(samples, percent)) if shown else NOTHING)
        sizes = found.get("batch_size", [])
        # The mean, because it is a whole number.
        rows.append([*row, number(sum(sizes) / len(sizes)) if sizes else NOTHING])
    caption = "medians of each run"
    for slo in result.find("serve", "slo"):
        caption += f"; goodput is images within {middle(slo)}, per second"
    for peak in result.find("serve", "peak_rate"):
        caption += f"; the highest rate that kept it at p{peak.case.get('percentile')}: {middle(peak)}"
    return [Grid(["", *_SERVE_COLUMNS, "batch"], rows, caption).without_empty()]


def _peers(result: Result) -> list[Grid]:
    callers, offered = "by callers at a time", "by offered rate"
    memory = [[one.subject, middle(one)] for group in grouped(result, "peers", "rss") for one in group]
    return [
        pivot(result, "peers", "images_per_s", "concurrency", f"images per second, {callers}"),
        pivot(result, "peers", "latency", "concurrency", f"median latency, ms, {callers}"),
        pivot(result, "peers", "latency", "concurrency", f"p99 of the latency, ms, {callers}", 99),
        pivot(result, "peers", "latency", "offered_per_s", f"p99 from when a request was due, ms, {offered}", 99),
        Grid(["", "resident memory"], memory, "all processes of each server"),
    ]


def _overhead(result: Result) -> list[Grid]:
    rates = result.find("overhead", "images_per_s")
    engine = next((one for one in rates if one.subject == ENGINE), None)
    rows = [[one.subject, middle(one), *times(one, engine)] for one in rates]
    added = [[one.subject, middle(one), f"{spread(one)} ms"] for one in result.find("overhead", "added_latency")]
    return [
        Grid(["saturated", "images per second", "times the engine", "95 %"], rows),
        Grid(["one caller", "beyond run and encoding", "quartiles"], added),
    ]


def _overload(result: Result) -> list[Grid]:
    goodput = [[number(float(one.case["load"])), middle(one)] for one in result.find("overload", "goodput_per_s")]
    latency = [
        [str(one.case["beside"]), middle(one), number(percentile(one.samples, 90)), tail(one, 99)]
        for one in result.find("overload", "latency")
    ]
    crowd = [[str(one.case["visitors"]), middle(one)] for one in result.find("overload", "visitors_per_s")]
    return [
        Grid(["offered, times the capacity", "goodput"], goodput),
        Grid(["interactive calls beside", "median latency", "p90 ms", "p99 ms"], latency).without_empty(),
        Grid(["visitors at the web page", "pictures for all of them"], crowd),
    ]


TABLES: dict[str, Callable[[Result], list[Grid]]] = {
    "headline": partial(_latency, headline=True),
    "latency": _latency,
    "throughput": lambda result: [
        pivot(result, "throughput", "images_per_s", "batch", "images per second, by batch size")
    ],
    "serve": _serve,
    "precision": _precision,
    "memory": lambda result: [pivot(result, "memory", "peak_rss", "batch", "peak resident memory, MiB, by batch size")],
    "encoding": _encoding,
    "tuning": lambda result: [summary_grid(result, "tuning")],
    "overload": _overload,
    "overhead": _overhead,
    "peers": _peers,
}
"""Tables by name; every suite has its own, and "headline" is the short form of latency."""
