"""Manifests of pipelines: what is refused at load, by file, key and reason; and in which order steps run."""

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from models.catalog import Catalog
from models.graph import advance, needs, ordered
from models.manifest import SourceNames, Step
from models.pipelines import with_steps
from models.repository import Repository
from tests.models.repository import PLAIN, write

#: Finds items in a row, and says whether there is anything to find.
FIND: dict[str, Any] = {
    "name": "find",
    "runtime": "python",
    "inputs": [{"name": "page", "datatype": "BYTES", "shape": [-1]}],
    "outputs": [
        {"name": "parts", "datatype": "BYTES", "shape": [-1, -1]},
        {"name": "any", "datatype": "BOOL", "shape": [-1]},
        {"name": "sizes", "datatype": "FP32", "shape": [-1, -1, 2]},
    ],
}
READ: dict[str, Any] = {
    "name": "read",
    "runtime": "python",
    "inputs": [{"name": "part", "datatype": "BYTES", "shape": [-1]}],
    "outputs": [
        {"name": "text", "datatype": "BYTES", "shape": [-1]},
        {"name": "sure", "datatype": "FP32", "shape": [-1]},
    ],
}
FIRST: dict[str, Any] = {"name": "find", "model": "find", "inputs": {"page": "inputs.page"}}
SECOND: dict[str, Any] = {
    "name": "read", "model": "read", "for_each": "find.parts", "inputs": {"part": "find.parts"},
}  # fmt: skip
PIPELINE: dict[str, Any] = {
    "name": "pages",
    "kind": "pipeline",
    "inputs": [{"name": "page", "datatype": "BYTES", "shape": [-1]}],
    "outputs": [{"name": "text", "datatype": "BYTES", "shape": [-1, -1]}],
    "steps": [FIRST, SECOND],
    "results": {"text": "read.text"},
}


def load(root: Path, **changes: Any) -> Catalog:
    write(root, FIND, name="find")
    write(root, READ, name="read")
    write(root, PLAIN)
    write(root, PIPELINE | changes, name="pages")
    return Catalog.load(root)


def test_pipeline_whose_steps_fit_is_served(tmp_path: Path) -> None:
    catalog = load(tmp_path)
    assert not catalog.broken
    assert catalog.get("pages").manifest.runtime == "pipeline"


def without(step: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in step.items() if name != key}


LIST = [{"name": "text", "datatype": "JSON", "shape": [-1]}]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"steps": []}, "steps: missing; a pipeline needs at least one"),
        ({"runtime": "onnx"}, "runtime: 'onnx' is for models; a pipeline has none"),
        ({"kind": "model", "runtime": "python"}, "steps: is for `kind: pipeline` only"),
        ({"steps": [FIRST, FIRST | {"model": "read"}]}, "steps[1].name: 'find' is declared twice"),
        ({"steps": [FIRST | {"name": "inputs"}, SECOND]}, "steps[0].name: 'inputs' stands for the pipeline's inputs"),
        ({"steps": [FIRST, SECOND | {"wen": "find.any"}]}, "steps[1]: Object contains unknown field `wen`"),
        ({"results": {"text": "reed.text"}}, "results.text: 'reed.text' names no step; there are find, inputs, read"),
        ({"results": {"text": "text"}}, "results.text: 'text' must be `inputs.<name>` or `<step>.<output>`"),
        ({"results": {"text": "read.txt"}}, "results.text: 'read.txt' does not exist; there is read.text, read.sure"),
        ({"results": {"lines": "read.text"}}, "results.lines: is no output of the pipeline"),
        ({"steps": [FIRST | {"inputs": {"page": "read.text"}}, SECOND]}, "steps: find, read wait for each other"),
        (
            {"steps": [FIRST, SECOND], "results": {"text": "find.parts"}},
            "steps[1]: nothing uses an output of 'read'",
        ),
        ({"steps": [FIRST, SECOND | {"model": "rad"}]}, "steps[1].model: no model 'rad' in the repository"),
        ({"steps": [FIRST, SECOND | {"version": 7}]}, "steps[1].model: no model 'read' in version 7 in the repository"),
        ({"pools": ["cpu", "gpu"]}, "steps[0].model: 'find' does not run in pool 'gpu', where the pipeline does"),
        ({"steps": [FIRST | {"inputs": {}}, SECOND]}, "steps[0].inputs.page: missing: 'find' takes it"),
        (
            {"steps": [FIRST | {"inputs": {"page": "inputs.page", "size": "inputs.page"}}, SECOND]},
            "steps[0].inputs.size: is no input of 'find'; its inputs are page",
        ),
        (
            {"steps": [FIRST, SECOND | {"inputs": {"part": "find.sizes"}}]},
            "steps[1].inputs.part: find.sizes is FP32, BYTES is taken",
        ),
        (
            {"steps": [FIRST, without(SECOND, "for_each")]},
            "steps[1].inputs.part: find.parts has shape [-1, -1], [-1] is taken",
        ),
        (
            {"steps": [FIRST, SECOND | {"for_each": "inputs.page", "inputs": {"part": "inputs.page"}}, ],
             "results": {"text": ["read.text", "find.parts"]}},
            "steps[1].for_each: a row of inputs.page is one BYTES, and no list of items",
        ),
        (
            {"steps": [FIRST, SECOND | {"when": "find.sizes"}]},
            "steps[1].when: find.sizes is FP32, BOOL is taken",
        ),
        (
            {"steps": [FIRST, SECOND | {"when": "find.any"}]},
            "results.text: can be absent: give `otherwise`, or declare the output as JSON",
        ),
        (
            {"steps": [FIRST, SECOND | {"when": "find.any", "otherwise": {"text": 1}}]},
            "steps[1].otherwise.text: does not fit BYTES []: must be a string",
        ),
        (
            {"results": {"text": "read.sure"}},
            "results.text: read.sure has as many FP32 as a row has items: declare the output as JSON",
        ),
    ],
)  # fmt: skip
def test_broken_pipeline_is_refused_by_file_key_and_reason(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    catalog = load(tmp_path, **changes)
    (broken,) = catalog.broken
    assert broken.reason.startswith(f"{tmp_path / 'pages' / 'model.yaml'}: {reason}")
    assert "pages" not in catalog.models
    assert set(catalog.models) == {"find", "read", "plain"}


def test_pipeline_of_pipelines_is_refused(tmp_path: Path) -> None:
    outer = PIPELINE | {"name": "outer", "steps": [FIRST | {"model": "pages"}], "results": {"text": "find.text"}}
    write(tmp_path, outer, name="outer")
    (broken,) = load(tmp_path).broken
    assert "steps[0].model: 'pages' is a pipeline; the steps of one are models" in broken.reason


def test_pipeline_is_served_once_the_model_of_its_step_has_come(tmp_path: Path) -> None:
    write(tmp_path, FIND, name="find")
    write(tmp_path, PIPELINE, name="pages")
    now_s = [0.0]
    repository = Repository(tmp_path, clock_s=lambda: now_s[0])
    assert [item.name for item in repository.catalog.broken] == ["pages"]
    write(tmp_path, READ, name="read")
    # What comes is served when it has looked the same for a while.
    repository.refresh()
    now_s[0] += 10
    catalog = repository.refresh()
    assert not catalog.broken
    assert catalog.get("pages").version == "1"


def test_pipeline_named_brings_the_models_of_its_steps(tmp_path: Path) -> None:
    models = {name: [entry.manifest for entry in entries] for name, entries in load(tmp_path).models.items()}
    assert with_steps(["pages"], models) == {"pages", "find", "read"}
    assert with_steps(["plain", "unknown"], models) == {"plain", "unknown"}


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": [FIRST, SECOND | {"when": "find.any", "otherwise": {"text": ""}}]},
        {"steps": [FIRST, SECOND | {"unless": "find.any"}], "outputs": LIST},
        {"steps": [FIRST, SECOND | {"when": "find.any"}], "results": {"text": ["read.text", "find.parts"]}},
        {"results": {"text": "read.sure"}, "outputs": LIST},
        {"steps": [FIRST, SECOND | {"version": 1}]},
    ],
)
def test_condition_alternative_and_version_are_served(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert not load(tmp_path, **changes).broken


@st.composite
def step_lists(draw: st.DrawFn) -> list[Step]:
    """Steps that need some of those drawn before them, in any order."""
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 8))):
        needed = draw(st.sets(st.integers(0, number - 1))) if number else set()
        inputs: dict[str, SourceNames] = {f"x{one}": f"s{one}.y" for one in needed}
        steps.append(Step(name=f"s{number}", model="m", inputs=inputs or {"x": "inputs.x"}))
    return list(draw(st.permutations(steps)))


@given(step_lists(), st.randoms())
def test_every_step_runs_once_and_after_what_it_needs(steps: list[Step], chance: Any) -> None:
    started: list[str] = []
    ended: list[str] = []
    while len(ended) < len(steps):
        for step in advance(steps, started=started, ended=ended):
            assert needs(step) <= set(ended)
            started.append(step.name)
        running = [name for name in started if name not in ended]
        ended.append(chance.choice(running))
    assert sorted(started) == sorted(step.name for step in steps)
    assert advance(steps, started=started, ended=ended) == []


@given(step_lists())
def test_steps_in_a_circle_are_found_out(steps: list[Step]) -> None:
    assert ordered(steps)[1] == []
    knot = [Step(name="a", model="m", inputs={"x": "b.y"}), Step(name="b", model="m", inputs={"x": "a.y"})]
    order, circle = ordered([*knot, *steps])
    assert circle == knot
    assert len(order) == len(steps)
