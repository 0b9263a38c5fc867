"""Closed-loop load: so many callers, each with a connection of its own, each asking again as soon as it is answered.

The same code drives every server; only the caller differs. A closed loop never overloads a server and hides how long
others would have waited meanwhile: that is what the suite `serve` is for.
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

__all__ = ["Caller", "GrpcCaller", "HttpCaller", "Load", "closed_loop"]

TIMEOUT_S = 120.0


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
        latency_ms: from a call to its bytes, in the order of the seeds, milliseconds.
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
    waiting: SimpleQueue[tuple[int, int]] = SimpleQueue()
    for item in enumerate(seeds):
        waiting.put(item)
    latency_ms = [0.0] * len(seeds)
    start = threading.Barrier(concurrency + 1)

    def ask(caller: Caller) -> float:
        start.wait()
        while True:
            try:
                index, seed = waiting.get_nowait()
            except Empty:
                return time.perf_counter()
            asked = time.perf_counter()
            caller.picture(seed)
            latency_ms[index] = (time.perf_counter() - asked) * 1e3

    with ExitStack() as stack, ThreadPoolExecutor(concurrency, thread_name_prefix="caller") as threads:
        callers = [connect() for _ in range(concurrency)]
        for caller in callers:
            stack.callback(caller.close)
        asking = [threads.submit(ask, caller) for caller in callers]
        start.wait()
        began = time.perf_counter()
        ended = [future.result() for future in asking]
    return Load(max(ended) - began, latency_ms)
