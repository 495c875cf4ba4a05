"""Classes and functions as their source says them: signatures, docstrings, and the `#:` comments over fields.

Read from the syntax tree, so that what is written does not depend on the version of Python that reads it.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import indent
from types import ModuleType

#: A signature that is longer has a line for each parameter.
WIDTH = 100


@dataclass(frozen=True)
class Function:
    name: str
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def doc(self) -> str:
        return described(self.node)

    @property
    def is_property(self) -> bool:
        return any(isinstance(one, ast.Name) and one.id == "property" for one in self.node.decorator_list)

    def signature(self, shown_as: str) -> str:
        """As it is called: without `self`."""
        if self.is_property:
            return f"{shown_as}: {ast.unparse(self.node.returns)}" if self.node.returns else shown_as
        parameters = list(parameters_of(self.node.args))
        answer = f" -> {ast.unparse(self.node.returns)}" if self.node.returns and self.name != "__init__" else ""
        line = f"{shown_as}({', '.join(parameters)}){answer}"
        if len(line) <= WIDTH:
            return line
        return "\n".join([f"{shown_as}(", *(f"    {one}," for one in parameters), f"){answer}"])


@dataclass(frozen=True)
class Field:
    name: str
    kind: str
    about: str


@dataclass(frozen=True)
class Class:
    node: ast.ClassDef
    #: The lines of its file.
    lines: tuple[str, ...]

    @property
    def doc(self) -> str:
        return described(self.node)

    @property
    def functions(self) -> Mapping[str, Function]:
        found = (one for one in self.node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
        return {one.name: Function(one.name, one) for one in found}


def described(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    """Its docstring; what is indented there is code in Markdown too."""
    before, example, after = (ast.get_docstring(node) or "").partition("::\n\n")
    # Where nothing follows the example, it is what the other lines' indentation is told by.
    rest = after if after.startswith("    ") else indent(after, "    ")
    return f"{before}:\n\n{rest}" if example else before


@cache
def parsed(path: Path) -> tuple[ast.Module, tuple[str, ...]]:
    text = path.read_text()
    return ast.parse(text), tuple(text.splitlines())


def file_of(module: ModuleType) -> Path:
    return Path(str(module.__file__))


def class_of(found: type) -> Class:
    """Raises StopIteration where its module does not define it at the top."""
    module = inspect.getmodule(found)
    assert module is not None
    tree, lines = parsed(file_of(module))
    node = next(one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == found.__name__)
    return Class(node, lines)


def function_of(module: ModuleType, name: str) -> Function:
    tree, _ = parsed(file_of(module))
    found = (one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == name)
    return Function(name, next(found))


def methods(source: Class) -> list[Function]:
    """The public ones, in the order of the file."""
    return [one for one in source.functions.values() if not one.name.startswith("_") and one.name != "parse"]


def fields(source: Class) -> list[Field]:
    """Annotated names of the class's body, each with the `#:` comment over it."""
    found = [one for one in source.node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
    return [
        Field(ast.unparse(one.target), ast.unparse(one.annotation), comment(source.lines, one.lineno))
        for one in found
        if not ast.unparse(one.target).startswith("_")
    ]


def comment(lines: tuple[str, ...], number: int) -> str:
    """The `#:` comment that ends on the line before `number` (counted from 1)."""
    said: list[str] = []
    for line in reversed(lines[: number - 1]):
        if not line.strip().startswith("#:"):
            break
        said.insert(0, line.strip().removeprefix("#:").strip())
    return " ".join(said)


def resources(front: Class, module: ModuleType) -> Iterator[tuple[str, type]]:
    """The public attributes that a constructor makes of classes of its module: `self.jobs = Jobs(…)`."""
    for node in ast.walk(front.functions["__init__"].node):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        target, called = node.targets[0], node.value.func
        if isinstance(target, ast.Attribute) and isinstance(called, ast.Name) and not target.attr.startswith("_"):
            kind = getattr(module, called.id, None)
            if isinstance(kind, type):
                yield target.attr, kind


def parameters_of(arguments: ast.arguments) -> Iterator[str]:
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    for place, (one, default) in enumerate(zip(plain, defaults, strict=True)):
        if place or one.arg not in ("self", "cls"):
            yield parameter(one, default)
    if arguments.vararg:
        yield f"*{parameter(arguments.vararg, None)}"
    elif arguments.kwonlyargs:
        yield "*"
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield parameter(one, default)
    if arguments.kwarg:
        yield f"**{parameter(arguments.kwarg, None)}"


def parameter(one: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(one.annotation)}" if one.annotation else ""
    if default is None:
        return one.arg + kind
    return f"{one.arg}{kind}{' = ' if kind else '='}{ast.unparse(default)}"
