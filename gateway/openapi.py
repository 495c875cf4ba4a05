"""The OpenAPI 3.1 document, made from the route table and the types that the views decode and encode."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

import errors
from errors import Fault, PenstockError
from gateway.routes import Route

VERSION = "1"
KEY = "An API key, `psk_…`. What stands beside it in an operation's `security` is the scope that it needs."
#: Errors that any route with a key may answer with, and any route at all.
WITH_KEY, ANY = (
    ("unauthenticated", "forbidden", "quota_exceeded", "store_unavailable"),
    ("uri_too_long", "headers_too_large", "internal_error"),
)
_PATH_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
TAGS = {
    "jobs": "One request of a user, from accept to a terminal state.",
    "scorings": "The rows of a table through a model, offline.",
    "dead letters": "Jobs that failed, and their way back to the queue.",
    "objects": "Bytes that jobs refer to.",
    "webhooks": "Reports of jobs to the tenant's own servers, signed by Standard Webhooks.",
    "models": "What the farm can run.",
    "operations": "For whoever looks after the farm.",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    #: What a program should look at.
    code: str
    detail: str
    #: Whether the same request may succeed later.
    retryable: bool
    retry_after_s: float | None = None
    request_id: str
    #: What is wrong with the input, and where.
    errors: list[Fault] = []


def build(routes: Iterable[Route]) -> dict[str, Any]:
    """The document as plain data."""
    table = list(routes)
    schemas = Schemas([Problem, *(found for route in table for found in types_in(contents(route)))])
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(open_path(route.path), {})[route.method.lower()] = operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": VERSION,
            "description": "Inference jobs over a durable queue. Errors are `application/problem+json` everywhere.",
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": KEY,
                }
            },
        },
    }


class Schemas:
    """JSON schemas of msgspec types, the named ones as components."""

    def __init__(self, types: list[Any]) -> None:
        schemas, self.components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
        self._known = list(zip(types, schemas, strict=True))

    def of(self, content: Any) -> Any:
        """`content` with every type in it replaced by its schema."""
        if isinstance(content, Mapping):
            return {name: self.of(value) for name, value in content.items()}
        if isinstance(content, list):
            return [self.of(value) for value in content]
        return next((schema for known, schema in self._known if known is content), content)


def contents(route: Route) -> list[Any]:
    bodies = [route.body.content] if route.body else []
    return [
        value for content in [*bodies, *(one.content for one in route.answers.values())] for value in content.values()
    ]


def types_in(content: Any) -> Iterator[Any]:
    if isinstance(content, Mapping):
        content = list(content.values())
    if isinstance(content, list):
        for value in content:
            yield from types_in(value)
    elif not isinstance(content, (str, int, float, bool, type(None))):
        yield content


def operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "security": [] if route.scope is None else [{"key": [route.scope]}],
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
              for name in _PATH_PARAMETER.findall(route.path)),
            *({"name": one.name, "in": one.where, "schema": one.schema, "description": one.description}
              for one in route.parameters),
        ],
        "responses": responses(route, schemas),
    }  # fmt: skip
    if route.description:
        found["description"] = route.description
    if route.body:
        found["requestBody"] = {"required": route.body.required, "content": media(route.body.content, schemas)}
    return found


def responses(route: Route, schemas: Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, one in route.answers.items():
        found[str(status)] = {"description": one.description}
        if one.content:
            found[str(status)]["content"] = media(one.content, schemas)
        if one.headers:
            found[str(status)]["headers"] = {
                name: {"description": text, "schema": {"type": "string"}} for name, text in one.headers.items()
            }
    slow = ("request_timeout",) if route.body else ()
    for status, codes in sorted(by_status([*route.errors, *(() if route.public else WITH_KEY), *slow, *ANY]).items()):
        found.setdefault(
            str(status),
            {
                "description": ", ".join(f"`{code}`" for code in codes),
                "content": media({"application/problem+json": Problem}, schemas),
            },
        )
    return found


def media(content: Mapping[str, Any], schemas: Schemas) -> dict[str, Any]:
    return {kind: {"schema": schemas.of(value)} for kind, value in content.items()}


def by_status(codes: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        found.setdefault(STATUS[code], []).append(code)
    return found


def open_path(path: str) -> str:
    """Flask's `<id>` as OpenAPI's `{id}`."""
    return _PATH_PARAMETER.sub(r"{\1}", path)


#: Each error's code and its HTTP status.
STATUS = {
    kind.code: kind.status
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, PenstockError)
}
