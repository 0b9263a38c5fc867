"""The address (URL path and query) of a picture: its parts, reading and writing.

    /face                                          a fresh picture each time
    /face/{seed}.{jpg,png,webp}?psi=0.7            the seed on the current build
    /face/{model}@{build}/{seed}.jpg?psi=0.7       the same bytes for ever, or 404 once the build is gone

The build is 8 hex digits over everything else that decides the bytes: model, variant, backend and its version, encoder
and its settings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

import numpy as np

from nonesuch.engine.encoder import EncodeOptions, ImageFormat
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.engine.latent_pipeline import MAX_MIXES, PictureOptions
from nonesuch.engine.latents import check_psi, check_seed
from nonesuch.engine.source import Seeds
from nonesuch.engine.style_mix import LayerGroup, StyleMix

from ..core.batching.request_queue import Priority
from ..core.image_request import ImageRequest, fresh_seed

BUILD_DIGITS = 8
FORMATS = {"jpg": ImageFormat.JPEG, "jpeg": ImageFormat.JPEG, "png": ImageFormat.PNG, "webp": ImageFormat.WEBP}
_MAX_DIGITS = 10  # of an unsigned 32-bit seed; longer text is not converted
_MAX_TEXT_LENGTH = 64


@dataclass(frozen=True)
class ImageAddress:
    """The options of a picture; None is the server's default."""

    seed: int
    format: ImageFormat = ImageFormat.JPEG
    model: str = ""
    build: str | None = None
    psi: float | None = None
    size: int | None = None
    quality: int | None = None
    class_index: int | None = None
    mixing: tuple[tuple[int, LayerGroup], ...] = ()
    bulk: bool = False

    @classmethod
    def fresh(cls, query: Iterable[tuple[str, str]]) -> ImageAddress:
        """An address with a fresh seed; `format` may be in the query.

        Raises:
            InvalidRequestError: the query has an unknown name or an invalid value.
        """
        pairs = list(query)
        extension = next((value for name, value in pairs if name == "format"), "jpg")
        rest = [(name, value) for name, value in pairs if name != "format"]
        return cls.parse(str(fresh_seed()), extension, rest)

    @classmethod
    def parse(
        cls, seed: str, extension: str, query: Iterable[tuple[str, str]], build: str | None = None
    ) -> ImageAddress:
        """Read the parts of an address; `build` is MODEL@BUILD.

        Raises:
            InvalidRequestError: a part is invalid, or the query has an unknown name.
        """
        if extension not in FORMATS:
            raise InvalidRequestError.of("format", f"{_short(extension)!r} is not one of {', '.join(FORMATS)}")
        address = cls(check_seed(_whole("seed", seed)), FORMATS[extension])
        if build is not None:
            model, at, digits = build.rpartition("@")
            if not at:
                raise InvalidRequestError.of(
                    "build", f"{_short(build)!r} is not MODEL@BUILD; {address.short_path()} has the current one"
                )
            address = replace(address, model=model, build=digits)
        seen: set[str] = set()
        for name, value in query:
            if name not in _READERS:
                raise InvalidRequestError.of(_short(name), f"is unknown; use {', '.join(_READERS)}")
            if name in seen and name != "mix":
                raise InvalidRequestError.of(name, "is given more than once")
            seen.add(name)
            address = _READERS[name](address, value)
        return address

    @property
    def request(self) -> ImageRequest:
        """The request to the service.

        Raises:
            InvalidRequestError: the quality or the size is invalid.
        """
        return ImageRequest(
            Seeds([self.seed]),
            self.model,
            picture=PictureOptions(
                psi=self.psi,
                class_index=self.class_index,
                mixing=tuple(StyleMix(seed, group) for seed, group in self.mixing),
            ),
            encode=EncodeOptions(self.format, self.quality, self.size),
            priority=Priority.BULK if self.bulk else Priority.VISITOR,
        )

    def path(self, model: str, build: str) -> str:
        """The address with the build. It always has psi, because the default may change."""
        return f"/face/{quote(model, safe='')}@{build}/{self.seed}.{self._extension}?{_encoded(self._query(True))}"

    def short_path(self) -> str:
        """The address of the same picture on the current build."""
        query = _encoded(([("model", self.model)] if self.model else []) + self._query(self.psi is not None))
        return f"/face/{self.seed}.{self._extension}" + (f"?{query}" if query else "")

    @property
    def file_name(self) -> str:
        """The picture's file name when it is saved."""
        mixes = "".join(f"-{group}{seed}" for seed, group in self.mixing)
        return f"nonesuch-{self.seed}-psi{psi_text(self._psi)}{mixes}.{self._extension}"

    @property
    def _extension(self) -> str:
        return "jpg" if self.format is ImageFormat.JPEG else self.format.value

    @property
    def _psi(self) -> float:
        return Seeds.default_psi if self.psi is None else self.psi

    def _query(self, psi: bool) -> list[tuple[str, str]]:
        """The query in a fixed order, so that a picture has one address."""
        pairs = [("psi", psi_text(self._psi))] if psi else []
        for name, value in (("size", self.size), ("quality", self.quality), ("class", self.class_index)):
            if value is not None:
                pairs.append((name, str(value)))
        pairs += [("mix", f"{seed}:{group}") for seed, group in self.mixing]
        return pairs + ([("priority", "bulk")] if self.bulk else [])


def _encoded(pairs: list[tuple[str, str]]) -> str:
    return urlencode(pairs, safe=":")


def psi_text(value: float) -> str:
    """The shortest text of the float32 that is applied: 0.7, not 0.699999988."""
    return np.format_float_positional(np.float32(value), trim="-")


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT_LENGTH else f"{text[:_MAX_TEXT_LENGTH]}…"


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InvalidRequestError.of(name, f"{_short(text)!r} is not a whole number")
    return int(text)


def _real(name: str, text: str) -> float:
    try:
        return float(text[:_MAX_TEXT_LENGTH])
    except ValueError as error:
        raise InvalidRequestError.of(name, f"{_short(text)!r} is not a number") from error


def _psi(address: ImageAddress, text: str) -> ImageAddress:
    psi = _real("psi", text)
    check_psi(psi)
    return replace(address, psi=psi)


def _mix(address: ImageAddress, text: str) -> ImageAddress:
    seed, colon, group = text.partition(":")
    if not colon or group not in set(LayerGroup):
        raise InvalidRequestError.of(
            "mix", f"{_short(text)!r} is not SEED:GROUP with GROUP one of {', '.join(LayerGroup)}"
        )
    if len(address.mixing) == MAX_MIXES:
        raise InvalidRequestError.of("mix", f"may be given at most {MAX_MIXES} times")
    return replace(address, mixing=(*address.mixing, (check_seed(_whole("mix", seed), "mix"), LayerGroup(group))))


def _priority(address: ImageAddress, text: str) -> ImageAddress:
    if text not in {"bulk", "interactive"}:
        raise InvalidRequestError.of("priority", f"{_short(text)!r} is neither bulk nor interactive")
    return replace(address, bulk=text == "bulk")


def _model(address: ImageAddress, text: str) -> ImageAddress:
    if address.build is not None and text != address.model:
        raise InvalidRequestError.of("model", "is already in the path")
    return replace(address, model=text)


_READERS = {
    "psi": _psi,
    "model": _model,
    "size": lambda address, text: replace(address, size=_whole("size", text)),
    "quality": lambda address, text: replace(address, quality=_whole("quality", text)),
    "class": lambda address, text: replace(address, class_index=_whole("class", text)),
    "mix": _mix,
    "priority": _priority,
}
