"""The inputs that every subject of a run gets: the same seeds in the same rounds, mapped beforehand."""

from __future__ import annotations

from nonesuch.engine.artifact import find_artifact
from nonesuch.engine.backends.onnxruntime import load_mapping
from nonesuch.engine.latent_pipeline import LatentPipeline, PictureOptions
from nonesuch.engine.latents import DEFAULT_PSI
from nonesuch.engine.session import Batch
from nonesuch.engine.source import Seeds

__all__ = ["Workload"]

DISTINCT_IMAGES = 32


class Workload:
    """Batches of a model, of its first variant that shows pictures, class 0 where it has classes.

    Attributes:
        artifact: the model's.
        variant: what the batches fit.
    """

    def __init__(self, model: str, *, psi: float = DEFAULT_PSI, images: int = DISTINCT_IMAGES) -> None:
        """Maps the seeds 0 to `images` - 1.

        Raises:
            NonesuchError: there is no such model, or it is damaged.
        """
        self.artifact = find_artifact(model)
        variants = self.artifact.manifest.variants
        self.variant = next((v for v in variants if v.output == "uint8_nhwc"), variants[0])
        options = PictureOptions(psi=psi, class_index=0 if self.artifact.manifest.c_dim else None)
        self._images = LatentPipeline(self.artifact, self.variant, load_mapping).batch(Seeds(range(images)), options)

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, number: int, size: int) -> Batch:
        """The batch of a round: the next `size` images, from the first again when they are used up."""
        start = number * size % len(self)
        rows = [self._images[i : i + 1] for i in (index % len(self) for index in range(start, start + size))]
        return Batch.join(rows)
