"""The process that `visitors` starts: a crowd at the web page, until its standard input ends; then one line of JSON.

    python -m nonesuch.benchmarks.serve.visitor_crowd http://127.0.0.1:8080 200

Each visitor fetches a fresh face, and then another; one who is told to come back does so when it is told.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections import Counter

import httpx

__all__ = ["main"]

_PATIENCE_S = 600.0


async def _visit(web: httpx.AsyncClient, answers: Counter[int]) -> None:
    while True:
        answer = await web.get("/face")
        answers[answer.status_code] += 1
        if sum(answers.values()) == 1:
            print("here", flush=True)
        if answer.status_code != httpx.codes.OK:
            await asyncio.sleep(float(answer.headers.get("Retry-After", 1)))


async def _crowd(url: str, count: int) -> Counter[int]:
    answers: Counter[int] = Counter()
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_the_end() -> None:
        os.read(0, 1)
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count)
    async with httpx.AsyncClient(base_url=url, timeout=_PATIENCE_S, limits=limits, follow_redirects=True) as web:
        visitors = [asyncio.ensure_future(_visit(web, answers)) for _ in range(count)]
        ending = asyncio.ensure_future(over.wait())
        done, _ = await asyncio.wait([*visitors, ending], return_when=asyncio.FIRST_COMPLETED)
        for one in (*visitors, ending):
            one.cancel()
        await asyncio.gather(*visitors, ending, return_exceptions=True)
        for one in done - {ending}:
            one.result()  # a visitor ends only by an error
    return answers


def main(arguments: list[str]) -> None:
    """Run it: the server's address, and how many visitors."""
    url, count = arguments
    print(json.dumps(asyncio.run(_crowd(url, int(count)))))


if __name__ == "__main__":
    main(sys.argv[1:])
