"""The models that nonesuch knows by name: origin, size, hash and terms of each.

An entry describes one exact file. The models on this machine are in `nonesuch.engine.home`.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from nonesuch.engine.errors import ModelNotFoundError

from .checkpoint import Checkpoint
from .download import CatalogueEntry, PackageFile
from .public_checkpoints import PUBLIC_CHECKPOINTS

DEFAULT_MODEL = "faces"


def _read_faces(path: Path) -> Checkpoint:
    from .formats.random_face import read_random_face_wheel

    return read_random_face_wheel(path)


CATALOGUE = {
    entry.name: entry
    for entry in [
        CatalogueEntry(
            name="faces",
            summary="photorealistic human faces, 1024x1024 (MobileStyleGAN distilled from StyleGAN2-FFHQ)",
            family="mobilestylegan",
            resolution=1024,
            file=PackageFile(
                package="random-face",
                version="2021.7.21.1",
                filename="random_face-2021.7.21.1-py3-none-any.whl",
                size_bytes=37_588_926,
                sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
            ),
            licence="Apache-2.0 wheel; distilled from a non-commercial model",
            terms=(
                "The wheel says Apache-2.0, but the network was distilled from NVIDIA's StyleGAN2-FFHQ, whose terms "
                "(NVIDIA Source Code License; FFHQ: CC BY-NC-SA 4.0) are non-commercial. Treat it as research, "
                "non-commercial."
            ),
            card="https://github.com/bes-dev/random_face",
            read=_read_faces,
        ),
        *PUBLIC_CHECKPOINTS,
    ]
}


def find_entry(name: str) -> CatalogueEntry:
    """The entry of that name.

    Raises:
        ModelNotFoundError: it does not exist; the message names similar ones.
    """
    if name not in CATALOGUE:
        close = get_close_matches(name, CATALOGUE, n=3, cutoff=0.6)
        similar = f"; perhaps {' or '.join(close)}" if close else ""
        raise ModelNotFoundError(f"no model {name!r} in the catalogue{similar}; see nonesuch models list")
    return CATALOGUE[name]
