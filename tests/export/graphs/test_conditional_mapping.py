from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.graphs.mapping import build_mapping

from .graph_rules import FORBIDDEN, shape

RunGraph = Callable[..., NDArray[Any]]
FIXTURES = Path(__file__).parents[2] / "fixtures"
NAMES = sorted(path.name for path in FIXTURES.glob("*_*") if path.suffix in {".pkl", ".pt"})


@pytest.fixture(scope="module")
def conditional() -> Checkpoint:
    return read_checkpoint(FIXTURES / "sg2ada_cond_32.pkl")


@pytest.mark.parametrize("linear", ["gemm", "conv1x1"])
@pytest.mark.parametrize("name", NAMES)
def test_w_matches_the_original_code(name: str, linear: Any, run_graph: RunGraph) -> None:
    with np.load(FIXTURES / f"{Path(name).stem}.ref.npz") as reference:
        expected = reference["ws"]
        inputs = {key: reference[key] for key in ("z", "c") if key in reference}
    assert ("c" in inputs) == ("cond" in name)
    model = build_mapping(read_checkpoint(FIXTURES / name), linear)
    found = run_graph(model, **inputs)
    assert (expected == expected[:, :1]).all()
    # Up to 8 layers of up to 128 products, float32 against float32; 3e-6 of the standard deviation was measured.
    np.testing.assert_allclose(found, expected[:, 0], rtol=0, atol=2e-5 * expected.std())


def test_the_class_changes_w(conditional: Checkpoint, run_graph: RunGraph) -> None:
    z, model = np.ones((2, 48), np.float32), build_mapping(conditional)
    found = run_graph(model, z=z, c=np.eye(5, dtype=np.float32)[:2])
    assert np.abs(found[0] - found[1]).max() > 0.1


@pytest.mark.parametrize("linear", ["gemm", "conv1x1"])
def test_the_graph_is_valid_for_any_batch_size(conditional: Checkpoint, linear: Any) -> None:
    model = ir.to_proto(build_mapping(conditional, linear))
    onnx.checker.check_model(model, full_check=True)
    assert {value.name: shape(value) for value in model.graph.input} == {"z": ["N", 48], "c": ["N", 5]}
    assert [(value.name, shape(value)) for value in model.graph.output] == [("w", ["N", 64])]
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & FORBIDDEN
    assert ("Gemm" in kinds) == (linear == "gemm")
    assert all(node.name and not node.domain for node in model.graph.node)


@pytest.mark.parametrize("name", ["mapping.embed.weight", "mapping.embed.bias"])
def test_a_wrong_or_missing_tensor_is_named(conditional: Checkpoint, name: str) -> None:
    wrong = replace(conditional, tensors={**conditional.tensors, name: conditional.tensors[name][:-1]})
    with pytest.raises(CheckpointError, match=f"'{name}' has shape"):
        build_mapping(wrong)
    missing = replace(conditional, tensors={key: array for key, array in conditional.tensors.items() if key != name})
    with pytest.raises(CheckpointError, match=f"no tensor '{name}'"):
        build_mapping(missing)
