from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.generator import Generator
from nonesuch.engine.style_mix import LayerGroup, StyleMix


def test_groups_are_layers_by_resolution(generator: Generator) -> None:
    manifest = generator.manifest  # 32x32: 4 (0), 8 (1, 2), 16 (4, 5, 6); 3 and 7 are dead
    assert LayerGroup.COARSE.layers(manifest) == (0, 1, 2)
    assert LayerGroup.MIDDLE.layers(manifest) == (4, 5, 6)
    with pytest.raises(InvalidRequestError, match="has no fine layers; its layers act at 4, 8, 16"):
        LayerGroup.FINE.layers(manifest)


def test_a_group_and_its_layers_are_the_same_mix(generator: Generator) -> None:
    by_group = generator.styles([1], mixing=[StyleMix(2, LayerGroup.COARSE)])
    by_layers = generator.styles([1], mixing=[StyleMix(2, (0, 1, 2))])
    np.testing.assert_array_equal(by_group, by_layers)


def test_a_mix_may_come_from_z_w_or_ws(generator: Generator) -> None:
    z = np.random.RandomState(2).randn(10).astype(np.float32)
    expected = generator.styles([1], psi=1.0, mixing=[StyleMix(2, (0, 1))])
    ws = generator.styles([2], psi=1.0)[0]
    for mix in (StyleMix(None, (0, 1), z=z), StyleMix(None, (0, 1), w=ws[0]), StyleMix(None, (0, 1), ws=ws)):
        np.testing.assert_array_equal(generator.styles([1], psi=1.0, mixing=[mix]), expected)


def test_mixes_apply_in_order(generator: Generator) -> None:
    mixed = generator.styles([1], mixing=[StyleMix(2, (0, 1)), StyleMix(3, (1,))])
    np.testing.assert_array_equal(mixed[0, 0], generator.styles([2])[0, 0])
    np.testing.assert_array_equal(mixed[0, 1], generator.styles([3])[0, 1])
    np.testing.assert_array_equal(mixed[0, 2], generator.styles([1])[0, 2])


@pytest.mark.parametrize(
    ("seed", "latents", "field"),
    [
        (None, {}, "mixing.source"),
        (1, {"z": [0.0] * 10}, "mixing.source"),
        (None, {"w": [0.0]}, "mixing.source.w"),
        (None, {"w": np.zeros((8, 12))}, "mixing.source.w"),
        (None, {"ws": np.zeros(12)}, "mixing.source.ws"),
        (None, {"w": ["a"]}, "mixing.source.w"),
        (-1, {}, "mixing.source.seed"),
    ],
)
def test_a_mix_without_exactly_one_valid_source_is_rejected(
    generator: Generator, seed: int | None, latents: dict[str, ArrayLike], field: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        generator.styles([1], mixing=[StyleMix(seed, (0,), **latents)])
    assert [violation.field for violation in caught.value.violations] == [field]
