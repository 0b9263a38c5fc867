"""How close every backend and precision comes to PyTorch in float32: PSNR, SSIM and the largest error, by seed.

Limits: 8-bit pictures at psi 1, compared with the eager reference form. Equal pictures have an infinite PSNR, which a
result file cannot hold: what is above 100 dB is written as 100 dB, which is 20 values of a 1024x1024 picture one level
off.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.backends.registry import installed_backends
from nonesuch.engine.session import SessionOptions

from .agreement import Agreement
from .result import BenchmarkError, Case, Outcome, Request
from .subjects.subject import EngineSubject, Subject, Workload
from .subjects.torch import BACKEND, REFERENCE_NAME, TorchSubject

QUICK_SEEDS, FULL_SEEDS = 4, 16
EQUAL_PSNR_DB = 100.0


def measure(request: Request) -> Outcome:
    """Samples of `psnr`, dB, `ssim` and `max_error`, of 255, one for each seed, of every backend and variant."""
    outcome = Outcome("precision")
    seeds = request.rounds or (QUICK_SEEDS if request.quick else FULL_SEEDS)
    workload = Workload(request.model, psi=1.0, images=seeds)
    try:
        expected = _pictures(TorchSubject(request.model), workload)
    except Exception as error:  # whatever PyTorch raises, there is nothing to compare with
        outcome.skip(REFERENCE_NAME, error)
        return outcome
    for subject, case in _subjects(request, workload):
        request.say(f"comparing {subject.name}, {', '.join(map(str, case.values()))}")
        try:
            found = _pictures(subject, workload, str(case["variant"]))
        except Exception as error:
            outcome.skip(subject.name, f"{case}: {str(error) or type(error).__name__}")
            continue
        agreements = [Agreement.of(ours, theirs) for ours, theirs in zip(found, expected, strict=True)]
        columns = {
            "psnr": [min(agreement.psnr_db, EQUAL_PSNR_DB) for agreement in agreements],
            "max_error": [float(agreement.max_difference) for agreement in agreements],
            "ssim": _ssim(found, expected),
        }
        for metric, samples in columns.items():
            if samples:
                outcome.add(subject.name, metric, samples, case, "against PyTorch float32, eager reference form")
    return outcome


def _subjects(request: Request, workload: Workload) -> list[tuple[EngineSubject, Case]]:
    """Every usable backend with every variant of the artifact that takes the same inputs."""
    found: list[tuple[EngineSubject, Case]] = []
    for name, backend in installed_backends().items():
        if name == BACKEND or not request.wants(name) or not backend.probe().usable:
            continue
        for variant in workload.artifact.manifest.variants:
            if variant.output == "uint8_nhwc" and variant.inputs == workload.variant.inputs:
                options = SessionOptions(
                    device="auto", max_batch_size=1, noise=variant.noise, precision=variant.precision,
                    upsampling=variant.upsampling,
                )  # fmt: skip
                case: Case = {"precision": variant.precision, "variant": variant.file}
                found.append((EngineSubject(request.model, name, options=options), case))
    return found


def _pictures(subject: Subject, workload: Workload, file: str = "") -> list[NDArray[np.uint8]]:
    """One picture a seed; of an engine's subject by that file of the artifact and no other."""
    subject.open()
    try:
        if isinstance(subject, EngineSubject) and (chosen := subject.session.variant.file) != file:
            raise BenchmarkError(f"{file} is not for this backend, which takes {chosen}")
        return [subject.run(workload.batch(number, 1))[0] for number in range(len(workload))]
    finally:
        subject.close()


def _ssim(found: list[NDArray[np.uint8]], expected: list[NDArray[np.uint8]]) -> list[float]:
    """Structural similarity of each pair; empty where scikit-image is missing."""
    try:
        metrics: Any = import_module("skimage.metrics")
    except ImportError:
        return []
    pairs = zip(found, expected, strict=True)
    return [float(metrics.structural_similarity(a, b, channel_axis=2, data_range=255)) for a, b in pairs]
