"""The tables of a result: one compact form for each suite, for reports and documents, and all samples summarised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..encoding import ALONE
from ..latency import FLOOR
from ..loadgen import LOADGEN, OURS, RATIO
from ..measurement import BenchmarkError, Measurement, Result
from ..overhead import ENGINE
from ..subjects.wheel import WheelSubject
from ..summary import median, percentile, quartiles, ratio
from .goals import is_compiled, is_eager, is_ours
from .grid import NOTHING, Grid, number
from .grouping import Group, case_text, find, grouped, label

__all__ = ["ENOUGH", "TABLES", "summary_grid", "tables"]

_RATIO_UNITS = {"ms", "1/s", "MiB", "KiB"}
"""Units in which "so many times" means something."""
ENOUGH = {90: 20, 99: 200}
"""Samples from which a percentile is shown; with fewer it is the maximum by another name."""


def tables(result: Result, name: str) -> list[Grid]:
    """The compact tables by that name, one of `TABLES`; none where the result has nothing of it."""
    return [grid for grid in TABLES[name](result) if grid.rows]


def summary_grid(result: Result, suite: str) -> Grid:
    """Every measurement of a suite in a row: median, quartiles, percentiles, and ratio to the best of its group."""
    groups = grouped(result.measurements, suite)
    header = ["metric", "case", "subject", "median", "quartiles", "p90", "p99", "samples", "times the best", "95 %"]
    rows = []
    for group in groups:
        unit = f" {group.unit}" if group.unit else ""
        for one in group.members:
            low, high = quartiles(one.samples)
            rows.append(
                [
                    label(one.metric),
                    case_text(one.case),
                    one.subject,
                    f"{number(median(one.samples))}{unit}",
                    f"{number(low)} to {number(high)}",
                    *(_tail(one, percent) for percent in ENOUGH),
                    str(len(one.samples)),
                    *_times(one, group.best),
                ]
            )
    return _without_empty(Grid(header, rows, left=3))


def _headline(result: Result) -> list[Grid]:
    group = _one_image(result)
    if group is None:
        return []
    ours = [one for one in group.members if is_ours(one)]
    picked = [*ours, *(next(filter(test, group.members), None) for test in (_is_wheel, is_compiled, is_eager))]
    picked.append(next((one for one in group.members if one.subject == FLOOR), None))
    return [_race([one for one in picked if one is not None], ours[0] if ours else None)]


def _latency(result: Result) -> list[Grid]:
    group = _one_image(result)
    return [] if group is None else [_race(group.members, group.best)]


def _one_image(result: Result) -> Group | None:
    groups = grouped(result.measurements, "latency", "latency")
    return groups[0] if groups else None


def _race(members: Sequence[Measurement], first: Measurement | None) -> Grid:
    header = ["one image", "median", "quartiles", "p90", "times the first", "95 %"]
    rows = []
    for one in members:
        low, high = quartiles(one.samples)
        quarters = f"{number(low)} to {number(high)} ms"
        rows.append([one.subject, _middle(one), quarters, _tail(one, 90), *_times(one, first)])
    return _without_empty(Grid(header, rows))


def _throughput(result: Result) -> list[Grid]:
    return [_pivot(result, "throughput", "images_per_s", "batch", "images per second, by batch size")]


def _memory(result: Result) -> list[Grid]:
    return [_pivot(result, "memory", "peak_rss", "batch", "peak resident memory, MiB, by batch size")]


def _precision(result: Result) -> list[Grid]:
    rows = []
    for one in find(result.measurements, "precision", "psnr"):
        same_case = [other for other in result.measurements if other.key[2:] == one.key[2:]]
        ssim = next((other.samples for other in same_case if other.metric == "ssim"), None)
        error = next((other.samples for other in same_case if other.metric == "max_error"), None)
        rows.append(
            [
                one.subject,
                str(one.case.get("variant", "")),
                str(one.case.get("precision", "")),
                f"{min(one.samples):.1f} dB",
                _middle(one),
                f"{min(ssim):.5f}" if ssim else NOTHING,
                number(max(error)) if error else NOTHING,
                str(len(one.samples)),
            ]
        )
    header = [
        "against PyTorch float32", "graph", "precision", "worst PSNR", "median PSNR", "worst SSIM",
        "largest error, of 255", "seeds",
    ]  # fmt: skip
    return [Grid(header, rows, left=3)]


def _encoding(result: Result) -> list[Grid]:
    sizes = {one.subject: one for one in find(result.measurements, "encoding", "size")}
    formats = [
        [one.subject, _middle(one), _middle(sizes[one.subject]) if one.subject in sizes else NOTHING]
        for group in grouped(result.measurements, "encoding", "encode")
        for one in group.members
    ]
    overlap = find(result.measurements, "encoding", "images_per_s")
    alone = next((one for one in overlap if one.subject == ALONE), None)
    return [
        Grid(["format", "time to encode", "size"], formats, "one image, one thread"),
        Grid(
            ["", "images per second", "times generating alone", "95 %"],
            [[one.subject, number(median(one.samples)), *_times(one, alone)] for one in overlap],
            "generating and encoding",
        ),
    ]


_SERVE_COLUMNS = {
    "offered": ("offered_per_s", 50),
    "images/s": ("images_per_s", 50),
    "goodput": ("goodput_per_s", 50),
    "p50 ms": ("", 50),
    "p90 ms": ("", 90),
    "p99 ms": ("", 99),
    "queue ms": ("queue", 50),
    "inference ms": ("inference", 50),
    "encode ms": ("encode", 50),
    "batch": ("batch_size", 0),
}


def _serve(result: Result) -> list[Grid]:
    cases = {group.members[0].key[2:]: group for group in grouped(result.measurements, "serve", "images_per_s")}
    rows = []
    for key, group in cases.items():
        found = {one.metric: one.samples for one in result.measurements if one.suite == "serve" and one.key[2:] == key}
        # What a caller who keeps to the schedule sees; in a closed loop there is no schedule.
        latency = found.get("latency_from_schedule", found.get("latency_from_sending"))
        row = [case_text(group.case)]
        for metric, percent in _SERVE_COLUMNS.values():
            samples = found.get(metric) if metric else latency
            if not samples or len(samples) < ENOUGH.get(percent, 0):
                row.append(NOTHING)
            elif not percent:  # the mean of whole numbers
                row.append(number(sum(samples) / len(samples)))
            else:
                row.append(number(percentile(samples, percent)))
        rows.append(row)
    slo = find(result.measurements, "serve", "slo")
    peak = find(result.measurements, "serve", "peak_rate")
    caption = "medians of each run"
    if slo:
        caption += f"; goodput is images within {_middle(slo[0])}, per second"
    if peak:
        caption += f"; the highest rate that kept it at p{peak[0].case.get('percentile')}: {_middle(peak[0])}"
    return [_without_empty(Grid(["", *_SERVE_COLUMNS], rows, caption))]


def _peers(result: Result) -> list[Grid]:
    rates = _pivot(result, "peers", "images_per_s", "concurrency", "images per second, by callers at a time")
    times = _pivot(result, "peers", "latency", "concurrency", "median latency, ms, by callers at a time")
    tails = _pivot(result, "peers", "latency", "concurrency", "p99 of the latency, ms, by callers at a time", 99)
    due = _pivot(
        result, "peers", "latency", "offered_per_s", "p99 from when a request was due, ms, by offered rate", 99
    )
    memory = [
        [one.subject, _middle(one)] for group in grouped(result.measurements, "peers", "rss") for one in group.members
    ]
    return [rates, times, tails, due, Grid(["", "resident memory"], memory, "all processes of each server")]


def _overhead(result: Result) -> list[Grid]:
    rates = find(result.measurements, "overhead", "images_per_s")
    engine = next((one for one in rates if one.subject == ENGINE), None)
    rows = [[one.subject, _middle(one), *_times(one, engine)] for one in rates]
    added = [
        [one.subject, _middle(one), f"{number(low)} to {number(high)} ms"]
        for one in find(result.measurements, "overhead", "added_latency")
        for low, high in [quartiles(one.samples)]
    ]
    return [
        Grid(["saturated", "images per second", "times the engine", "95 %"], rows),
        Grid(["one caller", "beyond run and encoding", "quartiles"], added),
    ]


def _loadgen(result: Result) -> list[Grid]:
    rows = []
    for theirs in (one for one in result.measurements if one.suite == "loadgen" and one.subject == LOADGEN):
        metric, scenario = theirs.metric, theirs.case.get("scenario", "")
        ours = [one for one in find(result.measurements, "loadgen", metric, scenario=scenario) if one.subject == OURS]
        share = find(result.measurements, "loadgen", f"{metric}_ratio", scenario=scenario)
        rows.append(
            [
                str(scenario),
                label(metric),
                _middle(theirs),
                _middle(ours[0]) if ours else NOTHING,
                number(median(share[0].samples)) if share else NOTHING,
            ]
        )
    return [Grid(["scenario", "metric", LOADGEN, OURS, RATIO], rows, left=2)]


def _tuning(result: Result) -> list[Grid]:
    return [summary_grid(result, "tuning")]


TABLES: dict[str, Callable[[Result], list[Grid]]] = {
    "headline": _headline,
    "latency": _latency,
    "throughput": _throughput,
    "serve": _serve,
    "precision": _precision,
    "memory": _memory,
    "encoding": _encoding,
    "tuning": _tuning,
    "overhead": _overhead,
    "peers": _peers,
    "loadgen": _loadgen,
}
"""Tables by name; every suite has its own, and "headline" is the short form of latency."""


def _pivot(result: Result, suite: str, metric: str, across: str, caption: str, percent: int = 50) -> Grid:
    """Subjects down, one variable of the case across, a percentile in the cells; best of the first column on top."""
    groups = [group for group in grouped(result.measurements, suite, metric) if across in group.case]
    columns = [group.case.get(across, "") for group in groups]
    subjects = dict.fromkeys(one.subject for group in groups for one in group.members)
    shown = [{one.subject: _shown(one, percent) for one in group.members} for group in groups]
    rows = [[name, *(found.get(name, NOTHING) for found in shown)] for name in subjects]
    return _without_empty(Grid([across.replace("_", " "), *map(str, columns)], rows, caption))


def _shown(one: Measurement, percent: int) -> str:
    return number(median(one.samples)) if percent == 50 else _tail(one, percent)


def _middle(one: Measurement) -> str:
    return f"{number(median(one.samples))} {one.unit}".rstrip()


def _tail(one: Measurement, percent: int) -> str:
    return number(percentile(one.samples, percent)) if len(one.samples) >= ENOUGH[percent] else NOTHING


def _times(one: Measurement, other: Measurement | None) -> tuple[str, str]:
    """The ratio to another and its interval; nothing for the other itself, or where a ratio says nothing."""
    if other is None or one.unit not in _RATIO_UNITS:
        return NOTHING, NOTHING
    if one is other:
        return "1", NOTHING
    try:
        found = ratio(one.samples, other.samples)
    except BenchmarkError:
        return NOTHING, NOTHING
    return number(found.value), f"{number(found.low)} to {number(found.high)}"


def _without_empty(grid: Grid) -> Grid:
    """Without the columns that have nothing in any row."""
    kept = [
        index for index in range(len(grid.header)) if any(row[index] not in {NOTHING, ""} for row in grid.rows)
    ] or list(range(len(grid.header)))
    rows = [[row[index] for index in kept] for row in grid.rows]
    left = sum(index < grid.left for index in kept)
    return Grid([grid.header[index] for index in kept], rows, grid.caption, left)


def _is_wheel(one: Measurement) -> bool:
    return one.subject == WheelSubject.name
