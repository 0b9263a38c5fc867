"""/docs: the page on verifying pictures and on the API."""

from __future__ import annotations

import asyncio
import html
import io
import re
import subprocess
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.server.http.openapi import FRESH_PARAMETERS, openapi_document
from nonesuch.server.settings import ServerSettings

from ...conftest import RunServer
from .browsing import browsing


async def test_it_names_every_page_query_and_call(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        answer = await web.get("/docs")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "$" not in answer.text
        named = {html.unescape(name) for name in re.findall(r"<dt><code>(.*?)</code></dt>", answer.text)}
        assert named == set(openapi_document()["paths"]) | {one["name"] for one in FRESH_PARAMETERS}
        assert "-2 to 2, 0.7 where none is given." in answer.text
        calls = re.findall(r"<code>POST (.*?)</code>", answer.text)
        assert "/nonesuch.v1.GenerationService/Walk" in calls
        for path in calls:
            assert (await web.get(path)).status_code == 405  # it exists, for POST only
        again = await web.get("/docs", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_the_pages_command_verifies_a_picture(run_server: RunServer, tmp_path: Path) -> None:
    async with browsing(run_server) as (server, web):
        (command,) = re.findall(r"<code>(curl .*cmp .*)</code>", (await web.get("/docs")).text)
        kept = await web.get("/face/42.jpg?psi=0.7", follow_redirects=True)
        assert "seed 42, psi 0.7" in Image.open(io.BytesIO(kept.content)).getexif()[ExifTags.Base.ImageDescription]
        (tmp_path / "nonesuch-42-psi0.7.jpg").write_bytes(kept.content)
        script = html.unescape(command).replace("SERVER", server.addresses["http"])
        assert await _exit_code(script, tmp_path) == 0
        (tmp_path / "nonesuch-42-psi0.7.jpg").write_bytes(kept.content[:-1] + b"x")
        assert await _exit_code(script, tmp_path) == 1


async def _exit_code(script: str, folder: Path) -> int:
    process = await asyncio.create_subprocess_exec("sh", "-c", script, cwd=folder, stdout=subprocess.DEVNULL)
    return await process.wait()


async def test_the_source_is_linked_if_configured(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        for path in ("/", "/docs"):
            assert ">source</a>" not in (await web.get(path)).text
    source = "https://example.org/nonesuch?a=1&b=2"
    async with browsing(run_server, http_source=source) as (_, web):
        for path in ("/", "/docs"):
            assert f'<a href="{html.escape(source)}">source</a>' in (await web.get(path)).text


@pytest.mark.parametrize("source", ["javascript:alert(1)", "example.org", "https://exa mple.org", "https://"])
def test_the_source_must_be_a_web_address(source: str) -> None:
    with pytest.raises(InvalidRequestError, match="http_source"):
        ServerSettings(http_source=source)
