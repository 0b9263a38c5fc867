"""Builds one variant of a synthesis graph: its bytes, checked to be valid ONNX, and its manifest entry."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nonesuch.engine.manifest import GraphInput, Variant

from .checkpoint import Checkpoint
from .checks import check_graph
from .families import find_family
from .graphs.graph_builder import serialize
from .graphs.synthesis_builder import VariantOptions

_RUNTIMES = ("onnxruntime", "openvino", "torch")
"""The first decides the default form. torch renders the checkpoint, so it ignores the form of the graph."""


@dataclass(frozen=True)
class BuiltVariant:
    """A graph's bytes and its entry in the manifest."""

    data: bytes
    entry: Variant


def build_variants(checkpoint: Checkpoint, options: VariantOptions) -> list[BuiltVariant]:
    """Build the graphs for some options: one, or one per form if the runtimes prefer different forms.

    Only float32 graphs with the default form differ by runtime: float16 is for GPUs, so TensorRT decides its form, and
    a form requested by name is for every runtime.

    Raises:
        CheckpointError, UnsupportedError, ExportMismatchError: as `build_variant`.
    """
    family = find_family(checkpoint.family)
    if options.upsampling == "default" and options.precision == "fp16":
        options = replace(options, upsampling=family.form_for("tensorrt"))
    if options.upsampling != "default":
        return [build_variant(checkpoint, options)]
    forms: dict[str, list[str]] = {}
    for runtime in _RUNTIMES:
        forms.setdefault(family.form_for(runtime), []).append(runtime)
    return [build_variant(checkpoint, replace(options, upsampling=form), runtimes) for form, runtimes in forms.items()]


def build_variant(checkpoint: Checkpoint, options: VariantOptions, runtimes: Sequence[str] = _RUNTIMES) -> BuiltVariant:
    """Build one variant for the given runtimes.

    Raises:
        CheckpointError: a tensor is missing, or its shape does not match the config.
        UnsupportedError: the family does not have this variant.
        ExportMismatchError: the graph is not valid ONNX.
    """
    family = find_family(checkpoint.family)
    upsampling = options.upsampling_form(family.upsampling, family.name)
    model = family.build(checkpoint, options)
    inputs = tuple(_graph_input(value, checkpoint) for value in model.graph.inputs if value.name != "ws")
    file = _file_name(options, upsampling != family.upsampling[0] and upsampling)
    data = serialize(model)
    check_graph(data, file)
    entry = Variant(
        file=file,
        precision=options.precision,
        upsampling=upsampling,
        noise=options.noise,
        linear=options.linear,
        output=options.output,
        inputs=inputs,
        runtimes=tuple(runtimes),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    return BuiltVariant(data, entry)


def _file_name(options: VariantOptions, upsampling: str | bool) -> str:
    """`synthesis.onnx` for the default; other variants append the options that differ."""
    parts = [
        "synthesis",
        options.precision != "fp32" and options.precision,
        options.noise != "const" and f"{options.noise}-noise",
        upsampling,
        options.linear != "gemm" and options.linear,
        options.output != "uint8_nhwc" and "float32",
    ]
    return "-".join(str(part).replace("_", "-") for part in parts if part) + ".onnx"


def _graph_input(value: Any, checkpoint: Checkpoint) -> GraphInput:
    shape = tuple(int(dimension) for dimension in list(value.shape)[1:])
    if value.name == "transform":
        default = np.asarray(checkpoint.tensor("synthesis.input.transform", 3, 3), dtype=float).ravel()
        return GraphInput(name=value.name, role="transform", shape=shape, default=tuple(default.tolist()))
    return GraphInput(name=str(value.name), role="noise", shape=shape)
