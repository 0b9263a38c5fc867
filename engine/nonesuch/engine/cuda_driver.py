"""Probes the NVIDIA driver through its C interface, before any library that could crash without it.

TensorRT's runtime objects are not safe without a driver (the lean runtime of TensorRT 11.4 crashes the process with a
segmentation fault), so they are used only after this probe succeeds. Functions and codes: CUDA Driver API, sections
"Initialization", "Version Management" and "Device Management".
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import cache

from .errors import BackendUnavailableError, InvalidRequestError

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_MAJOR, _MINOR, _MULTIPROCESSORS = 75, 76, 16  # CUdevice_attribute
_NAME_BYTES = 128
# Common CUresult values and what to do about them; others are reported by number.
_REASONS = {
    34: "the driver library is a stub for building, not a driver; take it out of the library path",
    100: "the driver sees no NVIDIA GPU; check nvidia-smi, and that a container is given one (--gpus all)",
    803: "the driver and its kernel module have different versions; restart the machine",
    804: "the driver's compatibility package does not fit this GPU; update the driver",
    999: "the driver cannot start; check nvidia-smi and the kernel log",
}


@dataclass(frozen=True)
class Gpu:
    """One device: `sm` is the compute capability without its dot, 86 for 8.6."""

    ordinal: int
    name: str
    sm: int
    multiprocessors: int


@dataclass(frozen=True)
class Driver:
    """The state of the driver.

    Attributes:
        gpus: by ordinal; if empty, `problem` says why.
        problem: what is missing, in one line; empty if a GPU is usable.
        brief: the problem in two or three words.
        cuda: the newest CUDA version that the driver supports, such as "13.0"; empty without a driver.
    """

    gpus: tuple[Gpu, ...] = ()
    problem: str = ""
    brief: str = ""
    cuda: str = ""

    @property
    def usable(self) -> bool:
        """Whether a GPU was found."""
        return bool(self.gpus)


@cache
def find_driver() -> Driver:
    """Probe the driver, once per process. Never raises."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return Driver(problem=f"there is no NVIDIA driver ({_LIBRARY} is missing)", brief="no driver")
    try:
        return _ask(library)
    except AttributeError as error:
        return Driver(problem=f"{_LIBRARY} is not an NVIDIA driver ({error})", brief="no driver")


def _ask(library: ctypes.CDLL) -> Driver:
    code = library.cuInit(0)
    if code:
        reason = _REASONS.get(code, "see CUresult in the CUDA Driver API")
        return Driver(problem=f"the NVIDIA driver does not start: CUDA error {code}, {reason}", brief="no GPU")
    number, count = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(number))
    cuda = f"{number.value // 1000}.{number.value % 1000 // 10}"
    code = library.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        return Driver(problem=f"the NVIDIA driver (CUDA {cuda}) sees no GPU", brief="no GPU", cuda=cuda)
    return Driver(gpus=tuple(_gpu(library, ordinal) for ordinal in range(count.value)), cuda=cuda)


def _gpu(library: ctypes.CDLL, ordinal: int) -> Gpu:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    library.cuDeviceGet(ctypes.byref(device), ordinal)
    library.cuDeviceGetName(name, _NAME_BYTES, device)
    values = []
    for attribute in (_MAJOR, _MINOR, _MULTIPROCESSORS):
        value = ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        values.append(value.value)
    major, minor, multiprocessors = values
    return Gpu(ordinal, name.value.decode(errors="replace"), 10 * major + minor, multiprocessors)


def device_ordinal(device: str, kinds: tuple[str, ...] = ("cuda",)) -> int:
    """The ordinal in "auto", "cuda" or "cuda:1"; `kinds` are the valid words before the colon.

    Raises:
        InvalidRequestError: the device has another form.
    """
    kind, colon, ordinal = device.partition(":")
    if device == "auto" or (kind in kinds and not colon):
        return 0
    if kind in kinds and ordinal.isascii() and ordinal.isdigit() and len(ordinal) <= 3:
        return int(ordinal)
    forms = ", ".join(f"{kind} or {kind}:N" for kind in kinds)
    raise InvalidRequestError.of("device", f"{device!r} is not a GPU; use auto, {forms}")


def require_gpu(ordinal: int) -> Gpu:
    """The GPU of that ordinal.

    Raises:
        BackendUnavailableError: the driver or the GPU is missing.
    """
    driver = find_driver()
    if not driver.usable:
        raise BackendUnavailableError(driver.problem)
    if ordinal >= len(driver.gpus):
        available = ", ".join(f"cuda:{gpu.ordinal} ({gpu.name})" for gpu in driver.gpus)
        raise BackendUnavailableError(f"GPU cuda:{ordinal} not found; available: {available}")
    return driver.gpus[ordinal]
