"""`torch.export` archives, held against what `torch.export.load` would run of them.

The loader unpickles whatever its restricted unpickler refuses, evaluates shapes and guards as Python, and finds
functions by their path below `torch`: an archive could run anything. Here one is read only if it holds tensors and a
graph of operators. Seen in torch 2.13, `torch/export/pt2_archive/_package.py` and `torch/_export/serde/serialize.py`.
"""

import ast
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from errors import LoadError

#: Records that are unpickled without restriction, or that are machine code; by a part of their name.
REFUSED = ("custom_obj_", "opaque_obj_", "aotinductor/", "executorch/")
#: Python's own operators that exported graphs use on sizes.
OPERATORS = "add|sub|mul|truediv|floordiv|mod|pow|neg|pos|and_|or_|not_|eq|ne|lt|le|gt|ge|getitem"
#: What a node may call: registered operators, arithmetic, and symbolic sizes.
TARGET = re.compile(
    rf"torch\.ops\.[a-z]\w*\.[A-Za-z_]\w*(\.\w+)?|_operator\.({OPERATORS})|math\.[a-z]\w*|torch\._?sym_\w+|#\w+:\w+"
)
#: Parts of a shape or a guard: arithmetic on sizes, in the form of sympy's `srepr`.
PARTS = (
    ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Constant, ast.Attribute, ast.Subscript, ast.Load,
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
NAME = re.compile(r"[A-Z][A-Za-z0-9]*|[a-z]+[0-9]+|math|true|false")
ATTRIBUTES = ("size", "stride", "isnan", "inf")


def load(file: Path) -> torch.export.ExportedProgram:
    """The program of an archive; raises LoadError where it holds more than tensors and operators."""
    check(file)
    with restricted_unpickling():
        return torch.export.load(file)


def check(file: Path) -> None:
    """Raise LoadError unless reading the archive can run nothing."""
    try:
        # The reader that the loader uses, so that both see the same records.
        reader = torch._C.PyTorchFileReader(str(file))
        records = {name: reader.get_record(name) for name in reader.get_all_records() if name.endswith(".json")}
        names = reader.get_all_records()
        programs = [json.loads(text) for name, text in records.items() if name.startswith("models/")]
    except (RuntimeError, ValueError) as error:
        raise LoadError(f"{file}: not an archive that torch.export.save of torch 2.8 or newer wrote") from error
    if refused := [name for name in names if any(part in name for part in REFUSED)]:
        raise LoadError(
            f"{file}: holds {refused[0]!r}, a pickled object or machine code, and no pickle is ever loaded; "
            "export a module of tensors alone"
        )
    if not programs:
        raise LoadError(f"{file}: holds no program below models/")
    for key, text in (found for program in programs for found in texts(program)):
        if not harmless(key, text):
            raise LoadError(f"{file}: {key} {text[:80]!r} is no operator or size; it would be run as Python")


def texts(content: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Each text of a program that the loader evaluates, with its key."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from texts(value, name)
    elif isinstance(content, list):
        for value in content:
            yield from texts(value, key)
    elif isinstance(content, str) and key in ("target", "as_operator", "expr_str", "guards_code"):
        yield key, content


def harmless(key: str, text: str) -> bool:
    """Whether the loader may evaluate it."""
    if key in ("target", "as_operator"):
        return "__" not in text and TARGET.fullmatch(text) is not None
    try:
        parts = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError):
        return False
    return all(isinstance(part, PARTS) and fits(part) for part in parts)


def fits(part: ast.AST) -> bool:
    match part:
        case ast.Name(id=name):
            return NAME.fullmatch(name) is not None
        case ast.Attribute(attr=name):
            return name in ATTRIBUTES
        case ast.Constant(value=str(text)):
            return re.fullmatch(r"[\w.+-]*", text) is not None
    return True


@contextmanager
def restricted_unpickling() -> Iterator[None]:
    """Weights only, also where torch would try again without that restriction."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
