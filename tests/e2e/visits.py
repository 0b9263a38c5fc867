"""Actions and observations of visitors."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect


async def arrive(page: Page, address: str) -> int:
    """Open the page, wait for its script, and return the seed shown."""
    await page.goto(address)
    await expect(page.locator("#line")).to_contain_text("Made in")
    return await seed_of(page)


async def seed_of(page: Page) -> int:
    return int(await page.locator("#number").inner_text())


async def new_face(page: Page, seed: int) -> int:
    """Wait for a face other than that of `seed`, and return its seed."""
    await expect(page.locator("#number")).not_to_have_text(str(seed))
    shown = await seed_of(page)
    assert f"/{shown}.jpg" in str(await page.locator("#face").get_attribute("src"))
    return shown


async def open_more(page: Page) -> None:
    await page.locator("summary").click()
    await expect(page.locator("#psi")).to_be_visible()


async def face_bytes(page: Page) -> bytes:
    """The bytes of the picture shown."""
    address = await page.locator("#face").evaluate("(face) => face.src")
    answer = await page.request.get(address)
    assert answer.ok
    return await answer.body()


def address_of(seed: int, psi: str = "0.7") -> re.Pattern[str]:
    """A pattern of the permanent address of a face."""
    return re.compile(rf"/{seed}\.jpg\?psi={re.escape(psi)}$")
