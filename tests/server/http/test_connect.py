"""The Connect protocol over HTTP/1.1, with httpx: answers, errors, garbage, limits, deadlines."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
from functools import partial

import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from nonesuch.client import AsyncClient
from nonesuch.engine.generator import Generator
from nonesuch.server.access.call_record import CallRecord
from nonesuch.server.http.connect_codecs import MAX_JSON_BYTES
from nonesuch.server.rpc.listener import MAX_REQUEST_BYTES
from nonesuch.v1 import generation_service_pb2, image_pb2, synthesis_pb2

from ...conftest import RunServer
from ...waiting import until
from ..conftest import OpenPaced
from .browsing import browsing
from .connect_calls import GENERATION, MODELS, call, envelope, envelopes, stream


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[CallRecord]:
    """The records of calls that have ended, in order."""
    records: list[CallRecord] = []
    end = CallRecord._end

    def recording(self: CallRecord, code: str, error: Exception | None = None) -> None:
        end(self, code, error)
        records.append(self)

    monkeypatch.setattr(CallRecord, "_end", recording)
    return records


def _is_longer(records: list[CallRecord], count: int) -> bool:
    return len(records) > count


async def test_json_and_binary_return_the_same_picture_as_grpc(
    run_server: RunServer, generator: Generator, ended: list[CallRecord]
) -> None:
    async with browsing(run_server) as (server, web), AsyncClient(server.address) as grpc_client:
        asked = {"source": {"seed": 7}, "image": {"format": "IMAGE_FORMAT_RAW"}}
        answer = await call(web, f"{GENERATION}/Generate", asked, x_request_id="mine-7")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.headers["x-request-id"] == "mine-7"
        found = answer.json()
        assert (found["image"]["width"], found["generation"]["seed"]) == (32, 7)
        pixels = np.frombuffer(base64.b64decode(found["image"]["data"]), np.uint8).reshape(32, 32, 3)
        np.testing.assert_array_equal(pixels, generator.generate([7])[0])
        (record,) = ended
        assert (record.method, record.code, record.messages) == (f"{GENERATION}/Generate", "OK", 1)
        assert record.caller == "ipv4:127.0.0.1"
        request = generation_service_pb2.GenerateRequest(
            source=synthesis_pb2.Source(seed=7), image=image_pb2.ImageOptions(format=image_pb2.IMAGE_FORMAT_PNG)
        )
        binary = await web.post(
            f"{GENERATION}/Generate",
            content=request.SerializeToString(),
            headers={"content-type": "application/proto"},
        )
        assert (binary.status_code, binary.headers["content-type"]) == (200, "application/proto")
        made = generation_service_pb2.GenerateResponse.FromString(binary.content)
        assert made.image.data == (await grpc_client.generate(seed=7, format="png")).data


async def test_the_models_are_those_of_grpc(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        (model,) = (await call(web, f"{MODELS}/ListModels", {})).json()["models"]
        assert (model["name"], model["resolution"], model["numWs"]) == ("tiny", 32, 8)
        assert (await call(web, f"{MODELS}/GetModel", {})).json()["model"]["modelId"] == model["modelId"]
        lost = await call(web, f"{MODELS}/GetModel", {"name": "cats"})
        assert (lost.status_code, lost.json()["code"]) == (404, "not_found")
        assert lost.json()["message"] == "no model 'cats' on this server; it has 'tiny'"


async def test_a_stream_has_enveloped_messages_and_an_end(
    run_server: RunServer, generator: Generator, ended: list[CallRecord]
) -> None:
    async with browsing(run_server) as (_, web):
        raw = {"image": {"format": "IMAGE_FORMAT_RAW"}}
        asked = {"seedRange": {"first": 40, "count": 12}, **raw}
        images, end, answer = await stream(web, f"{GENERATION}/GenerateStream", asked)
        assert end == {}
        assert answer.headers["x-request-id"]
        assert sorted(image.get("index", 0) for image in images) == list(range(12))
        for image in images:
            pixels = np.frombuffer(base64.b64decode(image["image"]["data"]), np.uint8).reshape(32, 32, 3)
            np.testing.assert_array_equal(pixels, generator.generate([40 + image.get("index", 0)])[0])
        assert (ended[-1].code, ended[-1].messages) == ("OK", 12)
        walk = {"keyframes": [{"seed": 1}, {"seed": 2}], "framesPerStep": 4, **raw}
        frames, end, _ = await stream(web, f"{GENERATION}/Walk", walk)
        assert end == {}
        assert [frame.get("index", 0) for frame in frames] == list(range(5))
        for index, seed in ((0, 1), (4, 2)):
            shown = np.frombuffer(base64.b64decode(frames[index]["image"]["data"]), np.uint8).reshape(32, 32, 3)
            # A key frame is truncated from w once more, which may change the last bit.
            assert np.abs(shown.astype(int) - generator.generate([seed])[0].astype(int)).max() <= 1


async def test_an_error_has_the_message_and_details_of_grpc(run_server: RunServer, ended: list[CallRecord]) -> None:
    async with browsing(run_server) as (_, web):
        bad = await call(web, f"{GENERATION}/Generate", {"synthesis": {"psi": -2.5}, "source": {"seed": 1}})
        assert (bad.status_code, bad.json()["code"]) == (400, "invalid_argument")
        assert bad.json()["message"].startswith("synthesis.psi: ")
        details = {one["type"]: base64.b64decode(one["value"] + "===") for one in bad.json()["details"]}
        request = error_details_pb2.BadRequest.FromString(details["google.rpc.BadRequest"])
        assert [violation.field for violation in request.field_violations] == ["synthesis.psi"]
        assert (ended[-1].code, ended[-1].messages) == ("INVALID_ARGUMENT", 0)
        frames, end, _ = await stream(web, f"{GENERATION}/Walk", {"keyframes": [{"seed": 1}], "framesPerStep": 2})
        assert frames == []
        assert end["error"]["code"] == "invalid_argument"
        assert "a walk goes through at least 2" in end["error"]["message"]
        web_error = await web.post(
            f"{GENERATION}/Walk", content=envelope(b""), headers={"content-type": "application/grpc-web+proto"}
        )
        ((flags, trailers),) = envelopes(web_error.content)
        assert flags == 0x80
        lines = dict(line.split(": ", 1) for line in trailers.decode().strip().split("\r\n"))
        assert lines["grpc-status"] == "3"
        status = status_pb2.Status.FromString(base64.b64decode(lines["grpc-status-details-bin"] + "==="))
        assert "a walk goes through at least 2" in status.message


async def test_an_invalid_call_is_refused_with_advice(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        got = await web.get(f"{GENERATION}/Generate")
        assert (got.status_code, got.headers["allow"]) == (405, "POST")
        for path, kind, wanted in (
            ("Generate", "text/plain", "application/json"),
            ("Generate", "application/connect+json", "application/json"),
            ("Generate", "application/grpc", "application/json"),
            ("Walk", "application/json", "application/connect+json"),
            ("Walk", "", "application/connect+json"),
        ):
            answer = await web.post(f"{GENERATION}/{path}", content=b"{}", headers={"content-type": kind})
            assert answer.status_code == 415, kind
            assert answer.json()["detail"].startswith(f"use one of these content types: {wanted}")
        assert (await web.post(f"{GENERATION}/Paint", json={})).status_code == 404
        plain = await web.post(
            f"{GENERATION}/Generate", content=b"{}", headers={"content-type": "Application/JSON; charset=utf-8"}
        )
        assert plain.status_code == 200


GARBAGE = [
    ("Generate", "application/json", b""),
    ("Generate", "application/json", b"{"),
    ("Generate", "application/json", b"[" * 100_000),
    ("Generate", "application/json", b'{"model": ' + b"1" * 100_000 + b"}"),
    ("Generate", "application/json", b'{"source": {"seed": 4294967296}}'),
    ("Generate", "application/json", b'{"sauce": {"seed": 1}}'),
    ("Generate", "application/json", b'{"source": {"seed": 1, "z": {"values": [1]}}}'),
    ("Generate", "application/json", b'{"model": "\xff"}'),
    ("Generate", "application/json", b'{"synthesis": {"psi": "NaN"}}'),
    ("Generate", "application/proto", b"\xff\xff\xff"),
    ("Generate", "application/grpc-web+proto", envelope(b"\xff\xff\xff")),
    ("Generate", "application/grpc-web", b"\x00\x00"),
    ("Walk", "application/connect+json", b""),
    ("Walk", "application/connect+json", b"{}"),
    ("Walk", "application/connect+json", envelope(b"{")),
    ("Walk", "application/connect+json", envelope(b"{}", 1)),
    ("Walk", "application/connect+proto", envelope(b"", 0x40)),
    ("Walk", "application/connect+proto", struct.pack(">BI", 0, 100) + b"\x00"),
    ("Walk", "application/connect+json", envelope(b"{}") + envelope(b"{}")),
]


async def test_garbage_is_refused_and_reaches_no_graph(run_server: RunServer, ended: list[CallRecord]) -> None:
    async with browsing(run_server, http_ready_faces=0) as (server, web):
        session, runs = server.registry.loaded[0].generator.session, []
        run = session._run
        session._run = lambda batch: runs.append(1) or run(batch)  # type: ignore[method-assign,func-returns-value]
        for path, kind, body in GARBAGE:
            answer = await web.post(f"{GENERATION}/{path}", content=body, headers={"content-type": kind})
            # No message, or two instead of one, is UNIMPLEMENTED by Connect's specification.
            counts = kind.startswith("application/connect") and (not body or body.count(b"{}") == 2)
            code = "UNIMPLEMENTED" if counts else "INVALID_ARGUMENT"
            assert ended[-1].code == code, (path, kind, body[:40])
            assert answer.status_code == (400 if kind in {"application/json", "application/proto"} else 200)
            assert len(answer.content) < 2500  # long garbage is not echoed
        unknown = await web.post(f"{GENERATION}/Generate", json={"sauce": 1})
        assert 'has no field named "sauce"' in unknown.json()["message"]
        assert "\n" not in unknown.json()["message"]
        assert len(ended) == len(GARBAGE) + 1
        assert runs == []
        latin = await web.post(f"{GENERATION}/Generate", json={}, headers={b"user-agent": b"caf\xe9"})
        assert (latin.status_code, runs) == (200, [1])


async def test_large_requests_are_refused(run_server: RunServer, ended: list[CallRecord]) -> None:
    async with browsing(run_server) as (_, web):
        path = f"{GENERATION}/Generate"
        for kind, body in (
            ("application/proto", bytes(MAX_REQUEST_BYTES + 1)),
            ("application/proto", bytes(8 * MAX_REQUEST_BYTES)),
            ("application/grpc-web+proto", struct.pack(">BI", 0, MAX_REQUEST_BYTES + 1) + b"\x00"),
        ):
            answer = await web.post(path, content=body, headers={"content-type": kind})
            assert ended[-1].code == "RESOURCE_EXHAUSTED"
            assert "retry-after" not in answer.headers  # a retry would not help
        long = json.dumps({"model": "x" * MAX_JSON_BYTES}).encode()
        answer = await web.post(path, content=long, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert "more as application/proto" in answer.json()["message"]
        packed = await web.post(path, json={}, headers={"content-encoding": "gzip"})
        assert (packed.status_code, packed.json()["code"]) == (501, "unimplemented")
        assert (await call(web, path, {})).status_code == 200


async def test_the_deadline_of_either_protocol_ends_the_work(
    run_server: RunServer, open_paced: OpenPaced, ended: list[CallRecord]
) -> None:
    open_model, sessions = open_paced()
    async with browsing(run_server, open_model=open_model, http_ready_faces=0) as (_, web):
        sessions[0].gate.clear()
        late = await call(web, f"{GENERATION}/Generate", {}, connect_timeout_ms="500")
        assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
        _, end, _ = await stream(web, f"{GENERATION}/GenerateStream", {"sources": [{}] * 3}, connect_timeout_ms="500")
        assert end["error"]["code"] == "deadline_exceeded"
        web_call = await web.post(
            f"{GENERATION}/Generate",
            content=envelope(b""),
            headers={"content-type": "application/grpc-web+proto", "grpc-timeout": "500m"},
        )
        assert b"grpc-status: 4" in web_call.content
        assert [record.code for record in ended] == ["DEADLINE_EXCEEDED"] * 3
        sessions[0].gate.set()
        for wrong in ("soon", "-1", "12345678901"):
            assert (await call(web, f"{GENERATION}/Generate", {}, connect_timeout_ms=wrong)).status_code == 400
        assert (await call(web, f"{GENERATION}/Generate", {}, connect_timeout_ms="60000")).status_code == 200


async def test_a_disconnect_cancels_the_work(
    run_server: RunServer, open_paced: OpenPaced, ended: list[CallRecord]
) -> None:
    open_model, sessions = open_paced()
    async with browsing(run_server, open_model=open_model, http_ready_faces=0) as (server, web):
        sessions[0].gate.clear()
        warm = sum(sessions[0].sizes)
        for path, kind, body in (
            ("Generate", "application/json", b"{}"),
            ("GenerateStream", "application/connect+json", envelope(b'{"seedRange": {"first": 1, "count": 200}}')),
        ):
            before = len(ended)
            headers = {"content-type": kind}
            calling = asyncio.create_task(web.post(f"{GENERATION}/{path}", content=body, headers=headers))
            await until(lambda: server.gate._active == 1)
            calling.cancel()
            await until(partial(_is_longer, ended, before))
            assert ended[-1].code == "CANCELLED"
            await until(lambda: server.gate._active == 0)
        sessions[0].gate.set()
        assert (await call(web, f"{GENERATION}/Generate", {})).status_code == 200
        # Of 202; runs in progress at the disconnects are completed, and the last call has one image.
        assert sum(sessions[0].sizes) - warm <= 1 + 8 + 1


async def test_slow_senders_and_readers_time_out(
    run_server: RunServer, open_paced: OpenPaced, ended: list[CallRecord]
) -> None:
    open_model, _ = open_paced(resolution=512)
    async with browsing(run_server, open_model=open_model, stalled_reader_s=0.5, http_ready_faces=0) as (server, web):
        host, port = server.addresses["http"].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /nonesuch.v1.GenerationService/Generate HTTP/1.1\r\nHost: x\r\n")
        writer.write(b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        async with asyncio.timeout(30):  # without the limit under test it would wait for ever
            assert (await reader.readline()).startswith(b"HTTP/1.1 504")
        writer.close()
        assert ended[-1].code == "DEADLINE_EXCEEDED"
        body = envelope(b'{"seedRange": {"first": 1, "count": 200}, "image": {"format": "IMAGE_FORMAT_RAW"}}')
        with socket.create_connection((host, int(port))) as stalled:
            stalled.sendall(b"POST /nonesuch.v1.GenerationService/GenerateStream HTTP/1.1\r\nHost: x\r\n")
            stalled.sendall(b"Content-Type: application/connect+json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await until(lambda: len(ended) == 2)
            assert ended[-1].code == "ABORTED"
            assert 0 < ended[-1].messages < 200
        assert (await call(web, f"{GENERATION}/Generate", {})).status_code == 200
