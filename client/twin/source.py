"""The modules of the client as syntax trees, and what their names mean."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: Generic types whose parameter is what an `as` or a loop binds.
ITERATORS = frozenset({"Iterator", "AsyncIterator"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Module:
    """One module: its text, its tree, and what stands at its top."""

    name: str
    text: bytes
    tree: ast.Module
    #: Top-level names to their nodes: functions, classes, assignments.
    tops: dict[str, ast.stmt] = field(default_factory=dict)
    #: Local names to the module and name that they were imported from; a module's own name is empty.
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: Those for type checkers alone, and those within functions.
    typing_only: set[str] = field(default_factory=set)
    within: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, name: str, path: Path) -> "Module":
        return cls.of(name, path.read_bytes())

    @classmethod
    def of(cls, name: str, text: bytes) -> "Module":
        module = cls(name, text, ast.parse(text))
        module._look(module.tree.body)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom) and node.col_offset > 4:
                module.within |= module._imported(node)
        return module

    def _imported(self, node: ast.ImportFrom) -> set[str]:
        found = {one.asname or one.name: (node.module or "", one.name) for one in node.names}
        self.imports |= found
        return set(found)

    def _look(self, body: list[ast.stmt]) -> None:
        for node in body:
            match node:
                case ast.If():  # if TYPE_CHECKING
                    for one in node.body:
                        if isinstance(one, ast.ImportFrom):
                            self.typing_only |= self._imported(one)
                case ast.Import():
                    self.imports |= {one.asname or one.name: (one.name, "") for one in node.names}
                case ast.ImportFrom():
                    self._imported(node)
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    self.tops[node.name] = node
                case ast.Assign(targets=[ast.Tuple(elts=names)]):
                    self.tops |= {one.id: node for one in names if isinstance(one, ast.Name)}
                case ast.Assign(targets=[ast.Name(id=id)]) | ast.AnnAssign(target=ast.Name(id=id)):
                    self.tops[id] = node

    def functions(self) -> Iterator[tuple[str, ast.ClassDef | None, Function]]:
        """Every function at the top and every method: its name, its class, its node."""
        for name, node in self.tops.items():
            if isinstance(node, Function):
                yield name, None, node
            elif isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, Function):
                        yield f"{name}.{inner.name}", node, inner

    def names(self, node: ast.expr | None) -> str:
        """What a type annotation names, as `module:name` or a dotted name; empty where it is nothing to follow."""
        match node:
            case ast.Constant(value=str(text)):
                return self.names(ast.parse(text, mode="eval").body)
            case ast.Name(id=id) if id in self.tops:
                return f"{self.name}:{id}"
            case ast.Name(id=id) if id in self.imports:
                return ":".join(self.imports[id]).rstrip(":")
            case ast.Attribute(value=ast.Name(id=id), attr=attr):
                return f"{id}.{attr}"
            case ast.BinOp(left=left):
                return self.names(left)
            case ast.Subscript(value=ast.Name(id=id), slice=inner) if id in ITERATORS:
                return self.names(inner)
            case ast.Subscript(value=value):
                return self.names(value)
        return ""
