"""The kernels that TensorRT-RTX makes of our graphs: at most as many as recorded, and fused as intended.

A new version of the library may fuse differently: check the difference and record it with `python -m tests.plan_table`.
`make test-slow` builds all plans of the matrix.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from nonesuch.engine.artifact import Artifact

from .fusion_report import Kernel, kernels_of
from .plan_matrix import MODELS, PRECISIONS, TARGETS, build, export, recorded_kernels

QUICK = [("fp32", "ampere+"), ("fp16", "ampere+"), ("fp16", "sm86"), ("fp16", "sm120"), ("fp16", "sm75")]
BATCH = 1  # index of the profile for two or more images; a single image has its own profile


@pytest.fixture(scope="module")
def stylegan2(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export("stylegan2 64", tmp_path_factory.mktemp("fusion") / "stylegan2")


@pytest.fixture(scope="module")
def kernels(stylegan2: Artifact) -> list[Kernel]:
    """The kernels of the float16 graph for batches."""
    _, built = build(stylegan2, "stylegan2 64", "fp16", "ampere+")
    return [kernel for kernel in kernels_of(built.log) if kernel.profile == BATCH]


def with_node(kernels: list[Kernel], node: str) -> list[Kernel]:
    return [kernel for kernel in kernels if node in kernel.nodes]


def check_recorded(artifact: Artifact, model: str, precision: str, target: str) -> None:
    outcome, _ = build(artifact, model, precision, target)
    one, batch = recorded_kernels()[model, precision, target]
    assert outcome.kernels_one <= one, f"{model}, {precision}, {target}: more kernels for one image"
    assert outcome.kernels_batch <= batch, f"{model}, {precision}, {target}: more kernels for a batch"


@pytest.mark.parametrize(("precision", "target"), QUICK)
def test_stylegan2_has_no_more_kernels_than_were_recorded(stylegan2: Artifact, precision: str, target: str) -> None:
    check_recorded(stylegan2, "stylegan2 64", precision, target)


def test_stylegan3_has_no_more_kernels_than_were_recorded(tmp_path: Path) -> None:
    artifact = export("stylegan3-r 64", tmp_path / "stylegan3")
    check_recorded(artifact, "stylegan3-r 64", "fp16", "ampere+")


@pytest.mark.faces
def test_the_default_model_has_no_more_kernels_than_were_recorded(faces: Artifact) -> None:
    check_recorded(faces, "faces", "fp32", "ampere+")


def test_everything_is_recorded() -> None:
    assert set(recorded_kernels()) == {(m, p, t) for m in MODELS for p in PRECISIONS for t in TARGETS}


def test_between_two_convolutions_there_is_one_kernel(kernels: list[Kernel]) -> None:
    sizes = [8, 16, 32, 64]
    layers = ["b4.conv1", *(f"b{size}.conv{index}" for size in sizes for index in (0, 1))]
    for layer, following in itertools.pairwise(layers):
        nodes = [f"{layer}/{op}" for op in ("demodulate", "add_noise", "add_bias", "lrelu", "clamp")]
        (kernel,) = with_node(kernels, nodes[0])
        assert {*nodes, f"{following}/modulate"} <= kernel.nodes
        assert [len(with_node(kernels, node)) for node in nodes] == [1] * len(nodes)


def test_each_index_of_ws_has_one_product(kernels: list[Kernel]) -> None:
    # If one layer reads the index, the kernel that finds the largest style adds the bias.
    products = [[k for k in with_node(kernels, f"ws.{i}/gemm") if k.kind != "kgen"] for i in range(10)]
    assert [len(found) for found in products] == [1] * 10
    assert len({id(found[0]) for found in products}) == 10


def test_demodulation_is_one_kernel(kernels: list[Kernel]) -> None:
    for size in (8, 16, 32, 64):
        (kernel,) = with_node(kernels, f"b{size}.conv1.demodulation/gemm")
        assert {f"b{size}.conv1/demodulation_sqrt", f"b{size}.conv1/demodulation"} <= kernel.nodes


def test_the_picture_is_summed_and_packed_in_one_kernel(kernels: list[Kernel]) -> None:
    (kernel,) = with_node(kernels, "image/uint8")
    assert {"image/middle", "image/clip", "image/nhwc", "b64.torgb/rescale"} <= kernel.nodes


@pytest.mark.slow
@pytest.mark.parametrize("model", [pytest.param("faces", marks=pytest.mark.faces), *MODELS[1:]])
def test_every_plan_of_the_matrix_builds_with_no_more_kernels(
    model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if model == "faces":
        from nonesuch.export.catalogue import find_entry
        from nonesuch.export.export_job import ExportJob, export_named

        from .plan_matrix import variants

        home = request.getfixturevalue("faces_home")
        artifact = export_named(find_entry("faces"), home, ExportJob(out=tmp_path / "faces", variants=variants()))
    else:
        artifact = export(model, tmp_path / "model")
    for precision in PRECISIONS:
        for target in TARGETS:
            check_recorded(artifact, model, precision, target)
