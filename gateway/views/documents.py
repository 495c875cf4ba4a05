"""The gateway's own description: for programs and for people."""

from functools import cached_property

from flask import Response

from gateway import openapi, reference
from gateway.answers import encode, whole
from gateway.routes import Answer, Route

#: The same for everybody; asked again whether it still is.
PUBLIC = {"Cache-Control": "no-cache"}
#: The page runs nothing and loads nothing; its style stands in it.
PAGE = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}


class DocumentViews:
    """Made at the first request for them: most processes are never asked."""

    def __init__(self, table: list[Route]) -> None:
        self._table = table

    @cached_property
    def _json(self) -> bytes:
        return encode(openapi.build(self._table))

    @cached_property
    def _html(self) -> str:
        return reference.page(openapi.build(self._table))

    def openapi(self) -> Response:
        return whole(self._json, headers=PUBLIC)

    def docs(self) -> Response:
        return Response(self._html, 200, PUBLIC | PAGE, content_type="text/html; charset=utf-8")


def routes(table: list[Route]) -> list[Route]:
    """Describes `table`, which these routes are to be added to."""
    views = DocumentViews(table)
    return [
        Route(
            method="GET", path="/openapi.json", view=views.openapi, name="openapi", tag="operations", public=True,
            summary="This API as an OpenAPI 3.1 document",
            answers={200: Answer(description="The document", content={"application/json": {"type": "object"}})},
        ),
        Route(
            method="GET", path="/docs", view=views.docs, name="docs", tag="operations", public=True,
            summary="This API to be read",
            answers={200: Answer(description="A page", content={"text/html": {"type": "string"}})},
        ),
    ]  # fmt: skip
