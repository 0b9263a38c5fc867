"""Calls over HTTP, in the loops of the load generator, to a server that counts what comes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from nonesuch.benchmarks.peers.subjects import connect
from nonesuch.benchmarks.result import BenchmarkError
from nonesuch.benchmarks.serve.load import OK, LoadRun, closed_loop, open_loop

SLOW_SEED, BAD_SEED, DELAY_S = 5, 13, 0.3


class Handler(BaseHTTPRequestHandler):
    """Answers with the seed; keeps count of what comes at the same time and over which connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        seed = json.loads(self.rfile.read(int(self.headers["content-length"])))["seed"]
        server = self.server
        assert isinstance(server, Counting)
        with server.lock:
            server.now += 1
            server.max_at_once = max(server.max_at_once, server.now)
            server.seeds.append(seed)
            server.connections.add(self.client_address)
        time.sleep(DELAY_S if seed == SLOW_SEED else 0.02)
        with server.lock:
            server.now -= 1
        body = f"picture {seed}".encode()
        self.send_response(500 if seed == BAD_SEED else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Counting(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.now = self.max_at_once = 0
        self.seeds: list[int] = []
        self.connections: set[tuple[str, int]] = set()


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def closed(server: Counting, callers: int, seeds: range) -> LoadRun:
    async with connect(server.server_port, "/picture") as ask:
        return await closed_loop([ask] * callers, iter(seeds), count=len(seeds))


async def test_every_seed_is_asked_for_once_by_so_many_callers_with_a_connection_each(server: Counting) -> None:
    run = await closed(server, 3, range(20, 32))
    assert sorted(server.seeds) == list(range(20, 32))
    assert server.max_at_once == 3
    assert len(server.connections) == 3
    assert len(run.done) == 12
    # Each answer takes 20 ms; all of them in turn would take 12 times that.
    assert min(record.latency_ms for record in run.done) >= 20
    assert 12 / run.rate_per_s() * 1e3 < sum(record.latency_ms for record in run.done)


async def test_an_open_loop_counts_from_when_a_request_was_due(server: Counting) -> None:
    times_s = np.array([0.01 * number for number in range(6)])
    async with connect(server.server_port, "/picture") as ask:
        run = await open_loop(ask, times_s, iter([SLOW_SEED, *range(20, 25)]))
    assert sorted(server.seeds) == [SLOW_SEED, *range(20, 25)]
    # The slow one holds up nobody: the others were asked while it was on its way, each within its own 20 ms and more.
    slow, *others = (record.latency_ms for record in run.done)
    assert slow >= DELAY_S * 1e3
    assert min(others) >= 20
    assert max(others) < DELAY_S * 1e3


async def test_a_picture_comes_with_its_answer_and_a_failure_ends_the_load(server: Counting) -> None:
    async with connect(server.server_port, "/picture") as ask:
        answer = await ask(1, 10.0)
        assert (answer.code, answer.data) == (OK, b"picture 1")
        with pytest.raises(BenchmarkError, match="gave no picture: HTTP 500"):
            await closed_loop([ask] * 2, iter(range(BAD_SEED - 1, BAD_SEED + 2)), count=3)


@pytest.mark.parametrize("path", ["", "/picture"])
async def test_a_server_that_is_not_there_is_an_error_of_ours(path: str) -> None:
    async with connect(9, path) as ask:
        with pytest.raises(BenchmarkError, match="gave no picture"):
            await ask(1, 5.0)
