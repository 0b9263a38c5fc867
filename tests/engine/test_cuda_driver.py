from __future__ import annotations

import ctypes
from typing import Any

import pytest

from nonesuch.engine import cuda_driver
from nonesuch.engine.cuda_driver import Driver, Gpu, device_ordinal, find_driver, require_gpu
from nonesuch.engine.errors import BackendUnavailableError, InvalidRequestError

TWO = (Gpu(0, "NVIDIA RTX A4000", 86, 48), Gpu(1, "NVIDIA GeForce RTX 5090", 120, 170))


class FakeDriver:
    """A FAKE driver: the functions of libcuda that the probe calls, with results set by the test."""

    def __init__(self, gpus: tuple[Gpu, ...] = (), *, init: int = 0, count: int = 0, cuda: int = 13000) -> None:
        self.gpus, self.init, self.count, self.cuda = gpus, init, count, cuda
        self.calls: list[str] = []

    def cuInit(self, flags: int) -> int:  # noqa: N802  # the driver's name
        self.calls.append("cuInit")
        assert flags == 0  # "Currently, the Flags parameter must be 0"
        return self.init

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self.cuda
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.gpus)
        return self.count

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = 70 + ordinal  # a CUdevice need not be the ordinal
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: ctypes.c_int) -> int:  # noqa: N802
        text = self.gpus[device.value - 70].name.encode()
        assert length > len(text)
        name.value = text
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: ctypes.c_int) -> int:  # noqa: N802
        gpu = self.gpus[device.value - 70]
        value._obj.value = {75: gpu.sm // 10, 76: gpu.sm % 10, 16: gpu.multiprocessors}[attribute]
        return 0


def ask(driver: FakeDriver) -> Driver:
    return cuda_driver._ask(driver)  # type: ignore[arg-type]  # it stands in for a ctypes library


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (34, "a stub for building"),
        (100, "sees no NVIDIA GPU; check nvidia-smi, and that a container is given one (--gpus all)"),
        (803, "different versions; restart the machine"),
        (804, "update the driver"),
        (999, "check nvidia-smi and the kernel log"),
        (12345, "see CUresult in the CUDA Driver API"),
    ],
)
def test_a_driver_that_does_not_start_is_reported_by_code_with_advice(code: int, advice: str) -> None:
    fake = FakeDriver(TWO, init=code)
    driver = ask(fake)
    assert not driver.usable
    assert driver.problem.startswith(f"the NVIDIA driver does not start: CUDA error {code}, ")
    assert advice in driver.problem
    assert driver.brief == "no GPU"
    assert fake.calls == ["cuInit"]  # no other function may be called


@pytest.mark.parametrize("fake", [FakeDriver(), FakeDriver(TWO, count=3)], ids=["none", "not initialized"])
def test_a_driver_without_a_gpu_reports_its_version(fake: FakeDriver) -> None:
    assert ask(fake) == Driver(problem="the NVIDIA driver (CUDA 13.0) sees no GPU", brief="no GPU", cuda="13.0")


def test_two_gpus_are_described_in_order() -> None:
    driver = ask(FakeDriver(TWO, cuda=12080))
    assert driver == Driver(gpus=TWO, cuda="12.8")
    assert driver.usable
    assert driver.problem == ""


def test_another_library_with_the_name_of_the_driver_does_not_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    python = ctypes.pythonapi._name  # any library without cuInit
    monkeypatch.setattr(cuda_driver, "_LIBRARY", python)
    find_driver.cache_clear()
    try:
        driver = find_driver()
    finally:
        monkeypatch.undo()
        find_driver.cache_clear()
    assert not driver.usable
    assert "is not an NVIDIA driver" in driver.problem
    assert driver.brief == "no driver"


def test_without_a_driver_the_missing_library_is_named() -> None:
    driver = find_driver()
    if driver.cuda or "missing" not in driver.problem:
        pytest.skip("there is an NVIDIA driver here")
    assert driver.problem == f"there is no NVIDIA driver ({cuda_driver._LIBRARY} is missing)"
    assert (driver.usable, driver.gpus, driver.brief) == (False, (), "no driver")
    assert find_driver() is driver
    with pytest.raises(BackendUnavailableError, match="there is no NVIDIA driver"):
        require_gpu(0)


@pytest.mark.parametrize(
    ("device", "ordinal"), [("auto", 0), ("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:15", 15), ("cuda:007", 7)]
)
def test_devices_have_the_numbers_of_the_driver(device: str, ordinal: int) -> None:
    assert device_ordinal(device) == ordinal


@pytest.mark.parametrize(
    "device",
    ["", "cpu", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cuda:1:2", "cuda:1000", "cuda:²", "auto:0", "tensorrt:0", ":0"],
)
def test_an_invalid_device_is_rejected_with_the_valid_forms(device: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        device_ordinal(device)
    assert caught.value.message == f"device: {device!r} is not a GPU; use auto, cuda or cuda:N"


def test_other_kinds_of_device_have_ordinals_too() -> None:
    kinds = ("cuda", "tensorrt")
    assert [device_ordinal(device, kinds) for device in ("auto", "cuda:2", "tensorrt", "tensorrt:3")] == [0, 2, 0, 3]
    with pytest.raises(InvalidRequestError, match="use auto, cuda or cuda:N, tensorrt or tensorrt:N"):
        device_ordinal("cpu", kinds)


def test_a_required_gpu_is_returned_or_the_available_gpus_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = ask(FakeDriver(TWO))
    monkeypatch.setattr(cuda_driver, "find_driver", lambda: driver)
    assert [require_gpu(0), require_gpu(1)] == list(TWO)
    with pytest.raises(BackendUnavailableError) as caught:
        require_gpu(2)
    available = "cuda:0 (NVIDIA RTX A4000), cuda:1 (NVIDIA GeForce RTX 5090)"
    assert caught.value.message == f"GPU cuda:2 not found; available: {available}"


def test_a_required_gpu_without_a_usable_driver_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = ask(FakeDriver(init=100))
    monkeypatch.setattr(cuda_driver, "find_driver", lambda: driver)
    with pytest.raises(BackendUnavailableError) as caught:
        require_gpu(0)
    assert caught.value.message == driver.problem
