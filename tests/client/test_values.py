import io
import sys
from pathlib import Path
from typing import Any

import pytest
from penstock.cli.values import read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a sentence", "a sentence"),
        ("42", 42),
        ('"42"', "42"),
        ("[1, 2.5]", [1, 2.5]),
        ("true", True),
        ("NaN", "NaN"),
        ("[NaN]", "[NaN]"),
        ("[1, 2", "[1, 2"),
        ('{"object": "obj_1"}', {"object": "obj_1"}),
        ("", ""),
        ("a=b", "a=b"),
    ],
)
def test_a_value_is_json_where_it_reads_as_json_and_text_elsewhere(text: str, value: Any) -> None:
    assert read(text) == value


def test_a_files_name_says_how_it_is_sent(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    (tmp_path / "a.txt").write_text("two\nlines\n")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe")
    assert read(f"@{tmp_path}/a.json") == [1]
    assert read(f"@{tmp_path}/a.txt") == "two\nlines"
    assert read(f"@{tmp_path}/a.png") == tmp_path / "a.png"
    assert read(f"@{tmp_path}/a.csv") == b"\xff\xfe"


@pytest.mark.parametrize(("data", "value"), [("grüße\n".encode(), "grüße"), (b"\x89PNG\n", b"\x89PNG\n")])
def test_stdin_is_text_where_it_is_utf_8(monkeypatch: pytest.MonkeyPatch, data: bytes, value: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert read("@-") == value
