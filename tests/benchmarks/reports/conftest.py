"""A result as the suites write them, made of drawn numbers: every suite, two subjects left out, no flags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

from nonesuch.benchmarks.encoding import ALONE, PILLOW_PNG
from nonesuch.benchmarks.result import Case, Measurement, Result, Skipped
from nonesuch.benchmarks.speed import FLOOR
from nonesuch.benchmarks.subjects.wheel import WheelSubject

# Milliseconds of one image of the default model, about as on two cores.
TIMES_MS = {
    "torch eager, reference form, contiguous": 1360.0,
    "torch eager, reference form, channels_last": 1150.0,
    "torch eager, inference form, contiguous": 1010.0,
    "torch eager, inference form, channels_last": 910.0,
    "torch compile, inference form, channels_last": 420.0,
    WheelSubject.name: 300.0,
    "onnxruntime": 215.0,
    "openvino": 180.0,
}
SKIPPED = [
    Skipped(suite="latency", subject="tensorrt", reason="no CUDA device"),
    Skipped(suite="peers", subject="mosec", reason="pip found no <matching> distribution"),
]

ENVIRONMENT = {"cpu": "A Processor", "cores": "2 available of 2", "python": "CPython 3.11.7", "load_average": "0.10"}

MakeResult = Callable[..., Result]


def _draw(seed: int) -> list[Measurement]:
    random = np.random.default_rng(seed)
    found: list[Measurement] = []

    def add(
        suite: str, subject: str, metric: str, unit: str, better: Literal["lower", "higher", "none"],
        middle: float, count: int, case: Case | None = None, spread: float = 0.06,
    ) -> None:  # fmt: skip
        samples = (middle * random.lognormal(0, spread, count)).tolist()
        detail = f"{subject} 1.0 CPU, synthesis.onnx (fp32)"
        found.append(
            Measurement(
                suite=suite, subject=subject, metric=metric, unit=unit, better=better, samples=samples,
                case=case or {}, detail=detail,
            )
        )  # fmt: skip

    for name, time_ms in TIMES_MS.items():
        add("latency", name, "latency", "ms", "lower", time_ms, 15, {"batch": 1})
        for size in (1, 2, 4):
            rate = 1e3 / time_ms * (1 + 0.05 * size)
            add("throughput", name, "images_per_s", "1/s", "higher", rate, 10, {"batch": size})
            add("memory", name, "peak_rss", "MiB", "lower", 300 + time_ms / 4 * size, 3, {"batch": size}, 0.01)
    add("latency", FLOOR, "latency", "ms", "none", 110.0, 15, {"batch": 1}, 0.01)
    for name in ("onnxruntime", "openvino"):
        for precision, psnr_db in (("fp32", 58.0), ("int8", 33.0)):
            case: Case = {"precision": precision, "variant": f"synthesis-{precision}.onnx"}
            add("precision", name, "psnr", "dB", "higher", psnr_db, 4, case, 0.02)
            add("precision", name, "ssim", "", "higher", 0.999, 4, case, 0.0001)
            add("precision", name, "max_error", "of 255", "lower", 1.0, 4, case, 0.0)
    for name, time_ms, size_kib in (
        ("jpeg", 7.0, 210),
        ("png", 12.0, 1300),
        ("webp", 90.0, 160),
        (PILLOW_PNG, 390.0, 1280),
    ):
        add("encoding", name, "encode", "ms", "lower", time_ms, 8, {"threads": 1})
        add("encoding", name, "size", "KiB", "lower", size_kib, 4)
    for name, rate in ((ALONE, 5.5), ("generate, then jpeg", 5.2), ("generate beside jpeg", 5.4)):
        add("encoding", name, "images_per_s", "1/s", "higher", rate, 3, {"images": 4})
    add("serve", "nonesuch serve", "slo", "ms", "none", 1000.0, 1, spread=0.0)
    add("serve", "nonesuch serve", "peak_rate", "1/s", "higher", 4.8, 1, {"loop": "open", "percentile": 90})
    ladder: list[tuple[Case, float, float]] = [
        ({"loop": "closed", "concurrency": number}, 1e3 / 200, 200.0 * number) for number in (1, 4, 16)
    ]
    ladder += [
        ({"loop": "open", "load": load}, min(load, 1) * 5.2, 200 / max(0.06, 1 - load)) for load in (0.5, 0.8, 1.2)
    ]
    for case, rate, latency_ms in ladder:
        add("serve", "nonesuch serve", "images_per_s", "1/s", "higher", rate, 3, case)
        add("serve", "nonesuch serve", "goodput_per_s", "1/s", "higher", rate * min(1, 800 / latency_ms), 1, case)
        add("serve", "nonesuch serve", "latency_from_sending", "ms", "lower", latency_ms, 120, case, 0.4)
        add("serve", "nonesuch serve", "batch_size", "", "none", 1, 120, case, 0.0)
        if "load" in case:
            add("serve", "nonesuch serve", "latency_from_schedule", "ms", "lower", latency_ms, 120, case, 0.4)
            add("serve", "nonesuch serve", "offered_per_s", "1/s", "none", float(case["load"]) * 5.2, 1, case)
    for name, rate in (("nonesuch", 5.1), ("LitServe", 4.4), ("bare grpc.aio", 4.9)):
        for number in (1, 4):
            add("peers", name, "images_per_s", "1/s", "higher", rate, 3, {"concurrency": number})
            add("peers", name, "latency", "ms", "lower", 1e3 / rate * number, 12, {"concurrency": number})
        add("peers", name, "rss", "MiB", "lower", 800.0, 6)
    for name, rate in (("Generator.generate in a loop", 5.2), ("nonesuch serve", 5.1)):
        add("overhead", name, "images_per_s", "1/s", "higher", rate, 5, {"loop": "saturated"})
    add("overhead", "nonesuch serve", "added_latency", "ms", "lower", 4.0, 40, {"concurrency": 1})
    for load in (1.0, 2.0, 4.0):
        add("overload", "nonesuch serve", "goodput_per_s", "1/s", "higher", 5.0, 3, {"load": load})
    for beside in ("nothing", "bulk"):
        add("overload", "nonesuch serve", "latency", "ms", "lower", 250.0, 60, {"beside": beside})
    for name in ("tune's choice", "openvino, 2 threads", "onnxruntime, 2 threads", "onnxruntime, 1 thread"):
        for size in (1, 4):
            add("tuning", name, "image_time", "ms", "lower", 200.0, 5, {"batch": size})
    return found


@pytest.fixture(scope="session")
def make_result() -> MakeResult:
    """A result: make_result(seed=1, flags=["..."]) draws other samples of the same distributions."""

    def make(seed: int = 0, **changes: Any) -> Result:
        values: dict[str, Any] = {
            "created": "2026-01-02T03:04:05+00:00",
            "command": "nonesuch bench all --model faces",
            "model": "faces",
            "model_id": "0" * 64,
            "resolution": 1024,
            "quick": False,
            "environment": ENVIRONMENT,
            "measurements": _draw(seed),
            "skipped": SKIPPED,
        }  # fmt: skip
        return Result(**(values | changes))

    return make
