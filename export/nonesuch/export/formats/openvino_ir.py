"""Reads OpenVINO IR (version 10 and 11): an XML graph and a flat file of constants. OpenVINO is not needed.

Data flow: `NAME.xml` -> nodes in topological order, each with its producers; `NAME.bin` + offset, size -> numpy arrays.
Only constants are decoded; nothing in the file is executed, and every offset is checked against the data.
Format: OpenVINO "Intermediate Representation" specification (layers, edges, ports, Const `offset`/`size`).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from defusedxml import DefusedXmlException, ElementTree
from numpy.typing import NDArray

from nonesuch.engine.errors import CheckpointError

MAX_XML_BYTES = 64 << 20
MAX_NODES = 100_000
_PORT = re.compile("[0-9]{1,9}")
_DTYPES = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4", "u8": "|u1", "i8": "|i1"}


@dataclass
class IrNode:
    """One layer: its type, its attributes, and its input nodes in port order."""

    id: str
    type: str
    name: str
    attributes: dict[str, str]
    inputs: list[IrNode] = field(default_factory=list)
    consumers: list[IrNode] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"IrNode({self.type} {self.name!r})"


class IrGraph:
    """A parsed IR; `nodes` are in topological order."""

    def __init__(self, nodes: list[IrNode], data: bytes, label: str) -> None:
        self.nodes = nodes
        self.label = label
        self._data = data

    @classmethod
    def parse(cls, xml: bytes, data: bytes, label: str) -> IrGraph:
        """Parse an IR from memory.

        Raises:
            CheckpointError: the XML is not an IR, is too large, refers to missing layers, or has a cycle.
        """
        if len(xml) > MAX_XML_BYTES:
            raise CheckpointError(f"{label}: the IR's XML has {len(xml)} bytes; the limit is {MAX_XML_BYTES}")
        try:
            root = ElementTree.fromstring(xml, forbid_dtd=True)  # an IR has no DTD, and so no entities
        except (  # LookupError: an unknown encoding
            ElementTree.ParseError,
            DefusedXmlException,
            ValueError,
            LookupError,
        ) as error:
            raise CheckpointError(f"{label}: not an OpenVINO IR ({error})") from error
        if root.tag != "net" or root.get("version") not in {"10", "11"}:
            found = f"<{root.tag} version={root.get('version')!r}>"
            raise CheckpointError(f"{label}: expected an OpenVINO IR of version 10 or 11, found {found}")
        by_id: dict[str, IrNode] = {}
        for layer in root.iterfind("layers/layer"):
            attributes = layer.find("data")
            node = IrNode(
                id=layer.get("id", ""),
                type=layer.get("type", ""),
                name=layer.get("name", ""),
                attributes=dict(attributes.attrib) if attributes is not None else {},
            )
            if node.id in by_id:
                raise CheckpointError(f"{label}: two layers of the IR have the id {node.id!r}")
            by_id[node.id] = node
            if len(by_id) > MAX_NODES:
                raise CheckpointError(f"{label}: the IR has more than {MAX_NODES} layers")
        links: dict[str, list[tuple[int, IrNode]]] = {}
        for edge in root.iterfind("edges/edge"):
            source, target = by_id.get(edge.get("from-layer", "")), edge.get("to-layer", "")
            port = edge.get("to-port", "")
            if source is None or target not in by_id or not _PORT.fullmatch(port):
                raise CheckpointError(f"{label}: an edge of the IR refers to a missing layer or port")
            links.setdefault(target, []).append((int(port), source))
        for target, sources in links.items():
            sources.sort(key=lambda item: item[0])
            by_id[target].inputs = [source for _, source in sources]
            for _, source in sources:
                source.consumers.append(by_id[target])
        return cls(_topological(list(by_id.values()), label), data, label)

    def constant(self, node: IrNode) -> NDArray[np.generic]:
        """Return the value of a Const node as a read-only array with its shape and dtype.

        Raises:
            CheckpointError: the node is not a constant, or its bytes lie outside the data file.
        """
        if node.type != "Const":
            raise CheckpointError(f"{self.label}: expected a constant, found {node.type} {node.name!r}")
        element = node.attributes.get("element_type", "")
        if element not in _DTYPES:
            raise CheckpointError(
                f"{self.label}: constant {node.name!r} has element type {element!r}, which is not supported"
            )
        dtype = np.dtype(_DTYPES[element])
        try:
            shape = tuple(int(d) for d in node.attributes.get("shape", "").split(",") if d.strip())
            offset, size = int(node.attributes["offset"]), int(node.attributes["size"])
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{self.label}: constant {node.name!r} has no readable shape or offset") from error
        count = 1
        for dimension in shape:
            count *= dimension
        if min((offset, size, count, *shape)) < 0 or count * dtype.itemsize != size:
            raise CheckpointError(f"{self.label}: constant {node.name!r} of shape {shape} does not fill {size} bytes")
        if offset + size > len(self._data):
            raise CheckpointError(
                f"{self.label}: constant {node.name!r} ends at byte {offset + size}, but the data has "
                f"{len(self._data)} bytes; the file is truncated, download it again"
            )
        flat = np.frombuffer(self._data, dtype=dtype, count=count, offset=offset)
        try:
            return flat.reshape(shape)
        except ValueError as error:
            raise CheckpointError(f"{self.label}: constant {node.name!r} has a shape that is too large") from error

    def floats(self, node: IrNode) -> NDArray[np.float32]:
        """Return the value of a Const node as finite float32.

        Raises:
            CheckpointError: as `constant`, or a value is not finite.
        """
        value = self.constant(node).astype(np.float32)
        if not np.isfinite(value).all():
            raise CheckpointError(f"{self.label}: constant {node.name!r} has values that are not finite")
        return value


def _topological(nodes: list[IrNode], label: str) -> list[IrNode]:
    """Sort the nodes by Kahn's algorithm; ties keep the file's order, so the result is stable."""
    waiting = {node.id: len(node.inputs) for node in nodes}
    ready = deque(node for node in nodes if not node.inputs)
    ordered: list[IrNode] = []
    while ready:
        node = ready.popleft()
        ordered.append(node)
        for consumer in node.consumers:
            waiting[consumer.id] -= 1
            if waiting[consumer.id] == 0:
                ready.append(consumer)
    if len(ordered) != len(nodes):
        raise CheckpointError(f"{label}: the IR's graph has a cycle")
    return ordered
