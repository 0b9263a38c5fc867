from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError
from nonesuch.engine.latents import z_from_seeds
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.graphs.mapping import build_mapping

RunGraph = Callable[..., NDArray[Any]]


def mapped(checkpoint: Checkpoint, z: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the mapping network in plain NumPy, in float64, as in the paper, with the gain after the activation."""
    x: NDArray[np.float64] = z.astype(np.float64)
    x = x / np.sqrt(np.mean(x**2, axis=1, keepdims=True) + 1e-8)
    for index in range(checkpoint.config["mapping_layers"]):
        weight, bias = (
            checkpoint.tensors[f"mapping.fc{index}.{part}"].astype(np.float64) for part in ("weight", "bias")
        )
        x = x @ weight.T + bias
        x = np.where(x < 0, 0.2 * x, x) * np.sqrt(2)
    return x


@pytest.mark.parametrize("n", [1, 3, 64])
def test_the_graph_matches_the_papers_formula(checkpoint: Checkpoint, run_graph: RunGraph, n: int) -> None:
    z = z_from_seeds(range(n), 10)
    found = run_graph(build_mapping(checkpoint), z=z)
    assert found.shape == (n, 12)
    # Two layers of 12 products each, values around 1: about 30 roundings of 2^-24 against float64; the tolerance
    # allows ten times as many.
    np.testing.assert_allclose(found, mapped(checkpoint, z), rtol=0, atol=2e-5)


def test_the_length_of_z_does_not_matter(checkpoint: Checkpoint, run_graph: RunGraph) -> None:
    z = z_from_seeds([1], 10)
    # z is normalized first; scaling by a power of two changes only the epsilon's share, 1e-8 of 1.
    found = run_graph(build_mapping(checkpoint), z=np.concatenate([z, 4 * z]))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-6)


def test_a_z_of_zeros_gives_a_finite_w(checkpoint: Checkpoint, run_graph: RunGraph) -> None:
    assert np.isfinite(run_graph(build_mapping(checkpoint), z=np.zeros((1, 10), np.float32))).all()


def test_the_graph_is_valid_for_any_batch_size(checkpoint: Checkpoint) -> None:
    proto = ir.to_proto(build_mapping(checkpoint))
    onnx.checker.check_model(proto, full_check=True)
    (z,), (w,) = proto.graph.input, proto.graph.output
    assert [(d.dim_param, d.dim_value) for d in z.type.tensor_type.shape.dim] == [("N", 0), ("", 10)]
    assert [(d.dim_param, d.dim_value) for d in w.type.tensor_type.shape.dim] == [("N", 0), ("", 12)]
    assert (z.name, w.name) == ("z", "w")
    assert all(node.name and not node.domain for node in proto.graph.node)


@pytest.mark.parametrize("name", ["mapping.fc0.weight", "mapping.fc0.bias", "mapping.fc1.weight", "mapping.fc1.bias"])
def test_a_wrong_or_missing_tensor_is_named(checkpoint: Checkpoint, name: str) -> None:
    wrong = replace(checkpoint, tensors={**checkpoint.tensors, name: checkpoint.tensors[name][:-1]})
    with pytest.raises(CheckpointError, match=f"'{name}' has shape") as caught:
        build_mapping(wrong)
    assert "\n" not in caught.value.message
    missing = replace(checkpoint, tensors={key: array for key, array in checkpoint.tensors.items() if key != name})
    with pytest.raises(CheckpointError, match=f"no tensor '{name}'"):
        build_mapping(missing)
