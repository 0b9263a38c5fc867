from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nonesuch.client import Mixing, RequestError
from nonesuch.client.request import generate_request, stream_request
from nonesuch.v1 import image_pb2, synthesis_pb2


def test_without_arguments_the_server_chooses_everything_but_the_format() -> None:
    request = generate_request()
    assert not request.HasField("source")
    assert not request.HasField("synthesis")
    assert (request.model, request.priority) == ("", synthesis_pb2.PRIORITY_UNSPECIFIED)
    assert request.image.format == image_pb2.IMAGE_FORMAT_JPEG
    assert not request.image.HasField("quality")
    assert not request.image.HasField("size")


def test_every_option_has_its_field() -> None:
    request = generate_request(
        seed=0,
        psi=0.5,
        cutoff=0,
        class_index=0,
        mixing=[Mixing(seed=7, layers=(8, 9)), Mixing(seed=1, layers=range(2))],
        format="webp",
        quality=80,
        size=256,
        translate=(0.25, -0.5),
        rotate_degrees=30,
        noise_mode="none",
        model="faces",
        priority="bulk",
    )
    assert request.source.WhichOneof("origin") == "seed"
    assert request.synthesis.psi == 0.5
    assert request.synthesis.HasField("cutoff")
    assert request.synthesis.HasField("class_index")
    assert [(m.source.seed, list(m.layers)) for m in request.synthesis.mixing] == [(7, [8, 9]), (1, [0, 1])]
    move = request.synthesis.transform
    assert (move.translate_x, move.translate_y, move.rotate_degrees) == (0.25, -0.5, 30)
    assert request.synthesis.noise_mode == synthesis_pb2.NOISE_MODE_NONE
    assert (request.image.format, request.image.quality, request.image.size) == (image_pb2.IMAGE_FORMAT_WEBP, 80, 256)
    assert (request.model, request.priority) == ("faces", synthesis_pb2.PRIORITY_BULK)


@pytest.mark.parametrize("name", ["jpg", "JPEG", "jpeg"])
def test_jpeg_has_two_names(name: str) -> None:
    assert generate_request(format=name).image.format == image_pb2.IMAGE_FORMAT_JPEG


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("coarse", synthesis_pb2.LAYER_GROUP_COARSE),
        ("middle", synthesis_pb2.LAYER_GROUP_MIDDLE),
        ("fine", synthesis_pb2.LAYER_GROUP_FINE),
    ],
)
def test_layers_of_a_mixing_may_be_a_group(name: str, number: int) -> None:
    (mixing,) = generate_request(mixing=[Mixing(3, name)]).synthesis.mixing
    assert (mixing.source.seed, mixing.group, list(mixing.layers)) == (3, number, [])


def test_one_half_of_a_move_leaves_the_other_at_rest() -> None:
    turned = generate_request(rotate_degrees=5).synthesis.transform
    assert (turned.translate_x, turned.translate_y, turned.rotate_degrees) == (0, 0, 5)
    assert generate_request(translate=(0, 0)).synthesis.HasField("transform")
    assert not generate_request(translate=None, rotate_degrees=None).HasField("synthesis")


def test_numpy_integers_are_seeds() -> None:
    assert generate_request(seed=np.uint32(7)).source.seed == 7  # type: ignore[arg-type, unused-ignore]
    assert [s.seed for s in stream_request(np.array([3, 1])).sources] == [3, 1]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"seed": 1, "z": [0.0]}, "z"),
        ({"z": [0.0], "w": [0.0]}, "w"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": "1"}, "seed"),
        ({"z": []}, "z"),
        ({"z": "abc"}, "z"),
        ({"z": 3.0}, "z"),
        ({"z": np.float32(3)}, "z"),
        ({"psi": "much"}, "psi"),
        ({"cutoff": -1}, "cutoff"),
        ({"class_index": 0.5}, "class_index"),
        ({"mixing": [Mixing(seed=-1, layers=(1,))]}, "mixing[0].seed"),
        ({"mixing": [Mixing(seed=1, layers=(-1,))]}, "mixing[0].layers"),
        ({"mixing": [Mixing(seed=1, layers="Coarse")]}, "mixing[0].layers"),
        ({"mixing": [Mixing(seed=1, layers=3)]}, "mixing[0].layers"),  # type: ignore[arg-type]
        ({"mixing": [Mixing(seed=1, layers="fine"), Mixing(layers="fine")]}, "mixing[1]"),
        ({"mixing": [Mixing(seed=1, w=[0.5], layers="fine")]}, "mixing[0].w"),
        ({"mixing": [Mixing(w=[0.5], ws=[[0.5]], layers="fine")]}, "mixing[0].ws"),
        ({"mixing": [Mixing(z=["abc"], layers="fine")]}, "mixing[0].z"),
        ({"mixing": [(1, "fine")]}, "mixing[0]"),
        ({"mixing": Mixing(seed=1, layers="fine")}, "mixing"),
        ({"translate": 1.0}, "translate"),
        ({"translate": (1.0, 2.0, 3.0)}, "translate"),
        ({"translate": ("left", 0)}, "translate"),
        ({"rotate_degrees": "much"}, "rotate_degrees"),
        ({"rotate_degrees": 10**400}, "rotate_degrees"),
        ({"noise_mode": "loud"}, "noise_mode"),
        ({"format": "gif"}, "format"),
        ({"format": None}, "format"),
        ({"quality": -1}, "quality"),
        ({"size": 0.5}, "size"),
        ({"model": 3}, "model"),
        ({"priority": "urgent"}, "priority"),
    ],
)
def test_a_value_that_cannot_be_sent_is_refused_by_name(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        generate_request(**arguments)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert str(caught.value).startswith(f"{field}: ")


def test_the_refusal_of_an_unknown_format_lists_the_formats() -> None:
    with pytest.raises(RequestError, match="'gif' is unknown; there are jpeg, png, webp, raw, npy"):
        generate_request(format="gif")


def test_a_misspelt_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="sise"):
        generate_request(sise=256)  # type: ignore[call-arg]


def test_a_range_travels_as_two_numbers() -> None:
    request = stream_request(range(10, 1_000_000))
    assert (request.seed_range.first, request.seed_range.count) == (10, 999_990)
    assert not request.sources


@pytest.mark.parametrize("seeds", [[4, 2, 9], (4, 2, 9), iter([4, 2, 9])])
def test_other_seeds_travel_one_by_one(seeds: Any) -> None:
    request = stream_request(seeds, size=64)
    assert [source.seed for source in request.sources] == [4, 2, 9]
    assert not request.HasField("seed_range")
    assert request.image.size == 64


def test_a_range_with_steps_travels_one_by_one() -> None:
    assert [source.seed for source in stream_request(range(9, 3, -3)).sources] == [9, 6]


@pytest.mark.parametrize("seeds", [[], range(0), range(-1, 3), range(2**32 - 1, 2**32 + 1), [1, -1], 5, "12"])
def test_invalid_seeds_are_refused(seeds: Any) -> None:
    with pytest.raises(RequestError, match=r"^seeds: "):
        stream_request(seeds)
