"""Builds every plan of the matrix and writes the table in docs/tensorrt.md and the recorded kernels.

python -m tests.plan_table      (minutes; needs nonesuch[tensorrt-rtx], and no GPU)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from nonesuch.engine.home import Home
from nonesuch.engine.machine import cpu_name, usable_cores
from nonesuch.engine.tensorrt.library import load_library
from nonesuch.export.catalogue import find_entry
from nonesuch.export.export_job import ExportJob, export_named

from .engine.tensorrt.plan_matrix import MODELS, PRECISIONS, TARGETS, Outcome, build, export, record_kernels, variants

REPOSITORY = Path(__file__).parent.parent
PAGE = REPOSITORY / "docs" / "tensorrt.md"
BEGIN, END = "<!-- plans -->\n", "<!-- /plans -->\n"


def measure(folder: Path) -> Iterator[Outcome]:
    """Build all plans, one after another."""
    for model in MODELS:
        out = folder / model.replace(" ", "-")
        if model == "faces":
            home = Home(Path(os.environ.get("NONESUCH_TEST_HOME", REPOSITORY / ".cache" / "home")))
            artifact = export_named(find_entry("faces"), home, ExportJob(out=out, variants=variants()))
        else:
            artifact = export(model, out)
        for precision in PRECISIONS:
            for target in TARGETS:
                outcome, _ = build(artifact, model, precision, target)
                print(outcome)
                yield outcome


def table(outcomes: list[Outcome]) -> str:
    """One row for each graph."""
    lines = [
        "| graph | ONNX, MiB | kernels, 1 image | 2 to 8 | on SM 75 | activations of 8, MiB | plan, MiB | build, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for model in MODELS:
        for precision in PRECISIONS:
            rows = {o.target: o for o in outcomes if (o.model, o.precision) == (model, precision)}
            first, turing = rows["ampere+"], rows["sm75"]
            plans, times = [o.plan_mib for o in rows.values()], [o.build_s for o in rows.values()]
            lines.append(
                f"| {model}, {precision} | {first.graph_mib:.1f} | {first.kernels_one} | {first.kernels_batch} | "
                f"{turing.kernels_one}, {turing.kernels_batch} | {first.activation_mib:.0f} | "
                f"{min(plans):.1f} to {max(plans):.1f} | {min(times):.1f} to {max(times):.1f} |"
            )
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        outcomes = list(measure(Path(folder)))
    record_kernels(outcomes)
    version = load_library("tensorrt-rtx").version
    origin = (
        f"Built with TensorRT-RTX {version} on {cpu_name()}, {usable_cores()} cores, no GPU, on "
        f"{datetime.now(UTC).date()}, by `python -m tests.plan_table`: each graph for {', '.join(TARGETS)}, with the "
        "batches 1, 2, 4 and 8; ranges are over these targets. Models of 64 and 256 pixels have random weights."
    )
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{origin}\n\n{table(outcomes)}\n\n{END}{after}")


if __name__ == "__main__":
    main()
