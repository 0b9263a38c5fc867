"""Checkpoint -> artifact: builds the graphs, measures w_avg, checks the result, writes it in one step.

Everything is written to a folder beside the target and checked there; the rename at the end is the only thing that a
reader of the target can see.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nonesuch.engine import __version__
from nonesuch.engine.artifact import MANIFEST_FILE, MAPPING_FILE, W_AVG_FILE, Artifact
from nonesuch.engine.backends.onnxruntime import OnnxRuntimeBackend, inference_session
from nonesuch.engine.errors import ExportMismatchError
from nonesuch.engine.generator import Generator
from nonesuch.engine.latents import z_from_seeds
from nonesuch.engine.manifest import FORMAT, Manifest, Variant, WeightsSource
from nonesuch.engine.session import SessionOptions

from .card import write_card
from .checkpoint import Checkpoint
from .checks import check_graph, check_pictures
from .families import find_family
from .graphs.mapping import build_mapping

__all__ = ["W_AVG_SAMPLES", "export_checkpoint"]

W_AVG_SAMPLES = 10_000
SYNTHESIS_FILE = "synthesis.onnx"
CARD_FILE = "README.md"
_CHUNK = 500
_NOT_YET = "being checked"

Progress = Callable[[Iterable[int], str], Iterable[int]]


def export_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    *,
    name: str,
    source: WeightsSource,
    replace: bool = False,
    progress: Progress = lambda items, _: items,
) -> Artifact:
    """Export a converted checkpoint to the folder `out`.

    Args:
        checkpoint: the weights.
        out: the artifact's folder; it appears whole or not at all.
        name: what the model is called in answers and file names.
        source: where the weights came from.
        replace: put the new artifact in the place of one that is there.
        progress: wraps the steps of the long loop, as tqdm does.

    Raises:
        CheckpointError: a tensor is missing or has another shape than the network needs.
        ExportMismatchError: the graphs are not valid, disagree with the reference, or `out` is taken.
        BackendUnavailableError: ONNX Runtime, which the checks need, is not installed.
    """
    if out.exists():
        if not replace:
            raise ExportMismatchError(
                f"{out} is there already, and artifacts never change; choose another --out, or --force"
            )
        # What is replaced is deleted, so a slip of the hand must not hit somebody's pictures.
        if not out.is_dir() or (any(out.iterdir()) and not (out / MANIFEST_FILE).is_file()):
            raise ExportMismatchError(f"{out} is there and is no artifact, so it is not replaced; choose another --out")
    family = find_family(checkpoint.family)
    built = family.build(checkpoint)
    files = {MAPPING_FILE: _serialize(build_mapping(checkpoint)), SYNTHESIS_FILE: _serialize(built.model)}
    for label, data in files.items():
        check_graph(data, label)
    w_avg = _mean_w(files[MAPPING_FILE], int(checkpoint.config["z_dim"]), progress)
    files[W_AVG_FILE] = _npy(w_avg)
    layout = family.ws_layout(checkpoint)
    config = checkpoint.config

    def manifest(checked: str) -> Manifest:
        return Manifest(
            format=FORMAT,
            name=name,
            model_id=checkpoint.model_id,
            family=checkpoint.family,
            z_dim=int(config["z_dim"]),
            c_dim=int(config.get("c_dim", 0)),
            w_dim=int(config["w_dim"]),
            num_ws=len(layout),
            resolution=int(config["resolution"]),
            channels=int(config["img_channels"]),
            ws_layout=tuple(layout),
            w_avg=f"mean of {W_AVG_SAMPLES} mapped seeds, 0 to {W_AVG_SAMPLES - 1}",
            checked=checked,
            source=source,
            variants=(
                Variant(
                    file=SYNTHESIS_FILE,
                    precision="fp32",
                    upsampling=built.upsampling,
                    noise=built.noise,
                    output="uint8_nhwc",
                    runtimes=built.runtimes,
                    sha256=_sha256(files[SYNTHESIS_FILE]),
                ),
            ),
            files={file: _sha256(data) for file, data in files.items()},
            producer=f"nonesuch {__version__}",
        )

    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".exporting-", dir=out.parent))
    try:
        for file, data in files.items():
            (staging / file).write_bytes(data)
        (staging / MANIFEST_FILE).write_bytes(manifest(_NOT_YET).encode())
        checked = _check(checkpoint, staging)
        files[CARD_FILE] = write_card(manifest(checked)).encode()
        (staging / CARD_FILE).write_bytes(files[CARD_FILE])
        (staging / MANIFEST_FILE).write_bytes(manifest(checked).encode())
        _publish(staging, out, replace)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Artifact.open(out)


def _check(checkpoint: Checkpoint, folder: Path) -> str:
    artifact = Artifact.open(folder)
    session = OnnxRuntimeBackend().session(artifact, SessionOptions(max_batch_size=1))
    with Generator(artifact, session, "the exporter's own check") as generator:
        return check_pictures(checkpoint, generator)


def _publish(staging: Path, out: Path, replace: bool) -> None:
    # mkdtemp makes folders private; an artifact is as readable as any file its owner makes.
    staging.chmod(0o755)
    if replace and out.exists():
        old = staging.with_name(f"{staging.name}-replaced")  # as unique as the name of the staging folder
        os.replace(out, old)
        try:
            os.replace(staging, out)
        except OSError:
            os.replace(old, out)
            raise
        shutil.rmtree(old, ignore_errors=True)
        return
    try:
        os.replace(staging, out)
    except OSError as error:
        raise ExportMismatchError(f"{out} cannot be written ({error.strerror}); choose another --out") from error


def _mean_w(mapping: bytes, z_dim: int, progress: Progress) -> NDArray[np.float32]:
    """The mean of W_AVG_SAMPLES mapped seeds, summed in float64, for checkpoints that store none."""
    session = inference_session(mapping, SessionOptions())
    total = np.float64(0)
    for start in progress(range(0, W_AVG_SAMPLES, _CHUNK), "w_avg"):
        z = z_from_seeds(range(start, start + _CHUNK), z_dim)
        total = total + session.run(None, {"z": z})[0].astype(np.float64).sum(axis=0)
    return np.asarray(total / W_AVG_SAMPLES, dtype=np.float32)


def _serialize(model: ir.Model) -> bytes:
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))


def _npy(array: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
