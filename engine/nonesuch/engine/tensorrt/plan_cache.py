"""A bounded cache of this machine's plans, each built once for its `BuildSpec`.

    $NONESUCH_HOME/cache/<model id>/<machine id>/plans/<key>.plan  .json  .lock

A key is the hash of a `BuildSpec`. Builds of one key wait for each other, also across processes; the lock of a killed
process is released at once. At the size limit, the least recently used plans are deleted.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import PlanError
from ..home import Home
from ..machine import machine_id
from .build_spec import BuildSpec
from .plan_folder import PlanFolder, StoredPlan
from .plan_record import PlanRecord

LIMIT_VARIABLE = "NONESUCH_PLAN_CACHE_MIB"
_DEFAULT_LIMIT_MIB = 8192
_LOCK_TIMEOUT_S = 3600.0
_LOCK_STEP_S = 0.5  # between checks for cancellation
_LEFTOVER_S = 86_400.0  # an unfinished file this old is from a killed process
_FOLDER = "plans"
_MAX_TIMINGS_BYTES = 256 << 20
_TIMINGS = "kernel-timings"


class PlanCache:
    """The plans of all models on this machine."""

    def __init__(
        self,
        home: Home | None = None,
        *,
        limit_bytes: int | None = None,
        lock_timeout_s: float = _LOCK_TIMEOUT_S,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """A cache; `cancelled` ends the wait for a plan that another process is building."""
        self._home = home or Home.default()
        self._limit_bytes = limit_bytes if limit_bytes is not None else _limit_mib() << 20
        self._lock_timeout_s = lock_timeout_s
        self._cancelled = cancelled

    def folder(self, model_id: str) -> PlanFolder:
        """The plans of one model."""
        return PlanFolder(self._home.machine_cache(model_id, machine_id()) / _FOLDER)

    def find(self, spec: BuildSpec) -> StoredPlan | None:
        """The plan of exactly this spec; None without it or with its record only.

        Raises:
            PlanError: its record is damaged, or is of another spec.
        """
        plan = self.folder(spec.model_id).get(spec.key)
        if plan is None or not plan.path.exists():
            return None
        if plan.record.spec != spec:
            raise PlanError(f"{plan.path} has the record of another plan; delete it and build again")
        return plan

    def get(
        self, spec: BuildSpec, build: Callable[[], tuple[bytes, PlanRecord]], *, replace: bool = False
    ) -> StoredPlan:
        """The plan of this spec, built if it is missing.

        Args:
            spec: the plan to find or build.
            build: builds it; called by one process at a time for each spec.
            replace: always build it.

        Raises:
            PlanError: it cannot be read or written, or another process has been building it for too long.
        """
        if not replace and (found := self.find(spec)) is not None:
            return found
        folder = self.folder(spec.model_id)
        lock = self._acquire(folder.folder, spec)
        try:
            if not replace and (found := self.find(spec)) is not None:
                return found  # another process built it while this one waited
            folder.sweep(spec.key)  # the lock excludes other writers
            data, record = build()
            plan = folder.put(spec.key, data, record)
        finally:
            lock.release()
        self._evict(plan.path)
        return plan

    def read_timings(self, spec: BuildSpec) -> bytes | None:
        """Kernel timings of earlier builds for this GPU and library version, else None."""
        path = self._timings(spec)
        with contextlib.suppress(OSError, PlanError):
            PlanFolder(path.parent).check_private()
            if path.stat().st_size <= _MAX_TIMINGS_BYTES:
                return path.read_bytes()
        return None

    def write_timings(self, spec: BuildSpec, data: bytes) -> None:
        """Store kernel timings for the next build. They only save time, so errors are ignored."""
        path = self._timings(spec)
        with contextlib.suppress(OSError, PlanError):
            folder = PlanFolder(path.parent)
            folder.make()
            folder.write(path, data)

    def _acquire(self, folder: Path, spec: BuildSpec) -> FileLock:
        """Take the lock of a plan."""
        end = time.monotonic() + self._lock_timeout_s
        try:
            PlanFolder(folder).make()
            lock = FileLock(folder / f"{spec.key}.lock")
            while not _acquired(lock, max(0.0, min(_LOCK_STEP_S, end - time.monotonic()))):
                if self._cancelled():
                    raise PlanError(f"the wait for another process that builds {spec.graph} was cancelled")
                if time.monotonic() >= end:
                    raise PlanError(
                        f"another process is still building {spec.graph} after {self._lock_timeout_s:.0f} s; "
                        "wait for it, or end it"
                    )
        except (OSError, NotImplementedError) as error:  # the latter if the file system has no locks
            reason = getattr(error, "strerror", None) or error
            raise PlanError(f"{folder} cannot be written ({reason}); set NONESUCH_HOME") from error
        return lock

    def _timings(self, spec: BuildSpec) -> Path:
        gpu = "".join(c if c.isalnum() else "-" for c in f"{spec.gpu}-{spec.gpu_sm}-{spec.gpu_multiprocessors}")
        name = f"{spec.backend}-{spec.library_version}-{gpu}.timings"
        return self._home.machine_cache(_TIMINGS, machine_id()) / name

    def _evict(self, kept: Path) -> None:
        """Delete the least recently used plans until the rest fits, but never `kept`, the newest."""
        found = self._all()
        total = sum(one.size for one in found)
        for one in sorted(found, key=lambda one: one.used):
            if total <= self._limit_bytes:
                return
            if one.path != kept:
                with contextlib.suppress(OSError):  # a failed deletion must not lose the new plan
                    PlanFolder(one.path.parent).remove(one.path.stem)
                    total -= one.size

    def _all(self) -> list[_Used]:
        found = []
        for folder in self._home.machine_caches.glob(f"*/{machine_id()}/{_FOLDER}"):
            PlanFolder(folder).sweep(older_than_s=_LEFTOVER_S)
            for path in folder.glob("*.plan"):
                with contextlib.suppress(OSError):  # another process may delete it
                    status = path.stat()
                    found.append(_Used(path, status.st_size, status.st_mtime_ns))
        return found


@dataclass(frozen=True)
class _Used:
    path: Path
    size: int
    used: int


def _acquired(lock: FileLock, timeout_s: float) -> bool:
    with contextlib.suppress(Timeout):
        lock.acquire(timeout=timeout_s)
        return True
    return False


def _limit_mib() -> int:
    text = os.environ.get(LIMIT_VARIABLE, "")
    if not text:
        return _DEFAULT_LIMIT_MIB
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) > 0):
        raise PlanError(f"{LIMIT_VARIABLE} is {text[:32]!r}; set it to a number of MiB, or unset it")
    return int(text)
