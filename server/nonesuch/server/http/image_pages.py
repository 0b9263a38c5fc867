"""Pictures over HTTP: a fresh one, that of a seed, and that of a seed and a build, which never changes."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from nonesuch.engine.encoder import ImageFormat
from nonesuch.engine.errors import ModelNotFoundError

from ..access.charging import charged
from ..access.rate_limiter import RateLimiter
from ..core.image_request import ImageRequest, MadeImage
from ..core.loaded_model import LoadedModel
from ..core.service import ImageService
from .fresh_faces import FreshFaces
from .image_address import BUILD_DIGITS, ImageAddress, psi_text
from .web_files import is_known

_MEDIA_TYPES = {ImageFormat.JPEG: "image/jpeg", ImageFormat.PNG: "image/png", ImageFormat.WEBP: "image/webp"}
_FOREVER = "public, max-age=31536000, immutable"
_ETAG_DIGITS = 32


class ImagePages:
    """Handlers of requests for pictures."""

    def __init__(self, service: ImageService, limiter: RateLimiter, faces: FreshFaces) -> None:
        self._service = service
        self._limiter = limiter
        self._faces = faces

    async def fresh(self, request: Request) -> Response:
        """303 to the picture of a fresh seed; the response is not cached."""
        address = ImageAddress.fresh(request.query_params.multi_items())
        if request.method != "HEAD":
            address, _ = self._faces.take(address)
        location = await self._lasting(address)
        return RedirectResponse(location, 303, {"Cache-Control": "no-store"})

    async def next(self, request: Request) -> Response:
        """The description (as .json) of the picture of a fresh seed, and whether it is ready."""
        address, ready = self._faces.take(ImageAddress.fresh(request.query_params.multi_items()))
        answer = {**await self._description(address), "ready": ready}
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    async def seed(self, request: Request) -> Response:
        """302 to the address with the build; with .json a description, without rendering."""
        seed, extension = request.path_params["seed"], request.path_params["extension"]
        query = request.query_params.multi_items()
        if extension == "json":
            return _described(await self._description(ImageAddress.parse(seed, "jpg", query)))
        location = await self._lasting(ImageAddress.parse(seed, extension, query))
        return RedirectResponse(location, 302, {"Cache-Control": "no-cache"})

    async def lasting(self, request: Request) -> Response:
        """The picture itself. Its bytes never change, so it is cached for ever and has an ETag."""
        parts, query = request.path_params, request.query_params.multi_items()
        if parts["extension"] == "json":
            return _described(await self._description(ImageAddress.parse(parts["seed"], "jpg", query, parts["build"])))
        address = ImageAddress.parse(parts["seed"], parts["extension"], query, parts["build"])
        wanted = address.request
        async with self._use(address) as model:
            model.fitted(wanted)
            build = _build(model, wanted)
            if address.build != build:
                raise _gone(address, model.name)
            headers, name = _headers(address, model, wanted), model.name
            if self._service.settings.keys:  # a proxy must not share it between callers
                headers["Cache-Control"] = headers["Cache-Control"].replace("public", "private")
        if is_known(request.headers, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        if request.method == "HEAD":
            answer = Response(headers=headers, media_type=_MEDIA_TYPES[wanted.encode.format])
            del answer.headers["content-length"]  # unknown until the picture is rendered
            return answer
        with charged(self._limiter, 1, bulk=address.bulk):
            made = self._faces.claim(address.path(name, build)) or await self._service.make(wanted)
            if not made.build_id.startswith(build):  # the model was replaced meanwhile
                raise _gone(address, made.model)
        return Response(made.data, headers={**headers, **_timing(made)}, media_type=_MEDIA_TYPES[wanted.encode.format])

    def _use(self, address: ImageAddress) -> AbstractAsyncContextManager[LoadedModel]:
        return self._service.registry.use(address.model)

    async def _lasting(self, address: ImageAddress) -> str:
        wanted = address.request
        async with self._use(address) as model:
            model.fitted(wanted)
            return address.path(model.name, _build(model, wanted))

    async def _description(self, address: ImageAddress) -> dict[str, object]:
        wanted = address.request
        async with self._use(address) as model:
            model.fitted(wanted)
            manifest = model.manifest
            return {
                "seed": address.seed,
                "psi": wanted.psi,
                "model": model.name,
                "model_id": manifest.model_id,
                "build_id": model.build_id(),
                "backend": model.generator.session.identity,
                "width": wanted.encode.size or manifest.resolution,
                "height": wanted.encode.size or manifest.resolution,
                "image": address.path(model.name, _build(model, wanted)),
                "computer_generated": True,
            }


def _described(description: dict[str, object]) -> Response:
    return JSONResponse(description, headers={"Cache-Control": "no-cache"})


def _build(model: LoadedModel, wanted: ImageRequest) -> str:
    return model.build_id(wanted.encode)[:BUILD_DIGITS]


def _gone(address: ImageAddress, model: str) -> ModelNotFoundError:
    return ModelNotFoundError(
        f"build {str(address.build)[:16]!r} of model {model!r} is gone, so this picture cannot be rendered again; "
        f"the current build has this seed at {address.short_path()}"
    )


def _headers(address: ImageAddress, model: LoadedModel, wanted: ImageRequest) -> dict[str, str]:
    tag = wanted.fingerprint(model.build_id(wanted.encode)).hex()[:_ETAG_DIGITS]
    return {
        "ETag": f'"{tag}"',
        "Cache-Control": _FOREVER,
        "Content-Disposition": f'inline; filename="{address.file_name}"',
        "Nonesuch-Seed": str(address.seed),
        "Nonesuch-Psi": psi_text(wanted.psi),
        "Nonesuch-Build": model.build_id(wanted.encode),
    }


def _timing(made: MadeImage) -> dict[str, str]:
    """The Server-Timing header (W3C), which pages of the same origin may read."""
    timing = made.timing
    parts = (
        ("queue", timing.queue_ms),
        ("inference", timing.inference_ms),
        ("encode", timing.encode_ms),
        ("total", timing.total_ms),
    )
    if made.cached:  # nothing was rendered
        return {"Server-Timing": "cached"}
    return {"Server-Timing": ", ".join(f"{name};dur={value:.1f}" for name, value in parts)}
