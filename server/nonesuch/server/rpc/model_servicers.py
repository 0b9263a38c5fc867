"""nonesuch.v1.ModelService and AdminService on top of the registry."""

from __future__ import annotations

from collections.abc import Callable

from nonesuch.v1 import admin_service_pb2 as admin_pb
from nonesuch.v1 import admin_service_pb2_grpc, model_service_pb2_grpc
from nonesuch.v1 import model_service_pb2 as model_pb

from ..core.loaded_model import LoadedModel
from ..core.model_registry import ModelRegistry
from ..settings import ServerSettings

_MIB = 1 << 20


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """Describes the models."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    async def ListModels(self, request: model_pb.ListModelsRequest, context: object) -> model_pb.ListModelsResponse:  # noqa: N802 - the wire's name
        """The loaded models."""
        settings = self._registry.settings
        return model_pb.ListModelsResponse(models=[model_message(model, settings) for model in self._registry.loaded])

    async def GetModel(self, request: model_pb.GetModelRequest, context: object) -> model_pb.GetModelResponse:  # noqa: N802 - the wire's name
        """One model, which is loaded first if its setting is `load = "demand"`."""
        async with self._registry.use(request.name) as model:
            return model_pb.GetModelResponse(model=model_message(model, self._registry.settings))


class AdminServicer(admin_service_pb2_grpc.AdminServiceServicer):
    """Loads and unloads models, and drains the server; `drain` only starts the drain."""

    def __init__(self, registry: ModelRegistry, drain: Callable[[], None]) -> None:
        self._registry = registry
        self._drain = drain

    async def ListModelStates(  # noqa: N802 - the wire's name
        self, request: admin_pb.ListModelStatesRequest, context: object
    ) -> admin_pb.ListModelStatesResponse:
        """All configured models."""
        registry = self._registry
        states = [_state_message(name, registry.peek(name), registry.settings) for name in registry.names]
        return admin_pb.ListModelStatesResponse(models=states)

    async def LoadModel(self, request: admin_pb.LoadModelRequest, context: object) -> admin_pb.LoadModelResponse:  # noqa: N802 - the wire's name
        """Load a model."""
        return admin_pb.LoadModelResponse(model=self._state(await self._registry.load(request.name)))

    async def UnloadModel(self, request: admin_pb.UnloadModelRequest, context: object) -> admin_pb.UnloadModelResponse:  # noqa: N802 - the wire's name
        """Unload a model."""
        return admin_pb.UnloadModelResponse(was_loaded=await self._registry.unload(request.name))

    async def ReloadModel(self, request: admin_pb.ReloadModelRequest, context: object) -> admin_pb.ReloadModelResponse:  # noqa: N802 - the wire's name
        """Reload a model."""
        return admin_pb.ReloadModelResponse(model=self._state(await self._registry.reload(request.name)))

    async def Drain(self, request: admin_pb.DrainRequest, context: object) -> admin_pb.DrainResponse:  # noqa: N802 - the wire's name
        """Start the drain."""
        self._drain()
        return admin_pb.DrainResponse()

    def _state(self, model: LoadedModel) -> admin_pb.ModelState:
        return _state_message(model.name, model, self._registry.settings)


def model_message(model: LoadedModel, settings: ServerSettings) -> model_pb.Model:
    """The message for a loaded model."""
    manifest = model.manifest
    return model_pb.Model(
        name=model.name,
        model_id=manifest.model_id,
        family=manifest.family,
        z_dim=manifest.z_dim,
        c_dim=manifest.c_dim,
        w_dim=manifest.w_dim,
        num_ws=manifest.num_ws,
        resolution=manifest.resolution,
        channels=manifest.channels,
        ws_layout=[
            model_pb.WsIndex(index=e.index, resolution=e.resolution, consumers=e.consumers) for e in manifest.ws_layout
        ],
        licence=manifest.source.licence,
        build_id=model.build_id(),
        backend=model.generator.session.identity,
        limits=model_pb.Limits(
            max_batch_size=settings.max_batch_size,
            max_images_per_stream=settings.max_images_per_stream,
            queue_limit=settings.queue_limit,
        ),
        run_times=[
            model_pb.RunTime(batch_size=size, run_us=round(run_ms * 1e3))
            for size, run_ms in model.batcher.model.known.items()
        ],
    )


def _state_message(name: str, model: LoadedModel | None, settings: ServerSettings) -> admin_pb.ModelState:
    """The message for a configured model and its state."""
    if model is None:
        return admin_pb.ModelState(name=name)
    return admin_pb.ModelState(
        name=name,
        loaded=True,
        in_use=model.in_use,
        memory_bytes=round(model.memory_mib * _MIB),
        waiting=model.batcher.waiting,
        model=model_message(model, settings),
    )
