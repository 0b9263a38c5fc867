"""The rules of the repository's layout."""

from __future__ import annotations

import importlib
import pkgutil
import types
from pathlib import Path

import pytest

from .conftest import REPOSITORY

PORTIONS = {
    "engine": "nonesuch.engine",
    "export": "nonesuch.export",
    "server": "nonesuch.server",
    "client": "nonesuch.client",
    "cli": "nonesuch.cli",
    "benchmarks": "nonesuch.benchmarks",
}
PACKAGES = [*PORTIONS.items(), ("protos", "nonesuch.v1"), ("protos", "nonesuch.oip")]
MAX_LINES = 300


@pytest.mark.parametrize(("folder", "package"), PACKAGES)
def test_a_package_is_typed_and_has_no_init_in_the_namespace(folder: str, package: str) -> None:
    # An __init__.py there would hide every other portion of the namespace.
    assert not (REPOSITORY / folder / "nonesuch" / "__init__.py").exists()
    path = REPOSITORY / folder / Path(*package.split("."))
    assert (path / "py.typed").exists()
    assert any(path.glob("*.py"))
    assert importlib.import_module(package).__name__ == package


def _modules() -> list[str]:
    found = []
    for folder, package in PORTIONS.items():
        path = REPOSITORY / folder / Path(*package.split("."))
        found += [info.name for info in pkgutil.walk_packages([str(path)], f"{package}.")]
    return [name for name in found if "_pb2" not in name]


@pytest.mark.parametrize("name", _modules())
def test_every_module_and_its_public_classes_and_functions_have_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for public, value in vars(module).items():
        defined = isinstance(value, type | types.FunctionType) and value.__module__ == name
        if defined and not public.startswith("_"):
            assert value.__doc__, f"{name}.{public} has no docstring"
    exported = list(getattr(module, "__all__", []))
    assert exported == sorted(exported, key=_constants_first), f"{name}.__all__ is not sorted"


def _constants_first(name: str) -> tuple[int, str]:
    # ruff's isort-style order: CONSTANTS, then Classes, then functions.
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)


def test_files_have_at_most_300_lines() -> None:
    long = {}
    for folder in [*PORTIONS, "protos"]:
        for path in (REPOSITORY / folder).rglob("*.py"):
            lines = path.read_text().count("\n")
            if "_pb2" not in path.name and lines > MAX_LINES:
                long[str(path.relative_to(REPOSITORY))] = lines
    assert not long, f"split these by idea: {long}"
