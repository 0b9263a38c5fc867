"""The face shown: fresh, previous, or from a link, with and without JavaScript."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Browser, Page, expect

from .visits import address_of, arrive, face_bytes, new_face, open_more, seed_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_refresh_shows_another_face(page: Page, site: str) -> None:
    seeds = [await arrive(page, site)]
    for _ in range(3):
        await page.reload()
        await expect(page.locator("#line")).to_contain_text("Made in")
        seeds.append(await seed_of(page))
    assert len(set(seeds)) == 4


async def test_back_and_forward_show_the_faces_again_even_after_another_page(page: Page, site: str) -> None:
    seeds = [await arrive(page, site)]
    for _ in range(2):
        await page.locator("#new").click()
        seeds.append(await new_face(page, seeds[-1]))
    assert len(set(seeds)) == 3
    await page.go_back()
    assert await new_face(page, seeds[2]) == seeds[1]
    await open_more(page)
    await page.locator("#previous").click()
    assert await new_face(page, seeds[1]) == seeds[0]
    await expect(page.locator("#previous")).to_be_disabled()
    await page.locator("#next").click()
    assert await new_face(page, seeds[0]) == seeds[1]
    await page.goto(f"{site}/models")
    await page.go_back()
    await expect(page.locator("#number")).to_have_text(str(seeds[1]))
    await expect(page.locator("#face")).to_have_attribute("src", address_of(seeds[1]))


async def test_a_refresh_after_new_faces_shows_yet_another(page: Page, site: str) -> None:
    first = await arrive(page, site)
    await page.locator("#new").click()
    second = await new_face(page, first)
    await page.reload()
    await expect(page.locator("#line")).to_contain_text("Made in")
    assert await seed_of(page) not in {first, second}


async def test_a_permalink_shows_the_same_bytes_to_somebody_else(browser: Browser, page: Page, site: str) -> None:
    await arrive(page, site)
    link = str(await page.locator("#number").get_attribute("href"))
    mine = await face_bytes(page)
    async with await browser.new_context() as elsewhere:
        theirs = await elsewhere.new_page()
        await arrive(theirs, f"{site}{link}")
        assert await face_bytes(theirs) == mine
        await theirs.reload()  # refreshing a link shows the same face
        assert await face_bytes(theirs) == mine


async def test_the_seed_box_shows_that_seed_and_refuses_invalid_ones(page: Page, site: str) -> None:
    await arrive(page, site)
    await open_more(page)
    await page.locator("#seed").fill("42")
    await page.locator("#seed").press("Enter")
    await expect(page.locator("#number")).to_have_text("42")
    assert parse_qs(urlsplit(page.url).query) == {"seed": ["42"], "psi": ["0.7"]}
    for wrong in ("forty-two", "4294967296"):
        await page.locator("#seed").fill(wrong)
        await page.locator("#show").click()
        assert not await page.locator("#seed").evaluate("(box) => box.checkValidity()")
    assert await seed_of(page) == 42


async def test_the_slider_changes_the_picture_and_not_the_person(page: Page, site: str) -> None:
    await arrive(page, f"{site}/?seed=42&psi=0.7")
    before = await face_bytes(page)
    await open_more(page)
    await page.locator("#psi").focus()
    await page.locator("#psi").press("ArrowLeft")
    await expect(page.locator("#psi-out")).to_have_text("0.65")
    await expect(page.locator("#face")).to_have_attribute("src", address_of(42, "0.65"))
    assert await seed_of(page) == 42
    assert await face_bytes(page) != before
    await page.locator("#new").click()
    await new_face(page, 42)
    assert "psi=0.65" in page.url  # and a refresh keeps it


async def test_the_keyboard_is_enough(page: Page, site: str) -> None:
    seed = await arrive(page, site)
    for key in ("Space", "ArrowRight"):
        await page.keyboard.press(key)
        seed, before = await new_face(page, seed), seed
    await page.keyboard.press("ArrowLeft")
    assert await new_face(page, seed) == before
    await page.locator("#number").focus()
    await page.keyboard.press("Tab")
    await expect(page.locator("#new")).to_be_focused()
    await page.keyboard.press("Space")
    seed = await new_face(page, before)
    await expect(page.locator("#new")).to_be_focused()
    await expect(page.locator("#said")).to_have_text(f"New face, seed {seed}")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("#psi")).to_be_visible()
    await page.locator("#seed").focus()
    await page.keyboard.type("4 2")  # a space in a box is a space
    await expect(page.locator("#seed")).to_have_value("4 2")
    assert await seed_of(page) == seed


async def test_next_is_disabled_after_a_new_visit(page: Page, site: str) -> None:
    seed = await arrive(page, site)
    await page.locator("#new").click()
    seed = await new_face(page, seed)
    await page.go_back()
    await new_face(page, seed)
    await expect(page.locator("#next")).to_be_enabled()
    await arrive(page, f"{site}/?seed=3&psi=0.7")
    await expect(page.locator("#next")).to_be_disabled()
    await expect(page.locator("#previous")).to_be_disabled()


async def test_next_works_after_going_back_through_other_pages(page: Page, site: str) -> None:
    seeds = [await arrive(page, site)]
    for _ in range(2):
        await page.locator("#new").click()
        seeds.append(await new_face(page, seeds[-1]))
    await page.goto(f"{site}/docs")
    await page.get_by_role("link", name="Back to the faces").click()
    await expect(page.locator("#line")).to_contain_text("Made in")
    seed = await seed_of(page)
    await page.go_back()
    await page.go_back()
    assert await new_face(page, seed) == seeds[2]
    await expect(page.locator("#next")).to_be_disabled()
    await open_more(page)
    await page.locator("#previous").click()
    assert await new_face(page, seeds[2]) == seeds[1]
    await page.locator("#next").click()
    assert await new_face(page, seeds[1]) == seeds[2]


async def test_without_javascript_links_and_forms_work(browser: Browser, site: str) -> None:
    async with await browser.new_context(java_script_enabled=False) as context:
        page = await context.new_page()
        await page.goto(site)
        first = await seed_of(page)
        await page.locator("#new").click()
        second = await new_face(page, first)
        await page.locator("#new").click()
        await new_face(page, second)
        await page.go_back()
        assert await seed_of(page) == second
        await open_more(page)
        for unusable in ("#grid", "#copy", "#walk", "#mixing", "#previous", "#model"):
            await expect(page.locator(unusable)).to_be_hidden()
        await page.locator("#seed").fill("42")
        await page.locator("#psi").fill("0.5")
        await page.locator("#show").click()
        await expect(page.locator("#number")).to_have_text("42")
        assert parse_qs(urlsplit(page.url).query) == {"psi": ["0.5"], "seed": ["42"]}
        await expect(page.locator("#face")).to_have_attribute("src", address_of(42, "0.5"))
        assert len(await face_bytes(page)) > 500
        await page.goto(f"{site}/?seed=%3Cscript%3E")
        await expect(page.locator("#trouble")).to_contain_text("is not a whole number")
        await expect(page.locator("#new")).to_be_visible()
