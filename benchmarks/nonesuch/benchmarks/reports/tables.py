"""The tables of a result: one compact form for each suite, for reports and documents, and all samples summarised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..encoding import ALONE
from ..latency import FLOOR
from ..measurement import Measurement, Result
from ..subjects.wheel import WheelSubject
from ..summary import median, quartiles
from .cells import ENOUGH, middle, pivot, tail, times, without_empty
from .goals import is_compiled, is_eager, is_ours
from .grid import NOTHING, Grid, number
from .grouping import Group, case_text, find, grouped, label
from .serving_tables import loadgen_tables, overhead_tables, overload_tables, peers_tables, serve_tables

__all__ = ["TABLES", "summary_grid", "tables"]


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
                    *(tail(one, percent) for percent in ENOUGH),
                    str(len(one.samples)),
                    *times(one, group.best),
                ]
            )
    return without_empty(Grid(header, rows, left=3))


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
        rows.append([one.subject, middle(one), quarters, tail(one, 90), *times(one, first)])
    return without_empty(Grid(header, rows))


def _throughput(result: Result) -> list[Grid]:
    return [pivot(result, "throughput", "images_per_s", "batch", "images per second, by batch size")]


def _memory(result: Result) -> list[Grid]:
    return [pivot(result, "memory", "peak_rss", "batch", "peak resident memory, MiB, by batch size")]


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
                middle(one),
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
        [one.subject, middle(one), middle(sizes[one.subject]) if one.subject in sizes else NOTHING]
        for group in grouped(result.measurements, "encoding", "encode")
        for one in group.members
    ]
    overlap = find(result.measurements, "encoding", "images_per_s")
    alone = next((one for one in overlap if one.subject == ALONE), None)
    return [
        Grid(["format", "time to encode", "size"], formats, "one image, one thread"),
        Grid(
            ["", "images per second", "times generating alone", "95 %"],
            [[one.subject, number(median(one.samples)), *times(one, alone)] for one in overlap],
            "generating and encoding",
        ),
    ]


def _tuning(result: Result) -> list[Grid]:
    return [summary_grid(result, "tuning")]


TABLES: dict[str, Callable[[Result], list[Grid]]] = {
    "headline": _headline,
    "latency": _latency,
    "throughput": _throughput,
    "serve": serve_tables,
    "precision": _precision,
    "memory": _memory,
    "encoding": _encoding,
    "tuning": _tuning,
    "overload": overload_tables,
    "overhead": overhead_tables,
    "peers": peers_tables,
    "loadgen": loadgen_tables,
}
"""Tables by name; every suite has its own, and "headline" is the short form of latency."""


def _is_wheel(one: Measurement) -> bool:
    return one.subject == WheelSubject.name
