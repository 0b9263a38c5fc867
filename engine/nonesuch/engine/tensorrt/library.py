"""TensorRT and TensorRT-RTX as products: what each is called, one loaded library with its version, and its log.

Their Python interfaces share nearly all names; the code checks the module for the rest, never the version. The library
returns None or False for most failures and logs the reason only, so errors are kept until the caller drains them into
its own message. A process has one logger, because the library ignores any further one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from ..errors import BackendUnavailableError
from ..runtime_import import import_runtime


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


_MAX_ERRORS = 64
_ERROR = 1  # ILogger.Severity: INTERNAL_ERROR 0, ERROR 1, WARNING 2, INFO 3, VERBOSE 4
_MAX_CHARACTERS = 600


class LibraryLog:
    """Keeps the last errors, and all messages for listeners. The library calls it from its own threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._errors: deque[str] = deque(maxlen=_MAX_ERRORS)
        self._listeners: list[list[str]] = []

    def add(self, severity: int, message: str) -> None:
        """Add one message."""
        with self._lock:
            if severity <= _ERROR:
                self._errors.append(message)
            for listener in self._listeners:
                listener.append(message)

    def drain(self) -> str:
        """The errors since the last call as one line, or a text that says that there were none."""
        with self._lock:
            errors = list(dict.fromkeys(" ".join(message.split()) for message in self._errors))
            self._errors.clear()
        text = "; ".join(errors) or "it gave no reason"
        return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"

    @contextmanager
    def listen(self) -> Iterator[list[str]]:
        """Collect all messages of the library in a list while the context is open."""
        lines: list[str] = []
        with self._lock:
            self._listeners.append(lines)
        try:
            yield lines
        finally:
            with self._lock:
                self._listeners = [listener for listener in self._listeners if listener is not lines]


def make_logger(trt: Any, log: LibraryLog) -> Any:
    """An `ILogger` of the library's module that writes into the log."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # the module is Any
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log.add(int(severity), message)

    return Logger()
