from __future__ import annotations

from pathlib import Path

import pytest

from nonesuch.benchmarks.precision import EQUAL_PSNR_DB, measure
from nonesuch.benchmarks.result import Request
from nonesuch.engine.home import Home
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ..conftest import TINY_SOURCE, tiny_checkpoint


def test_every_backend_is_compared_with_pytorch(tiny_model: str) -> None:
    outcome = measure(Request(model=tiny_model, quick=True, rounds=3))
    found = {(m.subject, m.metric): m for m in outcome.measurements}
    for backend in ("onnxruntime", "openvino"):
        psnr, error, ssim = (found[backend, metric] for metric in ("psnr", "max_error", "ssim"))
        assert psnr.case["precision"] == "fp32"
        assert len(psnr.samples) == 3
        # Float32 against float32: at most one level, here and there.
        assert 50 <= min(psnr.samples) <= max(psnr.samples) <= EQUAL_PSNR_DB
        assert max(error.samples) <= 1
        assert min(ssim.samples) > 0.999


def test_a_variant_of_lower_precision_is_measured_too(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(seed=1)
    checkpoint.save(Checkpoint.folder(Home.default(), checkpoint.model_id))
    variants = [VariantOptions(), VariantOptions(precision="fp16")]
    artifact = export_checkpoint(checkpoint, tmp_path / "both", name="both", source=TINY_SOURCE, variants=variants)
    request = Request(model=str(artifact.folder), quick=True, rounds=2, subjects=("onnxruntime",))
    found = {m.case["precision"]: m for m in measure(request).measurements if m.metric == "psnr"}
    assert found.keys() == {"fp32", "fp16"}
    assert min(found["fp16"].samples) < min(found["fp32"].samples)


def test_no_variant_is_measured_under_the_name_of_another(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(seed=2)
    checkpoint.save(Checkpoint.folder(Home.default(), checkpoint.model_id))
    # Two that no option of a session tells apart: it takes the first.
    variants = [VariantOptions(), VariantOptions(linear="conv1x1")]
    artifact = export_checkpoint(checkpoint, tmp_path / "both", name="both", source=TINY_SOURCE, variants=variants)
    first = artifact.manifest.variants[0]
    second = next(variant for variant in artifact.manifest.variants if variant.linear == "conv1x1")
    outcome = measure(Request(model=str(artifact.folder), quick=True, rounds=1, subjects=("onnxruntime",)))
    measured = {m.case["variant"] for m in outcome.measurements}
    assert first.file in measured
    assert second.file not in measured
    assert any(f"{second.file} is not for this backend" in skipped.reason for skipped in outcome.skipped)


def test_without_converted_weights_there_is_nothing_to_compare_with(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NONESUCH_HOME", str(tmp_path))
    outcome = measure(Request(model=tiny_model, quick=True))
    assert not outcome.measurements
    (skipped,) = outcome.skipped
    assert "needs the converted weights" in skipped.reason
