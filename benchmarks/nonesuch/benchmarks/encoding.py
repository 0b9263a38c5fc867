"""What encoding costs: time and bytes of an image by format, and how much of it hides behind inference.

Limits: pictures of the model itself, at the encoder's own settings. The first part is one image on one thread; Pillow's
PNG at its defaults stands beside ours. The second part generates a few images alone, then encodes each after the other,
then hands each to the encoder's threads while the next is generated, as a server does. Where inference keeps every core
busy, encoding can be hidden only as far as it waits for nothing but a core.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nonesuch.engine.encoder import EncodeOptions, EncoderPool, ImageFormat, encode_image
from nonesuch.engine.generator import Generator
from nonesuch.engine.provenance import ImageRecord
from nonesuch.engine.session import Batch, SessionOptions

from .interleaved import Plan, Sampler, interleave
from .result import Outcome, Request
from .subjects.subject import Workload

ALONE = "generate alone"
PILLOW_PNG = "png by Pillow's defaults"
FORMATS = (ImageFormat.JPEG, ImageFormat.PNG, ImageFormat.WEBP)
PICTURES = 4
QUICK, FULL = Plan(rounds=8), Plan(rounds=40)
QUICK_OVERLAP, FULL_OVERLAP = Plan(rounds=3), Plan(rounds=15)

Encode = Callable[[NDArray[np.uint8]], bytes]


def measure(request: Request) -> Outcome:
    """Samples of `encode`, ms, and `size`, KiB, by format; of `images_per_s` for generating with and without it."""
    outcome = Outcome("encoding")
    workload = Workload(request.model, images=PICTURES)
    # Idle threads that busy-wait would take cores from the encoder; a server turns that off, too.
    options = SessionOptions(spinning=False)
    with Generator.open(request.model, options=options) as generator, EncoderPool() as pool:
        record = ImageRecord(generator.manifest.name, generator.manifest.model_id)
        batches = [workload.batch(number, 1) for number in range(PICTURES)]
        pictures = [result.images[0] for result in generator.render(batches)]
        encoders: dict[str, Encode] = {
            str(one): partial(encode_image, options=EncodeOptions(one), record=record) for one in FORMATS
        }
        _measure_formats(request, {**encoders, PILLOW_PNG: _pillow_png}, pictures, outcome)
        samplers = _overlap_samplers(generator, pool, batches, record)
        samplers = {name: sampler for name, sampler in samplers.items() if name == ALONE or request.wants(name)}
        sampled = interleave(samplers, Plan.of(request, QUICK_OVERLAP, FULL_OVERLAP), request.say)
        outcome.skip_all(sampled.dropped)
        for name, samples in sampled.samples.items():
            outcome.add(name, "images_per_s", samples, {"images": PICTURES}, generator.session.identity)
    return outcome


def _measure_formats(
    request: Request, encoders: Mapping[str, Encode], pictures: Sequence[NDArray[np.uint8]], outcome: Outcome
) -> None:
    def sampler(encode: Encode) -> Sampler:
        return lambda number: _elapsed_s(lambda: encode(pictures[number % len(pictures)])) * 1e3

    encoders = {name: encode for name, encode in encoders.items() if request.wants(name)}
    sizes = {name: [len(encode(picture)) / 1024 for picture in pictures] for name, encode in encoders.items()}
    samplers = {name: sampler(encode) for name, encode in encoders.items()}
    sampled = interleave(samplers, Plan.of(request, QUICK, FULL), request.say)
    outcome.skip_all(sampled.dropped)
    details = {str(one): EncodeOptions(one).identity for one in FORMATS}
    details[PILLOW_PNG] = "Pillow, PNG, optimize off, compress_level 6, without provenance"
    for name, samples in sampled.samples.items():
        outcome.add(name, "encode", samples, {"threads": 1}, details[name])
    for name, samples in sizes.items():
        outcome.add(name, "size", samples, {}, details[name])


def _overlap_samplers(
    generator: Generator, pool: EncoderPool, batches: Sequence[Batch], record: ImageRecord
) -> dict[str, Sampler]:
    """Images a second: without encoding, encoding each before the next is generated, and while the next is."""

    def rate(work: Callable[[], object]) -> Sampler:
        return lambda _: len(batches) / _elapsed_s(work)

    def in_turn(options: EncodeOptions) -> None:
        for result in generator.render(batches):
            encode_image(result.images[0], options, record)

    def in_parallel(options: EncodeOptions) -> None:
        encoding = [pool.submit(result.images[0], options, record) for result in generator.render(batches)]
        for future in encoding:
            future.result()

    samplers = {ALONE: rate(lambda: list(generator.render(batches)))}
    for one in FORMATS:
        samplers[f"generate, then {one}"] = rate(partial(in_turn, EncodeOptions(one)))
        samplers[f"generate beside {one}"] = rate(partial(in_parallel, EncodeOptions(one)))
    return samplers


def _pillow_png(picture: NDArray[np.uint8]) -> bytes:
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def _elapsed_s(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
