"""One loaded TensorRT product: its module, its version, its logger, and what it can do."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

from ..errors import BackendUnavailableError
from ..runtime_import import import_runtime
from .flavour import Flavour, find_flavour
from .library_log import LibraryLog, make_logger


class Library:
    """What the rest of the package calls; nothing of it needs a driver.

    Attributes:
        flavour: which product.
        trt: the module.
        version: as the module says, in full.
        log: everything the library says.
        logger: for the library's constructors.
    """

    def __init__(self, flavour: Flavour, trt: Any) -> None:
        self.flavour = flavour
        self.trt = trt
        self.version = str(trt.__version__)
        self.log = LibraryLog()
        # TensorRT 10.3 is the oldest whose contexts take memory from outside by size, and that JetPack 6 has.
        if not hasattr(getattr(trt, "IExecutionContext", None), "update_device_memory_size_for_shapes"):
            raise BackendUnavailableError(
                f"{flavour.module} {self.version} is too old; plans need 10.3 or later: {flavour.install}"
            )
        self.logger = make_logger(trt, self.log)

    @property
    def targets(self) -> tuple[int, ...]:
        """The compute capabilities it builds for without such a GPU: 86 for 8.6; empty where it cannot."""
        capabilities = getattr(self.trt, "ComputeCapability", None)
        if capabilities is None:
            return ()
        names = [name.removeprefix("SM") for name in capabilities.__members__ if name.startswith("SM")]
        return tuple(sorted(int(name) for name in names if name.isdigit()))

    def __repr__(self) -> str:
        return f"<{self.flavour.module} {self.version}>"


@cache
def load_library(name: str) -> Library:
    """The product of that name, loaded once a process.

    Raises:
        BackendUnavailableError: it is not installed, does not load, or is too old.
    """
    flavour = find_flavour(name)
    if find_spec(flavour.module) is None:
        raise BackendUnavailableError(f"{flavour.module} is not installed; {flavour.install}")
    return Library(flavour, import_runtime(flavour.module, flavour.extra))
