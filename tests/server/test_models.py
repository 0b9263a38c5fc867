"""Several models in one server: loaded at the start, on demand, within a memory limit, and reloaded under traffic."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import grpc
import numpy as np
import pytest

from nonesuch.client import AdminClient, AsyncClient, ClientError, ModelNotFoundError, OverloadedError, UnavailableError
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.generator import Generator
from nonesuch.export.exporter import export_checkpoint
from nonesuch.server.server import Server
from nonesuch.server.settings import ModelSettings, ServerSettings

from ..conftest import TINY_SOURCE, RunServer, tiny_checkpoint
from ..waiting import until

T = TypeVar("T")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Another random model of the same size."""
    folder = tmp_path_factory.mktemp("other") / "other"
    return export_checkpoint(tiny_checkpoint(seed=1), folder, name="other", source=TINY_SOURCE)


async def in_thread(function: Callable[..., T], *arguments: str) -> T:
    return await asyncio.to_thread(function, *arguments)


async def test_each_model_gives_its_own_pictures_and_the_first_is_the_default(
    run_server: RunServer, artifact: Artifact, other: Artifact
) -> None:
    models = ({"model": str(artifact.folder)}, {"model": str(other.folder), "name": "second"})
    async with run_server(models=models) as server, AsyncClient(server.address) as client:
        assert [model.name for model in await client.models()] == ["tiny", "second"]
        for name, found in (("", artifact), ("tiny", artifact), ("second", other)):
            image = await client.generate(seed=5, model=name, format="raw")
            with Generator.open(found.folder) as generator:
                np.testing.assert_array_equal(image.numpy(), generator.generate([5])[0])
            assert image.model_id == found.manifest.model_id
        assert image.model == "second"
        with pytest.raises(ModelNotFoundError, match="no model 'third' on this server; it has 'tiny', 'second'"):
            await client.generate(seed=1, model="third")


async def test_a_model_with_load_demand_is_loaded_by_its_first_request(
    run_server: RunServer, artifact: Artifact, other: Artifact
) -> None:
    models = ({"model": str(artifact.folder)}, {"model": str(other.folder), "load": "demand"})
    async with run_server(models=models) as server, AsyncClient(server.address) as client:
        assert [model.name for model in await client.models()] == ["tiny"]
        images = await asyncio.gather(*(client.generate(seed=seed, model="other") for seed in range(5)))
        assert {image.model for image in images} == {"other"}
        assert [model.name for model in await client.models()] == ["tiny", "other"]
        info = await client.model("other")
        assert info.run_ms
        assert all(taken_ms > 0 for taken_ms in info.run_ms.values())


async def test_the_longest_idle_model_is_unloaded_for_memory(
    run_server: RunServer, artifact: Artifact, other: Artifact
) -> None:
    folders = {"a": artifact, "b": other, "c": artifact}
    models = [{"model": str(found.folder), "name": name, "load": "demand"} for name, found in folders.items()]
    async with run_server(models=models, model_memory_mib=3) as server, AsyncClient(server.address) as client:

        async def loaded() -> list[str]:
            return [model.name for model in await client.models()]

        def as_large(name: str, mib: float) -> None:
            model = server.registry.peek(name)
            assert model is not None
            model.memory_mib = mib  # such a small model does not show in the process's memory

        for name in ("a", "b"):
            assert (await client.generate(seed=1, model=name)).model == name
            as_large(name, 1.5)
        await client.generate(seed=1, model="a")  # now b is the one that was used longest ago
        assert (await client.generate(seed=1, model="c")).model == "c"
        assert await loaded() == ["a", "c"]
        assert (await client.generate(seed=1, model="b")).model == "b"
        as_large("b", 3.0)
        held = server.registry.peek("b")
        assert held is not None
        with held.use(), pytest.raises(UnavailableError, match="the models that stay leave less of 3 MiB"):
            await client.generate(seed=1, model="a", deadline_s=5)
        assert (await client.generate(seed=1, model="b")).data


async def test_models_loaded_at_the_start_are_never_unloaded_for_memory(
    run_server: RunServer, artifact: Artifact, other: Artifact
) -> None:
    models = ({"model": str(artifact.folder)}, {"model": str(other.folder), "load": "demand"})
    async with run_server(models=models, model_memory_mib=3) as server, AsyncClient(server.address) as client:
        first = server.registry.peek("tiny")
        assert first is not None
        first.memory_mib = 3.0
        with pytest.raises(UnavailableError, match="the models that stay leave less"):
            await client.generate(seed=1, model="other", deadline_s=5)
        assert (await client.generate(seed=1)).model == "tiny"


async def test_a_load_survives_its_first_caller_and_is_shared_by_all_waiting_callers(
    run_server: RunServer, artifact: Artifact
) -> None:
    opened: list[str] = []
    gate = threading.Event()

    def open_model(model: ModelSettings, max_batch_size: int) -> Generator:
        opened.append(model.model)
        gate.wait(30)
        return Generator.open(model.model)

    models = ({"model": str(artifact.folder), "load": "demand"},)
    async with run_server(models=models, open_model=open_model, queue_limit=3) as server:
        async with AsyncClient(server.address, retries=False) as client:
            first = asyncio.create_task(client.generate(seed=1))
            await until(lambda: opened)
            others = [asyncio.create_task(client.generate(seed=seed)) for seed in (2, 3)]
            await asyncio.sleep(0.05)
            with pytest.raises(OverloadedError, match="3 calls wait for model 'tiny' to load"):
                await client.generate(seed=4)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            gate.set()
            assert [image.seed for image in await asyncio.gather(*others)] == [2, 3]
            assert len(opened) == 1


async def test_the_reason_of_a_failed_load_is_shown_only_to_the_operator(
    run_server: RunServer, artifact: Artifact, tmp_path: Path
) -> None:
    folder = tmp_path / "secret place"
    shutil.copytree(artifact.folder, folder)
    models = ({"model": str(artifact.folder)}, {"model": str(folder), "name": "b", "load": "demand"})
    async with run_server(models=models, admin="127.0.0.1:0") as server:
        (folder / "w_avg.npy").write_bytes(b"no array")
        async with AsyncClient(server.address, retries=False) as client:
            with pytest.raises(UnavailableError, match="cannot be loaded now") as caught:
                await client.generate(seed=1, model="b")
            assert "secret place" not in str(caught.value)
            assert (await client.generate(seed=1)).data
        with AdminClient(server.addresses["admin"]) as operator, pytest.raises(ClientError, match="secret place"):
            await in_thread(operator.load, "b")


async def test_an_unload_continues_after_its_caller_is_cancelled(run_server: RunServer, artifact: Artifact) -> None:
    async with run_server() as server, AsyncClient(server.address) as client:
        model = server.registry.peek("tiny")
        assert model is not None
        with model.use():
            unloading = asyncio.create_task(server.registry.unload("tiny"))
            await asyncio.sleep(0.05)
            unloading.cancel()
            await asyncio.gather(unloading, return_exceptions=True)
            assert server.registry._closing
        await until(lambda: not server.registry._closing)
        assert not model.generator.session.is_open
        await server.registry.load("tiny")
        assert (await client.generate(seed=1)).data


async def test_an_operator_loads_unloads_and_drains(run_server: RunServer, artifact: Artifact, tmp_path: Path) -> None:
    admin = f"unix:{tmp_path}/admin"
    models = ({"model": str(artifact.folder)}, {"model": str(artifact.folder), "name": "spare", "load": "demand"})
    async with run_server(models=models, admin=admin) as server, AsyncClient(server.address) as client:
        with AdminClient(server.addresses["admin"]) as operator:
            states = await in_thread(operator.models)
            assert [(state.name, state.loaded) for state in states] == [("tiny", True), ("spare", False)]
            state = await in_thread(operator.load, "spare")
            assert state.loaded
            assert state.model is not None
            assert state.model.name == "spare"
            assert state.memory_bytes > 0
            assert await in_thread(operator.unload, "spare") is True
            assert await in_thread(operator.unload, "spare") is False
            assert await in_thread(operator.unload) is True  # the default model, which requests do not load again
            with pytest.raises(UnavailableError, match="'tiny' is not loaded"):
                await client.generate(seed=1, deadline_s=3)
            await in_thread(operator.load)
            assert (await client.generate(seed=1)).data
            with pytest.raises(ModelNotFoundError):
                await in_thread(operator.load, str(artifact.folder))  # a name of the configuration, never a path
            await in_thread(operator.drain)
        await asyncio.wait_for(server.ending.wait(), 5)


async def test_reload_under_traffic_swaps_in_one_step_and_loses_no_call(
    run_server: RunServer, artifact: Artifact, other: Artifact, tmp_path: Path
) -> None:
    served = tmp_path / "served"
    shutil.copytree(artifact.folder, served)
    expected = {}
    for found in (artifact, other):
        with Generator.open(found.folder) as generator:
            expected[found.manifest.model_id] = generator.generate(range(16))
    seen: list[str] = []
    ending = asyncio.Event()
    models = ({"model": str(served), "name": "face"},)
    async with run_server(models=models, admin="127.0.0.1:0", queue_limit=1000) as server:
        async with AsyncClient(server.address, retries=False) as client:

            async def ask(seeds: itertools.cycle[int]) -> None:
                while not ending.is_set():
                    seed = next(seeds)
                    image = await client.generate(seed=seed, format="raw")
                    np.testing.assert_array_equal(image.numpy(), expected[image.model_id][seed])
                    seen.append(image.model_id)

            async def watch(first: int) -> None:
                async for image in client.stream([first + index % 8 for index in range(200)], format="raw"):
                    # A stream uses one model from start to end.
                    np.testing.assert_array_equal(image.numpy(), expected[artifact.manifest.model_id][image.seed])

            callers = [asyncio.create_task(ask(itertools.cycle(range(16)))) for _ in range(4)]
            streams = [asyncio.create_task(watch(first)) for first in (0, 8)]
            await asyncio.sleep(0.1)
            new = tmp_path / "new"
            shutil.copytree(other.folder, new)
            served.rename(tmp_path / "old")
            new.rename(served)
            with AdminClient(server.addresses["admin"]) as operator:
                await in_thread(operator.reload, "face")
                after = len(seen)
                await asyncio.gather(*streams)
                await asyncio.sleep(0.1)
                (served / "manifest.json").write_text("{}")
                with pytest.raises(ClientError, match=r"manifest\.json"):
                    await in_thread(operator.reload, "face")
                assert (await client.generate(seed=1)).model_id == other.manifest.model_id  # the old one stays
            ending.set()
            await asyncio.gather(*callers)
            old_id, new_id = artifact.manifest.model_id, other.manifest.model_id
            assert set(seen) == {old_id, new_id}
            # Calls that began before the swap may use the old model: one per caller.
            assert old_id not in seen[after + len(callers) :]
            await until(lambda: not server.registry._closing)


async def test_a_damaged_model_and_a_duplicate_name_stop_the_start(artifact: Artifact, tmp_path: Path) -> None:
    twice = ({"model": str(artifact.folder)}, {"model": str(artifact.folder)})
    with pytest.raises(InvalidRequestError, match="two models have the name 'tiny'"):
        Server(ServerSettings(grpc="127.0.0.1:0", models=twice))
    with pytest.raises(InvalidRequestError, match="add at least one"):
        Server(ServerSettings(grpc="127.0.0.1:0"))


async def test_health_is_not_serving_until_the_models_are_loaded(artifact: Artifact) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(model, max_batch_size):  # type: ignore[no-untyped-def]
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(30)
        return Generator.open(model.model)

    settings = ServerSettings(grpc="127.0.0.1:0", models=({"model": str(artifact.folder)},), drain_delay_s=0)
    server = Server(settings, slow)
    starting = asyncio.create_task(server.start())
    await until(lambda: not server.address.endswith(":0"))
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="nonesuch.v1.GenerationService")
        answer = await stub.Check(request, wait_for_ready=True)
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        whole = await stub.Check(health_pb2.HealthCheckRequest())
        assert whole.status == health_pb2.HealthCheckResponse.NOT_SERVING
        async with AsyncClient(server.address, retries=False) as client:
            with pytest.raises(UnavailableError, match="still loading"):
                await client.generate(seed=1)
        gate.set()
        await starting
        assert (await stub.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
    await server.stop()
