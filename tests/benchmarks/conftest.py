"""For the benchmarks' tests: the tiny random model, with the converted weights that PyTorch needs."""

from __future__ import annotations

import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.home import Home
from nonesuch.export.checkpoint import Checkpoint


@pytest.fixture
def tiny_model(artifact: Artifact, checkpoint: Checkpoint) -> str:
    """The tiny model's folder; its converted weights are in the tests' home."""
    checkpoint.save(Checkpoint.folder(Home.default(), checkpoint.model_id))
    return str(artifact.folder)
