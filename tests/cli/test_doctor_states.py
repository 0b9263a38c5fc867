"""The table of states in docs/tensorrt.md says what `nonesuch doctor` says, also for the states that are rare.

The drivers and GPUs here are FAKES of the driver's C interface.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from nonesuch.engine import cuda_driver
from nonesuch.engine.cuda_driver import Driver, Gpu
from nonesuch.engine.errors import BackendUnavailableError
from nonesuch.engine.tensorrt import backend as backends
from nonesuch.engine.tensorrt.library import Library, find_flavour

from ..conftest import REPOSITORY

pytest.importorskip("tensorrt_rtx")


class FakeDriver:
    """The driver's C functions: `cuInit` gives a code."""

    def __init__(self, code: int) -> None:
        self.code = code

    def cuInit(self, flags: int) -> int:  # noqa: N802  # as CUDA calls it
        return self.code


def table() -> dict[str, str]:
    """State -> what doctor says, of docs/tensorrt.md."""
    text = (REPOSITORY / "docs" / "tensorrt.md").read_text().partition("## What doctor says")[2].partition("\n## ")[0]
    _, *rows = re.findall(r"^\| ([^|`]+) \| `([^|]+)` \|", text, re.M)  # the first is the head
    return dict(rows)


def with_driver(driver: Driver) -> Callable[[pytest.MonkeyPatch], str]:
    def probe(monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setattr(backends, "find_driver", lambda: driver)
        found = backends.TensorRtRtxBackend().probe()
        return f"{'ready' if found.usable else 'missing'} ({found.detail})"

    return probe


def with_code(code: int) -> Callable[[pytest.MonkeyPatch], str]:
    library: Any = FakeDriver(code)
    return with_driver(cuda_driver._ask(library))


def without_library(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)  # what `import` takes for "not installed"
    return backends.TensorRtRtxBackend().probe().detail


def without_cuda_core(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    return with_driver(Driver((ADA,), cuda="13.0"))(monkeypatch)


def without_driver(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(cuda_driver, "_LIBRARY", "libcuda.so.1")
    monkeypatch.setattr("ctypes.CDLL", no_library)
    return cuda_driver.find_driver.__wrapped__().problem


def no_library(name: str) -> None:
    raise OSError(name)


def old_library(monkeypatch: pytest.MonkeyPatch) -> str:
    class Module:
        __version__ = "8.6.1"

    with pytest.raises(BackendUnavailableError) as caught:
        Library(find_flavour("tensorrt"), Module)
    return caught.value.message


ADA = Gpu(0, "NVIDIA GeForce RTX 4090", 89, 128)
STATES: dict[str, Callable[[pytest.MonkeyPatch], str]] = {
    "no library": without_library,
    "no driver": without_driver,
    "a stub for a driver": with_code(34),
    "driver without a GPU": with_code(100),
    "driver half updated": with_code(803),
    "old driver, new CUDA": with_code(804),
    "driver broken": with_code(999),
    "no cuda-core": without_cuda_core,
    "TensorRT before 10.3": old_library,
    "GPU without kernels": with_driver(Driver((Gpu(0, "NVIDIA H100", 90, 132),), cuda="13.0")),
    "ready": with_driver(Driver((ADA,), cuda="13.0")),
}


def test_the_table_has_every_state() -> None:
    assert set(table()) == {*STATES, "both builds of ONNX Runtime"}


@pytest.mark.parametrize("state", STATES)
def test_doctor_says_what_the_table_says(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = STATES[state](monkeypatch)
    assert table()[state] in said
    assert "\n" not in said
