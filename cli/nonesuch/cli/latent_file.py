"""A file of latents -> a source of pictures. Files are .npy or .npz, as projectors write them; never unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.source import W, Ws

_MAGIC = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")
"""The first bytes of a .npy, of a .npz, and of a .npz without arrays."""


def read_latents(path: Path) -> W | Ws:
    """Read w float32 [N, w_dim], or ws float32 [N, num_ws, w_dim], by the number of axes; one axis is one w.

    An .npz has the array under `w`, as the reference projector writes it, or has one array only.

    Raises:
        InvalidRequestError: the file cannot be read, or has no latents.
    """
    try:
        with path.open("rb") as stream:  # numpy leaves a damaged .npz open
            array = _float32(_array(stream))
    except Exception as error:  # numpy and zipfile raise errors of any class for a damaged file
        raise InvalidRequestError.of("w", f"{path} has no latents ({_reason(error)})") from error
    if array.ndim == 1:
        array = array[None]
    if array.ndim not in {2, 3}:
        raise InvalidRequestError.of(
            "w", f"{path} has an array of shape {array.shape}; give [N, w_dim] or [N, num_ws, w_dim]"
        )
    if not len(array):
        raise InvalidRequestError.of("w", "the file holds no latents")
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
    with np.errstate(over="ignore"):  # a large float64 becomes infinite, which the engine refuses
        return np.asarray(content, dtype=np.float32)


def _reason(error: Exception) -> str:
    if "pickle" in str(error):
        return "it holds Python objects, which are never unpickled; save an array of numbers"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__
