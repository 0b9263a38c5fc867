"""The process that `visitors` starts: a crowd at the web page, until its standard input ends; then one line of JSON.

    python -m nonesuch.benchmarks.serve.visitor_crowd http://127.0.0.1:8080 200

Each visitor has a connection of its own and fetches a fresh face, and then another; one who is told to come back does
so when it is told.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections import Counter

import httpx

__all__ = ["main"]

_PATIENCE_S = 600.0


class _Crowd:
    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()
        self.began = 0.0

    async def visit(self, url: str) -> None:
        # No client for all of them: its pool would look at each connection whenever one has an answer. And no TLS here.
        plain = httpx.AsyncHTTPTransport(verify=False)
        async with httpx.AsyncClient(
            transport=plain, base_url=url, timeout=_PATIENCE_S, follow_redirects=True, trust_env=False
        ) as web:
            while True:
                answer = await web.get("/face")
                if not self.answers:
                    self.began = time.monotonic()
                    print("here", flush=True)
                self.answers[answer.status_code] += 1
                if answer.status_code != httpx.codes.OK:
                    await asyncio.sleep(float(answer.headers.get("Retry-After", 1)))


async def _visits(url: str, count: int) -> dict[str, object]:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_the_end() -> None:
        os.read(0, 1)
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    crowd = _Crowd()
    visitors = [asyncio.ensure_future(crowd.visit(url)) for _ in range(count)]
    ending = asyncio.ensure_future(over.wait())
    done, _ = await asyncio.wait([*visitors, ending], return_when=asyncio.FIRST_COMPLETED)
    elapsed_s = time.monotonic() - crowd.began
    for one in (*visitors, ending):
        one.cancel()
    await asyncio.gather(*visitors, ending, return_exceptions=True)
    for one in done - {ending}:
        one.result()  # a visitor ends only by an error
    return {"answers": crowd.answers, "elapsed_s": elapsed_s}


def main(arguments: list[str]) -> None:
    """Run it: the server's address, and how many visitors."""
    url, count = arguments
    print(json.dumps(asyncio.run(_visits(url, int(count)))))


if __name__ == "__main__":
    main(sys.argv[1:])
