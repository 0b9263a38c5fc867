"""Tests the pickle machine alone: the plain data that it reads, and the pickles that it refuses."""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nonesuch.engine.errors import CheckpointError
from nonesuch.export.formats.inert import Inert, PickledKey, is_refused
from nonesuch.export.formats.read_limits import DEFAULT_LIMITS, ReadLimits
from nonesuch.export.formats.restricted_pickle import load_pickle
from nonesuch.export.formats.stored_array import StoredArray, array_view

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def load(data: bytes, limits: ReadLimits = DEFAULT_LIMITS) -> Any:
    return load_pickle(memoryview(data), "file", limits)[0]


def refused(data: bytes, limits: ReadLimits = DEFAULT_LIMITS) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(data, limits)
    assert "\n" not in caught.value.message
    return caught.value.message


def plain(value: Any) -> Any:
    """Convert views of bytes to bytes, and sets to sorted lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    return bytes(value) if isinstance(value, memoryview | bytearray) else value


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=300)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(VALUES, st.sampled_from(PROTOCOLS))
def test_plain_data_survives_pickling(value: Any, protocol: int) -> None:
    assert plain(load(pickle.dumps(value, protocol))) == plain(value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_known_classes_become_plain_data_in_every_protocol(protocol: int) -> None:
    ordered = collections.OrderedDict(a=1, b=[2])
    value = {
        "ordered": ordered,
        "set": {3},
        "frozen": frozenset([4]),
        "bytes": b"\x00\xff" * 3000,
        "bytearray": bytearray(b"xyz"),
        "empty": b"",
        "shared": [ordered, ordered],
        "scalar": np.float64(1.5),
        "true": np.bool_(True),
        "whole": np.int64(-7),
    }
    found = plain(load(pickle.dumps(value, protocol)))
    assert found == {
        "ordered": {"a": 1, "b": [2]},
        "set": [3],
        "frozen": [4],
        "bytes": b"\x00\xff" * 3000,
        "bytearray": b"xyz",
        "empty": b"",
        "shared": [{"a": 1, "b": [2]}] * 2,
        "scalar": 1.5,
        "true": True,
        "whole": -7,
    }
    assert found["shared"][0] is not None
    assert found["true"] is True


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i8", "|u1", "|b1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_arrays_keep_values_shape_and_order(protocol: int, dtype: str, order: Any) -> None:
    array = np.asarray(np.arange(24).reshape(2, 3, 4) % 2, dtype=dtype, order=order)
    found = load(pickle.dumps(array, protocol))
    assert isinstance(found, StoredArray)
    view = array_view(found, "array")
    np.testing.assert_array_equal(view, array)
    assert view.dtype == np.dtype(dtype)


def test_unknown_classes_become_inert_objects(watched: Callable[..., Any]) -> None:
    with watched():
        found = load(pickle.dumps(argparse.Namespace(lr=0.1)))
        assert isinstance(found, Inert)
        assert (found.name.full, found.state) == ("argparse.Namespace", {"lr": 0.1})
        path = load(pickle.dumps(Path("/etc") / "passwd"))
        assert isinstance(path, Inert)
        counted = load(pickle.dumps(collections.Counter("aab")))
        assert isinstance(counted, Inert)


def test_odd_keys_are_hashed_by_identity() -> None:
    found = load(pickle.dumps({(1, 2): "pair", "name": "text"}))
    keys = list(found)
    assert isinstance(keys[0], PickledKey)
    assert (keys[0].value, keys[1]) == ((1, 2), "name")


class Calls:
    """An object that pickles as a call of a function with arguments."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n(V1\ntR.".encode()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_calls_that_would_run_code_are_refused_by_name(
    protocol: int, tmp_path: Path, watched: Callable[..., Any]
) -> None:
    canary = tmp_path / "canary"
    system = "posix.system" if os.name == "posix" else "nt.system"
    for function, args, name in [
        (os.system, (f"touch {canary}",), system),
        (eval, (f"open({str(canary)!r}, 'w')",), "builtins.eval"),
        (exec, (f"open({str(canary)!r}, 'w')",), "builtins.exec"),
        (getattr, (os, "system"), "builtins.getattr"),
    ]:
        if function is getattr:
            args = ("", "upper")
        with watched():
            message = refused(pickle.dumps({"G_ema": [Calls(function, *args)]}, protocol))
        assert f"names {name}, which no checkpoint needs" in message
        assert not canary.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("sys", "exit"),
        ("runpy", "run_path"),
        ("builtins", "compile"),
        ("__builtin__", "eval"),
        ("builtins", "__import__"),
        ("builtins", "getattr.__call__"),
        ("importlib", "import_module"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.serialization", "load"),
        ("torch.utils.cpp_extension", "load_inline"),
        ("pickle", "loads"),
        ("_pickle", "loads"),
        ("marshal", "loads"),
        ("numpy", "load"),
        ("numpy.testing._private.utils", "runstring"),
        ("types", "FunctionType"),
        ("operator", "attrgetter"),
        ("shutil", "rmtree"),
        ("webbrowser", "open"),
    ],
)
def test_names_used_in_attacks_are_refused(module: str, name: str) -> None:
    full = f"{module.replace('__builtin__', 'builtins')}.{name}"
    assert f"names {full}, which no checkpoint needs" in refused(named(module, name))


def test_names_of_checkpoints_are_not_refused() -> None:
    for name in [
        "torch.nn.modules.linear.Linear",
        "torch.float32",
        "torch.device",
        "builtins.set",
        "builtins.slice",
        "pathlib.PosixPath",
        "training.networks.Generator",
        "functools.partial",
        "collections.defaultdict",
        "omegaconf.dictconfig.DictConfig",
        "osmodel.Network",
        "system.os",
    ]:
        assert not is_refused(name), name


def test_the_result_of_a_call_cannot_be_called() -> None:
    made = b"cmodels\nfactory\n)R"  # an inert object
    assert "calls an object of models.factory" in refused(made + b")R.")
    assert "calls 'text'" in refused(b"Vtext\n)R.")
    assert "sets the state of list" in refused(b"]}b.")
    assert "sets items of" in refused(b"]V1\nV2\ns.")
    assert "appends to" in refused(b"}V1\na.")


@pytest.mark.parametrize("state", [b"}V__init__\nV1\ns", b"(N}V__setstate__\nV1\nst"])
def test_a_name_has_no_state(state: bytes) -> None:
    # With a real class, this would change its behaviour.
    assert "sets the state of GlobalName" in refused(b"ctorch\nFloatStorage\n" + state + b"b.")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b".", "damaged"),
        (b"0.", "damaged"),
        (b"t.", "damaged"),
        (b"(.", "damaged"),
        (b"(0.", "damaged"),
        (b"N(R.", "damaged"),
        (b"h\x05.", "damaged"),
        (b"q\x05.", "damaged"),
        (b"I1x\n.", "damaged"),
        (b"L" + b"9" * 641 + b"L\n.", "damaged"),
        (b"F" + b"9" * 641 + b"\n.", "damaged"),
        (b"S'abc\n.", "damaged"),
        (b"V\\uD8\n.", "damaged"),
        (b"X\x01\x00\x00\x00\xff.", "damaged"),
        (b"I1", "no end"),
        (b"\x80\x06N.", "protocol 6 is not supported"),
        (b"\xff.", "not a pickle opcode"),
        (b"\x82\x01.", "extension codes"),
        (b"\x97.", "buffers outside"),
        (b"Pid\n.", "outside of it"),
        (b"NQ.", "outside of it"),
        (b"N", "truncated"),
        (b"(V1\nu.", "damaged"),
        (b"}(V1\nu.", "damaged"),
        (b"NN\x93.", "not a string"),
        (b"T\xff\xff\xff\xffabc.", "truncated"),
        (b"B\xff\xff\xff\x7fabc.", "truncated"),
        (b"\x8e" + b"\xff" * 8 + b"abc.", "truncated"),
        (b"\x8d" + b"\xff" * 8 + b"abc.", "truncated"),
        (b"\x96" + b"\xff" * 8 + b"abc.", "truncated"),
        (b"\x95" + b"\xff" * 8 + b"N.", "truncated"),
        (b"\x8b\x00\x00\x00\x40abc.", "1073741824 bytes"),
    ],
)
def test_damaged_pickles(data: bytes, reason: str) -> None:
    assert reason in refused(data)


def test_truncated_pickles_are_refused_at_every_length() -> None:
    data = pickle.dumps({"a": [1, 2.5, "text", b"bytes" * 100, np.arange(5)]}, 4)
    for end in range(len(data)):
        assert refused(data[:end])


class TestBounds:
    """Small attacks must not use much time or memory."""

    def test_opcodes(self) -> None:
        limits = ReadLimits(opcodes=100)
        assert load(b"N" + b"2" * 98 + b".", limits) is None
        assert "more than 100 opcodes" in refused(b"N" + b"2" * 99 + b".", limits)
        assert "more than 1000000 opcodes" in refused(b"N" * 1_000_001)

    @pytest.mark.parametrize(
        "data",
        [
            b"N" + b"\x85" * 50_000,
            b"]" * 50_000 + b"a" * 49_999,
            b"}Vk\n" * 50_000 + b"N" + b"s" * 50_000,
            b"cm\nf\n" + b"2" * 30_000 + b")" + b"R\x85" * 30_000,
            b"cnumpy.core.multiarray\n_reconstruct\n)R" * 50_000 + b"N" + b"b" * 50_000,
        ],
        ids=["tuples", "lists", "dicts", "calls", "arrays"],
    )
    def test_deep_structures_are_refused_without_recursion(self, data: bytes) -> None:
        assert "more than 200 deep" in refused(data + b".")
        load(data + b"0N.")  # dropping one does not recurse either

    def test_networks_are_not_too_deep(self) -> None:
        assert load(b"N" + b"\x85" * 150 + b".") is not None

    @pytest.mark.parametrize(
        "data",
        [
            b"]q\x00h\x00a.",  # a list in itself
            b"}q\x00Vself\nh\x00s.",  # a dict
            b"]q\x00}Vk\nh\x00sa.",  # through a dict
            b"cm\nf\n)Rq\x00}Vk\nh\x00sb.",  # the state of an object
            b"cm\nf\n)Rq\x00(h\x00e.",  # its elements
            b"]q\x00cm\nf\nh\x00\x85Ra.",  # its arguments
            b"cnumpy.core.multiarray\n_reconstruct\n)Rq\x00(h\x00tb.",  # an array's state
            b"}q\x00h\x00\x85V1\ns.",  # a key
            b"]q\x00ctorch._utils\n_rebuild_tensor_v2\n(h\x00NNNtRa.",  # a tensor's storage
        ],
    )
    def test_cycles_are_refused(self, data: bytes) -> None:
        assert "contains itself" in refused(data)

    def test_exponentially_shared_data_is_read_quickly(self) -> None:
        # Each of 100 tuples contains the previous one twice: 2^100 leaves for a walk that visits shared tuples again.
        found = load(b"N" + b"2\x86" * 100 + b".")
        assert found[0] is found[1]

    def test_copies_are_limited(self) -> None:
        for callee, argument in [
            (b"c_codecs\nencode\n", b"X" + struct.pack("<I", 10_000) + b"x" * 10_000),
            (b"ccollections\nOrderedDict\n", b"(V1\nV2\n\x86" + b"2" * 10_000 + b"t"),
            (b"cbuiltins\nlist\n", b"(" + b"N" * 10_000 + b"t"),
        ]:
            data = argument + b"\x85q\x000" + callee + b"q\x010" + b"h\x01h\x00R0" * 10_000 + b"N."
            assert "copies more data than the file contains" in refused(data)

    def test_memory_is_bounded_by_the_file(self) -> None:
        # Declared sizes of gigabytes, and the maximum number of objects.
        tracemalloc.start()
        try:
            for data in [b"\x8e" + b"\xff" * 8, b"B\xff\xff\xff\xff", b"X\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x7f"]:
                refused(data)
            assert load(b"Nr\xff\xff\xff\xff.") is None  # memo index 2^32 - 1, one entry
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
            tracemalloc.reset_peak()
            refused(b"}" * 100_001, ReadLimits(opcodes=100_000))
            assert tracemalloc.get_traced_memory()[1] < 20 << 20  # an empty dict has 64 bytes, its stack entry 8
        finally:
            tracemalloc.stop()

    def test_many_short_lines_do_not_copy_the_file(self) -> None:
        # Each line is searched in a small window, not in the rest of the file.
        assert len(load(b"(" + b"I1\n" * 200_000 + b"l.")) == 200_000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_opcodes_are_data_or_a_checkpoint_error(data: bytes) -> None:
    with contextlib.suppress(CheckpointError):
        load(data)
