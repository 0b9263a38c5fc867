from __future__ import annotations

import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nonesuch.client import Client
from nonesuch.engine.artifact import Artifact
from nonesuch.engine.generator import Generator
from nonesuch.engine.style_mix import LayerGroup, StyleMix

Call = Callable[..., subprocess.CompletedProcess[str]]
LineOf = Callable[..., str]
Start = Callable[..., AbstractContextManager[subprocess.Popen[str]]]
ReadUntil = Callable[[subprocess.Popen[str], str], list[str]]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def serve(start: Start, artifact: Artifact, *options: object) -> AbstractContextManager[subprocess.Popen[str]]:
    return start("serve", "--grpc", "127.0.0.1:0", "--model", artifact.folder, "--log-level", "error", *options)


@pytest.fixture(scope="module")
def announced(start: Start, read_until: ReadUntil, artifact: Artifact) -> Iterator[list[str]]:
    """What a running server printed."""
    with serve(start, artifact, "--max-images-per-stream", 3) as process:
        yield read_until(process, "^try .*\n")


@pytest.fixture
def address(announced: list[str]) -> str:
    return announced[1].split()[1]


def test_the_line_that_serve_prints_fetches_what_generate_makes(
    announced: list[str], generator: Generator, tmp_path: Path
) -> None:
    what, where, line = announced
    assert what == "serving tiny, 32x32"
    host, _, port = where.removeprefix("gRPC").strip().partition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
    command = shlex.split(line.removeprefix("try"))
    command[command.index("--out") + 1] = str(tmp_path)
    done = subprocess.run([*command, "--format", "png"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    # More seeds than the server takes in one stream; each path is printed once its file is there.
    paths = sorted(Path(path) for path in done.stdout.splitlines())
    assert paths == [tmp_path / f"seed{seed:04d}.png" for seed in range(8)]
    for path, expected in zip(paths, generator.generate(range(8)), strict=True):
        np.testing.assert_array_equal(pixels(path), expected)


def test_fetch_writes_a_grid(call: Call, address: str, tmp_path: Path) -> None:
    grid = tmp_path / "all.png"
    options = ("--format", "png", "--trunc", 0.5, "--cutoff", 3, "--grid", grid)
    done = call("fetch", "--server", address, "--seeds", "10-16", "--outdir", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(grid)
    sheet = pixels(grid)
    assert sheet.shape == (64, 128, 3)
    for index in range(7):
        top, left = index // 4 * 32, index % 4 * 32
        cell = sheet[top : top + 32, left : left + 32]
        np.testing.assert_array_equal(cell, pixels(tmp_path / "out" / f"seed{10 + index:04d}.png"))
    assert (sheet[32:, 96:] == 255).all()


@pytest.mark.parametrize(
    ("options", "mixing"),
    [
        ("--mix 42:coarse", [StyleMix(42, LayerGroup.COARSE)]),
        ("--mix 42:0-1,3 --mix 7:middle --psi 0.5", [StyleMix(42, (0, 1, 3)), StyleMix(7, LayerGroup.MIDDLE)]),
    ],
)
def test_fetch_mixes_as_the_engine_does(
    call: Call, address: str, generator: Generator, tmp_path: Path, options: str, mixing: list[StyleMix]
) -> None:
    more = ("--noise-mode", "const", "--format", "raw", *options.split())
    done = call("fetch", "--server", address, "--seeds", "4-7", "--out", tmp_path, *more)
    assert done.returncode == 0, done.stderr
    psi = 0.5 if "--psi" in options else None
    expected = generator.generate(range(4, 8), mixing=mixing, psi=psi)
    found = [(tmp_path / f"seed{seed:04d}.raw").read_bytes() for seed in range(4, 8)]
    assert found == [image.tobytes() for image in expected]
    assert (expected != generator.generate(range(4, 8), psi=psi)).any()


class TestLatents:
    """--w FILE."""

    def fetch(self, call: Call, address: str, file: Path, *options: object) -> list[bytes]:
        out = file.parent / "out"
        done = call("fetch", "--server", address, "--w", file, "--out", out, "--format", "raw", *options)
        assert done.returncode == 0, done.stderr
        names = sorted(path.name for path in out.iterdir())
        assert sorted(Path(line).name for line in done.stdout.splitlines()) == names
        assert names == [f"w{index:04d}.raw" for index in range(len(names))]
        return [(out / name).read_bytes() for name in names]

    def test_w_rows(self, call: Call, address: str, generator: Generator, tmp_path: Path) -> None:
        rows = generator.styles(range(5), psi=1.0)[:, 0]  # more than the server takes in one stream
        np.save(tmp_path / "w.npy", rows)
        found = self.fetch(call, address, tmp_path / "w.npy")
        assert found == [image.tobytes() for image in generator.generate(w=rows)]

    def test_ws_with_truncation_and_a_mix(self, call: Call, address: str, generator: Generator, tmp_path: Path) -> None:
        styles = generator.styles([3, 4], psi=1.0)
        styles[:, 2:] = styles[::-1, 2:]
        np.savez(tmp_path / "projected_w.npz", w=styles)
        options = ("--psi", 0.5, "--cutoff", 3, "--mix", "9:middle")
        found = self.fetch(call, address, tmp_path / "projected_w.npz", *options)
        mixing = [StyleMix(9, LayerGroup.MIDDLE)]
        expected = generator.generate(ws=styles, psi=0.5, cutoff=3, mixing=mixing)
        assert found == [image.tobytes() for image in expected]

    def test_latents_beyond_one_request(
        self, call: Call, address: str, generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        streams: list[int] = []
        stream = Client.stream

        def counted(client: Client, *arguments: Any, **options: Any) -> Any:
            streams.append(len(options["ws"]))
            return stream(client, *arguments, **options)

        monkeypatch.setattr(Client, "stream", counted)
        rows = generator.styles(range(3), psi=1.0)
        monkeypatch.setattr("nonesuch.cli.fetch_command._LATENT_BYTES", 2 * rows[0].nbytes + 1)
        np.save(tmp_path / "ws.npy", rows)
        found = self.fetch(call, address, tmp_path / "ws.npy")
        assert streams == [2, 1]
        assert found == [image.tobytes() for image in generator.generate(ws=rows)]

    def test_the_grid_of_latents_is_written_with_their_psi(
        self, call: Call, address: str, generator: Generator, tmp_path: Path
    ) -> None:
        np.save(tmp_path / "w.npy", generator.styles([1, 2], psi=1.0)[:, 0])
        options = ("--w", tmp_path / "w.npy", "--format", "png", "--grid", tmp_path / "all.png")
        done = call("fetch", "--server", address, "--out", tmp_path / "out", *options)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / "all.png") as sheet, Image.open(tmp_path / "out" / "w0000.png") as picture:
            assert sheet.info["nonesuch:psi"] == picture.info["nonesuch:psi"] == "1"

    @pytest.mark.parametrize(
        ("rows", "problem"),
        [
            (np.zeros((0, 12)), "the file holds no latents"),
            (np.zeros((1, 7)), "7"),
            (np.full((1, 12), np.nan), "not finite"),
        ],
    )
    def test_rows_that_are_refused(
        self, call: Call, line_of: LineOf, address: str, tmp_path: Path, rows: np.ndarray, problem: str
    ) -> None:
        np.save(tmp_path / "w.npy", rows)
        done = call("fetch", "--server", address, "--w", tmp_path / "w.npy", "--out", tmp_path / "out")
        line = line_of(done, 2)
        assert line.startswith("nonesuch: --w: ")
        assert problem in line


@pytest.mark.parametrize("name", ["jpeg", "jpg", "webp", "npy", "raw"])
def test_fetch_and_generate_write_the_same_pixels_in_every_format(
    call: Call, address: str, artifact: Artifact, tmp_path: Path, name: str
) -> None:
    options = ("--seeds", 5, "--psi", 0.9, "--format", name)
    here, there = tmp_path / "here", tmp_path / "there"
    assert call("generate", "--model", artifact.folder, "--out", here, *options).returncode == 0
    assert call("fetch", "--server", address, "--model", "tiny", "--out", there, *options).returncode == 0
    (ours,), (theirs,) = here.iterdir(), there.iterdir()
    assert ours.name == theirs.name
    if name in {"npy", "raw"}:
        assert ours.read_bytes() == theirs.read_bytes()
    else:
        np.testing.assert_array_equal(pixels(ours), pixels(theirs))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--psi 3", "nonesuch: --psi: 3.0 is not within [-2, 2]"),
        ("--cutoff 9", "nonesuch: --cutoff: 9 is out of range; the model has 8 layers"),
        ("--cutoff -1", "nonesuch: --cutoff: -1 is out of range"),
        ("--class 0", "nonesuch: --class: model 'tiny' has no classes"),
        ("--quality 0", "nonesuch: --quality: 0 is out of range; it is 1 to 100"),
        ("--format png --quality 9", "nonesuch: --quality: png is lossless and takes no quality"),
        ("--noise-mode random", "nonesuch: --noise-mode: random noise is not served; the model is loaded with const"),
        ("--w none.npy", "Error: give --seeds, such as --seeds 0-7, or --w FILE"),
        ("--mix 42", "Error: Invalid value for '--mix': '42' has no layers; write for example 42:coarse or 42:0-3,7"),
        ("--deadline-s inf", "nonesuch: --deadline-s: inf is out of range; it is more than 0, and finite"),
    ],
)
def test_what_the_server_refuses_is_wrong_usage_by_the_option_s_name(
    call: Call, line_of: LineOf, address: str, tmp_path: Path, options: str, line: str
) -> None:
    done = call("fetch", "--server", address, "--seeds", 0, "--out", tmp_path, *options.split())
    assert line_of(done, 2).startswith(line)


def test_fetch_of_an_unknown_model(call: Call, line_of: LineOf, address: str, tmp_path: Path) -> None:
    done = call("fetch", "--server", address, "--seeds", 0, "--out", tmp_path / "out", "--model", "nope")
    line = line_of(done)
    assert address in line
    assert "no model 'nope' on this server; it has 'tiny'" in line
    assert "leave --model out" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--mix 42:fine", "model 'tiny' has no fine layers; its layers act at 4, 8, 16"),
        ("--mix 42:9", "the model's layers are 0 to 7"),
        ("--translate 0.5 0", "cannot move its picture"),
        ("--rotate 5", "cannot move its picture"),
    ],
)
def test_what_the_model_cannot_do(
    call: Call, line_of: LineOf, address: str, tmp_path: Path, options: str, problem: str
) -> None:
    done = call("fetch", "--server", address, "--seeds", 0, "--out", tmp_path, *options.split())
    assert problem in line_of(done, 2)


def test_fetch_beyond_its_deadline(call: Call, line_of: LineOf, address: str, tmp_path: Path) -> None:
    done = call("fetch", "--server", address, "--seeds", 0, "--out", tmp_path, "--deadline-s", 1e-6)
    line = line_of(done)
    assert f"{address} did not answer within the deadline" in line
    assert "set a larger --deadline-s" in line


def test_fetch_where_nothing_listens(run: Call, line_of: LineOf, tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # taken, and not listening
        address = f"127.0.0.1:{held.getsockname()[1]}"
        done = run("fetch", "--server", address, "--seeds", 0, "--out", tmp_path / "out")
    line = line_of(done)
    assert line.startswith(f"nonesuch: no server is ready at {address}: ")
    assert line.endswith("check --server, or start one with nonesuch serve")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_serve_on_a_taken_port(run: Call, line_of: LineOf, address: str, artifact: Artifact) -> None:
    line = line_of(run("serve", "--grpc", address, "--model", artifact.folder))
    assert line.startswith(f"nonesuch: cannot listen on {address}: it is in use by another server")
    assert "choose another with --grpc HOST:PORT" in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_serve_in_order(
    start: Start, read_until: ReadUntil, artifact: Artifact, number: signal.Signals
) -> None:
    with serve(start, artifact, "--log-level", "info", "--log-json") as process:
        read_until(process, "^try .*\n")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert out == ""
    assert [event for event in ("draining", "stopped") if f'"event": "{event}"' in err] == ["draining", "stopped"]
    assert "Traceback" not in err
