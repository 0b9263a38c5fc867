"""Stand-ins for the functions that checkpoints call while unpickling; every other name makes an inert object.

Each takes the recorded arguments and returns plain data, and calls only code of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nonesuch.engine.errors import CheckpointError

from .inert import GlobalName, Inert, plain_key
from .stored_array import StoredArray, StoredDtype, scalar_value
from .stored_tensor import EmbeddedSave, StoredTensor

_Rebuilder = Callable[[GlobalName, tuple[Any, ...], str], Any]


def rebuild(name: GlobalName, args: tuple[Any, ...], label: str) -> Any:
    """Return the plain data, or the inert object, for a call.

    Raises:
        CheckpointError: the arguments of a known name are invalid.
    """
    rebuilder = _REBUILDERS.get(name.full)
    return Inert(name, args) if rebuilder is None else rebuilder(name, args, label)


def set_state(target: Any, state: Any, label: str) -> None:
    """Set the state of an object, as BUILD does.

    Raises:
        CheckpointError: this kind of object has no state.
    """
    if isinstance(target, Inert | StoredArray):
        target.state = state
    elif isinstance(target, StoredDtype):
        target.set_state(state)
    elif not isinstance(target, dict | StoredTensor):  # attributes of a dict or a tensor: hooks, `_metadata`
        raise CheckpointError(f"{label}: the pickle sets the state of {type(target).__name__}, which has none")


def _require(condition: bool, name: GlobalName, label: str) -> None:
    if not condition:
        raise CheckpointError(f"{label}: {name} is called with invalid arguments")


def _dict(name: GlobalName, args: tuple[Any, ...], label: str) -> dict[Any, Any]:
    if not args or args == ((),):
        return {}
    content = args[0]
    if isinstance(content, dict):
        return dict(content)
    _require(isinstance(content, list | tuple), name, label)
    result: dict[Any, Any] = {}
    for pair in content:
        _require(isinstance(pair, list | tuple) and len(pair) == 2, name, label)
        result[plain_key(pair[0])] = pair[1]
    return result


def _list(name: GlobalName, args: tuple[Any, ...], label: str) -> list[Any]:
    if not args:
        return []
    _require(isinstance(args[0], list | tuple), name, label)
    return list(args[0])


def _tuple(name: GlobalName, args: tuple[Any, ...], label: str) -> tuple[Any, ...]:
    return tuple(_list(name, args, label))


def _tensor(name: GlobalName, args: tuple[Any, ...], label: str) -> StoredTensor:
    _require(len(args) >= 4, name, label)
    return StoredTensor(*args[:4])


def _parameter(name: GlobalName, args: tuple[Any, ...], label: str) -> Any:
    _require(bool(args), name, label)
    return args[0]


def _embedded_save(name: GlobalName, args: tuple[Any, ...], label: str) -> EmbeddedSave:
    _require(len(args) == 1 and isinstance(args[0], bytes | memoryview), name, label)
    return EmbeddedSave(args[0])


def _bytes(name: GlobalName, args: tuple[Any, ...], label: str) -> bytes | memoryview:
    """Rebuild `_codecs.encode(text, "latin1")`, which protocols below 3 write for bytes, and `bytes` itself."""
    if not args:
        return b""
    content = args[0]
    if isinstance(content, str):
        try:
            return content.encode("latin-1")
        except UnicodeEncodeError as error:
            raise CheckpointError(f"{label}: bytes in the pickle are not encoded as its protocol requires") from error
    _require(isinstance(content, bytes | memoryview), name, label)
    return content  # type: ignore[no-any-return]


def _frombuffer(name: GlobalName, args: tuple[Any, ...], label: str) -> StoredArray:
    _require(len(args) == 4, name, label)
    data, dtype, shape, order = args
    return StoredArray((1, shape, dtype, order == "F", data))


def _reconstructor(name: GlobalName, args: tuple[Any, ...], label: str) -> Any:
    """Rebuild `copyreg._reconstructor(cls, base, state)`, which makes an object in protocols 0 and 1."""
    _require(len(args) == 3 and isinstance(args[0], GlobalName) and isinstance(args[1], GlobalName), name, label)
    cls, base, state = args
    if base.full == "builtins.object":
        return Inert(cls)
    return state if isinstance(state, dict | list) else Inert(cls, (state,))  # such as a subclass of dict


_REBUILDERS: dict[str, _Rebuilder] = {
    "collections.OrderedDict": _dict,
    "dnnlib.util.EasyDict": _dict,
    "builtins.dict": _dict,
    "builtins.set": _list,
    "builtins.frozenset": _list,
    "builtins.list": _list,
    "torch.Size": _tuple,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.storage._load_from_bytes": _embedded_save,
    "numpy.dtype": lambda _, args, label: StoredDtype.from_args(args, label),
    "_codecs.encode": _bytes,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "copyreg._reconstructor": _reconstructor,
}
# The names whose stand-ins copy their first argument.
COPYING = frozenset(name for name, stand_in in _REBUILDERS.items() if stand_in in (_dict, _list, _tuple, _bytes))

for _core in ("numpy.core", "numpy._core"):  # the second since NumPy 2
    _REBUILDERS[f"{_core}.multiarray._reconstruct"] = lambda *_: StoredArray()
    _REBUILDERS[f"{_core}.multiarray.scalar"] = lambda _, args, label: scalar_value(args, label)
    _REBUILDERS[f"{_core}.numeric._frombuffer"] = _frombuffer
