from __future__ import annotations

import numpy as np
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.generator import Generator
from nonesuch.engine.session import Batch, SessionOptions
from nonesuch.engine.style_mix import StyleMix


def test_a_seed_gives_the_same_bytes_alone_and_in_any_batch(generator: Generator) -> None:
    styles = generator.styles(range(8))
    alone = [generator.generate([seed])[0] for seed in range(8)]
    together = generator.session.submit(Batch(styles[:4])).result().images
    elsewhere = generator.session.submit(Batch(styles[[6, 2, 3, 1, 0]])).result().images
    for position in range(4):
        np.testing.assert_array_equal(together[position], alone[position])
    for position, seed in enumerate([6, 2, 3, 1, 0]):
        np.testing.assert_array_equal(elsewhere[position], alone[seed])


def test_seeds_differ_and_psi_matters(generator: Generator) -> None:
    images = generator.generate([0, 1])
    assert (images[0] != images[1]).any()
    assert (generator.generate([0], psi=1.0)[0] != images[0]).any()


def test_seed_z_w_and_ws_give_the_same_image(generator: Generator) -> None:
    z = np.random.RandomState(5).randn(1, generator.manifest.z_dim)
    from_seed = generator.generate([5], psi=0.5)
    np.testing.assert_array_equal(generator.generate(z=z, psi=0.5), from_seed)
    styles = generator.styles([5], psi=0.5)
    np.testing.assert_array_equal(generator.generate(ws=styles), from_seed)
    np.testing.assert_array_equal(generator.generate(w=styles[:, 0]), from_seed)


def test_psi_0_is_the_mean_face_for_any_seed(generator: Generator) -> None:
    images = generator.generate([0, 1, 2], psi=0.0)
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


def test_cutoff_truncates_the_first_layers_only(generator: Generator) -> None:
    full, none = generator.styles([3], psi=0.2), generator.styles([3], psi=1.0)
    cut = generator.styles([3], psi=0.2, cutoff=2)
    np.testing.assert_array_equal(cut[:, :2], full[:, :2])
    np.testing.assert_array_equal(cut[:, 2:], none[:, 2:])
    ws = generator.styles(ws=none, psi=0.2, cutoff=2)
    # psi on ws is the same formula on rows that are already repeated: equal to rounding of one multiply-add.
    np.testing.assert_allclose(ws, cut, atol=1e-6)


def test_mixing_takes_the_named_layers_from_the_other_seed(generator: Generator) -> None:
    mixed = generator.styles([3], psi=1.0, mixing=[StyleMix(4, (0, 2))])
    three, four = generator.styles([3], psi=1.0), generator.styles([4], psi=1.0)
    np.testing.assert_array_equal(mixed[:, [0, 2]], four[:, [0, 2]])
    np.testing.assert_array_equal(mixed[:, [1, 3, 4, 5, 6, 7]], three[:, [1, 3, 4, 5, 6, 7]])


def test_every_live_layer_changes_the_picture_and_dead_layers_do_not(generator: Generator) -> None:
    base = generator.generate([0], psi=1.0)
    for entry in generator.manifest.ws_layout:
        mixed = generator.generate([0], psi=1.0, mixing=[StyleMix(1, (entry.index,))])
        assert (mixed != base).any() == bool(entry.consumers), entry


def test_no_seeds_give_no_images(generator: Generator) -> None:
    assert generator.generate([]).shape == (0, 32, 32, 3)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"seeds": [-1]}, "seed"),
        ({"seeds": [2**32]}, "seed"),
        ({"seeds": [0], "psi": float("nan")}, "psi"),
        ({"seeds": [0], "psi": 2.1}, "psi"),
        ({"seeds": [0], "cutoff": 9}, "cutoff"),
        ({"seeds": [0], "cutoff": -1}, "cutoff"),
        ({"seeds": [0], "class_index": 0}, "class_index"),
        ({"seeds": [0], "mixing": [StyleMix(1, (8,))]}, "mixing.layers"),
        ({"seeds": [0], "mixing": [StyleMix(1, ())]}, "mixing.layers"),
        ({"z": [[0.0] * 9]}, "z"),
        ({"z": [[float("inf")] * 10]}, "z"),
        ({"w": [["a"] * 12]}, "w"),
        ({"ws": np.zeros((1, 7, 12))}, "ws"),
        ({}, "source"),
        ({"seeds": [0], "w": [[0.0] * 12]}, "source"),
    ],
)
def test_invalid_values_are_rejected_by_field(generator: Generator, arguments: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        generator.generate(**arguments)  # type: ignore[arg-type]
    assert [violation.field for violation in caught.value.violations] == [field]
    assert "\n" not in caught.value.message


def test_deterministic_pads_every_run_and_keeps_the_bytes(artifact: Artifact) -> None:
    options = SessionOptions(max_batch_size=4, deterministic=True)
    with Generator.open(artifact.folder, options=options) as generator:
        result = generator.session.submit(Batch(generator.styles([1]))).result()
        assert result.batch_size == 4
        assert result.images.shape[0] == 1
        together = generator.session.submit(Batch(generator.styles([0, 1, 2]))).result()
        np.testing.assert_array_equal(together.images[1], result.images[0])


def test_a_generator_can_be_closed_and_loaded_again(artifact: Artifact) -> None:
    generator = Generator.open(artifact.folder)
    first = generator.generate([0])
    generator.close()
    np.testing.assert_array_equal(generator.generate([0]), first)
    generator.close()


def test_the_build_id_names_model_variant_and_backend(generator: Generator) -> None:
    assert len(generator.build_id) == 16
    int(generator.build_id, 16)
