"""Compares a plan's images with those of ONNX Runtime on the CPU, before the plan is stored.

Both run the same graph with the same seeds. Without a GPU for the plan, or without ONNX Runtime, nothing is compared,
and the record says "not run"; it says "compared" only after a comparison.
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
from .batch_profile import profile_index
from .build_spec import BuildSpec
from .cuda import select_device
from .library import Library
from .plan_record import Numerics
from .plan_runtime import PlanRuntime

GATE_SEEDS = (0, 1, 2, 3)
_EQUAL_DB = 99.0

Render = Callable[[Batch], NDArray[np.uint8]]


def min_psnr_db(spec: BuildSpec) -> float:
    """The minimum PSNR of a plan, in dB.

    50 for float32, which only differs by the order of its sums, less than a grey level. 35 for TF32 and float16, which
    have 10 bits of mantissa: still not visible, while a wrong kernel, an overflow or swapped channels stay below 25.
    """
    return 50.0 if spec.precision == "fp32" and not spec.tf32 else 35.0


def check_plan(
    library: Library, artifact: Artifact, variant: Variant, spec: BuildSpec, plan: bytes, gpu: Gpu | None = None
) -> Numerics:
    """Compare a new plan if possible on this machine, in one size of each of its profiles.

    Args:
        library: the library that built it.
        artifact: the model.
        variant: its graph.
        spec: the spec of the plan.
        plan: the bytes of the plan.
        gpu: the GPU to run it on; None takes the first GPU that the plan is for.

    Raises:
        BackendError: the images differ too much from ONNX Runtime's, or the plan does not run.
        PlanError: the plan does not load.
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
    """The smallest size of each profile, because each profile has its own kernels."""
    first = {profile_index(spec.profiles, size): size for size in reversed(spec.batch_sizes)}
    return tuple(sorted(first.values()))


def compare_images(
    artifact: Artifact, variant: Variant, spec: BuildSpec, render: Render, reference: Render, what: str
) -> Numerics:
    """Render `GATE_SEEDS` both ways, in batches of `compared_sizes`.

    Args:
        artifact: the model.
        variant: its graph.
        spec: of the plan.
        render: runs the plan.
        reference: runs the reference.
        what: the names of both, for the record.

    Raises:
        BackendError: the images differ too much.
    """
    latents, sizes = LatentPipeline(artifact, variant, load_mapping), compared_sizes(spec)
    min_db, max_error, worst_db = min_psnr_db(spec), 0, _EQUAL_DB
    for size in sizes:
        found, expected = [], []
        for start in range(0, len(GATE_SEEDS), size):
            # Seeds are repeated to fill the last batch.
            seeds = [GATE_SEEDS[(start + row) % len(GATE_SEEDS)] for row in range(size)]
            batch = latents.batch(Seeds(seeds), PictureOptions())
            found.append(render(batch))
            expected.append(reference(batch))
        a, b = np.concatenate(found), np.concatenate(expected)
        max_error, psnr = max(max_error, int(np.abs(a.astype(np.int16) - b).max())), psnr_db(a, b)
        worst_db = min(worst_db, psnr)
        if psnr < min_db:
            raise BackendError(
                f"the plan of {spec.graph} renders other images than {what}: {psnr:.1f} dB in batches of {size}, "
                f"max error {max_error}; the minimum is {min_db:.0f} dB, so the plan was not stored"
            )
    return Numerics(
        status="compared",
        note=what,
        psnr_db=round(worst_db, 2),
        max_error=max_error,
        seeds=GATE_SEEDS,
        batch_sizes=sizes,
    )
