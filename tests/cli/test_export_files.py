"""Checkpoint files of others: exported, generated from, served; other files are refused in one line."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nonesuch.client import Client, RequestError

from ..conftest import REPOSITORY
from .conftest import Call, LineOf, Start

FIXTURES = REPOSITORY / "tests" / "fixtures"


def test_a_checkpoint_is_exported_and_served_with_all_its_controls(
    call: Call, start: Start, home: Path, tmp_path: Path
) -> None:
    out = tmp_path / "X"
    outcome = call("export", FIXTURES / "rosinality_64.pt", "--out", out)
    assert (outcome.returncode, outcome.stdout) == (0, f"{out}\n"), outcome.stderr
    assert "against PyTorch" in outcome.stderr
    with start("serve", "--grpc", "127.0.0.1:0", "--model", out) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        with Client(lines[1].split()[1]) as client:
            model = client.model()
            assert (model.name, model.family, model.resolution) == ("rosinality_64", "stylegan2", 64)
            plain = client.generate(seed=1, format="raw")
            assert client.generate(seed=1, format="raw", cutoff=2).data != plain.data
            ws = np.zeros((model.num_ws, model.w_dim))
            assert client.generate(ws=ws, format="raw").data != plain.data
            with pytest.raises(RequestError, match="has no classes"):
                client.generate(seed=1, class_index=0)
            with pytest.raises(RequestError, match="has 7 values; the model takes"):
                client.generate(w=[0.0] * 7)


def test_a_conditional_model_needs_its_class_and_shows_it(
    call: Call, line_of: LineOf, home: Path, tmp_path: Path
) -> None:
    assert call("export", FIXTURES / "sg2ada_cond_32.pkl", "--name", "classes").returncode == 0
    generate = ("generate", "--model", "classes", "--seeds", "1", "--out", tmp_path)
    assert "needs a class, 0 to 4" in line_of(call(*generate), code=2)
    assert "has the classes 0 to 4" in line_of(call(*generate, "--class", "5"), code=2)
    pictures = []
    for number in ("0", "3"):
        assert call(*generate, "--class", number).returncode == 0
        pictures.append(np.asarray(Image.open(tmp_path / "seed0001.png")))
    assert (pictures[0] != pictures[1]).any()


def test_variants_are_exported_and_chosen_by_name(call: Call, line_of: LineOf, home: Path, tmp_path: Path) -> None:
    export = ("export", FIXTURES / "sg2ada_64.pkl", "--precision", "fp32,fp16", "--noise-mode", "random")
    outcome = call(*export, "--out", tmp_path / "X")
    assert outcome.returncode == 0, outcome.stderr
    assert "float16 simulated, PSNR" in outcome.stderr
    model = ("--model", tmp_path / "X", "--seeds", "1")
    pictures = {}
    for name, options in {
        "own": (),
        "again": (),
        "other": ("--noise-seed", "9"),
        "half": ("--precision", "fp16"),
    }.items():
        assert call("generate", *model, *options, "--out", tmp_path / name).returncode == 0
        pictures[name] = np.asarray(Image.open(tmp_path / name / "seed0001.png")).astype(int)
    np.testing.assert_array_equal(pictures["own"], pictures["again"])
    assert (pictures["own"] != pictures["other"]).any()
    # Half precision of the same picture; this runtime computes most of it in float32.
    assert np.abs(pictures["own"] - pictures["half"]).max() <= 8
    refused = call("generate", *model, "--noise-mode", "none", "--out", tmp_path / "refused")
    assert "has no none noise variant for openvino/onnxruntime; it has synthesis-random-noise.onnx" in line_of(refused)


def test_a_stylegan3_picture_moves(call: Call, home: Path, tmp_path: Path) -> None:
    assert call("export", FIXTURES / "sg3r_64.pkl", "--out", tmp_path / "X").returncode == 0
    pictures = {}
    for name, options in {"still": (), "moved": ("--translate", "0.25", "0", "--rotate", "20")}.items():
        outcome = call("generate", "--model", tmp_path / "X", "--seeds", "1", *options, "--out", tmp_path / name)
        assert outcome.returncode == 0, outcome.stderr
        pictures[name] = np.asarray(Image.open(tmp_path / name / "seed0001.png"))
    assert (pictures["still"] != pictures["moved"]).any()


def test_directions_are_found_drawn_and_followed(call: Call, home: Path, tmp_path: Path) -> None:
    assert call("export", FIXTURES / "rosinality_64.pt", "--name", "r").returncode == 0
    file, sheet = tmp_path / "d.npz", tmp_path / "d.png"
    outcome = call("directions", "--model", "r", "--count", "2", "--out", file, "--grid", sheet)
    assert outcome.stdout.split() == [str(file), str(sheet)], outcome.stderr
    with Image.open(sheet) as picture:
        assert picture.size == (5 * 64, 2 * 64)
    generate = ("generate", "--model", "r", "--seeds", "1", "--out", tmp_path)
    assert call(*generate).returncode == 0
    still = np.asarray(Image.open(tmp_path / "seed0001.png"))
    assert call(*generate, "--direction", file, "0", "0").returncode == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "seed0001.png")), still)
    assert call(*generate, "--direction", file, "0", "4").returncode == 0
    assert (np.asarray(Image.open(tmp_path / "seed0001.png")) != still).any()


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_a_file_that_is_not_a_checkpoint_is_refused_in_one_line_and_nothing_runs_or_is_written(
    call: Call, line_of: LineOf, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    real = (FIXTURES / "sg2ada_64.pkl").read_bytes()
    bad = {
        "empty.pkl": b"",
        "random.pt": bytes(np.random.RandomState(0).bytes(5000)),
        "cut.pkl": real[: len(real) // 2],
        "hostile.pkl": pickle.dumps({"G_ema": Hostile()}),
        "text.pt": b"hello, world\n" * 50,
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        outcome = call("export", tmp_path / name, "--out", tmp_path / "X")
        assert name in line_of(outcome), name
        assert not (tmp_path / "X").exists()
    assert not (tmp_path / "executed").exists()
    assert "system" in line_of(call("export", tmp_path / "hostile.pkl", "--out", tmp_path / "X"))
    assert "there is no file" in line_of(call("export", "nothing/here.pkl", "--out", tmp_path / "X"))


@pytest.mark.parametrize("arguments", [("--precision", "int8"), ("--name", "a/b"), ("--precision", "fp32,fp32")])
def test_wrong_export_options_are_usage_errors(call: Call, home: Path, arguments: tuple[str, ...]) -> None:
    assert call("export", FIXTURES / "sg2ada_64.pkl", *arguments).returncode == 2


def test_another_file_of_the_same_name_is_not_passed_off_as_exported(
    call: Call, line_of: LineOf, home: Path, tmp_path: Path
) -> None:
    for folder, fixture in (("a", "rosinality_64.pt"), ("b", "sg2ada_cond_32.pkl")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "network.pkl").write_bytes((FIXTURES / fixture).read_bytes())
    export = ("export", tmp_path / "a" / "network.pkl")
    assert call(*export).returncode == 0
    assert call(*export).returncode == 0
    message = line_of(call("export", tmp_path / "b" / "network.pkl"))
    assert "'network' is exported already, from another file (network.pkl); choose another --name" in message
    assert "without the fp16 variant" in line_of(call(*export, "--precision", "fp16"))
    assert call("export", tmp_path / "b" / "network.pkl", "--force").returncode == 0
    assert call("export", tmp_path / "b" / "network.pkl", "--from", tmp_path / "x").returncode == 2
