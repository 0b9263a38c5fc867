"""What all plots share: colours that most eyes can tell apart, quiet axes, strips, bars and lines.

A colour stands for a kind of subject (ours, PyTorch eager, ...) in every plot of a report; markers and line styles tell
subjects of one kind apart, so no plot depends on colour alone. No pyplot: figures are objects, and need no display.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..latency import FLOOR
from ..subjects.wheel import WheelSubject
from ..summary import median, quartiles
from .grid import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "LINE",
    "Look",
    "bars",
    "figure",
    "lines",
    "logarithmic",
    "looks",
    "rows_height",
    "strips",
    "style",
]

# Okabe and Ito's palette.
LINE = "#0072B2"
ACCENT = "#D55E00"
_KINDS: Sequence[tuple[Callable[[str], bool], str]] = (
    (lambda name: name == FLOOR, "#000000"),
    (lambda name: name.startswith("torch compile"), ACCENT),
    (lambda name: name.startswith("torch"), "#E69F00"),
    (lambda name: name == WheelSubject.name, "#009E73"),
    (lambda name: name.startswith("openvino"), "#56B4E9"),
    (lambda name: name.startswith("tensorrt"), "#CC79A7"),
)
_OTHERS = "#999999"
_MARKERS = "osD^vP*X"
_DASHES = ("-", "--", ":", "-.")
_ROW_INCHES = 0.42
_LABEL_WIDTH = 30
_SPREAD = 0.22


@dataclass(frozen=True)
class Look:
    """How one subject is drawn."""

    colour: str
    marker: str
    dash: str


def style() -> AbstractContextManager[None]:
    """The settings that figures are made and saved with."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "font.size": 9.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlesize": 10.0,
        "axes.titlelocation": "left",
        "grid.color": "#dddddd",
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "savefig.dpi": 144,
        "svg.hashsalt": "nonesuch",  # equal results give equal files
    }
    return mpl.rc_context(settings)


def figure(title: str, *, width: float = 7.5, height: float = 3.6, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side, sizes in inches."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    made.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=10.5)
    return made, [made.add_subplot(1, panels, index + 1) for index in range(panels)]


def rows_height(names: Collection[str]) -> float:
    """Inches for a row of a strip or a bar for each name, axes and title included."""
    lines_of_name = max(_wrapped(name).count("\n") + 1 for name in names)
    return 1.15 + max(_ROW_INCHES, 0.18 * lines_of_name) * len(names)


def looks(subjects: Iterable[str]) -> dict[str, Look]:
    """How to draw each; the same subjects in the same order always look the same."""
    used: dict[str, int] = {}
    found: dict[str, Look] = {}
    for name in subjects:
        colour = next((colour for belongs, colour in _KINDS if belongs(name)), LINE)
        count = used[colour] = used.get(colour, -1) + 1
        found[name] = Look(colour, _MARKERS[len(found) % len(_MARKERS)], _DASHES[count % len(_DASHES)])
    return found


def strips(axes: Axes, samples: Mapping[str, Sequence[float]], unit: str) -> None:
    """Every sample as a dot, a bar from the first to the third quartile, the median with its value; first on top."""
    drawn = looks(samples)
    largest = max(max(values) for values in samples.values())
    random = np.random.default_rng(0)
    for row, (name, values) in enumerate(samples.items()):
        look = drawn[name]
        jitter = random.uniform(-_SPREAD, _SPREAD, len(values)) if len(values) > 1 else [0.0]
        axes.plot(values, row + np.asarray(jitter), ".", color=look.colour, alpha=0.35, markersize=5, mew=0)
        low, high = quartiles(values)
        axes.plot([low, high], [row, row], color=look.colour, linewidth=5, alpha=0.5, solid_capstyle="butt")
        middle = median(values)
        axes.plot([middle, middle], [row - 0.3, row + 0.3], color=look.colour, linewidth=2)
        axes.annotate(
            f"{number(middle)} {unit}".rstrip(),
            (max(*values, high), row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
        )
    _name_rows(axes, list(samples))
    axes.set_xlim(0, largest * 1.16)


def bars(
    axes: Axes,
    values: Mapping[str, float],
    unit: str,
    *,
    spread: Mapping[str, Sequence[float]] | None = None,
    highlight: str = "",
) -> None:
    """A bar from 0 with its value for each name, first on top; the samples as ticks, if they are given.

    With a highlight, the bar of that name stands out.
    """
    largest = max(*values.values(), *(max(found) for found in (spread or {}).values()), 0.0)
    for row, (name, value) in enumerate(values.items()):
        plain = highlight in values and name != highlight
        axes.barh(row, value, height=0.6, color=_OTHERS if plain else LINE, alpha=0.75)
        dots = list((spread or {}).get(name, []))
        if dots:
            axes.plot(dots, [row] * len(dots), "|", color="#000000", alpha=0.6, markersize=8)
        text = f"{number(value)} {unit}".rstrip()
        axes.annotate(text, (max([value, *dots]), row), xytext=(5, 0), textcoords="offset points", va="center")
    _name_rows(axes, list(values))
    axes.set_xlim(0, (largest or 1.0) * 1.25)


def lines(axes: Axes, points: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    """A line with markers for each name; the legend stands on the right, in the order of the lines' ends."""
    drawn = looks(points)
    for name, (xs, ys) in sorted(points.items(), key=lambda item: -item[1][1][-1]):
        look = drawn[name]
        text = _wrapped(name)
        axes.plot(xs, ys, look.dash, color=look.colour, marker=look.marker, markersize=4.5, label=text)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0.0, labelspacing=0.7)
    axes.set_ylim(bottom=0)


def logarithmic(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with whole numbers at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _wrapped(name: str) -> str:
    return textwrap.fill(name, _LABEL_WIDTH, break_on_hyphens=False, break_long_words=False)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_wrapped(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
