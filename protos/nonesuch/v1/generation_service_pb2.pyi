from nonesuch.v1 import image_pb2 as _image_pb2
from nonesuch.v1 import synthesis_pb2 as _synthesis_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Interpolation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INTERPOLATION_UNSPECIFIED: _ClassVar[Interpolation]
    INTERPOLATION_LINEAR_W: _ClassVar[Interpolation]
    INTERPOLATION_SPHERICAL_Z: _ClassVar[Interpolation]
INTERPOLATION_UNSPECIFIED: Interpolation
INTERPOLATION_LINEAR_W: Interpolation
INTERPOLATION_SPHERICAL_Z: Interpolation

class GenerateRequest(_message.Message):
    __slots__ = ("model", "source", "synthesis", "image", "priority")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SYNTHESIS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    model: str
    source: _synthesis_pb2.Source
    synthesis: _synthesis_pb2.SynthesisOptions
    image: _image_pb2.ImageOptions
    priority: _synthesis_pb2.Priority
    def __init__(self, model: _Optional[str] = ..., source: _Optional[_Union[_synthesis_pb2.Source, _Mapping]] = ..., synthesis: _Optional[_Union[_synthesis_pb2.SynthesisOptions, _Mapping]] = ..., image: _Optional[_Union[_image_pb2.ImageOptions, _Mapping]] = ..., priority: _Optional[_Union[_synthesis_pb2.Priority, str]] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("image", "generation")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    image: _image_pb2.Image
    generation: _synthesis_pb2.Generation
    def __init__(self, image: _Optional[_Union[_image_pb2.Image, _Mapping]] = ..., generation: _Optional[_Union[_synthesis_pb2.Generation, _Mapping]] = ...) -> None: ...

class SeedRange(_message.Message):
    __slots__ = ("first", "count")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    first: int
    count: int
    def __init__(self, first: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class GenerateStreamRequest(_message.Message):
    __slots__ = ("model", "sources", "seed_range", "synthesis", "image", "priority")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    SEED_RANGE_FIELD_NUMBER: _ClassVar[int]
    SYNTHESIS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    model: str
    sources: _containers.RepeatedCompositeFieldContainer[_synthesis_pb2.Source]
    seed_range: SeedRange
    synthesis: _synthesis_pb2.SynthesisOptions
    image: _image_pb2.ImageOptions
    priority: _synthesis_pb2.Priority
    def __init__(self, model: _Optional[str] = ..., sources: _Optional[_Iterable[_Union[_synthesis_pb2.Source, _Mapping]]] = ..., seed_range: _Optional[_Union[SeedRange, _Mapping]] = ..., synthesis: _Optional[_Union[_synthesis_pb2.SynthesisOptions, _Mapping]] = ..., image: _Optional[_Union[_image_pb2.ImageOptions, _Mapping]] = ..., priority: _Optional[_Union[_synthesis_pb2.Priority, str]] = ...) -> None: ...

class GenerateStreamResponse(_message.Message):
    __slots__ = ("index", "image", "generation")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    index: int
    image: _image_pb2.Image
    generation: _synthesis_pb2.Generation
    def __init__(self, index: _Optional[int] = ..., image: _Optional[_Union[_image_pb2.Image, _Mapping]] = ..., generation: _Optional[_Union[_synthesis_pb2.Generation, _Mapping]] = ...) -> None: ...

class WalkRequest(_message.Message):
    __slots__ = ("model", "keyframes", "frames_per_step", "interpolation", "closed", "synthesis", "image")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    KEYFRAMES_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_STEP_FIELD_NUMBER: _ClassVar[int]
    INTERPOLATION_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    SYNTHESIS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    model: str
    keyframes: _containers.RepeatedCompositeFieldContainer[_synthesis_pb2.Source]
    frames_per_step: int
    interpolation: Interpolation
    closed: bool
    synthesis: _synthesis_pb2.SynthesisOptions
    image: _image_pb2.ImageOptions
    def __init__(self, model: _Optional[str] = ..., keyframes: _Optional[_Iterable[_Union[_synthesis_pb2.Source, _Mapping]]] = ..., frames_per_step: _Optional[int] = ..., interpolation: _Optional[_Union[Interpolation, str]] = ..., closed: _Optional[bool] = ..., synthesis: _Optional[_Union[_synthesis_pb2.SynthesisOptions, _Mapping]] = ..., image: _Optional[_Union[_image_pb2.ImageOptions, _Mapping]] = ...) -> None: ...

class WalkResponse(_message.Message):
    __slots__ = ("index", "image", "generation")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    index: int
    image: _image_pb2.Image
    generation: _synthesis_pb2.Generation
    def __init__(self, index: _Optional[int] = ..., image: _Optional[_Union[_image_pb2.Image, _Mapping]] = ..., generation: _Optional[_Union[_synthesis_pb2.Generation, _Mapping]] = ...) -> None: ...
