"""A model with classes, and a model with transforms, over gRPC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nonesuch.client import AsyncClient, RequestError
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.generator import Generator
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.formats.detect import read_checkpoint

from ..conftest import REPOSITORY, TINY_SOURCE, RunServer


def exported(name: str, folder: Path) -> Artifact:
    checkpoint = read_checkpoint(REPOSITORY / "tests" / "fixtures" / name)
    return export_checkpoint(checkpoint, folder / "made", name="made", source=TINY_SOURCE)


async def test_a_requested_class_is_applied(run_server: RunServer, tmp_path: Path) -> None:
    artifact = exported("sg2ada_cond_32.pkl", tmp_path)
    async with run_server(artifact) as server, AsyncClient(server.address) as client:
        with pytest.raises(RequestError, match="needs a class, 0 to 4"):
            await client.generate(seed=1)
        with pytest.raises(RequestError, match="has the classes 0 to 4"):
            await client.generate(seed=1, class_index=5)
        with Generator.open(artifact.folder) as generator:
            pictures = []
            for class_index in (0, 4):
                image = await client.generate(seed=1, class_index=class_index, cutoff=2, format="raw")
                expected = generator.generate([1], class_index=class_index, cutoff=2)[0]
                np.testing.assert_array_equal(image.numpy(), expected)
                pictures.append(image.data)
        assert pictures[0] != pictures[1]
        ws = np.zeros((artifact.manifest.num_ws, artifact.manifest.w_dim))
        assert (await client.generate(ws=ws)).data  # a w is already mapped and needs no class


async def test_a_stylegan3_picture_is_moved(run_server: RunServer, tmp_path: Path) -> None:
    artifact = exported("sg3t_64.pkl", tmp_path)
    async with run_server(artifact) as server, AsyncClient(server.address) as client:
        with Generator.open(artifact.folder) as generator:
            image = await client.generate(seed=1, translate=(0.1, 0), rotate_degrees=10, format="raw")
            expected = generator.generate([1], translate=(float(np.float32(0.1)), 0.0), rotate_degrees=10)[0]
        np.testing.assert_array_equal(image.numpy(), expected)
        assert image.data != (await client.generate(seed=1, format="raw")).data
