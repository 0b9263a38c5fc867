"""`nonesuch export`: a model -> an ONNX artifact that any machine can run."""

from __future__ import annotations

import re
from pathlib import Path

import click

from nonesuch.engine.errors import BackendUnavailableError, ModelNotFoundError
from nonesuch.engine.home import Home
from nonesuch.export.catalogue import CATALOGUE, find_entry

from .prepare import missing_export_packages
from .progress import on_terminal, track

_PRECISIONS = ("fp32", "fp16")
_LINEARS = ("gemm", "conv1x1")


@click.command(name="export")
@click.argument("source")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder.  [default: in the user's home]")
@click.option("--name", help="Name of the model.  [default: SOURCE, or the file's name]")
@click.option("--from", "file", type=click.Path(dir_okay=False, path_type=Path), help="A local copy of the download.")
@click.option("--precision", default="fp32", show_default=True, help="fp32, fp16, or both: fp32,fp16.")
@click.option(
    "--noise-mode",
    type=click.Choice(["const", "none", "random"]),
    default="const",
    show_default=True,
    help="Constant noise, no noise, or noise drawn from each image's seed.",
)
@click.option(
    "--upsampling",
    default="default",
    show_default=True,
    help="Form of up-sampling of the family: transposed, polyphase, winograd ...",
)
@click.option(
    "--linear",
    default="gemm",
    show_default=True,
    help="Form of matrix products: gemm, conv1x1, or both; conv1x1 is for TensorRT-RTX on SM 75.",
)
@click.option(
    "--output",
    type=click.Choice(["uint8_nhwc", "float32_nchw"]),
    default="uint8_nhwc",
    show_default=True,
    help="Output of the graph; serving needs uint8_nhwc.",
)
@click.option("--force", is_flag=True, help="Replace an artifact that is already there.")
def command(
    source: str,
    out: Path | None,
    name: str | None,
    file: Path | None,
    precision: str,
    noise_mode: str,
    upsampling: str,
    linear: str,
    output: str,
    force: bool,
) -> None:
    """Export SOURCE, a name from `nonesuch models list` or a checkpoint file, and check the artifact."""
    path = Path(source)
    entry = CATALOGUE.get(source)
    if entry is None and not path.is_file():
        if path.suffix or path.parent != Path():
            raise ModelNotFoundError(
                f"there is no file {source!r}, and no model of that name; see nonesuch models list"
            )
        find_entry(source)
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise click.UsageError(
            f"--name {name!r} is not a name; use letters, digits, dots, dashes and underscores, at most 64"
        )
    if entry is None and file is not None:
        raise click.UsageError(f"--from is a copy of a model's download, and {source} is a file; leave --from out")
    if entry is not None and name is not None:
        raise click.UsageError(f"--name is for checkpoint files, and {source} has a name; leave --name out")
    precisions = _words("precision", precision, _PRECISIONS)
    linears = _words("linear", linear, _LINEARS)
    missing = missing_export_packages()
    if missing:
        raise BackendUnavailableError(f"export needs {', '.join(missing)}; pip install 'nonesuch[cpu,export]'")
    from nonesuch.export.export_job import ExportJob, export_file, export_named
    from nonesuch.export.graphs.synthesis_builder import VariantOptions

    variants = [
        VariantOptions(precision, upsampling, noise_mode, linear, output)  # type: ignore[arg-type]  # checked above
        for linear in linears
        for precision in precisions
    ]
    job = ExportJob(out, variants, force, track)
    if entry is not None:
        click.echo(f"Terms of {entry.name}: {entry.terms}", err=True)
        artifact = export_named(entry, Home.default(), job, source=file, show_progress=on_terminal())
    else:
        artifact = export_file(path, Home.default(), job, name=name)
    click.echo(f"checked: {artifact.manifest.checked}", err=True)
    click.echo(artifact.folder)


def _words(option: str, given: str, known: tuple[str, ...]) -> list[str]:
    """The words of an option that takes one or several of them, with commas between."""
    words = given.split(",")
    if not set(words) <= set(known) or len(set(words)) != len(words):
        raise click.UsageError(f"--{option} {given!r}: use {', '.join(known)}, or {','.join(known)}")
    return words
