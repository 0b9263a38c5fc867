"""TensorRT's log: one logger per process, because the library ignores any further logger.

The library returns None or False for most failures and logs the reason only here, so errors are kept until the caller
drains them into its own message.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
