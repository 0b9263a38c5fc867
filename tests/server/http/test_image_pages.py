"""Pictures over HTTP: addresses, redirects, permanent bytes, conditional requests, errors."""

from __future__ import annotations

import asyncio
import io

import httpx
from PIL import Image

from nonesuch.client import AsyncClient
from nonesuch.server.core.batching.request_queue import Priority

from ...conftest import RunServer
from ...waiting import until
from ..conftest import OpenPaced
from .browsing import browsing


async def test_each_fresh_face_differs_and_its_address_is_permanent(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        first, second = await web.get("/face"), await web.get("/face")
        assert (first.status_code, first.headers["cache-control"]) == (303, "no-store")
        assert first.headers["location"] != second.headers["location"]
        shown = await web.get(first.headers["location"])
        assert shown.status_code == 200
        assert shown.headers["content-type"] == "image/jpeg"
        assert shown.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert (await web.get(first.headers["location"])).content == shown.content
        assert (await web.get(second.headers["location"])).content != shown.content


async def test_a_seed_redirects_to_the_current_build(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        for extension, kind in (("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("jpeg", "JPEG")):
            await check_seed(web, extension, kind)


async def check_seed(web: httpx.AsyncClient, extension: str, kind: str) -> None:
    answer = await web.get(f"/face/42.{extension}?psi=0.5")
    assert (answer.status_code, answer.headers["cache-control"]) == (302, "no-cache")
    assert answer.headers["location"].endswith(f"/42.{'jpg' if kind == 'JPEG' else extension}?psi=0.5")
    shown = await web.get(answer.headers["location"])
    assert Image.open(io.BytesIO(shown.content)).format == kind
    assert shown.headers["nonesuch-seed"] == "42"
    assert shown.headers["nonesuch-psi"] == "0.5"
    assert 'filename="nonesuch-42-psi0.5.' in shown.headers["content-disposition"]
    assert shown.headers["server-timing"].startswith("queue;dur=")


async def test_the_bytes_are_those_of_grpc(run_server: RunServer) -> None:
    async with browsing(run_server) as (server, web), AsyncClient(server.address) as client:
        shown = await web.get("/face/7.png?psi=0.6&size=16", follow_redirects=True)
        made = await client.generate(seed=7, psi=0.6, format="png", size=16)
        assert shown.content == made.data


async def test_a_known_etag_is_304_without_rendering(run_server: RunServer) -> None:
    async with browsing(run_server, http_ready_faces=0) as (server, web):
        location = (await web.get("/face/1.jpg")).headers["location"]
        head = await web.head(location)
        assert (head.status_code, head.content) == (200, b"")
        made = server.metrics.registry.get_sample_value("nonesuch_images_total", {"model": "tiny"}) or 0
        for known in (head.headers["etag"], f"W/{head.headers['etag']}", f'"x", {head.headers["etag"]}', "*"):
            answer = await web.get(location, headers={"If-None-Match": known})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == head.headers["etag"]
        assert (server.metrics.registry.get_sample_value("nonesuch_images_total", {"model": "tiny"}) or 0) == made
        shown = await web.get(location, headers={"If-None-Match": '"another"'})
        assert (shown.status_code, shown.headers["etag"]) == (200, head.headers["etag"])
        other = await web.head("/face/1.jpg?psi=0.71", follow_redirects=True)
        assert other.headers["etag"] != head.headers["etag"]


async def test_the_error_for_a_gone_build_names_the_current_address(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        answer = await web.get("/face/tiny@00000000/42.jpg?psi=0.5")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert "'00000000' of model 'tiny' is gone" in answer.json()["detail"]
        assert answer.json()["detail"].endswith("/face/42.jpg?model=tiny&psi=0.5")


async def test_json_describes_a_picture_without_rendering_it(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        said = (await web.get("/face/42.json?psi=0.5&size=16")).json()
        assert (said["seed"], said["psi"], said["model"], said["width"]) == (42, 0.5, "tiny", 16)
        assert (await web.get(said["image"])).status_code == 200
        assert (await web.get(said["image"].replace(".jpg", ".json"))).json() == said


REFUSED = [
    ("/face/-1.jpg", "seed"),
    ("/face/4294967296.jpg", "seed"),
    ("/face/99999999999.jpg", "seed"),
    ("/face/x.jpg", "seed"),
    ("/face/1.gif", "format"),
    ("/face?format=exe", "format"),
    ("/face/1.jpg?psi=3", "psi"),
    ("/face/1.jpg?psi=nan", "psi"),
    ("/face/1.jpg?psi=x", "psi"),
    ("/face/1.jpg?size=17", "size"),
    ("/face/1.jpg?quality=0", "quality"),
    ("/face/1.png?quality=9", "quality"),
    ("/face/1.jpg?class=1", "class"),
    ("/face/1.jpg?mix=1", "mix"),
    ("/face/1.jpg?mix=1:all", "mix"),
    ("/face/1.jpg?priority=first", "priority"),
    ("/face/1.jpg?psi=1&psi=1", "psi"),
    ("/face/1.jpg?evil=1", "evil"),
    ("/face/tiny/1.jpg?psi=1", "build"),
]


async def test_an_invalid_value_is_a_problem_that_names_the_field(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        for address, field in REFUSED:
            answer = await web.get(address, follow_redirects=True)
            assert answer.status_code == 400, address
            body = answer.json()
            assert [one["field"] for one in body["violations"]] == [field], address
            assert body["detail"].startswith(f"{field}: ")
            assert body["request_id"] == answer.headers["x-request-id"]
            assert "\n" not in body["detail"]


async def test_mixing_and_an_unknown_model(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        plain = await web.get("/face/1.png", follow_redirects=True)
        mixed = await web.get("/face/1.png?mix=2:coarse", follow_redirects=True)
        assert mixed.status_code == 200
        assert mixed.content != plain.content
        assert mixed.url.query.endswith(b"mix=2:coarse")
        assert 'filename="nonesuch-1-psi0.7-coarse2.png"' in mixed.headers["content-disposition"]
        said = Image.open(io.BytesIO(mixed.content)).info
        assert (said["nonesuch:seed"], said["nonesuch:shaped_by"]) == ("1", "coarse styles of seed 2")
        lost = await web.get("/face/1.png?model=none")
        assert (lost.status_code, lost.json()["title"]) == (404, "NOT_FOUND")


async def test_a_disconnect_cancels_the_work(run_server: RunServer, open_paced: OpenPaced) -> None:
    open_model, sessions = open_paced()
    async with browsing(run_server, open_model=open_model, http_ready_faces=0, max_batch_size=1) as (server, web):
        location = (await web.get("/face/1.png")).headers["location"]
        sessions[0].gate.clear()
        before = len(sessions[0].sizes)
        waiting = [asyncio.create_task(web.get(location)) for _ in range(3)]
        batcher = server.registry.loaded[0].batcher
        await until(lambda: batcher.waiting >= 2)
        for task in waiting:
            task.cancel()
        await until(lambda: not batcher.waiting)
        sessions[0].gate.set()
        assert (await web.get(location)).status_code == 200
        assert len(sessions[0].sizes) - before <= 2  # the one in progress, and the last


async def test_nine_small_faces_run_at_bulk_priority(run_server: RunServer, open_paced: OpenPaced) -> None:
    open_model, sessions = open_paced()
    async with browsing(run_server, open_model=open_model, http_ready_faces=0, max_batch_size=1) as (server, web):
        batcher = server.registry.loaded[0].batcher
        sessions[0].gate.clear()
        before = len(sessions[0].sizes)
        nine = [
            asyncio.create_task(web.get(f"/face/{seed}.jpg?size=16&priority=bulk", follow_redirects=True))
            for seed in range(9)
        ]
        async with asyncio.timeout(60):
            while batcher.waiting < 8:  # one is on the device
                await asyncio.sleep(0.01)
        assert {image.priority for image in batcher.queue.ready} == {Priority.BULK}
        sessions[0].gate.set()
        answers = await asyncio.gather(*nine)
        assert [answer.status_code for answer in answers] == [200] * 9
        assert len(sessions[0].sizes) - before == 9
