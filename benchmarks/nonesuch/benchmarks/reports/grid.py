"""A table before it is written: Markdown, HTML, or plain text for a terminal."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["NOTHING", "Grid", "number"]

NOTHING = "–"  # noqa: RUF001 (an en dash in an empty cell)
_FIGURES = 3


def number(value: float) -> str:
    """Three significant figures, never an exponent; whole numbers keep all of theirs: 1069, 219, 23.4, 0.0123."""
    if not value:
        return "0"
    decimals = _FIGURES - 1 - math.floor(math.log10(abs(value)))
    text = f"{value:.{max(0, decimals)}f}"
    return text.rstrip("0").rstrip(".") if float(value).is_integer() and "." in text else text


@dataclass(frozen=True)
class Grid:
    """Rows of text under a header.

    Attributes:
        header: the names of the columns.
        rows: cells, as many in each row as there are columns.
        caption: what the table shows, in one line; empty for none.
        left: so many columns from the left hold words; the others hold numbers, and are aligned to the right.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    left: int = 1

    def markdown(self) -> str:
        """A GitHub table, with its caption above; ends without a newline."""
        lines = [self.header, ["---" if index < self.left else "---:" for index in range(len(self.header))], *self.rows]
        table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
        return f"{self.caption}:\n\n{table}" if self.caption else table

    def html(self) -> str:
        """A `<table>`; every cell is escaped."""
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        rows = "".join(f"<tr>{self._cells('td', row)}</tr>\n" for row in self.rows)
        return (
            f'<div class="wide"><table>{caption}\n<thead><tr>{self._cells("th", self.header)}</tr></thead>\n'
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

    def _cells(self, tag: str, row: Sequence[str]) -> str:
        kinds = ["" if index < self.left else ' class="number"' for index in range(len(row))]
        return "".join(f"<{tag}{kind}>{html.escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))
