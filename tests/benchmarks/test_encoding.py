from __future__ import annotations

from nonesuch.benchmarks.encoding import ALONE, PICTURES, PILLOW_PNG, measure
from nonesuch.benchmarks.result import Request


def test_every_format_has_its_time_and_its_bytes(tiny_model: str) -> None:
    outcome = measure(Request(model=tiny_model, quick=True, rounds=2))
    assert not outcome.skipped
    found = {(m.subject, m.metric): m for m in outcome.measurements}
    for name in ("jpeg", "png", "webp", PILLOW_PNG):
        assert len(found[name, "encode"].samples) == 2
        assert len(found[name, "size"].samples) == PICTURES
        assert 0.1 < min(found[name, "size"].samples) < 32 * 32 * 3 / 1024 * 2  # KiB; provenance is in the bytes
    for name in (ALONE, "generate, then jpeg", "generate beside jpeg", "generate beside png"):
        rate = found[name, "images_per_s"]
        assert len(rate.samples) == 2
        assert rate.better == "higher"
        assert rate.detail


def test_one_format_can_be_asked_for(tiny_model: str) -> None:
    outcome = measure(Request(model=tiny_model, quick=True, rounds=1, subjects=("jpeg",)))
    assert {m.subject for m in outcome.measurements} == {"jpeg", ALONE, "generate, then jpeg", "generate beside jpeg"}
