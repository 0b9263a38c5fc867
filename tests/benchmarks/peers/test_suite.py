from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from nonesuch.benchmarks.measurement import BenchmarkError
from nonesuch.benchmarks.peers import contender, suite, venv
from nonesuch.benchmarks.peers.contender import CONTENDERS, NONESUCH, Contender, Setup
from nonesuch.benchmarks.peers.suite import CONCURRENCY, OFFERED, SUITE, measure
from nonesuch.benchmarks.suite import Request
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.export.exporter import export_checkpoint

from ...conftest import TINY_SOURCE, tiny_checkpoint

BY_NAME = {one.name: one for one in CONTENDERS}
SEEDS = range(8)


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "JPEG"
        return np.asarray(picture)


def as_jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return pixels(buffer.getvalue())


def check_pictures(one: Contender, setup: Setup, generator: Generator) -> None:
    """One call at a time and many at once: each gets its own seed's picture, to the bit of its pixels."""
    expected = [as_jpeg(image) for image in generator.generate(SEEDS)]
    running = one.start(setup, Home.default())
    with running.server:
        running.wait_ready()
        caller = running.connect()
        with ThreadPoolExecutor(len(SEEDS)) as threads:
            at_once = list(threads.map(lambda seed: running.pictures(range(seed, seed + 1))[0], SEEDS))
        in_turn = [caller.picture(seed) for seed in SEEDS]
        caller.close()
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
def test_peers_give_the_engines_pictures(
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
        assert one.suite == SUITE
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
        command=lambda setup, port: BY_NAME[NONESUCH].command(replace(setup, artifact=other), port),
    )
    missing = replace(BY_NAME["grpc.aio"], name="missing", requirements="missing")
    (tmp_path / "missing.txt").write_text("nobodys-peer==1.0\n")
    monkeypatch.setattr(venv, "REQUIREMENTS", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(suite, "CONTENDERS", (BY_NAME[NONESUCH], liar, missing))
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


def test_every_peer_has_its_program_and_its_pins() -> None:
    for one in CONTENDERS:
        if one.requirements is not None:
            assert (venv.REQUIREMENTS / f"{one.requirements}.txt").is_file()
            assert (contender.PROGRAMS / f"{one.requirements}_peer.py").is_file()
