"""What shards wrote becomes one output, the same whatever the shards were."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import columns
from models.arrays import Batch
from models.manifest import Tensor
from storage.objects import Objects
from storage.scoring import Failure, Spec
from tasks.scoring.cutting import cuts
from tasks.scoring.merging import failed_rows, merge, merge_failures
from tests.scoring.tables import FLOATS, SCORES, TEXT, WRITERS, folder, parquet, scoring

LABEL = Tensor("label", "BYTES", (-1,))
ANY = Tensor("any", "JSON", (-1,))
LENGTHS = Tensor("lengths", "INT32", (-1, -1))


def write(objects: Objects, spec: Spec, number: int, tables: Sequence[pa.Table]) -> str:
    key = f"acme/scorings/{spec.id}/out/{number:08}"
    pieces: list[bytes] = []
    columns.write_file(tables, pieces.append)
    objects.put(key, pieces)
    return key


def shard(rows: Sequence[int], outputs: Batch, tensors: Sequence[Tensor], **keep: Any) -> pa.Table:
    made = pa.table({"row": pa.array(rows, pa.int64()), **{f"keep:{name}": value for name, value in keep.items()}})
    return columns.output_table(tensors, made, range(len(rows)), outputs)


def merged(objects: Objects, spec: Spec, rounds: Sequence[Sequence[str]]) -> bytes:
    told: list[int] = []
    stored = merge(spec, objects, rounds, "acme/output", told.append)
    data = objects.read("acme/output")
    assert stored.bytes == len(data)
    return data


def read(data: bytes, format: str) -> list[dict[str, Any]]:
    if format == "parquet":
        return list(pq.read_table(io.BytesIO(data)).to_pylist())
    if format == "csv":
        return list(csv.DictReader(io.StringIO(data.decode())))
    return [json.loads(line) for line in data.splitlines()]


def test_merge_can_be_stopped_while_it_looks_for_the_types_of_columns(tmp_path: Path) -> None:
    objects = folder(tmp_path)
    spec, _ = scoring(objects, [b""], "jsonl", outputs=(LABEL,), output_format="parquet", keep=("note",))
    field = pa.field("keep:note", pa.string(), metadata=columns.JSON)
    rows = pa.table([pa.array([0, 1]), pa.array(['"a"', '"b"'])], schema=pa.schema([("row", pa.int64()), field]))
    key = write(objects, spec, 0, [columns.output_table([LABEL], rows, range(2), {"label": ["x", "y"]})])

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(spec, objects, [[key]], "acme/output", stop)
    told: list[int] = []
    merge(spec, objects, [[key]], "acme/output", told.append)
    assert told == [2, 2]


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_output_holds_row_id_kept_columns_and_outputs(format: str, tmp_path: Path) -> None:
    objects = folder(tmp_path)
    given = [{"x": [i, i, i], "custom_id": f"c{i}", "note": f"{i}, 'a'"} for i in range(5)]
    spec, source = scoring(objects, [parquet(given)], "parquet", output_format=format, keep=("note",))
    keys = []
    for number, cut in enumerate(cuts(spec, source, shard_rows=2)):
        assert cut.rows is not None
        batch = columns.decode([FLOATS], cut.rows, lambda key: b"").batch
        outputs: Batch = {"scores": np.asarray(batch["x"])[:, :2] + np.float32(0.1)}
        keys.append(
            write(objects, spec, number, [columns.output_table([SCORES], cut.rows, range(len(cut.rows)), outputs)])
        )
    rows = read(merged(objects, spec, [keys]), format)
    assert list(rows[0]) == ["row", "custom_id", "note", "scores"]
    assert [row["custom_id"] for row in rows] == [f"c{i}" for i in range(5)]
    assert [row["note"] for row in rows] == [f"{i}, 'a'" for i in range(5)]
    third = {"jsonl": [2.1, 2.1], "csv": "[2.1,2.1]", "parquet": [np.float32(2.1)] * 2}
    assert (int(rows[2]["row"]), rows[2]["scores"]) == (2, third[format])


def test_a_round_of_retried_rows_is_merged_by_row(tmp_path: Path) -> None:
    objects = folder(tmp_path)
    spec, _ = scoring(objects, [b"x"], "csv", outputs=(ANY,))
    pieces = [[0, 1, 4], [], [7, 9, 12], [3], [5, 11], [2, 6]]
    keys = [
        write(objects, spec, n, [shard(rows, {"any": [{"from": n}] * len(rows)}, [ANY])])
        for n, rows in enumerate(pieces)
    ]
    rows = read(merged(objects, spec, [keys[:3], keys[3:5], keys[5:]]), "jsonl")
    assert [row["row"] for row in rows] == [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 12]
    assert [row["any"]["from"] for row in rows] == [0, 0, 5, 3, 0, 4, 5, 2, 2, 4, 2]


KEPT = {
    "int": pa.array([1, None], pa.int32()),
    "text": pa.array(['say "x", 50%\n', None]),
    "empty": pa.array(["", "é"]),
    "bool": pa.array([True, None]),
    "float": pa.array([0.1, float("nan")], pa.float32()),
    "day": pa.array([date(2024, 2, 29), None]),
    "time": pa.array([datetime(2024, 1, 1, 12, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
    "price": pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)),
    "raw": pa.array([b"\xff", None]),
    "list": pa.array([[0.1, None], None], pa.list_(pa.float32())),
    "struct": pa.array([{"a": 1}, None]),
}


def test_kept_columns_keep_their_types(tmp_path: Path) -> None:
    objects = folder(tmp_path)
    found = {}
    for format in ("jsonl", "csv", "parquet"):
        spec, _ = scoring(objects, [b"x"], "parquet", output_format=format, outputs=(LENGTHS,))
        table = shard([0, 1], {"lengths": [np.array([1, 2], "i4"), np.array([3], "i4")]}, [LENGTHS], **KEPT)
        found[format] = merged(objects, spec, [[write(objects, spec, 0, [table])]])
    made = pq.read_table(io.BytesIO(found["parquet"]))
    for name, array in KEPT.items():
        assert made.column(name).type == array.type
        assert str(made.column(name).to_pylist()) == str(array.to_pylist())
    first, second = read(found["jsonl"], "jsonl")
    assert (first["float"], first["list"], second["float"], first["raw"]) == (0.1, [0.1, None], None, {"b64": "/w=="})
    assert [first[name] for name in ("day", "time", "price", "struct", "lengths")] == [
        "2024-02-29", "2024-01-01T12:00:00+00:00", "1.50", {"a": 1}, [1, 2],
    ]  # fmt: skip
    one, two = read(found["csv"], "csv")
    assert (one["text"], one["float"], two["float"], one["bool"], two["int"]) == (
        'say "x", 50%\n',
        "0.1",
        "NaN",
        "true",
        "",
    )
    assert b'\n1,,,"\xc3\xa9"' not in found["csv"]
    assert (one["list"], two["list"], two["lengths"], one["raw"]) == ("[0.1,null]", "", "[3]", '{"b64":"/w=="}')


@pytest.mark.parametrize(
    ("values", "type", "parquet", "csv"),
    [
        (["a", "b, c"], pa.string(), ["a", "b, c"], ["a", "b, c"]),
        ([b"\xff", b"\xfe"], pa.binary(), [b"\xff", b"\xfe"], ['{"b64":"/w=="}', '{"b64":"/g=="}']),
        (["a", b"\xff"], pa.string(), ['"a"', '{"b64":"/w=="}'], ["a", '{"b64":"/w=="}']),
    ],
)
def test_bytes_are_text_where_all_of_them_are(
    values: list[Any], type: pa.DataType, parquet: list[Any], csv: list[str], tmp_path: Path
) -> None:
    objects = folder(tmp_path)
    for format, expected in (("parquet", parquet), ("csv", csv)):
        spec, _ = scoring(objects, [b"x"], "csv", output_format=format, outputs=(LABEL, ANY))
        tables = [shard([n], {"label": [value], "any": ["text"]}, [LABEL, ANY]) for n, value in enumerate(values)]
        data = merged(objects, spec, [[write(objects, spec, n, [table]) for n, table in enumerate(tables)]])
        assert [row["label"] for row in read(data, format)] == expected
        assert [row["any"] for row in read(data, format)] == ['"text"', '"text"']
        if format == "parquet":
            assert pq.read_schema(io.BytesIO(data)).field("label").type == type


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "null", "-7"], pa.int64()), (["1", "2.5"], pa.float64()), (['"a"', None], pa.string()),
        (["true", "false"], pa.bool_()), (["1", '"a"'], pa.string()), (["[1]"], pa.string()), ([None], pa.string()),
        (["9007199254740993", "0.5"], pa.string()), (["1" * 30], pa.string()),
    ],
)  # fmt: skip
def test_json_columns_that_are_kept_get_the_type_that_their_values_have(
    texts: list[Any], kind: pa.DataType, tmp_path: Path
) -> None:
    objects = folder(tmp_path)
    spec, _ = scoring(objects, [b"x"], "jsonl", output_format="parquet")
    field = pa.field("keep:k", pa.string(), metadata=columns.JSON)
    rows = pa.array(range(len(texts)), pa.int64())
    made = pa.table([rows, pa.array(texts, pa.string())], schema=pa.schema([("row", pa.int64()), field]))
    table = columns.output_table([SCORES], made, range(len(texts)), {"scores": np.zeros((len(texts), 2), "f4")})
    found = pq.read_table(io.BytesIO(merged(objects, spec, [[write(objects, spec, 0, [table])]])))
    assert found.column("k").type == kind
    if kind != pa.string():
        assert found.column("k").to_pylist() == [json.loads(text) for text in texts]


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("keys", [False, True])
def test_output_without_rows_has_its_columns(format: str, keys: bool, tmp_path: Path) -> None:
    objects = folder(tmp_path)
    spec, _ = scoring(objects, [b"x"], "csv", output_format=format, outputs=(SCORES, LABEL), keep=("note",))
    empty = shard([], {"scores": np.zeros((0, 2), "f4"), "label": []}, [SCORES, LABEL], note=pa.array([], pa.string()))
    data = merged(objects, spec, [[write(objects, spec, 0, [empty])] if keys else []])
    if format == "parquet":
        made = pq.read_table(io.BytesIO(data))
        assert (made.column_names, made.num_rows) == (["row", "note", "scores", "label"], 0)
    else:
        assert data == {"jsonl": b"", "csv": b"row,note,scores,label\n"}[format]


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_output_is_the_same_bytes_whatever_the_shards(format: str, tmp_path: Path) -> None:
    objects = folder(tmp_path)
    spec, _ = scoring(objects, [b"x"], "csv", output_format=format, outputs=(SCORES, LABEL))
    scores = np.random.default_rng(1).random((5000, 2), dtype="f4")
    labels = [f"label {n % 7}" * (n % 5) for n in range(5000)]
    rows = [n for n in range(5000) if n % 11]

    def outputs(picked: Sequence[int]) -> Batch:
        return {"scores": scores[picked], "label": [labels[n] for n in picked]}

    found = set()
    for number, size in enumerate((5000, 700, 1024)):
        pieces = [rows[at : at + size] for at in range(0, len(rows), size)]
        tables = [shard(piece, outputs(piece), [SCORES, LABEL]) for piece in pieces]
        keys = [write(objects, spec, 1000 * number + n, [table[:5], table[5:]]) for n, table in enumerate(tables)]
        found.add(merged(objects, spec, [keys]))
        found.add(merged(objects, spec, [keys[::2], keys[1::2]]))
    assert len(found) == 1
    assert len(read(found.pop(), format)) == len(rows)


def test_failures_become_an_error_file_in_order(tmp_path: Path) -> None:
    objects = folder(tmp_path)
    one, two = Failure(1, None, "invalid_input", "línea 7"), Failure(5, "c5", "model_error", "boom", True)
    stored = merge_failures(objects, [[one], [], [two]], "acme/errors.jsonl")
    assert list(failed_rows(objects, "acme/errors.jsonl")) == [one, two]
    lines = objects.read("acme/errors.jsonl").splitlines()
    assert (stored.bytes, len(lines)) == (objects.size("acme/errors.jsonl"), 2)
    assert json.loads(lines[1]) == {
        "row": 5, "custom_id": "c5", "code": "model_error", "detail": "boom", "retryable": True,
    }  # fmt: skip
    assert merge_failures(objects, [], "acme/none").bytes == 0


TABLES = st.lists(
    st.fixed_dictionaries(
        {
            "x": st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
            "text": st.text(st.characters(codec="utf-8", exclude_characters="\r\0")),
        }
    ),
    min_size=1,
    max_size=20,
)


@given(lines=TABLES, shard_rows=st.integers(1, 12), format=st.sampled_from(sorted(WRITERS)))
def test_any_table_through_any_formats_keeps_its_values(
    lines: list[Any], shard_rows: int, format: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    objects = folder(tmp_path_factory.mktemp("any"))
    echo, said = Tensor("echo", "FP32", (-1, 3)), Tensor("said", "BYTES", (-1,))
    for output_format in ("jsonl", "csv", "parquet"):
        spec, source = scoring(
            objects, [WRITERS[format](lines)], format, inputs=(FLOATS, TEXT), outputs=(echo, said),
            output_format=output_format, keep=("text",),
        )  # fmt: skip
        keys = []
        for number, cut in enumerate(cuts(spec, source, shard_rows=shard_rows)):
            decoded = columns.decode([FLOATS, TEXT], cut.rows, lambda key: b"")
            outputs: Batch = {"echo": decoded.batch["x"], "said": decoded.batch["text"]}
            table = columns.output_table([echo, said], cut.rows, decoded.kept, outputs)
            keys.append(write(objects, spec, number, [table]))
        rows = read(merged(objects, spec, [keys]), output_format)
        assert [row["text"] for row in rows] == [row["said"] for row in rows] == [line["text"] for line in lines]
        echoes = [json.loads(row["echo"]) if output_format == "csv" else row["echo"] for row in rows]
        assert [np.array(row, "f4").tolist() for row in echoes] == [line["x"] for line in lines]
