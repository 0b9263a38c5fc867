"""Checkpoint -> artifact: builds the graphs, measures w_avg, checks the result, writes it in one step.

The artifact is written to a folder beside the target and checked there; readers see only the rename at the end.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine import __version__
from nonesuch.engine.artifact import MANIFEST_FILE, MAPPING_FILE, W_AVG_FILE, Artifact
from nonesuch.engine.errors import ExportMismatchError
from nonesuch.engine.manifest import FORMAT, Manifest, WeightsSource

from .built_variant import build_variants
from .checkpoint import Checkpoint
from .checks import check_graph, check_pictures
from .families import find_family
from .graphs.graph_builder import serialize
from .graphs.mapping import build_mapping
from .graphs.synthesis_builder import VariantOptions
from .mean_w import Progress, mean_w

CARD_FILE = "README.md"
_CHECK_PENDING = "being checked"


def export_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    *,
    name: str,
    source: WeightsSource,
    variants: Sequence[VariantOptions] = (VariantOptions(),),
    replace: bool = False,
    progress: Progress = lambda items, _: items,
) -> Artifact:
    """Export a converted checkpoint to the folder `out`.

    Args:
        checkpoint: the weights.
        out: the artifact's folder; it appears in one step.
        name: the model's name in answers and file names.
        source: the origin of the weights.
        variants: the synthesis graphs to build; a runtime takes the first that is for it.
        replace: replace an existing artifact.
        progress: wraps the steps of the long loop, as tqdm does.

    Raises:
        CheckpointError: a tensor is missing or has the wrong shape.
        UnsupportedError: the family has no such variant.
        ExportMismatchError: the graphs are not valid, disagree with the reference, or `out` exists.
        BackendUnavailableError: ONNX Runtime, which the checks need, is not installed.
    """
    if out.exists():
        if not replace:
            raise ExportMismatchError(f"{out} exists, and artifacts never change; choose another --out, or --force")
        # The old folder is deleted, so only an artifact may be replaced.
        if not out.is_dir() or (any(out.iterdir()) and not (out / MANIFEST_FILE).is_file()):
            raise ExportMismatchError(f"{out} is not an artifact, so it is not replaced; choose another --out")
    built = [variant for options in variants for variant in build_variants(checkpoint, options)]
    mapping = serialize(build_mapping(checkpoint, variants[0].linear))
    check_graph(mapping, MAPPING_FILE)
    average = mean_w(checkpoint, mapping, progress)
    files = {MAPPING_FILE: mapping, W_AVG_FILE: _npy(average.value)}
    files |= {variant.entry.file: variant.data for variant in built}
    layout = find_family(checkpoint.family).ws_layout(checkpoint)
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
            w_avg=average.origin,
            checked=checked,
            source=source,
            variants=tuple(variant.entry for variant in built),
            files={file: hashlib.sha256(data).hexdigest() for file, data in files.items()},
            producer=f"nonesuch {__version__}",
        )

    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".exporting-", dir=out.parent))
    try:
        for file, data in files.items():
            (staging / file).write_bytes(data)
        (staging / MANIFEST_FILE).write_bytes(manifest(_CHECK_PENDING).encode())
        checked = check_pictures(checkpoint, Artifact.open(staging))
        files[CARD_FILE] = write_card(manifest(checked)).encode()
        (staging / CARD_FILE).write_bytes(files[CARD_FILE])
        (staging / MANIFEST_FILE).write_bytes(manifest(checked).encode())
        _publish(staging, out, replace)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Artifact.open(out)


def _publish(staging: Path, out: Path, replace: bool) -> None:
    # mkdtemp makes folders private; an artifact has the usual permissions.
    staging.chmod(0o755)
    if replace and out.exists():
        old = staging.with_name(f"{staging.name}-replaced")  # unique, as the staging folder is
        os.replace(out, old)
        try:
            os.replace(staging, out)
        except OSError:
            os.replace(old, out)
            raise
        if old.is_symlink():  # leave its target alone
            old.unlink()
        else:
            shutil.rmtree(old, ignore_errors=True)
        return
    try:
        os.replace(staging, out)
    except OSError as error:
        raise ExportMismatchError(f"{out} cannot be written ({error.strerror}); choose another --out") from error


def _npy(array: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


_USE = """\
## Use

The images are made by a model; any likeness to a person is unintended. Do not use them to impersonate, to deceive, or
as identification. Lower psi gives cleaner and more alike images, and it is not neutral: it makes what was rare in the
training data rarer still. The training photographs include children, and there is no filter by age.
"""


def write_card(manifest: Manifest) -> str:
    """Return the model card as Markdown: content, origin, permitted use and checks."""
    variants = "\n".join(
        f"| {v.file} | {v.precision} | {v.upsampling} | {v.noise} | {v.output} | {', '.join(v.runtimes)} |"
        for v in manifest.variants
    )
    layout = "\n".join(
        f"| {entry.index} | {entry.resolution} | {', '.join(entry.consumers) or 'dead'} |"
        for entry in manifest.ws_layout
    )
    shape = f"{manifest.resolution}x{manifest.resolution}, {manifest.channels} channels"
    return f"""# {manifest.name}

A {manifest.family} generator as ONNX: {shape}; z {manifest.z_dim}, w {manifest.w_dim}, {manifest.num_ws} style inputs.

- weights: {manifest.source.name}, sha256 `{manifest.source.sha256}`
- model id: `{manifest.model_id}`
- w_avg: {manifest.w_avg}
- checked: {manifest.checked}
- made by: {manifest.producer}

## Terms

{manifest.source.licence}

{_USE}
## Graphs

`mapping.onnx`: z float32 [N, {manifest.z_dim}] -> w float32 [N, {manifest.w_dim}], before truncation.
Synthesis: ws float32 [N, {manifest.num_ws}, {manifest.w_dim}] -> image.

| file | precision | up-sampling | noise | output | for |
| --- | --- | --- | --- | --- | --- |
{variants}

## Style inputs

| index | resolution | read by |
| --- | --- | --- |
{layout}
"""
