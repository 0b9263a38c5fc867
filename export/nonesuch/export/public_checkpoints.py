"""The well-known public StyleGAN checkpoints, with the addresses where their makers publish them.

The addresses come from NVIDIA's READMEs (stylegan2, stylegan2-ada-pytorch, stylegan3) and from the makers' pages; the
project has not tried them (`tried=False`). Sizes and hashes are given if published. These files are not part of
nonesuch: users download them from the publisher, on the publisher's terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .checkpoint import Checkpoint
from .download import CatalogueEntry
from .https_download import HttpsFile


@dataclass(frozen=True)
class _Shelf:
    """A place where a maker publishes checkpoints, and its terms."""

    address: str
    card: str
    network: str
    licence: str
    terms: str


@dataclass(frozen=True)
class _Pictures:
    """A training set."""

    name: str
    terms: str
    note: str = ""


_NVIDIA = "NVIDIA Source Code License: research and evaluation, non-commercial only."
_NGC = "https://api.ngc.nvidia.com/v2/models/nvidia/research"
_NGC_CARD = "https://ngc.nvidia.com/catalog/models/nvidia:research"

_ADA = _Shelf(
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/",
    "https://github.com/NVlabs/stylegan2-ada-pytorch",
    "StyleGAN2-ADA",
    "NVIDIA Source Code License, non-commercial",
    _NVIDIA,
)
_TF = _Shelf(
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2/networks/",
    "https://github.com/NVlabs/stylegan2",
    "StyleGAN2 config F, TensorFlow pickle",
    "Nvidia Source Code License-NC, non-commercial",
    "Nvidia Source Code License-NC: research and evaluation, non-commercial only.",
)
_SG2 = _Shelf(f"{_NGC}/stylegan2/versions/1/files/", f"{_NGC_CARD}:stylegan2", "StyleGAN2", _ADA.licence, _NVIDIA)
_SG3T = _Shelf(f"{_NGC}/stylegan3/versions/1/files/", f"{_NGC_CARD}:stylegan3", "StyleGAN3-T", _ADA.licence, _NVIDIA)
_SG3R = _Shelf(_SG3T.address, _SG3T.card, "StyleGAN3-R", _ADA.licence, _NVIDIA)
_SELF = _Shelf(
    "https://storage.googleapis.com/self-distilled-stylegan/",
    "https://github.com/self-distilled-stylegan/self-distilled-internet-photos",
    "StyleGAN2, Self-Distilled StyleGAN",
    "Apache-2.0",
    "The makers publish the models under Apache-2.0 and ask to be credited by citing their paper; the networks were "
    "trained with code of NVIDIA's.",
)

_FFHQ = _Pictures("FFHQ", "CC BY-NC-SA 4.0", "photographs of real people")
_METFACES = _Pictures("MetFaces", "CC BY-NC 2.0", "details of works of art")
_AFHQ = _Pictures("AFHQ", "CC BY-NC 4.0")
_BRECAHAD = _Pictures("BreCaHAD", "see its publication", "not for any medical use")
_CIFAR10 = _Pictures("CIFAR-10", "no licence stated")
_CELEBA = _Pictures("CelebA-HQ", "non-commercial research only", "photographs of celebrities")
_LSUN = _Pictures("LSUN", "no licence stated", "photographs found on the web")
_FLICKR = _Pictures("Flickr photographs", "CC BY 2.0 or public domain, each its own")

# name, subject, resolution, file on the shelf, shelf, training set
_ROWS = [
    ("ffhq-1024-sg2ada", "human faces", 1024, "ffhq.pkl", _ADA, _FFHQ),
    (
        "ffhq-256-sg2ada",
        "human faces",
        256,
        "transfer-learning-source-nets/ffhq-res256-mirror-paper256-noaug.pkl",
        _ADA,
        _FFHQ,
    ),
    ("metfaces-1024-sg2ada", "painted and sculpted faces", 1024, "metfaces.pkl", _ADA, _METFACES),
    ("afhqcat-512-sg2ada", "cat faces", 512, "afhqcat.pkl", _ADA, _AFHQ),
    ("afhqdog-512-sg2ada", "dog faces", 512, "afhqdog.pkl", _ADA, _AFHQ),
    ("afhqwild-512-sg2ada", "faces of wild animals", 512, "afhqwild.pkl", _ADA, _AFHQ),
    ("brecahad-512-sg2ada", "breast cancer histology", 512, "brecahad.pkl", _ADA, _BRECAHAD),
    ("cifar10-32-sg2ada", "small pictures of 10 classes (conditional)", 32, "cifar10.pkl", _ADA, _CIFAR10),
    ("ffhq-1024-sg2", "human faces", 1024, "stylegan2-ffhq-1024x1024.pkl", _SG2, _FFHQ),
    ("ffhq-512-sg2", "human faces", 512, "stylegan2-ffhq-512x512.pkl", _SG2, _FFHQ),
    ("ffhq-256-sg2", "human faces", 256, "stylegan2-ffhq-256x256.pkl", _SG2, _FFHQ),
    ("ffhqu-1024-sg2", "human faces, unaligned", 1024, "stylegan2-ffhqu-1024x1024.pkl", _SG2, _FFHQ),
    ("ffhqu-256-sg2", "human faces, unaligned", 256, "stylegan2-ffhqu-256x256.pkl", _SG2, _FFHQ),
    ("metfaces-1024-sg2", "painted and sculpted faces", 1024, "stylegan2-metfaces-1024x1024.pkl", _SG2, _METFACES),
    (
        "metfacesu-1024-sg2",
        "painted and sculpted faces, unaligned",
        1024,
        "stylegan2-metfacesu-1024x1024.pkl",
        _SG2,
        _METFACES,
    ),
    ("afhqv2-512-sg2", "faces of cats, dogs and wild animals", 512, "stylegan2-afhqv2-512x512.pkl", _SG2, _AFHQ),
    ("celebahq-256-sg2", "faces of celebrities", 256, "stylegan2-celebahq-256x256.pkl", _SG2, _CELEBA),
    ("lsundog-256-sg2", "dogs", 256, "stylegan2-lsundog-256x256.pkl", _SG2, _LSUN),
    ("ffhq-1024-sg2tf", "human faces", 1024, "stylegan2-ffhq-config-f.pkl", _TF, _FFHQ),
    ("lsuncar-512-sg2tf", "cars, 512x384 between bars", 512, "stylegan2-car-config-f.pkl", _TF, _LSUN),
    ("lsuncat-256-sg2tf", "cats", 256, "stylegan2-cat-config-f.pkl", _TF, _LSUN),
    ("lsunchurch-256-sg2tf", "churches from outside", 256, "stylegan2-church-config-f.pkl", _TF, _LSUN),
    ("lsunhorse-256-sg2tf", "horses", 256, "stylegan2-horse-config-f.pkl", _TF, _LSUN),
    *(
        (f"{data}-{size}-sg3{kind}", subject, size, f"stylegan3-{kind}-{data}-{size}x{size}.pkl", shelf, pictures)
        for kind, shelf in (("t", _SG3T), ("r", _SG3R))
        for data, size, subject, pictures in (
            ("ffhq", 1024, "human faces", _FFHQ),
            ("ffhqu", 1024, "human faces, unaligned", _FFHQ),
            ("ffhqu", 256, "human faces, unaligned", _FFHQ),
            ("metfaces", 1024, "painted and sculpted faces", _METFACES),
            ("metfacesu", 1024, "painted and sculpted faces, unaligned", _METFACES),
            ("afhqv2", 512, "faces of cats, dogs and wild animals", _AFHQ),
        )
    ),
    ("dogs-1024-sg2self", "dogs", 1024, "dogs_1024_pytorch.pkl", _SELF, _FLICKR),
    ("elephants-512-sg2self", "elephants", 512, "elephants_512_pytorch.pkl", _SELF, _FLICKR),
    ("giraffes-512-sg2self", "giraffes", 512, "giraffes_512_pytorch.pkl", _SELF, _FLICKR),
    ("lions-512-sg2self", "lions", 512, "lions_512_pytorch.pkl", _SELF, _FLICKR),
    ("parrots-512-sg2self", "parrots", 512, "parrots_512_pytorch.pkl", _SELF, _FLICKR),
    ("bicycles-256-sg2self", "bicycles", 256, "bicycles_256_pytorch.pkl", _SELF, _LSUN),
    ("horses-256-sg2self", "horses", 256, "horses_256_pytorch.pkl", _SELF, _LSUN),
]


def _read(path: Path) -> Checkpoint:
    from .formats.detect import read_checkpoint

    return read_checkpoint(path)


def _entry(name: str, subject: str, resolution: int, file: str, shelf: _Shelf, pictures: _Pictures) -> CatalogueEntry:
    note = f", {pictures.note}" if pictures.note else ""
    return CatalogueEntry(
        name=name,
        summary=f"{subject}, {resolution}x{resolution} ({shelf.network})",
        family="stylegan3" if "-sg3" in name else "stylegan2",
        resolution=resolution,
        file=HttpsFile(filename=f"{name}{PurePosixPath(file).suffix}", url=shelf.address + file),
        licence=f"{shelf.licence}; {pictures.name}: {pictures.terms}",
        terms=f"{shelf.terms} Trained on {pictures.name} ({pictures.terms}){note}.",
        card=shelf.card,
        read=_read,
        tried=False,
    )


_COMMUNITY = [
    CatalogueEntry(
        name="animeportraits-512-sg2",
        summary="anime portraits, 512x512 (StyleGAN2 config F by Aaron Gokaslan, converted to PyTorch)",
        family="stylegan2",
        resolution=512,
        file=HttpsFile(
            filename="animeportraits-512-sg2.pt",
            url=(
                "https://huggingface.co/camenduru/UserControllableLT/resolve/273dab597157dbe822d95aa31dabb22a1ebfcbd0/"
                "2020-01-11-skylion-stylegan2-animeportraits-networksnapshot-024664.pt"
            ),
            size_bytes=123_958_423,
            sha256="3a288609d94af6719f7bbcf74457a03c5691ecf3682ad0b2332e3905ccb5438e",
        ),
        licence="no licence stated; Danbooru: drawings by many artists",
        terms=(
            "Its maker states no licence; the address is that of a third party's copy, converted from the TensorFlow "
            "pickle. Trained on Danbooru, drawings by many artists. Treat it as research, non-commercial."
        ),
        card="https://www.gwern.net/Faces#stylegan-2",
        read=_read,
        tried=False,
    ),
    CatalogueEntry(
        name="landscapes-1024-sg2",
        summary="landscapes, 1024x1024 (StyleGAN2 by Justin Pinkney)",
        family="stylegan2",
        resolution=1024,
        file=HttpsFile(
            filename="landscapes-1024-sg2.pkl",
            url="https://huggingface.co/justinpinkney/lhq-sg2-1024/resolve/main/lhq-sg2-1024.pkl",
        ),
        licence="MIT; LHQ: CC BY 2.0, its pictures each their own",
        terms=(
            "The maker publishes the model under MIT. Trained on LHQ (CC BY 2.0), whose pictures have licences of "
            "their own, some of them non-commercial; the network was trained with code of NVIDIA's."
        ),
        card="https://huggingface.co/justinpinkney/lhq-sg2-1024",
        read=_read,
        tried=False,
    ),
]

PUBLIC_CHECKPOINTS = (*(_entry(*row) for row in _ROWS), *_COMMUNITY)
"""In display order: NVIDIA's StyleGAN2-ADA, StyleGAN2 and StyleGAN3, then others'."""
