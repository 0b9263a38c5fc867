from __future__ import annotations

import numpy as np

from nonesuch.benchmarks.subjects.subject import EngineSubject, Workload
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.generator import Generator
from nonesuch.engine.session import SessionOptions


def test_it_shows_what_the_generator_shows_and_says_what_it_ran(tiny_model: str, generator: Generator) -> None:
    subject = EngineSubject(
        tiny_model, "onnxruntime", options=SessionOptions(max_batch_size=4, threads=1), label="one thread"
    )
    assert subject.name == "onnxruntime, one thread"
    assert subject.supports(4)
    assert not subject.supports(5)
    subject.open()
    try:
        images = subject.run(Workload(tiny_model, images=4).batch(0, 2))
        assert subject.detail.endswith("synthesis.onnx (fp32), max_batch_size 4, threads 1")
        assert not subject.reduced_precision
    finally:
        subject.close()
    found = images.astype(int) - generator.generate([0, 1], psi=0.7).astype(int)
    # `auto` may have taken another runtime: a value on the border between two levels may fall to either side.
    assert np.abs(found).max() <= 1


def test_rounds_walk_through_the_seeds_and_begin_again(artifact: Artifact, generator: Generator) -> None:
    workload = Workload(str(artifact.folder), images=6)
    assert len(workload) == 6
    styles = generator.styles(range(6), psi=0.7)
    np.testing.assert_array_equal(workload.batch(0, 4).ws, styles[:4])
    np.testing.assert_array_equal(workload.batch(1, 4).ws, styles[[4, 5, 0, 1]])
    np.testing.assert_array_equal(workload.batch(7, 1).ws, styles[[1]])
