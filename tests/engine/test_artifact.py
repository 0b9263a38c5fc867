from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nonesuch.engine.artifact import MANIFEST_FILE, MAPPING_FILE, W_AVG_FILE, Artifact, find_artifact
from nonesuch.engine.errors import ArtifactError, BackendError, ModelNotFoundError
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.engine.session import SessionOptions

FILES = [MANIFEST_FILE, MAPPING_FILE, "synthesis.onnx", "synthesis-haar-butterfly.onnx", W_AVG_FILE, "README.md"]


@pytest.fixture
def copy(artifact: Artifact, tmp_path: Path) -> Path:
    """A copy of the tiny artifact for the test to damage."""
    return shutil.copytree(artifact.folder, tmp_path / "copy")


def refusal(folder: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        Artifact.open(folder)
    assert "\n" not in caught.value.message
    return caught.value.message


def put(folder: Path, name: str, data: bytes) -> Artifact:
    """Replace a file and its hash in the manifest, as the author of an artifact can."""
    (folder / name).write_bytes(data)
    content = json.loads((folder / MANIFEST_FILE).read_bytes())
    content["files"][name] = hashlib.sha256(data).hexdigest()
    for variant in content["variants"]:
        variant["sha256"] = content["files"][variant["file"]]
    (folder / MANIFEST_FILE).write_text(json.dumps(content))
    return Artifact.open(folder)


def test_the_exporter_writes_exactly_the_tested_files(artifact: Artifact) -> None:
    assert sorted(path.name for path in artifact.folder.iterdir()) == sorted(FILES)
    assert sorted([MANIFEST_FILE, *artifact.manifest.files]) == sorted(FILES)


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_altered_byte_is_found_in_every_file(copy: Path, name: str, place: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[{"first": 0, "middle": len(data) // 2, "last": -1}[place]] ^= 1
    (copy / name).write_bytes(data)
    message = refusal(copy)
    assert str(copy / name) in message
    assert "was altered" in message


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_found(copy: Path, name: str) -> None:
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: len(data) // 2])
    assert name in refusal(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    message = refusal(copy)
    assert str(copy / name) in message
    assert "export the model again" in message


@pytest.mark.parametrize("name", FILES)
def test_a_folder_instead_of_a_file_is_rejected(copy: Path, name: str) -> None:
    (copy / name).unlink()
    (copy / name).mkdir()
    assert name in refusal(copy)


@pytest.mark.parametrize("name", [MAPPING_FILE, W_AVG_FILE])
def test_a_manifest_must_list_the_files_that_every_model_has(copy: Path, name: str) -> None:
    content = json.loads((copy / MANIFEST_FILE).read_bytes())
    del content["files"][name]
    (copy / MANIFEST_FILE).write_text(json.dumps(content))
    assert f"does not list {name}" in refusal(copy)


def test_a_newer_format_is_rejected_by_number(copy: Path) -> None:
    (copy / MANIFEST_FILE).write_text('{"format": 2}')
    message = refusal(copy)
    assert "format 2" in message
    assert "install a newer nonesuch" in message


def test_an_oversized_manifest_is_not_read(copy: Path) -> None:
    with (copy / MANIFEST_FILE).open("ab") as stream:
        stream.truncate(5 << 20)
    assert "more than" in refusal(copy)


def test_a_file_is_checked_again_when_it_is_read(copy: Path) -> None:
    opened = Artifact.open(copy)
    (copy / MAPPING_FILE).write_bytes(b"swapped after opening")
    with pytest.raises(ArtifactError, match="was altered"):
        opened.read(MAPPING_FILE)


def test_only_files_of_the_artifact_are_read(copy: Path) -> None:
    (copy.parent / "secret").write_text("secret")
    with pytest.raises(ArtifactError, match="has no file"):
        Artifact.open(copy).read("../secret")


def test_a_runtime_without_a_variant_lists_the_variants(artifact: Artifact) -> None:
    with pytest.raises(
        ArtifactError,
        match=r"no variant for tensorrt; it has synthesis\.onnx \(fp32, const noise, haar_conv_transpose, gemm, for o",
    ):
        artifact.variant("tensorrt")


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        (MAPPING_FILE, "onnxruntime"),
        ("synthesis.onnx", "onnxruntime"),
        ("synthesis-haar-butterfly.onnx", "openvino"),
    ],
)
def test_an_invalid_graph_is_reported_in_one_line(copy: Path, name: str, backend: str) -> None:
    put(copy, name, b"this is not ONNX")
    with (
        pytest.raises(BackendError) as caught,
        Generator.open(copy, backend=backend, options=SessionOptions(max_batch_size=1)) as generator,
    ):
        generator.generate([0])
    assert name in caught.value.message
    assert "\n" not in caught.value.message


# w_avg.npy: untrusted data in a format that can contain code.


def npy(array: object, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=allow_pickle)
    return buffer.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + b"\0" * 64


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("w_avg.npy", data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        npy(np.zeros(11, np.float32)),
        npy(np.zeros((1, 12), np.float32)),
        npy(np.float32(0)),
        npy(np.zeros(12, np.float64)),
        npy(np.zeros(12, ">f4")),
        npy(np.zeros(12, np.int32)),
        npy(np.full(12, np.nan, np.float32)),
        npy(np.full(12, np.inf, np.float32)),
        npy(np.zeros(12, np.float32))[:-1],
        npy(np.zeros(12, np.float32))[:40],
        zipped(npy(np.zeros(12, np.float32))),
        b"",
        b"not an array",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000,)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-12,)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os')}"),
        header("(" * 5000),
        header("{"),
    ],
)
def test_w_avg_must_be_finite_float32_of_w_dim(copy: Path, data: bytes) -> None:
    opened = put(copy, W_AVG_FILE, data)
    with pytest.raises(ArtifactError) as caught:
        opened.w_avg()
    assert str(copy / W_AVG_FILE) in caught.value.message
    assert "\n" not in caught.value.message


class Touch:
    """Creates a file when it is unpickled, as an example of arbitrary code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_in_w_avg_is_never_executed(copy: Path, tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    elements = np.empty(12, dtype=object)
    elements[:] = [Touch(trap)] * 12
    data = npy(elements, allow_pickle=True)
    with io.BytesIO(data) as stream:
        np.load(stream, allow_pickle=True)
    assert trap.exists(), "the trap itself must work"
    trap.unlink()
    for payload in (data, pickle.dumps(Touch(trap))):
        opened = put(copy, W_AVG_FILE, payload)
        with pytest.raises(ArtifactError):
            opened.w_avg()
        with pytest.raises(ArtifactError):
            Generator.open(copy)
    assert not trap.exists()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_any_bytes_as_w_avg_are_an_array_or_an_artifact_error(copy: Path, data: st.DataObject) -> None:
    content = bytearray(npy(np.arange(12, dtype=np.float32)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    opened = put(copy, W_AVG_FILE, bytes(content))
    with suppress(ArtifactError):
        assert opened.w_avg().shape == (12,)


# find_artifact


@pytest.fixture
def home(artifact: Artifact, tmp_path: Path) -> Home:
    """A home with the models `anna` and `otto`."""
    home = Home(tmp_path / "home")
    for name in ("otto", "anna"):
        shutil.copytree(artifact.folder, home.artifacts / name)
    return home


def test_found_by_path_and_by_name(artifact: Artifact, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_artifact(artifact.folder, home).folder == artifact.folder
    assert find_artifact(str(artifact.folder), home).folder == artifact.folder
    assert find_artifact("anna", home).folder == home.artifacts / "anna"
    monkeypatch.setenv("NONESUCH_HOME", str(home.root))
    assert find_artifact("otto").folder == home.artifacts / "otto"


def test_a_name_takes_precedence_over_a_folder_in_the_working_directory(
    artifact: Artifact, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("anna", "here"):
        shutil.copytree(artifact.folder, tmp_path / "work" / name)
    monkeypatch.chdir(tmp_path / "work")
    assert find_artifact("here", home).folder == Path("here")
    assert find_artifact("anna", home).folder == home.artifacts / "anna"
    assert find_artifact("./anna", home).folder == Path("anna")
    assert find_artifact(Path("anna"), home).folder == Path("anna")


@pytest.mark.parametrize("name", ["karl", "", ".", "..", "x" * 300, "a\0b"])
def test_an_unknown_name_lists_the_models(home: Home, name: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        find_artifact(name, home)
    assert "; available: anna, otto;" in caught.value.message
    assert "nonesuch models list" in caught.value.message
    assert "\n" not in caught.value.message


def test_an_empty_home_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="none is exported yet"):
        find_artifact("faces", Home(tmp_path / "nothing"))


def test_an_unknown_path_says_how_to_make_an_artifact(home: Home, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", str(tmp_path / "nowhere")):
        with pytest.raises(ModelNotFoundError, match="make one with: nonesuch export"):
            find_artifact(path, home)


def test_a_folder_without_a_manifest_is_rejected(tmp_path: Path) -> None:
    assert "manifest.json cannot be read" in refusal(tmp_path)
