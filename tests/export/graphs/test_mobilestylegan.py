from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.graphs.haar import Wavelet
from nonesuch.export.graphs.mobilestylegan import build_synthesis, ws_layout
from nonesuch.export.graphs.synthesis_builder import VariantOptions

RunGraph = Callable[..., NDArray[Any]]
WAVELETS: tuple[Wavelet, ...] = get_args(Wavelet)
Output = Literal["uint8_nhwc", "float32_nchw"]
OUTPUTS: tuple[Output, ...] = ("uint8_nhwc", "float32_nchw")
ALL_OPTIONS = [
    VariantOptions(upsampling=f"haar_{wavelet}", output=output) for wavelet in WAVELETS for output in OUTPUTS
]


@pytest.fixture(params=ALL_OPTIONS, ids=lambda options: f"{options.upsampling}-{options.output}")
def graph(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> onnx.GraphProto:
    model = ir.to_proto(build_synthesis(checkpoint, request.param))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    onnx.checker.check_model(model, full_check=True)
    return model.graph


def styles(n: int, seed: int = 0) -> NDArray[np.float32]:
    """Return a different w for every layer of every row."""
    return np.random.RandomState(seed).randn(n, 8, 12).astype(np.float32)


def shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


# Rules for every graph, so that it runs in any runtime.


def test_weights_of_convolutions_are_initializers(graph: onnx.GraphProto) -> None:
    initializers = {tensor.name for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type in {"Conv", "ConvTranspose", "Gemm"}]
    assert len(convolutions) >= 10
    for node in convolutions:
        assert set(node.input[1:]) <= initializers, node.name


def test_the_batch_size_is_symbolic_at_both_ends(graph: onnx.GraphProto) -> None:
    (ws,), (image,) = graph.input, graph.output
    assert (ws.name, shape(ws)) == ("ws", ["N", 8, 12])
    assert image.name == "image"
    if image.type.tensor_type.elem_type == onnx.TensorProto.UINT8:
        assert shape(image) == ["N", 32, 32, 3]
    else:
        assert image.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        assert shape(image) == ["N", 3, 32, 32]


def test_no_operator_depends_on_shapes_or_data(graph: onnx.GraphProto) -> None:
    forbidden = {"Shape", "Size", "NonZero", "Loop", "If", "Scan", "RandomNormal", "RandomNormalLike"}
    assert {node.op_type for node in graph.node} & forbidden == set()
    constants = {tensor.name for tensor in graph.initializer}
    assert all(node.input[1] in constants for node in graph.node if node.op_type == "Reshape")


def test_only_the_default_domain_and_no_functions(graph: onnx.GraphProto) -> None:
    assert {node.domain for node in graph.node} == {""}
    # Nothing is kept outside the file either.
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in graph.initializer)


def test_every_node_and_value_has_a_unique_name(graph: onnx.GraphProto) -> None:
    names = [node.name for node in graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    values = [name for node in graph.node for name in node.output] + [tensor.name for tensor in graph.initializer]
    assert all(values)
    assert len(set(values)) == len(values)


def test_every_initializer_is_read(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= read


@pytest.mark.parametrize("options", ALL_OPTIONS)
def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Checkpoint, options: VariantOptions) -> None:
    first, second = (
        ir.to_proto(build_synthesis(checkpoint, options)).SerializeToString(deterministic=True) for _ in range(2)
    )
    assert first == second


# Pictures.


@pytest.fixture(scope="module")
def pictures(checkpoint: Checkpoint, run_graph: RunGraph) -> dict[tuple[Wavelet, Output], NDArray[Any]]:
    """Render four pictures with every form of the graph."""
    return {
        (wavelet, output): run_graph(
            build_synthesis(checkpoint, VariantOptions(upsampling=f"haar_{wavelet}", output=output)), ws=styles(4)
        )
        for wavelet in WAVELETS
        for output in OUTPUTS
    }


Pictures = dict[tuple[Wavelet, Output], NDArray[Any]]


def test_the_pictures_have_contrast_and_clipping(pictures: Pictures) -> None:
    images = pictures["conv_transpose", "uint8_nhwc"]
    assert images.dtype == np.uint8
    assert images.std() > 20
    # Some pixels are clipped at each end and most are not, so the comparison covers clipping.
    clipped = np.isin(images, [0, 255]).mean()
    assert 0 < clipped < 0.5
    assert (images == 0).any()
    assert (images == 255).any()


@pytest.mark.parametrize("wavelet", [wavelet for wavelet in WAVELETS if wavelet != "conv_transpose"])
def test_all_wavelet_forms_show_the_same(pictures: Pictures, wavelet: Wavelet) -> None:
    default, other = pictures["conv_transpose", "float32_nchw"], pictures[wavelet, "float32_nchw"]
    # The forms sum the same four bands in another order, three times: a few ulps, carried through about 10 layers, for
    # values up to 4; 1e-6 was measured. 2e-5 leaves room for other processors, and is 1/400 of an 8-bit level.
    np.testing.assert_allclose(other, default, rtol=0, atol=2e-5)
    default, other = pictures["conv_transpose", "uint8_nhwc"], pictures[wavelet, "uint8_nhwc"]
    # Truncation can turn an ulp into one 8-bit level, never into two.
    assert np.abs(other.astype(int) - default.astype(int)).max() <= 1


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_both_outputs_show_the_same(pictures: Pictures, wavelet: Wavelet) -> None:
    floats = pictures[wavelet, "float32_nchw"].transpose(0, 2, 3, 1)
    expected = np.clip(floats * 127.5 + 128, 0, 255).astype(np.uint8)
    # The uint8 form has 127.5 and 128 folded into its weights, so it may round differently by one level.
    assert np.abs(pictures[wavelet, "uint8_nhwc"].astype(int) - expected.astype(int)).max() <= 1


def test_the_inverse_transform_is_the_haar_transform(checkpoint: Checkpoint, run_graph: RunGraph) -> None:
    """A network of zeros, except for the bias of to_img, shows the basis functions."""
    silent = {name: np.zeros_like(array) for name, array in checkpoint.tensors.items()}
    for wavelet in WAVELETS:
        for band, square in enumerate(
            [[[1, 1], [1, 1]], [[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]], start=-1
        ):
            bias = np.zeros(12, np.float32)
            # LL of the three colours first, then (LH, HL, HH) colour by colour; here the green ones.
            bias[1 if band < 0 else 3 + 3 * 1 + band] = 0.5
            model = build_synthesis(
                replace(checkpoint, tensors={**silent, "synthesis.to_img.bias": bias}),
                VariantOptions(upsampling=f"haar_{wavelet}", output="float32_nchw"),
            )
            image = run_graph(model, ws=styles(1))[0]
            np.testing.assert_array_equal(image[1], 0.25 * np.tile(square, (16, 16)))
            np.testing.assert_array_equal(image[[0, 2]], 0)


def test_a_picture_does_not_depend_on_its_neighbours(checkpoint: Checkpoint, run_graph: RunGraph) -> None:
    model = build_synthesis(checkpoint, VariantOptions())
    together = run_graph(model, ws=styles(4))
    np.testing.assert_array_equal(run_graph(model, ws=styles(4)[2:3])[0], together[2])
    np.testing.assert_array_equal(run_graph(model, ws=styles(4)[::-1].copy())[::-1], together)


def test_each_index_of_ws_acts_on_the_layers_that_the_layout_names(checkpoint: Checkpoint, run_graph: RunGraph) -> None:
    """If all affines that read an index are zero, a change of its w has no effect; otherwise it has one."""
    base = styles(1)
    for entry in ws_layout(checkpoint):
        frozen = dict(checkpoint.tensors)
        for consumer in entry.consumers:
            name = f"synthesis.{consumer}.affine.weight"
            frozen[name] = np.zeros_like(frozen[name])
        changed = base.copy()
        changed[:, entry.index] += 1
        options = VariantOptions(output="float32_nchw")
        model, held = (
            build_synthesis(checkpoint, options),
            build_synthesis(replace(checkpoint, tensors=frozen), options),
        )
        assert (run_graph(model, ws=changed) != run_graph(model, ws=base)).any() == bool(entry.consumers)
        np.testing.assert_array_equal(run_graph(held, ws=changed), run_graph(held, ws=base))


def test_the_layout_names_resolutions_and_dead_indices(checkpoint: Checkpoint) -> None:
    layout = ws_layout(checkpoint)
    assert [entry.index for entry in layout] == list(range(8))
    assert [entry.resolution for entry in layout] == [4, 8, 8, 8, 16, 16, 16, 32]
    assert [entry.index for entry in layout if not entry.consumers] == [3, 7]
    consumers = [consumer for entry in layout for consumer in entry.consumers]
    affines = {name.removesuffix(".affine.weight") for name in checkpoint.tensors if name.endswith("affine.weight")}
    assert sorted(consumers) == sorted(name.removeprefix("synthesis.") for name in affines)


def test_every_tensor_of_the_network_is_checked(checkpoint: Checkpoint) -> None:
    for name in checkpoint.tensors:
        if not name.startswith("synthesis."):
            continue
        wrong = replace(checkpoint, tensors={**checkpoint.tensors, name: checkpoint.tensors[name][..., :-1]})
        with pytest.raises(CheckpointError, match=f"'{name}' has shape"):
            build_synthesis(wrong, VariantOptions())
        missing = replace(checkpoint, tensors={key: array for key, array in checkpoint.tensors.items() if key != name})
        with pytest.raises(CheckpointError, match=f"no tensor '{name}'"):
            build_synthesis(missing, VariantOptions())
