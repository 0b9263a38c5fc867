"""Exit code 2: the user must change the command. One line, or click's usage block and one line."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nonesuch.engine.artifact import Artifact

Call = Callable[..., subprocess.CompletedProcess[str]]
LineOf = Callable[..., str]


@pytest.mark.parametrize(
    ("arguments", "option", "problem"),
    [
        ("--seeds 0-", "--seeds", "'0-' is not a seed or a range of seeds; write for example 0-7,42"),
        ("--seeds 1,,2", "--seeds", "'' is not a seed"),
        ("--seeds -1", "--seeds", "'-1' is not a seed"),
        ("--seeds 1.5", "--seeds", "'1.5' is not a seed"),
        ("--seeds 5-2", "--seeds", "'5-2' ends before it begins"),
        ("--seeds 4294967296", "--seeds", "4294967296 is out of range; seeds are 0 to 4294967295"),
        ("--seeds 0-4294967296", "--seeds", "4294967296 is out of range"),
        ("--seeds 0-200000", "--seeds", "'0-200000' is more than 100000 images; ask for fewer at a time"),
        ("--seeds 0-99999,0", "--seeds", "more than 100000 images"),
        ("--seeds 0 --psi nan", "--psi", "nan is not within [-2, 2]"),
        ("--seeds 0 --psi 3", "--psi", "3.0 is not within [-2, 2]"),
        ("--seeds 0 --psi much", "--psi", "'much' is not a valid float"),
        ("--seeds 0 --format bmp", "--format", "'bmp' is not one of 'jpeg', 'png', 'webp'"),
        ("--seeds 0 --format jpg --quality 0", "--quality", "0 is out of range; it is 1 to 100"),
        ("--seeds 0 --format webp --quality 101", "--quality", "101 is out of range"),
        ("--seeds 0 --quality 90", "--quality", "png is lossless and takes no quality"),
        ("--seeds 0 --cutoff 9", "--cutoff", "9 is out of range; the model has 8 layers"),
        ("--seeds 0 --class 0", "--class", "model 'tiny' has no classes"),
        ("--seeds 0 --batch 0", "--batch", "0 is out of range; it is 1 to 1024"),
        ("--seeds 0 --threads 0", "--threads", "0 is out of range"),
        (
            "--seeds 0 --grid all.gif",
            "--grid",
            "the suffix of 'all.gif' is not an image format; use one of .jpg, .png, .webp",
        ),
        ("--seeds 0 --grid all", "--grid", "the suffix of 'all' is not an image format"),
        ("", "--seeds", "give --seeds, such as --seeds 0-7, or --w FILE"),
        ("--seeds 0 --w w.npy", "--w", "give --seeds, such as --seeds 0-7, or --w FILE"),
        ("--w none.npy", "--w", "none.npy has no latents (No such file or directory)"),
        ("--seeds 0 --frobnicate", "--frobnicate", "No such option"),
    ],
)
def test_generate(
    call: Call, line_of: LineOf, artifact: Artifact, tmp_path: Path, arguments: str, option: str, problem: str
) -> None:
    out = tmp_path / "out"
    line = line_of(call("generate", "--model", artifact.folder, "--out", out, *arguments.split()), 2)
    assert option in line
    assert problem in line
    assert not list(out.glob("*"))


def test_both_forms_of_refusal_come_from_the_installed_command_too(
    run: Call, line_of: LineOf, artifact: Artifact, tmp_path: Path
) -> None:
    arguments = ("generate", "--model", artifact.folder, "--out", tmp_path / "out", "--seeds")
    parsed = run(*arguments, "5-2")
    assert (
        line_of(parsed, 2) == "Error: Invalid value for '--seeds': '5-2' ends before it begins; write for example 0-7"
    )
    assert parsed.stderr.startswith("Usage: nonesuch generate ")
    judged = run(*arguments, 0, "--psi", 3)
    assert line_of(judged, 2) == "nonesuch: --psi: 3.0 is not within [-2, 2]"
    assert judged.stderr.count("\n") == 1


def test_out_must_be_given_and_must_not_be_a_file(
    call: Call, line_of: LineOf, artifact: Artifact, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    arguments = ("generate", "--model", artifact.folder, "--seeds", 0)
    assert f"Directory '{file}' is a file." in line_of(call(*arguments, "--out", file), 2)
    assert "Missing option '--out'" in line_of(call(*arguments), 2)
    assert f"File '{tmp_path}' is a directory." in line_of(call(*arguments, "--out", tmp_path, "--grid", tmp_path), 2)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--queue-limit 0", "nonesuch: --queue-limit: 0 is out of range; it is 1 to 100000"),
        ("--batch 2000", "nonesuch: --batch: 2000 is out of range; it is 1 to 1024"),
        (
            "--queue-delay-ms -1 --drain-s -1",
            "nonesuch: --queue-delay-ms: -1 is out of range; it is 0 to 10000; --drain-s: -1 is out of range",
        ),
        ("--queue-delay-ms nan", "nonesuch: --queue-delay-ms: nan is out of range"),
        ("--log-level loud", "Error: Invalid value for '--log-level': 'loud' is not one of"),
        # gRPC itself would listen somewhere else for most of these.
        *(
            (f"--grpc={address}", f"nonesuch: --grpc: {address!r} is not an address; write HOST:PORT")
            for address in ("", "50051", "127.0.0.1", ":0", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x")
        ),
    ],
)
def test_serve(
    call: Call, line_of: LineOf, artifact: Artifact, monkeypatch: pytest.MonkeyPatch, arguments: str, line: str
) -> None:
    # What is not refused must fail here, not serve for ever.
    monkeypatch.delattr("nonesuch.cli.serve_command.open_generator")
    assert line_of(call("serve", "--model", artifact.folder, *arguments.split()), 2).startswith(line)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--seeds 0", "Missing option '--server'"),
        ("--server 127.0.0.1:1", "give --seeds, such as --seeds 0-7"),
        ("--server nowhere --seeds 0", "--server: 'nowhere' has no port; write host:port"),
        ("--server http://127.0.0.1:1 --seeds 0", "--server: 'http://127.0.0.1:1' is a URL; write host:port"),
        ("--server 127.0.0.1:1 --seeds 0 --deadline-s 0", "--deadline-s: 0.0 is out of range; it is more than 0"),
        ("--server 127.0.0.1:1 --seeds 0 --deadline-s nan", "--deadline-s: nan is out of range"),
        ("--server 127.0.0.1:1 --seeds 0 --grid all.gif", "--grid: the suffix of 'all.gif' is not an image format"),
        ("--server 127.0.0.1:1 --seeds 0 --grid all.png --format raw", "choose another --format"),
    ],
)
def test_fetch(call: Call, line_of: LineOf, tmp_path: Path, arguments: str, problem: str) -> None:
    assert problem in line_of(call("fetch", "--out", tmp_path, *arguments.split()), 2)
