"""docs/reference/python.md, from the signatures and docstrings of the client's public names."""

import inspect
from collections.abc import Iterator
from types import ModuleType

import penstock
from penstock import webhooks
from penstock.errors import below

from docs.building.markdown import joined, table, text_block
from docs.building.sources import Class, class_of, fields, function_of, methods, resources

HEAD = """\
# Python reference

Generated from the docstrings of `penstock` (`pip install ./client`; with what pushing takes: `pip install
'./client[push]'`). [The tutorial](../tutorial.md) shows it at work.
"""
#: What the sections begin with; every other public name follows among the values.
FIRST = ("Penstock",)
PUSHING = ("push", "Pusher")


def page() -> str:
    return joined(
        [
            HEAD.rstrip(),
            *client(),
            "## Pushing",
            *(part for name in PUSHING for part in described(name)),
            "## Webhooks",
            *function("penstock.webhooks.verify", webhooks, "verify"),
            "## Values",
            *(part for name in values() for part in described(name)),
            "## Errors",
            errors(),
        ]
    )


def client() -> Iterator[str]:
    """The front door, and what hangs on it."""
    front = class_of(penstock.Penstock)
    yield "## Penstock"
    yield from class_body(front, "Penstock", "client")
    for attribute, kind in resources(front, penstock.client):
        yield f"## client.{attribute}"
        yield from class_body(class_of(kind), "", f"client.{attribute}")
    if "AsyncPenstock" in penstock.__all__:
        yield "## AsyncPenstock"
        yield inspect.getdoc(penstock.AsyncPenstock) or ""
        yield "Every method named above is there under the same name, to be awaited; iterators are `async for`."


def values() -> list[str]:
    """Public names that are neither front doors nor errors."""
    shown = {*FIRST, *PUSHING, "AsyncPenstock", "__version__"}
    errors_ = {kind.__name__ for kind in below(penstock.PenstockError)}
    return [name for name in sorted(penstock.__all__, key=str.lower) if name not in shown | errors_]


def described(name: str) -> Iterator[str]:
    found = getattr(penstock, name)
    yield from (
        function(f"penstock.{name}", inspect.getmodule(found), found.__name__)
        if inspect.isfunction(found)
        else named_class(name, found)
    )


def named_class(name: str, found: type) -> Iterator[str]:
    source = class_of(found)
    yield f"### {name}"
    yield from class_body(source, "" if fields(source) else name, name)


def class_body(source: Class, constructor: str, shown_as: str) -> Iterator[str]:
    """Docstring, fields, and the public methods; the constructor where it is called by users."""
    yield source.doc
    if constructor and "__init__" in source.functions:
        yield text_block(source.functions["__init__"].signature(constructor))
    yield table(("field", "type", ""), [(f"`{one.name}`", f"`{one.kind}`", one.about) for one in fields(source)])
    for one in methods(source):
        yield f"### {shown_as}.{one.name}"
        yield text_block(one.signature(f"{shown_as}.{one.name}"))
        yield one.doc


def function(title: str, module: ModuleType | None, name: str) -> Iterator[str]:
    assert module is not None
    one = function_of(module, name)
    yield f"### {title}"
    yield text_block(one.signature(title))
    yield one.doc


def errors() -> str:
    """The tree, a line each."""
    rows = []
    for kind in below(penstock.PenstockError):
        status = "" if kind.status is None else str(kind.status)
        depth = len([base for base in kind.__mro__ if issubclass(base, penstock.PenstockError)]) - 1
        rows.append(
            (
                f"{'· ' * depth}`{kind.__name__}`",
                f"`{kind.code}`",
                status,
                "yes" if kind.retryable else "",
                kind.title(),
            )
        )
    unique = dict.fromkeys(rows)
    return table(("class", "code", "HTTP", "may succeed later", ""), unique)
