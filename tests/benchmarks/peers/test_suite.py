from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from nonesuch.benchmarks.peers import subjects, suite, venv
from nonesuch.benchmarks.peers.subjects import (
    DEADLINE_S,
    NONESUCH,
    SUBJECTS,
    RunningSubject,
    ServerSubject,
    Setup,
    connect,
)
from nonesuch.benchmarks.peers.suite import CONCURRENCY, OFFERED, measure
from nonesuch.benchmarks.result import BenchmarkError, Request
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.export.exporter import export_checkpoint

from ...conftest import TINY_SOURCE, tiny_checkpoint

BY_NAME = {one.name: one for one in SUBJECTS}
SEEDS = range(8)


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "JPEG"
        return np.asarray(picture)


def as_jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return pixels(buffer.getvalue())


def check_pictures(subject: ServerSubject, setup: Setup, generator: Generator) -> None:
    """One call at a time and many at once: each gets its own seed's picture, to the bit of its pixels."""
    expected = [as_jpeg(image) for image in generator.generate(SEEDS)]
    with RunningSubject(subject, setup, Home.default()) as running:

        async def ask_at_once() -> list[bytes]:
            async with connect(running.port, running.path) as ask:
                answers = await asyncio.gather(*(ask(seed, DEADLINE_S) for seed in SEEDS))
            return [answer.data for answer in answers]

        running.wait_ready(lambda: running.pictures(range(1)))
        at_once = asyncio.run(ask_at_once())
        in_turn = running.pictures(SEEDS)
    for found in (at_once, in_turn):
        for data, right in zip(found, expected, strict=True):
            np.testing.assert_array_equal(pixels(data), right)


@pytest.mark.parametrize("name", [NONESUCH, "grpc.aio"])
def test_servers_of_this_environment_give_the_engines_pictures(
    name: str, artifact: Artifact, generator: Generator, tmp_path: Path
) -> None:
    check_pictures(BY_NAME[name], Setup(artifact, 2, 4, tmp_path), generator)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["litserve", "mosec", "bentoml"])
def test_the_others_give_the_engines_pictures(
    name: str, artifact: Artifact, generator: Generator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for max_batch_size in (1, 4):
        setup = Setup(artifact, 2, max_batch_size, tmp_path_factory.mktemp(name))
        check_pictures(BY_NAME[name], setup, generator)


def test_what_is_measured(artifact: Artifact) -> None:
    said: list[str] = []
    request = Request(str(artifact.folder), quick=True, subjects=(NONESUCH, "grpc.aio"), rounds=2, say=said.append)
    outcome = measure(request)
    assert outcome.skipped == []
    found = {
        (one.subject, one.metric, one.case.get(CONCURRENCY)): one
        for one in outcome.measurements
        if OFFERED not in one.case
    }
    metrics = [("images_per_s", 1), ("latency", 1), ("images_per_s", 4), ("latency", 4), ("rss", None)]
    assert set(found) == {(name, *metric) for name in (NONESUCH, "grpc.aio") for metric in metrics}
    opened = [one for one in outcome.measurements if OFFERED in one.case]
    assert {(one.subject, one.metric) for one in opened} == {
        (name, metric) for name in (NONESUCH, "grpc.aio") for metric in ("images_per_s", "latency")
    }
    assert len({one.case[OFFERED] for one in opened}) == 1  # all under the same rate
    for one in outcome.measurements:
        assert one.suite == "peers"
        assert min(one.samples) > 0
        if one.metric == "images_per_s":
            assert len(one.samples) == 2
        if one.metric == "latency":
            assert len(one.samples) >= 2 * 4
    assert "no batches" in found["grpc.aio", "rss", None].detail
    assert any("round 2" in line for line in said)


def test_who_shows_another_picture_or_does_not_install_is_left_out_with_the_reason(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = export_checkpoint(tiny_checkpoint(seed=1), tmp_path / "other", name="other", source=TINY_SOURCE)
    liar = replace(
        BY_NAME[NONESUCH],
        name="liar",
        command=BY_NAME[NONESUCH].command.replace("{artifact}", str(other.folder)),
    )
    missing = replace(BY_NAME["grpc.aio"], name="missing", requirements="missing")
    (tmp_path / "missing.txt").write_text("nobodys-peer==1.0\n")
    monkeypatch.setattr(venv, "REQUIREMENTS", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(suite, "SUBJECTS", (BY_NAME[NONESUCH], liar, missing))
    outcome = measure(Request(str(artifact.folder), quick=True, rounds=1))
    assert {one.subject for one in outcome.measurements} == {NONESUCH}
    reasons = {one.subject: one.reason for one in outcome.skipped}
    assert reasons.keys() == {"liar", "missing"}
    assert "shows another picture for seed 0" in reasons["liar"]
    assert "No matching distribution found for nobodys-peer==1.0" in reasons["missing"]


def test_a_model_that_takes_more_than_a_seed_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    conditional = Artifact(artifact.folder, msgspec.structs.replace(artifact.manifest, c_dim=10))
    with pytest.raises(BenchmarkError, match="seeds only"):
        Setup(conditional, 1, 1, tmp_path)


def test_every_server_has_its_program_and_its_pins() -> None:
    for one in SUBJECTS:
        if one.requirements is not None:
            assert (venv.REQUIREMENTS / f"{one.requirements}.txt").is_file()
            assert (subjects.PROGRAMS / f"serve_{one.requirements}.py").is_file()
