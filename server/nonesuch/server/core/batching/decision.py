"""The queue as one decision: who gets a place, who is too late, and what the next batch is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from nonesuch.engine.errors import DeadlineError, NonesuchError, OverloadedError

from .queue_state import DeviceState, QueueState
from .queued_image import QueuedImage, Stage, device_lost, shutting_down
from .request_queue import Priority

__all__ = ["Decision", "decide"]

_SHARES = {Priority.INTERACTIVE: "", Priority.VISITOR: " for visitors", Priority.BULK: " of bulk"}
_PROBE_S = 5.0
"""After so long without a run, an idle device is tried whatever the prediction says: it may be out of date."""
_WORTH = 0.97
"""A batch is cut short for an urgent member while it still makes this share of the images per second."""


@dataclass
class Decision:
    """What is to be done now.

    Attributes:
        admitted: those who asked, and have a place now.
        failed: those who are out of the queue, each with what to tell its caller.
        batch: what is to be run now.
        look_again_s: when the queue is to be looked at again though nothing has changed, in seconds from now.
    """

    admitted: list[QueuedImage] = field(default_factory=list)
    failed: list[tuple[QueuedImage, NonesuchError]] = field(default_factory=list)
    batch: list[QueuedImage] = field(default_factory=list)
    look_again_s: float | None = None


def decide(queue: QueueState, device: DeviceState, now: float, *, run: bool = True) -> Decision:
    """Look at the queue once, move each image to the stage that it now has, and say what is to be done.

    Called at every change: somebody asks, is ready or leaves, a run ends, the queue closes, the device is lost, or the
    time of `look_again_s` has come.

    Of those who ask for a place:

    1. The device is lost: failed.
    2. It is of a stream that was accepted: it gets the next place that its share has, behind those of its class who
       asked before; until then it keeps asking, also while the queue closes.
    3. The queue closes: failed.
    4. Its share of the places is taken: failed, with the time after which there is likely to be one.
    5. It would wait for longer than `max_wait_ms`: failed likewise.
    6. Its deadline has passed, or it is alone and even so would be late: failed. A device that has not run for a while
       is tried all the same, since the prediction may be out of date.
    7. It would be answered after its deadline, behind those who go before it: failed, with the time to wait.
    8. Otherwise it has a place.

    Of those who are ready:

    9. The device is lost: failed.
    10. The device takes no batch now, or `run` says that none is to be started in this step: they wait.
    11. There are fewer than make a whole batch, and the first has not waited for `queue_delay_ms` yet: they wait.
    12. The deadline has passed, or would before the smallest run has ended: failed.
    13. The others make a batch: as many as make most images per second, in the order of the queue, and no more than
        let its most urgent member be in time (`_gather`).
    14. Where that cuts the batch so short that those behind it would be late in turn, these are failed now and the
        batch is made again.

    Args:
        queue: who asks and who waits; it is changed.
        device: the device, at this moment.
        now: `time.monotonic()`.
        run: whether a batch may be started. Not when somebody asks: images that become ready in one step of the event
            loop are to share a batch.
    """
    decision = Decision()
    if device.lost is not None:  # 1, 9
        for image in list(queue.waits()):
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
        return _overloaded(f"the wait would be {wait_ms:.0f} ms, and may be {max_wait_ms:g}", wait_ms)
    if image.deadline is None:
        return None
    remaining_ms = (image.deadline - now) * 1e3
    if remaining_ms <= 0:  # 6
        return DeadlineError("the deadline had passed when the request arrived; give the call more time")
    if not queue.waiting and not device.in_flight:
        alone_ms = queue.run_ms(1) + queue.after_ms
        if alone_ms <= remaining_ms or device.idle_s >= _PROBE_S:
            return None
        return DeadlineError(
            f"an image takes some {alone_ms:.0f} ms here, and the deadline is in {remaining_ms:.0f}; "
            "give the call more time"
        )
    ahead = queue.places.ahead(image.priority) % queue.target_size
    needed_ms = queue.answer_ms(wait_ms + queue.run_ms(ahead + 1))
    if needed_ms <= remaining_ms:
        return None
    return _overloaded(  # 7
        f"the answer would take some {needed_ms:.0f} ms, and the deadline is in {remaining_ms:.0f}",
        max(wait_ms, needed_ms - remaining_ms),
    )


def _start(queue: QueueState, device: DeviceState, now: float, decision: Decision) -> None:
    ready, delay_ms = queue.ready, queue.limits.queue_delay_ms
    if delay_ms > 0 and not queue.closing and len(ready) < queue.target_size:  # 11
        until = ready.oldest().admitted + delay_ms / 1e3
        if now < until:
            decision.look_again_s = until - now
            return
    # A prediction may be wrong where nothing has run for a while: then only deadlines that have passed count.
    trust = device.idle_s < _PROBE_S
    _drop_late(queue, now, decision, queue.sizes[0], trust=trust)  # 12
    if not len(ready):
        return
    count = queue.model.images_in_next(len(ready), queue.sizes, queue.target_size)
    batch = _gather(queue, now, count)  # 13
    wanted = min(count, ready.front)  # nobody is failed to make room for a lower class
    if len(batch) < wanted and _images_per_ms(queue, len(batch)) < _WORTH * _images_per_ms(queue, wanted):  # 14
        _drop_late(queue, now, decision, wanted, trust=trust)
        batch = _gather(queue, now, min(count, len(ready)))
    ready.taken(batch)
    for image in batch:
        queue.move(image, Stage.TAKEN)
    decision.batch = batch


def _gather(queue: QueueState, now: float, count: int) -> list[QueuedImage]:
    """Up to so many images, fewer where one more would make one of them late.

    A lower class fills up what a higher one leaves, as far as that still has its images within the time of one whole
    batch, what they have waited already included.
    """
    batch: list[QueuedImage] = []
    soonest = math.inf  # of their deadlines
    first = dict.fromkeys(Priority, math.inf)  # admitted, of each class
    whole_ms = queue.run_ms(queue.target_size)
    for image in queue.ready.next_first():
        if len(batch) == count:
            break
        grown_ms = queue.run_ms(len(batch) + 1)
        soonest = min(soonest, math.inf if image.deadline is None else image.deadline)
        if batch and now + queue.answer_ms(grown_ms) / 1e3 > soonest:
            break
        before = min((first[one] for one in Priority if one < image.priority), default=math.inf)
        if (now - before) * 1e3 + grown_ms > whole_ms:  # nobody before it: minus infinity
            break
        first[image.priority] = min(first[image.priority], image.admitted)
        batch.append(image)
    return batch


def _drop_late(queue: QueueState, now: float, decision: Decision, count: int, *, trust: bool) -> None:
    """Fail those whose deadline has passed, or would during a run of so many images."""
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
