"""Batch sizes -> optimization profiles: ranges of sizes that one set of kernels is chosen and memory planned for.

A profile's activation memory is that of its largest size, so a size of 1 has a profile of its own: a session that runs
single images, as on edge GPUs, then needs no more memory than one image, and with a fixed shape the library needs fewer
kernels. All larger sizes share one profile, whose kernels are chosen for its largest size, where the most images are
rendered at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from ..errors import InvalidRequestError

MAX_BATCH_SIZE = 1024

BatchSize = Annotated[int, msgspec.Meta(ge=1, le=MAX_BATCH_SIZE)]
"""As a record may have it: what is read from a file is checked."""


class BatchProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One profile: the sizes from `least` to `most`, with kernels chosen for `best`."""

    least: BatchSize
    best: BatchSize
    most: BatchSize


def default_batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """1, 2, 4, ... and the largest itself.

    Raises:
        InvalidRequestError: it is out of range.
    """
    sizes, size = [], 1
    while size < max_batch_size:
        sizes.append(size)
        size *= 2
    return _checked([*sizes, max_batch_size])


def make_profiles(batch_sizes: Sequence[int], *, fixed: bool = True) -> tuple[BatchProfile, ...]:
    """The profiles that cover the sizes: one for 1, one for the others.

    Without `fixed` the first also takes 2. For SM 75 TensorRT-RTX 1.7 folds the sum of noise and bias of a fixed shape
    into constants as large as the feature maps: the default model's plan has 509 MiB with it and 39 without.

    Raises:
        InvalidRequestError: no sizes, or a size out of range.
    """
    sizes = _checked(batch_sizes)
    profiles = [BatchProfile(1, 1, 1 if fixed else 2)] if sizes[0] == 1 else []
    larger = [size for size in sizes if size > 1]
    if larger:
        profiles.append(BatchProfile(larger[0], larger[-1], larger[-1]))
    return tuple(profiles)


def profile_of(profiles: Sequence[BatchProfile], batch_size: int) -> int:
    """The index of the profile that has the size.

    Raises:
        InvalidRequestError: none has it.
    """
    for index, profile in enumerate(profiles):
        if profile.least <= batch_size <= profile.most:
            return index
    there = ", ".join(f"{profile.least} to {profile.most}" for profile in profiles)
    raise InvalidRequestError.of(
        "batch", f"{batch_size} images are outside every profile of the plan, which has {there}"
    )


def _checked(batch_sizes: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(sorted(set(batch_sizes)))
    if not sizes or not 1 <= sizes[0] <= sizes[-1] <= MAX_BATCH_SIZE:
        given = ", ".join(map(str, batch_sizes)) or "nothing"
        raise InvalidRequestError.of("batch", f"{given}; batch sizes are 1 to {MAX_BATCH_SIZE}")
    return sizes
