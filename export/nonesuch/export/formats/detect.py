"""Reads a checkpoint of any supported format, recognised by its content and never by its name.

Data flow: first bytes -> container (folder, torch zip, legacy torch file, pickle, safetensors) -> inert objects ->
their content (NVIDIA's modules, a TensorFlow network, named tensors) -> converter -> `Checkpoint`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load as safetensors_load

from nonesuch.engine.errors import CheckpointError

from ..checkpoint import Checkpoint
from .inert import plain_text
from .nvidia_pytorch import convert_nvidia_stylegan2
from .nvidia_stylegan3 import convert_nvidia_stylegan3
from .persistent_module import PickledModule
from .read_limits import DEFAULT_LIMITS, ReadLimits
from .restricted_pickle import load_pickle
from .source_tensors import SourceTensors
from .state_dicts import convert_state_dict
from .tensorflow_legacy import convert_tensorflow, is_tensorflow
from .torch_legacy import is_legacy, read_legacy
from .torch_zip import TorchZip

_UNSUPPORTED_MAGIC = {
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"BZh": "a bzip2 archive; unpack it first",
    b"\xfd7zXZ": "an xz archive; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!": "a rar archive; unpack it first",
    b"\x89HDF": "an HDF5 file, which is not supported",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; fetch it with git lfs",
    b"<": "a web page or XML, not a checkpoint; the download failed",
    b"\x89PNG": "a picture, not a checkpoint",
    b"\x93NUMPY": "a numpy array, not a checkpoint",
}
_FIRST_OPCODES = b"(}])c"  # the possible first bytes of a pickle of protocol 0 or 1; from protocol 2 it is 0x80


def read_checkpoint(path: Path, limits: ReadLimits = DEFAULT_LIMITS) -> Checkpoint:
    """Read a checkpoint file or the folder of a converted one. Executes nothing from it and writes nothing.

    Args:
        path: a file of a supported format (docs/formats.md), or a folder with model.safetensors and config.json.
        limits: limits on sizes and counts.

    Returns:
        The canonical checkpoint, float32 with all gains folded.

    Raises:
        CheckpointError: the file cannot be read safely, is damaged, or is of an unsupported kind, which it names.
    """
    label = str(path)
    try:
        if path.is_dir():
            return Checkpoint.load(path)
        if not path.is_file():
            raise CheckpointError(f"{label}: the file was not found")
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise CheckpointError(f"{label}: cannot be opened ({error.strerror})") from error
    if not size:
        raise CheckpointError(f"{label}: the file is empty")
    if size > limits.file_bytes:
        raise CheckpointError(f"{label}: has {size} bytes; the limit is {limits.file_bytes}")
    if head.startswith(b"PK"):
        with TorchZip(path, label, limits) as archive:
            return _convert(archive.load(), label, archive.content_bytes, limits)
    if len(head) > 8 and head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") < size:
        return _convert(_safetensors(path, label), label, size, limits)
    if head[:1] != b"\x80" and head[0] not in _FIRST_OPCODES:
        for magic, what in _UNSUPPORTED_MAGIC.items():
            if head.startswith(magic):
                raise CheckpointError(f"{label}: {what}")
        raise CheckpointError(f"{label}: begins with {head[:4].hex(' ')}, which is not a supported format")
    data = memoryview(_read(path, label))
    if is_legacy(head):
        return _convert(read_legacy(data, label, limits), label, size, limits)
    value, end = load_pickle(data, label, limits)
    if end != size:
        raise CheckpointError(f"{label}: {size - end} bytes follow the end of the pickle; the file is damaged")
    return _convert(value, label, size, limits)


def _read(path: Path, label: str) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, MemoryError) as error:
        raise CheckpointError(f"{label}: cannot be read into memory ({error})") from error


def _safetensors(path: Path, label: str) -> Any:
    try:
        return safetensors_load(_read(path, label))
    except (SafetensorError, KeyError, ValueError, OverflowError) as error:  # KeyError: not a NumPy dtype
        raise CheckpointError(f"{label}: a damaged safetensors file, or an unsupported dtype ({error})") from error


def _convert(value: Any, label: str, content_bytes: int, limits: ReadLimits) -> Checkpoint:
    """Recognise the content of a file, and convert it."""
    if is_tensorflow(value):
        return convert_tensorflow(value, label, content_bytes, limits)
    generator = value.get("G_ema") if isinstance(value, dict) else value
    if PickledModule.is_module(generator):
        return _convert_module(PickledModule(generator, label), label, content_bytes, limits)
    if isinstance(value, dict) and "G_ema" in value:
        raise CheckpointError(f"{label}: 'G_ema' is {plain_text(generator)}, not a PyTorch module")
    return convert_state_dict(value, label, content_bytes, limits)


def _convert_module(network: PickledModule, label: str, content_bytes: int, limits: ReadLimits) -> Checkpoint:
    tensors = network.tensors()
    source = SourceTensors(tensors, label, content_bytes, limits)
    if "mapping.embed_proj.weight" in tensors:
        raise CheckpointError(f"{label}: StyleGAN-XL (it has mapping.embed_proj.weight), which is not supported")
    if "synthesis.input.freqs" in tensors:
        return convert_nvidia_stylegan3(network, source)
    if "synthesis.b4.const" in tensors:
        return convert_nvidia_stylegan2(network, source)
    classes = dict.fromkeys(module.class_name for module in network.modules())
    shown = ", ".join(list(classes)[:8])
    raise CheckpointError(
        f"{label}: a network of the classes {shown}, which is neither StyleGAN2 nor StyleGAN3; other networks, such as "
        "FastGAN of projected GAN or StyleGAN-T, are not supported"
    )
