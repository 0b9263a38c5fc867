"""The runtime's state machine against FAKES of TensorRT and CUDA: allocation, capture, order, errors, teardown.

No kernel runs here; `test_gpu.py` needs a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nonesuch.engine.errors import BackendError, DeviceLostError, InvalidRequestError, PlanError
from nonesuch.engine.tensorrt.batch_profile import make_profiles
from nonesuch.engine.tensorrt.build_spec import BuildSpec, TensorSpec
from nonesuch.engine.tensorrt.library import FLAVOURS, Library
from nonesuch.engine.tensorrt.plan_runtime import IN_FLIGHT, PlanRuntime

from . import fake_tensorrt
from .fake_cuda import FakeCore
from .fake_tensorrt import ACTIVATION_BYTES, VERSIONS, CudaGraphStrategy, FakeTensorRt, colour

SIZES = (1, 2, 4)


def make_spec(version: str, sizes: tuple[int, ...] = SIZES) -> BuildSpec:
    rtx = "rtx" in version
    return BuildSpec(
        backend="tensorrt-rtx" if rtx else "tensorrt",
        library_version=VERSIONS[version],
        platform="linux-x86_64",
        gpu=None if rtx else "a fake",
        gpu_sm=None if rtx else 86,
        gpu_multiprocessors=None if rtx else 1,
        batch_sizes=sizes,
        profiles=make_profiles(sizes),
        model_id="0" * 64,
        graph="synthesis.onnx",
        graph_sha256="1" * 64,
        precision="fp16",
        inputs=(TensorSpec("ws", (3, 5), "float32"), TensorSpec("transform", (3, 3), "float32")),
        output=TensorSpec("image", (4, 4, 3), "uint8"),
    )


@pytest.fixture(params=list(VERSIONS))
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCore]:
    """The FAKE cuda-core instead of the real one; at the end all its objects must be closed."""
    fake = FakeCore()
    monkeypatch.setitem(sys.modules, "cuda.core", fake)
    yield fake
    assert {kind: count for kind, count in fake.world.live.items() if count} == {}


class Bench:
    """A runtime on the fakes."""

    def __init__(self, version: str) -> None:
        self.spec = make_spec(version)
        self.trt = FakeTensorRt(version, self.spec)
        self.library = Library(FLAVOURS[self.spec.backend], self.trt)

    def open(self, sizes: tuple[int, ...] = SIZES, plan: bytes = b"fake plan", graphs: bool = False) -> PlanRuntime:
        return PlanRuntime(self.library, plan, self.spec, ordinal=0, batch_sizes=sizes, cuda_graphs=graphs)


@pytest.fixture
def bench(version: str) -> Bench:
    return Bench(version)


def feeds(seed: int, size: int) -> dict[str, NDArray[np.float32]]:
    random = np.random.RandomState(seed)
    made: dict[str, Any] = {"ws": random.randn(size, 3, 5), "transform": random.randn(size, 3, 3)}
    return {name: array.astype(np.float32) for name, array in made.items()}


def check(images: NDArray[np.uint8], given: dict[str, NDArray[np.float32]]) -> None:
    assert images.shape == (len(given["ws"]), 4, 4, 3)
    np.testing.assert_array_equal(images, np.broadcast_to(colour(given["ws"])[:, None, None, None], images.shape))


@pytest.mark.parametrize("graphs", [False, True])
def test_every_size_gets_its_own_images(core: FakeCore, bench: Bench, graphs: bool) -> None:
    runtime = bench.open(graphs=graphs)
    for turn in range(3):
        for size in SIZES:
            given = feeds(10 * turn + size, size)
            check(runtime.run(given, size), given)
    runtime.close()


def test_images_are_copies(core: FakeCore, bench: Bench) -> None:
    runtime = bench.open()
    given = feeds(0, 2)
    images = runtime.run(given, 2)
    for seed in range(1, 4):
        runtime.run(feeds(seed, 2), 2)
    check(images, given)
    runtime.close()
    check(images, given)


def test_memory_is_for_the_largest_size_and_pinned_memory_per_batch_in_flight(core: FakeCore, bench: Bench) -> None:
    runtime = bench.open()
    world = core.world
    assert world.live["device memory"] == 4  # ws, transform, image, activations
    assert world.live["pinned memory"] == 3 * IN_FLIGHT
    assert {context._memory for context in bench.trt.contexts} == {bench.trt.contexts[0]._memory}
    assert bench.trt.contexts[0]._memory[1] == ACTIVATION_BYTES * max(SIZES)
    runtime.close()


def test_single_images_use_the_memory_of_one(core: FakeCore, bench: Bench) -> None:
    runtime = bench.open(sizes=(1,))
    assert [context._profile for context in bench.trt.contexts] == [0]
    assert bench.trt.contexts[0]._memory[1] == ACTIVATION_BYTES
    runtime.close()


def test_two_batches_are_in_flight_from_two_threads(core: FakeCore, bench: Bench) -> None:
    runtime = bench.open()
    jobs = [(feeds(seed, size), size) for seed, size in enumerate(SIZES * 20)]
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        for (given, _), images in zip(jobs, pool.map(lambda job: runtime.run(*job), jobs), strict=True):
            check(images, given)
    runtime.close()


def test_graphs_are_captured_by_the_library_if_it_can(core: FakeCore, bench: Bench, version: str) -> None:
    runtime = bench.open(graphs=True)
    runtime.run(feeds(0, 1), 1)
    rtx = version == "tensorrt-rtx-1.7"
    assert core.world.graphs == (0 if rtx else 1)
    assert core.world.live.get("graph", 0) == (0 if rtx else len(SIZES))
    strategies = {context._graphs for context in bench.trt.contexts}
    assert strategies == {CudaGraphStrategy.WHOLE_GRAPH_CAPTURE if rtx else CudaGraphStrategy.DISABLED}
    runtime.close()


def test_by_default_nothing_is_captured(core: FakeCore, bench: Bench) -> None:
    runtime = bench.open()
    runtime.run(feeds(0, 1), 1)
    assert core.world.graphs == 0
    assert {context._graphs for context in bench.trt.contexts} == {CudaGraphStrategy.DISABLED}
    runtime.close()


CALLS = ["create_execution_context", "set_optimization_profile_async", "set_input_shape", "infer_shapes",
         "set_tensor_address"]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_a_failed_call_while_opening_has_the_reason_of_the_library(core: FakeCore, bench: Bench, call: str) -> None:
    bench.trt.fails = {call}
    with pytest.raises(BackendError, match=f"refuses .*synthesis.onnx: the fake was told to fail in {call}"):
        bench.open()


def test_a_plan_that_does_not_load_is_a_plan_error(core: FakeCore, bench: Bench) -> None:
    bench.trt.fails = {"deserialize_cuda_engine"}
    with pytest.raises(PlanError, match=r"cannot load the plan of synthesis.onnx .*deserialize_cuda_engine; build it"):
        bench.open()


def test_a_plan_with_other_tensors_than_its_record_is_rejected(core: FakeCore, bench: Bench, version: str) -> None:
    other = FakeTensorRt(version, make_spec(version, (1,)))
    bench.library = Library(FLAVOURS[bench.spec.backend], other)
    with pytest.raises(PlanError, match="1 profiles, its record says"):
        bench.open()


def test_a_size_outside_every_profile_is_rejected_before_anything_is_opened(core: FakeCore, bench: Bench) -> None:
    with pytest.raises(InvalidRequestError, match="8 images are outside every profile of the plan, which has 1 to 1"):
        bench.open(sizes=(1, 8))
    assert not core.world.live


@pytest.mark.parametrize("graphs", [False, True])
def test_out_of_memory_while_opening_is_a_backend_error_and_releases_everything(
    core: FakeCore, bench: Bench, graphs: bool
) -> None:
    core.world.next_error = "CUDA_ERROR_OUT_OF_MEMORY"
    with pytest.raises(BackendError, match="while the plan was opened: CUDA_ERROR_OUT_OF_MEMORY") as caught:
        bench.open(graphs=graphs)
    assert not isinstance(caught.value, DeviceLostError)


def test_a_device_that_is_lost_while_opening_says_to_restart_the_process(core: FakeCore, bench: Bench) -> None:
    def broken(name: str) -> bool:
        core.world.broken = "CUDA_ERROR_ECC_UNCORRECTABLE"
        return False

    context = fake_tensorrt.IExecutionContext
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "set_tensor_address", lambda self, name, memory: broken(name))
        with pytest.raises(DeviceLostError, match=r"CUDA_ERROR_ECC_UNCORRECTABLE.*restart the process"):
            bench.open()


def test_an_unusable_device_is_a_backend_error(core: FakeCore, bench: Bench) -> None:
    core.world.broken = "CUDA_ERROR_DEVICE_UNAVAILABLE"
    with pytest.raises(BackendError, match="CUDA does not start on cuda:0: CUDA_ERROR_DEVICE_UNAVAILABLE"):
        bench.open()


def test_a_failed_capture_says_why_and_releases_everything(core: FakeCore, bench: Bench, version: str) -> None:
    bench.trt.fails = {"capture"}
    if version == "tensorrt-rtx-1.7":  # captures by itself
        bench.open(graphs=True).close()
        return
    with pytest.raises(BackendError, match=r"refuses to run for 1 images of .*: the fake was told to fail in capture"):
        bench.open(graphs=True)


def test_a_run_that_the_library_rejects_does_not_affect_others(core: FakeCore, bench: Bench) -> None:
    runtime = bench.open()
    bench.trt.fails = {"execute_async_v3"}
    with pytest.raises(
        BackendError, match=r"refuses to run for 2 images of synthesis.onnx: the fake was told"
    ) as caught:
        runtime.run(feeds(0, 2), 2)
    assert not isinstance(caught.value, DeviceLostError)
    bench.trt.fails = set()
    for seed in range(1, 5):
        given = feeds(seed, 2)
        check(runtime.run(given, 2), given)
    runtime.close()


def test_a_transient_cuda_error_fails_only_its_batch(core: FakeCore, bench: Bench) -> None:
    runtime = bench.open()
    core.world.next_error = "CUDA_ERROR_INVALID_VALUE"
    with pytest.raises(BackendError, match="CUDA failed with 1 images: CUDA_ERROR_INVALID_VALUE") as caught:
        runtime.run(feeds(0, 1), 1)
    assert not isinstance(caught.value, DeviceLostError)
    given = feeds(1, 1)
    check(runtime.run(given, 1), given)
    runtime.close()


def test_a_sticky_cuda_error_says_to_restart_the_process(core: FakeCore, bench: Bench) -> None:
    runtime = bench.open()
    core.world.broken = "CUDA_ERROR_ILLEGAL_ADDRESS"
    for _ in range(2 * IN_FLIGHT):
        with pytest.raises(DeviceLostError, match=r"CUDA_ERROR_ILLEGAL_ADDRESS.*restart the process"):
            runtime.run(feeds(0, 1), 1)
    core.world.broken = ""
    runtime.close()
