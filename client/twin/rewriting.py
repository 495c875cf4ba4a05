"""A module of the client as its asynchronous twin: the same text, with `async` and `await` where something waits.

What waits for nothing is not repeated: the twin imports it.
"""

import ast
import re
import textwrap
from collections.abc import Iterator

from client.twin.colours import BY_HAND, CALLABLES, EXTERNAL, Colour, Colours, Env
from client.twin.source import Function, Module

#: Names that are others in the twin.
RENAMED = {"closing": "aclosing", "contextmanager": "asynccontextmanager"}
DOTTED = {"httpx.Client": "httpx.AsyncClient", "time.sleep": "asyncio.sleep"}
SPECIAL = {"__enter__": "__aenter__", "__exit__": "__aexit__"}
#: What docstrings say otherwise of the twin.
PHRASES = {
    "safe to share between threads": "for the tasks of one event loop",
    "in a `with` block": "in an `async with` block",
}
#: The client in the examples of docstrings.
EXAMPLE = {"client": "penstock.client:Penstock"}
#: (start, end, new text), in bytes of the source.
Edit = tuple[int, int, str]


class Unclear(Exception):
    """The source says something that has no twin; say it in another way."""


class Twin:
    """Writes the twin of one module."""

    def __init__(self, module: Module, colours: Colours, packages: set[str]) -> None:
        """`packages`: the modules that have a twin."""
        self.module, self.colours, self.packages = module, colours, packages
        self.waiting = colours.waiting(module)
        self.edits: list[Edit] = []
        self._lines = [0]
        for line in module.text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def text(self) -> str:
        """The twin, unformatted, with more imports than it needs."""
        pieces = [self.head(), *self.imports()]
        for name, node in self.module.tops.items():
            if name in self.waiting:
                pieces.append(self.top(name, node))
        return "\n\n".join(pieces) + "\n"

    def head(self) -> str:
        first = (ast.get_docstring(self.module.tree) or "").partition("\n")[0]
        return f'"""{first}\n\nWritten by `python -m client.twin` from {self.module.name}: change that.\n"""'

    def imports(self) -> Iterator[str]:
        """Every import of the source, and what the source itself defines."""
        yield "import asyncio\nfrom collections.abc import AsyncIterator, Awaitable\n"
        typing_only = []
        for local, (home, name) in self.module.imports.items():
            if local in self.module.typing_only:
                typing_only.append("    " + self.imported(home, name, local))
            elif local not in self.module.within:
                yield self.imported(home, name, local) if name else f"import {home}"
        for name in self.module.tops:
            if name not in self.waiting:
                yield f"from {self.module.name} import {name}"
        if typing_only:
            yield "\n".join(["if TYPE_CHECKING:", *typing_only])

    def imported(self, home: str, name: str, local: str) -> str:
        new, alias = RENAMED.get(name, name), f" as {local}" if local != name else ""
        if home in self.packages and name in self.colours.waiting(self.colours.modules[home]):
            home, new = twin_name(home), self.renamed(f"{home}:{name}") or name
        elif home == BY_HAND:
            home = twin_name(home)
        return f"from {home} import {new}{alias}"

    def top(self, name: str, node: ast.stmt) -> str:
        start = self.offset(node.lineno, 0)
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.decorator_list:
            start = self.offset(node.decorator_list[0].lineno, 0)
        end = self.end(node)
        self.edits = []
        if isinstance(node, ast.Assign) and name in CALLABLES:
            self.awaitable(node.value)
        elif isinstance(node, ast.ClassDef):
            self.edits.append((*self.name_of(node), "Async" + node.name))
            self.docstring(node)
            for inner in node.body:
                if isinstance(inner, Function):
                    env = self.colours.env(self.module, node, inner)
                    self.function(f"{self.module.name}:{node.name}.{inner.name}", inner, env)
        elif isinstance(node, Function):
            self.function(f"{self.module.name}:{name}", node, self.colours.env(self.module, None, node))
        return self.applied(start, end)

    def awaitable(self, node: ast.expr) -> None:
        """`Callable[[A], R]` as `Callable[[A], Awaitable[R]]`."""
        if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple)):
            raise Unclear(f"{self.module.name}: a callable that waits is written Callable[[…], …]")
        returned = node.slice.elts[-1]
        self.around(returned, "Awaitable[", "]")

    def function(self, key: str, node: Function, env: Env) -> None:
        colour = self.colours.of.get(key)
        if colour in (Colour.AWAIT, Colour.ITERATE, Colour.ENTER):
            self.insert(self.offset(node.lineno, node.col_offset), "async ")
        if colour in (Colour.ITERATE, Colour.ENTER, Colour.PASS):
            self.iterator(node.returns)
        if node.name in SPECIAL:
            self.edits.append((*self.name_of(node), SPECIAL[node.name]))
        self.docstring(node)
        for one in node.decorator_list:
            self.expression(one, env)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.walk(default, env)
        for argument in (*node.args.args, *node.args.kwonlyargs):
            self.annotation(argument.annotation)
        self.annotation(node.returns)
        for statement in node.body:
            self.walk(statement, env, key=key, coroutine=colour in (Colour.ITERATE, Colour.ENTER))

    def walk(
        self, node: ast.AST, env: Env, *, key: str = "", coroutine: bool = False, parent: ast.AST | None = None
    ) -> None:
        """Edit a statement or expression, and what it consists of."""
        if isinstance(node, Function):
            self.function(f"{key}.{node.name}", node, env)
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.YieldFrom) and coroutine:
            self.yield_from(node, node.value.value, env)
        elif isinstance(node, ast.With):
            self.enter(node, env)
        elif isinstance(node, ast.For) and self.colours.iterates(node.iter, self.module, env):
            self.insert(self.start(node), "async ")
        elif isinstance(node, ast.comprehension) and self.colours.iterates(node.iter, self.module, env):
            self.insert(self.start(node.target) - len("for "), "async ")
        elif isinstance(node, ast.AnnAssign):
            self.annotation(node.annotation)
        elif isinstance(node, ast.ImportFrom):
            lines = [self.imported(node.module or "", one.name, one.asname or one.name) for one in node.names]
            self.edits.append((self.start(node), self.end(node), f"\n{' ' * node.col_offset}".join(lines)))
        elif isinstance(node, ast.GeneratorExp | ast.Lambda) and self.waits_within(node, env):
            raise Unclear(f"{self.module.name}:{node.lineno}: something in a generator or lambda waits; write a loop")
        if isinstance(node, ast.expr):
            self.expression(node, env, parent)
        for child in ast.iter_child_nodes(node):
            self.walk(child, env, key=key, coroutine=coroutine, parent=node)

    def waits_within(self, node: ast.GeneratorExp | ast.Lambda, env: Env) -> bool:
        first = node.generators[0].iter if isinstance(node, ast.GeneratorExp) else None
        skipped = set(ast.walk(first)) if first is not None else set()
        return any(
            isinstance(one, ast.Call) and one not in skipped and self.colours.colour(one, self.module, env)
            for one in ast.walk(node)
        )

    def expression(self, node: ast.expr, env: Env, parent: ast.AST | None = None) -> None:
        match node:
            case ast.Call():
                self.call(node, env, parent)
            case ast.Attribute() if (dotted := self.module.names(node)) in DOTTED:
                self.edits.append((self.start(node), self.end(node), DOTTED[dotted]))
            case ast.Name(id=id) if id in RENAMED and self.module.imports.get(id, ("",))[0] == "contextlib":
                self.edits.append((self.start(node), self.end(node), RENAMED[id]))
            case ast.Name(id=id) if new := self.renamed(self.module.names(node)):
                self.edits.append((self.start(node), self.end(node), new))

    def call(self, node: ast.Call, env: Env, parent: ast.AST | None) -> None:
        key, _ = self.colours.call(node, self.module, env)
        owner, _, name = key.rpartition(".")
        if owner in EXTERNAL and name in EXTERNAL[owner] and isinstance(node.func, ast.Attribute):
            end = self.end(node.func)
            self.edits.append((end - len(name.encode()), end, EXTERNAL[owner][name][0]))
        if self.colours.colour(node, self.module, env) is not Colour.AWAIT:
            return
        if isinstance(parent, ast.Attribute | ast.Subscript | ast.Call) and getattr(parent, "value", None) is node:
            self.around(node, "(await ", ")")
        else:
            self.insert(self.start(node), "await ")

    def enter(self, node: ast.With, env: Env) -> None:
        waits = [self.colours.enters(item.context_expr, self.module, env) for item in node.items]
        if any(waits) and not all(waits):
            raise Unclear(f"{self.module.name}:{node.lineno}: one `with` for what waits, another for what does not")
        if any(waits):
            self.insert(self.start(node), "async ")

    def yield_from(self, node: ast.Expr, source: ast.expr, env: Env) -> None:
        """No asynchronous generator may `yield from`."""
        waits = "async " if self.colours.iterates(source, self.module, env) else ""
        self.edits.append((self.start(node), self.start(source), f"{waits}for yielded in "))
        self.insert(self.end(node), f":\n{' ' * (node.col_offset + 4)}yield yielded")

    def iterator(self, node: ast.expr | None) -> None:
        """`Iterator[X]` as `AsyncIterator[X]`."""
        match node:
            case ast.Subscript(value=ast.Name(id="Iterator") as name):
                self.insert(self.start(name), "Async")
            case ast.Constant(value=str(text)) if text.startswith("Iterator["):
                self.insert(self.start(node) + 1, "Async")
            case _:
                raise Unclear(f"{self.module.name}: what iterates is annotated Iterator[…]")

    def annotation(self, node: ast.expr | None) -> None:
        """Names in the text of an annotation; others are found as names."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for found in re.finditer(r"\w+", node.value):
                if new := self.renamed(self.module.names(ast.Name(found[0]))):
                    at = self.start(node) + 1 + found.start()
                    self.edits.append((at, at + len(found[0]), new))
        elif node is not None:
            for one in ast.walk(node):
                if isinstance(one, ast.Name):
                    self.expression(one, {})

    def renamed(self, key: str) -> str:
        """The name of a class that waits, in the twin; empty for others."""
        module, node = self.colours.find(key)
        if module and isinstance(node, ast.ClassDef) and node.name in self.colours.waiting(module):
            return "Async" + node.name
        return ""

    def docstring(self, node: ast.ClassDef | Function) -> None:
        """The examples in a docstring: indented, behind a line that ends with `::`."""
        first = node.body[0]
        if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
            return
        start, end = self.start(first), self.end(first)
        text = self.module.text[start:end].decode()
        deeper = rf" {{{first.col_offset + 4},}}"
        examples = re.compile(rf"::\n\n((?:{deeper}[^\n]*\n|\n(?={deeper}\S))+)")
        changed = examples.sub(lambda found: "::\n\n" + self.example(found[1]), text)
        for phrase, other in PHRASES.items():
            changed = changed.replace(phrase, other)
        if changed != text:
            self.edits.append((start, end, changed))

    def example(self, code: str) -> str:
        indent = code[: len(code) - len(code.lstrip())].rpartition("\n")[2]
        plain = textwrap.dedent(code)
        module = Module("example", plain.encode(), ast.parse(plain))
        module.imports = {**self.module.imports, "Penstock": ("penstock.client", "Penstock")}
        twin = Twin(module, self.colours, self.packages)
        env = dict(EXAMPLE)
        for statement in module.tree.body:
            wrapped = ast.FunctionDef("f", ast.arguments([], [], None, [], [], None, []), [statement], [])
            env |= {name: kind for name, kind in self.colours.env(module, None, wrapped).items() if kind}
            twin.walk(statement, env)
        changed = twin.applied(0, len(module.text))
        return textwrap.indent(changed, indent)

    def insert(self, at: int, text: str) -> None:
        self.edits.append((at, at, text))

    def around(self, node: ast.expr, before: str, after: str) -> None:
        self.insert(self.start(node), before)
        self.insert(self.end(node), after)

    def name_of(self, node: ast.ClassDef | Function) -> tuple[int, int]:
        """Where the name of a definition stands."""
        at = self.module.text.index(node.name.encode(), self.offset(node.lineno, node.col_offset))
        return at, at + len(node.name.encode())

    def offset(self, line: int, column: int) -> int:
        return self._lines[line - 1] + column

    def start(self, node: ast.stmt | ast.expr) -> int:
        return self.offset(node.lineno, node.col_offset)

    def end(self, node: ast.stmt | ast.expr) -> int:
        return self.offset(node.end_lineno or node.lineno, node.end_col_offset or 0)

    def applied(self, start: int, end: int) -> str:
        """The source between two places, with all edits; the same edit twice counts once."""
        text = self.module.text
        pieces, at = [], start
        for place, until, new in sorted(dict.fromkeys(self.edits), key=lambda edit: edit[:2]):
            pieces += [text[at:place].decode(), new]
            at = until
        return "".join([*pieces, text[at:end].decode()])


def twin_name(module: str) -> str:
    """`penstock.jobs` to `penstock.aio.jobs`."""
    return module.replace("penstock.", "penstock.aio.", 1)
