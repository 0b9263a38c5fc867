"""Seeds, z, w and ws as requests carry them, and what is refused before any call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nonesuch.client import FieldViolation, Keyframe, Mixing, RequestError
from nonesuch.client.request import generate_request, stream_request, walk_request
from nonesuch.v1 import synthesis_pb2


def refused(ask: Callable[..., object], **arguments: Any) -> FieldViolation:
    with pytest.raises(RequestError) as caught:
        ask(**arguments)
    (violation,) = caught.value.violations
    return violation


@pytest.mark.parametrize(
    "latent",
    [
        [0.5, -1.0, 0.25, 2.0],
        (0.5, -1, 0.25, 2),
        np.array([0.5, -1.0, 0.25, 2.0], dtype=np.float32),
        list(np.array([0.5, -1.0, 0.25, 2.0])),
        [np.array(value) for value in (0.5, -1.0, 0.25, 2.0)],
    ],
)
@pytest.mark.parametrize("name", ["z", "w"])
def test_a_latent_travels_as_its_values(name: str, latent: Any) -> None:
    source = generate_request(**{name: latent}).source
    assert source.WhichOneof("origin") == name
    assert list(getattr(source, name).values) == [0.5, -1.0, 0.25, 2.0]


@pytest.mark.parametrize(
    "latent",
    [
        [[0.5, -1.0], [0.25, 2.0]],
        np.array([[0.5, -1.0], [0.25, 2.0]], dtype=np.float32),
        [np.array([0.5, -1.0]), (0.25, 2)],
    ],
)
def test_layers_travel_row_by_row_where_w_does(latent: Any) -> None:
    source = generate_request(ws=latent).source
    assert source == generate_request(w=[0.5, -1.0, 0.25, 2.0]).source
    assert list(source.w.values) == [0.5, -1.0, 0.25, 2.0]
    assert list(generate_request(z=latent).source.z.values) == [0.5, -1.0, 0.25, 2.0]


def test_latents_may_be_read_once_only() -> None:
    assert list(generate_request(w=iter([0.5, 1.0])).source.w.values) == [0.5, 1.0]
    assert list(generate_request(ws=(iter(row) for row in [[0.5], [1.0]])).source.w.values) == [0.5, 1.0]


def test_a_mixing_starts_from_a_latent_too() -> None:
    from_z, from_w, from_ws = generate_request(
        mixing=[
            Mixing(z=np.ones(2), layers=[0]),
            Mixing(w=[0.25], layers=[1]),
            Mixing(ws=[[0.5], [2.0]], layers="fine"),
        ]
    ).synthesis.mixing
    assert (list(from_z.source.z.values), list(from_z.layers)) == ([1.0, 1.0], [0])
    assert (list(from_w.source.w.values), list(from_w.layers)) == ([0.25], [1])
    assert (list(from_ws.source.w.values), from_ws.group) == ([0.5, 2.0], synthesis_pb2.LAYER_GROUP_FINE)


def test_rows_travel_one_by_one() -> None:
    request = stream_request(zs=np.array([[0.5, 1.0], [2.0, -1.0]]), priority="bulk")
    assert [list(source.z.values) for source in request.sources] == [[0.5, 1.0], [2.0, -1.0]]
    assert request.priority == synthesis_pb2.PRIORITY_BULK
    request = stream_request(w=[np.array([0.5, 1.0]), [0.25, 0.125]])
    assert [list(source.w.values) for source in request.sources] == [[0.5, 1.0], [0.25, 0.125]]
    request = stream_request(ws=[np.array([[0.5, 1.0], [2.0, -1.0]]), [[0.25, 0.125], (1, 2)]])
    assert [list(source.w.values) for source in request.sources] == [[0.5, 1.0, 2.0, -1.0], [0.25, 0.125, 1.0, 2.0]]
    assert stream_request(ws=np.ones((3, 2, 4))).sources == stream_request(w=np.ones((3, 8))).sources


@pytest.mark.parametrize("layers", [[[0.5, 1.0], [2.0, -1.0]], [0.5, [1.0]], np.ones((2, 3)), [np.ones(3)], [[]]])
def test_layers_are_refused_as_w(layers: Any) -> None:
    reason = "it has layers, and w is w_dim values; give a style for each layer as ws"
    assert refused(generate_request, w=layers) == ("w", reason)
    assert refused(stream_request, w=[[0.5, 1.0], layers]) == ("w[1]", reason)
    assert refused(generate_request, mixing=[Mixing(w=layers, layers=[0])]) == ("mixing[0].w", reason)
    keyframes = [Keyframe(1), Keyframe(w=layers)]
    reason = "it has layers, and w is w_dim values; give a walk w without layers"
    assert refused(walk_request, keyframes=keyframes, frames_per_step=1) == ("keyframes[1].w", reason)


@pytest.mark.parametrize("w", [[0.5, 1.0], np.ones(3), [[0.5], 1.0]])
def test_a_w_is_refused_as_ws(w: Any) -> None:
    reason = "it has no layers, and ws has one row for each; give a w of w_dim values as w"
    assert refused(generate_request, ws=w) == ("ws", reason)
    assert refused(stream_request, ws=[[[0.5], [1.0]], w]) == ("ws[1]", reason)
    assert refused(generate_request, mixing=[Mixing(ws=w, layers=[0])]) == ("mixing[0].ws", reason)


@pytest.mark.parametrize(
    ("ws", "reason"),
    [
        ([[0.5, 1.0], [2.0]], "its rows have 1 to 2 values; give w_dim values for each layer"),
        ([[0.5], []], "its rows have 0 to 1 values; give w_dim values for each layer"),
        (np.ones((1, 2, 3)), "it has more than two axes; give ws as one row of w_dim values for each layer"),
        ([[0.5, [1.0]]], "it has more than two axes; give ws as one row of w_dim values for each layer"),
    ],
)
def test_layers_are_rows_of_one_length(ws: Any, reason: str) -> None:
    assert refused(generate_request, ws=ws) == ("ws", reason)
    assert refused(stream_request, ws=[ws]) == ("ws[0]", reason)


def test_a_refusal_names_the_sources_that_there_are() -> None:
    one = "give one of seed, z, w, ws;"
    assert refused(generate_request, z=[0.5], ws=[[0.5]]) == ("ws", f"{one} z and ws were given")
    assert refused(generate_request, mixing=[Mixing(layers="fine")]) == ("mixing[0]", f"{one} none were given")
    assert refused(stream_request) == ("seeds", "give one of seeds, zs, w, ws; none were given")
    none = ("keyframes[0]", "give one of seed, z, w; none were given")
    assert refused(walk_request, keyframes=[Keyframe()], frames_per_step=1) == none


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"w": [0.0], "ws": [[0.0]]}, "ws"),
        ({"w": [0.0, "abc"]}, "w"),
        ({"w": []}, "w"),
        ({"ws": [[0.0], ["abc"]]}, "ws"),
        ({"ws": 3.0}, "ws"),
        ({"ws": np.array(3.0)}, "ws"),
        ({"ws": []}, "ws"),
        ({"ws": [[], []]}, "ws"),
        ({"ws": np.empty((0, 4))}, "ws"),
    ],
)
def test_a_latent_that_cannot_be_sent_is_refused_by_name(arguments: dict[str, Any], field: str) -> None:
    assert refused(generate_request, **arguments)[0] == field


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "seeds"),
        ({"seeds": [1], "zs": [[0.5]]}, "zs"),
        ({"seeds": range(3), "w": [[0.5]]}, "w"),
        ({"seeds": range(3), "ws": [[[0.5]]]}, "ws"),
        ({"zs": [[0.5]], "w": [[0.5]]}, "w"),
        ({"w": [[0.5]], "ws": [[[0.5]]]}, "ws"),
        ({"zs": []}, "zs"),
        ({"w": np.empty((0, 4))}, "w"),
        ({"ws": np.empty((0, 2, 4))}, "ws"),
        ({"zs": [0.5, 1.0]}, "zs[0]"),
        ({"w": [0.5, 1.0]}, "w[0]"),
        ({"w": [[0.5], []]}, "w[1]"),
        ({"w": [[0.5], ["abc"]]}, "w[1]"),
        ({"ws": [[[0.5]], []]}, "ws[1]"),
        ({"ws": [[[0.5]], [["abc"]]]}, "ws[1]"),
    ],
)
def test_rows_that_cannot_be_sent_are_refused_by_name(arguments: dict[str, Any], field: str) -> None:
    assert refused(stream_request, **arguments)[0] == field
