"""Files as they come: what of them is a row, what is a failed row, and what stops everything."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import InvalidInput
from models import columns
from models.manifest import Tensor
from storage.objects import Objects
from storage.scoring import Failure
from tasks.scoring import lines, sources
from tasks.scoring.cutting import count, cuts, look
from tasks.scoring.lines import Block, blocks
from tests.scoring.tables import FLOATS, TEXT, folder, parquet, scoring

NUMBER = Tensor("n", "INT32", (-1,))
RATIO = Tensor("r", "FP64", (-1,))
FLAG = Tensor("f", "BOOL", (-1,))


def run(objects: Objects, data: bytes | list[bytes], format: str, *inputs: Tensor, **given: Any) -> Any:
    """Rows that were read (row number -> the inputs' values), and failures."""
    files = [data] if isinstance(data, bytes) else data
    spec, source = scoring(objects, files, format, inputs=inputs, **given)
    rows: dict[int, Any] = {}
    failures: list[Failure] = []
    end = 0
    for cut in cuts(spec, source, shard_rows=3):
        assert cut.start == end
        end = cut.end
        failures += cut.failures
        if cut.rows is not None:
            decoded = columns.decode(inputs, cut.rows, lambda key: key.encode())
            assert not decoded.faults
            numbers = cut.rows.column("row").to_pylist()
            values = [[np.asarray(value).tolist() for value in decoded.batch[tensor.name]] for tensor in inputs]
            rows |= {number: list(found) for number, *found in zip(numbers, *values, strict=True)}
    assert sorted([*rows, *(failure.row for failure in failures)]) == list(range(end))
    assert count(spec, source, lambda rows: None) == end
    return [rows[number] for number in sorted(rows)], failures


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"\xef\xbb\xbftext\na\nb\n", ["a", "b"]),
        (b"text\r\na\r\nb", ["a", "b"]),
        (b"text\ra\rb\r", ["a", "b"]),
        (b'text\n"a\nb"\n"c\r\nd"\n', ["a\nb", "c\r\nd"]),
        (b'text\n\n\na\n\r\n"b ""quoted"""\n\n', ["a", 'b "quoted"']),
        (b'"text"\n""\nx\n', ["", "x"]),
        (b'n,text\n1,"a,b"\n2, c \n', ["a,b", " c "]),
        (b"text\n5' 3\nit's\n", ["5' 3", "it's"]),
        ("text\nÄ\u2028ö\n日本\x0b語\n".encode(), ["Ä\u2028ö", "日本\x0b語"]),
        (b"text\nNULL\nNaN\nnull\n", ["NULL", "NaN", "null"]),
    ],
)
def test_csv_is_read_as_it_is_meant(data: bytes, texts: list[str], tmp_path: Path) -> None:
    assert run(folder(tmp_path), data, "csv", TEXT) == ([[text] for text in texts], [])


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_bad_csv_rows_fail_alone_with_their_line(quote: bytes, tmp_path: Path) -> None:
    lines_ = [b"id,n,text", b"a,1,x", b"b,two,x", b"c,3", b"d,4,x,y", b"", b"e,5000000000000000000000,x", b"f,6,x"]
    data = b"\n".join(lines_) + b"\ng,7," + quote + b"last" + quote + b"\nh,8,\xff\xfe\ni,9,z\n"
    rows, failures = run(folder(tmp_path), data, "csv", NUMBER, TEXT, custom_id="id")
    assert rows == [[1, "x"], [6, "x"], [7, "last"], [9, "z"]]
    assert [(failure.row, failure.custom_id) for failure in failures] == [
        (1, "b"),
        (2, "c"),
        (3, "d"),
        (4, "e"),
        (7, "h"),
    ]
    assert [failure.detail for failure in failures] == [
        "line 3 column 'n' holds 'two', which is no int64",
        "line 4 has 2 values where 3 are expected",
        "line 5 has 4 values where 3 are expected",
        "line 7 column 'n' holds '5000000000000000000000', which is no int64",
        "line 10 is not UTF-8",
    ]
    assert {failure.code for failure in failures} == {"invalid_input"}


@pytest.mark.parametrize("quote", ["", '"'])
def test_numbers_of_csv_are_read_alike_with_and_without_quotes(quote: str, tmp_path: Path) -> None:
    cells = ["1,0.1,true", " 2 , 1e-3 ,0", "-3,-.5,False", "2147483647,12345678901234567890,1"]
    data = "n,r,f\n" + "\n".join(quote + f"{quote},{quote}".join(cell.split(",")) + quote for cell in cells) + "\n"
    rows, failures = run(folder(tmp_path), data.encode(), "csv", NUMBER, RATIO, FLAG)
    assert (rows, failures) == (
        [[1, 0.1, True], [2, 1e-3, False], [-3, -0.5, False], [2147483647, 12345678901234567890.0, True]],
        [],
    )


def test_empty_and_special_cells_are_faults_of_their_rows(tmp_path: Path) -> None:
    spec, source = scoring(folder(tmp_path), [b"r\n1\n\n nan \n-inf\n2\n"], "csv", inputs=(RATIO,))
    (cut,) = cuts(spec, source, shard_rows=9)
    decoded = columns.decode([RATIO], cut.rows, lambda key: b"")
    assert (list(decoded.faults), list(decoded.kept)) == ([1, 2], [0, 3])
    both = "n,r\n1,\n,2\n"
    spec, source = scoring(folder(tmp_path), [both.encode()], "csv", inputs=(NUMBER, RATIO))
    (cut,) = cuts(spec, source, shard_rows=9)
    assert [fault.detail for fault in columns.decode([NUMBER, RATIO], cut.rows, lambda key: b"").faults.values()] == [
        "holds null",
        "holds null",
    ]


def test_a_quote_that_is_never_closed_fails_one_row_at_the_end(tmp_path: Path) -> None:
    rows, failures = run(folder(tmp_path), b'text\na\n"b\nc\n', "csv", TEXT)
    assert (rows, [failure.row for failure in failures]) == ([["a"]], [1])
    assert "line 3 is no CSV: unexpected end of data" in failures[0].detail


def test_stray_quotes_fail_their_row_alone(tmp_path: Path) -> None:
    rows, failures = run(folder(tmp_path), b'text\n"a"b\n"c"\n', "csv", TEXT)
    assert (rows, [failure.row for failure in failures]) == ([["c"]], [0])


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and lines so small that every border is met."""
    monkeypatch.setattr(lines, "BLOCK_BYTES", 7)
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 40)
    monkeypatch.setattr(sources, "PIECE_BYTES", 11)


@pytest.mark.usefixtures("tiny")
def test_a_line_that_is_too_long_fails_alone(tmp_path: Path) -> None:
    long = b"x" * 100
    rows, failures = run(folder(tmp_path), b"text\na\n" + long + b"\nb\n" + long, "csv", TEXT)
    assert (rows, [failure.row for failure in failures]) == ([["a"], ["b"]], [1, 3])
    assert "line 3 has more than" in failures[0].detail
    rows, failures = run(folder(tmp_path), b'{"text": "a"}\n"' + long + b'"\n{"text": "b"}\n', "jsonl", TEXT)
    assert (rows, [failure.row for failure in failures]) == ([["a"], ["b"]], [1])


@pytest.mark.usefixtures("tiny")
def test_borders_of_blocks_fall_anywhere(tmp_path: Path) -> None:
    data = b'n,text\r\n1,"a\r\n""b"""\r\n2,plain\r\n3,"\n\n"\r\n4,e\r\n5,"f,g"\n'
    rows, failures = run(folder(tmp_path), data, "csv", NUMBER, TEXT)
    assert (rows, failures) == ([[1, 'a\r\n"b"'], [2, "plain"], [3, "\n\n"], [4, "e"], [5, "f,g"]], [])


@given(st.lists(st.binary(max_size=30)), st.integers(1, 9))
def test_blocks_are_the_lines_whatever_the_pieces(found: list[bytes], size: int) -> None:
    data = b"\n".join(line.replace(b"\n", b"") for line in found)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    made = list(blocks(pieces))
    assert b"".join(block.lines or b"" for block in made) == data.removeprefix(lines.BOM)
    number = 1
    for block in made:
        assert (block.number, (block.lines or b"\n")[-1:]) in ((number, b"\n"), (number, data[-1:]))
        number += (block.lines or b"").count(b"\n")


def test_numbers_of_blocks_count_lines() -> None:
    assert list(blocks([b"a\nb", b"\n\n", b"c"])) == [Block(b"a\n", 1), Block(b"b\n\n", 2), Block(b"c", 4)]


def test_bad_json_lines_fail_alone_with_their_line(tmp_path: Path) -> None:
    bad = [
        (b"{", "is not JSON"), (b"[1]", "is JSON, but no object"), (b'{"x": [1, 2, NaN]}', "is not JSON"),
        (b'{"y": 1}', "has no 'x'"), (b'{"x": [1,2,3]} trailing', "is not JSON"), (b'{"x": "\xff"}', "is not UTF-8"),
        (b'{"x": {"object": "../other"}}', "which is no object's id"), (b'{"x": ' + b"[" * 5000, "is not JSON"),
    ]  # fmt: skip
    good = b'{"x": [1, 2, 3]}'
    data = b"\n \n".join(line for text, _ in bad for line in (text, good))
    rows, failures = run(folder(tmp_path), data, "jsonl", FLOATS)
    assert rows == [[[1, 2, 3]]] * len(bad)
    assert [failure.row for failure in failures] == list(range(0, 2 * len(bad), 2))
    for number, ((_, reason), failure) in enumerate(zip(bad, failures, strict=True)):
        assert failure.detail.startswith(f"line {1 + 4 * number} ")
        assert reason in failure.detail


def test_json_lines_may_have_envelopes_ids_and_references(tmp_path: Path) -> None:
    object_id = "obj_" + "0" * 26
    data = (
        '\ufeff{"custom_id": "a", "inputs": {"text": "one"}}\r\n'
        '{"text": {"b64": "dHdv"}, "custom_id": 7}\n'
        f'{{"custom_id": null, "text": {{"object": "{object_id}"}}}}\n'
    )
    spec, source = scoring(folder(tmp_path), [data.encode()], "jsonl", inputs=(TEXT,), keep=("*",))
    assert look(spec, source) == -1
    (cut,) = cuts(spec, source, shard_rows=9)
    assert cut.rows is not None
    assert cut.rows.column("custom_id").to_pylist() == ["a", "7", None]
    decoded = columns.decode([TEXT], cut.rows, lambda key: key.encode())
    assert decoded.batch["text"] == ["one", b"two", f"acme/objects/{object_id}".encode()]
    kept = [name for name in cut.rows.column_names if name.startswith("keep:")]
    assert kept == ["keep:text"]
    assert cut.rows.column("keep:text").to_pylist()[:2] == ['"one"', '{"b64": "dHdv"}']


def test_failures_name_their_part_where_there_are_several(tmp_path: Path) -> None:
    rows, failures = run(folder(tmp_path), [b'{"text": "a"}', b"{"], "jsonl", TEXT)
    assert rows == [["a"]]
    assert failures[0].detail.startswith("1: line 1 is not JSON")


def test_a_broken_page_of_parquet_stops_the_scoring(tmp_path: Path) -> None:
    data = bytearray(parquet([{"x": [i, i, i]} for i in range(1000)], compression="none", use_dictionary=False))
    data[40:2000] = b"\xff" * 1960
    spec, source = scoring(folder(tmp_path), [bytes(data)], "parquet")
    with pytest.raises(InvalidInput, match="cannot be read as Parquet"):
        list(cuts(spec, source, shard_rows=100))


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_memory_does_not_grow_with_the_file(format: str, tmp_path: Path) -> None:
    objects = folder(tmp_path)
    line = b'{"text": "' + b"x" * 90 + b'"}\n' if format == "jsonl" else b'"' + b"x" * 100 + b'"\n'
    head = b"" if format == "jsonl" else b"text\n"
    peaks = []
    for repeats in (90_000, 360_000):
        spec, source = scoring(objects, [head + line * repeats], format, inputs=(TEXT,))
        tracemalloc.start()
        rows = sum(cut.end - cut.start for cut in cuts(spec, source, shard_rows=5000))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert rows == repeats
    assert peaks[1] < peaks[0] * 1.2
