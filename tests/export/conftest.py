"""Fixtures for the exporter's tests: the tiny model as a `random-face` wheel, and a graph runner."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import onnx_ir as ir
import pytest
from defusedxml import ElementTree
from numpy.typing import NDArray

from nonesuch.engine.backends.onnxruntime import inference_session
from nonesuch.engine.session import SessionOptions
from nonesuch.export.checkpoint import Checkpoint

ELEMENT_TYPES = {"float32": "f32", "int64": "i64"}


class IrWriter:
    """Writes OpenVINO IR: layers with one output each, and the bytes of constants."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.layers: list[str] = []
        self.edges: list[str] = []
        self.data = bytearray()

    def constant(self, array: NDArray[Any]) -> int:
        shape = ", ".join(map(str, array.shape))
        attributes = {"element_type": ELEMENT_TYPES[array.dtype.name], "shape": shape, "offset": str(len(self.data))}
        content = np.ascontiguousarray(array).tobytes()
        self.data += content
        return self.layer("Const", [], size=str(len(content)), **attributes)

    def layer(self, kind: str, inputs: list[int], **attributes: str) -> int:
        index = len(self.layers)
        data = " ".join(f"{key}={quoteattr(value)}" for key, value in attributes.items())
        self.layers.append(
            f'<layer id="{index}" name="{kind}_{index}" type="{kind}" version="opset1"><data {data}/></layer>'
        )
        for port, source in enumerate(inputs):
            self.edges.append(f'<edge from-layer="{source}" from-port="0" to-layer="{index}" to-port="{port}"/>')
        return index

    @property
    def xml(self) -> bytes:
        return (
            f'<?xml version="1.0" ?><net name="{self.name}" version="10"><layers>{"".join(self.layers)}</layers>'
            f"<edges>{''.join(self.edges)}</edges></net>"
        ).encode()


def _mapping(checkpoint: Checkpoint) -> IrWriter:
    net = IrWriter("MappingNetwork")
    x = net.layer("Parameter", [], shape="1, 10", element_type="f32")
    for index in range(int(checkpoint.config["mapping_layers"])):
        weight, bias = (checkpoint.tensors[f"mapping.fc{index}.{part}"] for part in ("weight", "bias"))
        x = net.layer("MatMul", [x, net.constant(weight)], transpose_a="false", transpose_b="true")
        added = net.layer("Reshape", [net.constant(bias), net.constant(np.array([1, -1]))])
        x = net.layer("Add", [x, added])
        x = net.layer("PReLU", [x, net.constant(np.array([0.2], np.float32))])
        x = net.layer("Multiply", [x, net.constant(np.array([[2**0.5]], np.float32))])
    net.layer("Result", [x])
    return net


def _synthesis(checkpoint: Checkpoint) -> IrWriter:
    net = IrWriter("SynthesisNetwork")
    w = net.layer("Parameter", [], shape="1, 12", element_type="f32")

    def tensor(name: str) -> NDArray[np.float32]:
        return checkpoint.tensors[f"synthesis.{name}"]

    def modulate(name: str, x: int, *, scaled: bool, transposed: bool = True) -> int:
        weight, bias = tensor(f"{name}.affine.weight"), tensor(f"{name}.affine.bias")
        if scaled:  # the reader folds the scale; factors of 2 are exact
            weight, bias = weight * np.float32(2), bias * np.float32(2)
        constant = net.constant(weight if transposed else weight.T)
        style = net.layer("MatMul", [w, constant], transpose_b="true" if transposed else "false")
        style = net.layer("Add", [style, net.constant(bias[None])])
        style = net.layer("Reshape", [style, net.constant(np.array([1, -1, 1, 1]))])
        if scaled:
            style = net.layer("Multiply", [style, net.constant(np.array([0.5], np.float32))])
        return net.layer("Multiply", [style, x])

    def epilogue(name: str, x: int) -> int:
        x = net.layer("Add", [x, net.constant(tensor(f"{name}.noise")[None, None])])
        x = net.layer("Add", [x, net.constant(tensor(f"{name}.bias")[None, :, None, None])])
        return net.layer("PReLU", [x, net.constant(np.array([0.2], np.float32))])

    def haar(x: int) -> int:
        return net.layer("GroupConvolutionBackpropData", [x, net.constant(np.ones((4, 1, 1, 2, 2), np.float32))])

    repeats = net.layer("ShapeOf", [w])
    x = net.layer("Tile", [net.constant(tensor("input")), repeats])
    x = modulate("conv1", x, scaled=True)
    x = epilogue("conv1", net.layer("Convolution", [x, net.constant(tensor("conv1.weight"))]))
    for block in range(len(checkpoint.config["channels"]) - 1):
        x = haar(modulate(f"blocks.{block}.up", x, scaled=False))
        for part in ("conv1", "conv2"):
            name = f"blocks.{block}.{part}"
            x = modulate(name, x, scaled=True, transposed=part == "conv1")
            x = net.layer("GroupConvolution", [x, net.constant(tensor(f"{name}.depthwise")[:, None])])
            x = net.layer("Convolution", [x, net.constant(tensor(f"{name}.pointwise"))])
            x = epilogue(name, x)
    x = net.layer("Convolution", [modulate("to_img", x, scaled=False), net.constant(tensor("to_img.weight"))])
    x = net.layer("Add", [x, net.constant(tensor("to_img.bias")[None, :, None, None])])
    net.layer("Result", [haar(x)])
    return net


@pytest.fixture(scope="session")
def wheel_members(checkpoint: Checkpoint) -> dict[str, bytes]:
    """The tiny model's networks as in the wheel: file name -> content."""
    members = {}
    for net in (_mapping(checkpoint), _synthesis(checkpoint)):
        members[f"{net.name}.xml"], members[f"{net.name}.bin"] = net.xml, bytes(net.data)
    return members


@pytest.fixture(scope="session")
def write_wheel() -> Callable[[Path, Mapping[str, bytes]], Path]:
    """Return a function that writes a wheel with the given members."""

    def write(path: Path, members: Mapping[str, bytes]) -> Path:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                # ZipInfo has a fixed date, so equal members give equal files.
                archive.writestr(zipfile.ZipInfo(f"random_face/data/{name}"), content, zipfile.ZIP_DEFLATED)
        return path

    return write


@pytest.fixture(scope="session")
def disguise_ir() -> Callable[[bytes], bytes]:
    """Return a function that rewrites an IR with other names, ids and orders of layers and edges."""

    def disguise(xml: bytes) -> bytes:
        root: Any = ElementTree.fromstring(xml)
        layers, edges = root.find("layers"), root.find("edges")
        random = np.random.RandomState(0)
        fresh = dict(zip([n.get("id") for n in layers], random.permutation(len(layers)).tolist(), strict=True))
        for layer in layers:
            layer.set("id", str(fresh[layer.get("id")]))
            layer.set("name", random.bytes(8).hex())
        for edge in edges:
            for end in ("from-layer", "to-layer"):
                edge.set(end, str(fresh[edge.get(end)]))
        layers[:], edges[:] = reversed(layers), reversed(edges)
        return bytes(ElementTree.tostring(root))

    return disguise


@pytest.fixture(scope="session")
def run_graph() -> Callable[..., NDArray[Any]]:
    """Return a function that runs an ONNX graph with one output: `run_graph(model, ws=array)`."""

    def run(model: ir.Model, **inputs: NDArray[Any]) -> NDArray[Any]:
        session = inference_session(ir.to_proto(model).SerializeToString(), SessionOptions(threads=1, spinning=False))
        output: NDArray[Any] = session.run(None, inputs)[0]
        return output

    return run
