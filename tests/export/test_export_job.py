from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nonesuch.engine.artifact import find_artifact
from nonesuch.engine.errors import CheckpointError, DownloadError, ExportMismatchError
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.export import mean_w
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.download import CatalogueEntry, PackageFile
from nonesuch.export.export_job import ExportJob, export_named
from nonesuch.export.formats.random_face import read_random_face_wheel

WriteWheel = Callable[[Path, Mapping[str, bytes]], Path]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty user's home; w_avg takes fewer seeds, for speed."""
    monkeypatch.setenv("NONESUCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(mean_w, "W_AVG_SAMPLES", 500)
    return Home.default()


@pytest.fixture
def wheel(tmp_path: Path, wheel_members: dict[str, bytes], write_wheel: WriteWheel) -> Path:
    return write_wheel(tmp_path / "tiny-1-py3-none-any.whl", wheel_members)


@pytest.fixture
def entry(wheel: Path) -> CatalogueEntry:
    """A catalogue entry of the tiny model."""
    data = wheel.read_bytes()
    return CatalogueEntry(
        name="tiny",
        summary="noise",
        family="mobilestylegan",
        resolution=32,
        file=PackageFile(
            wheel.name, package="tiny", version="1", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        ),
        licence="none",
        terms="Do as you like.",
        card="https://example.org/",
        read=read_random_face_wheel,
    )


def names(folder: Path) -> list[str]:
    """The names in a folder, without locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") if folder.exists() else []


def test_a_name_becomes_an_artifact_that_generates(
    entry: CatalogueEntry, home: Home, wheel: Path, checkpoint: Checkpoint, generator: Generator
) -> None:
    made = export_named(entry, home, source=wheel)
    assert made.folder == home.artifacts / "tiny"
    assert made.manifest.model_id == checkpoint.model_id
    assert made.manifest.source == entry.weights_source(wheel)
    assert "Do as you like." in (made.folder / "README.md").read_text()
    assert names(home.downloads) == [wheel.name]
    assert names(home.checkpoints) == [checkpoint.model_id]
    assert names(home.artifacts) == ["tiny"]
    # It can be opened by name, also on the PyTorch reference, whose weights were saved.
    expected = generator.generate([1, 2], psi=1.0)
    with Generator.open("tiny") as other:
        np.testing.assert_array_equal(other.generate([1, 2], psi=1.0), expected)
    with Generator.open("tiny", backend="torch") as other:
        found = other.generate([1, 2], psi=1.0)
    # A value between two grey levels may round to either.
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_a_second_export_reuses_the_artifact(entry: CatalogueEntry, home: Home, wheel: Path) -> None:
    first = export_named(entry, home, source=wheel)
    before = first.folder.stat()

    def never(_: Path) -> Checkpoint:
        raise AssertionError("the file was read again")

    again = export_named(replace(entry, read=never), home)
    assert again == first
    assert first.folder.stat() == before


def test_replace_exports_again_without_fetching(entry: CatalogueEntry, home: Home, wheel: Path) -> None:
    first = export_named(entry, home, source=wheel).folder.stat()
    wheel.unlink()
    assert export_named(entry, home, ExportJob(replace=True)).folder.stat().st_ino != first.st_ino
    assert names(home.artifacts) == ["tiny"]


def test_an_export_to_another_folder_leaves_no_artifact_in_the_home(
    entry: CatalogueEntry, home: Home, wheel: Path, tmp_path: Path
) -> None:
    made = export_named(entry, home, ExportJob(out=tmp_path / "mine"), source=wheel)
    assert find_artifact(tmp_path / "mine").manifest == made.manifest
    assert names(home.artifacts) == []
    with pytest.raises(ExportMismatchError, match="exists, and artifacts never change"):
        export_named(entry, home, ExportJob(out=tmp_path / "mine"), source=wheel)


def test_a_wrong_file_leaves_nothing(entry: CatalogueEntry, home: Home, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_bytes(b"wrong")
    with pytest.raises(DownloadError, match="is not the published"):
        export_named(entry, home, source=tmp_path / "wrong")
    for folder in (home.downloads, home.checkpoints, home.artifacts):
        assert names(folder) == []


def test_a_file_that_is_not_a_checkpoint_leaves_no_artifact(entry: CatalogueEntry, home: Home, tmp_path: Path) -> None:
    other = tmp_path / "other.whl"
    other.write_bytes(b"as published, but no wheel")
    assert isinstance(entry.file, PackageFile)
    data = other.read_bytes()
    published = replace(entry.file, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(CheckpointError, match="cannot be read as a wheel"):
        export_named(replace(entry, file=published), home, source=other)
    assert names(home.checkpoints) == names(home.artifacts) == []


def test_two_at_once_make_one_artifact(entry: CatalogueEntry, home: Home, wheel: Path) -> None:
    reads: list[Path] = []

    def read(path: Path) -> Checkpoint:
        reads.append(path)
        return read_random_face_wheel(path)

    counted = replace(entry, read=read)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: export_named(counted, home, source=wheel), range(2))
    assert first == second
    assert len(reads) == 1
