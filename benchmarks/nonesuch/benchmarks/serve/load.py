"""The load generator: requests in a closed or an open loop, and what became of each.

    closed loop   callers, each of whom asks again as soon as it is answered: throughput, and latency of so many
    open loop     a request at each time of a schedule, whatever the server does, timed from when it was due

While a server stalls nobody asks in a closed loop, so the stall is one slow request and not the many that a public
service would have had. Timing from the schedule keeps it visible (no "coordinated omission"): a request that should
have gone out meanwhile has waited since then. What the generator itself is late is in that time too; it is recorded,
and a run in which it matters is flagged.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..result import BenchmarkError
from ..summary import median

OK = "OK"
NOT_SENT = "NOT_SENT"
"""The generator had as many requests on their way as it may, or no time left: its own failure, not the server's."""
CUT_OFF = "CUT_OFF"  # the run's time was over before the answer came
MAX_IN_FLIGHT = 1024
MAX_MISSED_SHARE, LATE_MS, LATE_SHARE = 0.01, 1.0, 0.05
_LEAD_S = 0.05  # the first request is not to be late because the loop was being set up
_TIMER_S = 0.002  # the event loop's timers round up to whole milliseconds; a thread sleeps the rest, which does not


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    code: str  # OK, a gRPC status by its name, "HTTP 500" or the like, NOT_SENT or CUT_OFF
    queue_ms: float = 0.0  # as the server reports it, like the next three; 0 where it reports nothing
    inference_ms: float = 0.0  # of the whole batch
    encode_ms: float = 0.0  # of the image
    batch_size: int = 0  # images computed together with this one, itself included
    data: bytes = b""  # the picture, encoded; the records of a run drop it


Ask = Callable[[int, float], Awaitable[Answer]]
"""Asks for the picture of a seed, with a deadline in seconds; a refusal is an answer, not an exception."""


@dataclass(frozen=True, slots=True)
class Record:
    """One request; times in seconds from the start of the run."""

    scheduled_s: float  # when it was to be sent; in a closed loop, when it was sent
    sent_s: float  # when it was handed to the client
    done_s: float  # when its answer, or its refusal, was there
    answer: Answer  # the answer without its picture

    @property
    def ok(self) -> bool:
        """Whether there is an image."""
        return self.answer.code == OK

    @property
    def latency_ms(self) -> float:
        """From the scheduled time: what a user who came at that time waited."""
        return (self.done_s - self.scheduled_s) * 1e3

    @property
    def sending_latency_ms(self) -> float:
        """From the sending: without what the generator itself was late."""
        return (self.done_s - self.sent_s) * 1e3

    @property
    def lag_ms(self) -> float:
        """How much later than scheduled it was sent."""
        return (self.sent_s - self.scheduled_s) * 1e3


@dataclass(frozen=True)
class LoadRun:
    """The records of one run, in the order of the schedule, or of the sending in a closed loop.

    `offered_per_s` is the rate that the times of the schedule have, near the nominal one; None in a closed loop.
    """

    records: list[Record]
    offered_per_s: float | None = None

    @cached_property
    def done(self) -> list[Record]:
        """Those with an image. Raises BenchmarkError where not one came."""
        done = [record for record in self.records if record.ok]
        if not done:
            raise BenchmarkError(
                f"the server gave no image in {len(self.records)} requests ({self.errors}); see its log"
            )
        return done

    @property
    def errors(self) -> dict[str, int]:
        """Requests that got no image, by status."""
        return dict(Counter(record.answer.code for record in self.records if not record.ok))

    @property
    def latency_ms(self) -> float:
        """The median, from the schedule. Raises as `done`."""
        return median([record.latency_ms for record in self.done])

    def rate_per_s(self, within_ms: float = math.inf) -> float:
        """Images per second until the last answer, of those within a latency from the schedule. Raises as `done`."""
        start_s = self.records[0].sent_s if self.offered_per_s is None else 0.0
        span_s = max(record.done_s for record in self.records) - start_s
        return sum(record.latency_ms <= within_ms for record in self.done) / span_s

    def part_rates(self, parts: int = 5, min_images: int = 4) -> list[float]:
        """Images per second in consecutive parts of a closed loop, in order: a rate with its spread.

        Parts are equal, give or take one image, and have `min_images` or more, so short runs have fewer parts. Raises
        as `done`.
        """
        ends_s = np.sort([record.done_s for record in self.done])
        split = np.array_split(ends_s, max(1, min(parts, len(ends_s) // min_images)))
        edges_s = [self.records[0].sent_s, *(float(part[-1]) for part in split)]
        spans_s = np.diff(edges_s)
        return [len(part) / float(span_s) for part, span_s in zip(split, spans_s, strict=True) if span_s > 0]

    @property
    def missed_schedule(self) -> str:
        """How an open loop missed its schedule; empty where it was sent as it should be. Raises as `done`.

        A miss is a request that was sent later than scheduled by more than 5 % of the median latency, and than 1 ms, or
        not at all. With more than 1 % of them the tail shows the generator and not the server.
        """
        tolerance_ms = max(LATE_MS, LATE_SHARE * median([record.sending_latency_ms for record in self.done]))
        missed = sum(record.lag_ms > tolerance_ms or record.answer.code == NOT_SENT for record in self.records)
        if missed <= MAX_MISSED_SHARE * len(self.records):
            return ""
        return (
            f"{missed} requests ({missed / len(self.records):.1%}) were sent more than {tolerance_ms:.1f} ms late, or "
            f"not at all; the latest by {max(record.lag_ms for record in self.records):.1f} ms"
        )


def poisson_arrivals(rate_per_s: float, count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """When independent requests arrive, as of many users who know nothing of each other: float64 [count], seconds.

    Raises BenchmarkError where the rate or the count is not positive.
    """
    if not (math.isfinite(rate_per_s) and rate_per_s > 0 and count >= 1):
        raise BenchmarkError(f"{count} arrivals at {rate_per_s:g} per second were asked for; give both above 0")
    return np.cumsum(random.exponential(1 / rate_per_s, count))


async def closed_loop(
    callers: Sequence[Ask], seeds: Iterator[int], *, count: int, deadline_s: float = 60.0, limit_s: float = 600.0
) -> LoadRun:
    """Send `count` requests, each caller one at a time, each request with the next seed, so that no cache can answer.

    Callers may share a connection. `deadline_s` is of each call; no request starts after `limit_s`. Raises
    BenchmarkError where there are no callers or no requests.
    """
    if count < 1 or not callers:
        raise BenchmarkError(f"{count} requests by {len(callers)} callers were asked for; give one or more of both")
    origin = time.perf_counter()
    remaining = iter(range(count))
    records: list[Record] = []

    async def ask_in_turn(ask: Ask) -> None:
        for _ in remaining:
            if time.perf_counter() - origin > limit_s:
                return
            records.append(await _send(ask, next(seeds), origin, None, deadline_s))

    await asyncio.gather(*map(ask_in_turn, callers))
    return LoadRun(sorted(records, key=lambda record: record.sent_s))


async def open_loop(
    ask: Ask,
    times_s: NDArray[np.float64],
    seeds: Iterator[int],
    *,
    deadline_s: float = 60.0,
    max_in_flight: int = MAX_IN_FLIGHT,
    limit_s: float | None = None,
) -> LoadRun:
    """Send one request, with the next seed, at each time of a schedule, and wait for what is on its way.

    Times are float64 [n], ascending, seconds from the start of the run. A request that would be one more than
    `max_in_flight` is recorded as NOT_SENT. The run takes `limit_s` seconds, by default the schedule and one deadline;
    what is left then is CUT_OFF. Raises BenchmarkError where the times are not a schedule.
    """
    if not len(times_s) or not np.isfinite(times_s).all() or times_s[0] < 0 or (np.diff(times_s) < 0).any():
        raise BenchmarkError("a schedule has one or more finite times, ascending from 0; give it such times")
    limit_s = float(times_s[-1]) + deadline_s if limit_s is None else limit_s
    origin = time.perf_counter() + _LEAD_S
    tasks: dict[asyncio.Task[Record], float] = {}
    on_their_way: set[asyncio.Task[Record]] = set()
    records: list[Record] = []
    for scheduled_s in times_s.tolist():
        await _sleep_until(origin + min(scheduled_s, limit_s))
        now_s = time.perf_counter() - origin
        if len(on_their_way) >= max_in_flight or now_s > limit_s or scheduled_s > limit_s:
            records.append(Record(scheduled_s, now_s, now_s, Answer(NOT_SENT)))
            continue
        task = asyncio.create_task(_send(ask, next(seeds), origin, scheduled_s, deadline_s))
        on_their_way.add(task)
        task.add_done_callback(on_their_way.discard)
        tasks[task] = scheduled_s
    if tasks:
        await asyncio.wait(tasks, timeout=max(0.0, origin + limit_s - time.perf_counter()))
    for task, scheduled_s in tasks.items():
        task.cancel()  # does nothing to one that is done
        try:
            records.append(await task)
        except asyncio.CancelledError:
            records.append(Record(scheduled_s, scheduled_s, time.perf_counter() - origin, Answer(CUT_OFF)))
    records.sort(key=lambda record: record.scheduled_s)
    between_s = float(times_s[-1] - times_s[0])
    return LoadRun(records, (len(times_s) - 1) / between_s if between_s > 0 else 0.0)


async def _send(ask: Ask, seed: int, origin: float, scheduled_s: float | None, deadline_s: float) -> Record:
    sent_s = time.perf_counter() - origin
    answer = await ask(seed, deadline_s)
    done_s = time.perf_counter() - origin
    return Record(sent_s if scheduled_s is None else scheduled_s, sent_s, done_s, replace(answer, data=b""))


async def _sleep_until(when: float) -> None:
    """Sleep until a time of `perf_counter`; yields once or more, so that what was created before can start.

    It does not spin: that would take the last core from a server on the same machine.
    """
    await asyncio.sleep(max(0.0, when - time.perf_counter() - _TIMER_S))
    left_s = when - time.perf_counter()
    if left_s > 0:
        await asyncio.to_thread(time.sleep, left_s)
