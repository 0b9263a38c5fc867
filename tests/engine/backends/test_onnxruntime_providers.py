"""The GPU providers of ONNX Runtime: their options, their errors without a GPU, their images with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from nonesuch.benchmarks.peers.venv import python_with
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeGpuSession, session_settings
from nonesuch.engine.backends.onnxruntime_gpu import gpu_session, private_folder
from nonesuch.engine.backends.onnxruntime_providers import GpuProvider, choose_provider, provider_options
from nonesuch.engine.cuda_driver import Gpu, find_driver
from nonesuch.engine.errors import BackendUnavailableError, InvalidRequestError
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.engine.machine import machine_id
from nonesuch.engine.manifest import GraphInput
from nonesuch.engine.psnr import psnr_db
from nonesuch.engine.session import SessionOptions
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ...conftest import REPOSITORY, TINY_SOURCE

GPU_BUILD = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
NO_CUDA = find_driver().problem or ("" if GPU_BUILD else "the CPU build of onnxruntime is installed")
needs_cuda = pytest.mark.skipif(bool(NO_CUDA), reason=NO_CUDA or "CUDA is usable")
cpu_build = pytest.mark.skipif(GPU_BUILD, reason="the GPU build of onnxruntime is installed")
without_gpu = pytest.mark.skipif(not NO_CUDA, reason="there is a GPU, and ONNX Runtime can use it")

# CUDA's convolutions use TF32 if the GPU has it, with 10 bits of mantissa: an error of about a thousandth per layer,
# which changes grey levels by one or two. 40 dB is a mean error of 2.5 levels of 255.
MIN_PSNR_DB = 40.0

GPU_PINS = ("onnxruntime-gpu==1.31.1", "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0")
ENGINE_NEEDS = ("numpy", "pillow", "isal", "msgspec", "platformdirs", "filelock")


def open_on(artifact: Artifact, device: str, **options: Any) -> Generator:
    options = {"device": device, **options}
    return Generator.open(artifact.folder, backend="onnxruntime", options=SessionOptions(**options))


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A StyleGAN2 whose graphs take noise, in float32 and float16."""
    variants = [VariantOptions(noise="random"), VariantOptions(precision="fp16", noise="random")]
    checkpoint = read_checkpoint(REPOSITORY / "tests" / "fixtures" / "sg2ada_64.pkl")
    folder = tmp_path_factory.mktemp("noisy") / "noisy"
    return export_checkpoint(checkpoint, folder, name="noisy", source=TINY_SOURCE, variants=variants)


@cpu_build
@pytest.mark.parametrize(
    ("device", "provider"),
    [
        ("cuda", "CUDAExecutionProvider"),
        ("cuda:1", "CUDAExecutionProvider"),
        ("tensorrt", "TensorrtExecutionProvider"),
        ("tensorrt:2", "TensorrtExecutionProvider"),
    ],
)
def test_the_cpu_build_is_reported_with_its_replacement(artifact: Artifact, device: str, provider: str) -> None:
    with pytest.raises(BackendUnavailableError) as caught:
        open_on(artifact, device)
    name = device if ":" in device else f"{device}:0"
    assert caught.value.message.startswith(f"device {name} needs {provider}, and the CPU build of onnxruntime ")
    assert caught.value.message.endswith("pip uninstall onnxruntime onnxruntime-gpu, then pip install 'nonesuch[gpu]'")
    assert "\n" not in caught.value.message


def test_a_missing_plugin_is_named_with_its_extra(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])  # hide all installed packages
    with pytest.raises(BackendUnavailableError) as caught:
        OnnxRuntimeBackend().session(artifact, SessionOptions(device="tensorrt-rtx"))
    assert caught.value.message == (
        "device tensorrt-rtx:0 needs NvTensorRTRTXExecutionProvider, a plug-in that is not installed; "
        "install it with: pip install 'nonesuch[onnxruntime-tensorrt-rtx]'"
    )


@pytest.mark.parametrize("device", ["gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "auto:0", "openvino", ""])
def test_an_unknown_device_lists_the_devices(artifact: Artifact, device: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        open_on(artifact, device)
    assert caught.value.message == (
        f"device: {device!r} is not a device of onnxruntime; use auto, cpu, cuda, cuda:N, tensorrt, tensorrt:N, "
        "tensorrt-rtx, tensorrt-rtx:N"
    )


@pytest.mark.parametrize(("device", "extra"), [("auto", "cpu"), ("cpu", "cpu"), ("cuda", "gpu"), ("tensorrt:0", "gpu")])
def test_a_missing_runtime_is_named_with_the_extra_of_the_device(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, device: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # makes `import` fail
    with pytest.raises(BackendUnavailableError, match=rf"pip install 'nonesuch\[{extra}\]'$"):
        OnnxRuntimeBackend().session(artifact, SessionOptions(device=device))


@cpu_build
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_lanes_are_rejected_on_a_gpu(artifact: Artifact, device: str) -> None:
    with pytest.raises(
        BackendUnavailableError, match=r"lanes are for CPUs, and device .* is .*ExecutionProvider; omit"
    ):
        open_on(artifact, device, lanes=2)
    with pytest.raises(BackendUnavailableError, match=r"device .* needs .*ExecutionProvider"):
        open_on(artifact, device, lanes=1)  # the default


@without_gpu
def test_auto_is_the_cpu_without_a_gpu(artifact: Artifact) -> None:
    version = onnxruntime.__version__
    assert choose_provider(onnxruntime, "auto") is None
    assert OnnxRuntimeBackend().probe().detail == f"onnxruntime {version} on the CPU"
    pictures = []
    for device in ("auto", "cpu"):
        with open_on(artifact, device, lanes=2) as generator:
            assert generator.session.identity == f"onnxruntime {version} CPUExecutionProvider"
            pictures.append(generator.generate([0, 1]))
    np.testing.assert_array_equal(pictures[0], pictures[1])


def test_the_ordinal_is_the_number_after_the_colon() -> None:
    for device, kind, ordinal in (
        ("cuda", "cuda", 0),
        ("tensorrt:3", "tensorrt", 3),
        ("tensorrt-rtx:1", "tensorrt-rtx", 1),
    ):
        assert choose_provider(onnxruntime, device) == GpuProvider(kind, ordinal)
    assert choose_provider(onnxruntime, "cpu") is None


def test_cuda_gets_its_gpu_and_a_short_search(artifact: Artifact) -> None:
    variant = artifact.variant("onnxruntime")
    found = provider_options(GpuProvider("cuda", 2), artifact, variant, SessionOptions())
    assert found == {"CUDAExecutionProvider": {"device_id": "2", "cudnn_conv_algo_search": "HEURISTIC"}}


def profile(inputs: tuple[GraphInput, ...], styles: str, batch_size: int) -> str:
    noise = [f"{one.name}:{batch_size}x1x{one.shape[1]}x{one.shape[2]}" for one in inputs]
    return ",".join([f"ws:{batch_size}x{styles}", *noise])


def test_tensorrt_gets_the_shapes_of_every_input(noisy: Artifact, tmp_path: Path) -> None:
    styles = f"{noisy.manifest.num_ws}x{noisy.manifest.w_dim}"
    machine = Home(tmp_path).machine_cache(noisy.manifest.model_id, machine_id())
    for precision in ("fp32", "fp16"):
        variant = noisy.variant("onnxruntime", precision=precision)
        assert len(variant.inputs) == 9  # of a network of 64x64
        provider, options = GpuProvider("tensorrt", 1), SessionOptions(max_batch_size=4)
        found = provider_options(provider, noisy, variant, options, Home(tmp_path))
        # CUDA for nodes that TensorRT does not support; never the CPU.
        assert list(found) == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
        folder = str(machine / "onnxruntime-tensorrt" / variant.sha256[:16])
        assert found["CUDAExecutionProvider"]["device_id"] == "1"
        assert found["TensorrtExecutionProvider"] == {
            "device_id": "1",
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": folder,
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": folder,
            "trt_profile_min_shapes": profile(variant.inputs, styles, 1),
            "trt_profile_opt_shapes": profile(variant.inputs, styles, 4),
            "trt_profile_max_shapes": profile(variant.inputs, styles, 4),
            **({"trt_fp16_enable": "True"} if precision == "fp16" else {}),
        }
    assert not list(tmp_path.iterdir())


def test_the_plugin_gets_the_same_shapes_under_its_own_names(noisy: Artifact, tmp_path: Path) -> None:
    variant = noisy.variant("onnxruntime", precision="fp16")
    styles = f"{noisy.manifest.num_ws}x{noisy.manifest.w_dim}"
    machine = Home(tmp_path).machine_cache(noisy.manifest.model_id, machine_id())
    for deterministic, smallest in ((False, 1), (True, 3)):
        options = SessionOptions(max_batch_size=3, deterministic=deterministic)
        found = provider_options(GpuProvider("tensorrt-rtx", 0), noisy, variant, options, Home(tmp_path))
        assert found == {
            "NvTensorRTRTXExecutionProvider": {
                "nv_runtime_cache_path": str(machine / "onnxruntime-tensorrt-rtx" / variant.sha256[:16]),
                "nv_profile_min_shapes": profile(variant.inputs, styles, smallest),
                "nv_profile_opt_shapes": profile(variant.inputs, styles, 3),
                "nv_profile_max_shapes": profile(variant.inputs, styles, 3),
            }
        }


@cpu_build
@pytest.mark.parametrize("kind", ["cuda", "tensorrt"])
@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")  # ONNX Runtime, of a provider it lacks
def test_a_gpu_session_never_opens_on_the_cpu(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # Skips all checks: a missing GPU, and a build that only has the CPU.
    monkeypatch.setenv("NONESUCH_HOME", str(tmp_path))
    provider, gpu = GpuProvider(kind, 0), Gpu(0, "no GPU", 86, 1)
    session = OnnxRuntimeGpuSession(artifact, artifact.variant("onnxruntime"), SessionOptions(), provider, gpu)
    assert session.identity == f"onnxruntime {onnxruntime.__version__} {provider.name} on no GPU"
    assert session.preferred_batch_size == 8
    assert session.batch_sizes == tuple(range(1, 9))
    with pytest.raises(BackendUnavailableError, match=rf"^device {kind}:0: {provider.name} .* does not load") as caught:
        session.open()
    assert "\n" not in caught.value.message
    assert "fallback to CPU EP has been explicitly disabled" in str(caught.value.__cause__)
    assert not session.is_open


@pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")
def test_engines_are_stored_in_a_private_folder(tmp_path: Path) -> None:
    folder = tmp_path / "one" / "two"
    folder.mkdir(parents=True, mode=0o755)
    assert private_folder(folder).stat().st_mode & 0o777 == 0o700
    assert private_folder(folder / "three").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BackendUnavailableError, match=r"cannot be made a private folder for engines .*NONESUCH_HOME"):
        private_folder(tmp_path / "file" / "folder")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the messages are of the loader of Linux")
@pytest.mark.skipif(find_driver().usable, reason="there is a GPU")
def test_the_gpu_build_without_a_driver_is_rejected_and_never_runs_on_the_cpu(
    artifact: Artifact, tmp_path: Path
) -> None:
    home = Home(Path(os.environ.get("NONESUCH_TEST_HOME", REPOSITORY / ".cache" / "home")))
    pins = [*GPU_PINS, *(f"{name}=={metadata.version(name)}" for name in ENGINE_NEEDS)]
    python = python_with("onnxruntime-gpu", pins, home)
    script = Path(__file__).with_name("gpu_build_calls.py")
    result = subprocess.run(
        [python, script, artifact.folder],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "engine"), "NONESUCH_HOME": str(tmp_path)},
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)  # stdout has nothing else
    assert found["available"] == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert found["probe"].endswith("on the CPU")
    assert found["auto"].endswith("CPUExecutionProvider")
    assert found["auto_images"] == [2, 32, 32, 3]
    for refusal in found["refused"].values():
        assert refusal.startswith(f"BackendUnavailableError: {find_driver().problem}")
    # ONNX Runtime by itself, and with the setting that forbids the fallback.
    assert found["plain"] == "no error: ['CPUExecutionProvider']"
    assert "fallback to CPU EP has been explicitly disabled" in found["plain_strict"]
    cuda, tensorrt, plugin = (found["opened"][kind] for kind in ("cuda", "tensorrt", "tensorrt-rtx"))
    assert cuda.startswith(
        "BackendUnavailableError: device cuda:0: CUDAExecutionProvider of onnxruntime 1.31.1 does not "
    )
    assert "(libcublasLt.so.13: cannot open shared object file" in cuda
    assert "pip install 'nonesuch[gpu]' <- " in cuda
    assert "fallback to CPU EP has been explicitly disabled" in cuda
    assert tensorrt.startswith("BackendUnavailableError: device tensorrt:0: TensorrtExecutionProvider of onnxruntime ")
    assert "pip install 'nonesuch[gpu]' <- " in tensorrt
    assert plugin.startswith(
        "BackendUnavailableError: NvTensorRTRTXExecutionProvider of onnxruntime-ep-nv-tensorrt-rtx"
    )
    assert "libcuda.so.1: cannot open shared object file" in plugin
    assert "pip install --upgrade 'nonesuch[onnxruntime-tensorrt-rtx]'" in plugin


@pytest.mark.gpu
@needs_cuda
def test_cuda_shows_the_pictures_of_the_cpu(artifact: Artifact) -> None:
    with open_on(artifact, "cpu") as generator:
        expected = generator.generate(range(4))
    with open_on(artifact, "cuda") as generator:
        assert generator.session.preferred_batch_size == 8
        assert f"CUDAExecutionProvider on {find_driver().gpus[0].name}" in generator.session.identity
        assert psnr_db(generator.generate(range(4)), expected) >= MIN_PSNR_DB


@pytest.mark.gpu
@needs_cuda
def test_auto_is_cuda_and_the_probe_says_so(artifact: Artifact) -> None:
    assert f"with CUDAExecutionProvider on {find_driver().gpus[0].name}" in OnnxRuntimeBackend().probe().detail
    with open_on(artifact, "auto") as generator:
        assert "CUDAExecutionProvider" in generator.session.identity
        with pytest.raises(BackendUnavailableError, match="lanes are for CPUs"):
            open_on(artifact, "auto", lanes=2)


@pytest.mark.gpu
@needs_cuda
def test_deterministic_bytes_do_not_depend_on_the_batch(artifact: Artifact) -> None:
    # Kernels depend on the batch size, so only one fixed size guarantees the same bytes.
    with open_on(artifact, "cuda", max_batch_size=4, deterministic=True) as generator:
        whole = generator.generate(range(4))
        for seed in range(4):
            np.testing.assert_array_equal(generator.generate([seed])[0], whole[seed])


@pytest.mark.gpu
@needs_cuda
def test_no_node_of_a_cuda_session_may_run_on_the_cpu(artifact: Artifact) -> None:
    # ONNX Runtime always lists its CPU provider last; this entry forbids nodes on it.
    options, provider, variant = SessionOptions(), GpuProvider("cuda", 0), artifact.variant("onnxruntime")
    settings, chosen = session_settings(onnxruntime, options), provider_options(provider, artifact, variant, options)
    session = gpu_session(onnxruntime, settings, artifact.read(variant.file), provider, chosen)
    assert session.get_providers()[0] == "CUDAExecutionProvider"
    assert session.get_session_options().get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
