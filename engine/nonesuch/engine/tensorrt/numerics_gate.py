"""Compares a plan's images with those of ONNX Runtime on the CPU, before the plan is kept.

Both run the same graph from the same seeds. Where there is no GPU that the plan is for, or no ONNX Runtime, nothing is
compared and the record says so; "compared" is written only after a comparison.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..artifact import Artifact
from ..backends.onnxruntime import OnnxRuntimeSession, load_onnxruntime
from ..cuda_driver import find_driver
from ..errors import BackendError, BackendUnavailableError
from ..latent_pipeline import LatentPipeline, PictureOptions
from ..manifest import Variant
from ..psnr import psnr_db
from ..session import Batch, SessionOptions
from .batch_profile import profile_of
from .build_spec import BuildSpec
from .library import Library
from .plan_record import Numerics
from .plan_runtime import PlanRuntime

__all__ = ["GATE_SEEDS", "check_plan", "compare_images", "least_psnr_db"]

GATE_SEEDS = (0, 1, 2, 3)
_EQUAL_DB = 99.0

Render = Callable[[Batch], NDArray[np.uint8]]


def least_psnr_db(spec: BuildSpec) -> float:
    """What a plan must reach, dB.

    A float32 graph differs by the order of its sums, hardly a grey level: 50. With TF32, whose products have 10 bits of
    mantissa, and in float16, which has as many, by more: 35 still is no difference that an eye finds, and a wrong
    kernel, an overflow or a swapped channel stays below 25.
    """
    return 50.0 if spec.precision == "fp32" and not spec.tf32 else 35.0


def check_plan(library: Library, artifact: Artifact, variant: Variant, spec: BuildSpec, plan: bytes) -> Numerics:
    """Compare a plan that was just built, if that can be done here.

    Raises:
        BackendError: its images are too far from ONNX Runtime's, or it does not run.
    """
    driver = find_driver()
    gpu = next((gpu for gpu in driver.gpus if spec.runs_on(gpu)), None)
    if gpu is None:
        there = driver.problem or f"no GPU here is {spec.target}"
        return Numerics(status="not run", note=there)
    try:
        load_onnxruntime()
    except BackendUnavailableError as error:
        return Numerics(status="not run", note=error.message)
    size = spec.batch_sizes[0]
    profile_of(spec.profiles, size)
    runtime = PlanRuntime(library, plan, spec, ordinal=gpu.ordinal, batch_sizes=[size])
    try:
        with OnnxRuntimeSession(artifact, variant, SessionOptions(device="cpu", max_batch_size=size)) as reference:
            return compare_images(
                artifact,
                variant,
                spec,
                lambda batch: runtime.run(batch.feeds(), len(batch)),
                lambda batch: reference.submit(batch).result().images,
                f"{reference.identity}; the plan on {gpu.name}",
            )
    finally:
        runtime.close()


def compare_images(
    artifact: Artifact, variant: Variant, spec: BuildSpec, render: Render, reference: Render, what: str
) -> Numerics:
    """Render `GATE_SEEDS` both ways, in batches of the plan's smallest size.

    Args:
        artifact: the model.
        variant: its graph.
        spec: of the plan.
        render: the plan.
        reference: what it is held against.
        what: names both, for the record.

    Raises:
        BackendError: the images are too far apart.
    """
    latents, size = LatentPipeline(artifact, variant), spec.batch_sizes[0]
    found, expected = [], []
    for seed in GATE_SEEDS:
        # A whole batch of one seed: a plan whose smallest batch is 4 is compared all the same.
        batch = latents.batch(PictureOptions(), seeds=[seed] * size)
        found.append(render(batch))
        expected.append(reference(batch))
    a, b = np.concatenate(found), np.concatenate(expected)
    worst, psnr = int(np.abs(a.astype(np.int16) - b).max()), min(psnr_db(a, b), _EQUAL_DB)
    least = least_psnr_db(spec)
    if psnr < least:
        raise BackendError(
            f"the plan of {spec.graph} renders other images than {what}: {psnr:.1f} dB, largest difference {worst}, "
            f"where {least:.0f} dB is the least; it was not kept"
        )
    return Numerics(status="compared", note=what, psnr_db=round(psnr, 2), max_error=worst, seeds=GATE_SEEDS)
