"""Randomly changed real files: each is read or refused, and nothing in it runs."""

from __future__ import annotations

import contextlib
import functools
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nonesuch.engine.errors import CheckpointError
from nonesuch.export.formats.detect import read_checkpoint

from .forging import fixture_path

NAMES = ["sg2ada_cond_32", "sg3r_64", "sg2tf_64", "rosinality_64"]


@functools.cache
def structure(name: str) -> list[int]:
    """Return the positions of structural bytes; most other bytes are weights, where a change only changes a weight."""
    path = fixture_path(name)
    data = path.read_bytes()
    if path.suffix == ".pkl":
        return [position for _, _, position in pickletools.genops(data) if position is not None]
    with zipfile.ZipFile(path) as archive:
        pickled = archive.getinfo("rosinality_64/data.pkl")
        places = list(range(pickled.header_offset, pickled.header_offset + pickled.file_size + 100))
        places += [member.header_offset + extra for member in archive.infolist() for extra in (0, 8, 14, 18, 26, 30)]
        return places + list(range(archive.start_dir, len(data)))


KINDS = ["flip", "cut", "insert", "overwrite", "splice"]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.integers(0, 9),  # 0: anywhere; otherwise at a structural byte
        st.integers(0, 1 << 20),
        st.integers(0, 8),
        st.sampled_from([0, 1, 2, 4, 9, 100, 5000]),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


def mutated(name: str, edits: list[tuple[str, int, int, int, int, bytes]]) -> bytes:
    data = bytearray(fixture_path(name).read_bytes())
    places = structure(name)
    for kind, where, index, shift, length, new in edits:
        place = places[index % len(places)] + shift if where else index % len(data)
        if kind == "flip":
            for offset in range(place, min(place + len(new), len(data))):
                data[offset] ^= new[offset - place]
        elif kind == "cut":
            del data[place : place + 1 + length]
        elif kind == "insert":
            data[place:place] = new
        elif kind == "overwrite":
            data[place : place + len(new)] = new
        else:
            source = places[(index * 7) % len(places)]
            data[place:place] = data[source : source + length]
    return bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_changed_files_are_read_or_refused(
    name: str, tmp_path: Path, watched: Callable[[], contextlib.AbstractContextManager[Any]]
) -> None:
    path = tmp_path / "network"

    @settings(max_examples=150, deadline=None)
    @given(EDITS)
    def check(edits: list[tuple[str, int, int, int, int, bytes]]) -> None:
        path.write_bytes(mutated(name, edits))
        message = ""
        with watched():
            try:
                read_checkpoint(path)
            except CheckpointError as error:
                message = error.message
        assert "\n" not in message
        assert len(message) < len(str(path)) + 400

    check()
    assert list(tmp_path.iterdir()) == [path]
