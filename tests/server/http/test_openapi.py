"""The OpenAPI document matches the routes and the query parameters."""

from __future__ import annotations

import re

from starlette.routing import Route

from nonesuch.server.http import image_address
from nonesuch.server.http.openapi import PICTURE_PARAMETERS, openapi_document

from ...conftest import RunServer
from .browsing import browsing, gateway_of

POSTED = "/nonesuch.v1."  # described by the protos


async def test_the_document_has_exactly_the_pages(run_server: RunServer) -> None:
    async with browsing(run_server) as (server, web):
        assert (await web.get("/openapi.json")).json() == openapi_document()
        routes = {route.path for route in gateway_of(server)._app.routes if isinstance(route, Route)}
        described = set(openapi_document()["paths"])
        assert described - {"/"} <= routes
        files = {path for path in routes if re.search(r"\.(css|js|svg|txt|ico)$", path)}
        assert {path for path in routes - files if not path.startswith(POSTED)} <= described


async def test_pages_answer_as_described(run_server: RunServer) -> None:
    async with browsing(run_server) as (_, web):
        for path, item in openapi_document()["paths"].items():
            if path in {"/", "/metrics"}:
                continue
            lasting = (await web.get("/face/1.jpg")).headers["location"].split("/")[2]
            address = path.replace("{seed}", "1").replace("{extension}", "jpg").replace("{build}", lasting)
            answer = await web.get(address)
            assert str(answer.status_code) in item["get"]["responses"], path


def test_every_query_parameter_is_described() -> None:
    assert {one["name"] for one in PICTURE_PARAMETERS} == set(image_address._READERS)
