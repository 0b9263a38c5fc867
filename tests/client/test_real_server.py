"""The clients against the server itself: raw pixels are those that the engine makes of the same arguments."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nonesuch.client import AsyncClient, Client, Keyframe, Mixing, RequestError
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.engine.interpolation import lerp_path, slerp_path
from nonesuch.engine.latents import z_from_seeds
from nonesuch.engine.session import SessionOptions
from nonesuch.engine.style_mix import LayerGroup, StyleMix
from nonesuch.export.export_job import ExportJob, export_file

from ..conftest import REPOSITORY, RunServer


@pytest.fixture
def z() -> np.ndarray:
    return z_from_seeds([11, 12, 13], 10)


def mixes(z: np.ndarray, ws: np.ndarray) -> dict[str, tuple[Mixing, StyleMix]]:
    return {
        "indices": (Mixing(2, [0, 3]), StyleMix(2, (0, 3))),
        "coarse": (Mixing(seed=2, layers="coarse"), StyleMix(2, LayerGroup.COARSE)),
        "middle": (Mixing(seed=2, layers="middle"), StyleMix(2, LayerGroup.MIDDLE)),
        "z": (Mixing(z=z[0], layers="middle"), StyleMix(None, LayerGroup.MIDDLE, z=z[0])),
        "w": (Mixing(w=ws[0, 0], layers=range(4)), StyleMix(None, (0, 1, 2, 3), w=ws[0, 0])),
        "ws": (Mixing(ws=ws[0], layers="coarse"), StyleMix(None, LayerGroup.COARSE, ws=ws[0])),
    }


async def test_mixing(run_server: RunServer, generator: Generator, z: np.ndarray) -> None:
    ws = generator.styles([21], psi=1.0)
    ws[0, 2:] = generator.styles([22], psi=1.0)[0, 2:]
    plain = generator.generate([1])[0]
    async with run_server() as server, AsyncClient(server.address) as client:
        for name, (asked, expected) in mixes(z, ws).items():
            found = await client.generate(seed=1, mixing=[asked], noise_mode="const", format="raw")
            np.testing.assert_array_equal(found.numpy(), generator.generate([1], mixing=[expected])[0], err_msg=name)
            assert (found.numpy() != plain).any(), name


async def test_streams_of_latents(run_server: RunServer, generator: Generator, z: np.ndarray) -> None:
    ws = generator.styles([3, 4], psi=1.0)
    ws[:, 2:] = ws[::-1, 2:]

    def ask(address: str) -> dict[str, list[np.ndarray]]:
        with Client(address) as client:
            streams = {
                "z": client.stream(zs=z, format="raw"),
                "w": client.stream(w=ws[:, 0], format="raw"),
                "ws": client.stream(ws=ws, format="raw", psi=0.5),
            }
            return {
                name: [image.numpy() for image in sorted(stream, key=lambda image: image.index)]
                for name, stream in streams.items()
            }

    async with run_server() as server:
        found = await asyncio.to_thread(ask, server.address)
    np.testing.assert_array_equal(found["z"], generator.generate(z=z))
    np.testing.assert_array_equal(found["w"], generator.generate(w=ws[:, 0]))
    np.testing.assert_array_equal(found["ws"], generator.generate(ws=ws, psi=0.5))


async def test_one_image_of_w_and_of_ws(run_server: RunServer, generator: Generator) -> None:
    ws = generator.styles([3], psi=1.0)
    ws[:, 2:] = generator.styles([4], psi=1.0)[:, 2:]
    asked: list[dict[str, Any]] = [{"w": ws[0, 0]}, {"ws": ws[0]}, {"ws": ws[0].tolist()}]

    def ask(address: str) -> list[np.ndarray]:
        with Client(address) as client:
            return [client.generate(format="raw", **source).numpy() for source in asked]

    async with run_server() as server, AsyncClient(server.address) as client:
        found = await asyncio.to_thread(ask, server.address)
        awaited = [(await client.generate(format="raw", **source)).numpy() for source in asked]
        streams = [client.stream(w=ws[:, 0], format="raw"), client.stream(ws=ws, format="raw")]
        streamed = [image.numpy() for stream in streams async for image in stream]
    of_w, of_ws = generator.generate(w=ws[:, 0])[0], generator.generate(ws=ws)[0]
    assert (of_w != of_ws).any()
    np.testing.assert_array_equal(found, [of_w, of_ws, of_ws])
    np.testing.assert_array_equal(awaited, found)
    np.testing.assert_array_equal(streamed, [of_w, of_ws])


async def test_walks(run_server: RunServer, generator: Generator, z: np.ndarray) -> None:
    def ask(address: str) -> list[np.ndarray]:
        with Client(address) as client:
            return [frame.numpy() for frame in client.walk([5, 6, 7], frames_per_step=4, format="raw")]

    corners = generator.styles([5, 6, 7], psi=1.0)[:, 0]
    async with run_server() as server, AsyncClient(server.address) as client:
        linear = await asyncio.to_thread(ask, server.address)
        keyframes = [Keyframe(z=z[0]), Keyframe(seed=12), Keyframe(z=z[2])]
        walk = client.walk(
            keyframes=keyframes, frames_per_step=3, interpolation="spherical-z", closed=True, format="raw"
        )
        frames = [frame async for frame in walk]
        with pytest.raises(RequestError, match="goes through at least 2"):
            await anext(client.walk([5], frames_per_step=4))
    assert [frame.index for frame in frames] == list(range(9))
    np.testing.assert_array_equal(linear, generator.generate(w=lerp_path(corners, 4, closed=False), psi=0.7))
    expected = generator.generate(z=slerp_path(z, 3, closed=True))
    np.testing.assert_array_equal([frame.numpy() for frame in frames], expected)


async def test_what_the_model_cannot_do_is_refused_by_name(run_server: RunServer) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"mixing": [Mixing(seed=1, layers="fine")]}, "synthesis.mixing.layers"),
        ({"noise_mode": "random"}, "synthesis.noise_mode"),
        ({"rotate_degrees": 5}, "synthesis.transform"),
        ({"translate": (0.5, 0)}, "synthesis.transform"),
    ]
    async with run_server() as server, AsyncClient(server.address) as client:
        for arguments, field in wrong:
            with pytest.raises(RequestError) as caught:
                await client.generate(seed=1, **arguments)
            assert [violation.field for violation in caught.value.violations] == [field]


async def test_a_stylegan3_picture_moves(run_server: RunServer, tmp_path: Path) -> None:
    file = REPOSITORY / "tests" / "fixtures" / "sg3t_64.pkl"
    model = export_file(file, Home(tmp_path / "home"), ExportJob(out=tmp_path / "X"))
    options = SessionOptions(max_batch_size=2, spinning=False)
    move: Any = {"translate": (0.25, -0.125), "rotate_degrees": 20.0}
    async with run_server(model, options, max_batch_size=2) as server, AsyncClient(server.address) as client:
        still = await client.generate(seed=1, format="raw")
        moved = await client.generate(seed=1, format="raw", **move)
    with Generator.open(model.folder, options=options) as generator:
        np.testing.assert_array_equal(moved.numpy(), generator.generate([1], **move)[0])
    assert (moved.numpy() != still.numpy()).any()
