"""The documents agree with the program: commands parse, linked files and make targets exist, tables are current."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import click
import pytest

from nonesuch.cli.main import cli
from nonesuch.server.observing.metrics import ServerMetrics

from .conftest import REPOSITORY, RunServer
from .settings_reference import BEGIN, END, reference

DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def blocks(document: Path) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    found = []
    for document in DOCUMENTS:
        for block in blocks(document):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.match(r"(?:try\s+)?(?:\.venv/bin/)?nonesuch (\S.*)", line)
                if match:
                    found.append(match[1].partition("  #")[0])
    return found


@pytest.mark.parametrize("arguments", commands())
def test_a_command_of_the_documents_parses(arguments: str) -> None:
    command: click.Command = cli
    # Each below the one before, as the program has them: click keeps the help option that it makes first.
    context = click.Context(cli, **cli.context_settings)
    words = shlex.split(arguments)
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        command, context = found, click.Context(found, parent=context)
    context = command.make_context("nonesuch", words, parent=context.parent)
    option = command.get_help_option(context)
    assert option is not None
    assert option.opts == ["-h", "--help"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_files_that_a_document_links_exist(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def test_the_make_targets_of_the_documents_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    named = set()
    for document in DOCUMENTS:
        named |= set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks(document)), re.MULTILINE))
        named |= set(re.findall(r"`make ([a-z-]+)`", document.read_text()))
    assert {"run", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_ci_calls_the_readmes_test_command() -> None:
    assert "make test" in "\n".join(blocks(REPOSITORY / "README.md"))
    assert "make test" in (REPOSITORY / ".ci" / "run").read_text().splitlines()


async def test_the_python_example_of_serving_runs(
    run_server: RunServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = [block for block in blocks(REPOSITORY / "docs" / "serving.md") if "from nonesuch.client" in block]
    monkeypatch.chdir(tmp_path)
    async with run_server() as server:
        code = compile(example.replace("127.0.0.1:50051", server.address), "docs/serving.md", "exec")
        await asyncio.to_thread(exec, code, {})
    assert sorted(path.name for path in tmp_path.glob("*.jpg")) == [f"{seed}.jpg" for seed in range(8)]
    assert (tmp_path / "42.png").is_file()


def test_the_settings_in_the_documents_are_those_of_the_server() -> None:
    text = (REPOSITORY / "docs" / "serving.md").read_text()
    # Written by: python tests/settings_reference.py
    assert f"{BEGIN}\n{reference()}\n{END}" in text


def test_the_metrics_in_the_documents_are_those_of_the_server() -> None:
    text = (REPOSITORY / "docs" / "serving.md").read_text()
    registry = ServerMetrics().registry
    names = {family.name for family in registry.collect() if family.name.startswith("nonesuch")}
    assert names
    missing = {name for name in names if f"`{name}`" not in text and f"`{name}_total`" not in text}
    assert not missing


def test_the_way_of_a_checkpoint_in_the_documents_names_modules_and_functions() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    block = page.split("<!-- way of a checkpoint -->")[1].split("<!-- /way of a checkpoint -->")[0]
    rows = [line.split() for line in block.splitlines() if ".py " in line]
    assert len({name for name, *_ in rows}) == len(rows) > 1
    for name, symbol, *_ in rows:
        source = (REPOSITORY / name.partition("/")[0] / "nonesuch" / name).read_text()
        assert re.search(rf"^ *(?:async )?(?:def|class) {symbol}\b", source, re.MULTILINE), (name, symbol)
