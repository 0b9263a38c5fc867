"""`nonesuch build`: a model -> TensorRT plans, in the cache of this machine or in a folder for others."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from tqdm import tqdm

from nonesuch.engine.artifact import find_artifact
from nonesuch.engine.cuda_driver import device_ordinal, require_gpu
from nonesuch.engine.tensorrt.backend import plan_variant
from nonesuch.engine.tensorrt.build_progress import BuildProgress
from nonesuch.engine.tensorrt.library import FLAVOURS, load_library
from nonesuch.engine.tensorrt.plan_cache import PlanCache
from nonesuch.engine.tensorrt.plan_folder import PlanFolder, StoredPlan
from nonesuch.engine.tensorrt.plan_request import TURING, PlanRequest

from .number_lists import NumberList
from .prepare import prepare
from .progress import on_terminal


@click.command(name="build")
@click.argument("model", metavar="ARTIFACT", default="faces")
@click.option(
    "--backend", type=click.Choice(list(FLAVOURS)), required=True, help="The library that builds and runs the plan."
)
@click.option(
    "--sm",
    "sms",
    type=NumberList(),
    default=(),
    help="Compute capabilities, such as 86,89; for tensorrt-rtx.  [default: one plan for all from Ampere on]",
)
@click.option("--batch", "batch_sizes", type=NumberList(), default="1,2,4,8", show_default=True, help="Batch sizes.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    help="Precision of the graph.  [default: fp16 if the artifact has it]",
)
@click.option("--noise-mode", type=click.Choice(["const", "none", "random"]), help="Choose a variant by its noise.")
@click.option("--upsampling", help="Choose a variant by its up-sampling.")
@click.option("--device", default="auto", show_default=True, help="The GPU that tensorrt builds for: cuda:N.")
@click.option("--tf32/--no-tf32", default=True, show_default=True, help="Allow TF32 in float32 products.")
@click.option("--workspace-mib", type=click.IntRange(1, 1 << 20), help="Max scratch memory of a kernel, MiB.")
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="Also copy the plans to this folder.")
@click.option("--force", is_flag=True, help="Build plans again that are in the cache.")
def command(
    model: str,
    backend: str,
    sms: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    precision: str | None,
    noise_mode: str | None,
    upsampling: str | None,
    device: str,
    tf32: bool,
    workspace_mib: int | None,
    into: Path | None,
    force: bool,
) -> None:
    """Build TensorRT plans of ARTIFACT, a model's name or an artifact's folder.

    They are kept in $NONESUCH_HOME/cache, where commands that run the model with this backend find the plans for their
    GPU and batch size; --into also writes them to a folder, for --plans on another machine.
    """
    library = load_library(backend)
    ordinal = device_ordinal(device)
    gpu = None if library.flavour.ahead_of_time else require_gpu(ordinal)
    prepare(model)
    artifact = find_artifact(model)
    requests = []
    for group in _groups(sms):
        variant = plan_variant(artifact, backend, group, precision=precision, noise=noise_mode, upsampling=upsampling)
        requests.append(
            PlanRequest(
                library,
                artifact,
                variant,
                batch_sizes,
                sms=group,
                gpu=gpu,
                tf32=tf32,
                workspace_mib=workspace_mib,
            )
        )
    for request in requests:
        request.spec  # noqa: B018  # refuses an invalid plan before any is built
    for request in requests:
        plan = _build(request, force)
        if into is not None:
            name = _file_name(artifact.manifest.name, plan)
            plan = PlanFolder(into).put(name, plan.read(), plan.record)
        _print_plan(plan, backend)
        click.echo(plan.path)


def _groups(sms: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The targets of each plan: those from Ampere on share one, and Turing has its own.

    A plan for a list with Turing is compiled as a whole for Turing, from a graph that is slower on the others.
    """
    others = tuple(sm for sm in sms if sm != TURING)
    return [group for group in (others, (TURING,) if TURING in sms else ()) if group] or [()]


def _build(request: PlanRequest, force: bool) -> StoredPlan:
    """Build on another thread, so that Ctrl-C reaches this one, and the library stops before the process exits."""
    with tqdm(total=100, desc=f"{request.spec.graph} for {request.spec.target}", unit="%", leave=False,
              disable=not on_terminal(), bar_format="{desc} {bar} {percentage:3.0f}%") as bar:  # fmt: skip

        def report(share: float) -> None:
            bar.update(100 * share - bar.n)

        progress = BuildProgress(report)
        cache = PlanCache(cancelled=lambda: progress.cancelled)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="nonesuch-build") as pool:
            try:
                return pool.submit(request.build, cache, progress, replace=force).result()
            except KeyboardInterrupt:
                progress.cancel()
                raise


def _print_plan(plan: StoredPlan, backend: str) -> None:
    record = plan.record
    spec, numerics = record.spec, record.numerics
    compared = (
        f"not compared with another runtime: {numerics.note}"
        if numerics.psnr_db is None
        else f"{numerics.psnr_db:.1f} dB from {numerics.note}, largest difference {numerics.max_error}"
    )
    click.echo(
        f"{backend} {spec.library_version}: {spec.graph} for {spec.target}, batches "
        f"{', '.join(map(str, spec.batch_sizes))}; {record.plan_bytes / (1 << 20):.1f} MiB, built in "
        f"{record.build_s:.1f} s on {record.created[:10]}; {compared}",
        err=True,
    )


def _file_name(model: str, plan: StoredPlan) -> str:
    spec = plan.record.spec
    sizes = "-".join(map(str, spec.batch_sizes))
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip(".-") or "model"
    return f"{name[:40]}-{spec.backend}-{spec.target}-{spec.precision}-b{sizes}"[:140] + f"-{spec.key[:8]}"
