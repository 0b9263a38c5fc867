"""What visitors do and see, in a word each."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect

__all__ = ["address_of", "arrive", "face_bytes", "new_face", "open_more", "seed_of"]


async def arrive(page: Page, address: str) -> int:
    """Open the page and wait until its script has taken over; the seed that is shown."""
    await page.goto(address)
    await expect(page.locator("#line")).to_contain_text("Made in")
    return await seed_of(page)


async def seed_of(page: Page) -> int:
    return int(await page.locator("#number").inner_text())


async def new_face(page: Page, seed: int) -> int:
    """Wait until it is another face than that of `seed`, shown in full; its seed."""
    await expect(page.locator("#number")).not_to_have_text(str(seed))
    shown = await seed_of(page)
    assert f"/{shown}.jpg" in str(await page.locator("#face").get_attribute("src"))
    return shown


async def open_more(page: Page) -> None:
    await page.locator("summary").click()
    await expect(page.locator("#psi")).to_be_visible()


async def face_bytes(page: Page) -> bytes:
    """The file that the page shows."""
    address = await page.locator("#face").evaluate("(face) => face.src")
    answer = await page.request.get(address)
    assert answer.ok
    return await answer.body()


def address_of(seed: int, psi: str = "0.7") -> re.Pattern[str]:
    """Matches the lasting address of a face."""
    return re.compile(rf"/{seed}\.jpg\?psi={re.escape(psi)}$")
