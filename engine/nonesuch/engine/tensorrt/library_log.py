"""What TensorRT says: the one logger of a process, because the library ignores every further one.

The library reports most failures as a None or a False and the reason only here, so errors are kept until somebody who
met such a failure drains them into a message of its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_MOST_ERRORS = 64
_ERROR = 1  # ILogger.Severity: INTERNAL_ERROR 0, ERROR 1, WARNING 2, INFO 3, VERBOSE 4
_MOST_CHARACTERS = 600


class LibraryLog:
    """Keeps the last errors, and everything while somebody listens. The library calls from threads of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._errors: deque[str] = deque(maxlen=_MOST_ERRORS)
        self._listeners: list[list[str]] = []

    def add(self, severity: int, message: str) -> None:
        """Take one message."""
        with self._lock:
            if severity <= _ERROR:
                self._errors.append(message)
            for listener in self._listeners:
                listener.append(message)

    def drain(self) -> str:
        """The errors since the last call as one line; a sentence that says so where there were none."""
        with self._lock:
            errors = list(dict.fromkeys(" ".join(message.split()) for message in self._errors))
            self._errors.clear()
        text = "; ".join(errors) or "it gave no reason"
        return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"

    @contextmanager
    def listen(self) -> Iterator[list[str]]:
        """A list that everything the library says meanwhile is added to."""
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

    class Logger(trt.ILogger):  # type: ignore[misc]  # the module is Any: either product, or neither at this time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log.add(int(severity), message)

    return Logger()
