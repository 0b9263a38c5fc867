"""How fast every subject that works here renders: one image (suite latency), and batches (suite throughput).

Limits: one batch at a time by one caller, styles in and pixels out (no mapping, no encoding). A backend may render the
images of a batch one after another; only complete batches count. Read the ratios, which are formed within rounds,
before the times. The arithmetic floor is what the model's convolutions and matrix products would take at the rate of a
large float32 matrix product, measured in the same rounds. They are counted from the ONNX graph of one variant, so they
are what that graph asks for, with the work that a builder's choices add (an inverse wavelet transform as a convolution,
say). Element-wise work is not counted: it is memory that it costs.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

from nonesuch.engine.errors import NonesuchError

from .environment import sgemm_gflops
from .interleaved import Plan, Sampler
from .result import BenchmarkError, Outcome, Request
from .subjects.in_turn import OpenSubjects, line_up
from .subjects.subject import Workload

FLOOR = "arithmetic floor"
QUICK_IMAGE = Plan(rounds=15, min_rounds=5, budget_s=6.0)
FULL_IMAGE = Plan(rounds=200, min_rounds=11, budget_s=45.0, warm_up=2)
QUICK_SIZES, FULL_SIZES = (1, 4), (1, 2, 4, 8)
# The run that compares the pictures is a warm-up already.
QUICK_BATCH = Plan(rounds=10, min_rounds=3, budget_s=4.0, warm_up=0)
FULL_BATCH = Plan(rounds=50, min_rounds=7, budget_s=40.0, warm_up=1)


def measure_latency(request: Request) -> Outcome:
    """Samples of `latency`, ms, one for each round and subject, and of `device_latency` where a device has a clock."""
    outcome = Outcome("latency")
    workload = Workload(request.model)
    floor = _floor(request, workload, outcome) if request.wants(FLOOR) else {}
    with OpenSubjects(request, workload, line_up(request, outcome), outcome) as opened:
        subjects = opened.agree(1)
        sampled = opened.sample(subjects, 1, Plan.of(request, QUICK_IMAGE, FULL_IMAGE), floor)
        for metric, found in (("latency", sampled.samples), ("device_latency", opened.device_ms)):
            for one in subjects:
                if one.name in found:
                    outcome.add(one.name, metric, found[one.name], {"batch": 1}, one.detail)
        if FLOOR in sampled.samples:
            detail = "GFLOP of the graph at the rate of numpy's sgemm"
            outcome.add(FLOOR, "latency", sampled.samples[FLOOR], {"batch": 1}, detail, better="none")
    return outcome


def measure_throughput(request: Request) -> Outcome:
    """Samples of `images_per_s`, one for each round, subject and batch size; on CUDA also of the device alone."""
    outcome = Outcome("throughput")
    sizes = QUICK_SIZES if request.quick else FULL_SIZES
    lineup = line_up(request, outcome, max_batch_size=max(sizes))
    with OpenSubjects(request, Workload(request.model), lineup, outcome) as opened:
        for size in sizes:
            subjects = opened.agree(size)
            sampled = opened.sample(subjects, size, Plan.of(request, QUICK_BATCH, FULL_BATCH))
            for metric, found in (("images_per_s", sampled.samples), ("device_images_per_s", opened.device_ms)):
                for one in subjects:
                    if one.name in found:
                        rates = [size / time_ms * 1e3 for time_ms in found[one.name]]
                        outcome.add(one.name, metric, rates, {"batch": size}, one.detail)
    return outcome


def _floor(request: Request, workload: Workload, outcome: Outcome) -> dict[str, Sampler]:
    """The sampler of the floor, and the graph's arithmetic as a measurement; nothing where it cannot be counted."""
    file = workload.variant.file
    try:
        gflop = graph_gflop(workload.artifact.read(file))
    except NonesuchError as error:
        outcome.skip(FLOOR, error.message)
        return {}
    detail = f"convolutions and matrix products of {file}, one image"
    outcome.add(FLOOR, "arithmetic", [gflop], {"batch": 1}, detail)
    request.say(f"{file} has {gflop:.1f} GFLOP an image")
    return {FLOOR: lambda _: gflop / sgemm_gflops() * 1e3}


def graph_gflop(model: bytes) -> float:
    """GFLOP (1e9; a multiply-add is two) of one image, the leading axis of every input taken as 1.

    Raises BenchmarkError where onnx is not installed, or a shape is not known.
    """
    try:
        onnx: Any = import_module("onnx")
    except ImportError as error:
        raise BenchmarkError("counting a graph's arithmetic needs onnx; pip install 'nonesuch[export]'") from error
    proto = onnx.load_from_string(model)
    for value in proto.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del proto.graph.value_info[:]  # of the symbolic batch; inferred again for one image
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return sum(_flop(node, shapes) for node in graph.node) / 1e9


def _flop(node: Any, shapes: dict[str, list[int]]) -> int:
    def shape(name: str) -> list[int]:
        found = shapes.get(name, [])
        if not found or not all(found):
            raise BenchmarkError(f"the shape of {name!r} cannot be inferred from the graph; its arithmetic is unknown")
        return found

    if node.op_type == "Conv":
        # Each output value is a sum over the weight's [in / groups, k, k].
        return 2 * math.prod(shape(node.output[0])) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        # Each input value is spread over the weight's [out / groups, k, k].
        return 2 * math.prod(shape(node.input[0])) * math.prod(shapes[node.input[1]][1:])
    if node.op_type in {"Gemm", "MatMul"}:
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return 2 * math.prod(shape(node.output[0])) * shape(node.input[0])[-2 if transposed else -1]
    return 0
