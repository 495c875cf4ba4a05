"""docs/reference/http.md, from the OpenAPI document that a gateway makes of its routes."""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docs.building.markdown import joined, table
from gateway import openapi
from gateway.app import all_routes, from_settings
from settings import Settings

REF = "#/components/schemas/"
HEAD = """\
# HTTP reference

Generated from the OpenAPI document, which every gateway serves at `/openapi.json`, and as a page at `/docs`.
[The HTTP API](../api.md) explains it with examples. Errors are `application/problem+json` of the shape
[Problem](#problem) everywhere; beside those named here any route may answer `414`, `431` and `500`, and any that takes
a key `401`, `403`, `429` and `503`.
"""
#: Errors that the head has said of all routes.
COMMON = {"401", "403", "414", "429", "431", "500", "503"}


def page() -> str:
    document = described()
    return joined([HEAD.rstrip(), *sections(document), "## Types", *types(document["components"]["schemas"])])


def described() -> dict[str, Any]:
    """The document of a gateway that serves nothing."""
    # It misses its store, and says so.
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        app = from_settings(Settings(data=Path(folder), models=Path(folder)))
        return openapi.build(all_routes(app.extensions["penstock"]))


def sections(document: Mapping[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"## {tag['name'].capitalize()}"
        yield tag["description"]
        for path, methods in document["paths"].items():
            for method, one in methods.items():
                if tag["name"] in one["tags"]:
                    yield from operation(method.upper(), path, one)


def operation(method: str, path: str, one: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {method} {path}"
    scopes = [f"`{scope}`" for need in one["security"] for scope in need["key"]]
    needs = f" Takes a key with the scope {', '.join(scopes)}." if scopes else ""
    yield f"{one['summary']}. {one.get('description', '')}".strip() + needs
    yield table(("request", "in", ""), asked(one))
    yield table(("answer", "", ""), answers(one["responses"]))


def asked(one: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for parameter in one["parameters"]:
        about = [parameter.get("description", ""), shape(parameter["schema"])]
        yield f"`{parameter['name']}`", parameter["in"], "; ".join(part for part in about if part)
    for kind, content in one.get("requestBody", {}).get("content", {}).items():
        yield "body", f"`{kind}`", shape(content["schema"])


def answers(responses: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for status, answer in responses.items():
        if status not in COMMON:
            shapes = {shape(content["schema"]) for content in answer.get("content", {}).values()}
            yield status, ", ".join(sorted(shapes)), answer["description"]


def types(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        yield f"### {name}"
        yield schema.get("description", "")
        required = set(schema.get("required", ()))
        fields = schema.get("properties", {}).items()
        yield table(
            ("field", "type", ""), [(f"`{field}`", shape(one), rest(field, one, required)) for field, one in fields]
        )


def rest(field: str, schema: Mapping[str, Any], required: set[str]) -> str:
    default = schema.get("default")
    said = "required" if field in required else f"default `{default}`" if default not in (None, {}, [], "") else ""
    return "; ".join(part for part in (said, schema.get("description", "")) if part)


def shape(schema: Mapping[str, Any]) -> str:
    """A schema in few words, with links to the named types."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return f"[{name}](#{name.lower().replace('.', '')})"
    if "anyOf" in schema:
        return " or ".join(shape(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {shape(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {shape(schema['additionalProperties'])}"
    return str(schema.get("format", kind)) + limits(schema)


def limits(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and high is None:
        return ""
    return f" {'' if low is None else low}–{'' if high is None else high}"
