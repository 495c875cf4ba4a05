"""What README and docs/ say can be typed, can be typed; what they link to, is there."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from msgspec import convert
from penstock.cli import CLIENT, OPERATOR

from models.manifest import Manifest
from tests.docs.pages import PAGES, ROOT, Snippet, anchors, of, prose
from tests.farm.conftest import embedded
from tests.farm.harness import Farm
from tests.services.fixtures import unavailable

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"(?:^|[\s(])penstock ([a-z][a-z-]*)", re.MULTILINE)
_TARGET = re.compile(r"(?:^|`)make ([a-z-]+)", re.MULTILINE)
#: Seconds that a page's commands may take together.
PATIENCE_S = 100
SHELL, PYTHON = of("sh", "console"), of("python")
REPOSITORY = Path(os.environ.get("PENSTOCK_MODELS", ROOT / "repository")).resolve()


def named(snippet: Snippet) -> str:
    return snippet.name


def page_name(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("snippet", PYTHON, ids=named)
def test_python_snippets_compile(snippet: Snippet) -> None:
    compile(snippet.text, snippet.name, "exec")


@pytest.mark.parametrize("snippet", of("json"), ids=named)
def test_json_snippets_parse(snippet: Snippet) -> None:
    json.loads(snippet.text)


@pytest.mark.parametrize("snippet", of("yaml"), ids=named)
def test_manifests_are_valid(snippet: Snippet) -> None:
    convert(yaml.safe_load(snippet.text), Manifest)


@pytest.mark.parametrize("snippet", SHELL, ids=named)
def test_shell_snippets_are_shell(snippet: Snippet) -> None:
    subprocess.run(["bash", "-n"], input=snippet.commands, text=True, check=True, capture_output=True)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_named_exist(page: Path) -> None:
    typed = "\n".join(snippet.commands for snippet in SHELL if snippet.page == page)
    quoted = "\n".join(re.findall(r"`([^`\n]+)`", prose(page)))
    assert set(_COMMAND.findall(f"{typed}\n{quoted}")) <= {*CLIENT, *OPERATOR}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_make_targets_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    targets |= set(re.findall(r"^([a-z-]+):", (ROOT / "compose/compose.mk").read_text(), re.MULTILINE))
    assert set(_TARGET.findall(page.read_text())) <= targets


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}"


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """An embedded farm that serves the example models."""
    if not (REPOSITORY / "ocr").is_dir() and not os.environ.get("CI"):
        unavailable(f"no example models in {REPOSITORY}: `make models` builds them")
    farm = embedded(tmp_path_factory.mktemp("f"), REPOSITORY)
    try:
        farm.start()
        farm.wait_ready()
        yield farm
    finally:
        farm.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where snippets run: they read examples/ and repository/, and may write beside them."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "repository").symlink_to(REPOSITORY)
    return tmp_path


def environment(farm: Farm) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "COV_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "PENSTOCK_URL": farm.url, "PYTHONWARNINGS": "error"}


def pages_with(found: list[Snippet]) -> list[Path]:
    return [page for page in PAGES if any(one.page == page and not one.reason for one in found)]


@pytest.mark.repository
@pytest.mark.farm
@pytest.mark.xdist_group("docs")
@pytest.mark.parametrize("page", pages_with(SHELL), ids=page_name)
def test_shell_snippets_run_from_top_to_bottom(page: Path, farm: Farm, folder: Path) -> None:
    # curl answers 0 for an error of the farm unless told otherwise: its exit code must count here.
    script = ["set -euo pipefail", 'curl() { command curl --fail-with-body "$@"; }']
    for snippet in SHELL:
        if snippet.page == page and not snippet.reason:
            script += [f"echo '# {snippet.name}' >&2", snippet.commands.replace("http://127.0.0.1:8080", farm.url)]
    ran = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder, env=environment(farm), capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr + ran.stdout[-2000:]


@pytest.mark.repository
@pytest.mark.farm
@pytest.mark.xdist_group("docs")
@pytest.mark.parametrize("snippet", [one for one in PYTHON if not one.reason], ids=named)
def test_python_snippets_run(snippet: Snippet, farm: Farm, folder: Path) -> None:
    code = snippet.text.replace("http://127.0.0.1:8080", farm.url)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env=environment(farm), capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
