"""One scenario of MLPerf LoadGen against a server, through our client, in a process of its own.

LoadGen (the module mlperf_loadgen of mlcommons-loadgen) keeps global state and calls back from its own threads, so each
scenario is a fresh process: this module run with `python -m`, settings on standard input, the result in a file.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import msgspec

from nonesuch.client import AsyncClient, ClientError

from ..measurement import BenchmarkError

__all__ = ["ScenarioResult", "ScenarioSettings", "parse_summary", "run_scenario"]

_SUMMARY = "mlperf_log_summary.txt"
_RESULT = "scenario.json"
_LIBRARY_SAMPLES = 1024  # LoadGen draws indices from a library; what they stand for here is a fresh seed each


class ScenarioSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What LoadGen is to do.

    Attributes:
        scenario: Server is Poisson arrivals, SingleStream one after another, Offline all at once.
        address: of the server.
        min_query_count: requests at least; of Offline, exactly so many.
        min_duration_s: LoadGen goes on until both are reached; Offline has no duration.
        target_per_s: rate of the Server scenario.
        slo_ms: latency bound of the Server scenario.
        share: the percentile that is judged, 0 to 1.
        schedule_seed: of LoadGen's arrivals.
        first_seed: of the images; each request takes the next.
        stream_limit: images in one stream of Offline at most.
        deadline_s: of each call.
    """

    scenario: Literal["Server", "SingleStream", "Offline"]
    address: str
    min_query_count: int
    min_duration_s: float = 0.0
    target_per_s: float = 1.0
    slo_ms: float = 1000.0
    share: float = 0.9
    schedule_seed: int = 0
    first_seed: int = 0
    stream_limit: int = 1024
    deadline_s: float = 60.0


class ScenarioResult(msgspec.Struct, frozen=True, kw_only=True):
    """What LoadGen found.

    Attributes:
        summary: LoadGen's own summary, name to value, as it wrote it.
        issued_s: when it handed each sample over, seconds from the first: its schedule, as it was kept.
        errors: of the client, status to number; LoadGen counts these samples as answered.
    """

    summary: dict[str, str]
    issued_s: list[float]
    errors: dict[str, int] = {}

    @property
    def valid(self) -> bool:
        """LoadGen's verdict; short runs fail its early-stopping criterion."""
        return self.summary.get("Result is") == "VALID"

    @property
    def images_per_s(self) -> float:
        """As the scenario measures it.

        Raises:
            BenchmarkError: the summary has no rate.
        """
        return self._number("Completed samples per second", "QPS w/ loadgen overhead", "Samples per second")

    def latency_ms(self, percent: float) -> float:
        """A percentile of the latency. Raises as `images_per_s`."""
        return self._number(f"{percent:.2f} percentile latency (ns)") / 1e6

    def _number(self, *names: str) -> float:
        for name in names:
            if name in self.summary:
                return float(self.summary[name])
        raise BenchmarkError(f"LoadGen's summary has no {names[0]!r}; it has {', '.join(self.summary) or 'nothing'}")


def run_scenario(settings: ScenarioSettings, *, limit_s: float = 600.0) -> ScenarioResult:
    """Run one scenario in a child process, with all that LoadGen writes in a temporary folder.

    Raises:
        BenchmarkError: it failed, or took longer than `limit_s`.
    """
    with tempfile.TemporaryDirectory(prefix="nonesuch-loadgen-") as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, folder],
                input=msgspec.json.encode(settings),
                capture_output=True,
                cwd=folder,  # LoadGen reads an audit.config where it runs
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(
                f"LoadGen's {settings.scenario} took longer than {limit_s:g} s; ask for less"
            ) from error
        if done.returncode:
            lines = done.stderr.decode(errors="replace").splitlines() or ["it said nothing"]
            raise BenchmarkError(f"LoadGen's {settings.scenario} failed: {lines[-1]}")
        return msgspec.json.decode((Path(folder) / _RESULT).read_bytes(), type=ScenarioResult)


def parse_summary(text: str) -> dict[str, str]:
    """The lines `name : value` of mlperf_log_summary.txt, up to the parameters that were used."""
    found: dict[str, str] = {}
    for line in text.partition("Test Parameters Used")[0].splitlines():
        name, colon, value = line.partition(":")
        if colon and value.strip():
            found[name.strip()] = value.strip()
    return found


class _Sut:
    """The system under test: LoadGen's threads hand samples over, an event loop of its own asks the server."""

    def __init__(self, loadgen: Any, settings: ScenarioSettings) -> None:
        self.errors: dict[str, int] = {}
        self.issued: list[float] = []
        self._loadgen = loadgen
        self._settings = settings
        self._next_seed = settings.first_seed
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._connect(), self._loop).result()

    def issue(self, samples: Sequence[Any]) -> None:
        """LoadGen's callback; returns at once."""
        self.issued += [time.perf_counter()] * len(samples)
        ids = [sample.id for sample in samples]
        self._loop.call_soon_threadsafe(self._start, ids)

    def close(self) -> None:
        """Disconnect."""
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _connect(self) -> None:
        self._client = AsyncClient(self._settings.address, retries=False)
        await self._client.health(wait_for_ready=True)  # connecting is not part of the first query

    def _start(self, ids: list[int]) -> None:
        for part in self._parts(ids):
            first, self._next_seed = self._next_seed, self._next_seed + len(part)
            task = self._loop.create_task(self._one(part[0], first) if len(ids) == 1 else self._stream(part, first))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _parts(self, ids: list[int]) -> Iterator[list[int]]:
        for start in range(0, len(ids), self._settings.stream_limit):
            yield ids[start : start + self._settings.stream_limit]

    async def _one(self, sample: int, seed: int) -> None:
        try:
            await self._client.generate(seed=seed, format="jpeg", quality=90, deadline_s=self._settings.deadline_s)
        except ClientError as error:
            self._count(error, 1)
        self._complete(sample)

    async def _stream(self, samples: list[int], first_seed: int) -> None:
        left = dict(enumerate(samples))
        try:
            async for image in self._client.stream(
                range(first_seed, first_seed + len(samples)), format="jpeg", quality=90
            ):
                self._complete(left.pop(image.index))
        except ClientError as error:
            self._count(error, len(left))
        for sample in left.values():
            self._complete(sample)

    def _count(self, error: ClientError, number: int) -> None:
        self.errors[error.code.name] = self.errors.get(error.code.name, 0) + number

    def _complete(self, sample: int) -> None:
        # LoadGen would wait for ever for a sample that is not answered, so failed ones are answered too and counted.
        self._loadgen.QuerySamplesComplete([self._loadgen.QuerySampleResponse(sample, 0, 0)])


def _main(folder: Path) -> None:
    """The child process."""
    mlperf_loadgen = import_module("mlperf_loadgen")
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=ScenarioSettings)
    sut = _Sut(mlperf_loadgen, settings)
    test = mlperf_loadgen.TestSettings()
    test.scenario = getattr(mlperf_loadgen.TestScenario, settings.scenario)
    test.mode = mlperf_loadgen.TestMode.PerformanceOnly
    test.min_query_count = settings.min_query_count
    test.min_duration_ms = 0 if settings.scenario == "Offline" else round(settings.min_duration_s * 1e3)
    test.schedule_rng_seed = settings.schedule_seed
    test.server_target_qps = settings.target_per_s
    test.server_target_latency_ns = round(settings.slo_ms * 1e6)
    test.server_target_latency_percentile = settings.share
    test.single_stream_target_latency_percentile = settings.share
    logs = mlperf_loadgen.LogSettings()
    logs.log_output.outdir = str(folder)
    logs.enable_trace = False
    system = mlperf_loadgen.ConstructSUT(sut.issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(_LIBRARY_SAMPLES, _LIBRARY_SAMPLES, lambda _: None, lambda _: None)
    mlperf_loadgen.StartTestWithLogSettings(system, library, test, logs)
    mlperf_loadgen.DestroyQSL(library)
    mlperf_loadgen.DestroySUT(system)
    sut.close()
    summary = parse_summary((folder / _SUMMARY).read_text())
    issued_s = [at - sut.issued[0] for at in sut.issued]
    result = ScenarioResult(summary=summary, issued_s=issued_s, errors=sut.errors)
    (folder / _RESULT).write_bytes(msgspec.json.encode(result))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
