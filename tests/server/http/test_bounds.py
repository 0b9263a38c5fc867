"""Protection of the gateway: idle connections, faked local callers, uncharged work."""

from __future__ import annotations

import asyncio

import httpx
import numpy as np
import pytest

from nonesuch.server.access.api_keys import hash_of_key, new_key
from nonesuch.server.http.image_address import psi_text

from ...conftest import RunServer
from ...waiting import LONG_S, until
from .browsing import browsing, gateway_of

TIMEOUT_S = 0.5


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /hea"])
async def test_a_connection_without_a_complete_request_is_closed(run_server: RunServer, sent: bytes) -> None:
    async with browsing(run_server, stalled_reader_s=TIMEOUT_S) as (server, web):
        reader, writer = await connect(server.addresses["http"])
        writer.write(sent)
        async with asyncio.timeout(LONG_S):
            try:
                while await reader.read(4096):
                    pass
            except ConnectionResetError:
                pass
        writer.close()
        assert (await web.get("/healthz")).status_code == 200


async def test_a_slow_connection_with_complete_requests_stays_open(run_server: RunServer) -> None:
    async with browsing(run_server, stalled_reader_s=5) as (server, _):
        reader, writer = await connect(server.addresses["http"])
        for _ in range(3):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"alive\n"), LONG_S)
            assert answer.startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.2)
        writer.close()


async def test_metrics_are_refused_to_forwarded_requests(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        assert (await web.get("/metrics")).status_code == 200
        for passed in ({"X-Forwarded-For": "127.0.0.1"}, {"Via": "1.1 x"}, {"Origin": "http://elsewhere.example"}):
            assert (await web.get("/metrics", headers=passed)).status_code == 403


async def test_forwarded_addresses_are_trusted_from_configured_proxies_only(run_server: RunServer) -> None:
    limits = {"images_per_s": 0.01, "burst_images": 1, "http_ready_faces": 0}
    for proxies, second in ((None, 429), ("127.0.0.1", 200)):
        async with browsing(run_server, http_proxies=proxies, **limits) as (_, web):
            for visitor, status in (("192.0.2.1", 200), ("192.0.2.2", second)):
                answer = await web.get("/face/1.jpg", headers={"X-Forwarded-For": visitor}, follow_redirects=True)
                assert answer.status_code == status


async def test_with_keys_pictures_are_not_for_shared_caches(run_server: RunServer) -> None:
    key = new_key()
    async with browsing(run_server, keys=({"name": "alice", "sha256": hash_of_key(key)},)) as (_, web):
        shown = await web.get("/face/1.jpg", headers={"Authorization": f"Bearer {key}"}, follow_redirects=True)
        assert shown.headers["cache-control"] == "private, max-age=31536000, immutable"


async def test_answers_never_repeat_the_callers_host_header(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        for path in ("/models/", "/face/", "/face/1.jpg/"):
            answer = await web.get(path, headers={"Host": "evil.example"})
            assert answer.status_code in {400, 404}
            assert "evil" not in str(answer.headers)


async def test_faces_are_rendered_ahead_only_after_a_fetch(run_server: RunServer) -> None:
    async with browsing(run_server, http_ready_faces=2) as (server, web):
        faces = gateway_of(server)._faces
        await until(lambda: faces.ready >= 2)
        for _ in range(5):
            await web.get("/face")
            await web.head("/face")
        assert (faces.ready, faces._refilling) == (0, None)
        await web.get("/face", follow_redirects=True)
        await until(lambda: faces.ready >= 2)


async def test_rendering_ahead_does_not_load_a_model_on_demand(run_server: RunServer) -> None:
    async with run_server() as first:
        model = first.settings.models[0].model
    async with browsing(run_server, models=({"model": model, "load": "demand"},)) as (server, web):
        await asyncio.sleep(0.1)
        assert server.registry.loaded == []
        assert (await web.get("/face", follow_redirects=True)).status_code == 200
        assert [one.name for one in server.registry.loaded] == ["tiny"]


def test_the_psi_in_an_address_is_exact() -> None:
    random = np.random.RandomState(0)
    for value in (0.7, 0.5, 1.0, -2.0, 0.0, 0.70000005, 0.12345678, *random.uniform(-2, 2, 1000)):
        assert np.float32(psi_text(value)) == np.float32(value)
    assert [psi_text(value) for value in (0.7, 1.0, 0.0)] == ["0.7", "1", "0"]
    assert httpx.QueryParams({"psi": psi_text(1e-30)})["psi"].startswith("0.0")
