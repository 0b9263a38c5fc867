"""The versions of installed packages, each looked up once: reading a package's metadata takes half a millisecond."""

from __future__ import annotations

from functools import cache
from importlib import metadata

__all__ = ["package_version"]


@cache
def package_version(name: str) -> str:
    """The version of an installed package.

    Raises:
        importlib.metadata.PackageNotFoundError: it is not installed.
    """
    return metadata.version(name)
