"""A source and options -> the inputs of a run: mapping, truncation, mixing, noise and transform, all on the CPU.

Source  +  PictureOptions  ->  Batch
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .artifact import Artifact
from .errors import InvalidRequestError
from .latents import noise_from_seed, transform_matrix, truncate, truncate_ws, z_from_seeds
from .manifest import GraphInput, Manifest, Variant
from .mapping import LoadMapping, Mapper
from .session import Batch
from .source import Seeds, Source, W, Ws, Z
from .style_mix import StyleMix

MAX_MIXES = 32
"""The maximum number of mixes of one picture; no model has more distinct groups of layers."""


@dataclass(frozen=True)
class PictureOptions:
    """Everything but the latent that determines a picture."""

    psi: float | None = None  # truncation, -2 to 2; None: the default of the source
    cutoff: int | None = None  # truncate only this number of first layers
    class_index: int | None = None  # of a conditional model; needed to map seeds and z
    mixing: Sequence[StyleMix] = ()  # applied in order; psi and cutoff apply to them too
    noise_seed: int | None = None  # random noise only; None: the image's own seed, or 0 for a latent
    translate: tuple[float, float] | None = None  # (x, y) in widths of the picture; StyleGAN3 only
    rotate_degrees: float | None = None  # StyleGAN3 only

    def describe(self) -> tuple[str, ...]:
        """All options that are set, except psi, as text for `ImageRecord.shaped_by`."""
        parts = []
        if self.class_index is not None:
            parts.append(f"class {self.class_index}")
        if self.cutoff is not None:
            parts.append(f"psi in the first {self.cutoff} layers")
        parts += [mix.text for mix in self.mixing]
        if self.noise_seed is not None:
            parts.append(f"noise of seed {self.noise_seed}")
        if self.translate is not None:
            parts.append(f"moved by {self.translate[0]:g}, {self.translate[1]:g}")
        if self.rotate_degrees is not None:
            parts.append(f"turned by {self.rotate_degrees:g} degrees")
        return tuple(parts)


class LatentPipeline:
    """Prepares batches for one artifact and variant; `load_mapping` is passed on to `Mapper`."""

    def __init__(self, artifact: Artifact, variant: Variant, load_mapping: LoadMapping) -> None:
        self._manifest = artifact.manifest
        self._variant = variant
        self._mapper = Mapper(artifact, load_mapping)
        self._w_avg = artifact.w_avg()

    @property
    def manifest(self) -> Manifest:
        """The manifest of the model."""
        return self._manifest

    def batch(self, source: Source, options: PictureOptions) -> Batch:
        """The inputs of a run, one picture per row of the source.

        Raises:
            InvalidRequestError: a value is out of range or does not fit the model.
            BackendError: the mapping network failed.
        """
        styles = self.styles(source, options)
        transform = self._transform(options)
        if options.noise_seed is not None:
            noise_seeds = [options.noise_seed] * len(styles)
        else:
            noise_seeds = [source.seed(row) or 0 for row in range(len(styles))]
        inputs = self._noise(noise_seeds)
        for graph_input in self._inputs("transform"):
            inputs[graph_input.name] = np.repeat(transform[None], len(styles), axis=0)
        return Batch(styles, inputs)

    def styles(self, source: Source, options: PictureOptions) -> NDArray[np.float32]:
        """The per-layer styles float32 [N, num_ws, w_dim]; raises as `batch`."""
        fitted, psi = source.fit(self._manifest), source.psi(options.psi)
        if isinstance(fitted, Ws):
            self._check_class(options.class_index, needed=False)
            rows = truncate_ws(fitted.array, self._w_avg, psi, options.cutoff)
        else:
            rows = truncate(self._map(fitted, options), self._w_avg, self._manifest.num_ws, psi, options.cutoff)
        if len(options.mixing) > MAX_MIXES:
            raise InvalidRequestError.of("mixing", f"{len(options.mixing)} mixes; a picture takes at most {MAX_MIXES}")
        for mix in options.mixing:
            rows = self._mix(rows, mix, replace(options, mixing=()))
        return rows

    def map(self, source: Seeds | Z | W, options: PictureOptions) -> NDArray[np.float32]:
        """Untruncated w float32 [N, w_dim] of seeds or z; w is checked and returned. Raises as `batch`."""
        fitted = source.fit(self._manifest)
        if isinstance(fitted, Ws):
            raise InvalidRequestError.of("w", f"has a style for each layer; one w has {self._manifest.w_dim} values")
        return self._map(fitted, options)

    def warm_up(self) -> None:
        """Load the mapping network now instead of at the first seed."""
        class_index = 0 if self._manifest.c_dim else None
        self._mapper(np.zeros((1, self._manifest.z_dim), dtype=np.float32), class_index)

    def _inputs(self, role: str) -> list[GraphInput]:
        return [graph_input for graph_input in self._variant.inputs if graph_input.role == role]

    def _noise(self, seeds: Sequence[int]) -> dict[str, NDArray[np.float32]]:
        noise_inputs = self._inputs("noise")
        if not noise_inputs:
            return {}
        drawn = [noise_from_seed(seed, [graph_input.shape for graph_input in noise_inputs]) for seed in seeds]
        return {
            graph_input.name: np.stack([image[position] for image in drawn])
            if drawn
            else np.empty((0, *graph_input.shape), dtype=np.float32)
            for position, graph_input in enumerate(noise_inputs)
        }

    def _transform(self, options: PictureOptions) -> NDArray[np.float32]:
        inputs = self._inputs("transform")
        if options.translate is None and options.rotate_degrees is None:
            default = inputs[0].default if inputs else ()
            return np.array(default or np.eye(3).ravel(), dtype=np.float32).reshape(3, 3)
        if not inputs:
            raise InvalidRequestError.of(
                "transform",
                f"model {self._manifest.name!r} ({self._manifest.family}) cannot move its picture; omit it",
            )
        return transform_matrix(options.translate or (0.0, 0.0), options.rotate_degrees or 0.0)

    def _check_class(self, class_index: int | None, *, needed: bool) -> None:
        classes, name = self._manifest.c_dim, self._manifest.name
        if class_index is None:
            if classes and needed:
                raise InvalidRequestError.of("class_index", f"model {name!r} needs a class, 0 to {classes - 1}")
        elif not classes:
            raise InvalidRequestError.of("class_index", f"model {name!r} has no classes")
        elif not 0 <= class_index < classes:
            raise InvalidRequestError.of(
                "class_index", f"{class_index} is out of range; model {name!r} has the classes 0 to {classes - 1}"
            )

    def _map(self, source: Seeds | Z | W, options: PictureOptions) -> NDArray[np.float32]:
        self._check_class(options.class_index, needed=not isinstance(source, W))
        if isinstance(source, W):
            return source.array
        z = z_from_seeds(source.seeds, self._manifest.z_dim) if isinstance(source, Seeds) else source.array
        return self._mapper(z, options.class_index)

    def _mix(self, rows: NDArray[np.float32], mix: StyleMix, options: PictureOptions) -> NDArray[np.float32]:
        layers = mix.indices(self._manifest)
        try:
            other = self.styles(mix.source, options)
        except InvalidRequestError as error:
            raise error.under("mixing.source.") from error
        mixed = rows.copy()
        mixed[:, layers] = other[:, layers]
        return mixed
