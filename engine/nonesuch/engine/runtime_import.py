"""Imports an optional runtime; any failure becomes one error that says what to do."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import BackendUnavailableError


def import_runtime(name: str, extra: str) -> Any:
    """Import the module `name`, which `nonesuch[extra]` installs.

    Raises:
        BackendUnavailableError: it is not installed, or does not load.
    """
    try:
        return import_module(name)
    except ImportError as error:
        hint = f"install it with: pip install 'nonesuch[{extra}]'"
        raise BackendUnavailableError(f"{name} is not installed ({error}); {hint}") from error
    except Exception as error:  # its native library refuses this machine, or the version of a dependency
        problem = f"{type(error).__name__}: {error}"
        raise BackendUnavailableError(f"{name} is installed but does not load ({problem})") from error
