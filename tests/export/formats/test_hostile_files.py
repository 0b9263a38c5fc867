"""Damaged and malicious files: each is refused with a one-line reason, and nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nonesuch.engine.errors import CheckpointError
from nonesuch.export.formats.detect import read_checkpoint
from nonesuch.export.formats.read_limits import ReadLimits

from .forging import ALL, dump, fixture_path, load_trusted, module_at

Refusal = Callable[..., str]


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def unzipped(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("name", ALL)
def test_truncated_anywhere(name: str, refusal: Refusal) -> None:
    data = fixture_path(name).read_bytes()
    places = [*range(1, 200, 13), *np.linspace(200, len(data) - 1, 25, dtype=int).tolist(), len(data) - 1]
    for end in places:
        message = refusal(data[:end])
        if end > 1000:  # a shorter file may not be recognised
            assert "truncated" in message, (end, message)


@pytest.mark.parametrize("name", ["sg2ada_64", "sg2tf_64"])
def test_trailing_bytes(name: str, refusal: Refusal) -> None:
    assert "5 bytes follow the end" in refusal(fixture_path(name).read_bytes() + b"extra")


def test_empty_and_missing_files_are_refused(refusal: Refusal, tmp_path: Path) -> None:
    assert refusal(b"") == "the file is empty"
    assert refusal(tmp_path / "nowhere") == "the file was not found"
    assert "the limit is 1000" in refusal(fixture_path("sg2tf_64").read_bytes(), ReadLimits(file_bytes=1000))
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match="no readable converted checkpoint"):
        read_checkpoint(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "the file was not found"


def test_random_bytes(refusal: Refusal) -> None:
    random = np.random.RandomState(0)
    for head in [b"", b"\x80\x04", b"\x80\x02", b"PK\x03\x04", b"(", b"}", b"]", b"c", b"\x10\0\0\0\0\0\0\0{"]:
        for size in (10, 1000, 100_000):
            assert refusal(head + random.bytes(size))


@pytest.mark.parametrize("name", ["sg2ada_cond_32", "sg3r_64", "sg2tf_64"])
def test_the_embedded_source_is_never_executed(name: str, watched: Callable[..., Any]) -> None:
    source = b"raise RuntimeError('the source text embedded in this checkpoint was executed')"
    assert source in fixture_path(name).read_bytes()
    with watched():
        read_checkpoint(fixture_path(name))


def test_hostile_embedded_source_is_not_executed_either(tmp_path: Path, watched: Callable[..., Any]) -> None:
    canary = tmp_path / "canary"
    value = load_trusted("sg2ada_cond_32")
    value["G_ema"].meta["module_src"] = f"open({str(canary)!r}, 'w').write('executed')"
    path = tmp_path / "network.pkl"
    path.write_bytes(dump(value))
    with watched():
        read_checkpoint(path)
    assert not canary.exists()


class Attack:
    """An object that runs a command when the standard library unpickles it."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("place", ["instead", "beside", "within", "storage", "zip", "legacy"])
def test_attacks_in_every_place(place: str, tmp_path: Path, refusal: Refusal) -> None:
    canary = tmp_path / "canary"
    attack = Attack(canary)
    value = load_trusted("sg2ada_cond_32")
    if place == "instead":
        content = pickle.dumps(attack)
    elif place == "beside":
        content = dump(value | {"D": attack})
    elif place == "within":
        module_at(value["G_ema"], "synthesis.b8")["extra"] = [attack]
        content = dump(value)
    elif place == "storage":  # the embedded file of torch.save, which the standard reader unpickles without any bounds
        content = dump(value, edit_storage=lambda _: pickle.dumps(attack))
        assert "not a torch.save file" in refusal(content)
        content = dump(
            value, edit_storage=lambda save: save.replace(b"\x80\x02}q", pickle.dumps(attack, 2)[:-1] + b"q")
        )
    else:
        stream = io.BytesIO()
        state = torch.load(fixture_path("rosinality_64"), weights_only=True)
        torch.save(state | {"args": attack}, stream, _use_new_zipfile_serialization=place == "zip")
        content = stream.getvalue()
    assert b"system" in content
    assert f"names {os.name}.system, which no checkpoint needs" in refusal(content)
    assert not canary.exists()


def test_a_call_of_torch_load_is_refused(refusal: Refusal) -> None:
    stream = io.BytesIO()
    torch.save(torch.zeros(1), stream)

    class Nested:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch.load, (stream.getvalue(),)

    assert "which no checkpoint needs" in refusal(pickle.dumps({"g_ema": Nested()}))


def test_arrays_of_objects_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    for protocol in (2, 4, 5):
        array = np.array([Attack(tmp_path / "canary"), 1], dtype=object)
        message = refusal(pickle.dumps({"g_ema": array}, protocol))
        assert "array of objects" in message or "system" in message
        assert "array of objects" in refusal(pickle.dumps({"g_ema": np.array([None], dtype=object)}, protocol))


class TestTensors:
    """Shapes, strides and offsets that do not fit their storage."""

    @staticmethod
    def edited(old: bytes, new: bytes, count: int = 1) -> bytes:
        """rosinality_64.pt with a change in data.pkl, where integers are written as `K` and a byte, or `M` and two."""
        members = unzipped(fixture_path("rosinality_64"))
        name = "rosinality_64/data.pkl"
        assert old in members[name]
        members[name] = members[name].replace(old, new, count)
        return zipped(members)

    # The first tensor, style.1.weight: offset 0, size (32, 32), stride (32, 1).
    OFFSET, SIZE, STRIDE = b"K\0", b"K K \x86", b"K K\x01\x86"

    @pytest.mark.parametrize(
        ("size", "stride", "offset", "reason"),
        [
            (b"K K \x86", b"K K\x01\x86", b"K\x01", "reaches beyond its storage"),
            (b"K K \x86", b"K!K\x01\x86", b"K\0", "reaches beyond its storage"),
            (b"K!K \x86", b"K K\x01\x86", b"K\0", "reaches beyond its storage"),
            (b"K!K \x86", b"K\0K\x01\x86", b"K\0", "reaches beyond its storage"),
            (b"K K \x86", b"J\xff\xff\xff\xffK\x01\x86", b"K\0", "negative"),
            (b"K K \x86", b"K K\x01\x86", b"J\xff\xff\xff\xff", "negative"),
            (b"J\xff\xff\xff\xffK \x86", b"K K\x01\x86", b"K\0", "negative"),
            (b"J\0\0\0\x7fJ\0\0\0\x7f\x86", b"K\0K\0\x86", b"K\0", "reaches beyond its storage"),
            (b"\x8a\x08" + b"\xff" * 7 + b"\x3fK \x86", b"K K\x01\x86", b"K\0", "impossible shape"),
            (b"\x8a\x20" + b"\xff" * 31 + b"\x3fK \x86", b"K K\x01\x86", b"K\0", "not an integer of reasonable size"),
            (b"K\0K \x86", b"K K\x01\x86", b"K\0", "no elements"),
            (b"K \x85", b"K K\x01\x86", b"K\0", "1 dimensions and 2 strides"),
            (b"(" + b"K\x01" * 9 + b"t", b"(" + b"K\x01" * 9 + b"t", b"K\0", "9 dimensions"),
            (b"G?\xf0\0\0\0\0\0\0K \x86", b"K K\x01\x86", b"K\0", "not an integer"),
            (b"K K \x86", b"K K\x01\x86", b"N", "not an integer"),
        ],
    )
    def test_impossible_shapes(self, size: bytes, stride: bytes, offset: bytes, reason: str, refusal: Refusal) -> None:
        pickled = unzipped(fixture_path("rosinality_64"))["rosinality_64/data.pkl"]
        start = pickled.index(b"Q" + self.OFFSET) + 1
        end = pickled.index(self.STRIDE, start) + len(self.STRIDE)
        found = pickled[start:end]
        assert found.count(self.SIZE) == 1
        changed = found.replace(self.STRIDE, stride).replace(self.SIZE, size).replace(self.OFFSET, offset, 1)
        message = refusal(self.edited(found, changed))
        assert "tensor 'style.1.weight'" in message
        assert reason in message

    def test_storages_shorter_than_declared(self, refusal: Refusal) -> None:
        members = unzipped(fixture_path("rosinality_64"))
        short = {name: content[:-1] if name.endswith("data/0") else content for name, content in members.items()}
        assert "storage of 4095 bytes, shorter than its 1024 elements" in refusal(zipped(short))
        del members["rosinality_64/data/0"]
        assert "no member data/0" in refusal(zipped(members))

    def test_unsupported_kinds_of_storage(self, refusal: Refusal) -> None:
        assert "torch.QuantStorage" in refusal(self.edited(b"ctorch\nFloatStorage\n", b"ctorch\nQuantStorage\n"))
        assert "torch.LongStorage" not in refusal(self.edited(b"ctorch\nFloatStorage\n", b"ctorch\nLongStorage\n"))

    def test_persistent_ids_of_another_form(self, refusal: Refusal) -> None:
        assert "not a tensor storage" in refusal(self.edited(b"X\x07\0\0\0storage", b"X\x07\0\0\0modules"))
        wrong = self.edited(b"ctorch\nFloatStorage\n", b"N")
        assert "reference to a storage is damaged" in refusal(wrong)

    def test_embedded_storages(self, refusal: Refusal) -> None:
        value = load_trusted("sg2ada_cond_32")

        def edited(edit: Callable[[bytes], bytes]) -> str:
            return refusal(dump(value, edit_storage=edit))

        assert "truncated" in edited(lambda save: save[:-1])
        assert "truncated" in edited(lambda save: save[: len(save) // 2])
        assert "not a torch.save file" in edited(lambda save: b"x" + save[1:])
        assert "big-endian" in edited(lambda save: save.replace(b"little_endianq\x02\x88", b"little_endianq\x02\x89"))
        huge = struct.pack("<q", 1 << 60)
        assert "truncated" in edited(lambda save: save.replace(struct.pack("<q", 64), huge))
        negative = struct.pack("<q", -1)
        assert "truncated" in edited(lambda save: save.replace(struct.pack("<q", 64), negative))

    def test_the_total_size_of_tensors_is_limited(self, tmp_path: Path) -> None:
        # Tensors may share a storage, but their total size is limited.
        path = tmp_path / "small"
        path.write_bytes(fixture_path("rosinality_64").read_bytes())
        with pytest.raises(CheckpointError, match="larger than the file"):
            read_checkpoint(path, ReadLimits(tensor_bytes=100_000))


class TestZips:
    """Containers that are too large when unpacked, or contain something else."""

    def test_a_bomb_is_refused_before_it_is_unpacked(self, refusal: Refusal) -> None:
        members = unzipped(fixture_path("rosinality_64"))
        members["rosinality_64/data/0"] = bytes(256 << 20)
        content = zipped(members, zipfile.ZIP_DEFLATED)
        assert len(content) < 2 << 20
        del members
        tracemalloc.start()
        try:
            assert "unpacks to" in refusal(content)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()

    def test_a_bomb_that_hides_its_size(self, refusal: Refusal) -> None:
        pickled = pickle.dumps({"padding": "x" * 1_000_000}, 2)
        content = bytearray(zipped({"a/data.pkl": pickled}, zipfile.ZIP_DEFLATED))
        size = struct.pack("<I", len(pickled))
        while (place := content.find(size)) >= 0:
            content[place : place + 4] = struct.pack("<I", 100)
        assert "damaged" in refusal(bytes(content))

    def test_packed_checkpoints_are_read(self, tmp_path: Path) -> None:
        members = unzipped(fixture_path("rosinality_64"))
        path = tmp_path / "packed"
        path.write_bytes(zipped(members, zipfile.ZIP_DEFLATED))
        assert read_checkpoint(path).model_id == read_checkpoint(fixture_path("rosinality_64")).model_id

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_other_compression_methods_are_refused(self, method: int, refusal: Refusal) -> None:
        assert "uses an unsupported compression" in refusal(zipped(unzipped(fixture_path("rosinality_64")), method))

    def test_a_large_pickle(self, refusal: Refusal) -> None:
        content = fixture_path("rosinality_64").read_bytes()
        assert "the limit is 1000" in refusal(content, ReadLimits(pickle_bytes=1000))
        assert "more than 100 opcodes" in refusal(content, ReadLimits(opcodes=100))
        assert "members" in refusal(content, ReadLimits(zip_members=20))

    def test_a_large_directory(self, refusal: Refusal) -> None:
        content = zipped({f"a/{index}": b"" for index in range(50)})
        assert "directory of the zip" in refusal(content, ReadLimits(zip_members=1))

    @pytest.mark.parametrize(
        ("members", "reason"),
        [
            ({"a/readme": b""}, "without exactly one data.pkl"),
            ({"data.pkl": b"N."}, "without exactly one data.pkl"),
            ({"a/data.pkl": b"N.", "b/data.pkl": b"N."}, "without exactly one data.pkl"),
            ({"a/data.pkl": b"N.", "a/constants.pkl": b"N.", "a/code/x.py": b""}, "TorchScript"),
            ({"a/data.pkl": b"N.N."}, "2 bytes after its end"),
            ({"a/data.pkl": b""}, "truncated"),
            ({"a/data.pkl": b"N.", "a/byteorder": b"big"}, "big-endian"),
            ({"a/data.pkl": b"N."}, "contains None"),
        ],
    )
    def test_zips_of_something_else(self, members: dict[str, bytes], reason: str, refusal: Refusal) -> None:
        assert reason in refusal(zipped(members))

    def test_two_members_with_the_same_name(self, refusal: Refusal) -> None:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a/data.pkl", b"N.")
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("a/data.pkl", pickle.dumps(Attack(Path("canary"))))
        assert "several members with the same name" in refusal(stream.getvalue())


class TestLegacyFiles:
    @staticmethod
    def saved(value: Any) -> bytes:
        stream = io.BytesIO()
        torch.save(value, stream, _use_new_zipfile_serialization=False)
        return stream.getvalue()

    def test_truncated(self, refusal: Refusal) -> None:
        data = self.saved(torch.load(fixture_path("rosinality_64"), weights_only=True))
        for end in np.linspace(50, len(data) - 1, 40, dtype=int).tolist():
            assert "truncated" in refusal(data[:end])

    def test_inconsistent_lists_of_storages(self, refusal: Refusal) -> None:
        data = self.saved({"g_ema": {"a": torch.zeros(2)}})
        start = data.rindex(b"\x80\x02]")  # the list of keys, the number of elements, the elements
        key = data[start + 10 : data.index(b"q\x01a.", start)]
        assert data[start:] == b"\x80\x02]q\x00X" + struct.pack("<I", len(key)) + key + b"q\x01a." + (
            struct.pack("<q2f", 2, 0, 0)
        )
        assert "not a known generator" in refusal(data)
        assert "names storages that no tensor" in refusal(data[:start] + data[start:].replace(key, b"9" * len(key)))
        assert "does not match the tensors" in refusal(data[:start] + b"\x80\x02]." + data[-16:])
        assert "3 elements, but its tensor declares 2" in refusal(data[:-16] + struct.pack("<q3f", 3, 0, 0, 0))
