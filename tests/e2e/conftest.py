"""A real Chromium and a real server, both in the event loop of the test session."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.manifest import WeightsSource
from nonesuch.export.exporter import export_checkpoint
from nonesuch.export.formats.detect import read_checkpoint

from ..conftest import REPOSITORY, RunServer
from ..server.conftest import open_paced as open_paced

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

WEB = "127.0.0.1:0"
_TIMEOUT_MS = 60_000  # a loaded machine is slow, and no test here measures time


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Headless Chromium; without it tests fail in CI and are skipped elsewhere."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        _fail_or_skip("chromium is not in PATH")
    try:
        from playwright.async_api import async_playwright, expect
    except ImportError:
        _fail_or_skip("playwright is not installed; run make install")
    expect.set_options(timeout=_TIMEOUT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=120_000)
        yield browser
        await browser.close()


def _fail_or_skip(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def stylegan2(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A small random StyleGAN2, with layers to mix."""
    checkpoint = read_checkpoint(REPOSITORY / "tests" / "fixtures" / "sg2ada_64.pkl")
    source = WeightsSource(name="random numbers", licence="none <needed> & none given", sha256="0" * 64)
    return export_checkpoint(checkpoint, tmp_path_factory.mktemp("web") / "small", name="small", source=source)


@pytest_asyncio.fixture(loop_scope="session")
async def site(run_server: RunServer, stylegan2: Artifact) -> AsyncIterator[str]:
    """The address of a server with that model."""
    async with run_server(model=stylegan2, http=WEB, http_ready_faces=2) as server:
        yield f"http://{server.addresses['http']}"


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A new visitor; with reduced motion, so that pictures are still."""
    context = await browser.new_context(reduced_motion="reduce", permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(_TIMEOUT_MS)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    """A page; every test checks that it requests no other origin and that no script fails."""
    page = await context.new_page()
    failures: list[str] = []
    origins: set[str] = set()
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: origins.add(urlsplit(request.url).hostname or request.url))
    yield page
    assert [text for text in failures if not text.startswith("Failed to load resource")] == []
    assert origins <= {"127.0.0.1"}
