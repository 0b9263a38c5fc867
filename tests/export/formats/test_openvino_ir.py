from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nonesuch.engine.errors import CheckpointError
from nonesuch.export.formats.openvino_ir import IrGraph, IrNode

LAYERS = """
<layer id="7" name="sum" type="Add"><data auto_broadcast="numpy"/></layer>
<layer id="1" name="x" type="Parameter"><data shape="1,2" element_type="f32"/></layer>
<layer id="3" name="c" type="Const"><data element_type="f32" shape="2, 3" offset="4" size="24"/></layer>
<layer id="9" name="out" type="Result"/>
"""
EDGES = """
<edge from-layer="7" from-port="2" to-layer="9" to-port="0"/>
<edge from-layer="3" from-port="0" to-layer="7" to-port="1"/>
<edge from-layer="1" from-port="0" to-layer="7" to-port="0"/>
"""
DATA = b"\0\0\0\0" + np.arange(6, dtype="<f4").tobytes()


def net(layers: str = LAYERS, edges: str = EDGES, version: str = "10", head: str = "") -> bytes:
    return f'{head}<net name="n" version="{version}"><layers>{layers}</layers><edges>{edges}</edges></net>'.encode()


def refusal(xml: bytes) -> str:
    with pytest.raises(CheckpointError) as caught:
        IrGraph.parse(xml, DATA, "file/net")
    assert caught.value.message.startswith("file/net: ")
    assert "\n" not in caught.value.message
    return caught.value.message


def constant(data: bytes = DATA, /, **attributes: str) -> tuple[IrGraph, IrNode]:
    """Return a Const node of two float32 at offset 0, with some attributes changed."""
    values = {"element_type": "f32", "shape": "2", "offset": "0", "size": "8"} | attributes
    return IrGraph([], data, "file/net"), IrNode("0", "Const", "c", values)


@pytest.mark.parametrize("version", ["10", "11"])
def test_a_small_ir_is_read_in_topological_order(version: str) -> None:
    graph = IrGraph.parse(net(version=version), DATA, "net")
    assert [node.name for node in graph.nodes] == ["x", "c", "sum", "out"]
    x, c, total, out = graph.nodes
    assert total.inputs == [x, c]  # by port, not by the order of the edges
    assert out.inputs == [total]
    assert x.consumers == c.consumers == [total]
    assert total.attributes == {"auto_broadcast": "numpy"}
    assert out.attributes == {}


def test_constants_have_their_own_values_shape_and_dtype() -> None:
    graph = IrGraph.parse(net(), DATA, "net")
    value = graph.constant(graph.nodes[1])
    np.testing.assert_array_equal(value, np.arange(6, dtype=np.float32).reshape(2, 3))
    assert value.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        value[0, 0] = 1


@pytest.mark.parametrize("element", ["f32", "f16", "i64", "i32", "u8", "i8"])
def test_every_element_type_is_read(element: str) -> None:
    expected = np.array([[1, 2, 3]], dtype={"f": "<f", "i": "<i", "u": "|u"}[element[0]] + str(int(element[1:]) // 8))
    graph, node = constant(
        b"pad" + expected.tobytes(), element_type=element, shape="1,3", offset="3", size=str(expected.nbytes)
    )
    np.testing.assert_array_equal(graph.constant(node), expected)
    assert graph.constant(node).dtype == expected.dtype
    assert graph.floats(node).dtype == np.float32


def test_a_scalar_has_an_empty_shape() -> None:
    graph, node = constant(struct.pack("<f", 2.5), shape="", size="4")
    assert graph.constant(node).shape == ()
    assert graph.floats(node) == 2.5


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"garbage",
        b"\x00\x01\x02",
        b"PK\x03\x04",
        net()[:-20],
        net()[: len(net()) // 2],
        net() + b"<more/>",
        net(head='<?xml version="1.0" encoding="no-such"?>'),
        net(head='<?xml version="1.0" encoding="utf-7"?>'),
        net(head='<?xml version="1.0" encoding="hex"?>'),
    ],
)
def test_invalid_xml_is_refused(xml: bytes) -> None:
    assert "not an OpenVINO IR" in refusal(xml)


@pytest.mark.parametrize("version", ["9", "12", "", "10.0"])
def test_another_version_is_refused_by_number(version: str) -> None:
    assert f"version={version!r}" in refusal(net(version=version))


def test_another_document_is_refused() -> None:
    assert "<svg version=None>" in refusal(b"<svg/>")


BOMB = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in ("ab", "bc", "cd", "de", "ef", "fg", "gh"))


@pytest.mark.parametrize(
    "doctype",
    [
        f'<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa">{BOMB}]>',
        '<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE net SYSTEM "http://localhost:9/net.dtd">',
        "<!DOCTYPE net>",
    ],
)
def test_a_dtd_is_refused_before_anything_expands(doctype: str) -> None:
    layers = '<layer id="0" name="&h;&x;" type="Add"/>'
    assert "not an OpenVINO IR" in refusal(net(layers, "", head=doctype))


def test_an_oversized_xml_is_not_parsed() -> None:
    assert "the limit is" in refusal(b" " * ((64 << 20) + 1))


def layer(index: int) -> str:
    return f'<layer id="{index}" name="l{index}" type="Add"/>'


def edge(source: object, target: object, port: object = 0) -> str:
    return f'<edge from-layer="{source}" to-layer="{target}" to-port="{port}"/>'


@pytest.mark.parametrize(
    ("count", "edges"),
    [(1, [(0, 0)]), (2, [(0, 1), (1, 0)]), (4, [(0, 1), (1, 2), (2, 3), (3, 1)])],
)
def test_a_cycle_is_refused(count: int, edges: list[tuple[int, int]]) -> None:
    xml = net("".join(map(layer, range(count))), "".join(edge(*ends) for ends in edges))
    assert "has a cycle" in refusal(xml)


@pytest.mark.parametrize(
    "bad",
    [
        edge(5, 0),
        edge(0, 5),
        edge("", 0),
        edge(0, 1, ""),
        edge(0, 1, -1),
        edge(0, 1, "x"),
        edge(0, 1, "²"),
        edge(0, 1, "9" * 5000),
        "<edge/>",
    ],
)
def test_an_edge_to_nowhere_is_refused(bad: str) -> None:
    assert "refers to a missing layer or port" in refusal(net(layer(0) + layer(1), bad))


def test_two_layers_with_one_id_are_refused() -> None:
    assert "two layers of the IR have the id '1'" in refusal(net(layer(0) + layer(1) + layer(1), edge(0, 1)))


def test_a_chain_of_any_length_is_ordered() -> None:
    count = 5000  # deeper than Python's stack
    xml = net("".join(map(layer, range(count))), "".join(edge(i + 1, i) for i in range(count - 1)))
    assert [node.id for node in IrGraph.parse(xml, b"", "net").nodes] == [str(i) for i in reversed(range(count))]


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"offset": str(len(DATA) - 4)}, "the file is truncated, download it again"),
        ({"offset": str(1 << 70)}, "the file is truncated"),
        ({"offset": "-4"}, "does not fill"),
        ({"size": "-8"}, "does not fill"),
        ({"shape": "-2"}, "does not fill"),
        ({"shape": "-1, -2"}, "does not fill"),
        ({"shape": "3"}, "does not fill 8 bytes"),
        ({"shape": "99999999999, 99999999999"}, "does not fill"),
        ({"shape": "99999999999", "size": "399999999996"}, "truncated"),
        ({"shape": "0, 99999999999999999999", "size": "0"}, "too large"),
        ({"shape": ", ".join("2" + "1" * 70)}, "too large"),
        ({"shape": "two"}, "no readable shape or offset"),
        ({"shape": "2.0"}, "no readable shape or offset"),
        ({"shape": "9" * 5000}, "no readable shape or offset"),
        ({"offset": ""}, "no readable shape or offset"),
        ({"size": "0x8"}, "no readable shape or offset"),
        ({"element_type": "f64"}, "element type 'f64', which is not supported"),
        ({"element_type": ""}, "element type ''"),
        ({"element_type": "O"}, "element type 'O'"),
    ],
)
def test_a_constant_that_does_not_fit_the_data_is_refused(attributes: dict[str, str], problem: str) -> None:
    graph, node = constant(**attributes)
    with pytest.raises(CheckpointError) as caught:
        graph.constant(node)
    assert problem in caught.value.message
    assert "'c'" in caught.value.message


@pytest.mark.parametrize("attribute", ["offset", "size"])
def test_a_constant_without_offset_or_size_is_refused(attribute: str) -> None:
    graph, node = constant()
    del node.attributes[attribute]
    with pytest.raises(CheckpointError, match="no readable shape or offset"):
        graph.constant(node)


def test_only_constants_have_values() -> None:
    graph, node = constant()
    node.type = "Add"
    with pytest.raises(CheckpointError, match="expected a constant, found Add 'c'"):
        graph.constant(node)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_must_be_finite(value: float) -> None:
    graph, node = constant(struct.pack("<ff", 1, value))
    assert graph.constant(node).shape == (2,)
    with pytest.raises(CheckpointError, match="'c' has values that are not finite"):
        graph.floats(node)


def test_integers_may_be_weights() -> None:
    graph, node = constant(np.array([1, -2], "<i8").tobytes(), element_type="i64", size="16")
    np.testing.assert_array_equal(graph.floats(node), np.array([1, -2], np.float32))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_xml_is_a_graph_or_a_checkpoint_error(data: st.DataObject) -> None:
    xml = bytearray(net())
    for _ in range(data.draw(st.integers(1, 3))):
        xml[data.draw(st.integers(0, len(xml) - 1))] = data.draw(st.integers(0, 255))
    try:
        graph = IrGraph.parse(bytes(xml), DATA, "net")
        for node in graph.nodes:
            if node.type == "Const":
                assert graph.floats(node).dtype == np.float32
    except CheckpointError:
        pass
