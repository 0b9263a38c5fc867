"""The files of the web pages, read once: static files, plain and compressed, and pages as Jinja templates.

/style.css?v=HASH is cached for ever, because the address has the hash of the file. /style.css alone is requested each
time, with 304 as the response if it is unchanged.

Starlette's StaticFiles has no such addresses, and one ETag for both forms of a file. Its GZipMiddleware compresses even
for a client that refuses gzip with q=0, and would compress the messages of Connect.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import importlib.resources
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

_PACKAGE = "nonesuch.server.http"
_NAMES = ("style.css", "app.js", "icon.svg")
_FOREVER = "public, max-age=31536000, immutable"
_MEDIA_TYPES = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}


@dataclass(frozen=True)
class WebFile:
    """A file, plain and compressed."""

    data: bytes
    zipped: bytes
    tag: str
    media_type: str

    @classmethod
    def of(cls, name: str, data: bytes) -> WebFile:
        """A file; the ending of its name decides the media type."""
        tag = hashlib.sha256(data).hexdigest()[:16]
        return cls(data, gzip.compress(data, 9, mtime=0), tag, _MEDIA_TYPES[name.rpartition(".")[2]])

    def answer(self, request: Request) -> Response:
        """The file, cached for ever if its hash is in the address, else checked each time."""
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
        paths: their URL paths.
    """

    def __init__(self) -> None:
        folder = importlib.resources.files(_PACKAGE).joinpath("web")
        self._files = {f"/{name}": WebFile.of(name, folder.joinpath(name).read_bytes()) for name in _NAMES}
        self.paths = tuple(self._files)
        self._templates = Environment(
            loader=PackageLoader(_PACKAGE, "web"),
            autoescape=True,
            finalize=_escaped,
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
        )
        self._templates.globals["address"] = self._permanent_address

    def template(self, name: str) -> Template:
        """A page; `address(path)` in it gives the permanently cached address of a file."""
        return self._templates.get_template(name)

    async def file(self, request: Request) -> Response:
        """The file at the request's path."""
        return self._files[request.url.path].answer(request)

    def _permanent_address(self, path: str) -> str:
        return f"{path}?v={self._files[path].tag}"


def _escaped(value: object) -> object:
    """A value in the spelling of `html.escape`; Jinja's own escape, which would follow, spells quotes differently."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))  # noqa: S704  # it is escaped


def is_known(headers: Headers, tag: str) -> bool:
    """Whether the client has the bytes of `tag`, quotes included (RFC 9110, section 13.1.2; weak comparison)."""
    given = headers.get("if-none-match", "")
    known = {one.strip().removeprefix("W/") for one in given.split(",")}
    return tag in known or given.strip() == "*"


def takes_gzip(headers: Headers) -> bool:
    """Whether the client accepts gzip (RFC 9110, section 12.5.3)."""
    for part in headers.get("accept-encoding", "").split(","):
        name, _, weight = part.partition(";")
        if name.strip().lower() in {"gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
