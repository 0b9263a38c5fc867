"""A crowd of visitors at a server's web page, beside what is measured.

    python -m nonesuch.benchmarks.serve.visitors http://127.0.0.1:8080 200

The crowd is a process of its own, because its work is not to slow down who measures: a closed loop that goes on until
its standard input ends, and then prints one line of JSON. Each visitor has a connection of its own and fetches a fresh
face, and then another; one who is told to come back does so when it is told. It needs httpx, of the extra `bench`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..result import BenchmarkError
from .child_process import ChildProcess
from .load import OK, Answer, Ask, closed_loop

START_TIMEOUT_S, END_TIMEOUT_S = 120.0, 60.0
PATIENCE_S = 600.0
_HERE = "here"


@dataclass
class Crowd:
    """What the visitors were answered, by HTTP status; and the seconds from the first answer to the end."""

    answers: dict[int, int] = field(default_factory=dict)
    elapsed_s: float = 0.0


@contextmanager
def visitors(url: str, count: int) -> Iterator[Crowd]:
    """So many visitors as long as the block, which starts when the first has an answer; filled in behind the block.

    Raises BenchmarkError where the visitors got no answer, failed, or do not go in time.
    """

    def first_answer() -> None:
        if not process.output.startswith(_HERE):
            raise BenchmarkError("nobody has an answer; see the server's log")

    crowd = Crowd()
    with ChildProcess("the crowd of visitors", [sys.executable, "-m", __name__, url, str(count)]) as process:
        process.wait_ready(first_answer, START_TIMEOUT_S)
        yield crowd
        found = json.loads(process.finish(END_TIMEOUT_S))
    crowd.answers = {int(status): number for status, number in found["answers"].items()}
    crowd.elapsed_s = found["elapsed_s"]


async def _visits(url: str, count: int) -> dict[str, object]:
    """What the visitors were answered until the standard input ended; a visitor ends before that only by an error."""
    import httpx

    loop, over = asyncio.get_running_loop(), asyncio.Event()
    answers: Counter[int] = Counter()
    began = math.nan

    def wait_for_the_end() -> None:
        os.read(0, 1)
        loop.call_soon_threadsafe(over.set)

    def visitor() -> Ask:
        # No client for all of them: its pool would look at each connection whenever one has an answer. And no TLS here.
        web = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(verify=False), base_url=url, timeout=PATIENCE_S, follow_redirects=True,
            trust_env=False,
        )  # fmt: skip

        async def visit(seed: int, deadline_s: float) -> Answer:
            nonlocal began
            answer = await web.get("/face")
            if not answers:
                began = time.monotonic()
                print(_HERE, flush=True)
            answers[answer.status_code] += 1
            if answer.status_code != httpx.codes.OK:
                await asyncio.sleep(float(answer.headers.get("Retry-After", 1)))
            return Answer(OK if answer.is_success else f"HTTP {answer.status_code}")

        return visit

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    callers = [visitor() for _ in range(count)]
    visiting = asyncio.ensure_future(closed_loop(callers, itertools.count(), count=sys.maxsize, limit_s=math.inf))
    ending = asyncio.ensure_future(over.wait())
    await asyncio.wait([visiting, ending], return_when=asyncio.FIRST_COMPLETED)
    if visiting.done():
        visiting.result()
    return {"answers": answers, "elapsed_s": time.monotonic() - began}  # the others end with the loop


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_visits(sys.argv[1], int(sys.argv[2])))))
