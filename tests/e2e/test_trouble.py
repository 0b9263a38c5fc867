"""Errors on the page (busy, unreachable, starting, invalid request), and the retry."""

from __future__ import annotations

import asyncio
import threading

import pytest
from playwright.async_api import APIResponse, Page, expect

from nonesuch.engine.artifact import Artifact
from nonesuch.server.server import Server

from ..conftest import RunServer
from ..server.conftest import OpenPaced, PacedSession
from ..waiting import until
from .conftest import WEB
from .visits import arrive, new_face, open_more, seed_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


class _WatchedGate(threading.Event):
    """A closed gate that records whether a thread waits at it."""

    reached = False

    def wait(self, timeout: float | None = None) -> bool:
        self.reached = True
        return super().wait(timeout)


async def _occupy(server: Server, session: PacedSession, page: Page, site: str) -> list[asyncio.Task[APIResponse]]:
    """Two requests that wait for the gate: one on the device, one in the queue."""
    session.gate = gate = _WatchedGate()
    first = asyncio.create_task(page.request.get(f"{site}/face/1.jpg"))
    await until(lambda: gate.reached)
    second = asyncio.create_task(page.request.get(f"{site}/face/2.jpg"))
    model = server.registry.peek("")
    assert model is not None
    await until(lambda: model.batcher.waiting)
    return [first, second]


async def test_a_busy_server_is_reported_and_retried(page: Page, run_server: RunServer, open_paced: OpenPaced) -> None:
    open_model, sessions = open_paced()
    settings = {"queue_limit": 1, "max_batch_size": 1, "http_ready_faces": 0}
    async with run_server(open_model=open_model, http=WEB, **settings) as server:
        site = f"http://{server.addresses['http']}"
        seed = await arrive(page, site)
        (session,) = sessions
        others = await _occupy(server, session, page, site)
        await page.locator("#new").click()
        await expect(page.locator("#trouble")).to_contain_text("The server is busy; try again in")
        await expect(page.locator("#new")).to_be_focused()
        assert await seed_of(page) == seed  # the face stays
        session.gate.set()
        await asyncio.gather(*others)
        await page.locator("#retry").click()
        await new_face(page, seed)
        await expect(page.locator("#trouble")).to_be_empty()
        await expect(page.locator("#retry")).to_be_hidden()


async def test_the_rate_limit_applies_to_grid_and_walk(page: Page, run_server: RunServer) -> None:
    async with run_server(http=WEB, images_per_s=0.01, burst_images=2) as server:
        await arrive(page, f"http://{server.addresses['http']}")
        await open_more(page)
        for control in ("#grid", "#walk-start"):
            await page.locator(control).click()
            await expect(page.locator("#trouble")).to_contain_text("The server is busy; try again in")
            await expect(page.locator("#retry")).to_be_visible()
        await expect(page.locator("#tiles")).to_be_hidden()
        await expect(page.locator("#canvas")).to_be_hidden()


async def test_an_unreachable_server_is_reported_and_retried(
    page: Page, run_server: RunServer, stylegan2: Artifact
) -> None:
    async with run_server(model=stylegan2, http=WEB) as server:
        address = server.addresses["http"]
        seed = await arrive(page, f"http://{address}")
    await page.locator("#new").click()
    await expect(page.locator("#trouble")).to_have_text("The server does not answer.")
    await page.locator("#retry").click()
    await expect(page.locator("#retry")).to_be_visible()
    async with run_server(model=stylegan2, http=address):
        await page.locator("#retry").click()
        await new_face(page, seed)
        await expect(page.locator("#new")).to_be_focused()
        await page.context.set_offline(True)
        await page.locator("#new").click()
        await expect(page.locator("#trouble")).to_have_text("You are offline.")
        await page.context.set_offline(False)


async def test_a_failed_first_picture_is_reported(page: Page, run_server: RunServer) -> None:
    async with run_server(http=WEB, images_per_s=0.01, burst_images=1) as server:
        await arrive(page, f"http://{server.addresses['http']}")
        await page.reload()
        await expect(page.locator("#trouble")).to_contain_text("The server is busy; try again in")
        await expect(page.locator("#retry")).to_be_visible()


async def test_at_the_call_limit_the_page_has_a_retry(page: Page, run_server: RunServer, open_paced: OpenPaced) -> None:
    open_model, sessions = open_paced()
    settings = {"max_calls": 2, "max_batch_size": 1, "http_ready_faces": 0}
    async with run_server(open_model=open_model, http=WEB, **settings) as server:
        site = f"http://{server.addresses['http']}"
        (session,) = sessions
        others = await _occupy(server, session, page, site)
        answer = await page.goto(site)
        assert answer is not None
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        await expect(page.locator("#trouble")).to_contain_text("no more may; try again in 1000 ms")
        await expect(page.locator("#new")).to_have_css("font-weight", "600")  # styled: files are not calls
        session.gate.set()
        await asyncio.gather(*others)
        await page.locator("#retry").click()
        await expect(page.locator("#number")).to_be_visible()
        await expect(page.locator("#trouble")).to_be_empty()


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("seed=nobody", 400, "is not a whole number"),
        ("psi=9", 400, "is not within"),
        ("model=nothing", 404, "nothing"),
        ("seed=4294967296", 400, "seed"),
        ("seed=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", 400, "is not a whole number"),
    ],
)
async def test_an_invalid_query_is_reported(page: Page, site: str, query: str, status: int, said: str) -> None:
    answer = await page.goto(f"{site}/?{query}")
    assert answer is not None
    assert answer.status == status
    await expect(page.locator("#trouble")).to_contain_text(said)
    assert await page.locator("script").count() == 1


async def test_unknown_query_parameters_are_ignored(page: Page, site: str) -> None:
    assert await arrive(page, f"{site}/?seed=42&psi=0.7&utm_source=somewhere") == 42
