"""The gateway: health, headers, keys, limits, drain, hundreds of visitors."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from nonesuch.client import AsyncClient
from nonesuch.engine.errors import UnavailableError
from nonesuch.server.access.api_keys import hash_of_key, new_key
from nonesuch.server.http.fresh_faces import FreshFaces
from nonesuch.server.http.image_address import BUILD_DIGITS, ImageAddress
from nonesuch.server.server import Server
from nonesuch.server.settings import ServerSettings

from ...conftest import RunServer
from ...waiting import LONG_S, until
from ..conftest import OpenPaced
from .browsing import browsing, gateway_of

_GENERATE = "nonesuch.v1.GenerationService/Generate"


async def test_health_models_and_metrics(run_server: RunServer) -> None:
    async with browsing(run_server) as (server, web):
        assert (await web.get("/healthz")).text == "alive\n"
        assert (await web.get("/readyz")).text == "ready\n"
        (model,) = (await web.get("/models")).json()["models"]
        assert (model["name"], model["resolution"], model["num_ws"]) == ("tiny", 32, 8)
        await web.get("/face/1.jpg", follow_redirects=True)
        metrics = (await web.get("/metrics")).text
        assert 'method="GET /face/{seed}.{extension}"' in metrics  # the route, not the caller's path
        server.registry.draining = True
        answer = await web.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "draining\n")
        server.registry.draining = False


async def test_every_answer_has_the_security_headers(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        for path in ("/face", "/face/1.jpg", "/models", "/healthz", "/nothing", "/face/1.gif"):
            headers = (await web.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'self'"), path
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-robots-tag"] == "noindex"
            assert "server" not in headers
            assert "set-cookie" not in headers


async def test_other_pages_and_methods_are_problems(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        lost = await web.get("/nothing/here")
        assert (lost.status_code, lost.json()["title"]) == (404, "NOT_FOUND")
        posted = await web.post("/face")
        assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD")
        assert posted.headers["content-type"] == "application/problem+json"


async def test_pages_of_other_origins_may_read_only_with_cors_on(run_server: RunServer) -> None:
    origin = {"Origin": "http://elsewhere.example"}
    async with browsing(run_server) as (_, web):
        assert "access-control-allow-origin" not in (await web.get("/models", headers=origin)).headers
    async with browsing(run_server, http_cors=True) as (_, web):
        answer = await web.get("/models", headers=origin)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "Server-Timing" in answer.headers["access-control-expose-headers"]


async def test_keys_are_required_as_over_grpc(run_server: RunServer) -> None:
    key = new_key()
    keys = ({"name": "alice", "sha256": hash_of_key(key)},)
    async with browsing(run_server, keys=keys) as (_, web):
        refused = await web.get("/face/1.jpg")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert key not in refused.text
        alice = {"Authorization": f"Bearer {key}"}
        assert (await web.get("/face/1.jpg", headers=alice, follow_redirects=True)).status_code == 200
        assert (await web.get("/face/1.jpg?priority=bulk", headers=alice, follow_redirects=True)).status_code == 403
        assert (await web.get("/metrics", headers=alice)).status_code == 403
        assert (await web.get("/healthz")).status_code == 200


async def test_the_rate_limit_is_429_with_retry_after(run_server: RunServer) -> None:
    async with browsing(run_server, images_per_s=0.01, burst_images=1) as (_, web):
        assert (await web.get("/face/1.jpg", follow_redirects=True)).status_code == 200
        refused = await web.get("/face/2.jpg", follow_redirects=True)
        assert (refused.status_code, refused.json()["title"]) == (429, "RESOURCE_EXHAUSTED")
        assert 50 < int(refused.headers["retry-after"]) <= 100
        assert refused.headers["cache-control"] == "no-store"


async def test_a_draining_server_finishes_accepted_requests_and_refuses_new_ones(
    run_server: RunServer, open_paced: OpenPaced
) -> None:
    open_model, sessions = open_paced()
    async with browsing(run_server, open_model=open_model, http_ready_faces=0) as (server, web):
        location = (await web.get("/face/1.png")).headers["location"]
        sessions[0].gate.clear()
        taken = asyncio.create_task(web.get(location))
        async with asyncio.timeout(LONG_S):
            await until(lambda: server.registry.loaded[0].batcher.in_flight != 0)
            stopping = asyncio.create_task(server.stop())
            while (await web.get("/models")).status_code == 200:  # the drain has not begun
                await asyncio.sleep(0.01)
            refused = await web.get(location)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        sessions[0].gate.set()
        assert (await taken).status_code == 200
        await stopping


async def test_an_address_in_use_is_a_one_line_error(run_server: RunServer) -> None:
    async with browsing(run_server) as (server, _):
        models = server.settings.models
        other = Server(ServerSettings(grpc="127.0.0.1:0", http=server.addresses["http"], models=models))
        with pytest.raises(UnavailableError, match=r"cannot listen on .* choose another with --http HOST:PORT"):
            await other.start()
        await other.stop()


async def test_each_face_rendered_ahead_goes_to_one_visitor(run_server: RunServer) -> None:
    async with browsing(run_server, http_ready_faces=3) as (server, web):
        faces = gateway_of(server)._faces
        await until(lambda: faces.ready >= 3)
        given = [(await web.get("/next")).json() for _ in range(3)]
        assert given[0]["ready"]
        assert len({one["seed"] for one in given}) == 3
        for one in given:
            first, again = await web.get(one["image"]), await web.get(one["image"])
            assert first.content == again.content  # rendered ahead, and rendered for this request
        await until(lambda: faces.ready >= 3)
        for query in ("psi=0.7", "model=tiny", "psi=0.70&model=tiny"):  # the defaults, spelled out
            assert (await web.get(f"/next?{query}")).json()["ready"], query
        other = (await web.get("/next?psi=0.5")).json()
        assert (other["ready"], other["psi"]) == (False, 0.5)


async def test_faces_of_a_replaced_model_are_dropped(run_server: RunServer) -> None:
    async with run_server() as server:
        faces = FreshFaces(server.service, 2)
        faces.refill()
        await until(lambda: faces.ready >= 2)
        before = faces._ready[0]
        for index, made in enumerate(faces._ready):
            faces._ready[index] = type(made)(**{**made.__dict__, "build_id": "0" * 16})
        address, ready = faces.take(ImageAddress(5))
        assert (address.seed, ready) == (5, False)
        assert faces.claim(f"/face/tiny@{before.build_id[:BUILD_DIGITS]}/{before.seed}.jpg?psi=0.7") is None
        await faces.stop()


async def test_a_grpc_caller_has_priority_over_visitors(run_server: RunServer, open_paced: OpenPaced) -> None:
    open_model, sessions = open_paced()
    settings = {"http_ready_faces": 0, "max_batch_size": 1, "queue_limit": 16}
    async with (
        browsing(run_server, open_model=open_model, **settings) as (server, web),
        AsyncClient(server.address) as client,
    ):
        (session,) = sessions
        order: list[float] = []
        session.failing = lambda ws: order.append(float(ws[0, 0, 0])) or False  # type: ignore[func-returns-value]
        batcher = server.registry.loaded[0].batcher
        session.gate.clear()
        location = (await web.get("/face/1.png")).headers["location"]
        crowd = [asyncio.create_task(web.get(location))]
        await until(lambda: batcher.in_flight == 1)
        crowd += [asyncio.create_task(web.get(location.replace("1.png", f"{seed}.png"))) for seed in range(15)]
        crowd += [asyncio.create_task(web.post(f"/{_GENERATE}", json={"source": {"seed": seed}})) for seed in range(15)]
        # Visitors may use three quarters of the queue; more are refused at once.
        refused = [await _first(crowd) for _ in range(30 - 12)]
        assert {answer.status_code for answer in refused} == {429}
        caller = asyncio.create_task(client.generate(w=[77.0] * 12, psi=1, format="png"))
        await until(lambda: len(batcher.queue.ready) == 13)
        session.gate.set()
        await caller
        answers = await asyncio.gather(*crowd)
        assert [answer.status_code for answer in answers] == [200] * 13
        assert order.index(77.0) == 1  # right after the run in progress
        assert len(order) == 14


async def _first(tasks: list[asyncio.Task[httpx.Response]]) -> httpx.Response:
    """Remove the first finished task and return its response."""
    async with asyncio.timeout(LONG_S):
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    first = done.pop()
    tasks.remove(first)
    return first.result()


async def test_two_hundred_visitors_at_once_are_served_or_told_to_retry(
    run_server: RunServer, open_paced: OpenPaced
) -> None:
    open_model, _ = open_paced(image_ms=5)
    async with browsing(run_server, open_model=open_model, queue_limit=64, max_wait_ms=1000) as (server, web):
        async with (
            httpx.AsyncClient(
                base_url=web.base_url, timeout=30, limits=httpx.Limits(max_connections=200), follow_redirects=True
            ) as crowd,
            AsyncClient(server.address) as client,
        ):
            visits = [asyncio.create_task(crowd.get("/face")) for _ in range(200)]
            beside = [await client.generate(seed=seed, format="png") for seed in range(5)]
            answers = await asyncio.gather(*visits)
        assert {image.seed for image in beside} == set(range(5))  # none was refused
        statuses = {answer.status_code for answer in answers}
        assert statuses <= {200, 429, 503}
        assert 200 in statuses
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code != 200)
        batcher = server.registry.loaded[0].batcher
        assert (batcher.waiting, batcher.in_flight) == (0, 0)
        assert (await web.get("/face", follow_redirects=True)).status_code == 200
