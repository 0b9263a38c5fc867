"""Latents and options -> the inputs of a run: mapping, truncation, mixing, noise and transform, all on the CPU.

seeds | z | w | ws  +  PictureOptions  ->  Batch
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .artifact import Artifact
from .errors import InvalidRequestError
from .latents import DEFAULT_PSI, noise_from_seed, transform_matrix, truncate, truncate_ws, z_from_seeds
from .manifest import GraphInput, Variant
from .mapping import Mapper
from .session import Batch
from .style_mix import StyleMix

__all__ = ["MAX_MIXES", "LatentPipeline", "PictureOptions"]

MAX_MIXES = 32
"""Mixes of one picture at most; more than a picture has groups of layers that differ."""


@dataclass(frozen=True)
class PictureOptions:
    """What shapes a picture besides its latent."""

    psi: float | None = None  # truncation, -2 to 2; None: 0.7 for seeds and z, 1 (as given) for w and ws
    cutoff: int | None = None  # truncate only the first so many layers
    class_index: int | None = None  # of a conditional model; needed to map seeds and z
    mixing: Sequence[StyleMix] = ()  # applied in order; psi and cutoff are theirs too
    noise_seed: int | None = None  # random noise only; None: the image's own seed, or 0 where it has none
    translate: tuple[float, float] | None = None  # (x, y) in widths of the picture; StyleGAN3 only
    rotate_degrees: float | None = None  # StyleGAN3 only

    @property
    def words(self) -> tuple[str, ...]:
        """All but psi that is given, for people: what `ImageRecord.shaped_by` says."""
        found = []
        if self.class_index is not None:
            found.append(f"class {self.class_index}")
        if self.cutoff is not None:
            found.append(f"psi in the first {self.cutoff} layers")
        found += [mix.text for mix in self.mixing]
        if self.noise_seed is not None:
            found.append(f"noise of seed {self.noise_seed}")
        if self.translate is not None:
            found.append(f"moved by {self.translate[0]:g}, {self.translate[1]:g}")
        if self.rotate_degrees is not None:
            found.append(f"turned by {self.rotate_degrees:g} degrees")
        return tuple(found)


class LatentPipeline:
    """Prepares batches for one artifact and variant."""

    def __init__(self, artifact: Artifact, variant: Variant) -> None:
        self._manifest = artifact.manifest
        self._variant = variant
        self._mapper = Mapper(artifact)
        self._w_avg = artifact.w_avg()

    @property
    def z_dim(self) -> int:
        """Values in z."""
        return self._manifest.z_dim

    def batch(
        self,
        options: PictureOptions,
        *,
        seeds: Sequence[int] | None = None,
        z: ArrayLike | None = None,
        w: ArrayLike | None = None,
        ws: ArrayLike | None = None,
    ) -> Batch:
        """The inputs of a run for exactly one of seeds, z [N, z_dim], w [N, w_dim] and ws [N, num_ws, w_dim].

        Raises:
            InvalidRequestError: a value is out of range or does not fit the model.
            BackendError: the mapping network failed.
        """
        styles = self.styles(options, seeds=seeds, z=z, w=w, ws=ws)
        transform = self._transform(options)
        noise_seeds = [options.noise_seed or 0] * len(styles)
        if options.noise_seed is None and seeds is not None:
            noise_seeds = list(seeds)
        inputs = self._noise(noise_seeds)
        for graph_input in self._inputs("transform"):
            inputs[graph_input.name] = np.repeat(transform[None], len(styles), axis=0)
        return Batch(styles, inputs)

    def styles(
        self,
        options: PictureOptions,
        *,
        seeds: Sequence[int] | None = None,
        z: ArrayLike | None = None,
        w: ArrayLike | None = None,
        ws: ArrayLike | None = None,
    ) -> NDArray[np.float32]:
        """The per-layer styles float32 [N, num_ws, w_dim]; as `batch`."""
        if sum(source is not None for source in (seeds, z, w, ws)) != 1:
            raise InvalidRequestError.of("source", "give exactly one of seeds, z, w and ws")
        manifest, psi = self._manifest, options.psi
        if psi is None:
            psi = DEFAULT_PSI if seeds is not None or z is not None else 1.0
        if ws is not None:
            self._check_class(options.class_index, needed=False)
            per_layer = self._latent("ws", ws, (manifest.num_ws, manifest.w_dim))
            rows = truncate_ws(per_layer, self._w_avg, psi, options.cutoff)
        else:
            mapped = self.map(options, seeds=seeds, z=z, w=w)
            rows = truncate(mapped, self._w_avg, manifest.num_ws, psi, options.cutoff)
        if len(options.mixing) > MAX_MIXES:
            raise InvalidRequestError.of("mixing", f"{len(options.mixing)} mixes; a picture takes at most {MAX_MIXES}")
        for mix in options.mixing:
            rows = self._mix(rows, mix, replace(options, mixing=()))
        return rows

    def map(
        self,
        options: PictureOptions,
        *,
        seeds: Sequence[int] | None = None,
        z: ArrayLike | None = None,
        w: ArrayLike | None = None,
    ) -> NDArray[np.float32]:
        """Untruncated w float32 [N, w_dim] of seeds or z; a w is checked and passed through. Raises as `batch`."""
        self._check_class(options.class_index, needed=w is None)
        if w is not None:
            return self._latent("w", w, (self._manifest.w_dim,))
        if z is None:
            return self._mapper(z_from_seeds(seeds or (), self._manifest.z_dim), options.class_index)
        return self._mapper(self._latent("z", z, (self._manifest.z_dim,)), options.class_index)

    def check(self, *, z: ArrayLike | None = None, w: ArrayLike | None = None) -> None:
        """Pass if one z [z_dim] and one w, [w_dim] or num_ws * w_dim values, fit the model; costs no mapping.

        Raises:
            InvalidRequestError: one does not.
        """
        if z is not None:
            self._latent("z", np.asarray(z)[None], (self._manifest.z_dim,))
        self.split_w(w)

    def split_w(self, values: ArrayLike | None) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        """One w as (w [1, w_dim], None) or (None, ws [1, num_ws, w_dim]), by the number of its values.

        Raises:
            InvalidRequestError: it has another number of values, or some that are not finite.
        """
        if values is None:
            return None, None
        num_ws, w_dim = self._manifest.num_ws, self._manifest.w_dim
        size = np.size(values)
        if size == w_dim:
            return self._latent("w", np.reshape(values, (1, w_dim)), (w_dim,)), None
        if size == num_ws * w_dim:
            return None, self._latent("w", np.reshape(values, (1, num_ws, w_dim)), (num_ws, w_dim))
        raise InvalidRequestError.of(
            "w", f"has {size} values; the model takes {w_dim}, or {num_ws * w_dim} for a style per layer"
        )

    def warm_up(self) -> None:
        """Load the mapping network now rather than at the first seed."""
        class_index = 0 if self._manifest.c_dim else None
        self._mapper(np.zeros((1, self._manifest.z_dim), dtype=np.float32), class_index)

    def _inputs(self, role: str) -> list[GraphInput]:
        return [graph_input for graph_input in self._variant.inputs if graph_input.role == role]

    def _noise(self, seeds: Sequence[int]) -> dict[str, NDArray[np.float32]]:
        wanted = self._inputs("noise")
        if not wanted:
            return {}
        drawn = [noise_from_seed(seed, [graph_input.shape for graph_input in wanted]) for seed in seeds]
        return {
            graph_input.name: np.stack([image[position] for image in drawn])
            if drawn
            else np.empty((0, *graph_input.shape), dtype=np.float32)
            for position, graph_input in enumerate(wanted)
        }

    def _transform(self, options: PictureOptions) -> NDArray[np.float32]:
        inputs = self._inputs("transform")
        if options.translate is None and options.rotate_degrees is None:
            default = inputs[0].default if inputs else ()
            return np.array(default or np.eye(3).ravel(), dtype=np.float32).reshape(3, 3)
        if not inputs:
            raise InvalidRequestError.of(
                "transform",
                f"model {self._manifest.name!r} ({self._manifest.family}) cannot move its picture; leave it out",
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

    def _latent(self, field: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
        try:
            array = np.asarray(value, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError.of(field, f"is no array of numbers ({error})") from error
        if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
            expected = ", ".join(["N", *map(str, shape)])
            raise InvalidRequestError.of(field, f"shape {array.shape} does not fit [{expected}]")
        if not np.isfinite(array).all():
            raise InvalidRequestError.of(field, "has values that are not finite")
        return array

    def _mix(self, rows: NDArray[np.float32], mix: StyleMix, options: PictureOptions) -> NDArray[np.float32]:
        layers = mix.indices(self._manifest)
        if sum(source is not None for source in (mix.seed, mix.z, mix.w)) != 1:
            raise InvalidRequestError.of("mixing.source", "give exactly one of seed, z and w")
        try:
            if mix.seed is not None:
                other = self.styles(options, seeds=[mix.seed])
            elif mix.z is not None:
                other = self.styles(options, z=np.asarray(mix.z)[None])
            else:
                w, ws = self.split_w(mix.w)
                other = self.styles(options, w=w, ws=ws)
        except InvalidRequestError as error:
            raise error.under("mixing.source.") from error
        mixed = rows.copy()
        mixed[:, layers] = other[:, layers]
        return mixed
