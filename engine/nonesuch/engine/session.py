"""A session runs one synthesis graph on one device; every backend is a subclass with three methods.

    submit(Batch of n) -> padded to an allowed size -> a thread of the session -> BatchResult of n

Constructing a session does not touch a device; `open` (or `with`) acquires it, and `close` releases it. A session owns
its buffers: results are copies.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from .artifact import Artifact
from .errors import BackendError, BackendUnavailableError, InvalidRequestError, NonesuchError
from .manifest import Variant

_R = TypeVar("_R")


@dataclass(frozen=True)
class SessionOptions:
    """How a session uses its device. A backend rejects options that it does not support, by name."""

    device: str = "cpu"
    max_batch_size: int = 8  # the largest batch of a run
    deterministic: bool = False  # pad every batch to max_batch_size: slower, but all runs use the same kernels
    threads: int | None = None  # CPU threads; None is the runtime's default
    lanes: int | None = None  # images rendered in parallel, which share the threads; None is one
    spinning: bool = True  # idle threads busy-wait: a few ms faster, but takes cores from a server
    noise: str | None = None  # const, none or random: the noise of the variant; None takes the first
    precision: str | None = None  # fp32 or fp16: the precision of the variant; None takes the first
    upsampling: str | None = None  # the form of up-sampling of the variant; None takes the first
    plans: str | None = None  # a folder of prebuilt TensorRT plans, instead of the cache
    cuda_graphs: bool = False  # launch each batch as a CUDA graph; TensorRT only

    def __post_init__(self) -> None:
        if not 1 <= self.max_batch_size <= 1024:
            raise InvalidRequestError.of("max_batch_size", f"{self.max_batch_size} is out of range; it is 1 to 1024")
        for name, value in (("threads", self.threads), ("lanes", self.lanes)):
            if value is not None and not 1 <= value <= 1024:
                raise InvalidRequestError.of(name, f"{value} is out of range; it is 1 to 1024")

    @property
    def variant_choice(self) -> dict[str, str | None]:
        """The options that choose a variant, as arguments of `Artifact.variant`."""
        return {"noise": self.noise, "precision": self.precision, "upsampling": self.upsampling}


@dataclass(frozen=True)
class Batch:
    """The inputs of one run: `ws` float32 [n, num_ws, w_dim], and any other inputs of the graph by name, [n, ...]."""

    ws: NDArray[np.float32]
    inputs: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ws)

    def __getitem__(self, rows: slice) -> Batch:
        """Some rows of the batch."""
        return Batch(self.ws[rows], {name: array[rows] for name, array in self.inputs.items()})

    @classmethod
    def join(cls, batches: Sequence[Batch]) -> Batch:
        """Concatenate batches that have the same inputs."""
        names = batches[0].inputs
        return cls(
            np.concatenate([batch.ws for batch in batches]),
            {name: np.concatenate([batch.inputs[name] for batch in batches]) for name in names},
        )

    def feeds(self) -> dict[str, NDArray[np.float32]]:
        """All inputs by their names in the graph."""
        return {"ws": self.ws, **self.inputs}


@dataclass(frozen=True)
class BatchResult:
    """The images of one run, uint8 [n, H, W, C], and its cost."""

    images: NDArray[np.uint8]
    batch_size: int  # padding included
    inference_ms: float


class Session(ABC):
    """Base of all backends: checks, padding, timing and threading. A backend implements `_open`, `_run`, `_close`."""

    max_in_flight: int = 1
    """The maximum number of batches in flight, each on its own thread: 1 if one run keeps the device busy."""

    runs_plans: bool = False
    """Whether the options `plans` and `cuda_graphs` apply."""

    def __init__(self, artifact: Artifact, variant: Variant, options: SessionOptions) -> None:
        if not self.runs_plans and (options.plans is not None or options.cuda_graphs):
            name = "plans" if options.plans is not None else "cuda_graphs"
            raise BackendUnavailableError(
                f"{name} is for backends tensorrt and tensorrt-rtx, not for {type(self).__name__}; omit it"
            )
        self.artifact = artifact
        self.variant = variant
        self.options = options
        self._executor: ThreadPoolExecutor | None = None
        self._slots = threading.BoundedSemaphore(self.max_in_flight)
        self._clock = threading.Lock()
        self._last_end = 0.0

    @property
    @abstractmethod
    def identity(self) -> str:
        """Backend, version and device in one line: what determines the bytes of an image besides the graph."""

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The sizes that a run may have, ascending; a batch between two of them is padded."""
        if self.options.deterministic:
            return (self.options.max_batch_size,)
        return tuple(range(1, self.options.max_batch_size + 1))

    @property
    def preferred_batch_size(self) -> int:
        """The number of images per run in a long job: the maximum, unless batching does not help a backend."""
        return self.options.max_batch_size

    @property
    def is_open(self) -> bool:
        """Whether `submit` accepts batches."""
        return self._executor is not None

    def open(self) -> None:
        """Load the graph onto the device; does nothing if the session is open.

        Raises:
            BackendError: the runtime rejects the graph or the device.
        """
        if self._executor is not None:
            return
        executor = ThreadPoolExecutor(max_workers=self.max_in_flight, thread_name_prefix="nonesuch-session")
        try:
            executor.submit(self._guard, self._open).result()
        except BaseException:
            executor.shutdown()
            raise
        self._executor = executor

    def close(self) -> None:
        """Finish submitted batches, then release the device; does nothing if the session is closed.

        Raises:
            BackendError: the runtime failed to release the device.
        """
        executor, self._executor = self._executor, None
        if executor is None:
            return
        for _ in range(self.max_in_flight):  # wait for all batches before the device is released
            self._slots.acquire()
        try:
            executor.submit(self._guard, self._close).result()
        finally:
            executor.shutdown()
            for _ in range(self.max_in_flight):
                self._slots.release()

    def submit(self, batch: Batch) -> Future[BatchResult]:
        """Queue one batch of at most `max_batch_size`; blocks while `max_in_flight` batches are in flight.

        Raises:
            InvalidRequestError: the shape of the batch does not fit the model.
            BackendError: the session is not open. If the run itself fails, the future has the error.
        """
        batch = self._checked(batch)
        executor = self._executor
        if executor is None:
            raise BackendError(f"the session on {self.options.device} is closed; open it before submitting")
        self._slots.acquire()
        try:
            future = executor.submit(self._guard, self._timed, batch)
        except RuntimeError as error:
            self._slots.release()
            raise BackendError("the session was closed while a batch was submitted") from error
        future.add_done_callback(lambda _: self._slots.release())
        return future

    def _checked(self, batch: Batch) -> Batch:
        """The batch as float32, with its inputs and shapes checked."""
        manifest, max_size = self.artifact.manifest, min(self.options.max_batch_size, self.batch_sizes[-1])
        shapes: dict[str, tuple[int, ...]] = {"ws": (manifest.num_ws, manifest.w_dim)}
        shapes |= {graph_input.name: graph_input.shape for graph_input in self.variant.inputs}
        feeds: dict[str, NDArray[np.float32]] = {}
        for name, array in batch.feeds().items():
            try:
                feeds[name] = np.asarray(array, dtype=np.float32, order="C")
            except (TypeError, ValueError) as error:
                raise InvalidRequestError.of(name, f"is not an array of numbers ({error})") from error
        if feeds.keys() != shapes.keys():
            raise InvalidRequestError.of(
                "batch", f"has the inputs {', '.join(feeds)}; this variant takes {', '.join(shapes)}"
            )
        n = feeds["ws"].shape[0] if feeds["ws"].ndim else 0
        for name, array in feeds.items():
            if array.shape != (n, *shapes[name]) or not 1 <= n <= max_size:
                expected = ", ".join([f"1 to {max_size}", *map(str, shapes[name])])
                raise InvalidRequestError.of(name, f"shape {array.shape} does not fit; this session takes [{expected}]")
        return Batch(feeds.pop("ws"), feeds)

    def _timed(self, batch: Batch) -> BatchResult:
        n = len(batch)
        size = next(size for size in self.batch_sizes if size >= n)
        if size > n:
            batch = Batch.join([batch, *[batch[n - 1 :]] * (size - n)])
        start = time.perf_counter()
        images = self._run(batch)
        # Of two batches in flight the second waits for the first, so its own time begins when the first one ends.
        end = time.perf_counter()
        with self._clock:
            elapsed_ms = (end - max(start, self._last_end)) * 1e3
            self._last_end = max(end, self._last_end)
        manifest = self.artifact.manifest
        expected = (size, manifest.resolution, manifest.resolution, manifest.channels)
        if images.shape != expected or images.dtype != np.uint8:
            raise BackendError(f"{self.variant.file} gave {images.dtype} {images.shape}, expected uint8 {expected}")
        return BatchResult(images[:n], size, elapsed_ms)

    def _guard(self, function: Callable[..., _R], *args: object) -> _R:
        """Call into the runtime; any foreign error becomes a BackendError that names the graph and the runtime."""
        try:
            return function(*args)
        except NonesuchError:
            raise
        except Exception as error:
            raise BackendError(f"{self.identity} failed on {self.variant.file}: {error}") from error

    @abstractmethod
    def _open(self) -> None:
        """Load the graph; called on a thread of the session."""

    @abstractmethod
    def _run(self, batch: Batch) -> NDArray[np.uint8]:
        """Run a batch whose size is one of `batch_sizes`; called on a thread of the session."""

    @abstractmethod
    def _close(self) -> None:
        """Release what `_open` acquired; called on a thread of the session."""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
