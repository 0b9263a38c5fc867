"""The queue as one decision: which images get a place, which are too late, and which make the next batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from nonesuch.engine.errors import DeadlineError, NonesuchError, OverloadedError

from .queue_state import DeviceState, QueueState
from .queued_image import QueuedImage, Stage, device_lost, shutting_down
from .request_queue import Priority

_SHARES = {Priority.INTERACTIVE: "", Priority.VISITOR: " for visitors", Priority.BULK: " of bulk"}
_PROBE_S = 5.0
"""A prediction is not trusted after this long without a run, because it may be out of date."""
_MIN_RATE_RATIO = 0.97
"""A batch is shortened for an urgent member only if it keeps this share of the images per second."""


@dataclass
class Decision:
    """The result of `decide`.

    Attributes:
        admitted: images that got a place.
        failed: images removed from the queue, each with the error for its caller.
        batch: images to run now.
        next_update_s: seconds until the next decision is due even without a change.
    """

    admitted: list[QueuedImage] = field(default_factory=list)
    failed: list[tuple[QueuedImage, NonesuchError]] = field(default_factory=list)
    batch: list[QueuedImage] = field(default_factory=list)
    next_update_s: float | None = None


def decide(queue: QueueState, device: DeviceState, now: float, *, run: bool = True) -> Decision:
    """Decide once: move each image to its new stage, and return what the caller has to do.

    Called at every change: an image asks for a place, is ready or leaves, a run ends, the queue closes, the device is
    lost, or `next_update_s` has elapsed.

    For an image that asks for a place:

    1. The device is lost: it fails.
    2. It belongs to an accepted stream: it gets the next free place of its share, in the order of arrival within its
       priority; until then it waits, even while the queue closes.
    3. The queue closes: it fails.
    4. Its share of the places is taken: it fails, with the time until a place is likely to be free.
    5. It would wait longer than `max_wait_ms`: it fails, with the same time.
    6. Its deadline has passed, or it is the only image and would still be late: it fails. A device that has not run
       for a while is tried anyway, because the prediction may be out of date.
    7. It would be answered after its deadline, behind the images ahead of it: it fails, with the time to wait.
    8. Otherwise it gets a place.

    For images that are ready:

    9. The device is lost: they fail.
    10. The device accepts no batch, or `run` is False: they wait.
    11. They do not fill a batch, and the first has waited less than `queue_delay_ms`: they wait.
    12. Images whose deadline has passed, or will before the smallest run ends, fail.
    13. The others make a batch in the order of the queue, of the size with the max images per second, limited so that
        its most urgent member is in time (`_gather`).
    14. If that limit costs too many images per second (`_MIN_RATE_RATIO`), the urgent images fail and the batch is made
        again.

    Args:
        queue: the images that ask or wait; changed in place.
        device: the current state of the device.
        now: `time.monotonic()`.
        run: whether a batch may be started. False when an image asks for a place, so that images that become ready in
            one step of the event loop share a batch.
    """
    decision = Decision()
    if device.lost is not None:  # 1, 9
        for image in list(queue.all_images()):
            _fail(queue, decision, image, device_lost(device.lost))
        return decision
    _admit(queue, device, now, decision)
    if run and device.has_room and len(queue.ready):  # 10
        _start(queue, device, now, decision)
    return decision


def _fail(queue: QueueState, decision: Decision, image: QueuedImage, error: NonesuchError) -> None:
    queue.move(image, Stage.GONE)
    decision.failed.append((image, error))


def _admit(queue: QueueState, device: DeviceState, now: float, decision: Decision) -> None:
    full: set[Priority] = set()
    for image in list(queue.asking):
        if image.streamed:  # 2
            if image.priority in full or not queue.places.has_room(image.priority, streamed=True):
                full.add(image.priority)
                continue
        elif (error := _refusal(queue, device, now, image)) is not None:
            _fail(queue, decision, image, error)
            continue
        image.admitted = now
        queue.move(image, Stage.PLACED)  # 8
        decision.admitted.append(image)


def _refusal(queue: QueueState, device: DeviceState, now: float, image: QueuedImage) -> NonesuchError | None:
    if queue.closing:  # 3
        return shutting_down()
    wait_ms = queue.wait_ms(image.priority, device)
    if not queue.places.has_room(image.priority):  # 4
        share = _SHARES[image.priority]
        return _overloaded(f"the queue is full: {queue.waiting} images wait, and no more{share} may", wait_ms)
    max_wait_ms = queue.limits.max_wait_ms
    if wait_ms > max_wait_ms:  # 5
        return _overloaded(f"the wait would be {wait_ms:.0f} ms, and the max is {max_wait_ms:g}", wait_ms)
    if image.deadline is None:
        return None
    remaining_ms = (image.deadline - now) * 1e3
    if remaining_ms <= 0:  # 6
        return DeadlineError("the deadline had passed when the request arrived; set a later one")
    if not queue.waiting and not device.in_flight:
        alone_ms = queue.run_ms(1) + queue.after_ms
        if alone_ms <= remaining_ms or device.idle_s >= _PROBE_S:
            return None
        return DeadlineError(
            f"an image takes about {alone_ms:.0f} ms here, and the deadline is in {remaining_ms:.0f}; set a later one"
        )
    ahead = queue.places.ahead(image.priority) % queue.target_size
    needed_ms = queue.answer_ms(wait_ms + queue.run_ms(ahead + 1))
    if needed_ms <= remaining_ms:
        return None
    return _overloaded(  # 7
        f"the answer would take about {needed_ms:.0f} ms, and the deadline is in {remaining_ms:.0f}",
        max(wait_ms, needed_ms - remaining_ms),
    )


def _start(queue: QueueState, device: DeviceState, now: float, decision: Decision) -> None:
    ready, delay_ms = queue.ready, queue.limits.queue_delay_ms
    if delay_ms > 0 and not queue.closing and len(ready) < queue.target_size:  # 11
        until = ready.oldest().admitted + delay_ms / 1e3
        if now < until:
            decision.next_update_s = until - now
            return
    # Without a recent run the prediction may be wrong, so only deadlines that have passed count.
    trust = device.idle_s < _PROBE_S
    _drop_late(queue, now, decision, queue.sizes[0], trust=trust)  # 12
    if not len(ready):
        return
    count = queue.model.images_in_next(len(ready), queue.sizes, queue.target_size)
    batch = _gather(queue, now, count)  # 13
    wanted = min(count, ready.front)  # no image fails to make room for a lower priority
    too_slow = _images_per_ms(queue, len(batch)) < _MIN_RATE_RATIO * _images_per_ms(queue, wanted)
    if len(batch) < wanted and too_slow:  # 14
        _drop_late(queue, now, decision, wanted, trust=trust)
        batch = _gather(queue, now, min(count, len(ready)))
    ready.taken(batch)
    for image in batch:
        queue.move(image, Stage.TAKEN)
    decision.batch = batch


def _gather(queue: QueueState, now: float, count: int) -> list[QueuedImage]:
    """Up to `count` images, fewer if one more would make a member late.

    Lower priorities fill the batch only while each image of a higher priority is done within the time of one whole
    batch, including the time that it has waited.
    """
    batch: list[QueuedImage] = []
    soonest = math.inf  # the first deadline
    first = dict.fromkeys(Priority, math.inf)  # admission time by priority
    whole_ms = queue.run_ms(queue.target_size)
    for image in queue.ready.batch_order():
        if len(batch) == count:
            break
        grown_ms = queue.run_ms(len(batch) + 1)
        soonest = min(soonest, math.inf if image.deadline is None else image.deadline)
        if batch and now + queue.answer_ms(grown_ms) / 1e3 > soonest:
            break
        before = min((first[one] for one in Priority if one < image.priority), default=math.inf)
        if (now - before) * 1e3 + grown_ms > whole_ms:  # minus infinity if no higher priority is in the batch
            break
        first[image.priority] = min(first[image.priority], image.admitted)
        batch.append(image)
    return batch


def _drop_late(queue: QueueState, now: float, decision: Decision, count: int, *, trust: bool) -> None:
    """Fail images whose deadline has passed, or will during a run of `count` images."""
    soonest = now + (queue.answer_ms(queue.run_ms(count)) / 1e3 if trust else 0.0)
    for image in [one for one in queue.ready if one.deadline is not None and one.deadline <= soonest]:
        waited_ms = (now - image.admitted) * 1e3
        problem = f"the deadline passed after {waited_ms:.0f} ms in the queue, or would during the run"
        _fail(queue, decision, image, DeadlineError(problem))


def _images_per_ms(queue: QueueState, count: int) -> float:
    return count / queue.run_ms(count) if count else 0.0


def _overloaded(problem: str, wait_ms: float) -> OverloadedError:
    retry_after_ms = max(1, round(wait_ms))
    return OverloadedError(f"{problem}; try again in {retry_after_ms} ms", retry_after_ms=retry_after_ms)
