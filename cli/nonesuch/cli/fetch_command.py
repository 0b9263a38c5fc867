"""`nonesuch fetch`: the same images as `generate`, made by a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from nonesuch.client import (
    Client,
    ClientError,
    DeadlineError,
    GeneratedImage,
    ModelNotFoundError,
    RequestError,
    UnavailableError,
)
from nonesuch.engine.errors import FieldViolation, InvalidRequestError
from nonesuch.engine.image_format import ImageFormat
from nonesuch.engine.latents import DEFAULT_PSI
from nonesuch.engine.provenance import ImageRecord

from .contact_sheet import ContactSheet, sheet_format
from .options import picture_options
from .progress import track

__all__ = ["command"]


@click.command(name="fetch")
@click.option("--server", required=True, help="HOST:PORT, or a gRPC target such as dns:///host:port.")
@picture_options(ImageFormat.JPEG)
@click.option("--model", default="", help="A model's name on the server.  [default: the server's]")
@click.option("--deadline-s", type=float, help="Give up after so many seconds.  [default: never]")
def command(
    server: str,
    seeds: list[int] | None,
    psi: float | None,
    cutoff: int | None,
    class_index: int | None,
    out: Path,
    grid: Path | None,
    format_name: str,
    quality: int | None,
    model: str,
    deadline_s: float | None,
) -> None:
    """Write one image for each seed into --out, from --server."""
    if seeds is None:
        raise click.UsageError("give --seeds, such as --seeds 0-7")
    if deadline_s is not None and not deadline_s > 0:
        raise InvalidRequestError(FieldViolation("deadline_s", f"{deadline_s} is out of range; it is more than 0"))
    if grid is not None:
        sheet_format(grid)
    image_format = ImageFormat.parse(format_name)
    if grid is not None and image_format is ImageFormat.RAW:
        raise click.UsageError("raw pixels of a server do not make a contact sheet; choose another --format")
    try:
        with Client(server) as client:
            info = client.model(model)
            sheet = ContactSheet(len(seeds), info.resolution) if grid is not None else None
            out.mkdir(parents=True, exist_ok=True)
            images = _images(client, seeds, info.limits.max_images_per_stream, psi, cutoff, class_index, image_format,
                             quality, model, deadline_s)  # fmt: skip
            for index, image in track(images, "images", len(seeds)):
                path = out / f"seed{seeds[index]:04d}{image_format.suffix}"
                path.write_bytes(image.data)
                click.echo(path)
                if sheet is not None:
                    sheet.place(index, image.numpy())
            if sheet is not None and grid is not None:
                sheet.save(grid, ImageRecord(info.name, info.model_id, None, DEFAULT_PSI if psi is None else psi))
                click.echo(grid)
    except RequestError as error:
        if not error.violations:
            raise click.UsageError(str(error)) from error
        raise InvalidRequestError([FieldViolation(*violation) for violation in error.violations]) from error
    except ClientError as error:
        raise click.ClickException(_message(error, server)) from error


def _message(error: ClientError, server: str) -> str:
    """The client's advice is for programs; where it names their arguments, ours names the command's."""
    match error:
        case ModelNotFoundError():
            return f"{server} has no such model: {error.details}; leave --model out for its default"
        case DeadlineError():
            return f"{server} did not answer within the deadline: {error.details}; allow more with --deadline-s"
        case UnavailableError():
            return f"no server is ready at {server}: {error.details}; check --server, or start one with nonesuch serve"
    return str(error)


def _images(
    client: Client,
    seeds: list[int],
    most: int,
    psi: float | None,
    cutoff: int | None,
    class_index: int | None,
    image_format: ImageFormat,
    quality: int | None,
    model: str,
    deadline_s: float | None,
) -> Iterator[tuple[int, GeneratedImage]]:
    """All images with their position in seeds, in streams as long as the server takes."""
    for start in range(0, len(seeds), most):
        stream = client.stream(
            seeds[start : start + most],
            psi=psi,
            cutoff=cutoff,
            class_index=class_index,
            format=image_format.value,
            quality=quality,
            model=model,
            deadline_s=deadline_s,
        )
        for image in stream:
            yield start + image.index, image
