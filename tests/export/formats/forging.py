"""Loads the fixtures as their authors' code does, and writes them again as other versions would.

This runs torch's own unpickling, and only on files made by this repository.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

FIXTURES = Path(__file__).parents[2] / "fixtures"
NVIDIA = ["sg2ada_64", "sg2ada_cond_32", "sg2ada_resnet_32", "sg2_by_sg3repo_64", "sg3t_64", "sg3r_64"]
ALL = {**dict.fromkeys(NVIDIA, ".pkl"), "sg2tf_64": ".pkl", "rosinality_64": ".pt"}


def fixture_path(name: str) -> Path:
    return FIXTURES / f"{name}{ALL[name]}"


class Persistent:
    """A module as NVIDIA's persistence stores it; `meta` has its state."""

    def __init__(self, meta: dict[str, Any]) -> None:
        self.meta = meta

    def __reduce__(self) -> tuple[Any, ...]:
        return _reconstruct_persistent_obj, (self.meta,)


class Network:
    """A TensorFlow-era network; its `__dict__` is its state."""


class EasyDict(dict[str, Any]):
    """NVIDIA's dict with attributes."""


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> Persistent:
    return Persistent(meta)


_STAND_INS: dict[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _reconstruct_persistent_obj,
    ("dnnlib.tflib.network", "Network"): Network,
    ("dnnlib.util", "EasyDict"): EasyDict,
}


class _Loader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _STAND_INS.get((module, name)) or super().find_class(module, name)


def load_trusted(name: str) -> Any:
    """Load the objects of a fixture, with real tensors."""
    with fixture_path(name).open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about typed storages
        return _Loader(stream).load()  # a file of this repository


def modules(network: Persistent) -> Iterator[dict[str, Any]]:
    """Yield the states of a network's modules."""
    state = network.meta["state"]
    yield state
    for child in state["_modules"].values():
        yield from modules(child)


def module_at(network: Persistent, path: str) -> dict[str, Any]:
    """Return the state of the module at a dotted path."""
    for name in path.split("."):
        network = network.meta["state"]["_modules"][name]
    state: dict[str, Any] = network.meta["state"]
    return state


def dump(value: Any, protocol: int = 4, edit_storage: Callable[[bytes], bytes] | None = None) -> bytes:
    """Pickle a value; stand-ins get the names that they stand for.

    Args:
        value: the value.
        protocol: the pickle protocol.
        edit_storage: edits the embedded torch.save file of a storage.
    """

    class Pickler(pickle.Pickler):
        def reducer_override(self, obj: Any) -> Any:
            if edit_storage is not None and isinstance(obj, torch.storage.TypedStorage):
                rebuild, (content,) = obj.__reduce__()  # type: ignore[no-untyped-call]
                return rebuild, (edit_storage(content),)
            return NotImplemented

    stream = io.BytesIO()
    with _named(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Pickler(stream, protocol).dump(value)
    return stream.getvalue()


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Register the stand-ins under their names, so that the pickler can write them."""
    before = dict(sys.modules)
    kept = {value: (value.__module__, value.__qualname__) for value in _STAND_INS.values()}
    try:
        for (module, name), value in _STAND_INS.items():
            parts = module.split(".")
            for depth in range(1, len(parts) + 1):
                path = ".".join(parts[:depth])
                sys.modules.setdefault(path, types.ModuleType(path))
            setattr(sys.modules[module], name, value)
            value.__module__, value.__qualname__ = module, name
        yield
    finally:
        for value, (module, qualname) in kept.items():
            value.__module__, value.__qualname__ = module, qualname
        for added in set(sys.modules) - set(before):
            if added.split(".")[0] in ("torch_utils", "dnnlib"):
                del sys.modules[added]
