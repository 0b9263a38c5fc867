from __future__ import annotations

import numpy as np

from nonesuch.benchmarks.memory import footprint, measure, peak_rss_mib, rss_mib
from nonesuch.benchmarks.result import Request
from nonesuch.benchmarks.subjects.subject import EngineSubject, Workload


def test_each_batch_size_has_a_process_of_its_own(tiny_model: str) -> None:
    outcome = measure(Request(model=tiny_model, quick=True, rounds=1, subjects=("onnxruntime", "wheel")))
    found = {(m.metric, m.case["batch"]): m.samples[0] for m in outcome.measurements if m.subject == "onnxruntime"}
    for batch in (1, 4):
        assert 0 < found["rss_import", batch] < found["rss_open", batch]
        # The peak is read from another counter, which the kernel updates per thread and in batches of pages.
        assert found["peak_rss", batch] >= found["rss_open", batch] - 1
    (skipped,) = outcome.skipped
    assert skipped.subject == "wheel network in OpenVINO"
    assert skipped.reason == "batch 1: tiny did not come from the wheel of 'faces'; there is nothing to run"


def test_what_the_parent_holds_is_not_the_childs(tiny_model: str) -> None:
    held = np.ones(200 << 17)  # 200 MiB, touched
    before = peak_rss_mib()
    found = footprint(EngineSubject(tiny_model, "onnxruntime"), Workload(tiny_model, images=1), 1)
    assert held.nbytes == 200 << 20
    assert found.rss_import < rss_mib() - 150
    assert before >= 200
    assert found.device_memory is None
    assert found.detail.startswith("onnxruntime ")
