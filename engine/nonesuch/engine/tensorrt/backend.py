"""The backends TensorRT and TensorRT-RTX, which run compiled plans on NVIDIA GPUs.

A session takes its plan from the cache, or from a folder of prebuilt plans. A missing plan is built first, which takes
seconds with TensorRT-RTX and minutes with TensorRT. Never falls back to another runtime.
"""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from pathlib import Path

from ..artifact import Artifact
from ..backends.registry import Probe
from ..cuda_driver import Driver, Gpu, device_ordinal, find_driver, require_gpu
from ..errors import ArtifactError, BackendUnavailableError
from ..manifest import Variant
from ..runtime_import import import_runtime
from ..session import Session, SessionOptions
from .batch_profile import default_batch_sizes
from .library import Library, find_flavour, load_library
from .plan_cache import PlanCache
from .plan_request import TURING, PlanRequest
from .session import TensorRtSession


class TensorRtBackend:
    """The `tensorrt` backend."""

    name = "tensorrt"
    rank = 40
    automatic = True

    def probe(self) -> Probe:
        """Check for the library, the driver and a GPU, in this order.

        The library is only loaded if there is a GPU, because its objects are not safe to use without one.
        """
        flavour = find_flavour(self.name)
        if find_spec(flavour.module) is None:
            return Probe(False, f"{flavour.module} is not installed; {flavour.install}", "not installed")
        driver = find_driver()
        if not driver.usable:
            builds = "; it can build plans for other machines" if flavour.ahead_of_time else ""
            return Probe(False, f"{driver.problem}; {flavour.module} is installed{builds}", driver.brief)
        try:
            import_runtime("cuda.core", "cuda")
            library = load_library(self.name)
        except BackendUnavailableError as error:
            return Probe(False, error.message, "does not load")
        gpu = self._first_supported(library, driver)
        problem = self._unsupported(library, gpu)
        found = f"{flavour.module} {library.version} on {gpu.name} (SM {gpu.sm}), CUDA {driver.cuda}"
        return Probe(False, f"{problem}; {found}", "other GPU") if problem else Probe(True, found)

    def session(self, artifact: Artifact, options: SessionOptions) -> Session:
        """A session on a plan for the GPU; builds the plan if it is missing.

        Raises:
            BackendUnavailableError: the library, driver or GPU is missing, or an option is for CPUs only.
            ArtifactError: the artifact has no graph for this backend.
            BackendError: the plan cannot be built.
            PlanError: the plan is damaged, or no plan in `options.plans` fits.
        """
        library = load_library(self.name)
        if options.threads is not None or options.lanes is not None:
            raise BackendUnavailableError(f"threads and lanes are for CPUs, not for backend {self.name}; omit them")
        gpu = require_gpu(device_ordinal(options.device))
        if options.device == "auto":
            gpu = self._first_supported(library, find_driver(), gpu)
        problem = self._unsupported(library, gpu)
        if problem:
            raise BackendUnavailableError(problem)
        sms = (TURING,) if library.flavour.ahead_of_time and gpu.sm == TURING else ()
        variant = plan_variant(artifact, self.name, sms, **options.variant_choice)
        request = PlanRequest(
            library,
            artifact,
            variant,
            default_batch_sizes(options.max_batch_size),
            sms=sms,
            gpu=None if library.flavour.ahead_of_time else gpu,
        )
        if options.plans is not None:
            plan = request.find_in_folder(Path(options.plans), gpu, options.max_batch_size)
        else:
            cache = PlanCache()
            plan = request.find_cached(cache, gpu, options.max_batch_size) or request.build(cache)
        return TensorRtSession(artifact, variant, options, library=library, plan=plan, gpu=gpu)

    def _first_supported(self, library: Library, driver: Driver, default: Gpu | None = None) -> Gpu:
        """The first GPU that the product supports; if there is none, `default` or the first GPU."""
        supported = (gpu for gpu in driver.gpus if not self._unsupported(library, gpu))
        return next(supported, default or driver.gpus[0])

    def _unsupported(self, library: Library, gpu: Gpu) -> str:
        """The reason why the product does not support this GPU; empty if it does, as far as known before a build."""
        if not library.flavour.ahead_of_time or gpu.sm in library.targets or gpu.sm > max(library.targets, default=0):
            return ""
        return (
            f"{library.flavour.name} {library.version} is for SM {', '.join(map(str, library.targets))} and later, and "
            f"{gpu.name} is SM {gpu.sm}; use backend tensorrt"
        )


class TensorRtRtxBackend(TensorRtBackend):
    """The `tensorrt-rtx` backend."""

    name = "tensorrt-rtx"
    rank = 35


def plan_variant(
    artifact: Artifact,
    backend: str,
    sms: tuple[int, ...] = (),
    *,
    precision: str | None = None,
    noise: str | None = None,
    upsampling: str | None = None,
) -> Variant:
    """The graph for a plan: float16 if the artifact has it, and without Gemm for Turing.

    Raises:
        ArtifactError: the artifact has no such graph; the message says how to export one.
    """
    linear = "conv1x1" if TURING in sms else None
    runtimes = (backend, "onnxruntime")
    if precision is None:
        with contextlib.suppress(ArtifactError):
            return artifact.variant(runtimes, noise=noise, precision="fp16", upsampling=upsampling, linear=linear)
    return artifact.variant(runtimes, noise=noise, precision=precision, upsampling=upsampling, linear=linear)
