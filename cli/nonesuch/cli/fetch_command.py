"""`nonesuch fetch`: the same images as `generate`, made by a server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from nonesuch.client import (
    DEFAULT_DEADLINE_S,
    Client,
    ClientError,
    DeadlineError,
    GeneratedImage,
    GenerateOptions,
    Mixing,
    ModelNotFoundError,
    RequestError,
    UnavailableError,
    tls_credentials,
)
from nonesuch.engine.encoder import ImageFormat
from nonesuch.engine.errors import FieldViolation, InvalidRequestError
from nonesuch.engine.provenance import ImageRecord
from nonesuch.engine.source import Seeds, Source, W, Ws, Z
from nonesuch.engine.style_mix import LayerGroup, StyleMix

from .contact_sheet import ContactSheet
from .picture_flags import PictureFlags, picture_flags
from .progress import track

# A nonesuch server takes requests of up to 1 MiB; half of that leaves room for the fields besides the latents.
_LATENT_BYTES = 1 << 19


@click.command(name="fetch")
@click.option(
    "--server",
    "servers",
    required=True,
    multiple=True,
    help="HOST:PORT, or a gRPC target such as dns:///host:port; if it is given again, calls go to all of them in turn.",
)
@click.option("--tls-ca", type=click.Path(dir_okay=False, path_type=Path), help="Use TLS; trust this CA, PEM.")
@click.option("--tls", is_flag=True, help="Use TLS; trust the CAs of this machine.")
@click.option(
    "--tls-certificate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The client's certificate, PEM, for mTLS.",
)
@click.option(
    "--tls-private-key", type=click.Path(dir_okay=False, path_type=Path), help="The key of that certificate, PEM."
)
@picture_flags(ImageFormat.JPEG)
@click.option(
    "--noise-mode",
    type=click.Choice(["const", "none", "random"]),
    help="Require that the server has this noise.  [default: accept any]",
)
@click.option("--model", default="", help="A model's name on the server.  [default: the server's]")
@click.option("--size", type=int, help="Side in pixels, a power of two; the server scales down.")
@click.option(
    "--priority", type=click.Choice(["interactive", "bulk"]), help="Priority in the server's queue.  [default: bulk]"
)
@click.option("--deadline-s", type=float, help="Deadline of a call in seconds.  [default: none]")
def command(
    servers: tuple[str, ...],
    tls_ca: Path | None,
    tls: bool,
    tls_certificate: Path | None,
    tls_private_key: Path | None,
    flags: PictureFlags,
    noise_mode: str | None,
    model: str,
    size: int | None,
    priority: str | None,
    deadline_s: float | None,
) -> None:
    """Write one image for each seed, or each row of --w, into --out, from --server.

    Only generate has --direction and --noise-seed: a server does not take them. An API key, for servers that require
    one, is read from NONESUCH_API_KEY.
    """
    source, picture, grid = flags.source, flags.picture, flags.grid
    if grid is not None and flags.encode.format is ImageFormat.RAW:
        raise click.UsageError("raw pixels of a server do not make a contact sheet; choose another --format")
    options = GenerateOptions(
        psi=picture.psi,
        cutoff=picture.cutoff,
        class_index=picture.class_index,
        mixing=[_mixing(mix) for mix in picture.mixing],
        translate=picture.translate,
        rotate_degrees=picture.rotate_degrees,
        noise_mode=noise_mode,
        format=flags.encode.format.value,
        quality=flags.encode.quality,
        model=model,
        size=size,
        priority=priority,
    )
    server = ", ".join(servers)
    try:
        encrypted = tls or tls_ca or tls_certificate or tls_private_key
        credentials = (
            tls_credentials(tls_ca, certificate=tls_certificate, private_key=tls_private_key) if encrypted else None
        )
        with Client(servers, credentials=credentials, api_key=os.environ.get("NONESUCH_API_KEY")) as client:
            info = client.model(model, deadline_s=DEFAULT_DEADLINE_S if deadline_s is None else deadline_s)
            sheet = ContactSheet(len(source), size or info.resolution) if grid is not None else None
            flags.out.mkdir(parents=True, exist_ok=True)
            images = _images(client, source, info.limits.max_images_per_stream, deadline_s, options)
            for index, image in track(images, "images", len(source)):
                path = flags.out / f"{source.name(index)}{flags.encode.format.suffix}"
                path.write_bytes(image.data)
                click.echo(path)
                if sheet is not None:
                    sheet.place(index, image.numpy())
            if sheet is not None and grid is not None:
                sheet.save(grid, ImageRecord(info.name, info.model_id, None, source.psi(picture.psi)))
                click.echo(grid)
    except RequestError as error:
        if not error.violations:
            raise click.UsageError(str(error)) from error
        raise InvalidRequestError([FieldViolation(*violation) for violation in error.violations]) from error
    except ClientError as error:
        raise click.ClickException(_message(error, server)) from error


def _images(
    client: Client, source: Source, max_images: int, deadline_s: float | None, options: GenerateOptions
) -> Iterator[tuple[int, GeneratedImage]]:
    """All images with their position, in streams of at most `max_images`."""
    if not isinstance(source, Seeds):
        max_images = min(max_images, max(1, _LATENT_BYTES // max(1, source.array[0].nbytes)))
    for start in range(0, len(source), max_images):
        match source[start : start + max_images]:
            case Seeds(seeds):
                images = client.stream(seeds, deadline_s=deadline_s, **options)
            case Z() as part:
                images = client.stream(zs=part.array, deadline_s=deadline_s, **options)
            case W() as part:
                images = client.stream(w=part.array, deadline_s=deadline_s, **options)
            case Ws() as part:
                images = client.stream(ws=part.array, deadline_s=deadline_s, **options)
        for image in images:
            yield start + image.index, image


def _mixing(mix: StyleMix) -> Mixing:
    return Mixing(mix.source.seed(0), mix.layers.value if isinstance(mix.layers, LayerGroup) else mix.layers)


def _message(error: ClientError, server: str) -> str:
    """The text of an error, with advice about the command's options in place of the client's arguments."""
    match error:
        case ModelNotFoundError():
            return f"{server} has no such model: {error.details}; leave --model out for its default"
        case DeadlineError():
            return f"{server} did not answer within the deadline: {error.details}; set a larger --deadline-s"
        case UnavailableError():
            return f"no server is ready at {server}: {error.details}; check --server, or start one with nonesuch serve"
    return str(error)
