from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import load_mapping
from nonesuch.engine.errors import BackendUnavailableError, CheckpointError, ExportMismatchError, NonesuchError
from nonesuch.engine.generator import Generator
from nonesuch.engine.latents import z_from_seeds
from nonesuch.engine.manifest import WeightsSource
from nonesuch.engine.mapping import Mapper
from nonesuch.engine.psnr import psnr_db
from nonesuch.export import checks, exporter, mean_w
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.checks import Digest, check_graph, sample_image
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.families import Family
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.graphs.synthesis_builder import VariantOptions
from nonesuch.export.mean_w import W_AVG_SAMPLES

from ..conftest import REPOSITORY

SOURCE = WeightsSource(name="dice", licence="Only for tests, and only on Tuesdays.", sha256="ab" * 32)
Export = Callable[..., Artifact]


@pytest.fixture
def export(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    """Exports the tiny model into tmp_path/out/model, with fewer seeds for w_avg: those take most of the time."""
    monkeypatch.setattr(mean_w, "W_AVG_SAMPLES", 500)

    def run(checkpoint: Checkpoint = checkpoint, name: str = "tiny", **arguments: Any) -> Artifact:
        return export_checkpoint(checkpoint, tmp_path / "out" / "model", name=name, source=SOURCE, **arguments)

    return run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder that `export` writes to; its parent exists and is empty."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "model"


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files and folders below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"/"
        for path in sorted(folder.rglob("*"))
    }


def changed(checkpoint: Checkpoint, name: str, by: float) -> Checkpoint:
    return replace(checkpoint, tensors={**checkpoint.tensors, name: checkpoint.tensors[name] + np.float32(by)})


def refer_to(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the reference network use that checkpoint's weights."""
    reference = Family.reference
    monkeypatch.setattr(Family, "reference", lambda self, _: reference(self, checkpoint))


@pytest.fixture
def wrong_reference(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference's pictures differ by 4 of 255 grey levels in one colour."""
    bias = checkpoint.tensors["synthesis.to_img.bias"].copy()
    bias[1] += 8 / 127.5
    other = replace(checkpoint, tensors={**checkpoint.tensors, "synthesis.to_img.bias": bias})
    refer_to(other, monkeypatch)


# Contents of the artifact.


def test_the_manifest_matches_the_files(artifact: Artifact, checkpoint: Checkpoint) -> None:
    manifest = artifact.manifest
    files = {path.name: path.read_bytes() for path in artifact.folder.iterdir() if path.name != "manifest.json"}
    assert manifest.files == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert manifest.variants[0].sha256 == manifest.files[manifest.variants[0].file]
    assert manifest.model_id == checkpoint.model_id
    assert (manifest.z_dim, manifest.w_dim, manifest.c_dim, manifest.num_ws) == (10, 12, 0, 8)
    assert (manifest.resolution, manifest.channels, manifest.family) == (32, 3, "mobilestylegan")
    assert "PyTorch" in manifest.checked
    assert "synthesis.onnx" in manifest.checked
    assert "PSNR" in manifest.checked


def test_w_avg_is_the_mean_of_the_mapped_seeds(artifact: Artifact) -> None:
    assert artifact.manifest.w_avg == f"mean of {W_AVG_SAMPLES} mapped seeds, 0 to {W_AVG_SAMPLES - 1}"
    mapped = Mapper(artifact, load_mapping)(z_from_seeds(range(W_AVG_SAMPLES), 10))
    # Rows are mapped singly here and by the hundreds in the export, which may round differently: 2^-22 of values around
    # 1, and the mean rounds once more, to float32.
    np.testing.assert_allclose(artifact.w_avg(), mapped.astype(np.float64).mean(axis=0), rtol=0, atol=1e-6)
    assert np.abs(artifact.w_avg()).max() > 0.1


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Checkpoint, artifact: Artifact, tmp_path: Path) -> None:
    manifest = artifact.manifest
    export_checkpoint(checkpoint, tmp_path / "again", name=manifest.name, source=manifest.source)
    assert snapshot(tmp_path / "again") == snapshot(artifact.folder)


def test_the_card_has_terms_origin_and_id(export: Export, checkpoint: Checkpoint, out: Path) -> None:
    card = (export(name="my <model>").folder / "README.md").read_text()
    assert card.startswith("# my <model>\n")
    for words in (SOURCE.licence, SOURCE.name, SOURCE.sha256, checkpoint.model_id, "PyTorch reference"):
        assert words in card
    assert "being checked" not in card + (out / "manifest.json").read_text()
    assert "| 3 | 8 | dead |" in card
    assert "| 1 | 8 | blocks.0.up, blocks.0.conv1 |" in card


def test_only_the_artifact_is_left(export: Export, tmp_path: Path) -> None:
    export()  # into a new folder
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows permissions differ")
def test_others_may_read_the_artifact(export: Export) -> None:
    assert stat.S_IMODE(export().folder.stat().st_mode) == 0o755


def test_progress_is_reported_for_all_of_w_avg(export: Export) -> None:
    seen: list[tuple[str, list[int]]] = []

    def progress(items: Iterable[int], label: str) -> Iterator[int]:
        seen.append((label, []))
        for item in items:
            seen[-1][1].append(item)
            yield item

    export(progress=progress)
    assert seen == [("w_avg", [0])]


# Existing targets.


def test_an_existing_artifact_is_not_touched(export: Export, out: Path) -> None:
    export()
    before = snapshot(out.parent)
    with pytest.raises(ExportMismatchError, match="exists, and artifacts never change"):
        export()
    assert snapshot(out.parent) == before


def test_replace_replaces_an_existing_artifact(export: Export, checkpoint: Checkpoint, out: Path) -> None:
    first = export().manifest
    (out / "left by the old one").touch()
    other = changed(checkpoint, "synthesis.to_img.bias", 0.25)
    second = export(checkpoint=other, replace=True)
    assert second.manifest.model_id == other.model_id != first.model_id
    assert [path.name for path in out.parent.iterdir()] == ["model"]
    assert set(snapshot(out)) == {"manifest.json", *second.manifest.files}


def test_replace_also_works_without_an_existing_artifact(export: Export, out: Path) -> None:
    assert export(replace=True).folder == out
    assert [path.name for path in out.parent.iterdir()] == ["model"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_replace_of_a_link_leaves_its_target(export: Export, out: Path, artifact: Artifact) -> None:
    out.symlink_to(artifact.folder)
    before = snapshot(artifact.folder)
    assert not export(replace=True).folder.is_symlink()
    assert snapshot(artifact.folder) == before
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_replace_accepts_an_empty_folder(export: Export, out: Path) -> None:
    out.mkdir()
    assert export(replace=True).folder == out


def test_replace_never_deletes_anything_but_an_artifact(export: Export, out: Path) -> None:
    out.mkdir()
    (out / "holiday.jpg").write_text("precious")
    before = snapshot(out.parent)
    with pytest.raises(ExportMismatchError, match="is not an artifact, so it is not replaced"):
        export(replace=True)
    assert snapshot(out.parent) == before
    (out / "holiday.jpg").unlink()
    out.rmdir()
    out.write_text("a file")
    with pytest.raises(ExportMismatchError, match="is not an artifact, so it is not replaced"):
        export(replace=True)
    assert snapshot(out.parent) == {"model": b"a file"}


def test_a_failed_rename_restores_the_old_artifact(export: Export, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export()
    before = snapshot(out.parent)
    rename = os.replace

    def refuse_the_new_one(source: Path, target: Path) -> None:
        if target == out and not source.name.endswith("-replaced"):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "replace", refuse_the_new_one)
    with pytest.raises(OSError, match="Input/output error"):
        export(replace=True)
    assert snapshot(out.parent) == before


# Failed exports.


@pytest.mark.usefixtures("wrong_reference")
@pytest.mark.parametrize("existing", [False, True])
def test_a_graph_that_disagrees_with_the_reference_is_not_written(
    export: Export, out: Path, artifact: Artifact, existing: bool
) -> None:
    if existing:
        shutil.copytree(artifact.folder, out)
    before = snapshot(out.parent)
    with pytest.raises(ExportMismatchError, match=r"disagrees with the PyTorch reference: PSNR .* nothing was written"):
        export(replace=existing)
    assert snapshot(out.parent) == before


def test_a_mapping_that_disagrees_with_the_reference_is_not_written(
    export: Export, checkpoint: Checkpoint, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refer_to(changed(checkpoint, "mapping.fc1.bias", 1e-3), monkeypatch)
    with pytest.raises(ExportMismatchError, match=r"disagrees with the PyTorch reference.*nothing was written"):
        export()
    assert snapshot(out.parent) == {}


def digest_of(artifact: Artifact, seeds: tuple[int, ...]) -> Digest:
    with Generator.open(artifact.folder) as generator:
        samples = [sample_image(image) for image in generator.generate(seeds, psi=1.0)]
    return Digest(seeds, np.stack([means for means, _ in samples]), np.stack([pixels for _, pixels in samples]))


def test_a_known_digest_takes_precedence(
    export: Export, artifact: Artifact, monkeypatch: pytest.MonkeyPatch, wrong_reference: None
) -> None:
    digest = digest_of(artifact, (4, 2))
    monkeypatch.setattr(checks, "find_digest", {artifact.manifest.model_id: digest}.get)
    checked = export().manifest.checked
    assert checked.startswith("digest of the original network, seeds 4, 2: block means within 0.000, pixels within 0")
    assert "PyTorch" not in checked


@pytest.mark.parametrize("part", ["means", "pixels", "seeds"])
def test_a_graph_that_disagrees_with_the_digest_is_not_written(
    export: Export, out: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    digest = digest_of(artifact, (0, 1))
    match part:
        case "means":
            digest.means[1, 3, 3, 0] += 0.3
        case "pixels":
            digest.pixels[1, 3, 3, 0] += 3
        case "seeds":
            digest = replace(digest, seeds=(1, 0))
    monkeypatch.setattr(checks, "find_digest", {artifact.manifest.model_id: digest}.get)
    with pytest.raises(ExportMismatchError, match=r"does not show the original's pictures.*nothing was written"):
        export()
    assert snapshot(out.parent) == {}


def test_without_digest_and_torch_the_card_says_not_compared(
    export: Export, monkeypatch: pytest.MonkeyPatch, wrong_reference: None
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    made = export()
    assert made.manifest.checked == "not compared: no digest of this model is known and torch is not installed"
    assert made.manifest.checked in (made.folder / "README.md").read_text()


def test_without_onnxruntime_nothing_is_written(export: Export, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendUnavailableError, match=r"nonesuch\[cpu\]"):
        export()
    assert snapshot(out.parent) == {}


@pytest.mark.parametrize("name", ["mapping.fc1.bias", "synthesis.conv1.weight", "synthesis.to_img.affine.weight"])
def test_a_checkpoint_that_does_not_fit_is_not_written(
    export: Export, checkpoint: Checkpoint, out: Path, name: str
) -> None:
    tensors = {**checkpoint.tensors, name: checkpoint.tensors[name][:-1]}
    with pytest.raises(CheckpointError, match=name):
        export(checkpoint=replace(checkpoint, tensors=tensors))
    assert snapshot(out.parent) == {}


def test_an_unknown_family_is_not_written(export: Export, checkpoint: Checkpoint, out: Path) -> None:
    with pytest.raises(CheckpointError, match="'other' cannot be exported"):
        export(checkpoint=replace(checkpoint, config={**checkpoint.config, "family": "other"}))
    assert snapshot(out.parent) == {}


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 129])
def test_a_name_that_is_invalid_in_a_manifest_is_not_written(export: Export, out: Path, name: str) -> None:
    with pytest.raises(NonesuchError):
        export(name=name)
    assert snapshot(out.parent) == {}


def test_an_interrupted_export_leaves_nothing(export: Export, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> str:
        assert any(out.parent.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(exporter, "check_pictures", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export()
    assert snapshot(out.parent) == {}


def graph_of(inputs: list[int], op: str, domain: str = "") -> bytes:
    """A graph with one node, and an input of each given element type."""
    values = [onnx.helper.make_tensor_value_info(f"x{i}", kind, ["N"]) for i, kind in enumerate(inputs)]
    node = onnx.helper.make_node(op, ["x0", "x1"], ["y"], name="y", domain=domain)
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N"])
    graph = onnx.helper.make_graph([node], "g", values, [result])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def test_a_valid_graph_passes() -> None:
    check_graph(graph_of([FLOAT, FLOAT], "Add"), "thing.onnx")


@pytest.mark.parametrize(
    "model",
    [
        graph_of([FLOAT], "Add"),
        graph_of([FLOAT, INT64], "Add"),
        graph_of([INT64, INT64], "Add"),
        graph_of([FLOAT, FLOAT], "NoSuchOp"),
        graph_of([FLOAT, FLOAT], "Add", "com.example"),
        b"",
        b"junk",
    ],
    ids=["missing input", "mixed types", "wrong output type", "unknown operator", "unknown domain", "empty", "junk"],
)
def test_invalid_onnx_is_refused_in_one_line(model: bytes) -> None:
    with pytest.raises(ExportMismatchError, match=r"thing\.onnx is not valid ONNX") as caught:
        check_graph(model, "thing.onnx")
    assert "\n" not in caught.value.message


def test_psnr_is_for_8_bit_images() -> None:
    a = np.zeros((2, 2), np.uint8)
    assert psnr_db(a, a) == float("inf")
    assert psnr_db(a, a + np.uint8(255)) == 0
    assert psnr_db(a, a + np.uint8(1)) == pytest.approx(48.13, abs=0.01)


@pytest.mark.parametrize("name", ["rosinality_64.pt", "sg2ada_cond_32.pkl", "sg2ada_resnet_32.pkl", "sg3t_64.pkl"])
def test_every_variant_of_a_real_checkpoint_is_compared(name: str, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(REPOSITORY / "tests" / "fixtures" / name)
    noises: tuple[Literal["const", "none", "random"], ...]
    noises = ("const", "none") if name.startswith("sg3") else ("const", "none", "random")
    variants = [VariantOptions(noise=noise) for noise in noises]
    variants += [VariantOptions(precision="fp16"), VariantOptions(linear="conv1x1")]
    variants += [VariantOptions(upsampling="polyphase"), VariantOptions(output="float32_nchw")]
    if name.startswith("sg3"):
        variants[-2] = VariantOptions(upsampling="transposed")
    artifact = export_checkpoint(checkpoint, tmp_path / "made", name="made", source=SOURCE, variants=variants)
    entries, checked = artifact.manifest.variants, artifact.manifest.checked.split("; ")
    assert len({entry.file for entry in entries}) == len(variants)
    assert len(checked) == len(variants) + 1
    for entry, line in zip(entries, checked[1:], strict=True):
        expected = "float16 simulated, PSNR" if entry.precision == "fp16" else f"{entry.file} against PyTorch"
        assert expected in line, line
