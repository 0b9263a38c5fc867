"""A request for a plan: product, variant, targets and sizes -> a spec -> a plan, found or built."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..artifact import Artifact
from ..cuda_driver import Gpu
from ..errors import BackendUnavailableError, PlanError
from ..manifest import Variant
from .batch_profile import make_profiles
from .build_progress import BuildProgress
from .build_spec import BuildSpec, this_platform
from .cuda import select_device
from .library import Library
from .numerics_gate import check_plan
from .plan_builder import BuiltPlan, build_plan
from .plan_cache import PlanCache
from .plan_folder import PlanFolder, StoredPlan
from .plan_record import PlanRecord

TURING = 75
"""TensorRT-RTX has no float32 Gemm for this SM, so its plans are built from graphs without Gemm."""


@dataclass(frozen=True)
class PlanRequest:
    """A plan to find or build.

    Attributes:
        library: the product.
        artifact: the model.
        variant: its graph.
        batch_sizes: the sizes that the plan must run.
        sms: the compute capabilities to build for ahead of time; empty for the portable plan.
        gpu: the GPU that TensorRT builds for; None ahead of time.
        tf32: allow TF32 in float32 graphs.
        workspace_mib: max scratch memory of a kernel.
    """

    library: Library
    artifact: Artifact
    variant: Variant
    batch_sizes: tuple[int, ...]
    sms: tuple[int, ...] = ()
    gpu: Gpu | None = None
    tf32: bool = True
    workspace_mib: int | None = None

    @property
    def spec(self) -> BuildSpec:
        """The spec to build.

        Raises:
            BackendUnavailableError: the product does not build for these targets.
            InvalidRequestError: a batch size is out of range.
        """
        flavour, targets = self.library.flavour, self.library.targets
        unsupported = [sm for sm in self.sms if sm not in targets]
        if unsupported and not flavour.ahead_of_time:
            raise BackendUnavailableError(
                f"{flavour.name} builds for the GPU that it runs on, not for SM {', '.join(map(str, unsupported))}; "
                "build on that machine, without --sm"
            )
        if unsupported:
            raise BackendUnavailableError(
                f"{flavour.name} {self.library.version} does not build for SM {', '.join(map(str, unsupported))}; use "
                f"{', '.join(map(str, targets))}"
            )
        if TURING in self.sms and (len(self.sms) > 1 or self.variant.linear != "conv1x1"):
            raise BackendUnavailableError(
                f"SM {TURING} needs its own plan, from a graph whose products are 1x1 convolutions; export one "
                "with nonesuch export --linear gemm,conv1x1"
            )
        return BuildSpec.of(
            self.library,
            self.artifact,
            self.variant,
            batch_sizes=tuple(sorted(set(self.batch_sizes))),
            profiles=make_profiles(self.batch_sizes, fixed=TURING not in self.sms),
            sms=self.sms,
            gpu=self.gpu,
            tf32=self.tf32,
            workspace_mib=self.workspace_mib,
        )

    def build(self, cache: PlanCache, progress: BuildProgress | None = None, *, replace: bool = False) -> StoredPlan:
        """The plan from the cache; builds it if it is missing.

        Raises:
            BackendUnavailableError, InvalidRequestError: as `spec`.
            BackendError: the build failed or was cancelled, or the plan's images are wrong.
            PlanError: the cache cannot be read or written.
        """
        spec = self.spec

        def make() -> tuple[bytes, PlanRecord]:
            built = self._build(spec, cache, progress)
            return built.data, self.record(spec, built)

        return cache.get(spec, make, replace=replace)

    def record(self, spec: BuildSpec, built: BuiltPlan) -> PlanRecord:
        """The sidecar of a new plan; compares its images if possible.

        Raises:
            BackendError: the plan's images are wrong.
        """
        return PlanRecord.of(
            spec,
            built.data,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            build_s=round(built.build_s, 2),
            numerics=check_plan(self.library, self.artifact, self.variant, spec, built.data, self.gpu),
        )

    def find_cached(self, cache: PlanCache, gpu: Gpu, max_batch_size: int) -> StoredPlan | None:
        """The cached plan for this GPU: the one that `build` would make, else the newest that runs such batches.

        Raises:
            PlanError: that plan is damaged, or the cache belongs to another user.
        """
        exact = cache.find(self.spec)
        if exact is not None:
            return exact
        folder, found = cache.folder(self.artifact.manifest.model_id), []
        for name in folder.names():
            with contextlib.suppress(PlanError):  # skip other plans that are damaged
                plan = folder.get(name)
                if plan is not None and plan.path.exists() and not self._mismatch(plan.record.spec, gpu):
                    found.append(plan)
        enough = [plan for plan in found if plan.record.spec.batch_sizes[-1] >= max_batch_size]
        return max(enough, key=lambda plan: plan.record.created, default=None)

    def find_in_folder(self, folder: Path, gpu: Gpu, max_batch_size: int) -> StoredPlan:
        """The plan in a folder of prebuilt plans that fits this GPU best.

        Of several, the one with the smallest sufficient max batch size, else the one with the largest.

        Raises:
            PlanError: no plan fits; the message lists the plans.
        """
        if not folder.is_dir():
            raise PlanError(f"folder {folder} not found; create it with: nonesuch build ARTIFACT --into {folder}")
        plans = list(PlanFolder(folder).plans())
        fitting = [plan for plan in plans if not self._mismatch(plan.record.spec, gpu)]
        if not fitting:
            reasons = dict.fromkeys(f"{plan.path.name}: {self._mismatch(plan.record.spec, gpu)}" for plan in plans)
            raise PlanError(
                f"{folder} has no plan of {self.variant.file} for {gpu.name} (SM {gpu.sm}) and "
                f"{self.library.flavour.name} {self.library.version}; it has {'; '.join(reasons) or 'no plans'}"
            )
        enough = [plan for plan in fitting if plan.record.spec.batch_sizes[-1] >= max_batch_size]
        return min(enough or fitting, key=lambda plan: plan.record.spec.batch_sizes[-1] * (1 if enough else -1))

    def _build(self, spec: BuildSpec, cache: PlanCache, progress: BuildProgress | None) -> BuiltPlan:
        graph, timings = self.artifact.read(self.variant.file), None
        if self.gpu is not None:  # TensorRT builds for the current device of this thread
            select_device(self.gpu.ordinal)
            timings = cache.read_timings(spec)
        built = build_plan(self.library, graph, spec, progress, timing_cache=timings)
        if self.gpu is not None and built.timing_cache is not None:
            cache.write_timings(spec, built.timing_cache)
        return built

    def _mismatch(self, spec: BuildSpec, gpu: Gpu) -> str:
        """The reason why a plan does not fit; empty if it does."""
        library = self.library
        if spec.graph_sha256 != self.variant.sha256:
            return f"of another graph ({spec.graph}, {spec.precision})"
        if (spec.backend, spec.library_version) != (library.flavour.name, library.version):
            return f"for {spec.backend} {spec.library_version}"
        if spec.platform != this_platform():
            return f"for {spec.platform}"
        return "" if spec.runs_on(gpu) else f"for {spec.target}"
