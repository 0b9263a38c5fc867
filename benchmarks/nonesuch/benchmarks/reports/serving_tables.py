"""The tables of what was measured of servers."""

from __future__ import annotations

from ..loadgen import LOADGEN, OURS, RATIO
from ..measurement import Result
from ..overhead import ENGINE
from ..summary import median, percentile, quartiles
from .cells import ENOUGH, middle, pivot, tail, times, without_empty
from .grid import NOTHING, Grid, number
from .grouping import case_text, find, grouped, label

__all__ = ["loadgen_tables", "overhead_tables", "overload_tables", "peers_tables", "serve_tables"]

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


def serve_tables(result: Result) -> list[Grid]:
    """Of the suite serve."""
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
        caption += f"; goodput is images within {middle(slo[0])}, per second"
    if peak:
        caption += f"; the highest rate that kept it at p{peak[0].case.get('percentile')}: {middle(peak[0])}"
    return [without_empty(Grid(["", *_SERVE_COLUMNS], rows, caption))]


def peers_tables(result: Result) -> list[Grid]:
    """Of the suite peers."""
    rates = pivot(result, "peers", "images_per_s", "concurrency", "images per second, by callers at a time")
    times = pivot(result, "peers", "latency", "concurrency", "median latency, ms, by callers at a time")
    tails = pivot(result, "peers", "latency", "concurrency", "p99 of the latency, ms, by callers at a time", 99)
    due = pivot(result, "peers", "latency", "offered_per_s", "p99 from when a request was due, ms, by offered rate", 99)
    memory = [
        [one.subject, middle(one)] for group in grouped(result.measurements, "peers", "rss") for one in group.members
    ]
    return [rates, times, tails, due, Grid(["", "resident memory"], memory, "all processes of each server")]


def overhead_tables(result: Result) -> list[Grid]:
    """Of the suite overhead."""
    rates = find(result.measurements, "overhead", "images_per_s")
    engine = next((one for one in rates if one.subject == ENGINE), None)
    rows = [[one.subject, middle(one), *times(one, engine)] for one in rates]
    added = [
        [one.subject, middle(one), f"{number(low)} to {number(high)} ms"]
        for one in find(result.measurements, "overhead", "added_latency")
        for low, high in [quartiles(one.samples)]
    ]
    return [
        Grid(["saturated", "images per second", "times the engine", "95 %"], rows),
        Grid(["one caller", "beyond run and encoding", "quartiles"], added),
    ]


def overload_tables(result: Result) -> list[Grid]:
    """Of the suite overload."""
    goodput = find(result.measurements, "overload", "goodput_per_s")
    rows = [[number(float(one.case["load"])), middle(one)] for one in goodput]
    waits = [
        [str(one.case["beside"]), middle(one), number(percentile(one.samples, 90)), tail(one, 99)]
        for one in find(result.measurements, "overload", "latency")
    ]
    crowd = [
        [str(one.case["visitors"]), middle(one)] for one in find(result.measurements, "overload", "visitors_per_s")
    ]
    return [
        Grid(["offered, times the capacity", "goodput"], rows),
        without_empty(Grid(["interactive calls beside", "median latency", "p90 ms", "p99 ms"], waits)),
        Grid(["visitors at the web page", "pictures for all of them"], crowd),
    ]


def loadgen_tables(result: Result) -> list[Grid]:
    """Of the suite loadgen."""
    rows = []
    for theirs in (one for one in result.measurements if one.suite == "loadgen" and one.subject == LOADGEN):
        metric, scenario = theirs.metric, theirs.case.get("scenario", "")
        ours = [one for one in find(result.measurements, "loadgen", metric, scenario=scenario) if one.subject == OURS]
        share = find(result.measurements, "loadgen", f"{metric}_ratio", scenario=scenario)
        rows.append(
            [
                str(scenario),
                label(metric),
                middle(theirs),
                middle(ours[0]) if ours else NOTHING,
                number(median(share[0].samples)) if share else NOTHING,
            ]
        )
    return [Grid(["scenario", "metric", LOADGEN, OURS, RATIO], rows, left=2)]
