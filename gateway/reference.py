"""The OpenAPI document as one readable page: no script, nothing loaded from elsewhere."""

import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

STYLE = Markup("""
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #0a6; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code { font: 0.9em ui-monospace, monospace; background: var(--soft); padding: 0 0.2em; border-radius: 3px; }
h2 { margin-top: 3rem; } h3 { margin: 2rem 0 0; font-weight: 600; }
h3 b { color: var(--accent); } h3 code { background: none; font-size: 1em; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0; }
td, th { border-top: 1px solid var(--line); padding: 0.25rem 0.5rem; text-align: left; vertical-align: top; }
th { font-weight: 500; font-size: 0.85em; opacity: 0.7; } td:first-child { white-space: nowrap; }
nav a { margin-right: 1rem; }
""")
_CODE = re.compile(r"`([^`]+)`")
_REF = "#/components/schemas/"


def page(document: Mapping[str, Any]) -> str:
    """The document as HTML."""
    info = document["info"]
    tags = [tag["name"] for tag in document["tags"]]
    links = [Markup('<a href="#{0}">{0}</a>').format(tag) for tag in [*tags, "types"]]
    return Markup(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>{title}</title><style>{style}</style><h1>{title}</h1><p>{text} The same as a document for programs: "
        '<a href="/openapi.json">openapi.json</a>.</p><nav>{links}</nav>{sections}'
        '<h2 id="types">Types</h2>{types}</html>'
    ).format(
        title=info["title"],
        style=STYLE,
        text=prose(info["description"]),
        links=joined(links),
        sections=joined([section(tag, document) for tag in document["tags"]]),
        types=joined([schema_section(name, one) for name, one in document["components"]["schemas"].items()]),
    )


def section(tag: Mapping[str, str], document: Mapping[str, Any]) -> Markup:
    operations = [
        operation(method, path, one)
        for path, methods in document["paths"].items()
        for method, one in methods.items()
        if tag["name"] in one["tags"]
    ]
    return Markup('<h2 id="{0}">{0}</h2><p>{1}</p>{2}').format(
        tag["name"], prose(tag["description"]), joined(operations)
    )


def operation(method: str, path: str, one: Mapping[str, Any]) -> Markup:
    rows = [
        (parameter["name"], parameter["in"], prose(parameter.get("description", "")))
        for parameter in one["parameters"]
        if parameter["in"] != "path"
    ]
    rows += [
        ("body", kind, shape(content["schema"]))
        for kind, content in one.get("requestBody", {}).get("content", {}).items()
    ]
    scopes = [scope for one_of in one["security"] for scope in one_of["key"]]
    rows[:0] = [("API key", "scope", Markup("<code>{}</code>").format(scope)) for scope in scopes]
    answers = [
        (status, shapes(answer.get("content", {})), prose(answer["description"]))
        for status, answer in one["responses"].items()
    ]
    return Markup('<h3 id="{id}"><b>{method}</b> <code>{path}</code></h3><p>{summary}. {text}</p>{asked}{told}').format(
        id=one["operationId"],
        method=method.upper(),
        path=path,
        summary=one["summary"],
        text=prose(one.get("description", "")),
        asked=table(("request", "", ""), rows) if rows else "",
        told=table(("answer", "", ""), answers),
    )


def schema_section(name: str, schema: Mapping[str, Any]) -> Markup:
    required = set(schema.get("required", ()))
    rows = [
        (field, shape(one), "required" if field in required else fallback(one))
        for field, one in schema.get("properties", {}).items()
    ]
    return Markup('<h3 id="type-{0}">{0}</h3><p>{1}</p>{2}').format(
        name, prose(schema.get("description", "")), table(("field", "type", ""), rows)
    )


def fallback(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    return "" if default in (None, {}, [], "") else f"default {default}"


def shape(schema: Mapping[str, Any]) -> Markup:
    """A schema in few words, with links to the named types."""
    if "$ref" in schema:
        return Markup('<a href="#type-{0}">{0}</a>').format(schema["$ref"].removeprefix(_REF))
    if "anyOf" in schema:
        return Markup(" or ").join(shape(one) for one in schema["anyOf"])
    if "enum" in schema:
        return Markup(", ").join(Markup("<code>{}</code>").format(one) for one in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return Markup("list of {}").format(shape(schema.get("items", {})))
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return Markup("object of {}").format(shape(schema["additionalProperties"]))
    return escape(schema.get("format", kind))


def shapes(content: Mapping[str, Any]) -> Markup:
    return Markup(", ").join(shape(one["schema"]) for one in content.values())


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Markup:
    cells = [joined([Markup("<td>{}</td>").format(cell) for cell in row]) for row in rows]
    top = joined([Markup("<th>{}</th>").format(cell) for cell in head])
    return Markup("<table><tr>{}</tr>{}</table>").format(top, joined([Markup("<tr>{}</tr>").format(c) for c in cells]))


def prose(text: str) -> Markup:
    """Text with `code` in it."""
    pieces = _CODE.split(str(text))
    return joined([Markup("<code>{}</code>").format(one) if odd % 2 else escape(one) for odd, one in enumerate(pieces)])


def joined(parts: list[Markup]) -> Markup:
    return Markup("").join(parts)
