"""What a key must allow for each method of gRPC, by its path."""

from __future__ import annotations

__all__ = ["ADMIN_SERVICE", "scope_of"]

ADMIN_SERVICE = "/nonesuch.v1.AdminService/"
_SCOPES = {
    "/nonesuch.v1.GenerationService/": "generate",
    "/inference.GRPCInferenceService/ModelInfer": "generate",
    # These may load a model.
    "/nonesuch.v1.ModelService/GetModel": "generate",
    "/inference.GRPCInferenceService/ModelMetadata": "generate",
    ADMIN_SERVICE: "admin",
}


def scope_of(method: str) -> str | None:
    """The scope that a method needs; None where any key will do."""
    return next((scope for prefix, scope in _SCOPES.items() if method.startswith(prefix)), None)
