"""A table before it is written, and what its cells say: measurements side by side, their medians, tails and ratios."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..result import BenchmarkError, Measurement, Result
from ..summary import median, percentile, ratio

NOTHING = "–"  # noqa: RUF001 (an en dash in an empty cell)
ENOUGH = {90: 20, 99: 200}  # samples from which a percentile is shown; with fewer it is the maximum by another name
_FIGURES = 3
_RATIO_UNITS = {"ms", "1/s", "MiB", "KiB"}  # units in which "so many times" means something


@dataclass(frozen=True)
class Grid:
    """Rows of text under a header."""

    header: Sequence[str]  # the names of the columns
    rows: Sequence[Sequence[str]]  # cells, as many in each row as there are columns
    caption: str = ""  # what the table shows, in one line; empty for none
    left: int = 1  # so many columns from the left hold words; the others hold numbers, and are aligned to the right

    def without_empty(self) -> Grid:
        """Without the columns that have nothing in any row."""
        filled = [index for index in range(len(self.header)) if {row[index] for row in self.rows} - {NOTHING, ""}]
        kept = filled or list(range(len(self.header)))
        header, *rows = ([line[index] for index in kept] for line in [self.header, *self.rows])
        return Grid(header, rows, self.caption, sum(index < self.left for index in kept))

    def markdown(self) -> str:
        """A GitHub table, with its caption above; ends without a newline."""
        lines = [self.header, ["---" if index < self.left else "---:" for index in range(len(self.header))], *self.rows]
        table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
        return f"{self.caption}:\n\n{table}" if self.caption else table

    def html(self) -> str:
        """A `<table>`; every cell is escaped."""

        def cells(tag: str, row: Sequence[str]) -> str:
            kinds = ["" if index < self.left else ' class="number"' for index in range(len(row))]
            return "".join(f"<{tag}{kind}>{html.escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        rows = "".join(f"<tr>{cells('td', row)}</tr>\n" for row in self.rows)
        return (
            f'<div class="wide"><table>{caption}\n<thead><tr>{cells("th", self.header)}</tr></thead>\n'
            f"<tbody>{rows}</tbody></table></div>"
        )

    def text(self) -> str:
        """Columns padded with spaces."""
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if index < self.left else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in [self.header, *self.rows]
        ]
        return "\n".join([f"{self.caption}:"] * bool(self.caption) + lines)


def grouped(result: Result, suite: str, metric: str | None = None) -> list[list[Measurement]]:
    """Measurements that may be compared, one suite, metric and case, in the order in which the first of each comes.

    Within a group they are sorted by median, best first; those that have no better way (a floor) come last.
    """
    found: dict[tuple[str, ...], list[Measurement]] = {}
    for one in result.find(suite, metric):
        found.setdefault(one.key[:-1], []).append(one)
    signs = {"higher": -1, "lower": 1, "none": 1}
    return [
        sorted(members, key=lambda one: (one.better == "none", signs[one.better] * median(one.samples)))
        for members in found.values()
    ]


def pivot(result: Result, suite: str, metric: str, across: str, caption: str, percent: int = 50) -> Grid:
    """Subjects down, one variable of the case across, a percentile in the cells; best of the first column on top."""
    groups = [group for group in grouped(result, suite, metric) if across in group[0].case]
    columns = [{one.subject: tail(one, percent) for one in group} for group in groups]
    subjects = dict.fromkeys(subject for column in columns for subject in column)
    header = [across.replace("_", " "), *(str(group[0].case[across]) for group in groups)]
    grid = Grid(header, [[name, *(column.get(name, NOTHING) for column in columns)] for name in subjects], caption)
    grid = grid.without_empty()
    return grid if len(grid.header) > 1 else Grid(grid.header, [], caption)  # no column has enough samples


def number(value: float) -> str:
    """Three significant figures, never an exponent; whole numbers keep all of theirs: 1069, 219, 23.4, 0.0123."""
    if not value:
        return "0"
    decimals = _FIGURES - 1 - math.floor(math.log10(abs(value)))
    text = f"{value:.{max(0, decimals)}f}"
    return text.rstrip("0").rstrip(".") if float(value).is_integer() and "." in text else text


def middle(one: Measurement) -> str:
    """The median with its unit."""
    return f"{number(median(one.samples))} {one.unit}".rstrip()


def spread(one: Measurement) -> str:
    """The first and the third quartile: half of the samples lie between them."""
    return f"{number(percentile(one.samples, 25))} to {number(percentile(one.samples, 75))}"


def tail(one: Measurement, percent: int) -> str:
    """A percentile, where there are enough samples for it."""
    return number(percentile(one.samples, percent)) if len(one.samples) >= ENOUGH.get(percent, 0) else NOTHING


def times(one: Measurement, other: Measurement | None) -> tuple[str, str]:
    """The ratio to another and its interval; nothing for the other itself, or where a ratio says nothing."""
    if other is None or other.better == "none" or one.unit not in _RATIO_UNITS:
        return NOTHING, NOTHING
    if one is other:
        return "1", NOTHING
    try:
        found = ratio(one.samples, other.samples)
    except BenchmarkError:
        return NOTHING, NOTHING
    return number(found.value), f"{number(found.low)} to {number(found.high)}"
