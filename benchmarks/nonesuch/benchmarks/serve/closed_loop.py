"""K callers, each of whom asks again as soon as it has its answer: throughput, and latency at that concurrency.

A closed loop slows down with the server: while the server stalls nobody asks, so the stall is one slow request and not
the many that a public service would have had. Tails are for the open loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from nonesuch.client import AsyncClient

from ..measurement import BenchmarkError
from .request_record import LoadRun, RequestRecord, send_request

__all__ = ["run_closed_loop"]


async def run_closed_loop(
    client: AsyncClient,
    seeds: Iterator[int],
    *,
    count: int,
    concurrency: int = 1,
    deadline_s: float = 60.0,
    limit_s: float = 600.0,
) -> LoadRun:
    """Send `count` requests, `concurrency` of them at a time.

    Args:
        client: with `retries=False`; all callers share its connection.
        seeds: one is taken for each request.
        count: requests in all.
        concurrency: callers.
        deadline_s: of each call.
        limit_s: no request starts after this time.

    Raises:
        BenchmarkError: the count or the concurrency is not positive.
    """
    if count < 1 or concurrency < 1:
        raise BenchmarkError(f"{count} requests by {concurrency} callers were asked for; both are at least 1")
    origin = time.perf_counter()
    remaining = iter(range(count))
    records: list[RequestRecord] = []

    async def call_again_and_again() -> None:
        for _ in remaining:
            if time.perf_counter() - origin > limit_s:
                return
            records.append(await send_request(client, next(seeds), origin, None, deadline_s))

    await asyncio.gather(*(call_again_and_again() for _ in range(concurrency)))
    return LoadRun("closed", sorted(records, key=lambda record: record.sent_s))
