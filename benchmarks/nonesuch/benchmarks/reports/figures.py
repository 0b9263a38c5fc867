"""One figure for each suite, as SVG and PNG: plain matplotlib; none where the result has nothing to draw.

No pyplot: figures are objects, and need no display.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..agreement import MIN_PSNR_DB
from ..result import Measurement, Result, case_text, label
from ..speed import FLOOR
from ..summary import median, percentile
from .grid import ENOUGH, grouped, middle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOTS_FOLDER = "plots"
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "font.size": 9.0,
    "savefig.dpi": 144,
    "svg.hashsalt": "nonesuch",  # equal results give equal files
}
_PANEL_INCHES, _ROW_INCHES = 4.5, 0.4


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def write_figures(result: Result, folder: Path) -> dict[str, Path]:
    """Write `plots/SUITE.svg` and `.png` under the folder; the SVG of each suite that has something to draw.

    Without matplotlib there are none.
    """
    if not can_plot():
        return {}
    import matplotlib as mpl

    plots = folder / PLOTS_FOLDER
    plots.mkdir(parents=True, exist_ok=True)
    written = {}
    with mpl.rc_context(_STYLE):
        for suite, draw in FIGURES.items():
            found = draw(result)
            for suffix, metadata in ((".png", None), (".svg", {"Date": None})):
                path = plots / f"{suite}{suffix}"
                if found is None:
                    path.unlink(missing_ok=True)  # of an older result in the same folder
                else:
                    found.savefig(path, metadata=metadata)
            if found is not None:
                written[suite] = plots / f"{suite}.svg"
    return written


def _figure(result: Result, title: str, panels: int = 1, rows: int = 8) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side, high enough for so many rows."""
    from matplotlib.figure import Figure

    size = (4 + _PANEL_INCHES * panels, max(3.5, 1.2 + _ROW_INCHES * rows))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(f"{title}, {result.model}, {result.resolution}x{result.resolution}")
    return figure, [figure.add_subplot(1, panels, index + 1) for index in range(panels)]


def _bars(
    result: Result, title: str, groups: Sequence[Sequence[Measurement]], captions: Sequence[str],
    lines: Mapping[str, float] | None = None,
) -> Figure | None:  # fmt: skip
    """A panel for each group: bars of the medians, first on top, with the values below the names; samples as ticks."""
    shown = [(group, caption) for group, caption in zip(groups, captions, strict=True) if group]
    if not shown:
        return None
    figure, panels = _figure(result, title, len(shown), max(len(group) for group, _ in shown))
    for axes, (group, caption) in zip(panels, shown, strict=True):
        graphs = [f", {one.case['variant']}" if "variant" in one.case else "" for one in group]
        names = [f"{one.subject}{graph}\n{middle(one)}" for one, graph in zip(group, graphs, strict=True)]
        axes.barh(range(len(group)), [median(one.samples) for one in group], alpha=0.6)
        for row, one in enumerate(group):
            axes.plot(one.samples, [row] * len(one.samples), "|k")
        for name, value in (lines or {}).items():
            axes.axvline(value, color="black", linestyle=":", label=name)
            axes.legend()
        axes.set_yticks(range(len(group)), names)
        axes.invert_yaxis()
        axes.set(xlabel=caption, xlim=(0, None))
    return figure


def _latency(result: Result) -> Figure | None:
    group = next(iter(grouped(result, "latency", "latency")), [])
    floor = {one.subject: median(one.samples) for one in group if one.subject == FLOOR}
    members = [one for one in group if one.subject != FLOOR]
    return _bars(result, "One image", [members], ["milliseconds; bar: median, ticks: single runs"], floor)


def _precision(result: Result) -> Figure | None:
    caption, line = "dB, higher is closer; bar: median, ticks: single seeds", {"what float32 must reach": MIN_PSNR_DB}
    return _bars(result, "PSNR against PyTorch float32", [result.find("precision", "psnr")], [caption], line)


def _encoding(result: Result) -> Figure | None:
    metrics = {"encode": "ms to encode", "size": "KiB", "images_per_s": "images per second, generated and encoded"}
    return _bars(result, "Encoding", [result.find("encoding", metric) for metric in metrics], list(metrics.values()))


def _by_case(suite: str, metric: str, title: str, unit: str, result: Result) -> Figure | None:
    """A panel of bars for each case."""
    groups = grouped(result, suite, metric)
    return _bars(result, title, groups, [f"{unit}, {case_text(group[0].case)}" for group in groups])


def _by_batch(suite: str, metric: str, title: str, result: Result) -> Figure | None:
    """Medians against the size of the batch, a line for each subject."""
    found = result.find(suite, metric)
    if not found:
        return None
    figure, (axes,) = _figure(result, title)
    for index, subject in enumerate(dict.fromkeys(one.subject for one in found)):
        points = sorted((float(one.case["batch"]), median(one.samples)) for one in found if one.subject == subject)
        axes.plot(*zip(*points, strict=True), marker="osD^vP*X"[index % 8], label=subject)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    axes.set_ylim(bottom=0)
    axes.set(xlabel="batch size", ylabel=found[0].unit, xticks=sorted({float(one.case["batch"]) for one in found}))
    return figure


def _serve(result: Result) -> Figure | None:
    """Open loops by offered rate: latency on the left, images per second on the right."""
    runs: dict[object, dict[str, list[float]]] = {}
    for one in result.find("serve", loop="open"):
        runs.setdefault(one.case.get("load"), {})[one.metric] = one.samples
    needed = {"offered_per_s", "latency_from_schedule", "images_per_s", "goodput_per_s"}
    whole = sorted((run for run in runs.values() if run.keys() >= needed), key=lambda run: median(run["offered_per_s"]))
    if not whole:
        return None
    figure, (left, right) = _figure(result, "A server under load", panels=2)
    offered = [median(run["offered_per_s"]) for run in whole]
    for percent, look in ((50, "o-"), (90, "s--"), (99, "^:")):
        if min(len(run["latency_from_schedule"]) for run in whole) >= ENOUGH.get(percent, 0):
            values = [percentile(run["latency_from_schedule"], percent) for run in whole]
            left.plot(offered, values, look, color="C0", label=f"p{percent}")
    for slo in result.find("serve", "slo"):
        left.axhline(median(slo.samples), color="C1", label="bound of goodput")
    left.set(yscale="log", ylabel="latency from the schedule, ms")
    right.plot([0, max(offered)], [0, max(offered)], color="grey", label="as offered")
    for metric, look in (("images_per_s", "o-"), ("goodput_per_s", "s--")):
        right.plot(offered, [median(run[metric]) for run in whole], look, label=label(metric))
    right.set_ylabel("per second")
    for axes in (left, right):
        axes.legend()
        axes.set_xlabel("offered requests per second")
    return figure


FIGURES: dict[str, Callable[[Result], Figure | None]] = {
    "latency": _latency,
    "throughput": partial(_by_batch, "throughput", "images_per_s", "Images per second"),
    "precision": _precision,
    "memory": partial(_by_batch, "memory", "peak_rss", "Peak resident memory of a process"),
    "encoding": _encoding,
    "tuning": partial(_by_case, "tuning", "image_time", "What tuning chose", "ms per image"),
    "serve": _serve,
    "peers": partial(_by_case, "peers", "images_per_s", "Servers of one artifact", "images per second"),
}
"""By suite."""
