from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.generator import Generator

Call = Callable[..., subprocess.CompletedProcess[str]]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_one_png_a_seed_and_their_paths_on_standard_output(
    run: Call, artifact: Artifact, generator: Generator, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "folder"
    done = run("generate", "--model", artifact.folder, "--seeds", "0-2,7", "--trunc", "0.5", "--outdir", out)
    assert done.returncode == 0, done.stderr
    names = ["seed0000.png", "seed0001.png", "seed0002.png", "seed0007.png"]
    assert done.stdout == "".join(f"{out / name}\n" for name in names)
    assert sorted(path.name for path in out.iterdir()) == names
    assert done.stderr == f"{generator.backend_reason}\n"
    for name, expected in zip(names, generator.generate([0, 1, 2, 7], psi=0.5), strict=True):
        with Image.open(out / name) as image:
            assert (image.format, image.size, image.mode) == ("PNG", (32, 32), "RGB")
            np.testing.assert_array_equal(np.asarray(image), expected)


def test_a_seed_gives_the_same_bytes_alone_and_among_others(call: Call, artifact: Artifact, tmp_path: Path) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    model = ("--model", artifact.folder)
    assert call("generate", *model, "--seeds", "0-10", "--out", together, "--batch", 4).returncode == 0
    for seed in (0, 7, 10):
        assert call("generate", *model, "--seeds", seed, "--out", alone).returncode == 0
        name = f"seed{seed:04d}.png"
        assert (alone / name).read_bytes() == (together / name).read_bytes()


def test_seeds_keep_their_order_and_long_ones_their_digits(call: Call, artifact: Artifact, tmp_path: Path) -> None:
    done = call("generate", "--model", artifact.folder, "--seeds", "4294967295, 5,0-1", "--out", tmp_path)
    written = [Path(line).name for line in done.stdout.splitlines()]
    assert written == ["seed4294967295.png", "seed0005.png", "seed0000.png", "seed0001.png"]


def test_a_model_in_the_home_is_found_by_name(call: Call, artifact: Artifact, home: Path, tmp_path: Path) -> None:
    (home / "artifacts").mkdir(parents=True)
    (home / "artifacts" / "small").symlink_to(artifact.folder)
    assert call("generate", "--model", "small", "--seeds", 0, "--out", tmp_path / "named").returncode == 0
    assert call("generate", "--model", artifact.folder, "--seeds", 0, "--out", tmp_path / "path").returncode == 0
    named, path = (tmp_path / folder / "seed0000.png" for folder in ("named", "path"))
    assert named.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "suffix", "format"),
    [("jpeg", ".jpg", "JPEG"), ("jpg", ".jpg", "JPEG"), ("webp", ".webp", "WEBP"), ("png", ".png", "PNG")],
)
def test_formats_that_are_pictures(
    call: Call, artifact: Artifact, tmp_path: Path, name: str, suffix: str, format: str
) -> None:
    done = call("generate", "--model", artifact.folder, "--seeds", 3, "--out", tmp_path, "--format", name)
    path = tmp_path / f"seed0003{suffix}"
    assert (done.returncode, done.stdout) == (0, f"{path}\n")
    with Image.open(path) as image:
        assert (image.format, image.size) == (format, (32, 32))


def test_formats_that_are_arrays(call: Call, artifact: Artifact, generator: Generator, tmp_path: Path) -> None:
    expected = generator.generate([3])[0]
    for name in ("npy", "raw"):
        done = call("generate", "--model", artifact.folder, "--seeds", 3, "--out", tmp_path, "--format", name)
        assert (done.returncode, done.stdout) == (0, f"{tmp_path / f'seed0003.{name}'}\n")
    np.testing.assert_array_equal(np.load(tmp_path / "seed0003.npy", allow_pickle=False), expected)
    assert (tmp_path / "seed0003.raw").read_bytes() == expected.tobytes()


@pytest.mark.parametrize(("name", "suffix"), [("jpeg", ".jpg"), ("webp", ".webp")])
def test_quality_trades_bytes_for_detail(
    call: Call, artifact: Artifact, tmp_path: Path, name: str, suffix: str
) -> None:
    sizes = []
    for quality in (1, None, 100):
        option = [] if quality is None else ["--quality", quality]
        done = call("generate", "--model", artifact.folder, "--seeds", 0, "--out", tmp_path, "--format", name, *option)
        assert done.returncode == 0
        sizes.append((tmp_path / f"seed0000{suffix}").stat().st_size)
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(("seeds", "columns", "rows"), [("0", 1, 1), ("0-6", 4, 2), ("0-7", 4, 2)])
def test_grid_has_the_images_row_by_row(
    call: Call, artifact: Artifact, tmp_path: Path, seeds: str, columns: int, rows: int
) -> None:
    grid = tmp_path / "sheets" / "all.png"
    done = call("generate", "--model", artifact.folder, "--seeds", seeds, "--out", tmp_path / "out", "--grid", grid)
    assert done.returncode == 0, done.stderr
    *images, last = done.stdout.splitlines()
    assert last == str(grid)
    sheet = pixels(grid)
    assert sheet.shape == (rows * 32, columns * 32, 3)
    cells = sheet.reshape(rows, 32, columns, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)
    for cell, path in zip(cells, images, strict=False):
        np.testing.assert_array_equal(cell, pixels(Path(path)))
    assert (cells[len(images) :] == 255).all()


def test_grid_takes_the_format_of_its_suffix(call: Call, artifact: Artifact, tmp_path: Path) -> None:
    grid = tmp_path / "all.JPG"
    done = call("generate", "--model", artifact.folder, "--seeds", "0-1", "--out", tmp_path, "--grid", grid)
    assert done.returncode == 0, done.stderr
    with Image.open(grid) as image:
        assert (image.format, image.size) == ("JPEG", (64, 32))


def test_psi_and_cutoff_are_the_engine_s(call: Call, artifact: Artifact, generator: Generator, tmp_path: Path) -> None:
    options = ("--psi", 0.2, "--cutoff", 2)
    assert call("generate", "--model", artifact.folder, "--seeds", 3, "--out", tmp_path, *options).returncode == 0
    found = pixels(tmp_path / "seed0003.png")
    np.testing.assert_array_equal(found, generator.generate([3], psi=0.2, cutoff=2)[0])
    assert (found != generator.generate([3], psi=0.2)[0]).any()


def test_deterministic_one_thread_and_the_named_backend_work_too(
    call: Call, artifact: Artifact, generator: Generator, tmp_path: Path
) -> None:
    options = ("--deterministic", "--threads", 1, "--batch", 4, "--backend", "onnxruntime", "--device", "cpu")
    done = call("generate", "--model", artifact.folder, "--seeds", "0-4", "--out", tmp_path, *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("onnxruntime: requested by name (")
    assert len(done.stdout.splitlines()) == 5
    np.testing.assert_array_equal(pixels(tmp_path / "seed0004.png"), generator.generate([4])[0])


@pytest.mark.parametrize("command", ["generate", "--help", "models show"])
def test_a_reader_that_leaves_early_does_not_cause_a_crash(
    run: Call, artifact: Artifact, tmp_path: Path, command: str
) -> None:
    arguments = ["generate", "--model", artifact.folder, "--seeds", "0-40", "--out", tmp_path]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(*(arguments if command == "generate" else command.split()), stdout=writer)
    finally:
        os.close(writer)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "Broken" not in done.stderr


class TestLatents:
    """--w FILE."""

    def generate(self, call: Call, artifact: Artifact, file: Path, *more: object) -> list[np.ndarray]:
        done = call("generate", "--model", artifact.folder, "--w", file, "--out", file.parent / "out", *more)
        assert done.returncode == 0, done.stderr
        paths = [Path(line) for line in done.stdout.splitlines()]
        assert [path.name for path in paths] == [f"w{index:04d}.png" for index in range(len(paths))]
        return [pixels(path) for path in paths]

    def test_w_rows(self, call: Call, artifact: Artifact, generator: Generator, tmp_path: Path) -> None:
        rows = generator.styles([3, 4])[:, 0]
        np.save(tmp_path / "w.npy", rows)
        found = self.generate(call, artifact, tmp_path / "w.npy")
        np.testing.assert_array_equal(found, generator.generate([3, 4]))
        np.save(tmp_path / "one.npy", rows[1].astype(np.float64))
        np.testing.assert_array_equal(self.generate(call, artifact, tmp_path / "one.npy"), generator.generate([4]))

    def test_ws_as_the_reference_projector_writes_it(
        self, call: Call, artifact: Artifact, generator: Generator, tmp_path: Path
    ) -> None:
        styles = generator.styles([3])
        styles[0, 2:] = generator.styles([4])[0, 2:]
        np.savez(tmp_path / "projected_w.npz", w=styles, loss=np.zeros(3))
        found = self.generate(call, artifact, tmp_path / "projected_w.npz")
        np.testing.assert_array_equal(found, generator.generate(ws=styles))
        np.savez_compressed(tmp_path / "any.npz", latent=styles)
        np.testing.assert_array_equal(self.generate(call, artifact, tmp_path / "any.npz"), found)

    def test_psi_applies_when_it_is_given(
        self, call: Call, artifact: Artifact, generator: Generator, tmp_path: Path
    ) -> None:
        rows = generator.styles([3], psi=1.0)[:, 0]
        np.save(tmp_path / "w.npy", rows)
        found = self.generate(call, artifact, tmp_path / "w.npy", "--psi", 0.3)
        np.testing.assert_array_equal(found, generator.generate(w=rows, psi=0.3))
        assert (found[0] != self.generate(call, artifact, tmp_path / "w.npy")[0]).any()

    def test_more_rows_than_a_batch(self, call: Call, artifact: Artifact, generator: Generator, tmp_path: Path) -> None:
        np.save(tmp_path / "w.npy", generator.styles(range(5)))
        found = self.generate(call, artifact, tmp_path / "w.npy", "--batch", 2)
        np.testing.assert_array_equal(found, generator.generate(range(5)))


class _Explosive:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


def _huge() -> bytes:
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**13, 12)}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def _flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes(byte ^ 0xFF for byte in data[position : position + 4]) + data[position + 4 :]


@pytest.mark.parametrize("wrap", ["npy", "npz"])
def test_pickled_latents_are_refused_and_never_run(
    call: Call, line_of: Callable[..., str], artifact: Artifact, tmp_path: Path, wrap: str
) -> None:
    marker, file = tmp_path / "it ran", tmp_path / f"w.{wrap}"
    array = np.array([_Explosive(marker)], dtype=object)
    file.write_bytes(_npy(array) if wrap == "npy" else _npz(w=array))
    done = call("generate", "--model", artifact.folder, "--w", file, "--out", tmp_path / "out")
    assert not marker.exists()
    assert "never unpickled; save an array of numbers" in line_of(done, 2)
    np.load(file, allow_pickle=True) if wrap == "npy" else np.load(file, allow_pickle=True)["w"]
    assert marker.exists()  # so the file was a fair test


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("text.npy", b"0.1 0.2", "is neither .npy nor .npz"),
        ("empty.npy", b"", "is neither .npy nor .npz"),
        ("cut.npy", _npy(np.zeros((2, 12)))[:-20], "has no latents"),
        ("header.npy", b"\x93NUMPY\x01\x00\x10\x00{(((((((((((((((", "has no latents"),
        ("huge.npy", _huge(), "has no latents"),
        ("cut.npz", _npz(w=np.zeros((2, 12)))[:-20], "has no latents"),
        ("altered.npz", _flipped(_npz(w=np.zeros((2, 12))), 60), "has no latents"),
        ("two.npz", _npz(a=np.zeros(12), b=np.zeros(12)), "it has the arrays a, b, and none is called w"),
        ("none.npz", _npz(), "and none is called w"),
        ("words.npy", _npy(np.array(["face"])), "not real numbers"),
        ("complex.npy", _npy(np.zeros((1, 12), dtype=complex)), "it holds complex128, not real numbers"),
        ("fields.npy", _npy(np.zeros(3, dtype=[("a", "f4"), ("b", "i4")])), "not real numbers"),
        ("scalar.npy", _npy(np.float32(1)), "give [N, w_dim] or [N, num_ws, w_dim]"),  # type: ignore[arg-type]
        ("deep.npy", _npy(np.zeros((1, 1, 8, 12))), "give [N, w_dim] or [N, num_ws, w_dim]"),
        ("rows.npy", _npy(np.zeros((0, 12))), "holds no latents"),
        ("wrong.npy", _npy(np.zeros((1, 5))), "shape (1, 5) does not fit [N, 12]"),
        ("layers.npy", _npy(np.zeros((1, 7, 12))), "shape (1, 7, 12) does not fit [N, 8, 12]"),
        ("nan.npy", _npy(np.full((1, 12), np.nan)), "not finite"),
        ("large.npy", _npy(np.full((1, 12), 1e300)), "not finite"),
    ],
)
def test_files_without_latents_are_refused_in_one_line(
    call: Call,
    line_of: Callable[..., str],
    artifact: Artifact,
    tmp_path: Path,
    name: str,
    content: bytes,
    problem: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    done = call("generate", "--model", artifact.folder, "--w", tmp_path / name, "--out", tmp_path / "out")
    line = line_of(done, 2)
    assert line.startswith("nonesuch: --w: ")
    assert problem in line
