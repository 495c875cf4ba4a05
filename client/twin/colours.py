"""Which functions of the client wait for the network, found by following calls from httpx outwards.

A function waits when it calls one that does. What a call leads to is told by the types that are written down:
parameters, returned values, and what `__init__` puts into an object's attributes.
"""

import ast
from collections.abc import Iterator, Mapping
from enum import Enum

from client.twin.source import Function, Module


class Colour(Enum):
    """How something that waits is used."""

    AWAIT = "await f()"
    ITERATE = "async for x in f()"
    ENTER = "async with f()"
    #: A function that only returns an iterator which another one made.
    PASS = "async for x in f(), where f is no coroutine"


#: Methods of httpx that wait: their names there, how they are used, and what they return.
EXTERNAL: Mapping[str, Mapping[str, tuple[str, Colour, str]]] = {
    "httpx.Client": {"send": ("send", Colour.AWAIT, "httpx.Response"), "close": ("aclose", Colour.AWAIT, "")},
    "httpx.Response": {
        "read": ("aread", Colour.AWAIT, ""),
        "close": ("aclose", Colour.AWAIT, ""),
        "iter_bytes": ("aiter_bytes", Colour.ITERATE, ""),
        "iter_lines": ("aiter_lines", Colour.ITERATE, ""),
    },
}
#: Types of functions that are handed over and wait.
CALLABLES = frozenset({"Attempt", "Sleep", "Upload"})
#: Written by hand for both sides.
BY_HAND = "penstock.streams"
Env = Mapping[str, str]


class Colours:
    """The colour of every function: `penstock.jobs:Jobs.submit` to how it is used."""

    def __init__(self, modules: Mapping[str, Module], by_hand: Module) -> None:
        self.modules = modules
        self.of: dict[str, Colour] = {
            f"{BY_HAND}:{name}": Colour.ITERATE if yields(node) else Colour.AWAIT
            for name, _, node in by_hand.functions()
            if isinstance(node, ast.AsyncFunctionDef)
        }
        self._attributes: dict[str, dict[str, str]] = {}
        while self._look():
            pass

    def _look(self) -> bool:
        """Colour what can be coloured now; False once nothing is new."""
        before = len(self.of)
        for module in self.modules.values():
            if module.name == BY_HAND:
                continue
            for name, cls, node in module.functions():
                self._colour(f"{module.name}:{name}", node, module, self.env(module, cls, node))
        return len(self.of) > before

    def _colour(self, key: str, node: Function, module: Module, env: Env) -> None:
        for inner in (one for one in ast.walk(node) if isinstance(one, Function) and one is not node):
            self._colour(f"{key}.{inner.name}", inner, module, env)
        if key in self.of:
            return
        waits = any(self.colour(one, module, env) not in (None, Colour.PASS, Colour.ITERATE) for one in calls(node))
        loops = any(self.iterates(one, module, env) for one in loops_of(node))
        special = node.name in ("__enter__", "__exit__")
        if waits or loops or special:
            generator = Colour.ENTER if decorated(node, "contextmanager") else Colour.ITERATE
            self.of[key] = generator if yields(node) else Colour.AWAIT
        elif any(self.iterates(one.value, module, env) for one in own(node) if isinstance(one, ast.Return)):
            self.of[key] = Colour.PASS

    def env(self, module: Module, cls: ast.ClassDef | None, node: Function) -> dict[str, str]:
        """What the names in a function are: types as `Module.names` writes them, functions within as `def:…`."""
        env = {one.arg: module.names(one.annotation) for one in (*node.args.args, *node.args.kwonlyargs)}
        key = f"{module.name}:{cls.name + '.' if cls else ''}{node.name}"
        if cls is not None:
            env["self"] = f"{module.name}:{cls.name}"
        for one in ast.walk(node):
            match one:
                case ast.FunctionDef(name=name) if one is not node:
                    env[name] = f"def:{key}.{name}"
                case ast.Assign(targets=[ast.Name(id=id)], value=value):
                    env[id] = self.type_of(value, module, env)
                case ast.withitem(context_expr=value, optional_vars=ast.Name(id=id)):
                    env[id] = self.type_of(value, module, env)
        return env

    def type_of(self, node: ast.expr, module: Module, env: Env) -> str:
        match node:
            case ast.Name(id=id):
                return env.get(id, "") or module.names(node)
            case ast.Attribute(value=value, attr=attr):
                owner = self.type_of(value, module, env)
                return self.attributes(owner).get(attr, "") if ":" in owner else module.names(node)
            case ast.Call():
                return self.call(node, module, env)[1]
            case ast.IfExp(body=body):
                return self.type_of(body, module, env)
        return ""

    def attributes(self, cls: str) -> dict[str, str]:
        """Attributes of a class's objects to their types, from what `__init__` assigns."""
        if cls not in self._attributes:
            found = self._attributes[cls] = {}
            module, node = self.find(cls)
            if module and isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, Function) and inner.name == "__init__":
                        env = self.env(module, node, inner)
                        for name, value in assigned(inner):
                            found[name] = self.type_of(value, module, env)
        return self._attributes[cls]

    def find(self, key: str) -> tuple[Module | None, ast.AST | None]:
        """The node that a key names, and its module; names that are imported are followed."""
        home, _, name = key.partition(":")
        module = self.modules.get(home)
        if module is None:
            return None, None
        if name in module.imports and name not in module.tops:
            return self.find(":".join(module.imports[name]))
        return module, module.tops.get(name)

    def call(self, node: ast.Call, module: Module, env: Env) -> tuple[str, str]:
        """What a call calls, as a key of `of` or `httpx…`, and the type of what it returns."""
        match node.func:
            case ast.Name(id=id) if env.get(id, "").startswith("def:"):
                return env[id][4:], ""
            case ast.Name(id=id) if env.get(id):
                return env[id], ""
            case ast.Name():
                return self._called(module.names(node.func))
            case ast.Attribute(value=value, attr=attr):
                owner = self.type_of(value, module, env)
                if owner in EXTERNAL:
                    return f"{owner}.{attr}", EXTERNAL[owner][attr][2] if attr in EXTERNAL[owner] else ""
                if ":" not in owner:
                    dotted = module.names(node.func)
                    return dotted, dotted
                if attr in self.attributes(owner):
                    return self.attributes(owner)[attr], ""
                home, cls = self.find(owner)
                if home and isinstance(cls, ast.ClassDef):
                    method = next((one for one in cls.body if isinstance(one, Function) and one.name == attr), None)
                    returned = home.names(method.returns) if method else ""
                    return f"{home.name}:{cls.name}.{attr}", returned
        return "", ""

    def _called(self, key: str) -> tuple[str, str]:
        module, node = self.find(key)
        if module and isinstance(node, ast.ClassDef):
            return f"{module.name}:{node.name}", f"{module.name}:{node.name}"
        if module and isinstance(node, Function):
            return f"{module.name}:{node.name}", module.names(node.returns)
        return key, ""

    def colour(self, node: ast.Call, module: Module, env: Env) -> Colour | None:
        """How the called function is used; None where it does not wait."""
        key, _ = self.call(node, module, env)
        owner, _, name = key.rpartition(".")
        if owner in EXTERNAL:
            return EXTERNAL[owner][name][1] if name in EXTERNAL[owner] else None
        if key.rpartition(":")[2] in CALLABLES:
            return Colour.AWAIT
        return self.of.get(key)

    def iterates(self, node: ast.expr | None, module: Module, env: Env) -> bool:
        return isinstance(node, ast.Call) and self.colour(node, module, env) in (Colour.ITERATE, Colour.PASS)

    def enters(self, node: ast.expr, module: Module, env: Env) -> bool:
        """True where `with` on the expression has to be `async with`."""
        if not isinstance(node, ast.Call):
            return False
        key, _ = self.call(node, module, env)
        return self.of.get(key) is Colour.ENTER or f"{key}.__enter__" in self.of

    def waiting(self, module: Module) -> set[str]:
        """The top-level names of a module that are, or hold, something that waits."""
        within = {key.partition(":")[2].partition(".")[0] for key in self.of if key.startswith(module.name + ":")}
        return within | (CALLABLES & set(module.tops))


def own(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in a function, and not in one within it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from own(child)


def calls(node: Function) -> Iterator[ast.Call]:
    return (one for one in own(node) if isinstance(one, ast.Call))


def loops_of(node: Function) -> Iterator[ast.expr]:
    """What a function iterates."""
    for one in own(node):
        if isinstance(one, ast.For | ast.comprehension):
            yield one.iter
        elif isinstance(one, ast.YieldFrom):
            yield one.value


def yields(node: Function) -> bool:
    return any(isinstance(one, ast.Yield | ast.YieldFrom) for one in own(node))


def decorated(node: Function, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in node.decorator_list)


def assigned(init: Function) -> Iterator[tuple[str, ast.expr]]:
    """Attributes that `self.a = …` and `self.a, self.b = …, …` set."""
    for node in ast.walk(init):
        if not isinstance(node, ast.Assign):
            continue
        match node.targets[0], node.value:
            case ast.Tuple(elts=targets), ast.Tuple(elts=values):
                pairs = list(zip(targets, values, strict=True))
            case target, value:
                pairs = [(target, value)]
        for target, value in pairs:
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
                yield target.attr, value
