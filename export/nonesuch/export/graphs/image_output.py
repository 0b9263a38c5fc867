"""The end of a synthesis graph: the picture as float or as 8 bits.

A builder multiplies the weights of the last layers, which are linear up to a clamp, by `image_scale` (127.5), and
passes the scaled picture to `image_output`.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .graph_builder import GraphBuilder
from .synthesis_builder import VariantOptions


def image_scale(options: VariantOptions) -> float:
    """Return the scale of the picture that `image_output` takes: 127.5 for 8 bits, 1 for floats."""
    return 127.5 if options.output == "uint8_nhwc" else 1.0


def image_output(graph: GraphBuilder, x: ir.Value, options: VariantOptions, channels: int, resolution: int) -> ir.Model:
    """Close the graph with the output `image`.

    Args:
        graph: the graph so far.
        x: float32 [N, channels, resolution, resolution], the picture times `image_scale(options)`.
        options: `output` is used.
        channels: of the picture.
        resolution: of the picture, in pixels.
    """
    if options.output == "float32_nchw":
        return graph.build([(x, "image", ir.DataType.FLOAT, ["N", channels, resolution, resolution])])
    x = graph.op("Add", [x, graph.constant("image.middle", np.array(128, dtype=np.float32))], "image/middle")
    return uint8_output(graph, x, channels, resolution)


def uint8_output(graph: GraphBuilder, x: ir.Value, channels: int, resolution: int) -> ir.Model:
    """Close the graph: float32 [N, C, H, W] in 8-bit levels, truncated to uint8 [N, H, W, C].

    The Cast is last: TensorRT supports uint8 only as the type of an output.
    """
    x = clip_to_uint8_range(graph, x)
    x = graph.op("Transpose", [x], "image/nhwc", perm=[0, 2, 3, 1])
    x = graph.op("Cast", [x], "image/uint8", to=int(ir.DataType.UINT8))
    return graph.build([(x, "image", ir.DataType.UINT8, ["N", resolution, resolution, channels])])


def clip_to_uint8_range(graph: GraphBuilder, x: ir.Value) -> ir.Value:
    """Clip values of any shape to 0 and 255."""
    bounds = [graph.constant(f"image.{n}", np.array(v, dtype=np.float32)) for n, v in (("low", 0), ("high", 255))]
    return graph.op("Clip", [x, *bounds], "image/clip")
