"""Measured tables inside other documents, between markers that readers of the page do not see.

    <!-- bench:throughput -->
    ...replaced...
    <!-- /bench -->

A document says what it wants; a block whose suite the result does not have stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..measurement import BenchmarkError, Result
from .origin import origin_line
from .tables import TABLES, tables

__all__ = ["write_tables"]

_OPEN = re.compile(r"[ \t]*<!--[ \t]*bench:[ \t]*(\S*)[ \t]*-->[ \t]*")
_CLOSE = re.compile(r"[ \t]*<!--[ \t]*/bench[ \t]*-->[ \t]*")
_ANY = re.compile(r"<!--\s*/?bench\b")


def write_tables(result: Result, path: Path) -> tuple[list[str], list[str]]:
    """Replace what stands between the markers; the names of the tables written, and of those left as they were.

    The file is written only if something changed in it.

    Raises:
        BenchmarkError: the file cannot be read, has no markers, or a marker is malformed, unknown or not closed; or
            the result has none of the tables that the file asks for.
    """
    try:
        before = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BenchmarkError(f"cannot read {path}: {reason}; give a Markdown file with markers") from error
    written: list[str] = []
    left: list[str] = []
    pieces: list[str] = []
    for name, lines in _blocks(before.splitlines(keepends=True), path):
        if name is None:
            pieces += lines
        elif grids := tables(result, name):
            written.append(name)
            body = "\n\n".join([origin_line(result, suite=_suite(name)), *(grid.markdown() for grid in grids)])
            pieces += [lines[0], f"\n{body}\n\n", lines[-1]]
        else:
            left.append(name)
            pieces += lines
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


def _blocks(lines: list[str], path: Path) -> Iterator[tuple[str | None, list[str]]]:
    """What is outside, with None, and each block with its name, first and last line the markers."""
    name, block, began = None, list[str](), 0
    for number, line in enumerate(lines, 1):
        opening, closing = _OPEN.fullmatch(line.rstrip("\r\n")), _CLOSE.fullmatch(line.rstrip("\r\n"))
        if not opening and not closing:
            if _ANY.search(line):
                raise BenchmarkError(
                    f"{path}, line {number}: a malformed marker; a line holds nothing but <!-- bench:NAME --> or "
                    "<!-- /bench -->"
                )
            block.append(line)
        elif opening and name is None:
            if opening[1] not in TABLES:
                raise BenchmarkError(f"{path}, line {number}: no table {opening[1]!r}; there are {', '.join(TABLES)}")
            yield None, block
            name, block, began = opening[1], [line], number
        elif closing and name is not None:
            yield name, [*block, line]
            name, block = None, []
        elif opening:
            raise BenchmarkError(
                f"{path}, line {number}: bench:{name} of line {began} is not closed by <!-- /bench -->"
            )
        else:
            raise BenchmarkError(f"{path}, line {number}: <!-- /bench --> closes nothing; remove it")
    if name is not None:
        raise BenchmarkError(f"{path}, line {began}: bench:{name} is not closed; write <!-- /bench --> after it")
    yield None, block


def _suite(table: str) -> str:
    return "latency" if table == "headline" else table
