from __future__ import annotations

import ast
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.generator import Generator
from nonesuch.engine.latent_pipeline import PictureOptions
from nonesuch.engine.latents import DEFAULT_PSI
from nonesuch.engine.source import Seeds, Source, W, Ws, Z, source_of

from ..conftest import REPOSITORY

# The tiny model has z_dim 10, w_dim 12 and num_ws 8.
KINDS = [Seeds([3, 1, 2]), Z(np.ones((3, 10))), W(np.ones((3, 12))), Ws(np.ones((3, 8, 12)))]


@pytest.mark.parametrize("source", KINDS)
def test_each_kind_has_a_length_and_parts_of_its_own_kind(source: Source, artifact: Artifact) -> None:
    assert len(source) == 3
    part = source[1:]
    assert type(part) is type(source)
    assert len(part) == 2
    assert source.fit(artifact.manifest) is source
    assert len(source[3:]) == 0


def test_seeds_and_z_are_truncated_by_default_and_w_and_ws_are_not() -> None:
    assert [source.default_psi for source in KINDS] == [DEFAULT_PSI, DEFAULT_PSI, 1.0, 1.0]
    assert [source.psi(None) for source in KINDS] == [DEFAULT_PSI, DEFAULT_PSI, 1.0, 1.0]
    assert [source.psi(0.0) for source in KINDS] == [0.0] * 4


def test_only_seeds_have_a_seed_and_a_file_name_with_it() -> None:
    assert [KINDS[0].seed(row) for row in range(3)] == [3, 1, 2]
    assert [source.seed(0) for source in KINDS[1:]] == [None] * 3
    assert [source.name(1) for source in KINDS] == ["seed0001", "w0001", "w0001", "w0001"]


@pytest.mark.parametrize("given", [{}, {"seeds": [1], "z": [[0.0]]}, {"w": [[0.0]], "ws": [[[0.0]]]}])
def test_a_source_is_exactly_one_of_the_four(given: dict[str, list[float]]) -> None:
    with pytest.raises(InvalidRequestError, match="source: give exactly one of seeds, z, w and ws"):
        source_of(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Seeds([-1]), "seed: -1 is out of range"),
        (lambda: Seeds([2**32]), "seed: 4294967296 is out of range"),
        (lambda: Z([["a"]]), "z: is not an array of numbers"),
        (lambda: Z(np.zeros(10)), r"z: shape \(10,\) does not fit \[N, 10\]"),
        (lambda: Z(np.full((1, 10), np.inf)), "z: has values that are not finite"),
        (lambda: W(np.zeros((1, 96))), r"w: shape \(1, 96\) does not fit \[N, 12\]"),
        (lambda: W(np.full((1, 12), np.nan), any_layers=True), "w: has values that are not finite"),
        (lambda: W(np.zeros((1, 95)), any_layers=True), "w: has 95 values; the model takes 12, or 96 for a style per"),
        (lambda: Ws(np.zeros((1, 7, 12))), r"ws: shape \(1, 7, 12\) does not fit \[N, 8, 12\]"),
    ],
)
def test_invalid_sources_are_rejected_by_name(artifact: Artifact, make: Callable[[], Source], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        make().fit(artifact.manifest)


def test_with_any_layers_rows_are_w_or_ws_by_their_length(artifact: Artifact) -> None:
    assert isinstance(W(np.zeros((2, 12)), any_layers=True).fit(artifact.manifest), W)
    values = np.arange(192, dtype=np.float32).reshape(2, 96)
    fitted = W(values, any_layers=True)[1:].fit(artifact.manifest)
    assert isinstance(fitted, Ws)
    np.testing.assert_array_equal(fitted.array, values[1:].reshape(1, 8, 12))


@given(st.integers(0, 20), st.integers(1, 6))
def test_the_parts_of_a_job_are_the_job(count: int, step: int) -> None:
    source = Seeds(range(count))
    parts = [source[start : start + step] for start in range(0, count, step)]
    assert [seed for part in parts for seed in part.seeds] == list(range(count))


def test_a_job_is_split_by_the_engine_and_edited_run_by_run(generator: Generator) -> None:
    runs: list[int] = []

    def edit(ws: np.ndarray) -> np.ndarray:
        runs.append(len(ws))
        return ws[:, ::1] * 0 + generator.latents.styles(Seeds([0]), PictureOptions())

    images = list(generator.stream(Seeds(range(5)), PictureOptions(), edit=edit))
    assert sum(runs) == len(images) == 5
    assert max(runs) <= generator.session.preferred_batch_size
    expected = generator.generate([0])[0]
    assert all((image == expected).all() for image in images)


def test_default_psi_is_defined_once() -> None:
    """All other code reads it: the portions have no other 0.7."""
    found = []
    for portion in ("engine", "server", "cli", "client"):
        for path in sorted((REPOSITORY / portion).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and node.value == 0.7:
                    found.append(path.name)
    assert found == ["latents.py"]
