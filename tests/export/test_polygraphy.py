"""NVIDIA's Polygraphy finds no problem in any exported graph, and TensorRT-RTX's parser supports all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.export.built_variant import build_variant
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.families import find_family
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.graphs.graph_builder import serialize
from nonesuch.export.graphs.mapping import build_mapping
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ..conftest import REPOSITORY, tiny_checkpoint

QUICK = ("tiny", "sg2ada_64", "sg3r_64")
SLOW = ("sg2ada_cond_32", "sg2ada_resnet_32", "sg3t_64")


def sample_variants(checkpoint: Checkpoint) -> Iterator[VariantOptions]:
    """Yield every option of the family at least once, and both precisions in every form of up-sampling."""
    for form in find_family(checkpoint.family).upsampling:
        yield VariantOptions(upsampling=form)
        if form != "winograd":  # a float32 form
            yield VariantOptions("fp16", upsampling=form)
    yield VariantOptions("fp16", linear="conv1x1")
    yield VariantOptions(output="float32_nchw")
    if checkpoint.family == "stylegan2":
        yield VariantOptions("fp16", noise="random")
        yield VariantOptions(noise="none")


def polygraphy(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "POLYGRAPHY_AUTOINSTALL_DEPS": "0", "POLYGRAPHY_USE_TENSORRT_RTX": "1"}
    command = [str(Path(sys.executable).with_name("polygraphy")), *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


def check(graph: bytes, path: Path) -> None:
    path.write_bytes(graph)
    report = path.with_suffix(".json")
    linted = polygraphy(path.parent, "check", "lint", str(path), "--output", str(report))
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert json.loads(report.read_text())["lint_entries"] == []
    inspected = polygraphy(path.parent, "inspect", "capability", str(path))
    assert inspected.returncode == 0, inspected.stdout + inspected.stderr
    assert "Graph is fully supported by TensorRT" in inspected.stdout


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_no_problem_is_found_in_the_default_graphs(name: str, tmp_path: Path) -> None:
    checkpoint = load(name)
    for precision in ("fp32", "fp16"):
        options = VariantOptions(precision)
        check(build_variant(checkpoint, options).data, tmp_path / f"{precision}.onnx")
    check(serialize(build_mapping(checkpoint)), tmp_path / "mapping.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_no_problem_is_found_in_any_variant(name: str, tmp_path: Path) -> None:
    checkpoint = load(name)
    for number, options in enumerate(sample_variants(checkpoint)):
        check(build_variant(checkpoint, options).data, tmp_path / f"{number}.onnx")


@pytest.mark.slow
@pytest.mark.faces
def test_no_problem_is_found_in_the_default_model(faces: Artifact, tmp_path: Path) -> None:
    for file in faces.manifest.files:
        if file.endswith(".onnx"):
            check(faces.read(file), tmp_path / file)


def load(name: str) -> Checkpoint:
    if name == "tiny":
        return tiny_checkpoint()
    return read_checkpoint(REPOSITORY / "tests" / "fixtures" / f"{name}.pkl")
