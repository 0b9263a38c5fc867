"""One loaded TensorRT product: its module, version, logger and capabilities."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

from ..errors import BackendUnavailableError
from ..runtime_import import import_runtime
from .flavour import Flavour, find_flavour
from .library_log import LibraryLog, make_logger


class Library:
    """A TensorRT product; usable without a driver.

    Attributes:
        flavour: the product.
        trt: the module.
        version: the full version of the module.
        log: the messages of the library.
        logger: for the library's constructors.
    """

    def __init__(self, flavour: Flavour, trt: Any) -> None:
        self.flavour = flavour
        self.trt = trt
        self.version = str(trt.__version__)
        self.log = LibraryLog()
        # TensorRT 10.3, in JetPack 6, is the oldest version whose contexts accept external memory by size.
        if not hasattr(getattr(trt, "IExecutionContext", None), "update_device_memory_size_for_shapes"):
            raise BackendUnavailableError(
                f"{flavour.module} {self.version} is too old; plans need 10.3 or later: {flavour.install}"
            )
        self.logger = make_logger(trt, self.log)

    @property
    def targets(self) -> tuple[int, ...]:
        """The compute capabilities that it builds for ahead of time, such as 86 for 8.6; empty if it cannot."""
        capabilities = getattr(self.trt, "ComputeCapability", None)
        if capabilities is None:
            return ()
        names = [name.removeprefix("SM") for name in capabilities.__members__ if name.startswith("SM")]
        return tuple(sorted(int(name) for name in names if name.isdigit()))

    def __repr__(self) -> str:
        return f"<{self.flavour.module} {self.version}>"


@cache
def load_library(name: str) -> Library:
    """Load the product of a backend, once per process.

    Raises:
        BackendUnavailableError: the product is not installed, does not load, or is too old.
    """
    flavour = find_flavour(name)
    if find_spec(flavour.module) is None:
        raise BackendUnavailableError(f"{flavour.module} is not installed; {flavour.install}")
    return Library(flavour, import_runtime(flavour.module, flavour.extra))
