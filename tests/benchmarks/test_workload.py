from __future__ import annotations

import numpy as np

from nonesuch.benchmarks.workload import Workload
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.generator import Generator


def test_rounds_walk_through_the_seeds_and_begin_again(artifact: Artifact, generator: Generator) -> None:
    workload = Workload(str(artifact.folder), images=6)
    assert len(workload) == 6
    styles = generator.styles(range(6), psi=0.7)
    np.testing.assert_array_equal(workload.batch(0, 4).ws, styles[:4])
    np.testing.assert_array_equal(workload.batch(1, 4).ws, styles[[4, 5, 0, 1]])
    np.testing.assert_array_equal(workload.batch(7, 1).ws, styles[[1]])
