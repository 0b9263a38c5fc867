"""The front door of the engine: a model by path or name, and images from seeds, z, w or ws.

with Generator.open("faces") as generator:
    images = generator.generate(seeds=[0, 1, 2], psi=0.7)  # uint8 [3, 1024, 1024, 3]
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .artifact import Artifact, find_artifact
from .backends.registry import AUTO, choose_backend
from .errors import FieldViolation, InvalidRequestError
from .latents import DEFAULT_PSI, StyleMix, truncate, z_from_seeds
from .manifest import Manifest
from .mapping import Mapper
from .session import Batch, BatchResult, Session, SessionOptions

__all__ = ["Generator"]


class Generator:
    """A model ready to generate. Cheap to construct; `with` or `load` takes the device, `close` gives it back."""

    def __init__(self, artifact: Artifact, session: Session, reason: str) -> None:
        self.artifact = artifact
        self.session = session
        self.backend_reason = reason
        self._mapper = Mapper(artifact)
        self._w_avg = artifact.w_avg()

    @classmethod
    def open(cls, model: str | Path, *, backend: str = AUTO, options: SessionOptions | None = None) -> Generator:
        """Find a model and a backend for it.

        Args:
            model: a folder, or a name from `nonesuch models list`.
            backend: a backend's name, or "auto" for the fastest that works here.
            options: device, batch size, threads.

        Raises:
            ModelNotFoundError: no such model.
            ArtifactError: the artifact is damaged or too new.
            BackendUnavailableError: the backend is not installed or does not work here.
        """
        artifact = find_artifact(model)
        choice = choose_backend(backend)
        return cls(artifact, choice.backend.session(artifact, options or SessionOptions()), choice.reason)

    @property
    def manifest(self) -> Manifest:
        """What the model is: dimensions, layout, source, terms."""
        return self.artifact.manifest

    @property
    def build_id(self) -> str:
        """16 hex digits over model, variant and backend: equal build ids and equal styles give equal pixels."""
        parts = (self.manifest.model_id, self.session.variant.sha256, self.session.identity)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def load(self) -> None:
        """Load the graph onto the device now rather than at the first image.

        Raises:
            BackendError: the runtime refuses the graph or the device.
        """
        self.session.open()

    def close(self) -> None:
        """Give the device back; the generator can be loaded again."""
        self.session.close()

    def generate(
        self,
        seeds: Sequence[int] | None = None,
        *,
        z: ArrayLike | None = None,
        w: ArrayLike | None = None,
        ws: ArrayLike | None = None,
        psi: float | None = None,
        cutoff: int | None = None,
        class_index: int | None = None,
        mixing: Sequence[StyleMix] = (),
    ) -> NDArray[np.uint8]:
        """Generate one image for each seed or row.

        Takes exactly one of seeds, z [N, z_dim], w [N, w_dim] and ws [N, num_ws, w_dim]; the rest is as in `styles`.

        Returns:
            uint8 [N, H, W, C], RGB.

        Raises:
            InvalidRequestError: a value is out of range or does not fit the model.
            BackendError: the runtime failed.
        """
        styles = self.styles(seeds, z=z, w=w, ws=ws, psi=psi, cutoff=cutoff, class_index=class_index, mixing=mixing)
        step = self.session.preferred_batch_size
        chunks = (styles[start : start + step] for start in range(0, len(styles), step))
        images = [result.images for result in self.render(chunks)]
        size, channels = self.manifest.resolution, self.manifest.channels
        return np.concatenate([np.empty((0, size, size, channels), dtype=np.uint8), *images])

    def styles(
        self,
        seeds: Sequence[int] | None = None,
        *,
        z: ArrayLike | None = None,
        w: ArrayLike | None = None,
        ws: ArrayLike | None = None,
        psi: float | None = None,
        cutoff: int | None = None,
        class_index: int | None = None,
        mixing: Sequence[StyleMix] = (),
    ) -> NDArray[np.float32]:
        """The per-layer styles float32 [N, num_ws, w_dim] that `generate` would render.

        Args:
            seeds: unsigned 32-bit integers.
            z: [N, z_dim].
            w: [N, w_dim].
            ws: [N, num_ws, w_dim].
            psi: truncation; None is 0.7 for seeds and z, and 1 (as given) for w and ws.
            cutoff: truncate only the first so many layers.
            class_index: for models with classes.
            mixing: layers whose styles come from other seeds, truncated alike.

        Raises:
            InvalidRequestError: a value is out of range or does not fit the model.
            BackendError: the mapping network failed.
        """
        manifest = self.manifest
        if sum(source is not None for source in (seeds, z, w, ws)) != 1:
            raise InvalidRequestError(FieldViolation("source", "give exactly one of seeds, z, w and ws"))
        if class_index is not None and manifest.c_dim == 0:
            raise InvalidRequestError(FieldViolation("class_index", f"model {manifest.name!r} has no classes"))
        if psi is None:
            psi = DEFAULT_PSI if seeds is not None or z is not None else 1.0
        if ws is not None:
            rows = self._truncate_ws(self._latent("ws", ws, (manifest.num_ws, manifest.w_dim)), psi, cutoff)
        else:
            if w is not None:
                mapped = self._latent("w", w, (manifest.w_dim,))
            elif z is not None:
                mapped = self._mapper(self._latent("z", z, (manifest.z_dim,)))
            else:
                mapped = self._mapper(z_from_seeds(seeds or (), manifest.z_dim))
            rows = truncate(mapped, self._w_avg, manifest.num_ws, psi, cutoff)
        for mix in mixing:
            rows = self._mix(rows, mix, psi, cutoff)
        return rows

    def render(self, chunks: Iterable[NDArray[np.float32]]) -> Iterator[BatchResult]:
        """Render chunks of styles [n, num_ws, w_dim], each at most `max_batch_size`, in order and kept in flight.

        Chunks are drawn only as the device takes them, so a long job needs no memory for its tail.

        Raises:
            BackendError: the runtime failed.
        """
        self.load()
        flying: deque[Future[BatchResult]] = deque()
        for styles in chunks:
            if len(flying) == self.session.max_in_flight:
                yield flying.popleft().result()
            flying.append(self.session.submit(Batch(styles)))
        while flying:
            yield flying.popleft().result()

    def _latent(self, field: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
        try:
            array = np.asarray(value, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(FieldViolation(field, f"is no array of numbers ({error})")) from error
        if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
            expected = ", ".join(["N", *map(str, shape)])
            raise InvalidRequestError(FieldViolation(field, f"shape {array.shape} does not fit [{expected}]"))
        if not np.isfinite(array).all():
            raise InvalidRequestError(FieldViolation(field, "has values that are not finite"))
        return array

    def _truncate_ws(self, ws: NDArray[np.float32], psi: float, cutoff: int | None) -> NDArray[np.float32]:
        layers = self.manifest.num_ws
        flat = truncate(ws.reshape(-1, ws.shape[2]), self._w_avg, 1, psi).reshape(ws.shape)
        kept = layers if cutoff is None else cutoff
        if not 0 <= kept <= layers:
            raise InvalidRequestError(
                FieldViolation("cutoff", f"{cutoff} is out of range; the model has {layers} layers")
            )
        return np.concatenate([flat[:, :kept], ws[:, kept:]], axis=1)

    def _mix(self, rows: NDArray[np.float32], mix: StyleMix, psi: float, cutoff: int | None) -> NDArray[np.float32]:
        wrong = [layer for layer in mix.layers if not 0 <= layer < self.manifest.num_ws]
        if wrong or not mix.layers:
            problem = f"layers {list(mix.layers)}; the model's layers are 0 to {self.manifest.num_ws - 1}"
            raise InvalidRequestError(FieldViolation("mixing.layers", problem))
        other = self.styles([mix.seed], psi=psi, cutoff=cutoff)
        mixed = rows.copy()
        mixed[:, list(mix.layers)] = other[:, list(mix.layers)]
        return mixed

    def __enter__(self) -> Self:
        self.load()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
