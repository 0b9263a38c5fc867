"""The two products that build and run plans: TensorRT, and TensorRT-RTX for GeForce and RTX cards.

Their Python interfaces share nearly all names; the code checks the module for the rest, never the version. This module
has the other differences.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import BackendUnavailableError


@dataclass(frozen=True)
class Flavour:
    """One product.

    Attributes:
        name: the name of the backend.
        module: the Python module.
        extra: the extra that installs it: pip install 'nonesuch[extra]'.
        ahead_of_time: whether it builds for other GPUs, and on machines without a GPU.
        install: how to install it, for messages.
    """

    name: str
    module: str
    extra: str
    ahead_of_time: bool
    install: str


FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour(
            "tensorrt",
            "tensorrt",
            "tensorrt",
            ahead_of_time=False,
            install="pip install 'nonesuch[cpu,tensorrt]'; on a Jetson it comes with JetPack, so make the environment "
            "with python3 -m venv --system-site-packages",
        ),
        Flavour(
            "tensorrt-rtx",
            "tensorrt_rtx",
            "tensorrt-rtx",
            ahead_of_time=True,
            install="pip install 'nonesuch[cpu,tensorrt-rtx]'",
        ),
    )
}


def find_flavour(name: str) -> Flavour:
    """The product of a backend.

    Raises:
        BackendUnavailableError: the backend does not use plans.
    """
    if name not in FLAVOURS:
        raise BackendUnavailableError(f"backend {name!r} does not use plans; use {', '.join(FLAVOURS)}")
    return FLAVOURS[name]
