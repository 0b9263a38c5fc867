"""The client for operators: lists, loads and unloads the models of a server, and drains it."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

from nonesuch.v1 import admin_service_pb2 as pb
from nonesuch.v1.admin_service_pb2_grpc import AdminServiceStub

from .channel import call_metadata, check_deadline, open_channel, target_of
from .errors import client_error
from .model_info import ModelInfo, model_from_answer

_DEADLINE_S = 600.0  # loading a large model, or waiting for the calls that use one


@dataclass(frozen=True)
class ModelState:
    """A model of the server's configuration."""

    name: str
    loaded: bool
    in_use: bool
    memory_bytes: int  # memory that loading it took; 0: not loaded
    waiting: int  # images in its queue
    model: ModelInfo | None  # None: not loaded


class AdminClient:
    """Asks the admin service of one server, at its own address; `with` closes it.

    Raises, in every call, a ClientError as Client does.
    """

    def __init__(
        self,
        address: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
        deadline_s: float | None = _DEADLINE_S,
    ) -> None:
        self.address = target_of(address)
        self._metadata = call_metadata(api_key)
        self._deadline_s = check_deadline(deadline_s)
        self._channel = open_channel(self.address, credentials, retries=False)
        self._admin = AdminServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def models(self) -> list[ModelState]:
        """All models of the configuration, the default first."""
        return [_state(model) for model in self._call(self._admin.ListModelStates, pb.ListModelStatesRequest()).models]

    def load(self, name: str = "") -> ModelState:
        """Load a model, and return its state when it is ready."""
        return _state(self._call(self._admin.LoadModel, pb.LoadModelRequest(name=name)).model)

    def unload(self, name: str = "") -> bool:
        """Unload a model from its device once its calls are done; False if it was not loaded."""
        return bool(self._call(self._admin.UnloadModel, pb.UnloadModelRequest(name=name)).was_loaded)

    def reload(self, name: str = "") -> ModelState:
        """Load a model again; all calls go to the new one as soon as it is ready."""
        return _state(self._call(self._admin.ReloadModel, pb.ReloadModelRequest(name=name)).model)

    def drain(self) -> None:
        """Let the server finish its calls and exit; returns at once."""
        self._call(self._admin.Drain, pb.DrainRequest())

    def close(self) -> None:
        """Disconnect."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Any, request: object) -> Any:
        try:
            return method(request, timeout=self._deadline_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise client_error(error, self.address) from error


def _state(state: pb.ModelState) -> ModelState:
    return ModelState(
        name=state.name,
        loaded=state.loaded,
        in_use=state.in_use,
        memory_bytes=state.memory_bytes,
        waiting=state.waiting,
        model=model_from_answer(state.model) if state.HasField("model") else None,
    )
