"""Starts a server again when it ends badly: after a crash, or when it gave up a device that hangs.

A server that ends with 0, or with 2 (wrong usage, which another start would not mend), is not started again. Between
two starts it waits, longer each time, until one has run for a while.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from types import FrameType

import structlog

__all__ = ["Supervisor"]

_NOT_AGAIN = (0, 2)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_HEALTHY_S = 60.0
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_log = structlog.get_logger("nonesuch.supervisor")


class Supervisor:
    """Runs one command, again and again; signals go on to it."""

    def __init__(
        self, command: Sequence[str], *, first_pause_s: float = _FIRST_PAUSE_S, healthy_s: float = _HEALTHY_S
    ) -> None:
        self._command = list(command)
        self._first_pause_s = first_pause_s
        self._healthy_s = healthy_s
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = False

    def run(self) -> int:
        """Run the command until it ends well, or a signal has ended it; its exit code."""
        before = {number: signal.signal(number, self._forward) for number in _FORWARDED}
        try:
            return self._run()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _run(self) -> int:
        pause_s = self._first_pause_s
        while True:
            began = time.monotonic()
            # A session of its own: Ctrl-C and a service manager's stop reach a whole group, and would then come twice,
            # which the server takes for "at once".
            self._child = subprocess.Popen(self._command, start_new_session=True)
            if self._ending:  # the signal came while there was no child
                self._child.terminate()
            code = self._child.wait()
            if self._ending or code in _NOT_AGAIN:
                # Ended by a signal that it did not catch, it has a negative code; shells say 128 and more.
                return code if code >= 0 else 128 - code
            if time.monotonic() - began >= self._healthy_s:
                pause_s = self._first_pause_s
            _log.error("the server ended", code=code, restart_in_s=pause_s)
            if self._pause(pause_s):
                return 0
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _pause(self, seconds: float) -> bool:
        """Wait; whether a signal ended the wait."""
        until = time.monotonic() + seconds
        while not self._ending and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        return self._ending

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self._ending = self._ending or number != signal.SIGHUP
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)
