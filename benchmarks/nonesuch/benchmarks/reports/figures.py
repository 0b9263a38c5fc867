"""One figure for each suite, from a result to a matplotlib figure; None where the result has nothing to draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..latency import FLOOR
from ..measurement import Measurement, Result
from ..peers.contender import NONESUCH
from ..summary import median, percentile
from ..tuning import TUNED
from .canvas import ACCENT, LINE, bars, figure, lines, logarithmic, rows_height, strips
from .cells import ENOUGH
from .grouping import Group, case_text, find, grouped, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURES"]


def _latency(result: Result) -> Figure | None:
    groups = grouped(result.measurements, "latency", "latency")
    if not groups:
        return None
    samples = {one.subject: one.samples for one in groups[0].members}
    floor = samples.pop(FLOOR, None)
    if not samples:
        return None
    made, (axes,) = figure(f"One image, {_model(result)}", height=rows_height(samples))
    strips(axes, samples, "ms")
    if floor:
        axes.axvline(median(floor), color="black", linestyle=":", linewidth=1.2)
        axes.annotate(
            FLOOR, (median(floor), 0), xytext=(3, 1), textcoords=("offset points", "axes fraction"),
            xycoords=("data", "axes fraction"), va="bottom", fontsize=8, annotation_clip=False,
        )  # fmt: skip
    axes.set_xlabel("milliseconds; bar: quartiles, line: median, dots: single runs")
    return made


def _throughput(result: Result) -> Figure | None:
    return _against(result, "throughput", "images_per_s", "batch", "Images per second", "images per second")


def _memory(result: Result) -> Figure | None:
    return _against(result, "memory", "peak_rss", "batch", "Peak resident memory of a process", "MiB")


def _against(result: Result, suite: str, metric: str, across: str, title: str, unit: str) -> Figure | None:
    """Medians of one metric against one variable, a line for each subject."""
    points: dict[str, tuple[list[float], list[float]]] = {}
    for one in find(result.measurements, suite, metric):
        xs, ys = points.setdefault(one.subject, ([], []))
        xs.append(float(one.case.get(across, 0)))
        ys.append(median(one.samples))
    if not points:
        return None
    made, (axes,) = figure(f"{title}, {_model(result)}", height=max(3.4, 0.5 * len(points)))
    lines(axes, points)
    ticks = sorted({x for xs, _ in points.values() for x in xs})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlabel(f"{across} size" if across == "batch" else across)
    axes.set_ylabel(unit)
    return made


def _precision(result: Result) -> Figure | None:
    found = find(result.measurements, "precision", "psnr")
    if not found:
        return None
    names = {f"{one.subject}, {one.case.get('precision', '')} ({one.case.get('variant', '')})": one for one in found}
    made, (axes,) = figure(f"PSNR against PyTorch float32, {_model(result)}", height=rows_height(names))
    bars(axes, {name: median(one.samples) for name, one in names.items()}, "dB", spread=_samples(names))
    axes.axvline(50, color="black", linestyle=":", linewidth=1.2)
    axes.set_xlabel("dB, higher is closer; dotted: 50 dB, what float32 must reach; ticks: single seeds")
    return made


def _encoding(result: Result) -> Figure | None:
    panels = [
        (find(result.measurements, "encoding", "encode"), "time to encode", "ms"),
        (find(result.measurements, "encoding", "size"), "size", "KiB"),
        (find(result.measurements, "encoding", "images_per_s"), "generating and encoding", "images per second"),
    ]
    shown = [panel for panel in panels if panel[0]]
    if not shown:
        return None
    most = max(([one.subject for one in found] for found, _, _ in shown), key=len)
    made, axes = figure(
        f"Encoding, {_model(result)}", width=3.6 * len(shown), height=rows_height(most), panels=len(shown)
    )
    for index, ((found, title, unit), panel) in enumerate(zip(shown, axes, strict=True)):
        bars(panel, {one.subject: median(one.samples) for one in found}, "")
        panel.set_title(title)
        panel.set_xlabel(unit)
        if index and [one.subject for one in found] == [one.subject for one in shown[index - 1][0]]:
            _hide_names(panel)
    return made


def _serve(result: Result) -> Figure | None:
    """Of the open loops, by the rate that was offered: latency on the left, what came of it on the right."""
    offered = _by_load(result, "offered_per_s")
    late = {load: found for load, found in _by_load(result, "latency_from_schedule").items() if load in offered}
    if not late:
        return None
    loads = sorted(late, key=lambda load: median(offered[load]))
    rates = [median(offered[load]) for load in loads]
    made, (left, right) = figure(f"A server under load, {_model(result)}", width=9, height=3.9, panels=2)
    for percent, look in ((50, "o-"), (90, "s--"), (99, "^:")):
        if percent < 99 or min(map(len, late.values())) >= ENOUGH[99]:
            values = [percentile(late[load], percent) for load in loads]
            left.plot(rates, values, look, color=LINE, label=f"p{percent}")
    for one in find(result.measurements, "serve", "slo"):
        left.axhline(median(one.samples), color=ACCENT, linewidth=1.2, label="bound of goodput")
    logarithmic(left)
    left.set_ylabel("latency from the schedule, ms")
    right.plot([0, max(rates)], [0, max(rates)], color="#999999", linewidth=1, label="as offered")
    for metric, look, colour in (("images_per_s", "o-", LINE), ("goodput_per_s", "s--", ACCENT)):
        found = _by_load(result, metric)
        seen = [(rate, median(found[load])) for load, rate in zip(loads, rates, strict=True) if load in found]
        right.plot([rate for rate, _ in seen], [value for _, value in seen], look, color=colour, label=label(metric))
    right.set_ylabel("per second")
    right.set_ylim(bottom=0)
    for panel in (left, right):
        panel.legend()
        panel.set_xlabel("offered requests per second")
        panel.set_xlim(left=0)
    return made


def _by_load(result: Result, metric: str) -> dict[str | float, list[float]]:
    found = find(result.measurements, "serve", metric, loop="open")
    return {one.case["load"]: one.samples for one in found if "load" in one.case}


def _peers(result: Result) -> Figure | None:
    groups = grouped(result.measurements, "peers", "images_per_s")
    names = [f"{group.case.get('concurrency', '?')} at a time" for group in groups]
    return _panels(groups, names, f"Servers of one artifact, {_model(result)}", "images per second", NONESUCH)


def _tuning(result: Result) -> Figure | None:
    groups = grouped(result.measurements, "tuning", "image_time")
    names = [case_text(group.case) for group in groups]
    return _panels(groups, names, f"What tuning chose, {_model(result)}", "ms per image", TUNED)


def _panels(groups: Sequence[Group], names: Sequence[str], title: str, unit: str, highlight: str) -> Figure | None:
    """Bars of each group side by side, the subjects in the order of the first group."""
    if not groups:
        return None
    order = dict.fromkeys(one.subject for group in groups for one in group.members)
    made, axes = figure(title, width=1.6 + 2.6 * len(groups), height=rows_height(order), panels=len(groups))
    for index, (group, name, panel) in enumerate(zip(groups, names, axes, strict=True)):
        members = {one.subject: one for one in group.members}
        present = {subject: members[subject] for subject in order if subject in members}
        medians = {subject: median(one.samples) for subject, one in present.items()}
        bars(panel, medians, "", spread=_samples(present), highlight=highlight)
        panel.set_title(name)
        panel.set_xlabel(unit)
        if index and list(present) == list(order):
            _hide_names(panel)
    return made


def _hide_names(panel: Axes) -> None:
    panel.tick_params(axis="y", labelleft=False)


def _samples(members: Mapping[str, Measurement]) -> dict[str, list[float]]:
    return {name: one.samples for name, one in members.items()}


def _model(result: Result) -> str:
    return f"{result.model}, {result.resolution}x{result.resolution}"


FIGURES: dict[str, Callable[[Result], Figure | None]] = {
    "latency": _latency,
    "throughput": _throughput,
    "precision": _precision,
    "memory": _memory,
    "encoding": _encoding,
    "tuning": _tuning,
    "serve": _serve,
    "peers": _peers,
}
"""By suite."""
