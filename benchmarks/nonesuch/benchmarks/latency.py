"""Time of one image on every backend that works here, in turn in one run.

    python -m nonesuch.benchmarks.latency --model faces --rounds 11 --out results

Limits: one image at a time, pixels only (no encoding), on whatever else the machine is doing; read the ratios, which
come from runs right after one another, before the times. Outputs are compared before anything is timed.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from nonesuch.engine import __version__
from nonesuch.engine.backends.registry import installed_backends
from nonesuch.engine.errors import BackendError
from nonesuch.engine.generator import Generator
from nonesuch.engine.session import Batch

__all__ = ["LatencyReport", "Subject", "measure_latency"]

WARM_UP_RUNS = 2
MAX_DIFFERENCE = 2
"""Of 255, between backends: float32 sums in different orders."""


@dataclass(frozen=True)
class Subject:
    """One backend's times, in the order of the rounds."""

    name: str
    identity: str
    run_ms: list[float]

    @property
    def median_ms(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.run_ms)


@dataclass(frozen=True)
class LatencyReport:
    """One run of the benchmark; the first subject is what the others are compared with."""

    model: str
    resolution: int
    machine: dict[str, str]
    subjects: list[Subject]

    def ratio(self, subject: Subject) -> float:
        """How many times longer a subject takes than the first: the median of the ratios within each round."""
        return statistics.median(
            one / first for one, first in zip(subject.run_ms, self.subjects[0].run_ms, strict=True)
        )

    def markdown(self) -> str:
        """The report as a table."""
        rows = [
            f"| {s.identity} | {s.median_ms:.0f} | {min(s.run_ms):.0f} to {max(s.run_ms):.0f} | {self.ratio(s):.2f} |"
            for s in self.subjects
        ]
        return "\n".join(
            [
                f"{self.model}, one {self.resolution}x{self.resolution} image, {len(self.subjects[0].run_ms)} rounds",
                ", ".join(f"{key}: {value}" for key, value in self.machine.items()),
                "",
                "| backend | median ms | range ms | times the first |",
                "| --- | --- | --- | --- |",
                *rows,
            ]
        )


def measure_latency(model: str, rounds: int) -> LatencyReport:
    """Time one image on every backend that can run the model, interleaved.

    Raises:
        NonesuchError: the model is not here, no backend works, or two backends disagree on the picture.
    """
    generators: dict[str, Generator] = {}
    for name, backend in installed_backends().items():
        if backend.probe().usable:
            try:
                generators[name] = Generator.open(model, backend=name)
                generators[name].load()
            except BackendError as error:
                click.echo(f"left out: {error.message}", err=True)
    if not generators:
        raise BackendError(f"no backend can run {model!r} here; see nonesuch doctor")
    first = next(iter(generators.values()))
    styles = first.styles(range(rounds), psi=0.7)
    expected = first.session.submit(Batch(styles[:1])).result().images.astype(int)
    for name, generator in generators.items():
        for _ in range(WARM_UP_RUNS):
            images = generator.session.submit(Batch(styles[:1])).result().images
        worst = int(np.abs(images.astype(int) - expected).max())
        if worst > MAX_DIFFERENCE:
            raise BackendError(f"{name} shows another picture (off by {worst} of 255); nothing was timed")
    run_ms: dict[str, list[float]] = {name: [] for name in generators}
    for row in styles:
        for name, generator in generators.items():
            start = time.perf_counter()
            generator.session.submit(Batch(row[None])).result()
            run_ms[name].append((time.perf_counter() - start) * 1e3)
    subjects = [Subject(name, generator.session.identity, run_ms[name]) for name, generator in generators.items()]
    for generator in generators.values():
        generator.close()
    return LatencyReport(first.manifest.name, first.manifest.resolution, _machine(), subjects)


def _machine() -> dict[str, str]:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "load before": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown",
        "python": platform.python_version(),
        "nonesuch": __version__,
    }


@click.command()
@click.option("--model", default="faces", show_default=True)
@click.option("--rounds", default=11, show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for latency.json.")
def _main(model: str, rounds: int, out: Path | None) -> None:
    """Time one image on every backend that works here."""
    report = measure_latency(model, rounds)
    click.echo(report.markdown())
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "latency.json").write_text(json.dumps(asdict(report), indent=2) + "\n")


if __name__ == "__main__":
    _main()
