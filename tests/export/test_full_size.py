"""Networks of usual size with random weights can be exported and agree with torch."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import inference_session, load_mapping
from nonesuch.engine.home import Home
from nonesuch.engine.latent_pipeline import LatentPipeline, PictureOptions
from nonesuch.engine.session import SessionOptions
from nonesuch.engine.source import Seeds
from nonesuch.export.catalogue import find_entry
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.families import find_family
from nonesuch.export.fp16_simulator import Fp16Simulator
from nonesuch.export.graphs.graph_builder import serialize
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ..random_stylegan2 import SOURCE, Randoms, stylegan2

pytestmark = pytest.mark.slow

MAX_MEMORY_GIB = 24


# StyleGAN3-T at 1024: size and channels after each layer (Karras et al., arXiv 2106.12423, section 3 and appendix F).
T_SIZES = [36, 36, 36, 52, 52, 84, 148, 148, 276, 276, 532, 1044, 1044, 1044, 1024, 1024]
T_CHANNELS = [512, 512, 512, 512, 512, 512, 512, 512, 323, 203, 128, 81, 51, 32, 32, 3]
TAPS = 6  # filter taps per sample of the lower rate


def rate(size: int) -> int:
    """Return the sampling rate of a padded size: 10 samples of margin on both sides, none for 1024."""
    return size - 20 if size != 1024 else 1024


def low_pass(factor: int) -> NDArray[np.float32]:
    """Return a windowed sinc that passes the lower rate; its sum is 1."""
    taps = TAPS * factor
    t = (np.arange(taps) - (taps - 1) / 2) / factor
    kernel = np.sinc(t) * np.kaiser(taps, 6.0)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def stylegan3_t() -> Checkpoint:
    weights = Randoms(512)
    weights.mapping(512, 2)
    for name, shape in (("weight", (512, 512)), ("freqs", (512, 2)), ("phases", (512,))):
        weights.normal(f"synthesis.input.{name}", *shape, scale=512**-0.5 if name == "weight" else 1.0)
    weights.tensors["synthesis.input.transform"] = np.eye(3, dtype=np.float32)
    weights.tensors["synthesis.input.affine.weight"] = np.zeros((4, 512), dtype=np.float32)
    weights.tensors["synthesis.input.affine.bias"] = np.array([1, 0, 0, 0], dtype=np.float32)
    layers = []
    for index, out_size in enumerate(T_SIZES[1:]):
        in_size, inputs, outputs = T_SIZES[index], T_CHANNELS[index], T_CHANNELS[index + 1]
        to_rgb = index == 14
        kernel = 1 if to_rgb else 3
        wide = 2 * max(rate(in_size), rate(out_size))
        up, down = (1, 1) if to_rgb else (wide // rate(in_size), wide // rate(out_size))
        filters = {} if to_rgb else {"up_filter": low_pass(up), "down_filter": low_pass(down)}
        # The total padding or cropping after the convolution (padded by kernel - 1), the filters and the strides.
        total = (out_size - 1) * down + 1 - (in_size + kernel - 1) * up
        total += sum(len(taps) - 1 for taps in filters.values())
        low = (total + up) // 2
        scope = f"synthesis.L{index}"
        weights.conv(scope, outputs, inputs, kernel, mean=inputs**-0.5 if to_rgb else 1.0)
        weights.tensors[f"{scope}.magnitude_ema"] = np.array(1.0, dtype=np.float32)
        weights.tensors |= {f"{scope}.{name}": taps for name, taps in filters.items()}
        layers.append(
            {
                "name": f"L{index}_{out_size}_{outputs}",
                "in_size": in_size,
                "out_size": out_size,
                "in_channels": inputs,
                "out_channels": outputs,
                "up_factor": up,
                "down_factor": down,
                "padding": [0] * 4 if to_rgb else [low, total - low] * 2,
                "conv_kernel": kernel,
                "is_torgb": to_rgb,
                "is_critically_sampled": index >= 12,
            }
        )
    config = {
        "family": "stylegan3",
        "z_dim": 512,
        "c_dim": 0,
        "w_dim": 512,
        "mapping_layers": 2,
        "resolution": 1024,
        "img_channels": 3,
        "num_ws": 16,
        "conv_clamp": 256.0,
        "output_scale": 0.25,
        "input": {"size": 36, "sampling_rate": 16.0, "bandwidth": 2.0, "channels": 512},
        "layers": layers,
        "source_format": "random",
    }
    return Checkpoint(config=config, tensors=weights.tensors)


@pytest.mark.parametrize("make", [lambda: stylegan2(1024), stylegan3_t], ids=["stylegan2-f-1024", "stylegan3-t-1024"])
def test_a_full_size_network_exports_and_agrees_with_torch(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    # The exporter compares with the PyTorch reference, and raises an error if they disagree.
    artifact = export_checkpoint(make(), tmp_path / "large", name="large", source=SOURCE)
    assert "against PyTorch" in artifact.manifest.checked
    assert artifact.manifest.resolution == 1024
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    assert peak_gib < MAX_MEMORY_GIB


@pytest.mark.faces
def test_the_default_model_in_float16_renders_two_hundred_seeds_at_psi_1(faces: Artifact, faces_home: Home) -> None:
    entry = find_entry("faces")
    checkpoint = entry.read(faces_home.downloads / entry.file.filename)
    variant = faces.manifest.variants[0]
    batch = LatentPipeline(faces, variant, load_mapping).batch(Seeds(range(200)), PictureOptions(psi=1.0))
    half = VariantOptions("fp16", variant.upsampling, output="float32_nchw")
    family = find_family(checkpoint.family)
    simulator = Fp16Simulator(ir.to_proto(family.build(checkpoint, half)))
    exact = inference_session(serialize(family.build(checkpoint, replace(half, precision="fp32"))), SessionOptions())
    for row in range(200):
        feeds = batch[row : row + 1].feeds()
        simulator.run(feeds).check(exact.run(None, feeds)[0])  # at least 40 dB, nothing infinite, no NaN
