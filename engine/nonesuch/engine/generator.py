"""The main interface of the engine: opens a model by path or name, and renders seeds, z, w or ws.

with Generator.open("faces") as generator:
    images = generator.generate(seeds=[0, 1, 2], psi=0.7)  # uint8 [3, 1024, 1024, 3]
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .artifact import MAPPING_FILE, W_AVG_FILE, Artifact, find_artifact
from .backends.onnxruntime import load_mapping
from .backends.registry import AUTO, choose_backend
from .latent_pipeline import LatentPipeline, PictureOptions
from .manifest import Manifest
from .session import Batch, BatchResult, Session, SessionOptions
from .source import Source, source_of
from .style_mix import StyleMix
from .tuning import tuned_session


class Generator:
    """A model and a session for it. Cheap to construct; `with` or `load` acquires the device, `close` releases it."""

    def __init__(self, artifact: Artifact, session: Session, reason: str) -> None:
        self.artifact = artifact
        self.session = session
        self.backend_reason = reason
        self.latents = LatentPipeline(artifact, session.variant, load_mapping)

    @classmethod
    def open(
        cls, model: str | Path, *, backend: str = AUTO, options: SessionOptions | None = None, tuned: bool = True
    ) -> Generator:
        """Find a model and a backend for it.

        Args:
            model: a folder, or a name from `nonesuch models list`.
            backend: a backend's name, or "auto" for the fastest usable one.
            options: device, batch size, threads.
            tuned: fill unset options with what `nonesuch tune` measured on this machine.

        Raises:
            ModelNotFoundError: the model does not exist.
            ArtifactError: the artifact is damaged or too new.
            BackendUnavailableError: the backend is not installed or does not work here.
        """
        artifact, options = find_artifact(model), options or SessionOptions()
        measured = tuned_session(artifact, backend, options) if tuned else None
        if measured is not None:
            return cls(artifact, measured.session, measured.reason)
        choice = choose_backend(backend)
        return cls(artifact, choice.backend.session(artifact, options), choice.reason)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the model: dimensions, layout, source, terms."""
        return self.artifact.manifest

    @property
    def build_id(self) -> str:
        """16 hex digits over the artifact's files, variant and backend: equal ids and latents give equal pixels."""
        files = self.manifest.files
        mapping, w_avg = files[MAPPING_FILE], files[W_AVG_FILE]
        parts = (self.manifest.model_id, mapping, w_avg, self.session.variant.sha256, self.session.identity)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def load(self) -> None:
        """Load the graph onto the device now instead of at the first image.

        Raises:
            BackendError: the runtime rejects the graph or the device.
        """
        self.session.open()

    def close(self) -> None:
        """Release the device; the generator can be loaded again."""
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
        noise_seed: int | None = None,
        translate: tuple[float, float] | None = None,
        rotate_degrees: float | None = None,
    ) -> NDArray[np.uint8]:
        """Generate one image per seed or row.

        Takes exactly one of seeds, z [N, z_dim], w [N, w_dim] and ws [N, num_ws, w_dim]. The other arguments are those
        of `PictureOptions`.

        Returns:
            uint8 [N, H, W, C], RGB.

        Raises:
            InvalidRequestError: a value is out of range or does not fit the model.
            BackendError: the runtime failed.
        """
        options = PictureOptions(psi, cutoff, class_index, mixing, noise_seed, translate, rotate_degrees)
        images = list(self.stream(source_of(seeds=seeds, z=z, w=w, ws=ws), options))
        size, channels = self.manifest.resolution, self.manifest.channels
        return np.stack(images) if images else np.empty((0, size, size, channels), dtype=np.uint8)

    def stream(
        self,
        source: Source,
        options: PictureOptions,
        *,
        edit: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """The images of a source, uint8 [H, W, C], in order, rendered in batches of the session's preferred size.

        Args:
            source: the source of each picture.
            options: apply to all pictures.
            edit: changes the styles float32 [N, num_ws, w_dim] of each run before it is rendered.

        Raises:
            InvalidRequestError: a value is out of range or does not fit the model.
            BackendError: the runtime failed.
        """

        def batches() -> Iterator[Batch]:
            step = self.session.preferred_batch_size
            # At least one batch, so that invalid options are rejected even for an empty source.
            for start in range(0, max(1, len(source)), step):
                batch = self.latents.batch(source[start : start + step], options)
                if len(batch):
                    yield batch if edit is None else Batch(edit(batch.ws), batch.inputs)

        for result in self.render(batches()):
            yield from result.images

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

        Raises:
            InvalidRequestError: a value is out of range or does not fit the model.
            BackendError: the mapping network failed.
        """
        options = PictureOptions(psi, cutoff, class_index, mixing)
        return self.latents.styles(source_of(seeds=seeds, z=z, w=w, ws=ws), options)

    def render(self, chunks: Iterable[Batch]) -> Iterator[BatchResult]:
        """Render batches of at most `max_batch_size` in order, with as many in flight as the session allows.

        Chunks are drawn only when the device can take them, so a long job needs little memory.

        Raises:
            BackendError: the runtime failed.
        """
        self.load()
        in_flight: deque[Future[BatchResult]] = deque()
        for batch in chunks:
            if len(in_flight) == self.session.max_in_flight:
                yield in_flight.popleft().result()
            in_flight.append(self.session.submit(batch))
        while in_flight:
            yield in_flight.popleft().result()

    def __enter__(self) -> Self:
        self.load()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
