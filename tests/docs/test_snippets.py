"""What README and docs/ say can be typed, can be typed; what they link to, is there."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from msgspec import convert
from penstock.cli import CLIENT, OPERATOR

from models.manifest import Manifest
from tests.docs.pages import LOOKED_AT, PAGES, ROOT, Snippet, anchors, of, prose, snippets
from tests.farm.conftest import embedded
from tests.farm.harness import Farm
from tests.services.fixtures import unavailable
from tests.services.ports import free_port

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"(?:^|[\s(])penstock ([a-z][a-z-]*)", re.MULTILINE)
_TARGET = re.compile(r"(?:^|`)make ([a-z-]+)", re.MULTILINE)
#: Seconds that a page's commands may take together, on a machine that does other work; a farm is started besides.
PATIENCE_S, STARTING_S = 300, 60
SHELL, PYTHON = of("sh", "console"), of("python")
#: How each kind of snippet is held; whatever is of another kind has to say why it is not.
HELD = {"sh", "console", "python", "json", "yaml", "js", *LOOKED_AT}
REPOSITORY = Path(os.environ.get("PENSTOCK_MODELS", ROOT / "repository")).resolve()


def named(snippet: Snippet) -> str:
    return snippet.name


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_snippet_is_held_or_says_why_not(page: Path) -> None:
    found = snippets(page)
    fences = [line for line in page.read_text().splitlines() if line.lstrip().startswith("```")]
    assert len(fences) == 2 * len(found), "a fence that is not at the line's beginning, or not closed"
    assert [one.name for one in found if one.kind not in HELD and not one.reason] == []


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


@pytest.mark.parametrize("snippet", of("js"), ids=named)
def test_javascript_is_that_of_the_example_which_its_own_test_runs(snippet: Snippet) -> None:
    assert snippet.text == (ROOT / "examples/push-node/push.mjs").read_text()


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """An embedded farm that serves the example models."""
    if not (REPOSITORY / "ocr").is_dir() and not os.environ.get("CI"):
        unavailable(f"no example models in {REPOSITORY}: `make models` builds them")
    folder = tmp_path_factory.mktemp("f")
    # Pages add models.
    farm = embedded(folder, Path(shutil.copytree(REPOSITORY, folder / "models", copy_function=linked)))
    try:
        farm.start()
        farm.wait_ready()
        yield farm
    finally:
        farm.close()


def linked(source: str, target: str) -> str:
    """A file in two places, where it need not be copied."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


@pytest.fixture
def folder(tmp_path: Path, farm: Farm) -> Path:
    """Where snippets run: as a checkout in which `make run` runs, to which they may add files."""
    for name, there in (
        ("examples", ROOT / "examples"),
        ("repository", farm.settings.models),
        (".penstock", farm.folder),
    ):
        (tmp_path / name).symlink_to(there)
    return tmp_path


def environment(farm: Farm) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "COV_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "PENSTOCK_URL": farm.url, "PYTHONWARNINGS": "error"}


def pages_with(found: list[Snippet]) -> list[Path]:
    return [page for page in PAGES if any(one.page == page and not one.reason for one in found)]


def script(page: Path) -> str:
    """The page's files and commands, from top to bottom."""
    # curl answers 0 for an error of the farm unless told otherwise: its exit code must count here.
    lines = ["set -euo pipefail", 'curl() { command curl --fail-with-body "$@"; }']
    for snippet in snippets(page):
        if snippet.file:
            lines += [f'mkdir -p "$(dirname {snippet.file})"', f"cat > {snippet.file} <<'END-OF-FILE'"]
            lines += [f"{snippet.text}END-OF-FILE"]
        elif snippet.kind in ("sh", "console") and not snippet.reason:
            lines += [f"echo '# {snippet.name}' >&2", snippet.commands]
    return "\n".join(lines)


@pytest.mark.repository
@pytest.mark.farm
@pytest.mark.xdist_group("docs")
@pytest.mark.timeout(PATIENCE_S + STARTING_S)
@pytest.mark.parametrize("page", pages_with(SHELL), ids=page_name)
def test_shell_snippets_run_from_top_to_bottom(page: Path, farm: Farm, folder: Path) -> None:
    text = script(page).replace("http://127.0.0.1:8080", farm.url).replace("9000", str(free_port()))
    with (folder / ".out").open("w+") as out:
        process = subprocess.Popen(
            ["bash", "-c", text], cwd=folder, env=environment(farm), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(PATIENCE_S)
        finally:
            # What the page left running in the background.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert code == 0, (folder / ".out").read_text()[-4000:]


@pytest.mark.repository
@pytest.mark.farm
@pytest.mark.xdist_group("docs")
@pytest.mark.timeout(PATIENCE_S + STARTING_S)
@pytest.mark.parametrize("snippet", [one for one in PYTHON if not one.reason and not one.file], ids=named)
def test_python_snippets_run(snippet: Snippet, farm: Farm, folder: Path) -> None:
    code = snippet.text.replace("http://127.0.0.1:8080", farm.url)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env=environment(farm), capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
