"""A session on a TensorRT plan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..artifact import Artifact
from ..cuda_driver import Gpu
from ..errors import BackendError
from ..manifest import Variant
from ..session import Batch, Session, SessionOptions
from .library import Library
from .plan_folder import StoredPlan
from .plan_runtime import IN_FLIGHT, PlanRuntime


class TensorRtSession(Session):
    """One plan on one GPU, with the plan's batch sizes; a batch between two of them is padded.

    Attributes:
        plan: the plan.
    """

    max_in_flight = IN_FLIGHT
    runs_plans = True

    def __init__(
        self,
        artifact: Artifact,
        variant: Variant,
        options: SessionOptions,
        *,
        library: Library,
        plan: StoredPlan,
        gpu: Gpu,
    ) -> None:
        super().__init__(artifact, variant, options)
        self.plan = plan
        self._library, self._gpu = library, gpu
        self._runtime: PlanRuntime | None = None

    @property
    def identity(self) -> str:
        """Product, version, GPU and plan, because two builds of one graph may choose different kernels."""
        name, gpu = self._library.flavour.name, self._gpu
        plan = self.plan.record.plan_sha256[:12]
        return f"{name} {self._library.version} on {gpu.name} (SM {gpu.sm}), plan {plan}"

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The plan's sizes, up to the first that fits `max_batch_size`."""
        sizes, max_size = self.plan.record.spec.batch_sizes, self.options.max_batch_size
        allowed = [size for size, smaller in zip(sizes, (0, *sizes), strict=False) if smaller < max_size]
        return (allowed[-1],) if self.options.deterministic else tuple(allowed)

    @property
    def preferred_batch_size(self) -> int:
        """The largest size of one run."""
        return min(self.options.max_batch_size, self.batch_sizes[-1])

    def _open(self) -> None:
        self._runtime = PlanRuntime(
            self._library,
            self.plan.read(),
            self.plan.record.spec,
            ordinal=self._gpu.ordinal,
            batch_sizes=self.batch_sizes,
            cuda_graphs=self.options.cuda_graphs,
        )

    def _run(self, batch: Batch) -> NDArray[np.uint8]:
        if self._runtime is None:
            raise BackendError("the session is closed")
        return self._runtime.run(batch.feeds(), len(batch))

    def _close(self) -> None:
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.close()
