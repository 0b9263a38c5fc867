"""The end of a synthesis graph: the picture as float or as 8 bits.

The factor 127.5 belongs into the weights of the last layers, which are linear up to a clamp: a builder multiplies them
by `image_scale` and gives the scaled picture to `image_output`.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .graph_builder import GraphBuilder
from .variant_options import VariantOptions

__all__ = ["clip_to_eight_bits", "eight_bits", "image_output", "image_scale"]


def image_scale(options: VariantOptions) -> float:
    """What the picture that `image_output` takes is multiplied by: 127.5 for 8 bits, 1 for floats."""
    return 127.5 if options.output == "uint8_nhwc" else 1.0


def image_output(graph: GraphBuilder, x: ir.Value, options: VariantOptions, channels: int, resolution: int) -> ir.Model:
    """Close the graph with the output `image`.

    Args:
        graph: what was built so far.
        x: float32 [N, channels, resolution, resolution], the picture times `image_scale(options)`.
        options: `output` decides.
        channels: of the picture.
        resolution: of the picture, in pixels.
    """
    if options.output == "float32_nchw":
        return graph.build([(x, "image", ir.DataType.FLOAT, ["N", channels, resolution, resolution])])
    x = graph.op("Add", [x, graph.constant("image.middle", np.array(128, dtype=np.float32))], "image/middle")
    return eight_bits(graph, x, channels, resolution)


def eight_bits(graph: GraphBuilder, x: ir.Value, channels: int, resolution: int) -> ir.Model:
    """Close the graph: float32 [N, C, H, W] in grey levels, truncated to uint8 [N, H, W, C].

    The Cast is last: TensorRT knows uint8 only as the type of an output.
    """
    x = clip_to_eight_bits(graph, x)
    x = graph.op("Transpose", [x], "image/nhwc", perm=[0, 2, 3, 1])
    x = graph.op("Cast", [x], "image/uint8", to=int(ir.DataType.UINT8))
    return graph.build([(x, "image", ir.DataType.UINT8, ["N", resolution, resolution, channels])])


def clip_to_eight_bits(graph: GraphBuilder, x: ir.Value) -> ir.Value:
    """Grey levels of any shape, cut off at 0 and 255."""
    bounds = [graph.constant(f"image.{n}", np.array(v, dtype=np.float32)) for n, v in (("low", 0), ("high", 255))]
    return graph.op("Clip", [x, *bounds], "image/clip")
