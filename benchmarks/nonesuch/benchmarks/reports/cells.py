"""What the cells of a report's tables say: medians, tails, ratios with intervals; and tables of one variable."""

from __future__ import annotations

from ..measurement import BenchmarkError, Measurement, Result
from ..summary import median, percentile, ratio
from .grid import NOTHING, Grid, number
from .grouping import grouped

__all__ = ["ENOUGH", "middle", "pivot", "tail", "times", "without_empty"]

_RATIO_UNITS = {"ms", "1/s", "MiB", "KiB"}
"""Units in which "so many times" means something."""
ENOUGH = {90: 20, 99: 200}
"""Samples from which a percentile is shown; with fewer it is the maximum by another name."""


def pivot(result: Result, suite: str, metric: str, across: str, caption: str, percent: int = 50) -> Grid:
    """Subjects down, one variable of the case across, a percentile in the cells; best of the first column on top."""
    groups = [group for group in grouped(result.measurements, suite, metric) if across in group.case]
    columns = [group.case.get(across, "") for group in groups]
    subjects = dict.fromkeys(one.subject for group in groups for one in group.members)
    shown = [{one.subject: _shown(one, percent) for one in group.members} for group in groups]
    rows = [[name, *(found.get(name, NOTHING) for found in shown)] for name in subjects]
    grid = without_empty(Grid([across.replace("_", " "), *map(str, columns)], rows, caption))
    return grid if len(grid.header) > 1 else Grid(grid.header, [], caption)  # no column has enough samples


def _shown(one: Measurement, percent: int) -> str:
    return number(median(one.samples)) if percent == 50 else tail(one, percent)


def middle(one: Measurement) -> str:
    """The median with its unit."""
    return f"{number(median(one.samples))} {one.unit}".rstrip()


def tail(one: Measurement, percent: int) -> str:
    """A percentile, where there are enough samples for it."""
    return number(percentile(one.samples, percent)) if len(one.samples) >= ENOUGH[percent] else NOTHING


def times(one: Measurement, other: Measurement | None) -> tuple[str, str]:
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


def without_empty(grid: Grid) -> Grid:
    """Without the columns that have nothing in any row."""
    kept = [
        index for index in range(len(grid.header)) if any(row[index] not in {NOTHING, ""} for row in grid.rows)
    ] or list(range(len(grid.header)))
    rows = [[row[index] for index in kept] for row in grid.rows]
    left = sum(index < grid.left for index in kept)
    return Grid([grid.header[index] for index in kept], rows, grid.caption, left)
