"""nonesuch build: real plans by the real TensorRT-RTX, which needs no GPU to build; only what runs them needs one."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.cuda_driver import find_driver
from nonesuch.engine.home import Home
from nonesuch.engine.tensorrt.backend import plan_variant
from nonesuch.engine.tensorrt.library import load_library
from nonesuch.engine.tensorrt.plan_cache import PlanCache
from nonesuch.engine.tensorrt.plan_folder import PlanFolder
from nonesuch.engine.tensorrt.plan_request import PlanRequest
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ..conftest import REPOSITORY, TINY_SOURCE
from .conftest import TIMEOUT_S, Call, LineOf, Start

pytestmark = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="TensorRT-RTX is not installed")

FIXTURES = REPOSITORY / "tests" / "fixtures"
RTX = ("--backend", "tensorrt-rtx")
no_gpu = pytest.mark.skipif(find_driver().usable, reason="there is a GPU here")
no_tensorrt = pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed")


@pytest.fixture(scope="session")
def both(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The tiny model with its products written in both ways."""
    variants = [VariantOptions(linear="gemm"), VariantOptions(linear="conv1x1")]
    out = tmp_path_factory.mktemp("both") / "tiny"
    return export_checkpoint(checkpoint, out, name="tiny", source=TINY_SOURCE, variants=variants)


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def plans_in(home: Path) -> list[Path]:
    return sorted(home.rglob("*.plan"))


@no_gpu
def test_one_plan_for_all_is_built_once_and_says_that_it_was_not_compared(
    run: Call, artifact: Artifact, home: Path
) -> None:
    built = run("build", artifact.folder, *RTX)
    assert built.returncode == 0, built.stderr
    (path,) = plans_in(home)
    assert built.stdout == f"{path}\n"
    assert built.stderr.count("\n") == 1
    assert "synthesis.onnx for ampere+, batches 1, 2, 4, 8; " in built.stderr
    assert f"not compared with another runtime: {find_driver().problem}" in built.stderr
    plan = PlanFolder(path.parent).get(path.stem)
    assert plan is not None
    assert (plan.record.numerics.status, plan.record.plan_sha256) == ("not run", sha256(path))
    again = run("build", artifact.folder, *RTX, "--batch", "8,4,2,1")
    assert (again.stdout, again.stderr) == (built.stdout, built.stderr)
    assert plan.record.plan_sha256 == sha256(path)
    forced = run("build", artifact.folder, *RTX, "--force")
    assert forced.stdout == built.stdout
    renewed = PlanFolder(path.parent).get(path.stem)
    assert renewed is not None
    assert renewed.record.plan_sha256 == sha256(path)


def test_turing_has_a_plan_of_its_own(call: Call, both: Artifact, home: Path) -> None:
    done = call("build", both.folder, *RTX, "--sm", "86,75", "--batch", 1)
    assert done.returncode == 0, done.stderr
    paths = done.stdout.splitlines()
    assert sorted(paths) == [str(path) for path in plans_in(home)]
    first, second = [line.partition(": ")[2].partition(",")[0] for line in done.stderr.splitlines()]
    assert (first, second) == ("synthesis.onnx for sm86", "synthesis-conv1x1.onnx for sm75")


@pytest.mark.parametrize("sms", ["75", "75,86"])
def test_turing_needs_a_graph_without_a_gemm(
    call: Call, line_of: LineOf, artifact: Artifact, home: Path, sms: str
) -> None:
    assert "--linear" in line_of(call("build", artifact.folder, *RTX, "--sm", sms))
    assert plans_in(home) == []


@pytest.mark.parametrize("sms", ["87", "86,87", "0", "99999"])
def test_other_gpus_are_told_which_there_are(
    call: Call, line_of: LineOf, artifact: Artifact, home: Path, sms: str
) -> None:
    line = line_of(call("build", artifact.folder, *RTX, "--sm", sms))
    assert f"does not build for SM {sms.rpartition(',')[2]}; use 75, 80, 86, 89, 120" in line
    assert plans_in(home) == []


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--batch", "0", "--batch: 0; batch sizes are 1 to 1024"),
        ("--batch", "1,2000", "--batch: 1, 2000; batch sizes are 1 to 1024"),
        ("--batch", "x", "'--batch': 'x' is not a list of numbers; write for example 1,2,4"),
        ("--batch", "", "'' is not a list of numbers"),
        ("--batch", "1,,2", "'1,,2' is not a list of numbers"),
        ("--batch", "-1", "'-1' is not a list of numbers"),
        ("--sm", "8.6", "'8.6' is not a list of numbers"),
        ("--sm", "sm86", "'sm86' is not a list of numbers"),
        ("--workspace-mib", "0", "'--workspace-mib': 0 is not in the range"),
        ("--device", "cpu", "--device: 'cpu' is not a GPU; use auto, cuda or cuda:N"),
        ("--precision", "int8", "'int8' is not one of"),
        ("--backend", "openvino", "'openvino' is not one of 'tensorrt', 'tensorrt-rtx'"),
    ],
)
def test_wrong_usage(
    call: Call, line_of: LineOf, artifact: Artifact, home: Path, option: str, value: str, problem: str
) -> None:
    assert problem in line_of(call("build", artifact.folder, *RTX, option, value), 2)
    assert plans_in(home) == []


def test_the_backend_must_be_said(call: Call, artifact: Artifact) -> None:
    done = call("build", artifact.folder)
    assert done.returncode == 2
    assert done.stderr.endswith("Error: Missing option '--backend'. Choose from:\n\ttensorrt,\n\ttensorrt-rtx\n")


def test_plans_to_ship_are_written_with_their_records(call: Call, both: Artifact, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "ship" / "plans"
    done = call("build", both.folder, *RTX, "--sm", "75,89", "--batch", "1,4", "--into", out)
    assert done.returncode == 0, done.stderr
    plans = list(PlanFolder(out).plans())
    assert sorted(done.stdout.splitlines()) == [str(plan.path) for plan in plans]
    names = {plan.path.stem.rpartition("-")[0]: plan.record.spec for plan in plans}
    assert set(names) == {"tiny-tensorrt-rtx-sm75-fp32-b1-4", "tiny-tensorrt-rtx-sm89-fp32-b1-4"}
    for plan in plans:
        found = PlanCache(Home(home)).find(plan.record.spec)
        assert found is not None
        assert found.read() == plan.read()
    shutil.rmtree(home / "cache")  # what was shipped stands for itself
    assert all(plan.read() for plan in plans)


def test_a_folder_to_ship_that_cannot_be_written_is_one_line(
    call: Call, line_of: LineOf, artifact: Artifact, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = call("build", artifact.folder, *RTX, "--batch", 1, "--into", tmp_path / "file" / "below")
    assert "(Not a directory); make room, or set NONESUCH_HOME or --into" in line_of(done)
    assert "is a file" in line_of(call("build", artifact.folder, *RTX, "--into", tmp_path / "file"), 2)


@no_tensorrt
def test_a_product_that_is_not_installed_is_named_with_its_extra(
    call: Call, line_of: LineOf, artifact: Artifact, tmp_path: Path
) -> None:
    generate = ("generate", "--model", artifact.folder, "--seeds", 0, "--out", tmp_path)
    for command in (("build", artifact.folder), generate):
        line = line_of(call(*command, "--backend", "tensorrt"))
        assert re.search(r"tensorrt is not installed; pip install 'nonesuch\[(cpu,)?tensorrt\]'", line)


def test_an_unknown_model_and_a_cache_that_is_set_wrongly(
    call: Call, line_of: LineOf, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no model 'nope'" in line_of(call("build", "nope", *RTX))
    monkeypatch.setenv("NONESUCH_PLAN_CACHE_MIB", "much")
    assert "NONESUCH_PLAN_CACHE_MIB is 'much'" in line_of(call("build", artifact.folder, *RTX))


def test_what_cannot_be_built_is_one_line(call: Call, line_of: LineOf, home: Path, tmp_path: Path) -> None:
    assert call("export", FIXTURES / "rosinality_64.pt", "--out", tmp_path / "X").returncode == 0
    build = ("build", tmp_path / "X", *RTX, "--batch", 64)
    assert "has no random noise variant" in line_of(call(*build, "--noise-mode", "random"))
    line = line_of(call(*build, "--workspace-mib", 1))  # its kernels need more at this batch size
    assert "cannot build synthesis.onnx: " in line
    assert "workspace" in line
    assert plans_in(home) == []


def interrupt(process: subprocess.Popen[str]) -> str:
    """Ctrl-C, once; what the command says of it."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1, err
    return err.strip()


def await_lock(home: Path, process: subprocess.Popen[str]) -> Path:
    while not (locks := list(home.glob("cache/*/*/plans/*.lock"))):
        assert process.poll() is None
        time.sleep(0.01)
    return locks[0]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process there")
def test_ctrl_c_ends_a_build_and_leaves_no_plan(call: Call, start: Start, home: Path, tmp_path: Path) -> None:
    # StyleGAN3 has large kernels: its build takes seconds, so the signal comes in the middle.
    assert call("export", FIXTURES / "sg3r_64.pkl", "--out", tmp_path / "X").returncode == 0
    with start("build", tmp_path / "X", *RTX) as process:
        await_lock(home, process)
        assert interrupt(process).endswith("nonesuch: interrupted")
    assert [path.suffix for path in (home / "cache").rglob("*") if path.is_file()] == [".lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process there")
def test_ctrl_c_ends_the_wait_for_another_process_too(start: Start, artifact: Artifact, home: Path) -> None:
    variant = plan_variant(artifact, "tensorrt-rtx")
    spec = PlanRequest(load_library("tensorrt-rtx"), artifact, variant, (1, 2, 4, 8)).spec
    folder = PlanCache(Home(home)).folder(spec.model_id)
    folder.make()
    with FileLock(folder.folder / f"{spec.key}.lock"):  # as another process holds it that builds this plan
        with start("build", artifact.folder, *RTX) as process:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            assert interrupt(process).endswith("nonesuch: interrupted")
    assert plans_in(home) == []


@no_gpu
def test_what_runs_plans_names_the_driver(call: Call, line_of: LineOf, artifact: Artifact, tmp_path: Path) -> None:
    generate = ("generate", "--model", artifact.folder, "--seeds", 0, "--out", tmp_path)
    line = line_of(call(*generate, "--backend", "tensorrt-rtx"))
    assert find_driver().problem in line
    assert "it can build plans for other machines" in line


@no_gpu
@no_tensorrt
def test_auto_says_what_it_passed_over(call: Call, artifact: Artifact, tmp_path: Path) -> None:
    done = call("generate", "--model", artifact.folder, "--seeds", 0, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "skipped tensorrt (not installed), tensorrt-rtx (" in done.stderr


def test_both_forms_of_products_are_exported_and_nonsense_is_not(call: Call, line_of: LineOf, tmp_path: Path) -> None:
    export = ("export", FIXTURES / "rosinality_64.pt", "--out", tmp_path / "X", "--linear")
    for wrong in ("nonsense", "gemm,nonsense", "gemm,gemm", ""):
        assert f"--linear {wrong!r}: use gemm, conv1x1, or gemm,conv1x1" in line_of(call(*export, wrong), 2)
    assert not (tmp_path / "X").exists()
    done = call(*export, "gemm,conv1x1")
    assert done.returncode == 0, done.stderr
    found = [(variant.file, variant.linear) for variant in Artifact.open(tmp_path / "X").manifest.variants]
    assert ("synthesis.onnx", "gemm") in found
    assert ("synthesis-conv1x1.onnx", "conv1x1") in found
