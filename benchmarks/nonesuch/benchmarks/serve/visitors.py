"""A crowd of visitors at a server's web page, beside what is measured."""

from __future__ import annotations

import asyncio
import json
import sys
from types import TracebackType
from typing import Self

from ..measurement import BenchmarkError

__all__ = ["Visitors"]

_START_S = 120.0
_END_S = 60.0


class Visitors:
    """So many visitors, as long as the block; each fetches one fresh face after another.

    The crowd is a process of its own, because its work is not to slow down who measures. It needs httpx, of the extra
    `bench`.

    Attributes:
        answers: how often each HTTP status was answered; known behind the block.
        elapsed_s: from the first answer to the end, seconds; likewise.
    """

    def __init__(self, url: str, count: int) -> None:
        self.answers: dict[int, int] = {}
        self.elapsed_s = 0.0
        self._arguments = ["-m", "nonesuch.benchmarks.serve.visitor_crowd", url, str(count)]
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start them, and return once the first has an answer.

        Raises:
            BenchmarkError: the crowd failed; the message has its last line.
        """
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, *self._arguments, stdin=pipe, stdout=pipe, stderr=pipe
        )
        self._process = process
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            here = await asyncio.wait_for(process.stdout.readline(), _START_S)
        except TimeoutError:
            process.kill()
            await process.communicate()
            raise BenchmarkError(f"the visitors got no answer within {_START_S:g} s; see the server's log") from None
        except BaseException:
            process.kill()
            await process.communicate()
            raise
        if not here:
            _, complained = await process.communicate()
            raise BenchmarkError(f"the visitors got no answer: {_last_line(complained)}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        assert process is not None  # noqa: S101 - the block was entered
        try:
            said, complained = await asyncio.wait_for(process.communicate(b"."), _END_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise BenchmarkError(f"the visitors did not go within {_END_S:g} s; the machine is overloaded") from error
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if process.returncode and error is None:
            raise BenchmarkError(f"the visitors went away: {_last_line(complained)}")
        if not process.returncode:
            found = json.loads(said)
            self.answers = {int(status): count for status, count in found["answers"].items()}
            self.elapsed_s = found["elapsed_s"]


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines() or ["nothing was said"]
    return lines[-1]
