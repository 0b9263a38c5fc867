"""Reads PyTorch modules from a pickle: parameters, buffers, submodules and attributes, without their classes.

NVIDIA's pickles store a module as `torch_utils.persistence._reconstruct_persistent_obj(meta)`, where meta has the
source text of its class, and the module's `__dict__` as `state`. Only the state is used; the source text is ignored.
Plain torch.nn modules have the same state directly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from nonesuch.engine.errors import CheckpointError

from .inert import Inert, attribute, plain_text
from .stored_array import StoredArray, array_view

_PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
_MAX_PARTS = 10_000


class PickledModule:
    """A module at a dotted path of the network."""

    def __init__(self, value: Any, label: str, path: str = "") -> None:
        """Wrap a pickled object.

        Raises:
            CheckpointError: it is not a module.
        """
        self.label, self.path = label, path
        self._state: Any
        if isinstance(value, Inert) and value.name.full == _PERSISTENT:
            meta = value.args[0] if value.args else None
            self._state = meta.get("state") if isinstance(meta, dict) else None
            name = meta.get("class_name") if isinstance(meta, dict) else None
            self.class_name = ascii(name[:100])[1:-1] if isinstance(name, str) else "?"
        else:
            self._state = value.state if isinstance(value, Inert) else None
            self.class_name = str(value.name) if isinstance(value, Inert) else type(value).__name__
        if not isinstance(self._state, dict) or not isinstance(self._state.get("_modules"), dict):
            raise CheckpointError(
                f"{label}: {path or 'the network'} is {self.class_name}, not a readable PyTorch module"
            )

    @staticmethod
    def is_module(value: Any) -> bool:
        """Whether a pickled object may be a module."""
        return isinstance(value, Inert) and (
            value.name.full == _PERSISTENT or isinstance(attribute(value, "_modules"), dict)
        )

    def children(self) -> Iterator[tuple[str, PickledModule]]:
        """Yield the submodules that are not None, with their names."""
        for name, value in self._state["_modules"].items():
            if value is not None:
                yield str(name)[:100], PickledModule(value, self.label, self._join(str(name)[:100]))

    def at(self, path: str) -> PickledModule:
        """Return the module at a dotted path below this one.

        Raises:
            CheckpointError: it does not exist.
        """
        module = self
        for name in path.split("."):
            value = module._state["_modules"].get(name)
            if value is None:
                raise CheckpointError(f"{self.label}: the network has no module {module._join(name)}")
            module = PickledModule(value, self.label, module._join(name))
        return module

    def has(self, name: str) -> bool:
        """Whether the module has a submodule with this name."""
        return self._state["_modules"].get(name) is not None

    def tensors(self) -> dict[str, Any]:
        """Return the stored parameters and buffers, not None, of this module and all below, by dotted name.

        Raises:
            CheckpointError: there are too many; a shared tensor counts each time.
        """
        found: dict[str, Any] = {}
        count = 0
        for module in self.modules():
            for kind in ("_parameters", "_buffers"):
                own = module._state.get(kind)
                own = own if isinstance(own, dict) else {}
                count += len(own)
                if count > _MAX_PARTS:
                    raise CheckpointError(f"{self.label}: the network has more than {_MAX_PARTS} tensors")
                for name, value in own.items():
                    if value is not None:
                        found[module._join(str(name)[:100])] = value
        return found

    def modules(self) -> Iterator[PickledModule]:
        """Yield this module and all below, parents first.

        Raises:
            CheckpointError: there are too many; a shared module counts each time.
        """
        waiting: list[PickledModule] = [self]
        count = 0
        while waiting:
            module = waiting.pop()
            yield module
            count += len(module._state["_modules"])
            if count > _MAX_PARTS:
                raise CheckpointError(f"{self.label}: the network has more than {_MAX_PARTS} modules")
            waiting.extend(child for _, child in module.children())

    # Attributes

    def attribute(self, name: str) -> Any:
        """Return an attribute as pickled.

        Raises:
            CheckpointError: it does not exist.
        """
        if name not in self._state:
            raise CheckpointError(f"{self.label}: {self._join(name)} is missing; the file is of an unknown version")
        return self._state[name]

    def number(self, name: str) -> float:
        """Return an attribute that is a finite number, of Python or NumPy."""
        value = self._plain_value(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
            raise self._invalid(name, "not a finite number")
        return float(value)

    def positive(self, name: str) -> float:
        """Return a gain, clamp or rate: a number above 0 and below 1e6."""
        value = self.number(name)
        if not 0 < value < 1e6:
            raise self._invalid(name, "not a positive number below 1e6")
        return value

    def integer(self, name: str) -> int:
        """Return an attribute that is a whole number."""
        value = self.number(name)
        if not value.is_integer():
            raise self._invalid(name, "not a whole number")
        return int(value)

    def flag(self, name: str) -> bool:
        """Return an attribute that is True or False."""
        value = self._plain_value(name)
        if not isinstance(value, bool):
            raise self._invalid(name, "neither true nor false")
        return value

    def text(self, name: str) -> str:
        """Return an attribute that is a string, cut to 100 characters."""
        value = self.attribute(name)
        if not isinstance(value, str):
            raise self._invalid(name, "not a string")
        return value[:100]

    def integers(self, name: str) -> list[int]:
        """Return an attribute that is a list, tuple or NumPy array of whole numbers; one number gives a list of one."""
        value = self._plain_value(name)
        items = list(value) if isinstance(value, list | tuple) else [value]
        if not items or len(items) > 100 or not all(type(item) is int and abs(item) < 1 << 31 for item in items):
            raise self._invalid(name, "not a list of whole numbers")
        return items

    def expect(self, **attributes: Any) -> None:
        """Check that attributes have these values.

        Raises:
            CheckpointError: an attribute differs; names the first.
        """
        for name, wanted in attributes.items():
            value = self._plain_value(name)
            if isinstance(wanted, float) and isinstance(value, int | float) and _finite(value):
                matches = math.isclose(value, wanted, rel_tol=1e-6)
            else:
                matches = type(value) is type(wanted) and value == wanted
            if not matches:
                where = f"{self.label}: {self._join(name)}"
                raise CheckpointError(f"{where} is {plain_text(value)}; only {wanted} is supported")

    def _plain_value(self, name: str) -> Any:
        value = self.attribute(name)
        if isinstance(value, StoredArray):
            array = array_view(value, f"{self.label}: {self._join(name)}")
            if array.size > 100 or (array.dtype.kind not in "iub" and not np.isfinite(array).all()):
                raise self._invalid(name, "not an array of at most 100 finite numbers")
            return array.tolist()
        return value

    def _join(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def _invalid(self, name: str, what: str) -> CheckpointError:
        return CheckpointError(f"{self.label}: {self._join(name)} is {what}")


def _finite(value: float) -> bool:
    return abs(value) < 1e15
