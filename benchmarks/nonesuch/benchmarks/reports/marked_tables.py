"""Measured tables inside other documents, between markers that readers of the page do not see.

    <!-- bench:throughput -->
    ...replaced...
    <!-- /bench -->

A document says what it wants; a block whose suite the result does not have stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..result import BenchmarkError, Result
from .grid import Grid
from .report import origin_line
from .tables import TABLES, tables

_MARKER = re.compile(r"[ \t]*<!--[ \t]*(?:bench:[ \t]*(?P<name>\S*)|/bench)[ \t]*-->[ \t]*")
_ANY = re.compile(r"<!--\s*/?bench\b")


def write_tables(result: Result, path: Path) -> tuple[list[str], list[str]]:
    """Replace what stands between the markers; the names of the tables written, and of those left as they were.

    The file is written only if something changed in it. Raises BenchmarkError where the file cannot be read, has no
    markers, or a marker is malformed, unknown or not closed; or the result has none of the tables that the file asks
    for.
    """
    try:
        before = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BenchmarkError(f"cannot read {path}: {reason}; give a Markdown file with markers") from error
    written, left, pieces = list[str](), list[str](), list[str]()
    name, began, grids = "", 0, list[Grid]()
    for number, line in enumerate(before.splitlines(keepends=True), 1):
        marker = _MARKER.fullmatch(line.rstrip("\r\n"))
        if problem := _problem(marker, line, name, began):
            raise BenchmarkError(f"{path}, line {number}: {problem}")
        if marker and marker["name"] is None:
            name, grids = "", []
        if not grids:
            pieces.append(line)
        if marker and marker["name"]:
            name, began, grids = marker["name"], number, tables(result, marker["name"])
            (written if grids else left).append(name)
            if grids:
                pieces.append(f"\n{_body(result, name, grids)}\n\n")
    if name:
        raise BenchmarkError(f"{path}, line {began}: bench:{name} is not closed; write <!-- /bench --> after it")
    if not written and not left:
        raise BenchmarkError(
            f"{path} has no marker; write <!-- bench:NAME --> and <!-- /bench --> on lines of their own where a table "
            f"is to be, NAME one of {', '.join(TABLES)}"
        )
    if not written:
        raise BenchmarkError(f"the result has nothing for the tables of {path}: {', '.join(left)}; measure these first")
    after = "".join(pieces)
    if after != before:
        path.write_text(after, encoding="utf-8")
    return written, left


def _problem(marker: re.Match[str] | None, line: str, name: str, began: int) -> str:
    """What is wrong with a line inside the block of a name, or outside of all; empty where nothing is."""
    if marker is None:
        form = "a malformed marker; a line holds nothing but <!-- bench:NAME --> or <!-- /bench -->"
        return form if _ANY.search(line) else ""
    if marker["name"] is None:
        return "" if name else "<!-- /bench --> closes nothing; remove it"
    if name:
        return f"bench:{name} of line {began} is not closed by <!-- /bench -->"
    return "" if marker["name"] in TABLES else f"no table {marker['name']!r}; there are {', '.join(TABLES)}"


def _body(result: Result, name: str, grids: Sequence[Grid]) -> str:
    doubts = result.doubts("latency" if name == "headline" else name)
    origin = origin_line(result) + (f" **Not a clean run: {'; '.join(doubts)}.**" if doubts else "")
    return "\n\n".join([origin, *(grid.markdown() for grid in grids)])
