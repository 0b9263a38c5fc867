"""How close every backend and precision comes to PyTorch in float32: PSNR, SSIM and the largest error, by seed.

Limits: 8-bit pictures at psi 1, compared with the eager reference form. Equal pictures have an infinite PSNR, which a
result file cannot hold: what is above 100 dB is written as 100 dB, which is 20 values of a 1024x1024 picture one level
off.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.backends.registry import installed_backends
from nonesuch.engine.session import SessionOptions

from .agreement import compare
from .measurement import BenchmarkError, Case, Measurement, Skipped
from .subject import Subject
from .subjects.engine import EngineSubject
from .subjects.torch import REFERENCE_NAME, TorchSubject
from .suite import Outcome, Request
from .workload import Workload

__all__ = ["EQUAL_PSNR_DB", "SUITE", "measure"]

SUITE = "precision"
QUICK_SEEDS = 4
FULL_SEEDS = 16
EQUAL_PSNR_DB = 100.0
_BASELINE = "torch"


def measure(request: Request) -> Outcome:
    """Samples of `psnr`, dB, `ssim` and `max_error`, of 255, one for each seed, of every backend and variant.

    Raises:
        NonesuchError: there is no such model.
    """
    outcome = Outcome()
    seeds = request.rounds or (QUICK_SEEDS if request.quick else FULL_SEEDS)
    workload = Workload(request.model, psi=1.0, images=seeds)
    try:
        expected = _pictures(TorchSubject(request.model), workload)
    except Exception as error:  # as in a contest: whatever PyTorch raises, there is nothing to compare with
        outcome.skipped.append(Skipped(suite=SUITE, subject=REFERENCE_NAME, reason=_line(error)))
        return outcome
    for subject, case in _subjects(request, workload):
        request.say(f"comparing {subject.name}, {', '.join(map(str, case.values()))}")
        try:
            found = _pictures(subject, workload, str(case["variant"]))
        except Exception as error:
            outcome.skipped.append(Skipped(suite=SUITE, subject=subject.name, reason=f"{case}: {_line(error)}"))
            continue
        outcome.measurements += _measurements(subject.name, case, found, expected)
    return outcome


def _subjects(request: Request, workload: Workload) -> list[tuple[EngineSubject, Case]]:
    """Every usable backend with every variant of the artifact that takes the same inputs."""
    found: list[tuple[EngineSubject, Case]] = []
    for name, backend in installed_backends().items():
        if name == _BASELINE or not request.wants(name) or not backend.probe().usable:
            continue
        for variant in workload.artifact.manifest.variants:
            if variant.output == "uint8_nhwc" and variant.inputs == workload.variant.inputs:
                options = SessionOptions(
                    device="auto",
                    max_batch_size=1,
                    noise=variant.noise,
                    precision=variant.precision,
                    upsampling=variant.upsampling,
                )
                case: Case = {"precision": variant.precision, "variant": variant.file}
                found.append((EngineSubject(request.model, name, options=options), case))
    return found


def _pictures(subject: Subject, workload: Workload, file: str = "") -> list[NDArray[np.uint8]]:
    """One picture a seed; of an engine's subject by that file of the artifact and no other."""
    subject.open()
    try:
        if isinstance(subject, EngineSubject) and (chosen := subject.generator.session.variant.file) != file:
            raise BenchmarkError(f"{file} is not for this backend, which takes {chosen}")
        return [subject.run(workload.batch(number, 1))[0] for number in range(len(workload))]
    finally:
        subject.close()


def _measurements(
    name: str, case: Case, found: list[NDArray[np.uint8]], expected: list[NDArray[np.uint8]]
) -> list[Measurement]:
    agreements = [compare(ours, theirs) for ours, theirs in zip(found, expected, strict=True)]
    columns: list[tuple[str, str, Literal["lower", "higher"], list[float]]] = [
        ("psnr", "dB", "higher", [min(agreement.psnr_db, EQUAL_PSNR_DB) for agreement in agreements]),
        ("max_error", "of 255", "lower", [float(agreement.max_difference) for agreement in agreements]),
        ("ssim", "", "higher", _ssim(found, expected)),
    ]
    return [
        Measurement(
            suite=SUITE,
            subject=name,
            detail="against PyTorch float32, eager reference form",
            metric=metric,
            unit=unit,
            better=better,
            case=case,
            samples=samples,
        )
        for metric, unit, better, samples in columns
        if samples
    ]


def _ssim(found: list[NDArray[np.uint8]], expected: list[NDArray[np.uint8]]) -> list[float]:
    """Structural similarity of each pair; empty where scikit-image is missing."""
    try:
        metrics: Any = import_module("skimage.metrics")
    except ImportError:
        return []
    pairs = zip(found, expected, strict=True)
    return [float(metrics.structural_similarity(a, b, channel_axis=2, data_range=255)) for a, b in pairs]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
