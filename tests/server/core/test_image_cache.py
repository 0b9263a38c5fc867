from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nonesuch.client import AsyncClient, Mixing
from nonesuch.engine.encoder import EncodeOptions, ImageFormat
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.source import Seeds, W, Z
from nonesuch.engine.style_mix import LayerGroup, StyleMix
from nonesuch.server.core.image_cache import ImageCache
from nonesuch.server.core.image_request import ImageRequest, ImageTiming, MadeImage

from ...conftest import RunServer

MADE = MadeImage(
    data=b"x" * 4000, options=EncodeOptions(), width=32, height=32, channels=3, model="tiny", model_id="0",
    build_id="0", seed=1, psi=0.7, timing=ImageTiming(1, 2, 3, 6), batch_size=1, padded_size=1,
)  # fmt: skip


def test_the_least_recently_used_is_evicted_at_the_limit() -> None:
    cache = ImageCache(16_000)  # three of 4000 bytes, with overhead
    for name in (b"a", b"b", b"c"):
        cache.put(name, MADE)
    found = cache.get(b"a")
    assert found is not None
    assert found.cached
    assert found.timing.total_ms == 0
    cache.put(b"d", MADE)
    assert cache.get(b"b") is None
    assert cache.get(b"a") is not None
    assert len(cache) == 3
    assert cache.size_bytes <= cache.max_bytes
    cache.put(b"e", replace(MADE, data=b"x" * 20_000))
    assert cache.get(b"e") is None
    assert len(cache) == 3
    assert (cache.hits, cache.misses) == (2, 2)


def test_a_limit_of_0_bytes_turns_it_off() -> None:
    cache = ImageCache(0)
    assert not cache.enabled
    cache.put(b"a", MADE)
    assert len(cache) == 0


BASE = ImageRequest(Seeds([1]))
OTHERS = [
    ImageRequest(Seeds([2])),
    ImageRequest(Z([[1.0, 2.0]])),
    ImageRequest(W([[1.0, 2.0]])),
    ImageRequest(W([[2.0, 1.0]])),
    *(
        replace(BASE, picture=PictureOptions(**changed))
        for changed in (
            {"psi": 0.5}, {"cutoff": 3}, {"class_index": 0}, {"noise_seed": 1}, {"translate": (0.1, 0.0)},
            {"rotate_degrees": 0.1}, {"mixing": (StyleMix(2, (0, 1)),)}, {"mixing": (StyleMix(2, (0, 2)),)},
            {"mixing": (StyleMix(3, (0, 1)),)}, {"mixing": (StyleMix(2, LayerGroup.COARSE),)},
            {"mixing": (StyleMix(None, (0, 1), w=(1.0, 2.0)),)}, {"mixing": (StyleMix(None, (0, 1), z=(1.0, 2.0)),)},
            {"mixing": (StyleMix(2, (0, 1)), StyleMix(3, (2,)))},
        )
    ),
]  # fmt: skip


def test_everything_that_changes_an_image_changes_the_fingerprint() -> None:
    prints = [request.fingerprint("build") for request in (BASE, *OTHERS)]
    assert len(set(prints)) == len(prints)
    assert BASE.fingerprint("another build") != prints[0]


def test_equivalent_requests_have_equal_fingerprints() -> None:
    assert replace(BASE, picture=PictureOptions(psi=0.7)).fingerprint("b") == BASE.fingerprint("b")  # the default
    assert replace(BASE, model="tiny").fingerprint("b") == BASE.fingerprint("b")  # the build includes the model
    w = np.array([1.0, 2.0], np.float32)
    assert ImageRequest(W(w[None])).fingerprint("b") == ImageRequest(W([[1.0, 2.0]])).fingerprint("b")


async def test_an_equal_request_gets_the_same_bytes_from_the_cache(run_server: RunServer) -> None:
    async with run_server(cache_mib=4) as server, AsyncClient(server.address) as client:
        first = await client.generate(seed=1)
        again = await client.generate(seed=1, psi=0.7)
        assert (first.cached, again.cached) == (False, True)
        assert again.data == first.data
        assert again.timing.inference_ms == 0
        for other in (
            {"seed": 1, "format": "png"}, {"seed": 1, "quality": 80}, {"seed": 1, "size": 16}, {"seed": 1, "psi": 0.6},
            {"seed": 1, "mixing": [Mixing(seed=2, layers="coarse")]},
        ):  # fmt: skip
            assert not (await client.generate(**other)).cached, other
        stream = {image.seed: image async for image in client.stream([1, 9])}
        assert (stream[1].cached, stream[9].cached) == (True, False)
        assert stream[1].data == first.data
        (png,) = [image async for image in client.stream([1], format="png")]
        assert png.cached
        assert ImageFormat.PNG.value == png.format


async def test_it_is_off_by_default(run_server: RunServer) -> None:
    async with run_server() as server, AsyncClient(server.address) as client:
        assert not (await client.generate(seed=1)).cached
        assert not (await client.generate(seed=1)).cached


@pytest.mark.parametrize("psi", [None, 0.3])
async def test_cached_styles_of_recent_seeds_change_nothing(run_server: RunServer, psi: float | None) -> None:
    async with run_server() as server, AsyncClient(server.address) as client:
        mixing = [Mixing(w=[0.5] * 12, layers=[1])]
        first = [await client.generate(seed=1, psi=psi, format="raw"), await client.generate(seed=1, mixing=mixing)]
        (model,) = server.registry.loaded

        def broken(*_: object) -> None:
            raise AssertionError("mapped again")

        mapper, model.generator.latents._mapper = model.generator.latents._mapper, broken  # type: ignore[assignment]
        again = await client.generate(seed=1, psi=psi, format="raw")
        model.generator.latents._mapper = mapper
        assert again.data == first[0].data
        assert (await client.generate(seed=1, mixing=mixing)).data == first[1].data
