"""Imports a runtime that an extra brings; whatever goes wrong is one error that says what to do."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import BackendUnavailableError


def import_runtime(name: str, extra: str) -> Any:
    """The module `name`, which `nonesuch[extra]` installs.

    Raises:
        BackendUnavailableError: it is not installed, or does not load.
    """
    try:
        return import_module(name)
    except ImportError as error:
        hint = f"install it with: pip install 'nonesuch[{extra}]'"
        raise BackendUnavailableError(f"{name} is not installed ({error}); {hint}") from error
    except Exception as error:  # its native part refuses this machine, or a version of something else
        problem = f"{type(error).__name__}: {error}"
        raise BackendUnavailableError(f"{name} is installed but does not load ({problem})") from error
