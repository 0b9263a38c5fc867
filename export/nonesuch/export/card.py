"""The model card of an artifact: its content, origin, permitted use and checks."""

from __future__ import annotations

from nonesuch.engine.manifest import Manifest

_USE = """\
## Use

The images are made by a model; any likeness to a person is unintended. Do not use them to impersonate, to deceive, or
as identification. Lower psi gives cleaner and more alike images, and it is not neutral: it makes what was rare in the
training data rarer still. The training photographs include children, and there is no filter by age.
"""


def write_card(manifest: Manifest) -> str:
    """Return the card as Markdown."""
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
