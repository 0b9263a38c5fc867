"""Shared by the tests of plans: specs and records without a library, and a real library."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nonesuch.engine.home import Home
from nonesuch.engine.tensorrt.batch_profile import make_profiles
from nonesuch.engine.tensorrt.build_spec import BuildSpec, TensorSpec
from nonesuch.engine.tensorrt.library import Library, load_library
from nonesuch.engine.tensorrt.plan_record import Numerics, PlanRecord

# A second value for every field of a spec; the tests fail if a new field has none.
OTHER_VALUES: dict[str, object] = {
    "schema": 2,
    "backend": "tensorrt",
    "library_version": "1.7.1.117",
    "platform": "linux-aarch64",
    "sms": (86,),
    "gpu": "NVIDIA T4",
    "gpu_sm": 75,
    "gpu_multiprocessors": 40,
    "batch_sizes": (1, 2),
    "profiles": make_profiles((1, 2)),
    "tf32": False,
    "workspace_mib": 64,
    "model_id": "d" * 64,
    "graph": "synthesis-fp16.onnx",
    "graph_sha256": "e" * 64,
    "precision": "fp16",
    "inputs": (TensorSpec("ws", (8, 13), "float32"),),
    "output": TensorSpec("image", (64, 64, 3), "uint8"),
}


def make_spec(**changes: object) -> BuildSpec:
    """The spec of a portable plan of a small model; does not need a library."""
    plain = BuildSpec(
        backend="tensorrt-rtx",
        library_version="1.7.1.116",
        platform="linux-x86_64",
        batch_sizes=(1, 2, 4),
        profiles=make_profiles((1, 2, 4)),
        model_id="a" * 64,
        graph="synthesis.onnx",
        graph_sha256="b" * 64,
        precision="fp32",
        inputs=(TensorSpec("ws", (8, 12), "float32"),),
        output=TensorSpec("image", (32, 32, 3), "uint8"),
    )
    return msgspec.structs.replace(plain, **changes)


def make_record(data: bytes, spec: BuildSpec | None = None) -> PlanRecord:
    """The record of arbitrary bytes."""
    return PlanRecord.of(
        spec or make_spec(),
        data,
        created="2026-11-25T10:00:00+00:00",
        build_s=1.5,
        numerics=Numerics(status="not run", note="there is no NVIDIA driver"),
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home for one test."""
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def rtx() -> Library:
    """The real TensorRT-RTX, which builds without a GPU."""
    pytest.importorskip("tensorrt_rtx")
    return load_library("tensorrt-rtx")
