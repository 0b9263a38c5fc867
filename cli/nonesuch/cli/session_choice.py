"""The options that `backend_options` adds to a command -> SessionOptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nonesuch.engine.session import SessionOptions


def session_options(chosen: Mapping[str, Any]) -> SessionOptions:
    """What the command line says of the session; `chosen` are the command's arguments by name."""
    return SessionOptions(
        device=chosen["device"],
        max_batch_size=chosen["max_batch_size"],
        deterministic=chosen["deterministic"],
        threads=chosen["threads"],
        lanes=chosen["lanes"],
        noise=chosen["noise_mode"],
        precision=chosen["precision"],
        upsampling=chosen["upsampling"],
        plans=None if chosen["plans"] is None else str(chosen["plans"]),
        cuda_graphs=chosen["cuda_graphs"],
    )
