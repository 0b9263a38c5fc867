from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from nonesuch.engine.errors import ExportMismatchError
from nonesuch.export.fp16_simulator import Fp16Run, Fp16Simulator, float_psnr_db
from nonesuch.export.graphs.graph_builder import GraphBuilder


def make_model(*, half: bool = True, factor: float = 1.0, limit: float | None = None) -> onnx.ModelProto:
    """Build x [N, 4] -> float16 -> * factor -> clamp -> + 1 -> float32."""
    graph, kind = GraphBuilder("small"), np.float16 if half else np.float32
    x = graph.input("x", ir.DataType.FLOAT, ["N", 4])
    if half:
        x = graph.op("Cast", [x], "typed", to=int(ir.DataType.FLOAT16))
    x = graph.op("Mul", [x, graph.constant("factor", np.array(factor, kind))], "scaled")
    if limit is not None:
        bounds = [graph.constant(name, np.array(value, kind)) for name, value in (("low", -limit), ("high", limit))]
        x = graph.op("Clip", [x, *bounds], "clamped")
    x = graph.op("Add", [x, graph.constant("one", np.array(1, kind))], "added")
    x = graph.op("Cast", [x], "back", to=int(ir.DataType.FLOAT)) if half else graph.op("Identity", [x], "back")
    return ir.to_proto(graph.build([(x, "image", ir.DataType.FLOAT, ["N", 4])]))


def run(model: onnx.ModelProto, *rows: list[float]) -> Fp16Run:
    return Fp16Simulator(model, threads=1).run({"x": np.array(rows, dtype=np.float32)})


def test_every_step_is_rounded() -> None:
    values = [0.1, 1 + 2**-12, 3e-8, 2049.0]
    found = run(make_model(factor=0.3), values).image
    half = np.array([values], np.float32).astype(np.float16)
    # NumPy's float16 rounds after every operator too.
    expected = half * np.float16(0.3) + np.float16(1)
    np.testing.assert_array_equal(found, expected.astype(np.float32))
    assert (found != np.array([values], np.float32) * np.float32(0.3) + 1).any()


def test_the_cast_rounds_as_well() -> None:
    found = run(make_model(), [2048, 2049, 2051, 1e-8]).image
    np.testing.assert_array_equal(found, [[2048, 2048, 2052, 1]])  # 2049 rounds to 2048, and ties go to even


def test_random_values_agree_with_numpy_bit_by_bit() -> None:
    x = (np.random.RandomState(0).randn(1000, 4) * np.exp(np.random.RandomState(1).randn(1000, 4) * 2)).astype(
        np.float32
    )
    model = make_model(factor=1.7)
    found = Fp16Simulator(model, threads=1).run({"x": x})
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_array_equal(found.image, expected)
    assert found.overflowed == ()
    assert found.peaks["scaled"] == float(np.abs(x.astype(np.float16) * np.float16(1.7)).max())
    assert list(found.peaks) == ["typed", "scaled", "added"]


def test_an_overflow_fails_even_if_a_clamp_hides_it() -> None:
    found = run(make_model(factor=100, limit=256), [1, 2, 700, 3])
    np.testing.assert_array_equal(found.image, [[101, 201, 257, 257]])
    assert found.overflowed == ("scaled",)
    with pytest.raises(ExportMismatchError, match="float16 cannot hold 'scaled': infinite or NaN") as caught:
        found.check(found.image)
    assert "\n" not in caught.value.message
    below = run(make_model(factor=100, limit=256), [1, 2, 655, 3])
    assert below.overflowed == ()
    assert below.check(below.image) == float("inf")


def test_an_overflow_of_the_cast_and_a_nan_are_detected() -> None:
    assert run(make_model(factor=0), [1, 2, 3, 70000]).overflowed == ("typed", "scaled", "added")
    assert run(make_model(), [1, 2, 3, float("nan")]).overflowed == ("typed", "scaled", "added")
    with pytest.raises(ExportMismatchError, match="'typed' and 2 more"):
        run(make_model(), [1, 2, 3, float("nan")]).check(np.zeros((1, 4), np.float32))


def test_a_picture_too_far_away_is_refused() -> None:
    found = run(make_model(), [0, 0, 0, 0])
    near, far = found.image + np.float32(0.019), found.image + np.float32(0.021)  # 40 dB is 2 / 100
    assert found.check(near) == pytest.approx(20 * np.log10(2 / 0.019), abs=1e-3)
    with pytest.raises(ExportMismatchError, match=r"a PSNR of 39\.6 dB against float32 \(at least 40\)"):
        found.check(far)


def test_a_graph_without_float16_is_refused_and_the_model_is_not_changed() -> None:
    with pytest.raises(ExportMismatchError, match="no float16 tensor"):
        Fp16Simulator(make_model(half=False))
    model = make_model()
    before = model.SerializeToString(deterministic=True)
    Fp16Simulator(model)
    assert model.SerializeToString(deterministic=True) == before


def test_the_psnr_has_a_range_of_two() -> None:
    zeros: NDArray[np.float32] = np.zeros((2, 3), np.float32)
    assert float_psnr_db(zeros, zeros) == float("inf")
    assert float_psnr_db(zeros, zeros + np.float32(0.02)) == pytest.approx(40, abs=1e-4)
