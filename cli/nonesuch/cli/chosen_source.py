"""`--seeds` or `--w FILE` -> a source. Files are .npy or .npz, as projectors write them; nothing is unpickled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.source import Seeds, Source, W, Ws

_MAGIC = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")
"""How .npy and .npz begin, the last one without any array."""


def chosen_source(seeds: Sequence[int] | None, w_file: Path | None) -> Source:
    """Where the pictures of a command start: exactly one of --seeds and --w.

    Raises:
        click.UsageError: neither or both are given.
        InvalidRequestError: a seed is out of range, or the file has no latents.
    """
    if (seeds is None) == (w_file is None):
        raise click.UsageError("give --seeds, such as --seeds 0-7, or --w FILE")
    source = Seeds(seeds) if seeds is not None else _read_latents(w_file or Path())
    if not len(source):
        raise InvalidRequestError.of("w", "the file holds no latents")
    return source


def _read_latents(path: Path) -> W | Ws:
    """Read w [N, w_dim] or ws [N, num_ws, w_dim], by the number of axes.

    An .npz has the array under `w`, as the reference projector writes it, or holds one array only.
    """
    try:
        with path.open("rb") as stream:  # numpy would leave it open if it is a damaged .npz
            array = _float32(_array(stream))
    except Exception as error:  # numpy and zipfile set no bound on what a damaged file raises
        raise InvalidRequestError.of("w", f"{path} has no latents ({_reason(error)})") from error
    if array.ndim == 1:
        array = array[None]
    if array.ndim not in {2, 3}:
        raise InvalidRequestError.of(
            "w", f"{path} has an array of shape {array.shape}; it takes [N, w_dim] or [N, num_ws, w_dim]"
        )
    return W(array) if array.ndim == 2 else Ws(array)


def _array(stream: BinaryIO) -> Any:
    if not stream.read(6).startswith(_MAGIC):
        raise ValueError("it is neither .npy nor .npz")
    stream.seek(0)
    content = np.load(stream, allow_pickle=False)
    if not isinstance(content, np.lib.npyio.NpzFile):
        return content
    with content:
        names = content.files
        name = "w" if "w" in names else names[0] if len(names) == 1 else None
        if name is None:
            raise ValueError(f"it has the arrays {', '.join(names) or '(none)'}, and none is called w")
        return content[name]


def _float32(content: Any) -> NDArray[np.float32]:
    dtype = np.asarray(content).dtype
    if dtype.kind not in "fiu":
        raise ValueError(f"it holds {dtype}, not real numbers")
    with np.errstate(over="ignore"):  # becomes infinite, which the engine refuses
        return np.asarray(content, dtype=np.float32)


def _reason(error: Exception) -> str:
    if "pickle" in str(error):
        return "it holds Python objects, which are never unpickled; save an array of numbers"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__
