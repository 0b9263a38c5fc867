"""A result as one Markdown file beside its plots, and as one HTML file that has the plots inside."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from ..measurement import Result
from .goals import find_goals, goals_grid
from .grid import Grid
from .origin import doubts, environment_rows, left_out, origin_line
from .plots import PLOTS_FOLDER, can_plot, write_plots
from .tables import summary_grid, tables

__all__ = ["HTML_FILE", "MARKDOWN_FILE", "write_report"]

MARKDOWN_FILE = "report.md"
HTML_FILE = "report.html"

_VERDICT = "This run is not to be quoted:"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .8rem 0; font-size: 13px; }
caption { text-align: left; padding-bottom: .3rem; color: #555; }
th, td { padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { overflow-x: auto; }
.doubts { border-left: 4px solid #D55E00; padding: .1rem 1rem; background: #fdf3ec; }
img { max-width: 100%; }
summary { cursor: pointer; color: #555; }
"""


@dataclass(frozen=True)
class _Section:
    """A part of the report, before it is written in either form; `plot` is the file in the plots folder."""

    title: str
    grids: Sequence[Grid] = ()
    plot: Path | None = None
    notes: Sequence[str] = ()
    details: Sequence[Grid] = field(default_factory=tuple)


def write_report(result: Result, folder: Path) -> tuple[Path, Path]:
    """Write the plots, `report.md` and `report.html` into the folder; the paths of the two reports.

    Every measurement and every skipped subject is in both. Without matplotlib there are no plots, and the report says
    so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plots = write_plots(result, folder)
    sections = _sections(result, plots)
    markdown, page = folder / MARKDOWN_FILE, folder / HTML_FILE
    markdown.write_text(_markdown(result, sections), encoding="utf-8")
    page.write_text(_html(result, sections), encoding="utf-8")
    return markdown, page


def _sections(result: Result, plots: dict[str, Path]) -> list[_Section]:
    goals = find_goals(result)
    sections = []
    if goals:
        about = "Ratios are formed within rounds, and their interval is over the rounds. The best of a kind is the one "
        about += "with the lowest median of this run. The arithmetic floor is what the graph's convolutions and matrix "
        about += "products would take at the rate of a large float32 matrix product: there, smaller is better."
        sections.append(_Section("Goals", [goals_grid(goals)], notes=[about]))
    suites = dict.fromkeys([one.suite for one in result.measurements] + [one.suite for one in result.skipped])
    for suite in suites:
        details = summary_grid(result, suite)
        skipped = [f"Left out: {text}" for text in left_out(result, suite)]
        identities = {one.subject: one.detail for one in result.measurements if one.suite == suite and one.detail}
        identity = Grid(["subject", "what it is"], [list(item) for item in identities.items()], left=2)
        sections.append(
            _Section(
                suite.capitalize(),
                tables(result, suite),
                plots.get(suite),
                skipped,
                [grid for grid in (details, identity) if grid.rows],
            )
        )
    if not can_plot():
        sections.append(_Section("Plots", notes=["None: matplotlib is not installed; pip install 'nonesuch[bench]'"]))
    return [*sections, _Section("Environment", [Grid(["", ""], environment_rows(result), left=2)])]


def _flags(result: Result) -> tuple[list[str], list[str]]:
    """What disqualifies the run, and what a reader should know besides."""
    found = doubts(result)
    return found, [flag for flag in result.flags if flag not in found]


def _markdown(result: Result, sections: Sequence[_Section]) -> str:
    parts = [f"# nonesuch bench: {result.model}"]
    found, notes = _flags(result)
    if found:
        parts.append("\n".join([f"> **{_VERDICT}**", ">", *(f"> - {flag}" for flag in found)]))
    parts += [origin_line(replace(result, flags=[])), *notes]
    for section in sections:
        parts += [f"## {section.title}", *(grid.markdown() for grid in section.grids)]
        if section.plot is not None:
            parts.append(f"![{section.title}]({PLOTS_FOLDER}/{section.plot.name})")
        if section.notes:
            parts.append(
                "\n".join(f"- {note}" for note in section.notes) if len(section.notes) > 1 else section.notes[0]
            )
        if section.details:
            parts += ["<details><summary>All samples</summary>", *(g.markdown() for g in section.details), "</details>"]
    return "\n\n".join(parts) + "\n"


def _html(result: Result, sections: Sequence[_Section]) -> str:
    title = html.escape(f"nonesuch bench: {result.model}")
    parts = [
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>',
        f"<h1>{title}</h1>",
    ]
    found, notes = _flags(result)
    if found:
        items = "".join(f"<li>{html.escape(flag)}</li>" for flag in found)
        parts.append(f'<div class="doubts"><p><strong>{_VERDICT}</strong></p><ul>{items}</ul></div>')
    origin = html.escape(origin_line(replace(result, flags=[])).replace("`", ""))
    parts += [f"<p>{origin}</p>", *(f"<p>{html.escape(note)}</p>" for note in notes)]
    for section in sections:
        parts += [f"<h2>{html.escape(section.title)}</h2>", *(grid.html() for grid in section.grids)]
        if section.plot is not None:
            data = base64.b64encode(section.plot.read_bytes()).decode("ascii")
            parts.append(f'<img alt="{html.escape(section.title)}" src="data:image/svg+xml;base64,{data}">')
        parts += [f"<p>{html.escape(note)}</p>" for note in section.notes]
        if section.details:
            grids = "".join(grid.html() for grid in section.details)
            parts.append(f"<details><summary>All samples</summary>{grids}</details>")
    return "\n".join([*parts, "</body></html>"]) + "\n"
