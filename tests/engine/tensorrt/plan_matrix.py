"""Every plan that must build without a GPU: models, precisions and targets, and the outcome of each.

`tests/plan_table.py` writes the outcomes into docs/tensorrt.md and into kernel_counts.json, which tests check.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.tensorrt.backend import plan_variant
from nonesuch.engine.tensorrt.library import load_library
from nonesuch.engine.tensorrt.plan_builder import BuiltPlan, build_plan
from nonesuch.engine.tensorrt.plan_request import PlanRequest
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ...conftest import REPOSITORY, TINY_SOURCE
from ...random_stylegan2 import stylegan2
from .fusion_report import activation_mib, kernels_of

__all__ = ["MODELS", "PRECISIONS", "TARGETS", "Outcome", "build", "checkpoint", "export", "recorded_kernels"]

MODELS = ("faces", "stylegan2 64", "stylegan2 256", "stylegan3-t 64", "stylegan3-r 64")
PRECISIONS = ("fp32", "fp16")
TARGETS: dict[str, tuple[int, ...]] = {
    "ampere+": (),
    "sm80": (80,),
    "sm86": (86,),
    "sm89": (89,),
    "sm120": (120,),
    "sm75": (75,),
}
BATCH_SIZES = (1, 2, 4, 8)
_FIXTURES = {"stylegan2 64": "sg2ada_64", "stylegan3-t 64": "sg3t_64", "stylegan3-r 64": "sg3r_64"}
_COUNTS = Path(__file__).parent / "kernel_counts.json"


@dataclass(frozen=True)
class Outcome:
    """One plan: `kernels_one` and `kernels_batch` are launches for one image and for two to eight."""

    model: str
    precision: str
    target: str
    graph_mib: float
    plan_mib: float
    activation_mib: float
    build_s: float
    kernels_one: int
    kernels_batch: int


def checkpoint(model: str) -> Checkpoint:
    """The weights of a model of the matrix, except the default model, which is exported by name."""
    if model == "stylegan2 256":
        return stylegan2(256, channel_base=16384)
    return read_checkpoint(REPOSITORY / "tests" / "fixtures" / f"{_FIXTURES[model]}.pkl")


def variants() -> list[VariantOptions]:
    """The variants that an artifact needs for all targets."""
    return [VariantOptions(precision, linear=linear) for linear in ("gemm", "conv1x1") for precision in PRECISIONS]  # type: ignore[arg-type]


def export(model: str, out: Path) -> Artifact:
    """An artifact with every variant of the matrix."""
    return export_checkpoint(checkpoint(model), out, name=model, source=TINY_SOURCE, variants=variants())


def build(artifact: Artifact, model: str, precision: str, target: str) -> tuple[Outcome, BuiltPlan]:
    """Build one plan with a detailed log."""
    sms, library = TARGETS[target], load_library("tensorrt-rtx")
    variant = plan_variant(artifact, "tensorrt-rtx", sms, precision=precision)
    graph = artifact.read(variant.file)
    spec = PlanRequest(library, artifact, variant, BATCH_SIZES, sms=sms).spec
    built = build_plan(library, graph, spec, detailed=True)
    profiles = [kernel.profile for kernel in kernels_of(built.log)]
    outcome = Outcome(
        model,
        precision,
        target,
        graph_mib=len(graph) / (1 << 20),
        plan_mib=len(built.data) / (1 << 20),
        activation_mib=activation_mib(built.log),
        build_s=built.build_s,
        kernels_one=profiles.count(0),
        kernels_batch=profiles.count(1),
    )
    return outcome, built


def recorded_kernels() -> dict[tuple[str, str, str], tuple[int, int]]:
    """The recorded kernels of one image and of a batch, by (model, precision, target)."""
    rows: dict[str, list[int]] = json.loads(_COUNTS.read_text())
    return {_key(name): (one, batch) for name, (one, batch) in rows.items()}


def record_kernels(outcomes: Iterator[Outcome] | list[Outcome]) -> None:
    """Record the numbers of kernels for the tests."""
    rows = {f"{o.model}, {o.precision}, {o.target}": [o.kernels_one, o.kernels_batch] for o in outcomes}
    _COUNTS.write_text("{\n" + ",\n".join(f'  "{name}": {counts}' for name, counts in rows.items()) + "\n}\n")


def _key(name: str) -> tuple[str, str, str]:
    model, precision, target = name.split(", ")
    return model, precision, target
