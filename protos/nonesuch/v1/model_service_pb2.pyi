from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class WsIndex(_message.Message):
    __slots__ = ("index", "resolution", "consumers")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    index: int
    resolution: int
    consumers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, index: _Optional[int] = ..., resolution: _Optional[int] = ..., consumers: _Optional[_Iterable[str]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "model_id", "family", "z_dim", "c_dim", "w_dim", "num_ws", "resolution", "channels", "ws_layout", "licence", "build_id", "backend", "limits", "run_times")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    Z_DIM_FIELD_NUMBER: _ClassVar[int]
    C_DIM_FIELD_NUMBER: _ClassVar[int]
    W_DIM_FIELD_NUMBER: _ClassVar[int]
    NUM_WS_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    WS_LAYOUT_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    RUN_TIMES_FIELD_NUMBER: _ClassVar[int]
    name: str
    model_id: str
    family: str
    z_dim: int
    c_dim: int
    w_dim: int
    num_ws: int
    resolution: int
    channels: int
    ws_layout: _containers.RepeatedCompositeFieldContainer[WsIndex]
    licence: str
    build_id: str
    backend: str
    limits: Limits
    run_times: _containers.RepeatedCompositeFieldContainer[RunTime]
    def __init__(self, name: _Optional[str] = ..., model_id: _Optional[str] = ..., family: _Optional[str] = ..., z_dim: _Optional[int] = ..., c_dim: _Optional[int] = ..., w_dim: _Optional[int] = ..., num_ws: _Optional[int] = ..., resolution: _Optional[int] = ..., channels: _Optional[int] = ..., ws_layout: _Optional[_Iterable[_Union[WsIndex, _Mapping]]] = ..., licence: _Optional[str] = ..., build_id: _Optional[str] = ..., backend: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., run_times: _Optional[_Iterable[_Union[RunTime, _Mapping]]] = ...) -> None: ...

class RunTime(_message.Message):
    __slots__ = ("batch_size", "run_us")
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    RUN_US_FIELD_NUMBER: _ClassVar[int]
    batch_size: int
    run_us: int
    def __init__(self, batch_size: _Optional[int] = ..., run_us: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_batch_size", "max_images_per_stream", "queue_limit")
    MAX_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGES_PER_STREAM_FIELD_NUMBER: _ClassVar[int]
    QUEUE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    max_batch_size: int
    max_images_per_stream: int
    queue_limit: int
    def __init__(self, max_batch_size: _Optional[int] = ..., max_images_per_stream: _Optional[int] = ..., queue_limit: _Optional[int] = ...) -> None: ...
