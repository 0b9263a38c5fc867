"""Compares a plan's images with those of ONNX Runtime on the CPU, before the plan is kept.

Both run the same graph from the same seeds. Where there is no GPU that the plan is for, or no ONNX Runtime, nothing is
compared and the record says so; "compared" is written only after a comparison.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..artifact import Artifact
from ..backends.onnxruntime import OnnxRuntimeSession, load_mapping, load_onnxruntime
from ..cuda_driver import Gpu, find_driver
from ..errors import BackendError, BackendUnavailableError
from ..latent_pipeline import LatentPipeline, PictureOptions
from ..manifest import Variant
from ..psnr import psnr_db
from ..session import Batch, SessionOptions
from ..source import Seeds
from .batch_profile import profile_of
from .build_spec import BuildSpec
from .cuda import select_device
from .library import Library
from .plan_record import Numerics
from .plan_runtime import PlanRuntime

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


def check_plan(
    library: Library, artifact: Artifact, variant: Variant, spec: BuildSpec, plan: bytes, gpu: Gpu | None = None
) -> Numerics:
    """Compare a plan that was just built, if that can be done here, in one size of each of its profiles.

    Args:
        library: that built it.
        artifact: the model.
        variant: its graph.
        spec: what was built.
        plan: the plan.
        gpu: where to run it; None takes the first GPU that it is for.

    Raises:
        BackendError: its images are too far from ONNX Runtime's, or it does not run.
        PlanError: it does not load.
    """
    driver = find_driver()
    gpu = gpu or next((gpu for gpu in driver.gpus if spec.runs_on(gpu)), None)
    if gpu is None:
        return Numerics(status="not run", note=driver.problem or f"no GPU here is {spec.target}")
    try:
        load_onnxruntime()
        select_device(gpu.ordinal)
    except BackendUnavailableError as error:
        return Numerics(status="not run", note=error.message)
    sizes = compared_sizes(spec)
    runtime = PlanRuntime(library, plan, spec, ordinal=gpu.ordinal, batch_sizes=sizes)
    try:
        with OnnxRuntimeSession(artifact, variant, SessionOptions(device="cpu", max_batch_size=sizes[-1])) as reference:
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


def compared_sizes(spec: BuildSpec) -> tuple[int, ...]:
    """The smallest size of each profile: profiles have kernels of their own."""
    first = {profile_of(spec.profiles, size): size for size in reversed(spec.batch_sizes)}
    return tuple(sorted(first.values()))


def compare_images(
    artifact: Artifact, variant: Variant, spec: BuildSpec, render: Render, reference: Render, what: str
) -> Numerics:
    """Render `GATE_SEEDS` both ways, in batches of `compared_sizes`.

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
    latents, sizes = LatentPipeline(artifact, variant, load_mapping), compared_sizes(spec)
    least, worst, closest = least_psnr_db(spec), 0, _EQUAL_DB
    for size in sizes:
        found, expected = [], []
        for start in range(0, len(GATE_SEEDS), size):
            # Seeds that are left over are rendered again, so that the batch is whole.
            seeds = [GATE_SEEDS[(start + row) % len(GATE_SEEDS)] for row in range(size)]
            batch = latents.batch(Seeds(seeds), PictureOptions())
            found.append(render(batch))
            expected.append(reference(batch))
        a, b = np.concatenate(found), np.concatenate(expected)
        worst, psnr = max(worst, int(np.abs(a.astype(np.int16) - b).max())), psnr_db(a, b)
        closest = min(closest, psnr)
        if psnr < least:
            raise BackendError(
                f"the plan of {spec.graph} renders other images than {what}: {psnr:.1f} dB in batches of {size}, "
                f"largest difference {worst}, where {least:.0f} dB is the least; it was not kept"
            )
    return Numerics(
        status="compared",
        note=what,
        psnr_db=round(closest, 2),
        max_error=worst,
        seeds=GATE_SEEDS,
        batch_sizes=sizes,
    )
