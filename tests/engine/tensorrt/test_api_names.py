"""Every name of TensorRT and cuda-core that the code and the fakes use exists in the supported versions.

The lists in api/ are the names of the public Python interface of TensorRT 10.3 (JetPack 6), 11.4 and TensorRT-RTX 1.7,
one per line, from introspection of the libraries.
"""

from __future__ import annotations

import ast
import enum
from pathlib import Path
from typing import Any

import pytest

from nonesuch.engine.tensorrt import plan_builder

from . import fake_cuda, fake_tensorrt

SOURCES = Path(plan_builder.__file__).parent
VERSIONS = tuple(fake_tensorrt.VERSIONS)

# file -> expression -> its class in the library.
CLASSES = {
    "plan_builder.py": {
        "build.builder": "Builder", "self.builder": "Builder", "network": "INetworkDefinition",
        "parser": "OnnxParser", "self.parser": "OnnxParser", "config": "IBuilderConfig",
        "self.config": "IBuilderConfig", "profile": "IOptimizationProfile", "error": "ParserError",
        "cache": "ITimingCache",
    },
    "batch_context.py": {"self._context": "IExecutionContext", "engine": "ICudaEngine", "config": "IRuntimeConfig"},
    "plan_runtime.py": {"self._engine": "ICudaEngine", "self._runtime": "Runtime"},
    "library.py": {},
    "build_progress.py": {},
}  # fmt: skip
MODULE = {"trt", "self.trt", "library.trt", "self._library.trt"}

# Used only after hasattr, or only for a flavour that has it: name -> the versions without it.
OPTIONAL = {
    "ICudaEngine.create_runtime_config": {"tensorrt-10.3"},
    "IRuntimeConfig.set_execution_context_allocation_strategy": {"tensorrt-10.3"},
    "IRuntimeConfig.cuda_graph_strategy": {"tensorrt-10.3", "tensorrt-11.4"},
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy": {"tensorrt-10.3", "tensorrt-11.4"},
    "DynamicShapesKernelSpecializationStrategy": {"tensorrt-10.3", "tensorrt-11.4"},
    "DynamicShapesKernelSpecializationStrategy.EAGER": {"tensorrt-10.3", "tensorrt-11.4"},
    "CudaGraphStrategy": {"tensorrt-10.3", "tensorrt-11.4"},
    "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE": {"tensorrt-10.3", "tensorrt-11.4"},
    "ComputeCapability": {"tensorrt-10.3", "tensorrt-11.4"},
    "IBuilderConfig.num_compute_capabilities": {"tensorrt-10.3", "tensorrt-11.4"},
    "IBuilderConfig.set_compute_capability": {"tensorrt-10.3", "tensorrt-11.4"},
}
_PYTHON_NAMES = {"__members__", "__init__", "__version__"}


def names_of(version: str) -> set[str]:
    return set((Path(__file__).parent / "api" / f"{version}.txt").read_text().split())


def used_names(file: str) -> set[str]:
    """The names `Class.attribute`, `Enum.MEMBER` and `Class` of the library in one of our files."""
    found: set[str] = set()
    tree = ast.parse((SOURCES / file).read_text())
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or node.attr in _PYTHON_NAMES:
            continue
        owner = ast.unparse(node.value)
        if owner in CLASSES[file]:
            found.add(f"{CLASSES[file][owner]}.{node.attr}")
        elif owner in MODULE:
            found.add(node.attr)
        elif isinstance(node.value, ast.Attribute) and ast.unparse(node.value.value) in MODULE:
            found.add(f"{node.value.attr}.{node.attr}")
    return found


def is_in(name: str, names: set[str]) -> bool:
    return name in names or any(known.startswith(f"{name}.") for known in names)


def test_the_table_has_all_files_that_use_the_library() -> None:
    touching = {path.name for path in SOURCES.glob("*.py") if "trt" in path.read_text().replace("tensorrt", "")}
    assert touching == set(CLASSES)


def test_the_table_finds_the_names_in_the_code() -> None:
    assert {"Builder.build_serialized_network", "IBuilderConfig.add_optimization_profile", "BuilderFlag.TF32",
            "OnnxParser.parse", "ParserError.node_name", "IOptimizationProfile.set_shape"} <= used_names(
        "plan_builder.py"
    )  # fmt: skip
    assert {"IExecutionContext.execute_async_v3", "IExecutionContext.set_device_memory"} <= used_names(
        "batch_context.py"
    )
    assert {"Runtime", "Runtime.deserialize_cuda_engine", "ICudaEngine.num_io_tensors"} <= used_names("plan_runtime.py")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", CLASSES)
def test_every_name_that_the_code_uses_exists(file: str, version: str) -> None:
    names = names_of(version)
    missing = {name for name in used_names(file) if not is_in(name, names)}
    assert missing <= {name for name, without in OPTIONAL.items() if version in without}


@pytest.mark.parametrize("name", OPTIONAL)
def test_optional_names_are_missing_exactly_in_the_versions_of_the_table(name: str) -> None:
    assert {version for version in VERSIONS if not is_in(name, names_of(version))} == OPTIONAL[name]


def public(kind: type) -> set[str]:
    if issubclass(kind, enum.Enum):
        return set(kind.__members__)
    own = {name for base in kind.__mro__[:-1] for name in vars(base)}
    return {name for name in own if not name.startswith("_")}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_fake_of_tensorrt_only_has_names_of_the_library(version: str) -> None:
    from .test_plan_runtime import make_spec

    names, fake = names_of(version), fake_tensorrt.FakeTensorRt(version, make_spec(version))
    for name, kind in {**vars(type(fake)), **vars(fake)}.items():
        if name.startswith("_") or not isinstance(kind, type):
            continue
        assert is_in(name, names), name
        assert {f"{name}.{attribute}" for attribute in public(kind)} <= names
    engine = fake_tensorrt.ICudaEngine if version == "tensorrt-10.3" else fake_tensorrt.ICudaEngineWithConfig
    instance = engine(fake, make_spec(version), None)
    attributes = public(engine) | {name for name in vars(instance) if not name.startswith("_")}
    assert {f"ICudaEngine.{attribute}" for attribute in attributes} <= names
    assert {f"IExecutionContext.{attribute}" for attribute in public(fake_tensorrt.IExecutionContext)} <= names
    if version != "tensorrt-10.3":
        assert {f"IRuntimeConfig.{attribute}" for attribute in public(fake_tensorrt.IRuntimeConfig)} <= names


def test_the_fake_of_cuda_only_has_names_of_cuda_core() -> None:
    import cuda.core as real
    import cuda.core.graph as real_graph

    fake = fake_cuda.FakeCore()
    pairs: list[tuple[Any, Any]] = [
        (fake.Device, real.Device),
        (fake.Buffer, real.Buffer),
        (fake.LegacyPinnedMemoryResource, real.LegacyPinnedMemoryResource),
        (fake_cuda.Stream, real.Stream),
        (fake_cuda.Event, real.Event),
        (fake_cuda.Graph, real_graph.Graph),
        (fake_cuda.GraphBuilder, real_graph.GraphBuilder),
    ]
    for ours, theirs in pairs:
        assert {name for name in public(ours) if not hasattr(theirs, name)} == set(), theirs
    assert real.EventOptions(blocking_sync=True).blocking_sync


def test_the_runtime_only_uses_names_of_cuda_core_that_the_fake_has() -> None:
    fake = fake_cuda.FakeCore()
    stream, event = public(fake_cuda.Stream) | {"handle"}, public(fake_cuda.Event)
    builder, buffer = public(fake_cuda.GraphBuilder) | {"stream"}, public(fake.Buffer) | {"handle"}
    known = {
        "core": set(vars(fake)), "self._core": set(vars(fake)), "device": public(fake.Device),
        "self.device": public(fake.Device), "self.stream": stream, "cuda.stream": stream,
        "builder": builder, "builder.stream": stream, "self._graph": public(fake_cuda.Graph),
        "self._pinned": public(fake.LegacyPinnedMemoryResource), "buffer": buffer, "self.output": buffer,
        "self.done": event, "staging.done": event,
    }  # fmt: skip
    seen = set()
    for file in ("cuda.py", "batch_context.py", "plan_runtime.py"):
        for node in ast.walk(ast.parse((SOURCES / file).read_text())):
            if isinstance(node, ast.Attribute) and (owner := ast.unparse(node.value)) in known:
                assert node.attr in known[owner], f"{file}: {owner}.{node.attr}"
                seen.add(owner)
    assert {"builder", "self._graph", "buffer", "self.stream", "staging.done", "self.done", "device"} <= seen
