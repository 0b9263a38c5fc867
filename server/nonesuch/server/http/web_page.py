"""The start page, one face with HTML rendered by the server, and /docs.

    /                          a fresh face
    /?seed=42&psi=0.7          always the same face

The page works without JavaScript; app.js only saves reloading it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from nonesuch.engine.source import Seeds

from ..access.call_record import REQUEST_ID_KEY
from ..core.service import ImageService
from .fresh_faces import FreshFaces
from .http_calls import Handler
from .image_address import BUILD_DIGITS, ImageAddress, psi_text
from .openapi import FRESH_PARAMETERS, openapi_document
from .web_files import WebFile, WebFiles, takes_gzip

_DEFAULT_PSI = f"{Seeds.default_psi:g}"
_KNOWN = ("psi", "model", "mix")  # other parameters, such as tracking, are ignored
# Back shows the page as it was; a refresh requests it again.
_PAGE_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
_PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class _Face:
    """The face on the page; an empty seed means none."""

    seed: str = ""
    psi: str = _DEFAULT_PSI
    model: str = ""
    drawn: bool = False  # the server chose the seed
    permalink: str = ""
    image: str = ""
    file_name: str = ""
    side: int = 0  # pixels
    kept: tuple[tuple[str, str], ...] = ()  # fields of the form for the next face


class WebPage:
    """Serves the page."""

    def __init__(self, service: ImageService, faces: FreshFaces, files: WebFiles) -> None:
        self._registry = service.registry
        self._source = service.settings.http_source
        self._faces = faces
        self._template = files.template("index.html")

    async def page(self, request: Request) -> Response:
        """The page with the face of the query, by default a fresh one."""
        return self._rendered(request, await self._face(request))

    def readable(self, endpoint: Handler) -> Handler:
        """An endpoint that shows problems on the page instead of as JSON."""

        async def answer(request: Request) -> Response:
            response = await endpoint(request)
            if response.media_type != _PROBLEM:
                return response
            detail = json.loads(bytes(response.body))["detail"]
            trouble = f"{detail[:1].upper()}{detail[1:]}."
            page = self._rendered(request, _Face(), trouble, response.status_code)
            for name in ("Retry-After", "WWW-Authenticate", REQUEST_ID_KEY):
                if name in response.headers:
                    page.headers[name] = response.headers[name]
            return page

        return answer

    def _rendered(self, request: Request, face: _Face, trouble: str = "", status: int = 200) -> Response:
        models = self._registry.loaded
        text = self._template.render(
            face=face,
            trouble=trouble,
            names=self._registry.names,
            models=models,
            shown=next((model for model in models if model.name == face.model), models[0] if models else None),
            source=self._source,
        )
        data, headers = text.encode(), dict(_PAGE_HEADERS)
        if takes_gzip(request.headers):
            data = gzip.compress(data, 6, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return Response(data, status, headers, media_type="text/html")

    async def _face(self, request: Request) -> _Face:
        seed = request.query_params.get("seed", "").strip()
        query = [(name, value) for name, value in request.query_params.multi_items() if name in _KNOWN]
        if seed:
            address = ImageAddress.parse(seed, "jpg", query)
        else:
            address, _ = self._faces.take(ImageAddress.fresh(query))
        wanted = address.request
        async with self._registry.use(address.model) as model:
            model.fitted(wanted)
            path = address.path(model.name, model.build_id(wanted.encode)[:BUILD_DIGITS])
            side, name = model.manifest.resolution, model.name
        psi = psi_text(wanted.psi)
        mixes = [pair for pair in query if pair[0] == "mix"]
        several = [("model", name)] if len(self._registry.names) > 1 else []
        shown = urlencode([("seed", str(address.seed)), ("psi", psi), *several, *mixes], safe=":")
        return _Face(
            seed=str(address.seed),
            psi=psi,
            model=name,
            drawn=not seed,
            permalink=f"/?{shown}",
            image=path,
            file_name=address.file_name,
            side=side,
            # `after` makes the address unique, so that Back works without JavaScript.
            kept=(("after", str(address.seed)), *([("psi", psi)] if psi != _DEFAULT_PSI else []), *several),
        )


class DocsPage:
    """Serves /docs, on verifying pictures and on the HTTP API, from the OpenAPI document; the same for everybody."""

    def __init__(self, files: WebFiles, calls: Sequence[str], source: str | None) -> None:
        """`calls` are the paths of the methods; `source` is the URL of the program's source."""
        text = files.template("docs.html").render(
            pages={path: item["get"]["summary"] for path, item in openapi_document()["paths"].items()},
            queries={one["name"]: f"{one['description']} {_values(one)}".strip() for one in FRESH_PARAMETERS},
            calls=calls,
            source=source,
        )
        self._page = WebFile.of("docs.html", text.encode())

    async def page(self, request: Request) -> Response:
        """The page."""
        return self._page.answer(request)


def _values(parameter: Mapping[str, Any]) -> str:
    """The allowed values of a parameter, as text."""
    schema: Mapping[str, Any] = parameter["schema"]
    parts = []
    if "enum" in schema:
        parts.append(_listed(schema["enum"]))
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None:
        parts.append(f"{low:g} to {high:g}" if high is not None else f"{low:g} or more")
    if "default" in schema:
        parts.append(f"{schema['default']} where none is given")
    text = ", ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _listed(values: Iterable[object]) -> str:
    *first, last = map(str, values)
    return f"{', '.join(first)} or {last}" if first else last
