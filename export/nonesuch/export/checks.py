"""The checks that an export must pass before it is written: the ONNX checker, and a comparison of pictures.

Pictures are compared with the committed digest of the original network if there is one, otherwise with the PyTorch
reference if torch is installed. Otherwise the model card says "not compared". A digest was made by the original network
in its own runtime (`tests/make_digest.py`), so it is independent of our code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from nonesuch.engine.artifact import MAPPING_FILE, Artifact
from nonesuch.engine.backends.onnxruntime import OnnxRuntimeSession, inference_session, load_mapping
from nonesuch.engine.errors import ExportMismatchError
from nonesuch.engine.generator import Generator
from nonesuch.engine.latent_pipeline import LatentPipeline, PictureOptions
from nonesuch.engine.latents import z_from_seeds
from nonesuch.engine.manifest import Variant
from nonesuch.engine.mapping import Mapper
from nonesuch.engine.psnr import psnr_db
from nonesuch.engine.session import Batch, SessionOptions
from nonesuch.engine.source import Seeds

from .checkpoint import Checkpoint
from .families import find_family
from .fp16_simulator import Fp16Simulator
from .graphs.graph_builder import serialize
from .graphs.synthesis_builder import VariantOptions

REFERENCE_SEEDS = (0, 1)
MIN_PSNR_DB = 50.0
MAX_DIFFERENCE = 2
MAPPING_TOLERANCE = 1e-5


def check_graph(model: bytes, label: str) -> None:
    """Run the ONNX checker with shape inference.

    Raises:
        ExportMismatchError: the graph is not valid ONNX.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:  # or over 2 GiB
        raise ExportMismatchError(f"{label} is not valid ONNX ({error}); nothing was written") from error


def check_pictures(checkpoint: Checkpoint, artifact: Artifact) -> str:
    """Render fixed seeds at psi 1 with every variant and compare the pictures.

    Returns:
        A summary for the manifest and the model card.

    Raises:
        ExportMismatchError: the pictures differ by more than rounding.
    """
    digest = find_digest(checkpoint.model_id)
    network = None if find_spec("torch") is None else find_family(checkpoint.family).reference(checkpoint)
    lines: list[str] = []
    plain = [variant for variant in artifact.manifest.variants if _can_match_digest(variant)]
    if digest is not None and plain:
        lines += [_check_digest(digest, artifact, variant) for variant in plain]
    elif network is not None:
        lines.append(_check_mapping(network, artifact))
    else:
        lines.append("not compared: no digest of this model is known and torch is not installed")
    for variant in artifact.manifest.variants:
        options = PictureOptions(psi=1.0, class_index=0 if artifact.manifest.c_dim else None)
        batch = LatentPipeline(artifact, variant, load_mapping).batch(Seeds(REFERENCE_SEEDS), options)
        if variant.precision == "fp16":
            # ONNX Runtime computes float16 in float32 on a CPU, so running the graph itself would prove nothing.
            lines.append(_check_fp16(checkpoint, variant, batch))
        elif network is not None and (digest is None or variant not in plain):
            lines.append(_check_variant(network, artifact, variant, batch))
    return "; ".join(lines)


def _can_match_digest(variant: Variant) -> bool:
    """Whether a variant should show the pictures of the original network."""
    return (variant.precision, variant.noise, variant.output) == ("fp32", "const", "uint8_nhwc")


def _check_digest(digest: Digest, artifact: Artifact, variant: Variant) -> str:
    session = OnnxRuntimeSession(artifact, variant, SessionOptions(max_batch_size=1))
    with Generator(artifact, session, "export check") as generator:
        means, pixels = digest.compare(generator.generate(list(digest.seeds), psi=1.0))
    if means > MEAN_TOLERANCE or pixels > PIXEL_TOLERANCE:
        raise ExportMismatchError(
            f"{variant.file} does not show the original's pictures: block means differ by {means:.2f} of 255 "
            f"(at most {MEAN_TOLERANCE}), pixels by {pixels:.0f} (at most {PIXEL_TOLERANCE}); nothing was written"
        )
    seeds = ", ".join(map(str, digest.seeds))
    label = "" if variant == artifact.manifest.variants[0] else f"{variant.file} against the "
    within = f"block means within {means:.3f}, pixels within {pixels:.0f}"
    return f"{label}digest of the original network, seeds {seeds}: {within}"


def _check_mapping(network: Any, artifact: Artifact) -> str:
    """Compare the mapping network with the reference's."""
    import torch

    z = z_from_seeds(REFERENCE_SEEDS, artifact.manifest.z_dim)
    options = {}
    if artifact.manifest.c_dim:
        options["c"] = torch.eye(artifact.manifest.c_dim)[[0] * len(z)]
    with torch.inference_mode():
        expected = network.mapping(torch.from_numpy(z), **options).numpy()
    found = Mapper(artifact, load_mapping)(z, 0 if options else None)
    worst = float(np.abs(found - expected).max() / np.abs(expected).max())
    if worst > MAPPING_TOLERANCE:
        raise ExportMismatchError(
            f"{MAPPING_FILE} disagrees with the PyTorch reference: w differs by {worst:.1e} of its largest value "
            f"(at most {MAPPING_TOLERANCE:.0e}); nothing was written"
        )
    return f"PyTorch reference: w within {worst:.1e} of its largest value"


def _check_variant(network: Any, artifact: Artifact, variant: Variant, batch: Batch) -> str:
    """Compare one variant's pictures with the reference's, for the same styles, noise and transform."""
    from .reference.rendering import render, to_uint8

    expected = to_uint8(render(network, batch, variant)).numpy()
    session = inference_session(artifact.read(variant.file), SessionOptions())
    found = np.concatenate([session.run(None, batch[row : row + 1].feeds())[0] for row in range(len(batch))])
    if variant.output == "float32_nchw":
        found = np.clip(found * 127.5 + 128, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    worst, psnr = int(np.abs(found.astype(int) - expected.astype(int)).max()), psnr_db(found, expected)
    if worst > MAX_DIFFERENCE or psnr < MIN_PSNR_DB:
        raise ExportMismatchError(
            f"{variant.file} disagrees with the PyTorch reference: "
            f"PSNR {psnr:.1f} dB (at least {MIN_PSNR_DB:.0f}), largest difference {worst} of 255 "
            f"(at most {MAX_DIFFERENCE}); nothing was written"
        )
    seeds = ", ".join(map(str, REFERENCE_SEEDS))
    return f"{variant.file} against PyTorch, seeds {seeds}: PSNR {psnr:.1f} dB, largest difference {worst} of 255"


def _check_fp16(checkpoint: Checkpoint, variant: Variant, batch: Batch) -> str:
    """Simulate an fp16 variant on a batch of inputs, one image at a time; return a summary for the model card.

    Raises:
        ExportMismatchError: a tensor overflows, or a picture differs from float32 by more than the simulator allows.
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


GRID = 8
MEAN_TOLERANCE = 0.25
"""Of 255. Runtimes differ by rounding at single pixels, which nearly cancels in a mean of 16,384 pixels."""
PIXEL_TOLERANCE = 2
"""Of 255. Float32 runtimes sum in different orders; the parity tests use the same limit."""


@dataclass(frozen=True)
class Digest:
    """Samples of the original network's images: for a few seeds at psi 1, block means and the middle pixel of each."""

    seeds: tuple[int, ...]
    means: NDArray[np.float64]  # [seeds, GRID, GRID, channels]
    pixels: NDArray[np.float64]  # the same shape

    def compare(self, images: NDArray[np.uint8]) -> tuple[float, float]:
        """Return the max differences (means, pixels) of images [seeds, H, W, C] rendered from the seeds at psi 1."""
        means, pixels = zip(*(sample_image(image) for image in images), strict=True)
        return float(np.abs(np.stack(means) - self.means).max()), float(np.abs(np.stack(pixels) - self.pixels).max())


def sample_image(image: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return block means and middle pixels, each [GRID, GRID, C], of an image [H, W, C]; GRID divides H and W."""
    height, width, channels = image.shape
    blocks = image.reshape(GRID, height // GRID, GRID, width // GRID, channels).astype(np.float64)
    return blocks.mean(axis=(1, 3)), blocks[:, height // GRID // 2, :, width // GRID // 2]


def find_digest(model_id: str) -> Digest | None:
    """Return the committed digest of a model, or None."""
    resource = files("nonesuch.export") / "digests" / f"{model_id[:16]}.json"
    if not resource.is_file():
        return None
    content = json.loads(resource.read_text())
    return Digest(tuple(content["seeds"]), np.array(content["means"]), np.array(content["pixels"], dtype=np.float64))
