"""Inputs of every format become the same shards."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import InputChanged, InvalidInput, NotFound
from models import columns
from models.manifest import Tensor
from tasks.scoring.cutting import Cut, count, cuts, look, put_rows
from tests.scoring.tables import FLOATS, TEXT, WRITERS, delimited, folder, jsonl, parquet, scoring

FORMATS = pytest.mark.parametrize("format", WRITERS)


def rows(count: int) -> list[dict[str, Any]]:
    return [{"x": [i, i + 0.5, -i], "text": f'row "{i}",\nsaid', "custom_id": f"c{i}"} for i in range(count)]


def absent(key: str) -> bytes:
    raise NotFound(key)


def values(cut: Cut, *tensors: Any) -> dict[str, list[Any]]:
    decoded = columns.decode(tensors, cut.rows, absent)
    assert not decoded.faults
    return {name: [np.asarray(row).tolist() for row in found] for name, found in decoded.batch.items()}


@FORMATS
def test_shards_end_at_multiples_whatever_the_parts(format: str, tmp_path: Path) -> None:
    given = rows(25)
    files = [WRITERS[format](given[:7]), WRITERS[format](given[7:8]), WRITERS[format](given[8:])]
    spec, source = scoring(folder(tmp_path), files, format, inputs=(FLOATS, TEXT))
    found = list(cuts(spec, source, shard_rows=10))
    assert [(cut.start, cut.end, cut.failures) for cut in found] == [(0, 10, []), (10, 20, []), (20, 25, [])]
    for cut in found:
        assert cut.rows is not None
        assert cut.rows.column("row").to_pylist() == list(range(cut.start, cut.end))
        assert cut.rows.column("custom_id").to_pylist() == [row["custom_id"] for row in given[cut.start : cut.end]]
        read = values(cut, FLOATS, TEXT)
        assert read["x"] == [row["x"] for row in given[cut.start : cut.end]]
        assert read["text"] == [row["text"] for row in given[cut.start : cut.end]]


@FORMATS
def test_a_later_start_gives_the_same_shards(format: str, tmp_path: Path) -> None:
    spec, source = scoring(folder(tmp_path), [WRITERS[format](rows(25))], format, inputs=(FLOATS, TEXT))
    whole = list(cuts(spec, source, shard_rows=4))
    assert [(cut.start, cut.end) for cut in cuts(spec, source, shard_rows=4, from_row=12)] == [
        (cut.start, cut.end) for cut in whole[3:]
    ]
    for cut, again in zip(whole[3:], cuts(spec, source, shard_rows=4, from_row=12), strict=True):
        assert cut.rows is not None
        assert cut.rows.equals(again.rows)
    assert list(cuts(spec, source, shard_rows=4, from_row=28)) == []


@FORMATS
def test_chosen_rows_are_cut_into_shards_of_their_own(format: str, tmp_path: Path) -> None:
    spec, source = scoring(folder(tmp_path), [WRITERS[format](rows(25))], format, inputs=(FLOATS, TEXT))
    found = list(cuts(spec, source, shard_rows=2, only=iter([3, 11, 12, 13, 24])))
    assert [cut.rows.column("row").to_pylist() for cut in found if cut.rows] == [[3, 11], [12, 13], [24]]
    assert [(cut.start, cut.end) for cut in found] == [(3, 12), (12, 14), (24, 25)]
    assert list(cuts(spec, source, shard_rows=2, only=iter([]))) == []


@FORMATS
@pytest.mark.parametrize("only", [False, True])
def test_heavy_rows_are_cut_alike_whatever_the_parts_and_the_start(
    format: str, only: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.scoring.pacing.MOST_BYTES", 3000)
    given = [{"x": [i, i, i], "text": "x" * (10 * i)} for i in range(60)]
    parts = [[given], [given[:7], given[7:33], given[33:]], [given[i : i + 1] for i in range(60)]]

    def found(files: list[list[dict[str, Any]]], from_row: int = 0) -> list[tuple[int, int]]:
        made = [WRITERS[format](file) for file in files]
        spec, source = scoring(folder(tmp_path), made, format, inputs=(FLOATS, TEXT))
        rising = iter(range(from_row, 60)) if only else None
        return [(cut.start, cut.end) for cut in cuts(spec, source, shard_rows=40, from_row=from_row, only=rising)]

    whole = found(parts[0])
    assert (whole[0][0], whole[-1][1]) == (0, 60)
    assert all(end % 4 == 0 for _, end in whole)
    assert whole[0][1] > 20
    assert [end for _, end in whole[:-1]] == [start for start, _ in whole[1:]]
    # Rows grow: each has 4 to 8 where the last ones weigh 600 bytes.
    assert max(end - start for start, end in whole[-3:]) <= 8
    assert [found(files) for files in parts[1:]] == [whole, whole]
    for number, (start, _) in enumerate(whole):
        assert found(parts[1], start) == whole[number:]


def test_next_shard_has_as_many_rows_as_is_said_when_it_begins(tmp_path: Path) -> None:
    spec, source = scoring(folder(tmp_path), [jsonl(rows(30))], "jsonl", inputs=(FLOATS, TEXT))
    sizes = iter([4, 4, 16, 8])
    found = cuts(spec, source, shard_rows=lambda: next(sizes))
    assert [(cut.start, cut.end) for cut in found] == [(0, 4), (4, 8), (8, 24), (24, 30)]


@FORMATS
def test_looking_and_counting_tell_the_rows(format: str, tmp_path: Path) -> None:
    spec, source = scoring(folder(tmp_path), [WRITERS[format](rows(9))] * 2, format)
    told: list[int] = []
    assert look(spec, source) == (18 if format == "parquet" else -1)
    assert (count(spec, source, told.append), told[-1]) == (18, 18)


@FORMATS
def test_input_that_is_another_now_is_not_read(format: str, tmp_path: Path) -> None:
    objects = folder(tmp_path)
    spec, source = scoring(objects, [WRITERS[format](rows(9))], format)
    objects.put(spec.input[0].uri, [WRITERS[format](rows(10))])
    with pytest.raises(InputChanged):
        look(spec, source)
    with pytest.raises(InputChanged):
        list(cuts(spec, source, shard_rows=4))
    objects.delete(spec.input[0].uri)
    with pytest.raises(InputChanged):
        list(cuts(spec, source, shard_rows=4))


@pytest.mark.parametrize("pages", [{}, {"row_group_size": 1000}, {"data_page_size": 1000, "use_dictionary": False}])
def test_parquet_is_cut_alike_whatever_its_row_groups(pages: dict[str, Any], tmp_path: Path) -> None:
    given = [{"x": [i, i, i]} for i in range(20_000)]
    spec, source = scoring(folder(tmp_path), [parquet(given, **pages)], "parquet")
    found = list(cuts(spec, source, shard_rows=3000, from_row=9000))
    assert [(cut.start, cut.end) for cut in found] == [(9000, 12000), (12000, 15000), (15000, 18000), (18000, 20000)]
    assert [row[0] for cut in found for row in values(cut, FLOATS)["x"]] == list(range(9000, 20_000))


@FORMATS
def test_several_columns_make_up_an_input(format: str, tmp_path: Path) -> None:
    given = [{"a": i, "b": i + 1, "c": i + 0.5, "t": "x"} for i in range(5)]
    spec, source = scoring(
        folder(tmp_path), [WRITERS[format](given)], format, inputs=(FLOATS, TEXT),
        mapping={"x": ("a", "b", "c"), "text": "t"}, custom_id="a", keep=("*",),
    )  # fmt: skip
    assert look(spec, source) in (-1, 5)
    (cut,) = cuts(spec, source, shard_rows=10)
    assert values(cut, FLOATS, TEXT) == {"x": [[i, i + 1, i + 0.5] for i in range(5)], "text": ["x"] * 5}
    assert cut.rows is not None
    assert cut.rows.column("custom_id").to_pylist() == [str(i) for i in range(5)]
    assert {name for name in cut.rows.column_names if name.startswith("keep:")} == {f"keep:{name}" for name in given[0]}


def test_rows_file_comes_back_from_the_store(tmp_path: Path) -> None:
    objects = folder(tmp_path)
    spec, source = scoring(objects, [parquet(rows(9))], "parquet")
    (cut,) = cuts(spec, source, shard_rows=10)
    size = put_rows(objects, "acme/scorings/scr_1/in/00000000.arrow", cut.rows)
    data = objects.read("acme/scorings/scr_1/in/00000000.arrow")
    assert size == len(data)
    assert columns.read_file(data).equals(cut.rows)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mapping": {"x": "X"}}, "column 'X', which is not there; there are 'x', 'text', 'custom_id'"),
        ({"mapping": {"x": "texd"}}, "did you mean 'text'?"),
        ({"mapping": {"x": ("text", "custom_id")}}, "takes 3 values in each row, and 2 columns are mapped"),
        ({"custom_id": "nr"}, "column 'nr' is not there"),
        ({"keep": ("nr",)}, "column 'nr' is not there"),
        ({"keep": ("x",), "outputs": (FLOATS,)}, "has the name of a column of the output"),
        ({"inputs": (TEXT,), "mapping": {"text": "x"}}, "must be one BYTES"),
    ],
)
@FORMATS
def test_columns_that_do_not_fit_are_refused(given: Any, said: str, format: str, tmp_path: Path) -> None:
    if format == "csv" and "BYTES" in said:
        given, said = {"inputs": (FLOATS,), "mapping": {"x": "text"}}, "is not JSON"
    if format == "jsonl" and "BYTES" in said:
        said = "rows do not fit"
    spec, source = scoring(folder(tmp_path), [WRITERS[format](rows(9))], format, **given)
    with pytest.raises(InvalidInput) as refusal:
        look(spec, source)
    assert said in f"{refusal.value.detail} {[fault.detail for fault in refusal.value.faults]}"
    assert refusal.value.faults


@pytest.mark.parametrize(
    ("data", "format", "said"),
    [
        (b"", "parquet", "is empty"), (b"", "csv", "is empty"), (b"\n\n", "jsonl", "it is empty"),
        (b"<!doctype html><html>", "csv", "HTML"), (b"PK\x03\x04" + b"x" * 20, "parquet", "ZIP"),
        (parquet([{"x": 1}]), "csv", "is a Parquet file, and csv is expected"),
        (b"x,y\n1,2\n", "parquet", "no Parquet file"), (parquet([{"x": 1}])[:-9], "parquet", "no Parquet file"),
        (b'{"x": 1}\n', "csv", "looks like JSON"), (b'[{"x": 1}]', "jsonl", "write its items as lines"),
        (b"x,y\n1,2\n", "jsonl", "line 1 is not JSON"), (b"x;y\n1;2\n", "csv", "in place of ';'"),
        (b"x,x\n1,2\n", "csv", "'x' twice"), (b"x,text\n", "csv", "has no rows"),
        (parquet([], pa.schema([("x", pa.list_(pa.float32()))])), "parquet", "has no rows"),
        (b"PAR1" + b"x" * 50 + b"PAR1", "parquet", "cannot be read as Parquet"),
        (b"\x1f\x8bnot gzip at all", "csv", "no whole gzip file"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_what_it_is(data: bytes, format: str, said: str, tmp_path: Path) -> None:
    spec, source = scoring(folder(tmp_path), [data], format)
    with pytest.raises(InvalidInput, match=said):
        look(spec, source)


@FORMATS
def test_more_bad_rows_than_good_ones_are_refused_with_the_first(format: str, tmp_path: Path) -> None:
    given = [{"x": [1.0, 2.0]}, {"x": [1.0, 2.0, 3.0]}, {"x": [1.0]}]
    spec, source = scoring(folder(tmp_path), [WRITERS[format](given)], format)
    with pytest.raises(InvalidInput, match="2 of the first 3 rows do not fit model m; row 0") as refusal:
        look(spec, source)
    assert [fault.pointer for fault in refusal.value.faults] == ["#/rows/0", "#/rows/2"]
    spec, source = scoring(folder(tmp_path), [WRITERS[format]([given[1], *given])], format)
    assert look(spec, source) in (-1, 4)


def test_parts_with_other_types_or_columns_are_refused_before_a_row_is_read(tmp_path: Path) -> None:
    one, two = parquet([{"x": [1.0, 1.0, 1.0]}]), parquet([{"x": [1, 1, 1]}])
    with pytest.raises(InvalidInput, match="has list<element: int64> in column 'x' where 0 has list"):
        look(*scoring(folder(tmp_path), [one, two], "parquet"))
    for format in ("csv", "parquet"):
        files = [WRITERS[format]([{name: [1.0, 2.0, 3.0]}]) for name in "xy"]
        spec, source = scoring(folder(tmp_path), files, format)
        with pytest.raises(InvalidInput, match="1 has no column 'x', which 0 has"):
            look(spec, source)
        with pytest.raises(InvalidInput, match="1 has no column 'x', which 0 has"):
            list(cuts(spec, source, shard_rows=5))


def test_parquet_columns_of_odd_names_and_types_are_read(tmp_path: Path) -> None:
    data = pa.table(
        {
            "a.b": pa.array(["x", "y", "x"]).dictionary_encode(),
            "a": pa.array([{"b": "z"}] * 3),
            "x": pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(9, dtype="f4").reshape(3, 3)),
        }
    )
    sink = io.BytesIO()
    pq.write_table(data, sink)
    spec, source = scoring(
        folder(tmp_path), [sink.getvalue()], "parquet", inputs=(FLOATS, TEXT), mapping={"text": "a.b"}, keep=("*",)
    )
    assert look(spec, source) == 3
    (cut,) = cuts(spec, source, shard_rows=5)
    assert values(cut, FLOATS, TEXT) == {"x": np.arange(9).reshape(3, 3).tolist(), "text": ["x", "y", "x"]}
    assert cut.rows is not None
    assert cut.rows.column("keep:a").to_pylist() == [{"b": "z"}] * 3


def test_one_column_of_csv_may_be_two_inputs_and_the_id(tmp_path: Path) -> None:
    whole, part = Tensor("whole", "INT64", (-1,)), Tensor("part", "FP32", (-1, 2))
    for data in (b"n,m\n007,2\n3,4\n", b'n,m\n"007",2\n"3",4\n'):
        spec, source = scoring(
            folder(tmp_path),
            [data],
            "csv",
            inputs=(whole, part),
            mapping={"whole": "n", "part": ("n", "m")},
            custom_id="n",
        )
        (cut,) = cuts(spec, source, shard_rows=5)
        assert values(cut, whole, part) == {"whole": [7, 3], "part": [[7, 2], [3, 4]]}
        assert cut.rows is not None
        assert cut.rows.column("custom_id").to_pylist() == ["007", "3"]


def test_compressed_text_is_unpacked(tmp_path: Path) -> None:
    for codec in ("gzip", "zstd"):
        for format in ("csv", "jsonl"):
            plain = WRITERS[format](rows(9))
            packed = gzip.compress(plain) if codec == "gzip" else pa.compress(plain, codec, asbytes=True)
            spec, source = scoring(folder(tmp_path), [packed, packed], format)
            assert count(spec, source, lambda rows: None) == 18


TABLES = st.lists(
    st.fixed_dictionaries(
        {
            "x": st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
            "text": st.text(st.characters(codec="utf-8", exclude_characters="\r\0")),
        }
    ),
    min_size=1,
    max_size=30,
)


@given(lines=TABLES, shard_rows=st.integers(1, 12), cut_at=st.integers(1, 30))
def test_any_table_in_any_format_gives_the_same_rows(
    lines: list[Any], shard_rows: int, cut_at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    objects = folder(tmp_path_factory.mktemp("any"))
    for format, write in WRITERS.items():
        files = [write(part) for part in (lines[:cut_at], lines[cut_at:]) if part]
        spec, source = scoring(objects, files, format, inputs=(FLOATS, TEXT))
        found = list(cuts(spec, source, shard_rows=shard_rows))
        assert [cut.end for cut in found[:-1]] == list(range(shard_rows, len(lines), shard_rows))
        read = [values(cut, FLOATS, TEXT) for cut in found]
        assert [row for part in read for row in part["x"]] == [row["x"] for row in lines]
        assert [row for part in read for row in part["text"]] == [row["text"] for row in lines]


def test_writers_of_the_tests_write_what_they_are_given() -> None:
    assert json.loads(jsonl(rows(1))) == rows(1)[0]
    assert delimited([{"x": [1, 2]}]) == b'x\r\n"[1, 2]"\r\n'
