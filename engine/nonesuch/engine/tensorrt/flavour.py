"""The two products that build and run plans: TensorRT, and TensorRT-RTX for GeForce and RTX cards.

Their Python interfaces have the same names but for a few; what one lacks is found by asking the module, never by its
version. What differs in kind stands here.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import BackendUnavailableError


@dataclass(frozen=True)
class Flavour:
    """One product.

    Attributes:
        name: as the backend is called.
        module: what is imported.
        extra: what brings it: pip install 'nonesuch[extra]'.
        ahead_of_time: it builds for GPUs that are not there, and on machines without one.
        install: how to get it, for messages.
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
    """The product of that name.

    Raises:
        BackendUnavailableError: there is none.
    """
    if name not in FLAVOURS:
        raise BackendUnavailableError(f"backend {name!r} has no plans; there are {', '.join(FLAVOURS)}")
    return FLAVOURS[name]
