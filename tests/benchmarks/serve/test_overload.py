from __future__ import annotations

from nonesuch.benchmarks.result import Request
from nonesuch.benchmarks.serve.overload import OverloadSettings, measure
from nonesuch.engine.artifact import Artifact


def test_goodput_of_every_load_and_the_wait_beside_bulk_work_and_visitors(artifact: Artifact) -> None:
    settings = OverloadSettings(loads=(1.0, 2.0), quiet_load=0.05, run_s=0.5, max_requests=60, visitors=20)
    outcome = measure(Request(str(artifact.folder), quick=True), settings)
    goodput = {one.case["load"]: one for one in outcome.measurements if one.metric == "goodput_per_s"}
    assert set(goodput) == {1.0, 2.0}
    latency = {one.case["beside"]: one for one in outcome.measurements if one.metric == "latency"}
    assert set(latency) == {"nothing", "bulk", "20 visitors"}
    (visited,) = (one for one in outcome.measurements if one.metric == "visitors_per_s")
    assert (visited.case, len(visited.samples), visited.samples[0] > 0) == ({"visitors": 20}, 1, True)
    assert not [flag for flag in outcome.flags if "visitors" in flag]
    for one in outcome.measurements:
        assert one.suite == "overload"
        assert min(one.samples) >= 0
    assert all(len(one.samples) > 5 for one in latency.values())
    assert measure(Request(str(artifact.folder), subjects=("openvino",))).measurements == []
