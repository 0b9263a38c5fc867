"""The files of the web pages, read once: what browsers load as it is and compressed, and the pages as Jinja templates.

/style.css?v=HASH may be kept for ever, because the address has the hash of the file; /style.css alone is asked for
again each time, and answered with 304 where it is the same.

Starlette's StaticFiles has no such addresses and one ETag for both forms of a file; its GZipMiddleware compresses also
for a reader who refuses gzip with q=0, and would compress the messages of Connect.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import importlib.resources
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from .request_headers import is_known, takes_gzip

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
        """The file: to be kept for ever where its hash is in the address, else to be asked for again each time."""
        zipped = takes_gzip(request.headers)
        tag = f'"{self.tag}{"-gzip" if zipped else ""}"'
        permanent = request.query_params.get("v") == self.tag
        headers = {"ETag": tag, "Vary": "Accept-Encoding", "Cache-Control": _FOREVER if permanent else "no-cache"}
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
        folder = importlib.resources.files(__package__).joinpath("web")
        self._files = {f"/{name}": WebFile.of(name, folder.joinpath(name).read_bytes()) for name in _NAMES}
        self.paths = tuple(self._files)
        self._templates = Environment(
            loader=PackageLoader(__package__, "web"),
            autoescape=True,
            finalize=_escaped,
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
        )
        self._templates.globals["address"] = self._permanent_address

    def template(self, name: str) -> Template:
        """A page; `address(path)` in it is the address under which the file of that path may be kept for ever."""
        return self._templates.get_template(name)

    async def file(self, request: Request) -> Response:
        """The file of the request's path."""
        return self._files[request.url.path].answer(request)

    def _permanent_address(self, path: str) -> str:
        return f"{path}?v={self._files[path].tag}"


def _escaped(value: object) -> object:
    """A value as `html.escape` writes it; Jinja's own escape, which comes after it, spells the two quotes otherwise."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))  # noqa: S704  # it is escaped
