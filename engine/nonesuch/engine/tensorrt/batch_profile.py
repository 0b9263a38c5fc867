"""Batch sizes -> optimization profiles: ranges of sizes that share one choice of kernels and one memory plan.

A profile allocates activation memory for its largest size, so size 1 has its own profile: a session that runs single
images, as on edge GPUs, then only needs the memory of one image, and a fixed shape needs fewer kernels. All larger
sizes share one profile, whose kernels are chosen for its largest size, because most images run in such batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from ..errors import InvalidRequestError

MAX_BATCH_SIZE = 1024

BatchSize = Annotated[int, msgspec.Meta(ge=1, le=MAX_BATCH_SIZE)]
"""Checked when a record is read from a file."""


# Records on disk, and the keys over them, have the old names of the fields.
_FIELDS_ON_DISK = {"min": "least", "opt": "best", "max": "most"}


class BatchProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=_FIELDS_ON_DISK):
    """One profile: the sizes from `min` to `max`, with kernels chosen for `opt`."""

    min: BatchSize
    opt: BatchSize
    max: BatchSize


def default_batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """1, 2, 4, ... and `max_batch_size`.

    Raises:
        InvalidRequestError: the size is out of range.
    """
    sizes, size = [], 1
    while size < max_batch_size:
        sizes.append(size)
        size *= 2
    return _checked([*sizes, max_batch_size])


def make_profiles(batch_sizes: Sequence[int], *, fixed: bool = True) -> tuple[BatchProfile, ...]:
    """The profiles that cover the sizes: one for size 1, one for the others.

    Without `fixed` the first profile also covers size 2. For SM 75 TensorRT-RTX 1.7 folds the sum of noise and bias of
    a fixed shape into constants as large as the feature maps: the default model's plan has 509 MiB with `fixed` and 39
    without.

    Raises:
        InvalidRequestError: the list is empty, or a size is out of range.
    """
    sizes = _checked(batch_sizes)
    profiles = [BatchProfile(1, 1, 1 if fixed else 2)] if sizes[0] == 1 else []
    larger = [size for size in sizes if size > 1]
    if larger:
        profiles.append(BatchProfile(larger[0], larger[-1], larger[-1]))
    return tuple(profiles)


def profile_index(profiles: Sequence[BatchProfile], batch_size: int) -> int:
    """The index of the profile that contains the size.

    Raises:
        InvalidRequestError: no profile contains it.
    """
    for index, profile in enumerate(profiles):
        if profile.min <= batch_size <= profile.max:
            return index
    ranges = ", ".join(f"{profile.min} to {profile.max}" for profile in profiles)
    raise InvalidRequestError.of(
        "batch", f"{batch_size} images are outside every profile of the plan, which has {ranges}"
    )


def _checked(batch_sizes: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(sorted(set(batch_sizes)))
    if not sizes or not 1 <= sizes[0] <= sizes[-1] <= MAX_BATCH_SIZE:
        given = ", ".join(map(str, batch_sizes)) or "nothing"
        raise InvalidRequestError.of("batch", f"{given}; batch sizes are 1 to {MAX_BATCH_SIZE}")
    return sizes
