"""Versions: of nonesuch, which every image carries, and of the packages that it runs on."""

from __future__ import annotations

from functools import cache
from importlib import metadata

__version__ = "0.1.0"


@cache
def package_version(name: str) -> str:
    """The version of an installed package, looked up once: reading its metadata takes half a millisecond.

    Raises:
        importlib.metadata.PackageNotFoundError: it is not installed.
    """
    return metadata.version(name)
