"""The rules of the repository's layout."""

from __future__ import annotations

import importlib
import pkgutil
import types
from pathlib import Path

import pytest

from .conftest import REPOSITORY

PORTIONS = {
    "protos": "nonesuch.v1",
    "engine": "nonesuch.engine",
    "export": "nonesuch.export",
    "server": "nonesuch.server",
    "client": "nonesuch.client",
    "cli": "nonesuch.cli",
    "benchmarks": "nonesuch.benchmarks",
}


@pytest.mark.parametrize("folder", PORTIONS)
def test_a_portion_has_no_init_in_the_namespace_and_is_typed(folder: str) -> None:
    # One such file would shadow every other portion of the namespace.
    assert not (REPOSITORY / folder / "nonesuch" / "__init__.py").exists()
    package = REPOSITORY / folder / Path(*PORTIONS[folder].split("."))
    assert (package / "py.typed").exists()


def _modules() -> list[str]:
    found = []
    for folder, package in PORTIONS.items():
        path = REPOSITORY / folder / Path(*package.split("."))
        found += [info.name for info in pkgutil.walk_packages([str(path)], f"{package}.")]
    return [name for name in found if "_pb2" not in name]


@pytest.mark.parametrize("name", _modules())
def test_every_module_and_what_is_public_in_it_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for public, value in vars(module).items():
        own = isinstance(value, type | types.FunctionType) and value.__module__ == name
        assert not own or public.startswith("_") or value.__doc__, f"{name}.{public} has no docstring"
    exported = list(getattr(module, "__all__", []))
    assert exported == sorted(exported, key=_constants_first), f"{name}.__all__ is not sorted"


def _constants_first(name: str) -> tuple[int, str]:
    # ruff's isort-style order: CONSTANTS, then Classes, then functions.
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)


def test_files_stay_readable() -> None:
    long = {}
    for folder in PORTIONS:
        for path in (REPOSITORY / folder).rglob("*.py"):
            lines = path.read_text().count("\n")
            if "_pb2" not in path.name and lines > 300:
                long[str(path.relative_to(REPOSITORY))] = lines
    assert not long, f"split these by noun: {long}"
