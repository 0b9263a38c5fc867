"""Whether float16 is enough for a checkpoint: simulated, and compared with float32 before the picture is clamped."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from nonesuch.engine.backends.onnxruntime import inference_session
from nonesuch.engine.manifest import Variant
from nonesuch.engine.session import Batch, SessionOptions

from .checkpoint import Checkpoint
from .families import find_family
from .fp16_simulator import Fp16Simulator
from .graphs.variant_options import VariantOptions
from .onnx_bytes import serialize

__all__ = ["check_fp16"]


def check_fp16(checkpoint: Checkpoint, variant: Variant, batch: Batch) -> str:
    """Simulate an fp16 variant on a batch of its inputs, one image at a time; the answer is for the model card.

    Raises:
        ExportMismatchError: a tensor overflows, or a picture is further from float32 than the simulator allows.
    """
    options = VariantOptions("fp16", variant.upsampling, variant.noise, variant.linear, "float32_nchw")
    family = find_family(checkpoint.family)
    simulator = Fp16Simulator(ir.to_proto(family.build(checkpoint, options)))
    exact = inference_session(serialize(family.build(checkpoint, replace(options, precision="fp32"))), SessionOptions())
    worst = float("inf")
    for row in range(len(batch)):
        feeds = batch[row : row + 1].feeds()
        worst = min(worst, simulator.run(feeds).check(exact.run(None, feeds)[0]))
    return f"{variant.file}: float16 simulated, PSNR {worst:.1f} dB against float32, no overflow, not run on a device"
