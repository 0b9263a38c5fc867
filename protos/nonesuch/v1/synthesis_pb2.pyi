from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LayerGroup(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAYER_GROUP_UNSPECIFIED: _ClassVar[LayerGroup]
    LAYER_GROUP_COARSE: _ClassVar[LayerGroup]
    LAYER_GROUP_MIDDLE: _ClassVar[LayerGroup]
    LAYER_GROUP_FINE: _ClassVar[LayerGroup]

class NoiseMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOISE_MODE_UNSPECIFIED: _ClassVar[NoiseMode]
    NOISE_MODE_CONST: _ClassVar[NoiseMode]
    NOISE_MODE_NONE: _ClassVar[NoiseMode]
    NOISE_MODE_RANDOM: _ClassVar[NoiseMode]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_INTERACTIVE: _ClassVar[Priority]
    PRIORITY_BULK: _ClassVar[Priority]
LAYER_GROUP_UNSPECIFIED: LayerGroup
LAYER_GROUP_COARSE: LayerGroup
LAYER_GROUP_MIDDLE: LayerGroup
LAYER_GROUP_FINE: LayerGroup
NOISE_MODE_UNSPECIFIED: NoiseMode
NOISE_MODE_CONST: NoiseMode
NOISE_MODE_NONE: NoiseMode
NOISE_MODE_RANDOM: NoiseMode
PRIORITY_UNSPECIFIED: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_BULK: Priority

class Latent(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("seed", "z", "w")
    SEED_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    W_FIELD_NUMBER: _ClassVar[int]
    seed: int
    z: Latent
    w: Latent
    def __init__(self, seed: _Optional[int] = ..., z: _Optional[_Union[Latent, _Mapping]] = ..., w: _Optional[_Union[Latent, _Mapping]] = ...) -> None: ...

class Mixing(_message.Message):
    __slots__ = ("source", "layers", "group")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    source: Source
    layers: _containers.RepeatedScalarFieldContainer[int]
    group: LayerGroup
    def __init__(self, source: _Optional[_Union[Source, _Mapping]] = ..., layers: _Optional[_Iterable[int]] = ..., group: _Optional[_Union[LayerGroup, str]] = ...) -> None: ...

class Transform(_message.Message):
    __slots__ = ("translate_x", "translate_y", "rotate_degrees")
    TRANSLATE_X_FIELD_NUMBER: _ClassVar[int]
    TRANSLATE_Y_FIELD_NUMBER: _ClassVar[int]
    ROTATE_DEGREES_FIELD_NUMBER: _ClassVar[int]
    translate_x: float
    translate_y: float
    rotate_degrees: float
    def __init__(self, translate_x: _Optional[float] = ..., translate_y: _Optional[float] = ..., rotate_degrees: _Optional[float] = ...) -> None: ...

class SynthesisOptions(_message.Message):
    __slots__ = ("psi", "cutoff", "class_index", "mixing", "noise_mode", "transform")
    PSI_FIELD_NUMBER: _ClassVar[int]
    CUTOFF_FIELD_NUMBER: _ClassVar[int]
    CLASS_INDEX_FIELD_NUMBER: _ClassVar[int]
    MIXING_FIELD_NUMBER: _ClassVar[int]
    NOISE_MODE_FIELD_NUMBER: _ClassVar[int]
    TRANSFORM_FIELD_NUMBER: _ClassVar[int]
    psi: float
    cutoff: int
    class_index: int
    mixing: _containers.RepeatedCompositeFieldContainer[Mixing]
    noise_mode: NoiseMode
    transform: Transform
    def __init__(self, psi: _Optional[float] = ..., cutoff: _Optional[int] = ..., class_index: _Optional[int] = ..., mixing: _Optional[_Iterable[_Union[Mixing, _Mapping]]] = ..., noise_mode: _Optional[_Union[NoiseMode, str]] = ..., transform: _Optional[_Union[Transform, _Mapping]] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("queue_us", "inference_us", "encode_us", "total_us")
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_US_FIELD_NUMBER: _ClassVar[int]
    ENCODE_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    queue_us: int
    inference_us: int
    encode_us: int
    total_us: int
    def __init__(self, queue_us: _Optional[int] = ..., inference_us: _Optional[int] = ..., encode_us: _Optional[int] = ..., total_us: _Optional[int] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("size", "padded_size")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    PADDED_SIZE_FIELD_NUMBER: _ClassVar[int]
    size: int
    padded_size: int
    def __init__(self, size: _Optional[int] = ..., padded_size: _Optional[int] = ...) -> None: ...

class Generation(_message.Message):
    __slots__ = ("model", "model_id", "build_id", "seed", "psi", "timing", "batch", "cached")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PSI_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_id: str
    build_id: str
    seed: int
    psi: float
    timing: Timing
    batch: Batch
    cached: bool
    def __init__(self, model: _Optional[str] = ..., model_id: _Optional[str] = ..., build_id: _Optional[str] = ..., seed: _Optional[int] = ..., psi: _Optional[float] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., batch: _Optional[_Union[Batch, _Mapping]] = ..., cached: _Optional[bool] = ...) -> None: ...
