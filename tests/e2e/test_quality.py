"""Page quality: accessibility, size, layout shifts, caching, small windows, colour schemes."""

from __future__ import annotations

import gzip
from typing import Any, Literal

import httpx
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, Page, expect

from .visits import arrive, new_face, open_more

pytestmark = pytest.mark.asyncio(loop_scope="session")

MAX_BYTES = 40_000
_SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map((entry) => entry.value)))
  .observe({ type: "layout-shift", buffered: true });
"""


async def _violations(page: Page) -> list[str]:
    await page.evaluate(AXE_SCRIPT)
    found: dict[str, Any] = await page.evaluate("axe.run()")
    assert found["passes"]
    return [f"{one['id']}: {[node['html'] for node in one['nodes']]}" for one in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1440])
async def test_axe_finds_nothing(browser: Browser, site: str, scheme: Literal["light", "dark"], width: int) -> None:
    viewport = {"width": width, "height": 800}
    async with await browser.new_context(
        color_scheme=scheme,
        viewport=viewport,  # type: ignore[arg-type]
        reduced_motion="reduce",
        bypass_csp=True,  # axe is injected into the page
    ) as context:
        page = await context.new_page()
        await arrive(page, site)
        assert await _violations(page) == []
        await open_more(page)
        assert await _violations(page) == []
        await page.locator("#grid").click()
        await expect(page.locator("#tiles button:enabled")).to_have_count(9)
        assert await _violations(page) == []
        await page.goto(f"{site}/?seed=nobody")
        await expect(page.locator("#retry")).to_be_visible()
        assert await _violations(page) == []
        await page.goto(f"{site}/docs")
        assert await _violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_the_page_is_small_and_compressed(site: str) -> None:
    async with httpx.AsyncClient(base_url=site) as web:
        weight = sent = 0
        for path in ("/", "/style.css", "/app.js", "/icon.svg"):
            plain = await web.get(path, headers={"Accept-Encoding": "identity"})
            assert "content-encoding" not in plain.headers
            async with web.stream("GET", path, headers={"Accept-Encoding": "br, gzip;q=0.8"}) as answer:
                raw = b"".join([part async for part in answer.aiter_raw()])
            assert answer.headers["content-encoding"] == "gzip"
            assert answer.headers["vary"] == "Accept-Encoding"
            if path != "/":  # it has another face each time
                assert gzip.decompress(raw) == plain.content
            weight += len(plain.content)
            sent += len(raw)
        assert weight < MAX_BYTES
        assert sent < MAX_BYTES / 3
        refused = await web.get("/app.js", headers={"Accept-Encoding": "gzip;q=0"})
        assert "content-encoding" not in refused.headers


async def test_only_permanent_files_are_cached(page: Page, site: str) -> None:
    answers: dict[str, dict[str, str]] = {}
    page.on("response", lambda answer: answers.update({answer.url.removeprefix(site): answer.headers}))
    await arrive(page, site)
    assert answers["/"]["cache-control"] == "private, no-cache"
    assert "set-cookie" not in answers["/"]
    lasting = [path for path in answers if path.startswith(("/style.css?v=", "/app.js?v=", "/face/"))]
    assert len(lasting) == 3
    for path in lasting:
        assert answers[path]["cache-control"] == "public, max-age=31536000, immutable"
    assert await page.context.cookies() == []
    async with httpx.AsyncClient(base_url=site) as web:
        first = await web.get("/style.css")
        assert first.headers["cache-control"] == "no-cache"
        again = await web.get("/style.css", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await web.head("/app.js?v=old")).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("width", [320, 768, 1440])
async def test_nothing_moves_while_faces_come_and_go(page: Page, site: str, width: int) -> None:
    await page.add_init_script(_SHIFTS)
    await page.set_viewport_size({"width": width, "height": 800})
    seed = await arrive(page, site)
    for _ in range(3):
        await page.keyboard.press("ArrowRight")
        seed = await new_face(page, seed)
    await page.wait_for_timeout(600)  # shifts shortly after a key press do not count
    assert await page.evaluate("window.shifts") == []


@pytest.mark.parametrize("width", [320, 375, 640, 1024])
async def test_the_page_fits_and_its_controls_are_large_enough(page: Page, site: str, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": 700})
    await arrive(page, f"{site}/?seed=4294967295&psi=0.7")
    box = await page.locator("#stage").bounding_box()
    assert box is not None
    assert box["width"] == pytest.approx(box["height"], abs=1)  # square, up to rounding to pixels
    new = await page.locator("#new").bounding_box()
    assert new is not None
    assert new["y"] + new["height"] <= 700  # visible without scrolling
    await open_more(page)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    # Links in sentences are exempt (WCAG 2.2, 2.5.8, inline).
    small = await page.locator("button, a:not(p a), summary, select, input").evaluate_all(
        "(all) => all.filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)"
        ".map((one) => one.id)"
    )
    assert small == []


async def test_the_footer_links_to_the_docs_and_back(page: Page, site: str) -> None:
    await arrive(page, site)
    await page.get_by_role("link", name="How to verify a picture").click()
    await expect(page.get_by_role("heading", name="Is this picture from a machine?")).to_be_in_viewport()
    await page.get_by_role("link", name="Back to the faces").click()
    await expect(page.locator("#line")).to_contain_text("Made in")


async def test_the_wall_takes_the_hue_of_the_picture(page: Page, site: str) -> None:
    walls = set()
    for seed in (1, 2, 3):
        await arrive(page, f"{site}/?seed={seed}&psi=1")
        walls.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(walls) == 3
