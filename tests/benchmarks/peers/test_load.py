from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nonesuch.benchmarks.measurement import BenchmarkError
from nonesuch.benchmarks.peers.load import GrpcCaller, HttpCaller, closed_loop, open_loop
from nonesuch.benchmarks.peers.server import free_port

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
            server.most = max(server.most, server.now)
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
        self.now = self.most = 0
        self.seeds: list[int] = []
        self.connections: set[tuple[str, int]] = set()

    def caller(self) -> HttpCaller:
        return HttpCaller(self.server_port, "/picture")


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_every_seed_is_asked_for_once_by_so_many_callers_with_a_connection_each(server: Counting) -> None:
    load = closed_loop(server.caller, 3, range(20, 32))
    assert sorted(server.seeds) == list(range(20, 32))
    assert server.most == 3
    assert len(server.connections) == 3
    assert len(load.latency_ms) == 12
    assert load.images_per_s == pytest.approx(12 / load.wall_s)
    # Each answer takes 20 ms; all of them in turn would take 12 times that.
    assert min(load.latency_ms) >= 20
    assert load.wall_s * 1e3 < sum(load.latency_ms)


def test_a_latency_stands_at_the_place_of_its_seed(server: Counting) -> None:
    load = closed_loop(server.caller, 2, range(8))
    assert load.latency_ms.index(max(load.latency_ms)) == SLOW_SEED
    assert load.wall_s >= DELAY_S


def test_an_answer_that_is_no_picture_ends_the_load(server: Counting) -> None:
    with pytest.raises(BenchmarkError, match="500"):
        closed_loop(server.caller, 2, range(BAD_SEED - 1, BAD_SEED + 2))


def test_a_server_that_is_not_there_is_an_error_of_ours() -> None:
    port = free_port()
    for caller in (HttpCaller(port, "/"), GrpcCaller(port)):
        with pytest.raises(BenchmarkError, match="gave no picture"):
            caller.picture(1)
        caller.close()


def test_an_open_loop_asks_at_its_times_and_counts_from_when_it_was_due(server: Counting) -> None:
    seeds = [SLOW_SEED, *range(20, 25)]
    due_s = [0.01 * number for number in range(6)]
    load = open_loop(server.caller, due_s, seeds)
    assert sorted(server.seeds) == sorted(seeds)
    # The slow one holds up nobody: the others were asked while it was on its way, each within its own 20 ms and more.
    assert load.latency_ms[0] >= DELAY_S * 1e3
    assert min(load.latency_ms) >= 20
    assert max(load.latency_ms[1:]) < DELAY_S * 1e3
    # With one caller the second waits for the first, and that counts from when it was due.
    late = open_loop(server.caller, [0.0], [SLOW_SEED])
    assert late.latency_ms[0] >= DELAY_S * 1e3
