"""A manifest's values change where they stand; everything else stays as its author wrote it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import ManifestError
from models.rewriting import edited, rewrite
from tests.models.repository import PLAIN, write

CHANGES = {("instances",): 2, ("threads",): 3, ("batching", "max_items"): 16}

BLOCK = """\
# The model of the gate.
name: plain   # its folder
runtime: onnx
batching:
  # 8 fits into the cache.
  max_items: 8   # rows
  pad: {a: 0}
instances: 1
inputs: []
"""


def test_values_change_and_comments_stay() -> None:
    assert (
        edited(BLOCK, CHANGES | {("runtime",): "openvino"})
        == """\
# The model of the gate.
name: plain   # its folder
runtime: openvino
batching:
  # 8 fits into the cache.
  max_items: 16   # rows
  pad: {a: 0}
instances: 2
inputs: []
threads: 3
"""
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nbatching: {max_items: 8, pad: {}}\n", "a: 1\nbatching: {max_items: 16, pad: {}}\n"),
        ("a: 1\nbatching: {pad: {}}\n", "a: 1\nbatching: {max_items: 16, pad: {}}\n"),
        ("a: 1\nbatching: {}\n", "a: 1\nbatching: {max_items: 16}\n"),
        ("a: 1\nbatching:\n    # why\n    pad: {}\n", "a: 1\nbatching:\n    # why\n    max_items: 16\n    pad: {}\n"),
        ("a: 1", "a: 1\nbatching: {max_items: 16}\n"),
        ("{a: 1}", "{batching: {max_items: 16}, a: 1}"),
        ("a: ü\r\nbatching:\r\n  max_items: 8\r\n", "a: ü\r\nbatching:\r\n  max_items: 16\r\n"),
    ],
)
def test_missing_value_is_added_in_the_files_own_style(text: str, expected: str) -> None:
    assert edited(text, {("batching", "max_items"): 16}) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {max_items: 8}\nb: *x\nbatching: *x\n",
        "a: 1\nbatching: 7\n",
        "a: 1\nbatching: ~\n",
        "a: 1\n...\n",
        "- 1\n",
    ],
)
def test_what_cannot_be_edited_is_told_and_how_to_do_it(text: str) -> None:
    with pytest.raises(ManifestError, match=r"by hand: batching\.max_items: 16"):
        edited(text, {("batching", "max_items"): 16})


KEYS = st.text("abcdefgh", min_size=1, max_size=4)
LEAVES = st.integers() | st.text("xyz ", max_size=5) | st.none()
VALUES = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=4), max_leaves=10)


@settings(deadline=None)
@given(
    st.dictionaries(KEYS, VALUES, max_size=6),
    st.dictionaries(KEYS, st.integers(), min_size=1, max_size=4),
    st.sampled_from([None, True, False]),
)
def test_any_manifest_gets_the_values_and_no_other_change(
    content: dict[str, Any], batching: dict[str, int], flow: bool | None
) -> None:
    text = yaml.safe_dump(content | {"batching": batching}, default_flow_style=flow)
    found = yaml.safe_load(edited(text, CHANGES))
    assert found == content | {"instances": 2, "threads": 3, "batching": batching | {"max_items": 16}}


def test_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    file = write(tmp_path, PLAIN).parent / "model.yaml"
    file.chmod(0o640)
    rewrite(file, CHANGES)
    assert yaml.safe_load(file.read_text()) == PLAIN | {"instances": 2, "threads": 3, "batching": {"max_items": 16}}
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in file.parent.iterdir()) == ["1", "model.yaml"]


def test_value_that_is_no_good_leaves_the_manifest_as_it_was(tmp_path: Path) -> None:
    file = write(tmp_path, PLAIN).parent / "model.yaml"
    before = file.read_bytes()
    with pytest.raises(ManifestError, match="instances"):
        rewrite(file, {("instances",): 0})
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["1", "model.yaml"]
