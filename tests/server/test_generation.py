"""The server as its users see it: through the client, over a real socket."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from nonesuch.client import AsyncClient, Mixing, OverloadedError, RequestError
from nonesuch.client import DeadlineError as ClientDeadlineError
from nonesuch.client import ModelNotFoundError as ClientModelNotFoundError
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.downscale import downscale
from nonesuch.engine.generator import Generator
from nonesuch.engine.style_mix import LayerGroup, StyleMix
from nonesuch.v1 import generation_service_pb2, generation_service_pb2_grpc, image_pb2, synthesis_pb2

from ..conftest import RunServer
from ..waiting import until


async def test_sixteen_clients_at_once_each_get_the_image_of_their_own_seed(
    run_server: RunServer, generator: Generator
) -> None:
    per_client = 6
    expected = {seed: generator.generate([seed])[0] for seed in range(16 * per_client)}
    assert len({image.tobytes() for image in expected.values()}) == len(expected)  # swapped answers would show
    batches: list[int] = []

    async def one_client(address: str, number: int) -> None:
        async with AsyncClient(address) as client:
            for turn in range(per_client):
                seed = number * per_client + turn
                image = await client.generate(seed=seed, format="raw" if turn % 2 else "png")
                np.testing.assert_array_equal(image.numpy(), expected[seed])
                assert image.seed == seed
                batches.append(image.batch_size)

    async with run_server(max_batch_size=8) as server:
        await asyncio.gather(*(one_client(server.address, number) for number in range(16)))
    assert len(batches) == 16 * per_client
    assert max(batches) > 1
    assert max(batches) <= 8


async def test_a_stream_answers_every_index_once_with_its_own_image(
    run_server: RunServer, generator: Generator
) -> None:
    async with run_server() as server, AsyncClient(server.address) as client:
        images = [image async for image in client.stream([5, 3, 5, 9], format="png")]
        assert sorted(image.index for image in images) == [0, 1, 2, 3]
        for image in images:
            seed = [5, 3, 5, 9][image.index]
            assert image.seed == seed
            np.testing.assert_array_equal(image.numpy(), generator.generate([seed])[0])
        ranged = [image async for image in client.stream(range(100, 140), format="raw")]
        assert sorted(image.seed or 0 for image in ranged) == list(range(100, 140))


async def test_every_source_and_option_reaches_the_picture(run_server: RunServer, generator: Generator) -> None:
    z = np.random.RandomState(3).randn(10).astype(np.float32)
    ws = generator.styles([4], psi=0.9)
    async with run_server() as server, AsyncClient(server.address) as client:

        async def pixels(**arguments: object) -> np.ndarray:
            return (await client.generate(format="raw", **arguments)).numpy()  # type: ignore[arg-type]

        np.testing.assert_array_equal(await pixels(z=z), generator.generate(z=z[None])[0])
        np.testing.assert_array_equal(await pixels(w=ws[0, 0]), generator.generate(w=ws[:, 0])[0])
        np.testing.assert_array_equal(await pixels(ws=ws[0]), generator.generate(ws=ws)[0])
        np.testing.assert_array_equal(await pixels(seed=1, psi=0.0), generator.generate([2], psi=0.0)[0])
        np.testing.assert_array_equal(
            await pixels(seed=1, psi=0.5, cutoff=3), generator.generate([1], psi=0.5, cutoff=3)[0]
        )
        np.testing.assert_array_equal(
            await pixels(seed=1, mixing=[Mixing(seed=2, layers=[0, 1])]),
            generator.generate([1], mixing=[StyleMix(2, (0, 1))])[0],
        )


async def test_a_smaller_size_is_scaled_down_in_linear_light(run_server: RunServer, generator: Generator) -> None:
    expected = downscale(generator.generate([3])[0], 8)
    async with run_server() as server, AsyncClient(server.address) as client:
        small = await client.generate(seed=3, size=8, format="png", priority="bulk")
        assert (small.width, small.height) == (8, 8)
        np.testing.assert_array_equal(small.numpy(), expected)
        assert small.build_id != (await client.generate(seed=3, format="png")).build_id
        sizes = {image.width async for image in client.stream(range(3), size=16, priority="interactive")}
        assert sizes == {16}
        assert (await client.generate(seed=3, size=32, format="raw")).data == generator.generate([3])[0].tobytes()


async def test_an_answer_says_what_made_it(run_server: RunServer, artifact: Artifact) -> None:
    async with run_server() as server, AsyncClient(server.address) as client:
        image = await client.generate(seed=7)
        assert (image.format, image.width, image.height, image.channels) == ("jpeg", 32, 32, 3)
        assert (image.model, image.model_id) == ("tiny", artifact.manifest.model_id)
        assert image.psi == pytest.approx(0.7)
        assert image.timing.total_ms >= image.timing.inference_ms > 0
        assert image.timing.total_ms >= image.timing.queue_ms >= 0
        assert image.batch_size == image.padded_batch_size == 1
        again, png = await client.generate(seed=7), await client.generate(seed=7, format="png")
        assert (again.data, again.build_id) == (image.data, image.build_id)
        assert png.build_id != image.build_id
        (model,) = await client.models()
        assert model.model_id == image.model_id
        assert [entry.index for entry in model.ws_layout if not entry.consumers] == [3, 7]


async def test_without_a_source_the_answer_has_a_random_seed_that_reproduces_the_image(run_server: RunServer) -> None:
    async with run_server() as server, AsyncClient(server.address) as client:
        images = [await client.generate(format="raw") for _ in range(5)]
        seeds = [image.seed for image in images]
        assert len(set(seeds)) == 5  # by chance equal once in 2^30 runs
        assert (await client.generate(seed=seeds[0], format="raw")).data == images[0].data


async def test_invalid_values_name_their_field_and_the_server_keeps_serving(run_server: RunServer) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"psi": float("nan")}, "synthesis.psi"),
        ({"psi": -2.5}, "synthesis.psi"),
        ({"cutoff": 9}, "synthesis.cutoff"),
        ({"class_index": 0}, "synthesis.class_index"),
        ({"z": [0.0] * 11}, "source.z"),
        ({"z": [float("inf")] * 10}, "source.z"),
        ({"w": [0.0] * 13}, "source.w"),
        ({"format": "jpeg", "quality": 0}, "image.quality"),
        ({"format": "png", "quality": 50}, "image.quality"),
    ]
    async with run_server() as server, AsyncClient(server.address) as client:
        for arguments, field in cases:
            source = {} if "z" in arguments or "w" in arguments else {"seed": 1}
            with pytest.raises(RequestError) as caught:
                await client.generate(**source, **arguments)  # type: ignore[arg-type]
            assert [violation.field for violation in caught.value.violations] == [field], arguments
        with pytest.raises(RequestError, match="seed_range: 1025 seeds from 0; a stream has 1 to 1024"):
            [image async for image in client.stream(range(1025))]
        with pytest.raises(ClientModelNotFoundError, match="no model 'cats' on this server; it has 'tiny'"):
            await client.generate(seed=1, model="cats")
        with pytest.raises(RequestError, match=r"image\.size: 48 is not a valid size; use a power of two up to .* 32"):
            await client.generate(seed=1, size=48)
        assert (await client.generate(seed=1)).data


async def test_a_full_queue_answers_resource_exhausted_at_once_and_the_accepted_calls_finish(
    run_server: RunServer,
) -> None:
    async with run_server(queue_limit=2, min_batch_gain=0.9, max_batch_size=1) as server:
        async with AsyncClient(server.address, retries=False) as client:
            calls = [asyncio.create_task(client.generate(seed=seed, format="raw")) for seed in range(60)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            refused = [result for result in results if isinstance(result, OverloadedError)]
            answered = [result for result in results if not isinstance(result, BaseException)]
            assert len(refused) + len(answered) == 60
            assert refused
            assert answered
            assert "queue is full" in str(refused[0])
            assert refused[0].retry_after_s is not None
            assert refused[0].retry_after_s > 0
            assert (await client.generate(seed=1)).data
        async with AsyncClient(server.address) as patient:  # grpc's own retry obeys the pushback
            assert all(await asyncio.gather(*(patient.generate(seed=seed) for seed in range(4))))


async def test_a_passed_deadline_is_answered_and_the_next_call_works(run_server: RunServer) -> None:
    async with run_server() as server, AsyncClient(server.address) as client:
        with pytest.raises(ClientDeadlineError):
            await client.generate(seed=1, deadline_s=0.000001)
        assert (await client.generate(seed=1)).data


async def test_a_stream_that_is_closed_early_releases_its_places(run_server: RunServer) -> None:
    async with run_server(queue_limit=4) as server, AsyncClient(server.address) as client:
        stream = client.stream(range(1000))
        async for _ in stream:
            break
        await stream.aclose()
        batcher = server.registry.loaded[0].batcher
        await until(lambda: not batcher.waiting)
        assert (await client.generate(seed=1)).data


async def test_a_walk_yields_its_frames_in_order_from_key_frame_to_key_frame(
    run_server: RunServer, generator: Generator
) -> None:
    request = generation_service_pb2.WalkRequest(
        keyframes=[synthesis_pb2.Source(seed=seed) for seed in (1, 2, 3)],
        frames_per_step=10,
        image=image_pb2.ImageOptions(format=image_pb2.IMAGE_FORMAT_RAW),
    )
    async with run_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = generation_service_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
        frames = [frame async for frame in stub.Walk(request)]
        assert [frame.index for frame in frames] == list(range(21))
        for position, seed in ((0, 1), (10, 2), (20, 3)):
            shown = np.frombuffer(frames[position].image.data, np.uint8).reshape(32, 32, 3).astype(int)
            # The key frame went through an interpolation in float64: the same to a step of 8 bits.
            assert np.abs(shown - generator.generate([seed])[0].astype(int)).max() <= 1
        request.frames_per_step = 600
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [frame async for frame in stub.Walk(request)]
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "1201 frames in all; a stream has 1 to 1024" in str(caught.value.details())


async def test_groups_noise_and_transforms_work_only_if_the_model_supports_them(
    run_server: RunServer, generator: Generator
) -> None:
    source = synthesis_pb2.Source(seed=1)
    raw = image_pb2.ImageOptions(format=image_pb2.IMAGE_FORMAT_RAW)
    other = synthesis_pb2.Source(seed=2)

    def request(**synthesis: object) -> generation_service_pb2.GenerateRequest:
        options = synthesis_pb2.SynthesisOptions(**synthesis)  # type: ignore[arg-type]
        return generation_service_pb2.GenerateRequest(source=source, synthesis=options, image=raw)

    coarse = synthesis_pb2.Mixing(source=other, group=synthesis_pb2.LAYER_GROUP_COARSE)
    unknown_group = synthesis_pb2.Mixing(source=other)
    unknown_group.group = 9  # type: ignore[assignment]
    refused = [
        (request(noise_mode=synthesis_pb2.NOISE_MODE_NONE), "synthesis.noise_mode: none noise is not served"),
        (request(noise_mode=9), "synthesis.noise_mode: 9 is unknown"),
        (request(transform=synthesis_pb2.Transform(rotate_degrees=5)), "synthesis.transform"),
        (request(mixing=[synthesis_pb2.Mixing(source=other)]), "give either layers or a group"),
        (request(mixing=[unknown_group]), "9 is unknown"),
        (request(mixing=[synthesis_pb2.Mixing(layers=[1])]), "synthesis.mixing.source"),
        (request(class_index=1), "synthesis.class_index"),
    ]
    async with run_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = generation_service_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
        answer = await stub.Generate(request(mixing=[coarse], noise_mode=synthesis_pb2.NOISE_MODE_CONST))
        expected = generator.generate([1], mixing=[StyleMix(2, LayerGroup.COARSE)])[0]
        assert answer.image.data == expected.tobytes()
        for message, text in refused:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Generate(message)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, text
            assert text in str(caught.value.details())


async def test_many_streams_leave_room_for_single_images(run_server: RunServer) -> None:
    settings: dict[str, object] = {"queue_limit": 16, "min_batch_gain": 0.9, "max_batch_size": 1}
    async with run_server(**settings) as server, AsyncClient(server.address, retries=False) as client:
        streams = [client.stream(range(start, start + 200)) for start in range(0, 1200, 200)]
        firsts = await asyncio.gather(*(anext(stream) for stream in streams), return_exceptions=True)
        assert sum(not isinstance(first, BaseException) for first in firsts) >= 2
        for seed in range(10):
            assert (await client.generate(seed=seed)).data
        for stream in streams:
            await stream.aclose()


async def test_a_request_cannot_make_others_wait_for_its_mixes(run_server: RunServer) -> None:
    mix = synthesis_pb2.Mixing(source=synthesis_pb2.Source(seed=2), layers=[0])
    options = synthesis_pb2.SynthesisOptions(mixing=[mix] * 33)
    stream = generation_service_pb2.GenerateStreamRequest(synthesis=options)
    stream.seed_range.count = 1000
    async with run_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = generation_service_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
        for call in (
            stub.Generate(generation_service_pb2.GenerateRequest(synthesis=options)),
            stub.GenerateStream(stream),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (call if hasattr(call, "__await__") else call.read())
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert caught.value.details() == "synthesis.mixing: 33 mixes; a picture takes at most 32"


async def test_long_names_are_cut_in_errors_and_invalid_sources_are_located(run_server: RunServer) -> None:
    def bad(size: int) -> synthesis_pb2.Source:
        return synthesis_pb2.Source(z=synthesis_pb2.Latent(values=[0.0] * size))

    good = synthesis_pb2.Source(seed=1)
    many_layers = synthesis_pb2.Mixing(source=good, layers=[9] * 50_000)
    spherical = generation_service_pb2.INTERPOLATION_SPHERICAL_Z
    cases = [
        ("Generate", generation_service_pb2.GenerateRequest(model="x" * 100_000), "NOT_FOUND", "no model 'xxx"),
        (
            "Generate",
            generation_service_pb2.GenerateRequest(synthesis=synthesis_pb2.SynthesisOptions(mixing=[many_layers])),
            "INVALID_ARGUMENT",
            "synthesis.mixing.layers: layers [9, 9",
        ),
        (
            "GenerateStream",
            generation_service_pb2.GenerateStreamRequest(sources=[good, good, bad(3)]),
            "INVALID_ARGUMENT",
            "sources[2].z: shape (1, 3) does not fit",
        ),
        (
            "Walk",
            generation_service_pb2.WalkRequest(keyframes=[good, bad(5)], frames_per_step=3, interpolation=spherical),
            "INVALID_ARGUMENT",
            "keyframes[1].z: shape (1, 5) does not fit",
        ),
        (
            "Generate",
            generation_service_pb2.GenerateRequest(
                synthesis=synthesis_pb2.SynthesisOptions(mixing=[synthesis_pb2.Mixing(source=bad(4), layers=[0])])
            ),
            "INVALID_ARGUMENT",
            "synthesis.mixing.source.z: shape (1, 4) does not fit",
        ),
    ]
    async with run_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = generation_service_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
        for method, message, code, text in cases:
            call = getattr(stub, method)(message)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (call if method == "Generate" else call.read())
            assert caught.value.code().name == code, text
            details = str(caught.value.details())
            assert details.startswith(text)
            assert len(details) <= 512
