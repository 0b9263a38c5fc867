"""`--w FILE`: styles from .npy or .npz, as projectors and the reference scripts write them. Nothing is unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.errors import FieldViolation, InvalidRequestError

__all__ = ["read_latents"]


def read_latents(path: Path) -> tuple[str, NDArray[np.float32]]:
    """Read w [N, w_dim] or ws [N, num_ws, w_dim]; the answer says which, by the number of axes.

    An .npz has the array under `w`, as the reference projector writes it, or holds one array only.

    Raises:
        InvalidRequestError: not such a file.
    """
    try:
        content: Any = np.load(path, allow_pickle=False)
        if isinstance(content, np.lib.npyio.NpzFile):
            with content:
                names = content.files
                name = "w" if "w" in names else names[0] if len(names) == 1 else None
                if name is None:
                    raise ValueError(f"it has the arrays {', '.join(names)}, and none is called w")
                content = content[name]
        array = np.asarray(content, dtype=np.float32)
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise InvalidRequestError(FieldViolation("--w", f"{path} has no latents ({error})")) from error
    if array.ndim == 1:
        array = array[None]
    if array.ndim not in {2, 3}:
        problem = f"{path} has an array of shape {array.shape}; it takes [N, w_dim] or [N, num_ws, w_dim]"
        raise InvalidRequestError(FieldViolation("--w", problem))
    return ("w" if array.ndim == 2 else "ws"), array
