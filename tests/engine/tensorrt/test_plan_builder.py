"""The real TensorRT-RTX builds plans without a GPU, and its errors become one line."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx_ir as ir
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.errors import ArtifactError, BackendError, BackendUnavailableError
from nonesuch.engine.tensorrt.backend import plan_variant
from nonesuch.engine.tensorrt.build_progress import BuildProgress
from nonesuch.engine.tensorrt.build_spec import BuildSpec
from nonesuch.engine.tensorrt.library import Library, find_flavour, load_library
from nonesuch.engine.tensorrt.plan_builder import build_plan
from nonesuch.engine.tensorrt.plan_request import PlanRequest
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.graphs.graph_builder import GraphBuilder, serialize
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ...conftest import REPOSITORY, TINY_SOURCE

FIXTURE = REPOSITORY / "tests" / "fixtures" / "sg2ada_64.pkl"


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library("tensorrt-rtx")


@pytest.fixture(scope="module")
def stylegan2(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """StyleGAN2 of 64 pixels in both precisions, and with noise as an input."""
    variants = [VariantOptions("fp16"), VariantOptions("fp32"), VariantOptions("fp32", noise="random")]
    out = tmp_path_factory.mktemp("plans") / "stylegan2"
    return export_checkpoint(read_checkpoint(FIXTURE), out, name="stylegan2", source=TINY_SOURCE, variants=variants)


def request_for(library: Library, artifact: Artifact, sizes: tuple[int, ...] = (1, 4), **choice: Any) -> PlanRequest:
    return PlanRequest(library, artifact, plan_variant(artifact, "tensorrt-rtx", **choice), sizes)


def build(library: Library, artifact: Artifact, spec: BuildSpec, progress: BuildProgress | None = None) -> bytes:
    return build_plan(library, artifact.read(spec.graph), spec, progress).data


def graph_of(op_type: str, name: str) -> bytes:
    """A graph with the inputs and the output of a synthesis graph, and one foreign node."""
    graph = GraphBuilder("odd")
    ws = graph.input("ws", ir.DataType.FLOAT, ["N", 10, 64])
    x = graph.op(op_type, [ws], name)
    picture = graph.op("Reshape", [x, graph.integers("shape", [-1, 1, 10, 64])], "reshape")
    image = graph.op("Cast", [picture], "cast", to=int(ir.DataType.UINT8))
    return serialize(graph.build([(image, "image", ir.DataType.UINT8, ["N", 1, 10, 64])]))


def test_the_library_is_the_pinned_one_and_knows_its_targets(library: Library) -> None:
    assert library.version.startswith("1.7.")
    assert {75, 80, 86, 89, 120} <= set(library.targets)
    assert not {87, 90, 100, 110} & set(library.targets)


def test_a_plan_builds_while_other_threads_run(library: Library, stylegan2: Artifact) -> None:
    shares: list[float] = []
    plan = build(library, stylegan2, request_for(library, stylegan2).spec, BuildProgress(shares.append))
    assert len(plan) > Path(stylegan2.folder, "synthesis-fp16.onnx").stat().st_size
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_noise_as_inputs_builds(library: Library, stylegan2: Artifact) -> None:
    spec = request_for(library, stylegan2, noise="random").spec
    assert len(spec.inputs) == 10  # ws, and one noise for each of nine layers
    assert build(library, stylegan2, spec)


def test_flags_and_limits_of_the_spec_are_applied(library: Library, stylegan2: Artifact) -> None:
    spec = request_for(library, stylegan2, precision="fp32").spec
    log = build_plan(library, stylegan2.read(spec.graph), msgspec.structs.replace(spec, tf32=False)).log
    assert not any("tf32" in line.lower() and "enabled" in line.lower() for line in log)
    with pytest.raises(BackendError, match=r"cannot build synthesis.onnx: .*workspace") as caught:
        build(library, stylegan2, msgspec.structs.replace(spec, workspace_mib=1))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("sms", [(87,), (86, 90), (110,)])
def test_unsupported_targets_are_rejected_with_the_supported_ones(
    library: Library, stylegan2: Artifact, sms: tuple[int, ...]
) -> None:
    request = msgspec.structs.replace(request_for(library, stylegan2).spec, sms=sms)
    with pytest.raises(BackendUnavailableError, match="use 75, 80, 86, 89, 120"):
        build(library, stylegan2, request)


def test_turing_needs_a_graph_without_gemm_and_its_own_plan(library: Library, stylegan2: Artifact) -> None:
    with pytest.raises(ArtifactError, match=r"no conv1x1 linear variant.*--linear"):
        plan_variant(stylegan2, "tensorrt-rtx", (75,))
    variant = plan_variant(stylegan2, "tensorrt-rtx")
    for sms in ((75,), (75, 86)):
        with pytest.raises(BackendUnavailableError, match=r"SM 75 needs its own plan.*--linear gemm,conv1x1"):
            _ = PlanRequest(library, stylegan2, variant, (1,), sms=sms).spec
    # Our error replaces this one of the library, which does not say what to do.
    spec = msgspec.structs.replace(request_for(library, stylegan2).spec, sms=(75,))
    with pytest.raises(BackendError, match="FP32 GEMM is not supported"):
        build(library, stylegan2, spec)


def test_tensorrt_only_builds_for_its_own_gpu(stylegan2: Artifact, library: Library) -> None:
    class Module:
        """The module of a TensorRT without ahead-of-time targets; never called."""

        __version__ = "11.4.0"
        ILogger = library.trt.ILogger
        IExecutionContext = library.trt.IExecutionContext

    tensorrt = Library(find_flavour("tensorrt"), Module)
    with pytest.raises(BackendUnavailableError, match="builds for the GPU that it runs on, not for SM 86; build"):
        _ = PlanRequest(tensorrt, stylegan2, plan_variant(stylegan2, "tensorrt"), (1,), sms=(86,)).spec


def test_an_unknown_operator_is_named_with_its_node(library: Library, stylegan2: Artifact) -> None:
    spec = request_for(library, stylegan2).spec
    graph = graph_of("Det", "somewhere/odd_one")
    with pytest.raises(BackendError, match=r"cannot read synthesis-fp16.onnx: .*somewhere/odd_one.*Det") as caught:
        build_plan(library, graph, spec)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("graph", [b"", b"not onnx at all", np.zeros(4096, np.uint8).tobytes()])
def test_bytes_that_are_not_a_graph_are_rejected(library: Library, stylegan2: Artifact, graph: bytes) -> None:
    with pytest.raises(BackendError, match=r"cannot read synthesis-fp16.onnx|expected"):
        build_plan(library, graph, request_for(library, stylegan2).spec)


def test_a_graph_with_other_inputs_than_its_spec_is_rejected(library: Library, stylegan2: Artifact) -> None:
    spec = request_for(library, stylegan2).spec
    with pytest.raises(BackendError, match=r"has the inputs noise\..*, ws where ws are expected"):
        build_plan(library, stylegan2.read("synthesis-random-noise.onnx"), spec)


def test_a_cancelled_build_raises_and_the_next_one_works(library: Library, stylegan2: Artifact) -> None:
    def report(share: float) -> None:
        if share > 0.1:
            progress.cancel()

    spec, progress = request_for(library, stylegan2).spec, BuildProgress(report)
    with pytest.raises(BackendError, match=r"the build of synthesis-fp16.onnx was cancelled"):
        build(library, stylegan2, spec, progress)
    assert build(library, stylegan2, spec)


def test_builds_of_two_threads_take_turns(library: Library, stylegan2: Artifact) -> None:
    plans: list[bytes] = []
    specs = [request_for(library, stylegan2, precision=precision).spec for precision in ("fp32", "fp16")]
    threads = [threading.Thread(target=lambda s=spec: plans.append(build(library, stylegan2, s))) for spec in specs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(plans) == 2


@pytest.mark.filterwarnings("ignore:.*timing cache.*:DeprecationWarning")
def test_kernel_timings_are_returned_and_accepted_again(library: Library, stylegan2: Artifact) -> None:
    """As with TensorRT; here with TensorRT-RTX's calls of the same names, whose timings are empty."""
    timing = Library(replace(library.flavour, ahead_of_time=False), library.trt)
    spec = request_for(library, stylegan2, sizes=(1,)).spec
    graph = stylegan2.read(spec.graph)
    first = build_plan(timing, graph, spec)
    assert first.timing_cache
    for timings in (first.timing_cache, b"of another version"):
        assert build_plan(timing, graph, spec, timing_cache=timings).timing_cache
    assert build_plan(library, graph, spec).timing_cache is None
