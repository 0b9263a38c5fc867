"""`nonesuch serve` beside other ways to serve the same artifact: images a second, latency, memory.

    Subjects: LitServe, Mosec, BentoML, each in an environment of its own (venv.py), and a bare grpc.aio handler.

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
- Each turn opens new connections: over HTTP as many as there are calls at a time, over gRPC one for all of them.
- The callers run on the same machine and take a little of it, the same for all.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

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

from ..agreement import Agreement
from ..interleaved import Plan, interleave
from ..result import BenchmarkError, Case, Outcome, Request
from ..serve.load import LoadRun, closed_loop, open_loop, poisson_arrivals
from ..summary import median
from .subjects import BARE, DEADLINE_S, SUBJECTS, RunningSubject, Setup, connect

CONCURRENCY, OFFERED = "concurrency", "offered_per_s"
"""What a case varies: callers in a closed loop, or the rate of an open one."""
CHECKED_SEEDS = range(3)
MIN_PSNR_DB = 45.0  # below that a difference could show; faces of two seeds are at 10 to 15 dB
QUICK, FULL = Plan(rounds=3, settle_s=0.1), Plan(rounds=5, settle_s=0.1)
QUICK_CALLERS, FULL_CALLERS = (1, 4), (1, 4, 16)
QUICK_LOADS, FULL_LOADS = (0.5,), (0.5, 0.8)
"""Of the open loops, as shares of the bare handler's images a second at the highest concurrency."""
QUICK_MIN_IMAGES, FULL_MIN_IMAGES, MAX_IMAGES = 4, 8, 200
"""Pictures of one turn; the minimum is twice as many as callers where that is more."""
QUICK_TURN_S, FULL_TURN_S = 0.1, 1.5  # what a turn is to take, by the time of a run
MAX_IDLE_CPU = 0.1  # of one core; heartbeats and metrics of a server that waits for its turn take a few hundredths


@dataclass
class _Turns:
    """The turns of one server: what they took, and what it used meanwhile."""

    running: RunningSubject
    began_cpu_s: float = 0.0
    rss_mib: list[float] = field(default_factory=list)
    latency_ms: dict[int, list[float]] = field(default_factory=dict)  # of the case at hand, by round
    turns_s: float = 0.0
    turns_cpu_s: float = 0.0

    def take(self, case: Case, number: int, count: int) -> float:
        """Load the server once; its images per second. Other seeds each round, the same for all servers."""
        began, began_cpu_s = time.monotonic(), self.running.cpu_s()
        run = asyncio.run(self._load(case, number, range(number * count, (number + 1) * count)))
        self.turns_s += time.monotonic() - began
        self.turns_cpu_s += self.running.cpu_s() - began_cpu_s
        self.latency_ms[number] = [record.latency_ms for record in run.records]
        self.rss_mib.append(self.running.rss_mib())
        return run.rate_per_s()

    async def _load(self, case: Case, number: int, seeds: range) -> LoadRun:
        async with connect(self.running.port, self.running.path) as ask:
            if CONCURRENCY in case:
                callers = [ask] * int(case[CONCURRENCY])
                return await closed_loop(callers, iter(seeds), count=len(seeds), deadline_s=DEADLINE_S)
            random = np.random.default_rng(number)  # the same arrivals for all
            arrivals_s = poisson_arrivals(float(case[OFFERED]), len(seeds), random)
            return await open_loop(ask, arrivals_s, iter(seeds), deadline_s=DEADLINE_S)

    def idle_share(self, elapsed_s: float) -> float:
        """The share of a core that it used while others were loaded."""
        return (self.running.cpu_s() - self.began_cpu_s - self.turns_cpu_s) / max(1e-3, elapsed_s - self.turns_s)


def measure(request: Request) -> Outcome:
    """Compare the servers that were asked for and work here.

    Latencies are of single calls: in the order of the rounds and, within a round, of the calls. Memory is resident
    memory after each turn, summed over a server's processes. Raises BenchmarkError where psutil is missing, or the
    model needs more than a seed; NonesuchError where the model is not here, or ONNX Runtime is not.
    """
    with tempfile.TemporaryDirectory(prefix="nonesuch-peers-", ignore_cleanup_errors=True) as scratch:
        return _Peers(request, Path(scratch)).measure()


class _Peers:
    """All servers, and what was measured of them."""

    def __init__(self, request: Request, scratch: Path) -> None:
        """Finds out what all servers share, and the pictures that they must give, decoded from JPEG."""
        self.request, self.outcome = request, Outcome("peers")
        self.turns: dict[str, _Turns] = {}
        threads = usable_cores()
        options = SessionOptions(threads=threads, spinning=False)
        with Generator.open(request.model, backend=OnnxRuntimeBackend.name, options=options) as generator:
            manifest, latents = generator.manifest, generator.latents
            Setup(generator.artifact, threads, 1, scratch)  # refuses a model that needs more than a seed
            request.say("peers: measuring how far batches pay")
            growth = measure_growth(
                generator.session,
                lambda size: latents.batch(Seeds(range(size)), PictureOptions()),
                ServerSettings().min_batch_gain,
            )
            record = ImageRecord(manifest.name, manifest.model_id)
            images = generator.generate(CHECKED_SEEDS)
            self.expected = [_decode(encode_image(image, EncodeOptions(), record)) for image in images]
            self.setup = Setup(generator.artifact, threads, growth.target_size, scratch, growth.image_ms)

    def measure(self) -> Outcome:
        """Start, check and load them."""
        with ExitStack() as stack:
            for subject in SUBJECTS:
                if not self.request.wants(subject.name):
                    continue
                self.request.say(f"peers: starting {subject.name}")
                try:
                    running = stack.enter_context(RunningSubject(subject, self.setup, Home.default()))
                    running.wait_ready(partial(running.pictures, range(1)))
                    self._check(running)
                except BenchmarkError as error:
                    self.outcome.skip(subject.name, error.message)
                else:
                    self.turns[subject.name] = _Turns(running)
            self._take_turns()
        return self.outcome

    def _check(self, running: RunningSubject) -> None:
        for seed, data, picture in zip(CHECKED_SEEDS, running.pictures(CHECKED_SEEDS), self.expected, strict=True):
            psnr_db = Agreement.of(_decode(data), picture).psnr_db
            if psnr_db < MIN_PSNR_DB:
                raise BenchmarkError(f"shows another picture for seed {seed} (PSNR {psnr_db:.0f} dB); it was not timed")

    def _take_turns(self) -> None:
        quick, began = self.request.quick, time.monotonic()
        for one in self.turns.values():
            one.began_cpu_s = one.running.cpu_s()
        rates: dict[str, float] = {}
        for concurrency in QUICK_CALLERS if quick else FULL_CALLERS:
            rates = self._take_case({CONCURRENCY: concurrency})
        bare_per_s = rates.get(BARE, next(iter(rates.values()), 0.0))
        for share in (QUICK_LOADS if quick else FULL_LOADS) if bare_per_s else ():
            self._take_case({OFFERED: round(share * bare_per_s, 2)})
        elapsed_s = time.monotonic() - began
        for name, one in self.turns.items():
            self.outcome.add(name, "rss", one.rss_mib, {}, one.running.detail)
            share = one.idle_share(elapsed_s)
            if len(self.turns) > 1 and share > MAX_IDLE_CPU:
                self.outcome.flags.append(f"peers: {name} used {share:.0%} of a core while others were measured")

    def _take_case(self, case: Case) -> dict[str, float]:
        """All in turn under one load, without those that fail from then on; median images per second by name."""
        quick, callers = self.request.quick, int(case.get(CONCURRENCY, 0))
        turn_images = round((QUICK_TURN_S if quick else FULL_TURN_S) * 1e3 / self.setup.image_ms)
        count = max(QUICK_MIN_IMAGES if quick else FULL_MIN_IMAGES, 2 * callers, min(MAX_IMAGES, turn_images))
        load = f"{callers} at a time" if callers else f"{case[OFFERED]} offered per second"
        samplers = {name: lambda number, one=one: one.take(case, number, count) for name, one in self.turns.items()}
        plan, say = Plan.of(self.request, QUICK, FULL), self.request.say
        sampled = interleave(samplers, plan, lambda line: say(f"peers: {load}, {count} pictures a turn, {line}"))
        self.outcome.skip_all(sampled.dropped)
        self.turns = {name: one for name, one in self.turns.items() if name not in sampled.dropped}
        for name, one in self.turns.items():
            latencies = [taken_ms for number in range(plan.rounds) for taken_ms in one.latency_ms[number]]
            self.outcome.add(name, "images_per_s", sampled.samples[name], case, one.running.detail)
            self.outcome.add(name, "latency", latencies, case, one.running.detail)
        return {name: median(sampled.samples[name]) for name in self.turns}


def _decode(data: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture, dtype=np.uint8)
    except OSError as error:
        raise BenchmarkError(f"answers with something that is not a picture ({error}); it was not timed") from error
