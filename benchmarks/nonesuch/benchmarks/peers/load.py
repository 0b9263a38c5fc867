"""Load by threads, the same code for every server; only the caller differs.

    closed loop   so many callers, each with a connection of its own, each asking again as soon as it is answered
    open loop     a request at each of the times of a schedule, whatever the server does

A closed loop never overloads a server, and hides how long others would have waited meanwhile; latency in the open one
counts from the time at which a request was due.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from ..measurement import BenchmarkError

__all__ = ["Caller", "GrpcCaller", "HttpCaller", "Load", "closed_loop", "open_loop"]

TIMEOUT_S = 120.0
MOST_CALLERS = 32
"""Requests of an open loop that are on their way at once; one that finds them all busy waits, and that counts."""


class Caller(Protocol):
    """One connection to one server."""

    def picture(self, seed: int) -> bytes:
        """The JPEG of a seed.

        Raises:
            BenchmarkError: the server did not give one.
        """

    def close(self) -> None:
        """Disconnect."""


class GrpcCaller:
    """Calls nonesuch.v1 on 127.0.0.1 through `nonesuch.client`."""

    def __init__(self, port: int) -> None:
        from nonesuch.client import Client

        # A retry would hide a refusal in a latency.
        self._client = Client(f"127.0.0.1:{port}", retries=False)

    def picture(self, seed: int) -> bytes:
        """As `Caller`; psi is the server's default, quality too."""
        from nonesuch.client.errors import ClientError

        try:
            return self._client.generate(seed=seed, deadline_s=TIMEOUT_S).data
        except ClientError as error:
            raise BenchmarkError(f"the server gave no picture: {error}") from error

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


class HttpCaller:
    """Posts `{"seed": N}` to a path on 127.0.0.1 over one kept connection."""

    def __init__(self, port: int, path: str) -> None:
        import requests

        self._url = f"http://127.0.0.1:{port}{path}"
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy stands between this machine and itself
        self._failure = requests.RequestException

    def picture(self, seed: int) -> bytes:
        """As `Caller`."""
        try:
            answer = self._session.post(self._url, json={"seed": seed}, timeout=TIMEOUT_S)
            answer.raise_for_status()
        except self._failure as error:
            raise BenchmarkError(f"the server gave no picture: {error}") from error
        return answer.content

    def close(self) -> None:
        """Disconnect."""
        self._session.close()


@dataclass(frozen=True)
class Load:
    """What a load saw.

    Attributes:
        wall_s: from the start of all callers to the last answer, seconds.
        latency_ms: from a call, or from when it was due, to its bytes, in the order of the seeds, milliseconds.
    """

    wall_s: float
    latency_ms: list[float]

    @property
    def images_per_s(self) -> float:
        """Pictures a second."""
        return len(self.latency_ms) / self.wall_s


def closed_loop(connect: Callable[[], Caller], concurrency: int, seeds: Sequence[int]) -> Load:
    """Ask for every seed once, `concurrency` at a time.

    Raises:
        BenchmarkError: a picture did not come.
    """

    def ask(caller: Caller, seed: int, _: float) -> float:
        asked = time.perf_counter()
        caller.picture(seed)
        return time.perf_counter() - asked

    return _load(connect, concurrency, [(seed, 0.0) for seed in seeds], ask)


def open_loop(connect: Callable[[], Caller], due_s: Sequence[float], seeds: Sequence[int]) -> Load:
    """Ask for each seed at its time, seconds from the start, ascending.

    Raises:
        BenchmarkError: a picture did not come.
    """

    def ask(caller: Caller, seed: int, due: float) -> float:
        time.sleep(max(0.0, due - time.perf_counter()))
        caller.picture(seed)
        return time.perf_counter() - due

    return _load(connect, min(MOST_CALLERS, len(seeds)), list(zip(seeds, due_s, strict=True)), ask)


def _load(
    connect: Callable[[], Caller],
    callers: int,
    requests: Sequence[tuple[int, float]],
    ask: Callable[[Caller, int, float], float],
) -> Load:
    """Let callers take the requests (a seed and when it is due) one after another; `ask` gives a latency, seconds."""
    waiting: SimpleQueue[tuple[int, int, float]] = SimpleQueue()
    for index, (seed, due_s) in enumerate(requests):
        waiting.put((index, seed, due_s))
    latency_ms = [0.0] * len(requests)
    start = threading.Barrier(callers + 1)
    began = 0.0

    def call(caller: Caller) -> float:
        start.wait()
        start.wait()  # the second time, `began` is set
        while True:
            try:
                index, seed, due_s = waiting.get_nowait()
            except Empty:
                return time.perf_counter()
            latency_ms[index] = ask(caller, seed, began + due_s) * 1e3

    with ExitStack() as stack, ThreadPoolExecutor(callers, thread_name_prefix="caller") as threads:
        opened = [connect() for _ in range(callers)]
        for caller in opened:
            stack.callback(caller.close)
        calling = [threads.submit(call, caller) for caller in opened]
        start.wait()
        began = time.perf_counter()
        start.wait()
        ended = [future.result() for future in calling]
    return Load(max(ended) - began, latency_ms)
