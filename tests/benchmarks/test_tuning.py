from __future__ import annotations

import pytest

from nonesuch.benchmarks.result import Request
from nonesuch.benchmarks.tuning import TUNED, Candidate, Tuner, measure
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.generator import Generator
from nonesuch.engine.machine import usable_cores
from nonesuch.engine.session import SessionOptions
from nonesuch.engine.tuning import Tuning


def request(artifact: Artifact, **options: object) -> Request:
    return Request(str(artifact.folder), quick=True, rounds=2, **options)  # type: ignore[arg-type]


def test_every_backend_that_auto_may_take_is_tuned_the_fastest_first(artifact: Artifact) -> None:
    tuning = Tuner(request(artifact)).tune()
    assert {settings.backend for settings in tuning.settings} == {"onnxruntime", "openvino"}
    times = [settings.image_ms for settings in tuning.settings]
    assert times == sorted(times)
    assert all(time > 0 for time in times)
    forms = {variant.upsampling: variant.sha256 for variant in artifact.manifest.variants}
    for settings in tuning.settings:
        assert forms[settings.upsampling] == settings.variant_sha256
        assert settings.threads in {usable_cores(), max(1, usable_cores() // 2)}
        assert 1 <= settings.lanes <= settings.threads


def test_what_was_tuned_is_what_the_engine_then_does(artifact: Artifact) -> None:
    tuning = Tuner(request(artifact, subjects=("onnxruntime",))).tune()
    assert [settings.backend for settings in tuning.settings] == ["onnxruntime"]
    path = tuning.save(artifact)
    try:
        generator = Generator.open(artifact.folder)
        settings = tuning.fastest()
        assert generator.session.identity == settings.identity
        assert generator.session.variant.sha256 == settings.variant_sha256
        assert generator.session.options == settings.apply(SessionOptions())
        assert Tuning.find(artifact) == tuning
    finally:
        path.unlink()


def test_the_sweep_has_every_combination_once(artifact: Artifact) -> None:
    sweep = Tuner(request(artifact)).sweep()
    names = [candidate.name for candidate in sweep]
    assert len(set(names)) == len(names)
    assert {candidate.options.upsampling for candidate in sweep} == {"haar_conv_transpose", "haar_butterfly"}
    threads = {usable_cores(), max(1, usable_cores() // 2)}
    lanes = sum(len([count for count in (1, 2, 4, 8) if count <= one]) for one in threads)
    assert len(sweep) == 2 * 2 * lanes


@pytest.mark.parametrize("subjects", [("onnxruntime",), pytest.param((), marks=pytest.mark.slow)])
def test_the_choice_is_measured_again_beside_the_sweep(artifact: Artifact, subjects: tuple[str, ...]) -> None:
    outcome = measure(request(artifact, subjects=subjects))
    assert not outcome.skipped
    combinations = {candidate.name for candidate in Tuner(request(artifact, subjects=subjects)).sweep()}
    for size in (1, 4):
        found = {one.subject: one for one in outcome.measurements if one.case == {"batch": size}}
        assert set(found) == {TUNED, *combinations}
        assert found[TUNED].detail in combinations
        assert all(len(one.samples) == 2 and one.suite == "tuning" for one in found.values())


def test_a_candidate_says_everything_that_sets_it_apart() -> None:
    one = Candidate("openvino", SessionOptions(upsampling="polyphase", threads=4))
    two = Candidate("openvino", SessionOptions(upsampling="polyphase", threads=4, lanes=2))
    assert one.name == "openvino, polyphase, 4 threads, 1 lane"
    assert two.name == "openvino, polyphase, 4 threads, 2 lanes"
