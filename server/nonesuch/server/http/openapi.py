"""The HTTP API as an OpenAPI 3.1 document, at /openapi.json."""

from __future__ import annotations

from typing import Any

from nonesuch.engine import __version__
from nonesuch.engine.latents import PSI_LIMIT
from nonesuch.engine.source import Seeds
from nonesuch.engine.style_mix import LayerGroup

from .image_address import FORMATS

_SEED = {"type": "integer", "minimum": 0, "maximum": (1 << 32) - 1}
_EXTENSION = {"type": "string", "enum": [*FORMATS, "json"]}


def _query(name: str, schema: dict[str, Any], about: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": about}


def _path(name: str, schema: dict[str, Any], about: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": about}


PICTURE_PARAMETERS = [
    _query(
        "psi",
        {"type": "number", "minimum": -PSI_LIMIT, "maximum": PSI_LIMIT, "default": Seeds.default_psi},
        "Truncation.",
    ),
    _query("model", {"type": "string"}, "A name of /models; without it the first."),
    _query("size", {"type": "integer", "minimum": 1}, "Side in pixels, a power of two up to the model's."),
    _query("quality", {"type": "integer", "minimum": 1, "maximum": 100, "default": 90}, "Of JPEG and WebP."),
    _query("class", {"type": "integer", "minimum": 0}, "For models that have classes."),
    _query(
        "mix",
        {"type": "string", "pattern": f"^[0-9]+:({'|'.join(LayerGroup)})$"},
        "SEED:GROUP, styles of some layers from another seed; may be given again.",
    ),
    _query("priority", {"type": "string", "enum": ["interactive", "bulk"]}, "Bulk waits for everybody else."),
]
FRESH_PARAMETERS = [
    *PICTURE_PARAMETERS,
    _query("format", {"type": "string", "enum": [*FORMATS], "default": "jpg"}, "For /face and /next."),
]
_PROBLEM = {
    "description": "What was asked, what there is, what to do, in one line.",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["status", "title", "detail"],
                "properties": {
                    "status": {"type": "integer"},
                    "title": {"type": "string", "description": "The code of gRPC."},
                    "detail": {"type": "string"},
                    "request_id": {"type": "string"},
                    "retry_after_ms": {"type": "integer"},
                    "violations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
                        },
                    },
                },
            }
        }
    },
}
_PICTURE = {
    "description": "The picture.",
    "content": {
        kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/jpeg", "image/png", "image/webp")
    },
}
_JSON = {"description": "What it is.", "content": {"application/json": {"schema": {"type": "object"}}}}
_TEXT = {"description": "One word.", "content": {"text/plain": {"schema": {"type": "string"}}}}


def _get(summary: str, answers: dict[str, Any], parameters: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": {**answers, "default": _PROBLEM}}}


def openapi_document() -> dict[str, Any]:
    """The whole document."""
    seed, extension = _path("seed", _SEED, "The seed."), _path("extension", _EXTENSION, "Format, or json.")
    build = _path("build", {"type": "string", "pattern": "^.+@[0-9a-f]{8}$"}, "MODEL@BUILD.")
    moved = {"description": "The address that carries the build."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nonesuch",
            "version": __version__,
            "description": "Computer-generated pictures by seed. The same calls as gRPC's are at /nonesuch.v1.*.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/": _get("The page.", {"200": {"description": "HTML."}}),
            "/face": _get("A fresh picture.", {"303": moved}, FRESH_PARAMETERS),
            "/next": _get(
                "A fresh picture's description, and whether it is made already.", {"200": _JSON}, FRESH_PARAMETERS
            ),
            "/face/{seed}.{extension}": _get(
                "The picture of a seed on today's build.",
                {"200": _JSON, "302": moved},
                [seed, extension, *PICTURE_PARAMETERS],
            ),
            "/face/{build}/{seed}.{extension}": _get(
                "The same bytes for ever, or 404 when the build is gone.",
                {"200": _PICTURE, "304": {"description": "The reader has them."}},
                [build, seed, extension, *PICTURE_PARAMETERS],
            ),
            "/models": _get("The models that are loaded.", {"200": _JSON}),
            "/healthz": _get("Whether the process lives.", {"200": _TEXT}),
            "/readyz": _get("Whether calls are taken.", {"200": _TEXT, "503": _TEXT}),
            "/metrics": _get("Prometheus' page.", {"200": _TEXT}),
            "/docs": _get("How to verify a picture, and this for people.", {"200": {"description": "HTML."}}),
            "/openapi.json": _get("This for machines.", {"200": _JSON}),
        },
    }
