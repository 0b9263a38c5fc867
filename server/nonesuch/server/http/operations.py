"""HTTP endpoints for operators and monitoring: liveness, readiness, models, OpenAPI, metrics."""

from __future__ import annotations

from google.protobuf.json_format import MessageToDict
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from nonesuch.engine.errors import PermissionDeniedError

from ..core.model_registry import ModelRegistry
from ..rpc.model_servicers import model_message
from .http_calls import peer_of
from .openapi import openapi_document

_NO_STORE = {"Cache-Control": "no-store"}
_LOOPBACK = ("ipv4:127.", "ipv6:::1")


class Operations:
    """Handlers of requests about the server itself."""

    def __init__(self, registry: ModelRegistry, metrics: CollectorRegistry) -> None:
        self._registry = registry
        self._metrics = metrics

    async def alive(self, request: Request) -> Response:
        """Always 200 while the process responds."""
        return PlainTextResponse("alive\n", headers=_NO_STORE)

    async def ready(self, request: Request) -> Response:
        """200 if the models are loaded and calls are accepted, else 503."""
        if self._registry.ready:
            return PlainTextResponse("ready\n", headers=_NO_STORE)
        reason = "draining" if self._registry.draining else "not ready: a model is being loaded, or its device is lost"
        return PlainTextResponse(f"{reason}\n", 503, {**_NO_STORE, "Retry-After": "2"})

    async def models(self, request: Request) -> Response:
        """The loaded models in the JSON of nonesuch.v1.ModelService, the default first."""
        settings = self._registry.settings
        models = [
            MessageToDict(model_message(model, settings), preserving_proto_field_name=True)
            for model in self._registry.loaded
        ]
        return JSONResponse({"models": models}, headers={"Cache-Control": "no-cache"})

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document."""
        return JSONResponse(openapi_document(), headers={"Cache-Control": "no-cache"})

    async def metrics(self, request: Request) -> Response:
        """Prometheus metrics, for callers on this machine or, with keys, for those with scope admin.

        Raises:
            PermissionDeniedError: neither applies.
        """
        # A proxied request seems local although a remote client sent it; a local browser may have a foreign page open.
        forwarded = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "via", "origin"))
        local = peer_of(request).startswith(_LOOPBACK) and not forwarded
        if not self._registry.settings.keys and not local:
            raise PermissionDeniedError(
                "metrics are for callers on this machine only; start the server with --metrics HOST:PORT"
            )
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._metrics), media_type=content_type, headers=_NO_STORE)
