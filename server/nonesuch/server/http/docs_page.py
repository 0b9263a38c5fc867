"""/docs, the page on verifying pictures and on the HTTP API, made from the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .openapi import FRESH_PARAMETERS, openapi_document
from .web_files import WebFile, WebFiles


class DocsPage:
    """Serves the page, which is the same for everybody."""

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
