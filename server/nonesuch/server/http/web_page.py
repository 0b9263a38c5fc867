"""The page that visitors see: one face of nobody, rendered by the server.

    /                          a face that nobody had before
    /?seed=42&psi=0.7          always that face

The page works as it stands; app.js only saves it from being loaded again.
"""

from __future__ import annotations

import gzip
import json
from html import escape
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from nonesuch.engine.source import Seeds

from ..access.call_record import REQUEST_ID_KEY
from ..core.loaded_model import LoadedModel
from ..core.service import ImageService
from .fresh_faces import FreshFaces
from .http_calls import Handler
from .image_address import BUILD_DIGITS, ImageAddress, psi_text
from .request_headers import takes_gzip
from .web_files import WebFiles

__all__ = ["WebPage"]

_ALT = "Computer-generated face of a person who does not exist"
_DEFAULT_PSI = f"{Seeds.default_psi:g}"
_KNOWN = ("psi", "model", "mix")  # anything else in the query is somebody's tracking, and none of ours
# Back shows the page as it was, and a refresh asks again.
_PAGE_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
_FIELDS = (
    *("seed", "model", "drawn", "picture", "permalink", "kept", "image", "file_name"),
    *("trouble", "hide_face"),
)
_PROBLEM = "application/problem+json"


class WebPage:
    """Handlers of requests for the page."""

    def __init__(self, service: ImageService, faces: FreshFaces, files: WebFiles) -> None:
        self._registry = service.registry
        self._faces = faces
        self._template = files.template("index.html")
        source = service.settings.http_source
        self._fixed = {
            "style": files.lasting("/style.css"),
            "script": files.lasting("/app.js"),
            "source": f' (<a href="{escape(source)}">source</a>)' if source else "",
        }

    async def page(self, request: Request) -> Response:
        """The page with the face that the query names, or else with a fresh one."""
        return self._rendered(request, await self._face(request))

    def readable(self, endpoint: Handler) -> Handler:
        """An endpoint whose problems are said on the page, to people who came for a face."""

        async def answer(request: Request) -> Response:
            response = await endpoint(request)
            if response.media_type != _PROBLEM:
                return response
            detail = json.loads(bytes(response.body))["detail"]
            fields = {"trouble": escape(f"{detail[:1].upper()}{detail[1:]}."), "hide_face": "hidden"}
            page = self._rendered(request, fields, response.status_code)
            for name in ("Retry-After", "WWW-Authenticate", REQUEST_ID_KEY):
                if name in response.headers:
                    page.headers[name] = response.headers[name]
            return page

        return answer

    def _rendered(self, request: Request, fields: dict[str, str], status: int = 200) -> Response:
        """The template with what is escaped already; what is missing is empty."""
        models = self._registry.loaded
        several = len(models) > 1
        blank = dict.fromkeys(_FIELDS, "")
        own = {
            "psi": _DEFAULT_PSI,
            "default": escape(self._registry.names[0]),
            "several": "several" if len(self._registry.names) > 1 else "",
            "hide_models": "" if several else "hidden",
            "disable_models": "" if several else "disabled",
            "models": "\n".join(_option(model, fields.get("model")) for model in models),
            "licence": escape(_licence(models, fields.get("model"))),
        }
        data = self._template.substitute({**blank, **self._fixed, **own, **fields}).encode()
        headers = dict(_PAGE_HEADERS)
        if takes_gzip(request.headers):
            data = gzip.compress(data, 6, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return Response(data, status, headers, media_type="text/html")

    async def _face(self, request: Request) -> dict[str, str]:
        """What the template says of a face, escaped."""
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
        # `after` makes an address of its own, so that Back finds this page where there is no script.
        kept = [("after", str(address.seed)), *([("psi", psi)] if psi != _DEFAULT_PSI else []), *several]
        shown = urlencode([("seed", str(address.seed)), ("psi", psi), *several, *mixes], safe=":")
        fields = {
            "seed": str(address.seed),
            "psi": psi,
            "model": name,
            "drawn": "" if seed else "drawn",
            "permalink": f"/?{shown}",
            "image": path,
            "file_name": address.file_name,
        }
        escaped = {key: escape(value) for key, value in fields.items()}
        escaped["picture"] = (
            f'<img id="face" src="{escape(path)}" alt="{_ALT}" width="{side}" height="{side}" fetchpriority="high">'
        )
        escaped["kept"] = "".join(f'<input type="hidden" name="{key}" value="{escape(value)}">' for key, value in kept)
        return escaped


def _option(model: LoadedModel, chosen: str | None) -> str:
    """A model to choose, and what the page has to know of it."""
    manifest = model.manifest
    facts = {
        "value": model.name,
        "data-resolution": str(manifest.resolution),
        "data-ws": str(manifest.num_ws),
        "data-backend": model.generator.session.identity,
        "data-licence": manifest.source.licence,
    }
    attributes = " ".join(f'{name}="{escape(value)}"' for name, value in facts.items())
    selected = " selected" if escape(model.name) == chosen else ""
    return f"<option {attributes}{selected}>{escape(model.name)}</option>"


def _licence(models: list[LoadedModel], chosen: str | None) -> str:
    found = [model for model in models if escape(model.name) == chosen] or models
    return found[0].manifest.source.licence if found else "unknown while no model is loaded"
