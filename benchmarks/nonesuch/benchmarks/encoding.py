"""What encoding costs: time and bytes of an image by format, and how much of it hides behind inference.

Limits: pictures of the model itself, at the encoder's own settings. The first part is one image on one thread; Pillow's
PNG at its defaults stands beside ours. The second part generates a few images alone, then encodes each after the other,
then hands each to the encoder's threads while the next is generated, as a server does. Where inference keeps every core
busy, encoding can be hidden only as far as it waits for nothing but a core.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nonesuch.engine.encoder import EncodeOptions, EncoderPool, encode_image
from nonesuch.engine.generator import Generator
from nonesuch.engine.image_format import ImageFormat
from nonesuch.engine.provenance import ImageRecord
from nonesuch.engine.session import Batch, SessionOptions

from .interleaved import Plan, Sampler, interleave
from .measurement import Case, Measurement, Skipped
from .suite import Outcome, Request
from .workload import Workload

__all__ = ["SUITE", "measure"]

SUITE = "encoding"
ALONE = "generate alone"
PILLOW_PNG = "png by Pillow's defaults"
FORMATS = (ImageFormat.JPEG, ImageFormat.PNG, ImageFormat.WEBP)
PICTURES = 4
QUICK, FULL = Plan(rounds=8), Plan(rounds=40)
QUICK_OVERLAP, FULL_OVERLAP = Plan(rounds=3), Plan(rounds=15)

Encode = Callable[[NDArray[np.uint8]], bytes]


def measure(request: Request) -> Outcome:
    """Samples of `encode`, ms, and `size`, KiB, by format; of `images_per_s` for generating with and without encoding.

    Raises:
        NonesuchError: there is no such model, or no backend that can run it.
    """
    outcome = Outcome()
    plan, overlap = (QUICK, QUICK_OVERLAP) if request.quick else (FULL, FULL_OVERLAP)
    if request.rounds is not None:
        plan = overlap = Plan(rounds=request.rounds)
    workload = Workload(request.model, images=PICTURES)
    # Idle threads that busy-wait would take cores from the encoder; a server turns that off, too.
    options = SessionOptions(spinning=False)
    with Generator.open(request.model, options=options) as generator, EncoderPool() as pool:
        record = ImageRecord(generator.manifest.name, generator.manifest.model_id)
        batches = [workload.batch(number, 1) for number in range(PICTURES)]
        pictures = [result.images[0] for result in generator.render(batches)]
        _measure_formats(request, plan, pictures, record, outcome)
        _measure_overlap(request, overlap, _Work(generator, pool, batches, record), outcome)
    return outcome


def _measure_formats(
    request: Request, plan: Plan, pictures: Sequence[NDArray[np.uint8]], record: ImageRecord, outcome: Outcome
) -> None:
    encoders: dict[str, Encode] = {str(format_): _encoder(format_, record) for format_ in FORMATS}
    encoders[PILLOW_PNG] = _pillow_png
    encoders = {name: encode for name, encode in encoders.items() if request.wants(name)}
    sizes: dict[str, list[float]] = {
        name: [len(encode(p)) / 1024 for p in pictures] for name, encode in encoders.items()
    }

    def sampler(encode: Encode) -> Sampler:
        return lambda number: _elapsed_s(lambda: encode(pictures[number % len(pictures)])) * 1e3

    sampled = interleave({name: sampler(encode) for name, encode in encoders.items()}, plan, request.say)
    _add(outcome, "encode", "ms", "lower", sampled.samples, {"threads": 1})
    _add(outcome, "size", "KiB", "lower", sizes, {})
    _skip(outcome, sampled.dropped)


class _Work:
    """A few images to generate, and to encode in one way or another."""

    def __init__(self, generator: Generator, pool: EncoderPool, batches: Sequence[Batch], record: ImageRecord) -> None:
        self._generator, self._pool, self._batches, self._record = generator, pool, batches, record
        self.backend = generator.session.identity

    def alone(self, _: int = 0) -> float:
        """Images a second without encoding."""
        return len(self._batches) / _elapsed_s(lambda: list(self._generator.render(self._batches)))

    def in_turn(self, format_: ImageFormat) -> Sampler:
        """Images a second where each is encoded before the next is generated."""

        def run() -> None:
            for result in self._generator.render(self._batches):
                encode_image(result.images[0], EncodeOptions(format_), self._record)

        return lambda _: len(self._batches) / _elapsed_s(run)

    def in_parallel(self, format_: ImageFormat) -> Sampler:
        """Images a second where the encoder's threads work while the next is generated."""

        def run() -> None:
            flying: list[Future[bytes]] = []
            for result in self._generator.render(self._batches):
                flying.append(self._pool.submit(result.images[0], EncodeOptions(format_), self._record))
            for future in flying:
                future.result()

        return lambda _: len(self._batches) / _elapsed_s(run)


def _measure_overlap(request: Request, plan: Plan, work: _Work, outcome: Outcome) -> None:
    samplers: dict[str, Sampler] = {ALONE: work.alone}
    for format_ in FORMATS:
        samplers[f"generate, then {format_}"] = work.in_turn(format_)
        samplers[f"generate beside {format_}"] = work.in_parallel(format_)
    samplers = {name: sampler for name, sampler in samplers.items() if name == ALONE or request.wants(name)}
    sampled = interleave(samplers, plan, request.say)
    _add(outcome, "images_per_s", "1/s", "higher", sampled.samples, {"images": PICTURES}, work.backend)
    _skip(outcome, sampled.dropped)


def _add(
    outcome: Outcome,
    metric: str,
    unit: str,
    better: Literal["lower", "higher"],
    found: dict[str, list[float]],
    case: Case,
    detail: str = "",
) -> None:
    outcome.measurements += [
        Measurement(
            suite=SUITE,
            subject=name,
            detail=detail or _settings(name),
            metric=metric,
            unit=unit,
            better=better,
            case=case,
            samples=samples,
        )
        for name, samples in found.items()
    ]


def _skip(outcome: Outcome, dropped: dict[str, str]) -> None:
    outcome.skipped += [Skipped(suite=SUITE, subject=name, reason=reason) for name, reason in dropped.items()]


def _settings(name: str) -> str:
    if name == PILLOW_PNG:
        return "Pillow, PNG, optimize off, compress_level 6, without provenance"
    return EncodeOptions(ImageFormat(name)).identity


def _encoder(format_: ImageFormat, record: ImageRecord) -> Encode:
    return lambda picture: encode_image(picture, EncodeOptions(format_), record)


def _pillow_png(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(buffer, "PNG")
    return buffer.getvalue()


def _elapsed_s(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
