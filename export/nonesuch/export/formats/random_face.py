"""Reads MobileStyleGAN from the PyPI wheel `random-face`: OpenVINO IR inside a zip. The wheel is never imported.

Constants are found by their position in the graph, because their names differ between exports:

- mapping: each MatMul in topological order is a layer; its bias is in the following Add;
- synthesis: every style is `Parameter -> MatMul -> Add [-> Reshape/Unsqueeze] [-> Multiply by a scale]`, and one
  Multiply applies it to the features. In topological order these are conv1, then (up, conv1, conv2) of each block, then
  to_img;
- after a styled Multiply: Convolution (conv1, to_img), or GroupConvolution and Convolution (the separable ones), then
  Add noise, Add bias, PReLU; to_img has only Add bias. A styled Multiply without a convolution feeds the wavelet
  up-sampling.

The file has most gains folded (pointwise weights include the demodulation, mapping weights the learning-rate
multiplier). The style scales are separate constants in the file and are folded into the affines here.
Network: Belousov, "MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image Synthesis",
arXiv 2104.04767.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError

from ..checkpoint import Checkpoint
from .openvino_ir import IrGraph, IrNode

_FOLDER = "random_face/data"
_MAX_MEMBER_BYTES = 256 << 20
_RELU_SLOPE = 0.2
_RESHAPES = {"Reshape", "Unsqueeze", "Squeeze"}


def read_random_face_wheel(wheel: Path) -> Checkpoint:
    """Convert the wheel's two networks into one checkpoint of family `mobilestylegan`.

    Raises:
        CheckpointError: not a zip, a member is missing or too large, or the graphs are not MobileStyleGAN.
    """
    mapping = _open_ir(wheel, "MappingNetwork")
    synthesis = _open_ir(wheel, "SynthesisNetwork")
    try:
        return _convert(mapping, synthesis)
    except IndexError as error:  # a layer with too few inputs, or a constant with too few dimensions
        raise CheckpointError(f"{wheel.name}: its graphs are not those of MobileStyleGAN ({error})") from error


def _convert(mapping: IrGraph, synthesis: IrGraph) -> Checkpoint:
    tensors = {f"mapping.{name}": array for name, array in _mapping_tensors(mapping).items()}
    layers = len(tensors) // 2
    synthesis_tensors, channels = _synthesis_tensors(synthesis)
    tensors.update({f"synthesis.{name}": array for name, array in synthesis_tensors.items()})
    size = tensors["synthesis.input"].shape[-1]
    blocks = len(channels) - 1
    config = {
        "family": "mobilestylegan",
        "z_dim": int(tensors["mapping.fc0.weight"].shape[1]),
        "w_dim": int(tensors[f"mapping.fc{layers - 1}.weight"].shape[0]),
        "mapping_layers": layers,
        "channels": channels,
        "resolution": size << (blocks + 1),
        "img_channels": 3,
    }
    return Checkpoint(config=config, tensors=tensors)


def _open_ir(wheel: Path, network: str) -> IrGraph:
    parts: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for suffix in ("xml", "bin"):
                info = archive.getinfo(f"{_FOLDER}/{network}.{suffix}")
                if info.file_size > _MAX_MEMBER_BYTES:
                    raise CheckpointError(
                        f"{wheel.name}: {info.filename} has {info.file_size} bytes; the limit is {_MAX_MEMBER_BYTES}"
                    )
                parts[suffix] = archive.read(info)
    except KeyError as error:
        raise CheckpointError(f"{wheel.name} is not the random-face wheel: {error.args[0]}") from error
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{wheel.name} cannot be read as a wheel ({error}); download it again") from error
    return IrGraph.parse(parts["xml"], parts["bin"], f"{wheel.name}/{network}")


def _mapping_tensors(graph: IrGraph) -> dict[str, NDArray[np.float32]]:
    tensors: dict[str, NDArray[np.float32]] = {}
    layers = [node for node in graph.nodes if node.type == "MatMul"]
    for index, node in enumerate(layers):
        weight = _weight(graph, node)
        add = _only_consumer(graph, node, "Add")
        bias = graph.floats(_skip_reshapes(_other_input(add, node))).reshape(-1)
        _check_slope(graph, _only_consumer(graph, add, "PReLU"))
        if bias.shape != weight.shape[:1]:
            raise CheckpointError(
                f"{graph.label}: mapping layer {index} has weight {weight.shape} but bias {bias.shape}"
            )
        tensors[f"fc{index}.weight"], tensors[f"fc{index}.bias"] = weight, bias
    if not layers:
        raise CheckpointError(f"{graph.label}: the mapping network has no layers")
    return tensors


@dataclass(frozen=True)
class _Modulation:
    """A styled Multiply: its node, the node of the features, and the affine of the style with its scale folded in."""

    multiply: IrNode
    features: IrNode
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def _synthesis_tensors(graph: IrGraph) -> tuple[dict[str, NDArray[np.float32]], list[int]]:
    modulations = [m for node in graph.nodes if node.type == "Multiply" if (m := _modulation(graph, node))]
    blocks, rest = divmod(len(modulations) - 2, 3)
    if blocks < 1 or rest:
        raise CheckpointError(
            f"{graph.label}: found {len(modulations)} styled layers; MobileStyleGAN has 3 for each block and 2 more"
        )
    tensors: dict[str, NDArray[np.float32]] = {}

    def take(name: str, modulation: _Modulation) -> None:
        tensors[f"{name}.affine.weight"], tensors[f"{name}.affine.bias"] = modulation.weight, modulation.bias

    first, *middle, last = modulations
    tensors["input"] = graph.floats(_constant_ancestor(graph, first.features))
    take("conv1", first)
    conv = _only_consumer(graph, first.multiply, "Convolution")
    tensors["conv1.weight"] = graph.floats(conv.inputs[1])
    tensors.update({f"conv1.{k}": v for k, v in _epilogue(graph, conv).items()})
    channels = [int(tensors["conv1.weight"].shape[0])]
    for block in range(blocks):
        up, conv1, conv2 = middle[3 * block : 3 * block + 3]
        take(f"blocks.{block}.up", up)
        for name, modulation in (("conv1", conv1), ("conv2", conv2)):
            prefix = f"blocks.{block}.{name}"
            take(prefix, modulation)
            depthwise = _only_consumer(graph, modulation.multiply, "GroupConvolution")
            pointwise = _only_consumer(graph, depthwise, "Convolution")
            kernel = graph.floats(depthwise.inputs[1])
            tensors[f"{prefix}.depthwise"] = kernel.reshape(kernel.shape[0], *kernel.shape[2:])
            tensors[f"{prefix}.pointwise"] = graph.floats(pointwise.inputs[1])
            tensors.update({f"{prefix}.{k}": v for k, v in _epilogue(graph, pointwise).items()})
        channels.append(int(tensors[f"blocks.{block}.conv2.pointwise"].shape[0]))
    take("to_img", last)
    to_img = _only_consumer(graph, last.multiply, "Convolution")
    tensors["to_img.weight"] = graph.floats(to_img.inputs[1])
    add = _only_consumer(graph, to_img, "Add")
    tensors["to_img.bias"] = graph.floats(_skip_reshapes(_other_input(add, to_img))).reshape(-1)
    return tensors, channels


def _epilogue(graph: IrGraph, conv: IrNode) -> dict[str, NDArray[np.float32]]:
    """Return the noise [R, R] and bias [C] added after a convolution; check the slope of the activation."""
    noise_add = _only_consumer(graph, conv, "Add")
    bias_add = _only_consumer(graph, noise_add, "Add")
    _check_slope(graph, _only_consumer(graph, bias_add, "PReLU"))
    noise = graph.floats(_skip_reshapes(_other_input(noise_add, conv)))
    bias = graph.floats(_skip_reshapes(_other_input(bias_add, noise_add)))
    if noise.ndim != 4 or noise.shape[:2] != (1, 1):
        raise CheckpointError(f"{graph.label}: the noise after {conv.name!r} has shape {noise.shape}")
    return {"noise": noise[0, 0], "bias": bias.reshape(-1)}


def _modulation(graph: IrGraph, multiply: IrNode) -> _Modulation | None:
    for style, features in ((0, 1), (1, 0)):
        affine = _affine(graph, multiply.inputs[style])
        # A style times its scale is part of an affine, not a modulation.
        if affine is not None and multiply.inputs[features].type != "Const":
            return _Modulation(multiply, multiply.inputs[features], *affine)
    return None


def _affine(graph: IrGraph, node: IrNode) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return weight [C, w_dim] and bias [C] of the style of `node`, its scale folded in; None if it is not a style."""
    scale = np.float32(1.0)
    node = _skip_reshapes(node)
    if node.type == "Multiply":
        constants = [i for i in node.inputs if i.type == "Const"]
        if len(constants) != 1:
            return None
        value = graph.floats(constants[0])
        if value.size != 1:
            return None
        scale = np.float32(value.reshape(-1)[0])
        node = _skip_reshapes(_other_input(node, constants[0]))
    if node.type != "Add":
        return None
    matmul = next((i for i in node.inputs if i.type == "MatMul" and i.inputs[0].type == "Parameter"), None)
    if matmul is None:
        return None
    bias = graph.floats(_skip_reshapes(_other_input(node, matmul))).reshape(-1)
    return _weight(graph, matmul) * scale, bias * scale


def _weight(graph: IrGraph, matmul: IrNode) -> NDArray[np.float32]:
    """Return the constant of a MatMul as [out, in]."""
    weight = graph.floats(matmul.inputs[1])
    if weight.ndim != 2 or matmul.attributes.get("transpose_a") == "true":
        raise CheckpointError(f"{graph.label}: {matmul.name!r} is not a plain linear layer")
    return weight if matmul.attributes.get("transpose_b") == "true" else weight.T


def _skip_reshapes(node: IrNode) -> IrNode:
    """Return the node in front of any reshapes."""
    while node.type in _RESHAPES:
        node = node.inputs[0]
    return node


def _constant_ancestor(graph: IrGraph, node: IrNode) -> IrNode:
    """Return the constant that Tile and Broadcast repeat over the batch."""
    while node.type in {"Tile", "Broadcast"}:
        node = node.inputs[0]
    if node.type != "Const":
        raise CheckpointError(f"{graph.label}: the learned input is a {node.type}, expected a constant")
    return node


def _other_input(node: IrNode, one: IrNode) -> IrNode:
    return node.inputs[1] if node.inputs[0] is one else node.inputs[0]


def _only_consumer(graph: IrGraph, node: IrNode, kind: str) -> IrNode:
    found = [c for c in node.consumers if c.type == kind]
    if len(found) != 1:
        kinds = [c.type for c in node.consumers]
        raise CheckpointError(f"{graph.label}: expected one {kind} after {node.name!r}, found {kinds}")
    return found[0]


def _check_slope(graph: IrGraph, prelu: IrNode) -> None:
    slope = graph.floats(prelu.inputs[1])
    if not np.allclose(slope, _RELU_SLOPE, atol=1e-6):
        raise CheckpointError(f"{graph.label}: {prelu.name!r} has slope {slope.ravel()[:1]}, expected {_RELU_SLOPE}")
