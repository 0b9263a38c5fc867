from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nonesuch.server.core.batching.request_queue import PATIENCE, Priority, RequestQueue


def take(queue: RequestQueue[int], count: int) -> list[int]:
    batch = [request for request, _ in zip(queue.batch_order(), range(count), strict=False)]
    queue.taken(batch)
    return batch


def test_each_class_keeps_its_order_and_interactive_goes_first() -> None:
    queue: RequestQueue[int] = RequestQueue()
    assert queue.front == 0
    for request in (1, 2):
        queue.add(request, Priority.BULK)
        queue.add(10 * request, Priority.VISITOR)
        queue.add(100 * request, Priority.INTERACTIVE)
    assert list(queue) == [100, 200, 10, 20, 1, 2]
    assert (queue.oldest(), queue.front) == (100, 2)
    assert queue.remove(200)
    assert not queue.remove(200)
    assert queue.front == 1
    assert take(queue, 4) == [100, 10, 20, 1]
    assert len(queue) == 1


def test_patience_is_counted_per_priority() -> None:
    queue: RequestQueue[int] = RequestQueue()
    for request in range(100):
        queue.add(request, Priority.INTERACTIVE)
    queue.add(2000, Priority.BULK)
    for _ in range(PATIENCE // 2):
        take(queue, 1)
    queue.add(1000, Priority.VISITOR)
    taken = [take(queue, 1)[0] for _ in range(PATIENCE + 2)]
    assert taken.index(2000) == PATIENCE - PATIENCE // 2
    assert taken.index(1000) == PATIENCE  # a batch that had a place for bulk had none for a visitor


def test_at_most_one_passed_over_priority_goes_first() -> None:
    queue: RequestQueue[int] = RequestQueue()
    for request in range(100):
        queue.add(request, Priority.INTERACTIVE)
    queue.add(1000, Priority.VISITOR)
    queue.add(2000, Priority.BULK)
    for _ in range(PATIENCE):
        take(queue, 4)
    assert take(queue, 4) == [1000, 32, 33, 34]
    assert take(queue, 4) == [2000, 35, 36, 37]
    assert take(queue, 4) == [38, 39, 40, 41]


def test_bulk_gets_the_first_place_after_patience_batches() -> None:
    queue: RequestQueue[int] = RequestQueue()
    for request in range(100):
        queue.add(request, Priority.INTERACTIVE)
    for request in (1000, 1001):
        queue.add(request, Priority.BULK)
    batches = [take(queue, 3) for _ in range(2 * (PATIENCE + 1))]
    assert [request for batch in batches for request in batch if request >= 1000] == [1000, 1001]
    assert batches[PATIENCE][0] == 1000
    assert batches[2 * PATIENCE + 1][0] == 1001


@given(st.lists(st.tuples(st.sampled_from(Priority), st.integers(1, 5)), max_size=60))
def test_nothing_is_lost_or_taken_twice(steps: list[tuple[Priority, int]]) -> None:
    queue: RequestQueue[int] = RequestQueue()
    taken: list[int] = []
    for request, (priority, count) in enumerate(steps):
        queue.add(request, priority)
        if request % 3 == 2:
            taken += take(queue, count)
    while queue:
        taken += take(queue, 4)
    assert sorted(taken) == list(range(len(steps)))
