from __future__ import annotations

import pytest

from nonesuch.benchmarks.result import BenchmarkError
from nonesuch.benchmarks.serve.server import ServerProcess
from nonesuch.benchmarks.serve.visitors import visitors
from nonesuch.client import AsyncClient
from nonesuch.engine.artifact import Artifact


async def test_visitors_come_until_the_block_ends_and_come_back_when_they_are_told(artifact: Artifact) -> None:
    options = ["--http", "127.0.0.1:0", "--queue-limit", "4", "--http-ready-faces", "0"]
    with ServerProcess(artifact.folder, options) as server:
        async with AsyncClient(server.address) as client:
            with visitors(server.web, 12) as crowd:
                for seed in range(20):
                    await client.generate(seed=seed)
            assert set(crowd.answers) <= {200, 429}
            assert crowd.answers[200] > 0
            assert (await client.health()) == "SERVING"


def test_a_crowd_that_finds_no_server_is_one_line() -> None:
    with pytest.raises(BenchmarkError, match=r"the crowd of visitors does not start.*: httpx\.ConnectError") as caught:
        with visitors("http://127.0.0.1:9", 2):
            pass
    assert "\n" not in caught.value.message
