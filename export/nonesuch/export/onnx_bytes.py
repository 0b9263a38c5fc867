"""An ONNX model as bytes, the same bytes every time."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["serialize"]


def serialize(model: ir.Model) -> bytes:
    """Serialise with all weights inside; maps are sorted, so equal graphs give equal bytes."""
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))
