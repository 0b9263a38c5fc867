"""The files of the web pages, read once: as they are, compressed, and under addresses that may be kept for ever.

/style.css?v=HASH is kept for ever, because the address has the hash of the file; /style.css alone is asked for again
each time, and answered with 304 where it is the same.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
from dataclasses import dataclass
from string import Template

from starlette.requests import Request
from starlette.responses import Response

from .request_headers import is_known, takes_gzip

__all__ = ["WebFile", "WebFiles"]

_NAMES = ("style.css", "app.js", "icon.svg")
_FOREVER = "public, max-age=31536000, immutable"
_MEDIA_TYPES = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}


@dataclass(frozen=True)
class WebFile:
    """A file, as it is and compressed."""

    data: bytes
    zipped: bytes
    tag: str
    media_type: str

    @classmethod
    def of(cls, name: str, data: bytes) -> WebFile:
        """A file of that name, which says what it is."""
        tag = hashlib.sha256(data).hexdigest()[:16]
        return cls(data, gzip.compress(data, 9, mtime=0), tag, _MEDIA_TYPES[name.rpartition(".")[2]])

    def answer(self, request: Request) -> Response:
        """The file: for ever where its hash is asked for, else to be asked for each time."""
        zipped = takes_gzip(request.headers)
        tag = f'"{self.tag}{"-gzip" if zipped else ""}"'
        lasting = request.query_params.get("v") == self.tag
        headers = {"ETag": tag, "Vary": "Accept-Encoding", "Cache-Control": _FOREVER if lasting else "no-cache"}
        if is_known(request.headers, tag):
            return Response(status_code=304, headers=headers)
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return Response(self.zipped if zipped else self.data, headers=headers, media_type=self.media_type)


class WebFiles:
    """The files of the package.

    Attributes:
        paths: where they are asked for.
    """

    def __init__(self) -> None:
        self._folder = importlib.resources.files(__package__).joinpath("web")
        self._files = {f"/{name}": WebFile.of(name, self._folder.joinpath(name).read_bytes()) for name in _NAMES}
        self.paths = tuple(self._files)

    def template(self, name: str) -> Template:
        """A page of the package, with places to fill."""
        return Template(self._folder.joinpath(name).read_text("utf-8"))

    def lasting(self, path: str) -> str:
        """The address under which a file may be kept for ever."""
        return f"{path}?v={self._files[path].tag}"

    async def file(self, request: Request) -> Response:
        """The file of the request's path."""
        return self._files[request.url.path].answer(request)
