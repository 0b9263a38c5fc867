"""A result as one Markdown file beside its plots, and as one HTML file that has the plots inside."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..result import Result
from .figures import PLOTS_FOLDER, can_plot, write_figures
from .grid import Grid
from .tables import summary_grid, tables

MARKDOWN_FILE, HTML_FILE = "report.md", "report.html"
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino", "torch", "tensorrt")
_DETAILS = "<details><summary>All samples</summary>"
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>{style}</style></head><body>
<h1>{title}</h1>"""
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


_Part = tuple[str, Any]  # one part of the report before it is written in either form: its kind, and what it shows


def write_report(result: Result, folder: Path) -> tuple[Path, Path]:
    """Write the plots, `report.md` and `report.html` into the folder; the paths of the two reports.

    Every measurement and every skipped subject is in both. Without matplotlib there are no plots, and the report says
    so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = _parts(result, write_figures(result, folder))
    markdown, page = folder / MARKDOWN_FILE, folder / HTML_FILE
    markdown.write_text(_markdown(parts), encoding="utf-8")
    page.write_text(_html(parts), encoding="utf-8")
    return markdown, page


def origin_line(result: Result) -> str:
    """The machine, the software, the day and the settings, in Markdown."""
    known = result.environment
    machine = [known.get("cpu", "an unknown processor")]
    if "cores" in known:
        machine.append(f"{known['cores']} cores")
    if known.get("gpus", "none") != "none" and not known["gpus"].startswith("unknown"):
        machine.append(known["gpus"])
    if known.get("virtual_machine") == "yes":
        machine.append("a virtual machine")
    software = [f"Python {known['python'].split()[-1]}"] if "python" in known else []
    software += [f"{name} {known[name]}" for name in _RUNTIMES if name in known]
    settings = "quick settings, " if result.quick else ""
    return (
        f"Measured on {', '.join(machine)}; {', '.join(software) or 'unknown software'}; model {result.model}, "
        f"{result.resolution}x{result.resolution}; {settings}{result.created[:10]}, by `{result.command}`."
    )


def _parts(result: Result, plots: Mapping[str, Path]) -> list[_Part]:
    doubts = result.doubts()
    parts: list[_Part] = [("doubts", doubts)] if doubts else []
    parts += [("text", line) for line in [origin_line(result), *(flag for flag in result.flags if flag not in doubts)]]
    suites = [one.suite for one in result.measurements] + [one.suite for one in result.skipped]
    for suite in dict.fromkeys(suites):
        identities = {one.subject: one.detail for one in result.find(suite) if one.detail}
        identity = Grid(["subject", "what it is"], [list(item) for item in identities.items()], left=2)
        details = [grid for grid in (summary_grid(result, suite), identity) if grid.rows]
        parts += [("title", suite.capitalize()), *(("grid", grid) for grid in tables(result, suite))]
        parts += [("plot", plots[suite])] if suite in plots else []
        parts += [("text", f"Left out: {text}") for text in result.left_out(suite)]
        parts += [("details", details)] if details else []
    if not can_plot():
        parts += [("title", "Plots"), ("text", "None: matplotlib is not installed; pip install 'nonesuch[bench]'")]
    run = {
        "model": f"{result.model}, {result.resolution}x{result.resolution}", "model id": result.model_id,
        "created": result.created, "command": result.command, "settings": "quick" if result.quick else "full",
    }  # fmt: skip
    rows = [[name.replace("_", " "), value] for name, value in (run | result.environment).items()]
    return [("name", result.model), *parts, ("title", "Environment"), ("grid", Grid(["", ""], rows, left=2))]


def _markdown(parts: Sequence[_Part]) -> str:
    forms: dict[str, Callable[[Any], str]] = {
        "name": lambda name: f"# nonesuch bench: {name}",
        "doubts": lambda flags: "\n".join([f"> **{_VERDICT}**", ">", *(f"> - {flag}" for flag in flags)]),
        "text": str,
        "title": lambda title: f"## {title}",
        "grid": Grid.markdown,
        "plot": lambda path: f"![{path.stem.capitalize()}]({PLOTS_FOLDER}/{path.name})",
        "details": lambda grids: "\n\n".join([_DETAILS, *(grid.markdown() for grid in grids), "</details>"]),
    }
    return "\n\n".join(forms[kind](shown) for kind, shown in parts) + "\n"


def _html(parts: Sequence[_Part]) -> str:
    def doubts(flags: Sequence[str]) -> str:
        items = "".join(f"<li>{html.escape(flag)}</li>" for flag in flags)
        return f'<div class="doubts"><p><strong>{_VERDICT}</strong></p><ul>{items}</ul></div>'

    def plot(path: Path) -> str:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        return f'<img alt="{path.stem.capitalize()}" src="data:image/svg+xml;base64,{data}">'

    forms: dict[str, Callable[[Any], str]] = {
        "name": lambda name: _HEAD.format(title=html.escape(f"nonesuch bench: {name}"), style=_STYLE),
        "doubts": doubts,
        "text": lambda text: f"<p>{html.escape(text.replace('`', ''))}</p>",
        "title": lambda title: f"<h2>{html.escape(title)}</h2>",
        "grid": Grid.html,
        "plot": plot,
        "details": lambda grids: f"{_DETAILS}{''.join(grid.html() for grid in grids)}</details>",
    }
    return "\n".join([*(forms[kind](shown) for kind, shown in parts), "</body></html>"]) + "\n"
