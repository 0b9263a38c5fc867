"""Progress: a bar on a terminal, nothing elsewhere. It goes to standard error; standard output is for results."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

_T = TypeVar("_T")


def on_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr.isatty()


def track(items: Iterable[_T], label: str, total: int | None = None) -> Iterable[_T]:
    """Yield the items, and show the number of finished ones out of `total`."""
    return tqdm(items, desc=label, total=total, disable=not on_terminal(), file=sys.stderr, leave=False)
