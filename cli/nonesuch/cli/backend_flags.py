"""The options of `generate`, `walk` and `directions` about the model and its session -> a generator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from nonesuch.engine.generator import Generator
from nonesuch.engine.session import SessionOptions

from .option_group import Command, option_group
from .prepare import prepare


@dataclass(frozen=True)
class BackendFlags:
    """A model and the backend that is to run it on this machine."""

    model: str  # a name, or an artifact's folder
    backend: str  # a name, or auto
    session: SessionOptions

    def open(self) -> Generator:
        """A generator for the model; a catalogue model that is not exported yet is exported first.

        Raises:
            NonesuchError: as `Generator.open`, or the model cannot be fetched or exported.
        """
        prepare(self.model)
        return Generator.open(self.model, backend=self.backend, options=self.session)


def backend_flags(command: Command) -> Command:
    """Add the options; the command gets them as `backend`, a BackendFlags.

    Before the command runs, this raises InvalidRequestError for a number out of range.
    """
    return option_group(
        "backend",
        _read,
        click.option("--model", default="faces", show_default=True, help="A model's name, or an artifact's folder."),
        click.option("--backend", default="auto", show_default=True, help="A backend's name; see nonesuch doctor."),
        click.option("--device", default="auto", show_default=True, help="The backend's device."),
        click.option("--threads", type=int, help="Threads of the session.  [default: as tuned, else the runtime's]"),
        click.option("--lanes", type=int, help="Images of a batch rendered side by side.  [default: as tuned, else 1]"),
        click.option("--batch", "max_batch_size", type=int, default=8, show_default=True, help="Max images in a run."),
        click.option(
            "--noise-mode", type=click.Choice(["const", "none", "random"]), help="Choose a variant by its noise."
        ),
        click.option("--precision", type=click.Choice(["fp32", "fp16"]), help="Choose a variant by its precision."),
        click.option("--upsampling", help="Choose a variant by its up-sampling.  [default: as tuned, else its first]"),
        click.option(
            "--plans",
            type=click.Path(file_okay=False, path_type=Path),
            help="TensorRT plans of nonesuch build --into.  [default: the cache]",
        ),
        click.option("--cuda-graphs", is_flag=True, help="Launch each batch of a TensorRT plan as a CUDA graph."),
        click.option("--deterministic", is_flag=True, help="Pad every run to the full batch: one shape of arithmetic."),
    )(command)


def _read(
    *,
    model: str,
    backend: str,
    device: str,
    threads: int | None,
    lanes: int | None,
    max_batch_size: int,
    noise_mode: str | None,
    precision: str | None,
    upsampling: str | None,
    plans: Path | None,
    cuda_graphs: bool,
    deterministic: bool,
) -> BackendFlags:
    session = SessionOptions(
        device=device,
        max_batch_size=max_batch_size,
        deterministic=deterministic,
        threads=threads,
        lanes=lanes,
        noise=noise_mode,
        precision=precision,
        upsampling=upsampling,
        plans=None if plans is None else str(plans),
        cuda_graphs=cuda_graphs,
    )
    return BackendFlags(model, backend, session)
