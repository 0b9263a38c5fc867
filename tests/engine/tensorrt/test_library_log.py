from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from nonesuch.engine.tensorrt.library import Library, LibraryLog

INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


def test_errors_are_kept_until_they_are_drained() -> None:
    log = LibraryLog()
    log.add(ERROR, "the first")
    log.add(INTERNAL_ERROR, "the second")
    assert log.drain() == "the first; the second"
    assert log.drain() == "it gave no reason"


def test_only_errors_are_reasons() -> None:
    log = LibraryLog()
    for severity in (WARNING, INFO, VERBOSE):
        log.add(severity, "much ado")
    assert log.drain() == "it gave no reason"


def test_reasons_are_one_line_without_repetition() -> None:
    log = LibraryLog()
    for _ in range(3):
        log.add(ERROR, "[builder.cpp::build::1]\n  Error Code 2:\r\n\t out of memory ")
    log.add(ERROR, "another")
    assert log.drain() == "[builder.cpp::build::1] Error Code 2: out of memory; another"


def test_a_long_reason_is_truncated_with_an_ellipsis() -> None:
    log = LibraryLog()
    log.add(ERROR, "x" * 600)
    assert log.drain() == "x" * 600
    log.add(ERROR, "x" * 601)
    assert log.drain() == "x" * 600 + "…"


def test_only_the_last_errors_are_kept() -> None:
    log = LibraryLog()
    for number in range(10_000):
        log.add(ERROR, str(number))
    kept = log.drain().rstrip("…").split("; ")
    assert kept == [str(number) for number in range(10_000 - 64, 10_000)]


def test_a_listener_gets_all_messages_while_it_is_open() -> None:
    log = LibraryLog()
    log.add(INFO, "before")
    with log.listen() as outer:
        log.add(VERBOSE, "a detail")
        with log.listen() as inner:
            log.add(ERROR, "an error")
        log.add(INFO, "after the inner")
    log.add(INFO, "after both")
    assert outer == ["a detail", "an error", "after the inner"]
    assert inner == ["an error"]
    assert log.drain() == "an error"


def test_two_listeners_with_equal_messages_end_separately() -> None:
    log = LibraryLog()
    with log.listen() as first:
        with log.listen() as second:
            assert first == second
        log.add(INFO, "for the first")
    assert (first, second) == (["for the first"], [])


def test_a_listener_ends_when_its_body_fails() -> None:
    log = LibraryLog()
    try:
        with log.listen() as lines:
            raise ZeroDivisionError
    except ZeroDivisionError:
        log.add(INFO, "no listener")
    assert lines == []


def test_threads_lose_nothing() -> None:
    log, threads, each = LibraryLog(), 8, 500
    together = threading.Barrier(threads)

    def talk(thread: int) -> None:
        together.wait(timeout=30)
        for number in range(each):
            log.add(INFO, f"{thread} {number}")
            with log.listen():
                pass

    with log.listen() as lines, ThreadPoolExecutor(threads) as pool:
        list(pool.map(talk, range(threads)))
    assert len(lines) == threads * each
    for thread in range(threads):
        own = [line for line in lines if line.startswith(f"{thread} ")]
        assert own == [f"{thread} {number}" for number in range(each)]


def test_the_library_s_own_messages_arrive_with_their_severity(rtx: Library) -> None:
    rtx.log.drain()
    severity = rtx.trt.ILogger.Severity
    assert [int(one) for one in (severity.INTERNAL_ERROR, severity.ERROR, severity.WARNING)] == [0, 1, 2]
    with rtx.log.listen() as lines:
        rtx.logger.log(severity.WARNING, "only a warning")
        rtx.logger.log(severity.ERROR, "no more memory")
        builder = rtx.trt.Builder(rtx.logger)
        network = builder.create_network(0)
        parser = rtx.trt.OnnxParser(network, rtx.logger)
        assert not parser.parse(b"not a graph")
    assert lines[:2] == ["only a warning", "no more memory"]
    assert len(lines) > 2  # the messages of the parser
    reason = rtx.log.drain()
    assert reason.startswith("no more memory; ")
    assert "only a warning" not in reason
