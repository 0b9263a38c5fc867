"""The scopes that gRPC methods require, by method path."""

from __future__ import annotations

ADMIN_SERVICE = "/nonesuch.v1.AdminService/"
_SCOPES = {
    "/nonesuch.v1.GenerationService/": "generate",
    "/inference.GRPCInferenceService/ModelInfer": "generate",
    # These two can load a model.
    "/nonesuch.v1.ModelService/GetModel": "generate",
    "/inference.GRPCInferenceService/ModelMetadata": "generate",
    ADMIN_SERVICE: "admin",
}


def scope_of(method: str) -> str | None:
    """The scope that a method requires; None if any key is enough."""
    return next((scope for prefix, scope in _SCOPES.items() if method.startswith(prefix)), None)
