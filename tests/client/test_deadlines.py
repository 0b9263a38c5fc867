from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nonesuch.client import AsyncClient, Client, RequestError
from nonesuch.v1 import generation_service_pb2

Serve = Callable[..., str]

BAD = [0, -1.0, float("nan"), float("inf"), float("-inf"), "soon"]
CALLS: list[Callable[[Any, Any], Any]] = [
    lambda client, deadline_s: client.generate(seed=1, deadline_s=deadline_s),
    lambda client, deadline_s: client.stream([1], deadline_s=deadline_s),
    lambda client, deadline_s: client.walk([1, 2], frames_per_step=1, deadline_s=deadline_s),
    lambda client, deadline_s: client.models(deadline_s=deadline_s),
    lambda client, deadline_s: client.model(deadline_s=deadline_s),
    lambda client, deadline_s: client.health(deadline_s=deadline_s),
]


@pytest.mark.parametrize("deadline_s", BAD)
@pytest.mark.parametrize("call", CALLS)
def test_an_invalid_deadline_is_refused_before_the_call(
    silent_address: str, call: Callable[[Any, Any], Any], deadline_s: Any
) -> None:
    # The others fail with an UnavailableError, because nothing listens.
    with Client(silent_address) as client, pytest.raises(RequestError, match=r"^deadline_s: ") as caught:
        call(client, deadline_s)
    assert [violation.field for violation in caught.value.violations] == ["deadline_s"]


@pytest.mark.parametrize("deadline_s", BAD)
@pytest.mark.parametrize("call", CALLS)
async def test_the_async_client_refuses_it_too(
    silent_address: str, call: Callable[[Any, Any], Any], deadline_s: Any
) -> None:
    async with AsyncClient(silent_address) as client:
        with pytest.raises(RequestError, match=r"^deadline_s: "):
            await call(client, deadline_s)


@pytest.mark.parametrize("deadline_s", [None, 1e9, 1e300])
async def test_a_deadline_that_is_very_far_does_not_pass(
    serve: Serve, answer: generation_service_pb2.GenerateResponse, deadline_s: float | None
) -> None:
    address = serve(Generate=lambda request, context: answer)
    with Client(address) as client:
        assert client.generate(deadline_s=deadline_s).seed == 42
    async with AsyncClient(address) as aio:
        assert (await aio.generate(deadline_s=deadline_s)).seed == 42
