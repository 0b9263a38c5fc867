"""Runs the curl recipes of docs/web.md against a real server."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from ...conftest import REPOSITORY, RunServer
from .browsing import browsing

ADDRESS = "127.0.0.1:8080"
RECIPES = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "docs" / "web.md").read_text(), re.S)

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None and not os.environ.get("CI"), reason="curl is not installed"
)


async def test_every_recipe_works(run_server: RunServer, tmp_path: Path) -> None:
    assert len(RECIPES) >= 5
    (tmp_path / "protos").symlink_to(REPOSITORY / "protos")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    async with browsing(run_server) as (server, _):
        for recipe in RECIPES:
            assert ADDRESS in recipe
            script = recipe.replace(ADDRESS, server.addresses["http"])
            process = await asyncio.create_subprocess_exec(
                "sh",
                "-ec",
                script,
                cwd=tmp_path,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await asyncio.wait_for(process.communicate(), 120)
            assert process.returncode == 0, (recipe, err.decode())
            assert b"problem+json" not in out
            assert b'"title":' not in out, (recipe, out)
    kept = [path.name for path in tmp_path.iterdir() if path.name.startswith("nonesuch-")]
    assert kept
    assert (tmp_path / "seed7.jpg").read_bytes().startswith(b"\xff\xd8")
    assert (tmp_path / "42.png").read_bytes().startswith(b"\x89PNG")
