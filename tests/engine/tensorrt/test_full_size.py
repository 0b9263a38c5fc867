"""A plan of a full-size StyleGAN2 of 1024 pixels builds in the memory of a small machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nonesuch.engine.tensorrt.plan_folder import PlanFolder
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.graphs.synthesis_builder import VariantOptions

from ...random_stylegan2 import SOURCE, stylegan2

MAX_MEMORY_MIB = 2048

# Runs the command, and prints its peak memory. VmHWM, because ru_maxrss is inherited from the parent.
_MEASURED = """
import re, sys
from nonesuch.cli.main import cli
cli(sys.argv[1:], standalone_mode=False)
print("peak_mib", int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_a_float16_plan_of_stylegan2_1024_builds_within_two_gigabytes(tmp_path: Path) -> None:
    artifact = export_checkpoint(
        stylegan2(1024), tmp_path / "model", name="full-size", source=SOURCE, variants=[VariantOptions("fp16")]
    )
    into = tmp_path / "plans"
    command = ["build", str(artifact.folder), "--backend", "tensorrt-rtx", "--precision", "fp16", "--into", str(into)]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *command],
        env={**os.environ, "NONESUCH_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    print(done.stderr, done.stdout)
    (plan,) = PlanFolder(into).plans()
    assert plan.record.spec.output.shape == (1024, 1024, 3)
    assert plan.read()
    assert int(done.stdout.split()[-1]) < MAX_MEMORY_MIB
