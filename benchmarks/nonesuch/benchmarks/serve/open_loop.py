"""Requests at the times of a schedule, whatever the server does, each timed from when it was to be sent.

Timing from the schedule is what keeps a stall visible (no "coordinated omission"): a request that should have gone out
during the stall has waited since then. What the generator itself is late is in that time too, so it is recorded, and a
run in which it matters is flagged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from nonesuch.client import AsyncClient

from .arrivals import Schedule
from .request_record import CUT_OFF, NOT_SENT, LoadRun, RequestRecord, send_request

__all__ = ["MAX_IN_FLIGHT", "run_open_loop"]

MAX_IN_FLIGHT = 1024
_LEAD_S = 0.05  # the first request is not to be late because the loop was being set up
_TIMER_S = 0.002  # the event loop's timers round up to whole milliseconds; a thread sleeps the rest, which does not


async def run_open_loop(
    client: AsyncClient,
    schedule: Schedule,
    seeds: Iterator[int],
    *,
    deadline_s: float = 60.0,
    max_in_flight: int = MAX_IN_FLIGHT,
    limit_s: float | None = None,
) -> LoadRun:
    """Send one request at each time of the schedule, and wait for what is on its way.

    Args:
        client: with `retries=False`.
        schedule: when to send.
        seeds: one is taken for each request.
        deadline_s: of each call.
        max_in_flight: a request that would be one more is recorded as NOT_SENT.
        limit_s: the whole run, in seconds; by default the schedule and one deadline. What is left then is CUT_OFF.
    """
    limit_s = schedule.duration_s + deadline_s if limit_s is None else limit_s
    origin = time.perf_counter() + _LEAD_S
    tasks: dict[asyncio.Task[RequestRecord], float] = {}
    records: list[RequestRecord] = []
    in_flight = 0

    def landed(_: object) -> None:
        nonlocal in_flight
        in_flight -= 1

    for scheduled_s in schedule.times_s.tolist():
        await _sleep_until(origin + min(scheduled_s, limit_s))
        now_s = time.perf_counter() - origin
        if in_flight >= max_in_flight or now_s > limit_s or scheduled_s > limit_s:
            records.append(RequestRecord(scheduled_s, now_s, now_s, NOT_SENT))
            continue
        in_flight += 1
        task = asyncio.create_task(send_request(client, next(seeds), origin, scheduled_s, deadline_s))
        task.add_done_callback(landed)
        tasks[task] = scheduled_s
    if tasks:
        await asyncio.wait(tasks, timeout=max(0.0, origin + limit_s - time.perf_counter()))
    records += [await _outcome(task, origin, scheduled_s) for task, scheduled_s in tasks.items()]
    records.sort(key=lambda record: record.scheduled_s)
    return LoadRun("open", records, schedule.offered_per_s)


async def _outcome(task: asyncio.Task[RequestRecord], origin: float, scheduled_s: float) -> RequestRecord:
    if not task.done():
        task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return RequestRecord(scheduled_s, scheduled_s, time.perf_counter() - origin, CUT_OFF)


async def _sleep_until(when: float) -> None:
    """Sleep until a time of `perf_counter`; yields at least once, so that what was created before can start.

    It does not spin: that would take the last core from a server on the same machine.
    """
    await asyncio.sleep(max(0.0, when - time.perf_counter() - _TIMER_S))
    left_s = when - time.perf_counter()
    if left_s > 0:
        await asyncio.to_thread(time.sleep, left_s)
