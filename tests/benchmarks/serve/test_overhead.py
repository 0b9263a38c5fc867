from __future__ import annotations

from nonesuch.benchmarks.result import Request
from nonesuch.benchmarks.serve.overhead import ENGINE, measure
from nonesuch.benchmarks.serve.server import SUBJECT
from nonesuch.engine.artifact import Artifact


def test_both_are_measured_in_turn_and_one_caller_says_what_serving_adds(artifact: Artifact) -> None:
    outcome = measure(Request(str(artifact.folder), quick=True, rounds=2))
    assert outcome.skipped == []
    found = {(one.subject, one.metric): one for one in outcome.measurements}
    assert set(found) == {(ENGINE, "images_per_s"), (SUBJECT, "images_per_s"), (SUBJECT, "added_latency")}
    for one in found.values():
        assert one.suite == "overhead"
        assert min(one.samples) > 0
    assert len(found[ENGINE, "images_per_s"].samples) == 2
    assert measure(Request(str(artifact.folder), subjects=("openvino",))).measurements == []
