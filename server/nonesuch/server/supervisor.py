"""Restarts a server after a crash or a lost device.

Exit codes 0 and 2 (wrong usage, which a restart cannot fix) are final. The pause between restarts doubles up to a
maximum, and is reset after a run of `healthy_s`.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from types import FrameType

import structlog

_FINAL_EXIT_CODES = (0, 2)
_FIRST_PAUSE_S, _MAX_PAUSE_S = 1.0, 60.0
_HEALTHY_S = 60.0
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_log = structlog.get_logger("nonesuch.supervisor")


class Supervisor:
    """Runs one command repeatedly, and forwards signals to it."""

    def __init__(
        self, command: Sequence[str], *, first_pause_s: float = _FIRST_PAUSE_S, healthy_s: float = _HEALTHY_S
    ) -> None:
        self._command = list(command)
        self._first_pause_s = first_pause_s
        self._healthy_s = healthy_s
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = False

    def run(self) -> int:
        """Run the command until it ends with a final exit code or after a signal; returns its exit code."""
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
            # In a separate session: Ctrl-C and service managers signal the whole process group, so the server would get
            # the signal twice and end its drain.
            self._child = subprocess.Popen(self._command, start_new_session=True)
            if self._ending:  # the signal arrived between two runs
                self._child.terminate()
            code = self._child.wait()
            if self._ending or code in _FINAL_EXIT_CODES:
                # A negative code is a signal that was not caught; shells report it as 128 plus its number.
                return code if code >= 0 else 128 - code
            if time.monotonic() - began >= self._healthy_s:
                pause_s = self._first_pause_s
            _log.error("the server ended", code=code, restart_in_s=pause_s)
            if self._pause(pause_s):
                return 0
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    def _pause(self, seconds: float) -> bool:
        """Wait; returns whether a signal ended the wait."""
        until = time.monotonic() + seconds
        while not self._ending and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        return self._ending

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self._ending = self._ending or number != signal.SIGHUP
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)
