"""`nonesuch serve` beside other ways to serve the same artifact: images a second, latency, memory.

    Peers: LitServe, Mosec, BentoML, each in an environment of its own (venv.py), and a bare grpc.aio handler.

- The same graphs, ONNX Runtime, number of threads, Pillow and JPEG quality for all. nonesuch writes some 2 KB of
  provenance into each picture besides.
- The same bound on batches for all: where batches stop paying on this machine, measured before, which on most CPUs is
  at one or two. Servers that wait for company wait 5 ms at most (BentoML learns its wait), nonesuch and the bare
  handler not at all.
- Every server gives the right pictures before any is timed; one that does not is left out.
- Closed loops by so many callers at a time, then open loops at shares of what the bare handler gave in a closed one:
  there, latency counts from when a request was due.
- All servers are up, one is loaded at a time, in turn, in several rounds. ONNX Runtime's threads do not spin in any; if
  a server uses the processor while others are measured, the result is flagged: LitServe does, where it makes batches,
  because it polls its queue.
- Each turn opens new connections. The HTTP callers have a connection each; gRPC carries the calls of one client
  process over one connection.
- The callers run on the same machine and take a little of it, the same for all.
"""

from __future__ import annotations

import io
import math
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nonesuch.engine.backends.onnxruntime import OnnxRuntimeBackend
from nonesuch.engine.encoder import EncodeOptions, encode_image
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.machine import usable_cores
from nonesuch.engine.provenance import ImageRecord
from nonesuch.engine.session import SessionOptions
from nonesuch.engine.source import Seeds
from nonesuch.server.core.batching.batch_growth import measure_growth
from nonesuch.server.settings import ServerSettings

from ..interleaved import Plan, Sampler, interleave
from ..measurement import BenchmarkError, Case, Measurement, Skipped
from ..serve.arrivals import poisson_arrivals
from ..suite import Outcome, Request
from ..summary import median
from .contender import BARE, CONTENDERS, RunningContender, Setup
from .load import closed_loop, open_loop

__all__ = ["CONCURRENCY", "OFFERED", "SUITE", "measure"]

SUITE = "peers"
CONCURRENCY, OFFERED = "concurrency", "offered_per_s"
"""What a case varies: callers in a closed loop, or the rate of an open one."""
CHECKED_SEEDS = range(3)
MIN_PSNR_DB = 45.0
"""Below that a difference could show; faces of two seeds are at 10 to 15 dB."""
ROUNDS, QUICK_ROUNDS = 5, 3
CALLERS, QUICK_CALLERS = (1, 4, 16), (1, 4)
LOADS, QUICK_LOADS = (0.5, 0.8), (0.5,)
"""Of the open loops, as shares of the bare handler's images a second at the highest concurrency."""
TURN_IMAGES, QUICK_TURN_IMAGES = 8, 4
"""Pictures of one turn at least; twice as many as callers at least."""
TURN_S, QUICK_TURN_S = 1.5, 0.1
"""What a turn is to take at the least, by the time of a run."""
MOST_TURN_IMAGES = 200
MAX_IDLE_CPU = 0.1
"""Of one core; heartbeats and metrics of a server that waits for its turn take a few hundredths."""


@dataclass
class _Taken:
    """What was measured of one server."""

    running: RunningContender
    began_cpu_s: float
    latency_ms: dict[tuple[str, float, int], list[float]] = field(default_factory=dict)  # by case and round
    rss_mib: list[float] = field(default_factory=list)
    turns_s: float = 0.0
    turns_cpu_s: float = 0.0

    @property
    def name(self) -> str:
        return self.running.contender.name

    def turn(self, case: Case, number: int, seeds: range) -> float:
        """Load the server once; its images per second."""
        server = self.running.server
        began, began_cpu_s = time.monotonic(), server.cpu_s()
        ((kind, value),) = case.items()
        if kind == CONCURRENCY:
            load = closed_loop(self.running.connect, int(value), seeds)
        else:
            arrivals = poisson_arrivals(float(value), len(seeds), np.random.default_rng(number))  # the same for all
            load = open_loop(self.running.connect, arrivals.times_s.tolist(), seeds)
        self.turns_s += time.monotonic() - began
        self.turns_cpu_s += server.cpu_s() - began_cpu_s
        self.latency_ms[kind, float(value), number] = load.latency_ms
        self.rss_mib.append(server.rss_mib())
        return load.images_per_s

    def latencies(self, case: Case, rounds: int) -> list[float]:
        """Of all calls of a case, milliseconds."""
        ((kind, value),) = case.items()
        return [taken for number in range(rounds) for taken in self.latency_ms[kind, float(value), number]]

    def idle_share(self, elapsed_s: float) -> float:
        """The share of a core that it used while others were loaded."""
        return (self.running.server.cpu_s() - self.began_cpu_s - self.turns_cpu_s) / max(1e-3, elapsed_s - self.turns_s)


def measure(request: Request) -> Outcome:
    """Compare the servers that were asked for and work here.

    Latencies are of single calls: in the order of the rounds and, within a round, of the calls. Memory is resident
    memory after each turn, summed over a server's processes.

    Raises:
        BenchmarkError: psutil is missing, or the model needs more than a seed.
        NonesuchError: the model is not here, or ONNX Runtime is not.
    """
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="nonesuch-peers-", ignore_cleanup_errors=True) as scratch:
        setup, expected = _prepare(request, Path(scratch))
        with ExitStack() as stack:
            taken = _start(request, setup, expected, stack, outcome)
            _take_turns(request, setup, taken, outcome)
    return outcome


def _prepare(request: Request, scratch: Path) -> tuple[Setup, list[NDArray[np.uint8]]]:
    """What all servers share, and the pictures that they must give, decoded from JPEG."""
    threads = usable_cores()
    options = SessionOptions(threads=threads, spinning=False)
    with Generator.open(request.model, backend=OnnxRuntimeBackend.name, options=options) as generator:
        manifest, latents = generator.manifest, generator.latents
        Setup(generator.artifact, threads, 1, scratch, 1.0)  # refuses a model that needs more than a seed
        request.say("peers: measuring how far batches pay")
        growth = measure_growth(
            generator.session,
            lambda size: latents.batch(Seeds(range(size)), PictureOptions()),
            ServerSettings().min_batch_gain,
        )
        images = generator.generate(CHECKED_SEEDS)
        record = ImageRecord(manifest.name, manifest.model_id)
        expected = [_decode(encode_image(image, EncodeOptions(), record)) for image in images]
        return Setup(generator.artifact, threads, growth.target_size, scratch, growth.image_ms), expected


def _start(
    request: Request, setup: Setup, expected: list[NDArray[np.uint8]], stack: ExitStack, outcome: Outcome
) -> list[_Taken]:
    taken = []
    for contender in CONTENDERS:
        if not request.wants(contender.name):
            continue
        request.say(f"peers: starting {contender.name}")
        try:
            running = contender.start(setup, Home.default())
            stack.callback(running.server.stop)
            running.wait_ready()
            _check(running, expected)
        except BenchmarkError as error:
            outcome.skipped.append(Skipped(suite=SUITE, subject=contender.name, reason=error.message))
        else:
            taken.append(_Taken(running, 0.0))
    return taken


def _check(running: RunningContender, expected: list[NDArray[np.uint8]]) -> None:
    for seed, data, right in zip(CHECKED_SEEDS, running.pictures(CHECKED_SEEDS), expected, strict=True):
        psnr_db = _psnr_db(_decode(data), right)
        if psnr_db < MIN_PSNR_DB:
            raise BenchmarkError(f"shows another picture for seed {seed} (PSNR {psnr_db:.0f} dB); it was not timed")


def _take_turns(request: Request, setup: Setup, taken: list[_Taken], outcome: Outcome) -> None:
    plan = Plan(request.rounds or (QUICK_ROUNDS if request.quick else ROUNDS), settle_s=0.1)
    began = time.monotonic()
    for one in taken:
        one.began_cpu_s = one.running.server.cpu_s()
    rates: dict[str, float] = {}
    for concurrency in QUICK_CALLERS if request.quick else CALLERS:
        taken, rates = _take_case(request, plan, {CONCURRENCY: concurrency}, setup, taken, outcome)
    bare_per_s = rates.get(BARE, next(iter(rates.values()), 0.0))
    for share in (QUICK_LOADS if request.quick else LOADS) if bare_per_s else ():
        taken, _ = _take_case(request, plan, {OFFERED: round(share * bare_per_s, 2)}, setup, taken, outcome)
    elapsed_s = time.monotonic() - began
    for one in taken:
        outcome.measurements.append(_measurement(one, "rss", one.rss_mib, {}))
        share = one.idle_share(elapsed_s)
        if len(taken) > 1 and share > MAX_IDLE_CPU:
            outcome.flags.append(f"peers: {one.name} used {share:.0%} of a core while others were measured")


def _take_case(
    request: Request, plan: Plan, case: Case, setup: Setup, taken: list[_Taken], outcome: Outcome
) -> tuple[list[_Taken], dict[str, float]]:
    """All servers in turn under one load; those that went through, and their median images per second."""
    ((kind, value),) = case.items()
    least = max(QUICK_TURN_IMAGES if request.quick else TURN_IMAGES, 2 * int(value) if kind == CONCURRENCY else 0)
    turn_s = QUICK_TURN_S if request.quick else TURN_S
    count = max(least, min(MOST_TURN_IMAGES, round(turn_s * 1e3 / setup.image_ms)))
    about = f"{value} at a time" if kind == CONCURRENCY else f"{value} offered per second"

    def say(line: str) -> None:
        request.say(f"peers: {about}, {count} pictures a turn, {line}")

    sampled = interleave({one.name: _sampler(one, case, count) for one in taken}, plan, say)
    for name, reason in sampled.dropped.items():
        outcome.skipped.append(Skipped(suite=SUITE, subject=name, reason=reason))
    taken = [one for one in taken if one.name not in sampled.dropped]
    for one in taken:
        outcome.measurements += [
            _measurement(one, "images_per_s", sampled.samples[one.name], case),
            _measurement(one, "latency", one.latencies(case, plan.rounds), case),
        ]
    return taken, {one.name: median(sampled.samples[one.name]) for one in taken}


def _sampler(one: _Taken, case: Case, count: int) -> Sampler:
    # Other seeds each round, the same for all servers.
    return lambda number: one.turn(case, number, range(number * count, (number + 1) * count))


_UNITS: dict[str, tuple[str, Literal["lower", "higher"]]] = {
    "images_per_s": ("1/s", "higher"),
    "latency": ("ms", "lower"),
    "rss": ("MiB", "lower"),
}


def _measurement(one: _Taken, metric: str, samples: list[float], case: Case) -> Measurement:
    unit, better = _UNITS[metric]
    return Measurement(
        suite=SUITE,
        subject=one.name,
        detail=one.running.detail,
        metric=metric,
        unit=unit,
        better=better,
        case=case,
        samples=samples,
    )


def _decode(data: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture, dtype=np.uint8)
    except OSError as error:
        raise BenchmarkError(f"answers with something that is no picture ({error}); it was not timed") from error


def _psnr_db(found: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    if found.shape != right.shape:
        return -math.inf
    error = float(np.mean((found.astype(np.float64) - right) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf
