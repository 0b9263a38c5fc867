"""The cases of `decide`, by their numbers in its docstring: plain state in, a decision out; no clock, no event loop."""

from __future__ import annotations

from nonesuch.engine.errors import DeadlineError, DeviceLostError, NonesuchError, OverloadedError, UnavailableError
from nonesuch.server.core.batching.decision import Decision, decide
from nonesuch.server.core.batching.latency_model import LatencyModel
from nonesuch.server.core.batching.queue_state import BatcherLimits, DeviceState, QueueState
from nonesuch.server.core.batching.queued_image import QueuedImage, Stage
from nonesuch.server.core.batching.request_queue import Priority

IDLE, BUSY = DeviceState(has_room=True), DeviceState(has_room=False, in_flight=1)
LOST = DeviceState(has_room=False, lost=DeviceLostError("it hangs"))
NOW = 1000.0


def queue(run_ms: dict[int, float] | None = None, **limits: float) -> QueueState:
    values = {"most": 4, "queue_limit": 8, "min_gain": 0.0, **limits}
    return QueueState(BatcherLimits(**values), (1, 2, 3, 4), LatencyModel(run_ms or {1: 100.0, 4: 100.0}))  # type: ignore[arg-type]


def ask(
    state: QueueState,
    deadline: float | None = None,
    priority: Priority = Priority.INTERACTIVE,
    *,
    streamed: bool = False,
) -> QueuedImage:
    image = QueuedImage(priority, deadline, streamed)
    state.move(image, Stage.ASKING)
    return image


def ready(state: QueueState, count: int = 1, deadline: float | None = None, admitted: float = NOW) -> list[QueuedImage]:
    images = [QueuedImage(Priority.INTERACTIVE, deadline, admitted=admitted) for _ in range(count)]
    for image in images:
        state.move(image, Stage.PLACED)
        state.move(image, Stage.READY)
    return images


def error_of(decision: Decision, image: QueuedImage) -> NonesuchError:
    (error,) = [error for failed, error in decision.failed if failed is image]
    assert image.stage is Stage.GONE
    return error


def test_cases_1_and_9_a_lost_device_fails_images_that_ask_or_wait() -> None:
    state = queue()
    (waiting,) = ready(state)
    asking, streaming = ask(state), ask(state, streamed=True)
    preparing = QueuedImage(Priority.INTERACTIVE)
    state.move(preparing, Stage.PLACED)
    decision = decide(state, LOST, NOW)
    for image in (waiting, asking, streaming):
        assert isinstance(error_of(decision, image), UnavailableError)
    assert (preparing.stage, state.waiting) == (Stage.PLACED, 1)


def test_case_2_images_of_streams_keep_asking_in_the_order_in_which_they_came() -> None:
    state = queue(queue_limit=2)  # streams of a class may have one place
    first, second, other = (
        ask(state, priority=one, streamed=True) for one in (Priority.BULK, Priority.BULK, Priority.VISITOR)
    )
    state.closing = True  # they were accepted before
    assert decide(state, IDLE, NOW).admitted == [first, other]
    assert second.stage is Stage.ASKING
    state.move(first, Stage.GONE)
    assert decide(state, IDLE, NOW).admitted == [second]
    assert second.admitted == NOW


def test_case_3_a_queue_that_closes_refuses_new_images() -> None:
    state = queue()
    state.closing = True
    image = ask(state)
    assert "shutting down" in error_of(decide(state, IDLE, NOW), image).message


def test_case_4_a_full_share_says_when_to_try_again() -> None:
    state = queue(queue_limit=2)
    ready(state, 2)
    image = ask(state)
    error = error_of(decide(state, DeviceState(False, 1, remaining_ms=40.0), NOW), image)
    assert isinstance(error, OverloadedError)
    assert error.retry_after_ms == 40  # two images share a batch of four, behind the running one


def test_case_5_a_wait_beyond_the_bound_is_refused() -> None:
    state = queue(max_wait_ms=150.0)
    ready(state, 4)
    image = ask(state)
    error = error_of(decide(state, DeviceState(False, 1, remaining_ms=60.0), NOW), image)
    assert "the wait would be 160 ms, and the max is 150" in error.message


def test_case_6_an_image_that_is_late_even_alone_is_refused_unless_the_prediction_is_old() -> None:
    for device, deadline, refused in (
        (IDLE, NOW - 1, True), (IDLE, NOW + 0.05, True), (IDLE, NOW + 0.2, False),
        (DeviceState(True, idle_s=10.0), NOW + 0.05, False),
    ):  # fmt: skip
        state = queue()
        image = ask(state, deadline)
        decision = decide(state, device, NOW)
        assert decision.admitted == ([] if refused else [image])
        if refused:
            assert isinstance(error_of(decision, image), DeadlineError)


def test_case_7_an_image_that_is_late_behind_the_others_gets_a_retry_time() -> None:
    state = queue()
    ready(state, 4)
    image = ask(state, NOW + 0.15)
    error = error_of(decide(state, DeviceState(False, 1), NOW), image)
    assert isinstance(error, OverloadedError)
    assert "the answer would take about 220 ms, and the deadline is in 150" in error.message  # with a margin of 10 %


def test_case_8_other_images_get_a_place() -> None:
    state = queue()
    image = ask(state, NOW + 10)
    assert decide(state, IDLE, NOW, run=False).admitted == [image]
    assert (image.stage, image.admitted, state.waiting) == (Stage.PLACED, NOW, 1)


def test_case_10_nothing_runs_on_a_busy_device_or_during_admission() -> None:
    state = queue()
    (image,) = ready(state)
    assert not decide(state, BUSY, NOW).batch
    assert not decide(state, IDLE, NOW, run=False).batch
    assert decide(state, IDLE, NOW).batch == [image]
    assert (image.stage, state.waiting) == (Stage.TAKEN, 0)


def test_case_11_a_batch_waits_for_more_images_up_to_the_queue_delay() -> None:
    state = queue(queue_delay_ms=50.0)
    ready(state, 2)
    assert decide(state, IDLE, NOW + 0.02).next_update_s is not None
    decision = decide(state, IDLE, NOW + 0.02)
    assert not decision.batch
    assert abs((decision.next_update_s or 0) - 0.03) < 1e-6  # what is left of the 50 ms, to rounding
    assert len(decide(state, IDLE, NOW + 0.06).batch) == 2
    ready(state, 4)
    assert len(decide(state, IDLE, NOW).batch) == 4  # a full batch does not wait


def test_case_12_late_images_fail_and_the_others_run() -> None:
    state = queue()
    (late,), (patient,) = ready(state, 1, NOW + 0.05), ready(state)
    decision = decide(state, IDLE, NOW)
    assert isinstance(error_of(decision, late), DeadlineError)
    assert decision.batch == [patient]
    # After a long idle time the prediction is not trusted: only deadlines that have passed count.
    (image,) = ready(state, 1, NOW + 0.05)
    assert decide(state, DeviceState(True, idle_s=10.0), NOW).batch == [image]


def test_case_13_a_batch_has_the_size_with_the_max_rate_in_queue_order() -> None:
    state = queue()
    images = ready(state, 6)
    assert decide(state, IDLE, NOW).batch == images[:4]
    assert decide(state, IDLE, NOW).batch == images[4:]


def test_case_13_an_urgent_member_keeps_its_batch_short() -> None:
    state = queue({1: 100.0, 2: 110.0, 3: 300.0, 4: 320.0})
    images = ready(state, 1, NOW + 0.2) + ready(state, 3)
    assert decide(state, IDLE, NOW).batch == images[:2]  # three would take 330 ms, with the margin


def test_case_14_an_image_that_would_shorten_the_batch_too_much_fails() -> None:
    state = queue({1: 100.0, 2: 400.0, 3: 410.0, 4: 420.0})
    urgent, others = ready(state, 1, NOW + 0.2), ready(state, 3)
    decision = decide(state, IDLE, NOW)
    # Alone it would be in time, at 10 images a second, where the whole batch makes 9.5: that is worth it.
    assert (decision.batch, decision.failed) == (urgent, [])
    state = queue({1: 100.0, 2: 110.0, 3: 120.0, 4: 130.0})
    urgent, others = ready(state, 1, NOW + 0.12), ready(state, 3)
    decision = decide(state, IDLE, NOW)
    # Alone it makes 10 images a second, and all four make 31: the one is failed for the sake of the others.
    assert isinstance(error_of(decision, urgent[0]), DeadlineError)
    assert decision.batch == others


def test_a_decision_without_work_changes_nothing() -> None:
    state = queue()
    assert decide(state, IDLE, NOW) == Decision()
    ready(state)
    assert decide(state, BUSY, NOW) == Decision()
    assert state.waiting == 1
