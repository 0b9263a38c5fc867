"""The way of a seed in docs/architecture.md is the way of a real call."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nonesuch.client import AsyncClient

from ..conftest import REPOSITORY, RunServer

MAX_MODULES = 12


def drawn() -> list[tuple[str, str]]:
    """Each module of the drawing, and its function."""
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    block = page.split("<!-- way of a seed -->")[1].split("<!-- /way of a seed -->")[0]
    rows = [line.split() for line in block.splitlines()]
    return [(row[0], row[1]) for row in rows if row and row[0].endswith(".py")]


@contextmanager
def traced(steps: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """The steps in the order of their first call, in this thread and in threads that start in the block."""
    paths = {str(REPOSITORY / name.partition("/")[0] / "nonesuch" / name): name for name, _ in steps}
    entered: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        step = (paths.get(frame.f_code.co_filename, ""), frame.f_code.co_name)
        if event == "call" and step in steps and step not in entered:
            entered.append(step)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield entered
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def test_the_drawing_has_few_modules_and_each_once() -> None:
    modules = [name for name, _ in drawn()]
    assert 1 < len(modules) <= MAX_MODULES
    assert len(set(modules)) == len(modules)
    for name in modules:
        assert (REPOSITORY / name.partition("/")[0] / "nonesuch" / name).is_file(), name


async def test_a_call_goes_this_way(run_server: RunServer) -> None:
    steps = drawn()
    with traced(steps) as entered:
        async with run_server() as server, AsyncClient(server.address) as client:
            entered.clear()  # drop the calls of the start
            assert (await client.generate(seed=11)).seed == 11
            assert entered == steps
