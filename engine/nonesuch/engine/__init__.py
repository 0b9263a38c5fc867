"""Artifact -> images: latents, sessions, backends, encoding. Never imports torch.

from nonesuch.engine import Generator
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .artifact import Artifact
    from .encoder import EncodeOptions, encode_image
    from .errors import NonesuchError
    from .generator import Generator
    from .provenance import ImageRecord
    from .session import SessionOptions
    from .style_mix import LayerGroup, StyleMix

_PUBLIC = {
    "Artifact": "artifact",
    "EncodeOptions": "encoder",
    "Generator": "generator",
    "ImageRecord": "provenance",
    "LayerGroup": "style_mix",
    "NonesuchError": "errors",
    "SessionOptions": "session",
    "StyleMix": "style_mix",
    "encode_image": "encoder",
}

__all__ = [
    "Artifact",
    "EncodeOptions",
    "Generator",
    "ImageRecord",
    "LayerGroup",
    "NonesuchError",
    "SessionOptions",
    "StyleMix",
    "encode_image",
]


def __dir__() -> list[str]:
    """List the public names too, which are imported on first use."""
    return sorted([*globals(), *__all__])


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import nonesuch.engine` is cheap."""
    if name in _PUBLIC:
        return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
