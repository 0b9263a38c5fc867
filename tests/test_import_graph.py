"""In each portion, and in each of its folders, the imports between files and folders have no cycles."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator

import grimp
import pytest

PORTIONS = [f"nonesuch.{name}" for name in ("engine", "export", "server", "client", "cli", "benchmarks")]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """All imports, including those inside functions and for types."""
    return grimp.build_graph(*PORTIONS, cache_dir=None)


def flattened(graph: grimp.ImportGraph, package: str) -> dict[str, set[str]]:
    """For each file and folder directly below a package, its imports of the others."""
    children = graph.find_children(package)
    found: dict[str, set[str]] = {child: set() for child in children}
    for child in children:
        for module in {child, *graph.find_descendants(child)}:
            for imported in graph.find_modules_directly_imported_by(module):
                found[child] |= {one for one in children - {child} if f"{imported}.".startswith(f"{one}.")}
    return found


def packages(graph: grimp.ImportGraph, package: str) -> Iterator[str]:
    yield package
    for child in graph.find_children(package):
        if graph.find_children(child):
            yield from packages(graph, child)


@pytest.mark.parametrize("portion", PORTIONS)
def test_imports_have_no_cycles(graph: grimp.ImportGraph, portion: str) -> None:
    for package in packages(graph, portion):
        # Raises CycleError, which names the cycle.
        tuple(graphlib.TopologicalSorter(flattened(graph, package)).static_order())


def test_a_cycle_is_found(graph: grimp.ImportGraph) -> None:
    planted = flattened(graph, "nonesuch.server")
    assert "nonesuch.server.core" in planted["nonesuch.server.http"]
    planted["nonesuch.server.core"].add("nonesuch.server.http")
    with pytest.raises(graphlib.CycleError):
        tuple(graphlib.TopologicalSorter(planted).static_order())


@pytest.mark.parametrize("folder", ["core", "rpc", "http", "oip", "access", "observing"])
def test_the_server_has_its_folders(graph: grimp.ImportGraph, folder: str) -> None:
    assert graph.find_children(f"nonesuch.server.{folder}")


def test_core_and_access_import_neither_protocols_nor_metrics_libraries(graph: grimp.ImportGraph) -> None:
    wires = {"grpc", "google", "starlette", "prometheus_client", "structlog", "opentelemetry"}
    whole = grimp.build_graph(*PORTIONS, include_external_packages=True, cache_dir=None)
    for folder in ("core", "access"):
        for module in whole.find_descendants(f"nonesuch.server.{folder}"):
            assert not whole.find_modules_directly_imported_by(module) & wires, module
