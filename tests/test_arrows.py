"""Who may import whom: the arrows of docs/architecture.md, and what the gateway must never load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASE = {"errors", "settings", "logs", "lifeline"}
#: Folder -> the folders it may import besides itself.
ALLOWED = {
    "storage": BASE,
    "tasks": BASE | {"storage"},
    "models": BASE,
    "gateway": BASE | {"storage", "tasks", "models"},
    "workers": BASE | {"storage", "tasks", "models"},
}
#: What of models/ the gateway may import: nothing that needs an array.
LIGHT = {"models.catalog", "models.manifest", "models.policy", "models.repository", "models.signature"}
#: What of models/ the orchestrator may import, and only where it cuts tables: columns and the signature they must fit.
TABULAR = {
    "models.arrays", "models.columns", "models.datatypes", "models.manifest", "models.pointers", "models.signature"
}  # fmt: skip
OURS = {*ALLOWED, *BASE, "commands", "farm", "packages", "client", "tests", "bench", "examples"}
#: Model runtimes, and what only executors need.
HEAVY = ("torch", "onnxruntime", "openvino", "numpy", "pyarrow", "celery")


def imports(path: Path) -> set[str]:
    """Every module a file imports, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(folder: str) -> list[Path]:
    # The example models are a repository of their own: their handlers run in executors.
    return [path for path in (ROOT / folder).rglob("*.py") if "examples" not in path.parts]


@pytest.mark.parametrize("folder", ALLOWED)
def test_folder_imports_only_what_lies_below_it(folder: str) -> None:
    for path in sources(folder):
        tops = {name.partition(".")[0] for name in imports(path)} & OURS
        allowed = ALLOWED[folder] | ({"models"} if path.parent == ROOT / "tasks" / "scoring" else set())
        wrong = tops - allowed - {folder}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_gateway_takes_only_the_light_part_of_models() -> None:
    for path in sources("gateway"):
        taken = {".".join(name.split(".")[:2]) for name in imports(path) if name.startswith("models.")}
        assert taken <= LIGHT, f"{path.relative_to(ROOT)} imports {taken - LIGHT}"


def test_scorings_take_only_columns_and_signatures_of_models() -> None:
    for path in sources("tasks"):
        taken = {".".join(name.split(".")[:2]) for name in imports(path) if name.startswith("models.")}
        assert taken <= TABULAR, f"{path.relative_to(ROOT)} imports {taken - TABULAR}"


def test_no_import_cycle_between_modules() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for folder in ALLOWED
        for path in sources(folder)
    }
    graph = {name: imports(path) & modules.keys() - {name} for name, path in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import cycle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name not in done:
            for used in graph[name]:
                visit(used, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def loaded_by(module: str) -> set[str]:
    """Top-level names in sys.modules of a fresh interpreter after importing `module`."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_the_gateway_loads_no_model_library() -> None:
    assert not loaded_by("gateway.app") & set(HEAVY)


def test_importing_the_worker_loads_no_model_library() -> None:
    assert not loaded_by("workers.serve") & {"torch", "onnxruntime", "openvino", "numpy", "pyarrow"}
