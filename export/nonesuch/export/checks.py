"""What an export must pass before it is written: the ONNX checker, and pictures that agree with something else.

In order of preference: the committed digest of the original network, else the PyTorch reference where torch is
installed, else nothing, and then the model card says "not compared".
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import onnx
from numpy.typing import NDArray

from nonesuch.engine.errors import ExportMismatchError
from nonesuch.engine.generator import Generator
from nonesuch.engine.latents import z_from_seeds

from .checkpoint import Checkpoint
from .digest import MEAN_TOLERANCE, PIXEL_TOLERANCE, find_digest
from .families import find_family

__all__ = ["check_graph", "check_pictures", "psnr_db"]

REFERENCE_SEEDS = (0, 1)
MIN_PSNR_DB = 50.0
MAX_DIFFERENCE = 2


def check_graph(model: bytes, label: str) -> None:
    """Run the ONNX checker with shape inference, and refuse what our runtimes could not take.

    Raises:
        ExportMismatchError: the graph is not valid ONNX.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportMismatchError(f"{label} is not valid ONNX ({error}); nothing was written") from error


def check_pictures(checkpoint: Checkpoint, generator: Generator) -> str:
    """Render fixed seeds at psi 1 and compare; the answer is the line for manifest and model card.

    Raises:
        ExportMismatchError: the pictures disagree beyond rounding.
    """
    digest = find_digest(checkpoint.model_id)
    if digest is not None:
        means, pixels = digest.compare(generator.generate(list(digest.seeds), psi=1.0))
        if means > MEAN_TOLERANCE or pixels > PIXEL_TOLERANCE:
            raise ExportMismatchError(
                f"the exported graph does not show the original's pictures: block means differ by {means:.2f} of 255 "
                f"(at most {MEAN_TOLERANCE}), pixels by {pixels:.0f} (at most {PIXEL_TOLERANCE}); nothing was written"
            )
        seeds = ", ".join(map(str, digest.seeds))
        return (
            f"digest of the original network, seeds {seeds}: block means within {means:.3f}, pixels within {pixels:.0f}"
        )
    if find_spec("torch") is None:
        return "not compared: no digest of this model is known and torch is not installed"
    found, expected = generator.generate(REFERENCE_SEEDS, psi=1.0), _reference_pictures(checkpoint, generator)
    worst, psnr = int(np.abs(found.astype(int) - expected.astype(int)).max()), psnr_db(found, expected)
    if worst > MAX_DIFFERENCE or psnr < MIN_PSNR_DB:
        raise ExportMismatchError(
            "the exported graph disagrees with the PyTorch reference: "
            f"PSNR {psnr:.1f} dB (at least {MIN_PSNR_DB:.0f}), largest difference {worst} of 255 "
            f"(at most {MAX_DIFFERENCE}); nothing was written"
        )
    seeds = ", ".join(map(str, REFERENCE_SEEDS))
    return f"PyTorch reference, seeds {seeds}: PSNR {psnr:.1f} dB, largest difference {worst} of 255"


def psnr_db(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two 8-bit image arrays; infinite when they are equal."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def _reference_pictures(checkpoint: Checkpoint, generator: Generator) -> NDArray[np.uint8]:
    import torch

    from .reference.mobilestylegan import to_uint8

    network = find_family(checkpoint.family).reference(checkpoint)
    with torch.inference_mode():
        w = network.mapping(torch.from_numpy(z_from_seeds(REFERENCE_SEEDS, generator.manifest.z_dim)))
        styles = w[:, None].repeat(1, generator.manifest.num_ws, 1)
        images: NDArray[np.uint8] = to_uint8(network.synthesis(styles)).numpy()
    return images
