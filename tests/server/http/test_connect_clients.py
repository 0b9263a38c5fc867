"""Connect and gRPC-Web with a foreign client (buf), and keys, limits, drain and CORS."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from nonesuch.client import AsyncClient
from nonesuch.engine.generator import Generator
from nonesuch.server.access.api_keys import hash_of_key, new_key
from nonesuch.server.settings import KeySettings

from ...conftest import REPOSITORY, RunServer
from ...waiting import until
from ..conftest import OpenPaced
from .browsing import browsing
from .connect_calls import GENERATION, MODELS, call, stream

BUF = Path(sys.executable).parent / "buf"
KEYS = {name: new_key() for name in ("alice", "worker", "operator")}


def key(name: str, *scopes: str) -> KeySettings:
    return KeySettings(name=name, sha256=hash_of_key(KEYS[name]), scopes=scopes)


ALICE = key("alice", "generate")
WORKER = key("worker", "generate", "bulk")
OPERATOR = key("operator", "admin")


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {KEYS[name]}"}


async def buf(protocol: str, url: str, message: dict[str, Any], *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """The messages that `buf curl` prints, and its errors."""
    process = await asyncio.create_subprocess_exec(
        *(str(BUF), "curl", "--schema", str(REPOSITORY / "protos"), "--protocol", protocol),
        *("--data", json.dumps(message), *arguments, url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    decoder, found, text = json.JSONDecoder(), [], out.decode().strip()
    while text:
        one, end = decoder.raw_decode(text)
        found.append(one)
        text = text[end:].strip()
    return found, error.decode()


@pytest.mark.parametrize("protocol", ["connect", "grpcweb"])
async def test_buf_calls_unary_and_stream(run_server: RunServer, generator: Generator, protocol: str) -> None:
    raw = {"image": {"format": "IMAGE_FORMAT_RAW"}}
    async with browsing(run_server) as (server, _):
        url = f"http://{server.addresses['http']}{GENERATION}"
        (answer,), error = await buf(protocol, f"{url}/Generate", {"source": {"seed": 3}, **raw})
        assert error == ""
        pixels = np.frombuffer(base64.b64decode(answer["image"]["data"]), np.uint8).reshape(32, 32, 3)
        np.testing.assert_array_equal(pixels, generator.generate([3])[0])
        asked = {"sources": [{"seed": 5}, {"seed": 6}, {"seed": 7}], **raw}
        images, error = await buf(protocol, f"{url}/GenerateStream", asked)
        assert error == ""
        assert sorted(image.get("index", 0) for image in images) == [0, 1, 2]
        for image in images:
            pixels = np.frombuffer(base64.b64decode(image["image"]["data"]), np.uint8).reshape(32, 32, 3)
            np.testing.assert_array_equal(pixels, generator.generate([5 + image.get("index", 0)])[0])
        walk = {"keyframes": [{"seed": 1}, {"seed": 2}], "framesPerStep": 3}
        frames, _ = await buf(protocol, f"{url}/Walk", walk)
        assert [frame.get("index", 0) for frame in frames] == [0, 1, 2, 3]
        models, _ = await buf(protocol, f"http://{server.addresses['http']}{MODELS}/ListModels", {})
        assert models[0]["models"][0]["name"] == "tiny"


@pytest.mark.parametrize("protocol", ["connect", "grpcweb"])
async def test_buf_reads_our_errors(run_server: RunServer, protocol: str) -> None:
    async with browsing(run_server) as (server, _):
        url = f"http://{server.addresses['http']}{GENERATION}"
        for path, message, code, text in (
            ("Generate", {"model": "cats"}, "not_found", "no model 'cats' on this server; it has 'tiny'"),
            ("Generate", {"image": {"size": 48}}, "invalid_argument", "image.size: 48 is not a valid size"),
            ("Walk", {}, "invalid_argument", "a walk goes through at least 2"),
            ("GenerateStream", {"seedRange": {"count": 1025}}, "invalid_argument", "a stream has 1 to 1024"),
        ):
            found, error = await buf(protocol, f"{url}/{path}", message)
            assert found == []
            problem = json.loads(error)
            assert problem["code"] == code
            assert text in problem["message"]
            assert "google.rpc.ErrorInfo" in {detail["type"] for detail in problem["details"]}


async def test_keys_and_scopes_are_those_of_grpc(run_server: RunServer) -> None:
    async with browsing(run_server, keys=(ALICE, WORKER, OPERATOR)) as (server, web):
        for headers, text in (({}, "wants an API key"), ({"authorization": "Bearer nsk_x"}, "not known to this")):
            for path in (f"{GENERATION}/Generate", f"{MODELS}/ListModels"):
                refused = await call(web, path, {}, **headers)
                assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
                assert text in refused.json()["message"]
                assert refused.headers["www-authenticate"].startswith("Bearer")
                assert refused.headers["x-request-id"]
        assert (await call(web, f"{GENERATION}/Generate", {}, **bearer("alice"))).status_code == 200
        bulk = await call(web, f"{GENERATION}/Generate", {"priority": "PRIORITY_BULK"}, **bearer("alice"))
        assert (bulk.status_code, bulk.json()["code"]) == (403, "permission_denied")
        many: dict[str, Any] = {"sources": [{}, {}]}
        _, end, _ = await stream(web, f"{GENERATION}/GenerateStream", many, **bearer("alice"))
        assert end["error"]["code"] == "permission_denied"
        images, end, _ = await stream(web, f"{GENERATION}/GenerateStream", many, **bearer("worker"))
        assert (len(images), end) == (2, {})
        assert (await call(web, f"{GENERATION}/Generate", {}, **bearer("operator"))).status_code == 403
        assert (await call(web, f"{MODELS}/GetModel", {}, **bearer("operator"))).status_code == 403
        assert (await call(web, f"{MODELS}/ListModels", {}, **bearer("operator"))).status_code == 200
        # The key is checked before the body is read, so a stranger's garbage is not parsed.
        garbage = await web.post(f"{GENERATION}/Generate", content=b"{", headers={"content-type": "application/json"})
        assert garbage.status_code == 401
        server.replace_keys((WORKER,))
        assert (await call(web, f"{GENERATION}/Generate", {}, **bearer("alice"))).status_code == 401
        found, error = await buf("grpcweb", f"http://{server.addresses['http']}{GENERATION}/Generate", {})
        assert found == []
        assert json.loads(error)["code"] == "unauthenticated"


async def test_a_rate_limit_error_says_when_to_try_again(run_server: RunServer) -> None:
    async with browsing(run_server, images_per_s=0.01, burst_images=1) as (server, web):
        assert (await call(web, f"{GENERATION}/Generate", {})).status_code == 200
        refused = await call(web, f"{GENERATION}/Generate", {})
        assert (refused.status_code, refused.json()["code"]) == (429, "resource_exhausted")
        # One image in 100 s; less than half of that has passed since the first call.
        assert 50 < int(refused.headers["retry-after"]) <= 100
        assert 50_000 < int(refused.headers["trailer-grpc-retry-pushback-ms"]) <= 100_000
        assert "google.rpc.RetryInfo" in {detail["type"] for detail in refused.json()["details"]}
        _, end, answer = await stream(web, f"{GENERATION}/GenerateStream", {"sources": [{}, {}]})
        assert end["error"]["code"] == "resource_exhausted"
        assert answer.headers["retry-after"]
        async with AsyncClient(server.address, retries=False) as grpc_client:  # both wires share the bucket
            with pytest.raises(Exception, match=r"may ask for 0\.01 images a second"):
                await grpc_client.generate()


async def test_both_wires_share_the_call_limit_and_drain_lets_calls_end(
    run_server: RunServer, open_paced: OpenPaced
) -> None:
    open_model, sessions = open_paced()
    async with browsing(run_server, open_model=open_model, max_calls=1, http_ready_faces=0) as (server, web):
        sessions[0].gate.clear()
        running = asyncio.create_task(call(web, f"{GENERATION}/Generate", {}))
        await until(lambda: server.gate._active != 0)
        refused = await call(web, f"{GENERATION}/Generate", {})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["message"] == "1 calls run, and no more may; try again in 1000 ms"
        stopping = asyncio.create_task(server.stop())
        await until(lambda: server.gate._refusing)
        late = await call(web, f"{GENERATION}/Generate", {})
        assert (late.status_code, late.json()["code"]) == (503, "unavailable")
        assert "shutting down" in late.json()["message"]
        assert late.headers["retry-after"]
        sessions[0].gate.set()
        assert (await running).status_code == 200
        await stopping


async def test_a_deadline_that_cannot_be_met_is_refused_before_a_run(
    run_server: RunServer, open_paced: OpenPaced
) -> None:
    open_model, sessions = open_paced(run_ms=3000)
    async with browsing(run_server, open_model=open_model, max_batch_size=1, http_ready_faces=0) as (_, web):
        runs = len(sessions[0].sizes)
        # Longer than reading a request takes, even here, and shorter than a run.
        late = await call(web, f"{GENERATION}/Generate", {}, connect_timeout_ms="2000")
        assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
        assert "the deadline passed before the response was ready" not in late.json()["message"]
        assert len(sessions[0].sizes) == runs


async def test_calls_are_logged_and_counted_and_an_internal_error_shows_only_an_id(
    run_server: RunServer,
) -> None:
    async with browsing(run_server) as (server, web):
        with structlog.testing.capture_logs() as lines:
            await call(web, f"{GENERATION}/Generate", {}, x_request_id="abc")
            session = server.registry.loaded[0].generator.session

            def broken(batch: object) -> object:
                raise RuntimeError("a secret path")

            session._run = broken  # type: ignore[method-assign,assignment]
            failed = await call(web, f"{GENERATION}/Generate", {})
        (first,) = [line for line in lines if line.get("request_id") == "abc"]
        assert (first["method"], first["code"], first["messages"]) == (f"{GENERATION}/Generate", "OK", 1)
        assert (failed.status_code, failed.json()["code"]) == (500, "internal")
        assert "secret" not in failed.text
        (last,) = [line for line in lines if line.get("error_id")]
        assert last["error_id"] in failed.json()["message"]
        metrics = (await web.get("/metrics")).text
        assert f'code="OK",method="{GENERATION}/Generate"' in metrics


async def test_pages_of_other_origins_may_call_only_with_cors_on(run_server: RunServer) -> None:
    asking = {
        "origin": "http://elsewhere.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,connect-protocol-version,connect-timeout-ms,content-type,"
        "grpc-timeout,x-grpc-web,x-request-id,x-user-agent",
    }
    origin = {"origin": asking["origin"]}
    async with browsing(run_server, http_cors=True) as (_, web):
        for path in (f"{GENERATION}/Generate", f"{GENERATION}/Walk", f"{MODELS}/ListModels"):
            allowed = await web.options(path, headers=asking)
            assert allowed.status_code == 200
            assert allowed.headers["access-control-allow-origin"] == "*"
            assert "POST" in allowed.headers["access-control-allow-methods"]
            names = {name.strip() for name in allowed.headers["access-control-allow-headers"].lower().split(",")}
            assert set(asking["access-control-request-headers"].split(",")) <= names
        answer = await call(web, f"{GENERATION}/Generate", {}, **origin)
        exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].lower().split(",")}
        assert {"grpc-status", "grpc-message", "grpc-status-details-bin", "retry-after", "x-request-id"} <= exposed
    async with browsing(run_server) as (_, web):
        assert (await web.options(f"{GENERATION}/Generate", headers=asking)).status_code == 405
        answer = await call(web, f"{GENERATION}/Generate", {}, **origin)
        assert "access-control-allow-origin" not in answer.headers
