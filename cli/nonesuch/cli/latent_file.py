"""`--w FILE`: styles from .npy or .npz, as projectors and the reference scripts write them. Nothing is unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import InvalidRequestError

__all__ = ["read_latents"]

_MAGIC = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")
"""How .npy and .npz begin, the last one without any array."""


def read_latents(path: Path) -> tuple[str, NDArray[np.float32]]:
    """Read w [N, w_dim] or ws [N, num_ws, w_dim]; the answer says which, by the number of axes.

    An .npz has the array under `w`, as the reference projector writes it, or holds one array only.

    Raises:
        InvalidRequestError: not such a file.
    """
    try:
        with path.open("rb") as stream:  # numpy would leave it open if it is a damaged .npz
            array = _float32(_array(stream))
    except Exception as error:  # numpy and zipfile set no bound on what a damaged file raises
        raise InvalidRequestError.of("--w", f"{path} has no latents ({_reason(error)})") from error
    if array.ndim == 1:
        array = array[None]
    if array.ndim not in {2, 3}:
        raise InvalidRequestError.of(
            "--w", f"{path} has an array of shape {array.shape}; it takes [N, w_dim] or [N, num_ws, w_dim]"
        )
    return ("w" if array.ndim == 2 else "ws"), array


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
