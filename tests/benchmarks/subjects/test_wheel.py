from __future__ import annotations

import sys

import numpy as np
import pytest

from nonesuch.benchmarks.agreement import Agreement
from nonesuch.benchmarks.result import BenchmarkError
from nonesuch.benchmarks.subjects.subject import Workload
from nonesuch.benchmarks.subjects.wheel import WheelSubject
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.engine.session import Batch


@pytest.mark.faces
def test_the_wheels_own_network_shows_the_engines_picture(
    faces: Artifact, faces_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NONESUCH_HOME", str(faces_home.root))
    batch = Workload(str(faces.folder), images=2).batch(0, 2)
    subject = WheelSubject(str(faces.folder))
    subject.open()
    images = subject.run(batch)
    mixed = np.concatenate([batch.ws[:1, :4], batch.ws[1:, 4:]], axis=1)
    with pytest.raises(BenchmarkError, match="one w for all layers"):
        subject.run(Batch(mixed))
    subject.close()
    with Generator.open(faces.folder) as generator:
        assert Agreement.of(images, generator.generate([0, 1], psi=0.7)).problem() == ""
    assert "random_face" not in sys.modules


def test_a_model_that_did_not_come_from_the_wheel_is_refused(tiny_model: str) -> None:
    with pytest.raises(BenchmarkError, match="tiny did not come from the wheel"):
        WheelSubject(tiny_model).open()
