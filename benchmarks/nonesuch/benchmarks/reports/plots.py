"""Writes the figures of a result as SVG and PNG."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..measurement import Result
from .canvas import style
from .figures import FIGURES

__all__ = ["PLOTS_FOLDER", "can_plot", "write_plots"]

PLOTS_FOLDER = "plots"


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def write_plots(result: Result, folder: Path) -> dict[str, Path]:
    """Write `plots/SUITE.svg` and `.png` under the folder; the SVG of each suite that has something to draw.

    Without matplotlib there are none.
    """
    if not can_plot():
        return {}
    plots = folder / PLOTS_FOLDER
    plots.mkdir(parents=True, exist_ok=True)
    written = {}
    with style():
        for suite, draw in FIGURES.items():
            made = draw(result)
            for suffix, metadata in ((".png", None), (".svg", {"Date": None})):
                path = plots / f"{suite}{suffix}"
                if made is None:
                    path.unlink(missing_ok=True)  # of an older result in the same folder
                else:
                    made.savefig(path, metadata=metadata)
            if made is not None:
                written[suite] = plots / f"{suite}.svg"
    return written
