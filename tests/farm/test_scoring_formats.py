"""The same table in every format, through a whole farm, into every format; its bad rows apart."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from penstock import InvalidInput, Penstock

from tests.farm.harness import Farm
from tests.scoring.tables import WRITERS, Row, parquet

WIDTH = 16
COLUMNS = [f"c{number}" for number in range(WIDTH)]
ROWS: list[Row] = [
    {"name": f"r{n}", **{column: n + place / 4 for place, column in enumerate(COLUMNS)}, "note": f'"{n}", a' * (n % 3)}
    for n in range(700)
]
#: A number that is none, and one that no FP32 holds: the one is found where the table is cut, the other by the model.
BAD = {5: "none", 300: 1e300, 640: 1e300}


def written(format: str) -> bytes:
    if format == "parquet":
        return parquet([{**row, "c3": None if n == 5 else BAD.get(n, row["c3"])} for n, row in enumerate(ROWS)])
    bad = [{**row, "c3": BAD.get(n, row["c3"])} for n, row in enumerate(ROWS)]
    return gzip.compress(WRITERS[format](bad))


def read(file: Path, format: str) -> list[dict[str, Any]]:
    if format == "parquet":
        return list(pq.read_table(file).to_pylist())
    if format == "csv":
        found: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(file.read_text(), newline="")))
        return [{**row, "row": int(row["row"]), "y": json.loads(row["y"])} for row in found]
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize(("format", "output_format"), [("csv", "parquet"), ("jsonl", "csv"), ("parquet", "jsonl")])
def test_table_goes_in_and_comes_out(farm: Farm, format: str, output_format: str, tmp_path: Path) -> None:
    with farm.client() as client:
        halves = [client.objects.upload(written(format)).id, client.objects.upload(written(format)).id]
        made = client.scorings.create(
            "echo", halves, format=format, output_format=output_format, mapping={"x": COLUMNS},
            custom_id="name", keep=["note"], shard_rows=128,
        )  # fmt: skip
        done = client.scorings.wait(made, timeout_s=60)
        assert (done.status, done.rows.total, done.rows.failed) == ("completed", 1400, 6)
        rows = read(client.scorings.download(done, tmp_path / "out"), output_format)
        good = [n for n in range(1400) if n % 700 not in BAD]
        assert [row["row"] for row in rows] == good
        for n, row in zip(good, rows, strict=True):
            given = ROWS[n % 700]
            assert (row["custom_id"], row["note"]) == (given["name"], given["note"])
            assert row["y"] == [given[column] for column in COLUMNS]
        errors = list(client.scorings.errors(done))
        assert [error.row for error in errors] == [5, 300, 640, 705, 1000, 1340]
        assert {error.code for error in errors} == {"invalid_input"}
        again = client.scorings.wait(client.scorings.retry_failed(done), timeout_s=60)
        assert (again.status, again.rows.failed) == ("completed", 6)
        assert read(client.scorings.download(again, tmp_path / "again"), output_format) == rows


def test_wrong_table_is_refused_before_a_row_runs(farm: Farm) -> None:
    with farm.client() as client:
        failed = refused(client, b"a,b\n1,2\n", "csv")
        assert "input 'x' is read from column 'x', which is not there; there are 'a', 'b'" in failed
        assert "is HTML or XML, and csv is expected" in refused(client, b"<html></html>", "csv")


def refused(client: Penstock, data: bytes, format: str) -> str:
    made = client.scorings.create("echo", client.objects.upload(data).id, format=format)
    done = client.scorings.wait(made, timeout_s=60)
    assert (done.status, done.rows.done) == ("failed", 0)
    with pytest.raises(InvalidInput) as refusal:
        done.raise_for_failure()
    return refusal.value.detail
