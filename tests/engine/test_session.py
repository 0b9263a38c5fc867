from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.errors import BackendError, BackendUnavailableError, InvalidRequestError
from nonesuch.engine.session import Batch, Session, SessionOptions

Images = NDArray[np.uint8]


class ScriptedSession(Session):
    """A backend whose runs are set by the test; by default each image has the value of its first style."""

    def __init__(self, artifact: Artifact, options: SessionOptions) -> None:
        super().__init__(artifact, artifact.variant("onnxruntime"), options)
        self.calls: list[str] = []
        self.batches: list[Batch] = []
        self.threads: set[int] = set()
        self.script: Callable[[Batch], Images] = self.picture
        self.opening: Exception | None = None
        self.closing: Exception | None = None

    @property
    def identity(self) -> str:
        return "scripted 1"

    def picture(self, batch: Batch) -> Images:
        return np.repeat(batch.ws[:, 0, 0], 32 * 32 * 3).reshape(-1, 32, 32, 3).astype(np.uint8)

    def _open(self) -> None:
        self.calls.append("open")
        self.threads.add(threading.get_ident())
        if self.opening:
            raise self.opening

    def _run(self, batch: Batch) -> Images:
        self.threads.add(threading.get_ident())
        self.batches.append(batch)
        return self.script(batch)

    def _close(self) -> None:
        self.calls.append("close")
        self.threads.add(threading.get_ident())
        if self.closing:
            raise self.closing


class TwoInFlight(ScriptedSession):
    """A session that accepts a second batch while the first one runs."""

    max_in_flight = 2


def ws(n: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Styles of the tiny model; the values of row i are i + 1."""
    return np.broadcast_to(np.arange(1, n + 1).reshape(n, 1, 1), (n, 8, 12)).astype(dtype)


def raising(error: Exception) -> Callable[[Batch], Images]:
    def script(_: Batch) -> Images:
        raise error

    return script


@pytest.fixture
def session(artifact: Artifact) -> ScriptedSession:
    return ScriptedSession(artifact, SessionOptions(max_batch_size=4))


def test_a_closed_session_rejects_batches(session: ScriptedSession) -> None:
    with pytest.raises(BackendError, match="closed; open it"):
        session.submit(Batch(ws(1)))
    with session:
        assert session.is_open
        session.submit(Batch(ws(1))).result()
    assert not session.is_open
    with pytest.raises(BackendError, match="closed; open it"):
        session.submit(Batch(ws(1)))


def test_a_second_open_or_close_does_nothing(session: ScriptedSession) -> None:
    session.close()
    session.open()
    session.open()
    session.close()
    session.close()
    assert session.calls == ["open", "close"]


def test_a_session_can_be_opened_again(session: ScriptedSession) -> None:
    for _ in range(2):
        with session:
            assert session.submit(Batch(ws(2))).result().images[1, 0, 0, 0] == 2
    assert session.calls == ["open", "close"] * 2


def test_with_closes_when_the_body_fails(session: ScriptedSession) -> None:
    with pytest.raises(KeyError), session:
        raise KeyError("body")
    assert session.calls == ["open", "close"]
    assert not session.is_open


def test_all_calls_into_the_runtime_are_on_one_thread_of_the_session(session: ScriptedSession) -> None:
    with session:
        for _ in range(3):
            session.submit(Batch(ws(1))).result()
    assert len(session.threads) == 1
    assert threading.get_ident() not in session.threads


def test_a_failed_open_leaves_the_session_closed_and_can_be_retried(session: ScriptedSession) -> None:
    before = threading.active_count()
    session.opening = RuntimeError("no\ndevice")
    with pytest.raises(BackendError, match=r"scripted 1 failed on synthesis\.onnx: no device"):
        session.open()
    assert not session.is_open
    assert threading.active_count() == before
    with pytest.raises(BackendError, match="closed"):
        session.submit(Batch(ws(1)))
    session.opening = None
    with session:
        session.submit(Batch(ws(1))).result()


def test_a_nonesuch_error_of_a_backend_is_not_wrapped(session: ScriptedSession) -> None:
    session.opening = BackendUnavailableError("no such device")
    with pytest.raises(BackendUnavailableError, match=r"^no such device$"):
        session.open()


def test_a_failed_close_is_a_backend_error_and_stops_the_thread(session: ScriptedSession) -> None:
    before = threading.active_count()
    session.open()
    session.closing = RuntimeError("stuck")
    with pytest.raises(BackendError, match="stuck"):
        session.close()
    assert not session.is_open
    assert threading.active_count() == before


@pytest.mark.parametrize("n", [0, 5])
def test_a_batch_with_too_few_or_too_many_rows_is_rejected(session: ScriptedSession, n: int) -> None:
    with session, pytest.raises(InvalidRequestError, match=r"takes \[1 to 4, 8, 12\]") as caught:
        session.submit(Batch(ws(n)))
    assert [violation.field for violation in caught.value.violations] == ["ws"]


@pytest.mark.parametrize(
    "shape", [(), (12,), (8, 12), (1, 8, 11), (1, 7, 12), (1, 12, 8), (1, 1, 8, 12), (1, 8, 12, 1)]
)
def test_wrong_shapes_are_rejected(session: ScriptedSession, shape: tuple[int, ...]) -> None:
    with session, pytest.raises(InvalidRequestError) as caught:
        session.submit(Batch(np.zeros(shape, np.float32)))
    assert str(shape) in caught.value.message


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.float16])
def test_other_numbers_are_cast_and_arrive_contiguous(session: ScriptedSession, dtype: Any) -> None:
    with session:
        mixed = np.asfortranarray(ws(3, dtype))
        images = session.submit(Batch(mixed)).result().images
    assert session.batches[0].ws.dtype == np.float32
    assert session.batches[0].ws.flags.c_contiguous
    np.testing.assert_array_equal(images[:, 0, 0, 0], [1, 2, 3])


def test_values_that_are_not_numbers_are_rejected_without_taking_a_slot(session: ScriptedSession) -> None:
    with session:
        for _ in range(3):  # one slot: a lost slot would block the second call forever
            for junk in (np.full((1, 8, 12), "a"), np.full((1, 8, 12), object())):
                with pytest.raises(InvalidRequestError, match="not an array of numbers"):
                    session.submit(Batch(junk))
        session.submit(Batch(ws(1))).result(timeout=30)


def test_a_failed_run_is_in_its_future_and_the_session_stays_open(session: ScriptedSession) -> None:
    with session:
        for _ in range(3):
            session.script = raising(ValueError("first line\nsecond line"))
            future = session.submit(Batch(ws(1)))
            error = future.exception(timeout=30)
            assert isinstance(error, BackendError)
            assert error.message == "scripted 1 failed on synthesis.onnx: first line second line"
            session.script = session.picture
            assert session.submit(Batch(ws(2))).result(timeout=30).batch_size == 2


@pytest.mark.parametrize(
    "images",
    [np.zeros((1, 32, 32, 3), np.float32), np.zeros((2, 32, 32, 3), np.uint8), np.zeros((1, 3, 32, 32), np.uint8)],
)
def test_an_output_that_does_not_match_the_manifest_is_rejected(session: ScriptedSession, images: Images) -> None:
    session.script = lambda _: images
    with session:
        error = session.submit(Batch(ws(1))).exception(timeout=30)
    assert isinstance(error, BackendError)
    assert "expected uint8 (1, 32, 32, 3)" in error.message


def test_batch_sizes_are_all_sizes_unless_deterministic(artifact: Artifact) -> None:
    assert ScriptedSession(artifact, SessionOptions(max_batch_size=3)).batch_sizes == (1, 2, 3)
    options = SessionOptions(max_batch_size=3, deterministic=True)
    assert ScriptedSession(artifact, options).batch_sizes == (3,)


def test_deterministic_pads_with_the_last_row_and_removes_the_padding(artifact: Artifact) -> None:
    session = ScriptedSession(artifact, SessionOptions(max_batch_size=4, deterministic=True))
    with session:
        result = session.submit(Batch(ws(2))).result()
        full = session.submit(Batch(ws(4))).result()
    np.testing.assert_array_equal(session.batches[0].ws[:, 0, 0], [1, 2, 2, 2])
    assert result.batch_size == full.batch_size == 4
    np.testing.assert_array_equal(result.images[:, 0, 0, 0], [1, 2])
    np.testing.assert_array_equal(full.images[:, 0, 0, 0], [1, 2, 3, 4])
    assert result.inference_ms >= 0


@pytest.mark.parametrize(("kind", "slots"), [(ScriptedSession, 1), (TwoInFlight, 2)])
def test_submit_blocks_while_all_slots_are_taken(artifact: Artifact, kind: type[ScriptedSession], slots: int) -> None:
    session = kind(artifact, SessionOptions(max_batch_size=4))
    release: queue.Queue[None] = queue.Queue()

    def wait(batch: Batch) -> Images:
        release.get(timeout=30)
        return session.picture(batch)

    session.script = wait
    with ThreadPoolExecutor(1) as caller:
        session.open()
        taken = [session.submit(Batch(ws(1))) for _ in range(slots)]
        blocked = caller.submit(lambda: session.submit(Batch(ws(1))))
        # A waiting thread cannot be observed from outside; one that does not wait is done in half a second.
        with pytest.raises(TimeoutError):
            blocked.result(timeout=0.5)
        release.put(None)
        wait_for(taken, timeout=30, return_when=FIRST_COMPLETED)
        following = blocked.result(timeout=30)
        for _ in range(slots):
            release.put(None)
        following.result(timeout=30)
        session.close()


def test_close_finishes_submitted_batches(artifact: Artifact) -> None:
    session = TwoInFlight(artifact, SessionOptions())
    started, release = threading.Event(), threading.Event()

    def wait(batch: Batch) -> Images:
        started.set()
        release.wait(timeout=30)
        return session.picture(batch)

    session.script = wait
    session.open()
    futures = [session.submit(Batch(ws(1))), session.submit(Batch(ws(2)))]
    with ThreadPoolExecutor(1) as closer:
        closing = closer.submit(session.close)
        started.wait(timeout=30)
        release.set()
        closing.result(timeout=30)
    assert [future.result().batch_size for future in futures] == [1, 2]
    assert session.calls == ["open", "close"]


def test_batches_in_flight_run_at_once_and_release_their_slots(artifact: Artifact) -> None:
    session = TwoInFlight(artifact, SessionOptions())
    both = threading.Barrier(2)

    def wait(batch: Batch) -> Images:
        both.wait(timeout=30)  # breaks unless another batch arrives while this one waits
        return session.picture(batch)

    session.script = wait
    with session:
        for _ in range(3):
            pair = [session.submit(Batch(ws(1))), session.submit(Batch(ws(2)))]
            assert [future.result(timeout=30).batch_size for future in pair] == [1, 2]


def test_a_failed_batch_releases_its_slot(artifact: Artifact) -> None:
    session = TwoInFlight(artifact, SessionOptions())
    session.script = raising(ValueError("no"))
    with session:
        for _ in range(3):
            with pytest.raises(BackendError, match="no"):
                session.submit(Batch(ws(1))).result(timeout=30)
        session.script = session.picture
        assert session.submit(Batch(ws(1))).result(timeout=30).batch_size == 1


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"max_batch_size": 1025}, "max_batch_size"),
        ({"threads": 0}, "threads"),
        ({"threads": 1025}, "threads"),
    ],
)
def test_options_out_of_range_are_rejected_by_name(arguments: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SessionOptions(**arguments)  # type: ignore[arg-type]
    assert [violation.field for violation in caught.value.violations] == [field]
