"""The controls under More: nine faces, walk, mixing, link, download, model."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Browser, Page, expect

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.encoder import ImageFormat
from nonesuch.server.http.image_address import ImageAddress

from ..conftest import RunServer
from ..server.conftest import OpenPaced
from .conftest import WEB
from .visits import arrive, face_bytes, new_face, open_more, seed_of

# Records every frame of a walk as it is drawn, at any speed.
_FRAMES = """
window.frames_drawn = [];
const draw = CanvasRenderingContext2D.prototype.drawImage;
CanvasRenderingContext2D.prototype.drawImage = function (...what) {
  draw.apply(this, what);
  if (this.canvas.id === "canvas") window.frames_drawn.push(this.canvas.toDataURL());
};
"""
_PIXELS = """async (address) => {
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  const brush = new OffscreenCanvas(64, 64).getContext("2d");
  brush.drawImage(picture, 0, 0, 64, 64);
  return [...brush.getImageData(0, 0, 64, 64).data];
}"""

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_one_of_nine_faces_is_chosen(page: Page, site: str) -> None:
    first = await arrive(page, site)
    await open_more(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "priority=bulk" in request.url else None)
    await page.locator("#grid").click()
    tiles = page.locator("#tiles button:enabled")
    await expect(tiles).to_have_count(9)
    await expect(page.locator("#said")).to_have_text("Nine faces; choose one to keep")
    # At bulk priority, so that nine faces never delay a single one; a model of 64 has no smaller size.
    assert len({urlsplit(url).path.rpartition("/")[2] for url in asked}) == 9
    assert not any("size=" in url for url in asked)
    label = str(await tiles.nth(4).get_attribute("aria-label"))
    await tiles.nth(4).click()
    kept = await new_face(page, first)
    assert label == f"Keep the face of seed {kept}"
    await expect(page.locator("#tiles")).to_be_hidden()
    await expect(page.locator("#new")).to_be_focused()
    await page.locator("#grid").press("Enter")
    await expect(tiles).to_have_count(9)
    await expect(tiles.first).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#tiles")).to_be_hidden()
    assert await seed_of(page) == kept


async def test_nine_faces_of_a_large_model_are_small(page: Page, run_server: RunServer, open_paced: OpenPaced) -> None:
    open_model, _ = open_paced(resolution=512)
    async with run_server(open_model=open_model, http=WEB) as server:
        await arrive(page, f"http://{server.addresses['http']}")
        await open_more(page)
        await page.locator("#grid").click()
        await expect(page.locator("#tiles button:enabled")).to_have_count(9)
        sizes = await page.locator("#tiles img").evaluate_all("(all) => all.map((one) => one.naturalWidth)")
        assert sizes == [256] * 9


async def test_a_walk_is_drawn_frame_by_frame_and_ends_at_the_other_face(browser: Browser, site: str) -> None:
    async with await browser.new_context() as moving:
        page = await moving.new_page()
        await page.add_init_script(_FRAMES)
        await arrive(page, f"{site}/?seed=1&psi=0.7")
        await open_more(page)
        await page.locator("#walk-to").fill("2")
        await page.locator("#walk-start").click()
        await expect(page.locator("#number")).to_have_text("2")
        await expect(page.locator("#canvas")).to_be_hidden()
        await expect(page.locator("#walk-stop")).to_be_hidden()
        frames = await page.evaluate("window.frames_drawn")
        assert (len(frames), len(set(frames))) == (25, 25)
        await page.go_back()
        assert await new_face(page, 2) == 1


async def test_a_walk_can_be_stopped(browser: Browser, site: str) -> None:
    async with await browser.new_context() as moving:
        page = await moving.new_page()
        await page.clock.install()
        await arrive(page, f"{site}/?seed=1&psi=0.7")
        await open_more(page)
        await page.clock.pause_at(time.time() + 3600)  # no second frame before the stop
        await page.locator("#walk-start").click()
        await expect(page.locator("#canvas")).to_be_visible()
        await page.locator("#walk-stop").click()
        await page.clock.resume()
        await expect(page.locator("#canvas")).to_be_hidden()
        await expect(page.locator("#walk-start")).to_be_focused()
        assert await seed_of(page) == 1
        await expect(page.locator("#trouble")).to_be_empty()


async def test_with_reduced_motion_a_walk_goes_step_by_step(page: Page, site: str) -> None:
    await arrive(page, f"{site}/?seed=1&psi=0.7")
    await open_more(page)
    await page.locator("#walk-to").fill("2")
    await page.locator("#walk-start").click()
    canvas, step = page.locator("#canvas"), page.locator("#walk-step")
    await expect(canvas).to_have_attribute("data-frames", "1")
    for frames in range(2, 10):
        await step.click()
        await expect(canvas).to_have_attribute("data-frames", str(frames))
    await step.click()
    await expect(page.locator("#number")).to_have_text("2")
    await expect(step).to_be_hidden()


async def test_a_walk_from_a_mixed_face_keeps_the_mix(page: Page, site: str) -> None:
    await arrive(page, f"{site}/?seed=1&psi=0.7&mix=7:coarse")
    mixed = await page.evaluate(_PIXELS, "/face/1.jpg?mix=7:coarse")
    plain = await page.evaluate(_PIXELS, "/face/1.jpg")
    await open_more(page)
    await page.locator("#walk-to").fill("2")
    await page.locator("#walk-start").click()
    canvas = page.locator("#canvas")
    await expect(canvas).to_have_attribute("data-frames", "1")
    first = await canvas.evaluate("(canvas) => [...canvas.getContext('2d').getImageData(0, 0, 64, 64).data]")
    # WebP against JPEG of the same face; the plain one is another face.
    assert _difference(first, mixed) < _difference(first, plain) / 2
    for frames in range(2, 10):
        await page.locator("#walk-step").click()
        await expect(canvas).to_have_attribute("data-frames", str(frames))
    await page.locator("#walk-step").click()
    await expect(page.locator("#number")).to_have_text("2")
    assert parse_qs(urlsplit(page.url).query)["mix"] == ["7:coarse"]


def _difference(one: list[int], other: list[int]) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


async def test_styles_of_another_seed_are_mixed_in(page: Page, site: str) -> None:
    await arrive(page, f"{site}/?seed=1&psi=0.7")
    plain = await face_bytes(page)
    await open_more(page)
    await page.locator("#mix-seed").fill("7")
    await page.locator("#mix-group").select_option("coarse")
    await page.locator("#mix").click()
    await expect(page.locator("#line")).to_contain_text("With coarse styles of 7.")
    mixed = await face_bytes(page)
    assert mixed != plain
    assert parse_qs(urlsplit(page.url).query)["mix"] == ["7:coarse"]
    assert await page.locator("#download").get_attribute("download") == "nonesuch-1-psi0.7-coarse7.jpg"
    await page.reload()  # the address has the mix
    await expect(page.locator("#line")).to_contain_text("With coarse styles of 7.")
    assert await face_bytes(page) == mixed
    await open_more(page)
    await page.locator("#mix").click()  # with no seed: nothing mixed in
    await expect(page.locator("#line")).not_to_contain_text("styles")
    assert await face_bytes(page) == plain


async def test_the_link_is_copied(page: Page, site: str) -> None:
    seed = await arrive(page, site)
    await open_more(page)
    await page.locator("#copy").click()
    await expect(page.locator("#copy")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == f"{site}/?seed={seed}&psi=0.7"


async def test_a_picture_is_downloaded_under_its_name(page: Page, site: str, tmp_path: Path) -> None:
    await arrive(page, f"{site}/?seed=42&psi=0.7")
    await open_more(page)
    async with page.expect_download() as download:
        await page.locator("#download").click()
    kept = await download.value
    assert kept.suggested_filename == "nonesuch-42-psi0.7.jpg" == ImageAddress(42, ImageFormat.JPEG).file_name
    await kept.save_as(tmp_path / "kept.jpg")
    assert (tmp_path / "kept.jpg").read_bytes() == await face_bytes(page)


async def test_the_model_can_be_changed(
    page: Page, run_server: RunServer, artifact: Artifact, stylegan2: Artifact
) -> None:
    models = ({"model": str(artifact.folder)}, {"model": str(stylegan2.folder)})
    async with run_server(models=models, http=WEB) as server:
        site = f"http://{server.addresses['http']}"
        seed = await arrive(page, site)
        await open_more(page)
        await expect(page.locator("#model")).to_have_value("tiny")
        await page.locator("#model").select_option("small")
        await expect(page.locator("#face")).to_have_attribute("width", "64")
        assert await seed_of(page) == seed
        await expect(page.locator("#licence")).to_have_text("none <needed> & none given")
        await page.locator("#new").click()
        await new_face(page, seed)
        await expect(page.locator("#face")).to_have_attribute("width", "64")
        await page.reload()  # another face, of the same model
        await expect(page.locator("#model")).to_have_value("small")
        await page.goto(f"{site}/?seed=42&psi=0.7&model=nothing")
        await expect(page.locator("#trouble")).to_contain_text("nothing")
