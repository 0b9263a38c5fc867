from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.tensorrt.batch_profile import (
    MAX_BATCH_SIZE,
    BatchProfile,
    default_batch_sizes,
    make_profiles,
    profile_index,
)

sizes_of_batches = st.lists(st.integers(1, MAX_BATCH_SIZE), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("max_size", "sizes"),
    [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (8, (1, 2, 4, 8)), (9, (1, 2, 4, 8, 9))],
)
def test_default_sizes_double_up_to_the_largest(max_size: int, sizes: tuple[int, ...]) -> None:
    assert default_batch_sizes(max_size) == sizes


@pytest.mark.parametrize(
    ("sizes", "profiles"),
    [
        ([1], [(1, 1, 1)]),
        ([1, 2], [(1, 1, 1), (2, 2, 2)]),
        ([8, 1, 4, 2, 8], [(1, 1, 1), (2, 8, 8)]),
        ([4], [(4, 4, 4)]),
        ([4, 16], [(4, 16, 16)]),
        ([1, 1024], [(1, 1, 1), (1024, 1024, 1024)]),
    ],
)
def test_one_image_has_its_own_profile_and_larger_sizes_share_one(
    sizes: list[int], profiles: list[tuple[int, int, int]]
) -> None:
    assert make_profiles(sizes) == tuple(BatchProfile(*profile) for profile in profiles)


@given(sizes_of_batches)
def test_every_requested_size_is_in_exactly_one_profile(sizes: list[int]) -> None:
    profiles = make_profiles(sizes)
    for size in sizes:
        assert [profile.min <= size <= profile.max for profile in profiles].count(True) == 1
        found = profiles[profile_index(profiles, size)]
        assert found.min <= size <= found.max
    assert all(profile.min <= profile.opt == profile.max for profile in profiles)
    assert max(profile.max for profile in profiles) == max(sizes)


@given(st.integers(1, MAX_BATCH_SIZE))
def test_default_sizes_end_with_the_largest_and_can_all_be_run(max_size: int) -> None:
    sizes = default_batch_sizes(max_size)
    assert sizes[0] == 1
    assert sizes[-1] == max_size
    assert list(sizes) == sorted(set(sizes))
    for size in range(1, max_size + 1):
        profile_index(make_profiles(sizes), size)


@pytest.mark.parametrize("sizes", [[], [0], [-1, 2], [1, 0], [MAX_BATCH_SIZE + 1], [1, 2, 1 << 40]])
def test_sizes_out_of_range_are_rejected_by_name(sizes: list[int]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        make_profiles(sizes)
    assert [violation.field for violation in caught.value.violations] == ["batch"]
    assert "batch sizes are 1 to 1024" in caught.value.message
    assert all(str(size) in caught.value.message for size in sizes)


@pytest.mark.parametrize("max_size", [0, -1, MAX_BATCH_SIZE + 1])
def test_a_max_size_out_of_range_is_rejected(max_size: int) -> None:
    with pytest.raises(InvalidRequestError, match="batch sizes are 1 to 1024"):
        default_batch_sizes(max_size)


@pytest.mark.parametrize("size", [0, 2, 3, 9])
def test_a_size_outside_every_profile_lists_the_profiles(size: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"batch: {size} images are outside .* which has 1 to 1, 4 to 8"):
        profile_index(make_profiles([1, 4, 8]), size)


@pytest.mark.parametrize("text", ["[0,1,1]", "[1,1,1025]", "[1,1]", '{"least":1,"best":0,"most":1}'])
def test_a_profile_from_a_file_is_checked(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=BatchProfile)
